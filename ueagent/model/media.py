"""Media lines as the negotiation sees them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final


class MediaKind(Enum):
    AUDIO = "audio"
    VIDEO = "video"
    MSRP = "msrp"
    BFCP = "bfcp"
    UDPTL = "udptl"
    OTHER = "other"


class Direction(Enum):
    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Transport:
    """One `proto` of an m-line. `secure` and `plain` name its counterpart with the same feedback profile."""

    name: str
    rtp: bool
    sdes: bool  # carries a=crypto (RFC 4568)
    fingerprint: bool  # keyed by DTLS or TLS with certificate fingerprints
    plain: str


_ROWS: Final = (
    Transport("RTP/AVP", rtp=True, sdes=False, fingerprint=False, plain="RTP/AVP"),
    Transport("RTP/AVPF", rtp=True, sdes=False, fingerprint=False, plain="RTP/AVPF"),
    Transport("RTP/SAVP", rtp=True, sdes=True, fingerprint=False, plain="RTP/AVP"),
    Transport("RTP/SAVPF", rtp=True, sdes=True, fingerprint=False, plain="RTP/AVPF"),
    Transport("UDP/TLS/RTP/SAVP", rtp=True, sdes=False, fingerprint=True, plain="RTP/AVP"),
    Transport("UDP/TLS/RTP/SAVPF", rtp=True, sdes=False, fingerprint=True, plain="RTP/AVPF"),
)

TRANSPORTS: Final = MappingProxyType({row.name: row for row in _ROWS})


def transport_named(proto: str) -> Transport | None:
    """The transport of a received proto, compared without regard to case (SDP-12), or None when unknown."""
    return TRANSPORTS.get(proto.upper())


class Component(Enum):
    """Which packets of a line something is about. RTP and RTCP have keys of their own when each had a handshake."""

    BOTH = "both"
    RTP = "rtp"
    RTCP = "rtcp"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a datagram comes from or goes to: an IP literal and a port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where RTP and RTCP go: an IPv4 or IPv6 literal and ports. `rtcp_port` == `rtp_port` means rtcp-mux."""

    address: str
    rtp_port: int
    rtcp_port: int
