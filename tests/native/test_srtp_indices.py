"""Packet indices and replay lists (RFC 3711, 3.3.1, 3.3.2, 3.4, Appendix A) as packets show them."""

from __future__ import annotations

import pytest
from support.srtp import CM80, GCM128, model, receiver, refusal, rtcp, rtp, sender
from ueagent_native.srtp import SrtpContext
from ueagent_native.values import Status

WINDOWS = (64, 128, 1024, 16384)  # what lies further behind cannot be named by 16 bits anyway


def _sent(index: int, ssrc: int = 0x1234) -> bytes:
    """The SRTP packet of a 48-bit index, made by the model."""
    return model(CM80).protect_rtp(rtp(index & 0xFFFF, ssrc), index >> 16)


def _control(index: int) -> bytes:
    return model(CM80).protect_rtcp(rtcp(), index)


def _walk_to(rx: SrtpContext, index: int) -> None:
    """Brings a receiver's highest index to `index` by jumps of less than 2^15."""
    at = 0
    rx.unprotect(_sent(0))
    while at < index:
        at = min(at + 32000, index)
        assert refusal(rx, _sent(at)) == Status.OK


def _roc(context: SrtpContext) -> int:
    return context.streams()[0].roc


def test_rollover_counter_goes_up_at_the_wrap() -> None:
    """SRTP-6."""
    with sender() as tx, receiver() as rx:
        for index in range(65533, 65540):
            protected = tx.protect(rtp(index & 0xFFFF))
            assert protected == _sent(index)
            assert rx.unprotect(protected) == rtp(index & 0xFFFF)
        assert (_roc(tx), _roc(rx)) == (1, 1)


