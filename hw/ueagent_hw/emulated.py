"""An accelerator for machines that have none: the host build of the firmware on a paced pseudo-terminal."""

from __future__ import annotations

import os
import secrets
import threading
import tty

from ueagent_firmware.link import public_key
from ueagent_native.device import DeviceConfig, EmulatedDevice, Fault


class EmulatedAccelerator:
    """`port` is what a host opens. The device's identity is new each time, or made from `key`.

    Paced to `baud`, and each job to `compute` seconds; 0: as fast as this machine can.
    """

    def __init__(self, baud: int = 0, *, compute: float = 0.0, key: bytes | None = None) -> None:
        key = key or secrets.token_bytes(32)
        self.public_key = public_key(key)
        self._device = EmulatedDevice(
            DeviceConfig(
                key=key, boot_id=secrets.token_bytes(8), unit=secrets.token_bytes(8), compute_us=round(compute * 1e6)
            )
        )
        self._master, self._slave = os.openpty()  # the slave stays open, so that hosts may come and go
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._device.serve, args=(self._master, baud), daemon=True)
        self._thread.start()

    def fail(self, fault: Fault) -> None:
        self._device.fail(fault)

    def wait(self) -> None:
        """Until it is closed."""
        self._thread.join()

    def close(self) -> None:
        """Unplugged. Idempotent."""
        self._device.stop()
        self._thread.join()
        for name in ("_master", "_slave"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)
