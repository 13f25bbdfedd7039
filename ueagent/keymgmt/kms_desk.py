"""The KMS's side of REQUEST and RESOLVE, and the MIKEY base ticket: RFC 6043, 4.2.1, 4.2.3 and Appendix A.

Pure functions: who the users are, what they may do and which key protects tickets comes in as arguments. The lab KMS
puts them behind HTTP; a UE that makes its own tickets uses `seal_ticket`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ueagent.crypto import keywrap, mikey_prf
from ueagent.crypto.mikey_prf import MessageKeys, message_keys
from ueagent.errors import AgentError
from ueagent.keymgmt import mikey_protection as protection
from ueagent.keymgmt.kms import ResolvedTicket, WantedKey, check_terms, read_terms
from ueagent.keymgmt.mikey_errors import MikeyError, refusal
from ueagent.keymgmt.mikey_protection import ALL_256, RAND_LENGTH, Algorithms, Profile, Rng
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.model.keys import Secret
from ueagent.model.ticket import IdRole, IdType, KeyType, PolicyTerms, RandRole, SessionKey, TicketFlag
from ueagent.wire.mikey import DataType, Message, parse_message
from ueagent.wire.mikey_keys import parse_key_data
from ueagent.wire.mikey_payloads import Idr, Payload, Rand, Randr, TicketPayload, TicketPolicy, Timestamp, V
from ueagent.wire.mikey_ticket import (
    TS_NTP_UTC_32,
    TicketData,
    build_policy,
    build_ticket_data,
    ntp_now,
    ntp_seconds,
    parse_initiator_data,
    parse_ticket_data,
    ticket_octets,
)

_INITIAL: Final = {DataType.REQUEST_INIT_PSK: RandRole.INITIATOR, DataType.RESOLVE_INIT_PSK: RandRole.RESPONDER}
_OWN_ROLE: Final = {DataType.REQUEST_INIT_PSK: IdRole.INITIATOR, DataType.RESOLVE_INIT_PSK: IdRole.RESPONDER}
_NOBODY: Final = Secret(bytes(32))  # verified against when the PSK is not known, so that both refusals cost the same


@dataclass(frozen=True, slots=True, eq=False)
class Subscriber:
    """What a KMS knows behind a PSK identity: the key and the identity it belongs to."""

    user: bytes
    psk: Secret


@dataclass(frozen=True, slots=True, eq=False)
class OpenedRequest:
    """An authentic REQUEST_INIT or RESOLVE_INIT. `authentication` is what an Error about it is protected with."""

    octets: bytes
    message: Message
    subscriber: Subscriber
    kms: bytes
    authentication: Secret

    @property
    def user(self) -> bytes:
        return self.subscriber.user


FindSubscriber = Callable[[bytes | None, bytes | None], Subscriber | None]  # IDRpsk, claimed identity


def open_request(
    octets: bytes, kms: bytes, find: FindSubscriber, replay: ReplayCache, now: float, profile: Profile
) -> OpenedRequest:
    """Verify who asks. AuthenticationFailed alike, and after the same operations, for an unknown PSK identity and for a
    wrong MAC: HTTP 401 without a body. Other errors: time and replay 1, another KMS 7, what does not fit 12.
    """
    expected = parse_message(octets).header.data_type
    if expected not in _INITIAL:
        raise refusal(MikeyError.INVALID_DT, f"{expected.name} is no request to a KMS")
    message = protection.read_message(octets, expected)
    protection.check_algorithms(message, profile)
    psk_id, claimed = message.first(Idr, IdRole.PSK), message.first(Idr, _OWN_ROLE[expected])
    named = message.first(Idr, IdRole.KMS)
    subscriber = find(psk_id.data if psk_id else None, claimed.data if claimed else None)
    psk = subscriber.psk if subscriber else _NOBODY
    user = claimed.data if claimed else subscriber.user if subscriber else b""
    authentication = _request_keys(message, psk, 0, response=False).authentication
    authentic = True
    try:
        protection.verify(message, octets, authentication, user + (named.data if named else kms))
    except AgentError:
        authentic = False
    if subscriber is None or not authentic:
        authentication.wipe()
        raise refusal(MikeyError.AUTH_FAILURE, "unknown or not authentic")
    if user != subscriber.user:
        raise refusal(MikeyError.INVALID_ID, "the key belongs to another identity")
    if named is not None and named.data != kms:
        raise refusal(MikeyError.INVALID_ID, "the message is for another KMS")
    protection.check_random(len(protection.random_of(message, _INITIAL[expected])), [psk])
    time = protection.time_of(message)
    replay.check(octets, time, user, now)
    replay.remember(octets, time, user, now)
    return OpenedRequest(octets, message, subscriber, kms, authentication)


def _request_keys(message: Message, psk: Secret, key_length: int, *, response: bool) -> MessageKeys:
    return message_keys(
        message.header.prf,
        psk,
        message.header.csb_id,
        protection.random_of(message, RandRole.INITIATOR),
        protection.random_of(message, RandRole.RESPONDER),
        response=response,
        mac_algorithm=protection.verification(message).algorithm,
        key_length=key_length,
    )


# --------------------------------------------------------------------------------------------------------- REQUEST --


@dataclass(frozen=True, slots=True)
class ReceivedWish:
    """What a REQUEST_INIT asks for. A KMS decides what of it is granted."""

    terms: PolicyTerms
    keys: tuple[WantedKey, ...]


def consume_request_init(opened: OpenedRequest, now: float) -> ReceivedWish:
    """The wish in an authentic REQUEST_INIT. Errors 14, 15, 1, and 4 for a KEMAC that is not in the clear."""
    policy = opened.message.first(TicketPolicy)
    if policy is None:
        raise refusal(MikeyError.INVALID_DT, "no REQUEST_INIT")
    terms, kemac = read_terms(policy, now)
    if TicketFlag.K in terms.flags:
        raise refusal(MikeyError.INVALID_TP_PAR, "flag K in a request")
    if kemac is None:
        return ReceivedWish(terms, ())
    if kemac.encryption or kemac.mac_algorithm:
        raise refusal(MikeyError.INVALID_EA, "wanted keys are stated in the clear")
    keys = parse_key_data(kemac.data)
    if any(key.spi is None or not len(key.key) or key.kind is KeyType.MPK for key in keys):
        raise refusal(MikeyError.INVALID_TP_PAR, "a wanted key without SPI or length, or an MPK")
    return ReceivedWish(terms, tuple(WantedKey(key.kind, len(key.key), key.spi or b"") for key in keys))


def create_request_resp(
    opened: OpenedRequest, ticket: OpenedTicket, now: float, algorithms: Algorithms = ALL_256
) -> bytes:
    """REQUEST_RESP (RFC 6043, 4.2.1.4): ticket, MPKi, with flag I MPKr, session keys as they are."""
    before: list[Payload] = [Idr(IdRole.KMS, IdType.URI, opened.kms), ticket.payload]
    mpkr = ticket.mpkr if TicketFlag.I in ticket.terms.flags else None
    return _respond(opened, DataType.REQUEST_RESP, before, (ticket.mpki, mpkr, ticket.keys), [], now, algorithms)


# --------------------------------------------------------------------------------------------------------- RESOLVE --


@dataclass(frozen=True, slots=True, eq=False)
class Forked:
    """Keys for one Responder (RFC 6043, 5.1.1)."""

    mpkr: Secret
    keys: tuple[SessionKey, ...]
    identity: bytes
    rand_kms: bytes

    def wipe(self) -> None:
        self.mpkr.wipe()
        for key in self.keys:
            key.wipe()


def consume_resolve_init(opened: OpenedRequest, tpk: Secret, now: float, profile: Profile) -> OpenedTicket:
    """The ticket in an authentic RESOLVE_INIT, opened (RFC 6043, 4.2.3.4). Whether the user may resolve it is the next
    question: `terms.responders`. Errors 14, 15, 1; 0 for the ticket's MAC, Vi or Vr.
    """
    ticket = opened.message.first(TicketPayload)
    if ticket is None:
        raise refusal(MikeyError.INVALID_DT, "no RESOLVE_INIT")
    found = open_ticket(ticket, tpk, now, profile)
    if TicketFlag.I in found.terms.flags:
        try:
            _verify_initiator_data(ticket, found)
        except AgentError:
            found.wipe()
            raise
    return found


def _verify_initiator_data(ticket: TicketPayload, found: OpenedTicket) -> None:
    vi, vr = parse_initiator_data(ticket.initiator_data)
    if vr.algorithm not in mikey_prf.MACS or vr.algorithm != vi.algorithm:
        raise refusal(MikeyError.INVALID_MAC, "Vi and Vr of different or unknown algorithms")
    key = mikey_prf.initiator_data_key(found.terms.prf, found.mpkr, vr.algorithm)
    covered = ticket.initiator_data[: len(ticket.initiator_data) - len(vr.mac)]
    right = mikey_prf.same(mikey_prf.mac(vr.algorithm, key, covered), vr.mac)
    key.wipe()
    if not right:
        raise refusal(MikeyError.AUTH_FAILURE, "Initiator Data do not verify")


def fork_for(ticket: OpenedTicket, identity: bytes, rng: Rng) -> Forked:
    """MPKr' and the session keys with their TGKs forked, for the responder `identity` alone."""
    rand_kms, prf = rng(RAND_LENGTH), ticket.terms.prf
    keys = []
    for key in ticket.keys:
        if key.kind.forked:
            salt = key.salt.copy() if key.salt else None
            keys.append(SessionKey(key.kind, key.spi, mikey_prf.fork_tgk(prf, key.key, identity, rand_kms), salt))
        else:
            keys.append(key.copy())
    return Forked(mikey_prf.fork_mpkr(prf, ticket.mpkr, identity, rand_kms), tuple(keys), identity, rand_kms)


