"""Damaged SDP at every step: one typed error or one reply, no exception, no key in an error, and the call goes on."""

from __future__ import annotations

import random

import pytest
from support.pair import AT_EDGE, Agent, Pair, applied, dialer_answer, held, plain, tracked_secrets

from ueagent.errors import AgentError
from ueagent.session.commands import AcceptAnswer, AcceptOffer, Command, CreateAnswer, CreateOffer, Release
from ueagent.session.effects import ReplyError

ROUNDS = 400
WORDS = [b"\r\n", b"\n", b"m=audio 5 RTP/SAVP 0\r\n", b"a=crypto:1 ", b"inline:", b"|1:4", b"|2^49", b"\x00", b"\xff"]
WORDS += [b"a=3ge2ae:applied\r\n", b"c=IN IP4 0.0.0.0\r\n", b"RTP/AVP", b"UDP/TLS/RTP/SAVP", b";", b" WSH=99999", b"0"]
WORDS += [
    b"a=rtcp:0\r\n",
    b"a=rtcp:9 IN IP6 ::1\r\n",
    b"m=message 9 TCP/MSRP *\r\n",
    b"c=IN IP6 ::\r\n",
    b"/127",
    b"%lo",
]


def damaged(rng: random.Random, sdp: bytes) -> bytes:
    out = bytearray(sdp)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(out) + 1)
        end = start + rng.choice([0, 0, 1, 2, 30])
        match rng.randrange(3):
            case 0:
                out[start:end] = rng.choice(WORDS)
            case 1:
                out[start:end] = rng.randbytes(rng.randint(0, 3))
            case _:
                out[start:start] = out[end : end + rng.randint(0, 200)]
    return bytes(out)


def command(kind: type[Command], sdp: bytes) -> Command:
    if kind is AcceptOffer:
        return AcceptOffer(sdp, AT_EDGE)
    if kind is CreateOffer:
        return CreateOffer(sdp, AT_EDGE)
    return AcceptAnswer(sdp, True) if kind is AcceptAnswer else CreateAnswer(sdp)


@pytest.mark.parametrize("stage", ["CreateOffer", "AcceptOffer", "CreateAnswer", "AcceptAnswer"])
@pytest.mark.parametrize("established", [False, True])
def test_damaged_sdp_is_an_error_or_a_reply_and_never_more(stage: str, established: bool) -> None:
    rng = random.Random(f"{stage}{established}")
    refused = 0
    for round_ in range(ROUNDS):
        with tracked_secrets() as made:
            pair = Pair(Agent(f"a{round_}"), Agent(f"b{round_}"), AT_EDGE)
            if established:
                pair.call(plain(5004, 5006))
                assert held(made)
            refused += attempt(pair, stage, rng)
            for agent in (pair.alice, pair.bob):
                agent.do(Release())
            pair.forget()
            # A line of the SDP that turns out invalid half way drops its keys, which wipes them.
            assert not held(made), round_
    assert 0 < refused < ROUNDS


def attempt(pair: Pair, stage: str, rng: random.Random) -> bool:
    """Whether the damaged step was refused; then the undamaged one must still work."""
    agent, good, kind = pair.alice, plain(5004, 5006), CreateOffer
    if stage != "CreateOffer":
        good = applied(pair.alice.text(CreateOffer(good, AT_EDGE))).encode()
        agent, kind = pair.bob, AcceptOffer
    if stage in ("CreateAnswer", "AcceptAnswer"):
        good = dialer_answer(pair.bob.text(AcceptOffer(good, AT_EDGE)))
        kind = CreateAnswer
    if stage == "AcceptAnswer":
        good = pair.bob.text(CreateAnswer(good)).encode()
        agent, kind = pair.alice, AcceptAnswer
    before = agent.session.state, agent.session.lines
    reply = agent.do(command(kind, damaged(rng, good)))
    if not isinstance(reply, ReplyError):
        return False
    assert isinstance(reply.error, AgentError)
    assert (agent.session.state, agent.session.lines) == before
    assert not any(part[:20].decode("latin-1") in str(reply.error) for part in good.split(b"inline:")[1:])
    agent.text(command(kind, good))
    return True
