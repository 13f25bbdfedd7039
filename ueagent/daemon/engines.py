"""Which engine of this machine does which suite, as the configuration wants it."""

from __future__ import annotations

from ueagent_hw.choose import Choice, EnginePolicy, UnknownEngine, choose_all
from ueagent_hw.inventory import Inventory, take_inventory
from ueagent_native.engines import engine_for

from ueagent.daemon.config import EngineConfig
from ueagent.errors import UsageError
from ueagent.model.suites import suite_named

__all__ = ["Choice", "Inventory", "engine_choices", "exceptions"]


def engine_choices(engine: EngineConfig) -> tuple[Inventory, tuple[Choice, ...]]:
    """What this machine has, and the engine of each suite that may be negotiated.

    UsageError `bad_config`: the configuration names an engine that does not exist.
    """
    inventory = take_inventory()
    try:
        choices = choose_all(inventory, EnginePolicy(engine.order, engine.disabled))
    except UnknownEngine as error:
        raise UsageError("bad_config", str(error), field="engine") from None
    negotiable = (choice for choice in choices if (suite := suite_named(choice.suite)) and suite.selectable)
    return inventory, tuple(negotiable)


def exceptions(choices: tuple[Choice, ...]) -> dict[str, str]:
    """Engines that the configuration prefers to the core's own choice."""
    return {
        choice.suite: choice.engine for choice in choices if choice.engine and choice.engine != engine_for(choice.suite)
    }
