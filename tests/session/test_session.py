"""The session as a state machine: what may happen when, relays that fail, events of the media."""

from __future__ import annotations

import pytest
from support.pair import AT_EDGE, SECURE, Agent, Pair, applied, plain, tracked_secrets

from ueagent.errors import ResourceError, UnexpectedMessage
from ueagent.ipc.api import EventKind
from ueagent.model.media import Endpoint
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    Command,
    CreateAnswer,
    CreateOffer,
    DeclineOffer,
    Media,
    OfferFailed,
    RelayFailed,
    RelayOpened,
    Release,
)
from ueagent.session.effects import CloseRelay, Gone, Notify, OpenRelay, ReplyDone, ReplyError, ReplySdp
from ueagent.session.leg import _NOTICES
from ueagent.session.session import TRANSITIONS

COMMANDS: list[Command] = [
    CreateOffer(plain(), SECURE),
    AcceptAnswer(b"v=0\r\n", True),
    OfferFailed(488),
    AcceptOffer(b"v=0\r\n", SECURE),
    CreateAnswer(b"v=0\r\n"),
    DeclineOffer(),
    Release(),
]


def in_state(state: str) -> Agent:
    pair = Pair(Agent("alice"), Agent("bob"), AT_EDGE)
    agent = pair.alice
    match state:
        case "opening":
            agent.session.execute(CreateOffer(plain(), AT_EDGE), 0.0)
        case "offering":
            pair.offer()
        case "offered":
            pair.bob.text(AcceptOffer(applied(pair.offer()).encode(), AT_EDGE))
            agent = pair.bob
        case "established":
            pair.call()
        case "ended":
            agent.do(Release())
    assert agent.session.state == state
    return agent


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("state", TRANSITIONS)
def test_every_command_in_every_state_has_one_reply_or_is_named_unexpected(state: str, command: Command) -> None:
    agent = in_state(state)
    name = type(command).__name__
    if name in TRANSITIONS[state]:
        agent.do(command)  # asserts that there is one reply
        return
    before = agent.session.lines
    error = agent.error(command)
    assert isinstance(error, UnexpectedMessage)
    assert error.expected == tuple(TRANSITIONS[state])
    assert (agent.session.state, agent.session.lines) == (state, before)


def test_a_relay_that_does_not_open_fails_the_command_and_nothing_else() -> None:
    agent = Agent(no_relay=True)
    error = agent.error(CreateOffer(plain(), AT_EDGE))
    assert isinstance(error, ResourceError)
    assert agent.session.state == "new"
    agent.no_relay = False
    assert agent.text(CreateOffer(plain(), AT_EDGE))


def test_relays_that_did_open_are_closed_when_another_did_not() -> None:
    with tracked_secrets() as made:
        agent = Agent()
        session = agent.session
        effects = session.execute(CreateOffer(plain(5004, 5006), AT_EDGE), 0.0)
        assert [type(effect) for effect in effects] == [OpenRelay, OpenRelay]
        here = Endpoint("192.0.2.1", 4000, 4001)
        assert session.receive(RelayFailed(0, "no_ports"), 0.0) == []
        last = session.receive(RelayOpened(1, here, Endpoint("127.0.0.1", 4002, 4003)), 0.0)
        assert last[0] == CloseRelay(1)
        assert isinstance(last[1], ReplyError)
        assert session.state == "new"
        session.execute(Release(), 0.0)
    assert not [secret for secret in made if len(secret)]


def test_a_relay_that_fails_in_a_reoffer_leaves_the_call_as_it_was() -> None:
    pair = Pair()
    pair.call()
    pair.alice.no_relay = True
    assert pair.alice.error(CreateOffer(plain(5004, 5006), SECURE)).code == "no_relay"
    assert pair.alice.session.state == "established"
    pair.call()
    assert pair.speaks()


def test_a_session_released_while_it_waits_closes_what_comes() -> None:
    with tracked_secrets() as made:
        session = Agent().session
        session.execute(CreateOffer(plain(5004, 5006), AT_EDGE), 0.0)
        ports = Endpoint("127.0.0.1", 1, 2)
        session.receive(RelayOpened(0, ports, ports), 0.0)
        effects = session.execute(Release(), 0.0)
        assert effects == [CloseRelay(0), ReplyDone(), Gone("released")]
        assert session.receive(RelayOpened(1, ports, ports), 0.0) == [CloseRelay(1)]
    assert not [secret for secret in made if len(secret)]


