"""GStreamer's dtlssrtpenc and dtlssrtpdec against the agent: both roles, packets equal octet by octet, both ways.

The elements do RTP and RTCP on one port, have an RSA certificate and choose AES128_CM_HMAC_SHA1_80 (1.22).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from support.agent import AgentProcess
from support.media import MediaPair, rtp, sender_report
from support.peers import LOOPBACK, GstDtls, require
from support.sdes import audio_sdp, media_address, media_proto, rtcp_address
from support.tone import FRAME

from ueagent.client import AgentClient

SSRC = 0x00C0FFEE
PACKETS = [rtp(number, os.urandom(FRAME), ssrc=SSRC) for number in range(100, 110)]
REPORT = sender_report(SSRC, len(PACKETS))


def described(peer: GstDtls, setup: str, proto: str = "UDP/TLS/RTP/SAVP") -> str:
    digest = hashlib.sha256(peer.certificate).digest().hex(":").upper()
    sdp = audio_sdp((LOOPBACK, peer.port), peer.port, proto)
    return f"{sdp}a=rtcp-mux\r\na=setup:{setup}\r\na=fingerprint:sha-256 {digest}\r\n"


async def carries_both_ways(client: AgentClient, session: str, ours: str, dialer: MediaPair, peer: GstDtls) -> None:
    """Keys come, and then packets; `ours` is what the dialer got from the agent."""
    async with asyncio.timeout(20), client.listening() as events:
        while not (await client.session_status(session=session)).lines[0].keys_in_place:
            await anext(events)
    (line,) = (await client.session_status(session=session)).lines
    assert (line.mechanism, line.suite) == ("DTLS-SRTP", "AES_CM_128_HMAC_SHA1_80")
    for packet in PACKETS:
        dialer.rtp.sendto(packet, media_address(ours))
        assert peer.packet() == ("rtp", packet)
    dialer.rtcp.sendto(REPORT, rtcp_address(ours))
    assert peer.packet() == ("rtcp", REPORT)
    for packet in PACKETS:
        peer.send("rtp", packet)
        assert dialer.rtp.recv(2048) == packet
    peer.send("rtcp", REPORT)
    assert dialer.rtcp.recv(2048) == REPORT


@pytest.mark.parametrize(
    "gstreamer",
    [
        pytest.param("client", marks=pytest.mark.interop("DTLS-SRTP", "answerer, server", "GStreamer")),
        pytest.param("server", marks=pytest.mark.interop("DTLS-SRTP", "answerer, client", "GStreamer")),
    ],
)
def test_call_from_gstreamer_is_bit_exact_both_ways(gstreamer: str, tmp_path: Path) -> None:
    """DTLS-5, DTLS-11, DTLS-14, DTLS-16, DYN-14: the offer says active or passive, and rtcp-mux."""
    require("gstreamer")

    async def run() -> None:
        with (
            AgentProcess(tmp_path) as process,
            MediaPair() as dialer,
            GstDtls(client=gstreamer == "client") as peer,
        ):
            async with process.client() as client:
                offer = described(peer, "active" if gstreamer == "client" else "passive")
                incoming = await client.accept_offer(sdp=offer, signalling="integrity")
                plain = audio_sdp(dialer.address, dialer.rtcp_address[1], "RTP/AVP")
                answer = await client.create_answer(session=incoming.session, sdp=plain)
                assert media_proto(answer.sdp or "") == "UDP/TLS/RTP/SAVP"
                assert "a=rtcp-mux\r\n" in (answer.sdp or "")
                peer.talk_to(media_address(answer.sdp or ""))
                await carries_both_ways(client, incoming.session, incoming.sdp or "", dialer, peer)

    asyncio.run(run())


@pytest.mark.parametrize(
    "gstreamer",
    [
        pytest.param("client", marks=pytest.mark.interop("DTLS-SRTP", "offerer, server", "GStreamer")),
        pytest.param("server", marks=pytest.mark.interop("DTLS-SRTP", "offerer, client", "GStreamer")),
    ],
)
def test_call_to_gstreamer_is_bit_exact_both_ways(gstreamer: str, tmp_path: Path) -> None:
    """DTLS-2, DTLS-14, WEB-4: one port for RTP and RTCP is offered with the WebRTC profile; ICE it does not know."""
    require("gstreamer")

    async def run() -> None:
        with (
            AgentProcess(tmp_path, policy={"webrtc": True}) as process,
            MediaPair() as dialer,
            GstDtls(client=gstreamer == "client") as peer,
        ):
            async with process.client() as client:
                plain = audio_sdp(dialer.address, dialer.rtcp_address[1], "RTP/AVP")
                offer = await client.create_offer(sdp=plain, signalling="integrity")
                assert media_proto(offer.sdp or "") == "UDP/TLS/RTP/SAVPF"
                peer.talk_to(media_address(offer.sdp or ""))
                answer = described(peer, "active" if gstreamer == "client" else "passive", "UDP/TLS/RTP/SAVPF")
                accepted = await client.accept_answer(session=offer.session, sdp=answer, final=True)
                await carries_both_ways(client, offer.session, accepted.sdp or "", dialer, peer)

    asyncio.run(run())
