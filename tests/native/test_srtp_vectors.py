"""Whole packets of RFC 7714 (16, 17) and keystream of RFC 3711 (B.2) and RFC 6188 through contexts, on every engine."""

from __future__ import annotations

import pytest
from support.srtp import ENGINES, receiver, rtcp, rtp, sender, vectors
from ueagent_native.values import MasterKeyConfig

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def _options(test: dict, engine: str) -> dict:
    given = test["inputs"]
    key = MasterKeyConfig(bytes.fromhex(given["session_key"]), bytes.fromhex(given["session_salt"]))
    return {
        "suite": given["suite"],
        "engine": engine,
        "keys": (key,),
        "lab_session_keys": True,
        "lab_unencrypted_srtcp": "E=0" in test["flags"],
    }


@pytest.mark.parametrize("test", vectors("rfc7714/packets"), ids=lambda t: t["id"])
def test_packets_of_rfc_7714_are_opened(engine: str, test: dict) -> None:
    """SRTP-10."""
    with receiver(**_options(test, engine)) as context:
        plain = context.unprotect(bytes.fromhex(test["expect"]["protected"]), rtcp=test["inputs"]["kind"] == "rtcp")
    assert plain.hex() == test["inputs"]["plain"]


@pytest.mark.parametrize("test", vectors("rfc7714/packets"), ids=lambda t: t["id"])
def test_packets_of_rfc_7714_are_made(engine: str, test: dict) -> None:
    """SRTP-10. SRTCP's index cannot be set, so it is reached by sending."""
    plain, is_rtcp = bytes.fromhex(test["inputs"]["plain"]), test["inputs"]["kind"] == "rtcp"
    with sender(**_options(test, engine)) as context:
        if is_rtcp:
            ssrc = int.from_bytes(plain[4:8], "big")
            context.protect_many([rtcp(ssrc)] * (test["inputs"]["index"] - 1), rtcp=True)
        assert context.protect(plain, rtcp=is_rtcp).hex() == test["expect"]["protected"]


@pytest.mark.parametrize("test", vectors("rfc3711/packet_keystream"), ids=lambda t: t["id"])
def test_zeros_come_out_as_the_keystream_of_the_rfc(engine: str, test: dict) -> None:
    """SRTP-2: RFC 3711, 4.1.1."""
    with sender(**_options(test, engine)) as context:
        assert context.protect(rtp(0, ssrc=0, payload=bytes(48)))[12:60].hex() == test["expect"]["first"]
