"""Memory for keys and contexts (`ums_arena`): out of core dumps, swap and forked children; wiped when closed."""

from __future__ import annotations

import weakref
from enum import IntFlag
from types import TracebackType
from typing import TYPE_CHECKING

from ueagent_native._core import ffi, lib
from ueagent_native.values import NativeError, Status

if TYPE_CHECKING:
    from ueagent_native._core import Pointer


class ArenaFlags(IntFlag):
    """What the system granted; each is best effort."""

    LOCKED = 0x01  # never swapped
    DONTDUMP = 0x02  # not in core dumps
    WIPEONFORK = 0x04  # zeros in a child process


class Arena:
    """`size` zeroed octets of their own, aligned to 4096. Closed at the latest when collected or at exit."""

    def __init__(self, size: int) -> None:
        self._arena = ffi.new("ums_arena *")
        status = lib.ums_arena_open(self._arena, size)
        if status != Status.OK:
            raise NativeError(status, "ums_arena_open")
        self._close = weakref.finalize(self, lib.ums_arena_close, self._arena)

    @property
    def base(self) -> Pointer:
        """`void *`; NULL once closed. Valid only as long as this object is referenced and open."""
        return self._arena.base

    @property
    def size(self) -> int:
        return int(self._arena.len)

    @property
    def flags(self) -> ArenaFlags:
        return ArenaFlags(self._arena.flags)

    def close(self) -> None:
        """Wipes and unmaps. Idempotent."""
        self._close()

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
