"""Chromium as the far end: ICE, DTLS-SRTP, audio both ways; its fake microphone beeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.agent import AgentProcess
from support.chromium import Chromium
from support.local_agent import audio_port
from support.peers import require
from support.web_phone import WebPhone

from ueagent.client import AgentClient

MECHANISM, PEER = "DTLS-SRTP with ICE", "Chromium"
PACKETS = 60


async def they_call(client: AgentClient, browser: Chromium, phone: WebPhone) -> tuple[str, int]:
    """(session, the agent's port for the dialer)"""
    offer = await asyncio.to_thread(browser.evaluate, "offer()")
    incoming = await client.accept_offer(sdp=offer, signalling="integrity")
    answer = await client.create_answer(session=incoming.session, sdp=phone.sdp.replace("RTP/AVP ", "RTP/AVPF "))
    await asyncio.to_thread(browser.evaluate, f"accept({json.dumps(answer.sdp)})")
    return incoming.session, audio_port(incoming.sdp or "")


async def we_call(client: AgentClient, browser: Chromium, phone: WebPhone) -> tuple[str, int]:
    offer = await client.create_offer(sdp=phone.sdp, signalling="integrity")
    answer = await asyncio.to_thread(browser.evaluate, f"answer({json.dumps(offer.sdp)})")
    accepted = await client.accept_answer(session=offer.session, sdp=answer, final=True)
    return offer.session, audio_port(accepted.sdp or "")


Call = Callable[[AgentClient, Chromium, WebPhone], Awaitable[tuple[str, int]]]


@pytest.mark.parametrize(
    ("call", "policy", "role"),
    [
        pytest.param(they_call, {}, "server", marks=pytest.mark.interop(MECHANISM, "answerer, client", PEER)),
        pytest.param(
            they_call,
            {"dtls_passive_answer": True},
            "client",
            marks=pytest.mark.interop(MECHANISM, "answerer, server", PEER),
        ),
        pytest.param(we_call, {}, "client", marks=pytest.mark.interop(MECHANISM, "offerer, server", PEER)),
    ],
    ids=["it_calls_and_we_are_dtls_client", "it_calls_and_we_are_dtls_server", "we_call"],
)
def test_audio_flows_both_ways(call: Call, policy: dict[str, Any], role: str, tmp_path: Path) -> None:
    """WEB-4, DTLS-14: what the browser says is loud at our end, and it plays what we say."""
    require("chromium")

    async def run() -> None:
        with (
            AgentProcess(tmp_path, policy={"webrtc": True, **policy}) as process,
            WebPhone() as phone,
            Chromium() as browser,
        ):
            async with process.client() as client:
                session, port = await call(client, browser, phone)
                async with phone.talking(port):
                    await phone.hears()
                    stats = await asyncio.to_thread(browser.evaluate, f"heard({PACKETS})")
                status = await client.session_status(session=session)
                (line,), (counters,) = status.lines, status.counters
                assert (line.mechanism, line.keys_in_place) == ("DTLS-SRTP", True)
                assert (stats["dtls"], stats["role"]) == ("connected", role)
                assert stats["received"] >= PACKETS
                assert stats["energy"] > 0
                assert counters.packets_received > 40
                assert (counters.auth_failures, counters.refused_checks) == (0, 0)

    asyncio.run(run())
