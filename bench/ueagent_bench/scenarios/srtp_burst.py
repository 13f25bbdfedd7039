"""Packets through C: protect and unprotect of SRTP and SRTCP, streams and SSRCs in numbers, contexts made anew.

The timed loops are in `native/src/bench.c`; peers take part through the same interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from ueagent_native.values import NativeError, Status

from ueagent_bench.fixture import Fixture
from ueagent_bench.model import BURSTS, COMPOUND, PAYLOADS, Case, Cell, Meter, Setting

_STREAMS: Final = (1, 1000, 10_000)  # beside 64; the last ones live in no cache
_SSRCS: Final = (1, 64, 1024)  # of one context
_LOOKUP_PAYLOAD: Final = 160


def _cases(suite: str) -> Iterator[Case]:
    for way in ("protect", "unprotect"):
        yield from (Case(f"srtp_{way}", suite, payload) for payload in PAYLOADS)
        yield Case(f"srtcp_{way}", suite, COMPOUND)
        yield from (Case(f"srtp_{way}", suite, payload, contexts=n) for n in _STREAMS for payload in PAYLOADS)
        yield from (Case(f"ssrc_{way}", suite, _LOOKUP_PAYLOAD, contexts=1, ssrcs=n) for n in _SSRCS)
    yield Case("srtp_setup", suite, 0)


def cells(setting: Setting) -> list[Cell]:
    found = []
    for case in (case for suite in setting.suites for case in _cases(suite)):
        bursts = BURSTS if case.payload else (1,)
        for engine, suites in setting.engines.items():
            if case.suite in suites:
                found += [Cell(case, engine, burst) for burst in bursts]
        for peer in setting.peers.peers:
            if peer.can(case):
                of_peer = bursts if peer.batched else (1,)
                found += [Cell(case, peer.name, burst, peer.library, peer.batched) for burst in of_peer]
    return found


@dataclass(frozen=True, slots=True)
class _BurstMeter:
    fixture: Fixture
    burst: int

    def measure(self, seconds: float) -> Sequence[float]:
        return self.fixture.measure(self.burst, seconds)


@contextmanager
def opened(cells: Sequence[Cell], setting: Setting) -> Iterator[Mapping[Cell, Meter]]:
    """Cells of one subject share its contexts."""
    fixtures: dict[str, Fixture | None] = {}
    with ExitStack() as open_fixtures:
        meters: dict[Cell, Meter] = {}
        for cell in cells:
            if cell.subject not in fixtures:
                fixture = fixtures[cell.subject] = _open(cell, setting)
                if fixture is not None:
                    open_fixtures.callback(fixture.close)
            found = fixtures[cell.subject]
            if found is not None:
                meters[cell] = _BurstMeter(found, cell.burst)
        yield meters


def _open(cell: Cell, setting: Setting) -> Fixture | None:
    try:
        if cell.is_peer:
            return Fixture(cell.case, subject=setting.peers.find(cell.subject).subject)
        return Fixture(cell.case, engine=cell.subject)
    except NativeError as error:
        if error.status in (Status.SYSTEM, Status.UNSUPPORTED):
            return None
        raise
