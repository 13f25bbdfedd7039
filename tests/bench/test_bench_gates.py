"""The table of gates and how it judges."""

from __future__ import annotations

import pytest
from ueagent_bench import gates
from ueagent_bench.model import Case, Cell, Result, Setting
from ueagent_bench.peers import Peers

CM, GCM = "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"
FEATURES = frozenset({"vaes", "avx512f", "sha_ni"})
SETTING = Setting(
    {"fast": (CM, GCM), "portable": (CM, GCM)},
    {CM: "fast", GCM: "fast"},
    Peers(present={"ipsecmb": "1"}, absent={"evp": "not installed"}),
)
ONE_PACKET = "CM128-80, one packet, against EVP by hand"


def result(subject: str, burst: int, cycles: float, *, payload: int = 20, library: str = "", suite: str = CM) -> Result:
    return Result(Cell(Case("srtp_protect", suite, payload), subject, burst, library), cycles, cycles, 1)


def verdict(case: str, *results: Result, features: frozenset[str] = FEATURES, payload: int = 20) -> gates.Verdict:
    found = gates.judge({result.name: result for result in results}, SETTING, features)
    return next(v for v in found if v.gate.case.startswith(case) and v.payload == payload and v.way == "protect")


@pytest.mark.parametrize(("ours", "state"), [(100, "moonshot"), (110, "met"), (130, "missed")])
def test_ratio_is_held_against_gate_and_moonshot(ours: float, state: str) -> None:
    """Gate 1.7, moonshot 2.1 times faster than EVP."""
    found = verdict(ONE_PACKET, result("fast", 1, ours), result("evp", 1, 211, library="evp"))
    assert found.state == state
    assert found.value == 211 / ours


def test_fastest_interface_of_a_peer_counts() -> None:
    rows = [result("ipsecmb-jobs", 4, 300, library="ipsecmb"), result("ipsecmb-passes-sse", 4, 200, library="ipsecmb")]
    found = verdict("CM128-80, bursts of 4", result("fast", 4, 100), *rows)
    assert found.value == 2.0
    assert found.against == rows[1].name


@pytest.mark.parametrize(("cycles", "state"), [(100, "moonshot"), (120, "met"), (130, "missed")])
def test_distance_to_the_floor_needs_no_peer(cycles: float, state: str) -> None:
    """86 cycles at 20 octets; at most 1.5 and 1.2 times that."""
    assert verdict("CM128-80, bursts of 64, distance", result("fast", 64, cycles)).state == state


@pytest.mark.parametrize(("added", "state"), [(15, "met"), (16, "missed")])
def test_cost_of_the_look_up_is_a_difference(added: float, state: str) -> None:
    def one(ssrcs: int, cycles: float) -> Result:
        return Result(Cell(Case("ssrc_protect", GCM, 160, 1, ssrcs), "fast", 1), cycles, cycles, 1)

    assert verdict("SSRC look-up", one(1, 500), one(1024, 500 + added), payload=160).state == state


def test_gate_does_not_apply_to_a_processor_without_what_it_needs() -> None:
    found = verdict(ONE_PACKET, features=frozenset({"vaes", "avx512f"}))
    assert found.state == "not applicable"
    assert "sha_ni" in found.why


def test_absent_peer_is_named() -> None:
    found = verdict(ONE_PACKET, result("fast", 1, 100))
    assert found.state == "not measured"
    assert found.why == "evp: not installed"


def test_scenario_that_was_not_measured_is_named() -> None:
    assert verdict(ONE_PACKET).why == "no srtp_protect_cm128_80_fast_b1_20B"


def test_portable_engine_is_judged_although_another_is_chosen() -> None:
    rows = [result("portable", 64, 100, payload=160), result("evp-masked", 1, 130, payload=160, library="evp-masked")]
    assert verdict("portable engine", *rows, payload=160).state == "moonshot"


def test_instruction_counts_are_listed_but_measured_elsewhere() -> None:
    assert verdict("aarch64 CE", payload=160).state == "not measured"


def test_scenarios_of_the_gates_exist() -> None:
    """Names in the table are names that the scenarios give."""
    from ueagent_bench import catalogue, run

    setting = run.setting_of(Peers(present={"pylibsrtp": "1"}))
    names = {cell.name for cell in catalogue.all_cells(setting)}
    peers = ("_evp_", "_evp-masked_", "_ipsecmb-")
    missing = [name for name in gates.patterns(setting) if name not in names and not any(p in name for p in peers)]
    assert missing == []
