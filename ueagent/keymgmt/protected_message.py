"""A whole protected MESSAGE: TRANSFER_INIT and S/MIME object in one body. TS 33.328, F.3.1 and Annex I; MIME-11..18.

One crypto session of type PSK/MIME, no policy, no answer; its key is the KEK, named by the SPI of the ticket's key. A
proof of origin (off by default) needs flag I, and then a GTGK, which is never forked: OPEN-15.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from ueagent.errors import MalformedMessage, ResourceError
from ueagent.keymgmt import mikey_protection as protection
from ueagent.keymgmt import mikey_ticket, smime
from ueagent.keymgmt.kms import REKEY_INTERVAL as REKEY
from ueagent.keymgmt.kms import SPI_LENGTH, TICKET_LIFE, GrantedTicket, ResolvedTicket, TicketWish, WantedKey
from ueagent.keymgmt.mikey_protection import KmsAccount, Profile, Rng
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.keymgmt.mikey_ticket import ReceivedTransfer, Transfer
from ueagent.keymgmt.smime import KekLedger
from ueagent.model.ticket import MESSAGE_FLAGS, KeyType, PolicyTerms, TicketFlag, Validity
from ueagent.wire.mikey import CryptoSession, Protocol
from ueagent.wire.mikey_payloads import Extension
from ueagent.wire.mime import Part, ProtectedBody, build_protected, parse_protected

APPLICATION: Final = b"PSK/MIME"  # IDRapp: MIME-12
ORIGIN_EXTENSION: Final = 241  # general extension with a copy of the tag: MIME-18, OPEN-7
CS_ID: Final = 1
_BOUNDARY_OCTETS: Final = 12


def message_profile(profile: Profile, *, proof_of_origin: bool = False) -> Profile:
    """`profile` for messages: their application, and group keys only where a proof of origin is wanted."""
    return replace(profile, application=APPLICATION, any_application=False, accept_group_keys=proof_of_origin)


def wish_for_message(
    account: KmsAccount,
    recipients: Sequence[bytes],
    now: float,
    rng: Rng,
    profile: Profile,
    *,
    reuse: bool = False,
    proof_of_origin: bool = False,
    life: float = TICKET_LIFE,
) -> TicketWish:
    """One key and everybody who may open the message: users, a PSI, or the members of a list (MIME-12, -16, -17)."""
    flags = MESSAGE_FLAGS
    flags |= TicketFlag.J if reuse else TicketFlag(0)
    flags |= TicketFlag.I if proof_of_origin else TicketFlag(0)
    terms = PolicyTerms(
        flags=flags,
        prf=profile.send.prf,
        kms=account.kms,
        initiator=account.user,
        responders=tuple(recipients),
        applications=(APPLICATION,),
        validity=Validity(float(int(now)), float(int(now + life)), REKEY),
    )
    kind = KeyType.GTGK if proof_of_origin else KeyType.TGK
    return TicketWish(terms, (WantedKey(kind, profile.send.key_length, rng(SPI_LENGTH)),))


@dataclass(frozen=True, slots=True)
class ProtectedMessage:
    """For a SIP MESSAGE: value of Content-Type, and body."""

    content_type: str
    body: bytes = field(repr=False)


def protect_message(
    ticket: GrantedTicket,
    sender: bytes,
    recipient: bytes,
    entity: bytes,
    now: float,
    rng: Rng,
    profile: Profile,
    *,
    family: str = "GCM",
    others: Sequence[Part] = (),
) -> ProtectedMessage:
    """A MIME entity for whoever may resolve `ticket`. `others` go in clear: a list of recipients for its server.

    Every call draws another RANDRi, so that a ticket that may be reused (flag J) gives another KEK (MIME-17).
    """
    drawn: list[bytes] = []

    def record(count: int) -> bytes:
        drawn.append(rng(count))
        return drawn[-1]

    spi = ticket.keys[0].spi
    transfer = _transfer(ticket, sender, recipient, spi, now, record, profile, ())
    keys = mikey_ticket.transfer_without_answer(transfer)
    made = smime.protect_entity(entity, keys.sessions[0].key, spi, rng, family=family)
    keys.wipe()
    if TicketFlag.I in ticket.terms.flags:
        # The tag is known only now and the KEK rests on RANDRi alone: the same message again, with the tag in it.
        again = iter(drawn)
        origin = (Extension(ORIGIN_EXTENSION, made.mac),)
        transfer = _transfer(ticket, sender, recipient, spi, now, lambda _count: next(again), profile, origin)
    body = ProtectedBody(transfer.octets, made.cms, tuple(others))
    return ProtectedMessage(*build_protected(body, rng(_BOUNDARY_OCTETS).hex()))


def _transfer(
    ticket: GrantedTicket,
    sender: bytes,
    recipient: bytes,
    spi: bytes,
    now: float,
    rng: Rng,
    profile: Profile,
    extensions: Sequence[Extension],
) -> mikey_ticket.PendingTransfer:
    sessions = (CryptoSession(CS_ID, Protocol.PSK_MIME, spi=spi),)
    return mikey_ticket.create_transfer_init(ticket, sender, recipient, sessions, (), now, rng, profile, extensions)


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message worth resolving; nothing in it is proven yet. `others` came in clear and stay unproven."""

    transfer: ReceivedTransfer
    cms: bytes = field(repr=False)
    others: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """`sender` is proven by the KMS to be able to use the ticket; `origin_proven`: it is its requester (MIME-18)."""

    entity: bytes = field(repr=False)
    sender: bytes
    origin_proven: bool


