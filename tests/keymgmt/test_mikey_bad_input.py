"""Bad input to the MIKEY-TICKET exchanges: each has one exact outcome, and nothing has changed.

The outcome is the MIKEY error number (RFC 3830, 6.12; RFC 6043, 6.11) and the SIP status hint; the KMS is not asked
about a message that can be refused without it (KMS-42).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.mikey_world import (
    ALICE,
    BOB,
    CAROL,
    KMS,
    NOW,
    OFFER,
    RCC,
    Stream,
    World,
    account_of,
    same_keys,
)

from ueagent.crypto import mikey_prf
from ueagent.errors import AgentError, AuthenticationFailed, ResourceError, UnexpectedMessage
from ueagent.keymgmt import kms, kms_desk, mikey_protection, mikey_ticket
from ueagent.keymgmt.mikey_errors import MikeyError, number_of
from ueagent.keymgmt.mikey_protection import MIKEY_1, consume_error, create_error
from ueagent.keymgmt.mikey_replay import RateLimit, ReplayCache
from ueagent.model.ticket import TicketFlag
from ueagent.wire.mikey import CryptoSession, DataType, MapType, Message, build_message, parse_message
from ueagent.wire.mikey_payloads import (
    Extension,
    Idr,
    Kemac,
    Payload,
    Randr,
    Sp,
    TicketPayload,
    TicketPolicy,
    Timestamp,
    V,
)
from ueagent.wire.mikey_ticket import ntp_now, parse_initiator_data

Change = Callable[[Message], Message]


def refused(function: Callable[..., object], *args: object) -> tuple[int, int | None]:
    """The MIKEY error number and the SIP status hint."""
    with pytest.raises(AgentError) as caught:
        function(*args)
    return number_of(caught.value), caught.value.sip_status_hint


@pytest.fixture
def world() -> World:
    return World()


def map_payloads(function: Callable[[Payload], Payload | None]) -> Change:
    def change(message: Message) -> Message:
        changed = [function(payload) for payload in message.payloads]
        return Message(message.header, tuple(payload for payload in changed if payload is not None))

    return change


def of_kind(kind: type[Payload], function: Callable[..., Payload | None]) -> Change:
    return map_payloads(lambda payload: function(payload) if isinstance(payload, kind) else payload)


def header(**changes: object) -> Change:
    return lambda message: Message(replace(message.header, **changes), message.payloads)  # type: ignore[arg-type]


def policy_flags(flags: int) -> Change:
    return of_kind(TicketPayload, lambda ticket: replace(ticket, flags=flags))


def insert(payload: Payload) -> Change:
    return lambda message: Message(message.header, (*message.payloads[:-1], payload, message.payloads[-1]))


ALL = 0x1F860
# What is wrong with a TRANSFER_INIT that arrives -> its error number. None of these reaches the KMS.
EARLY: dict[str, tuple[Change, int]] = {
    "time too old": (of_kind(Timestamp, lambda _t: ntp_now(NOW - 301)), 1),
    "time too far ahead": (of_kind(Timestamp, lambda _t: ntp_now(NOW + 301)), 1),
    "no T": (of_kind(Timestamp, lambda _t: None), 12),
    "no RANDRi": (of_kind(Randr, lambda _r: None), 12),
    "no ticket": (of_kind(TicketPayload, lambda _t: None), 12),
    "no V": (of_kind(V, lambda _v: None), 12),
    "NULL MAC": (of_kind(V, lambda _v: V(0, b"")), 3),
    "HMAC-SHA-1 with the SHA-256 PRF": (of_kind(V, lambda _v: V(1, bytes(20))), 3),
    "MIKEY-1 where it is not enabled": (header(prf=0), 2),
    "another message type": (header(data_type=DataType.REQUEST_RESP), 11),
    "an Error message": (header(data_type=DataType.ERROR), 11),
    "no sessions": (header(sessions=()), 12),
    "SRTP-ID map": (header(map_type=MapType.SRTP_ID, sessions=()), 12),
    "unknown Prot type": (header(sessions=(CryptoSession(1, 99, (1,)),)), 9),
    "policy that is not there": (header(sessions=(CryptoSession(1, 0, (7,)),)), 10),
    "SRTP without a policy": (header(sessions=(CryptoSession(1, 0),)), 10),
    "policy of another protocol": (of_kind(Sp, lambda sp: replace(sp, protocol=241)), 10),
    "no acceptable policy": (of_kind(Sp, lambda sp: replace(sp, parameters=((0, b"\x02"),))), 10),
    "RCC with an AEAD": (of_kind(Sp, lambda _s: Sp(1, 0, ((0, b"\x06"), (14, b"\x03"), (18, b"\x0e")))), 10),
    "RCC mode 3": (of_kind(Sp, lambda _s: Sp(1, 0, ((14, b"\x04"), (18, b"\x04")))), 10),
    "SRTP without encryption": (of_kind(Sp, lambda _s: Sp(1, 0, ((0, b"\x00"),))), 10),
    "SRTP without authentication": (of_kind(Sp, lambda _s: Sp(1, 0, ((2, b"\x00"),))), 10),
    "key derivation rate": (of_kind(Sp, lambda _s: Sp(1, 0, ((6, b"\x01"),))), 10),
    "unknown ticket type": (of_kind(TicketPayload, lambda t: replace(t, kind=3)), 14),
    "unknown ticket version": (of_kind(TicketPayload, lambda t: replace(t, version=9)), 14),
    "flags that break a rule": (policy_flags(ALL & ~0x4000), 15),
    "ticket that we should open ourselves": (policy_flags(0x18060 & ~0x8000 | 0x1000), 15),
    "ticket with rules of its own": (policy_flags(ALL & ~0x20), 15),
    "unknown PRF of the ticket": (of_kind(TicketPayload, lambda t: replace(t, prf=5)), 2),
    "octets behind TP Data": (of_kind(TicketPayload, lambda t: replace(t, data=t.data + b"\x00")), 12),
    "Initiator Data missing": (of_kind(TicketPayload, lambda t: replace(t, initiator_data=b"")), 12),
    "Initiator Data broken": (of_kind(TicketPayload, lambda t: replace(t, initiator_data=b"\x09\x00")), 12),
    "KEMAC although L=0": (insert(Kemac(3, bytes(40))), 15),
    "KEMAC under NULL": (insert(Kemac(0, bytes(40))), 4),
    "KEMAC with a MAC": (insert(Kemac(3, bytes(40), 1, bytes(20))), 3),
    "identity of an unknown type": (insert(Idr(9, 3, b"?")), 7),
}


@pytest.mark.parametrize("case", EARLY)
def test_bad_transfer_is_refused_before_the_kms_is_asked(world: World, case: str) -> None:
    """KMS-42, KMS-53, RCC-5, RCC-7."""
    change, number = EARLY[case]
    message = change(world.init(world.ticket()).message)
    before = world.asked
    found, status = refused(world.receive, build_message(message))
    assert found == number
    assert status in (488, 400, None)
    assert world.asked == before
    assert len(world.replay) == 0


@pytest.mark.parametrize("cut", [0, 1, 9, 11, 100, -1])
def test_truncated_transfer_is_malformed(world: World, cut: int) -> None:
    octets = world.init(world.ticket()).octets
    assert refused(world.receive, octets[:cut]) == (12, 400)


def test_oversized_transfer_is_malformed(world: World) -> None:
    octets = world.init(world.ticket()).octets
    assert refused(world.receive, octets + bytes(20000)) == (12, 400)


def test_reordered_payloads_parse_and_fail_unless_their_sender_moved_them(world: World) -> None:
    """CHOICE-4 of the sheet: what lies between HDR and V may be moved by the sender, and by nobody else."""
    ticket = world.ticket()
    message = world.init(ticket).message
    *middle, v = message.payloads
    middle.reverse()
    moved = build_message(Message(message.header, (*middle, v)))
    assert refused(verify, world, moved) == (0, 488)
    keys = mikey_prf.message_keys(
        1,
        ticket.mpki,
        message.header.csb_id,
        message.all(Randr)[0].value,
        b"",
        response=False,
        mac_algorithm=2,
        key_length=0,
    )
    sealed = mikey_protection.seal(message.header, middle, keys.authentication, 2, ALICE + BOB)
    found = world.receive(sealed)
    assert found.terms.initiator == ALICE
    vi = parse_initiator_data(found.ticket.initiator_data)[0]
    assert vi.mac != mikey_protection.verification(parse_message(sealed)).mac  # they are of another message
    assert refused(verify, world, sealed) == (0, 488)


def test_unknown_payload_cannot_be_skipped(world: World) -> None:
    octets = bytearray(world.init(world.ticket()).octets)
    octets[2] = 250
    assert refused(world.receive, bytes(octets)) == (12, 400)


def test_expired_ticket_is_refused_without_the_kms(world: World) -> None:
    """KMS-42: TRe."""
    pending = world.init(world.ticket())
    late = build_message(of_kind(Timestamp, lambda _t: ntp_now(NOW + 3700))(pending.message))
    before = world.asked
    world.now = NOW + 3700
    assert refused(world.receive, late) == (1, 488)
    assert world.asked == before


def test_ticket_for_another_application_is_refused_without_the_kms(world: World) -> None:
    """KMS-34, KMS-42."""
    wish = world.wish()
    ticket = world.ticket(replace(wish, terms=replace(wish.terms, applications=(b"PSK/MIME",))))
    before = world.asked
    assert refused(world.receive, world.init(ticket).octets) == (15, 488)
    assert world.asked == before


def test_removed_protocol_is_noticed(world: World) -> None:
    """KMS-64: bidding down, both ways, and a list that is missing."""
    octets = world.init(world.ticket(), protocols=b"keyp1;mikey").octets
    with pytest.raises(AgentError) as caught:
        world.receive(octets, b"mikey")
    assert (caught.value.code, caught.value.sip_status_hint) == ("mikey_bidding_down", 488)
    assert world.receive(octets, b"keyp1;mikey")
    bare = world.init(world.ticket(), protocols=None).octets
    with pytest.raises(AgentError, match="mikey_bidding_down"):
        world.receive(bare, b"mikey")


def test_replayed_transfer_is_refused(world: World) -> None:
    """KMS-51."""
    octets = world.init(world.ticket()).octets
    world.answer(octets)
    assert refused(world.receive, octets) == (1, 488)


def test_unproven_transfer_does_not_enter_the_replay_cache(world: World) -> None:
    """KMS-51: nobody fills it without keys."""
    pending = world.init(world.ticket())
    world.receive(pending.octets)
    assert len(world.replay) == 0


# -- after resolving


def verify(world: World, octets: bytes, resolved: kms.ResolvedTicket | None = None) -> object:
    received = world.receive(octets)
    keys = resolved or world.resolved(received)
    return mikey_ticket.verify_transfer_init(received, keys, BOB, world.replay, world.now, world.profile)


LATE: dict[str, Change] = {
    "wrong MAC": of_kind(V, lambda v: V(v.algorithm, bytes((v.mac[0] ^ 1, *v.mac[1:])))),
    "changed policy": of_kind(Sp, lambda sp: replace(sp, parameters=sp.parameters[:-1])),
    "changed time": of_kind(Timestamp, lambda t: replace(t, value=t.value + 1)),
    "changed CSB ID": header(csb_id=5),
    "added extension": insert(Extension(200, b"")),
}


@pytest.mark.parametrize("case", LATE)
def test_tampered_transfer_fails_after_resolving_and_installs_nothing(world: World, case: str) -> None:
    """KMS-45."""
    octets = build_message(LATE[case](world.init(world.ticket()).message))
    assert refused(verify, world, octets) == (0, 488)
    assert len(world.replay) == 0


def test_initiator_data_of_another_message_are_refused(world: World) -> None:
    """KMS-45: a valid ticket swapped in from another offer of the same Initiator."""
    ticket = world.ticket()
    first, second = world.init(ticket), world.init(ticket)
    other = first.message.first(TicketPayload)
    octets = build_message(of_kind(TicketPayload, lambda _t: other)(second.message))
    assert refused(verify, world, octets) == (0, 488)


def test_initiator_that_the_ticket_does_not_name_is_refused(world: World) -> None:
    """CHOICE-16 of the sheet: error 7."""
    ticket = world.ticket()
    pending = mikey_ticket.create_transfer_init(
        ticket, CAROL, BOB, OFFER, (RCC,), world.now, world.rng, world.profile, (Extension(1, b"mikey"),)
    )
    assert refused(verify, world, pending.octets) == (7, 488)


def test_group_key_is_refused_for_a_call(world: World) -> None:
    """KMS-74."""
    wish = world.wish()
    keys = (replace(wish.keys[0], kind=kms.KeyType.GTGK),)
    octets = world.init(world.ticket(replace(wish, keys=keys))).octets
    assert refused(verify, world, octets) == (15, 488)


# -- the answer

ANSWERS: dict[str, tuple[Change, int]] = {
    "wrong MAC": (LATE["wrong MAC"], 0),
    "another CSB ID": (header(csb_id=5), 12),
    "another PRF": (header(prf=0), 12),
    "no RANDRr": (of_kind(Randr, lambda r: None if r.role == 2 else r), 12),
    "no RANDRkms": (of_kind(Randr, lambda r: None if r.role == 3 else r), 12),
    "short RANDRkms": (of_kind(Randr, lambda r: Randr(3, bytes(16)) if r.role == 3 else r), 12),
    "no IDRr": (of_kind(Idr, lambda _i: None), 12),
    "another IDRr": (of_kind(Idr, lambda i: replace(i, data=CAROL)), 0),
    "another RANDRkms": (of_kind(Randr, lambda r: Randr(3, bytes(32)) if r.role == 3 else r), 0),
    "NULL MAC": (of_kind(V, lambda _v: V(0, b"")), 3),
    "KEMAC although M=0": (insert(Kemac(3, bytes(40))), 15),
    "another type": (header(data_type=DataType.TRANSFER_INIT), 12),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_bad_answer_is_refused_and_the_right_one_still_counts(world: World, case: str) -> None:
    """KMS-47, KMS-48."""
    pending = world.init(world.ticket())
    octets, theirs = world.answer(pending.octets)
    change, number = ANSWERS[case]
    bad = build_message(change(parse_message(octets)))
    expected = 11 if case == "another type" else number
    assert refused(mikey_ticket.consume_transfer_resp, pending, bad, world.profile)[0] == expected
    assert same_keys(mikey_ticket.consume_transfer_resp(pending, octets, world.profile), theirs)


def sealed_answer(world: World, change: Change) -> tuple[mikey_ticket.PendingTransfer, bytes]:
    """An answer of a peer that has the keys and breaks the rules."""
    pending = world.init(world.ticket())
    octets, theirs = world.answer(pending.octets)
    message = change(parse_message(octets))
    return pending, mikey_protection.seal(
        message.header, message.payloads[:-1], theirs.update.authentication, 2, pending.octets
    )


def sessions(change: Callable[[tuple[CryptoSession, ...]], tuple[CryptoSession, ...]]) -> Change:
    return lambda message: Message(
        replace(message.header, sessions=change(message.header.crypto_sessions)), message.payloads
    )


DISHONEST: dict[str, tuple[Change, int]] = {
    "a session is missing": (sessions(lambda s: s[:1]), 12),
    "no policy": (sessions(lambda s: (replace(s[0], policies=()), s[1])), 10),
    "two policies": (sessions(lambda s: (replace(s[0], policies=(1, 1)), s[1])), 10),
    "another SSRC than ours": (sessions(lambda s: (replace(s[0], session_data=bytes(4)), s[1])), 12),
    "no SSRC of its own": (sessions(lambda s: (s[0], replace(s[1], session_data=b""))), 12),
    "unknown SPI": (sessions(lambda s: (replace(s[0], spi=b"\x99"), s[1])), 12),
    "no SPI": (sessions(lambda s: (replace(s[0], spi=b""), s[1])), 10),
    "policy that was not offered": (sessions(lambda s: (replace(s[0], policies=(4,)), s[1])), 10),
    "weak policy of its own": (
        lambda m: insert(Sp(4, 0, ((0, b"\x00"),)))(sessions(lambda s: (replace(s[0], policies=(4,)), s[1]))(m)),
        10,
    ),
    "offered policy redefined": (insert(Sp(1, 0, ())), 10),
}


@pytest.mark.parametrize("case", DISHONEST)
def test_authentic_answer_against_the_rules_is_refused(world: World, case: str) -> None:
    """KMS-46, KMS-47."""
    change, number = DISHONEST[case]
    pending, octets = sealed_answer(world, change)
    assert refused(mikey_ticket.consume_transfer_resp, pending, octets, world.profile) == (number, 488)


def test_error_that_nobody_proves_ends_nothing(world: World) -> None:
    """CHOICE-24 of the sheet: told as a hint; the answer that follows counts."""
    pending = world.init(world.ticket())
    hint = create_error(pending.octets, [MikeyError.AUTH_FAILURE], world.now)
    with pytest.raises(UnexpectedMessage, match="mikey_error"):
        mikey_ticket.consume_transfer_resp(pending, hint, world.profile)
    octets, theirs = world.answer(pending.octets)
    assert same_keys(mikey_ticket.consume_transfer_resp(pending, octets, world.profile), theirs)


def test_error_is_never_answered_with_an_error(world: World) -> None:
    """RFC 6043, 5.4."""
    error = create_error(world.init(world.ticket()).octets, [MikeyError.UNSPECIFIED], world.now)
    with pytest.raises(ValueError, match="not answered"):
        create_error(error, [MikeyError.UNSPECIFIED], world.now)


def test_error_with_a_wrong_mac_is_a_hint(world: World) -> None:
    pending = kms.create_request_init(account_of(ALICE), world.wish(), world.now, world.rng)
    key = world.open(pending.octets).authentication
    error = create_error(pending.octets, [MikeyError.INVALID_ID], world.now, key)
    proven = consume_error(error, pending.header, key)
    forged = consume_error(error[:-1] + bytes((error[-1] ^ 1,)), pending.header, key)
    assert proven is not None
    assert forged is not None
    assert (proven.authentic, forged.authentic, forged.numbers) == (True, False, (7,))
    assert consume_error(error, replace(pending.header, csb_id=1), key) is None


# -- at the KMS


def request(world: World, change: Change | None = None, user: bytes = ALICE) -> bytes:
    """A REQUEST_INIT, changed and sealed again with the user's key."""
    account = account_of(user)
    pending = kms.create_request_init(account, world.wish(), world.now, world.rng)
    if change is None:
        return pending.octets
    message = change(parse_message(pending.octets))
    rand = message.first(Randr)
    mac = mikey_protection.verification(message).algorithm
    keys = mikey_prf.message_keys(
        message.header.prf,
        account.psk,
        message.header.csb_id,
        rand.value if rand else b"",
        b"",
        response=False,
        mac_algorithm=mac,
        key_length=0,
    )
    claimed = message.first(Idr, 1)
    named = message.first(Idr, 3)
    tail = (claimed.data if claimed else account.user) + (named.data if named else KMS)
    return mikey_protection.seal(message.header, message.payloads[:-1], keys.authentication, mac, tail)


