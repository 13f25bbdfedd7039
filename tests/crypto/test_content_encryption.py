"""AEAD of message contents, against Wycheproof and against CCM written down from RFC 3610."""

from __future__ import annotations

import pytest
from support.ccm import ccm_by_hand
from support.vectors import wycheproof

from ueagent.crypto.content_encryption import ALGORITHMS, decrypt, encrypt
from ueagent.errors import AuthenticationFailed
from ueagent.model.keys import Secret


@pytest.mark.parametrize("family", ["GCM", "CCM"])
def test_wycheproof_of_the_lengths_that_we_accept(family: str) -> None:
    """MIME-7."""
    seen = 0
    for group, test in wycheproof(f"aes_{family.lower()}_test.json"):
        row = ALGORITHMS.get(f"aes{group['keySize']}-{family}")
        nonce, tag = bytes.fromhex(test["iv"]), bytes.fromhex(test["tag"])
        if row is None or len(nonce) not in row.nonce_lengths or len(tag) not in row.tag_lengths:
            continue
        key, aad = Secret(bytes.fromhex(test["key"])), bytes.fromhex(test["aad"])
        plain, hidden = bytes.fromhex(test["msg"]), bytes.fromhex(test["ct"])
        seen += 1
        if test["result"] == "invalid":
            with pytest.raises(AuthenticationFailed):
                decrypt(row, key, nonce, hidden, tag, aad)
            continue
        assert decrypt(row, key, nonce, hidden, tag, aad) == plain, test["tcId"]
        assert encrypt(row, key, nonce, plain, aad, len(tag)) == (hidden, tag), test["tcId"]
    assert seen > 90


@pytest.mark.parametrize("name", ["aes128-CCM", "aes256-CCM"])
@pytest.mark.parametrize("nonce_length", [7, 12, 13])
@pytest.mark.parametrize("tag_length", [8, 12, 16])
def test_ccm_is_that_of_rfc_3610(name: str, nonce_length: int, tag_length: int) -> None:
    """MIME-7, MIME-9."""
    row = ALGORITHMS[name]
    key, nonce, data = bytes(range(row.key_length)), bytes(range(nonce_length)), bytes(range(50))
    assert encrypt(row, Secret(key), nonce, data, b"", tag_length) == ccm_by_hand(key, nonce, data, tag_length)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_lengths_without_a_row_are_refused(name: str) -> None:
    """MIME-9."""
    row = ALGORITHMS[name]
    key, nonce = Secret(bytes(row.key_length)), bytes(row.nonce_length)
    with pytest.raises(ValueError, match="key of another length"):
        encrypt(row, Secret(bytes(24)), nonce, b"")
    with pytest.raises(ValueError, match="nonce or tag"):
        encrypt(row, key, bytes(6), b"")
    with pytest.raises(ValueError, match="nonce or tag"):
        decrypt(row, key, nonce, b"", bytes(4))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_changed_octet_is_noticed(name: str) -> None:
    row = ALGORITHMS[name]
    key, nonce = Secret(bytes(row.key_length)), bytes(row.nonce_length)
    hidden, tag = encrypt(row, key, nonce, b"a short message")
    whole = hidden + tag
    for place in range(len(whole)):
        changed = whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :]
        with pytest.raises(AuthenticationFailed):
            decrypt(row, key, nonce, changed[: len(hidden)], changed[len(hidden) :])
