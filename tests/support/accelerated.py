"""A relay with an emulated accelerator at the other end of a socket pair."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from support.accelerator import DEVICE_KEY
from support.relay_rig import Rig, eventually
from ueagent_firmware.link import Link
from ueagent_native.device import DeviceConfig, EmulatedDevice
from ueagent_native.link import AcceleratorLink, LinkConfig, LinkState, LinkStats

PATIENT_US = 2_000_000  # a deadline that only a lost answer misses, however busy the machine is
SHORT_US = 20_000


class SocketPort:
    """A socket as a Link wants it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def write(self, octets: bytes) -> None:
        self._sock.setblocking(True)
        self._sock.sendall(octets)

    def read(self, timeout: float) -> bytes:
        self._sock.settimeout(max(timeout, 0.001))
        try:
            return self._sock.recv(4096)
        except TimeoutError:
            return b""


class Accelerated(Rig):
    """A started relay whose link is up; `device` may be made to fail."""

    def __init__(self, *, plain: bool = False, device: DeviceConfig | None = None, baud: int = 0, **link: int) -> None:
        super().__init__(start=False, early_packets=8)
        link.setdefault("deadline_us", PATIENT_US)
        self.link = AcceleratorLink(LinkConfig(**link))  # type: ignore[arg-type]
        self.device = EmulatedDevice(device or DeviceConfig(key=DEVICE_KEY, plain_load=plain))
        self._plain = plain
        self.host, far = socket.socketpair()
        self._far = far
        self._thread = threading.Thread(target=self._serve, args=(baud,))
        self._thread.start()
        self.port = Link(SocketPort(self.host))
        self.relay.attach(self.link)
        self.relay.start()
        self.connect()

    def _serve(self, baud: int) -> None:
        self.device.serve(self._far.fileno(), baud)
        self._far.close()

    def connect(self) -> None:
        """Handshake and start, also once more after a loss."""
        self.link.stop()
        found = self.port.hello()
        transport = None if self._plain else self.port.open_session(self.port.identity())
        self.link.start(self.host.fileno(), transport, found.slots, found.credits)

    def stats(self) -> LinkStats:
        return self.link.stats()

    def wait_loads(self, number: int) -> None:
        eventually(lambda: self.link.stats().loads >= number)

    def wait_state(self, state: LinkState) -> None:
        eventually(lambda: self.link.stats().state == state)

    def unplug(self) -> None:
        self.device.stop()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.link.close()
        with contextlib.suppress(OSError):
            self.unplug()
        self.host.close()
