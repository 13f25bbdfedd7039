"""MSRP in SDP: `a=path`, `a=accept-types` and `a=msrp-cema`. RFC 4975, 6 and 8.6; RFC 6714, 4; MSRP-2, MSRP-10.

    a=path:msrps://host:port/session-id;tcp [more URIs: relays on the way, nearest first]

Of a URI only what identifies it is kept; user parts and parameters after the transport stay in `text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from ueagent.errors import MalformedMessage

MAX_URIS: Final = 8  # relays on one path
MAX_URI: Final = 512
SESSION_ID_OCTETS: Final = 18  # 144 bits in 24 characters; RFC 4975, 14.1 wants 80
PLACEHOLDER_PORT: Final = 9  # of who is active (RFC 4145, 4)

_URI: Final = re.compile(
    rb"(?P<scheme>msrps?)://(?:[A-Za-z0-9\-._~!$&'()*+,;=%:]+@)?"
    rb"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%]+)(?::(?P<port>[0-9]{1,5}))?"
    rb"(?:/(?P<session>[A-Za-z0-9\-._~+=/]+))?;(?P<transport>[A-Za-z0-9\-]+)(?:;[\x21-\x7e]*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class MsrpUri:
    """One URI. Two are the same when everything here is (RFC 4975, 6.1); `host` is lower case, without brackets."""

    secure: bool
    host: str
    port: int | None
    session_id: str
    transport: str = "tcp"

    def build(self) -> bytes:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        session = f"/{self.session_id}" if self.session_id else ""
        return f"{'msrps' if self.secure else 'msrp'}://{host}{port}{session};{self.transport}".encode("ascii")

    def __repr__(self) -> str:
        """Without the session-id: who knows it may take part in the session."""
        return f"<MsrpUri {'msrps' if self.secure else 'msrp'}://{self.host}:{self.port}>"


def new_uri(address: str, port: int, rng: Callable[[int], bytes], *, secure: bool) -> MsrpUri:
    """A URI with a session-id that nobody guesses (MSRP-2). `rng(n)` gives n unpredictable octets."""
    return MsrpUri(secure, str(ip_address(address)), port, rng(SESSION_ID_OCTETS).hex())


def parse_uri(text: bytes) -> MsrpUri:
    """MalformedMessage: no MSRP URI with a transport."""
    match = _URI.fullmatch(text) if len(text) <= MAX_URI else None
    port = None if match is None or match["port"] is None else int(match["port"])
    if match is None or (port is not None and not 0 < port <= 65535):
        raise _bad("bad_uri", "not `msrp://host:port/session;tcp`")
    host = match["host"].decode("ascii").lower()
    if host.startswith("["):
        try:
            host = str(IPv6Address(host[1:-1]))
        except ValueError:
            raise _bad("bad_uri", "the host is no IPv6 address") from None
    return MsrpUri(
        match["scheme"].lower() == b"msrps",
        host,
        port,
        (match["session"] or b"").decode("ascii"),
        match["transport"].decode("ascii").lower(),
    )


def parse_path(value: bytes) -> tuple[MsrpUri, ...]:
    """The value of a=path, To-Path or From-Path: the nearest hop first, whom it is about last.

    MalformedMessage: none, too many, or something else among them.
    """
    texts = value.split()
    if not 0 < len(texts) <= MAX_URIS:
        raise _bad("bad_path", f"{len(texts)} URIs, wanted 1 to {MAX_URIS}")
    return tuple(parse_uri(text) for text in texts)


def build_path(path: tuple[MsrpUri, ...]) -> bytes:
    return b" ".join(uri.build() for uri in path)


def path_line(path: tuple[MsrpUri, ...]) -> bytes:
    """`a=path`, without line ending."""
    return b"a=path:" + build_path(path)


def _bad(code: str, detail: str) -> MalformedMessage:
    return MalformedMessage(code, detail, field="path")
