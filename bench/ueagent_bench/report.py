"""What was measured, as text for people and as one JSON object for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ueagent_bench.gates import Verdict
from ueagent_bench.machine import Machine
from ueagent_bench.model import Cell, Fact, Failure, Outcome, Result, Setting

FORMAT: Final = 1  # of the JSON object
_ORDER: Final = ("libsrtp", "evp", "libre", "ipsecmb", "evp-masked", "pylibsrtp")


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def machine_lines(machine: Machine, setting: Setting) -> list[str]:
    lines = [
        f"{machine.processor} ({machine.family}), {machine.cores} cores at {machine.core_mhz} MHz",
        f"{machine.system}, Python {machine.python}",
        f"features: {' '.join(machine.features) or 'unknown'}",
        f"ueagent {machine.ueagent}, commit {machine.commit}; core built by {machine.compiler}",
        f"engines: {', '.join(setting.engines)}; clock: {machine.clock}, calibrated by dependent additions",
    ]
    lines += [f"peer {name}: {version}" for name, version in setting.peers.present.items()]
    lines += [f"peer {name}: absent, {why}" for name, why in setting.peers.absent.items() if why != "not wanted"]
    if setting.peers.absent and "not wanted" in setting.peers.absent.values():
        lines.append("peers: none wanted")
    return lines


def _figure(result: Result | None) -> str:
    if result is None:
        return "-"
    text = f"{result.cycles:.0f}"
    ratios = [
        f"{result.ratios[name]:.2f}" if name in result.ratios else "-" for name in _ORDER if name in result.ratios
    ]
    return f"{text} ({' / '.join(ratios)})" if ratios else text


def _unit(operation: str) -> str:
    return "cycles per context" if operation.endswith("_setup") else "cycles per packet"


def _label(cell: Cell) -> str:
    label = f"{cell.subject}, bursts of {cell.burst}" if cell.case.payload else cell.subject
    return f"  {label}" if cell.is_peer else label


def _section(results: Sequence[Result]) -> list[str]:
    """Results of one operation, suite and number of streams: a row per subject and burst, a column per payload."""
    first = results[0].cell.case
    payloads = sorted({result.cell.case.payload for result in results})
    libraries = [name for name in _ORDER if any(name in result.ratios for result in results)]
    compared = f"; in brackets: times faster than {' / '.join(libraries)}" if libraries else ""
    streams = f", {first.ssrcs} SSRCs in one context" if first.operation.startswith("ssrc") else ""
    streams = streams or (f", {first.contexts} streams" if first.contexts != 64 else "")
    table = {(_label(result.cell), result.cell.case.payload): result for result in results}
    ordered = sorted(results, key=lambda result: result.cell.is_peer)
    labels = list(dict.fromkeys(_label(result.cell) for result in ordered))
    head = ["", *(f"{payload} octets" if payload else "" for payload in payloads)]
    rows = [head] if any(head) else []
    rows += [[label, *(_figure(table.get((label, payload))) for payload in payloads)] for label in labels]
    title = f"{first.operation} {first.suite}{streams}: {_unit(first.operation)}{compared}"
    return [title, *_columns(rows), ""]


def _sections(results: Iterable[Result]) -> list[str]:
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        case = result.cell.case
        groups.setdefault((case.operation, case.suite, case.contexts, case.ssrcs), []).append(result)
    return [line for group in groups.values() for line in _section(group)]


def _gate_rows(verdicts: Sequence[Verdict]) -> list[str]:
    rows = [["case", "way", "octets", "measured", "gate", "moonshot", "verdict"]]
    for verdict in verdicts:
        unit = {"ratio": "x", "floor": "x", "added": " cycles", "elsewhere": " instructions"}[verdict.gate.kind]
        sign = "" if verdict.gate.kind == "ratio" else "<= "
        moonshot = verdict.gate.moonshot.get(verdict.payload)
        rows.append(
            [
                verdict.gate.case,
                verdict.way,
                str(verdict.payload),
                "-" if verdict.value is None else f"{verdict.value:.2f}{unit}",
                f"{sign}{verdict.limit:g}{unit}",
                "-" if moonshot is None else f"{sign}{moonshot:g}{unit}",
                f"{verdict.state}: {verdict.why}" if verdict.why else verdict.state,
            ]
        )
    return _columns(rows)


def _whole_lines(name: str, row: dict[str, Any]) -> list[str]:
    return [name, *_columns([[f"  {key}", str(value)] for key, value in row.items()]), ""]


def _wrong_lines(failures: Sequence[Failure]) -> list[str]:
    """A peer that makes wrong packets of a suite does so in every scenario: one line for all of them."""
    found: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        found.setdefault((failure.cell.subject, failure.cell.case.suite), []).append(failure.why)
    return [
        f"{subject}, {suite}: wrong output ({', '.join(dict.fromkeys(whys))}) in {len(whys)} scenarios, not counted"
        for (subject, suite), whys in found.items()
    ]


def text(
    machine: Machine,
    setting: Setting,
    outcome: Outcome,
    facts: Sequence[Fact],
    whole: dict[str, dict[str, Any]],
    verdicts: Sequence[Verdict],
) -> str:
    lines = [*machine_lines(machine, setting), "", *_sections(outcome.results)]
    if facts:
        lines += [*_columns([[fact.name, f"{fact.value:g}", fact.unit] for fact in facts]), ""]
    for name, row in whole.items():
        lines += _whole_lines(name, row)
    if verdicts:
        lines += ["gates", *_gate_rows(verdicts), ""]
    lines += _wrong_lines(outcome.failures)
    lines += [f"{cell.name}: not measured, no memory or not supported" for cell in outcome.left_out]
    return "\n".join(lines).rstrip() + "\n"


def _cell_json(result: Result) -> dict[str, Any]:
    cell, case = result.cell, result.cell.case
    return {
        "scenario": result.name,
        "operation": case.operation,
        "suite": case.suite,
        "subject": cell.subject,
        "kind": "peer" if cell.is_peer else "engine",
        "burst": cell.burst,
        "payload": case.payload,
        "contexts": case.contexts,
        "ssrcs": case.ssrcs,
        "unit": _unit(case.operation),
        "min": round(result.cycles, 2),
        "median": round(result.median, 2),
        "samples": result.samples,
        "ratios": {name: round(value, 4) for name, value in result.ratios.items()},
        "against": dict(result.against),
    }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "case": verdict.gate.case,
        "way": verdict.way,
        "payload": verdict.payload,
        "kind": verdict.gate.kind,
        "scenario": verdict.ours,
        "against": verdict.against,
        "value": None if verdict.value is None else round(verdict.value, 4),
        "gate": verdict.limit,
        "moonshot": verdict.gate.moonshot.get(verdict.payload),
        "state": verdict.state,
        "why": verdict.why,
    }


def as_json(
    machine: Machine,
    setting: Setting,
    outcome: Outcome,
    facts: Sequence[Fact],
    whole: dict[str, dict[str, Any]],
    verdicts: Sequence[Verdict],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "machine": machine.as_json(),
        "engines": list(setting.engines),
        "peers": {
            **{name: {"present": True, "version": version} for name, version in setting.peers.present.items()},
            **{name: {"present": False, "reason": why} for name, why in setting.peers.absent.items()},
        },
        "cells": [_cell_json(result) for result in outcome.results],
        "facts": [{"scenario": fact.name, "value": fact.value, "unit": fact.unit} for fact in facts],
        "whole": whole,
        "gates": [_verdict_json(verdict) for verdict in verdicts],
        "wrong": [{"scenario": failure.cell.name, "reason": failure.why} for failure in outcome.failures],
        "left_out": [cell.name for cell in outcome.left_out],
    }
