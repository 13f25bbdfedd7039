"""Keys of a leg while media flows: re-keying, holding, lifetimes. RFC 4568, 7.1.4; SDES-13 and 17 to 19."""

import pytest
from support import relay_rig as rig
from support.relay_rig import Rig, rtp
from ueagent_native.relay import EventKind
from ueagent_native.values import Direction, MasterKeyConfig, NativeError, SrtpConfig, Status

FAR_FUTURE = 3_600_000  # ms


def test_old_and_new_receive_keys_are_accepted_until_the_grace_ends() -> None:
    """SDES-17."""
    with Rig() as r:
        call = r.call().secure()
        old, new = rig.outbound(2), rig.outbound(12)
        call.from_peer(old.protect(rtp(1)))
        assert call.dialer.recv(2048) == rtp(1)
        late, too_late = old.protect(rtp(2)), old.protect(rtp(3))

        call.relay.install(call.leg, receive=rig.to_receive(12), grace_ms=150, grace_max_ms=FAR_FUTURE)
        call.from_peer(new.protect(rtp(4)))
        assert call.dialer.recv(2048) == rtp(4)
        call.from_peer(late)
        assert call.dialer.recv(2048) == rtp(2)
        assert call.stats().receive.auth_fail == 0

        r.wait_event(EventKind.OLD_KEY_GONE)
        call.from_peer(too_late)
        call.from_peer(new.protect(rtp(5)))
        assert call.dialer.recv(2048) == rtp(5)
        assert call.stats().receive.auth_fail == 1


def test_old_receive_key_goes_at_the_latest_limit_without_any_new_packet() -> None:
    """SDES-17."""
    with Rig() as r:
        call = r.call().secure()
        old = rig.outbound(2)
        call.from_peer(old.protect(rtp(1)))
        assert call.dialer.recv(2048) == rtp(1)
        call.relay.install(call.leg, receive=rig.to_receive(12), grace_ms=0, grace_max_ms=50)
        r.wait_event(EventKind.OLD_KEY_GONE)
        call.from_peer(old.protect(rtp(2)))
        rig.eventually(lambda: call.stats().receive.auth_fail == 1)


def test_packet_under_neither_key_counts_as_one_failure() -> None:
    with Rig() as r:
        call = r.call().secure()
        call.relay.install(call.leg, receive=rig.to_receive(12), grace_max_ms=FAR_FUTURE)
        call.from_peer(rig.outbound(99).protect(rtp(1)))
        rig.eventually(lambda: call.stats().receive.auth_fail > 0)
        assert call.stats().receive.auth_fail == 1


def test_replay_under_the_new_key_counts_as_one_replay_while_the_old_one_lives() -> None:
    with Rig() as r:
        call = r.call().secure()
        call.relay.install(call.leg, receive=rig.to_receive(12), grace_ms=FAR_FUTURE, grace_max_ms=FAR_FUTURE)
        wire = rig.outbound(12).protect(rtp(1))
        call.from_peer(wire)
        call.from_peer(wire)
        rig.eventually(lambda: call.stats().receive.replay == 1)
        assert call.stats().receive.auth_fail == 0


def test_late_packet_under_the_old_key_does_not_move_the_peer_back() -> None:
    """SDES-14, DYN-12."""
    with Rig() as r, rig.udp() as moved:
        call = r.call().secure()
        call.relay.install(call.leg, receive=rig.to_receive(12), grace_ms=FAR_FUTURE, grace_max_ms=FAR_FUTURE)
        moved.sendto(rig.outbound(12).protect(rtp(1)), call.net)
        assert call.dialer.recv(2048) == rtp(1)
        call.from_peer(rig.outbound(2).protect(rtp(2)))
        assert call.dialer.recv(2048) == rtp(2)
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(moved.recv(2048)) == rtp(1)


def test_third_install_drops_the_oldest_keys() -> None:
    """SDES-17: two sets of receive keys at most."""
    with Rig(max_legs=1) as r:
        call = r.call().secure()
        for seed in (12, 22, 32):
            call.relay.install(call.leg, receive=rig.to_receive(seed), grace_max_ms=FAR_FUTURE)
        call.from_peer(rig.outbound(12).protect(rtp(1)))
        call.from_peer(rig.outbound(22).protect(rtp(2)))
        call.from_peer(rig.outbound(32).protect(rtp(3)))
        assert call.dialer.recv(2048) == rtp(2)
        assert call.dialer.recv(2048) == rtp(3)
        assert call.stats().receive.auth_fail == 1


