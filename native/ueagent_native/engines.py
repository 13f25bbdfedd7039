"""The engines of the C core: which are present, whether their known answers come out right, which runs a suite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ueagent_native._core import ffi, lib
from ueagent_native.values import Status

if TYPE_CHECKING:
    from ueagent_native._core import Pointer


@dataclass(frozen=True, slots=True)
class EngineInfo:
    name: str
    present: bool  # this machine can run it
    self_test: str  # "passed", "failed: NAME OF THE TEST", "not run"
    suites: tuple[str, ...]  # registered names of the suites it can run
    batch: int  # jobs that fill its lanes; 1: no gain from batches


def _text(chars: Pointer) -> str:
    return ffi.string(chars).decode("ascii")


def _suites() -> Iterator[Pointer]:
    return (lib.ums_suite_at(i) for i in range(lib.ums_suite_count()))


def _run_self_test(engine: Pointer) -> str:
    failed = ffi.new("const char **")
    if lib.ums_engine_self_test(engine, failed) == Status.OK:
        return "passed"
    return f"failed: {_text(failed[0])}"


def _describe(engine: Pointer, self_test: bool) -> EngineInfo:
    present = bool(engine.probe())
    return EngineInfo(
        name=_text(engine.name),
        present=present,
        self_test=_run_self_test(engine) if self_test and present else "not run",
        suites=tuple(_text(s.name) for s in _suites() if engine.supports(s.transform, s.key_len)),
        batch=engine.batch,
    )


def list_engines(self_test: bool = True) -> list[EngineInfo]:
    """All engines that were built for this kind of machine, best first. The self-tests take about a millisecond."""
    return [_describe(lib.ums_engine_at(i), self_test) for i in range(lib.ums_engine_count())]


def engine_for(suite: str) -> str | None:
    """The engine the core chooses for a suite's registered name: the first that is present, supports the suite and
    passed its self-test (remembered per process). None when there is none, or no such suite in the core."""
    for row in _suites():
        if _text(row.name) == suite:
            engine = lib.ums_engine_choose(row.suite)
            return _text(engine.name) if engine else None
    return None
