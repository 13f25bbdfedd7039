"""MIKEY-TICKET exchanges, back to back: REQUEST, TRANSFER, RESOLVE with every party ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.mikey_world import ALICE, BOB, CAROL, KMS, MIXED, NOW, OFFER, RCC, TLS, World, account_of, same_keys

from ueagent.errors import AgentError, KmsError, UnexpectedMessage
from ueagent.keymgmt import kms, kms_desk, mikey_ticket
from ueagent.keymgmt.kms import TicketCache, TicketWish, WantedKey
from ueagent.keymgmt.mikey_errors import MikeyError
from ueagent.keymgmt.mikey_protection import AES_128, ALL_256, MIKEY_1, Profile, create_error
from ueagent.keymgmt.mikey_sessions import srtp_policy_for
from ueagent.model.suites import SUITES
from ueagent.model.ticket import MESSAGE_FLAGS, KeyType, PolicyTerms, TicketFlag, Validity
from ueagent.wire.mikey import CryptoSession, DataType, MapType, Protocol, parse_message
from ueagent.wire.mikey_payloads import Idr, Kemac, Randr, Sp, TicketPayload, TicketPolicy
from ueagent.wire.mikey_policy import srtp_policy_payload
from ueagent.wire.mikey_ticket import kms_id_of, parse_terms


@pytest.fixture
def world() -> World:
    return World()


# -- whole calls


def test_both_ends_of_a_call_have_the_same_keys(world: World) -> None:
    """KMS-40..47, KMS-62: two CS for an RTP line, one key for each direction."""
    ours, theirs = world.call()
    assert same_keys(ours, theirs)
    assert [session.ssrc for session in ours.sessions] == [0x0A0A0A0A, 0x0B0B0B0B]
    assert ours.sessions[0].key != ours.sessions[1].key
    assert [(len(s.key), len(s.salt or b"")) for s in ours.sessions] == [(16, 14)] * 2
    assert (ours.answered_by, theirs.initiator) == (BOB, ALICE)


def test_whole_exchange_is_reproduced_octet_by_octet() -> None:
    """Time and randomness are injected."""

    def octets() -> tuple[bytes, ...]:
        world = World()
        pending = world.init(world.ticket())
        return pending.octets, world.answer(pending.octets)[0]

    assert octets() == octets()


def test_audio_and_msrp_share_one_bundle(world: World) -> None:
    """KMS-61, KMS-63: CS 1 and 2 for audio, 3 for TLS; the PSK is the TEK (KMS-81)."""
    ours, theirs = world.call(MIXED, (RCC, TLS))
    assert same_keys(ours, theirs)
    assert (ours.sessions[2].protocol, len(ours.sessions[2].key), ours.sessions[2].salt) == (Protocol.TLS, 32, None)


@pytest.mark.parametrize("algorithms", [ALL_256, AES_128, MIKEY_1], ids=["256", "AES-CM-128", "MIKEY-1"])
def test_every_allowed_set_of_algorithms_makes_a_call(algorithms: object) -> None:
    """KMS-20..24."""
    world = World(profile=Profile(accept=(ALL_256, AES_128, MIKEY_1)), algorithms=algorithms)  # type: ignore[arg-type]
    ours, theirs = world.call()
    assert same_keys(ours, theirs)


@pytest.mark.parametrize("suite", ["AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES_256_CM_HMAC_SHA1_80"])
def test_other_suites_can_be_agreed(world: World, suite: str) -> None:
    """RCC-7: GCM without ROC carrying, as an alternative."""
    row = SUITES[suite]
    policy = srtp_policy_payload(1, srtp_policy_for(row, rcc=False))
    ours, theirs = world.call(OFFER, (policy,))
    assert same_keys(ours, theirs)
    assert {(len(s.key), len(s.salt or b"")) for s in ours.sessions} == {(row.key_length, row.salt_length)}


def test_first_acceptable_policy_of_several_is_chosen(world: World) -> None:
    """RFC 6043, 6.1.1: alternatives in an offer, exactly one in the answer."""
    f8 = Sp(9, Protocol.SRTP, ((0, b"\x02"),))
    sessions = tuple(replace(session, policies=(9, 1)) for session in OFFER)
    ours, _theirs = world.call(sessions, (f8, RCC))
    assert [session.policy for session in ours.sessions] == [RCC, RCC]


# -- structure of messages


def test_request_has_what_the_profile_asks_for(world: World) -> None:
    """KMS-21, KMS-23, KMS-25, KMS-26, KMS-29, KMS-36."""
    pending = kms.create_request_init(account_of(ALICE), world.wish(), NOW, world.rng)
    message = parse_message(pending.octets)
    assert (message.header.data_type, message.header.map_type) == (DataType.REQUEST_INIT_PSK, MapType.EMPTY)
    assert message.header.answer_wanted
    assert [(idr.role, idr.data) for idr in message.all(Idr)] == [(1, ALICE), (3, KMS), (4, b"btid-" + ALICE)]
    assert [len(rand.value) for rand in message.all(Randr)] == [32]
    policy = message.first(TicketPolicy)
    assert policy is not None
    assert (policy.kind, policy.subtype, policy.version, policy.flags) == (2, 0, 0, 0x1F860)
    terms, kemac = parse_terms(policy)
    assert kemac is not None
    assert (terms.responders, terms.applications, kemac.encryption) == ((BOB,), (b"IMS-MEDIA",), 0)
    assert bytes(32) in kemac.data


def test_granted_ticket_names_its_kms_and_holds_no_kemac_in_its_policy(world: World) -> None:
    """KMS-29, KMS-30."""
    ticket = world.ticket()
    assert kms_id_of(ticket.payload) == world.kms_id
    assert parse_terms(ticket.payload)[1] is None
    assert ticket.payload.initiator_data == b""
    assert ticket.mpkr is not None


def test_transfer_has_what_the_profile_asks_for(world: World) -> None:
    """KMS-41, KMS-45, KMS-64: F in flag V, Initiator Data, no KEMAC (L=0)."""
    message = world.init(world.ticket()).message
    ticket = message.first(TicketPayload)
    assert ticket is not None
    assert ticket.initiator_data
    assert message.header.answer_wanted
    assert message.first(Kemac) is None


def test_answer_repeats_identity_and_modifier_of_the_kms(world: World) -> None:
    """KMS-46."""
    pending = world.init(world.ticket())
    received = world.receive(pending.octets)
    resolved = world.resolved(received)
    octets, _transfer = world.answer(pending.octets, resolved=resolved)
    message = parse_message(octets)
    assert (message.header.csb_id, message.header.prf) == (pending.message.header.csb_id, 1)
    assert not message.header.answer_wanted
    assert [rand.role for rand in message.all(Randr)] == [2, 3]
    assert message.all(Randr, 3)[0].value == resolved.rand_kms
    assert [idr.data for idr in message.all(Idr)] == [BOB]
    assert all(
        session.spi and session.ssrc and len(session.policies) == 1 for session in message.header.crypto_sessions
    )


# -- forking, groups


def test_each_fork_has_keys_of_its_own(world: World) -> None:
    """KMS-70, DYN-4: two answers to one offer; neither end can read the other's media."""
    ticket = world.ticket(world.wish(responders=(BOB, CAROL)))
    pending = world.init(ticket)
    transfers = []
    for user in (BOB, CAROL):
        world.replay = mikey_ticket.ReplayCache()  # another device
        octets, theirs = world.answer(pending.octets, user)
        ours = mikey_ticket.consume_transfer_resp(pending, octets, world.profile)
        assert same_keys(ours, theirs)
        assert ours.answered_by == user
        transfers.append(ours)
    assert transfers[0].sessions[0].key != transfers[1].sessions[0].key


