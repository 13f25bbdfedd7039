"""Random packets against libsrtp (through pylibsrtp), both directions, for the four suites it has there."""

from __future__ import annotations

import random

import pylibsrtp
import pytest
from support.srtp import ENGINES, key_of, receiver, rtcp, rtp, sender

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
LONGEST = 1480  # with any trailer in pylibsrtp's 1500 octets
LONGEST_BEFORE_PROTECT = 1340  # pylibsrtp wants room for the longest MKI
pytestmark = [pytest.mark.parametrize("engine", ENGINES), pytest.mark.parametrize("suite", PROFILES)]


def _libsrtp(suite: str, outbound: bool) -> pylibsrtp.Session:
    kind = pylibsrtp.Policy.SSRC_ANY_OUTBOUND if outbound else pylibsrtp.Policy.SSRC_ANY_INBOUND
    policy = pylibsrtp.Policy(key=b"".join(key_of(suite)), ssrc_type=kind, srtp_profile=PROFILES[suite])
    return pylibsrtp.Session(policy)


def _rtp_packets(rng: random.Random, longest: int) -> list[bytes]:
    """CSRC lists of every length, extensions, all sizes up to `longest`, three SSRCs, loss, one wrap of the numbers."""
    packets = []
    for i in range(300):
        csrc, extension = i % 16, rng.random() < 0.5
        first = 0x80 | csrc | (0x10 if extension else 0)
        seq, ssrc = (65400 + i * 2 + rng.randrange(2)) % 65536, 1 + i % 3
        head = bytes((first, rng.randrange(256))) + seq.to_bytes(2, "big") + rng.randbytes(4) + ssrc.to_bytes(4, "big")
        head += rng.randbytes(4 * csrc)
        if extension:
            words = rng.randrange(10)
            head += b"\xbe\xde" + words.to_bytes(2, "big") + rng.randbytes(4 * words)
        room = longest - len(head)
        packets.append(head + rng.randbytes(rng.choice((0, 1, 20, 160, room, rng.randrange(room)))))
    return packets


def _rtcp_packets(rng: random.Random, longest: int) -> list[bytes]:
    return [rtcp(ssrc=1 + i % 3, body=rng.randbytes(4 * rng.randrange((longest - 8) // 4))) for i in range(100)]


def test_libsrtp_opens_our_srtp(suite: str, engine: str) -> None:
    peer = _libsrtp(suite, outbound=False)
    with sender(suite, engine=engine) as tx:
        for packet in _rtp_packets(random.Random(1), LONGEST):
            assert peer.unprotect(tx.protect(packet)) == packet


def test_we_open_libsrtps_srtp(suite: str, engine: str) -> None:
    peer = _libsrtp(suite, outbound=True)
    with receiver(suite, engine=engine) as rx:
        for packet in _rtp_packets(random.Random(2), LONGEST_BEFORE_PROTECT):
            assert rx.unprotect(peer.protect(packet)) == packet


def test_libsrtp_opens_our_srtcp(suite: str, engine: str) -> None:
    peer = _libsrtp(suite, outbound=False)
    with sender(suite, engine=engine) as tx:
        for packet in _rtcp_packets(random.Random(3), LONGEST):
            assert peer.unprotect_rtcp(tx.protect(packet, rtcp=True)) == packet


def test_we_open_libsrtps_srtcp(suite: str, engine: str) -> None:
    peer = _libsrtp(suite, outbound=True)
    with receiver(suite, engine=engine) as rx:
        for packet in _rtcp_packets(random.Random(4), LONGEST_BEFORE_PROTECT):
            assert rx.unprotect(peer.protect_rtcp(packet), rtcp=True) == packet


def test_our_packets_equal_libsrtps_octet_by_octet(suite: str, engine: str) -> None:
    """Also SRTCP's, so both start its index at 1."""
    peer = _libsrtp(suite, outbound=True)
    with sender(suite, engine=engine) as tx:
        for seq in range(20):
            assert tx.protect(rtp(seq)) == peer.protect(rtp(seq))
            assert tx.protect(rtcp(), rtcp=True) == peer.protect_rtcp(rtcp())
