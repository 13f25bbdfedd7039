"""Batches of packets in place: rows of one array, as NumPy has them. Any writable buffer will do; NumPy is not needed.

    arena = numpy.zeros((64, 1600), numpy.uint8)      # a packet a row, with room behind it for the trailer
    batch = Batch(arena, lengths, statuses, index)    # uint32, uint8, uint32: one element a row
    contexts = ContextSet([...])                      # row i is of contexts[index[i]]
    protect_batch(contexts, batch)                    # lengths and statuses (values.Status) are new afterwards

The GIL is free during the call. The batch holds on to its buffers, so that none can be moved or freed meanwhile; a
context that closes waits for the call. A context that somebody else is using answers BUSY, and its packets stay as they
were; so does the whole set when another call is using that.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ueagent_native._core import ffi, lib
from ueagent_native.srtp import ContextSet, SrtpContext
from ueagent_native.values import Status

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined,unused-ignore]

_protect, _unprotect = lib.ums_srtp_protect_rows, lib.ums_srtp_unprotect_rows
_NATIVE = ("@", "=", "<" if sys.byteorder == "little" else ">")  # byte order marks that mean ours


class Batch:
    """Rows of packets. `arena`: 2-D, octets; `lengths`: a uint32 a row, in and out; `statuses`: an octet a row, out;
    `index`: a uint32 a row, which context (None: the first, for all); `rtcp`: an octet a row, not 0 for RTCP.

    A length beyond its row, or an index beyond the contexts, makes that packet BAD_ARGUMENT. Raises ValueError for a
    buffer of another shape, and BufferError or ValueError for one that is read-only or not contiguous.
    """

    def __init__(
        self, arena: Buffer, lengths: Buffer, statuses: Buffer, index: Buffer | None = None, rtcp: Buffer | None = None
    ) -> None:
        rows = memoryview(arena)
        if rows.shape is None or rows.ndim != 2 or rows.itemsize != 1 or not rows.c_contiguous:
            raise ValueError("arena: rows of octets, without gaps, are wanted")
        self.n, stride = rows.shape
        self._held = [
            ffi.from_buffer("uint8_t[]", rows, True),
            _column("lengths", lengths, "uint32_t", self.n, writable=True),
            _column("statuses", statuses, "uint8_t", self.n, writable=True),
            ffi.NULL if index is None else _column("index", index, "uint32_t", self.n),
            ffi.NULL if rtcp is None else _column("rtcp", rtcp, "uint8_t", self.n),
        ]
        data, length, status, context, kinds = self._held
        self.rows = ffi.new(
            "ums_rows *",
            {
                "data": data,
                "stride": stride,
                "n": self.n,
                "len": length,
                "context": context,
                "rtcp": kinds,
                "status": status,
            },
        )

    def refuse(self, status: Status) -> None:
        """Every packet gets this status."""
        ffi.buffer(self.rows.status, self.n)[:] = bytes((status,)) * self.n


class BatchFace(Protocol):
    """What protects and unprotects batches: this module, and libsrtp in bench and tests."""

    def protect(self, batch: Batch) -> int: ...
    def unprotect(self, batch: Batch) -> int: ...


def protect_batch(contexts: ContextSet | Sequence[SrtpContext], batch: Batch) -> int:
    """RTP and RTCP to SRTP and SRTCP. Returns how many succeeded. A ContextSet made once saves making it here."""
    return _run(_protect, contexts, batch)


def unprotect_batch(contexts: ContextSet | Sequence[SrtpContext], batch: Batch) -> int:
    """SRTP and SRTCP to RTP and RTCP. Returns how many succeeded. Packets that fail keep their octets and lengths."""
    return _run(_unprotect, contexts, batch)


def _run(call: Any, contexts: ContextSet | Sequence[SrtpContext], batch: Batch) -> int:
    users = contexts if isinstance(contexts, ContextSet) else ContextSet(contexts)
    try:
        users.seat.pop()
    except IndexError:
        batch.refuse(Status.BUSY)
        return 0
    try:
        return call(users.pointers, len(users.pointers), batch.rows)  # type: ignore[no-any-return]
    finally:
        users.seat.append(None)


def _column(name: str, buffer: Buffer, ctype: str, n: int, *, writable: bool = False) -> Any:
    view = memoryview(buffer)
    code, size = view.format.lstrip("".join(_NATIVE)), ffi.sizeof(ctype)
    if view.ndim != 1 or view.itemsize != size or code not in ("B", "I", "L", "?") or len(view) != n:
        raise ValueError(f"{name}: {n} times {ctype} is wanted")
    return ffi.from_buffer(f"{ctype}[]", view, writable)


__all__ = ["Batch", "BatchFace", "protect_batch", "unprotect_batch"]
