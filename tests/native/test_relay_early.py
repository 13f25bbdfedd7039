"""Media that come before their keys (DTLS-9, DTLS-30): 50 packets a leg, 500 ms, or dropped where switched off."""

from __future__ import annotations

import pytest
from support import relay_rig as rig
from support.relay_rig import Call, Rig, rtcp, rtp
from ueagent_native.relay import LegMode, Part
from ueagent_native.values import NativeError

PER_LEG = 50


def waiting(r: Rig) -> Call:
    """A leg that is secure and has no keys: offer and answer stand, the handshake goes on."""
    call = r.call()
    call.relay.set_mode(call.leg, LegMode.SECURE)
    return call


def arrived(call: Call) -> None:
    """Everything sent so far has been read: a DTLS datagram sent after it has come."""
    before = call.stats().control_passed
    call.from_peer(b"\x16" + bytes(12))
    rig.eventually(lambda: call.stats().control_passed > before)


def test_they_are_heard_in_their_order_when_the_keys_come() -> None:
    """DTLS-9."""
    with Rig(early_packets=8) as r:
        call = waiting(r)
        peer = rig.outbound(2)
        for number in (1, 2, 3):
            call.from_peer(peer.protect(rtp(number)))
        arrived(call)
        call.relay.install(call.leg, receive=rig.to_receive(2))
        assert [call.dialer.recv(2048) for _ in range(3)] == [rtp(1), rtp(2), rtp(3)]
        call.from_peer(peer.protect(rtp(4)))
        assert call.dialer.recv(2048) == rtp(4)
        assert (call.stats().receive.packets, call.stats().dropped_closed) == (4, 0)


def test_what_nobody_authenticates_is_not_heard() -> None:
    """DTLS-30: it makes no state either."""
    with Rig(early_packets=8) as r:
        call = waiting(r)
        call.from_peer(rig.outbound(99).protect(rtp(1, ssrc=0x666)))
        call.from_peer(rig.outbound(2).protect(rtp(1)))
        arrived(call)
        call.relay.install(call.leg, receive=rig.to_receive(2))
        assert call.dialer.recv(2048) == rtp(1)
        stats = call.stats().receive
        assert (stats.auth_fail, stats.packets, stats.n_streams) == (1, 1, 1)


def test_a_leg_keeps_fifty() -> None:
    """DTLS-9: a flood takes no more, and the first ones stay."""
    with Rig(early_packets=200) as r:
        call = waiting(r)
        peer = rig.outbound(2)
        for number in range(PER_LEG + 10):
            call.from_peer(peer.protect(rtp(number)))
        arrived(call)
        assert call.stats().dropped_closed == 10
        call.relay.install(call.leg, receive=rig.to_receive(2))
        assert [call.dialer.recv(2048) for _ in range(PER_LEG)] == [rtp(number) for number in range(PER_LEG)]


def test_they_wait_half_a_second_and_no_longer() -> None:
    """DTLS-9: the test waits for the counter that says so."""
    with Rig(early_packets=8) as r:
        call = waiting(r)
        peer = rig.outbound(2)
        call.from_peer(peer.protect(rtp(1)))
        arrived(call)
        assert call.stats().dropped_closed == 0
        rig.eventually(lambda: call.stats().dropped_closed == 1)
        call.relay.install(call.leg, receive=rig.to_receive(2))
        call.from_peer(peer.protect(rtp(2)))
        assert call.dialer.recv(2048) == rtp(2)


def test_switched_off_they_are_dropped() -> None:
    """DTLS-9, DTLS-30."""
    with Rig() as r:
        call = waiting(r)
        call.from_peer(rig.outbound(2).protect(rtp(1)))
        rig.eventually(lambda: call.stats().dropped_closed == 1)


def test_rtcp_waits_for_its_own_keys() -> None:
    """DTLS-15."""
    with Rig(early_packets=8, split_legs=1) as r:
        call = waiting(r)
        call.relay.install(call.leg, part=Part.RTP, receive=rig.to_receive(2))
        call.peer_rtcp.sendto(rig.outbound(4).protect_rtcp(rtcp()), call.net_rtcp)
        arrived(call)
        rig.eventually(lambda: call.stats().dropped_closed == 0)
        call.relay.install(call.leg, part=Part.RTP, receive=rig.to_receive(12))
        call.relay.install(call.leg, part=Part.RTCP, receive=rig.to_receive(4))
        assert call.dialer_rtcp.recv(2048) == rtcp()


@pytest.mark.parametrize("mode", [LegMode.CLOSED, LegMode.PLAIN])
def test_a_leg_that_gives_up_drops_them(mode: LegMode) -> None:
    """DTLS-8: what came under a wrong fingerprint is never heard."""
    with Rig(early_packets=8) as r:
        call = waiting(r)
        call.from_peer(rig.outbound(2).protect(rtp(1)))
        arrived(call)
        call.relay.set_mode(call.leg, mode)
        assert call.stats().dropped_closed == 1
        call.relay.set_mode(call.leg, LegMode.SECURE)
        call.relay.install(call.leg, receive=rig.to_receive(2))
        assert call.stats().receive.packets == 0


def test_a_leg_that_is_closed_leaves_its_places_to_others() -> None:
    with Rig(early_packets=1) as r:
        for _ in range(3):
            call = waiting(r)
            call.from_peer(rig.outbound(2).protect(rtp(1)))
            arrived(call)
            assert call.stats().dropped_closed == 0
            call.relay.close_leg(call.leg)


def test_a_flooded_leg_takes_no_place_of_another() -> None:
    """DTLS-9."""
    with Rig(early_packets=PER_LEG + 1) as r:
        flooded, other = waiting(r), waiting(r)
        for number in range(PER_LEG + 10):
            flooded.from_peer(rtp(number))
        arrived(flooded)
        other.from_peer(rig.outbound(2).protect(rtp(1)))
        arrived(other)
        other.relay.install(other.leg, receive=rig.to_receive(2))
        assert other.dialer.recv(2048) == rtp(1)


def test_places_are_bounded() -> None:
    with pytest.raises(NativeError):
        Rig(start=False, early_packets=1 << 17)
