"""Calls that are keyed through a KMS, seen from both dialers: TS 33.328, 7.2.3; RFC 6043; RFC 4567."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from support.kms_pair import KMS_POLICY, OPEN_SIP, TO_BOB, KmsAgent, kms_pair
from support.mikey_world import ALICE, BOB, CAROL
from support.pair import Agent, Pair, dialer_answer, held, plain, tracked_secrets

from ueagent.errors import AuthenticationFailed, KmsError, NegotiationFailed, UnexpectedMessage
from ueagent.model.keys import RocCarrying
from ueagent.model.security import LineSecurity, Mechanism, Scope, Setting
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    CreateAnswer,
    CreateOffer,
    DeclineOffer,
    Dialog,
    Evidence,
    Media,
    OfferFailed,
    Release,
)
from ueagent.session.effects import AskKms, InstallKeys, ReplySdp
from ueagent.wire.mikey import DataType, Message, parse_message
from ueagent.wire.mikey_payloads import Sp, TicketPayload
from ueagent.wire.mikey_policy import read_srtp_policy
from ueagent.wire.sdp import parse_sdp

REQUIRED = replace(KMS_POLICY, kms_e2e=Setting.REQUIRED)
FALLBACK = replace(KMS_POLICY, sdes_e2e=Setting.PREFERRED)


def mikey(sdp: str, line: int | None = None) -> Message:
    return parse_message(mikey_octets(sdp, line))


def mikey_octets(sdp: str, line: int | None = None) -> bytes:
    tree = parse_sdp(sdp.encode())
    section = tree.session if line is None else tree.media[line]
    attribute = section.attribute("key-mgmt")
    assert attribute is not None
    return base64.b64decode((attribute.value or b"").removeprefix(b"mikey "))


def security(agent: Agent, line: int = 0) -> LineSecurity:
    return agent.session.lines[line]


def agent_of(agent: Agent) -> KmsAgent:
    assert isinstance(agent, KmsAgent)
    return agent


def test_a_call_is_end_to_end_and_tells_who_the_other_is() -> None:
    """M4, KMS-41, KMS-45, KMS-47: no crypto, no 3ge2ae; SIP need not be protected."""
    pair = kms_pair(evidence=OPEN_SIP)
    offer, answer = pair.call()
    assert "m=audio 40004 RTP/SAVP 0" in offer
    assert offer.index("a=key-mgmt:mikey ") < offer.index("m=")
    assert "crypto" not in offer
    assert "3ge2ae" not in offer
    assert mikey(offer).header.data_type is DataType.TRANSFER_INIT
    assert mikey(answer).header.data_type is DataType.TRANSFER_RESP
    assert pair.speaks()
    for agent, other in ((pair.alice, BOB), (pair.bob, ALICE)):
        found = security(agent)
        assert (found.mechanism, found.scope, found.assured) == (Mechanism.MIKEY_TICKET, Scope.E2E, True)
        assert (found.identity, found.identity_basis, found.peer) == (other.decode(), "verified", "peer")
        assert found.keys_in_place


@pytest.mark.parametrize("rate", [64, 1])
def test_packets_of_a_kms_call_carry_their_roc(rate: int) -> None:
    """KMS-35, RCC-5, SRTP-3: mode 2 with a tag of 14 octets; R is the offerer's."""
    pair = kms_pair(replace(KMS_POLICY, kms_rcc_rate=rate))
    offer, _ = pair.call()
    said = read_srtp_policy(mikey(offer).all(Sp)[0])
    assert (said.rcc_mode, said.roc_rate, said.srtp_tag_length, said.srtcp_tag_length) == (2, rate, 14, 10)
    assert pair.speaks()
    assert [agent.relays[0].rcc for agent in (pair.alice, pair.bob)] == [RocCarrying(2, rate, 14)] * 2


def test_who_waives_the_roc_offers_none_and_still_takes_it() -> None:
    """RCC-7, OPEN-5: GCM, which cannot carry it, or policy; an offer that has it is answered with it."""
    plain_policy = replace(KMS_POLICY, kms_rcc=False)
    gcm = replace(KMS_POLICY, kms_suites=("AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"))
    for policy, modes in ((plain_policy, [None, None]), (gcm, [None, 2])):
        pair = kms_pair(policy)
        offer, _ = pair.call()
        assert [read_srtp_policy(said).rcc_mode for said in mikey(offer).all(Sp)] == modes
        assert pair.speaks()
        assert pair.alice.relays[0].rcc is pair.bob.relays[0].rcc is None
    pair = kms_pair(callee=plain_policy)
    pair.call()
    assert pair.bob.relays[0].rcc == RocCarrying(2, 64, 14)


