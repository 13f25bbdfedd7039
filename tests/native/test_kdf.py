"""SRTP key derivation, checklist 16.2: published vectors, the 96-bit salt, and an independent computation."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from support.vectors import Vector, load
from ueagent_native.values import NativeError, Status
from ueagent_native.verification import derive


@pytest.mark.parametrize("vector", load("rfc3711/key_derivation") + load("rfc6188/key_derivation"), ids=str)
def test_session_keys_come_out_as_published(vector: Vector) -> None:
    """GEN-5, SRTP-2, 16.2."""
    i, output = vector.inputs, vector.expect["output"]
    assert derive(i["key"], i["salt"], i["label"], len(output)) == output


@pytest.mark.parametrize("key_len", [16, 24, 32])
@pytest.mark.parametrize("label", range(6))
def test_every_label_is_the_formula_of_rfc_3711(key_len: int, label: int) -> None:
    """SRTP-2, 16.2: x = label * 2^48 XOR salt, IV = x * 2^16, labels 3 to 5 for SRTCP too."""
    draw = random.Random(label)
    key, salt = draw.randbytes(key_len), draw.randbytes(14)
    iv = (int.from_bytes(salt, "big") ^ label << 48) << 16
    stream = Cipher(algorithms.AES(key), modes.CTR(iv.to_bytes(16, "big"))).encryptor().update(bytes(100))
    assert derive(key, salt, label, 100) == stream


@pytest.mark.parametrize("key_len", [16, 32])
def test_a_96_bit_salt_is_padded_on_the_right(key_len: int) -> None:
    """SRTP-10, FIELD-17, the trap of 16.2: two zero octets behind the salt, not before it."""
    key, salt = bytes(range(key_len)), bytes(range(0x50, 0x5C))
    assert derive(key, salt, 0, key_len) == derive(key, salt + bytes(2), 0, key_len)
    assert derive(key, salt, 0, key_len) != derive(key, bytes(2) + salt, 0, key_len)


@pytest.mark.parametrize(
    ("key_len", "salt_len", "label", "length"),
    [(15, 14, 0, 16), (20, 14, 0, 16), (0, 14, 0, 16), (16, 13, 0, 16), (16, 0, 0, 16), (16, 14, 6, 16)],
)
def test_lengths_that_no_suite_has_are_refused(key_len: int, salt_len: int, label: int, length: int) -> None:
    """SRTP-13."""
    with pytest.raises(NativeError) as caught:
        derive(bytes(key_len), bytes(salt_len), label, length)
    assert caught.value.status == Status.BAD_ARGUMENT


def test_no_more_is_derived_than_16_bits_of_block_counter_allow() -> None:
    """SRTP-2, RFC 3711 4.1.1."""
    assert len(derive(bytes(16), bytes(14), 0, 1 << 20)) == 1 << 20
    with pytest.raises(NativeError):
        derive(bytes(16), bytes(14), 0, (1 << 20) + 1)