def flagged(flags: TicketFlag) -> Change:
    return of_kind(TicketPolicy, lambda policy: replace(policy, flags=flags))


AT_KMS: dict[str, tuple[Change, int]] = {
    "time too old": (of_kind(Timestamp, lambda _t: ntp_now(NOW - 301)), 1),
    "RAND too short": (of_kind(Randr, lambda r: Randr(1, r.value[:16])), 12),
    "another KMS": (of_kind(Idr, lambda i: replace(i, data=b"sip:other.example") if i.role == 3 else i), 7),
    "another user": (of_kind(Idr, lambda i: replace(i, data=CAROL) if i.role == 1 else i), 7),
    "flags that break a rule": (flagged(TicketFlag(ALL & ~0x4000)), 15),
    "flag K": (flagged(TicketFlag(ALL | 0x200)), 15),
    "unknown ticket type": (of_kind(TicketPolicy, lambda p: replace(p, kind=3)), 14),
}


@pytest.mark.parametrize("case", AT_KMS)
def test_bad_request_is_refused_by_the_kms(world: World, case: str) -> None:
    """KMS-44, KMS-25."""
    change, number = AT_KMS[case]
    octets = request(world, change)
    assert refused(world.grant, octets)[0] == number


def test_replayed_request_is_refused_by_the_kms(world: World) -> None:
    """KMS-13, KMS-51."""
    octets = request(world)
    world.grant(octets)
    assert refused(world.grant, octets)[0] == 1


