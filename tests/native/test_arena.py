"""Arenas, and the primitives that wipe and compare. SRTP-13."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from ueagent_native._core import ffi, lib
from ueagent_native.arena import Arena, ArenaFlags
from ueagent_native.values import NativeError, Status


def mapping_of(address: int) -> list[str]:
    """The lines of /proc/self/smaps for the mapping that holds an address."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    found: list[str] = []
    inside = False
    for line in lines:
        head = line.split()[0]
        if "-" in head and not head.endswith(":"):
            low, high = (int(part, 16) for part in head.split("-"))
            inside = low <= address < high
        if inside:
            found.append(line)
    return found


def vm_flags(address: int) -> set[str]:
    return next(set(line.split()[1:]) for line in mapping_of(address) if line.startswith("VmFlags:"))


def test_an_arena_is_zeroed_and_page_aligned() -> None:
    """SRTP-13."""
    with Arena(5000) as arena:
        assert arena.size == 8192
        assert int(ffi.cast("uintptr_t", arena.base)) % 4096 == 0
        assert not any(bytes(ffi.buffer(arena.base, arena.size)))


def test_the_kernel_confirms_what_the_flags_claim() -> None:
    """SRTP-13: kept out of core dumps, swap and children."""
    with Arena(4096) as arena:
        flags = vm_flags(int(ffi.cast("uintptr_t", arena.base)))
        assert ("dd" in flags) == (ArenaFlags.DONTDUMP in arena.flags)
        assert ("wf" in flags) == (ArenaFlags.WIPEONFORK in arena.flags)
        if "libasan" not in Path("/proc/self/maps").read_text():  # its mlock does nothing and says it did
            assert ("lo" in flags) == (ArenaFlags.LOCKED in arena.flags)
        assert ArenaFlags.DONTDUMP in arena.flags
        assert ArenaFlags.WIPEONFORK in arena.flags


def test_a_child_process_sees_zeros() -> None:
    """SRTP-13."""
    with Arena(4096) as arena:
        ffi.memmove(arena.base, b"key", 3)
        child = os.fork()
        if child == 0:
            os._exit(1 if any(bytes(ffi.buffer(arena.base, arena.size))) else 0)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert bytes(ffi.buffer(arena.base, 3)) == b"key"


def test_a_closed_arena_is_unmapped_and_closing_again_does_nothing() -> None:
    """SRTP-13."""
    arena = Arena(4096)
    address = int(ffi.cast("uintptr_t", arena.base))
    assert vm_flags(address) >= {"dd"}
    arena.close()
    arena.close()
    assert arena.base == ffi.NULL
    assert not [line for line in mapping_of(address) if line.startswith("VmFlags:") and "wf" in line.split()]


def test_a_forgotten_arena_is_closed_when_collected() -> None:
    """SRTP-13."""
    arena = Arena(4096)
    native = arena._arena
    del arena
    gc.collect()
    assert native.base == ffi.NULL


@pytest.mark.parametrize("size", [0, 2**64 - 1, 2**62])
def test_impossible_sizes_are_refused(size: int) -> None:
    """SRTP-13."""
    with pytest.raises(NativeError) as caught:
        Arena(size)
    assert caught.value.status in (Status.BAD_ARGUMENT, Status.NO_ROOM)


def test_wiping_reaches_exactly_its_range() -> None:
    """SRTP-13."""
    data = ffi.new("uint8_t[]", b"\xff" * 40)
    lib.ums_wipe(data + 4, 31)
    assert bytes(data) == b"\xff" * 4 + bytes(31) + b"\xff" * 5 + b"\0"
    lib.ums_wipe(ffi.NULL, 0)


@pytest.mark.parametrize("length", [0, 1, 4, 10, 16, 20])
def test_comparison_sees_every_bit(length: int) -> None:
    """SRTP-13: tags are compared in time that depends on their length only."""
    octets = bytes(range(1, length + 1))
    assert lib.ums_equal(octets, octets, length) == 1
    for bit in range(8 * length):
        other = bytearray(octets)
        other[bit // 8] ^= 1 << bit % 8
        assert lib.ums_equal(octets, bytes(other), length) == 0
