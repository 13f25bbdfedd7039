"""Comparison of two results, and pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ueagent_bench import plot
from ueagent_bench.compare import NoResult, compare, load
from ueagent_bench.model import Case, Cell, Result


def document(processor: str = "x", **minima: float) -> dict[str, object]:
    cells = [{"scenario": name, "min": value} for name, value in minima.items()]
    return {"machine": {"processor": processor}, "cells": cells}


def test_comparison_shows_minima_and_how_much_faster() -> None:
    text = compare(document(a=200, b=100, c=100, gone=1), document(a=100, b=101, c=200, new=1))
    lines = {line.split()[0].rstrip(":"): line for line in text.splitlines()}
    assert lines["a"].split()[1:] == ["200.0", "100.0", "2.000", "faster"]
    assert lines["b"].split()[1:] == ["100.0", "101.0", "0.990"]
    assert lines["c"].split()[1:] == ["100.0", "200.0", "0.500", "SLOWER"]
    assert lines["gone"] == "gone: only in the first"
    assert lines["new"] == "new: only in the second"
    assert "different processors" not in text


def test_comparison_warns_of_different_processors() -> None:
    assert "different processors" in compare(document("x", a=1), document("y", a=1))


@pytest.mark.parametrize("text", ["", "[]", '{"cells": 1}', "\xff"])
def test_file_that_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(NoResult, match=r"a\.json"):
        load(path)


def test_result_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document(a=1)))
    assert load(path) == document(a=1)


def results() -> list[Result]:
    rows = []
    for payload, cycles in ((1200, 900.0), (20, 100.0), (160, 200.0)):
        case = Case("srtp_protect", "AEAD_AES_128_GCM", payload)
        rows.append(Result(Cell(case, "portable", 64), cycles, cycles, 1))
        rows.append(Result(Cell(case, "mb-jobs", 4, "mb"), 7 * cycles, cycles, 1))
        rows.append(Result(Cell(case, "mb-burst", 4, "mb"), 5 * cycles, cycles, 1))
    rows.append(Result(Cell(Case("srtp_setup", "AEAD_AES_128_GCM", 0), "portable", 1), 1.0, 1.0, 1))
    return rows


def test_picture_has_a_line_per_engine_and_burst_and_the_best_of_each_library() -> None:
    assert plot.series(results()) == {
        "AEAD_AES_128_GCM": {
            "portable, bursts of 64": [(20, 100.0), (160, 200.0), (1200, 900.0)],
            "mb": [(20, 500.0), (160, 1000.0), (1200, 4500.0)],
        }
    }


def test_missing_matplotlib_is_said_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(plot.NoPlotting, match=r"pip install 'ueagent\[plot\]'"):
        plot.check(tmp_path / "a.png")


def test_picture_needs_a_known_ending(tmp_path: Path) -> None:
    with pytest.raises(plot.NoPlotting, match=r"\.png or \.svg"):
        plot.check(tmp_path / "a.txt")


def test_picture_is_drawn_as_svg_and_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is missing: pip install 'ueagent[plot]'")
    plot.draw(results(), tmp_path / "a.svg")
    plot.draw(results(), tmp_path / "a.png")
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")  # our own file
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is missing: pip install 'ueagent[plot]'")
    with pytest.raises(plot.NoPlotting, match="nothing to draw"):
        plot.draw([], tmp_path / "a.svg")
