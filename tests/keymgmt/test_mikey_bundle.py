"""A bundle of media lines from the first offer to re-keying, and what refuses to change it."""

from __future__ import annotations

import base64

import pytest
from support.mikey_bundles import AUDIO, CHAT, PLAIN_SRTP, VIDEO, Ends
from support.mikey_world import ALICE, BOB, PROTOCOLS

from ueagent.channel.credentials import PskCredentials
from ueagent.errors import AuthenticationFailed, KmsError, NegotiationFailed
from ueagent.keymgmt.mikey_bundle import CoveredLine, LineKeys
from ueagent.keymgmt.mikey_exchange import KmsUnreachable
from ueagent.keymgmt.mikey_protection import consume_error
from ueagent.model.keys import KeySet
from ueagent.wire.mikey import DataType, Protocol, parse_message
from ueagent.wire.mikey_payloads import Randr, TicketPayload


@pytest.fixture
def ends() -> Ends:
    return Ends()


def rtp(keys: LineKeys | None) -> KeySet:
    assert isinstance(keys, KeySet)
    return keys


def psk(keys: LineKeys | None) -> PskCredentials:
    assert isinstance(keys, PskCredentials)
    return keys


def talks(ends: Ends, index: int = 0) -> bool:
    """What the answer just brought fits together, each direction with a key of its own."""
    a, b = rtp(ends.alice.keys_of(index)), rtp(ends.bob.keys_of(index))
    return (
        a.send.key == b.receive[0].key
        and b.send.key == a.receive[0].key
        and a.send.key != a.receive[0].key
        and a.send.salt == b.receive[0].salt
    )


def test_a_call_gives_both_ends_keys_of_each_line_and_a_name_that_the_kms_vouches_for(ends: Ends) -> None:
    """KMS-41, KMS-45, KMS-47, KMS-61: audio, video and chat under one a=key-mgmt."""
    lines = (AUDIO, VIDEO, CHAT)
    offer = ends.offer(ends.alice, lines)
    ends.served(ends.bob, ends.bob.take_offer(offer, PROTOCOLS, lines, 0.0))
    assert ends.bob.identity == ALICE
    ends.bob.answer({}, 0.0)
    assert ends.bob.octets is not None
    ends.alice.take_answer(ends.bob.octets, 0.0)
    assert ends.alice.identity == BOB
    assert talks(ends, 0)
    assert talks(ends, 1)
    assert rtp(ends.alice.keys_of(0)).send.key != rtp(ends.alice.keys_of(1)).send.key
    ours, theirs = psk(ends.alice.keys_of(2)), psk(ends.bob.keys_of(2))
    assert (ours.identity, ours.key) == (theirs.identity, theirs.key)


def test_the_messages_say_what_they_are(ends: Ends) -> None:
    """KMS-41, KMS-46, KMS-60: TRANSFER_INIT and TRANSFER_RESP, as `mikey` and base64."""
    offer = ends.offer(ends.alice, (AUDIO,))
    answer = ends.answer(ends.bob, offer, (AUDIO,))
    assert parse_message(offer).header.data_type is DataType.TRANSFER_INIT
    assert parse_message(answer).header.data_type is DataType.TRANSFER_RESP
    assert ends.alice.attribute() == b"a=key-mgmt:mikey " + base64.b64encode(offer)


def test_a_later_offer_of_either_side_is_an_update_that_changes_no_key(ends: Ends) -> None:
    """KMS-50: no KMS, no random value, no ticket; the same bundle."""
    ends.exchange()
    ends.settle()
    asked = ends.world.asked
    for by in (ends.alice, ends.bob, ends.alice):
        ends.now += 10.0
        ends.exchange(by=by)
        offer = parse_message(by.octets or b"")
        assert offer.first(TicketPayload) is None
        assert offer.first(Randr) is None
        assert ends.alice.keys_of(0) is ends.bob.keys_of(0) is None
        ends.settle()
    assert ends.world.asked == asked


@pytest.mark.parametrize("side", ["alice", "bob"])
def test_a_new_line_gets_keys_by_an_update_and_the_old_one_keeps_its_own(ends: Ends, side: str) -> None:
    """KMS-50: new crypto sessions in a bundle that exists, from either side."""
    ends.exchange()
    ends.settle()
    asked = ends.world.asked
    ends.exchange((AUDIO, VIDEO, CHAT), by=getattr(ends, side))
    assert ends.alice.keys_of(0) is ends.bob.keys_of(0) is None
    assert talks(ends, 1)
    assert psk(ends.alice.keys_of(2)).key == psk(ends.bob.keys_of(2)).key
    assert ends.world.asked == asked


@pytest.mark.parametrize("side", ["alice", "bob"])
def test_fresh_keys_come_by_a_new_transfer(ends: Ends, side: str) -> None:
    """DYN-10, KMS-50: the ticket lets nobody supply keys, so there is a new one; old and new differ in their MKI."""
    ends.exchange()
    before = rtp(ends.alice.keys_of(0))
    ends.settle()
    ends.exchange(by=getattr(ends, side), fresh=True)
    assert talks(ends)
    after = rtp(ends.alice.keys_of(0))
    assert after.send.key != before.send.key
    assert after.send.mki != before.send.mki


def test_a_number_never_serves_another_line(ends: Ends) -> None:
    """A line that went away leaves its crypto sessions unused: what is left gets a new transfer, not an update."""
    ends.exchange((AUDIO, VIDEO))
    former = rtp(ends.alice.keys_of(0))
    ends.settle()
    ends.exchange((VIDEO,))
    assert talks(ends, 1)
    assert rtp(ends.alice.keys_of(1)).send.key != former.send.key


