"""The slow model against the RFCs' own numbers: an oracle must be shown right before it judges."""

from __future__ import annotations

import pytest
from support.srtp import vectors
from support.srtp_model import Model, derive, keystream


@pytest.mark.parametrize("test", vectors("rfc3711/packet_keystream"), ids=lambda t: t["id"])
def test_model_keystream_is_that_of_the_rfc(test: dict) -> None:
    """RFC 3711, B.2; RFC 6188, 7.1 and 7.3."""
    iv = int(test["inputs"]["session_salt"] + "0000", 16)
    key = bytes.fromhex(test["inputs"]["session_key"])
    assert keystream(key, iv, 48).hex() == test["expect"]["first"]
    assert keystream(key, iv + 0xFEFF, 48).hex() == test["expect"]["late"]


def test_model_derives_the_keys_of_rfc_3711_b3() -> None:
    """SRTP-2: labels 0, 1, 2."""
    key, salt = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139"), bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6")
    assert derive(key, salt, 0, 16).hex().upper() == "C61E7A93744F39EE10734AFE3FF7A087"
    assert derive(key, salt, 2, 14).hex().upper() == "30CBBC08863D8C85D49DB34A9AE1"
    assert derive(key, salt, 1, 20).hex().upper() == "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"


@pytest.mark.parametrize("test", vectors("rfc7714/packets"), ids=lambda t: t["id"])
def test_model_builds_the_packets_of_rfc_7714(test: dict) -> None:
    """SRTP-10."""
    given = test["inputs"]
    key, salt = bytes.fromhex(given["session_key"]), bytes.fromhex(given["session_salt"])
    model = Model(given["suite"], key, salt, session_keys=True)
    plain, protected = bytes.fromhex(given["plain"]), bytes.fromhex(test["expect"]["protected"])
    if given["kind"] == "rtp":
        assert model.protect_rtp(plain, 0) == protected
        assert model.unprotect_rtp(protected, 0) == plain
    else:
        assert model.protect_rtcp(plain, given["index"], encrypt="E=0" not in test["flags"]) == protected
        assert model.unprotect_rtcp(protected) == plain
