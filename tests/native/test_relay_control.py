"""DTLS datagrams between the network sockets and the owner of the relay. RFC 5764, 5.1.2; RFC 7983, 7."""

import pytest
from support import relay_rig as rig
from support.relay_rig import Rig, rtp, where
from ueagent_native.relay import ControlDatagram
from ueagent_native.values import NativeError, Status

DTLS = bytes([22, 254, 253]) + bytes(range(60))


def test_dtls_datagram_reaches_the_owner_with_its_sender() -> None:
    """DYN-18: also while the leg is still closed."""
    with Rig() as r:
        call = r.call()
        call.from_peer(DTLS)
        call.peer_rtcp.sendto(DTLS, call.net_rtcp)
        rig.eventually(lambda: call.stats().control_passed == 2)
        assert sorted(r.relay.controls(), key=lambda c: c.rtcp) == [
            ControlDatagram(call.leg, False, where(call.peer), DTLS),
            ControlDatagram(call.leg, True, where(call.peer_rtcp), DTLS),
        ]


def test_ipv6_sender_is_named_in_full() -> None:
    with Rig() as r:
        call = r.call(host="::1")
        call.from_peer(DTLS)
        rig.eventually(lambda: call.stats().control_passed == 1)
        assert r.relay.controls()[0].sender == where(call.peer)


@pytest.mark.parametrize("first", [20, 22, 63])
def test_whole_range_of_dtls_is_passed(first: int) -> None:
    with Rig() as r:
        call = r.call()
        call.from_peer(bytes([first]) + DTLS)
        rig.eventually(lambda: call.stats().control_passed == 1)


def test_flood_of_dtls_is_cut_per_leg_and_second() -> None:
    with Rig(control_per_second=5, control_capacity=64) as r:
        call, neighbour = r.call(), r.call().secure()
        for _ in range(40):
            call.from_peer(DTLS)
        rig.eventually(lambda: call.stats().control_passed + call.stats().control_dropped == 40)
        # The flood may straddle the end of a second.
        assert 5 <= call.stats().control_passed <= 10
        neighbour.from_peer(DTLS)
        rig.eventually(lambda: neighbour.stats().control_passed == 1)
        neighbour.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(neighbour.peer.recv(2048)) == rtp(1)


def test_full_control_ring_drops_and_counts() -> None:
    with Rig(control_per_second=1000, control_capacity=4) as r:
        call = r.call()
        for _ in range(10):
            call.from_peer(DTLS)
        rig.eventually(lambda: call.stats().control_dropped == 6)
        assert len(r.relay.controls()) == 4
        call.from_peer(DTLS)
        rig.eventually(lambda: call.stats().control_passed == 5)


def test_own_datagram_goes_to_the_peer_or_where_it_is_told() -> None:
    with Rig() as r, rig.udp() as other:
        call = r.call()
        call.relay.send(call.leg, DTLS)
        assert call.peer.recvfrom(2048) == (DTLS, call.net)
        call.relay.send(call.leg, bytearray(DTLS), rtcp=True)
        assert call.peer_rtcp.recvfrom(2048) == (DTLS, call.net_rtcp)
        call.relay.send(call.leg, DTLS, to=where(other))
        assert other.recv(2048) == DTLS


@pytest.mark.parametrize("data", [b"", rtp(1), b"\x00\x01" + bytes(18), bytes([22]) * 2049])
def test_nothing_but_dtls_can_be_sent_past_srtp(data: bytes) -> None:
    """POL-1."""
    with Rig() as r:
        call = r.call()
        with pytest.raises(NativeError) as refused:
            call.relay.send(call.leg, data)
        assert refused.value.status == Status.BAD_ARGUMENT


def test_send_without_any_destination_is_refused() -> None:
    with Rig() as r:
        call = r.call(connect=False)
        with pytest.raises(NativeError) as refused:
            call.relay.send(call.leg, DTLS)
        assert refused.value.status == Status.BAD_ARGUMENT


STUN = bytes.fromhex("000100002112a442") + bytes(12)


def test_stun_is_dropped_where_ice_was_not_negotiated() -> None:
    """DTLS-16."""
    with Rig() as r:
        call = r.call()
        call.from_peer(STUN)
        rig.eventually(lambda: call.stats().dropped_class == 1)
        assert r.relay.controls() == []


def test_with_ice_stun_reaches_the_owner_and_may_be_sent() -> None:
    """WEB-4: also while the leg is still closed; and no longer once ICE has ended."""
    with Rig() as r:
        call = r.call()
        call.relay.set_ice(call.leg, True)
        call.from_peer(STUN)
        rig.eventually(lambda: call.stats().control_passed == 1)
        assert r.relay.controls() == [ControlDatagram(call.leg, False, where(call.peer), STUN)]
        call.relay.send(call.leg, STUN)
        assert call.peer.recv(2048) == STUN
        call.relay.set_ice(call.leg, False)
        call.from_peer(STUN)
        rig.eventually(lambda: call.stats().dropped_class == 1)


def test_flood_of_dtls_does_not_starve_the_handshake_of_the_peer() -> None:
    """Hellos of strangers have a limit of their own."""
    with Rig(control_per_second=5, control_capacity=64) as r, rig.udp() as flooder:
        call = r.call()
        for _ in range(40):
            flooder.sendto(DTLS, call.net)
        for _ in range(3):
            call.from_peer(DTLS)
        rig.eventually(lambda: call.stats().control_passed + call.stats().control_dropped == 43)
        came = [(c.sender, c.data) for c in r.relay.controls()]
        assert came.count((where(call.peer), DTLS)) == 3
        # The flood may straddle the end of a second.
        assert 5 <= came.count((where(flooder), DTLS)) <= 10


def test_flood_of_stun_starves_neither_handshakes_nor_the_checks_of_the_peer() -> None:
    with Rig(control_per_second=5, control_capacity=64) as r, rig.udp() as flooder:
        call = r.call()
        call.relay.set_ice(call.leg, True)
        for _ in range(40):
            flooder.sendto(STUN, call.net)
        call.from_peer(STUN)
        call.from_peer(DTLS)
        rig.eventually(lambda: call.stats().control_passed + call.stats().control_dropped == 42)
        came = [(c.sender, c.data) for c in r.relay.controls()]
        assert came.count((where(call.peer), STUN)) == 1
        assert came.count((where(call.peer), DTLS)) == 1
        # The flood may straddle the end of a second.
        assert 5 <= came.count((where(flooder), STUN)) <= 10


def test_with_ice_authentic_media_from_elsewhere_do_not_move_the_peer() -> None:
    """RFC 8445, 12: media go to the path that a check nominated."""
    with Rig() as r, rig.udp() as other:
        call = r.call().secure()
        call.relay.set_ice(call.leg, True)
        other.sendto(rig.outbound(2).protect(rtp(1)), call.net)
        assert call.dialer.recv(2048) == rtp(1)
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)
