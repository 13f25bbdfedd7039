"""Key derivation of MIKEY: the PRF of RFC 3830, 4.1.2 and RFC 6043, 6.1, and every label that RFC 6043 feeds it.

Only the lengths and values of random values enter, never whole payloads. Keys come in and go out as Secrets.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ueagent.model.keys import Secret

HASHES: Final = MappingProxyType({0: ("sha1", 20), 1: ("sha256", 32)})  # PRF function -> hash, output octets
MACS: Final = MappingProxyType({1: ("sha1", 20), 2: ("sha256", 32)})  # MAC algorithm -> hash, output octets

_BLOCK: Final = 32  # octets of inkey that one P gets, whatever the hash: RFC 3830, 4.1.2

# RFC 3830, 4.1.3 and 4.1.4
_ENCRYPTION: Final = 0x150533E1
_AUTHENTICATION: Final = 0x2D22AC75
_SALT: Final = 0x29B88916
_TEK: Final = 0x2AD01C64
_SESSION_SALT: Final = 0x39A2C14B
# RFC 6043, 5.1.1 and A.2.2
_FORK_MPKR: Final = 0x2B288856
_FORK_TGK: Final = 0x1512B54A
_MPKI: Final = 0x220E99A2
_MPKR: Final = 0x1F4D675B

_NO_CS: Final = b"\xff"
_NO_CSB: Final = b"\xff\xff\xff\xff"

SALT_LENGTH: Final = 14  # octets of the salt key of messages


def derive(prf: int, inkey: Secret, label: bytes, length: int) -> Secret:
    """PRF(inkey, label) of `length` octets."""
    name, size = HASHES[prf]
    key = inkey.reveal()
    out = bytearray(length)
    for start in range(0, max(len(key), 1), _BLOCK):
        block = key[start : start + _BLOCK]
        a = label
        for place in range(0, length, size):
            a = hmac.digest(block, a, name)
            part = hmac.digest(block, a + label, name)
            for i, octet in enumerate(part[: length - place], place):
                out[i] ^= octet
        block[:] = bytes(len(block))
    secret = Secret(out)
    out[:] = bytes(length)
    return secret


def mac(algorithm: int, key: Secret, data: bytes) -> bytes:
    """The MAC of a V payload (RFC 3830, 6.9), never cut short."""
    return hmac.digest(key.reveal(), data, MACS[algorithm][0])


def same(one: bytes, other: bytes) -> bool:
    """Whether two MACs agree, in constant time."""
    return hmac.compare_digest(one, other)


def _short(value: bytes) -> bytes:
    return bytes((len(value),)) + value


def _label(constant: int, cs: bytes, csb: bytes, rest: bytes) -> bytes:
    return constant.to_bytes(4, "big") + cs + csb + rest


@dataclass(frozen=True, slots=True, eq=False)
class MessageKeys:
    """What protects one message. `encryption` and `salt` are for its KEMAC."""

    authentication: Secret
    encryption: Secret
    salt: Secret

    def wipe(self) -> None:
        for key in (self.authentication, self.encryption, self.salt):
            key.wipe()


def _message_keys(prf: int, inkey: Secret, csb: bytes, rest: bytes, mac_algorithm: int, key_length: int) -> MessageKeys:
    return MessageKeys(
        derive(prf, inkey, _label(_AUTHENTICATION, _NO_CS, csb, rest), MACS[mac_algorithm][1]),
        derive(prf, inkey, _label(_ENCRYPTION, _NO_CS, csb, rest), key_length),
        derive(prf, inkey, _label(_SALT, _NO_CS, csb, rest), SALT_LENGTH if key_length else 0),
    )


def message_keys(
    prf: int,
    inkey: Secret,
    csb_id: int,
    rand_i: bytes,
    rand_r: bytes,
    *,
    response: bool,
    mac_algorithm: int,
    key_length: int,
) -> MessageKeys:
    """Keys of a message from a PSK, MPKi or MPKr' (RFC 6043, 5.1.2). `key_length` 0: no KEMAC, no key for it.

    An absent random value is empty. The PRF is the one of the header.
    """
    rest = (b"\x02" if response else b"\x01") + _short(rand_i) + _short(rand_r)
    return _message_keys(prf, inkey, csb_id.to_bytes(4, "big"), rest, mac_algorithm, key_length)


def ticket_keys(prf: int, tpk: Secret, rand: bytes, *, mac_algorithm: int, key_length: int) -> MessageKeys:
    """Keys of Ticket Data from the TPK (RFC 6043, A.2.1). The PRF is the one of the ticket policy."""
    return _message_keys(prf, tpk, _NO_CSB, b"\x05" + _short(rand), mac_algorithm, key_length)


def message_protection_keys(prf: int, mpk: Secret, rand: bytes) -> tuple[Secret, Secret]:
    """MPKi and MPKr from the MPK in a ticket (RFC 6043, A.2.2)."""
    rest = b"\x06" + _short(rand)
    mpki = derive(prf, mpk, _label(_MPKI, _NO_CS, _NO_CSB, rest), len(mpk))
    return mpki, derive(prf, mpk, _label(_MPKR, _NO_CS, _NO_CSB, rest), len(mpk))


def initiator_data_key(prf: int, mpkr: Secret, mac_algorithm: int) -> Secret:
    """What authenticates Initiator Data, from the unforked MPKr (RFC 6043, 6.10). PRF of the ticket policy."""
    return derive(prf, mpkr, _label(_AUTHENTICATION, _NO_CS, _NO_CSB, b"\x04"), MACS[mac_algorithm][1])


def _fork(constant: int, prf: int, key: Secret, identity: bytes, rand_kms: bytes) -> Secret:
    rest = b"\x00" + len(identity).to_bytes(2, "big") + identity + _short(rand_kms)
    return derive(prf, key, _label(constant, _NO_CS, _NO_CSB, rest), len(key))


def fork_mpkr(prf: int, mpkr: Secret, identity: bytes, rand_kms: bytes) -> Secret:
    """MPKr' (RFC 6043, 5.1.1). `identity` is ID data of IDRr; its length has 16 bits. PRF of the ticket policy."""
    return _fork(_FORK_MPKR, prf, mpkr, identity, rand_kms)


def fork_tgk(prf: int, tgk: Secret, identity: bytes, rand_kms: bytes) -> Secret:
    """TGK' (RFC 6043, 5.1.1)."""
    return _fork(_FORK_TGK, prf, tgk, identity, rand_kms)


def session_key(prf: int, tgk: Secret, cs_id: int, rand_i: bytes, rand_r: bytes, length: int) -> Secret:
    """The TEK of a crypto session (RFC 6043, 5.1.3). `rand_i` is empty without flag H, `rand_r` without G."""
    return derive(prf, tgk, _session_label(_TEK, cs_id, rand_i, rand_r), length)


def session_salt(prf: int, tgk: Secret, cs_id: int, rand_i: bytes, rand_r: bytes, length: int) -> Secret:
    """The master salt of a crypto session, for keys that came without one."""
    return derive(prf, tgk, _session_label(_SESSION_SALT, cs_id, rand_i, rand_r), length)


def _session_label(constant: int, cs_id: int, rand_i: bytes, rand_r: bytes) -> bytes:
    return _label(constant, bytes((cs_id,)), _NO_CSB, b"\x03" + _short(rand_i) + _short(rand_r))
