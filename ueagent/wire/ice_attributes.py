"""SDP attributes of ICE, as far as a lite agent needs them. RFC 8839, 5; RFC 8840, 8.

    a=ice-ufrag:<4..256>   a=ice-pwd:<22..256>                                of a medium or, for all, of the session
    a=candidate:<foundation> <component> UDP <priority> <address> <port> typ host
    a=end-of-candidates    a=ice-options:ice2    and, of the session: a=ice-lite

The far side's candidates are not read: who answers checks and sends none learns addresses from the checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ueagent.model.media import Endpoint
from ueagent.wire.sdp import MediaSection

HOST_PREFERENCE: Final = 126  # RFC 8445, 5.1.2.2
LOCAL_PREFERENCE: Final = 65535  # the only address there is

_UFRAG: Final = re.compile(rb"[A-Za-z0-9+/]{4,256}")
_PASSWORD: Final = re.compile(rb"[A-Za-z0-9+/]{22,256}")


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """Short-term credentials of one side. They authenticate checks, not media."""

    ufrag: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IceParameters:
    """What the far side says of ICE for one medium. `lite`: it sends no checks either."""

    credentials: IceCredentials
    lite: bool = False


def read_ice(section: MediaSection) -> IceParameters | None:
    """None: the medium does without ICE, or has no valid credentials, or says that ICE went wrong on the way."""
    ufrag, password = _value(section, "ice-ufrag", _UFRAG), _value(section, "ice-pwd", _PASSWORD)
    if ufrag is None or password is None or section.attribute("ice-mismatch") is not None:
        return None
    return IceParameters(IceCredentials(ufrag, password), section.session.attribute("ice-lite") is not None)


def build_ice(ours: IceCredentials, endpoint: Endpoint) -> list[bytes]:
    """The attribute lines of one medium whose only candidate is `endpoint`, without line endings."""
    ports = {1: endpoint.rtp_port, 2: endpoint.rtcp_port}
    if endpoint.rtp_port == endpoint.rtcp_port:
        del ports[2]
    lines = [f"a=ice-ufrag:{ours.ufrag}", f"a=ice-pwd:{ours.password}", "a=ice-options:ice2"]
    lines += (_candidate(component, endpoint.address, port) for component, port in ports.items())
    return [line.encode("ascii") for line in (*lines, "a=end-of-candidates")]


def in_bundle(groups: Iterable[bytes]) -> tuple[bytes, ...]:
    """The identification tags of the first `BUNDLE ...` among the values of a=group (RFC 9143), or ()."""
    found = (group.split() for group in groups)
    return next((tuple(words[1:]) for words in found if words and words[0] == b"BUNDLE"), ())


def _candidate(component: int, address: str, port: int) -> str:
    priority = HOST_PREFERENCE << 24 | LOCAL_PREFERENCE << 8 | 256 - component
    return f"a=candidate:1 {component} UDP {priority} {address} {port} typ host"


def _value(section: MediaSection, name: str, syntax: re.Pattern[bytes]) -> str | None:
    attribute = section.attribute(name) or section.session.attribute(name)
    match = syntax.fullmatch((attribute.value or b"").strip(b" ")) if attribute is not None else None
    return None if match is None else match[0].decode("ascii")
