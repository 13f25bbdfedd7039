"""Lines of MSRP, BFCP and T.38 in SDP: what the agent owns of them, on either side.

    dialer   m=message 2855 TCP/MSRP *        c= loopback  a=setup  a=path:msrp://127.0.0.1:2855/...;tcp
    network  m=message 40000 TCP/TLS/MSRP *   c= ours      a=setup  a=fingerprint  a=path:msrps://...

MSRP-2, -3, -5, -10, BFCP-2, -7, T38-2; RFC 4975, 6 and 8, RFC 6135, RFC 8856, RFC 7345. Every other octet passes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Final

from ueagent.errors import AgentError, MalformedMessage, NegotiationFailed, UsageError
from ueagent.model.media import STREAM_KINDS, Endpoint, MediaKind, transport_named
from ueagent.model.security import SetupRole
from ueagent.negotiation.offer_answer import OWNED, kind_of
from ueagent.wire.msrp import Path
from ueagent.wire.msrp_attributes import PLACEHOLDER_PORT, parse_path, path_line
from ueagent.wire.sdp import MediaSection, Sdp

CEMA: Final = "msrp-cema"
DEFAULT_PORT: Final = 2855  # of MSRP: RFC 4975, 15.4
_STREAM_OWNED: Final = frozenset((*OWNED, "path", CEMA))


def is_stream(section: MediaSection) -> bool:
    """A line of these kinds in a transport that we know, plain or secure."""
    transport = transport_named(section.proto)
    return transport is not None and not transport.rtp and kind_of(section) in STREAM_KINDS


def kinds_to_secure(sdp: Sdp, announced: Collection[MediaKind]) -> frozenset[MediaKind]:
    """Kinds of lines that may get TLS or DTLS: asked for by their transport, or announced at registration."""
    found: set[MediaKind] = set()
    for section in sdp.media:
        transport = transport_named(section.proto)
        if section.port and transport is not None and is_stream(section):
            kind = kind_of(section)
            found |= {kind} if transport.fingerprint or kind in announced else set()
    return frozenset(found)


def on_loopback(section: MediaSection) -> bool:
    here = section.connection
    try:
        return here is not None and ipaddress.ip_address(here.address).is_loopback
    except ValueError:
        return False


def read_path(section: MediaSection) -> Path:
    """The path of an MSRP line. MalformedMessage: none, or none that parses."""
    attribute = section.attribute("path")
    if attribute is None:
        raise MalformedMessage("bad_path", "an MSRP line has an a=path", field="path")
    return parse_path(attribute.value or b"")


def peer_path(section: MediaSection) -> Path:
    """That of the far side, which must be one of TLS. NegotiationFailed: it is not."""
    try:
        path = read_path(section)
    except MalformedMessage as error:
        raise NegotiationFailed(error.code, error.detail, field="path") from None
    if not all(uri.secure for uri in path):
        raise NegotiationFailed("bad_path", "TCP/TLS/MSRP has URIs of msrps", field="path")
    return path


def dialer_path(section: MediaSection) -> Path:
    """That of the dialer, which is plain. UsageError: it is not."""
    try:
        path = read_path(section)
    except MalformedMessage as error:
        raise UsageError(error.code, error.detail, field="path") from None
    if path[-1].secure or not path[-1].session_id:
        raise UsageError("bad_path", "the dialer's path is a URI of msrp with a session-id", field="path")
    return path


def stream_peer(section: MediaSection, family: int, path: Path | None) -> Endpoint | None:
    """Where the far side is reached; None on hold. MSRP: its nearest URI, or c= and m= where that is a name (MSRP-10).

    NegotiationFailed: nowhere, or in another address family than ours.
    """
    if section.legacy_hold:
        return None
    here, port = section.connection, section.port
    address = None if here is None or here.family is None else here.address
    if path is not None and section.attribute(CEMA) is None and _literal(path[0].host) is not None:
        address, port = path[0].host, path[0].port or DEFAULT_PORT
    literal = _literal(address)
    if literal is None or literal.is_multicast:
        raise NegotiationFailed("media_address", "no media address that is an IP literal", field="c=")
    if literal.version != family:
        detail = f"media address of family {literal.version}, our side has {family}"
        raise NegotiationFailed("address_family", detail, field="c=")
    return Endpoint(str(literal), port, port)


def stream_dialer(section: MediaSection) -> Endpoint | None:
    """Where the dialer is reached, which must be a loopback address; None on hold."""
    if section.legacy_hold:
        return None
    if not on_loopback(section) or section.connection is None:
        raise UsageError("media_not_loopback", "the dialer's media address is not a loopback address", field="c=")
    return Endpoint(section.connection.address, section.port, section.port)


def network_line(
    section: MediaSection, proto: str, here: Endpoint, added: Sequence[bytes], path: Path | None, *, cema: bool
) -> MediaSection:
    """The line for the network; `here.rtp_port` is PLACEHOLDER_PORT where we open the connection (MSRP-5, BFCP-2)."""
    lines = [*added] if path is None else [path_line(path), *added]
    if path is not None and cema:
        lines.append(b"a=msrp-cema")
    return _rewritten(section, proto, here, lines)


def dialer_line(
    section: MediaSection, proto: str, here: Endpoint, path: Path | None, setup: SetupRole | None, connection: str
) -> MediaSection:
    """The line for the dialer. BFCP has a=connection (RFC 8856, 6)."""
    lines = [] if path is None else [path_line(path)]
    if setup is not None:
        lines.append(b"a=setup:" + setup.value.encode("ascii"))
    if kind_of(section) is MediaKind.BFCP:
        lines.append(b"a=connection:" + connection.encode("ascii"))
    return _rewritten(section, proto, here, lines)


def bad_setup(detail: str) -> AgentError:
    return UsageError("bad_setup", detail, field="setup")


def placeholder(endpoint: Endpoint) -> Endpoint:
    """The same address where nobody listens."""
    return Endpoint(endpoint.address, PLACEHOLDER_PORT, PLACEHOLDER_PORT)


def _rewritten(section: MediaSection, proto: str, here: Endpoint, lines: Sequence[bytes]) -> MediaSection:
    ours = section.without(lambda attribute: attribute.name in _STREAM_OWNED)
    ours = ours.with_proto(proto).with_port(here.rtp_port).with_own_address(here.address)
    return ours.with_attributes(lines)


def _literal(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return None if text is None else ipaddress.ip_address(text)
    except ValueError:
        return None
