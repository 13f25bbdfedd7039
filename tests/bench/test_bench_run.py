"""Which scenarios there are, how they are measured and compared. No assertion is about time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import pytest
from ueagent_bench import catalogue, run
from ueagent_bench.catalogue import DEFAULT, QUICK, UnknownScenario
from ueagent_bench.model import Case, Cell, Meter, Setting, WrongOutput, short_name
from ueagent_bench.peers import Peers
from ueagent_native.engines import list_engines

CM, GCM = "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"


@pytest.fixture(scope="module")
def setting() -> Setting:
    return run.setting_of(Peers(absent={"libsrtp": "not wanted"}))


@pytest.fixture(scope="module")
def cells(setting: Setting) -> list[Cell]:
    return catalogue.all_cells(setting)


@pytest.mark.parametrize(
    ("suite", "name"),
    [
        (CM, "cm128_80"),
        ("AES_192_CM_HMAC_SHA1_32", "cm192_32"),
        ("AES_256_CM_HMAC_SHA1_80", "cm256_80"),
        (GCM, "gcm128"),
        ("NULL_HMAC_SHA1_32", "null_32"),
    ],
)
def test_suites_have_short_names(suite: str, name: str) -> None:
    assert short_name(suite) == name


def test_names_of_scenarios_are_stable() -> None:
    assert Case("srtp_protect", CM, 160).name("vaes512", 64) == "srtp_protect_cm128_80_vaes512_b64_160B"
    assert Case("srtcp_protect", GCM, 64).name("aesni", 1) == "srtcp_protect_gcm128_aesni_b1_64B"
    assert Case("srtp_setup", GCM, 0).name("aesni", 1) == "srtp_setup_gcm128_aesni"
    assert Case("srtp_protect", CM, 160, contexts=1).name("aesni", 1) == "srtp_protect_cm128_80_aesni_b1_160B_1streams"
    assert Case("ssrc_protect", GCM, 160, 1, 1024).name("aesni", 1) == "ssrc_protect_gcm128_aesni_b1_160B_1024ssrc"
    assert Case("ssrc_protect", GCM, 160, 1, 1).name("aesni", 1) == "ssrc_protect_gcm128_aesni_b1_160B_1ssrc"
    assert Case("python_protect", CM, 20).name("pylibsrtp", 1) == "python_protect_cm128_80_pylibsrtp_b1_20B"


def test_no_two_scenarios_share_a_name(cells: list[Cell], setting: Setting) -> None:
    names = [*(cell.name for cell in cells), *(fact.name for fact in catalogue.all_facts(setting)), *catalogue.WHOLE]
    assert len(names) == len(set(names))


def test_every_engine_has_single_packets_and_bursts_by_default(cells: list[Cell], setting: Setting) -> None:
    chosen = {cell.name for cell in catalogue.chosen_by_rows(cells, DEFAULT, setting)}
    for engine, suites in setting.engines.items():
        for suite in (name for name in suites if not name.startswith("NULL")):
            for burst in (1, 64):
                for payload in (20, 160, 1200):
                    for way in ("protect", "unprotect"):
                        assert f"srtp_{way}_{short_name(suite)}_{engine}_b{burst}_{payload}B" in chosen


def test_engines_are_those_of_the_core(setting: Setting) -> None:
    assert list(setting.engines) == [info.name for info in list_engines() if info.self_test == "passed"]


def test_scenarios_are_chosen_by_name_and_by_pattern(cells: list[Cell]) -> None:
    one = catalogue.chosen_by_name(cells, ["srtp_protect_cm128_80_portable_b1_20B"], with_peers=True)
    assert [cell.name for cell in one] == ["srtp_protect_cm128_80_portable_b1_20B"]
    several = catalogue.chosen_by_name(cells, ["srtp_protect_cm128_80_portable_b?_20B"], with_peers=True)
    assert {cell.burst for cell in several} == {1, 2, 4, 8}
    with pytest.raises(UnknownScenario, match="srtp_fly"):
        catalogue.chosen_by_name(cells, ["srtp_fly"], with_peers=True)


def test_peers_of_a_chosen_scenario_are_measured_with_it() -> None:
    case = Case("srtp_protect", CM, 20)
    ours = [Cell(case, "portable", burst) for burst in (1, 64)]
    peers = [Cell(case, "libsrtp", 1, "libsrtp", batched=False), Cell(case, "mb", 4, "mb"), Cell(case, "mb", 64, "mb")]
    chosen = catalogue.chosen_by_name([*ours, *peers], [ours[1].name], with_peers=True)
    assert chosen == [ours[1], peers[0], peers[2]]


def test_smoke_every_kind_of_scenario_runs_without_peers(cells: list[Cell], setting: Setting) -> None:
    wanted = [
        *catalogue.chosen_by_rows(cells, QUICK, setting),
        *catalogue.matching(cells, ["python_*_cm128_80_portable_b*_20B", "srt*_gcm128_portable_b1_64B"]),
        *catalogue.matching(cells, ["srtp_setup_gcm128_portable", "ssrc_protect_gcm128_portable_b1_160B_1024ssrc"]),
        *catalogue.matching(cells, ["srtp_protect_cm128_80_portable_b64_20B_1streams"]),
    ]
    outcome = run.measure(wanted, setting, 0.02, passes=1, rounds=1)
    assert outcome.failures == ()
    assert outcome.left_out == ()
    assert [result.cell for result in outcome.results] == sorted({*wanted}, key=wanted.index)
    assert all(0 < result.cycles <= result.median for result in outcome.results)
    assert all(result.ratios == {} for result in outcome.results)


class FakeScenarios:
    """Cells that cost as many ticks as they are told to."""

    def __init__(self, cost: Mapping[str, float | str]) -> None:
        self.cost = cost

    def opened(self, cells: Sequence[Cell], setting: Setting) -> nullcontext[dict[Cell, Meter]]:
        return nullcontext({cell: FakeMeter(self.cost[cell.name]) for cell in cells if cell.name in self.cost})


class FakeMeter:
    def __init__(self, cost: float | str) -> None:
        self.cost = cost

    def measure(self, seconds: float) -> list[float]:
        if isinstance(self.cost, str):
            raise WrongOutput(self.cost)
        return [2 * self.cost, self.cost, 3 * self.cost]


def measured(
    cost: Mapping[str, float | str], cells: list[Cell], setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> run.Outcome:
    monkeypatch.setattr(catalogue, "timed_module", lambda cell: FakeScenarios(cost))
    monkeypatch.setattr(run.clock, "cycles_per_tick", lambda: 2.0)
    return run.measure(cells, setting, 0.001)


def test_figures_are_cycles_and_ratios_name_the_fastest_peer(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("srtp_protect", CM, 20)
    ours = Cell(case, "portable", 4)
    slow = Cell(case, "mb-jobs", 4, "mb")
    fast = Cell(case, "mb-burst", 4, "mb")
    other_burst = Cell(case, "mb-burst", 64, "mb")
    one = Cell(case, "libsrtp", 1, "libsrtp", batched=False)
    cost = {ours.name: 100.0, slow.name: 80.0, fast.name: 50.0, other_burst.name: 10.0, one.name: 700.0}
    outcome = measured(cost, [ours, slow, fast, other_burst, one], setting, monkeypatch)
    result = outcome.named()[ours.name]
    assert (result.cycles, result.median) == (200.0, 400.0)
    assert result.ratios == {"mb": 0.5, "libsrtp": 7.0}
    assert result.against == {"mb": fast.name, "libsrtp": one.name}
    assert outcome.named()[fast.name].ratios == {}


def test_cell_with_wrong_output_is_reported_and_not_counted(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("srtp_protect", CM, 20)
    good, bad, gone = Cell(case, "good", 1), Cell(case, "bad", 1), Cell(case, "gone", 1)
    outcome = measured({good.name: 1.0, bad.name: "AUTH_FAIL"}, [good, bad, gone], setting, monkeypatch)
    assert list(outcome.named()) == [good.name]
    assert [(failure.cell, failure.why) for failure in outcome.failures] == [(bad, "AUTH_FAIL")]
    assert outcome.left_out == (gone,)


def test_contexts_per_mib_are_told_for_every_suite(setting: Setting) -> None:
    facts = {fact.name: fact for fact in catalogue.all_facts(setting)}
    assert set(facts) == {
        f"memory_{way}_{short_name(suite)}" for way in ("send", "receive") for suite in setting.suites
    }
    assert all(fact.value > 100 for fact in facts.values())
