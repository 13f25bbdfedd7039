"""Streams of a context: SSRC binding and capacity (DYN-11), restarts (RFC 7714, 8.4), the first number (SDES-13)."""

from __future__ import annotations

import pytest
from support.srtp import CM80, GCM128, model, receiver, refusal, rtcp, rtp, sender
from ueagent_native.values import Status

BOTH = pytest.mark.parametrize("suite", [CM80, GCM128])


def _sent(suite: str, seq: int, ssrc: int, roc: int = 0, payload: bytes = b"payload of a packet.") -> bytes:
    return model(suite).protect_rtp(rtp(seq, ssrc, payload), roc)


def test_flood_of_unknown_ssrcs_leaves_no_state() -> None:
    """DYN-11: unauthenticated packets create nothing."""
    with receiver(max_ssrc=4) as rx:
        good = [_sent(CM80, i & 0xFFFF, 1000 + i) for i in range(500)]
        flood = [packet[:-1] + bytes((packet[-1] ^ 1,)) for packet in good]
        assert {status for status, _ in rx.unprotect_many(flood)} == {Status.AUTH_FAIL}
        assert (rx.stats().n_streams, rx.stats().auth_fail, rx.streams()) == (0, 500, [])
        assert refusal(rx, good[400]) == Status.OK


@BOTH
@pytest.mark.parametrize("capacity", [1, 3, 8, 1024])
def test_ssrc_beyond_the_capacity_is_refused_once_authentic(suite: str, capacity: int) -> None:
    """DYN-11: and nothing of its payload is delivered."""
    with receiver(suite, max_ssrc=capacity) as rx:
        ssrcs = [0x9E3779B1 * i & 0xFFFFFFFF for i in range(capacity)]
        results = rx.unprotect_many([_sent(suite, 1, ssrc) for ssrc in ssrcs])
        assert {status for status, _ in results} == {Status.OK}
        one_more = _sent(suite, 1, 0x55555555, payload=b"must not be seen....")
        ((status, octets),) = rx.unprotect_many([one_more])
        assert status == Status.SSRC_FULL
        assert b"must not be seen" not in octets
        assert refusal(rx, one_more[:-1] + bytes((one_more[-1] ^ 1,))) == Status.AUTH_FAIL
        assert [s.ssrc for s in rx.streams()] == ssrcs
        assert (rx.stats().ssrc_full, rx.stats().n_streams) == (1, capacity)
        assert refusal(rx, _sent(suite, 2, ssrcs[-1])) == Status.OK


def test_sending_more_ssrcs_than_the_capacity_is_refused() -> None:
    with sender(max_ssrc=2) as tx:
        for ssrc in (1, 2):
            tx.protect(rtp(0, ssrc))
        assert refusal(tx, rtp(0, 3), sending=True) == Status.SSRC_FULL
        assert refusal(tx, rtcp(3), is_rtcp=True, sending=True) == Status.SSRC_FULL
        assert refusal(tx, rtcp(2), is_rtcp=True, sending=True) == Status.OK


def test_rtp_and_rtcp_of_an_ssrc_share_its_stream() -> None:
    with receiver() as rx:
        assert refusal(rx, model(CM80).protect_rtcp(rtcp(7), 40), is_rtcp=True) == Status.OK
        assert refusal(rx, _sent(CM80, 60000, 7)) == Status.OK
        (stream,) = rx.streams()
        assert (stream.packets, stream.rtcp_packets, stream.highest_seq) == (1, 1, 60000)


def test_restarted_stream_is_held_after_so_many_refusals_in_a_row() -> None:
    """No index twice: default 32; then everything of the SSRC, RTCP too, until a new context replaces this one."""
    with sender() as tx:
        for seq in range(20000, 20200):
            tx.protect(rtp(seq))
        statuses = [refusal(tx, rtp(seq), sending=True) for seq in range(100, 140)]
        assert statuses == [Status.TOO_OLD] * 31 + [Status.HELD] * 9
        assert refusal(tx, rtp(30000), sending=True) == Status.HELD
        assert refusal(tx, rtcp(), is_rtcp=True, sending=True) == Status.HELD
        assert (tx.stats().held, tx.stats().too_old) == (11, 31)
        assert tx.streams()[0].held
        assert tx.protect(rtp(1, ssrc=99))  # other streams go on


def test_repeated_indices_count_towards_a_restart_too() -> None:
    with sender(restart_after=4) as tx:
        for seq in range(10):
            tx.protect(rtp(seq))
        assert [refusal(tx, rtp(seq), sending=True) for seq in range(5)] == [Status.REPLAY] * 3 + [Status.HELD] * 2


def test_one_new_packet_ends_the_count_towards_a_restart() -> None:
    with sender(restart_after=4) as tx:
        tx.protect(rtp(1000))
        for seq in range(1001, 1020):
            assert [refusal(tx, rtp(5), sending=True) for _ in range(3)] == [Status.TOO_OLD] * 3
            assert refusal(tx, rtp(seq), sending=True) == Status.OK
        assert not tx.streams()[0].held


def test_backward_jump_before_the_start_counts_towards_a_restart() -> None:
    with sender(restart_after=2) as tx:
        tx.protect(rtp(10))
        assert [refusal(tx, rtp(seq), sending=True) for seq in (65000, 65001)] == [Status.TOO_OLD, Status.HELD]


@pytest.mark.parametrize(("first", "late"), [(0, False), (32767, False), (32768, True), (65535, True)])
def test_first_sequence_number_of_the_upper_half_is_reported(first: int, late: bool) -> None:
    """SDES-13."""
    with sender() as tx, receiver() as rx:
        protected = tx.protect(rtp(first))
        tx.protect(rtp((first + 1) & 0xFFFF))
        rx.unprotect(protected)
        assert tx.streams()[0].late_start is late
        assert rx.streams()[0].late_start is False


def test_numbers_that_pass_the_middle_later_are_no_late_start() -> None:
    """SDES-13."""
    with sender() as tx:
        tx.protect(rtcp(), rtcp=True)
        for seq in (32767, 32768):
            tx.protect(rtp(seq))
        assert not tx.streams()[0].late_start
