"""What the relay does not let through, and that refusing it disturbs nobody."""

import random

import pytest
from support import relay_rig as rig
from support.relay_rig import Rig, rtcp, rtp, where
from ueagent_native.relay import EventKind, LegMode
from ueagent_native.values import Direction, NativeError, Status

STUN = bytes([0, 1]) + bytes(18)
ZRTP = bytes([0x10]) + bytes(30)
TURN = bytes([0x40]) + bytes(20)
UNKNOWN = bytes([0xC0]) + bytes(20)


def test_packet_under_a_wrong_key_is_counted_and_not_delivered() -> None:
    """SRTP-4, DYN-11: no SSRC slot either."""
    with Rig() as r:
        call = r.call().secure()
        call.from_peer(rig.outbound(99).protect(rtp(1, ssrc=0xBAD)))
        call.from_peer(rig.outbound(2).protect(rtp(2, ssrc=0x600D)))
        assert call.dialer.recv(2048) == rtp(2, ssrc=0x600D)
        stats = call.stats()
        assert (stats.receive.auth_fail, stats.unknown_ssrc, stats.to_dialer) == (1, 1, 1)
        assert [s.ssrc for s in call.relay.leg_streams(call.leg, Direction.RECEIVE)] == [0x600D]


def test_forged_packet_of_a_known_ssrc_is_no_unknown_ssrc() -> None:
    with Rig() as r:
        call = r.call().secure()
        call.from_peer(rig.outbound(2).protect(rtp(1)))
        call.from_peer(rig.outbound(99).protect(rtp(2)))
        rig.eventually(lambda: call.stats().receive.auth_fail == 1)
        assert call.stats().unknown_ssrc == 0


def test_replayed_packet_is_dropped() -> None:
    """SRTP-5."""
    with Rig() as r:
        call = r.call().secure()
        wire = rig.outbound(2).protect(rtp(1))
        call.from_peer(wire)
        call.from_peer(wire)
        rig.eventually(lambda: call.stats().receive.replay == 1)
        assert call.stats().to_dialer == 1


def test_repeated_index_is_not_sent_twice() -> None:
    """SRTP-11: not with other content either."""
    with Rig() as r:
        call = r.call().secure()
        call.from_dialer(rtp(1, payload=b"one"))
        call.from_dialer(rtp(1, payload=b"two"))
        call.from_dialer(rtp(2))
        far = rig.inbound(1)
        assert far.unprotect(call.peer.recv(2048)) == rtp(1, payload=b"one")
        assert far.unprotect(call.peer.recv(2048)) == rtp(2)
        assert call.stats().send.replay == 1


def test_closed_leg_drops_and_counts_both_directions() -> None:
    with Rig() as r:
        call = r.call()
        call.relay.install(call.leg, send=rig.to_send(1), receive=rig.to_receive(2))
        assert call.stats().mode == LegMode.CLOSED
        call.from_dialer(rtp(1))
        call.from_peer(rig.outbound(2).protect(rtp(1)))
        rig.eventually(lambda: call.stats().dropped_closed == 2)
        stats = call.stats()
        assert (stats.send.packets, stats.receive.packets, stats.to_dialer) == (0, 0, 0)


def test_secure_leg_without_keys_drops() -> None:
    """DYN-5: early media."""
    with Rig() as r:
        call = r.call()
        call.relay.set_mode(call.leg, LegMode.SECURE)
        call.relay.install(call.leg, receive=rig.to_receive(2))
        call.from_dialer(rtp(1))
        rig.eventually(lambda: call.stats().dropped_closed == 1)
        call.from_peer(rig.outbound(2).protect(rtp(1)))
        assert call.dialer.recv(2048) == rtp(1)


def test_packet_for_an_unknown_peer_spends_no_index() -> None:
    with Rig() as r:
        call = r.call(connect=False).secure()
        call.relay.set_dialer(call.leg, where(call.dialer))
        call.from_dialer(rtp(1))
        rig.eventually(lambda: call.stats().dropped_closed == 1)
        assert call.stats().send.key_packets == 0


def test_never_plain_leg_refuses_plain_for_ever() -> None:
    """POL-1."""
    with Rig() as r:
        call = r.call(never_plain=True)
        for mode in (None, LegMode.SECURE, LegMode.CLOSED):
            if mode is not None:
                call.relay.set_mode(call.leg, mode)
            with pytest.raises(NativeError) as refused:
                call.relay.set_mode(call.leg, LegMode.PLAIN)
            assert refused.value.status == Status.BAD_ARGUMENT
            assert call.stats().mode != LegMode.PLAIN


