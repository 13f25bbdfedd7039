"""SRTP contexts (RFC 3711, RFC 7714) of the C core, with types.

A context lives in an arena of its own, never in memory that Python manages. The GIL is free during every call. Two
threads may hold one context, but only one is served at a time: the packets of the other come back as `Status.BUSY`.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from ueagent_native._core import ffi, lib
from ueagent_native.values import Direction, NativeError, Octets, SrtpConfig, Status

_CLOSE_PATIENCE = 1.0  # seconds that close() waits for calls under way before it leaves the (wiped) memory mapped
_SEAT_POLL = 0.001  # seconds between looks whether a one-packet call has come back


class PacketRefused(Exception):
    """A packet did not pass. `status` says why; nothing of the packet is in the message."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass(frozen=True, slots=True)
class SrtpStats:
    """`ums_srtp_stats`: counters of one context."""

    packets: int
    octets: int
    rtcp_packets: int
    auth_fail: int
    replay: int
    too_old: int
    wrong_mki: int
    bad_packet: int
    ssrc_full: int
    expired: int
    held: int
    engine: int
    key_packets: int
    n_streams: int
    soft: bool
    hard: bool


@dataclass(frozen=True, slots=True)
class StreamStats:
    """`ums_stream_stats`: counters of one SSRC."""

    ssrc: int
    roc: int
    packets: int
    octets: int
    rtcp_packets: int
    auth_fail: int
    replay: int
    too_old: int
    highest_seq: int
    held: bool
    late_start: bool


def stats_from(raw: Any) -> SrtpStats:
    """`raw`: an `ums_srtp_stats`."""
    values = {name: getattr(raw, name) for name in SrtpStats.__slots__}
    return SrtpStats(**{**values, "soft": bool(raw.soft), "hard": bool(raw.hard)})


def stream_stats_from(raw: Any) -> StreamStats:
    """`raw`: an `ums_stream_stats`."""
    values = {name: getattr(raw, name) for name in StreamStats.__slots__}
    return StreamStats(**{**values, "held": bool(raw.held), "late_start": bool(raw.late_start)})


@contextmanager
def native_config(config: SrtpConfig) -> Iterator[Any]:
    """An `ums_srtp_config *` that is valid inside the `with` block; keys are lent to C, not copied.

    Raises NativeError(BAD_ARGUMENT) for an unknown suite, a length that is not the suite's, or a number C cannot hold.
    """
    info = lib.ums_suite_find(config.suite)
    keys = config.keys
    wrong = info == ffi.NULL or not 1 <= len(keys) <= lib.UMS_MAX_KEYS
    wrong = wrong or any((len(k.key), len(k.salt)) != (info.key_len, info.salt_len) for k in keys)
    if wrong or any(len(k.mki) > lib.UMS_MAX_MKI for k in keys):
        raise NativeError(Status.BAD_ARGUMENT, "ums_srtp_config")
    flags = lib.UMS_LAB_UNENCRYPTED_SRTCP if config.lab_unencrypted_srtcp else 0
    flags |= lib.UMS_LAB_SESSION_KEYS if config.lab_session_keys else 0
    flags |= lib.UMS_LAB_NO_MAC if config.lab_no_mac else 0
    with ExitStack() as lent:

        def lend(octets: Octets) -> Any:
            return lent.enter_context(ffi.from_buffer("uint8_t[]", octets))

        rows = ffi.new("ums_master_key[]", len(keys))
        out = ffi.new("ums_srtp_config *")
        try:
            for row, key in zip(rows, keys, strict=True):
                row.key, row.salt = lend(key.key), lend(key.salt)
                row.mki = lend(key.mki) if key.mki else ffi.NULL
                row.mki_len = len(key.mki)
                row.lifetime = key.lifetime
            out.suite, out.direction, out.n_keys = config.suite, config.direction, len(keys)
            out.max_ssrc, out.rtp_window, out.rtcp_window = config.max_ssrc, config.rtp_window, config.rtcp_window
            out.soft_limit, out.restart_after = config.soft_limit, config.restart_after
            out.flags, out.keys = flags, rows
            if config.rcc is not None:
                out.rcc.mode, out.rcc.tag_len, out.rcc.rate = config.rcc.mode, config.rcc.tag_len, config.rcc.rate
        except OverflowError:
            raise NativeError(Status.BAD_ARGUMENT, "ums_srtp_config") from None
        yield out


class Seat(list[Any]):
    """Holds one object that one caller at a time takes (`pop`) and gives back (`append`): cheaper than a lock."""

    def wait_for(self, patience: float) -> bool:
        """Takes the object for good. False when it did not come back in time."""
        end = time.monotonic() + patience
        while True:
            try:
                self.pop()
                return True
            except IndexError:
                if time.monotonic() >= end:
                    return False
                time.sleep(_SEAT_POLL)


