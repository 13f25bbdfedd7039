"""Whole protected MESSAGEs between two users and a KMS, without sockets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.mikey_world import ALICE, BOB, CAROL, RCC, World, account_of

from ueagent.errors import AgentError
from ueagent.keymgmt import mikey_ticket
from ueagent.keymgmt.kms import GrantedTicket
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.keymgmt.protected_message import (
    APPLICATION,
    OpenedMessage,
    ProtectedMessage,
    message_profile,
    open_message,
    protect_message,
    receive_message,
    wish_for_message,
)
from ueagent.keymgmt.smime import KekLedger
from ueagent.model.ticket import KeyType, TicketFlag
from ueagent.wire.cms import parse_auth_enveloped_data
from ueagent.wire.mikey import DataType, Protocol, parse_message
from ueagent.wire.mikey_payloads import Extension
from ueagent.wire.mime import STREAM_ABOVE, Part, build_entity, build_protected, parse_protected

ENTITY = build_entity("text/plain", b"between us\n")
PSI, LIST = b"sip:list@example.com", Part("application/resource-lists+xml", b"<resource-lists/>", "recipient-list")


class Post:
    """Alice sends; whoever may resolve the ticket reads."""

    def __init__(self, *, proof: bool = False) -> None:
        self.world = World()
        self.proof = proof
        self.profile = message_profile(self.world.profile, proof_of_origin=proof)
        self.world.profile = self.profile
        self.ledger = KekLedger(self.world.rng)

    def ticket(
        self, recipients: tuple[bytes, ...] = (BOB,), *, reuse: bool = False, life: float = 3600.0
    ) -> GrantedTicket:
        world = self.world
        wish = wish_for_message(
            account_of(ALICE),
            recipients,
            world.now,
            world.rng,
            self.profile,
            reuse=reuse,
            proof_of_origin=self.proof,
            life=life,
        )
        return world.ticket(wish)

    def send(
        self, ticket: GrantedTicket | None = None, to: bytes = BOB, others: tuple[Part, ...] = ()
    ) -> ProtectedMessage:
        world = self.world
        return protect_message(
            ticket or self.ticket(), ALICE, to, ENTITY, world.now, world.rng, self.profile, others=others
        )

    def read(self, message: ProtectedMessage, user: bytes = BOB) -> OpenedMessage:
        world = self.world
        received = receive_message(message.content_type, message.body, world.replay, world.now, self.profile)
        resolved = world.resolved(received.transfer, user)
        return open_message(received, resolved, user, world.replay, self.ledger, world.now, self.profile)

    def refusal(self, message: ProtectedMessage) -> str:
        with pytest.raises(AgentError) as caught:
            self.read(message)
        return caught.value.code


def test_message_reaches_who_may_resolve_its_ticket() -> None:
    """MIME-1, MIME-2, MIME-11."""
    post = Post()
    opened = post.read(post.send())
    assert (opened.entity, opened.sender, opened.origin_proven) == (ENTITY, ALICE, False)


def test_ticket_has_the_flags_and_the_single_key_of_annex_i() -> None:
    """MIME-12: F=G=I=0, H=1, one TGK without salt, named by its SPI."""
    post = Post()
    ticket = post.ticket()
    flags = ticket.terms.flags
    assert not flags & (TicketFlag.F | TicketFlag.G | TicketFlag.I | TicketFlag.L | TicketFlag.M)
    assert flags & (TicketFlag.D | TicketFlag.E | TicketFlag.H | TicketFlag.N | TicketFlag.O) == flags
    assert ticket.terms.applications == (APPLICATION,) == (b"PSK/MIME",)
    assert [(key.kind, key.salt, len(key.spi)) for key in ticket.keys] == [(KeyType.TGK, None, 4)]


def test_transfer_has_one_session_without_policy_and_wants_no_answer() -> None:
    """MIME-13, MIME-14, OPEN-14."""
    post = Post()
    ticket = post.ticket()
    message = post.send(ticket)
    header = parse_message(parse_protected(message.content_type, message.body).mikey).header
    (session,) = header.crypto_sessions
    assert (header.data_type, header.answer_wanted) == (DataType.TRANSFER_INIT, False)
    assert (session.protocol, session.policies, session.session_data) == (Protocol.PSK_MIME, (), b"")
    assert session.spi == ticket.keys[0].spi


def test_kek_is_named_by_the_spi_and_256_bits_are_the_default() -> None:
    """MIME-11, MIME-23."""
    post = Post()
    ticket = post.ticket()
    message = post.send(ticket)
    cms = parse_auth_enveloped_data(parse_protected(message.content_type, message.body).cms)
    assert [(one.key_id, one.wrap) for one in cms.recipients] == [(ticket.keys[0].spi, "aes256-wrap")]
    assert cms.algorithm == "aes256-GCM"


def test_ticket_of_another_application_is_refused_with_error_15() -> None:
    """MIME-14."""
    post = Post()
    message = post.send()
    post.profile = replace(post.profile, application=b"IMS-MEDIA")
    assert post.refusal(message) == "mikey_invalid_ticket_policy"


def test_replayed_message_is_refused() -> None:
    """MIME-15."""
    post = Post()
    message = post.send()
    post.read(message)
    with pytest.raises(AgentError):
        post.read(message)


def test_stored_message_opens_hours_later_where_both_allow_it_and_once() -> None:
    """KMS-72, MIME-15: deferred delivery wants a ticket that lasts, and a memory as long."""
    post = Post()
    message = post.send(post.ticket(life=86400.0))
    post.world.now += 5 * 3600.0
    assert post.refusal(message) == "mikey_invalid_time"
    post.world.replay = ReplayCache(window=86400.0)
    assert post.read(message).entity == ENTITY
    post.world.now += 3600.0
    assert post.refusal(message) == "mikey_invalid_time"
    post.world.replay = ReplayCache(window=86400.0)
    assert post.refusal(message) == "replayed"


def test_forged_content_beside_an_authentic_transfer_uses_nothing_up() -> None:
    """MIME-15: the right one still opens."""
    post = Post()
    message = post.send()
    parts = parse_protected(message.content_type, message.body)
    forged = replace(parts, cms=parts.cms[:-1] + bytes((parts.cms[-1] ^ 1,)))
    assert post.refusal(ProtectedMessage(*build_protected(forged, "b1"))) == "content_tag"
    assert post.read(message).entity == ENTITY


def test_object_of_another_message_does_not_open() -> None:
    """MIME-15: a transfer and an object belong together."""
    post = Post()
    ticket = post.ticket(reuse=True)
    one, two = (post.send(ticket) for _ in range(2))
    split = one.body.index(b"Content-Type: application/pkcs7-mime")
    start = two.body.index(b"Content-Type: application/pkcs7-mime")
    boundary, other = (message.content_type.split('"')[1].encode() for message in (one, two))
    mixed = ProtectedMessage(one.content_type, one.body[:split] + two.body[start:].replace(other, boundary))
    assert post.refusal(mixed) == "key_unwrap"


def test_one_ticket_serves_several_messages_and_users_with_other_keys() -> None:
    """MIME-17."""
    post = Post()
    ticket = post.ticket((BOB, CAROL), reuse=True)
    assert TicketFlag.J in ticket.terms.flags
    for user in (BOB, CAROL, BOB):
        assert post.read(post.send(ticket, user), user).entity == ENTITY


def test_list_in_clear_names_the_members_as_recipients() -> None:
    """MIME-16: the list's members resolve the ticket; the list server reads the list only."""
    post = Post()
    message = post.send(post.ticket((BOB, CAROL)), PSI, (LIST,))
    world = post.world
    received = receive_message(message.content_type, message.body, world.replay, world.now, post.profile)
    assert received.others == (LIST,)
    assert post.read(message, CAROL).entity == ENTITY


