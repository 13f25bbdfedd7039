"""The scenario of calls through a KMS measures what it says: every call is checked. No timing is asserted."""

import asyncio
import json

import pytest
from ueagent_bench.scenarios import mikey_ticket


def test_calls_end_in_the_same_keys_and_every_figure_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert mikey_ticket.main(["--seconds", "0.4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found.pop("scenario"), found.pop("wrong")) == ("mikey_ticket", 0)
    assert found.pop("calls") >= mikey_ticket.AT_A_TIME
    assert found.pop("kms_ms_per_call") >= 0  # the kernel counts a process's time in ticks
    assert all(value > 0 for value in found.values())


def test_call_whose_ends_disagree_is_counted_as_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    async def disagree(_agents: object) -> bool:
        await asyncio.sleep(0)
        return False

    monkeypatch.setattr(mikey_ticket._Agents, "call", disagree)
    assert mikey_ticket.run(0.2).wrong > 0
    assert mikey_ticket.main(["--seconds", "0.2"]) == 1
