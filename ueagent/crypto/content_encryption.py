"""AEAD of message contents: AES-GCM and AES-CCM with the nonces and tags of RFC 5084. MIME-7, MIME-9.

The key goes in as a Secret; the library takes a copy that it does not wipe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from ueagent.errors import AuthenticationFailed
from ueagent.model.keys import Secret

_Encrypt = Callable[[bytes, bytes, bytes, bytes, int], tuple[bytes, bytes]]  # key, nonce, data, aad, tag length
_Decrypt = Callable[[bytes, bytes, bytes, bytes, bytes], bytes]  # key, nonce, data, aad, tag; raises InvalidTag


def _gcm_encrypt(key: bytes, nonce: bytes, data: bytes, aad: bytes, tag_length: int) -> tuple[bytes, bytes]:
    cipher = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    cipher.authenticate_additional_data(aad)
    return cipher.update(data) + cipher.finalize(), cipher.tag[:tag_length]


def _gcm_decrypt(key: bytes, nonce: bytes, data: bytes, aad: bytes, tag: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.GCM(nonce, tag, min_tag_length=len(tag))).decryptor()
    cipher.authenticate_additional_data(aad)
    plain = cipher.update(data)
    return plain + cipher.finalize()  # InvalidTag leaves nothing to the caller


def _ccm_encrypt(key: bytes, nonce: bytes, data: bytes, aad: bytes, tag_length: int) -> tuple[bytes, bytes]:
    sealed = AESCCM(key, tag_length=tag_length).encrypt(nonce, data, aad)
    return sealed[: len(data)], sealed[len(data) :]


def _ccm_decrypt(key: bytes, nonce: bytes, data: bytes, aad: bytes, tag: bytes) -> bytes:
    return AESCCM(key, tag_length=len(tag)).decrypt(nonce, data + tag, aad)


@dataclass(frozen=True, slots=True)
class ContentAlgorithm:
    """One row: `nonce_length` is what we send, the ranges are what RFC 5084 allows and policy accepts, in octets."""

    name: str
    key_length: int
    nonce_length: int
    nonce_lengths: range
    tag_lengths: tuple[int, ...]
    encrypt: _Encrypt
    decrypt: _Decrypt


TAG_LENGTH: Final = 16  # sent explicitly, MIME-9
_GCM_NONCES: Final = range(12, 13)  # others go through GHASH and may collide: RFC 5084, 3.2 recommends 12
_CCM_NONCES: Final = range(7, 14)
_GCM_TAGS: Final = (12, 13, 14, 15, 16)
_CCM_TAGS: Final = (8, 10, 12, 14, 16)  # RFC 5084, 3.1 also has 4 and 6: too short, MIME-9

ALGORITHMS: Final = MappingProxyType(
    {
        row.name: row
        for row in (
            ContentAlgorithm("aes128-GCM", 16, 12, _GCM_NONCES, _GCM_TAGS, _gcm_encrypt, _gcm_decrypt),
            ContentAlgorithm("aes256-GCM", 32, 12, _GCM_NONCES, _GCM_TAGS, _gcm_encrypt, _gcm_decrypt),
            ContentAlgorithm("aes128-CCM", 16, 12, _CCM_NONCES, _CCM_TAGS, _ccm_encrypt, _ccm_decrypt),
            ContentAlgorithm("aes256-CCM", 32, 12, _CCM_NONCES, _CCM_TAGS, _ccm_encrypt, _ccm_decrypt),
        )
    }
)


def encrypt(
    algorithm: ContentAlgorithm, key: Secret, nonce: bytes, data: bytes, aad: bytes = b"", tag_length: int = TAG_LENGTH
) -> tuple[bytes, bytes]:
    """Ciphertext, as long as `data`, and tag. ValueError for lengths that the row does not have."""
    _fits(algorithm, key, nonce, tag_length)
    return algorithm.encrypt(bytes(key.reveal()), nonce, data, aad, tag_length)


def decrypt(algorithm: ContentAlgorithm, key: Secret, nonce: bytes, data: bytes, tag: bytes, aad: bytes = b"") -> bytes:
    """The plaintext, once its tag is verified. AuthenticationFailed, else; ValueError for lengths without a row."""
    _fits(algorithm, key, nonce, len(tag))
    try:
        return algorithm.decrypt(bytes(key.reveal()), nonce, data, aad, tag)
    except InvalidTag:
        raise AuthenticationFailed("content_tag", "the protected content is not authentic") from None
    except OverflowError:
        raise AuthenticationFailed("content_tag", "the content is longer than its nonce allows") from None


def _fits(algorithm: ContentAlgorithm, key: Secret, nonce: bytes, tag_length: int) -> None:
    if len(key) != algorithm.key_length:
        raise ValueError("key of another length than its algorithm")
    if len(nonce) not in algorithm.nonce_lengths or tag_length not in algorithm.tag_lengths:
        raise ValueError("nonce or tag of a length that the algorithm does not have")
