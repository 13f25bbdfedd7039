"""The media lines under one a=key-mgmt, and their keys from offer to offer. RFC 4567; RFC 6043, 5.2; KMS-41 to KMS-53.

A bundle is what a mechanism is for one line: offers and answers of either side go in, octets for SDP and typed keys
come out, and until `settle` what held goes on. A step that needs the KMS gives its request back, and `kms_replied`
goes on from there. Later offers of the dialog carry a CSB update; new keys come by a new transfer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from ueagent.channel.credentials import PskCredentials
from ueagent.errors import AgentError, NegotiationFailed
from ueagent.keymgmt import kms, mikey_exchange, mikey_update
from ueagent.keymgmt.kms import TicketCache
from ueagent.keymgmt.mikey_errors import SIP_STATUS, MikeyError, refusal
from ueagent.keymgmt.mikey_exchange import (
    Agreed,
    AnswerReceived,
    AnswerWanted,
    Closed,
    Event,
    Failed,
    KmsReply,
    KmsUnreachable,
    MikeyExchange,
    OfferReceived,
    OfferWanted,
    Output,
    PeerVerified,
    PutMikey,
    SendKmsRequest,
)
from ueagent.keymgmt.mikey_lines import (
    SecuredLine,
    check_mapping,
    key_set_of,
    number_lines,
    offered_sessions,
    psk_of,
)
from ueagent.keymgmt.mikey_protection import KmsAccount, Profile, Rng
from ueagent.keymgmt.mikey_replay import RateLimit, ReplayCache
from ueagent.keymgmt.mikey_sessions import AgreedSession
from ueagent.keymgmt.mikey_ticket import Transfer
from ueagent.keymgmt.mikey_update import PendingUpdate, ReceivedUpdate
from ueagent.model.keys import KeySet
from ueagent.wire.key_mgmt import MIKEY, KeyMgmt, build_key_mgmt
from ueagent.wire.mikey import CryptoSession, Protocol, parse_message
from ueagent.wire.mikey_payloads import Sp, TicketPayload

WARNING_NOT_UNDERSTOOD: Final = 306  # RFC 4567, 3.3: a parameter that is not supported
WARNING_OTHER: Final = 399
_NOT_SUPPORTED: Final = frozenset(
    {
        "mikey_invalid_prf",
        "mikey_invalid_mac",
        "mikey_invalid_encryption",
        "mikey_invalid_policy",
        "mikey_invalid_policy_parameter",
        "mikey_invalid_ticket",
        "mikey_invalid_ticket_policy",
    }
)

LineKeys = KeySet | PskCredentials
KmsEvent = KmsReply | KmsUnreachable


@dataclass(frozen=True, slots=True, eq=False)
class MikeyDesk:
    """What the agent has for all its calls. `utc` turns the time of a session into seconds since 1970 UTC."""

    account: KmsAccount
    profile: Profile
    tickets: TicketCache
    replay: ReplayCache
    limit: RateLimit
    utc: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class CoveredLine:
    """An m-line of the bundle. `ssrc` is ours, 0 where the dialer does not tell one."""

    index: int
    protocol: Protocol
    ssrc: int = 0


class MikeyBundle:
    """Every time that comes in is of the session, and the desk's clock translates it."""

    def __init__(self, desk: MikeyDesk, rng: Rng) -> None:
        self.desk, self._rng = desk, rng
        self._held: Transfer | None = None
        self._held_lines: tuple[CoveredLine, ...] = ()
        self._whole = True  # whether all of them stand; else their numbers are not used again
        self._lines: tuple[CoveredLine, ...] = ()
        self._exchange: MikeyExchange | None = None
        self._sent: PendingUpdate | None = None
        self._received: ReceivedUpdate | None = None
        self._proposed: Transfer | None = None
        self._verified: bytes | None = None
        self.octets: bytes | None = None  # for our SDP; None where an answer is not wanted

    # ------------------------------------------------------------------------------------------------ our offers --

    def offer(
        self, lines: Sequence[CoveredLine], called: bytes, policies: Sequence[Sp], *, fresh: bool, now: float
    ) -> SendKmsRequest | None:
        """Make the octets of an offer for `lines`: `called` is who shall answer. None: they are there.

        `policies` are what an RTP line may have, best first. `fresh` draws new keys with a new ticket. KmsError,
        NegotiationFailed.
        """
        self._lines = tuple(lines)
        utc = self.desk.utc(now)
        if self._held is not None and not fresh and self._only_grows(self._lines):
            self._offer_update(self._held, policies, utc)
            return None
        desk = self.desk
        wish = kms.wish_for_media(desk.account, (called,), utc, self._rng, desk.profile)
        numbers = tuple(policy.policy for policy in policies)
        secured = [
            SecuredLine(line.index, line.protocol, line.ssrc, numbers if line.protocol is Protocol.SRTP else ())
            for line in self._lines
        ]
        carried = policies if any(line.policies for line in secured) else ()
        wanted = OfferWanted(wish, called, offered_sessions(secured), tuple(carried), MIKEY.encode("ascii"))
        return self._begin(wanted, utc)

    def take_answer(self, octets: bytes, now: float) -> None:
        """An answer to our offer. A refused one changes nothing: the next, of another fork, may be right (KMS-48)."""
        if self._sent is not None:
            self._propose(mikey_update.consume_csb_answer(self._sent, octets, self.desk.profile))
            return
        self._run(AnswerReceived(octets), self.desk.utc(now))

    def _offer_update(self, held: Transfer, policies: Sequence[Sp], utc: float) -> None:
        """What holds stays as it is; new lines follow with numbers of their own."""
        grown = list(zip(self._lines, self._numbers(), strict=True))[len(self._held_lines) :]
        of_rtp = tuple(policy.policy for policy in held.policies.values() if policy.protocol == Protocol.SRTP)
        added: list[Sp] = []
        if not of_rtp and any(line.protocol is Protocol.SRTP for line, _ in grown):
            unused = count(max(held.policies, default=0) + 1)
            added = [replace(policy, policy=next(unused)) for policy in policies]
            of_rtp = tuple(policy.policy for policy in added)
        sessions = list(held.header.crypto_sessions)
        spi = sessions[0].spi
        for line, cs_ids in grown:
            ours = self._our_session(cs_ids, held)
            for cs_id in cs_ids:
                if line.protocol is Protocol.SRTP:
                    data = line.ssrc.to_bytes(4, "big") if cs_id == ours else b""
                    sessions.append(CryptoSession(cs_id, line.protocol, of_rtp, data, spi))
                else:
                    sessions.append(CryptoSession(cs_id, line.protocol, (), b"", spi))
        update = mikey_update.create_csb_update(held, sessions, added, utc, self.desk.profile, answer_wanted=True)
        # Whatever comes of it, the time that this message has is spent.
        self._held, self._sent, self.octets = update.transfer, update, update.octets

    # ---------------------------------------------------------------------------------------------- their offers --

    def take_offer(
        self, octets: bytes, protocols: bytes, lines: Sequence[CoveredLine], now: float
    ) -> SendKmsRequest | None:
        """An offer for `lines`, whose SDP lists `protocols`. None: it is authentic, and `identity` says whose.

        Every error says what a SIP answer may tell (KMS-53); nothing has changed then.
        """
        self._lines = tuple(lines)
        utc = self.desk.utc(now)
        try:
            message = parse_message(octets)
            update = self._held is not None and message.first(TicketPayload) is None
            if update:
                self._take_update(octets, utc)
                return None
            request = self._begin(OfferReceived(octets, protocols), utc)
            check_mapping(message.header.crypto_sessions, [line.protocol for line in self._lines])
        except AgentError as error:
            raise refused(error, mikey_exchange.error_about(octets, error, utc)) from error
        return request

    def answer(self, ssrcs: Mapping[int, int], now: float) -> None:
        """Make octets and keys of an answer to their offer; asked again, they are the same. `ssrcs` by m-line."""
        if self._proposed is not None:
            return
        ours = {cs_id: ssrcs.get(line.index, 0) for line, cs_id in self._our_sessions() if cs_id is not None}
        utc = self.desk.utc(now)
        if self._received is None:
            self._run(AnswerWanted(ours), utc)
        elif self._received.answer_wanted:
            self.octets, transfer = mikey_update.create_csb_answer(self._received, ours, utc)
            self._propose(transfer)
        else:
            self._propose(mikey_update.finish_unanswered(self._received))

    def _take_update(self, octets: bytes, utc: float) -> None:
        assert self._held is not None
        received = mikey_update.consume_csb_update(self._held, octets, self.desk.replay, utc, self.desk.profile)
        check_mapping(received.message.header.crypto_sessions, [line.protocol for line in self._lines])
        if not self._only_grows(self._lines):
            # A number that another line had would bring that line's keys with it.
            raise refusal(MikeyError.UNSPECIFIED, "an update that gives lines numbers of other lines")
        self._received = received

    # ----------------------------------------------------------------------------------------------------- both --

    def kms_replied(self, event: KmsEvent, now: float) -> SendKmsRequest | None:
        """What the KMS said to the last request: as `offer` or `take_offer`, whichever asked."""
        return self._run(event, self.desk.utc(now))

    @property
    def identity(self) -> bytes | None:
        """Who has the other end, as the KMS vouches (KMS-45, KMS-47)."""
        transfer = self._proposed or (None if self._exchange is not None else self._held)
        if transfer is None:
            return self._verified
        return transfer.answered_by if transfer.we_began else transfer.initiator

    def keys_of(self, index: int) -> LineKeys | None:
        """What a line has by the answer, as a copy; None: what it has already. Error 10: nothing of ours does that."""
        assert self._proposed is not None
        place = next(place for place, line in enumerate(self._lines) if line.index == index)
        numbers = self._numbers()[place]
        if self._held is not None and _same(self._held, self._proposed, numbers):
            return None
        if self._lines[place].protocol is Protocol.SRTP:
            return key_set_of(self._proposed, numbers)
        return psk_of(self._proposed, numbers)

    def settle(self, *, whole: bool) -> None:
        """Offer and answer stand; `whole`: no line of the bundle was refused."""
        proposed, self._proposed = self._proposed, None
        if proposed is not None:
            if self._held is not None:
                self._held.wipe()
            self._held, self._held_lines = proposed, self._lines
        self._whole = whole
        self._end_exchange()

    def roll_back(self) -> None:
        """The exchange failed: what held before holds."""
        if self._proposed is not None:
            self._proposed.wipe()
        self._proposed = None
        self._end_exchange()

    def close(self) -> None:
        """The call, or the bundle, is over. Idempotent."""
        self.roll_back()
        if self._held is not None:
            self._held.wipe()
        self._held, self._held_lines = None, ()

    def attribute(self) -> bytes | None:
        """The a=key-mgmt for our SDP."""
        if self.octets is None:
            return None
        return b"a=key-mgmt:" + build_key_mgmt(KeyMgmt(MIKEY, self.octets))

    # -------------------------------------------------------------------------------------------------- helpers --

    def _begin(self, event: OfferWanted | OfferReceived, utc: float) -> SendKmsRequest | None:
        desk = self.desk
        self._exchange = MikeyExchange(desk.account, desk.profile, self._rng, desk.tickets, desk.replay, desk.limit)
        return self._run(event, utc)

    def _run(self, event: Event, utc: float) -> SendKmsRequest | None:
        """One step of the exchange; an error of it is raised."""
        if self._exchange is None:
            raise NegotiationFailed("mikey_unexpected", "no exchange is under way", sip_status_hint=SIP_STATUS)
        request = None
        for output in self._exchange.handle(event, utc):
            request = self._take(output) or request
        return request

    def _take(self, output: Output) -> SendKmsRequest | None:
        match output:
            case SendKmsRequest():
                return output
            case PutMikey(octets):
                self.octets = octets
            case PeerVerified(identity):
                self._verified = identity
            case Agreed(transfer):
                self._propose(transfer)
            case Failed(error, reply):
                raise refused(error, reply)
        return None

    def _propose(self, transfer: Transfer) -> None:
        """The last answer replaces one before it."""
        if self._proposed is not None:
            self._proposed.wipe()
        self._proposed = transfer

    def _end_exchange(self) -> None:
        if self._exchange is not None:
            self._exchange.handle(Closed(), 0.0)
        self._exchange = self._sent = self._received = self._verified = None
        self.octets = None

    def _numbers(self) -> list[tuple[int, ...]]:
        return number_lines([line.protocol for line in self._lines])

    def _only_grows(self, lines: tuple[CoveredLine, ...]) -> bool:
        """New lines come after those that stand: no crypto session ever serves another line than its first."""
        former = [(line.index, line.protocol) for line in self._held_lines]
        return self._whole and [(line.index, line.protocol) for line in lines[: len(former)]] == former

    @staticmethod
    def _our_session(numbers: tuple[int, ...], transfer: Transfer | None) -> int | None:
        """The lower of an RTP line's two is what the Initiator sends (KMS-66). In a first answer we are the other."""
        if len(numbers) != 2:
            return None
        return numbers[0] if transfer is not None and transfer.we_began else numbers[1]

    def _our_sessions(self) -> list[tuple[CoveredLine, int | None]]:
        held = self._held if self._received is not None else None
        return [
            (line, self._our_session(numbers, held)) for line, numbers in zip(self._lines, self._numbers(), strict=True)
        ]


def refused(error: AgentError, reply: bytes | None) -> AgentError:
    """`error` with what the answer to a refused offer may say (RFC 4567, 3.3; KMS-53)."""
    error.sip_status_hint = SIP_STATUS
    error.sip_warning = WARNING_NOT_UNDERSTOOD if error.code in _NOT_SUPPORTED else WARNING_OTHER
    error.key_mgmt = None if reply is None else build_key_mgmt(KeyMgmt(MIKEY, reply)).decode("ascii")
    return error


def _same(one: Transfer, other: Transfer, numbers: tuple[int, ...]) -> bool:
    return all(_equal(_session(one, number), _session(other, number)) for number in numbers)


def _session(transfer: Transfer, number: int) -> AgreedSession | None:
    return next((session for session in transfer.sessions if session.cs_id == number), None)


def _equal(one: AgreedSession | None, other: AgreedSession | None) -> bool:
    if one is None or other is None:
        return False
    return (one.spi, one.policy) == (other.spi, other.policy) and one.key == other.key and one.salt == other.salt
