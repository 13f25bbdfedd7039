"""Every requirement that a finished part of the project owns is named by a test, in its name or its docstring.

The identifiers are those of the requirements checklist: GEN general, POL policy, REG registration, SDP, SDES, SRTP,
CAP capability, DYN dynamics, WEB WebRTC, CONF conferences, EDGE the lab's access edge, MSRP, BFCP and T38 under TLS
and DTLS, KMS MIKEY-TICKET, RCC ROC carrying. A part adds a row when it is finished. Whether a test really shows what
it names is for its reader to judge.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# Part -> what it owns; `GEN-1..14` is a range.
OWNED = {
    "calls by SDES": (
        "GEN-1..14 POL-1..10 REG-1..20 SDP-1..15 SDES-1..22 SRTP-1..15 CAP-2 CAP-3 CAP-10 DYN-5..13 DYN-17 DYN-20 "
        "CONF-1..3 EDGE-1..10 EDGE-17 EDGE-18"
    ),
    "exchanges of MIKEY-TICKET": (
        "KMS-20..36 KMS-40..53 KMS-55 KMS-57 KMS-60..66 KMS-70 KMS-72 KMS-74 KMS-75 KMS-80 KMS-81 KMS-83 KMS-85 KMS-86 "
        "DYN-4"
    ),
    "DTLS-SRTP": "DTLS-1..30 TLS-1..13 SRTP-16 EDGE-11 EDGE-12 EDGE-16 DYN-3",
    "MSRP and BFCP over TLS, T.38 over DTLS": "MSRP-1..14 BFCP-1..8 T38-1..11 EDGE-13..15",
    "WebRTC": "WEB-1..6 DYN-14..16 DYN-18",
    "credentials for a KMS, and HTTP to it": "KMS-1..8 KMS-10..15",
    "protected messages": "MIME-1..24",
    "calls through a KMS": "KMS-67",
    "ROC carrying": "RCC-1..9",
    "conference servers and identities at a KMS": "KMS-54 KMS-56 KMS-71 KMS-73 KMS-82 KMS-84 CONF-6 CONF-7",
}

# Owned, and no test can show it: why. What a later part brings in leaves this table with it.
WITHOUT_TEST = {
    "DTLS-20": "about an INVITE without SDP: to the agent the offer in its answer is an offer like any other",
    "DYN-15": "an offer of ours has rtcp-mux only where every branch must take it (WEB-6, RFC 8858)",
    "MSRP-11": "a sentence for the documentation: what fingerprints in signalling are worth",
    "MSRP-12": "integrity of MSRP is optional, and TLS always gives it",
    "MIME-22": "about messages within a session: MSRP, which the TLS mechanisms protect",
    "EDGE-8": "about the interface between ALG and AGW, which are one process in the lab: nothing crosses a wire",
}

# How far the checklist counts: a test that names more than that has a slip of the pen.
HIGHEST = {
    "GEN": 14,
    "POL": 10,
    "REG": 20,
    "SDP": 15,
    "SDES": 22,
    "SRTP": 16,
    "CAP": 10,
    "DYN": 21,
    "CONF": 7,
    "EDGE": 18,
    "KMS": 86,
    "MIME": 24,
    "RCC": 9,
    "FIELD": 17,
    "OPEN": 30,
    "DTLS": 30,
    "TLS": 15,
    "MSRP": 14,
    "BFCP": 8,
    "T38": 11,
    "WEB": 6,
}

_NAMED = re.compile(rf"\b({'|'.join(HIGHEST)})-(\d+)((?:, -\d+| and -\d+)*)")
_IN_NAMES = re.compile(rf"_({'|'.join(HIGHEST).lower()})_(\d+)(?=_|$)")


def expand(text: str) -> list[str]:
    found = []
    for word in text.split():
        prefix, _, numbers = word.partition("-")
        first, _, last = numbers.partition("..")
        found += [f"{prefix}-{number}" for number in range(int(first), int(last or first) + 1)]
    return found


def named_in(text: str) -> set[str]:
    """`SDES-15, -16` names both; `SDES-1..22` stands for nobody in particular and names none."""
    found = set()
    for match in _NAMED.finditer(re.sub(r"\b[A-Z]+-\d+\.\.\d+", "", text)):
        numbers = [match[2], *re.findall(r"-(\d+)", match[3])]
        found |= {f"{match[1]}-{number}" for number in numbers}
    return found


def requirements_of(test: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    from_name = {f"{prefix.upper()}-{number}" for prefix, number in _IN_NAMES.findall(test.name)}
    return from_name | named_in(ast.get_docstring(test) or "")


def all_named() -> dict[str, list[str]]:
    """Requirement -> tests, as `file::name`."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        if path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for requirement in requirements_of(node):
                    found.setdefault(requirement, []).append(f"{path.relative_to(TESTS)}::{node.name}")
    return found


NAMED = all_named()


@pytest.mark.parametrize("part", OWNED)
def test_every_requirement_of_a_finished_part_is_named_by_a_test(part: str) -> None:
    missing = [name for name in expand(OWNED[part]) if name not in NAMED and name not in WITHOUT_TEST]
    assert missing == []


def test_no_requirement_is_both_excused_and_named_by_a_test() -> None:
    assert sorted(WITHOUT_TEST.keys() & NAMED.keys()) == []


def test_excuses_are_about_requirements_that_somebody_owns() -> None:
    owned = {name for part in OWNED.values() for name in expand(part)}
    assert sorted(WITHOUT_TEST.keys() - owned) == []


def test_no_requirement_is_owned_twice() -> None:
    owned = [name for part in OWNED.values() for name in expand(part)]
    assert len(owned) == len(set(owned))


def test_no_test_names_a_requirement_that_does_not_exist() -> None:
    wrong = {}
    for name, tests in NAMED.items():
        prefix, _, number = name.partition("-")
        if not 1 <= int(number) <= HIGHEST[prefix]:
            wrong[name] = tests
    assert wrong == {}


def test_names_and_docstrings_are_read() -> None:
    source = 'def test_pol_2_and_more_of_sdp_9():\n    """SDES-15, -16; GEN-4 and RFC-3 but not SRTP-1..15."""\n'
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef)
    assert requirements_of(node) == {"POL-2", "SDP-9", "SDES-15", "SDES-16", "GEN-4"}


def test_requirement_that_nobody_names_is_found() -> None:
    assert expand("SDES-22..23 EDGE-8") == ["SDES-22", "SDES-23", "EDGE-8"]
    assert [name for name in expand("SDES-22..23 EDGE-8") if name not in NAMED] == ["SDES-23", "EDGE-8"]
