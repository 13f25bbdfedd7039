"""The engine behind a serial port: opened by configuration, handshake, then the data thread of the C core has the line.

What happens to packets is C's affair; here is when a session begins, ends and is tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ueagent_firmware.link import Description, Link, LinkError
from ueagent_firmware.messages import Suite
from ueagent_native.link import AcceleratorLink, Custody, LinkConfig, LinkState, LinkStats

from ueagent_hw.latency import BITS_PER_OCTET, BUDGET, HOST_SECONDS, SOFTWARE_SECONDS, predict
from ueagent_hw.serial_open import Opened, PortError, open_port

__all__ = ["AcceleratorUnavailable", "Description", "SerialAccelerator", "SerialConfig", "admitted_slots", "ask"]

SUITES: Final = tuple(suite.name for suite in Suite)  # that a slot can hold
RETRY_SECONDS: Final = 1.0  # between two attempts after a loss


class AcceleratorUnavailable(Exception):
    """No session with the device; the text says why."""


@dataclass(frozen=True, slots=True)
class SerialConfig:
    """`device_key`: the public key pinned when it was paired; None only with `trusted_wiring`."""

    port: str
    baud: int = 3_000_000
    custody: Custody = Custody.SHARED
    device_key: bytes | None = None
    trusted_wiring: bool = False
    deadline_ms: int = 0  # 0: from the model of the line, and within the budget
    verify_every: int = 16
    max_streams: int = 0  # 0: what the line carries on average


_PER_STREAM: Final = {Custody.SHARED: 2, Custody.DEVICE: 4}  # two directions; RTCP, too, in device custody


def admitted_slots(config: SerialConfig) -> int:
    """Slots that may be used."""
    streams = config.max_streams or max(1, predict(config.baud).statistical)
    return streams * _PER_STREAM[config.custody]


def ask(port: str, baud: int) -> tuple[Description, tuple[str, ...]]:
    """Who is on a port that nobody uses, and warnings about the port. AcceleratorUnavailable."""
    try:
        opened = open_port(port, baud)
        try:
            return Link(opened.port).hello(), opened.warnings
        finally:
            opened.port.close()
    except (PortError, LinkError) as error:
        raise AcceleratorUnavailable(str(error)) from None


class SerialAccelerator:
    """`link` is to be attached to a relay; `connect` begins a session, also after a loss."""

    def __init__(self, config: SerialConfig) -> None:
        if config.device_key is None and not config.trusted_wiring:
            raise AcceleratorUnavailable("the device was not paired: ueagent accel pair tells its key")
        self.config = config
        self.device: Description | None = None
        self.warnings: tuple[str, ...] = ()
        self._opened: Opened | None = None
        modelled = config.deadline_ms == 0
        self.link = AcceleratorLink(
            LinkConfig(
                custody=config.custody,
                deadline_us=round(BUDGET * 1e6) if modelled else config.deadline_ms * 1000,
                verify_every=config.verify_every,
                max_slots=admitted_slots(config),
                octet_ns=round(BITS_PER_OCTET * 1e9 / config.baud) if modelled else 0,
                job_us=round(SOFTWARE_SECONDS * 1e6),
                host_us=round(HOST_SECONDS * 1e6),
            )
        )

    def connect(self) -> Description:
        """Opens, HELLO, SESSION, start: half a second at most when nobody answers. AcceleratorUnavailable."""
        self.disconnect()
        try:
            opened = self._opened = open_port(self.config.port, self.config.baud)
            handshake = Link(opened.port)
            found = handshake.hello()
            if found.failed_tests or found.credits == 0:
                raise AcceleratorUnavailable(f"the device failed its self-test: {', '.join(found.failed_tests)}")
            key = None if self.config.device_key is None else handshake.open_session(self.config.device_key)
            self.link.start(opened.port.fileno(), key, found.slots, found.credits)
        except (PortError, LinkError, ValueError) as error:
            self.disconnect()
            raise AcceleratorUnavailable(str(error)) from None
        except AcceleratorUnavailable:
            self.disconnect()
            raise
        self.device, self.warnings = found, opened.warnings
        return found

    def disconnect(self) -> None:
        """The device wipes its slots when it hears nothing more. Idempotent."""
        self.link.stop()
        if self._opened is not None:
            self._opened.port.close()
            self._opened = None

    @property
    def up(self) -> bool:
        return self.link.stats().state is LinkState.UP

    def refusal(self, streams: int) -> str | None:
        """Why this device does not do a stream more than `streams`; None: it does."""
        if self.device is None or not self.up:
            return "the accelerator is not there"
        most = min(admitted_slots(self.config), self.device.slots) // _PER_STREAM[self.config.custody]
        return None if streams < most else f"streams that the accelerator carries at a time: {most}"

    def stats(self) -> LinkStats:
        return self.link.stats()

    def close(self) -> None:
        """After the relay. Idempotent."""
        self.disconnect()
        self.link.close()
