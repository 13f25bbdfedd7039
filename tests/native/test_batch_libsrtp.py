"""The batch face against its second implementation, libsrtp: what one makes the other opens, row by row."""

from __future__ import annotations

import random
from array import array

import pylibsrtp
import pytest
from support.srtp import key_of, receiver, rtcp, rtp, sender
from ueagent_bench.pylibsrtp_face import LibsrtpFace
from ueagent_native.batch import Batch, protect_batch, unprotect_batch
from ueagent_native.values import Status

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
STRIDE = 1600


def _libsrtp(kind: int) -> LibsrtpFace:
    return LibsrtpFace(
        [
            pylibsrtp.Session(pylibsrtp.Policy(key=b"".join(key_of(suite)), ssrc_type=kind, srtp_profile=profile))
            for suite, profile in PROFILES.items()
        ]
    )


@pytest.fixture
def batch() -> tuple[Batch, list[bytes], bytearray, array[int], bytearray]:
    """100 rows of four contexts, RTP and RTCP, and the buffers behind them."""
    draw = random.Random(5)
    kinds = bytearray(i % 7 == 0 for i in range(100))
    packets = [
        rtcp(ssrc=i + 1) if kind else rtp(9, ssrc=i + 1, payload=draw.randbytes(draw.randrange(1200)))
        for i, kind in enumerate(kinds)
    ]
    octets = bytearray(b"".join(packet.ljust(STRIDE, b"\0") for packet in packets))
    lengths, statuses = array("I", map(len, packets)), bytearray(100)
    index = array("I", [i % 4 for i in range(100)])
    rows = memoryview(octets).cast("B", (100, STRIDE))
    return Batch(rows, lengths, statuses, index, kinds), packets, octets, lengths, statuses


def _rows(octets: bytearray, lengths: array[int]) -> list[bytes]:
    return [bytes(octets[i * STRIDE : i * STRIDE + n]) for i, n in enumerate(lengths)]


def test_libsrtp_opens_a_batch_of_ours(batch: tuple[Batch, list[bytes], bytearray, array[int], bytearray]) -> None:
    """SRTP-2, SRTP-10."""
    rows, packets, octets, lengths, statuses = batch
    contexts = [sender(suite, max_ssrc=100) for suite in PROFILES]
    assert protect_batch(contexts, rows) == 100
    assert _rows(octets, lengths) != packets
    assert _libsrtp(pylibsrtp.Policy.SSRC_ANY_INBOUND).unprotect(rows) == 100
    assert (_rows(octets, lengths), set(statuses)) == (packets, {Status.OK})


def test_we_open_a_batch_of_libsrtps(batch: tuple[Batch, list[bytes], bytearray, array[int], bytearray]) -> None:
    """SRTP-2, SRTP-10; a forged row fails alone, in both."""
    rows, packets, octets, lengths, statuses = batch
    assert _libsrtp(pylibsrtp.Policy.SSRC_ANY_OUTBOUND).protect(rows) == 100
    octets[20 * STRIDE + lengths[20] - 1] ^= 1
    contexts = [receiver(suite, max_ssrc=100) for suite in PROFILES]
    assert unprotect_batch(contexts, rows) == 99
    assert statuses[20] == Status.AUTH_FAIL
    assert [row for i, row in enumerate(_rows(octets, lengths)) if i != 20] == packets[:20] + packets[21:]
