"""One real phone call each way with baresip and its DTLS-SRTP: each side hears the other's tone.

baresip plays 440 Hz and records what it hears, the dialer plays 700 Hz.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from support.agent import AgentProcess
from support.media import MediaPair, rtp
from support.peers import LOOPBACK, Baresip, require
from support.sdes import audio_sdp, media_address, media_proto
from support.sip_dialer import SipDialer
from support.tone import FRAME, RATE, mulaw_to_linear, read_wav, share_at, sine_mulaw

from ueagent.client import AgentClient

PEER_TONE, OUR_TONE = 440, 700  # Hz
SECONDS = 2
TOKENS = ["dtls-srtp;mediasec"]


def agent(folder: Path) -> AgentProcess:
    require("baresip")
    (folder / "phone").mkdir()
    return AgentProcess(folder, registration={"dtls_srtp": True})


def plain_audio(dialer: MediaPair, proto: str = "RTP/AVP") -> str:
    return audio_sdp(dialer.address, dialer.rtcp_address[1], proto)


def converse(dialer: MediaPair, to: tuple[str, int]) -> list[int]:
    """Plays our tone to `to` and returns `SECONDS` of what came back, as samples."""
    tone = sine_mulaw(OUR_TONE, SECONDS * RATE + 50 * FRAME)
    frames = (tone[at : at + FRAME] for at in range(0, len(tone), FRAME))
    packets = (rtp(number, frame, ssrc=1) for number, frame in enumerate(frames))
    speaker = threading.Thread(target=dialer.send_paced, args=(packets, to), daemon=True)
    speaker.start()
    heard: list[int] = []
    while len(heard) < SECONDS * RATE:
        heard += mulaw_to_linear(dialer.rtp.recv(2048)[12:])
    speaker.join()
    return heard


async def check(
    client: AgentClient, session: str, dialer: MediaPair, plain: str, sip: SipDialer, phone: Baresip
) -> None:
    async with asyncio.timeout(20), client.listening() as events:
        while not (await client.session_status(session=session)).lines[0].keys_in_place:
            await anext(events)
    heard = await asyncio.to_thread(converse, dialer, media_address(plain))
    state = await client.session_status(session=session)
    await sip.hang_up()
    await client.release(session=session)
    assert share_at(heard, PEER_TONE) > 0.8
    assert [line.mechanism for line in state.lines] == ["DTLS-SRTP"]
    (counters,) = state.counters
    assert (counters.auth_failures, counters.plain_sent, counters.plain_received) == (0, 0, 0)
    phone.program.stop()
    samples, rate = read_wav(phone.heard())
    assert len(samples) > rate
    assert share_at(samples, OUR_TONE, rate) > 0.8


@pytest.mark.interop("DTLS-SRTP", "answerer, client", "baresip")
def test_dtls_call_from_baresip_is_heard_on_both_ends(tmp_path: Path) -> None:
    """DTLS-1, DTLS-4, DTLS-14."""

    async def run() -> None:
        with agent(tmp_path) as process, MediaPair() as dialer:
            async with process.client() as client, SipDialer() as sip:
                with Baresip(tmp_path / "phone", tone=PEER_TONE, mediaenc="dtls_srtp", dial=sip.uri) as phone:
                    invite = await sip.incoming()
                    incoming = await client.accept_offer(sdp=invite.body, signalling="confidentiality")
                    ours = plain_audio(dialer, media_proto(incoming.sdp or ""))  # it offers feedback
                    answer = await client.create_answer(session=incoming.session, sdp=ours)
                    assert "a=setup:active\r\n" in (answer.sdp or "")
                    await sip.accept((answer.sdp or "").encode())
                    await check(client, incoming.session, dialer, incoming.sdp or "", sip, phone)

    asyncio.run(run())


@pytest.mark.interop("DTLS-SRTP", "offerer, server", "baresip")
def test_dtls_call_to_baresip_is_heard_on_both_ends(tmp_path: Path) -> None:
    """DTLS-2, DTLS-14."""

    async def run() -> None:
        with agent(tmp_path) as process, MediaPair() as dialer:
            async with process.client() as client, SipDialer() as sip:
                await client.registration_offer(binding="home")
                await client.registration_update(binding="home", status=200, security_server=TOKENS)
                with Baresip(tmp_path / "phone", tone=PEER_TONE, mediaenc="dtls_srtp") as phone:
                    offer = await client.create_offer(
                        sdp=plain_audio(dialer), signalling="confidentiality", binding="home"
                    )
                    assert media_proto(offer.sdp or "") == "UDP/TLS/RTP/SAVP"
                    response = await sip.call(f"sip:peer@{LOOPBACK}:{phone.sip_port}", (offer.sdp or "").encode())
                    assert b"a=setup:active\r\n" in response.body
                    answer = await client.accept_answer(session=offer.session, sdp=response.body, final=True)
                    await check(client, offer.session, dialer, answer.sdp or "", sip, phone)

    asyncio.run(run())
