"""A result of `ueagent bench --json` as Markdown, for RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ueagent_bench.compare import NoResult
from ueagent_bench.model import PAYLOADS, STREAMS, short_name

_LIBRARIES: Final = ("libsrtp", "evp", "libre", "ipsecmb")
Cells = Sequence[Mapping[str, Any]]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _machine(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    rows = [
        ("processor", f"{machine['processor']}, {machine['family']}, {machine['cores']} cores"),
        ("core clock", f"{machine['core_mhz']} MHz by dependent additions; clock {machine['clock']}"),
        ("features", " ".join(machine["features"])),
        ("system", f"{machine['system']}, Python {machine['python']}"),
        ("core", f"commit {machine['commit']}, built by {machine['compiler']}; engines {', '.join(result['engines'])}"),
    ]
    for name, peer in result["peers"].items():
        rows.append((f"peer {name}", peer["version"] if peer["present"] else f"absent: {peer['reason']}"))
    rows.append(("command", f"`{' '.join(result.get('command', []))}`"))
    return _table(("", ""), rows)


def _figure(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return ""
    if cell["kind"] != "engine":
        return f"{cell['min']:.0f}"
    ratios = [f"{cell['ratios'][name]:.2f}" if name in cell["ratios"] else "-" for name in _LIBRARIES]
    return f"**{cell['min']:.0f}** {' / '.join(ratios)}"


def _is_packets(cell: Mapping[str, Any]) -> bool:
    own = cell["operation"].startswith("srtp_") and cell["payload"] in PAYLOADS
    return own and (cell["contexts"], cell["ssrcs"]) == (STREAMS, 1)


def _packets(cells: Cells) -> str:
    rows: dict[tuple[str, ...], dict[int, Mapping[str, Any]]] = {}
    for cell in filter(_is_packets, cells):
        key = (short_name(cell["suite"]), cell["operation"].removeprefix("srtp_"), cell["subject"], str(cell["burst"]))
        rows.setdefault(key, {})[cell["payload"]] = cell
    head = ("suite", "", "by", "burst", *(f"{payload} octets" for payload in PAYLOADS))
    return _table(head, ((*key, *(_figure(row.get(payload)) for payload in PAYLOADS)) for key, row in rows.items()))


def _others(cells: Cells) -> str:
    rows = []
    for cell in cells:
        if not _is_packets(cell):
            ratios = ", ".join(f"{value:.2f} x {name}" for name, value in cell["ratios"].items())
            rows.append((f"`{cell['scenario']}`", f"{cell['min']:.0f}", cell["unit"], ratios))
    return _table(("scenario", "min", "", "times faster than"), rows)


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for gate in gates:
        rows.setdefault((gate["case"], gate["way"]), []).append(gate)

    def join(found: Sequence[Mapping[str, Any]], name: str) -> str:
        return " / ".join("-" if gate[name] is None else f"{gate[name]:g}" for gate in found)

    def values(found: Sequence[Mapping[str, Any]]) -> str:
        return " / ".join("-" if gate["value"] is None else f"{gate['value']:.2f}" for gate in found)

    def verdict(found: Sequence[Mapping[str, Any]]) -> str:
        states = [gate["state"] for gate in found]
        return states[0] if len(set(states)) == 1 else " / ".join(states)

    lines = [(*key, values(row), join(row, "gate"), join(row, "moonshot"), verdict(row)) for key, row in rows.items()]
    return _table(("case", "", "measured", "gate", "moonshot", "verdict"), lines)


def _facts(facts: Sequence[Mapping[str, Any]]) -> str:
    return _table(("", "", ""), ((f"`{fact['scenario']}`", f"{fact['value']:g}", fact["unit"]) for fact in facts))


def markdown(result: Mapping[str, Any]) -> str:
    """Raises NoResult when the file lacks what a result has."""
    try:
        legend = f"Cycles per packet, and how many times faster than {' / '.join(_LIBRARIES)} in the same run:\n"
        parts = [_machine(result)]
        if result["gates"]:
            parts.append(_gates(result["gates"]))
        parts += [legend, _packets(result["cells"]), _others(result["cells"])]
        if result["facts"]:
            parts.append(_facts(result["facts"]))
    except (KeyError, TypeError) as error:
        raise NoResult(f"not a whole result: {error}") from None
    return "\n".join(parts)
