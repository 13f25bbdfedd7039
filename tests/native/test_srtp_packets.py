"""Geometry of SRTP and SRTCP packets, every suite and engine, against the slow model."""

from __future__ import annotations

import random

import pytest
from support.srtp import CM80, GCM128, SUITES_AND_ENGINES, master, model, receiver, refusal, rtcp, rtp, sender
from support.srtp_model import MODEL_SUITES
from ueagent_native.values import Status

SUITE_AND_ENGINE = pytest.mark.parametrize(("suite", "engine"), SUITES_AND_ENGINES)
MKIS = (b"", b"\x07", bytes(range(4)), bytes(128))


def _random_rtp(rng: random.Random, seq: int) -> bytes:
    csrc, extension = rng.randrange(16), rng.random() < 0.5
    first = 0x80 | csrc | (0x10 if extension else 0) | rng.choice((0, 0x20))
    head = bytes((first, rng.randrange(256))) + seq.to_bytes(2, "big") + rng.randbytes(4) + b"\0\0\0\1"
    head += rng.randbytes(4 * csrc)
    if extension:
        words = rng.randrange(8)
        head += rng.randbytes(2) + words.to_bytes(2, "big") + rng.randbytes(4 * words)
    return head + rng.randbytes(rng.choice((0, 1, 15, 16, 17, 20, 160, 1200, rng.randrange(1400))))


@SUITE_AND_ENGINE
@pytest.mark.parametrize("mki", MKIS, ids=len)
def test_rtp_is_protected_as_the_model_does(suite: str, engine: str, mki: bytes) -> None:
    """SRTP-2, SRTP-9, SRTP-14: CSRC lists, extensions, padding bit, empty and odd payloads, MKI."""
    rng, oracle = random.Random(suite), model(suite, mki=mki)
    keys = (master(suite, mki=mki),)
    with sender(suite, engine=engine, keys=keys) as tx, receiver(suite, engine=engine, keys=keys) as rx:
        for seq in range(40):
            packet = _random_rtp(rng, seq)
            protected = tx.protect(packet)
            assert protected == oracle.protect_rtp(packet, 0)
            assert rx.unprotect(protected) == packet


@SUITE_AND_ENGINE
@pytest.mark.parametrize("mki", MKIS, ids=len)
def test_rtcp_is_protected_as_the_model_does(suite: str, engine: str, mki: bytes) -> None:
    """SRTP-4, SRTP-9, SRTP-15: from a bare header on; sizes that are no multiple of four too (RFC 5506)."""
    rng, oracle = random.Random(suite), model(suite, mki=mki)
    keys = (master(suite, mki=mki),)
    with sender(suite, engine=engine, keys=keys) as tx, receiver(suite, engine=engine, keys=keys) as rx:
        for index, size in enumerate((0, 4, 20, 1, 15, 16, 100, 1300), start=1):
            packet = rtcp(ssrc=9, body=rng.randbytes(size))
            protected = tx.protect(packet, rtcp=True)
            assert protected == oracle.protect_rtcp(packet, index)
            assert rx.unprotect(protected, rtcp=True) == packet


@SUITE_AND_ENGINE
def test_header_extension_is_authenticated_and_stays_readable(suite: str, engine: str) -> None:
    """SRTP-12: RFC 6904 is not in use, so header, CSRC list and extension cross as they are."""
    head = b"\x91" + rtp(7)[1:12] + bytes(range(4)) + b"\xbe\xde\x00\x02" + bytes(range(8))
    packet = head + b"speech" * 20
    with sender(suite, engine=engine) as tx, receiver(suite, engine=engine) as rx:
        protected = tx.protect(packet)
        assert protected[: len(head)] == head
        assert (packet[len(head) :] in protected) == (MODEL_SUITES[suite].cipher == "NULL")
        spoilt = bytearray(protected)
        spoilt[len(head) - 1] ^= 1
        assert refusal(rx, bytes(spoilt)) == Status.AUTH_FAIL
        assert rx.unprotect(protected) == packet


@SUITE_AND_ENGINE
def test_the_model_opens_what_the_core_made_and_back(suite: str, engine: str) -> None:
    oracle = model(suite)
    with sender(suite, engine=engine) as tx, receiver(suite, engine=engine) as rx:
        assert oracle.unprotect_rtp(tx.protect(rtp(5)), 0) == rtp(5)
        assert rx.unprotect(oracle.protect_rtp(rtp(5), 0)) == rtp(5)
        assert oracle.unprotect_rtcp(tx.protect(rtcp(), rtcp=True)) == rtcp()
        assert rx.unprotect(oracle.protect_rtcp(rtcp(), 0), rtcp=True) == rtcp()


