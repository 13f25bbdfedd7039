"""One secured audio line between the agent and a peer whose side of the SDP the test writes.

The helpers take the agent's secured SDP apart with support.sdes and give it the peer's: keys go from SDP to peer, in
both directions, and nowhere else.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass

from support.media import MediaPair
from support.sdes import KEY_SALT, CryptoLine, audio_sdp, crypto_lines, media_address, media_proto, rtcp_address

from ueagent.client import AgentClient


@dataclass(frozen=True)
class Secured:
    """An established line: which keys the SDP negotiated, and where each side listens."""

    session: str
    ours: CryptoLine  # protects what the agent sends
    theirs: CryptoLine  # protects what the peer sends
    network_rtp: tuple[str, int]  # the agent, towards the peer
    network_rtcp: tuple[str, int]
    loop_rtp: tuple[str, int]  # the agent, towards the dialer
    loop_rtcp: tuple[str, int]


def fresh_crypto(tag: int, suite: str, parameters: str = "") -> str:
    """The value of an a=crypto with a new key; `parameters` begins with `|`."""
    return f"{tag} {suite} inline:{base64.b64encode(os.urandom(KEY_SALT[suite])).decode()}{parameters}"


def _agreed(session: str, network: str, plain: str, theirs: str) -> Secured:
    (ours,) = crypto_lines(network)
    (peer,) = crypto_lines(theirs)
    assert media_proto(plain) == "RTP/AVP"
    assert crypto_lines(plain) == []
    return Secured(
        session, ours, peer, media_address(network), rtcp_address(network), media_address(plain), rtcp_address(plain)
    )


@dataclass(frozen=True)
class Pending:
    """An offer of the agent that the peer has not answered yet."""

    session: str
    sdp: str
    ours: CryptoLine


async def offer_to_peer(client: AgentClient, dialer: MediaPair, *, suite: str) -> Pending:
    """The agent offers the one suite of its policy. POL-3 and SDP-10 are met."""
    plain_offer = audio_sdp(dialer.address, dialer.rtcp_address[1], "RTP/AVP")
    offer = await client.create_offer(sdp=plain_offer, signalling="confidentiality")
    assert offer.sdp is not None
    assert media_proto(offer.sdp) == "RTP/SAVP"
    (ours,) = crypto_lines(offer.sdp)
    assert ours.suite == suite
    return Pending(offer.session, offer.sdp, ours)


async def answer_from_peer(client: AgentClient, offer: Pending, peer_rtp: tuple[str, int], peer_rtcp: int) -> Secured:
    """The peer answers with a fresh key and listens on these ports."""
    suite = offer.ours.suite
    answer = audio_sdp(peer_rtp, peer_rtcp, "RTP/SAVP", fresh_crypto(offer.ours.tag, suite))
    reply = await client.accept_answer(session=offer.session, sdp=answer, final=True)
    assert reply.sdp is not None
    assert [(line.mechanism, line.scope, line.suite) for line in reply.lines] == [("SDES", "e2e", suite)]
    return _agreed(offer.session, offer.sdp, reply.sdp, answer)


async def offer_from_peer(
    client: AgentClient, dialer: MediaPair, peer_rtp: tuple[str, int], peer_rtcp: int, crypto: str
) -> Secured:
    """The peer offers one a=crypto value, the agent answers."""
    offer = audio_sdp(peer_rtp, peer_rtcp, "RTP/SAVP", crypto)
    incoming = await client.accept_offer(sdp=offer, signalling="confidentiality")
    assert incoming.sdp is not None
    plain_answer = audio_sdp(dialer.address, dialer.rtcp_address[1], "RTP/AVP")
    answer = await client.create_answer(session=incoming.session, sdp=plain_answer)
    assert answer.sdp is not None
    assert media_proto(answer.sdp) == "RTP/SAVP"
    agreed = _agreed(incoming.session, answer.sdp, incoming.sdp, offer)
    assert (agreed.ours.tag, agreed.ours.suite) == (agreed.theirs.tag, agreed.theirs.suite)
    return agreed