class _Memory:
    """The arena of one context, and who is inside it. Unmapped only when nobody is.

    Behind the context lies room for one packet, `seat`'s object: whoever has taken it may use both, without locks.
    """

    def __init__(self, size: int) -> None:
        self._arena = ffi.new("ums_arena *")
        self._idle = threading.Condition()
        self._users = 0
        self._open = False
        self._sets: weakref.WeakSet[ContextSet] = weakref.WeakSet()
        status = lib.ums_arena_open(self._arena, size + lib.UMS_MAX_PACKET)
        if status != Status.OK:
            raise NativeError(status, "ums_arena_open")
        self.size = size
        self.ctx = ffi.cast("ums_srtp *", self._arena.base)
        self.seat = Seat([ffi.cast("char *", self._arena.base) + size])
        self._open = True

    def refusal(self, status: Status) -> Exception:
        return PacketRefused(status) if self._open else NativeError(Status.BAD_ARGUMENT, "ums_srtp (closed)")

    def join(self, contexts: ContextSet) -> None:
        """`contexts` uses this one from here on, and is told when it closes."""
        with self._idle:
            if not self._open:
                raise NativeError(Status.BAD_ARGUMENT, "ums_srtp (closed)")
            self._sets.add(contexts)

    @contextmanager
    def use(self) -> Iterator[Any]:
        with self._idle:
            if not self._open:
                raise NativeError(Status.BAD_ARGUMENT, "ums_srtp (closed)")
            self._users += 1
        try:
            yield self.ctx
        finally:
            with self._idle:
                self._users -= 1
                self._idle.notify_all()

    def close(self) -> None:
        """Wipes, then unmaps. Idempotent."""
        with self._idle:
            if not self._open:
                return
            self._open = False
            alone = self._idle.wait_for(lambda: self._users == 0, _CLOSE_PATIENCE)
        alone &= self.seat.wait_for(_CLOSE_PATIENCE)
        for contexts in list(self._sets):
            alone &= contexts.leave(self.ctx, _CLOSE_PATIENCE)
        lib.ums_srtp_wipe(self.ctx)
        if alone:
            lib.ums_arena_close(self._arena)


class OnePacket(Protocol):
    """A packet in, another packet out. Raises PacketRefused, or NativeError once the context is closed."""

    def __call__(self, packet: Octets, *, rtcp: bool = False) -> bytes: ...


def _one_packet(call: Any, memory: _Memory) -> OnePacket:
    """`call` as a function of the packet. A closure, as its names are found faster than a method's attributes."""
    ctx, seat = memory.ctx, memory.seat
    take, give, octets = seat.pop, seat.append, ffi.buffer(seat[0], lib.UMS_MAX_PACKET)

    def run(packet: Octets, *, rtcp: bool = False) -> bytes:
        if type(packet) is not bytes:
            packet = bytes(packet)
        try:
            out = take()
        except IndexError:
            raise memory.refusal(Status.BUSY) from None
        try:
            n = call(ctx, packet, len(packet), rtcp, out)
            if n > 0:
                return octets[:n]  # type: ignore[no-any-return]
        finally:
            give(out)
        raise memory.refusal(Status(-n))

    return run


