"""rtpengine as the access gateway: SDES and DTLS-SRTP towards the agent, plain RTP towards the far end, both ways.

It is driven over its ng protocol, as a SIP proxy of a real network would (EDGE-2 to EDGE-5, EDGE-11, EDGE-12).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from support.agent import AgentProcess
from support.media import MediaPair, rtp
from support.peers import require
from support.rtpengine import Rtpengine
from support.sdes import audio_sdp, media_address, media_proto

from ueagent.client import AgentClient

SECURE = {"SDES": "RTP/SAVP", "DTLS-SRTP": "UDP/TLS/RTP/SAVP"}
TOKENS = ["dtls-srtp;mediasec", "sdes-srtp;mediasec"]
PACKETS = 10


def agent(folder: Path, mechanism: str) -> AgentProcess:
    require("rtpengine")
    return AgentProcess(folder, policy={"e2ae_order": [mechanism]}, registration={"dtls_srtp": True})


async def until_keyed(client: AgentClient, session: str) -> None:
    async with asyncio.timeout(20), client.listening() as events:
        while not (await client.session_status(session=session)).lines[0].keys_in_place:
            await anext(events)


def speak(sender: MediaPair, to: tuple[str, int], receiver: MediaPair, ssrc: int) -> None:
    """Bit-exact payloads, in order. The gateway's own handshake may end a moment after ours: the first are repeated."""
    receiver.rtp.settimeout(0.2)
    for number in range(PACKETS):
        packet = rtp(1000 + number, os.urandom(160), ssrc=ssrc)
        for attempt in range(50):
            sender.rtp.sendto(packet, to)
            try:
                received = receiver.rtp.recv(2048)
            except TimeoutError:
                assert number == 0, f"packet {number} was lost"
                packet = rtp(900 + attempt, os.urandom(160), ssrc=ssrc)
                continue
            assert received[12:] == packet[12:]
            break
        else:
            pytest.fail("nothing arrives")


async def register(client: AgentClient) -> None:
    await client.registration_offer(binding="home")
    await client.registration_update(binding="home", status=200, security_server=TOKENS)


@pytest.mark.parametrize(
    "mechanism",
    [
        pytest.param("SDES", marks=pytest.mark.interop("SDES", "offerer", "rtpengine")),
        pytest.param("DTLS-SRTP", marks=pytest.mark.interop("DTLS-SRTP", "offerer, server", "rtpengine")),
    ],
)
def test_call_through_rtpengine(mechanism: str, tmp_path: Path) -> None:
    """EDGE-2, EDGE-3, EDGE-11: the agent offers, the gateway answers, the far end is plain."""

    async def scenario() -> None:
        with (
            agent(tmp_path, mechanism) as process,
            Rtpengine(tmp_path) as gateway,
            MediaPair() as near,
            MediaPair() as far,
        ):
            async with process.client() as client:
                await register(client)
                plain = audio_sdp(near.address, near.rtcp_address[1], "RTP/AVP")
                offer = await client.create_offer(sdp=plain, signalling="confidentiality", binding="home")
                assert media_proto(offer.sdp or "") == SECURE[mechanism]
                core = gateway.offer(offer.sdp or "", call="1", transport="RTP/AVP")
                assert media_proto(core) == "RTP/AVP"
                answer = gateway.answer(audio_sdp(far.address, far.rtcp_address[1], "RTP/AVP"), call="1")
                assert ("a=setup:active\r\n" in answer) is (mechanism == "DTLS-SRTP")
                reply = await client.accept_answer(session=offer.session, sdp=answer, final=True)
                await until_keyed(client, offer.session)
                (line,) = (await client.session_status(session=offer.session)).lines
                assert line.mechanism == mechanism
                speak(near, media_address(reply.sdp or ""), far, 1)
                speak(far, media_address(core), near, 2)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "mechanism",
    [
        pytest.param("SDES", marks=pytest.mark.interop("SDES", "answerer", "rtpengine")),
        pytest.param("DTLS-SRTP", marks=pytest.mark.interop("DTLS-SRTP", "answerer, client", "rtpengine")),
    ],
)
def test_call_from_rtpengine(mechanism: str, tmp_path: Path) -> None:
    """EDGE-4, EDGE-5, EDGE-12: the gateway secures the far end's plain offer, the agent answers."""

    async def scenario() -> None:
        with (
            agent(tmp_path, mechanism) as process,
            Rtpengine(tmp_path) as gateway,
            MediaPair() as near,
            MediaPair() as far,
        ):
            async with process.client() as client:
                await register(client)
                plain = audio_sdp(far.address, far.rtcp_address[1], "RTP/AVP")
                offer = gateway.offer(plain, call="1", transport=SECURE[mechanism])
                incoming = await client.accept_offer(sdp=offer, signalling="confidentiality", binding="home")
                ours = audio_sdp(near.address, near.rtcp_address[1], "RTP/AVP")
                answer = await client.create_answer(session=incoming.session, sdp=ours)
                assert ("a=setup:active\r\n" in (answer.sdp or "")) is (mechanism == "DTLS-SRTP")
                core = gateway.answer(answer.sdp or "", call="1")
                await until_keyed(client, incoming.session)
                (line,) = (await client.session_status(session=incoming.session)).lines
                assert line.mechanism == mechanism
                speak(near, media_address(incoming.sdp or ""), far, 1)
                speak(far, media_address(core), near, 2)

    asyncio.run(scenario())
