"""RTP packets and RTCP reports of the lab's endpoints (RFC 3550, 5.1, 6.4.1, 6.5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

HEADER: Final = struct.Struct("!BBHII")
_VERSION: Final = 0x80
_SENDER_REPORT, _SOURCE_DESCRIPTION, _CNAME = 200, 202, 1


@dataclass(frozen=True, slots=True)
class RtpHeader:
    """The fixed header; `length` counts its octets with contributing sources, without extension."""

    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    length: int


def build_rtp(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool = False
) -> bytes:
    return HEADER.pack(_VERSION, payload_type | marker << 7, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def parse_rtp(packet: bytes) -> RtpHeader | None:
    """The header of an RTP version 2 packet, or None for anything else."""
    if len(packet) < HEADER.size or packet[0] & 0xC0 != _VERSION:
        return None
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
    length = HEADER.size + 4 * (first & 0x0F)
    if len(packet) < length:
        return None
    return RtpHeader(bool(second & 0x80), second & 0x7F, sequence, timestamp, ssrc, length)


def build_report(ssrc: int, ntp: float, timestamp: int, packets: int, octets: int, cname: str) -> bytes:
    """A compound packet: sender report and CNAME. `ntp` counts seconds since 1900."""
    seconds, fraction = int(ntp), int(ntp % 1 * (1 << 32))
    report = struct.pack(
        "!BBHIIIIII", _VERSION, _SENDER_REPORT, 6, ssrc, seconds, fraction, timestamp & 0xFFFFFFFF, packets, octets
    )
    item = bytes((_CNAME, len(cname))) + cname.encode()
    chunk = struct.pack("!I", ssrc) + item + bytes(4 - len(item) % 4)  # one to four zeros end the list of items
    return report + struct.pack("!BBH", _VERSION | 1, _SOURCE_DESCRIPTION, len(chunk) // 4) + chunk
