"""Every test against another program has a row in the interop matrix, and the matrix says what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support import matrix
from support.matrix import Matrix, Row, as_values, key_of, rows_of, table

ROOT = Path(__file__).parents[2]
OPENSSL = ("TLS", "client", "openssl")
GNUTLS = ("DTLS-SRTP", "offerer, server", "gnutls")


class Marked:
    """What a test looks like to `rows_of`."""

    def __init__(self, *marks: pytest.MarkDecorator) -> None:
        self._marks = marks

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        return [mark.mark for mark in self._marks if mark.name == name]


def mark(name: str, *words: str) -> pytest.MarkDecorator:
    return pytest.MarkDecorator(pytest.Mark(name, words, {}, _ispytest=True), _ispytest=True)


def test_no_test_in_the_interop_folder_is_without_its_row() -> None:
    """The folder's conftest refuses to collect one that has none."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/interop"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "marks",
    [
        (),
        (mark("no_row"),),
        (mark("interop", "TLS", "client"),),
        (mark("interop", "SSL", "client", "openssl"),),
        (mark("interop", "TLS", "caller", "openssl"),),
        (mark("interop", "TLS", "client", "telnet"),),
    ],
    ids=["none", "no reason", "no peer", "mechanism", "role", "peer"],
)
def test_a_test_that_says_no_row_of_the_tables_is_refused(marks: tuple[pytest.MarkDecorator, ...]) -> None:
    with pytest.raises(ValueError, match=r"interop|none of"):
        rows_of(Marked(*marks))  # type: ignore[arg-type]


def test_two_roles_of_ours_make_one_row() -> None:
    assert key_of(mark("interop", *GNUTLS).mark) == GNUTLS


def report(outcome: str, text: str = "", when: str = "call") -> pytest.TestReport:
    longrepr = ("file", 1, f"Skipped: {text}") if outcome == "skipped" else (text or None)
    return pytest.TestReport("a test", ("file", 1, "a test"), {}, outcome, longrepr, when)  # type: ignore[arg-type]


def heard(*reports: pytest.TestReport) -> Row:
    found = Matrix()
    found._of["a test"] = [OPENSSL]
    for one in reports:
        found.pytest_runtest_logreport(one)
    return found.rows[OPENSSL]


def test_a_row_fails_with_one_of_its_tests() -> None:
    row = heard(report("passed"), report("failed", "assert False"), report("passed"))
    assert (row.result, row.outcomes) == ("failed", Counter(passed=2, failed=1))


def test_a_test_whose_fixture_fails_is_a_failure() -> None:
    assert heard(report("failed", "no", when="setup")).result == "failed"


@pytest.mark.parametrize("outcome", ["skipped", "failed"])
def test_a_peer_that_is_not_here_is_shown_with_the_line_that_installs_it(outcome: str) -> None:
    remedy = "apt-get install openssl"
    row = heard(report(outcome, f"openssl is not installed; {matrix.REMEDY}{remedy}"))
    assert row.result != "passed"
    assert f"NOT HERE  to type: {remedy}" in table({OPENSSL: row})


def test_the_table_and_the_json_say_the_same() -> None:
    rows = {GNUTLS: Row(Counter(passed=3)), OPENSSL: Row(Counter(passed=1, failed=1))}
    lines = table(rows).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "mechanism our role peer result tests",
        "DTLS-SRTP offerer, server gnutls passed 3",
        "TLS client openssl FAILED 1 of 2 failed",
    ]
    values = json.loads(json.dumps(as_values(rows)))
    assert [(one["mechanism"], one["role"], one["peer"], one["result"]) for one in values] == [
        (*GNUTLS, "passed"),
        (*OPENSSL, "failed"),
    ]
