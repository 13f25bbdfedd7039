"""CSB updates: new sessions and keys in a bundle that exists."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.mikey_world import OFFER, RCC, World, same_keys

from ueagent.errors import AgentError, UnexpectedMessage
from ueagent.keymgmt import mikey_update
from ueagent.keymgmt.mikey_errors import number_of
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.keymgmt.mikey_ticket import Transfer
from ueagent.model.keys import Secret
from ueagent.model.ticket import KeyType, SessionKey, TicketFlag
from ueagent.wire.mikey import CryptoSession, Message, build_message, parse_message
from ueagent.wire.mikey_payloads import Kemac, Randr, TicketPayload

MORE = (*OFFER, CryptoSession(3, 0, (1,), bytes.fromhex("0c0c0c0c")), CryptoSession(4, 0, (1,)))
SSRCS = {2: 0x0B0B0B0B, 4: 0x0D0D0D0D}
NEW = SessionKey(KeyType.TGK, b"\x77\x77", Secret(bytes(range(32))))


@pytest.fixture
def world() -> World:
    return World()


def supplying(transfer: Transfer) -> Transfer:
    """As if the ticket let both ends supply keys (flags L and M)."""
    terms = replace(transfer.terms, flags=transfer.terms.flags | TicketFlag.L | TicketFlag.M)
    return replace(transfer, terms=terms)


@pytest.mark.parametrize("by_initiator", [True, False])
def test_sessions_are_added_by_either_side(world: World, by_initiator: bool) -> None:
    """KMS-50: same CSB ID, no RAND, no ticket, no KEMAC (L=M=0), protected like the last message."""
    ours, theirs = world.call()
    one, other = (ours, theirs) if by_initiator else (theirs, ours)
    pending = mikey_update.create_csb_update(one, MORE, (), world.now + 5, world.profile, answer_wanted=True)
    message = pending.message
    assert message.header.csb_id == ours.header.csb_id
    assert message.header.answer_wanted
    assert [message.first(kind) for kind in (Randr, TicketPayload, Kemac)] == [None] * 3
    received = mikey_update.consume_csb_update(other, pending.octets, world.replay, world.now + 5, world.profile)
    octets, there = mikey_update.create_csb_answer(received, SSRCS, world.now + 5)
    here = mikey_update.consume_csb_answer(pending, octets, world.profile)
    assert same_keys(here, there)
    assert len(here.sessions) == 4
    assert here.sessions[0].key == ours.sessions[0].key
    assert here.sessions[2].key not in [session.key for session in ours.sessions]


@pytest.mark.parametrize("by_initiator", [True, False])
def test_new_key_changes_every_session_that_names_it(world: World, by_initiator: bool) -> None:
    """RFC 6043, 5.2: where the ticket allows it; the new TGK is not forked."""
    ours, theirs = map(supplying, world.call())
    one, other = (ours, theirs) if by_initiator else (theirs, ours)
    sessions = tuple(
        replace(session, session_data=agreed.ssrc.to_bytes(4, "big") if agreed.ssrc else b"", spi=NEW.spi)
        for session, agreed in zip(OFFER, ours.sessions, strict=True)
    )
    pending = mikey_update.create_csb_update(
        one, sessions, (), world.now, world.profile, answer_wanted=True, new_keys=(NEW,)
    )
    received = mikey_update.consume_csb_update(other, pending.octets, world.replay, world.now, world.profile)
    octets, there = mikey_update.create_csb_answer(received, SSRCS, world.now)
    here = mikey_update.consume_csb_answer(pending, octets, world.profile)
    assert same_keys(here, there)
    assert all(new.key != old.key for new, old in zip(here.sessions, ours.sessions, strict=True))


def test_update_without_answer_counts_at_once(world: World) -> None:
    """KMS-50: flag V is read here."""
    ours, theirs = world.call()
    sessions = tuple(
        CryptoSession(s.cs_id, s.protocol, (1,), s.ssrc.to_bytes(4, "big") if s.ssrc else b"", s.spi)
        for s in ours.sessions
    )
    pending = mikey_update.create_csb_update(ours, sessions, (), world.now, world.profile, answer_wanted=False)
    received = mikey_update.consume_csb_update(theirs, pending.octets, world.replay, world.now, world.profile)
    assert same_keys(mikey_update.finish_unanswered(pending), mikey_update.finish_unanswered(received))
    with pytest.raises(UnexpectedMessage):
        mikey_update.create_csb_answer(received, SSRCS, world.now)


def test_no_two_messages_under_one_key_have_one_time(world: World) -> None:
    """KMS-50: the clock stands still and the IV must not."""
    ours, theirs = map(supplying, world.call())
    times, sessions = [], tuple(replace(session, spi=NEW.spi) for session in OFFER)
    for _ in range(3):
        pending = mikey_update.create_csb_update(
            ours, sessions, (), world.now, world.profile, answer_wanted=True, new_keys=(NEW,)
        )
        received = mikey_update.consume_csb_update(theirs, pending.octets, world.replay, world.now, world.profile)
        octets, theirs = mikey_update.create_csb_answer(received, SSRCS, world.now)
        ours = mikey_update.consume_csb_answer(pending, octets, world.profile)
        times += [pending.transfer.last_time, theirs.last_time]
    assert len(set(times)) == len(times)


def test_key_that_the_ticket_does_not_allow_is_neither_sent_nor_taken(world: World) -> None:
    """KMS-26: L=M=0. Error 15."""
    ours, theirs = world.call()
    with pytest.raises(AgentError, match="mikey_invalid_ticket_policy"):
        mikey_update.create_csb_update(ours, OFFER, (), world.now, world.profile, answer_wanted=True, new_keys=(NEW,))
    pending = mikey_update.create_csb_update(
        supplying(ours), OFFER, (), world.now, world.profile, answer_wanted=True, new_keys=(NEW,)
    )
    with pytest.raises(AgentError, match="mikey_invalid_ticket_policy"):
        mikey_update.consume_csb_update(theirs, pending.octets, world.replay, world.now, world.profile)


REFUSED = {
    "wrong MAC": (lambda octets: octets[:-1] + bytes((octets[-1] ^ 1,)), 0),
    "another bundle": (lambda octets: octets[:4] + b"\x00\x00\x00\x01" + octets[8:], 12),
    "truncated": (lambda octets: octets[:30], 12),
    "a new random value": (
        lambda octets: build_message(
            Message(parse_message(octets).header, (Randr(1, bytes(32)), *parse_message(octets).payloads))
        ),
        12,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_update_is_refused_and_the_transfer_stays(world: World, case: str) -> None:
    ours, theirs = world.call()
    keys = [session.key.copy() for session in theirs.sessions]
    change, number = REFUSED[case]
    pending = mikey_update.create_csb_update(ours, MORE, (), world.now, world.profile, answer_wanted=True)
    with pytest.raises(AgentError) as caught:
        mikey_update.consume_csb_update(theirs, change(pending.octets), world.replay, world.now, world.profile)
    assert number_of(caught.value) == number
    assert [session.key for session in theirs.sessions] == keys
    assert mikey_update.consume_csb_update(theirs, pending.octets, world.replay, world.now, world.profile)


def test_replayed_update_is_refused(world: World) -> None:
    """KMS-51."""
    ours, theirs = world.call()
    pending = mikey_update.create_csb_update(ours, MORE, (), world.now, world.profile, answer_wanted=True)
    mikey_update.consume_csb_update(theirs, pending.octets, world.replay, world.now, world.profile)
    with pytest.raises(AgentError, match="mikey_invalid_time"):
        mikey_update.consume_csb_update(theirs, pending.octets, world.replay, world.now, world.profile)


def test_update_of_another_call_is_refused(world: World) -> None:
    ours, _theirs = world.call()
    _others, stranger = world.call()
    pending = mikey_update.create_csb_update(ours, MORE, (), world.now, world.profile, answer_wanted=True)
    with pytest.raises(AgentError, match="mikey_inconsistent"):
        mikey_update.consume_csb_update(stranger, pending.octets, ReplayCache(), world.now, world.profile)


def test_new_policy_comes_with_an_update(world: World) -> None:
    ours, theirs = world.call()
    policy = replace(RCC, policy=2)
    sessions = tuple(replace(session, policies=(2,)) for session in MORE)
    pending = mikey_update.create_csb_update(ours, sessions, (policy,), world.now, world.profile, answer_wanted=True)
    received = mikey_update.consume_csb_update(theirs, pending.octets, world.replay, world.now, world.profile)
    octets, there = mikey_update.create_csb_answer(received, SSRCS, world.now)
    assert same_keys(mikey_update.consume_csb_answer(pending, octets, world.profile), there)
