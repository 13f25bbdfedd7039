"""One bundle from the first offer on, as a machine: which message may come when, and what then goes out.

RFC 6043, 4.2; KMS-40 to KMS-50. TRANSITIONS says which event fits which state; anything else is an UnexpectedMessage
that names what would have been right, and changes nothing. The cryptography is in the functions that a step calls.
Time here is UTC: `now` is seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from ueagent.errors import AgentError, KmsError, UnexpectedMessage
from ueagent.keymgmt import kms, mikey_ticket
from ueagent.keymgmt.kms import GrantedTicket, PendingRequest, PendingResolve, ResolvedTicket, TicketCache, TicketWish
from ueagent.keymgmt.mikey_errors import MikeyError, number_of
from ueagent.keymgmt.mikey_protection import KmsAccount, Profile, Rng, create_error
from ueagent.keymgmt.mikey_replay import RateLimit, ReplayCache
from ueagent.keymgmt.mikey_ticket import PendingTransfer, ReceivedTransfer, Transfer, VerifiedTransfer
from ueagent.model.ticket import TicketFlag
from ueagent.wire.mikey import CryptoSession, DataType
from ueagent.wire.mikey_payloads import Extension, Sp

RETRIES: Final = 2  # of a request to the KMS, each a new message: KMS-13


class State(Enum):
    IDLE = "idle"
    WANTS_TICKET = "wants ticket"  # REQUEST_INIT is under way
    OFFERED = "offered"  # TRANSFER_INIT is out; each fork may answer
    WANTS_KEYS = "wants keys"  # RESOLVE_INIT is under way
    VERIFIED = "verified"  # their TRANSFER_INIT is authentic
    AGREED = "agreed"  # our TRANSFER_RESP is out
    CLOSED = "closed"


class KmsPurpose(Enum):
    TICKET_REQUEST = "ticketrequest"
    TICKET_RESOLVE = "ticketresolve"


# ---------------------------------------------------------------------------------------------------------- events --


@dataclass(frozen=True, slots=True)
class OfferWanted:
    """`responder` is who is called; `protocols` the list of key-mgmt protocols in our SDP."""

    wish: TicketWish
    responder: bytes
    sessions: tuple[CryptoSession, ...]
    policies: tuple[Sp, ...]
    protocols: bytes | None


@dataclass(frozen=True, slots=True)
class OfferReceived:
    octets: bytes
    protocols: bytes | None


@dataclass(frozen=True, slots=True)
class KmsReply:
    octets: bytes


@dataclass(frozen=True, slots=True)
class KmsUnreachable:
    """No answer in time, or none from HTTP; `refused` for an answer that a repetition would not change (401, 403).

    `account`: credentials that were renewed because the KMS did not know the old ones. They serve once (KMS-6).
    """

    refused: bool = False
    account: KmsAccount | None = None


@dataclass(frozen=True, slots=True)
class AnswerReceived:
    octets: bytes


@dataclass(frozen=True, slots=True)
class AnswerWanted:
    ssrcs: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Closed:
    """The call is over, or its offer failed."""


Event = OfferWanted | OfferReceived | KmsReply | KmsUnreachable | AnswerReceived | AnswerWanted | Closed

# --------------------------------------------------------------------------------------------------------- outputs --


@dataclass(frozen=True, slots=True)
class SendKmsRequest:
    purpose: KmsPurpose
    octets: bytes


@dataclass(frozen=True, slots=True)
class PutMikey:
    """For our SDP: TRANSFER_INIT or TRANSFER_RESP."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class PeerVerified:
    """Their offer is authentic: who sent it, as the KMS vouches. Now an answer can be made."""

    identity: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Agreed:
    """Keys. The receiver owns the transfer; with forks there is one for each answer."""

    transfer: Transfer


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """`reply` is an Error message that a refusal may carry (KMS-53), or None."""

    error: AgentError
    reply: bytes | None = None


Output = SendKmsRequest | PutMikey | PeerVerified | Agreed | Failed


