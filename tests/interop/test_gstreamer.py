"""GStreamer's srtpdec and srtpenc against the agent's relay: negotiated keys, packets equal octet by octet.

Both elements stand on libsrtp. The packaged 1.22 knows AES_CM_128_HMAC_SHA1_80/_32, AES_256_CM_HMAC_SHA1_80/_32, both
GCM suites and the MKI; it has no AES-192.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from support.agent import AgentProcess
from support.calls import Secured, answer_from_peer, fresh_crypto, offer_from_peer, offer_to_peer
from support.media import MediaPair, rtp, sender_report
from support.peers import LOOPBACK, GstReceiver, GstSender, require
from support.tone import FRAME

SUITES = (
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
    "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM",
)
SSRC = 0x00C0FFEE
PACKETS = [rtp(number, os.urandom(FRAME), ssrc=SSRC) for number in range(100, 110)]
REPORT = sender_report(SSRC, len(PACKETS))


def agent(folder: Path, suite: str, **policy: object) -> AgentProcess:
    """learn_peer is off: sender and receiver are two programs here, the agent shall not follow the sender's port."""
    require("gstreamer")
    return AgentProcess(
        folder,
        policy={"sdes_e2e": "required", "suites": [suite], "accept_suites": [suite], **policy},
        relay={"learn_peer": False},
    )


def peer_hears_the_dialer(dialer: MediaPair, call: Secured, receiver: GstReceiver) -> None:
    receiver.expect(call.ours.suite, call.ours.key_salt, call.ours.mki)
    for packet in PACKETS:
        dialer.rtp.sendto(packet, call.loop_rtp)
        assert receiver.packet() == ("rtp", packet)
    dialer.rtcp.sendto(REPORT, call.loop_rtcp)
    assert receiver.packet() == ("rtcp", REPORT)


def dialer_hears_the_peer(dialer: MediaPair, call: Secured) -> None:
    theirs = call.theirs
    with GstSender(theirs.suite, theirs.key_salt, call.network_rtp, call.network_rtcp, theirs.mki) as sender:
        for packet in PACKETS:
            sender.send("rtp", packet)
            assert dialer.rtp.recv(2048) == packet
        sender.send("rtcp", REPORT)
        assert dialer.rtcp.recv(2048) == REPORT


@pytest.mark.interop("SDES", "offerer", "GStreamer")
@pytest.mark.parametrize("suite", SUITES)
def test_call_to_gstreamer_is_bit_exact_both_ways(suite: str, tmp_path: Path) -> None:
    """SRTP-1, SDES-5: each side's key from the SDP protects what that side sends."""

    async def run() -> None:
        with agent(tmp_path, suite) as process, MediaPair() as dialer, GstReceiver() as receiver:
            async with process.client() as client:
                there = (LOOPBACK, receiver.rtp_port)
                offer = await offer_to_peer(client, dialer, suite=suite)
                call = await answer_from_peer(client, offer, there, receiver.rtcp_port)
                peer_hears_the_dialer(dialer, call, receiver)
                dialer_hears_the_peer(dialer, call)

    asyncio.run(run())


@pytest.mark.interop("SDES", "answerer", "GStreamer")
@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"])
def test_call_from_gstreamer_with_different_mkis_is_bit_exact_both_ways(suite: str, tmp_path: Path) -> None:
    """SDES-10, SDES-12: packets from the peer carry the peer's MKI, ours carry ours (`|1:4`, SDES-11)."""

    async def run() -> None:
        with agent(tmp_path, suite, sdes_mki=True) as process, MediaPair() as dialer, GstReceiver() as receiver:
            async with process.client() as client:
                there = (LOOPBACK, receiver.rtp_port)
                crypto = fresh_crypto(7, suite, "|2^20|773:2")
                call = await offer_from_peer(client, dialer, there, receiver.rtcp_port, crypto)
                assert (call.ours.mki, call.theirs.mki) == (b"\0\0\0\1", b"\3\5")
                peer_hears_the_dialer(dialer, call, receiver)
                dialer_hears_the_peer(dialer, call)

    asyncio.run(run())
