"""A call whose keys only the accelerator had, when that is lost: hold, re-key or end, as policy says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.pair import AT_EDGE, Agent, Pair, dialer_answer, plain

from ueagent.model.security import CustodyLoss, SecurityPolicy
from ueagent.session.commands import AcceptAnswer, AcceptOffer, CreateAnswer, CreateOffer, Media
from ueagent.session.effects import CloseRelay, Effect, Gone, InstallKeys, Notify, SetMode

LOST = "accelerator_lost"


def called(loss: CustodyLoss, *, emergency: bool = False) -> Pair:
    pair = Pair(
        Agent("alice", SecurityPolicy(custody_loss=loss)),
        Agent("bob", address="192.0.2.20"),
        replace(AT_EDGE, emergency=emergency),
    )
    pair.call()
    return pair


def lose(agent: Agent) -> list[Effect]:
    """The relay tells it; what the session wants done is done."""
    effects = agent.hears(Media.KEYS_LOST)
    for effect in effects:
        agent._perform(effect)
    return effects


def told(effects: list[Effect]) -> list[tuple[str, str | None]]:
    return [(effect.kind, effect.reason) for effect in effects if isinstance(effect, Notify)]


@pytest.mark.parametrize("loss", CustodyLoss)
def test_nothing_passes_from_the_loss_on(loss: CustodyLoss) -> None:
    pair = called(loss)
    effects = lose(pair.alice)
    assert isinstance(effects[0], SetMode)
    assert effects[0].mode == "closed"
    assert told(effects)[0] == ("engine_failed", LOST)


def test_a_call_on_hold_asks_for_nothing_and_says_why_it_has_no_keys() -> None:
    pair = called(CustodyLoss.HOLD)
    effects = lose(pair.alice)
    assert told(effects) == [("engine_failed", LOST)]
    (line,) = pair.alice.session.lines
    assert (line.keys_in_place, line.reason) == (False, LOST)
    assert pair.alice.session.state == "established"


def test_a_call_that_shall_be_rekeyed_asks_the_dialer_for_a_reoffer() -> None:
    pair = called(CustodyLoss.REKEY)
    assert told(lose(pair.alice)) == [("engine_failed", LOST), ("rekey_wanted", LOST)]


def test_a_call_that_shall_end_ends() -> None:
    pair = called(CustodyLoss.END)
    effects = lose(pair.alice)
    assert [type(effect) for effect in effects[-2:]] == [CloseRelay, Gone]
    assert (pair.alice.gone, pair.alice.session.state, pair.alice.relays) == (LOST, "ended", {})


def test_an_emergency_call_is_not_ended_but_rekeyed() -> None:
    """POL-7."""
    pair = called(CustodyLoss.END, emergency=True)
    assert told(lose(pair.alice)) == [("engine_failed", LOST), ("rekey_wanted", LOST)]
    assert pair.alice.session.state == "established"


@pytest.mark.parametrize("loss", [CustodyLoss.HOLD, CustodyLoss.REKEY])
@pytest.mark.parametrize("by_us", [True, False], ids=["our-offer", "their-offer"])
def test_the_next_exchange_brings_new_keys_both_ways(loss: CustodyLoss, by_us: bool) -> None:
    """SDES-19: no key that was lost is used again, whoever offers and whatever the dialer asks for."""
    pair = called(loss)
    before = pair.alice.relays[0].send
    lose(pair.alice)
    pair.call(by=pair.alice if by_us else pair.bob)
    relay = pair.alice.relays[0]
    assert relay.send != before
    assert (relay.sends_installed, relay.receives_installed, relay.mode) == (2, 2, "secure")
    assert pair.speaks()
    (line,) = pair.alice.session.lines
    assert (line.keys_in_place, line.reason) == (True, None)


def test_a_key_of_the_far_side_that_stays_the_same_is_installed_again() -> None:
    pair = called(CustodyLoss.REKEY)
    lose(pair.alice)
    theirs = pair.alice.relays[0].receive
    offer = pair.bob.text(CreateOffer(plain(6000), AT_EDGE))  # bob repeats his key
    to_alice = pair.alice.text(AcceptOffer(offer.encode(), AT_EDGE))
    pair.alice.text(CreateAnswer(dialer_answer(to_alice)))
    assert (pair.alice.relays[0].receive, pair.alice.relays[0].receives_installed) == (theirs, 2)


def test_a_loss_while_an_offer_repeats_the_key_leaves_the_line_without_one() -> None:
    """The offer is out and cannot be taken back; the key in it must not be used with indices that start anew."""
    pair = called(CustodyLoss.REKEY)
    offer = pair.alice.text(CreateOffer(plain(5004), AT_EDGE))
    lose(pair.alice)
    to_bob = pair.bob.text(AcceptOffer(offer.replace("a=3ge2ae:requested\r\n", "").encode(), AT_EDGE))
    answer = pair.bob.text(CreateAnswer(dialer_answer(to_bob)))
    pair.alice.text(AcceptAnswer(answer.encode(), final=True))
    assert not [found for found in pair.alice.effects if isinstance(found, InstallKeys) and found.send]
    (line,) = pair.alice.session.lines
    assert (line.keys_in_place, line.reason) == (False, LOST)
    pair.call()
    assert pair.alice.relays[0].sends_installed == 2
    assert pair.alice.session.lines[0].keys_in_place


def test_a_line_without_keys_loses_none() -> None:
    agent = Agent("alice")
    agent.text(CreateOffer(plain(5004), AT_EDGE))
    assert agent.hears(Media.KEYS_LOST) == []
