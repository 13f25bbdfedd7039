"""What is told of the serial accelerator: its own words, our counters, and what is wrong with it."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ueagent_hw.serial_engine import SUITES, AcceleratorUnavailable, Description, ask
from ueagent_native.link import LinkState, LinkStats

from ueagent.daemon.config import AcceleratorConfig
from ueagent.ipc import api

__all__ = ["NAME", "SUITES", "ask_device", "engine_state", "told"]

NAME: Final = "serial"

_WORDS: Final[MappingProxyType[LinkState, api.LinkStateName]] = MappingProxyType(
    {
        LinkState.STOPPED: "stopped",
        LinkState.UP: "up",
        LinkState.MISSED: "missed",
        LinkState.LOCKED: "locked",
        LinkState.GONE: "gone",
        LinkState.WRONG: "wrong",
        LinkState.REFUSED: "refused",
    }
)


def told(
    config: AcceleratorConfig,
    found: Description | None,
    warnings: tuple[str, ...],
    stats: LinkStats | None = None,
    reason: str | None = None,
) -> api.AcceleratorState:
    """Without `stats` no agent has the device."""
    return api.AcceleratorState(
        port=config.port or "",
        custody=config.custody,
        state="stopped" if stats is None else _WORDS[stats.state],
        device=None if found is None else _device(found),
        counters=None if stats is None else _counters(stats),
        warnings=list(warnings),
        reason=reason,
    )


def ask_device(config: AcceleratorConfig) -> api.AcceleratorState:
    """The device on the configured port, which no agent has. It forgets its keys: that is what HELLO does."""
    try:
        found, warnings = ask(config.port or "", config.baud)
    except AcceleratorUnavailable as error:
        return told(config, None, (), reason=str(error))
    return told(config, found, warnings)


def engine_state(state: api.AcceleratorState) -> api.EngineState:
    """The accelerator as one engine among the others."""
    found = state.device
    self_test = "not run"
    if found is not None:
        self_test = f"failed: {', '.join(found.failed_tests)}" if found.failed_tests else "passed"
    return api.EngineState(name=NAME, present=found is not None, self_test=self_test, suites=list(SUITES))


def _device(found: Description) -> api.AcceleratorDevice:
    return api.AcceleratorDevice(
        unit=found.unit.hex(),
        firmware=found.firmware,
        engine=found.engine,
        boot=found.boot_id.hex(),
        slots=found.slots,
        credits=found.credits,
        max_packet=found.max_packet,
        capabilities=list(found.capabilities),
        failed_tests=list(found.failed_tests),
    )


def _counters(stats: LinkStats) -> api.AcceleratorCounters:
    return api.AcceleratorCounters(
        jobs=stats.jobs,
        done=stats.done,
        missed=stats.missed,
        refused=stats.refused,
        auth_failures=stats.auth_fail,
        damaged=stats.damaged,
        late=stats.late,
        wrong=stats.wrong,
        verified=stats.verified,
        fallback=stats.fallback,
        loads=stats.loads,
        no_slot=stats.no_slot,
        used_slots=stats.used_slots,
        round_trip_us=stats.round_trip_ns // 1000 // stats.done if stats.done else 0,
    )
