"""a=key-mgmt (RFC 4567, 3.1): `a=key-mgmt:<protocol> <base64>`, and the list of protocols that MIKEY authenticates.

The protocol identifier is case-sensitive; at most one space stands before it. A line of a protocol that is not `mikey`
keeps its place in the list, because the list is what protects against bidding down (RFC 4567, 4.1.3 and 7.1).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ueagent.errors import MalformedMessage
from ueagent.wire.mikey import MAX_MESSAGE

MIKEY: Final = "mikey"
_LINE: Final = re.compile(rb" ?([!#-'*+\-.0-9A-Z^-~]+) +([A-Za-z0-9+/]+={0,2})[ \t]*")


@dataclass(frozen=True, slots=True)
class KeyMgmt:
    """One a=key-mgmt. `data` is the message itself, without base64; a MIKEY message holds no key in the clear."""

    protocol: str
    data: bytes

    @property
    def is_mikey(self) -> bool:
        return self.protocol == MIKEY


def parse_key_mgmt(value: bytes) -> KeyMgmt:
    """The value of one a=key-mgmt (what follows the colon). MalformedMessage without any of its text."""
    match = _LINE.fullmatch(value)
    if match is None:
        raise MalformedMessage("key_mgmt_syntax", "not `protocol base64`", field="key-mgmt")
    if len(match[2]) > MAX_MESSAGE * 4 // 3 + 4:
        raise MalformedMessage("too_long", f"{len(match[2])} characters of base64", field="key-mgmt")
    try:
        return KeyMgmt(match[1].decode("ascii"), base64.b64decode(match[2], validate=True))
    except binascii.Error as error:
        raise MalformedMessage("key_mgmt_base64", "the base64 text is broken", field="key-mgmt") from error


def build_key_mgmt(value: KeyMgmt) -> bytes:
    """The value as canonical text: `mikey` SP base64, unbroken."""
    return value.protocol.encode("ascii") + b" " + base64.b64encode(value.data)


def protocol_list(values: Sequence[KeyMgmt]) -> bytes:
    """What the SDP IDs extension (type 1) holds: offered identifiers in SDP order, joined by `;`. RFC 4567, 7.1."""
    return ";".join(value.protocol for value in values).encode("ascii")


def message_octets(body: bytes) -> tuple[bytes, bool]:
    """A MIKEY message from an HTTP or MIME body, raw or base64, and whether it was base64 (KMS-11).

    A MIKEY message begins with octet 01; no base64 text does.
    """
    if body[:1] == b"\x01":
        return body, False
    if len(body) > 2 * MAX_MESSAGE:
        raise MalformedMessage("too_long", f"{len(body)} octets", field="body", offset=0)
    try:
        return base64.b64decode(b"".join(body.split()), validate=True), True
    except binascii.Error as error:
        raise MalformedMessage("body", "neither a MIKEY message nor base64", field="body", offset=0) from error
