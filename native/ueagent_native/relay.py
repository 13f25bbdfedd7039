"""The media relay of the C core, with types. `include/ums.h`, section "relay", is the contract.

Every method may be called from any thread; the GIL is free while C works. Errors are `NativeError`. Packets never come
through here: they stay in C. `events()` and `controls()` have something when `fileno()` is readable.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Self

from ueagent_native._core import ffi, lib
from ueagent_native.link import AcceleratorLink
from ueagent_native.srtp import SrtpStats, StreamStats, native_config, stats_from, stream_stats_from
from ueagent_native.values import Direction, NativeError, Octets, SrtpConfig, Status

Address = tuple[str, int]  # an IPv4 or IPv6 literal (with %scope where it needs one), port

_EVENTS_AT_ONCE = 256
_CONTROLS_AT_ONCE = 16
_CLOSE_PATIENCE = 1.0  # seconds that close() waits for calls under way before it leaves the (wiped) memory mapped


class LegMode(IntEnum):
    """`ums_leg_mode`."""

    CLOSED = 0
    SECURE = 1
    PLAIN = 2


class EventKind(IntEnum):
    """`ums_event_kind`."""

    FIRST_PACKET = 1
    AUTH_BURST = 2
    SOFT_LIMIT = 3
    KEY_EXPIRED = 4
    RESTART = 5
    LATE_START = 6
    NEW_KEY_SEEN = 7
    OLD_KEY_GONE = 8
    PEER_MOVED = 9
    IDLE = 10
    SSRC_FULL = 11
    ENGINE = 12
    LEG_CLOSED = 13
    SOCKET = 14
    LOST = 15
    ACCELERATOR = 16
    KEYS_LOST = 17


class Part(IntEnum):
    """`ums_part`: which packets of a leg the keys are for."""

    BOTH = 0
    RTP = 1
    RTCP = 2


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """`ums_relay_config`: every capacity is fixed when the relay is made."""

    max_legs: int = 64
    split_legs: int = 0
    early_packets: int = 0
    max_ssrc: int = 8
    rtp_window_max: int = 1024
    event_capacity: int = 1024
    control_capacity: int = 128
    control_per_second: int = 50
    auth_burst: int = 10


@dataclass(frozen=True, slots=True)
class RelayEvent:
    """`ums_event`; what `a` and `b` mean depends on the kind. `leg` is 0 for LOST."""

    kind: EventKind
    leg: int
    a: int
    b: int


@dataclass(frozen=True, slots=True)
class ControlDatagram:
    """A DTLS datagram, or STUN where ICE was negotiated, that came in on a network socket of the leg."""

    leg: int
    rtcp: bool
    sender: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class LegStats:
    """`ums_leg_stats`: counters since the leg was opened; none of them goes back when keys change."""

    leg: int
    mode: LegMode
    send_engine: str | None
    receive_engine: str | None
    send: SrtpStats
    receive: SrtpStats
    plain_sent: int
    plain_received: int
    from_dialer: int
    to_dialer: int
    dropped_closed: int
    dropped_class: int
    control_passed: int
    control_dropped: int
    unknown_ssrc: int
    send_errors: int
    accelerated: int
    key_age_ms: int
    idle_ms: int


_PLAIN_COUNTERS = LegStats.__slots__[LegStats.__slots__.index("plain_sent") :]


class _Native:
    """The relay's memory and who is inside it: stopped once, unmapped only when nobody is left."""

    def __init__(self, config: Any) -> None:
        size = lib.ums_relay_sizeof(config)
        if size == 0:
            raise NativeError(Status.BAD_ARGUMENT, "ums_relay_sizeof")
        self._arena = ffi.new("ums_arena *")
        _check(lib.ums_arena_open(self._arena, size), "ums_arena_open")
        self._relay = ffi.cast("ums_relay *", self._arena.base)
        self.flags = int(self._arena.flags)
        self._owner = os.getpid()
        self._idle = threading.Condition()
        self._users = 0
        status = lib.ums_relay_init(self._relay, size, config)
        self._open = status == Status.OK
        if not self._open:
            lib.ums_arena_close(self._arena)
            raise NativeError(status, "ums_relay_init")

    @contextmanager
    def use(self) -> Iterator[Any]:
        if os.getpid() != self._owner:  # before the lock, which a thread of the parent may have held
            raise NativeError(Status.FORKED, "ums_relay")
        with self._idle:
            if not self._open:
                raise NativeError(Status.BAD_ARGUMENT, "ums_relay (closed)")
            self._users += 1
        try:
            yield self._relay
        finally:
            with self._idle:
                self._users -= 1
                self._idle.notify_all()

    def close(self) -> None:
        if os.getpid() != self._owner:  # the thread and the sockets are the parent's
            return
        with self._idle:
            if not self._open:
                return
            self._open = False
        lib.ums_relay_stop(self._relay)
        with self._idle:
            alone = self._idle.wait_for(lambda: self._users == 0, _CLOSE_PATIENCE)
        if alone:
            lib.ums_arena_close(self._arena)