def test_group_is_answered_by_a_member_under_the_name_that_the_kms_gives(world: World) -> None:
    """KMS-47, KMS-55: IDRr of the answer is not the one of the offer, and is what counts."""
    group = b"sip:support@example.com"
    ticket = world.ticket(world.wish(responders=(group,)))
    pending = world.init(ticket, to=group)
    received = world.receive(pending.octets)
    asked = kms.create_resolve_init(account_of(BOB), received.ticket, received.terms, world.now, world.rng)
    opened, inside = world.ticket_in(asked.octets)
    reply = kms_desk.create_resolve_resp(opened, inside, BOB, world.now, world.rng)
    resolved = kms.consume_resolve_resp(asked, reply, world.profile)
    verified = mikey_ticket.verify_transfer_init(received, resolved, BOB, world.replay, world.now, world.profile)
    octets, theirs = mikey_ticket.create_transfer_resp(verified, {2: 1}, world.now, world.rng)
    ours = mikey_ticket.consume_transfer_resp(pending, octets, world.profile)
    assert same_keys(ours, theirs)
    assert (ours.responder, ours.answered_by) == (group, BOB)


def test_ticket_of_one_kms_is_resolved_through_another(world: World) -> None:
    """KMS-43: Bob asks his own KMS, which asks the one that made the ticket."""
    foreign = b"sip:kms.visited.example"
    pending = world.init(world.ticket())
    received = world.receive(pending.octets)
    mine = account_of(BOB, foreign)
    asked = kms.create_resolve_init(mine, received.ticket, received.terms, world.now, world.rng)
    opened = kms_desk.open_request(
        asked.octets, foreign, world.find, mikey_ticket.ReplayCache(), world.now, world.profile
    )
    onward = kms.create_resolve_init(account_of(BOB), received.ticket, received.terms, world.now, world.rng)
    resolved = kms.consume_resolve_resp(onward, world.resolve(onward.octets), world.profile)
    reply = kms_desk.create_forwarded_resp(opened, resolved, world.now)
    octets, theirs = world.answer(pending.octets, resolved=kms.consume_resolve_resp(asked, reply, world.profile))
    assert same_keys(mikey_ticket.consume_transfer_resp(pending, octets, world.profile), theirs)