class SrtpContext:
    """One direction, one set of master keys. `engine`: a name, or None for the best one that fits the suite.

    Raises NativeError: BAD_ARGUMENT, UNSUPPORTED (the engine cannot run this suite here), SYSTEM (no memory).
    """

    def __init__(self, config: SrtpConfig, engine: str | None = None) -> None:
        self._direction = config.direction
        with native_config(config) as raw:
            size = lib.ums_srtp_sizeof(raw)
            if size == 0:
                raise NativeError(Status.BAD_ARGUMENT, "ums_srtp_sizeof")
            self._memory = _Memory(size)
            status = lib.ums_srtp_init(self._memory.ctx, size, raw, _engine(engine))
        # Also at interpreter exit: weakref.finalize sees to it.
        self._finalizer = weakref.finalize(self, self._memory.close)
        self.protect: OnePacket = _one_packet(lib.ums_srtp_protect_one, self._memory)
        """The SRTP or SRTCP packet of an RTP or RTCP packet. Raises PacketRefused."""
        self.unprotect: OnePacket = _one_packet(lib.ums_srtp_unprotect_one, self._memory)
        """The RTP or RTCP packet of an SRTP or SRTCP packet. Raises PacketRefused."""
        if status != Status.OK:
            self.close()
            raise NativeError(status, "ums_srtp_init")

    def protect_many(
        self, packets: Sequence[Octets], *, rtcp: bool | Sequence[bool] = False
    ) -> list[tuple[Status, bytes]]:
        """One burst. Each packet's status, and its octets afterwards (as they were where it was refused)."""
        return protect_burst(_rows(self, packets, rtcp))

    def unprotect_many(
        self, packets: Sequence[Octets], *, rtcp: bool | Sequence[bool] = False
    ) -> list[tuple[Status, bytes]]:
        return unprotect_burst(_rows(self, packets, rtcp))

    def set_engine(self, name: str | None) -> None:
        """Moves the keys to another engine; ROC, replay lists and indices stay. A NativeError changes nothing."""
        with self._memory.use() as ctx:
            status = lib.ums_srtp_set_engine(ctx, _engine(name))
        if status != Status.OK:
            raise NativeError(status, "ums_srtp_set_engine")

    @property
    def engine(self) -> str | None:
        with self._memory.use() as ctx:
            engine = lib.ums_srtp_engine(ctx)
            return None if engine == ffi.NULL else ffi.string(engine.name).decode()

    def stats(self) -> SrtpStats:
        raw = ffi.new("ums_srtp_stats *")
        with self._memory.use() as ctx:
            lib.ums_srtp_stats_get(ctx, raw)
        return stats_from(raw)

    def streams(self) -> list[StreamStats]:
        with self._memory.use() as ctx:
            room = lib.ums_srtp_streams(ctx, ffi.NULL, 0)
            raw = ffi.new("ums_stream_stats[]", max(room, 1))
            n = min(lib.ums_srtp_streams(ctx, raw, room), room)
        return [stream_stats_from(raw[i]) for i in range(n)]

    def wipe(self) -> None:
        """Forgets every key; from here on packets are answered with BAD_ARGUMENT."""
        with self._memory.use() as ctx:
            lib.ums_srtp_wipe(ctx)

    def close(self) -> None:
        """Wipes the context and gives its memory back. Idempotent; also happens at interpreter exit."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ContextSet:
    """Contexts that batches use together, by their place in the sequence. Serves one call at a time.

    A context that closes leaves the set: its packets are answered with BAD_ARGUMENT.
    """

    def __init__(self, contexts: Sequence[SrtpContext]) -> None:
        self.pointers = ffi.new("ums_srtp *[]", [context._memory.ctx for context in contexts])
        self.seat = Seat([None])
        for context in contexts:
            context._memory.join(self)

    def leave(self, ctx: Any, patience: float) -> bool:
        """No packet goes to `ctx` any more. False when a call that uses it did not come back in time."""
        alone = self.seat.wait_for(patience)
        for i in range(len(self.pointers)):
            if self.pointers[i] == ctx:
                self.pointers[i] = ffi.NULL
        if alone:
            self.seat.append(None)
        return alone


def protect_burst(rows: Sequence[tuple[SrtpContext, Octets, bool]]) -> list[tuple[Status, bytes]]:
    """(context, packet, is RTCP) rows of any mix of contexts, as one call into C."""
    return _burst(lib.ums_srtp_protect, rows, lib.UMS_MAX_TRAILER)


def unprotect_burst(rows: Sequence[tuple[SrtpContext, Octets, bool]]) -> list[tuple[Status, bytes]]:
    return _burst(lib.ums_srtp_unprotect, rows, 0)


def _burst(call: Any, rows: Sequence[tuple[SrtpContext, Octets, bool]], spare: int) -> list[tuple[Status, bytes]]:
    if not rows:
        return []
    packets = ffi.new("ums_packet[]", len(rows))
    contexts = ffi.new("ums_srtp *[]", len(rows))
    buffers = []
    for packet, (_, data, rtcp) in zip(packets, rows, strict=True):
        buffer = ffi.new("uint8_t[]", len(data) + spare)
        ffi.memmove(buffer, data, len(data))
        buffers.append(buffer)
        packet.data, packet.len, packet.capacity, packet.rtcp = buffer, len(data), len(buffer), rtcp
    with ExitStack() as entered:
        for i, (context, _, _) in enumerate(rows):
            contexts[i] = entered.enter_context(context._memory.use())
        call(contexts, packets, len(rows))
    return [
        (Status(packet.status), bytes(ffi.buffer(buffer, packet.len)))
        for packet, buffer in zip(packets, buffers, strict=True)
    ]


def _rows(
    context: SrtpContext, packets: Sequence[Octets], rtcp: bool | Sequence[bool]
) -> list[tuple[SrtpContext, Octets, bool]]:
    kinds = [rtcp] * len(packets) if isinstance(rtcp, bool) else rtcp
    return [(context, packet, kind) for packet, kind in zip(packets, kinds, strict=True)]


def _engine(name: str | None) -> Any:
    if name is None:
        return ffi.NULL
    engine = lib.ums_engine_find(name.encode())
    if engine == ffi.NULL:
        raise NativeError(Status.UNSUPPORTED, "ums_engine_find")
    return engine


__all__ = [
    "ContextSet",
    "Direction",
    "OnePacket",
    "PacketRefused",
    "SrtpContext",
    "SrtpStats",
    "StreamStats",
    "native_config",
    "protect_burst",
    "stats_from",
    "stream_stats_from",
    "unprotect_burst",
]
