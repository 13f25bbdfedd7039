"""HTTP Digest with AKA: algorithm AKAv1-MD5, both sides. RFC 3310, RFC 2617, 3.2; KMS-1.

    nonce = base64(RAND || AUTN || server data)       password = RES, as octets

A synchronisation failure answers with `auts` and an empty password. Only MD5 with qop=auth-int is spoken: it is what
TS 24.109 asks for on Ub. MD5 is the algorithm's; nothing else here rests on it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from ueagent.errors import AuthenticationFailed, MalformedMessage
from ueagent.model.keys import Secret

ALGORITHM: Final = "AKAv1-MD5"
QOP: Final = "auth-int"
RAND_LENGTH: Final = 16
AUTN_LENGTH: Final = 16
AUTS_LENGTH: Final = 14
NONCE_COUNT: Final = "00000001"  # a challenge is answered once
NO_PASSWORD: Final = b""

_MAX_HEADER: Final = 4096
_PAIR: Final = re.compile(r'\s*([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')


# ------------------------------------------------------------------------------------------------------------- USIM --


@dataclass(frozen=True, slots=True, eq=False)
class AkaKeys:
    """What a USIM makes of a challenge whose AUTN is good. Whoever holds it wipes it."""

    res: Secret
    ck: Secret
    ik: Secret

    def wipe(self) -> None:
        for key in (self.res, self.ck, self.ik):
            key.wipe()


@dataclass(frozen=True, slots=True)
class SyncFailure:
    """AUTN is authentic and its sequence number is not fresh: 14 octets for the network. TS 33.102, 6.3.5."""

    auts: bytes


class Usim(Protocol):
    def authenticate(self, rand: bytes, autn: bytes) -> AkaKeys | SyncFailure:
        """16 octets each. AuthenticationFailed `aka_mac`: the network does not know our key. KMS-7."""

    def wipe(self) -> None:
        """Forgets its key, where it has one at hand."""


# -------------------------------------------------------------------------------------------------------- challenge --


@dataclass(frozen=True, slots=True)
class Challenge:
    realm: str
    nonce: str
    opaque: str | None
    rand: bytes
    autn: bytes


def build_nonce(rand: bytes, autn: bytes, server_data: bytes = b"") -> str:
    """RFC 3310, 3.2."""
    return base64.b64encode(rand + autn + server_data).decode("ascii")


def build_challenge(realm: str, nonce: str, opaque: str | None = None) -> str:
    """The value of WWW-Authenticate."""
    extra = "" if opaque is None else f', opaque="{opaque}"'
    return f'Digest realm="{realm}", nonce="{nonce}", qop="{QOP}", algorithm={ALGORITHM}{extra}'


def parse_challenge(header: str) -> Challenge:
    """A WWW-Authenticate value with AKAv1-MD5 and auth-int, or MalformedMessage."""
    fields = parse_digest(header)
    if fields.get("algorithm", "").lower() != ALGORITHM.lower():
        raise MalformedMessage("aka_algorithm", f"a challenge of another algorithm than {ALGORITHM}", field="algorithm")
    if QOP not in [word.strip() for word in fields.get("qop", "").split(",")]:
        raise MalformedMessage("aka_qop", f"a challenge without {QOP}", field="qop")
    nonce = fields.get("nonce", "")
    octets = _decode(nonce)
    if octets is None or len(octets) < RAND_LENGTH + AUTN_LENGTH:
        raise MalformedMessage("aka_nonce", "the nonce holds no RAND and AUTN", field="nonce")
    rand, autn = octets[:RAND_LENGTH], octets[RAND_LENGTH : RAND_LENGTH + AUTN_LENGTH]
    return Challenge(fields.get("realm", ""), nonce, fields.get("opaque"), rand, autn)


# ---------------------------------------------------------------------------------------------------- authorization --


@dataclass(frozen=True, slots=True)
class Authorization:
    """A parsed Authorization value; `auts` only after a synchronisation failure."""

    username: str
    realm: str
    nonce: str
    uri: str
    cnonce: str = field(repr=False)
    nc: str
    response: str = field(repr=False)
    auts: bytes | None = None


def build_first_authorization(username: str, realm: str, uri: str) -> str:
    """What tells the server who asks, before any challenge. TS 24.109, 4.2; KMS-1."""
    return f'Digest username="{username}", realm="{realm}", nonce="", uri="{uri}", response=""'


def build_authorization(
    challenge: Challenge, username: str, method: str, uri: str, body: bytes, password: bytes | bytearray, cnonce: str,
    auts: bytes | None = None,
) -> str:  # fmt: skip
    """The answer to `challenge`. The password is RES, or NO_PASSWORD together with `auts`."""
    response = digest(
        username, challenge.realm, password, challenge.nonce, NONCE_COUNT, cnonce, f"{method}:{uri}", body
    )
    quoted = {
        "username": username,
        "realm": challenge.realm,
        "nonce": challenge.nonce,
        "uri": uri,
        "cnonce": cnonce,
        "response": response,
    }
    if challenge.opaque is not None:
        quoted["opaque"] = challenge.opaque
    if auts is not None:
        quoted["auts"] = base64.b64encode(auts).decode("ascii")
    pairs = ", ".join(f'{name}="{value}"' for name, value in quoted.items())
    return f"Digest {pairs}, qop={QOP}, nc={NONCE_COUNT}, algorithm={ALGORITHM}"


def parse_authorization(header: str) -> Authorization:
    """An Authorization value, the first one without a response included, or MalformedMessage."""
    fields = parse_digest(header)
    auts = fields.get("auts")
    octets = None if auts is None else _decode(auts)
    if auts is not None and (octets is None or len(octets) != AUTS_LENGTH):
        raise MalformedMessage("aka_auts", "auts that is no AUTS", field="auts")
    return Authorization(
        username=fields.get("username", ""),
        realm=fields.get("realm", ""),
        nonce=fields.get("nonce", ""),
        uri=fields.get("uri", ""),
        cnonce=fields.get("cnonce", ""),
        nc=fields.get("nc", ""),
        response=fields.get("response", ""),
        auts=octets,
    )


def verifies(given: Authorization, method: str, body: bytes, password: bytes | bytearray) -> bool:
    """Whether the client knew the password. The server has compared uri, nonce and nc before."""
    expected = digest(
        given.username, given.realm, password, given.nonce, given.nc, given.cnonce, f"{method}:{given.uri}", body
    )
    return hmac.compare_digest(expected.encode(), given.response.encode())


# ---------------------------------------------------------------------------------------------- authentication info --


def build_info(given: Authorization, body: bytes, password: bytes | bytearray) -> str:
    """Authentication-Info: the server knew the password too, and `body` is its own. RFC 2617, 3.2.3."""
    proof = digest(given.username, given.realm, password, given.nonce, given.nc, given.cnonce, f":{given.uri}", body)
    return f'qop={QOP}, rspauth="{proof}", cnonce="{given.cnonce}", nc={given.nc}'


def check_info(header: str, authorization: str, body: bytes, password: bytes | bytearray) -> None:
    """`authorization` is what we sent. AuthenticationFailed when the server's proof does not fit it and `body`."""
    given = parse_authorization(authorization)
    proof = parse_digest(f"Digest {header}").get("rspauth", "")
    expected = digest(given.username, given.realm, password, given.nonce, given.nc, given.cnonce, f":{given.uri}", body)
    if not hmac.compare_digest(expected.encode(), proof.encode()):
        raise AuthenticationFailed("aka_server", "the server has not proven that it knows the key")


