"""relay_loop: calls of 50 packets a second each way through one relay thread, paced, every packet checked.

    dialer ends --RTP--> relay --SRTP--> peer ends        and back, over loopback UDP

Generator and sink are Python in this process; the relay is a C thread, pinned to one core when there are several. Its
processor time comes from the kernel's own account of that thread. Packets for the way in are protected before the
clock starts; what came out of the relay is opened and compared after it has stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ueagent_native.link import AcceleratorLink
from ueagent_native.relay import LegMode, Relay, RelayConfig
from ueagent_native.srtp import SrtpContext
from ueagent_native.values import Direction, MasterKeyConfig, SrtpConfig, Status

PACKET_INTERVAL = 0.020  # seconds: 50 packets a second
PAYLOAD = 160  # octets: 20 ms of G.711
DRAIN = 1.0  # seconds after the last packet until what has not come is lost
SUITES = {"AES_CM_128_HMAC_SHA1_80": (1, 16, 14), "AEAD_AES_128_GCM": (7, 16, 12), "AEAD_AES_256_GCM": (8, 32, 12)}
DEFAULT_SUITE = "AES_CM_128_HMAC_SHA1_80"


@dataclass(frozen=True, slots=True)
class Result:
    """Packets count both ways together. Microseconds are processor time of a thread: the relay's, an accelerator's."""

    scenario: str
    suite: str
    engine: str
    seconds: float
    sent: int
    received: int
    lost: int
    wrong: int
    relay_us_per_packet: float
    relay_share_of_core: float
    link_us_per_packet: float = 0.0
    accelerated: int = 0


@dataclass(slots=True)
class _Call:
    leg: int
    net: tuple[str, int]
    loop: tuple[str, int]
    peer: socket.socket
    dialer: socket.socket
    plain: list[bytes] = field(default_factory=list)
    wire: list[bytes] = field(default_factory=list)
    at_peer: list[bytes] = field(default_factory=list)
    at_dialer: list[bytes] = field(default_factory=list)


def run(
    calls: int = 100, seconds: float = 5.0, suite: str = DEFAULT_SUITE, link: AcceleratorLink | None = None
) -> Result:
    """One measurement; with `link`, which is up, the relay has an accelerator. Raises NativeError: no relay."""
    cores = os.sched_getaffinity(0)
    relay = Relay(RelayConfig(max_legs=calls))
    try:
        if link is not None:
            relay.attach(link)
        relay.start()
        per_call = max(1, round(seconds / PACKET_INTERVAL))
        running = [_open(relay, suite, i, per_call) for i in range(calls)]
        if link is not None:
            _wait_loaded(link, 2 * calls)
        engine = relay.leg_stats(running[0].leg).send_engine or ""
        thread = _thread("ums-relay")
        _pin(thread)
        threads = [thread] if link is None else [thread, _thread("ums-link")]
        before, start = [_cpu_ns(one) for one in threads], time.monotonic()
        _play(running, per_call)
        busy, *link_busy = [_cpu_ns(one) - was for one, was in zip(threads, before, strict=True)]
        elapsed = time.monotonic() - start
        accelerated = sum(relay.leg_stats(call.leg).accelerated for call in running)
    finally:
        os.sched_setaffinity(0, cores)
        relay.close()
    sent = 2 * calls * per_call
    received = sum(len(call.at_peer) + len(call.at_dialer) for call in running)
    wrong = sum(_wrong(call, suite, i) for i, call in enumerate(running))
    for call in running:
        call.peer.close()
        call.dialer.close()
    return Result(
        scenario=f"relay_loop_50pps_x{calls}",
        suite=suite,
        engine=engine,
        seconds=round(elapsed, 3),
        sent=sent,
        received=received,
        lost=sent - received,
        wrong=wrong,
        relay_us_per_packet=round(busy / 1000 / max(received, 1), 3),
        relay_share_of_core=round(busy / 1e9 / elapsed, 4),
        link_us_per_packet=round(sum(link_busy) / 1000 / max(received, 1), 3),
        accelerated=accelerated,
    )


def _config(suite: str, direction: Direction, seed: int) -> SrtpConfig:
    number, key_len, salt_len = SUITES[suite]
    octets = bytes((seed * 31 + i * 7) % 256 for i in range(key_len + salt_len))
    return SrtpConfig(number, direction, (MasterKeyConfig(octets[:key_len], octets[key_len:]),))


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def _open(relay: Relay, suite: str, index: int, packets: int) -> _Call:
    """Seeds 2i and 2i + 1 are the keys out of and into the relay."""
    net, loop, peer, dialer = _udp(), _udp(), _udp(), _udp()
    ends = net.getsockname(), loop.getsockname()
    leg = relay.open_leg(net_rtp=net.fileno(), net_rtcp=None, loop_rtp=loop.fileno(), loop_rtcp=None, never_plain=True)
    net.detach()
    loop.detach()
    relay.set_peer(leg, peer.getsockname())
    relay.set_dialer(leg, dialer.getsockname())
    relay.install(
        leg,
        send=_config(suite, Direction.SEND, 2 * index),
        receive=_config(suite, Direction.RECEIVE, 2 * index + 1),
    )
    relay.set_mode(leg, LegMode.SECURE)
    call = _Call(leg, ends[0], ends[1], peer, dialer)
    call.plain = [
        struct.pack("!BBHII", 0x80, 0, seq & 0xFFFF, seq * PAYLOAD, index) + bytes([seq % 256]) * PAYLOAD
        for seq in range(packets)
    ]
    with SrtpContext(_config(suite, Direction.SEND, 2 * index + 1)) as far:
        call.wire = [packet for _, packet in far.protect_many(call.plain)]
    return call


def _play(calls: list[_Call], packets: int) -> None:
    """Call i speaks i/n of an interval later than the first: as on a real network, arrivals are spread."""
    poll = select.epoll()
    sinks: dict[int, tuple[socket.socket, list[bytes]]] = {}
    for call in calls:
        for sock, heard in ((call.peer, call.at_peer), (call.dialer, call.at_dialer)):
            sinks[sock.fileno()] = (sock, heard)
            poll.register(sock, select.EPOLLIN)
    due = [
        (n * PACKET_INTERVAL + i * PACKET_INTERVAL / len(calls), i, n)
        for n in range(packets)
        for i in range(len(calls))
    ]
    start = time.monotonic()
    for at, i, n in due:
        while (left := start + at - time.monotonic()) > 0:
            _collect(poll, sinks, left)
        call = calls[i]
        call.dialer.sendto(call.plain[n], call.loop)
        call.peer.sendto(call.wire[n], call.net)
    expected = 2 * len(due)
    end = time.monotonic() + DRAIN
    while sum(len(heard) for _, heard in sinks.values()) < expected and (left := end - time.monotonic()) > 0:
        _collect(poll, sinks, left)
    poll.close()


def _collect(poll: select.epoll, sinks: dict[int, tuple[socket.socket, list[bytes]]], wait: float) -> None:
    for fd, _ in poll.poll(wait):
        sock, heard = sinks[fd]
        try:
            while True:
                heard.append(sock.recv(2048))
        except BlockingIOError:
            pass


def _wrong(call: _Call, suite: str, index: int) -> int:
    """How many packets that came out are not, in order and to the bit, packets that went in."""
    with SrtpContext(_config(suite, Direction.RECEIVE, 2 * index)) as far:
        opened = far.unprotect_many(call.at_peer)
    wrong = sum(status != Status.OK for status, _ in opened)
    for heard in ([packet for _, packet in opened], call.at_dialer):
        expected = iter(call.plain)
        wrong += sum(packet not in expected for packet in heard)
    return wrong


def _wait_loaded(link: AcceleratorLink, keys: int) -> None:
    end = time.monotonic() + DRAIN
    while link.stats().loads < keys:
        if time.monotonic() > end:
            raise RuntimeError(f"the accelerator has {link.stats().loads} of {keys} keys")
        time.sleep(0.001)


def _thread(name: str) -> int:
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise RuntimeError(f"no thread {name}")


def _pin(thread: int) -> None:
    """The relay alone on the last core, everybody else on the others. Best effort."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return
    os.sched_setaffinity(0, cores[:-1])
    os.sched_setaffinity(thread, cores[-1:])


def _cpu_ns(thread: int) -> int:
    return int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[0])


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 when every packet that arrived was right, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--suite", choices=sorted(SUITES), default=DEFAULT_SUITE)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    args = parser.parse_args(argv)
    row: dict[str, Any] = asdict(run(args.calls, args.seconds, args.suite))
    if args.json:
        print(json.dumps(row))
    else:
        for name, value in row.items():
            print(f"{name:<22}{value}")
    return 0 if row["wrong"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
