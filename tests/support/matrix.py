"""The interop matrix: which mechanism, in which role of ours, was tried against which program, and with what outcome.

Each test in tests/interop says its row with `@pytest.mark.interop(mechanism, role, peer)`, or why it has none with
`@pytest.mark.no_row(reason)`. `tests/run --matrix [--json] [arguments of pytest]` runs them and prints the table.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "interop"
MARKERS = (
    "interop(mechanism, role, peer): the row of the interop matrix that a test belongs to; the role is ours",
    "no_row(reason): a test in tests/interop that is about no mechanism of the agent",
)
# The words that rows are made of: a new mechanism, role or peer is a new word here.
MECHANISMS = ("SDES", "DTLS-SRTP", "DTLS-SRTP with ICE", "TLS", "UDPTL over DTLS", "MIKEY", "TLS-PSK")
MECHANISMS += ("S/MIME with PSK",)
ROLES = ("offerer", "answerer", "client", "server", "writer", "reader")  # or two of them, joined by a comma
PEERS = ("aiortc", "baresip", "Chromium", "ffmpeg", "GStreamer", "gnutls", "openssl", "rtpengine", "tshark")
REMEDY = "to run this test: "  # of support.peers.missing

Key = tuple[str, str, str]


@dataclass
class Row:
    """Outcomes of the tests of one row; `remedies` are lines to type where the peer is not here."""

    outcomes: Counter[str] = field(default_factory=Counter)
    remedies: set[str] = field(default_factory=set)

    @property
    def result(self) -> str:
        for outcome in ("failed", "not here", "passed"):
            if self.outcomes[outcome]:
                return outcome
        return "not run"


def key_of(mark: pytest.Mark) -> Key:
    """ValueError: not three words of the tables."""
    if len(mark.args) != 3 or mark.kwargs or not all(isinstance(word, str) for word in mark.args):
        raise ValueError("interop(mechanism, role, peer)")
    mechanism, role, peer = mark.args
    for word, known in ((mechanism, MECHANISMS), (peer, PEERS), *((part, ROLES) for part in role.split(", "))):
        if word not in known:
            raise ValueError(f"{word!r} is none of {', '.join(known)}")
    return mechanism, role, peer


def rows_of(item: pytest.Item) -> list[Key]:
    """The rows of one test. ValueError: it says none, and not why."""
    found = [key_of(mark) for mark in item.iter_markers("interop")]
    if not found and not any(mark.args for mark in item.iter_markers("no_row")):
        raise ValueError("it needs @pytest.mark.interop(mechanism, role, peer), or no_row(reason)")
    return found


class Matrix:
    """A plugin of pytest: collects the rows, refuses tests without one, and hears how they end."""

    def __init__(self, *, summary: bool = True) -> None:
        self.summary = summary
        self.rows: dict[Key, Row] = {}
        self._of: dict[str, list[Key]] = {}

    def pytest_configure(self, config: pytest.Config) -> None:
        for marker in MARKERS:
            config.addinivalue_line("markers", marker)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        wrong = []
        for item in items:
            if not item.path.is_relative_to(FOLDER):
                continue
            try:
                self._of[item.nodeid] = rows_of(item)
            except ValueError as error:
                wrong.append(f"{item.nodeid}: {error}")
        if wrong:
            raise pytest.UsageError("\n".join(wrong))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = {"failed": "failed", "skipped": "not here"}.get(report.outcome)
        if outcome is None and report.when == "call":
            outcome = "passed"
        for key in self._of.get(report.nodeid, ()) if outcome else ():
            row = self.rows.setdefault(key, Row())
            row.outcomes[outcome] += 1  # type: ignore[index]
            text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr or "")
            if outcome != "passed" and REMEDY in text:
                row.remedies.add(text.partition(REMEDY)[2].splitlines()[0])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.rows and self.summary:
            terminalreporter.section("interop matrix")
            terminalreporter.write_line(table(self.rows))


def ordered(rows: dict[Key, Row]) -> list[tuple[Key, Row]]:
    return sorted(rows.items(), key=lambda entry: (MECHANISMS.index(entry[0][0]), entry[0][2].lower(), entry[0][1]))


def table(rows: dict[Key, Row]) -> str:
    lines = [("mechanism", "our role", "peer", "result", "tests")]
    for key, row in ordered(rows):
        tests = str(row.outcomes["passed"])
        if row.outcomes["failed"]:
            tests = f"{row.outcomes['failed']} of {row.outcomes['failed'] + row.outcomes['passed']} failed"
        result = row.result.upper() if row.result != "passed" else "passed"
        if row.remedies:
            result, tests = "NOT HERE", "to type: " + "; ".join(sorted(row.remedies))
        lines.append((*key, result, tests))
    widths = [max(len(line[at]) for line in lines) for at in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4]]).rstrip()
        for line in lines
    )


def as_values(rows: dict[Key, Row]) -> list[dict[str, object]]:
    return [
        {
            "mechanism": key[0],
            "role": key[1],
            "peer": key[2],
            "result": row.result,
            "passed": row.outcomes["passed"],
            "failed": row.outcomes["failed"],
            "missing": sorted(row.remedies),
        }
        for key, row in ordered(rows)
    ]


def main(arguments: Iterable[str]) -> int:
    """0: every row passed. What pytest prints goes to stderr, so that the table or the JSON has stdout for itself."""
    wanted = list(arguments)
    as_json = "--json" in wanted
    matrix = Matrix(summary=False)
    with contextlib.redirect_stdout(sys.stderr):
        status = pytest.main(["-q", str(FOLDER), *(word for word in wanted if word != "--json")], plugins=[matrix])
    if as_json:
        print(json.dumps(as_values(matrix.rows), indent=1))
    else:
        print(table(matrix.rows))
    whole = matrix.rows and all(row.result == "passed" for row in matrix.rows.values())
    return int(status) or (0 if whole else 1)
