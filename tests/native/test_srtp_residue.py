"""What engines spill of a key to the stack does not outlive its context. SRTP-13."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.srtp import SUITES_AND_ENGINES, receiver, rtp, sender
from ueagent_native import _core
from ueagent_native._core import ffi

# A sanitizer's code keeps on the stack what ours keeps in registers.
pytestmark = pytest.mark.skipif(
    b"__asan_report" in Path(_core.__file__).read_bytes(), reason="this machine runs a core with sanitizers in it"
)
PIECE = 16  # octets: a round key
DISTINCT = 9  # values in a piece, so that it is not found by chance; and no zero, which every address has


def prepared_pieces(context: Any, length: int) -> set[bytes]:
    """Pieces of a context's memory that look like key material."""
    memory = bytes(ffi.buffer(ffi.cast("char *", context), length))
    pieces = (memory[at : at + PIECE] for at in range(0, length - PIECE + 1, PIECE))
    return {piece for piece in pieces if len(set(piece)) >= DISTINCT and 0 not in piece}


def own_stack() -> bytes:
    found = re.search(r"^([0-9a-f]+)-([0-9a-f]+) .*\[stack\]$", Path("/proc/self/maps").read_text(), re.M)
    assert found is not None
    low, high = (int(group, 16) for group in found.groups())
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        memory.seek(low)
        return memory.read(high - low)


@pytest.mark.parametrize(("suite", "engine"), SUITES_AND_ENGINES)
def test_no_piece_of_a_prepared_key_stays_on_the_stack(suite: str, engine: str) -> None:
    """SRTP-13: of bursts of one, of a few and of many packets."""
    pieces: set[bytes] = set()
    with sender(suite, engine=engine) as tx, receiver(suite, engine=engine) as rx:
        for context in (tx, rx):
            memory = context._memory  # nowhere else do prepared keys show
            pieces |= prepared_pieces(memory.ctx, memory.size)
        assert pieces
        seq = 0
        for n in (1, 5, 64):
            sent = tx.protect_many([rtp(seq + i, payload=bytes(1200)) for i in range(n)])
            rx.unprotect_many([octets for _, octets in sent])
            seq += n
    stack = own_stack()
    assert not [piece for piece in pieces if piece in stack]
