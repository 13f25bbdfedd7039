"""Protected SIP MESSAGEs of this agent: 3GPP TS 33.328, F.3.1 and Annex I; MIME-1 to MIME-24.

`keymgmt.protected_message` makes and opens them; here tickets are got and resolved, and every failure gets its status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ueagent.daemon.config import MessagesConfig
from ueagent.daemon.ticket_service import TicketService
from ueagent.errors import AgentError, MalformedMessage, ResourceError, UsageError
from ueagent.keymgmt import protected_message
from ueagent.keymgmt.kms import TICKET_LIFE
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.keymgmt.protected_message import ProtectedMessage
from ueagent.keymgmt.smime import KekLedger
from ueagent.model.ticket import TicketFlag
from ueagent.wire.mime import MAX_PARTS, UNDECIPHERABLE, Part, build_entity, parse_entity, parse_media_type

MAX_RESOLVERS: Final = 64
MAX_IDENTITY: Final = 1024  # octets
LIST_TYPE: Final = "application/resource-lists+xml"  # RFC 5365: the server of the list reads it
TRY_LATER: Final = 480  # SIP status: RFC 3261, 21.4.18


@dataclass(frozen=True, slots=True)
class Opened:
    """`sender` is proven by the KMS; the `clear` parts by nobody."""

    content: Part
    sender: str
    origin_proven: bool
    clear: tuple[Part, ...]


class Messages:
    def __init__(self, tickets: TicketService, config: MessagesConfig) -> None:
        self._tickets, self._config = tickets, config
        self._profile = protected_message.message_profile(tickets.profile, proof_of_origin=config.proof_of_origin)
        # What is still accepted must be remembered: messages may be stored on their way (KMS-72).
        delay = 60.0 * config.max_delay_minutes
        self._life = max(delay, TICKET_LIFE)
        self._replay, self._ledger = ReplayCache(delay), KekLedger(tickets.rng)

    @property
    def identities(self) -> list[str]:
        return [identity.decode("ascii") for identity in self._tickets.identities]

    async def protect(
        self,
        content: Part,
        recipient: str,
        *,
        sender: str | None = None,
        resolvers: Sequence[str] = (),
        clear: Sequence[Part] = (),
        reuse: bool = False,
    ) -> ProtectedMessage:
        """For the user that MESSAGE is sent to; `resolvers`, where given, may open it in place of the recipient.

        `clear` parts travel unprotected beside it. `reuse`: the ticket may serve further messages (MIME-17).
        UsageError: parts that cannot be sent, or a list that its server could not read. KmsError and others of
        `TicketService.ticket_for`.
        """
        tickets = self._tickets
        us = tickets.identity(sender, "sender")
        _check_parts(content, clear, resolvers)
        to, *others = (_identity(name) for name in (recipient, *resolvers))
        entity = build_entity(content.content_type, content.content)
        wish = protected_message.wish_for_message(
            tickets.names(us),
            others or (to,),
            tickets.clock(),
            tickets.rng,
            self._profile,
            reuse=reuse,
            proof_of_origin=self._config.proof_of_origin,
            life=self._life,
        )
        ticket = await tickets.ticket_for(wish, us, self._profile)
        try:
            now, family = tickets.clock(), self._config.cipher
            return protected_message.protect_message(
                ticket, us, to, entity, now, tickets.rng, self._profile, family=family, others=clear
            )
        finally:
            ticket.wipe()

    async def open(self, content_type: str, body: bytes, *, recipient: str | None = None) -> Opened:
        """What a MESSAGE to `recipient` holds, once everything is verified. UsageError: not one of our identities.

        Each other error says in `sip_status_hint` how MESSAGE is answered: 400 what does not parse, 480 what this agent
        has no room for, 493 what it cannot open (MIME-21).
        """
        us = self._tickets.identity(recipient, "recipient")
        try:
            return await self._open(content_type, body, us)
        except MalformedMessage:
            raise
        except AgentError as error:
            error.sip_status_hint = TRY_LATER if isinstance(error, ResourceError) else UNDECIPHERABLE
            raise

    async def _open(self, content_type: str, body: bytes, us: bytes) -> Opened:
        tickets, profile = self._tickets, self._profile
        received = protected_message.receive_message(
            content_type,
            body,
            self._replay,
            tickets.clock(),
            profile,
            tolerant=self._config.tolerant,
            aliases=self._config.smime_types,
        )
        # Where the origin may be proven, the KMS verifies Initiator Data each time (MIME-18).
        proof = TicketFlag.I in received.transfer.terms.flags
        resolved = await tickets.resolve(received.transfer, us, profile, fresh=proof)
        try:
            opened = protected_message.open_message(
                received, resolved, us, self._replay, self._ledger, tickets.clock(), profile
            )
            tickets.keep_resolved(received.transfer, resolved)
        finally:
            resolved.wipe()
        sender = opened.sender.decode("utf-8", "backslashreplace")
        return Opened(parse_entity(opened.entity), sender, opened.origin_proven, received.others)


def _check_parts(content: Part, clear: Sequence[Part], resolvers: Sequence[str]) -> None:
    """UsageError for what cannot be sent or would not be read: MIME-5, MIME-16."""
    if len(resolvers) > MAX_RESOLVERS or len(set(resolvers)) != len(resolvers):
        raise UsageError("bad_resolvers", f"at most {MAX_RESOLVERS} different resolvers", field="resolvers")
    if len(clear) > MAX_PARTS - 2:
        raise UsageError("too_many_parts", f"at most {MAX_PARTS - 2} parts in clear", field="clear")
    if _kind(content, "content_type") == LIST_TYPE:
        raise UsageError("protected_list", "the server of a list reads it: put it into clear", field="content_type")
    if LIST_TYPE in [_kind(part, "clear") for part in clear] and not resolvers:
        raise UsageError("list_without_resolvers", "whom a list names must be resolvers", field="resolvers")


def _identity(name: str) -> bytes:
    if not 0 < len(name) <= MAX_IDENTITY or not name.isascii() or not name.isprintable():
        raise UsageError("bad_identity", f"URIs have 1 to {MAX_IDENTITY} printable characters", field="recipient")
    return name.encode("ascii")


def _kind(part: Part, member: str) -> str:
    try:
        if not f"{part.content_type}{part.disposition or ''}".isprintable():
            raise UsageError("bad_content_type", "a header field of one line", field=member)
        return parse_media_type(part.content_type).name
    except MalformedMessage as error:
        raise UsageError("bad_content_type", error.detail, field=member) from None
