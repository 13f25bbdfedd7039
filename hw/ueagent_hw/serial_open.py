"""Opening the line to an accelerator: exclusive, raw, fast where the driver can be told so.

Never a scan of ports: behind another one a modem may listen, and binary frames are not for it.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import serial
from serial.tools import list_ports

FLOW_CONTROL_FROM: Final = 921_600  # baud
USB: Final = re.compile(r"usb:([0-9a-f]{4}):([0-9a-f]{4})")
LATENCY_MS: Final = 16  # an FTDI adapter's default timer: three times the budget of a packet


class PortError(Exception):
    """The port cannot be had; the text says why."""


@dataclass(frozen=True, slots=True)
class Opened:
    port: SerialPort
    warnings: tuple[str, ...]


class SerialPort:
    """A pyserial port as `ueagent_firmware.link` wants it, and its descriptor for the data thread."""

    def __init__(self, line: serial.Serial) -> None:
        self._line = line

    def write(self, octets: bytes) -> None:
        try:
            self._line.write(octets)
        except serial.SerialException as error:
            raise PortError(f"{self._line.name}: {error}") from None

    def read(self, timeout: float) -> bytes:
        self._line.timeout = timeout
        try:
            first: bytes = self._line.read(1)
            rest: bytes = self._line.read(self._line.in_waiting) if first else b""
        except (serial.SerialException, OSError) as error:
            raise PortError(f"{self._line.name}: {error}") from None
        return first + rest

    def fileno(self) -> int:
        return int(self._line.fileno())

    def close(self) -> None:
        self._line.close()


def find(name: str) -> str:
    """`name`, or the device of a USB id `usb:VVVV:PPPP`. PortError: not plugged in, or more than one."""
    wanted = USB.fullmatch(name.lower())
    if wanted is None:
        return name
    ids = int(wanted[1], 16), int(wanted[2], 16)
    found = [port.device for port in list_ports.comports() if (port.vid, port.pid) == ids]
    if len(found) != 1:
        raise PortError(f"{len(found)} devices are {name}; one is needed")
    return str(found[0])


def latency_timer(device: str, root: Path = Path("/sys/class/tty")) -> int | None:
    """Milliseconds that a USB adapter keeps octets back; None: it does not say."""
    try:
        return int((root / Path(device).name / "device" / "latency_timer").read_text())
    except (OSError, ValueError):
        return None


def open_port(name: str, baud: int) -> Opened:
    """The line, for this process alone. PortError."""
    device = find(name)
    pseudo = device.startswith("/dev/pts/")
    try:
        line = serial.Serial(device, baud, exclusive=True, rtscts=baud >= FLOW_CONTROL_FROM and not pseudo)
    except (serial.SerialException, ValueError, OSError) as error:
        raise PortError(f"{device}: {error}") from None
    with contextlib.suppress(OSError, ValueError, NotImplementedError, AttributeError):
        line.set_low_latency_mode(True)  # some drivers have it
    warnings = []
    if (timer := latency_timer(device)) is not None and timer > 1:
        warnings.append(f"{device} keeps octets back for {timer} ms: set its latency_timer to 1")
    return Opened(SerialPort(line), tuple(warnings))
