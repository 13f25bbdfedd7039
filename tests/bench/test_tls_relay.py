"""The TLS relay scenario, small: both relays carry all of it, and its result is one object of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.peers import require
from ueagent_bench.scenarios import tls_relay


def test_both_relays_carry_the_messages_and_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    require("openssl")
    require("socat")
    assert tls_relay.main(["--rounds", "1", "--mebibytes", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["scenario"], found["mebibytes"], found["absent"]) == ("tls_relay", 4, {})
    assert found["ours_mib_s"] > 0
    assert found["socat_mib_s"] > 0


def test_without_socat_ours_is_measured_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    require("openssl")
    monkeypatch.setattr(tls_relay.shutil, "which", lambda name: None)
    found = tls_relay.run(1, 1)
    assert found.ours_to_socat is None
    assert found.absent == {"socat": tls_relay.ABSENT}


def test_memory_does_not_grow_with_what_passes(tmp_path: Path) -> None:
    """MSRP-1: a process of its own with our pump, 4 MiB and 96 MiB of messages."""
    require("openssl")
    certificate = tls_relay._certificate_in(tmp_path)
    few, many = (tls_relay._round("ours", tmp_path, certificate, mebibytes)[2] for mebibytes in (4, 96))
    assert many - few < 8