def test_unknown_identity_and_wrong_mac_cannot_be_told_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """KMS-12 as the issue has it: one answer, after the same operations."""
    counts: list[int] = []
    real = mikey_prf.mac

    def counted(algorithm: int, key: object, data: bytes) -> bytes:
        counts[-1] += 1
        return real(algorithm, key, data)  # type: ignore[arg-type]

    octets = request(world)
    wrong_mac = octets[:-1] + bytes((octets[-1] ^ 1,))
    unknown = request(world, user=b"sip:mallory@example.com")
    monkeypatch.setattr(mikey_prf, "mac", counted)
    answers = []
    for message in (wrong_mac, unknown):
        counts.append(0)
        with pytest.raises(AuthenticationFailed) as caught:
            world.open(message)
        answers.append((type(caught.value), caught.value.code, caught.value.detail))
    assert answers[0] == answers[1]
    assert counts == [1, 1]


def resolve_octets(world: World, change: Callable[[TicketPayload], TicketPayload]) -> bytes:
    received = world.receive(world.init(world.ticket()).octets)
    ticket = change(received.ticket)
    return kms.create_resolve_init(account_of(BOB), ticket, received.terms, world.now, world.rng).octets


TICKETS: dict[str, tuple[Callable[[TicketPayload], TicketPayload], int]] = {
    "ticket with a wrong MAC": (lambda t: replace(t, ticket_data=t.ticket_data[:-1] + b"\x00"), 0),
    "policy that was widened": (lambda t: replace(t, flags=t.flags | 0x400), 0),
    "Vr that is wrong": (lambda t: replace(t, initiator_data=t.initiator_data[:-1] + b"\x00"), 0),
    "Vi that is wrong": (lambda t: replace(t, initiator_data=t.initiator_data[:5] + b"\x00" + t.initiator_data[6:]), 0),
    "no Initiator Data": (lambda t: replace(t, initiator_data=b""), 12),
    "broken Ticket Data": (lambda t: replace(t, ticket_data=t.ticket_data[:20]), 12),
}