def create_resolve_resp(
    opened: OpenedRequest,
    ticket: OpenedTicket,
    identity: bytes,
    now: float,
    rng: Rng,
    algorithms: Algorithms = ALL_256,
) -> bytes:
    """RESOLVE_RESP (RFC 6043, 4.2.3.5). `identity` is the name under which the responder answers."""
    before: list[Payload] = [Idr(IdRole.KMS, IdType.URI, opened.kms)]
    if TicketFlag.I not in ticket.terms.flags:
        return _respond(opened, DataType.RESOLVE_RESP, before, (ticket.mpki, None, ticket.keys), [], now, algorithms)
    fork = fork_for(ticket, identity, rng)
    after: list[Payload] = [Idr(IdRole.RESPONDER, IdType.URI, identity), Randr(RandRole.KMS, fork.rand_kms)]
    keys = (ticket.mpki, fork.mpkr, fork.keys)
    try:
        return _respond(opened, DataType.RESOLVE_RESP, before, keys, after, now, algorithms)
    finally:
        fork.wipe()


def create_forwarded_resp(
    opened: OpenedRequest, resolved: ResolvedTicket, now: float, algorithms: Algorithms = ALL_256
) -> bytes:
    """RESOLVE_RESP with what another KMS answered to us for this responder: it has forked already (RFC 6043, 10)."""
    before: list[Payload] = [Idr(IdRole.KMS, IdType.URI, opened.kms)]
    after: list[Payload] = []
    if resolved.identity is not None:
        after.append(Idr(IdRole.RESPONDER, IdType.URI, resolved.identity))
    if resolved.rand_kms is not None:
        after.append(Randr(RandRole.KMS, resolved.rand_kms))
    keys = (resolved.mpki, resolved.mpkr, resolved.keys)
    return _respond(opened, DataType.RESOLVE_RESP, before, keys, after, now, algorithms)


