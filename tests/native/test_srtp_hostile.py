"""Octets from anybody: nothing crashes, nothing leaks, nothing but a counter moves (SRTP-7, SRTP-14)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.srtp import CM80, GCM128, SUITE_NAMES, SUITES_AND_ENGINES, master, receiver, refusal, rtcp, rtp, sender
from ueagent_native.values import Status

MKI = b"\x01\x02"
REFUSED = {Status.AUTH_FAIL, Status.BAD_PACKET, Status.WRONG_MKI, Status.TOO_OLD}


@pytest.mark.parametrize(("suite", "engine"), SUITES_AND_ENGINES)
@pytest.mark.parametrize("is_rtcp", [False, True])
def test_flip_of_any_bit_is_refused_and_changes_nothing(suite: str, engine: str, is_rtcp: bool) -> None:
    """SRTP-7: every octet, one bit each, all eight over the packet; the packet comes back as it was."""
    keys = (master(suite, mki=MKI),)
    packet = rtcp() if is_rtcp else b"\x91\x60" + rtp(7)[2:12] + bytes(4) + b"\0\1\0\1" + bytes(4) + b"payload"
    with sender(suite, engine=engine, keys=keys) as tx, receiver(suite, engine=engine, keys=keys) as rx:
        protected = tx.protect(packet, rtcp=is_rtcp)
        flipped = []
        for at in range(len(protected)):
            forged = bytearray(protected)
            forged[at] ^= 1 << (at % 8)
            flipped.append(bytes(forged))
        for forged, (status, octets) in zip(flipped, rx.unprotect_many(flipped, rtcp=is_rtcp), strict=True):
            assert status in REFUSED
            assert octets == forged
        stats = rx.stats()
        assert (stats.n_streams, stats.packets, stats.rtcp_packets) == (0, 0, 0)
        assert stats.auth_fail + stats.bad_packet + stats.wrong_mki == len(flipped)
        assert rx.unprotect(protected, rtcp=is_rtcp) == packet


@pytest.mark.parametrize("suite", SUITE_NAMES)
@pytest.mark.parametrize("is_rtcp", [False, True])
def test_cut_packet_is_refused_at_every_length(suite: str, is_rtcp: bool) -> None:
    packet = rtcp() if is_rtcp else rtp(7)
    with sender(suite) as tx, receiver(suite) as rx:
        protected = tx.protect(packet, rtcp=is_rtcp)
        cuts = [protected[:length] for length in range(len(protected))] + [protected + b"\0"]
        assert {status for status, _ in rx.unprotect_many(cuts, rtcp=is_rtcp)} <= REFUSED
        assert rx.unprotect(protected, rtcp=is_rtcp) == packet


@pytest.mark.parametrize("suite", [CM80, GCM128])
def test_forged_packets_move_neither_list_nor_counter_of_a_bound_stream(suite: str) -> None:
    """SRTP-7."""
    with sender(suite) as tx, receiver(suite) as rx:
        rx.unprotect(tx.protect(rtp(100)))
        (before,) = rx.streams()
        ahead = bytearray(tx.protect(rtp(30000)))
        ahead[20] ^= 1
        assert refusal(rx, bytes(ahead)) == Status.AUTH_FAIL
        assert rx.streams() == [replace(before, auth_fail=1)]  # how many were refused, and nothing else
        late = receiver(suite)
        with late:
            assert refusal(late, bytes(ahead)) == Status.AUTH_FAIL
            assert late.streams() == []


@settings(max_examples=300, deadline=None)
@given(
    suite=st.sampled_from(SUITE_NAMES),
    packets=st.lists(st.tuples(st.binary(max_size=200), st.booleans(), st.booleans()), max_size=20),
)
def test_any_octets_are_answered_with_a_status(suite: str, packets: list[tuple[bytes, bool, bool]]) -> None:
    """SRTP-14: as received and as sent; half of them given version 2."""
    octets = [bytes((0x80 | data[0] & 0x3F,)) + data[1:] if v2 and data else data for data, v2, _ in packets]
    kinds = [kind for _, _, kind in packets]
    with sender(suite) as tx, receiver(suite, keys=(master(suite, mki=MKI),)) as rx:
        for (status, after), before in zip(rx.unprotect_many(octets, rtcp=kinds), octets, strict=True):
            assert status in REFUSED
            assert after == before
        assert rx.stats().n_streams == 0
        sent = tx.protect_many(octets, rtcp=kinds)
        allowed = {Status.OK, Status.BAD_PACKET, Status.REPLAY, Status.TOO_OLD, Status.SSRC_FULL}
        assert {status for status, _ in sent} <= allowed
