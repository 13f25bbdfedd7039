"""Life and death of a relay: legs, descriptors, threads, fork, exit."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support import relay_rig as rig
from support.relay_rig import Rig, rtp, udp
from ueagent_native.relay import EventKind, LegMode, Relay, RelayConfig
from ueagent_native.values import NativeError, Status


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def relay_threads() -> int:
    names = [Path(task, "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return names.count("ums-relay")


def open_leg(relay: Relay, *socks: socket.socket) -> int:
    net, loop = socks
    return relay.open_leg(net_rtp=net.fileno(), net_rtcp=None, loop_rtp=loop.fileno(), loop_rtcp=None, never_plain=True)


def test_close_joins_the_thread_and_closes_every_socket() -> None:
    relay = Relay(RelayConfig())
    before = relay_threads()
    relay.start()
    assert relay_threads() == before + 1
    net, loop = udp(), udp()
    fds = [net.fileno(), loop.fileno(), relay.fileno()]
    open_leg(relay, net, loop)
    net.detach()
    loop.detach()
    relay.close()
    assert relay_threads() == before
    assert not any(is_open(fd) for fd in fds)
    relay.close()


def test_closed_leg_gives_its_sockets_back_and_says_so() -> None:
    with Rig() as r:
        call = r.call().secure()
        r.relay.close_leg(call.leg)
        assert r.wait_event(EventKind.LEG_CLOSED).leg == call.leg
        again = udp()
        again.close()
        reuse = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        reuse.bind(call.net)  # the port is free again
        reuse.close()


def test_late_call_for_a_closed_leg_is_refused() -> None:
    with Rig(max_legs=1) as r:
        call = r.call()
        r.relay.close_leg(call.leg)
        successor = r.call().secure()
        assert successor.leg != call.leg
        for late in (
            lambda: r.relay.close_leg(call.leg),
            lambda: r.relay.set_mode(call.leg, LegMode.PLAIN),
            lambda: r.relay.install(call.leg, send=rig.to_send(1)),
            lambda: r.relay.leg_stats(call.leg),
        ):
            with pytest.raises(NativeError) as refused:
                late()
            assert refused.value.status == Status.BAD_ARGUMENT
        assert successor.stats().mode == LegMode.SECURE


def test_leg_begins_with_nothing_of_its_predecessor() -> None:
    with Rig(max_legs=1) as r:
        first = r.call().secure()
        first.from_dialer(rtp(1))
        first.peer.recv(2048)
        r.relay.close_leg(first.leg)
        stats = r.call().stats()
        assert (stats.send.packets, stats.from_dialer, stats.mode) == (0, 0, LegMode.CLOSED)
        assert stats.send_engine is None


def test_hundreds_of_legs_come_and_go() -> None:
    with Rig(max_legs=300) as r:
        calls = [r.call(net_mux=True, loop_mux=True).secure() for _ in range(300)]
        assert len({call.leg for call in calls}) == 300
        with pytest.raises(NativeError) as refused:
            r.call(net_mux=True, loop_mux=True)
        assert refused.value.status == Status.NO_ROOM
        for call in calls[::2]:
            r.relay.close_leg(call.leg)
        for call in calls[1::2]:
            call.from_dialer(rtp(1))
            assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)
        fresh = [r.call(net_mux=True, loop_mux=True).secure() for _ in range(150)]
        assert min(call.leg for call in fresh) > max(call.leg for call in calls)


def test_refused_leg_leaves_the_descriptors_to_their_owner() -> None:
    with Rig() as r, udp() as net, udp() as loop, socket.socket() as stream:
        for pair in ((net, stream), (net, net)):
            with pytest.raises(NativeError) as refused:
                open_leg(r.relay, *pair)
            assert refused.value.status == Status.BAD_ARGUMENT
        with pytest.raises(NativeError):
            r.relay.open_leg(net_rtp=-1, net_rtcp=None, loop_rtp=loop.fileno(), loop_rtcp=None, never_plain=True)
        assert is_open(net.fileno())
        open_leg(r.relay, net, loop)  # nothing was left behind in the poll set
        with pytest.raises(NativeError):
            open_leg(r.relay, net, loop)
        net.detach()
        loop.detach()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_legs": 0},
        {"max_ssrc": 0},
        {"max_ssrc": 5000},
        {"rtp_window_max": 1},
        {"event_capacity": 0},
        {"max_legs": -1},
    ],
)
def test_configuration_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(NativeError) as refused:
        Relay(RelayConfig(**wrong))
    assert refused.value.status == Status.BAD_ARGUMENT


def test_every_call_of_a_closed_relay_is_refused() -> None:
    relay = Relay(RelayConfig())
    relay.start()
    relay.close()
    for call in (relay.start, relay.fileno, relay.events, relay.controls, lambda: relay.leg_stats(1)):
        with pytest.raises(NativeError) as refused:
            call()
        assert refused.value.status == Status.BAD_ARGUMENT


def test_relay_starts_once() -> None:
    with Rig() as r, pytest.raises(NativeError):
        r.relay.start()


def test_legs_can_be_prepared_before_the_thread_starts() -> None:
    with Rig(start=False) as r:
        call = r.call().secure()
        call.from_dialer(rtp(1))
        call.relay.start()
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)


def test_calls_from_many_threads_serialise() -> None:
    with Rig(max_legs=40) as r:
        failures: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(20):
                    with udp() as net, udp() as loop:
                        leg = open_leg(r.relay, net, loop)
                        net.detach()
                        loop.detach()
                    r.relay.install(leg, send=rig.to_send(1), receive=rig.to_receive(2))
                    r.relay.set_mode(leg, LegMode.SECURE)
                    assert r.relay.leg_stats(leg).leg == leg
                    r.relay.events()
                    r.relay.close_leg(leg)
            except BaseException as error:  # handed to the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_close_while_other_threads_are_calling_is_safe() -> None:
    relay = Relay(RelayConfig())
    relay.start()
    with udp() as net, udp() as loop:
        leg = open_leg(relay, net, loop)
        net.detach()
        loop.detach()
    ended: list[Status] = []
    ready = threading.Barrier(5)

    def ask() -> None:
        ready.wait()
        try:
            while True:
                relay.leg_stats(leg)
        except NativeError as error:
            ended.append(error.status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    relay.close()
    for thread in threads:
        thread.join()
    assert ended == [Status.BAD_ARGUMENT] * 4


def test_forked_child_is_refused_and_the_parent_goes_on() -> None:
    """A context refuses to work after fork: no index is used twice."""
    with Rig() as r:
        call = r.call().secure()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                call.stats()
            except NativeError as error:
                code = 0 if error.status == Status.FORKED else 2
            try:
                r.relay.install(call.leg, send=rig.to_send(1))
                code = 3
            except NativeError as error:
                code = code if error.status == Status.FORKED else 4
            r.relay.close()
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        call.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1)


def test_relay_made_in_a_forked_child_works_there() -> None:
    """A daemon forks first and builds its relay afterwards."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with Rig() as r:
                call = r.call().secure()
                call.from_dialer(rtp(1))
                code = 0 if rig.inbound(1).unprotect(call.peer.recv(2048)) == rtp(1) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_interpreter_exit_joins_the_thread_of_a_relay_nobody_closed() -> None:
    script = (
        "from ueagent_native.relay import *\nrelay = Relay(RelayConfig())\nrelay.start()\nprint(relay.fileno() >= 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_lost_relay_is_stopped_by_the_garbage_collector() -> None:
    relay = Relay(RelayConfig())
    relay.start()
    fd = relay.fileno()
    del relay
    assert not is_open(fd)
