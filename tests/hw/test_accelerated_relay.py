"""Calls over an accelerator: what the device does, what a CPU does when it cannot, and what never happens."""

from __future__ import annotations

import socket

import pytest
from support.accelerated import PATIENT_US, SHORT_US, Accelerated
from support.relay_rig import (
    AES_CM_32,
    AES_CM_80,
    GCM_128,
    GCM_256,
    PATIENCE,
    Call,
    eventually,
    inbound,
    outbound,
    rtcp,
    rtp,
    to_receive,
    to_send,
)
from ueagent_native.device import Fault
from ueagent_native.link import Custody, LinkState
from ueagent_native.relay import EventKind, LegMode, Part

SUITES = (AES_CM_80, AES_CM_32, GCM_128, GCM_256)


def talk(call: Call, first: int, n: int, suite: int = AES_CM_80) -> tuple[int, int]:
    """`n` packets each way; how many arrived as they were sent, at the peer and at the dialer."""
    theirs, ours = outbound(2, suite), inbound(1, suite)
    heard = [0, 0]
    for seq in range(first, first + n):
        packet = rtp(seq)
        call.from_dialer(packet)
        heard[0] += ours.unprotect(call.peer.recv(2048)) == packet
        call.from_peer(theirs.protect(packet))
        heard[1] += call.dialer.recv(2048) == packet
    return heard[0], heard[1]


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("plain", [False, True], ids=["wrapped", "plain"])
def test_every_media_packet_of_a_call_is_done_by_the_device(suite: int, plain: bool) -> None:
    """SRTP-2. The far end is libsrtp."""
    with Accelerated(plain=plain, verify_every=0) as rig:
        call = rig.call().secure(suite)
        rig.wait_loads(2)
        assert talk(call, 1, 20, suite) == (20, 20)
        stats = call.stats()
        assert (stats.accelerated, stats.send_engine, stats.receive_engine) == (40, "serial", "serial")
        assert rig.stats().done == 40
        assert rig.stats().fallback == 0


def test_rtcp_stays_with_the_host_while_it_has_the_keys() -> None:
    with Accelerated() as rig:
        call = rig.call().secure()
        rig.wait_loads(2)
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        assert inbound(1).unprotect_rtcp(call.peer_rtcp.recv(2048)) == rtcp()
        assert rig.stats().jobs == 0


def test_a_forged_packet_is_refused_and_counted() -> None:
    with Accelerated() as rig:
        call = rig.call().secure()
        rig.wait_loads(2)
        good = outbound(2).protect(rtp(1))
        call.from_peer(good[:-1] + bytes((good[-1] ^ 1,)))
        eventually(lambda: call.stats().receive.auth_fail == 1)
        assert rig.stats().state is LinkState.UP
        call.from_peer(good)
        assert call.dialer.recv(2048) == rtp(1)


def test_a_repeated_packet_is_dropped_in_both_directions() -> None:
    """SRTP-5: the replay list is the host's, whoever deciphers."""
    with Accelerated() as rig:
        call = rig.call().secure()
        rig.wait_loads(2)
        packet = outbound(2).protect(rtp(1))
        for _ in range(3):
            call.from_peer(packet)
            call.from_dialer(rtp(1))
        eventually(lambda: call.stats().receive.replay == 2 and call.stats().send.replay == 2)
        assert rig.stats().refused == 0


def test_reordered_packets_and_a_wrap_go_through() -> None:
    with Accelerated() as rig:
        call = rig.call().secure()
        rig.wait_loads(2)
        theirs = outbound(2)
        for seq in (65533, 65535, 65534, 65536, 65538, 65537):
            packet = rtp(seq)
            call.from_peer(theirs.protect(packet))
            assert call.dialer.recv(2048) == packet
        assert rig.stats().fallback == 0


def test_packets_of_many_calls_share_the_window() -> None:
    with Accelerated() as rig:
        calls = [rig.call().secure() for _ in range(6)]
        rig.wait_loads(12)
        for seq in range(1, 6):
            for call in calls:
                call.from_dialer(rtp(seq))
        for call in calls:
            ours = inbound(1)
            assert sorted(ours.unprotect(call.peer.recv(2048)) for _ in range(5)) == [rtp(seq) for seq in range(1, 6)]


def test_a_call_that_gets_no_slot_stays_on_the_cpu() -> None:
    """Admission: no more slots than allowed."""
    with Accelerated(max_slots=2) as rig:
        first = rig.call().secure()
        second = rig.call().secure()
        rig.wait_loads(2)
        assert talk(second, 1, 3) == (3, 3)
        assert talk(first, 1, 3) == (3, 3)
        assert (first.stats().accelerated, second.stats().accelerated) == (6, 0)
        assert rig.stats().no_slot == 2


def test_slots_come_back_when_calls_end() -> None:
    with Accelerated(max_slots=2) as rig:
        for number in range(1, 5):
            call = rig.call().secure()
            rig.wait_loads(2 * number)
            rig.relay.close_leg(call.leg)
            eventually(lambda: rig.stats().used_slots == 0)