def test_the_callee_hears_who_calls_before_it_rings() -> None:
    """KMS-45: the reply to AcceptOffer comes when the KMS has vouched."""
    pair = kms_pair()
    bob = pair.bob
    reply = bob.do(AcceptOffer(pair.offer().encode(), TO_BOB))
    assert isinstance(reply, ReplySdp)
    assert (reply.lines[0].identity, reply.lines[0].identity_basis) == (ALICE.decode(), "verified")
    assert "key-mgmt" not in reply.sdp.decode()
    assert "RTP/AVP 0" in reply.sdp.decode()
    assert bob.relays[0].mode == "closed"


def test_every_line_is_under_one_attribute_of_session_level() -> None:
    """KMS-61, KMS-62: four crypto sessions, two for each line."""
    pair = kms_pair()
    offer, _ = pair.call(plain(5004, 5006))
    assert offer.count("a=key-mgmt:") == 1
    assert [session.cs_id for session in mikey(offer).header.crypto_sessions] == [1, 2, 3, 4]
    assert pair.speaks(0)
    assert pair.speaks(1)
    assert pair.alice.relays[0].send != pair.alice.relays[1].send


def test_a_line_that_is_not_ours_moves_the_attribute_to_media_level() -> None:
    """KMS-61: never both levels."""
    pair = kms_pair()
    offer, answer = pair.call(plain(5004, 5006).replace(b"m=audio 5006 RTP/AVP", b"m=text 5006 TCP/UNHEARD"))
    for sdp in (offer, answer):
        assert parse_sdp(sdp.encode()).session.attribute("key-mgmt") is None
        assert mikey(sdp, 0).header.crypto_sessions[0].cs_id == 1
    assert pair.speaks(0)


def test_the_dialers_ssrc_is_offered() -> None:
    """KMS-62, KMS-66: where the dialer names one; 0 stands for one that nobody knows yet."""
    pair = kms_pair()
    offer = pair.offer(plain(5004, extra="a=ssrc:66051 cname:x"))
    assert [session.session_data for session in mikey(offer).header.crypto_sessions] == [b"\0\1\2\3", b""]


@pytest.mark.parametrize("text", ["9" * 5000, "4294967296", "-1", ""])
def test_an_ssrc_that_is_none_is_as_one_that_nobody_knows(text: str) -> None:
    """KMS-66: in the dialer's SDP and in that of the far end."""
    pair = kms_pair()
    offer, answer = pair.call(plain(5004, extra=f"a=ssrc:{text} cname:x"))
    assert f"a=ssrc:{text} " in offer
    assert mikey(offer).header.crypto_sessions[0].session_data == bytes(4)
    assert mikey(answer).header.data_type is DataType.TRANSFER_RESP
    assert pair.speaks()


def test_the_call_goes_on_through_hold_and_resume_without_new_keys_and_without_the_kms() -> None:
    """KMS-50, DYN-7, DYN-9: later offers carry a CSB update; the KMS going away changes nothing for the call."""
    pair = kms_pair()
    pair.call()
    agent_of(pair.alice).silent = agent_of(pair.bob).silent = True
    for by in (pair.alice, pair.bob):
        offer, answer = pair.call(plain(5004, extra="a=sendonly"), by=by)
        assert mikey(offer).first(TicketPayload) is None
        assert mikey(answer).header.data_type is DataType.TRANSFER_RESP
    assert pair.alice.relays[0].sends_installed == pair.bob.relays[0].receives_installed == 1
    assert pair.speaks()
    assert security(pair.alice).identity_basis == "verified"


@pytest.mark.parametrize("caller", ["alice", "bob"])
def test_rekeying_draws_keys_by_a_new_ticket(caller: str) -> None:
    """DYN-10, KMS-50: from either side; both directions change."""
    pair = kms_pair()
    pair.call()
    before = pair.alice.relays[0].send, pair.bob.relays[0].send
    pair.call(by=getattr(pair, caller), rekey=True)
    assert pair.speaks()
    assert pair.alice.relays[0].send != before[0]
    assert pair.bob.relays[0].send != before[1]


def test_a_key_that_wears_out_makes_the_next_offer_a_new_transfer() -> None:
    """SDES-19, for keys of a KMS."""
    pair = kms_pair()
    pair.call()
    before = pair.alice.relays[0].send
    pair.alice.hears(Media.SOFT_LIMIT, direction="sent")
    pair.call()
    assert pair.speaks()
    assert pair.alice.relays[0].send != before
    after = pair.alice.relays[0].send
    pair.call()
    assert pair.alice.relays[0].send == after