def _respond(
    opened: OpenedRequest,
    data_type: DataType,
    before: Sequence[Payload],
    keys: tuple[Secret, Secret | None, Sequence[SessionKey]],
    after: Sequence[Payload],
    now: float,
    algorithms: Algorithms,
) -> bytes:
    """T, `before`, KEMAC, `after`, V; PRF and CSB ID of the request, and its MAC algorithm."""
    mpki, mpkr, session = keys
    header, time = replace(opened.message.header, data_type=data_type, answer_wanted=False), ntp_now(now)
    encryption = algorithms.encryption if header.prf == algorithms.prf else keywrap.AES_CM_128
    mac = protection.verification(opened.message).algorithm
    protect = _request_keys(opened.message, opened.subscriber.psk, keywrap.KEY_LENGTH[encryption], response=True)
    data = [protection.protection_key(mpki, b"\x01")]
    data += [protection.protection_key(mpkr, b"\x02")] if mpkr is not None else []
    kemac = protection.close_keys([*data, *protection.key_data(session)], encryption, protect, header.csb_id, time)
    try:
        return protection.seal(header, [time, *before, kemac, *after], protect.authentication, mac, opened.octets)
    finally:
        protect.wipe()


# -------------------------------------------------------------------------------------------------------- tickets --


@dataclass(frozen=True, slots=True, eq=False)
class OpenedTicket:
    """A ticket with its keys, for whoever has the TPK. MPKr here is never forked."""

    payload: TicketPayload
    terms: PolicyTerms
    mpki: Secret
    mpkr: Secret
    keys: tuple[SessionKey, ...]

    def wipe(self) -> None:
        self.mpki.wipe()
        self.mpkr.wipe()
        for key in self.keys:
            key.wipe()


