"""What crossed the wires: a bounded tap, and pcap files of it (draft-ietf-opsawg-pcap; raw IP with UDP)."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from ueagent.errors import ResourceError

MAX_DATAGRAMS: Final = 200_000
_LINKTYPE_RAW: Final = 101
_SNAP_LENGTH: Final = 0x10000
_UDP: Final = 17

Address = tuple[str, int]


class Side(StrEnum):
    """Which side of the access gateway: `access` is what anyone near the phone may hear."""

    ACCESS = "access"
    CORE = "core"


class Way(StrEnum):
    """Seen from the gateway."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class Datagram:
    """`time` is seconds since 1970; `rtcp` says on which port of the pair it travelled."""

    time: float
    side: Side
    way: Way
    source: Address
    destination: Address
    rtcp: bool
    data: bytes


class Tap:
    """Keeps up to `limit` datagrams in order of time; `lost` counts what came after."""

    def __init__(self, limit: int = MAX_DATAGRAMS) -> None:
        self._limit = limit
        self.datagrams: list[Datagram] = []
        self.lost = 0

    def record(self, datagram: Datagram) -> None:
        if len(self.datagrams) < self._limit:
            self.datagrams.append(datagram)
        else:
            self.lost += 1

    def wire(self) -> list[Datagram]:
        """The access side alone."""
        return [datagram for datagram in self.datagrams if datagram.side is Side.ACCESS]


def build_pcap(datagrams: Iterable[Datagram]) -> bytes:
    """A classic pcap file with microsecond times."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAP_LENGTH, _LINKTYPE_RAW)]
    for datagram in datagrams:
        packet = _ip_packet(datagram)
        seconds, micros = divmod(round(datagram.time * 1_000_000), 1_000_000)
        out += (struct.pack("<IIII", seconds, micros, len(packet), len(packet)), packet)
    return b"".join(out)


def write_pcap(path: Path, datagrams: Iterable[Datagram]) -> None:
    """Raises ResourceError when the file cannot be written."""
    try:
        path.write_bytes(build_pcap(datagrams))
    except OSError as error:
        raise ResourceError("pcap_not_written", f"{path}: {error.strerror}", field="pcap") from None


def _ip_packet(datagram: Datagram) -> bytes:
    source = ipaddress.ip_address(datagram.source[0])
    destination = ipaddress.ip_address(datagram.destination[0])
    length = 8 + len(datagram.data)
    ports = struct.pack("!HH", datagram.source[1], datagram.destination[1])
    pseudo = (
        source.packed + destination.packed + struct.pack("!IxxxB", length, _UDP)
    )  # RFC 8200, 8.1; sums alike for IPv4
    check = _checksum(pseudo + ports + struct.pack("!HH", length, 0) + datagram.data) or 0xFFFF
    udp = ports + struct.pack("!HH", length, check) + datagram.data
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, length, _UDP, 64) + source.packed + destination.packed + udp
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, 0, 0x4000, 64, _UDP)
    check = _checksum(head + bytes(2) + source.packed + destination.packed)
    return head + struct.pack("!H", check) + source.packed + destination.packed + udp


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
