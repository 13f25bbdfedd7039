"""Measures cells in turn, in rounds, spread over the run; keeps the least disturbed figures.

    pass 1: case A: round 1: cell, cell, ...  round 2: ...   case B: ...      pass 2: case A: ...

A neighbour on the machine slows everything for seconds at a time. So every cell has its turns early, in the middle and
late, right beside those it is compared with; its figure is the best turn's second percentile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Final

from ueagent_native.engines import engine_for, list_engines

from ueagent_bench import catalogue, clock
from ueagent_bench.model import Case, Cell, Failure, Meter, Outcome, Result, Setting, Slice, WrongOutput
from ueagent_bench.peers import Peers, at_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSES: Final = 3
ROUNDS: Final = 3  # of a case in each pass
_PERCENTILE: Final = 0.02
_LEAST_TURN: Final = 1e-4  # seconds; a turn has one sample at least, however long it takes

Progress = Callable[[int, int, str], None]  # done, of how many turns, what is next


@contextmanager
def setting(*, with_peers: bool = True) -> Iterator[Setting]:
    """Engines that passed their self-tests, and the peers of this machine."""
    with at_hand(with_peers) as peers:
        yield setting_of(peers)


def setting_of(peers: Peers) -> Setting:
    engines = {info.name: info.suites for info in list_engines() if info.self_test == "passed"}
    suites = dict.fromkeys(suite for names in engines.values() for suite in names)
    chosen = {suite: engine for suite in suites if (engine := engine_for(suite)) is not None}
    return Setting(engines, chosen, peers)


class _Budget:
    """Shares what is left of the time among the turns that are left; making contexts ready comes out of it too."""

    def __init__(self, seconds: float, turns: int) -> None:
        self._start = time.monotonic()
        self._seconds = seconds
        self._turns = turns
        self._done = 0
        self._measured = 0.0

    def turn(self) -> float:
        """Seconds for the next one."""
        passed = time.monotonic() - self._start
        overhead = (passed - self._measured) / self._done if self._done else 0.0
        seconds = (self._seconds - passed) / max(1, self._turns - self._done) - overhead
        self._done += 1
        return max(_LEAST_TURN, seconds)

    def measured(self, seconds: float) -> None:
        self._measured += seconds

    def skip(self, turns: int) -> None:
        self._turns -= turns


def measure(
    cells: Sequence[Cell],
    setting: Setting,
    seconds: float,
    *,
    passes: int = PASSES,
    rounds: int = ROUNDS,
    progress: Progress | None = None,
) -> Outcome:
    """`seconds`: about how long it takes, all together."""
    by_case: dict[Case, list[Cell]] = {}
    for cell in cells:
        by_case.setdefault(cell.case, []).append(cell)
    turns: dict[Cell, list[Slice]] = {cell: [] for cell in cells}
    failures: dict[Cell, str] = {}
    budget = _Budget(seconds, len(cells) * passes * rounds)
    done = 0
    for _ in range(passes):
        for case, members in by_case.items():
            if progress is not None:
                progress(done, passes * len(cells), case.operation)
            well = [cell for cell in members if cell not in failures]
            meters: Mapping[Cell, Meter] = {}
            if well:
                with catalogue.timed_module(well[0]).opened(well, setting) as meters:
                    for _ in range(rounds):
                        _round(meters, budget, turns, failures)
            budget.skip((len(members) - len(meters)) * rounds)
            done += len(members)
    results = [_result(cell, own) for cell, own in turns.items() if own and cell not in failures]
    return Outcome(
        tuple(_with_ratios(results)),
        tuple(Failure(cell, why) for cell, why in failures.items()),
        tuple(cell for cell, own in turns.items() if not own and cell not in failures),
    )


def _round(
    meters: Mapping[Cell, Meter], budget: _Budget, turns: dict[Cell, list[Slice]], failures: dict[Cell, str]
) -> None:
    for cell, meter in meters.items():
        seconds = budget.turn()
        if cell in failures:
            continue
        start = time.monotonic()
        try:
            turns[cell].append(one_turn(meter, seconds))
        except WrongOutput as error:
            failures[cell] = str(error.args[0])
        budget.measured(min(seconds, time.monotonic() - start))


def one_turn(meter: Meter, seconds: float) -> Slice:
    before = clock.cycles_per_tick()
    samples = sorted(meter.measure(seconds))
    after = clock.cycles_per_tick()
    rate = max(before, after)
    return Slice(
        low=samples[int(len(samples) * _PERCENTILE)] * rate,
        median=samples[len(samples) // 2] * rate,
        samples=len(samples),
        steady=abs(before - after) <= clock.STEADY * rate,
    )


def _result(cell: Cell, turns: Sequence[Slice]) -> Result:
    steady = [turn for turn in turns if turn.steady] or turns
    return Result(
        cell,
        cycles=min(turn.low for turn in steady),
        median=median(turn.median for turn in steady),
        samples=sum(turn.samples for turn in turns),
    )


def _with_ratios(results: Sequence[Result]) -> Iterable[Result]:
    """A burst of ours is compared with the fastest face of each library, at the same burst where it has bursts."""
    peers: dict[Case, list[Result]] = {}
    for result in results:
        if result.cell.is_peer:
            peers.setdefault(result.cell.case, []).append(result)
    for result in results:
        best: dict[str, Result] = {}
        for peer in [] if result.cell.is_peer else peers.get(result.cell.case, []):
            if peer.cell.batched and peer.cell.burst != result.cell.burst:
                continue
            known = best.get(peer.cell.library)
            if known is None or peer.cycles < known.cycles:
                best[peer.cell.library] = peer
        yield Result(
            result.cell,
            result.cycles,
            result.median,
            result.samples,
            {library: peer.cycles / result.cycles for library, peer in best.items()},
            {library: peer.name for library, peer in best.items()},
        )