# -- reuse


def test_second_call_with_one_ticket_asks_the_kms_for_nothing(world: World) -> None:
    """KMS-49: two calls, one REQUEST, one RESOLVE; new CSB ID and RANDs, the same modifier."""
    cache, far_cache, wish = TicketCache(), TicketCache(), world.wish(reuse=True)
    ticket = world.ticket(wish)
    assert cache.keep_granted(wish.terms, ticket)
    seen = []
    for _ in range(2):
        again = cache.granted(wish.terms, world.now)
        assert again is ticket
        pending = world.init(again)
        received = world.receive(pending.octets)
        resolved = far_cache.resolved(received.ticket, world.now)
        if resolved is None:
            resolved = world.resolved(received)
            assert far_cache.keep_resolved(received.ticket, received.terms, resolved)
        octets, theirs = world.answer(pending.octets, resolved=resolved)
        ours = mikey_ticket.consume_transfer_resp(pending, octets, world.profile)
        assert same_keys(ours, theirs)
        seen.append((pending.message.header.csb_id, ours.sessions[0].key.reveal().hex()))
    assert world.asked == 2
    assert seen[0] != seen[1]


def test_ticket_without_flag_j_is_not_kept(world: World) -> None:
    """KMS-49."""
    cache, wish = TicketCache(), world.wish()
    assert not cache.keep_granted(wish.terms, world.ticket(wish))
    assert cache.granted(wish.terms, world.now) is None


def test_expired_ticket_leaves_the_cache_wiped(world: World) -> None:
    cache, wish = TicketCache(), world.wish(reuse=True)
    ticket = world.ticket(wish)
    cache.keep_granted(wish.terms, ticket)
    assert cache.granted(wish.terms, world.now + 4000) is None
    assert len(ticket.mpki) == 0


def test_ticket_for_others_is_not_taken_from_the_cache(world: World) -> None:
    cache, wish = TicketCache(), world.wish(reuse=True)
    cache.keep_granted(wish.terms, world.ticket(wish))
    assert cache.granted(world.wish(responders=(CAROL,), reuse=True).terms, world.now) is None


# -- without an answer


def message_wish(world: World) -> TicketWish:
    terms = PolicyTerms(
        MESSAGE_FLAGS, 1, KMS, ALICE, (BOB,), (b"PSK/MIME",), Validity(world.now, world.now + 86400.0, 3600.0)
    )
    return TicketWish(terms, (WantedKey(KeyType.TGK, 32, b"\x01\x02\x03\x04"),))


def test_message_key_needs_no_answer() -> None:
    """MIME-12, MIME-13, KMS-72: F=G=I=0, one PSK/MIME session, hours later."""
    world = World(profile=Profile(application=b"PSK/MIME"))
    ticket = world.ticket(message_wish(world))
    session = CryptoSession(1, Protocol.PSK_MIME, spi=b"\x01\x02\x03\x04")
    pending = world.init(ticket, (session,), (), protocols=None)
    assert not pending.message.header.answer_wanted
    received = world.receive(pending.octets, None)
    verified = mikey_ticket.verify_transfer_init(
        received, world.resolved(received), BOB, world.replay, world.now, world.profile
    )
    ours, theirs = mikey_ticket.transfer_without_answer(pending), mikey_ticket.accept_without_answer(verified)
    assert same_keys(ours, theirs)
    assert len(ours.sessions[0].key) == 32
    with pytest.raises(UnexpectedMessage):
        mikey_ticket.create_transfer_resp(verified, {}, world.now, world.rng)


def test_each_message_under_one_ticket_has_a_key_of_its_own() -> None:
    """MIME-17: RANDRi is fresh."""
    world = World(profile=Profile(application=b"PSK/MIME"))
    ticket = world.ticket(message_wish(world))
    session = CryptoSession(1, Protocol.PSK_MIME, spi=b"\x01\x02\x03\x04")
    keys = [mikey_ticket.transfer_without_answer(world.init(ticket, (session,), ())).sessions[0].key for _ in range(2)]
    assert keys[0] != keys[1]