def test_a_relay_nobody_waits_for_is_closed() -> None:
    agent = Agent()
    ports = Endpoint("127.0.0.1", 1, 2)
    assert agent.session.receive(RelayOpened(3, ports, ports), 0.0) == [CloseRelay(3)]
    assert agent.session.receive(RelayFailed(3, "late"), 0.0) == []


def test_rtcp_is_said_where_it_is_not_on_the_next_port() -> None:
    """RFC 3605."""
    agent = Agent()
    agent.session.execute(CreateOffer(plain(), AT_EDGE), 0.0)
    opened = RelayOpened(0, Endpoint("192.0.2.1", 4000, 4007), Endpoint("127.0.0.1", 5000, 5009))
    reply = agent.session.receive(opened, 0.0)[-1]
    assert isinstance(reply, ReplySdp)
    assert b"a=rtcp:4007\r\n" in reply.sdp


# ------------------------------------------------------------------------------------------------- media events --


@pytest.mark.parametrize(
    ("kind", "notice", "reason"),
    [
        (Media.FIRST_PACKET, "security_state", "first_packet"),
        (Media.NEW_KEY_SEEN, "keys_in_place", "new_key_seen"),
        (Media.SOFT_LIMIT, "rekey_wanted", "soft_limit"),
        (Media.RESTART, "rekey_wanted", "restart"),
        (Media.KEY_EXPIRED, "lifetime", "expired"),
        (Media.AUTH_BURST, "auth_failures", None),
        (Media.LATE_START, "late_start", None),
        (Media.PEER_MOVED, "peer_moved", None),
        (Media.IDLE, "media_idle", None),
        (Media.ENGINE_FAILED, "engine_failed", None),
    ],
)
def test_what_the_relay_sees_is_told(kind: Media, notice: str, reason: str | None) -> None:
    """SDES-19, SDES-13, POL-9."""
    pair = Pair()
    pair.call()
    (effect,) = pair.alice.hears(kind, direction="sent", ssrc=7, count=3)
    assert isinstance(effect, Notify)
    assert (effect.kind, effect.line, effect.direction, effect.ssrc, effect.count) == (notice, 0, "sent", 7, 3)
    assert effect.reason == reason
    assert effect.state == pair.alice.session.lines[0]


def test_every_notice_is_an_event_of_the_published_contract() -> None:
    published = set(EventKind.__args__)  # type: ignore[attr-defined]
    assert {kind for kind, _ in _NOTICES.values()} <= published
    assert set(Media) - set(_NOTICES) == {Media.OLD_KEY_GONE}


def test_an_expired_key_is_no_longer_in_place() -> None:
    """SDES-9: until new ones are."""
    pair = Pair()
    pair.call()
    pair.alice.hears(Media.KEY_EXPIRED)
    assert not pair.alice.session.lines[0].keys_in_place
    pair.call()
    assert pair.alice.session.lines[0].keys_in_place


def test_events_of_unknown_legs_are_nothing() -> None:
    assert Agent().hears(Media.IDLE, leg=9) == []


def test_keys_in_place_and_security_state_are_told_when_the_answer_stands() -> None:
    """POL-9."""
    pair = Pair()
    pair.call()
    for agent in (pair.alice, pair.bob):
        assert [notice.kind for notice in agent.notices] == ["keys_in_place", "security_state"]
        assert agent.notices[-1].state == agent.session.lines[0]


def test_no_error_and_no_event_holds_a_key() -> None:
    """POL-8: all that a session says, as repr, searched for all keys of the SDP."""
    pair = Pair()
    offer, answer = pair.call()
    keys = [part.split("\r")[0] for part in (offer + answer).split("inline:")[1:]]
    said = repr([*pair.alice.effects, *pair.bob.effects, AcceptOffer(offer.encode(), AT_EDGE)])
    said += repr(pair.alice.notices) + repr(pair.alice.session.lines)
    assert len(keys) == 6
    assert not [key for key in keys if key in said]
