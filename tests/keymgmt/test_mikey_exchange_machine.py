"""The machine around the MIKEY-TICKET exchanges: what goes out when, retries, forks, caches, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.mikey_world import (
    ALICE,
    ANSWER_SSRC,
    BOB,
    CAROL,
    OFFER,
    PROTOCOLS,
    RCC,
    Stream,
    World,
    account_of,
    same_keys,
)

from ueagent.errors import AuthenticationFailed, KmsError, UnexpectedMessage
from ueagent.keymgmt.kms import TicketCache
from ueagent.keymgmt.mikey_exchange import (
    RETRIES,
    TRANSITIONS,
    Agreed,
    AnswerReceived,
    AnswerWanted,
    Closed,
    Event,
    Failed,
    KmsPurpose,
    KmsReply,
    KmsUnreachable,
    MikeyExchange,
    OfferReceived,
    OfferWanted,
    PeerVerified,
    PutMikey,
    SendKmsRequest,
    State,
)
from ueagent.keymgmt.mikey_protection import consume_error
from ueagent.keymgmt.mikey_replay import RateLimit, ReplayCache
from ueagent.wire.mikey import parse_message

EVENTS = {
    OfferReceived: OfferReceived(b"", PROTOCOLS),
    KmsReply: KmsReply(b""),
    KmsUnreachable: KmsUnreachable(),
    AnswerReceived: AnswerReceived(b""),
    AnswerWanted: AnswerWanted({}),
}


@pytest.fixture
def world() -> World:
    return World()


class Ue:
    """A user's agent: caches that outlive one exchange."""

    def __init__(self, world: World, user: bytes) -> None:
        self.world, self.user = world, user
        self.tickets, self.replay, self.limit = TicketCache(), ReplayCache(), RateLimit()
        self.rng = Stream(user.decode())

    def exchange(self) -> MikeyExchange:
        account = account_of(self.user)
        return MikeyExchange(account, self.world.profile, self.rng, self.tickets, self.replay, self.limit)


def offer_wanted(world: World, *, reuse: bool = False) -> OfferWanted:
    return OfferWanted(world.wish(reuse=reuse), BOB, OFFER, (RCC,), PROTOCOLS)


def run(world: World, exchange: MikeyExchange, event: Event) -> list[object]:
    """The outputs, with every request to the KMS answered at once."""
    outputs: list[object] = []
    todo = list(exchange.handle(event, world.now))
    while todo:
        output = todo.pop(0)
        if isinstance(output, SendKmsRequest):
            serve = world.grant if output.purpose is KmsPurpose.TICKET_REQUEST else world.resolve
            todo += exchange.handle(KmsReply(serve(output.octets)), world.now)
        else:
            outputs.append(output)
    return outputs


def made_offer(world: World, ue: Ue, *, reuse: bool = False) -> tuple[MikeyExchange, bytes]:
    exchange = ue.exchange()
    (put,) = run(world, exchange, offer_wanted(world, reuse=reuse))
    assert isinstance(put, PutMikey)
    return exchange, put.octets


def made_answer(world: World, ue: Ue, octets: bytes) -> tuple[bytes, Agreed]:
    exchange = ue.exchange()
    assert run(world, exchange, OfferReceived(octets, PROTOCOLS)) == [PeerVerified(ALICE)]
    put, agreed = run(world, exchange, AnswerWanted(ANSWER_SSRC))
    assert isinstance(put, PutMikey)
    assert isinstance(agreed, Agreed)
    return put.octets, agreed


def failed(outputs: list[object]) -> Failed:
    (output,) = outputs
    assert isinstance(output, Failed)
    return output


def test_call_runs_through_both_machines(world: World) -> None:
    """KMS-40..47."""
    alice, bob = Ue(world, ALICE), Ue(world, BOB)
    caller, octets = made_offer(world, alice)
    answer, theirs = made_answer(world, bob, octets)
    (ours,) = run(world, caller, AnswerReceived(answer))
    assert isinstance(ours, Agreed)
    assert same_keys(ours.transfer, theirs.transfer)
    assert world.asked == 2


def test_second_call_needs_no_kms_where_the_ticket_may_be_reused(world: World) -> None:
    """KMS-49."""
    alice, bob = Ue(world, ALICE), Ue(world, BOB)
    for _ in range(2):
        caller, octets = made_offer(world, alice, reuse=True)
        answer, _theirs = made_answer(world, bob, octets)
        assert isinstance(run(world, caller, AnswerReceived(answer))[0], Agreed)
        caller.handle(Closed(), world.now)
    assert world.asked == 2


def test_kms_may_go_away_once_the_offer_is_out(world: World) -> None:
    """The KMS going away during a call changes nothing for that call; nor does an expired cache."""
    alice, bob = Ue(world, ALICE), Ue(world, BOB)
    caller, octets = made_offer(world, alice, reuse=True)
    answer, theirs = made_answer(world, bob, octets)
    alice.tickets.wipe()
    (ours,) = run(world, caller, AnswerReceived(answer))
    assert isinstance(ours, Agreed)
    assert same_keys(ours.transfer, theirs.transfer)


def test_every_fork_that_answers_gives_keys_of_its_own(world: World) -> None:
    """DYN-4, KMS-70."""
    alice = Ue(world, ALICE)
    exchange = alice.exchange()
    wanted = replace(offer_wanted(world), wish=world.wish(responders=(BOB, CAROL)))
    (put,) = run(world, exchange, wanted)
    assert isinstance(put, PutMikey)
    agreed = []
    for user in (BOB, CAROL):
        answer, theirs = made_answer(world, Ue(world, user), put.octets)
        (ours,) = run(world, exchange, AnswerReceived(answer))
        assert isinstance(ours, Agreed)
        assert same_keys(ours.transfer, theirs.transfer)
        agreed.append(ours.transfer)
    assert agreed[0].sessions[0].key != agreed[1].sessions[0].key


