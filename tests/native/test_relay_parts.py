"""A leg whose RTCP has keys of its own: an association for each port (RFC 5764, 4.1; DTLS-15). The peer is libsrtp."""

from __future__ import annotations

import pytest
from support import relay_rig as rig
from support.relay_rig import Call, Rig, rtcp, rtp
from ueagent_native.relay import EventKind, LegMode, Part, RelayConfig
from ueagent_native.values import NativeError, Status

FAR_FUTURE = 3_600_000  # ms


def rtp_keyed(r: Rig) -> Call:
    """RTP with the keys of seeds 1 and 2; RTCP has none yet."""
    call = r.call()
    call.relay.install(call.leg, part=Part.RTP, send=rig.to_send(1), receive=rig.to_receive(2))
    call.relay.set_mode(call.leg, LegMode.SECURE)
    return call


def rtcp_keyed(call: Call) -> Call:
    call.relay.install(call.leg, part=Part.RTCP, send=rig.to_send(3), receive=rig.to_receive(4))
    return call


def test_rtp_and_rtcp_go_under_their_own_keys_both_ways() -> None:
    """DTLS-15."""
    with Rig(split_legs=1) as r:
        call = rtcp_keyed(rtp_keyed(r))
        call.from_peer(rig.outbound(2).protect(rtp(1)))
        assert call.dialer.recv(2048) == rtp(1)
        call.peer_rtcp.sendto(rig.outbound(4).protect_rtcp(rtcp()), call.net_rtcp)
        assert call.dialer_rtcp.recv(2048) == rtcp()
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        assert rig.inbound(3).unprotect_rtcp(call.peer_rtcp.recv(2048)) == rtcp()
        assert (call.stats().receive.packets, call.stats().receive.rtcp_packets) == (1, 1)
        assert (call.stats().send.packets, call.stats().send.rtcp_packets) == (1, 1)


def test_rtcp_under_the_keys_of_rtp_is_refused() -> None:
    """DTLS-15, GEN-4."""
    with Rig(split_legs=1) as r:
        call = rtcp_keyed(rtp_keyed(r))
        call.peer_rtcp.sendto(rig.outbound(2).protect_rtcp(rtcp()), call.net_rtcp)
        rig.eventually(lambda: call.stats().receive.auth_fail == 1)


def test_rtcp_is_dropped_until_it_has_its_own_keys() -> None:
    """DTLS-30, GEN-4: never plain, and never under the keys of RTP."""
    with Rig(split_legs=1) as r:
        call = rtp_keyed(r)
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        rig.eventually(lambda: call.stats().dropped_closed == 1)
        rtcp_keyed(call)
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        assert rig.inbound(3).unprotect_rtcp(call.peer_rtcp.recv(2048)) == rtcp()


def test_a_new_key_of_rtp_leaves_that_of_rtcp_alone() -> None:
    """DTLS-18."""
    with Rig(split_legs=1) as r:
        call = rtcp_keyed(rtp_keyed(r))
        call.relay.install(call.leg, part=Part.RTP, receive=rig.to_receive(12), grace_max_ms=FAR_FUTURE)
        call.from_peer(rig.outbound(2).protect(rtp(1)))  # still under the old one
        assert call.dialer.recv(2048) == rtp(1)
        call.peer_rtcp.sendto(rig.outbound(4).protect_rtcp(rtcp()), call.net_rtcp)
        assert call.dialer_rtcp.recv(2048) == rtcp()


def test_the_old_key_of_rtcp_goes_after_its_own_grace() -> None:
    """SDES-17 for DTLS: each part has a grace of its own."""
    with Rig(split_legs=1) as r:
        call = rtcp_keyed(rtp_keyed(r))
        call.relay.install(call.leg, part=Part.RTCP, receive=rig.to_receive(14), grace_ms=0, grace_max_ms=50)
        r.wait_event(EventKind.OLD_KEY_GONE)
        call.peer_rtcp.sendto(rig.outbound(4).protect_rtcp(rtcp()), call.net_rtcp)
        rig.eventually(lambda: call.stats().receive.auth_fail == 1)
        call.peer_rtcp.sendto(rig.outbound(14).protect_rtcp(rtcp()), call.net_rtcp)
        assert call.dialer_rtcp.recv(2048) == rtcp()


def test_keys_for_both_bring_the_parts_together_again() -> None:
    with Rig(split_legs=1) as r:
        call = rtcp_keyed(rtp_keyed(r))
        call.relay.install(call.leg, send=rig.to_send(5), receive=rig.to_receive(6))
        call.peer_rtcp.sendto(rig.outbound(6).protect_rtcp(rtcp()), call.net_rtcp)
        assert call.dialer_rtcp.recv(2048) == rtcp()
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        assert rig.inbound(5).unprotect_rtcp(call.peer_rtcp.recv(2048)) == rtcp()


def test_contexts_of_a_closed_leg_serve_the_next_one() -> None:
    with Rig(max_legs=1, split_legs=1) as r:
        for _ in range(4):
            call = rtcp_keyed(rtp_keyed(r))
            for seed in (12, 22):
                call.relay.install(call.leg, part=Part.RTP, send=rig.to_send(1), receive=rig.to_receive(seed))
                call.relay.install(call.leg, part=Part.RTCP, send=rig.to_send(3), receive=rig.to_receive(seed + 2))
            call.relay.close_leg(call.leg)


def test_no_more_legs_are_split_than_there_is_room_for() -> None:
    """What is refused leaves the other part at work. A context more of each kind is there for changes of keys."""
    with Rig(max_legs=1, split_legs=0) as r:
        call = rtp_keyed(r)
        call.relay.install(call.leg, part=Part.RTCP, send=rig.to_send(3))
        with pytest.raises(NativeError) as caught:
            call.relay.install(call.leg, part=Part.RTP, send=rig.to_send(5))
        assert caught.value.status is Status.NO_ROOM
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)


@pytest.mark.parametrize("split", [2, 65])
def test_split_legs_are_legs(split: int) -> None:
    with pytest.raises(NativeError):
        Rig(start=False, max_legs=1, split_legs=split)
    assert RelayConfig().split_legs == 0


def test_a_part_that_does_not_exist_is_refused() -> None:
    with Rig(split_legs=1) as r:
        call = r.call()
        with pytest.raises(NativeError) as caught:
            call.relay.install(call.leg, part=3, send=rig.to_send(1))  # type: ignore[arg-type]
        assert caught.value.status is Status.BAD_ARGUMENT
