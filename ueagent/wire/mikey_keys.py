"""Key data sub-payloads, the content of a KEMAC: RFC 3830, 6.13 and RFC 6043, 6.13.

Here are keys in the clear: they are read straight into Secrets, and what is written is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ueagent.model.keys import Secret
from ueagent.model.ticket import KeyType
from ueagent.wire.cursor import Reader, Writer
from ueagent.wire.mikey_payloads import Spi, Validity, read_validity, validity_code, write_validity

KEY_DATA: Final = 20
MAX_KEYS: Final = 64  # of one KEMAC


@dataclass(frozen=True, slots=True)
class KeyData:
    """One key. Whoever holds it owns its Secrets."""

    kind: KeyType
    key: Secret
    salt: Secret | None = None
    validity: Validity = None

    @property
    def spi(self) -> bytes | None:
        return self.validity.value if isinstance(self.validity, Spi) else None

    def wipe(self) -> None:
        self.key.wipe()
        if self.salt is not None:
            self.salt.wipe()


def parse_key_data(octets: bytes | bytearray) -> tuple[KeyData, ...]:
    """All keys of a KEMAC, decrypted. MalformedMessage; then what had been read is wiped."""
    reader = Reader(octets)
    keys: list[KeyData] = []
    following = KEY_DATA
    try:
        while following == KEY_DATA:
            if len(keys) == MAX_KEYS:
                raise reader.malformed("too_many", f"more than {MAX_KEYS} keys", "key data")
            following = reader.unsigned(1, "next payload")
            if following not in (0, KEY_DATA):
                raise reader.malformed("unknown_payload", "only key data may follow", "next payload", back=1)
            keys.append(_read_key(reader))
        reader.end("the last key")
    except BaseException:
        for key in keys:
            key.wipe()
        raise
    return tuple(keys)


def _read_key(reader: Reader) -> KeyData:
    word = reader.unsigned(1, "key type")
    if word >> 4 not in KeyType._value2member_map_:
        raise reader.malformed("unknown_key_type", f"key type {word >> 4} is not known", "key type", back=1)
    kind = KeyType(word >> 4)
    key = Secret(reader.view(reader.unsigned(2, "key length"), "key"))
    salt = Secret(reader.view(reader.unsigned(2, "salt length"), "salt")) if kind.salted else None
    return KeyData(kind, key, salt, read_validity(reader, word & 15))


def build_key_data(keys: Sequence[KeyData]) -> Secret:
    """The plaintext of a KEMAC."""
    writer = Writer()
    for place, key in enumerate(keys, 1):
        if key.kind.salted != (key.salt is not None):
            raise ValueError("key type and salt do not agree")
        writer.unsigned(KEY_DATA if place < len(keys) else 0, 1)
        writer.unsigned(key.kind << 4 | validity_code(key.validity), 1)
        writer.block(key.key.reveal(), 2)
        if key.salt is not None:
            writer.block(key.salt.reveal(), 2)
        write_validity(writer, key.validity)
    octets = writer.take()
    secret = Secret(octets)
    octets[:] = bytes(len(octets))
    return secret