def test_request_is_repeated_as_a_new_message_and_then_given_up(world: World) -> None:
    """KMS-13."""
    exchange = Ue(world, ALICE).exchange()
    outputs = exchange.handle(offer_wanted(world), world.now)
    seen = []
    for _ in range(RETRIES):
        assert isinstance(outputs[0], SendKmsRequest)
        seen.append(outputs[0].octets)
        outputs = exchange.handle(KmsUnreachable(), world.now + 5)
    assert isinstance(outputs[0], SendKmsRequest)
    seen.append(outputs[0].octets)
    assert len(set(seen)) == RETRIES + 1
    assert len({parse_message(octets).header.csb_id for octets in seen}) == RETRIES + 1
    found = failed(list(exchange.handle(KmsUnreachable(), world.now + 10)))
    assert isinstance(found.error, KmsError)
    assert exchange.state is State.CLOSED


def test_refusal_of_the_kms_is_not_repeated(world: World) -> None:
    """KMS-6, KMS-12: 401 and 403."""
    exchange = Ue(world, ALICE).exchange()
    exchange.handle(offer_wanted(world), world.now)
    assert failed(list(exchange.handle(KmsUnreachable(refused=True), world.now))).error.code == "kms_refused"


@pytest.mark.parametrize("reply", [b"", b"<html>", b"\x01\x0d"])
def test_broken_reply_of_the_kms_ends_the_exchange(world: World, reply: bytes) -> None:
    exchange = Ue(world, ALICE).exchange()
    exchange.handle(offer_wanted(world), world.now)
    assert failed(list(exchange.handle(KmsReply(reply), world.now))).reply is None
    assert exchange.state is State.CLOSED


def test_refused_offer_comes_with_an_error_message(world: World) -> None:
    """KMS-53: 488 and the Error that the answer may carry; the KMS is not asked."""
    _caller, octets = made_offer(world, Ue(world, ALICE))
    before, exchange = world.asked, Ue(world, BOB).exchange()
    world.now += 400
    found = failed(run(world, exchange, OfferReceived(octets, PROTOCOLS)))
    assert found.error.sip_status_hint == 488
    assert found.reply is not None
    error = consume_error(found.reply, parse_message(octets).header, None)
    assert error is not None
    assert error.numbers == (1,)
    assert world.asked == before
    assert exchange.state is State.IDLE


def test_offer_that_is_not_authentic_gets_no_error_message(world: World) -> None:
    """RFC 6043, 5.4: the failure is one of authentication."""
    _caller, octets = made_offer(world, Ue(world, ALICE))
    exchange = Ue(world, BOB).exchange()
    found = failed(run(world, exchange, OfferReceived(octets[:-1] + bytes((octets[-1] ^ 1,)), PROTOCOLS)))
    assert isinstance(found.error, AuthenticationFailed)
    assert found.reply is None
    assert exchange.state is State.CLOSED


def test_error_message_in_place_of_an_offer_is_not_answered(world: World) -> None:
    """RFC 6043, 5.4."""
    _caller, octets = made_offer(world, Ue(world, ALICE))
    error = failed(run(world, Ue(world, BOB).exchange(), OfferReceived(octets, b"other"))).reply
    assert error is not None
    assert failed(run(world, Ue(world, BOB).exchange(), OfferReceived(error, PROTOCOLS))).reply is None


def test_forged_answer_leaves_the_offer_open(world: World) -> None:
    """KMS-48."""
    caller, octets = made_offer(world, Ue(world, ALICE))
    answer, _theirs = made_answer(world, Ue(world, BOB), octets)
    failed(run(world, caller, AnswerReceived(answer[:-1] + bytes((answer[-1] ^ 1,)))))
    assert isinstance(run(world, caller, AnswerReceived(answer))[0], Agreed)


def test_replayed_offer_is_refused_by_the_next_exchange(world: World) -> None:
    """KMS-51."""
    _caller, octets = made_offer(world, Ue(world, ALICE))
    bob = Ue(world, BOB)
    made_answer(world, bob, octets)
    before = world.asked
    assert failed(run(world, bob.exchange(), OfferReceived(octets, PROTOCOLS))).error.code == "mikey_invalid_time"
    assert world.asked == before


def test_flood_of_offers_does_not_reach_the_kms(world: World) -> None:
    """KMS-52."""
    alice, bob = Ue(world, ALICE), Ue(world, BOB)
    offers = [made_offer(world, alice, reuse=True)[1] for _ in range(11)]
    codes = [bob.exchange().handle(OfferReceived(octets, PROTOCOLS), world.now)[0] for octets in offers]
    assert [isinstance(code, SendKmsRequest) for code in codes] == [True] * 10 + [False]


@pytest.mark.parametrize("state", list(State), ids=lambda state: state.value)
def test_event_out_of_place_names_what_would_be_right_and_changes_nothing(world: World, state: State) -> None:
    exchange = Ue(world, ALICE).exchange()
    exchange.state = state
    for kind, event in EVENTS.items():
        if kind not in TRANSITIONS[state]:
            found = failed(list(exchange.handle(event, world.now)))
            assert isinstance(found.error, UnexpectedMessage)
            assert found.error.expected == tuple(known.__name__ for known in TRANSITIONS[state])
            assert exchange.state is state


def test_closed_exchange_has_wiped_its_ticket(world: World) -> None:
    caller, _octets = made_offer(world, Ue(world, ALICE))
    ticket = caller._ticket
    assert ticket is not None
    caller.handle(Closed(), world.now)
    assert len(ticket.mpki) == 0
    assert caller.state is State.CLOSED
