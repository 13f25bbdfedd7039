"""Lines of MSRP, BFCP and T.38 at the lab edge: what changes between UE and core (EDGE-13, EDGE-14, EDGE-15).

Setup roles pass through: whoever of UE and core opens the connection, the gateway accepts it and opens the other one.
Of an MSRP path only scheme, address and port change, so that messages may pass as they are (RFC 6714, 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Final

from ueagent.model.media import STREAM_KINDS, Endpoint, MediaKind, transport_named
from ueagent.model.security import SetupRole
from ueagent.wire.dtls_attributes import read_dtls
from ueagent.wire.msrp_attributes import PLACEHOLDER_PORT, MsrpUri, parse_path, path_line
from ueagent.wire.sdp import MediaSection, Sdp

TOKENS: Final = MappingProxyType(
    {MediaKind.MSRP: "msrp-tls", MediaKind.BFCP: "bfcp-tls", MediaKind.UDPTL: "udptl-dtls"}
)
SECURE: Final = MappingProxyType({"TCP/MSRP": "TCP/TLS/MSRP", "TCP/BFCP": "TCP/TLS/BFCP", "udptl": "UDP/TLS/UDPTL"})
_KINDS: Final = MappingProxyType({"MSRP": MediaKind.MSRP, "BFCP": MediaKind.BFCP, "UDPTL": MediaKind.UDPTL})
_OURS: Final = ("3ge2ae", "fingerprint", "tls-id")


def stream_kind(section: MediaSection) -> MediaKind | None:
    """The kind of such a line in a transport that the edge knows, plain or secure."""
    transport = transport_named(section.proto)
    if transport is None or transport.plain not in SECURE:
        return None
    return _KINDS[transport.plain.rpartition("/")[2].upper()]


def stream_lines(sdp: Sdp) -> list[int]:
    """The media lines in use that are of these kinds."""
    return [at for at, section in enumerate(sdp.media) if section.port and stream_kind(section) in STREAM_KINDS]


def opens(section: MediaSection, *, answer: bool) -> bool:
    """Whether who wrote this line opens the connection: an answer without a role waits (RFC 4145, 4.1)."""
    setup = read_dtls(section)[0].setup
    return setup is SetupRole.ACTIVE or (not answer and setup is None)


def to_core(section: MediaSection, proto: str) -> MediaSection:
    """Without what belongs to the access; T.38 in plain has no roles."""
    gone = (*_OURS, "setup", "connection") if stream_kind(section) is MediaKind.UDPTL else _OURS
    return _scheme(section.without_attributes(*gone).with_proto(proto), secure=False)


def to_ue(section: MediaSection, proto: str, attributes: Iterable[bytes]) -> MediaSection:
    """With ours; a role among them is for T.38 only, where the core has none."""
    kept = [line for line in attributes if stream_kind(section) is MediaKind.UDPTL or not line.startswith(b"a=setup")]
    return _scheme(section.without_attributes(*_OURS).with_proto(proto), secure=True).with_attributes(kept)


def moved(section: MediaSection, endpoint: Endpoint) -> MediaSection:
    """At the gateway's endpoint; port 9 stays, since nobody connects there."""
    port = PLACEHOLDER_PORT if section.port == PLACEHOLDER_PORT else endpoint.rtp_port
    section = section.with_port(port).with_address(endpoint.address)

    def at_gateway(uri: MsrpUri) -> MsrpUri:
        return MsrpUri(uri.secure, endpoint.address, port, uri.session_id, uri.transport)

    return _with_path(section, at_gateway)


def remote_of(section: MediaSection) -> Endpoint | None:
    """Where the line says that it is reached."""
    here = section.connection
    return None if here is None or section.legacy_hold else Endpoint(here.address, section.port, section.port)


def _scheme(section: MediaSection, *, secure: bool) -> MediaSection:
    return _with_path(section, lambda uri: MsrpUri(secure, uri.host, uri.port, uri.session_id, uri.transport))


def _with_path(section: MediaSection, change: Callable[[MsrpUri], MsrpUri]) -> MediaSection:
    attribute = section.attribute("path")
    if attribute is None:
        return section
    path = tuple(change(uri) for uri in parse_path(attribute.value or b""))
    return section.with_attributes([path_line(path)], replacing=("path",))
