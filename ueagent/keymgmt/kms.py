"""The UE towards its KMS: REQUEST (a ticket for calls we make) and RESOLVE (keys of a ticket that came to us).

RFC 6043, 4.2.1 and 4.2.3; 3GPP TS 33.328, 6.2.3 and Annex D. Each exchange is a pair of functions around one value that
remembers what was asked. A refused answer changes nothing: the value can wait for another. A repetition is a new
message (KMS-13). The KMS's side of the same messages is `keymgmt.kms_desk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ueagent.crypto import keywrap
from ueagent.crypto.mikey_prf import MessageKeys, message_keys
from ueagent.errors import AgentError, KmsError
from ueagent.keymgmt import mikey_protection as protection
from ueagent.keymgmt.mikey_errors import MikeyError, refusal
from ueagent.keymgmt.mikey_protection import ALL_256, RAND_LENGTH, Algorithms, KmsAccount, Profile, Rng
from ueagent.model.keys import Secret
from ueagent.model.ticket import (
    MEDIA_FLAGS,
    IdRole,
    IdType,
    KeyType,
    PolicyTerms,
    RandRole,
    SessionKey,
    TicketFlag,
    Validity,
    broken_implication,
)
from ueagent.wire.mikey import DataType, Header, Message
from ueagent.wire.mikey_keys import KeyData, build_key_data
from ueagent.wire.mikey_payloads import Idr, Kemac, Payload, Randr, Spi, TicketPayload, TicketPolicy
from ueagent.wire.mikey_ticket import TICKET_TYPES, build_policy, ntp_now, parse_terms

SPI_LENGTH: Final = 4
TICKET_LIFE: Final = 3600.0  # seconds asked for
REKEY_INTERVAL: Final = 3600.0
CACHE: Final = 1024  # tickets and resolved tickets each
# Whether a granted flag must be the wanted one; J and K are the KMS's to decide.
_COMPARED: Final = ~(TicketFlag.J | TicketFlag.K | TicketFlag.RESERVED)


@dataclass(frozen=True, slots=True)
class WantedKey:
    kind: KeyType
    length: int
    spi: bytes


@dataclass(frozen=True, slots=True)
class TicketWish:
    terms: PolicyTerms
    keys: tuple[WantedKey, ...]


@dataclass(frozen=True, slots=True, eq=False)
class GrantedTicket:
    """A ticket that we may use, and its keys. Owner: the ticket cache, or who asked for it."""

    payload: TicketPayload
    terms: PolicyTerms
    mpki: Secret
    mpkr: Secret | None  # with flag I
    keys: tuple[SessionKey, ...]

    def copy(self) -> GrantedTicket:
        """One with an owner of its own: a cached ticket may expire while its call is being answered."""
        mpkr = self.mpkr.copy() if self.mpkr is not None else None
        keys = tuple(key.copy() for key in self.keys)
        return GrantedTicket(self.payload, self.terms, self.mpki.copy(), mpkr, keys)

    def wipe(self) -> None:
        self.mpki.wipe()
        if self.mpkr is not None:
            self.mpkr.wipe()
        for key in self.keys:
            key.wipe()


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedTicket:
    """What the KMS told a Responder. With flag I `mpkr` and TGKs are forked, with `identity` and `rand_kms`."""

    mpki: Secret
    mpkr: Secret | None
    keys: tuple[SessionKey, ...]
    identity: bytes | None
    rand_kms: bytes | None

    def copy(self) -> ResolvedTicket:
        mpkr = self.mpkr.copy() if self.mpkr is not None else None
        keys = tuple(key.copy() for key in self.keys)
        return ResolvedTicket(self.mpki.copy(), mpkr, keys, self.identity, self.rand_kms)

    def wipe(self) -> None:
        self.mpki.wipe()
        if self.mpkr is not None:
            self.mpkr.wipe()
        for key in self.keys:
            key.wipe()


@dataclass(frozen=True, slots=True, eq=False)
class PendingRequest:
    octets: bytes
    header: Header
    rand: bytes
    account: KmsAccount
    wish: TicketWish


@dataclass(frozen=True, slots=True, eq=False)
class PendingResolve:
    octets: bytes
    header: Header
    rand: bytes
    account: KmsAccount
    terms: PolicyTerms


def wish_for_media(
    account: KmsAccount, responders: Sequence[bytes], now: float, rng: Rng, profile: Profile, *, reuse: bool = False
) -> TicketWish:
    """The default ticket of TS 33.328, D.4 with one TGK of 256 bits (KMS-26, KMS-29, KMS-36)."""
    terms = PolicyTerms(
        flags=MEDIA_FLAGS | (TicketFlag.J if reuse else TicketFlag(0)),
        prf=profile.send.prf,
        kms=account.kms,
        initiator=account.user,
        responders=tuple(responders),
        applications=(profile.application,),
        validity=Validity(float(int(now)), float(int(now + TICKET_LIFE)), REKEY_INTERVAL),
    )
    return TicketWish(terms, (WantedKey(KeyType.TGK, profile.send.key_length, rng(SPI_LENGTH)),))


# --------------------------------------------------------------------------------------------------------- REQUEST --


def create_request_init(
    account: KmsAccount, wish: TicketWish, now: float, rng: Rng, algorithms: Algorithms = ALL_256
) -> PendingRequest:
    """REQUEST_INIT_PSK (RFC 6043, 4.2.1.2)."""
    header = protection.empty_header(
        DataType.REQUEST_INIT_PSK, protection.number_from(rng, 4), algorithms, initial=True
    )
    rand = rng(RAND_LENGTH)
    wanted = [KeyData(key.kind, Secret(bytes(key.length)), None, Spi(key.spi)) for key in wish.keys]
    stated = build_key_data(wanted)  # a name of its own: a Secret that is gone has wiped its octets
    kemac = Kemac(0, bytes(stated.reveal()))
    payloads: list[Payload] = [ntp_now(now), Randr(RandRole.INITIATOR, rand)]
    payloads += [Idr(IdRole.INITIATOR, IdType.URI, account.user), Idr(IdRole.KMS, IdType.URI, account.kms)]
    payloads += [build_policy(wish.terms, kemac), Idr(IdRole.PSK, IdType.BYTES, account.psk_id)]
    keys = _message_keys(account, header, rand, b"", algorithms.mac, 0, response=False)
    octets = protection.seal(header, payloads, keys.authentication, algorithms.mac, account.user + account.kms)
    keys.wipe()
    return PendingRequest(octets, header, rand, account, wish)


def consume_request_resp(pending: PendingRequest, octets: bytes, now: float, profile: Profile) -> GrantedTicket:
    """The ticket of a REQUEST_RESP (RFC 6043, 4.2.1.5). KmsError when the KMS says no or grants another policy."""
    message = _answer(octets, DataType.REQUEST_RESP, pending, profile, rands=(pending.rand, b""))
    ticket = message.first(TicketPayload)
    assert ticket is not None  # a row of MANDATORY
    terms = check_terms(ticket, now)
    keys = _opened(message, pending.account, (pending.rand, b""))
    try:
        mpki, mpkr, rest = _split(keys, terms)
        _check_granted(pending.wish, terms, rest)
    except AgentError:
        for key in keys:
            key.wipe()
        raise
    return GrantedTicket(ticket, terms, mpki, mpkr, rest)


def check_terms(ticket: TicketPayload | TicketPolicy, now: float) -> PolicyTerms:
    """What a granted policy says. Errors 14 (type), 15 (flags, KEMAC, IDRr), 1 (validity), 2 (PRF)."""
    terms, wanted = read_terms(ticket, now)
    if wanted is not None:
        raise refusal(MikeyError.INVALID_TP_PAR, "a granted policy with KEMAC")
    return terms


def read_terms(ticket: TicketPayload | TicketPolicy, now: float) -> tuple[PolicyTerms, Kemac | None]:
    """As `check_terms`, for a wish too: there KEMAC states the wanted keys."""
    if (ticket.kind, ticket.subtype, ticket.version) not in TICKET_TYPES:
        raise refusal(MikeyError.INVALID_TICKET, f"ticket type {ticket.kind}.{ticket.subtype}.{ticket.version}")
    if ticket.prf not in (0, 1):
        raise refusal(MikeyError.INVALID_PRF, f"PRF {ticket.prf} in the ticket policy")
    terms, wanted = parse_terms(ticket)
    if (broken := broken_implication(terms.flags, self_made=TicketFlag.D not in terms.flags)) is not None:
        raise refusal(MikeyError.INVALID_TP_PAR, f"ticket flags: {broken}")
    if not terms.responders:
        raise refusal(MikeyError.INVALID_TP_PAR, "a policy without IDRr")
    if not terms.validity.covers(now):
        raise refusal(MikeyError.INVALID_TS, "the ticket has expired or is not valid yet")
    return terms, wanted


def _check_granted(wish: TicketWish, terms: PolicyTerms, keys: Sequence[SessionKey]) -> None:
    """KMS-40: what the KMS changed must still do what we asked for."""
    changed = None
    if (terms.flags ^ wish.terms.flags) & _COMPARED:
        changed = "flags"
    elif not set(wish.terms.responders) <= set(terms.responders):
        changed = "responders"
    elif terms.applications and not set(wish.terms.applications) <= set(terms.applications):
        changed = "applications"
    elif terms.initiator not in (None, wish.terms.initiator):
        changed = "initiator"
    elif not {(k.kind, k.length, k.spi) for k in wish.keys} <= {(k.kind, len(k.key), k.spi) for k in keys}:
        changed = "keys"
    if changed is not None:
        raise KmsError("ticket_policy_changed", f"the KMS grants other {changed} than were asked for")


# --------------------------------------------------------------------------------------------------------- RESOLVE --


def create_resolve_init(
    account: KmsAccount,
    ticket: TicketPayload,
    terms: PolicyTerms,
    now: float,
    rng: Rng,
    algorithms: Algorithms = ALL_256,
) -> PendingResolve:
    """RESOLVE_INIT_PSK to our own KMS (RFC 6043, 4.2.3.2; KMS-43), with the ticket as it came in."""
    header = protection.empty_header(
        DataType.RESOLVE_INIT_PSK, protection.number_from(rng, 4), algorithms, initial=True
    )
    rand = rng(RAND_LENGTH)
    payloads: list[Payload] = [ntp_now(now), Randr(RandRole.RESPONDER, rand)]
    payloads += [Idr(IdRole.RESPONDER, IdType.URI, account.user), Idr(IdRole.KMS, IdType.URI, account.kms)]
    payloads += [ticket, Idr(IdRole.PSK, IdType.BYTES, account.psk_id)]
    keys = _message_keys(account, header, b"", rand, algorithms.mac, 0, response=False)
    octets = protection.seal(header, payloads, keys.authentication, algorithms.mac, account.user + account.kms)
    keys.wipe()
    return PendingResolve(octets, header, rand, account, terms)


def consume_resolve_resp(pending: PendingResolve, octets: bytes, profile: Profile) -> ResolvedTicket:
    """The keys of a RESOLVE_RESP (RFC 6043, 4.2.3.6). KmsError when the KMS says no."""
    message = _answer(octets, DataType.RESOLVE_RESP, pending, profile, rands=(b"", pending.rand))
    forked = TicketFlag.I in pending.terms.flags
    identity, rand_kms = message.first(Idr, IdRole.RESPONDER), message.first(Randr, RandRole.KMS)
    if forked and (identity is None or rand_kms is None):
        raise refusal(MikeyError.UNSPECIFIED, "forked keys without IDRr or RANDRkms")
    keys = _opened(message, pending.account, (b"", pending.rand))
    try:
        mpki, mpkr, rest = _split(keys, pending.terms)
        if rand_kms is not None and forked:
            fork = [key.key for key in rest if key.kind.forked]
            protection.check_random(len(rand_kms.value), [*([mpkr] if mpkr else []), *fork])
    except AgentError:
        for key in keys:
            key.wipe()
        raise
    return ResolvedTicket(mpki, mpkr, rest, identity.data if identity else None, rand_kms.value if rand_kms else None)


# ---------------------------------------------------------------------------------------------------------- shared --


def _answer(
    octets: bytes,
    expected: DataType,
    pending: PendingRequest | PendingResolve,
    profile: Profile,
    *,
    rands: tuple[bytes, bytes],
) -> Message:
    """An answer whose MAC is right, from the KMS that was asked."""
    account = pending.account
    initial = _message_keys(account, pending.header, *rands, 2 if pending.header.prf else 1, 0, response=False)
    error = protection.consume_error(octets, pending.header, initial.authentication)
    initial.wipe()
    if error is not None:
        proven = "proven" if error.authentic else "not proven"
        numbers = ", ".join(map(str, error.numbers)) or "no number"
        raise KmsError("kms_refused", f"the KMS answered with MIKEY error {numbers} ({proven})")
    message = protection.read_message(octets, expected)
    protection.check_answer(message, pending.header)
    if (message.header.map_type, message.header.sessions) != (pending.header.map_type, ()):
        raise refusal(MikeyError.UNSPECIFIED, "a KMS does not deal with crypto sessions")
    protection.check_algorithms(message, profile)
    mac = protection.verification(message).algorithm
    keys = _message_keys(account, message.header, *rands, mac, 0, response=True)
    try:
        protection.verify(message, octets, keys.authentication, pending.octets)
    finally:
        keys.wipe()
    kms = message.first(Idr, IdRole.KMS)
    if kms is not None and kms.data != account.kms:
        raise refusal(MikeyError.INVALID_ID, "another KMS answered")
    return message


def _opened(message: Message, account: KmsAccount, rands: tuple[bytes, bytes]) -> tuple[KeyData, ...]:
    kemac = message.first(Kemac)
    assert kemac is not None  # a row of MANDATORY
    length = keywrap.KEY_LENGTH[kemac.encryption]
    mac = protection.verification(message).algorithm
    keys = _message_keys(account, message.header, *rands, mac, length, response=True)
    try:
        return protection.open_keys(kemac, keys, message.header.csb_id, protection.time_of(message))
    finally:
        keys.wipe()


def _message_keys(
    account: KmsAccount, header: Header, rand_i: bytes, rand_r: bytes, mac: int, length: int, *, response: bool
) -> MessageKeys:
    return message_keys(
        header.prf,
        account.psk,
        header.csb_id,
        rand_i,
        rand_r,
        response=response,
        mac_algorithm=mac,
        key_length=length,
    )


def _split(keys: Sequence[KeyData], terms: PolicyTerms) -> tuple[Secret, Secret | None, tuple[SessionKey, ...]]:
    """MPKi, with flag I MPKr, then session keys: their order is their meaning (RFC 6043, 4.2.1.4)."""
    forked = TicketFlag.I in terms.flags
    protecting = [key.key for key in keys if key.kind is KeyType.MPK]
    leading = all(key.kind is KeyType.MPK for key in keys[: len(protecting)])
    if len(protecting) != 1 + forked or not leading:
        raise refusal(MikeyError.UNSPECIFIED, f"{len(protecting)} MPKs in KEMAC, {1 + forked} expected in front")
    rest = protection.session_keys(keys)
    if forked and TicketFlag.F not in terms.flags and any(key.kind.forked for key in rest):
        raise refusal(MikeyError.INVALID_TP_PAR, "a forked TGK without TRANSFER_RESP")
    return protecting[0], protecting[1] if forked else None, rest


# ---------------------------------------------------------------------------------------------------------- caches --


class TicketCache:
    """Tickets that may be used again (flag J), and what resolving brought. It owns and wipes them. KMS-49."""

    def __init__(self, capacity: int = CACHE) -> None:
        self._capacity = capacity
        self._granted: dict[object, GrantedTicket] = {}
        self._resolved: dict[TicketPayload, tuple[PolicyTerms, ResolvedTicket]] = {}

    @staticmethod
    def _key(terms: PolicyTerms) -> object:
        flags = terms.flags & _COMPARED
        return terms.kms, terms.initiator, frozenset(terms.responders), frozenset(terms.applications), flags

    def granted(self, wish: PolicyTerms, now: float) -> GrantedTicket | None:
        """A ticket for the same parties and purpose. It stays the cache's."""
        self._forget_expired(now)
        return self._granted.get(self._key(wish))

    def keep_granted(self, wish: PolicyTerms, ticket: GrantedTicket) -> bool:
        """Whether the cache took the ticket over: only with flag J."""
        if TicketFlag.J not in ticket.terms.flags:
            return False
        old = self._granted.pop(self._key(wish), None)
        if old is not None and old is not ticket:
            old.wipe()
        self._granted[self._key(wish)] = ticket
        if len(self._granted) > self._capacity:
            self._granted.pop(next(iter(self._granted))).wipe()
        return True

    def resolved(self, ticket: TicketPayload, now: float) -> ResolvedTicket | None:
        """What this very ticket was resolved to. Initiator Data are of one transfer and do not count."""
        self._forget_expired(now)
        found = self._resolved.get(_bare(ticket))
        return found[1] if found else None

    def keep_resolved(self, ticket: TicketPayload, terms: PolicyTerms, resolved: ResolvedTicket) -> bool:
        """Whether the cache took it over: only with flag J, so that the same modifier serves again."""
        if TicketFlag.J not in terms.flags:
            return False
        self._resolved[_bare(ticket)] = terms, resolved
        if len(self._resolved) > self._capacity:
            self._resolved.pop(next(iter(self._resolved)))[1].wipe()
        return True

    def wipe(self) -> None:
        for ticket in self._granted.values():
            ticket.wipe()
        for _terms, resolved in self._resolved.values():
            resolved.wipe()
        self._granted.clear()
        self._resolved.clear()

    def _forget_expired(self, now: float) -> None:
        for key in [key for key, ticket in self._granted.items() if not ticket.terms.validity.covers(now)]:
            self._granted.pop(key).wipe()
        for payload in [payload for payload, (terms, _r) in self._resolved.items() if not terms.validity.covers(now)]:
            self._resolved.pop(payload)[1].wipe()


def _bare(ticket: TicketPayload) -> TicketPayload:
    return TicketPayload(
        ticket.kind, ticket.subtype, ticket.version, ticket.prf, ticket.flags, ticket.data, ticket.ticket_data
    )
