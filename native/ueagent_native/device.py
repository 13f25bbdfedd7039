"""The host build of the accelerator's firmware (`include/ums_accel.h`): an emulated device."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ueagent_native._core import ffi, lib
from ueagent_native.values import NativeError, Status

_ANSWER = 65536


class Fault(IntEnum):
    """`ums_device_fault`: what goes wrong while a device serves."""

    NONE = 0
    HANG = 1
    REBOOT = 2
    BABBLE = 3
    CORRUPT = 4
    LATE = 5
    WRONG = 6
    BUSY = 7
    SELFTEST = 8
    DISTURBED = 9


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """`key`: the provisioned X25519 key, 32 octets; None: no identity. `spoil_test`: bits of self-tests that fail.

    `compute_us`: what a job takes on the processor that is stood in for; it is waited for where the line is paced.
    """

    key: bytes | None = None
    random: bool = True
    plain_load: bool = False
    spoil_test: int = 0
    compute_us: int = 0
    boot_id: bytes = bytes(8)
    unit: bytes = bytes(8)

    def __repr__(self) -> str:
        return f"DeviceConfig(random={self.random}, plain_load={self.plain_load})"


class EmulatedDevice:
    """One device; it boots when made. `feed` is for tests, `serve` for a pseudo-terminal."""

    def __init__(self, config: DeviceConfig) -> None:
        raw = ffi.new("ums_device_config *")
        raw.has_key = config.key is not None
        raw.has_random = config.random
        raw.plain_load = config.plain_load
        raw.spoil_test = config.spoil_test
        raw.compute_us = config.compute_us
        raw.key = config.key if config.key is not None else bytes(32)
        raw.boot_id = config.boot_id
        raw.unit = config.unit
        size = lib.ums_device_sizeof()
        self._memory = ffi.new("uint64_t[]", size // 8 + 8)
        aligned = (int(ffi.cast("uintptr_t", self._memory)) + 63) & ~63
        self._device = ffi.cast("ums_device *", aligned)
        status = lib.ums_device_init(self._device, size, raw)
        ffi.memmove(raw, bytes(ffi.sizeof("ums_device_config")), ffi.sizeof("ums_device_config"))
        if status != Status.OK:
            raise NativeError(Status(status), "ums_device_init")

    def feed(self, octets: bytes, now: float = 0.0) -> bytes:
        """What the device answers to `octets` that come in at `now`, in seconds."""
        out = ffi.new("uint8_t[]", _ANSWER)
        length = lib.ums_device_feed(self._device, int(now * 1000) & 0xFFFFFFFF, octets, len(octets), out, _ANSWER)
        return bytes(ffi.buffer(out, length))

    def serve(self, descriptor: int, baud: int = 0) -> None:
        """Serves until `stop` or the other side hangs up; the GIL is free meanwhile."""
        status = lib.ums_device_serve(self._device, descriptor, baud)
        if status != Status.OK:
            raise NativeError(Status(status), "ums_device_serve")

    def fail(self, fault: Fault) -> None:
        lib.ums_device_set_fault(self._device, fault)

    def stop(self) -> None:
        lib.ums_device_stop(self._device)