class MikeyExchange:
    """One CSB of one dialog. Ticket cache, replay cache and rate limit are the agent's and serve all of them."""

    def __init__(
        self,
        account: KmsAccount,
        profile: Profile,
        rng: Rng,
        tickets: TicketCache,
        replay: ReplayCache,
        limit: RateLimit,
    ) -> None:
        self._account, self._profile, self._rng = account, profile, rng
        self._tickets, self._replay, self._limit = tickets, replay, limit
        self.state = State.IDLE
        self._tries = 0
        self._renewed = False
        self._wanted: OfferWanted | None = None
        self._request: PendingRequest | None = None
        self._ticket: GrantedTicket | None = None
        self._pending: PendingTransfer | None = None
        self._received: ReceivedTransfer | None = None
        self._resolve: PendingResolve | None = None
        self._resolved: ResolvedTicket | None = None
        self._verified: VerifiedTransfer | None = None

    def handle(self, event: Event, now: float) -> list[Output]:
        """What an event leads to. A refused event has changed nothing, except that an exchange which gets no keys from
        the KMS is over: there is one reply to one request."""
        steps = TRANSITIONS[self.state]
        step = steps.get(type(event))
        if step is None:
            expected = tuple(kind.__name__ for kind in steps)
            detail = f"{type(event).__name__} while {self.state.value}"
            return [Failed(UnexpectedMessage("mikey_unexpected", detail, expected=expected))]
        offer = event.octets if isinstance(event, OfferReceived) else self._received.octets if self._received else None
        try:
            return step(self, event, now)
        except AgentError as error:
            if isinstance(event, KmsReply | KmsUnreachable):
                self._close()
            return [Failed(error, error_about(offer, error, now))]

    # -- Initiator

    def _want_offer(self, event: OfferWanted, now: float) -> list[Output]:
        self._wanted, self._tries = event, 0
        ticket = self._tickets.granted(event.wish.terms, now)
        if ticket is not None:
            self._ticket = ticket.copy()
            return self._offer(now)
        return self._ask_for_ticket(now)

    def _ask_for_ticket(self, now: float) -> list[Output]:
        assert self._wanted is not None
        self._request = kms.create_request_init(self._account, self._wanted.wish, now, self._rng, self._profile.send)
        self.state = State.WANTS_TICKET
        return [SendKmsRequest(KmsPurpose.TICKET_REQUEST, self._request.octets)]

    def _take_ticket(self, event: KmsReply, now: float) -> list[Output]:
        assert self._request is not None
        assert self._wanted is not None
        self._ticket = kms.consume_request_resp(self._request, event.octets, now, self._profile)
        if TicketFlag.J in self._ticket.terms.flags:
            self._tickets.keep_granted(self._wanted.wish.terms, self._ticket.copy())
        return self._offer(now)

    def _offer(self, now: float) -> list[Output]:
        assert self._ticket is not None
        assert self._wanted is not None
        wanted = self._wanted
        extensions = () if wanted.protocols is None else (Extension(mikey_ticket.SDP_IDS, wanted.protocols),)
        self._pending = mikey_ticket.create_transfer_init(
            self._ticket,
            self._account.user,
            wanted.responder,
            wanted.sessions,
            wanted.policies,
            now,
            self._rng,
            self._profile,
            extensions,
        )
        self.state = State.OFFERED
        return [PutMikey(self._pending.octets)]

    def _take_answer(self, event: AnswerReceived, _now: float) -> list[Output]:
        assert self._pending is not None
        return [Agreed(mikey_ticket.consume_transfer_resp(self._pending, event.octets, self._profile))]

    # -- Responder

    def _take_offer(self, event: OfferReceived, now: float) -> list[Output]:
        received = mikey_ticket.consume_transfer_init(event.octets, self._replay, now, self._profile, event.protocols)
        known = self._tickets.resolved(received.ticket, now)
        if known is None:
            self._limit.spend(received.terms.initiator or b"", now)
            self._received, self._tries = received, 0
            return self._ask_for_keys(now)
        return self._verify(received, known.copy(), now)

    def _ask_for_keys(self, now: float) -> list[Output]:
        assert self._received is not None
        received = self._received
        self._resolve = kms.create_resolve_init(
            self._account, received.ticket, received.terms, now, self._rng, self._profile.send
        )
        self.state = State.WANTS_KEYS
        return [SendKmsRequest(KmsPurpose.TICKET_RESOLVE, self._resolve.octets)]

    def _take_keys(self, event: KmsReply, now: float) -> list[Output]:
        assert self._resolve is not None
        assert self._received is not None
        received = self._received
        resolved = kms.consume_resolve_resp(self._resolve, event.octets, self._profile)
        outputs = self._verify(received, resolved, now)
        if TicketFlag.J in received.terms.flags:
            self._tickets.keep_resolved(received.ticket, received.terms, resolved.copy())
        return outputs

    def _verify(self, received: ReceivedTransfer, resolved: ResolvedTicket, now: float) -> list[Output]:
        """It takes `resolved` over."""
        try:
            self._verified = mikey_ticket.verify_transfer_init(
                received, resolved, self._account.user, self._replay, now, self._profile
            )
        except AgentError:
            resolved.wipe()
            raise
        self._received, self._resolved = received, resolved
        self.state = State.VERIFIED
        return [PeerVerified(self._verified.initiator)]

    def _want_answer(self, event: AnswerWanted, now: float) -> list[Output]:
        assert self._verified is not None
        octets, transfer = mikey_ticket.create_transfer_resp(self._verified, event.ssrcs, now, self._rng)
        self.state = State.AGREED
        return [PutMikey(octets), Agreed(transfer)]

    # -- both

    def _retry(self, event: KmsUnreachable, now: float) -> list[Output]:
        """A new message each time: the KMS's replay cache would refuse the old one (KMS-13)."""
        renewed = event.account is not None and not self._renewed
        if renewed:
            self._account, self._renewed = event.account or self._account, True
        if renewed or (event.account is None and not event.refused and self._tries < RETRIES):
            self._tries += not renewed
            return self._ask_for_ticket(now) if self.state is State.WANTS_TICKET else self._ask_for_keys(now)
        code = "kms_refused" if event.refused or event.account else "kms_unreachable"
        raise KmsError(code, "the KMS gives no keys for this call")

    def _end(self, _event: Closed, _now: float) -> list[Output]:
        self._close()
        return []

    def _close(self) -> None:
        if self._ticket is not None:
            self._ticket.wipe()
        if self._resolved is not None:
            self._resolved.wipe()
        self._ticket = self._resolved = None
        self._request = self._pending = self._received = self._resolve = self._verified = None
        self.state = State.CLOSED


