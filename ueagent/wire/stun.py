"""STUN messages as ICE connectivity checks use them. RFC 8489, 5, 9.1, 14; RFC 8445, 16.

     0                   16                  32
    | 00 | message type  | length of the rest |      rest = (type 16 | length 16 | value, padded to 32 bits)*
    | magic cookie 2112a442                   |
    | transaction 96                          |

MESSAGE-INTEGRITY authenticates what stands before it, as if the message ended with it; FINGERPRINT comes last and is
no more than a checksum. What stands between the two, or behind them, nobody vouches for: it is not read.
"""

from __future__ import annotations

import hmac
import zlib
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import ip_address
from typing import Final

from ueagent.model.media import Place
from ueagent.wire.cursor import Reader, Writer

MAGIC_COOKIE: Final = 0x2112A442
HEADER: Final = 20
TRANSACTION_LENGTH: Final = 12
MAX_ATTRIBUTES: Final = 32
OPTIONAL_FROM: Final = 0x8000  # an attribute below it that is not understood makes a request fail

_MAC_LENGTH: Final = 20
_CRC_MASK: Final = 0x5354554E


class StunType(IntEnum):
    """Method Binding, by class."""

    REQUEST = 0x0001
    INDICATION = 0x0011
    SUCCESS = 0x0101
    ERROR = 0x0111


class StunName(IntEnum):
    """Attribute types that somebody here knows."""

    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A


@dataclass(frozen=True, slots=True)
class StunAttribute:
    """`name` is a StunName, or the number of an attribute that nobody here knows."""

    name: int
    value: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class StunMessage:
    """`attributes` are those before MESSAGE-INTEGRITY, in order. `covered` is what the MAC is computed over."""

    type: int
    transaction: bytes
    attributes: tuple[StunAttribute, ...]
    fingerprint: bool  # it had one, and that was right
    covered: bytes = field(default=b"", repr=False)
    mac: bytes | None = field(default=None, repr=False)

    def value(self, name: StunName) -> bytes | None:
        """Of the first attribute so named: later ones do not count (RFC 8489, 14)."""
        return next((one.value for one in self.attributes if one.name == name), None)

    def authentic(self, password: bytes) -> bool:
        """RFC 8489, 9.1.2: short-term credentials, with a password that SASLprep leaves alone."""
        return self.mac is not None and hmac.compare_digest(_mac(password, self.covered), self.mac)


def is_stun(data: bytes) -> bool:
    """RFC 7983, 7: by the first octet."""
    return bool(data) and data[0] <= 3


def parse_stun(data: bytes) -> StunMessage:
    """MalformedMessage: no STUN message of RFC 8489, too many attributes, or a FINGERPRINT that is wrong."""
    reader = Reader(data)
    kind = reader.unsigned(2, "type")
    length = reader.unsigned(2, "length")
    if kind >> 14 or length % 4 or length != len(data) - HEADER:
        raise reader.malformed("not_stun", f"a message of {len(data)} octets says its length is {length}", "length")
    if reader.unsigned(4, "magic cookie") != MAGIC_COOKIE:
        raise reader.malformed("not_stun", "no magic cookie", "magic cookie", back=4)
    transaction = reader.octets(TRANSACTION_LENGTH, "transaction")
    attributes: list[StunAttribute] = []
    covered, mac, fingerprint, count = b"", None, False, 0
    while reader.remaining:
        count += 1
        if count > MAX_ATTRIBUTES:
            raise reader.malformed("too_many_attributes", f"more than {MAX_ATTRIBUTES} attributes", "attribute")
        start = reader.offset
        name = reader.unsigned(2, "attribute type")
        value = reader.block(2, "attribute")
        reader.octets(-len(value) % 4, "padding")
        if name == StunName.FINGERPRINT:
            fingerprint = _checked(data[:start], value, reader)
        elif mac is not None:
            continue
        elif name == StunName.MESSAGE_INTEGRITY:
            if len(value) != _MAC_LENGTH:
                raise reader.malformed("bad_integrity", f"a MAC of {len(value)} octets", "MESSAGE-INTEGRITY")
            covered, mac = _as_if_ending(data[:start], start + 4 + _MAC_LENGTH), value
        else:
            attributes.append(StunAttribute(name, value))
    return StunMessage(kind, transaction, tuple(attributes), fingerprint, covered, mac)


def build_stun(
    kind: StunType, transaction: bytes, attributes: tuple[StunAttribute, ...], password: bytes | None
) -> bytes:
    """With MESSAGE-INTEGRITY where there is a `password`, and always with FINGERPRINT."""
    writer = Writer()
    writer.unsigned(kind, 2)
    writer.unsigned(0, 2)
    writer.unsigned(MAGIC_COOKIE, 4)
    writer.octets(transaction)
    for attribute in attributes:
        _put(writer, attribute)
    message = bytes(writer.take())
    if password is not None:
        covered = _as_if_ending(message, len(message) + 4 + _MAC_LENGTH)
        message = _with(covered, StunAttribute(StunName.MESSAGE_INTEGRITY, _mac(password, covered)))
    covered = _as_if_ending(message, len(message) + 8)
    return _with(covered, StunAttribute(StunName.FINGERPRINT, _crc(covered)))


def mapped_address(place: Place, transaction: bytes) -> StunAttribute:
    """XOR-MAPPED-ADDRESS: `place`, hidden from address rewriters (RFC 8489, 14.2)."""
    address = ip_address(place.address.partition("%")[0])
    mask = MAGIC_COOKIE.to_bytes(4, "big") + transaction
    writer = Writer()
    writer.unsigned(1 if address.version == 4 else 2, 2)
    writer.unsigned(place.port ^ MAGIC_COOKIE >> 16, 2)
    writer.octets(bytes(a ^ b for a, b in zip(address.packed, mask, strict=False)))
    return StunAttribute(StunName.XOR_MAPPED_ADDRESS, bytes(writer.take()))


def error_code(code: int, reason: str) -> StunAttribute:
    """ERROR-CODE (RFC 8489, 14.8)."""
    return StunAttribute(StunName.ERROR_CODE, bytes([0, 0, code // 100, code % 100]) + reason.encode("utf-8"))


def unknown_attributes(names: tuple[int, ...]) -> StunAttribute:
    """UNKNOWN-ATTRIBUTES (RFC 8489, 14.10)."""
    return StunAttribute(StunName.UNKNOWN_ATTRIBUTES, b"".join(name.to_bytes(2, "big") for name in names))


# --------------------------------------------------------------------------------------------------------- helpers --


def _mac(password: bytes, covered: bytes) -> bytes:
    return hmac.digest(password, covered, "sha1")


def _crc(covered: bytes) -> bytes:
    return (zlib.crc32(covered) ^ _CRC_MASK).to_bytes(4, "big")


def _as_if_ending(message: bytes, end: int) -> bytes:
    """`message` with the length that it has when it ends at `end`."""
    return message[:2] + (end - HEADER).to_bytes(2, "big") + message[4:]


def _checked(covered: bytes, value: bytes, reader: Reader) -> bool:
    if reader.remaining or value != _crc(covered):
        raise reader.malformed("bad_fingerprint", "the checksum is wrong, or does not come last", "FINGERPRINT")
    return True


def _put(writer: Writer, attribute: StunAttribute) -> None:
    writer.unsigned(attribute.name, 2)
    writer.block(attribute.value, 2)
    writer.octets(bytes(-len(attribute.value) % 4))


def _with(message: bytes, attribute: StunAttribute) -> bytes:
    writer = Writer()
    writer.octets(message)
    _put(writer, attribute)
    return bytes(writer.take())
