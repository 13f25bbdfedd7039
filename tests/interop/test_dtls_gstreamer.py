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

SSRC = 0x00C0FFEE
PACKETS = [rtp(number, os.urandom(FRAME), ssrc=SSRC) for number in range(100, 110)]
REPORT = sender_report(SSRC, len(PACKETS))


def offer_of(peer: GstDtls, setup: str) -> str:
    digest = hashlib.sha256(peer.certificate).digest().hex(":").upper()
    sdp = audio_sdp((LOOPBACK, peer.port), peer.port, "UDP/TLS/RTP/SAVP")
    return f"{sdp}a=rtcp-mux\r\na=setup:{setup}\r\na=fingerprint:sha-256 {digest}\r\n"


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
                offer = offer_of(peer, "active" if gstreamer == "client" else "passive")
                incoming = await client.accept_offer(sdp=offer, signalling="integrity")
                plain = audio_sdp(dialer.address, dialer.rtcp_address[1], "RTP/AVP")
                answer = await client.create_answer(session=incoming.session, sdp=plain)
                assert media_proto(answer.sdp or "") == "UDP/TLS/RTP/SAVP"
                assert "a=rtcp-mux\r\n" in (answer.sdp or "")
                peer.talk_to(media_address(answer.sdp or ""))
                async with asyncio.timeout(20), client.listening() as events:
                    while not (await client.session_status(session=incoming.session)).lines[0].keys_in_place:
                        await anext(events)
                (line,) = (await client.session_status(session=incoming.session)).lines
                assert (line.mechanism, line.suite) == ("DTLS-SRTP", "AES_CM_128_HMAC_SHA1_80")
                for packet in PACKETS:
                    dialer.rtp.sendto(packet, media_address(incoming.sdp or ""))
                    assert peer.packet() == ("rtp", packet)
                dialer.rtcp.sendto(REPORT, rtcp_address(incoming.sdp or ""))
                assert peer.packet() == ("rtcp", REPORT)
                for packet in PACKETS:
                    peer.send("rtp", packet)
                    assert dialer.rtp.recv(2048) == packet
                peer.send("rtcp", REPORT)
                assert dialer.rtcp.recv(2048) == REPORT

    asyncio.run(run())
