"""Whole packets of RFC 7714 (16, 17) and keystream of RFC 3711 (B.2) and RFC 6188 through contexts, on every engine."""

from __future__ import annotations

import pytest
from support.srtp import ENGINES, receiver, rtcp, rtp, sender
from support.vectors import Vector, load
from ueagent_native.values import MasterKeyConfig

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def _options(test: Vector, engine: str) -> dict:
    given = test.inputs
    key = MasterKeyConfig(given["session_key"], given["session_salt"])
    return {
        "suite": given["suite"],
        "engine": engine,
        "keys": (key,),
        "lab_session_keys": True,
        "lab_unencrypted_srtcp": "E=0" in test.flags,
    }


@pytest.mark.parametrize("test", load("rfc7714/packets"), ids=str)
def test_packets_of_rfc_7714_are_opened(engine: str, test: Vector) -> None:
    """SRTP-10."""
    with receiver(**_options(test, engine)) as context:
        plain = context.unprotect(test.expect["protected"], rtcp=test.inputs["kind"] == "rtcp")
    assert plain == test.inputs["plain"]


@pytest.mark.parametrize("test", load("rfc7714/packets"), ids=str)
def test_packets_of_rfc_7714_are_made(engine: str, test: Vector) -> None:
    """SRTP-10. SRTCP's index cannot be set, so it is reached by sending."""
    plain, is_rtcp = test.inputs["plain"], test.inputs["kind"] == "rtcp"
    with sender(**_options(test, engine)) as context:
        if is_rtcp:
            ssrc = int.from_bytes(plain[4:8], "big")
            context.protect_many([rtcp(ssrc)] * (test.inputs["index"] - 1), rtcp=True)
        assert context.protect(plain, rtcp=is_rtcp) == test.expect["protected"]


@pytest.mark.parametrize("test", load("rfc3711/packet_keystream"), ids=str)
def test_zeros_come_out_as_the_keystream_of_the_rfc(engine: str, test: Vector) -> None:
    """SRTP-2: RFC 3711, 4.1.1."""
    with sender(**_options(test, engine)) as context:
        assert context.protect(rtp(0, ssrc=0, payload=bytes(48)))[12:60] == test.expect["first"]