def test_a_rekey_moves_to_the_new_keys() -> None:
    """SDES-17: a late packet under the former keys is still accepted."""
    with Accelerated() as rig:
        call = rig.call().secure()
        rig.wait_loads(2)
        old, late = outbound(2), rtp(2)
        call.from_peer(old.protect(rtp(1)))
        assert call.dialer.recv(2048) == rtp(1)
        call.secure()
        rig.wait_loads(4)
        new = outbound(2)
        call.from_peer(new.protect(rtp(1)))
        assert call.dialer.recv(2048) == rtp(1)
        call.from_peer(old.protect(late))
        assert call.dialer.recv(2048) == late


# ----------------------------------------------------------------------------------------------------- failures --

FAULTS = {
    Fault.HANG: LinkState.MISSED,
    Fault.BABBLE: LinkState.MISSED,
    Fault.CORRUPT: LinkState.MISSED,
    Fault.LATE: LinkState.MISSED,
    Fault.REBOOT: LinkState.LOCKED,
    Fault.WRONG: LinkState.WRONG,
}


@pytest.mark.parametrize(("fault", "state"), FAULTS.items(), ids=lambda value: value.name.lower())
def test_the_far_end_hears_everything_when_the_device_fails(fault: Fault, state: LinkState) -> None:
    """Shared custody: each packet that the device does not do in time is done by a CPU, with the same octets."""
    with Accelerated(deadline_us=SHORT_US, verify_every=1) as rig:
        call = rig.call().secure()
        rig.wait_loads(2)
        theirs, ours = outbound(2), inbound(1)
        for seq in range(1, 31):
            if seq == 10:
                rig.device.fail(fault)
            packet = rtp(seq)
            call.from_dialer(packet)
            assert ours.unprotect(call.peer.recv(2048)) == packet
            call.from_peer(theirs.protect(packet))
            assert call.dialer.recv(2048) == packet
        rig.wait_state(state)
        assert rig.wait_event(EventKind.ACCELERATOR).a == LinkState.UP
        assert rig.wait_event(EventKind.ACCELERATOR).a == state
        assert call.stats().receive.auth_fail == 0
        assert call.stats().send_engine != "serial"


def test_an_unplugged_device_costs_no_packet() -> None:
    with Accelerated(deadline_us=SHORT_US) as rig:
        call = rig.call().secure()
        rig.wait_loads(2)
        assert talk(call, 1, 5) == (5, 5)
        rig.unplug()
        assert talk(call, 6, 5) == (5, 5)
        rig.wait_state(LinkState.GONE)


def test_a_device_that_comes_back_gets_its_streams_again() -> None:
    """Its slots are loaded with the index that comes next, so it cannot be made to repeat one."""
    with Accelerated(deadline_us=SHORT_US) as rig:
        call = rig.call().secure()
        rig.wait_loads(2)
        theirs, ours = outbound(2), inbound(1)

        def exchange(seq: int) -> None:
            call.from_dialer(rtp(seq))
            assert ours.unprotect(call.peer.recv(2048)) == rtp(seq)
            call.from_peer(theirs.protect(rtp(seq)))
            assert call.dialer.recv(2048) == rtp(seq)

        exchange(1)
        rig.device.fail(Fault.REBOOT)
        exchange(2)
        rig.wait_state(LinkState.LOCKED)
        exchange(3)
        rig.connect()
        rig.wait_loads(4)
        before = call.stats().accelerated
        exchange(4)
        assert call.stats().accelerated == before + 2


# ---------------------------------------------------------------------------------------------- device custody --


def in_custody(**more: int) -> Accelerated:
    return Accelerated(custody=Custody.DEVICE, deadline_us=SHORT_US, **more)


def test_with_custody_the_device_does_rtp_and_rtcp() -> None:
    with in_custody() as rig:
        call = rig.call().secure()
        rig.wait_loads(4)
        assert talk(call, 1, 5) == (5, 5)
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        assert inbound(1).unprotect_rtcp(call.peer_rtcp.recv(2048)) == rtcp()
        call.peer_rtcp.sendto(outbound(2).protect_rtcp(rtcp()), call.net_rtcp)
        assert call.dialer_rtcp.recv(2048) == rtcp()
        assert call.stats().accelerated == 12


def test_when_a_device_with_custody_is_lost_nothing_leaves() -> None:
    """The host has wiped the keys: neither plain nor software."""
    with in_custody() as rig:
        call = rig.call().secure()
        rig.wait_loads(4)
        assert talk(call, 1, 3) == (3, 3)
        rig.unplug()
        call.from_dialer(rtp(4))
        call.from_peer(outbound(2).protect(rtp(4)))
        eventually(lambda: call.stats().send.engine == 1 and call.stats().receive.engine == 1)
        assert rig.wait_event(EventKind.ENGINE).leg == call.leg
        for sock in (call.peer, call.dialer):
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(2048)