def test_service_that_is_the_recipient_protects_again() -> None:
    """MIME-16: a list server addressed by its PSI opens with its own identity and sends messages of its own."""
    post = Post()
    post.world.users = (*post.world.users, PSI)
    assert post.read(post.send(post.ticket((PSI,)), PSI), PSI).entity == ENTITY


def test_media_transfer_in_a_message_is_refused() -> None:
    """MIME-13."""
    post = Post()
    call = World()
    call.profile = post.profile
    wish = call.wish()
    init = call.init(call.ticket(wish), protocols=None, policies=(RCC,))
    message = post.send()
    parts = parse_protected(message.content_type, message.body)
    forged = ProtectedMessage(*build_protected(replace(parts, mikey=init.octets), "b1"))
    assert post.refusal(forged) == "message_transfer"


def test_origin_is_proven_by_a_copy_of_the_tag_when_both_sides_want_it() -> None:
    """MIME-18, OPEN-15: I=1 with a GTGK, which the KMS does not fork."""
    post = Post(proof=True)
    ticket = post.ticket()
    assert TicketFlag.I in ticket.terms.flags
    assert [key.kind for key in ticket.keys] == [KeyType.GTGK]
    message = post.send(ticket)
    mikey = parse_message(parse_protected(message.content_type, message.body).mikey)
    assert [one.kind for one in mikey.all(Extension)] == [241]
    opened = post.read(message)
    assert (opened.entity, opened.origin_proven) == (ENTITY, True)


def test_group_key_is_refused_where_no_proof_of_origin_is_wanted() -> None:
    """MIME-18: off by default."""
    post = Post(proof=True)
    message = post.send()
    post.profile = message_profile(post.profile)
    with pytest.raises(AgentError):
        post.read(message)


def test_body_of_a_message_wants_a_stream_transport() -> None:
    """MIME-24: Content-Length is that of the whole multipart, and it is long."""
    message = Post().send()
    assert len(message.body) > 900
    assert STREAM_ABOVE == 1300


def test_authentic_message_with_too_few_random_octets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """KMS-25: without RANDRr, RANDRi alone must be as long as the TGK; error 12."""
    post = Post()
    monkeypatch.setattr(mikey_ticket, "RAND_LENGTH", 16)
    message = post.send()
    monkeypatch.undo()
    assert post.refusal(message) == "mikey_inconsistent"