class Relay:
    """One relay thread with its legs.

    `close()` joins the thread, closes every socket and wipes every key; it happens at interpreter exit, too. In a
    forked child every call raises NativeError(FORKED).
    """

    def __init__(self, config: RelayConfig) -> None:
        raw = ffi.new("ums_relay_config *")
        try:
            for name in RelayConfig.__slots__:
                setattr(raw, name, getattr(config, name))
        except OverflowError:
            raise NativeError(Status.BAD_ARGUMENT, "ums_relay_config") from None
        self._native = _Native(raw)
        self._finalizer = weakref.finalize(self, self._native.close)

    @property
    def arena_flags(self) -> int:
        """UMS_ARENA_* bits: what the kernel granted for the memory that holds the keys."""
        return self._native.flags

    def attach(self, link: AcceleratorLink) -> None:
        """Before `start`: the accelerator takes what it can of every leg. Close the link after the relay."""
        self._do("ums_relay_attach", link.pointer)
        self._link = link

    def start(self) -> None:
        self._do("ums_relay_start")

    def close(self) -> None:
        """Idempotent. Take `fileno()` out of selectors before."""
        self._finalizer()

    def fileno(self) -> int:
        """The event fd, readable while events or control datagrams wait."""
        return int(self._call("ums_relay_event_fd"))

    def open_leg(
        self,
        *,
        net_rtp: int,
        net_rtcp: int | None,
        loop_rtp: int,
        loop_rtcp: int | None,
        never_plain: bool,
        learn_peer: bool = True,
        idle_seconds: int = 0,
    ) -> int:
        """Takes bound UDP sockets as file descriptors; None means RTCP is muxed with RTP on that side.

        The descriptors belong to the relay when this returns, and still to the caller when it raises. Raises
        BAD_ARGUMENT (not a UDP socket, or in use by a leg) or NO_ROOM. The number is never given to another leg.
        """
        raw = ffi.new("ums_leg_config *")
        raw.net_rtp, raw.loop_rtp = net_rtp, loop_rtp
        raw.net_rtcp = -1 if net_rtcp is None else net_rtcp
        raw.loop_rtcp = -1 if loop_rtcp is None else loop_rtcp
        raw.never_plain, raw.learn_peer, raw.idle_seconds = never_plain, learn_peer, idle_seconds
        leg = ffi.new("uint32_t *")
        self._do("ums_relay_open_leg", raw, leg)
        return int(leg[0])

    def close_leg(self, leg: int) -> None:
        self._do("ums_relay_close_leg", leg)

    def set_dialer(self, leg: int, rtp: Address | None, rtcp: Address | None = None) -> None:
        """Connects the loopback sockets. None: unchanged. `rtcp` only where the side has its own RTCP socket."""
        self._do("ums_relay_set_dialer", leg, _address(rtp), _address(rtcp))

    def set_peer(self, leg: int, rtp: Address | None, rtcp: Address | None = None) -> None:
        """Where media goes, until an authentic packet from elsewhere moves it (`learn_peer`)."""
        self._do("ums_relay_set_peer", leg, _address(rtp), _address(rtcp))

    def set_mode(self, leg: int, mode: LegMode) -> None:
        """Raises BAD_ARGUMENT for PLAIN on a `never_plain` leg."""
        self._do("ums_relay_set_mode", leg, mode)

    def set_ice(self, leg: int, ice: bool) -> None:
        """With ICE, STUN comes in `controls()` and may be sent, and media do not move the peer's address."""
        self._do("ums_relay_set_ice", leg, ice)

    def install(
        self,
        leg: int,
        *,
        part: Part = Part.BOTH,
        send: SrtpConfig | None = None,
        receive: SrtpConfig | None = None,
        grace_ms: int = 2000,
        grace_max_ms: int = 32000,
    ) -> None:
        """New keys; the next burst uses them. Keys are lent to C for the call: wiping them stays the caller's duty.

        With RTP or RTCP for `part` RTCP has keys of its own, and is dropped until it got them.

        Raises BAD_ARGUMENT, NO_ROOM (window or SSRC capacity above the relay's), UNSUPPORTED; nothing changed then.
        """
        with ExitStack() as lent:
            raw = [ffi.NULL if c is None else lent.enter_context(native_config(c)) for c in (send, receive)]
            self._do("ums_relay_install", leg, part, raw[0], raw[1], grace_ms, grace_max_ms)

    def set_engine(self, leg: int, name: str | None) -> None:
        """Moves the leg's keys to another engine, and later keys, too. None: chosen per suite."""
        engine = ffi.NULL if name is None else lib.ums_engine_find(name.encode())
        if name is not None and engine == ffi.NULL:
            raise NativeError(Status.UNSUPPORTED, "ums_engine_find")
        self._do("ums_relay_set_engine", leg, engine)

    def send(self, leg: int, data: Octets, *, rtcp: bool = False, to: Address | None = None) -> None:
        """DTLS, with ICE also STUN, from the leg's network socket: to the peer unless `to` names another place."""
        with ffi.from_buffer("uint8_t[]", data) as raw:
            self._do("ums_relay_send", leg, rtcp, _address(to), raw, len(data))

    def events(self) -> list[RelayEvent]:
        """Removes what waits, oldest first."""
        raw = ffi.new("ums_event[]", _EVENTS_AT_ONCE)
        found: list[RelayEvent] = []
        n = _EVENTS_AT_ONCE
        while n == _EVENTS_AT_ONCE:
            n = self._call("ums_relay_events", raw, _EVENTS_AT_ONCE)
            found += [RelayEvent(EventKind(e.kind), e.leg, e.a, e.b) for e in raw[0:n]]
        return found

    def controls(self) -> list[ControlDatagram]:
        """Removes what waits, oldest first."""
        raw = ffi.new("ums_control[]", _CONTROLS_AT_ONCE)
        found: list[ControlDatagram] = []
        n = _CONTROLS_AT_ONCE
        while n == _CONTROLS_AT_ONCE:
            n = self._call("ums_relay_controls", raw, _CONTROLS_AT_ONCE)
            found += [_control(raw[i]) for i in range(n)]
        return found

    def leg_stats(self, leg: int) -> LegStats:
        raw = ffi.new("ums_leg_stats *")
        self._do("ums_relay_leg_stats", leg, raw)
        return LegStats(
            leg=raw.leg,
            mode=LegMode(raw.mode),
            send_engine=_name(raw.send_engine),
            receive_engine=_name(raw.receive_engine),
            send=stats_from(raw.send),
            receive=stats_from(raw.receive),
            **{name: getattr(raw, name) for name in _PLAIN_COUNTERS},
        )

    def leg_streams(self, leg: int, direction: Direction) -> list[StreamStats]:
        """Counters per SSRC of the direction's newest keys; empty while there are none."""
        room = self._call("ums_relay_leg_streams", leg, direction, ffi.NULL, 0)
        raw = ffi.new("ums_stream_stats[]", max(room, 1))
        n = min(room, self._call("ums_relay_leg_streams", leg, direction, raw, room))
        return [stream_stats_from(raw[i]) for i in range(n)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, name: str, *args: Any) -> Any:
        with self._native.use() as relay:
            return getattr(lib, name)(relay, *args)

    def _do(self, name: str, *args: Any) -> None:
        _check(self._call(name, *args), name)


