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
from support.peers import LOOPBACK, require
from support.web_phone import WebPhone

from ueagent.channel.records import HANDSHAKE, begins_association
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


class Watched(asyncio.DatagramProtocol):
    """Between browser and agent: passes on what comes, and keeps the browser's handshake."""

    def __init__(self, agent: tuple[str, int]) -> None:
        self.handshake: list[bytes] = []
        self._agent = agent
        self._browser: tuple[str, int] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr == self._agent:
            if self._browser is not None:
                self._transport.sendto(data, self._browser)
            return
        self._browser = addr
        if data[0] == HANDSHAKE:
            self.handshake.append(data)
        self._transport.sendto(data, self._agent)


@pytest.mark.interop(MECHANISM, "offerer, server", PEER)
def test_its_post_quantum_hello_fills_two_datagrams_and_is_taken(tmp_path: Path) -> None:
    """DTLS-29: both before the cookie and with it."""
    require("chromium")

    async def run() -> None:
        with AgentProcess(tmp_path, policy={"webrtc": True}) as process, WebPhone() as phone, Chromium() as browser:
            async with process.client() as client:
                offer = await client.create_offer(sdp=phone.sdp, signalling="integrity")
                port = audio_port(offer.sdp or "")
                loop = asyncio.get_running_loop()
                transport, watched = await loop.create_datagram_endpoint(
                    lambda: Watched((LOOPBACK, port)), local_addr=(LOOPBACK, 0)
                )
                try:
                    between = (offer.sdp or "").replace(str(port), str(transport.get_extra_info("sockname")[1]))
                    answer = await asyncio.to_thread(browser.evaluate, f"answer({json.dumps(between)})")
                    accepted = await client.accept_answer(session=offer.session, sdp=answer, final=True)
                    async with phone.talking(audio_port(accepted.sdp or "")):
                        await phone.hears()
                finally:
                    transport.close()
                hellos = [data for data in watched.handshake if begins_association(data)]
                assert len(hellos) >= 4
                assert {int.from_bytes(data[19:22], "big") > 0 for data in hellos} == {False, True}  # fragment offsets

    asyncio.run(run())
