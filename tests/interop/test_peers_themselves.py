"""The peers against libsrtp, without the agent: their command lines do what the interop tests take for granted."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from pathlib import Path

import pytest
from pylibsrtp import Policy, Session
from support.media import MediaPair, goodbye, rtp, sender_report
from support.peers import LOOPBACK, Baresip, GstReceiver, GstSender, ffmpeg_receiver, ffmpeg_sender, require
from support.sdes import KEY_SALT, audio_sdp, crypto_lines, media_address, media_proto
from support.sip_dialer import SipDialer
from support.tone import FRAME, mulaw_to_linear, read_wav, share_at, sine_mulaw

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
SSRC = 0x00C0FFEE

pytestmark = pytest.mark.no_row("the peers themselves, without the agent")


def libsrtp(suite: str, key_salt: bytes, *, sending: bool) -> Session:
    kind = Policy.SSRC_ANY_OUTBOUND if sending else Policy.SSRC_ANY_INBOUND
    return Session(Policy(key=key_salt, ssrc_type=kind, srtp_profile=PROFILES[suite]))


@pytest.mark.parametrize("suite", PROFILES)
def test_gstreamer_reads_and_writes_what_libsrtp_writes_and_reads(suite: str) -> None:
    require("gstreamer")
    key_salt = os.urandom(KEY_SALT[suite])
    packets = [rtp(number, os.urandom(FRAME), ssrc=SSRC) for number in range(5)]
    report = sender_report(SSRC, 5)
    with MediaPair() as here, GstReceiver() as receiver:
        receiver.expect(suite, key_salt)
        outbound = libsrtp(suite, key_salt, sending=True)
        for packet in packets:
            here.rtp.sendto(outbound.protect(packet), (LOOPBACK, receiver.rtp_port))
            assert receiver.packet() == ("rtp", packet)
        here.rtcp.sendto(outbound.protect_rtcp(report), (LOOPBACK, receiver.rtcp_port))
        assert receiver.packet() == ("rtcp", report)
    with MediaPair() as here, GstSender(suite, key_salt, here.address, here.rtcp_address) as sender:
        inbound = libsrtp(suite, key_salt, sending=False)
        for packet in packets:
            sender.send("rtp", packet)
            assert inbound.unprotect(here.rtp.recv(2048)) == packet
        sender.send("rtcp", report)
        assert inbound.unprotect_rtcp(here.rtcp.recv(2048)) == report


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"])
def test_ffmpeg_reads_and_writes_what_libsrtp_writes_and_reads(suite: str) -> None:
    require("ffmpeg")
    key_salt = os.urandom(30)
    inline = base64.b64encode(key_salt).decode()
    speech = os.urandom(10 * FRAME)
    frames = [speech[at : at + FRAME] for at in range(0, len(speech), FRAME)]
    with MediaPair() as here:
        program, port = ffmpeg_receiver(suite, inline)
        with program:
            outbound = libsrtp(suite, key_salt, sending=True)
            here.send_paced(
                (outbound.protect(rtp(number, frame, ssrc=SSRC)) for number, frame in enumerate(frames)),
                (LOOPBACK, port),
            )
            here.rtcp.sendto(outbound.protect_rtcp(goodbye(SSRC)), (LOOPBACK, port + 1))
            assert program.rest() == speech
    with MediaPair() as here, ffmpeg_sender(suite, inline, here.address, here.rtcp_address[1]) as program:
        inbound = libsrtp(suite, key_salt, sending=False)
        program.say(speech)
        program.end_input()
        heard = b""
        while len(heard) < len(speech):
            heard += inbound.unprotect(here.rtp.recv(2048))[12:]
        assert heard == speech
        assert program.wait() == 0


def talk(call: MediaPair, key_out: bytes, key_in: bytes, to: tuple[str, int], suite: str) -> list[int]:
    """Sends a 700 Hz tone and returns a second of what came back."""
    outbound, inbound = libsrtp(suite, key_out, sending=True), libsrtp(suite, key_in, sending=False)
    tone = sine_mulaw(700, 150 * FRAME)
    frames = (rtp(n, tone[n * FRAME :][:FRAME], ssrc=SSRC) for n in range(150))
    done = threading.Event()
    speaker = threading.Thread(
        target=call.send_paced, args=((outbound.protect(frame) for frame in frames), to, done), daemon=True
    )
    speaker.start()
    heard: list[int] = []
    while len(heard) < 8000:
        heard += mulaw_to_linear(inbound.unprotect(call.rtp.recv(2048))[12:])
    speaker.join()
    return heard


@pytest.mark.parametrize("caller", ["baresip", "dialer"])
def test_baresip_holds_a_call_with_libsrtp(caller: str, tmp_path: Path) -> None:
    require("baresip")

    async def run() -> None:
        key = os.urandom(30)
        mine = f"1 AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(key).decode()}"
        async with SipDialer() as sip:
            with MediaPair() as call:
                if caller == "baresip":
                    phone = Baresip(tmp_path, tone=440, dial=sip.uri)
                    theirs = (await sip.incoming()).body.decode()
                    assert media_proto(theirs) == "RTP/SAVP"
                    await sip.accept(audio_sdp(call.address, call.rtcp_address[1], "RTP/SAVP", mine).encode())
                else:
                    phone = Baresip(tmp_path, tone=440, mediaenc="srtp")
                    offer = audio_sdp(call.address, call.rtcp_address[1], "RTP/SAVP", mine).encode()
                    theirs = (await sip.call(f"sip:peer@{LOOPBACK}:{phone.sip_port}", offer)).body.decode()
                with phone:
                    (line,) = crypto_lines(theirs)
                    heard = await asyncio.to_thread(talk, call, key, line.key_salt, media_address(theirs), line.suite)
                    await sip.hang_up()
                    assert share_at(heard, 440) > 0.8
        samples, rate = read_wav(phone.heard())
        assert share_at(samples, 700, rate) > 0.8

    asyncio.run(run())
