"""aiortc as the browser: ICE, DTLS-SRTP and audio both ways, whoever calls and whoever is the DTLS client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import aioice.ice
import pytest
from aiortc import AudioStreamTrack, MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame
from support.agent import AgentProcess
from support.local_agent import audio_port
from support.tone import mulaw_to_linear, sine_mulaw
from support.web_phone import PATIENCE, SAY, WebPhone, is_tone

from ueagent.client import AgentClient

THEIR_TONE = 1000  # Hz
RATE = 8000
SPEECH = b"".join(s.to_bytes(2, "little", signed=True) for s in mulaw_to_linear(sine_mulaw(THEIR_TONE, RATE)))


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves loopback out of its host candidates; a machine without a network has no other."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


class Tone(AudioStreamTrack):
    """What aiortc says. Its base class keeps the pace and gives the timestamps, at 8 kHz."""

    async def recv(self) -> AudioFrame:
        frame = await super().recv()
        assert frame.sample_rate == RATE
        at = frame.pts % RATE
        frame.planes[0].update(SPEECH[2 * at : 2 * (at + frame.samples)])
        frame.time_base = Fraction(1, RATE)
        return frame


class Peer:
    """One RTCPeerConnection with a track each way."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.addTrack(Tone())
        self._track: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()
        self.connection.on("track", self._track.set_result)

    async def hears(self, frequency: int) -> None:
        async with asyncio.timeout(PATIENCE):
            track = await self._track
            samples: list[int] = []
            rate = RATE
            while len(samples) < rate or not is_tone(samples[-rate:], frequency, rate):
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                rate, step = frame.sample_rate, 2 * len(frame.layout.channels)
                data = bytes(frame.planes[0])[: frame.samples * step]
                samples += [int.from_bytes(data[i : i + 2], "little", signed=True) for i in range(0, len(data), step)]

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def answer(self, offer: str) -> str:
        await self.connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return str(self.connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))


async def they_call(client: AgentClient, peer: Peer, phone: WebPhone) -> tuple[str, int]:
    """(session, the agent's port for the dialer)"""
    incoming = await client.accept_offer(sdp=await peer.offer(), signalling="integrity")
    plain = phone.sdp.replace("RTP/AVP ", f"{incoming.sdp.split('m=audio ')[1].split()[1]} ")
    answer = await client.create_answer(session=incoming.session, sdp=plain)
    await peer.accept(answer.sdp or "")
    return incoming.session, audio_port(incoming.sdp or "")


async def we_call(client: AgentClient, peer: Peer, phone: WebPhone) -> tuple[str, int]:
    offer = await client.create_offer(sdp=phone.sdp, signalling="integrity")
    answer = await peer.answer(offer.sdp or "")
    accepted = await client.accept_answer(session=offer.session, sdp=answer, final=True)
    return offer.session, audio_port(accepted.sdp or "")


Call = Callable[[AgentClient, Peer, WebPhone], Any]


MECHANISM, PEER = "DTLS-SRTP with ICE", "aiortc"


@pytest.mark.parametrize(
    ("call", "policy"),
    [
        pytest.param(they_call, {}, marks=pytest.mark.interop(MECHANISM, "answerer, client", PEER)),
        pytest.param(
            they_call, {"dtls_passive_answer": True}, marks=pytest.mark.interop(MECHANISM, "answerer, server", PEER)
        ),
        pytest.param(we_call, {}, marks=pytest.mark.interop(MECHANISM, "offerer, server", PEER)),
    ],
    ids=["they_call_and_we_are_dtls_client", "they_call_and_we_are_dtls_server", "we_call"],
)
def test_audio_flows_both_ways(call: Call, policy: dict[str, Any], tmp_path: Path) -> None:
    """WEB-4, DTLS-14, DYN-18: ICE, DTLS-SRTP, RTP and RTCP on one port."""

    async def run() -> None:
        with AgentProcess(tmp_path, policy={"webrtc": True, **policy}) as process, WebPhone() as phone:
            async with process.client() as client:
                peer = Peer()
                try:
                    session, port = await call(client, peer, phone)
                    async with phone.talking(port):
                        await asyncio.gather(phone.hears(THEIR_TONE), phone.reported(), peer.hears(SAY))
                    state = await client.session_status(session=session)
                finally:
                    await peer.connection.close()
                assert (state.lines[0].mechanism, state.lines[0].keys_in_place) == ("DTLS-SRTP", True)
                assert state.counters[0].packets_sent > 40
                assert state.counters[0].packets_received > 40
                assert state.counters[0].refused_checks == 0

    asyncio.run(run())
