"""Calls with keys of a KMS through two sessions: what is measured, and that wrong keys are told."""

import json
from typing import Any

import pytest
from ueagent_bench.scenarios import kms_session


def test_every_call_ends_in_keys_that_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert kms_session.main(["--seconds", "0.3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["scenario"], found["wrong"]) == ("kms_session", 0)
    assert found["calls"] > 0
    for end in ("caller", "callee"):
        assert 0 < found[f"{end}_least_ms"] <= found[f"{end}_ms"]


def test_keys_that_do_not_fit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def disagree(*_: Any) -> tuple[float, float, bool]:
        return 0.001, 0.001, False

    monkeypatch.setattr(kms_session, "_call", disagree)
    assert kms_session.run(0.1).wrong > 0
