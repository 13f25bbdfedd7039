"""Media through the relay, with libsrtp as the far end: what the dialer sends arrives as SRTP, and the other way."""

import pytest
from support import relay_rig as rig
from support.relay_rig import Rig, rtcp, rtp
from ueagent_native.relay import EventKind, LegMode
from ueagent_native.values import Direction


@pytest.mark.parametrize("suite", [rig.AES_CM_80, rig.AES_CM_32, rig.GCM_128, rig.GCM_256])
def test_speech_crosses_both_ways_for_every_suite_of_libsrtp(suite: int) -> None:
    """SRTP-1, SRTP-10."""
    with Rig() as r:
        call = r.call().secure(suite)
        far_in, far_out = rig.inbound(1, suite), rig.outbound(2, suite)
        for seq in range(50):
            call.from_dialer(rtp(seq))
            wire = call.peer.recv(2048)
            assert wire != rtp(seq)
            assert b"speech" not in wire
            assert far_in.unprotect(wire) == rtp(seq)
            call.from_peer(far_out.protect(rtp(seq, ssrc=0x77)))
            assert call.dialer.recv(2048) == rtp(seq, ssrc=0x77)
        stats = call.stats()
        assert (stats.send.packets, stats.receive.packets) == (50, 50)
        assert (stats.from_dialer, stats.to_dialer) == (50, 50)


def test_rtcp_travels_on_its_own_sockets() -> None:
    """SRTP-2."""
    with Rig() as r:
        call = r.call().secure()
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        assert rig.inbound(1).unprotect_rtcp(call.peer_rtcp.recv(2048)) == rtcp()
        call.peer_rtcp.sendto(rig.outbound(2).protect_rtcp(rtcp(ssrc=9)), call.net_rtcp)
        assert call.dialer_rtcp.recv(2048) == rtcp(ssrc=9)


def test_muxed_rtcp_is_told_from_rtp_on_both_sides() -> None:
    """RFC 5761, 4."""
    with Rig() as r:
        call = r.call(net_mux=True, loop_mux=True).secure()
        far_in, far_out = rig.inbound(1), rig.outbound(2)
        call.from_dialer(rtp(1))
        call.from_dialer(rtcp())
        assert far_in.unprotect(call.peer.recv(2048)) == rtp(1)
        assert far_in.unprotect_rtcp(call.peer.recv(2048)) == rtcp()
        call.from_peer(far_out.protect_rtcp(rtcp(ssrc=9)))
        call.from_peer(far_out.protect(rtp(5, ssrc=9)))
        assert call.dialer.recv(2048) == rtcp(ssrc=9)
        assert call.dialer.recv(2048) == rtp(5, ssrc=9)
        stats = call.stats()
        assert (stats.send.rtcp_packets, stats.receive.rtcp_packets) == (1, 1)


def test_network_mux_meets_a_dialer_with_two_ports() -> None:
    """DYN-14: the two sides are muxed independently."""
    with Rig() as r:
        call = r.call(net_mux=True).secure()
        call.from_peer(rig.outbound(2).protect_rtcp(rtcp(ssrc=9)))
        assert call.dialer_rtcp.recv(2048) == rtcp(ssrc=9)
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        assert rig.inbound(1).unprotect_rtcp(call.peer.recv(2048)) == rtcp()


def test_payload_type_72_with_marker_is_rtp_where_nothing_is_muxed() -> None:
    with Rig() as r:
        call = r.call().secure()
        packet = rtp(1, payload_type=200)
        call.from_dialer(packet)
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == packet


def test_network_side_may_be_ipv6() -> None:
    with Rig() as r:
        call = r.call(host="::1").secure()
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)
        call.from_peer(rig.outbound(2).protect(rtp(1, ssrc=7)))
        assert call.dialer.recv(2048) == rtp(1, ssrc=7)


def test_ipv4_peer_is_reached_from_a_dual_stack_socket() -> None:
    with Rig() as r:
        call = r.call(host="::", connect=False)
        call.peer.close()
        call.peer = rig.udp()
        call.net = ("127.0.0.1", call.net[1])
        call.relay.set_peer(call.leg, rig.where(call.peer))
        call.relay.set_dialer(call.leg, rig.where(call.dialer))
        call.secure()
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)
        call.from_peer(rig.outbound(2).protect(rtp(1, ssrc=7)))
        assert call.dialer.recv(2048) == rtp(1, ssrc=7)
        assert r.count_events(EventKind.PEER_MOVED) == 0


@pytest.mark.parametrize("size", [0, 1, 160, 1200, 1344])
def test_payloads_of_any_size_cross(size: int) -> None:
    """SRTP-14."""
    with Rig() as r:
        call = r.call().secure()
        packet = rtp(1, payload=bytes(size))
        call.from_dialer(packet)
        assert rig.inbound(1).unprotect(call.peer.recv(4096)) == packet
        call.from_peer(rig.outbound(2).protect(packet))
        assert call.dialer.recv(4096) == packet


def test_datagram_too_long_for_the_core_is_dropped_and_the_next_one_passes() -> None:
    with Rig() as r:
        call = r.call().secure()
        call.from_dialer(rtp(1, payload=bytes(2030)))  # fits, but not with a tag behind it
        call.from_dialer(rtp(2, payload=bytes(4000)))
        call.from_dialer(rtp(3))
        assert rig.inbound(1).unprotect(call.peer.recv(4096)) == rtp(3)
        stats = call.stats()
        assert (stats.send.bad_packet, stats.dropped_class) == (1, 1)


