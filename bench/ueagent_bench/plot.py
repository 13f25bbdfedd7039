"""Cycles per packet against payload size, a line per engine and burst, as a picture (extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ueagent_bench.model import STREAMS, Result, short_name

FORMATS: Final = (".png", ".svg")
Series = dict[str, list[tuple[int, float]]]


class NoPlotting(Exception):
    """matplotlib is not installed, or the file's name has another ending; `args[0]` says which."""


def check(path: Path) -> None:
    """Raises NoPlotting. Before measuring, so that nobody waits for nothing."""
    if path.suffix.lower() not in FORMATS:
        raise NoPlotting(f"{path}: the name must end with {' or '.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise NoPlotting("matplotlib is not installed: pip install 'ueagent[plot]'") from None


def series(results: Sequence[Result]) -> dict[str, Series]:
    """suite -> label -> (payload, cycles per packet) in order; protected RTP of 64 streams. An engine has a line for
    each burst; of a peer's library the fastest counts.
    """
    found: dict[str, dict[str, dict[int, float]]] = {}
    for result in results:
        cell, case = result.cell, result.cell.case
        if case.operation != "srtp_protect" or case.contexts != STREAMS:
            continue
        label = cell.library or f"{cell.subject}, bursts of {cell.burst}"
        points = found.setdefault(case.suite, {}).setdefault(label, {})
        points[case.payload] = min(result.cycles, points.get(case.payload, result.cycles))
    return {suite: {label: sorted(points.items()) for label, points in lines.items()} for suite, lines in found.items()}


def draw(results: Sequence[Result], path: Path) -> None:
    """Raises NoPlotting, also when there is nothing to draw."""
    check(path)
    panels = series(results)
    if not panels:
        raise NoPlotting("nothing to draw: no srtp_protect scenario was measured")
    from matplotlib.figure import Figure

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(8 * columns, 4.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    libraries = {result.cell.library for result in results}
    for axis, (suite, lines) in zip(axes.flat, panels.items(), strict=False):
        for label, points in lines.items():
            style = "--" if label in libraries else "-"
            axis.plot([size for size, _ in points], [cost for _, cost in points], style, marker="o", label=label)
        axis.set(title=f"protect, {short_name(suite)}", xlabel="payload, octets", ylabel="cycles per packet")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.grid(True, which="both", alpha=0.3)
        axis.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.savefig(path)
