"""The one loader of test vectors.

A file `tests/vectors/<origin>/<topic>.json` is `{source, notes, groups[tests[{id, flags, inputs, expect, result}]]}`.
`notes` says for each flag which mistake it catches. Octets are written in hexadecimal, numbers as
numbers; a string that is not hexadecimal is text.
Wycheproof's files are not copied into the project: they lie at `../shared/vectors` seen from the project's root, or
where UEAGENT_VECTORS says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_TESTS = Path(__file__).resolve().parent.parent
_OUTSIDE = Path(os.environ.get("UEAGENT_VECTORS") or _TESTS.parent.parent / "shared" / "vectors")


@dataclass(frozen=True, slots=True)
class Vector:
    id: str
    flags: tuple[str, ...]
    inputs: Mapping[str, Any]  # bytes, int or str, as the file has it
    expect: Mapping[str, Any]
    valid: bool

    def __str__(self) -> str:
        return self.id


def _decode(value: Any) -> Any:
    try:
        return bytes.fromhex(value) if isinstance(value, str) else value
    except ValueError:
        return value


def load(topic: str) -> list[Vector]:
    """All vectors of `<origin>/<topic>`; every flag must be explained in the file's notes."""
    data = json.loads((_TESTS / "vectors" / f"{topic}.json").read_text())
    assert data["source"], f"{topic} does not say where it comes from"
    vectors = []
    for test in (test for group in data["groups"] for test in group["tests"]):
        unexplained = set(test["flags"]) - set(data["notes"])
        assert not unexplained, f"{topic} {test['id']}: no note for {unexplained}"
        assert test["result"] in ("valid", "invalid")
        vectors.append(
            Vector(
                id=test["id"],
                flags=tuple(test["flags"]),
                inputs={name: _decode(value) for name, value in test["inputs"].items()},
                expect={name: _decode(value) for name, value in test["expect"].items()},
                valid=test["result"] == "valid",
            )
        )
    assert vectors, f"{topic} is empty"
    return vectors


def wycheproof(name: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(group, test) of a Wycheproof file, as published. Skips the test where the files are absent; under CI=true,
    where nobody reads what was skipped, it fails instead."""
    path = _OUTSIDE / "wycheproof" / name
    if not path.exists():
        message = f"outside vectors are missing: {path} (set UEAGENT_VECTORS)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    for group in json.loads(path.read_text())["testGroups"]:
        for test in group["tests"]:
            yield group, test
