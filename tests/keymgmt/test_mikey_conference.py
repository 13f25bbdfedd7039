"""A conference server at one end of a KMS call: to the exchanges it is a user like any other. KMS-73; CONF-6, -7."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.channels import carry, pump
from support.mikey_world import ALICE, BOB, OFFER, PROTOCOLS, RCC, TLS, World, account_of, same_keys

from ueagent.channel.channel import Kind, Role, SecureChannel
from ueagent.errors import AgentError
from ueagent.keymgmt import kms, kms_desk, mikey_ticket
from ueagent.keymgmt.kms import GrantedTicket
from ueagent.keymgmt.mikey_ticket import PendingTransfer, Transfer
from ueagent.keymgmt.tls_psk import credentials_of
from ueagent.model.keys import Secret
from ueagent.model.ticket import IdRole, IdType, TicketFlag
from ueagent.wire.mikey import CryptoSession, Protocol, parse_message
from ueagent.wire.mikey_payloads import Extension, Idr, Sp

FOCUS = b"sip:conference-7@mrf.example.com"
MSRP = (CryptoSession(1, Protocol.TLS, (2,)),)


@pytest.fixture
def world() -> World:
    return World(users=(ALICE, BOB, FOCUS))


def dialled_out(world: World, ticket: GrantedTicket) -> PendingTransfer:
    """What the focus puts into its INVITE to Bob: one TLS session for the MSRP line."""
    extension = Extension(mikey_ticket.SDP_IDS, PROTOCOLS)
    return mikey_ticket.create_transfer_init(
        ticket, FOCUS, BOB, MSRP, (TLS,), world.now, world.rng, world.profile, (extension,)
    )


def wish_of_focus(world: World) -> kms.TicketWish:
    return kms.wish_for_media(account_of(FOCUS), (BOB,), world.now, world.rng, world.profile)


def granted(world: World) -> GrantedTicket:
    return world.ticket(wish_of_focus(world), FOCUS)


def self_made(world: World) -> GrantedTicket:
    """Mode 3 (KMS-57): the ticket's key is the one that the focus shares with the KMS."""
    wish, own = wish_of_focus(world), account_of(FOCUS)
    terms = replace(wish.terms, flags=(wish.terms.flags & ~TicketFlag.D) | TicketFlag.L)
    made = kms_desk.seal_ticket(terms, wish.keys, own.psk, world.kms_id, own.psk_id, world.now, world.rng)
    world.tpk = own.psk
    return GrantedTicket(made.payload, terms, made.mpki, made.mpkr, made.keys)


def talk(ends: tuple[Transfer, Transfer]) -> bytes:
    client, server = (
        SecureChannel(Kind.STREAM, role, credentials_of(transfer, 1), cookie_key=Secret(b"c" * 32))
        for role, transfer in zip((Role.CLIENT, Role.SERVER), reversed(ends), strict=True)
    )
    pump(client, server)
    client.send(b"MSRP of Bob")
    return b"".join(carry(client, server))


@pytest.mark.parametrize("ticket_of", [granted, self_made], ids=["from the KMS", "of its own"])
def test_server_that_dials_out_talks_tls_with_the_key_of_its_offer(world: World, ticket_of: object) -> None:
    """KMS-73, CONF-6: the UE resolves and answers; the PSK is the TEK; the handshake comes after the answer."""
    pending = dialled_out(world, ticket_of(world))  # type: ignore[operator]
    octets, ours = world.answer(pending.octets)
    theirs = mikey_ticket.consume_transfer_resp(pending, octets, world.profile)
    assert (ours.initiator, theirs.answered_by) == (FOCUS, BOB)
    assert same_keys(ours, theirs)
    assert talk((theirs, ours)) == b"MSRP of Bob"


def test_ue_that_the_ticket_of_a_server_does_not_name_cannot_answer(world: World) -> None:
    """KMS-73: only an authorized resolver gets keys."""
    pending = dialled_out(world, granted(world))
    received = world.receive(pending.octets)
    asked = kms.create_resolve_init(account_of(ALICE), received.ticket, received.terms, world.now, world.rng)
    opened, ticket = world.ticket_in(asked.octets)
    assert opened.user not in ticket.terms.responders


def test_call_to_a_conference_is_a_call_whose_responder_is_its_uri(world: World) -> None:
    """CONF-7, KMS-54: IDRi is the caller's public identity, IDRr the conference URI, both of type URI."""
    pending = world.init(world.ticket(world.wish(responders=(FOCUS,))), OFFER, (RCC,), to=FOCUS)
    message = parse_message(pending.octets)
    assert message.first(Idr, IdRole.INITIATOR) == Idr(IdRole.INITIATOR, IdType.URI, ALICE)
    assert message.first(Idr, IdRole.RESPONDER) == Idr(IdRole.RESPONDER, IdType.URI, FOCUS)
    octets, theirs = world.answer(pending.octets, FOCUS)
    ours = mikey_ticket.consume_transfer_resp(pending, octets, world.profile)
    assert (ours.responder, ours.answered_by) == (FOCUS, FOCUS)
    assert same_keys(ours, theirs)


def test_tls_session_of_an_offer_and_of_its_answer(world: World) -> None:
    """KMS-82, with the parameter numbers of the second sheet (CHOICE-13): Prot type 241, one policy with the list of
    cipher suites, no Session Data; the answer names the key, and the TEK has 256 bits."""
    pending = dialled_out(world, granted(world))
    (session,) = parse_message(pending.octets).header.crypto_sessions
    assert session == CryptoSession(1, 241, (2,), b"", b"")
    assert parse_message(pending.octets).all(Sp) == [Sp(2, 241, ((0, bytes.fromhex("00aa00a8")),))]
    octets, ours = world.answer(pending.octets)
    (answered,) = parse_message(octets).header.crypto_sessions
    assert answered == CryptoSession(1, 241, (2,), b"", ours.keys[0].spi)
    assert [len(one.key) for one in ours.sessions] == [32]


def test_no_key_of_a_call_is_there_before_its_answer(world: World) -> None:
    """KMS-71: with G=1 the TEK needs RANDRr, so there is no early media."""
    pending = world.init(world.ticket())
    assert TicketFlag.G in pending.ticket.terms.flags
    with pytest.raises(AgentError, match="mikey_answer_due"):
        mikey_ticket.transfer_without_answer(pending)
