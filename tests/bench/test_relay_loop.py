"""The relay scenario measures what it says: every packet it counts was checked. No timing is asserted."""

import json

import pytest
from ueagent_bench.scenarios import relay_loop


@pytest.mark.parametrize("suite", sorted(relay_loop.SUITES))
def test_calls_cross_the_relay_complete_and_unchanged(suite: str) -> None:
    result = relay_loop.run(calls=10, seconds=0.2, suite=suite)
    assert (result.sent, result.lost, result.wrong) == (200, 0, 0)
    assert result.relay_us_per_packet > 0


def test_result_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert relay_loop.main(["--calls", "2", "--seconds", "0.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scenario"] == "relay_loop_50pps_x2"