def _check(status: int, call: str) -> None:
    if status != Status.OK:
        raise NativeError(status, call)


def _name(text: Any) -> str | None:
    return None if text == ffi.NULL else ffi.string(text).decode()


def _address(given: Address | None) -> Any:
    """Raises NativeError(BAD_ARGUMENT) for anything but an address literal and a port."""
    if given is None:
        return ffi.NULL
    host, _, scope = given[0].partition("%")
    try:
        ip = ipaddress.ip_address(host)
        raw = ffi.new("ums_address *", {"family": ip.version, "port": given[1]})
        if scope:
            raw.scope = int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
    except (ValueError, OverflowError, OSError):
        raise NativeError(Status.BAD_ARGUMENT, "ums_address") from None
    ffi.memmove(raw.octets, ip.packed, len(ip.packed))
    return raw


def _control(raw: Any) -> ControlDatagram:
    sender = getattr(raw, "from")  # a keyword in Python
    octets = bytes(ffi.buffer(sender.octets, 4 if sender.family == 4 else 16))
    scope = f"%{sender.scope}" if sender.scope else ""
    return ControlDatagram(
        leg=raw.leg,
        rtcp=bool(raw.rtcp),
        sender=(f"{ipaddress.ip_address(octets)}{scope}", sender.port),
        data=bytes(ffi.buffer(raw.data, raw.len)),
    )
