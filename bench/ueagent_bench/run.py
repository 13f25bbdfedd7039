"""Measures cells in turn, in rounds, spread over the run; keeps the least disturbed figures.

    pass 1: case A: round 1: cell, cell, ...  round 2: ...   case B: ...      pass 2: case A: ...

A neighbour on the machine slows everything for seconds at a time. So every cell has its turns early, in the middle and
late, right beside those it is compared with; its figure is the best turn's second percentile.
"""

from __future__ import annotations

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


def measure(
    cells: Sequence[Cell],
    setting: Setting,
    seconds: float,
    *,
    passes: int = PASSES,
    rounds: int = ROUNDS,
    progress: Progress | None = None,
) -> Outcome:
    """`seconds`: of measuring; making contexts ready comes on top."""
    by_case: dict[Case, list[Cell]] = {}
    for cell in cells:
        by_case.setdefault(cell.case, []).append(cell)
    turn = seconds / max(1, len(cells) * passes * rounds)
    slices: dict[Cell, list[Slice]] = {cell: [] for cell in cells}
    failures: dict[Cell, str] = {}
    done = 0
    for _ in range(passes):
        for case, members in by_case.items():
            if progress is not None:
                progress(done, passes * len(cells), case.operation)
            well = [cell for cell in members if cell not in failures]
            if well:
                with catalogue.timed_module(well[0]).opened(well, setting) as meters:
                    _rounds(meters, turn, rounds, slices, failures)
            done += len(members)
    results = [_result(cell, turns) for cell, turns in slices.items() if turns and cell not in failures]
    return Outcome(
        tuple(_with_ratios(results)),
        tuple(Failure(cell, why) for cell, why in failures.items()),
        tuple(cell for cell, turns in slices.items() if not turns and cell not in failures),
    )


def _rounds(
    meters: Mapping[Cell, Meter],
    turn: float,
    rounds: int,
    slices: dict[Cell, list[Slice]],
    failures: dict[Cell, str],
) -> None:
    for _ in range(rounds):
        for cell, meter in meters.items():
            if cell in failures:
                continue
            try:
                slices[cell].append(one_turn(meter, turn))
            except WrongOutput as error:
                failures[cell] = str(error.args[0])


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