def error_about(offer: bytes | None, error: AgentError, now: float) -> bytes | None:
    """An Error message for an offer that we refuse: not about authentication, not to an Error, not for the KMS."""
    if offer is None or isinstance(error, KmsError) or offer[1:2] == bytes((DataType.ERROR,)):
        return None
    number = number_of(error)
    return None if number is MikeyError.AUTH_FAILURE else create_error(offer, [number], now)


_Step = Callable[[MikeyExchange, Any, float], list[Output]]
_M = MikeyExchange
# fmt: off
TRANSITIONS: Final[Mapping[State, Mapping[type[Event], _Step]]] = MappingProxyType({
    State.IDLE: {OfferWanted: _M._want_offer, OfferReceived: _M._take_offer, Closed: _M._end},
    State.WANTS_TICKET: {KmsReply: _M._take_ticket, KmsUnreachable: _M._retry, Closed: _M._end},
    State.OFFERED: {AnswerReceived: _M._take_answer, Closed: _M._end},
    State.WANTS_KEYS: {KmsReply: _M._take_keys, KmsUnreachable: _M._retry, Closed: _M._end},
    State.VERIFIED: {AnswerWanted: _M._want_answer, Closed: _M._end},
    State.AGREED: {Closed: _M._end},
    State.CLOSED: {Closed: _M._end},
})
# fmt: on
