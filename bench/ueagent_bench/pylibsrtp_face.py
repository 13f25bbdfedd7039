"""The batch face of `ueagent_native.batch` over libsrtp (pylibsrtp): the second implementation, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ueagent_native._core import ffi
from ueagent_native.batch import Batch
from ueagent_native.values import Status

if TYPE_CHECKING:
    import pylibsrtp


class LibsrtpFace:
    """Sessions by place, as a ContextSet has contexts. libsrtp copies each packet and takes one per call."""

    def __init__(self, sessions: Sequence[pylibsrtp.Session]) -> None:
        self._sessions = sessions

    def protect(self, batch: Batch) -> int:
        return self._each(batch, "protect")

    def unprotect(self, batch: Batch) -> int:
        return self._each(batch, "unprotect")

    def _each(self, batch: Batch, call: str) -> int:
        rows, done = batch.rows, 0
        for i in range(batch.n):
            which = rows.context[i] if rows.context else 0
            status = Status.BAD_ARGUMENT
            if which < len(self._sessions) and rows.len[i] <= rows.stride:
                suffix = "_rtcp" if rows.rtcp and rows.rtcp[i] else ""
                status = _one(getattr(self._sessions[which], call + suffix), rows, i)
            rows.status[i] = status
            done += status == Status.OK
        return done


def _one(call: Callable[[bytes], bytes], rows: Any, i: int) -> Status:
    """One row through libsrtp, whose reasons are not told apart: AUTH_FAIL stands for all of them."""
    import pylibsrtp

    row = rows.data + i * rows.stride
    try:
        packet = call(bytes(ffi.buffer(row, rows.len[i])))
    except pylibsrtp.Error:
        return Status.AUTH_FAIL
    if len(packet) > rows.stride:
        return Status.NO_ROOM
    ffi.memmove(row, packet, len(packet))
    rows.len[i] = len(packet)
    return Status.OK
