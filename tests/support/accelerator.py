"""An emulated accelerator without a line: what is written to the port is answered at once."""

from __future__ import annotations

import struct

from support.srtp_model import MODEL_SUITES, sessions
from ueagent_firmware.link import Link
from ueagent_firmware.messages import Direction, Kind, Suite, pack
from ueagent_native.device import DeviceConfig, EmulatedDevice

DEVICE_KEY = bytes(range(1, 33))


class DirectPort:
    """Connects a Link with a device; `spoil` may change what the device sends, `now` is the device's clock."""

    def __init__(self, config: DeviceConfig | None = None) -> None:
        self.device = EmulatedDevice(config or DeviceConfig(key=DEVICE_KEY, plain_load=True))
        self.now = 0.0
        self.clock = 0.0
        self.lost = 0  # answers that will be lost
        self.written = b""  # last
        self._held = b""

    def write(self, octets: bytes) -> None:
        self.written = octets
        answer = self.device.feed(octets, self.now)
        if answer and self.lost > 0:
            self.lost -= 1
            return
        self._held += answer

    def read(self, timeout: float) -> bytes:
        octets, self._held = self._held, b""
        if not octets:
            self.clock += timeout  # nothing more will come
        return octets


def linked(config: DeviceConfig | None = None) -> tuple[DirectPort, Link]:
    port = DirectPort(config)
    return port, Link(port, clock=lambda: port.clock)


def rtp(seq: int, *, ssrc: int = 0x1234, payload: bytes = b"speech" * 20) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, seq & 0xFFFF, seq * 160 & 0xFFFFFFFF, ssrc) + payload


def slot_key(
    suite: Suite,
    direction: Direction,
    master: bytes,
    salt: bytes,
    *,
    kind: Kind = Kind.RTP,
    flags: int = 1,
    ssrc: int = 0,
    floor: int = 0,
    limit: int = 1 << 47,
) -> bytes:
    """Body "key" with the session keys that RFC 3711, 4.3 derives from a master key."""
    keys = sessions(MODEL_SUITES[suite.name], master, salt, kind is Kind.RTCP)
    return pack(
        "key",
        suite=suite,
        direction=direction,
        kind=kind,
        flags=flags,
        ssrc=ssrc,
        index_floor=floor,
        packet_limit=limit,
        cipher_key=keys.cipher.ljust(32, b"\0"),
        auth_key=keys.auth,
        salt=keys.salt.ljust(14, b"\0"),
    )
