"""What the relay reports to its owner, and how often."""

import select

import pytest
from support import relay_rig as rig
from support.relay_rig import Rig, rtp
from ueagent_native._core import lib
from ueagent_native.relay import EventKind, LegMode, RelayEvent

DTLS = bytes([22, 254, 253]) + bytes(range(60))


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_first_packet_of_each_ssrc_and_the_new_key_are_reported_once() -> None:
    with Rig() as r:
        call = r.call().secure()
        far = rig.outbound(2)
        for seq in range(5):
            for ssrc in (0xA, 0xB):
                call.from_peer(far.protect(rtp(seq, ssrc=ssrc)))
                call.dialer.recv(2048)
        assert [r.wait_event(EventKind.FIRST_PACKET).a for _ in range(2)] == [0xA, 0xB]
        assert r.wait_event(EventKind.NEW_KEY_SEEN).leg == call.leg
        assert r.count_events(EventKind.FIRST_PACKET) == 0
        assert r.count_events(EventKind.NEW_KEY_SEEN) == 0


def test_known_ssrc_is_not_first_again_after_a_change_of_keys() -> None:
    with Rig() as r:
        call = r.call().secure()
        call.from_peer(rig.outbound(2).protect(rtp(1)))
        call.dialer.recv(2048)
        call.relay.install(call.leg, receive=rig.to_receive(12))
        call.from_peer(rig.outbound(12).protect(rtp(2)))
        call.dialer.recv(2048)
        for _ in range(2):
            r.wait_event(EventKind.NEW_KEY_SEEN)
        assert r.count_events(EventKind.FIRST_PACKET) == 1


def test_burst_of_forgeries_is_one_event_with_their_number() -> None:
    with Rig(auth_burst=10) as r:
        call = r.call().secure()
        wire = rig.outbound(99).protect(rtp(1))
        for _ in range(30):
            call.from_peer(wire)
        rig.eventually(lambda: call.stats().receive.auth_fail == 30)
        assert r.wait_event(EventKind.AUTH_BURST).a == 30


def test_few_forgeries_are_counted_without_an_event() -> None:
    with Rig(auth_burst=10) as r:
        quiet, loud = r.call().secure(), r.call().secure()
        wire = rig.outbound(99).protect(rtp(1))
        for _ in range(10):
            quiet.from_peer(wire)
        for _ in range(11):
            loud.from_peer(wire)
        assert r.wait_event(EventKind.AUTH_BURST).leg == loud.leg
        assert r.count_events(EventKind.AUTH_BURST) == 0


def test_full_table_of_ssrcs_is_reported_at_a_bounded_rate() -> None:
    """DYN-11."""
    with Rig(max_ssrc=2) as r:
        call = r.call()
        call.relay.install(call.leg, receive=rig.to_receive(2, max_ssrc=2))
        call.relay.set_mode(call.leg, LegMode.SECURE)
        far = rig.outbound(2)
        for ssrc in range(1, 13):
            call.from_peer(far.protect(rtp(1, ssrc=ssrc)))
        rig.eventually(lambda: call.stats().receive.ssrc_full == 10)
        assert r.wait_event(EventKind.SSRC_FULL).a == 3
        assert r.count_events(EventKind.SSRC_FULL) == 0
        assert call.stats().to_dialer == 2


def test_silence_is_reported_once_until_packets_flow_again() -> None:
    with Rig() as r:
        call = r.call(idle_seconds=1).secure()
        far = rig.outbound(2)
        call.from_peer(far.protect(rtp(1)))
        call.dialer.recv(2048)
        assert r.wait_event(EventKind.IDLE).leg == call.leg
        call.from_peer(rig.outbound(99).protect(rtp(2)))  # a forgery is silence, too
        rig.eventually(lambda: call.stats().receive.auth_fail == 1)
        assert call.stats().idle_ms >= 1000
        call.from_peer(far.protect(rtp(3)))
        call.dialer.recv(2048)
        assert call.stats().idle_ms < 1000
        r.wait_event(EventKind.IDLE)


def test_closed_leg_is_never_idle() -> None:
    with Rig() as r:
        silent = r.call(idle_seconds=1)
        r.call(idle_seconds=1).secure()
        r.wait_event(EventKind.IDLE)
        assert r.count_events(EventKind.IDLE) == 0
        assert silent.stats().mode == LegMode.CLOSED


def test_events_that_found_no_room_are_reported_as_a_number() -> None:
    with Rig(event_capacity=4, max_legs=20) as r:
        calls = [r.call() for _ in range(20)]
        for call in calls:
            call.relay.close_leg(call.leg)
        assert [e.kind for e in r.relay.events()] == [EventKind.LEG_CLOSED] * 4
        lost = r.wait_event(EventKind.LOST)
        assert (lost.leg, lost.a) == (0, 16)


def test_event_fd_is_readable_exactly_while_something_waits() -> None:
    with Rig() as r:
        fd = r.relay.fileno()
        assert not readable(fd)
        call = r.call().secure()
        call.from_peer(DTLS)
        rig.eventually(lambda: call.stats().control_passed == 1)
        rig.eventually(lambda: readable(fd))
        assert r.relay.events() == []
        assert readable(fd)
        assert len(r.relay.controls()) == 1
        assert not readable(fd)
        r.relay.close_leg(call.leg)
        rig.eventually(lambda: readable(fd))
        assert r.relay.events() == [RelayEvent(EventKind.LEG_CLOSED, call.leg, 0, 0)]
        assert not readable(fd)


@pytest.mark.parametrize("kind", EventKind)
def test_event_numbers_are_those_of_the_header(kind: EventKind) -> None:
    assert getattr(lib, f"UMS_EVENT_{kind.name}") == kind


@pytest.mark.parametrize("mode", LegMode)
def test_mode_numbers_are_those_of_the_header(mode: LegMode) -> None:
    assert getattr(lib, f"UMS_LEG_{mode.name}") == mode
