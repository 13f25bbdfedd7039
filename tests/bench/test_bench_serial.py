"""The accelerator's scenario measures what it says. No timing is asserted; the scenario's own verdict is for people."""

from __future__ import annotations

import json

import pytest
from ueagent_bench.scenarios import serial_job


def test_model_streams_and_cost_of_a_packet_are_in_the_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serial_job, "TURNS", 1)
    serial_job.main(["--rounds", "3", "--seconds", "0.2", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [line["baud"] for line in found["lines"]] == [921_600, 3_000_000, 12_000_000]
    assert [line["streams_planned"] for line in found["lines"]] == [0, 3, 9]
    assert (found["wrong"], found["packets"]) == (0, 2 * serial_job.CALLS * 10)
    assert found["link_us_per_packet"] > 0


def test_what_a_line_should_do_and_does_not_is_named() -> None:
    line = serial_job.Line(3_000_000, 0.1, 1.0, 1.2, 0.2, 3, 3, 2)
    assert serial_job._missed(line) == ["3000000 baud: +20% from the model", "3000000 baud: 2 streams, 3 are wanted"]
