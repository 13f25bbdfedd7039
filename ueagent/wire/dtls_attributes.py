"""SDP attributes of a DTLS or TLS association, as typed values.

    a=fingerprint:<hash> <HEX:HEX:...>     RFC 8122, 5        a=tls-id:<20*255 characters>      RFC 8842, 4
    a=setup:active | passive | actpass | holdconn              RFC 4145, 4
    a=connection:new | existing                                RFC 4145, 5

Reading is tolerant (letter case, spaces; DTLS-6), a bad line makes only itself invalid (SDP-13); writing is canonical.
A level that has an attribute of its own overrides the session level for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from ueagent.errors import MalformedMessage
from ueagent.model.security import Fingerprint, SetupRole
from ueagent.wire.sdp import Attribute, MediaSection
from ueagent.wire.sdp_attributes import InvalidAttribute

MAX_FINGERPRINTS: Final = 32  # of one medium; what follows is invalid
MAX_DIGEST: Final = 128  # octets, of a hash function that we do not know

# Octets of the digests whose names are registered (RFC 8122, 5). Known here does not mean accepted.
DIGEST_LENGTHS: Final = MappingProxyType(
    {"md2": 16, "md5": 16, "sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}
)

ConnectionValue = Literal["new", "existing"]

_FINGERPRINT: Final = re.compile(rb"[ \t]*([!#-'*+.0-9A-Z^-~-]+)[ \t]+([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*)[ \t]*")
_TLS_ID: Final = re.compile(rb"[A-Za-z0-9+/_-]{20,255}")


@dataclass(frozen=True, slots=True)
class DtlsParameters:
    """What one medium says about its association; None and () for what it does not say."""

    fingerprints: tuple[Fingerprint, ...] = ()
    setup: SetupRole | None = None
    tls_id: str | None = None
    connection: ConnectionValue | None = None

    def wipe(self) -> None:
        """Nothing in it is secret."""


# --------------------------------------------------------------------------------------------------------- reading --


def read_dtls(section: MediaSection) -> tuple[DtlsParameters, list[InvalidAttribute]]:
    """The parameters that hold for this medium, and the lines that are not valid.

    Of setup, tls-id and connection the first valid line counts and another one is invalid.
    """
    invalid: list[InvalidAttribute] = []
    parameters = DtlsParameters(
        fingerprints=tuple(_all(section, "fingerprint", parse_fingerprint, MAX_FINGERPRINTS, invalid)),
        setup=_first(section, "setup", parse_setup, invalid),
        tls_id=_first(section, "tls-id", parse_tls_id, invalid),
        connection=_first(section, "connection", parse_connection, invalid),
    )
    return parameters, invalid


def parse_fingerprint(value: bytes) -> Fingerprint:
    """The value of one a=fingerprint, any letter case. MalformedMessage: no such value, or a digest of wrong length."""
    match = _FINGERPRINT.fullmatch(value)
    if match is None:
        raise _bad("fingerprint", "bad_syntax", "not `hash HEX:HEX:...`")
    name = match[1].decode("ascii").lower()
    digest = bytes.fromhex(match[2].replace(b":", b"").decode("ascii"))
    wanted = DIGEST_LENGTHS.get(name)
    if (wanted is not None and len(digest) != wanted) or len(digest) > MAX_DIGEST:
        raise _bad("fingerprint", "bad_digest_length", f"a digest of {len(digest)} octets")
    return Fingerprint(name, digest)


def parse_setup(value: bytes) -> SetupRole:
    """The value of one a=setup, any letter case. MalformedMessage: another word."""
    try:
        return SetupRole(value.strip(b" \t").lower().decode("latin-1"))
    except ValueError:
        raise _bad("setup", "bad_setup", "not active, passive, actpass or holdconn") from None


def parse_tls_id(value: bytes) -> str:
    """The value of one a=tls-id. MalformedMessage: too short, too long, or another character (DTLS-3)."""
    found = _TLS_ID.fullmatch(value.strip(b" \t"))
    if found is None:
        raise _bad("tls-id", "bad_tls_id", "not 20 to 255 of letters, digits, + / - _")
    return found[0].decode("ascii")


def parse_connection(value: bytes) -> ConnectionValue:
    """The value of one a=connection, any letter case. MalformedMessage: another word."""
    word = value.strip(b" \t").lower()
    if word == b"new":
        return "new"
    if word == b"existing":
        return "existing"
    raise _bad("connection", "bad_connection", "not new or existing")


# --------------------------------------------------------------------------------------------------------- writing --


def build_dtls(parameters: DtlsParameters) -> list[bytes]:
    """The attribute lines, without line endings, in the order of RFC 8842's examples."""
    lines = [] if parameters.setup is None else [f"a=setup:{parameters.setup.value}"]
    lines += [] if parameters.connection is None else [f"a=connection:{parameters.connection}"]
    lines += [] if parameters.tls_id is None else [f"a=tls-id:{parameters.tls_id}"]
    lines += [f"a=fingerprint:{one.hash} {one.digest.hex(':').upper()}" for one in parameters.fingerprints]
    return [line.encode("ascii") for line in lines]


# --------------------------------------------------------------------------------------------------------- helpers --

_T = TypeVar("_T")


def _bad(name: str, code: str, detail: str) -> MalformedMessage:
    return MalformedMessage(code, detail, field=name)


def _lines(section: MediaSection, name: str) -> tuple[Attribute, ...]:
    return section.attributes_named(name) or section.session.attributes_named(name)


def _all(
    section: MediaSection,
    name: str,
    parse: Callable[[bytes], _T],
    limit: int,
    invalid: list[InvalidAttribute],
) -> list[_T]:
    valid: list[_T] = []
    for attribute in _lines(section, name):
        try:
            if len(valid) >= limit:
                raise _bad(name, "too_many_lines", f"more than {limit} of them")
            valid.append(parse(attribute.value or b""))
        except MalformedMessage as error:
            invalid.append(InvalidAttribute(name, attribute.offset, error.code, error.detail))
    return valid


def _first(
    section: MediaSection, name: str, parse: Callable[[bytes], _T], invalid: list[InvalidAttribute]
) -> _T | None:
    return next(iter(_all(section, name, parse, 1, invalid)), None)
