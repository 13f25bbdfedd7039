"""`ueagent bench`: how fast the core is on this machine, beside the peers that are at hand."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ueagent.cli import exits

if TYPE_CHECKING:
    import argparse

    from ueagent_bench.model import Cell, Setting

_SECONDS: Final = 45.0
_QUICK_SECONDS: Final = 4.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--list", action="store_true", help="print the names of all scenarios and measure nothing")
    parser.add_argument("--quick", action="store_true", help="a few scenarios in a few seconds")
    parser.add_argument("--gates", action="store_true", help="measure what has a limit, and say whether it is kept")
    parser.add_argument(
        "--scenario", nargs="+", default=[], metavar="NAME", help="only these, with their peers; may be patterns ('*')"
    )
    parser.add_argument(
        "--peers", choices=("auto", "none"), default="auto", help="compare with the libraries at hand (auto), or none"
    )
    parser.add_argument("--seconds", type=_seconds, metavar="N", help=f"about how long to measure ({_SECONDS:g})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw cycles against payload (.png or .svg)")
    commands = parser.add_subparsers(dest="action", title="with results of --json")
    compare = commands.add_parser("compare", help="two results beside each other", description="Compare two results.")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    tables = commands.add_parser("tables", help="a result as Markdown", description="Print a result as Markdown.")
    tables.add_argument("result", type=Path)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise ValueError
    return value


def run(args: argparse.Namespace) -> int:
    if args.action is not None:
        return _from_files(args)
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _bench(args)
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _complain(text: object, status: int = exits.FAILED) -> int:
    sys.stderr.write(f"ueagent bench: {text}\n")
    return status


def _from_files(args: argparse.Namespace) -> int:
    from ueagent_bench import compare, tables

    try:
        if args.action == "tables":
            sys.stdout.write(tables.markdown(compare.load(args.result)))
        else:
            sys.stdout.write(compare.compare(compare.load(args.before), compare.load(args.after)))
    except compare.NoResult as error:
        return _complain(error)
    return exits.OK


def _bench(args: argparse.Namespace) -> int:
    from ueagent_bench import catalogue, run

    if args.plot is not None:
        from ueagent_bench import plot

        try:
            plot.check(args.plot)
        except plot.NoPlotting as error:
            return _complain(error)
    with run.setting(with_peers=args.peers == "auto") as setting:
        cells = catalogue.all_cells(setting)
        if args.list:
            names = [*(cell.name for cell in cells), *(fact.name for fact in catalogue.all_facts(setting))]
            sys.stdout.write("\n".join([*names, *catalogue.WHOLE]) + "\n")
            return exits.OK
        try:
            chosen = _chosen(args, cells, setting)
        except catalogue.UnknownScenario as error:
            return _complain(f"no scenario {error} here; --list names them all", exits.USAGE)
        return _measure(args, chosen, setting)


def _chosen(args: argparse.Namespace, cells: list[Cell], setting: Setting) -> list[Cell]:
    from ueagent_bench import catalogue, gates

    if args.scenario:
        return catalogue.chosen_by_name(cells, args.scenario, with_peers=True)
    if args.gates:
        return catalogue.matching(cells, gates.patterns(setting))
    return catalogue.chosen_by_rows(cells, catalogue.QUICK if args.quick else catalogue.DEFAULT, setting)


def _measure(args: argparse.Namespace, cells: list[Cell], setting: Setting) -> int:
    from dataclasses import asdict

    from ueagent_bench import catalogue, clock, gates, machine, plot, report, run

    seconds = args.seconds or (_QUICK_SECONDS if args.quick else _SECONDS)
    progress = _progress if sys.stderr.isatty() else None
    with clock.pinned():
        where = machine.describe()
        outcome = run.measure(cells, setting, seconds, progress=progress)
    whole: dict[str, Any] = {
        name: asdict(catalogue.run_whole(name)) for name in args.scenario if name in catalogue.WHOLE
    }
    facts = [] if args.scenario or args.gates or args.quick else catalogue.all_facts(setting)
    verdicts = gates.judge(outcome.named(), setting, machine.features()) if args.gates or args.json else []
    if progress is not None:
        sys.stderr.write("\r\x1b[K")
    parts = (where, setting, outcome, facts, whole, verdicts)
    if args.json:
        sys.stdout.write(
            json.dumps({"command": ["ueagent", "bench", *sys.argv[2:]], **report.as_json(*parts)}, indent=1)
        )
        sys.stdout.write("\n")
    else:
        sys.stdout.write(report.text(*parts))
    if args.plot is not None:
        try:
            plot.draw(outcome.results, args.plot)
        except (plot.NoPlotting, OSError) as error:
            return _complain(error)
    wrong = [failure for failure in outcome.failures if not failure.cell.is_peer]
    if wrong:
        return _complain(f"wrong output: {', '.join(failure.cell.name for failure in wrong)}")
    return exits.OK


def _progress(done: int, turns: int, what: str) -> None:
    sys.stderr.write(f"\r\x1b[K{100 * done // max(1, turns):3} %  {what}")
    sys.stderr.flush()