def digest(
    username: str, realm: str, password: bytes | bytearray, nonce: str, nc: str, cnonce: str, a2: str, body: bytes
) -> str:
    """RFC 2617, 3.2.2 with qop=auth-int; `a2` is `method:uri`, or `:uri` for rspauth."""
    ha1 = _md5(f"{username}:{realm}:".encode() + password)
    ha2 = _md5(f"{a2}:{_md5(body)}".encode())
    return _md5(f"{ha1}:{nonce}:{nc}:{cnonce}:{QOP}:{ha2}".encode())


def parse_digest(header: str) -> Mapping[str, str]:
    """The parameters of a Digest header, names in lower case, or MalformedMessage."""
    scheme, _, rest = header[: _MAX_HEADER + 1].strip().partition(" ")
    if scheme.lower() != "digest" or len(header) > _MAX_HEADER:
        raise MalformedMessage("digest_syntax", "not a Digest header", field="Digest")
    fields: dict[str, str] = {}
    place = 0
    rest = rest.strip()
    while place < len(rest):
        match = _PAIR.match(rest, place)
        if match is None or match[1].lower() in fields:
            raise MalformedMessage("digest_syntax", "parameters that do not parse", field="Digest", offset=place)
        quoted, token = match[2], match[3]
        fields[match[1].lower()] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        place = match.end()
    return fields


def _md5(octets: bytes | bytearray) -> str:
    return hashlib.md5(octets, usedforsecurity=False).hexdigest()


def _decode(text: str) -> bytes | None:
    """Base64, or None. Padding that is missing or too much is forgiven: RFC 3310's own examples have too much."""
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