@pytest.mark.parametrize("lost", [1, 2, 100, 1000, 30000])
def test_loss_around_the_wrap_keeps_the_count(lost: int) -> None:
    """SRTP-6."""
    with receiver() as rx:
        assert refusal(rx, _sent(65535 - lost // 2)) == Status.OK
        assert refusal(rx, _sent(65536 + lost // 2)) == Status.OK
        assert _roc(rx) == 1


def test_late_packet_from_before_the_wrap_is_accepted_without_moving_the_counter() -> None:
    """SRTP-6: v = ROC - 1."""
    with receiver() as rx:
        for index in (65534, 65537, 65535, 65536):
            assert refusal(rx, _sent(index)) == Status.OK
        assert _roc(rx) == 1
        assert rx.streams()[0].highest_seq == 1


@pytest.mark.parametrize("jump", [32766, 32767, 32768])
@pytest.mark.parametrize("start", [0, 1, 32767])
def test_jump_of_half_the_circle_is_still_ahead_from_the_lower_half(start: int, jump: int) -> None:
    """SRTP-6, Appendix A: SEQ - s_l > 32768 is what makes v = ROC - 1."""
    with receiver() as rx:
        assert refusal(rx, _sent(start)) == Status.OK
        assert refusal(rx, _sent(start + jump)) == Status.OK
        assert rx.streams()[0].highest_seq == start + jump


def test_jump_beyond_half_the_circle_is_taken_for_the_past() -> None:
    """SRTP-6: before the start of the stream there is nothing."""
    with receiver() as rx:
        assert refusal(rx, _sent(0)) == Status.OK
        assert refusal(rx, _sent(32769)) == Status.TOO_OLD


def test_jump_of_half_the_circle_from_the_upper_half_is_behind() -> None:
    """SRTP-6, Appendix A: s_l - 32768 > SEQ is what makes v = ROC + 1."""
    with receiver() as rx:
        assert refusal(rx, _sent(40000)) == Status.OK
        assert refusal(rx, _sent(65536 + 40000 - 32768)) == Status.TOO_OLD
        assert refusal(rx, _sent(65536 + 40000 - 32769)) == Status.OK


def test_counter_moves_only_after_authentication() -> None:
    """SRTP-6, SRTP-7."""
    with receiver() as rx:
        assert refusal(rx, _sent(65000)) == Status.OK
        forged = bytearray(_sent(65536 + 100))
        forged[-1] ^= 1
        for _ in range(5):
            assert refusal(rx, bytes(forged)) == Status.AUTH_FAIL
        assert _roc(rx) == 0
        assert refusal(rx, _sent(65001)) == Status.OK


@pytest.mark.parametrize("window", WINDOWS)
def test_replayed_packet_is_refused_at_every_edge_of_the_list(window: int) -> None:
    """SRTP-5: index -63 (of a list of 64) is seen before, -64 is forgotten; -1 new is accepted."""
    with receiver(rtp_window=window) as rx:
        base = 100_000
        _walk_to(rx, base - window - 10)
        for index in (base - window, base - window + 1, base - 2, base):
            assert refusal(rx, _sent(index)) == Status.OK
        for behind, status in (
            (0, Status.REPLAY),
            (2, Status.REPLAY),
            (window - 1, Status.REPLAY),
            (window, Status.TOO_OLD),
            (window + 5, Status.TOO_OLD),
            (window - 2, Status.OK),
            (1, Status.OK),
        ):
            assert refusal(rx, _sent(base - behind)) == status
        stats = rx.stats()
        assert (stats.replay, stats.too_old) == (3, 2)


@pytest.mark.parametrize("window", WINDOWS)
def test_list_forgets_nothing_while_it_moves_and_keeps_nothing_old(window: int) -> None:
    """SRTP-5: the ring wraps over itself many times; jumps beyond its size clear it whole."""
    with receiver(rtp_window=window) as rx:
        at = 0
        rx.unprotect(_sent(0))
        for jump in (1, 63, 64, 65, window - 1, window, window + 1, window + 64, 2 * window + 3, 5 * window):
            at += min(jump, 32767)
            assert refusal(rx, _sent(at)) == Status.OK
            assert refusal(rx, _sent(at)) == Status.REPLAY
            for behind in (1, window // 2, window - 1):
                if jump > behind and at >= behind:
                    assert refusal(rx, _sent(at - behind)) == Status.OK
                    assert refusal(rx, _sent(at - behind)) == Status.REPLAY


def test_largest_window_reaches_back_as_far_as_sequence_numbers_do() -> None:
    with receiver(rtp_window=32768) as rx:
        _walk_to(rx, 40000)
        assert refusal(rx, _sent(40000 - 32767)) == Status.OK
        assert refusal(rx, _sent(40000 - 32767)) == Status.REPLAY
        assert refusal(rx, _sent(40000 - 32768)) == Status.TOO_OLD


def test_odd_window_is_rounded_up_to_a_multiple_of_64() -> None:
    with receiver(rtp_window=65) as rx:
        for index in (0, 200):
            assert refusal(rx, _sent(index)) == Status.OK
        assert refusal(rx, _sent(200 - 127)) == Status.OK
        assert refusal(rx, _sent(200 - 128)) == Status.TOO_OLD


@pytest.mark.parametrize("window", [64, 1024])
def test_srtcp_has_a_replay_list_of_its_own(window: int) -> None:
    """SRTP-5."""
    with receiver(rtcp_window=window) as rx:
        assert refusal(rx, _sent(5000)) == Status.OK
        for index, status in (
            (5000, Status.OK),
            (5000, Status.REPLAY),
            (5000 - window, Status.TOO_OLD),
            (5001 - window, Status.OK),
            (5001 - window, Status.REPLAY),
            (0x7FFFFFFF, Status.OK),
            (0x7FFFFFFF, Status.REPLAY),
            (5002, Status.TOO_OLD),
        ):
            assert refusal(rx, _control(index), is_rtcp=True) == status


def test_srtcp_index_zero_is_accepted_from_a_peer() -> None:
    """RFC 3711, 3.4: some begin at 0."""
    with receiver() as rx:
        assert refusal(rx, _control(0), is_rtcp=True) == Status.OK
        assert refusal(rx, _control(0), is_rtcp=True) == Status.REPLAY


def test_srtcp_index_counts_per_ssrc_from_one() -> None:
    with sender() as tx:
        words = [tx.protect(rtcp(ssrc), rtcp=True)[-14:-10].hex() for ssrc in (1, 1, 2, 1)]
    assert words == ["80000001", "80000002", "80000001", "80000003"]


@pytest.mark.parametrize("suite", [CM80, GCM128])
def test_sending_estimates_the_index_and_spends_each_once(suite: str) -> None:
    """SRTP-11: reordered new packets go out, a repeated index with another payload does not."""
    oracle = model(suite)
    with sender(suite) as tx:
        for index in (65530, 65534, 65533, 65536, 65535):
            packet = rtp(index & 0xFFFF)
            assert tx.protect(packet) == oracle.protect_rtp(packet, index >> 16)
        assert refusal(tx, rtp(65533, payload=b"something else"), sending=True) == Status.REPLAY
        assert refusal(tx, rtp(65300), sending=True) == Status.TOO_OLD
        stats = tx.stats()
        assert (stats.packets, stats.replay, stats.too_old) == (5, 1, 1)


def test_new_ssrc_begins_with_a_rollover_counter_of_zero() -> None:
    """DYN-13."""
    with sender() as tx, receiver() as rx:
        for index in (65535, 65536):
            tx.protect(rtp(index & 0xFFFF))
            rx.unprotect(_sent(index))
        assert tx.protect(rtp(5, ssrc=77)) == _sent(5, ssrc=77)
        assert rx.unprotect(_sent(5, ssrc=77)) == rtp(5, ssrc=77)
        assert [s.roc for s in tx.streams()] == [1, 0]


@pytest.mark.parametrize("suite", [CM80, GCM128])
def test_streams_that_collide_in_their_ssrc_never_share_an_index(suite: str) -> None:
    """DYN-13, SRTP-11: two sources of one SSRC under one key; whatever leaves has an index of its own."""
    with sender(suite) as tx:
        left = []
        for step in range(200):
            for payload, seq in ((b"one" * 8, 1000 + step), (b"two" * 8, 1050 + step)):
                if refusal(tx, rtp(seq, payload=payload), sending=True) == Status.OK:
                    left.append(seq)
        assert sorted(left) == list(range(1000, 1250))
        assert tx.stats().replay == 150


def test_new_context_begins_with_a_rollover_counter_of_zero() -> None:
    """SDES-18: keys are never replaced inside a context."""
    for _ in range(2):
        with sender() as tx:
            assert tx.protect(rtp(65535)) == _sent(65535)
            assert tx.protect(rtp(0)) == _sent(65536)


def test_octets_count_the_plain_packet() -> None:
    with sender() as tx, receiver() as rx:
        for seq in range(3):
            rx.unprotect(tx.protect(rtp(seq, payload=bytes(100))))
        assert tx.stats().octets == rx.stats().octets == 3 * 112
        assert tx.streams()[0].octets == rx.streams()[0].octets == 3 * 112
