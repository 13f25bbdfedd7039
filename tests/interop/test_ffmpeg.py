"""ffmpeg's own SRTP (not libsrtp) against the agent's relay: it sends to a call, and it listens to one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from support.agent import AgentProcess
from support.calls import answer_from_peer, fresh_crypto, offer_from_peer, offer_to_peer
from support.media import MediaPair, goodbye, rtp
from support.peers import FFMPEG_SUITES, LOOPBACK, ffmpeg_receiver, ffmpeg_sender, require
from support.tone import FRAME

SSRC = 0x00C0FFEE
SPEECH = os.urandom(25 * FRAME)  # half a second
FRAMES = [SPEECH[at : at + FRAME] for at in range(0, len(SPEECH), FRAME)]


def agent(folder: Path, suite: str) -> AgentProcess:
    require("ffmpeg")
    return AgentProcess(folder, policy={"sdes_e2e": "required", "suites": [suite], "accept_suites": [suite]})


@pytest.mark.interop("SDES", "answerer", "ffmpeg")
@pytest.mark.parametrize("suite", FFMPEG_SUITES)
def test_ffmpeg_calls_and_the_dialer_hears_every_octet(suite: str, tmp_path: Path) -> None:
    """SDES-5: `-srtp_out_params` is the key of the offer."""

    async def run() -> None:
        with agent(tmp_path, suite) as process, MediaPair() as dialer, MediaPair() as unused:
            async with process.client() as client:
                crypto = fresh_crypto(1, suite)
                call = await offer_from_peer(client, dialer, unused.address, unused.rtcp_address[1], crypto)
                with ffmpeg_sender(suite, call.theirs.inline, call.network_rtp, call.network_rtcp[1]) as sender:
                    sender.say(SPEECH)
                    sender.end_input()
                    heard = b""
                    while len(heard) < len(SPEECH):
                        heard += dialer.rtp.recv(2048)[12:]
                    assert heard == SPEECH
                    assert sender.wait() == 0

    asyncio.run(run())


@pytest.mark.interop("SDES", "offerer", "ffmpeg")
@pytest.mark.parametrize("suite", FFMPEG_SUITES)
def test_ffmpeg_listens_and_writes_every_octet_of_the_dialer(suite: str, tmp_path: Path) -> None:
    """SDES-5: the key in ffmpeg's SDP is the key of our offer. Our SRTCP BYE must authenticate to end its recording."""

    async def run() -> None:
        with agent(tmp_path, suite) as process, MediaPair() as dialer:
            async with process.client() as client:
                offer = await offer_to_peer(client, dialer, suite=suite)
                listener, port = ffmpeg_receiver(suite, offer.ours.inline)
                with listener:
                    call = await answer_from_peer(client, offer, (LOOPBACK, port), port + 1)
                    packets = (rtp(number, frame, ssrc=SSRC) for number, frame in enumerate(FRAMES))
                    dialer.send_paced(packets, call.loop_rtp)
                    dialer.rtcp.sendto(goodbye(SSRC), call.loop_rtcp)
                    assert listener.rest() == SPEECH

    asyncio.run(run())