def test_next_packet_after_install_is_sent_under_the_new_key() -> None:
    """SDES-17, SDES-18: the new context begins with ROC 0."""
    with Rig() as r:
        call = r.call().secure()
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)
        call.relay.install(call.leg, send=rig.to_send(11))
        call.from_dialer(rtp(2))
        assert rig.inbound(11).unprotect(call.peer.recv(2048)) == rtp(2)


def test_counters_never_go_back_when_keys_change() -> None:
    with Rig() as r:
        call = r.call().secure()
        for seed in (2, 12, 22, 32):
            if seed != 2:
                call.relay.install(
                    call.leg, send=rig.to_send(seed + 100), receive=rig.to_receive(seed), grace_max_ms=FAR_FUTURE
                )
            call.from_peer(rig.outbound(99).protect(rtp(9)))
            call.from_peer(rig.outbound(seed).protect(rtp(1)))
            assert call.dialer.recv(2048) == rtp(1)
            call.from_dialer(rtp(1))
            call.peer.recv(2048)
        stats = call.stats()
        assert (stats.send.packets, stats.receive.packets, stats.receive.auth_fail) == (4, 4, 4)


def test_restarted_stream_is_held_until_new_keys_come() -> None:
    """SRTP-11, SDES-18: RESTART once, nothing leaves, then the new context sends."""
    with Rig() as r:
        call = r.call()
        call.relay.install(call.leg, send=rig.to_send(1, restart_after=8))
        call.relay.set_mode(call.leg, rig.LegMode.SECURE)
        far = rig.inbound(1)
        for seq in range(2000, 2010):
            call.from_dialer(rtp(seq))
            assert far.unprotect(call.peer.recv(2048)) == rtp(seq)
        for seq in range(40):
            call.from_dialer(rtp(seq, payload=b"after the restart"))
        assert r.wait_event(EventKind.RESTART).a == 0x1234
        rig.eventually(lambda: call.stats().from_dialer == 50)
        assert call.stats().send.packets == 10
        assert call.stats().send.held > 0
        assert r.count_events(EventKind.RESTART) == 0

        call.relay.install(call.leg, send=rig.to_send(11))
        call.from_dialer(rtp(41))
        assert rig.inbound(11).unprotect(call.peer.recv(2048)) == rtp(41)


def test_soft_limit_is_reported_once_per_direction() -> None:
    """SDES-19."""
    with Rig() as r:
        call = r.call()
        call.relay.install(call.leg, send=rig.to_send(1, soft_limit=3), receive=rig.to_receive(2, soft_limit=3))
        call.relay.set_mode(call.leg, rig.LegMode.SECURE)
        far = rig.outbound(2)
        for seq in range(6):
            call.from_dialer(rtp(seq))
            call.peer.recv(2048)
            call.from_peer(far.protect(rtp(seq)))
            call.dialer.recv(2048)
        assert {r.wait_event(EventKind.SOFT_LIMIT).a for _ in range(2)} == {Direction.SEND, Direction.RECEIVE}
        assert r.count_events(EventKind.SOFT_LIMIT) == 0
        assert call.stats().send.soft


def test_expired_key_sends_nothing_more_and_is_reported_once() -> None:
    """SDES-9."""
    with Rig() as r:
        call = r.call()
        call.relay.install(call.leg, send=rig.to_send(1, lifetime=4))
        call.relay.set_mode(call.leg, rig.LegMode.SECURE)
        for seq in range(10):
            call.from_dialer(rtp(seq))
        assert r.wait_event(EventKind.KEY_EXPIRED).a == Direction.SEND
        rig.eventually(lambda: call.stats().send.expired == 6)
        assert call.stats().send.packets == 4
        assert r.count_events(EventKind.KEY_EXPIRED) == 0