@pytest.mark.parametrize("case", TICKETS)
def test_kms_does_not_resolve_a_bad_ticket(world: World, case: str) -> None:
    """KMS-44, KMS-75: with I=1 only the requester, who has MPKr, can start a transfer."""
    change, number = TICKETS[case]
    assert refused(world.resolve, resolve_octets(world, change))[0] == number


def test_kms_does_not_resolve_an_expired_ticket(world: World) -> None:
    """KMS-44."""
    received = world.receive(world.init(world.ticket()).octets)
    world.now = NOW + 3700
    late = kms.create_resolve_init(account_of(BOB), received.ticket, received.terms, world.now, world.rng)
    assert refused(world.resolve, late.octets)[0] == 1


# -- answers of the KMS


@pytest.mark.parametrize("case", ["wrong MAC", "another CSB ID", "another KMS", "to another request", "truncated"])
def test_bad_answer_of_the_kms_is_refused(world: World, case: str) -> None:
    """KMS-40."""
    pending = kms.create_request_init(account_of(ALICE), world.wish(), world.now, world.rng)
    other = kms.create_request_init(account_of(ALICE), world.wish(), world.now, world.rng)
    reply = world.grant(pending.octets)
    octets, number = {
        "wrong MAC": (reply[:-1] + bytes((reply[-1] ^ 1,)), 0),
        "another CSB ID": (build_message(header(csb_id=5)(parse_message(reply))), 12),
        "another KMS": (build_message(of_kind(Idr, lambda i: replace(i, data=b"sip:x"))(parse_message(reply))), 0),
        "to another request": (world.grant(other.octets), 12),
        "truncated": (reply[:50], 12),
    }[case]
    assert refused(kms.consume_request_resp, pending, octets, world.now, world.profile)[0] == number