def test_a_rekeying_that_the_kms_does_not_serve_leaves_the_call_as_it_is() -> None:
    """The KMS going away during a call changes nothing for that call."""
    pair = kms_pair()
    pair.call()
    agent_of(pair.alice).silent = True
    assert isinstance(pair.alice.error(CreateOffer(plain(), TO_BOB, rekey=True)), KmsError)
    assert pair.alice.session.state == "established"
    assert security(pair.alice).keys_in_place
    pair.call()
    assert pair.speaks()


def test_a_new_line_joins_the_bundle() -> None:
    """KMS-50: its crypto sessions are new, those of the first line and its keys stay."""
    pair = kms_pair()
    pair.call()
    offer, _ = pair.call(plain(5004, 5006))
    assert mikey(offer).first(TicketPayload) is None
    assert pair.alice.relays[0].sends_installed == 1
    assert pair.speaks(0)
    assert pair.speaks(1)


@pytest.mark.parametrize("mangle", ["removed", "forged", "of another call"])
def test_without_an_authentic_answer_nothing_is_sent_or_opened(mangle: str) -> None:
    """KMS-48, KMS-71: no media either way; an answer that follows and is right still makes the call."""
    pair = kms_pair()
    offer = pair.offer()
    answer = pair.bob.text(CreateAnswer(dialer_answer(pair.bob.text(AcceptOffer(offer.encode(), TO_BOB)))))
    octets = mikey_octets(answer)
    bad = answer.replace(base64.b64encode(octets).decode(), base64.b64encode(octets[:-1] + b"\0").decode())
    if mangle == "removed":
        bad = "".join(line for line in answer.splitlines(keepends=True) if "key-mgmt" not in line)
    if mangle == "of another call":
        other = kms_pair()
        other.call()
        _, bad = other.call(rekey=True)
    error = pair.alice.error(AcceptAnswer(bad.encode(), final=True))
    assert isinstance(error, NegotiationFailed | AuthenticationFailed)
    assert pair.alice.relays[0].mode == "closed"
    assert pair.alice.count(InstallKeys) == 0
    pair.alice.text(AcceptAnswer(answer.encode(), final=True))
    assert pair.speaks()


def test_the_answer_of_another_fork_does_not_disturb_the_first() -> None:
    """DYN-4, DYN-6, KMS-70: both answers are authentic, with keys of their own."""
    pair = kms_pair()
    world = agent_of(pair.alice).world
    fork = KmsAgent("fork", KMS_POLICY, address="192.0.2.30", user=BOB, world=world)
    offer = pair.offer()
    answers = [
        agent.text(CreateAnswer(dialer_answer(agent.text(AcceptOffer(offer.encode(), TO_BOB)))))
        for agent in (pair.bob, fork)
    ]
    pair.alice.text(AcceptAnswer(answers[0].encode(), final=False, dialog=Dialog("c", "a", "bob")))
    error = pair.alice.error(AcceptAnswer(answers[1].encode(), final=True, dialog=Dialog("c", "a", "fork")))
    assert isinstance(error, UnexpectedMessage)
    assert error.code == "other_dialog"
    assert pair.speaks()
    assert fork.relays[0].send not in pair.alice.relays[0].receive


def test_an_answer_whose_mikey_differs_is_told() -> None:
    """DYN-6: a later response of the same dialog."""
    pair = kms_pair()
    _, answer = pair.call()
    octets = mikey_octets(answer)
    other = answer.replace(base64.b64encode(octets).decode(), base64.b64encode(octets[:-1] + b"\0").decode())
    reply = pair.alice.do(AcceptAnswer(other.encode(), final=True))
    assert isinstance(reply, ReplySdp)
    assert reply.warnings == ("answer_keys_differ",)


def test_an_identity_that_sip_asserts_and_the_kms_does_not_is_told() -> None:
    """KMS-47: what is shown is who the KMS names, on either side."""
    pair = kms_pair()
    offer = pair.offer()
    told = pair.bob.do(AcceptOffer(offer.encode(), replace(TO_BOB, asserted_identity=CAROL.decode())))
    assert isinstance(told, ReplySdp)
    assert told.warnings == ("asserted_identity_differs",)
    assert told.lines[0].identity == ALICE.decode()
    answer = pair.bob.text(CreateAnswer(dialer_answer(told.sdp.decode())))
    reply = pair.alice.do(AcceptAnswer(answer.encode(), final=True, asserted_identity=CAROL.decode()))
    assert isinstance(reply, ReplySdp)
    assert reply.warnings == ("asserted_identity_differs",)
    assert reply.lines[0].identity == BOB.decode()


