"""One real phone call each way with baresip: SIP over UDP, SRTP by SDES, G.711; the agent secures the dialer's SDP.

baresip plays 440 Hz and records what it hears, the dialer plays 700 Hz: each side must hear the other's tone.
With mediaenc=srtp baresip answers RTP/SAVP but offers RTP/AVP with a=crypto, which without 3ge2ae is plain RTP to the
agent (CAP-2); so where it calls, it is configured as srtp-mand, which offers RTP/SAVP.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from support.agent import AgentProcess
from support.media import MediaPair, rtp
from support.peers import LOOPBACK, Baresip, require
from support.sdes import audio_sdp, crypto_lines, media_address, media_proto
from support.sip_dialer import SipDialer
from support.tone import FRAME, RATE, mulaw_to_linear, read_wav, share_at, sine_mulaw

from ueagent.client import AgentClient
from ueagent.ipc import api

PEER_TONE, OUR_TONE = 440, 700  # Hz
SECONDS = 2
SSRC = 0x00C0FFEE


def agent(folder: Path) -> AgentProcess:
    require("baresip")
    return AgentProcess(folder, policy={"sdes_e2e": "required"})


def converse(dialer: MediaPair, to: tuple[str, int]) -> list[int]:
    """Plays our tone to `to` and returns `SECONDS` of what came back, as samples."""
    tone = sine_mulaw(OUR_TONE, SECONDS * RATE + 50 * FRAME)
    frames = (tone[at : at + FRAME] for at in range(0, len(tone), FRAME))
    packets = (rtp(number, frame, ssrc=SSRC) for number, frame in enumerate(frames))
    speaker = threading.Thread(target=dialer.send_paced, args=(packets, to), daemon=True)
    speaker.start()
    heard: list[int] = []
    while len(heard) < SECONDS * RATE:
        heard += mulaw_to_linear(dialer.rtp.recv(2048)[12:])
    speaker.join()
    return heard


async def check_conversation(
    client: AgentClient, session: str, dialer: MediaPair, plain: str, suite: str, sip: SipDialer, phone: Baresip
) -> None:
    heard = await asyncio.to_thread(converse, dialer, media_address(plain))
    state = await client.session_status(session=session)
    await sip.hang_up()
    await client.release(session=session)
    assert share_at(heard, PEER_TONE) > 0.8
    (counters,) = state.counters
    assert (counters.auth_failures, counters.plain_sent, counters.plain_received) == (0, 0, 0)
    assert [(line.mechanism, line.scope, line.suite) for line in state.lines] == [("SDES", "e2e", suite)]
    phone.program.stop()
    samples, rate = read_wav(phone.heard())
    assert len(samples) > rate  # at least a second of it
    assert share_at(samples, OUR_TONE, rate) > 0.8


def text_of(reply: api.SessionSdp) -> str:
    assert reply.sdp is not None
    return reply.sdp


def plain_audio(dialer: MediaPair) -> str:
    return audio_sdp(dialer.address, dialer.rtcp_address[1], "RTP/AVP")


@pytest.mark.interop("SDES", "answerer", "baresip")
def test_call_from_baresip_is_heard_on_both_ends(tmp_path: Path) -> None:
    """SDP-9 (c), SDES-7: its RTP/SAVP offer is answered with its tag and suite, and a key of ours."""

    async def run() -> None:
        (tmp_path / "phone").mkdir()
        with agent(tmp_path) as process, MediaPair() as dialer:
            async with process.client() as client, SipDialer() as sip:
                with Baresip(tmp_path / "phone", tone=PEER_TONE, mediaenc="srtp-mand", dial=sip.uri) as phone:
                    invite = await sip.incoming()
                    incoming = await client.accept_offer(sdp=invite.body, signalling="confidentiality")
                    session, plain = incoming.session, text_of(incoming)
                    assert crypto_lines(plain) == []
                    answer = await client.create_answer(session=session, sdp=plain_audio(dialer))
                    await sip.accept(text_of(answer).encode())
                    (theirs,) = crypto_lines(invite.body.decode())
                    await check_conversation(client, session, dialer, plain, theirs.suite, sip, phone)

    asyncio.run(run())


@pytest.mark.interop("SDES", "offerer", "baresip")
def test_call_to_baresip_is_heard_on_both_ends(tmp_path: Path) -> None:
    """SDES-8, SDP-7: the answer of an opportunistic phone (mediaenc=srtp) to our RTP/SAVP offer."""

    async def run() -> None:
        (tmp_path / "phone").mkdir()
        with agent(tmp_path) as process, MediaPair() as dialer:
            async with process.client() as client, SipDialer() as sip:
                with Baresip(tmp_path / "phone", tone=PEER_TONE, mediaenc="srtp") as phone:
                    offer = await client.create_offer(sdp=plain_audio(dialer), signalling="confidentiality")
                    assert media_proto(text_of(offer)) == "RTP/SAVP"
                    response = await sip.call(f"sip:peer@{LOOPBACK}:{phone.sip_port}", text_of(offer).encode())
                    answer = await client.accept_answer(session=offer.session, sdp=response.body, final=True)
                    plain = text_of(answer)
                    assert crypto_lines(plain) == []
                    (theirs,) = crypto_lines(response.body.decode())
                    assert theirs.suite in [line.suite for line in crypto_lines(text_of(offer))]
                    await check_conversation(client, offer.session, dialer, plain, theirs.suite, sip, phone)

    asyncio.run(run())