# -- replay cache and rate


def test_full_replay_cache_refuses_instead_of_forgetting() -> None:
    """KMS-51."""
    cache = ReplayCache(capacity=2)
    for number in range(2):
        cache.remember(bytes((number,)), ntp_now(NOW), ALICE, NOW)
    with pytest.raises(ResourceError):
        cache.remember(b"more", ntp_now(NOW), ALICE, NOW)
    later = NOW + 301
    cache.remember(b"more", ntp_now(later), ALICE, later)
    assert len(cache) == 1


def test_counter_must_grow_for_each_peer() -> None:
    """Sheet, 8: LOCAL."""
    cache = ReplayCache()
    cache.remember(b"1", Timestamp(2, 5), ALICE, NOW)
    with pytest.raises(AgentError, match="mikey_invalid_time"):
        cache.check(b"2", Timestamp(2, 5), ALICE, NOW)
    cache.check(b"2", Timestamp(2, 6), ALICE, NOW)
    cache.check(b"2", Timestamp(2, 5), BOB, NOW)


def test_tickets_of_one_sender_are_resolved_at_a_bounded_rate() -> None:
    """KMS-52."""
    limit = RateLimit(count=2, seconds=60)
    limit.spend(ALICE, NOW)
    limit.spend(ALICE, NOW)
    limit.spend(BOB, NOW)
    with pytest.raises(ResourceError, match="resolve_rate"):
        limit.spend(ALICE, NOW + 59)
    limit.spend(ALICE, NOW + 61)


def test_mikey_1_is_refused_by_the_kms_unless_enabled(world: World) -> None:
    """KMS-21."""
    octets = kms.create_request_init(account_of(ALICE), world.wish(), world.now, Stream("1"), MIKEY_1).octets
    assert refused(world.open, octets)[0] == 2


def test_session_keys_above_128_bits_do_not_travel_under_a_cipher_of_128(world: World) -> None:
    """KMS-24; RFC 6043, 12.1."""
    pending = kms.create_request_init(account_of(ALICE), world.wish(), world.now, world.rng)
    opened = world.open(pending.octets)
    asked = kms_desk.consume_request_init(opened, world.now)
    ticket = kms_desk.seal_ticket(asked.terms, asked.keys, world.tpk, world.kms_id, None, world.now, world.rng)
    reply = kms_desk.create_request_resp(opened, ticket, world.now, mikey_protection.AES_128)
    assert refused(kms.consume_request_resp, pending, reply, world.now, world.profile)[0] == 4