def test_the_same_user_in_another_spelling_is_the_same() -> None:
    """KMS-47: URI parameters and the case of a host do not tell users apart."""
    pair = kms_pair()
    asserted = replace(TO_BOB, asserted_identity="<sip:alice@EXAMPLE.com;user=phone>")
    told = pair.bob.do(AcceptOffer(pair.offer().encode(), asserted))
    assert isinstance(told, ReplySdp)
    assert told.warnings == ()


def test_a_forged_offer_is_refused_with_what_sip_may_say_and_nothing_is_left() -> None:
    """KMS-45, KMS-53: 488, Warning 399; no Error message about authentication."""
    pair = kms_pair()
    offer = pair.offer()
    octets = mikey_octets(offer)
    forged = offer.replace(base64.b64encode(octets).decode(), base64.b64encode(octets[:-1] + b"\0").decode())
    error = pair.bob.error(AcceptOffer(forged.encode(), TO_BOB))
    assert (error.sip_status_hint, error.sip_warning, error.key_mgmt) == (488, 399, None)
    assert pair.bob.relays == {}
    assert pair.bob.session.state == "new"


def test_no_bit_of_a_message_can_be_changed() -> None:
    """KMS-45, KMS-47: one bit of every seventh octet, of offer and answer: refused, nothing installed."""
    pair = kms_pair()
    offer = pair.offer()
    bob = agent_of(pair.bob)
    answer = bob.text(CreateAnswer(dialer_answer(bob.text(AcceptOffer(offer.encode(), TO_BOB)))))
    for sdp, agent in ((offer, None), (answer, pair.alice)):
        octets = mikey_octets(sdp)
        for place in range(0, len(octets), 7):
            other = bytearray(octets)
            other[place] ^= 1 << place % 8
            forged = sdp.replace(base64.b64encode(octets).decode(), base64.b64encode(other).decode()).encode()
            if agent is not None:
                agent.error(AcceptAnswer(forged, final=True))
                assert agent.count(InstallKeys) == 0
                continue
            callee = KmsAgent("callee", KMS_POLICY, user=BOB, world=bob.world, refusing=True)
            assert callee.error(AcceptOffer(forged, TO_BOB)).sip_status_hint == 488
            assert (callee.session.state, callee.relays) == ("new", {})
    pair.alice.text(AcceptAnswer(answer.encode(), final=True))
    assert pair.speaks()


def test_a_replayed_offer_is_refused_with_an_error_message_for_the_answer() -> None:
    """KMS-51, KMS-53."""
    pair = kms_pair()
    offer = pair.offer()
    bob = agent_of(pair.bob)
    bob.text(AcceptOffer(offer.encode(), TO_BOB))
    again = KmsAgent("bob2", KMS_POLICY, user=BOB, world=bob.world)
    again.session.use_kms(bob.desk)
    error = again.error(AcceptOffer(offer.encode(), TO_BOB))
    assert (error.code, error.sip_status_hint) == ("mikey_invalid_time", 488)
    assert error.key_mgmt is not None
    assert error.key_mgmt.startswith("mikey ")
    assert again.asked == []


def test_an_offer_that_the_kms_does_not_resolve_is_refused() -> None:
    """KMS-53: nothing installed, nothing open."""
    pair = kms_pair()
    bob = agent_of(pair.bob)
    bob.silent = True
    error = bob.error(AcceptOffer(pair.offer().encode(), TO_BOB))
    assert isinstance(error, KmsError)
    assert (error.sip_status_hint, error.sip_warning) == (488, 399)
    assert bob.relays == {}


def test_a_protocol_that_was_taken_out_of_the_offer_is_noticed() -> None:
    """KMS-64, KMS-65: bidding down within key-mgmt."""
    pair = kms_pair()
    offer = pair.offer().replace("a=key-mgmt:mikey", "a=key-mgmt:other AAAA\r\na=key-mgmt:mikey")
    error = pair.bob.error(AcceptOffer(offer.encode(), TO_BOB))
    assert error.code == "mikey_bidding_down"


def test_without_a_ticket_the_next_best_is_offered() -> None:
    """POL-2: SDES end to end, where policy has it; the report says what the line has."""
    pair = kms_pair(FALLBACK)
    agent_of(pair.alice).silent = True
    offer, _ = pair.call()
    assert "key-mgmt" not in offer
    assert pair.speaks()
    assert security(pair.alice).mechanism is Mechanism.SDES


def test_without_a_ticket_and_anything_else_the_line_is_plain_and_says_why() -> None:
    pair = kms_pair()
    agent_of(pair.alice).silent = True
    pair.call()
    assert (security(pair.alice).mechanism, security(pair.alice).reason) == (Mechanism.NONE, "no_kms")