def silent(*socks: socket.socket) -> bool:
    """What was sent before has been looked at: nothing of it came out."""
    for sock in socks:
        sock.setblocking(False)
        try:
            sock.recv(2048)
        except BlockingIOError:
            sock.settimeout(PATIENCE)
        else:
            return False
    return True


def test_after_the_loss_new_keys_make_the_call_go_on_when_the_device_is_back() -> None:
    """Until then they wait on the host, and no CPU uses them."""
    with in_custody() as rig:
        call = rig.call().secure()
        rig.wait_loads(4)
        rig.device.fail(Fault.REBOOT)
        call.from_dialer(rtp(1))
        rig.wait_state(LinkState.LOCKED)
        assert rig.wait_event(EventKind.KEYS_LOST).leg == call.leg
        call.secure()
        dropped = call.stats().dropped_closed
        call.from_dialer(rtp(1))
        call.from_peer(outbound(2).protect(rtp(1)))
        eventually(lambda: call.stats().dropped_closed == dropped + 2)
        assert silent(call.peer, call.dialer)
        rig.connect()
        rig.wait_loads(8)
        assert talk(call, 2, 3) == (3, 3)
        assert call.stats().accelerated == 6


def test_with_custody_what_comes_in_while_keys_are_loaded_waits_for_them() -> None:
    """DTLS-9: as packets that are earlier than their keys."""
    with in_custody() as rig:
        call = rig.call()
        rig.relay.set_mode(call.leg, LegMode.SECURE)
        theirs = outbound(2)
        call.from_peer(theirs.protect(rtp(1)))
        call.secure()
        assert call.dialer.recv(2048) == rtp(1)
        assert call.stats().accelerated == 1


def test_with_custody_a_call_that_gets_no_slot_is_silent_until_one_is_free() -> None:
    """Admission fails closed: the keys wait for a slot, and the session is told."""
    with in_custody(max_slots=4) as rig:
        first, second = rig.call().secure(), rig.call().secure()
        rig.wait_loads(4)
        second.from_dialer(rtp(1))
        assert rig.wait_event(EventKind.ENGINE).leg == second.leg
        assert silent(second.peer)
        rig.relay.close_leg(first.leg)
        rig.wait_loads(8)
        assert talk(second, 2, 3) == (3, 3)


def test_with_custody_a_rekey_takes_the_slots_of_the_former_keys_when_there_are_no_others() -> None:
    with in_custody(max_slots=4) as rig:
        call = rig.call().secure()
        rig.wait_loads(4)
        assert talk(call, 1, 2) == (2, 2)
        call.secure()
        rig.wait_loads(8)
        assert talk(call, 1, 2) == (2, 2)


def test_with_custody_own_keys_for_rtcp_take_no_more_slots() -> None:
    """DTLS-15: two associations, each for one kind of packet."""
    with in_custody() as rig:
        call = rig.call()
        for part in (Part.RTP, Part.RTCP):
            rig.relay.install(call.leg, part=part, send=to_send(1), receive=to_receive(2))
        rig.relay.set_mode(call.leg, LegMode.SECURE)
        rig.wait_loads(4)
        assert talk(call, 1, 3) == (3, 3)
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        assert inbound(1).unprotect_rtcp(call.peer_rtcp.recv(2048)) == rtcp()
        assert (rig.stats().used_slots, call.stats().accelerated) == (4, 7)


# ------------------------------------------------------------------------------------------------ the line's model --


def test_what_the_model_says_is_too_late_is_done_by_a_cpu_at_once() -> None:
    """Shared custody: 0.4 seconds for a small packet are within the deadline, ten for a large one are not."""
    with Accelerated(octet_ns=5_000_000, deadline_us=PATIENT_US) as rig:
        call = rig.call().secure()
        rig.wait_loads(2)
        ours = inbound(1)
        for seq, payload, jobs in ((1, b"", 1), (2, bytes(1000), 1), (3, b"", 2)):
            packet = rtp(seq, payload=payload)
            call.from_dialer(packet)
            assert ours.unprotect(call.peer.recv(2048)) == packet
            assert rig.stats().jobs == jobs
        assert call.stats().accelerated == 2


def test_what_waits_on_the_line_counts() -> None:
    """The eighth of as many packets would be back after the deadline, so it does not join the queue."""
    with Accelerated(octet_ns=1_000_000, deadline_us=PATIENT_US) as rig:
        call = rig.call().secure()
        rig.wait_loads(2)
        rig.device.fail(Fault.HANG)  # nothing comes back, so that nothing leaves the queue
        ours = inbound(1)
        for seq in range(1, 9):
            call.from_dialer(rtp(seq, payload=bytes(200)))
        assert ours.unprotect(call.peer.recv(2048)) == rtp(8, payload=bytes(200))


def test_with_custody_a_packet_has_the_time_that_it_takes() -> None:
    with in_custody(octet_ns=5_000_000) as rig:
        call = rig.call().secure()
        rig.wait_loads(4)
        packet = rtp(1, payload=bytes(1000))
        call.from_dialer(packet)
        assert inbound(1).unprotect(call.peer.recv(2048)) == packet
        assert call.stats().accelerated == 1