def test_plain_leg_passes_media_between_the_signalled_addresses() -> None:
    with Rig() as r:
        call = r.call()
        call.relay.set_mode(call.leg, LegMode.PLAIN)
        call.from_dialer(rtp(1))
        assert call.peer.recv(2048) == rtp(1)
        call.from_peer(rtp(2))
        assert call.dialer.recv(2048) == rtp(2)
        call.peer_rtcp.sendto(rtcp(), call.net_rtcp)
        assert call.dialer_rtcp.recv(2048) == rtcp()
        stats = call.stats()
        assert (stats.plain_sent, stats.plain_received, stats.send.packets) == (1, 2, 0)


def test_plain_packet_from_another_port_than_signalled_is_dropped_and_not_learnt() -> None:
    with Rig() as r, rig.udp() as stranger:
        call = r.call(learn_peer=True)
        call.relay.set_mode(call.leg, LegMode.PLAIN)
        stranger.sendto(rtp(1), call.net)
        rig.eventually(lambda: call.stats().dropped_closed == 1)
        call.from_dialer(rtp(2))
        assert call.peer.recv(2048) == rtp(2)


def test_plain_packet_on_a_secure_leg_is_dropped_and_the_call_goes_on() -> None:
    """SRTP-4: also a peer's first RTCP in plain."""
    with Rig() as r:
        call = r.call().secure()
        call.peer_rtcp.sendto(rtcp(), call.net_rtcp)
        call.from_peer(rtp(1))
        call.from_peer(rig.outbound(2).protect(rtp(2)))
        assert call.dialer.recv(2048) == rtp(2)
        rig.eventually(lambda: call.stats().receive.auth_fail + call.stats().receive.bad_packet == 2)
        assert call.stats().to_dialer == 1


@pytest.mark.parametrize("datagram", [STUN, ZRTP, TURN, UNKNOWN, b"", b"\x80", rtp(1)[:11]])
def test_datagrams_that_are_no_media_are_dropped_by_class(datagram: bytes) -> None:
    """RFC 7983, 7."""
    with Rig() as r:
        call = r.call().secure()
        call.from_peer(datagram)
        call.from_dialer(datagram)
        rig.eventually(lambda: call.stats().dropped_class == 2)
        assert call.relay.controls() == []


def test_rtp_on_the_rtcp_socket_is_dropped() -> None:
    with Rig() as r:
        call = r.call().secure()
        call.peer_rtcp.sendto(rig.outbound(2).protect(rtp(1)), call.net_rtcp)
        rig.eventually(lambda: call.stats().dropped_class == 1)


def test_dtls_from_the_dialer_goes_nowhere() -> None:
    with Rig() as r:
        call = r.call().secure()
        call.from_dialer(bytes([22]) + bytes(40))
        rig.eventually(lambda: call.stats().dropped_class == 1)
        assert call.relay.controls() == []


def test_other_local_process_cannot_speak_for_the_dialer() -> None:
    with Rig() as r, rig.udp() as stranger:
        call = r.call().secure()
        stranger.sendto(rtp(1), call.loop)
        call.from_dialer(rtp(2))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(2)
        assert call.stats().from_dialer == 1


def test_nothing_is_taken_from_loopback_before_the_dialer_is_known() -> None:
    """Also nothing that waited in the socket while it was still open to everybody."""
    with Rig(start=False) as r, rig.udp() as stranger:
        call = r.call(connect=False).secure()
        call.relay.set_peer(call.leg, where(call.peer))
        stranger.sendto(rtp(1), call.loop)
        call.relay.set_dialer(call.leg, where(call.dialer))
        call.from_dialer(rtp(2))
        call.relay.start()
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(2)
        stats = call.stats()
        assert (stats.from_dialer, stats.dropped_closed) == (1, 1)


def test_forged_packet_teaches_no_address() -> None:
    """DYN-12."""
    with Rig() as r, rig.udp() as stranger:
        call = r.call().secure()
        stranger.sendto(rig.outbound(99).protect(rtp(1)), call.net)
        stranger.sendto(rtp(1), call.net)
        rig.eventually(lambda: call.stats().receive.auth_fail == 2)
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)
        assert r.count_events(EventKind.PEER_MOVED) == 0


