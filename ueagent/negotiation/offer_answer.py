"""Put plans into an SDP tree and read them back: what the agent owns of a media line, on either side.

    dialer  m=audio 5004 RTP/AVP 0       c= loopback      no keying
    network m=audio 40000 RTP/SAVP 0     c= the relay's   a=crypto, a=3ge2ae

Owned are the transport, the media address and the attributes in OWNED; every other octet passes (RFC 3264; SDP-4,
SDP-8, SDP-11, DYN-14, DYN-16). ICE is among the owned, since the relay is the transport; so are the potential
configurations of RFC 5939, which can hold keys.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ueagent.errors import NegotiationFailed, UsageError
from ueagent.keymgmt.mechanism import KeyAttribute
from ueagent.keymgmt.registry import MECHANISMS
from ueagent.model.media import Direction, Endpoint, MediaKind, Transport, transport_named
from ueagent.model.security import Mechanism
from ueagent.negotiation.planner import Indicator
from ueagent.wire.dtls_attributes import DtlsParameters, build_dtls, read_dtls
from ueagent.wire.ice_attributes import in_bundle
from ueagent.wire.sdp import MediaSection, Sdp
from ueagent.wire.sdp_attributes import (
    ATTRIBUTES,
    SdesCrypto,
    build_3ge2ae,
    build_crypto,
    carries,
    read_3ge2ae,
    read_crypto,
)

POTENTIAL: Final = ("tcap", "acap", "pcfg", "acfg", "creq", "csup")
ICE: Final = (
    "candidate",
    "remote-candidates",
    "end-of-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "ice-lite",
    "ice-mismatch",
    "ice-pacing",
)
# rtcp-mux is not offered in the 3GPP profile. An offer of it is accepted for DTLS, where it saves an association, and
# otherwise declined by not answering it (DYN-14). The dialer's side never has it.
OWNED: Final = frozenset((*ATTRIBUTES, *POTENTIAL, *ICE, "rtcp", "rtcp-mux", "rtcp-mux-only"))

# A peer that will not receive: what the other side may still do (RFC 3264, 8.4).
_HELD: Final = MappingProxyType(
    {
        Direction.SENDRECV: Direction.SENDONLY,
        Direction.SENDONLY: Direction.SENDONLY,
        Direction.RECVONLY: Direction.INACTIVE,
        Direction.INACTIVE: Direction.INACTIVE,
    }
)
_KINDS: Final = (
    (MediaKind.AUDIO, "audio", ""),
    (MediaKind.VIDEO, "video", ""),
    (MediaKind.MSRP, "message", "MSRP"),
    (MediaKind.BFCP, "application", "BFCP"),
    (MediaKind.UDPTL, "image", "UDPTL"),
)


# ------------------------------------------------------------------------------------------------------- reading --


def kind_of(section: MediaSection) -> MediaKind:
    word, proto = section.kind.lower(), section.proto.upper()
    return next((kind for kind, name, part in _KINDS if word == name and part in proto), MediaKind.OTHER)


def is_rtp(section: MediaSection) -> bool:
    """RTP by its transport, or by all signs although the transport is unknown (SDP-12)."""
    transport = transport_named(section.proto)
    if transport is not None:
        return transport.rtp
    return "RTP" in section.proto.upper() or kind_of(section) in (MediaKind.AUDIO, MediaKind.VIDEO)


def asks_for_certificate(sdp: Sdp) -> bool:
    """Whether some RTP line can only be keyed with a certificate of ours."""
    found = (transport_named(section.proto) for section in sdp.media)
    return any(transport is not None and transport.rtp and transport.fingerprint for transport in found)


@dataclass(frozen=True, slots=True)
class Keying:
    """Keying attributes of one line. `invalid` counts crypto lines that do not parse (SDP-13)."""

    crypto: tuple[SdesCrypto, ...]
    dtls: DtlsParameters
    invalid: int
    indicator: Indicator
    mechanisms: frozenset[Mechanism]

    def of(self, mechanism: Mechanism) -> tuple[KeyAttribute, ...]:
        """The attributes of one mechanism; secrets of all others are wiped."""
        if mechanism is Mechanism.SDES:
            return self.crypto
        self.wipe()
        row = MECHANISMS.get(mechanism)
        roles = row is not None and (row.certificates or mechanism is Mechanism.TLS_PSK)
        return (self.dtls,) if roles else ()

    def wipe(self) -> None:
        for line in self.crypto:
            line.wipe()


def read_keying(section: MediaSection) -> Keying:
    crypto, invalid = read_crypto(section)
    dtls, _ = read_dtls(section)
    fingerprint = carries(section, "fingerprint")
    present = {
        Mechanism.SDES: bool(crypto),
        **dict.fromkeys((Mechanism.DTLS_SRTP, Mechanism.TLS, Mechanism.DTLS), fingerprint),
        Mechanism.MIKEY_TICKET: carries(section, "key-mgmt"),
    }
    indicator = Indicator(read_3ge2ae(section) or Indicator.ABSENT.value)
    return Keying(tuple(crypto), dtls, len(invalid), indicator, frozenset(m for m, here in present.items() if here))


def offers_rtcp_mux(section: MediaSection) -> bool:
    return section.attribute("rtcp-mux") is not None


def peer_endpoint(section: MediaSection, family: int, *, mux: bool = False, checked: bool = False) -> Endpoint | None:
    """Where the far side receives; None on hold by `c=0.0.0.0` (DYN-9), and where checks will say it (`checked`).

    `mux`: RTCP has no port of its own here.
    """
    if section.legacy_hold and not checked:
        return None
    if mux and not offers_rtcp_mux(section):
        raise NegotiationFailed("rtcp_mux_withdrawn", "RTP and RTCP no longer share a port", field="rtcp-mux")
    if checked:
        return None
    endpoint = section.endpoint if mux else _unmuxed(section)
    if endpoint is None:
        raise _no_address("media_address", "no media address that is an IP literal")
    address = ipaddress.ip_address(endpoint.address)
    if address.version != family:
        raise _no_address("address_family", f"media address of family {address.version}, the relay has {family}")
    if address.is_multicast:
        raise _no_address("media_address", "a multicast media address")
    return endpoint


def dialer_endpoint(section: MediaSection) -> Endpoint | None:
    """Where the dialer receives, which must be a loopback address; None on hold by `c=0.0.0.0`."""
    if section.legacy_hold:
        return None
    endpoint = _unmuxed(section)
    if endpoint is None or not ipaddress.ip_address(endpoint.address).is_loopback:
        raise UsageError("media_not_loopback", "the dialer's media address is not a loopback address", field="c=")
    return endpoint


def _unmuxed(section: MediaSection) -> Endpoint | None:
    """Without rtcp-mux, which was not agreed on."""
    return section.without_attributes("rtcp-mux").endpoint


def address_family(section: MediaSection) -> int:
    here = section.connection
    return 6 if here is not None and here.family == 6 else 4


# ------------------------------------------------------------------------------------------------------- writing --


def secured_attributes(keying: Iterable[KeyAttribute], *, indicate: bool, padding: bool) -> list[bytes]:
    """The lines that key a medium, `a=3ge2ae:requested` before them when `indicate` (SDP-4)."""
    lines: list[bytes] = []
    for value in keying:
        match value:
            case DtlsParameters():
                lines += build_dtls(value)
            case SdesCrypto():
                lines.append(build_crypto(value, padding=padding))
            case _:
                pass  # the keys of a bundle stand in no text of their line
    return [build_3ge2ae("requested"), *lines] if indicate and lines else lines


def rewrite(
    section: MediaSection, proto: str, endpoint: Endpoint, added: Sequence[bytes] = (), *, checked: bool = False
) -> MediaSection:
    """The line for the other side: its transport, the relay's address there, and `added` for what was owned.

    `checked`: its address comes from checks, and `c=0.0.0.0` is no hold (RFC 8840, 4.1.1).
    """
    direction = section.direction
    ours = section.without(lambda attribute: attribute.name in OWNED).with_proto(proto).with_port(endpoint.rtp_port)
    if section.legacy_hold and not checked:
        ours = ours.with_direction(_HELD[direction])
    ours = ours.with_own_address(endpoint.address).with_attributes(added)
    if endpoint.rtcp_port == endpoint.rtp_port:
        return ours.with_attributes([b"a=rtcp-mux"])
    # RFC 3605: said only where it is not the next port.
    return ours if endpoint.rtcp_port == endpoint.rtp_port + 1 else ours.with_rtcp(endpoint.rtcp_port)


def reject(section: MediaSection, proto: str) -> MediaSection:
    """The line refused: port 0, nothing of keying (RFC 3264, 6)."""
    return section.without(lambda attribute: attribute.name in OWNED).with_proto(proto).with_port(0)


def plain_proto(section: MediaSection) -> str:
    transport: Transport | None = transport_named(section.proto)
    return section.proto if transport is None else transport.plain


def identified(section: MediaSection, tag: bytes | None) -> MediaSection:
    """With `a=mid` of that value, or without (RFC 5888)."""
    return section.with_attributes([] if tag is None else [b"a=mid:" + tag], replacing=("mid",))


def tag_of(section: MediaSection) -> bytes | None:
    attribute = section.attribute("mid")
    return None if attribute is None else (attribute.value or b"").strip()


def bundled(sdp: Sdp) -> tuple[bytes, ...]:
    """The tags of the lines that an offer bundles."""
    return in_bundle(group.value or b"" for group in sdp.session.attributes_named("group"))


def finish(sdp: Sdp, all_ours: bool, address: str | None, added: Sequence[bytes] = ()) -> Sdp:
    """The session level after the media: no BUNDLE (DYN-16) but that of `added`; where every line is ours also no
    keying, no ICE, and the address of the relay."""
    session = sdp.session.without(lambda a: a.name == "group" and (a.value or b"").strip().startswith(b"BUNDLE"))
    if all_ours:
        session = session.without(lambda attribute: attribute.name in OWNED)
        if address is not None and session.own_connection is not None:
            session = session.with_own_address(address)
    return sdp.with_session(session.with_attributes(added, replacing=("ice-lite",) if added else ()))


def _no_address(code: str, detail: str) -> NegotiationFailed:
    return NegotiationFailed(code, detail, field="c=")
