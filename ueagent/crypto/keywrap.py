"""Encryption of KEMAC payloads (RFC 3830, 4.2.3; RFC 6043, 6.2) and AES key wrap (RFC 3394)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from ueagent.errors import AuthenticationFailed
from ueagent.model.keys import Secret

# KEMAC encryption algorithm -> octets of its key
AES_CM_128: Final = 1
AES_KW_128: Final = 2
AES_CM_256: Final = 3
KEY_LENGTH: Final = MappingProxyType({AES_CM_128: 16, AES_KW_128: 16, AES_CM_256: 32})

MAX_PLAINTEXT: Final = 1 << 20  # octets, 2^23 bits: RFC 3830, 4.2.3


def kemac_iv(salt: Secret, csb_id: int, time: int) -> bytes:
    """(salt XOR (0x0000 || CSB ID || T)) || 0x0000; `time` is the 64-bit form of T. RFC 3830, 4.2.3."""
    mask = bytes(2) + csb_id.to_bytes(4, "big") + time.to_bytes(8, "big")
    return bytes(a ^ b for a, b in zip(salt.reveal(), mask, strict=True)) + bytes(2)


def counter_mode(key: Secret, iv: bytes, data: bytes | bytearray) -> bytearray:
    """AES in counter mode: encrypts and decrypts. The caller owns and wipes what comes out."""
    if len(data) > MAX_PLAINTEXT:
        raise ValueError("too long for one IV")
    cipher = Cipher(algorithms.AES(bytes(key.reveal())), modes.CTR(iv)).encryptor()
    return bytearray(cipher.update(data) + cipher.finalize())


def encrypt(algorithm: int, key: Secret, iv: bytes, plaintext: Secret) -> bytes:
    """The encrypted data of a KEMAC. KeyError for an algorithm without a row; `iv` is not used by key wrap."""
    if len(key) != KEY_LENGTH[algorithm]:
        raise ValueError("key of another length than its algorithm")
    if algorithm == AES_KW_128:
        return wrap(key, plaintext)
    return bytes(counter_mode(key, iv, plaintext.reveal()))


def decrypt(algorithm: int, key: Secret, iv: bytes, data: bytes) -> Secret:
    """What `encrypt` hid. Counter mode has no integrity: the V payload must have been verified."""
    if len(key) != KEY_LENGTH[algorithm]:
        raise ValueError("key of another length than its algorithm")
    if algorithm == AES_KW_128:
        return unwrap(key, data)
    octets = counter_mode(key, iv, data)
    secret = Secret(octets)
    octets[:] = bytes(len(octets))
    return secret


def wrap(kek: Secret, key: Secret) -> bytes:
    """AES key wrap of a key of 16 octets or more, in multiples of 8, with the initial value A6... RFC 3394, 2.2.1."""
    return aes_key_wrap(bytes(kek.reveal()), bytes(key.reveal()))


def unwrap(kek: Secret, wrapped: bytes) -> Secret:
    """AuthenticationFailed when the integrity check fails or the length cannot be. RFC 3394, 2.2.2."""
    try:
        return Secret(aes_key_unwrap(bytes(kek.reveal()), wrapped))
    except (InvalidUnwrap, ValueError) as error:
        raise AuthenticationFailed("key_unwrap", "a wrapped key does not open") from error