def test_streams_are_reported_per_ssrc_and_direction() -> None:
    with Rig() as r:
        call = r.call().secure()
        assert call.relay.leg_streams(call.leg, Direction.SEND) == []
        for seq in (1, 2, 3):
            call.from_dialer(rtp(seq, ssrc=0xA))
            call.peer.recv(2048)
        call.from_dialer(rtp(9, ssrc=0xB))
        call.peer.recv(2048)
        streams = {s.ssrc: s for s in call.relay.leg_streams(call.leg, Direction.SEND)}
        assert streams[0xA].packets == 3
        assert streams[0xA].highest_seq == 3
        assert streams[0xB].packets == 1
        assert call.relay.leg_streams(call.leg, Direction.RECEIVE) == []


def test_refused_packets_count_with_the_stream_that_they_name() -> None:
    """DYN-11, SRTP-7: of bound SSRCs only; forged, repeated and too old ones apart, sent and received."""
    with Rig() as r:
        call = r.call().secure()
        far, forger = rig.outbound(2), rig.outbound(9)
        packets = {seq: far.protect(rtp(seq, ssrc=7)) for seq in (1, 2, 500)}
        call.from_peer(packets[1])
        call.from_peer(packets[500])
        for seq in (1, 500):
            assert call.dialer.recv(2048) == rtp(seq, ssrc=7)
        for packet in (
            packets[2],
            packets[500],
            packets[500],
            *(forger.protect(rtp(501 + n, ssrc=7)) for n in range(3)),
        ):
            call.from_peer(packet)
        call.from_peer(forger.protect(rtp(1, ssrc=8)))
        call.from_peer(far.protect(rtp(1, ssrc=9)))
        assert call.dialer.recv(2048) == rtp(1, ssrc=9)
        received = {
            s.ssrc: (s.auth_fail, s.replay, s.too_old) for s in r.relay.leg_streams(call.leg, Direction.RECEIVE)
        }
        assert received == {7: (3, 2, 1), 9: (0, 0, 0)}
        assert (call.stats().receive.auth_fail, call.stats().receive.replay) == (4, 2)

        for seq in (1, 1, 2):
            call.from_dialer(rtp(seq, ssrc=7))
        for _ in range(2):
            call.peer.recv(2048)
        (sent,) = r.relay.leg_streams(call.leg, Direction.SEND)
        assert (sent.packets, sent.replay, sent.auth_fail) == (2, 1, 0)


def test_late_packet_under_the_former_keys_blames_nobody() -> None:
    """SDES-17: it looked forged to the newest keys."""
    with Rig() as r:
        call = r.call().secure()
        old, new = rig.outbound(2), rig.outbound(12)
        call.from_peer(old.protect(rtp(1)))
        assert call.dialer.recv(2048) == rtp(1)
        call.relay.install(call.leg, receive=rig.to_receive(12), grace_ms=3_600_000, grace_max_ms=3_600_000)
        call.from_peer(new.protect(rtp(3)))
        assert call.dialer.recv(2048) == rtp(3)
        call.from_peer(old.protect(rtp(2)))
        assert call.dialer.recv(2048) == rtp(2)
        (stream,) = r.relay.leg_streams(call.leg, Direction.RECEIVE)
        assert (stream.packets, stream.auth_fail, stream.replay, stream.too_old) == (1, 0, 0, 0)


def test_engine_in_use_is_named_once_there_are_keys() -> None:
    with Rig() as r:
        call = r.call()
        assert call.stats().send_engine is None
        call.secure()
        call.relay.set_engine(call.leg, "portable")
        stats = call.stats()
        assert (stats.send_engine, stats.receive_engine) == ("portable", "portable")
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)


def test_hundred_calls_of_bursts_lose_nothing() -> None:
    """Each call gets one burst in both directions before anybody reads: all of it arrives, in order, intact."""
    with Rig(max_legs=100) as r:
        calls = [r.call(net_mux=True, loop_mux=True).secure() for _ in range(100)]
        far_out = [rig.outbound(2) for _ in calls]
        for seq in range(10):
            for call, session in zip(calls, far_out, strict=True):
                call.from_dialer(rtp(seq, ssrc=call.leg))
                call.from_peer(session.protect(rtp(seq, ssrc=call.leg)))
        for call in calls:
            far_in = rig.inbound(1)
            expected = [rtp(seq, ssrc=call.leg) for seq in range(10)]
            assert [far_in.unprotect(call.peer.recv(2048)) for _ in range(10)] == expected
            assert [call.dialer.recv(2048) for _ in range(10)] == expected


def test_hold_closes_the_leg_and_resume_keeps_its_keys() -> None:
    """DYN-9: the context survives, with its indices."""
    with Rig() as r:
        call = r.call().secure()
        far_in = rig.inbound(1)
        call.from_dialer(rtp(1))
        assert far_in.unprotect(call.peer.recv(2048)) == rtp(1)
        call.relay.set_mode(call.leg, LegMode.CLOSED)
        call.from_dialer(rtp(2))
        rig.eventually(lambda: call.stats().dropped_closed == 1)
        call.relay.set_mode(call.leg, LegMode.SECURE)
        call.from_dialer(rtp(3))
        assert far_in.unprotect(call.peer.recv(2048)) == rtp(3)
        assert call.stats().send.n_streams == 1
