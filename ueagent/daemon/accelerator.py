"""The serial accelerator of this agent: from its configuration, and tried again after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ueagent_hw.serial_engine import RETRY_SECONDS, AcceleratorUnavailable, SerialAccelerator, SerialConfig
from ueagent_native.link import Custody, LinkState

from ueagent.daemon.accelerator_state import told
from ueagent.daemon.config import AcceleratorConfig
from ueagent.daemon.logs import Log
from ueagent.errors import EngineError, ResourceError, UsageError
from ueagent.ipc import api

if TYPE_CHECKING:
    from ueagent_native.link import AcceleratorLink

    from ueagent.model.keys import KeySet


class AcceleratorHost:
    """Keeps a session with the device while the agent runs. UsageError `bad_config`: it was never paired."""

    def __init__(self, config: AcceleratorConfig, log: Log, tell: Callable[[api.Event], None]) -> None:
        self._config = config
        self._log = log
        self._tell = tell
        self._reason: str | None = None  # why the last attempt failed
        self._task: asyncio.Task[None] | None = None
        try:
            self._accelerator = SerialAccelerator(
                SerialConfig(
                    port=config.port or "",
                    baud=config.baud,
                    custody=Custody[config.custody.upper()],
                    device_key=bytes.fromhex(config.device_key) if config.device_key else None,
                    trusted_wiring=config.trusted_wiring,
                    deadline_ms=config.deadline_ms,
                    verify_every=config.verify_every,
                    max_streams=config.max_streams,
                )
            )
        except AcceleratorUnavailable as error:
            raise UsageError("bad_config", str(error), field="accelerator.device_key") from None

    @property
    def link(self) -> AcceleratorLink:
        return self._accelerator.link

    def state(self) -> api.AcceleratorState:
        """For whoever asks: the device's own words, our counters, and what is wrong."""
        stats, found = self._accelerator.stats(), self._accelerator.device
        return told(self._config, found, self._accelerator.warnings, stats, self._reason)

    def admit(self, legs: int) -> None:
        """One leg with keys more than `legs`. ResourceError: in device custody the device must do it and cannot."""
        reason = self._accelerator.refusal(legs)
        if reason is not None and self._config.custody == "device":
            raise ResourceError("accelerator_refuses", reason)
        if reason is not None:
            self._log.info("accelerator_refuses", reason=reason)  # a CPU does it

    def check(self, keys: KeySet) -> None:
        """EngineError: in device custody the device must have these keys, and no slot can hold them."""
        if self._config.custody == "device" and (keys.rcc is not None or len(keys.receive) != 1):
            what = "a stream that carries its rollover counter" if keys.rcc is not None else "several keys at a time"
            raise EngineError("accelerator_refuses", f"the accelerator, which alone may have keys, cannot do {what}")

    def start(self) -> None:
        """The first attempt is made here, so that early calls find the device; the others in the background."""
        if not self._attempt():
            self._task = asyncio.get_running_loop().create_task(self._try_again())

    def changed(self, state: int) -> None:
        """The link says that it is in another state."""
        name = LinkState(state).name.lower()
        self._log.info("accelerator", state=name)
        self._tell(api.Event(kind="accelerator", session="", reason=name))
        lost = state not in (LinkState.UP, LinkState.STOPPED)
        if lost and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._try_again())

    def _attempt(self) -> bool:
        try:
            found = self._accelerator.connect()
        except AcceleratorUnavailable as error:
            self._reason = str(error)
            self._log.warning("accelerator_unavailable", reason=self._reason)
            return False
        self._reason = None
        self._log.info("accelerator_found", unit=found.unit.hex(), firmware=found.firmware, slots=found.slots)
        for warning in self._accelerator.warnings:
            self._log.warning("accelerator_port", reason=warning)
        return True

    async def _try_again(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if await asyncio.to_thread(self._attempt) and self._accelerator.up:
                return

    async def stop(self) -> None:
        """No more attempts. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def close(self) -> None:
        """After the relay: the line is closed. Idempotent."""
        self._accelerator.close()
