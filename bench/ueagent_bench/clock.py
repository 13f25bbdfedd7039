"""Time in core cycles: clock ticks, scaled by a chain of dependent additions (one cycle each)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ueagent_native._core import ffi, lib

_CHAIN: Final = 16384  # additions; a few microseconds
_TRIES: Final = 4  # the fastest counts: nothing makes the chain faster than the core
STEADY: Final = 0.02  # a clock that changes by more than this between two looks makes a turn unsteady


def name() -> str:
    return str(ffi.string(lib.ums_bench_clock()).decode())


def ticks() -> int:
    return int(lib.ums_bench_ticks())


def cycles_per_tick() -> float:
    return _CHAIN / max(1, min(lib.ums_bench_chain(_CHAIN) for _ in range(_TRIES)))


def ticks_per_second() -> float:
    """From the monotonic clock; good to about one in a thousand."""
    import time

    start, began = ticks(), time.perf_counter()
    while (passed := time.perf_counter() - began) < 0.002:
        pass
    return (ticks() - start) / passed


@contextmanager
def pinned() -> Iterator[int | None]:
    """Stays on one core inside the `with` block; yields its number, None where the system does not let us."""
    try:
        allowed = os.sched_getaffinity(0)
        core = max(allowed)  # interrupts and everybody else start at the first
        os.sched_setaffinity(0, {core})
    except (OSError, AttributeError):
        yield None
        return
    try:
        yield core
    finally:
        os.sched_setaffinity(0, allowed)
