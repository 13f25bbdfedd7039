"""The slow model against the RFCs' own numbers: an oracle must be shown right before it judges."""

from __future__ import annotations

import pytest
from support.srtp_model import Model, derive, keystream
from support.vectors import Vector, load


@pytest.mark.parametrize("test", load("rfc3711/packet_keystream"), ids=str)
def test_model_keystream_is_that_of_the_rfc(test: Vector) -> None:
    """RFC 3711, B.2; RFC 6188, 7.1 and 7.3."""
    iv = int.from_bytes(test.inputs["session_salt"] + bytes(2), "big")
    key = test.inputs["session_key"]
    assert keystream(key, iv, 48) == test.expect["first"]
    assert keystream(key, iv + 0xFEFF, 48) == test.expect["late"]


def test_model_derives_the_keys_of_rfc_3711_b3() -> None:
    """SRTP-2: labels 0, 1, 2."""
    key, salt = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139"), bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6")
    assert derive(key, salt, 0, 16).hex().upper() == "C61E7A93744F39EE10734AFE3FF7A087"
    assert derive(key, salt, 2, 14).hex().upper() == "30CBBC08863D8C85D49DB34A9AE1"
    assert derive(key, salt, 1, 20).hex().upper() == "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"


@pytest.mark.parametrize("test", load("rfc7714/packets"), ids=str)
def test_model_builds_the_packets_of_rfc_7714(test: Vector) -> None:
    """SRTP-10."""
    given = test.inputs
    model = Model(given["suite"], given["session_key"], given["session_salt"], session_keys=True)
    plain, protected = given["plain"], test.expect["protected"]
    if given["kind"] == "rtp":
        assert model.protect_rtp(plain, 0) == protected
        assert model.unprotect_rtp(protected, 0) == plain
    else:
        assert model.protect_rtcp(plain, given["index"], encrypt="E=0" not in test.flags) == protected
        assert model.unprotect_rtcp(protected) == plain
