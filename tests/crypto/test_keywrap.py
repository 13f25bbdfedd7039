"""Encryption of KEMAC payloads and AES key wrap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vectors import wycheproof

from ueagent.crypto import keywrap
from ueagent.errors import AuthenticationFailed
from ueagent.model.keys import Secret

SALT = Secret(bytes(range(0x10, 0x1E)))

# mikey-ticket sheet, 18
IV_VALUES = {
    "NTP-UTC": (0xED00378080000000, "101113111711fb172f999a1b1c1d0000"),
    "NTP-UTC-32": (0xED00378000000000, "101113111711fb172f991a1b1c1d0000"),
    "COUNTER": (7, "101113111711161718191a1b1c1a0000"),
}


@pytest.mark.parametrize("case", IV_VALUES)
def test_iv_gives_the_check_value(case: str) -> None:
    """KMS-22, KMS-32; RFC 3830, 4.2.3."""
    time, expected = IV_VALUES[case]
    assert keywrap.kemac_iv(SALT, 0x01020304, time).hex() == expected


@given(data=st.binary(min_size=1, max_size=200), size=st.sampled_from([(1, 16), (3, 32)]))
def test_counter_mode_opens_what_it_closed(data: bytes, size: tuple[int, int]) -> None:
    """KMS-22."""
    algorithm, length = size
    key, iv = Secret(bytes(range(length))), bytes(16)
    closed = keywrap.encrypt(algorithm, key, iv, Secret(data))
    assert keywrap.decrypt(algorithm, key, iv, closed).reveal() == data


# RFC 3394, 4.1, 4.3, 4.6
RFC_3394 = {
    "4.1": (
        "000102030405060708090A0B0C0D0E0F",
        "00112233445566778899AABBCCDDEEFF",
        "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5",
    ),
    "4.3": (
        "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
        "00112233445566778899AABBCCDDEEFF",
        "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7",
    ),
    "4.6": (
        "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
        "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
        "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
    ),
}


@pytest.mark.parametrize("case", RFC_3394)
def test_key_wrap_gives_the_vectors_of_rfc_3394(case: str) -> None:
    """MIME-8."""
    kek, key, wrapped = (bytes.fromhex(text) for text in RFC_3394[case])
    assert keywrap.wrap(Secret(kek), Secret(key)) == wrapped
    assert keywrap.unwrap(Secret(kek), wrapped) == Secret(key)


@pytest.mark.parametrize("change", [0, 7, 23])
def test_changed_wrapped_key_does_not_open(change: int) -> None:
    wrapped = bytearray.fromhex(RFC_3394["4.1"][2])
    wrapped[change] ^= 1
    with pytest.raises(AuthenticationFailed):
        keywrap.unwrap(Secret(bytes.fromhex(RFC_3394["4.1"][0])), bytes(wrapped))


@pytest.mark.parametrize("length", [0, 8, 15, 17, 25])
def test_wrapped_key_of_an_impossible_length_does_not_open(length: int) -> None:
    with pytest.raises(AuthenticationFailed):
        keywrap.unwrap(Secret(bytes(16)), bytes(length))


def test_key_of_the_wrong_length_is_refused() -> None:
    """KMS-24: AES-CM-256 is never keyed with 128 bits."""
    with pytest.raises(ValueError, match="length"):
        keywrap.encrypt(keywrap.AES_CM_256, Secret(bytes(16)), bytes(16), Secret(b"x"))


def test_key_wrap_agrees_with_wycheproof() -> None:
    """MIME-8; Wycheproof aes_wrap_test.json, valid and invalid."""
    tried = 0
    for _group, test in wycheproof("aes_wrap_test.json"):
        kek, message, wrapped = (bytes.fromhex(test[name]) for name in ("key", "msg", "ct"))
        tried += 1
        if test["result"] == "valid":
            assert keywrap.wrap(Secret(kek), Secret(message)) == wrapped
            assert keywrap.unwrap(Secret(kek), wrapped) == Secret(message)
        elif test["result"] == "invalid":
            with pytest.raises(AuthenticationFailed):
                keywrap.unwrap(Secret(kek), wrapped)
    assert tried > 100
