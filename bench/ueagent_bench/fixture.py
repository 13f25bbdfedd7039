"""Typed face of `ums_bench`: packets of some streams, and a subject that works on them (see `ums.h`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from ueagent_native._core import ffi, lib
from ueagent_native.values import NativeError, Status

from ueagent_bench import clock
from ueagent_bench.model import Case, WrongOutput

if TYPE_CHECKING:
    from ueagent_native._core import Pointer

_OPERATIONS: Final = {  # name -> ums_bench_operation, RTCP
    "srtp_protect": (lib.UMS_BENCH_PROTECT, 0),
    "srtp_unprotect": (lib.UMS_BENCH_UNPROTECT, 0),
    "srtcp_protect": (lib.UMS_BENCH_PROTECT, 1),
    "srtcp_unprotect": (lib.UMS_BENCH_UNPROTECT, 1),
    "srtp_setup": (lib.UMS_BENCH_SETUP, 0),
    "ssrc_protect": (lib.UMS_BENCH_PROTECT, 0),
    "ssrc_unprotect": (lib.UMS_BENCH_UNPROTECT, 0),
}
_SETUP_PAYLOAD: Final = 20  # of the packets that prove a fresh context
_MAX_SAMPLES: Final = 4096  # of one call


@cache
def _suite_numbers() -> dict[str, int]:
    rows = (lib.ums_suite_at(i) for i in range(lib.ums_suite_count()))
    return {ffi.string(row.name).decode(): int(row.suite) for row in rows}


@cache
def _sample_store() -> Pointer:
    return ffi.new("uint64_t[]", _MAX_SAMPLES)


@cache
def _rate() -> float:
    return clock.ticks_per_second()


class Fixture:
    """One subject at one case. `subject`: a peer's `ums_bench_subject *`, None for our core on `engine`.

    Raises NativeError: UNSUPPORTED when the subject cannot do this, SYSTEM when there is no memory.
    """

    def __init__(self, case: Case, *, engine: str | None = None, subject: Pointer | None = None) -> None:
        operation, rtcp = _OPERATIONS[case.operation]
        config = ffi.new("ums_bench_config *")
        config.suite, config.operation, config.rtcp = _suite_numbers()[case.suite], operation, rtcp
        config.payload = case.payload or _SETUP_PAYLOAD
        config.n_contexts, config.n_ssrc = case.contexts, case.ssrcs
        config.engine = lib.ums_engine_find(engine.encode()) if engine else ffi.NULL
        if engine and config.engine == ffi.NULL:
            raise NativeError(Status.UNSUPPORTED, "ums_engine_find")
        out = ffi.new("ums_bench **")
        status = lib.ums_bench_open(config, lib.ums_bench_core() if subject is None else subject, out)
        if status != Status.OK:
            raise NativeError(status, "ums_bench_open")
        self._bench = out[0]

    def measure(self, burst: int, seconds: float) -> Sequence[float]:
        """Ticks per packet of each sample. Raises WrongOutput."""
        store, status = _sample_store(), ffi.new("ums_status *")
        budget = max(1, int(seconds * _rate()))
        n = lib.ums_bench_run(self._bench, burst, store, _MAX_SAMPLES, budget, status)
        if status[0] != Status.OK:
            raise WrongOutput(Status(status[0]).name)
        return [ticks / lib.UMS_BENCH_BATCH for ticks in ffi.unpack(store, n)]

    def close(self) -> None:
        """Idempotent."""
        bench, self._bench = self._bench, ffi.NULL
        lib.ums_bench_close(bench)
