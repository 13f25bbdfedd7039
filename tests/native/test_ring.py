"""The single-producer single-consumer ring between the relay's thread and everybody else."""

import ctypes
import os
import threading

import pytest
from support import core_parts

CAPACITY = 8


class Ring:
    """The C ring with 8-octet entries."""

    def __init__(self, library: ctypes.CDLL, capacity: int = CAPACITY) -> None:
        self._c = library
        size = library.ums_spsc_memory(capacity, 8)
        raw = ctypes.create_string_buffer(512 + 64)
        self._keep = (raw, ctypes.create_string_buffer(size))
        self._ring = ctypes.c_void_p((ctypes.addressof(raw) + 63) & ~63)
        self.entries = size // 8
        library.ums_spsc_init(self._ring, self._keep[1], capacity, 8)

    def put(self, value: int) -> bool:
        slot = self._c.ums_spsc_reserve(self._ring)
        if not slot:
            return False
        ctypes.c_uint64.from_address(slot).value = value
        self._c.ums_spsc_commit(self._ring)
        return True

    def take(self) -> int | None:
        slot = self._c.ums_spsc_peek(self._ring)
        if not slot:
            return None
        value = ctypes.c_uint64.from_address(slot).value
        self._c.ums_spsc_release(self._ring)
        return value


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    built = core_parts.build(tmp_path_factory.mktemp("ring"), "ring.c")
    built.ums_spsc_memory.restype = ctypes.c_size_t
    built.ums_spsc_reserve.restype = ctypes.c_void_p
    built.ums_spsc_peek.restype = ctypes.c_void_p
    return built


def test_empty_ring_says_so(library: ctypes.CDLL) -> None:
    assert Ring(library).take() is None


def test_full_ring_refuses_and_keeps_what_it_has(library: ctypes.CDLL) -> None:
    ring = Ring(library)
    assert [ring.put(i) for i in range(CAPACITY + 1)] == [True] * CAPACITY + [False]
    assert [ring.take() for _ in range(CAPACITY + 1)] == [*range(CAPACITY), None]


def test_entries_come_out_in_order_across_many_rounds(library: ctypes.CDLL) -> None:
    ring = Ring(library)
    for i in range(1000):
        assert ring.put(2 * i)
        assert ring.put(2 * i + 1)
        assert (ring.take(), ring.take()) == (2 * i, 2 * i + 1)


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (2, 2), (3, 4), (5, 8), (64, 64), (65, 128)])
def test_capacity_is_rounded_up_to_a_power_of_two(library: ctypes.CDLL, asked: int, given: int) -> None:
    ring = Ring(library, asked)
    assert ring.entries == given
    assert [ring.put(i) for i in range(given + 1)] == [True] * given + [False]


def test_two_threads_lose_and_repeat_nothing(library: ctypes.CDLL) -> None:
    ring = Ring(library)
    total = 5_000

    def produce() -> None:
        sent = 0
        while sent < total:
            if ring.put(sent):
                sent += 1
            else:
                os.sched_yield()

    producer = threading.Thread(target=produce)
    producer.start()
    got: list[int] = []
    while len(got) < total:
        value = ring.take()
        if value is None:
            os.sched_yield()
        else:
            got.append(value)
    producer.join()
    assert got == list(range(total))
