"""`ueagent bench` as a command."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ueagent.cli import exits
from ueagent.cli.commands import main

NAME = "srtp_protect_gcm128_portable_b64_20B"
FAST = ("--peers", "none", "--seconds", "0.02")


def test_list_names_scenarios_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list", "--peers", "none"]) == exits.OK
    lines = capsys.readouterr().out.splitlines()
    assert NAME in lines
    assert "relay_loop_50pps_x100" in lines
    assert "memory_send_gcm128" in lines
    assert all(" " not in line for line in lines)


def test_result_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json", "--scenario", NAME, *FAST]) == exits.OK
    found = json.loads(capsys.readouterr().out)
    (cell,) = found["cells"]
    assert (cell["scenario"], cell["burst"], cell["payload"], cell["unit"]) == (NAME, 64, 20, "cycles per packet")
    assert 0 < cell["min"] <= cell["median"]
    assert set(found["machine"]) >= {"processor", "features", "compiler", "commit", "clock", "core_mhz"}
    assert found["peers"]["libsrtp"] == {"present": False, "reason": "not wanted"}
    assert found["wrong"] == []


def test_quick_run_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", *FAST]) == exits.OK
    printed = capsys.readouterr().out
    assert "srtp_protect AEAD_AES_128_GCM: cycles per packet" in printed
    assert "peers: none wanted" in printed


def test_gates_are_printed_with_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--gates", *FAST]) == exits.OK
    printed = capsys.readouterr().out
    assert "distance to the floor" in printed
    assert "instructions are counted under emulation" in printed


def test_unknown_scenario_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--scenario", "fly", *FAST]) == exits.USAGE
    assert "no scenario fly" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--peers", "all"], ["compare", "a.json"], ["fly"]])
def test_wrong_arguments_are_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == exits.USAGE
    assert "usage: ueagent bench" in capsys.readouterr().err


def test_two_results_are_compared(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        assert main(["bench", "--json", "--scenario", NAME, *FAST]) == exits.OK
        path.write_text(capsys.readouterr().out)
    assert main(["bench", "compare", *map(str, paths)]) == exits.OK
    assert NAME in capsys.readouterr().out


def test_result_becomes_markdown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert main(["bench", "--json", "--scenario", NAME, "srtp_setup_gcm128_portable", *FAST]) == exits.OK
    path.write_text(capsys.readouterr().out)
    assert main(["bench", "tables", str(path)]) == exits.OK
    printed = capsys.readouterr().out
    assert "| gcm128 | protect | portable | 64 | **" in printed
    assert "| `srtp_setup_gcm128_portable` | " in printed
    assert "| processor | " in printed


def test_half_a_result_does_not_become_markdown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"cells": []}')
    assert main(["bench", "tables", str(path)]) == exits.FAILED
    assert "not a whole result" in capsys.readouterr().err


def test_comparison_with_a_missing_file_fails_and_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["bench", "compare", str(tmp_path / "a"), str(tmp_path / "b")]) == exits.FAILED
    assert str(tmp_path / "a") in capsys.readouterr().err


def test_plot_without_matplotlib_fails_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", "--plot", str(tmp_path / "a.svg"), *FAST]) == exits.FAILED
    assert "ueagent[plot]" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_a_run_cleanly(number: int) -> None:
    """The progress line on the terminal tells that it is measuring."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ueagent", "bench", "--peers", "none", "--seconds", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while b"%" not in said:
            said += os.read(ours, 1024)
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.wait(timeout=60) == exits.INTERRUPTED
    os.close(ours)
    assert b"Traceback" not in said