def test_ticket_that_the_initiator_made_is_resolved_alike(world: World) -> None:
    """KMS-28, KMS-31, KMS-57 (mode 3): TPK is the Initiator's own key, IDRpsk its B-TID, D=0 with or without L."""
    wish = world.wish()
    for extra in (TicketFlag(0), TicketFlag.L):
        terms = replace(wish.terms, flags=(wish.terms.flags & ~TicketFlag.D) | extra)
        own = account_of(ALICE)
        made = kms_desk.seal_ticket(terms, wish.keys, own.psk, world.kms_id, own.psk_id, world.now, world.rng)
        ticket = kms.GrantedTicket(made.payload, terms, made.mpki, made.mpkr, made.keys)
        pending = world.init(ticket)
        world.tpk = own.psk
        octets, theirs = world.answer(pending.octets)
        assert same_keys(mikey_ticket.consume_transfer_resp(pending, octets, world.profile), theirs)


# -- what the KMS says


@pytest.mark.parametrize("proven", [True, False])
def test_error_of_the_kms_is_told_with_its_number(world: World, proven: bool) -> None:
    """KMS-12: an Error message, with and without a MAC."""
    pending = kms.create_request_init(account_of(ALICE), world.wish(), world.now, world.rng)
    opened = world.open(pending.octets)
    key = opened.authentication if proven else None
    reply = create_error(pending.octets, [MikeyError.INVALID_TP_PAR], world.now, key)
    with pytest.raises(KmsError, match=r"error 15 \(proven\)" if proven else r"error 15 \(not proven\)"):
        kms.consume_request_resp(pending, reply, world.now, world.profile)


CHANGES = {
    "flags": lambda terms: replace(terms, flags=terms.flags & ~TicketFlag.I | TicketFlag.K),
    "responders": lambda terms: replace(terms, responders=(CAROL,)),
    "applications": lambda terms: replace(terms, applications=(b"other",)),
    "initiator": lambda terms: replace(terms, initiator=CAROL),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_policy_that_the_kms_changed_is_discarded(world: World, changed: str) -> None:
    """KMS-40."""
    wish = world.wish()
    pending = kms.create_request_init(account_of(ALICE), wish, world.now, world.rng)
    opened = world.open(pending.octets)
    asked = kms_desk.consume_request_init(opened, world.now)
    ticket = kms_desk.seal_ticket(
        CHANGES[changed](asked.terms), asked.keys, world.tpk, world.kms_id, None, world.now, world.rng
    )
    reply = kms_desk.create_request_resp(opened, ticket, world.now)
    with pytest.raises(KmsError, match=changed) as caught:
        kms.consume_request_resp(pending, reply, world.now, world.profile)
    assert caught.value.code == "ticket_policy_changed"


def test_keys_other_than_wanted_are_discarded(world: World) -> None:
    """KMS-40."""
    pending = kms.create_request_init(account_of(ALICE), world.wish(), world.now, world.rng)
    opened = world.open(pending.octets)
    terms = kms_desk.consume_request_init(opened, world.now).terms
    other = WantedKey(KeyType.TGK, 16, b"\x09")
    ticket = kms_desk.seal_ticket(terms, (other,), world.tpk, world.kms_id, None, world.now, world.rng)
    with pytest.raises(KmsError, match="keys"):
        kms.consume_request_resp(
            pending, kms_desk.create_request_resp(opened, ticket, world.now), world.now, world.profile
        )


def test_flags_j_and_k_are_the_kms_s_to_decide(world: World) -> None:
    """KMS-27: granted with J although it was not asked for."""
    pending = kms.create_request_init(account_of(ALICE), world.wish(), world.now, world.rng)
    opened = world.open(pending.octets)
    asked = kms_desk.consume_request_init(opened, world.now)
    terms = replace(asked.terms, flags=asked.terms.flags | TicketFlag.J | TicketFlag.K)
    ticket = kms_desk.seal_ticket(terms, asked.keys, world.tpk, world.kms_id, None, world.now, world.rng)
    granted = kms.consume_request_resp(
        pending, kms_desk.create_request_resp(opened, ticket, world.now), world.now, world.profile
    )
    assert TicketFlag.J in granted.terms.flags


def test_refused_answer_leaves_the_request_waiting(world: World) -> None:
    """A forged answer changes nothing; the right one still counts."""
    pending = kms.create_request_init(account_of(ALICE), world.wish(), world.now, world.rng)
    reply = world.grant(pending.octets)
    with pytest.raises(AgentError):
        kms.consume_request_resp(pending, reply[:-1] + bytes((reply[-1] ^ 1,)), world.now, world.profile)
    assert kms.consume_request_resp(pending, reply, world.now, world.profile).keys
