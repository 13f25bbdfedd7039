"""Which engine runs a suite, and why: policy, inventory and self-tests as values."""

import pytest
from ueagent_hw.catalogue import CATALOGUE
from ueagent_hw.choose import EnginePolicy, UnknownEngine, choose, choose_all
from ueagent_hw.inventory import Inventory, take_inventory
from ueagent_native.engines import EngineInfo, engine_for, list_engines

GCM, CM = "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"


def engine(
    name: str, *, present: bool = True, self_test: str = "passed", suites: tuple[str, ...] = (GCM, CM)
) -> EngineInfo:
    return EngineInfo(name, present, self_test, suites, 1)


def inventory(*engines: EngineInfo) -> Inventory:
    return Inventory("x86_64", (), engines)


BOTH = inventory(engine("aesni"), engine("portable"))


def test_first_engine_of_the_table_is_chosen() -> None:
    found = choose(GCM, BOTH, EnginePolicy())
    assert (found.engine, found.reason) == ("aesni", "aesni is the fastest one usable")


def test_order_of_the_configuration_goes_first() -> None:
    found = choose(GCM, BOTH, EnginePolicy(order=("portable",)))
    assert (found.engine, found.reason) == ("portable", "portable is named first by the configuration")


@pytest.mark.parametrize(
    ("first", "policy", "why"),
    [
        (engine("aesni"), EnginePolicy(disabled=("aesni",)), "aesni is disabled by the configuration"),
        (engine("aesni", present=False), EnginePolicy(), "aesni needs aes pclmulqdq sse4_1"),
        (engine("abacus", present=False), EnginePolicy(), "abacus cannot run on this machine"),
        (engine("aesni", self_test="failed: FIPS-197"), EnginePolicy(), "aesni failed its self-test FIPS-197"),
        (engine("aesni", suites=(CM,)), EnginePolicy(), "aesni does not do this suite"),
    ],
)
def test_engine_that_cannot_is_passed_over_and_the_reason_says_why(
    first: EngineInfo, policy: EnginePolicy, why: str
) -> None:
    found = choose(GCM, inventory(first, engine("portable")), policy)
    assert (found.engine, found.reason) == ("portable", f"portable is the fastest one usable; {why}")


def test_no_engine_is_a_choice_with_all_reasons() -> None:
    found = choose(GCM, inventory(engine("aesni", suites=())), EnginePolicy(disabled=("portable",)))
    assert (found.engine, found.reason) == (None, "no engine: aesni does not do this suite")


def test_disabled_wins_over_order() -> None:
    assert choose(GCM, BOTH, EnginePolicy(order=("aesni",), disabled=("aesni",))).engine == "portable"


def test_every_suite_gets_a_choice() -> None:
    assert [found.suite for found in choose_all(BOTH, EnginePolicy())] == [GCM, CM]


@pytest.mark.parametrize("policy", [EnginePolicy(order=("abacus",)), EnginePolicy(disabled=("abacus",))])
def test_engine_that_does_not_exist_is_named_with_those_that_do(policy: EnginePolicy) -> None:
    with pytest.raises(UnknownEngine, match="no engine is called abacus; there are: aesni, portable"):
        choose_all(BOTH, policy)


def test_engine_of_another_kind_of_machine_may_be_named() -> None:
    only = inventory(engine("portable"))
    assert choose_all(only, EnginePolicy(order=("aesni",)))[0].engine == "portable"


def test_real_choice_without_policy_is_the_cores_own() -> None:
    for found in choose_all(take_inventory(), EnginePolicy()):
        assert found.engine == engine_for(found.suite)


def test_catalogue_and_core_have_the_same_engines_in_the_same_order() -> None:
    built = [found.name for found in list_engines(self_test=False)]
    assert [row.name for row in CATALOGUE if row.name in built] == built
    assert "portable" in built