@pytest.mark.parametrize("suite", MODEL_SUITES)
def test_srtcp_tag_is_full_length_also_where_srtps_is_short(suite: str) -> None:
    """SRTP-4: `_32`: RTP tag 4 octets, RTCP tag 10."""
    row = MODEL_SUITES[suite]
    with sender(suite) as tx:
        assert len(tx.protect(rtp(1))) - len(rtp(1)) == row.rtp_tag
        assert len(tx.protect(rtcp(), rtcp=True)) - len(rtcp()) == 4 + row.rtcp_tag


def test_reduced_size_rtcp_is_authenticated_the_same_way() -> None:
    """SRTP-15: RFC 5506, a lone generic NACK."""
    nack = b"\x81\xcd\x00\x03" + (7).to_bytes(4, "big") + (8).to_bytes(4, "big") + b"\x00\x05\x00\x00"
    with sender() as tx, receiver() as rx:
        protected = tx.protect(nack, rtcp=True)
        assert refusal(rx, protected[:-1] + bytes((protected[-1] ^ 1,)), is_rtcp=True) == Status.AUTH_FAIL
        assert rx.unprotect(protected, rtcp=True) == nack


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x80",
        rtp(1)[:11],
        b"\x40" + rtp(1)[1:],
        b"\x8f" + rtp(1)[1:],
        b"\x90" + rtp(1, payload=b"")[1:],
        b"\x90" + rtp(1, payload=b"\0\0\0\1")[1:],
        b"\x90" + rtp(1, payload=b"\0\0\xff\xff" + bytes(1000))[1:],
    ],
    ids=["empty", "one", "eleven", "version", "csrc", "no_extension", "short_extension", "long_extension"],
)
def test_rtp_shorter_than_its_header_says_is_refused(packet: bytes) -> None:
    """SRTP-14."""
    for suite in (CM80, GCM128):
        with sender(suite) as tx, receiver(suite) as rx:
            assert refusal(tx, packet, sending=True) == Status.BAD_PACKET
            trailer = 10 if suite == CM80 else 16
            assert refusal(rx, packet + bytes(trailer) if packet else packet) == Status.BAD_PACKET
            assert (tx.stats().n_streams, tx.stats().bad_packet, rx.stats().bad_packet) == (0, 1, 1)


def test_rtcp_shorter_than_a_header_is_refused() -> None:
    """SRTP-14."""
    with sender() as tx, receiver() as rx:
        for packet in (b"", rtcp()[:7], b"\x40" + rtcp()[1:]):
            assert refusal(tx, packet, is_rtcp=True, sending=True) == Status.BAD_PACKET
            assert refusal(rx, packet + bytes(13), is_rtcp=True) == Status.BAD_PACKET


def test_longest_packet_passes_and_one_octet_more_has_no_room() -> None:
    """UMS_MAX_PACKET is 2048 with the trailer."""
    with sender() as tx, receiver() as rx:
        longest = rtp(1, payload=bytes(2048 - 12 - 10))
        assert rx.unprotect(tx.protect(longest)) == longest
        assert refusal(tx, rtp(2, payload=bytes(2048 - 12 - 9)), sending=True) == Status.NO_ROOM
        assert tx.protect(rtp(2))  # a refused packet has spent no index
        assert refusal(tx, rtp(3, payload=bytes(4000)), sending=True) == Status.BAD_PACKET
        assert refusal(rx, rtp(3, payload=bytes(2048))) == Status.BAD_PACKET


def test_unencrypted_srtcp_is_refused_outside_the_lab() -> None:
    """SRTP-10: we always set E and refuse its absence."""
    for suite in (CM80, GCM128):
        plain = model(suite).protect_rtcp(rtcp(), 1, encrypt=False)
        with receiver(suite) as rx, receiver(suite, lab_unencrypted_srtcp=True) as lab:
            assert refusal(rx, plain, is_rtcp=True) == Status.BAD_PACKET
            assert lab.unprotect(plain, rtcp=True) == rtcp()
            assert lab.unprotect(model(suite).protect_rtcp(rtcp(), 2), rtcp=True) == rtcp()


def test_lab_flag_sends_srtcp_unencrypted() -> None:
    for suite in (CM80, GCM128):
        with sender(suite, lab_unencrypted_srtcp=True) as tx:
            assert tx.protect(rtcp(), rtcp=True) == model(suite).protect_rtcp(rtcp(), 1, encrypt=False)