def test_replayed_packet_teaches_no_address() -> None:
    with Rig() as r, rig.udp() as stranger:
        call = r.call().secure()
        wire = rig.outbound(2).protect(rtp(1))
        call.from_peer(wire)
        stranger.sendto(wire, call.net)
        rig.eventually(lambda: call.stats().receive.replay == 1)
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)


def test_authentic_packet_moves_the_destination() -> None:
    """DYN-12: RTP and RTCP move separately when they are not muxed."""
    with Rig() as r, rig.udp() as moved:
        call = r.call().secure()
        moved.sendto(rig.outbound(2).protect(rtp(1)), call.net)
        assert call.dialer.recv(2048) == rtp(1)
        far = rig.inbound(1)
        call.from_dialer(rtp(1))
        assert far.unprotect(moved.recv(2048)) == rtp(1)
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        assert far.unprotect_rtcp(call.peer_rtcp.recv(2048)) == rtcp()
        assert r.wait_event(EventKind.PEER_MOVED).leg == call.leg


def test_leg_that_does_not_learn_keeps_the_signalled_destination() -> None:
    with Rig() as r, rig.udp() as moved:
        call = r.call(learn_peer=False).secure()
        moved.sendto(rig.outbound(2).protect(rtp(1)), call.net)
        assert call.dialer.recv(2048) == rtp(1)
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)


def test_signalled_address_replaces_a_learnt_one() -> None:
    with Rig() as r, rig.udp() as moved:
        call = r.call().secure()
        moved.sendto(rig.outbound(2).protect(rtp(1)), call.net)
        assert call.dialer.recv(2048) == rtp(1)
        call.relay.set_peer(call.leg, where(call.peer))
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)


@pytest.mark.parametrize(
    "address", [("0.0.0.0", 5000), ("127.0.0.1", 0), ("::1", 5000), ("localhost", 5000), ("127.0.0.1", 65536)]
)
def test_address_that_cannot_be_a_destination_is_refused(address: tuple[str, int]) -> None:
    """DYN-9: `c=0.0.0.0` is a hold, never an address; Linux would send there to itself."""
    with Rig() as r:
        call = r.call().secure()
        with pytest.raises(NativeError) as refused:
            call.relay.set_peer(call.leg, address)
        assert refused.value.status == Status.BAD_ARGUMENT
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)


def test_rtcp_address_needs_an_rtcp_socket() -> None:
    with Rig() as r:
        call = r.call(net_mux=True)
        with pytest.raises(NativeError):
            call.relay.set_peer(call.leg, where(call.peer), where(call.peer_rtcp))


def test_dead_dialer_port_is_counted_and_not_fatal() -> None:
    with Rig() as r:
        call = r.call().secure()
        far = rig.outbound(2)
        port = call.dialer.getsockname()
        call.dialer.close()
        for seq in range(3):
            call.from_peer(far.protect(rtp(seq)))
        rig.eventually(lambda: call.stats().send_errors > 0)
        call.dialer = rig.udp()
        call.relay.set_dialer(call.leg, where(call.dialer))
        assert port != call.dialer.getsockname()
        call.from_peer(far.protect(rtp(9)))
        assert call.dialer.recv(2048) == rtp(9)
        assert r.count_events(EventKind.SOCKET) == 0


def test_flood_of_garbage_does_not_disturb_a_call() -> None:
    """DYN-11, SRTP-14: random octets, random SSRCs; every good packet between them arrives."""
    rng = random.Random(7)
    with Rig() as r, rig.udp() as flooder:
        call, neighbour = r.call().secure(), r.call().secure()
        far_in, far_out = rig.inbound(1), rig.outbound(2)
        for seq in range(50):
            for _ in range(20):
                flooder.sendto(b"\x80" + rng.randbytes(rng.randrange(0, 300)), call.net)
                flooder.sendto(rng.randbytes(rng.randrange(0, 100)), call.loop)
            call.from_peer(far_out.protect(rtp(seq)))
            assert call.dialer.recv(2048) == rtp(seq)
            neighbour.from_dialer(rtp(seq))
            assert far_in.unprotect(neighbour.peer.recv(2048)) == rtp(seq)
        stats = call.stats()
        assert stats.receive.n_streams == 1
        assert stats.from_dialer == 0
        assert neighbour.stats().receive.auth_fail == 0
