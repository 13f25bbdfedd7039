"""The link to a serial accelerator (`include/ums_accel.h`): one descriptor and the C thread that serves it."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from ueagent_native._core import ffi, lib
from ueagent_native.values import NativeError, Status

if TYPE_CHECKING:
    from ueagent_native._core import Pointer


class Custody(IntEnum):
    """`ums_custody`: who has the session keys."""

    SHARED = 0
    DEVICE = 1


class LinkState(IntEnum):
    """`ums_link_state`."""

    STOPPED = 0
    UP = 1
    MISSED = 2
    LOCKED = 3
    GONE = 4
    WRONG = 5
    REFUSED = 6


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """`ums_link_config`."""

    custody: Custody = Custody.SHARED
    deadline_us: int = 5000
    verify_every: int = 16
    max_slots: int = 0
    octet_ns: int = 0
    job_us: int = 0
    host_us: int = 0


@dataclass(frozen=True, slots=True)
class LinkStats:
    """`ums_link_stats`: counters since the link was made."""

    state: LinkState
    used_slots: int
    jobs: int
    done: int
    missed: int
    refused: int
    auth_fail: int
    damaged: int
    late: int
    wrong: int
    verified: int
    fallback: int
    loads: int
    no_slot: int
    round_trip_ns: int


def _check(status: int, function: str) -> None:
    if status != Status.OK:
        raise NativeError(Status(status), function)


def _close(link: Pointer, arena: Pointer) -> None:
    lib.ums_link_stop(link)
    lib.ums_arena_close(arena)


class AcceleratorLink:
    """Attach it to a relay (`Relay.attach`) before that starts, and close it after the relay."""

    def __init__(self, config: LinkConfig) -> None:
        raw = ffi.new("ums_link_config *")
        for name in LinkConfig.__slots__:
            setattr(raw, name, int(getattr(config, name)))
        size = lib.ums_link_sizeof()
        arena = ffi.new("ums_arena *")
        _check(lib.ums_arena_open(arena, size), "ums_arena_open")
        self.pointer = ffi.cast("ums_link *", arena.base)
        self._finalizer = weakref.finalize(self, _close, self.pointer, arena)
        _check(lib.ums_link_init(self.pointer, size, raw), "ums_link_init")

    def start(self, descriptor: int, transport: bytes | None, slots: int, window: int) -> None:
        """The handshake is done; `transport` None: keys are loaded plain. `window`: jobs that may be outstanding."""
        given = ffi.NULL if transport is None else transport
        _check(lib.ums_link_start(self.pointer, descriptor, given, slots, window), "ums_link_start")

    def stop(self) -> None:
        """Joins the thread; the descriptor may be closed now. Idempotent."""
        _check(lib.ums_link_stop(self.pointer), "ums_link_stop")

    def stats(self) -> LinkStats:
        raw = ffi.new("ums_link_stats *")
        lib.ums_link_stats_get(self.pointer, raw)
        numbers = {name: int(getattr(raw, name)) for name in LinkStats.__slots__ if name != "state"}
        return LinkStats(state=LinkState(raw.state), **numbers)

    def close(self) -> None:
        """Stops and wipes. Idempotent."""
        self._finalizer()
