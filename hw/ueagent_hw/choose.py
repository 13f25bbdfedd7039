"""Which engine runs a suite: policy, inventory and self-tests in; a name and the reason, as a sentence, out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ueagent_native.engines import EngineInfo

from ueagent_hw.catalogue import descriptor
from ueagent_hw.inventory import Inventory


class UnknownEngine(ValueError):
    """The policy names an engine that does not exist. `name` is what it says."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(f"no engine is called {name}; there are: {', '.join(self.known)}")


@dataclass(frozen=True, slots=True)
class EnginePolicy:
    """`order`: tried first, the others follow in their own order. `disabled`: never."""

    order: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    suite: str
    engine: str | None
    reason: str


def choose(suite: str, inventory: Inventory, policy: EnginePolicy) -> Choice:
    """The engine for `suite`, a registered name. `engine` None: nothing here can run it."""
    refused: list[str] = []
    for engine in _in_order(inventory, policy):
        why_not = _refusal(engine, suite, policy)
        if why_not is None:
            first = "named first by the configuration" if engine.name in policy.order else "the fastest one usable"
            because = f"; {', '.join(refused)}" if refused else ""
            return Choice(suite, engine.name, f"{engine.name} is {first}{because}")
        refused.append(f"{engine.name} {why_not}")
    return Choice(suite, None, f"no engine: {', '.join(refused)}")


def choose_all(inventory: Inventory, policy: EnginePolicy) -> tuple[Choice, ...]:
    """A choice for every suite that some engine knows. UnknownEngine: the policy names what does not exist."""
    known = [engine.name for engine in inventory.engines]
    for name in (*policy.order, *policy.disabled):
        if name not in known and descriptor(name) is None:
            raise UnknownEngine(name, known)
    suites = dict.fromkeys(suite for engine in inventory.engines for suite in engine.suites)
    return tuple(choose(suite, inventory, policy) for suite in suites)


def _in_order(inventory: Inventory, policy: EnginePolicy) -> list[EngineInfo]:
    rank = {name: position for position, name in enumerate(policy.order)}
    return sorted(inventory.engines, key=lambda engine: rank.get(engine.name, len(rank)))


def _refusal(engine: EngineInfo, suite: str, policy: EnginePolicy) -> str | None:
    """Why `engine` cannot have `suite`; None: it can."""
    if engine.name in policy.disabled:
        return "is disabled by the configuration"
    if not engine.present:
        row = descriptor(engine.name)
        return f"needs {' '.join(row.needs)}" if row and row.needs else "cannot run on this machine"
    if engine.self_test not in ("passed", "not run"):
        return f"{engine.self_test.replace('failed: ', 'failed its self-test ')}"
    if suite not in engine.suites:
        return "does not do this suite"
    return None