def test_an_update_that_moves_numbers_to_other_lines_is_refused(ends: Ends) -> None:
    ends.exchange((AUDIO, VIDEO))
    ends.settle()
    update = ends.offer(ends.alice, (AUDIO, VIDEO))
    with pytest.raises(NegotiationFailed, match="mikey_inconsistent") as caught:
        ends.bob.take_offer(update, PROTOCOLS, (VIDEO, CoveredLine(2, Protocol.SRTP)), 0.0)
    assert caught.value.sip_status_hint == 488


def test_a_line_that_was_refused_makes_the_next_offer_a_new_transfer(ends: Ends) -> None:
    ends.exchange((AUDIO, VIDEO))
    ends.alice.settle(whole=False)
    ends.bob.settle(whole=False)
    offer = ends.offer(ends.alice, (AUDIO, VIDEO))
    assert parse_message(offer).first(TicketPayload) is not None


def test_the_first_fork_that_answers_authentically_is_the_call_and_each_has_its_own_keys(ends: Ends) -> None:
    """DYN-4, KMS-70: what another fork derived opens nothing of this call."""
    fork = ends.fork()
    offer = ends.offer(ends.alice, (AUDIO,))
    first, second = ends.answer(ends.bob, offer, (AUDIO,)), ends.answer(fork, offer, (AUDIO,))
    ends.alice.take_answer(first, 0.0)
    assert talks(ends)
    assert rtp(ends.bob.keys_of(0)).send.key != rtp(fork.keys_of(0)).send.key
    ends.alice.settle(whole=True)
    with pytest.raises(NegotiationFailed):
        ends.alice.take_answer(second, 0.0)


def test_an_answer_that_is_not_authentic_gives_nothing_and_the_next_one_may(ends: Ends) -> None:
    """KMS-48."""
    answer = ends.answer(ends.bob, ends.offer(ends.alice, (AUDIO,)), (AUDIO,))
    with pytest.raises(AuthenticationFailed):
        ends.alice.take_answer(answer[:-1] + bytes((answer[-1] ^ 1,)), 0.0)
    ends.alice.take_answer(answer, 0.0)
    assert talks(ends)


def test_a_forged_offer_is_refused_with_what_sip_may_say(ends: Ends) -> None:
    """KMS-45, KMS-53: 488 with a Warning; nobody is told why a MAC is wrong."""
    offer = ends.offer(ends.alice, (AUDIO,))
    forged = offer[:-1] + bytes((offer[-1] ^ 1,))
    request = ends.bob.take_offer(forged, PROTOCOLS, (AUDIO,), 0.0)
    with pytest.raises((AuthenticationFailed, KmsError)) as caught:
        ends.served(ends.bob, request)
    assert (caught.value.sip_status_hint, caught.value.sip_warning) == (488, 399)
    assert caught.value.key_mgmt is None


def test_a_refusal_that_may_be_told_carries_an_error_message(ends: Ends) -> None:
    """KMS-53: here the crypto sessions are not those of the m-lines."""
    offer = ends.offer(ends.alice, (AUDIO, VIDEO))
    with pytest.raises(NegotiationFailed, match="mikey_inconsistent") as caught:
        ends.bob.take_offer(offer, PROTOCOLS, (AUDIO,), 0.0)
    assert caught.value.key_mgmt is not None
    reply = base64.b64decode(caught.value.key_mgmt.removeprefix("mikey "))
    error = consume_error(reply, parse_message(offer).header, None)
    assert error is not None
    assert [int(number) for number in error.numbers] == [12]


def test_an_offer_without_a_protocol_that_its_sender_listed_is_refused(ends: Ends) -> None:
    """KMS-64."""
    with pytest.raises(NegotiationFailed, match="mikey_bidding_down"):
        ends.bob.take_offer(ends.offer(ends.alice, (AUDIO,)), b"mikey;other", (AUDIO,), 0.0)


def test_a_replayed_update_changes_nothing(ends: Ends) -> None:
    """KMS-51."""
    ends.exchange()
    ends.settle()
    update = ends.offer(ends.alice, (AUDIO,))
    ends.answer(ends.bob, update, (AUDIO,))
    ends.bob.roll_back()
    with pytest.raises(NegotiationFailed, match="mikey_invalid_time"):
        ends.bob.take_offer(update, PROTOCOLS, (AUDIO,), 0.0)
    ends.exchange()


def test_a_kms_that_gives_nothing_ends_the_offer_and_leaves_the_call_alone(ends: Ends) -> None:
    """KMS-13: what held goes on, and the next offer needs no KMS."""
    ends.exchange()
    ends.settle()
    ends.alice.offer((AUDIO,), BOB, (PLAIN_SRTP,), fresh=True, now=0.0)
    with pytest.raises(KmsError, match="kms_refused"):
        ends.alice.kms_replied(KmsUnreachable(refused=True), 0.0)
    ends.alice.roll_back()
    ends.exchange()
    assert ends.alice.keys_of(0) is ends.bob.keys_of(0) is None


def test_rolled_back_offers_leave_what_held(ends: Ends) -> None:
    """SDES-16, for bundles."""
    ends.exchange()
    ends.settle()
    ends.exchange(fresh=True)
    ends.alice.roll_back()
    ends.bob.roll_back()
    ends.exchange()
    assert ends.alice.keys_of(0) is ends.bob.keys_of(0) is None
