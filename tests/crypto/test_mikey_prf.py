"""MIKEY key derivation. Check values of the two requirement sheets; an independent PRF written from the formula."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.crypto import mikey_prf
from ueagent.model.keys import Secret

K = Secret(bytes(range(16)))
RI, RR, RK = (bytes(range(first, first + 16)) for first in (0xA0, 0xB0, 0xC0))
CSB = 0x01020304
USER = b"sip:user1@example.com"
TEK_LABEL = bytes.fromhex("2ad01c6401ffffffff")
MIKEY_1, SHA_256 = 0, 1


def out(secret: Secret) -> str:
    return secret.reveal().hex()


# mikey-ticket sheet, 18: (MIKEY-1, PRF-HMAC-SHA-256)
PRF_VALUES = {
    "inkey of one block": (K, 16, "35489b068c3ad5c0210f0b9caa9c4202", "88342db155064b32dcc5fbbf1bacc0ea"),
    "inkey of two blocks, the last one short": (
        Secret(bytes(range(40))),
        32,
        "08e5ca31e60f37082af86299779ef6b8be1fd180d719e27fe54b9c2d043b059e",
        "ccab6ebfbb088c9d393502ad47111f96dd25936a2a077ef888cc7675be375ad1",
    ),
}


@pytest.mark.parametrize("case", PRF_VALUES)
@pytest.mark.parametrize("prf", [MIKEY_1, SHA_256])
def test_prf_gives_the_check_values(case: str, prf: int) -> None:
    """KMS-21; RFC 3830, 4.1.2."""
    key, length, *expected = PRF_VALUES[case]
    assert out(mikey_prf.derive(prf, key, TEK_LABEL, length)) == expected[prf]


@pytest.mark.parametrize(
    ("prf", "authentication", "encryption", "salt"),
    [
        (
            MIKEY_1,
            "be43108b7e2d47851fc506890975b109c690754b",
            "4082a63b9dbc3ec92bde5bd503a23fb9",
            "1503d80127f0dd868a35ae7c46cf",
        ),
        (
            SHA_256,
            "abf8f1fcb5308606f23cbefea938860db62370c1ce3ca0150fa540d99630e861",
            "dea8ce85561e6c57a6974372a5532779",
            "50e8ada04941e1f7c83f8bbc8f2c",
        ),
    ],
)
def test_keys_of_an_initial_message(prf: int, authentication: str, encryption: str, salt: str) -> None:
    """KMS-22, KMS-23; mikey-ticket sheet, 18."""
    keys = mikey_prf.message_keys(prf, K, CSB, RI, b"", response=False, mac_algorithm=prf + 1, key_length=16)
    assert (out(keys.authentication), out(keys.encryption), out(keys.salt)) == (authentication, encryption, salt)


TICKET_MODE = {
    "TEK": (
        lambda prf: mikey_prf.session_key(prf, K, 1, RI, RR, 16),
        "3962d751909e6431cec3867041eb04b1",
        "01d9f38c156dfdfe8b461b58ac285921",
    ),
    "session salt": (
        lambda prf: mikey_prf.session_salt(prf, K, 1, RI, RR, 14),
        "9ed0216ef0a49510cf137ee51646",
        "e9feca9560244818a596ad262467",
    ),
    "TGK'": (
        lambda prf: mikey_prf.fork_tgk(prf, K, USER, RK),
        "3fc98ab2be88f1df5ec61f1e5c97ea75",
        "5c2c97b99aec56139e86769c27c4473f",
    ),
    "MPKr'": (
        lambda prf: mikey_prf.fork_mpkr(prf, K, USER, RK),
        "1a21ae4f48cfce2362320dec58d1e7ee",
        "9a4937f199f9b0ec39ab3cff6b13bcb9",
    ),
    "MPKi": (
        lambda prf: mikey_prf.message_protection_keys(prf, K, RI)[0],
        "09652ff4061ed3b99872ef4af62b1470",
        "cbd185e9d07b90c1201b6fc224a63bda",
    ),
    "MPKr": (
        lambda prf: mikey_prf.message_protection_keys(prf, K, RI)[1],
        "bacaeed7075457c016ff988d285606cb",
        "e34c78d555190b06637a01ff52509c0a",
    ),
    "Vr key": (
        lambda prf: mikey_prf.initiator_data_key(prf, K, prf + 1),
        "540388198f832d2dd12fafc90d774ddd635e306f",
        "ef3f05778c69dd3e47d432282c7bc43029568add6dcc630c4c19a13a97881775",
    ),
    "TPK encryption key": (
        lambda prf: mikey_prf.ticket_keys(prf, K, RI, mac_algorithm=2, key_length=16).encryption,
        "87197dac836c5adaca76fbf217d681e0",
        "0937382edb03d7aec4138bfca9f28a03",
    ),
}


@pytest.mark.parametrize("case", TICKET_MODE)
@pytest.mark.parametrize("prf", [MIKEY_1, SHA_256])
def test_ticket_mode_derivation_gives_the_check_value(case: str, prf: int) -> None:
    """KMS-45, KMS-46, DYN-4; mikey-ticket sheet, 18."""
    derived, *expected = TICKET_MODE[case]
    assert out(derived(prf)) == expected[prf]


def test_check_values_of_256_bits() -> None:
    """KMS-20; checklist, 22.1."""
    psk, ri, rr = Secret(bytes(range(32))), bytes(range(0xA0, 0xC0)), bytes(range(0xC0, 0xE0))
    bob, rand_kms, key = b"sip:bob@example.com", bytes(range(0x60, 0x80)), Secret(bytes(range(0x40, 0x60)))
    kinds = {"mac_algorithm": 2, "key_length": 32}
    init = mikey_prf.message_keys(1, psk, 0x11223344, ri, b"", response=False, **kinds)
    resp = mikey_prf.message_keys(1, psk, 0x11223344, ri, b"", response=True, **kinds)
    resolve = mikey_prf.message_keys(1, psk, 0x11223344, b"", rr, response=False, **kinds)
    tgk = mikey_prf.fork_tgk(1, key, bob, rand_kms)
    assert [
        out(secret)
        for secret in (
            init.encryption,
            init.authentication,
            init.salt,
            resp.authentication,
            resolve.authentication,
            tgk,
            mikey_prf.fork_mpkr(1, key, bob, rand_kms),
            mikey_prf.session_key(1, tgk, 1, ri, rr, 16),
            mikey_prf.session_salt(1, tgk, 1, ri, rr, 14),
            mikey_prf.initiator_data_key(1, key, 2),
        )
    ] == [
        "7fdd8d31afaee19ea44434ef85cbdaf8dda384cd5934eea124b7ec8e30be9009",
        "f66601b4c4dc14ee5973ad99e58da4da59f2aac47412e6da0ace5ebcadbab68c",
        "edbe543111ad393984b31078fa3e",
        "bc22c5ef369b6be1218e826be2a5f9cbf548ed671a9fb0aa1889004b894c959d",
        "f7f60e3c379079c39579d30c158ba63ff3f3863f20b2f3d0543bc6ec5a3aa22e",
        "220edf66466d4d5ac4f84ac5f700bd327ff69c0635a00a81c383e42c7741bdc9",
        "ac05ad4567a90d0c364b3eab8c40c034a5c5138539d6fac445518781613ba539",
        "536890f9f77c7855a772dc9080e84bf1",
        "daef54af5204fd10f0fb10aa4696",
        "8a87e88cf6e96400317d19da0db60c104ec23d4a56e7f4921beddb5fda588f04",
    ]


@given(key=st.binary(min_size=1, max_size=32), label=st.binary(max_size=80), length=st.integers(1, 100))
def test_short_keys_give_the_p_hash_of_tls(key: bytes, label: bytes, length: int) -> None:
    """RFC 3830, 4.1.2 with one block is P_hash of RFC 5246, 5 with the label as seed."""
    a, stream = label, b""
    while len(stream) < length:
        a = hmac.new(key, a, hashlib.sha256).digest()
        stream += hmac.new(key, a + label, hashlib.sha256).digest()
    assert mikey_prf.derive(SHA_256, Secret(key), label, length).reveal() == stream[:length]


def test_forked_keys_differ_between_responders() -> None:
    """DYN-4, KMS-70."""
    keys = [mikey_prf.fork_tgk(1, K, USER, bytes([fork]) * 16) for fork in range(2)]
    assert keys[0] != keys[1]


def test_each_direction_has_its_own_session_key() -> None:
    """KMS-62: two CS IDs."""
    assert mikey_prf.session_key(1, K, 1, RI, RR, 16) != mikey_prf.session_key(1, K, 2, RI, RR, 16)