def seal_ticket(
    terms: PolicyTerms,
    wanted: Sequence[WantedKey],
    tpk: Secret,
    kms_id: bytes,
    psk_id: bytes | None,
    now: float,
    rng: Rng,
    algorithms: Algorithms = ALL_256,
) -> OpenedTicket:
    """A new MIKEY base ticket with fresh keys (RFC 6043, Appendix A). `kms_id` begins THDR (KMS-30)."""
    time, rand = Timestamp(TS_NTP_UTC_32, ntp_seconds(now)), rng(max(RAND_LENGTH, len(tpk)))
    mpk = Secret(rng(algorithms.key_length))
    keys = tuple(SessionKey(key.kind, key.spi, Secret(rng(key.length))) for key in wanted)
    protect = mikey_prf.ticket_keys(
        terms.prf, tpk, rand, mac_algorithm=algorithms.mac, key_length=algorithms.key_length
    )
    plain = [protection.protection_key(mpk, b"\x00"), *protection.key_data(keys)]
    kemac = protection.close_keys(plain, algorithms.encryption, protect, protection.NO_CSB, time)
    psk = Idr(IdRole.PSK, IdType.BYTES, psk_id) if psk_id is not None else None
    unsigned = V(algorithms.mac, bytes(mikey_prf.MACS[algorithms.mac][1]))
    data = TicketData(kms_id, time, Rand(rand), kemac, psk, unsigned)
    policy = build_policy(terms)
    payload = TicketPayload(
        policy.kind, policy.subtype, policy.version, policy.prf, policy.flags, policy.data, build_ticket_data(data)
    )
    mac = mikey_prf.mac(algorithms.mac, protect.authentication, ticket_octets(payload))
    payload = replace(payload, ticket_data=build_ticket_data(replace(data, v=V(algorithms.mac, mac))))
    protect.wipe()
    mpki, mpkr = mikey_prf.message_protection_keys(terms.prf, mpk, rand)
    mpk.wipe()
    return OpenedTicket(payload, terms, mpki, mpkr, keys)


def open_ticket(ticket: TicketPayload, tpk: Secret, now: float, profile: Profile) -> OpenedTicket:
    """A ticket opened with its TPK. Errors 14, 15, 1, 3, 4; 0 when its MAC is wrong."""
    terms = check_terms(ticket, now)
    data = parse_ticket_data(ticket.ticket_data)
    if (terms.prf, data.v.algorithm) not in {(row.prf, row.mac) for row in profile.accept}:
        raise refusal(MikeyError.INVALID_MAC, f"MAC {data.v.algorithm} with PRF {terms.prf} in a ticket")
    protection.check_encryption(data.kemac, terms.prf, profile)
    length = keywrap.KEY_LENGTH[data.kemac.encryption]
    protect = mikey_prf.ticket_keys(terms.prf, tpk, data.rand.value, mac_algorithm=data.v.algorithm, key_length=length)
    try:
        mac = mikey_prf.mac(data.v.algorithm, protect.authentication, ticket_octets(ticket))
        if not mikey_prf.same(mac, data.v.mac):
            raise refusal(MikeyError.AUTH_FAILURE, "a ticket does not verify")
        keys = protection.open_keys(data.kemac, protect, protection.NO_CSB, data.time)
    finally:
        protect.wipe()
    if keys[0].kind is not KeyType.MPK or any(key.kind is KeyType.MPK for key in keys[1:]):
        for key in keys:
            key.wipe()
        raise refusal(MikeyError.UNSPECIFIED, "a ticket holds one MPK, first")
    mpki, mpkr = mikey_prf.message_protection_keys(terms.prf, keys[0].key, data.rand.value)
    keys[0].key.wipe()
    return OpenedTicket(ticket, terms, mpki, mpkr, protection.session_keys(keys))