def test_a_demand_for_the_kms_is_not_met_by_less() -> None:
    """POL-4: the call is not sent."""
    pair = kms_pair(replace(REQUIRED, sdes_e2e=Setting.PREFERRED))
    agent_of(pair.alice).silent = True
    error = pair.alice.error(CreateOffer(plain(), TO_BOB))
    assert error.code == "security_required"
    assert (pair.alice.session.state, pair.alice.relays) == ("new", {})


def test_a_far_end_that_cannot_is_offered_the_next_best() -> None:
    """POL-6: 488 to key-mgmt, then SDES."""
    pair = kms_pair(FALLBACK)
    pair.offer()
    retry = pair.alice.text(OfferFailed(488))
    assert "key-mgmt" not in retry
    assert "a=crypto" in retry


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [(replace(TO_BOB, called=None), "nobody_called"), (replace(TO_BOB, emergency=True), "not_announced")],
)
def test_what_stands_in_the_way_is_told(evidence: Evidence, reason: str) -> None:
    """KMS-54, POL-7."""
    pair = kms_pair()
    pair.alice.text(CreateOffer(plain(), evidence))
    assert security(pair.alice).reason == reason
    assert agent_of(pair.alice).asked == []


def test_an_agent_without_a_kms_refuses_the_line_that_needs_one() -> None:
    pair = kms_pair()
    error = Agent("other", KMS_POLICY).error(AcceptOffer(pair.offer().encode(), TO_BOB))
    assert error.code == "mechanism_unavailable"


def waiting(pair: Pair) -> KmsAgent:
    """Alice's offer waits for the KMS."""
    alice = agent_of(pair.alice)
    alice.hold = True
    todo = alice.session.execute(CreateOffer(plain(), TO_BOB), 0.0)
    while todo:
        todo = [more for effect in todo for more in alice._perform(effect)]
    assert alice.session.state == "opening"
    return alice


def test_while_the_kms_is_asked_only_giving_up_is_possible() -> None:
    alice = waiting(kms_pair())
    for command in (CreateOffer(plain(), TO_BOB), CreateAnswer(plain()), DeclineOffer()):
        assert isinstance(alice.error(command), UnexpectedMessage)
    assert alice.session.state == "opening"


def test_release_while_the_kms_is_asked_leaves_nothing() -> None:
    """DYN-20: a late answer of the KMS concerns nobody."""
    alice = waiting(kms_pair())
    late = alice.reply(alice.asked[0])
    alice.do(Release())
    assert (alice.relays, alice.session.state) == ({}, "ended")
    assert alice.session.receive(late, 0.0) == []
    assert len(alice.desk.account.psk) == 0


def test_a_caller_who_gives_up_while_the_kms_is_asked_is_declined() -> None:
    """DeclineOffer while AcceptOffer waits."""
    pair = kms_pair()
    offer = pair.offer()
    bob = agent_of(pair.bob)
    bob.hold = True
    todo = bob.session.execute(AcceptOffer(offer.encode(), TO_BOB), 0.0)
    while todo:
        todo = [more for effect in todo for more in bob._perform(effect)]
    bob.do(DeclineOffer())
    assert (bob.session.state, bob.relays) == ("ended", {})


def test_an_offer_in_the_call_is_declined_while_the_kms_is_asked_and_the_call_goes_on() -> None:
    pair = kms_pair()
    pair.call()
    offer = pair.offer(rekey=True)
    bob = agent_of(pair.bob)
    bob.hold = True
    (asked,) = bob.session.execute(AcceptOffer(offer.encode(), TO_BOB), 0.0)
    assert isinstance(asked, AskKms)
    bob.do(DeclineOffer())
    assert bob.session.state == "established"
    assert bob.session.receive(bob.reply(asked), 0.0) == []
    pair.alice.do(OfferFailed(488))
    bob.hold = False
    pair.call()
    assert pair.speaks()


def test_the_end_of_a_call_leaves_no_key() -> None:
    """DYN-20: whatever was drawn, received or derived on the way is wiped, or nobody holds it."""
    with tracked_secrets() as made:
        pair = kms_pair()
        pair.call(plain(5004, 5006))
        pair.call(plain(5004, 5006), rekey=True)
        for agent in (pair.alice, pair.bob):
            agent.do(Release())
            agent.effects, agent.asked = [], []  # type: ignore[attr-defined]
    kms = [pair.alice.world.tpk]  # type: ignore[attr-defined]
    assert [secret for secret in held(made) if not any(secret is one for one in kms)] == []
