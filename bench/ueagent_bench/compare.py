"""Two results beside each other: what became faster, what slower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_NOISE: Final = 0.03  # differences below are none


class NoResult(Exception):
    """A file that is not a result of `ueagent bench --json`; `args[0]` says why."""


def load(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise NoResult(f"{path}: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise NoResult(f"{path}: not a result of ueagent bench --json")
    return found


def _minima(result: dict[str, Any]) -> dict[str, float]:
    return {cell["scenario"]: float(cell["min"]) for cell in result["cells"]}


def compare(before: dict[str, Any], after: dict[str, Any]) -> str:
    """A line for each scenario that both have: minima, and how many times faster the second is."""
    old, new = _minima(before), _minima(after)
    names = [name for name in old if name in new]
    width = max((len(name) for name in names), default=8)
    lines = [f"{'scenario':<{width}}  {'before':>9}  {'after':>9}  {'times faster':>12}"]
    for name in names:
        ratio = old[name] / new[name]
        word = "" if abs(ratio - 1) < _NOISE else "faster" if ratio > 1 else "SLOWER"
        lines.append(f"{name:<{width}}  {old[name]:>9.1f}  {new[name]:>9.1f}  {ratio:>12.3f}  {word}".rstrip())
    lines += [f"{name}: only in the first" for name in old if name not in new]
    lines += [f"{name}: only in the second" for name in new if name not in old]
    processors = [result.get("machine", {}).get("processor") for result in (before, after)]
    if processors[0] != processors[1]:
        lines.append("note: measured on different processors")
    return "\n".join(lines) + "\n"