def test_first_sequence_number_in_the_upper_half_is_reported() -> None:
    """SDES-13."""
    with Rig() as r:
        call = r.call().secure()
        call.from_dialer(rtp(40000, ssrc=0xA))
        event = r.wait_event(EventKind.LATE_START)
        assert (event.a, event.b) == (0xA, 40000)
        call.from_dialer(rtp(100, ssrc=0xB))
        rig.eventually(lambda: call.stats().send.packets == 2)
        assert r.count_events(EventKind.LATE_START) == 0


def test_engine_changes_between_two_packets_of_a_stream() -> None:
    """SRTP-13: indices and replay list stay; later keys use the engine, too."""
    with Rig() as r:
        call = r.call().secure()
        far = rig.inbound(1)
        call.from_dialer(rtp(1))
        assert far.unprotect(call.peer.recv(2048)) == rtp(1)
        call.relay.set_engine(call.leg, "portable")
        call.from_dialer(rtp(1))
        call.from_dialer(rtp(2))
        assert far.unprotect(call.peer.recv(2048)) == rtp(2)
        assert call.stats().send.replay == 1
        call.relay.install(call.leg, send=rig.to_send(11))
        assert call.stats().send_engine == "portable"


def test_unknown_engine_changes_nothing() -> None:
    with Rig() as r:
        call = r.call().secure()
        before = call.stats().send_engine
        with pytest.raises(NativeError) as refused:
            call.relay.set_engine(call.leg, "abacus")
        assert refused.value.status == Status.UNSUPPORTED
        assert call.stats().send_engine == before


@pytest.mark.parametrize(
    ("send", "receive", "status"),
    [
        (None, None, Status.BAD_ARGUMENT),
        (rig.to_receive(1), None, Status.BAD_ARGUMENT),
        (None, rig.to_send(1), Status.BAD_ARGUMENT),
        (rig.to_send(1), rig.to_receive(2, rtp_window=4096), Status.NO_ROOM),
        (rig.to_send(1), rig.to_receive(2, max_ssrc=500), Status.NO_ROOM),
        (SrtpConfig(77, Direction.SEND, (MasterKeyConfig(bytes(16), bytes(14)),)), None, Status.BAD_ARGUMENT),
        (SrtpConfig(1, Direction.SEND, (MasterKeyConfig(bytes(15), bytes(14)),)), None, Status.BAD_ARGUMENT),
    ],
)
def test_install_that_is_refused_leaves_the_old_keys_at_work(
    send: SrtpConfig | None, receive: SrtpConfig | None, status: Status
) -> None:
    with Rig(max_legs=1) as r:
        call = r.call().secure()
        for _ in range(4):  # and no context of the pool is lost
            with pytest.raises(NativeError) as refused:
                call.relay.install(call.leg, send=send, receive=receive)
            assert refused.value.status == status
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)
        call.relay.install(call.leg, send=rig.to_send(11), receive=rig.to_receive(12))


def test_mki_chooses_among_the_peers_keys() -> None:
    """SDES-10, SDES-12: one receive context with several keys; WRONG_MKI is told from a forgery."""
    first, second = rig.material(2), rig.material(12)
    keys = tuple(MasterKeyConfig(m[:16], m[16:], mki=bytes([0, i])) for i, m in ((1, first), (2, second)))
    one = rig.material(12)
    with Rig() as r:
        call = r.call()
        call.relay.install(call.leg, receive=SrtpConfig(1, Direction.RECEIVE, keys), send=rig.to_send(1))
        call.relay.set_mode(call.leg, rig.LegMode.SECURE)
        far = r.call()
        sender = SrtpConfig(1, Direction.SEND, (MasterKeyConfig(one[:16], one[16:], mki=b"\x00\x02"),))
        wrong = SrtpConfig(1, Direction.SEND, (MasterKeyConfig(one[:16], one[16:], mki=b"\x00\x09"),))
        far.relay.set_mode(far.leg, rig.LegMode.SECURE)
        for setup, ssrc in ((sender, 1), (wrong, 2)):
            far.relay.install(far.leg, send=setup)
            far.from_dialer(rtp(1, ssrc=ssrc))
            call.from_peer(far.peer.recv(2048))
        assert call.dialer.recv(2048) == rtp(1, ssrc=1)
        rig.eventually(lambda: call.stats().receive.wrong_mki == 1)
        assert call.stats().receive.auth_fail == 0