def receive_message(
    content_type: str,
    body: bytes,
    replay: ReplayCache,
    now: float,
    profile: Profile,
    *,
    tolerant: bool = False,
    aliases: Sequence[str] = (),
) -> ReceivedMessage:
    """Every check that needs no KMS. MalformedMessage, and the errors of `consume_transfer_init`.

    `tolerant` and `aliases` as in `wire.mime`.
    """
    parts = parse_protected(content_type, body, tolerant=tolerant, aliases=aliases)
    received = mikey_ticket.consume_transfer_init(parts.mikey, replay, now, profile)
    sessions = received.message.header.crypto_sessions
    if [session.protocol for session in sessions] != [Protocol.PSK_MIME] or TicketFlag.F in received.terms.flags:
        raise MalformedMessage("message_transfer", "a message has one session of PSK/MIME and no answer")  # MIME-13
    return ReceivedMessage(received, parts.cms, parts.others)


def open_message(
    message: ReceivedMessage,
    resolved: ResolvedTicket,
    me: bytes,
    replay: ReplayCache,
    ledger: KekLedger,
    now: float,
    profile: Profile,
) -> OpenedMessage:
    """The entity, once TRANSFER_INIT and tag are verified. `resolved` stays with its owner.

    Errors of `verify_transfer_init` and `smime.open_entity`.
    """
    # A forged content beside an authentic TRANSFER_INIT must not keep the right one from being opened.
    verified = mikey_ticket.verify_transfer_init(message.transfer, resolved, me, replay, now, profile, remember=False)
    keys: Transfer = mikey_ticket.accept_without_answer(verified)
    try:
        kek, spi = keys.sessions[0].key, keys.sessions[0].spi
        end = message.transfer.terms.validity.end
        until = now + TICKET_LIFE if end is None else end
        entity, mac = smime.open_entity(message.cms, kek, spi, ledger, now=now, until=until)
    finally:
        keys.wipe()
    with suppress(ResourceError):  # no room: then the ledger alone refuses the replay
        time = protection.time_of(message.transfer.message)
        replay.remember(message.transfer.octets, time, verified.initiator, now)
    extensions = [one.data for one in message.transfer.message.all(Extension) if one.kind == ORIGIN_EXTENSION]
    claimed = extensions[0] if len(extensions) == 1 and TicketFlag.I in message.transfer.terms.flags else None
    return OpenedMessage(entity, verified.initiator, smime.proves_origin(mac, claimed))
