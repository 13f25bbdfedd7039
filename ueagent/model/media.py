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


# Media that are secured as a stream or as datagrams of their own, and not as RTP.
STREAM_KINDS: Final = frozenset({MediaKind.MSRP, MediaKind.BFCP, MediaKind.UDPTL})


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
    Transport("TCP/MSRP", rtp=False, sdes=False, fingerprint=False, plain="TCP/MSRP"),
    Transport("TCP/TLS/MSRP", rtp=False, sdes=False, fingerprint=True, plain="TCP/MSRP"),
    Transport("TCP/BFCP", rtp=False, sdes=False, fingerprint=False, plain="TCP/BFCP"),
    Transport("TCP/TLS/BFCP", rtp=False, sdes=False, fingerprint=True, plain="TCP/BFCP"),
    Transport("udptl", rtp=False, sdes=False, fingerprint=False, plain="udptl"),
    Transport("UDP/TLS/UDPTL", rtp=False, sdes=False, fingerprint=True, plain="udptl"),
    # Known and nobody's: BFCP-5 has them rejected.
    Transport("UDP/TLS/BFCP", rtp=False, sdes=False, fingerprint=True, plain="UDP/BFCP"),
    Transport("TCP/DTLS/BFCP", rtp=False, sdes=False, fingerprint=True, plain="TCP/BFCP"),
)

TRANSPORTS: Final = MappingProxyType({row.name.upper(): row for row in _ROWS})  # udptl is written in lower case


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
