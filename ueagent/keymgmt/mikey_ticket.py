"""TRANSFER: a ticket goes to the other end with our offer or message, and both derive session keys from it.

RFC 6043, 4.2.2 and 5; 3GPP TS 33.328, Annex D. `create_` and `consume_` functions come in pairs around values that
remember what was said; a refused message changes nothing. With flag F the transfer has an answer, and each of several
answers to one INVITE gives a Transfer of its own (DYN-4). CSB updates: `keymgmt.mikey_update`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ueagent.crypto import mikey_prf
from ueagent.crypto.mikey_prf import MessageKeys
from ueagent.errors import AgentError, NegotiationFailed, UnexpectedMessage
from ueagent.keymgmt import mikey_protection as protection
from ueagent.keymgmt import mikey_sessions
from ueagent.keymgmt.kms import GrantedTicket, ResolvedTicket, check_terms
from ueagent.keymgmt.mikey_errors import SIP_STATUS, MikeyError, refusal
from ueagent.keymgmt.mikey_protection import RAND_LENGTH, Profile, Rng
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.keymgmt.mikey_sessions import AgreedSession
from ueagent.model.keys import Secret
from ueagent.model.ticket import IdRole, IdType, PolicyTerms, RandRole, SessionKey, TicketFlag
from ueagent.wire.mikey import CryptoSession, DataType, Header, MapType, Message, Protocol
from ueagent.wire.mikey_payloads import Extension, Idr, Kemac, Payload, Randr, Sp, TicketPayload, V
from ueagent.wire.mikey_ticket import build_initiator_data, insert_initiator_data, ntp_now, parse_initiator_data

SDP_IDS: Final = 1  # general extension: RFC 4567, 7.1
UPDATE_KEY_LENGTH: Final = 32  # a cipher of 128 bits takes the first half: the PRF's output has no length in it
_F = TicketFlag


@dataclass(frozen=True, slots=True, eq=False)
class PendingTransfer:
    """Our TRANSFER_INIT. The ticket stays with its owner; `consume_transfer_resp` may be called for many answers."""

    octets: bytes
    message: Message
    rand_i: bytes
    ticket: GrantedTicket
    responder: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """An authentic transfer with its session keys, on either side. It owns all Secrets in it.

    `update` protects CSB updates, with the keys of the last message of this exchange; `last_time` is the NTP time of
    our last message under them: KEMACs share one key, and only a new time gives them another IV (RFC 6043, 5.2).
    """

    header: Header
    terms: PolicyTerms
    initiator: bytes
    responder: bytes
    answered_by: bytes  # the identity that the KMS vouches for: KMS-47
    rand_i: bytes
    rand_r: bytes
    keys: tuple[SessionKey, ...]
    policies: Mapping[int, Sp]
    sessions: tuple[AgreedSession, ...]
    update: MessageKeys
    mac: int
    we_began: bool
    last_time: int

    def wipe(self) -> None:
        mikey_sessions.wipe_all(self.sessions)
        for key in self.keys:
            key.wipe()
        self.update.wipe()


# ------------------------------------------------------------------------------------------------------- Initiator --


def create_transfer_init(
    ticket: GrantedTicket,
    initiator: bytes,
    responder: bytes,
    sessions: Sequence[CryptoSession],
    policies: Sequence[Sp],
    now: float,
    rng: Rng,
    profile: Profile,
    extensions: Sequence[Extension] = (),
) -> PendingTransfer:
    """TRANSFER_INIT (RFC 6043, 4.2.2.1). In SDP `extensions` hold the list of protocols (KMS-64).

    NegotiationFailed when our own offer could not be taken: a bug of the caller shows here and not at the far side.
    """
    if not sessions:
        raise refusal(MikeyError.UNSPECIFIED, "a transfer without crypto sessions")
    mikey_sessions.check_offered(sessions, mikey_sessions.policies_by_number(policies))
    if not ticket.terms.validity.covers(now):
        raise refusal(MikeyError.INVALID_TS, "the ticket has expired")
    flags, algorithms = ticket.terms.flags, profile.send
    header = Header(
        DataType.TRANSFER_INIT,
        protection.number_from(rng, 4),
        algorithms.prf,
        answer_wanted=_F.F in flags,
        map_type=MapType.GENERIC_ID,
        sessions=tuple(sessions),
    )
    rand_i = rng(RAND_LENGTH)
    before: list[Payload] = [ntp_now(now), Randr(RandRole.INITIATOR, rand_i)]
    before += [Idr(IdRole.INITIATOR, IdType.URI, initiator), Idr(IdRole.RESPONDER, IdType.URI, responder)]
    before += [*policies, *extensions]
    keys = _keys(header, ticket.mpki, rand_i, b"", algorithms.mac, response=False)
    bare = ticket.payload if not ticket.payload.initiator_data else replace(ticket.payload, initiator_data=b"")
    octets = protection.seal(header, [*before, bare], keys.authentication, algorithms.mac, initiator + responder)
    keys.wipe()
    message = Message(header, (*before, bare, V(algorithms.mac, octets[-mikey_prf.MACS[algorithms.mac][1] :])))
    if _F.I in flags and ticket.mpkr is not None:
        data = _initiator_data(protection.verification(message), ticket.mpkr, ticket.terms.prf)
        message, octets = insert_initiator_data(message, octets, data)
    return PendingTransfer(octets, message, rand_i, ticket, responder)


def _initiator_data(v: V, mpkr: Secret, prf: int) -> bytes:
    """They repeat V, which is possible because its MAC leaves them out (RFC 6043, 6.10)."""
    covered = build_initiator_data(v, V(v.algorithm, bytes(len(v.mac))))[: -len(v.mac)]
    key = mikey_prf.initiator_data_key(prf, mpkr, v.algorithm)
    vr = mikey_prf.mac(v.algorithm, key, covered)
    key.wipe()
    return covered + vr


def consume_transfer_resp(pending: PendingTransfer, octets: bytes, profile: Profile) -> Transfer:
    """The answer of one Responder (RFC 6043, 4.2.2.4; KMS-47). UnexpectedMessage `mikey_error` for an Error message:
    nobody proves it, so it ends nothing by itself. Other errors as `mikey_errors`; the next answer may be right.
    """
    ticket, flags, initial = pending.ticket, pending.ticket.terms.flags, pending.message.header
    if _F.F not in flags:
        raise UnexpectedMessage("mikey_no_answer", "this transfer has no answer")
    if (error := protection.consume_error(octets, initial, None)) is not None:
        numbers = ", ".join(map(str, error.numbers)) or "no number"
        raise UnexpectedMessage("mikey_error", f"the peer reports MIKEY error {numbers}; nothing proves it")
    message = protection.read_message(octets, DataType.TRANSFER_RESP)
    protection.check_answer(message, initial)
    protection.check_algorithms(message, profile)
    identity, rand_kms = message.first(Idr, IdRole.RESPONDER), message.first(Randr, RandRole.KMS)
    rand_r = protection.random_of(message, RandRole.RESPONDER)
    if (_F.G in flags) != bool(rand_r):
        raise refusal(MikeyError.UNSPECIFIED, "RANDRr and flag G do not agree")
    if _F.M not in flags and message.first(Kemac) is not None:
        raise refusal(MikeyError.INVALID_TP_PAR, "KEMAC without flag M")
    if _F.I in flags:
        if identity is None or rand_kms is None or ticket.mpkr is None:
            raise refusal(MikeyError.UNSPECIFIED, "forked keys without IDRr or RANDRkms")
        protection.check_random(len(rand_kms.value), [ticket.mpkr, *(k.key for k in ticket.keys if k.kind.forked)])
        prf = ticket.terms.prf
        keys = tuple(_forked(key, prf, identity.data, rand_kms.value) for key in ticket.keys)
        inkey = mikey_prf.fork_mpkr(prf, ticket.mpkr, identity.data, rand_kms.value)
    else:
        keys, inkey = tuple(key.copy() for key in ticket.keys), ticket.mpki.copy()
    protect: MessageKeys | None = None
    try:
        protection.check_random(len(pending.rand_i) + len(rand_r), [inkey, *(key.key for key in keys)])
        mac = protection.verification(message).algorithm
        protect = _keys(message.header, inkey, pending.rand_i, rand_r, mac, UPDATE_KEY_LENGTH, response=True)
        protection.verify(message, octets, protect.authentication, pending.octets)
        policies = merged(pending.message.all(Sp), message.all(Sp))
        check_answered(pending.message.header.crypto_sessions, message.header, policies)
        used_i, used_r = _used(flags, pending.rand_i, rand_r)
        sessions = derive_all(message.header.crypto_sessions, policies, keys, message.header.prf, used_i, used_r)
    except AgentError:
        _wipe(keys, protect)
        raise
    finally:
        inkey.wipe()
    return Transfer(
        header=message.header,
        terms=ticket.terms,
        initiator=identity_of(pending.message, IdRole.INITIATOR),
        responder=pending.responder,
        answered_by=identity.data if identity else pending.responder,
        rand_i=used_i,
        rand_r=used_r,
        keys=keys,
        policies=policies,
        sessions=sessions,
        update=protect,
        mac=mac,
        we_began=True,
        last_time=protection.time_of(pending.message).value,
    )


def transfer_without_answer(pending: PendingTransfer) -> Transfer:
    """The Initiator's keys where nobody answers (flag F clear): messages (TS 33.328, Annex I; KMS-72)."""
    flags, ticket = pending.ticket.terms.flags, pending.ticket
    if _F.F in flags:
        raise UnexpectedMessage("mikey_answer_due", "the keys of this transfer need its answer")
    keys = tuple(key.copy() for key in ticket.keys)
    return _unanswered(pending.message, ticket.terms, keys, ticket.mpki, pending.responder, we_began=True)


# ------------------------------------------------------------------------------------------------------- Responder --


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedTransfer:
    """A TRANSFER_INIT that is worth resolving. Nothing in it is proven yet."""

    octets: bytes
    message: Message
    ticket: TicketPayload
    terms: PolicyTerms


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedTransfer:
    """An authentic TRANSFER_INIT. `resolved` stays with its owner."""

    received: ReceivedTransfer
    resolved: ResolvedTicket
    initiator: bytes
    responder: bytes


def consume_transfer_init(
    octets: bytes, replay: ReplayCache, now: float, profile: Profile, protocols: bytes | None = None
) -> ReceivedTransfer:
    """Every check that needs no KMS (RFC 6043, 4.2.2.2; KMS-42), so that a bad message costs no request.

    `protocols` is the list of key-mgmt protocols in the SDP that brought it (KMS-64); None outside of SDP. Errors: 11,
    12, 1 (clock, replay, ticket validity), 2, 3, 4, 14, 15, 9, 10; `mikey_bidding_down`.
    """
    message = protection.read_message(octets, DataType.TRANSFER_INIT)
    protection.check_algorithms(message, profile)
    replay.check(octets, protection.time_of(message), identity_of(message, IdRole.INITIATOR), now)
    ticket = message.first(TicketPayload)
    assert ticket is not None  # a row of MANDATORY
    terms = check_terms(ticket, now)
    _check_usable(message, ticket, terms, profile)
    if message.header.map_type is not MapType.GENERIC_ID or not message.header.crypto_sessions:
        raise refusal(MikeyError.UNSPECIFIED, "a transfer has a GENERIC-ID map with sessions")
    mikey_sessions.check_offered(message.header.crypto_sessions, mikey_sessions.policies_by_number(message.all(Sp)))
    if protocols is not None:
        listed = [extension.data for extension in message.all(Extension) if extension.kind == SDP_IDS]
        if listed != [protocols]:
            raise NegotiationFailed(
                "mikey_bidding_down",
                "the offer does not have the protocols its sender listed",
                sip_status_hint=SIP_STATUS,
            )
    return ReceivedTransfer(octets, message, ticket, terms)


def _check_usable(message: Message, ticket: TicketPayload, terms: PolicyTerms, profile: Profile) -> None:
    flags = terms.flags
    complaint = None
    if _F.E not in flags:
        complaint = "we resolve tickets at the KMS alone"  # modes 2 and 4: KMS-57
    elif _F.O not in flags:
        complaint = "the ticket wants more of a Responder than RFC 6043"
    elif terms.applications and profile.application not in terms.applications and not profile.any_application:
        complaint = "the ticket is for another application"
    elif _F.L not in flags and message.first(Kemac) is not None:
        complaint = "KEMAC without flag L"
    if complaint is not None:
        raise refusal(MikeyError.INVALID_TP_PAR, complaint)
    if (_F.I in flags) != bool(ticket.initiator_data):
        raise refusal(MikeyError.UNSPECIFIED, "Initiator Data and flag I do not agree")
    if _F.I in flags:
        parse_initiator_data(ticket.initiator_data)


def verify_transfer_init(
    received: ReceivedTransfer,
    resolved: ResolvedTicket,
    me: bytes,
    replay: ReplayCache,
    now: float,
    profile: Profile,
    *,
    remember: bool = True,
) -> VerifiedTransfer:
    """Who began it, proven (RFC 6043, 4.2.3.6; KMS-45). Errors 0 (MAC, Vi), 7 (IDRi), 12; replay 1.

    Without `remember` the caller notes it in `replay`, once what came with it is proven, too.
    """
    message, terms = received.message, received.terms
    initiator = identity_of(message, IdRole.INITIATOR) or terms.initiator or b""
    responder = identity_of(message, IdRole.RESPONDER) or me
    rand_i = protection.random_of(message, RandRole.INITIATOR)
    v = protection.verification(message)
    keys = _keys(message.header, resolved.mpki, rand_i, b"", v.algorithm, response=False)
    try:
        protection.verify(message, received.octets, keys.authentication, initiator + responder)
    finally:
        keys.wipe()
    if _F.I in terms.flags:
        vi, _vr = parse_initiator_data(received.ticket.initiator_data)
        if vi.algorithm != v.algorithm or not mikey_prf.same(vi.mac, v.mac):
            raise refusal(MikeyError.AUTH_FAILURE, "Initiator Data are of another message")
    if terms.initiator is not None and initiator != terms.initiator:
        raise refusal(MikeyError.INVALID_ID, "the ticket was made for another Initiator")
    if not profile.accept_group_keys and any(not key.kind.forked for key in resolved.keys):
        raise refusal(MikeyError.INVALID_TP_PAR, "a group key, or a session key in the ticket")  # KMS-74
    rand_r = RAND_LENGTH if _F.G in terms.flags else 0
    protection.check_random(len(rand_i) + rand_r, [resolved.mpki, *(key.key for key in resolved.keys)])
    time = protection.time_of(message)
    replay.check(received.octets, time, initiator, now)
    if remember:
        replay.remember(received.octets, time, initiator, now)
    return VerifiedTransfer(received, resolved, initiator, responder)


def create_transfer_resp(
    verified: VerifiedTransfer, ssrcs: Mapping[int, int], now: float, rng: Rng
) -> tuple[bytes, Transfer]:
    """TRANSFER_RESP and the keys (RFC 6043, 4.2.2.3; KMS-46). `ssrcs`: by CS ID, where the offer leaves them to us."""
    received, resolved = verified.received, verified.resolved
    message, flags = received.message, received.terms.flags
    if _F.F not in flags:
        raise UnexpectedMessage("mikey_no_answer", "this transfer has no answer")
    policies = mikey_sessions.policies_by_number(message.all(Sp))
    sessions = tuple(answered(s, policies, resolved.keys, ssrcs) for s in message.header.crypto_sessions)
    rand_i = protection.random_of(message, RandRole.INITIATOR)
    rand_r = rng(RAND_LENGTH) if _F.G in flags else b""
    header = replace(message.header, data_type=DataType.TRANSFER_RESP, answer_wanted=False, sessions=sessions)
    time = ntp_now(now)
    payloads: list[Payload] = [time]
    payloads += [Randr(RandRole.RESPONDER, rand_r)] if rand_r else []
    payloads += [Idr(IdRole.RESPONDER, IdType.URI, resolved.identity)] if resolved.identity else []
    payloads += [Randr(RandRole.KMS, resolved.rand_kms)] if resolved.rand_kms else []
    mac = protection.verification(message).algorithm
    inkey = resolved.mpkr if resolved.mpkr is not None else resolved.mpki
    protect = _keys(header, inkey, rand_i, rand_r, mac, UPDATE_KEY_LENGTH, response=True)
    used_i, used_r = _used(flags, rand_i, rand_r)
    try:
        agreed = derive_all(sessions, policies, resolved.keys, header.prf, used_i, used_r)
    except AgentError:
        protect.wipe()
        raise
    octets = protection.seal(header, payloads, protect.authentication, mac, received.octets)
    transfer = Transfer(
        header=header,
        terms=received.terms,
        initiator=verified.initiator,
        responder=verified.responder,
        answered_by=resolved.identity or verified.responder,
        rand_i=used_i,
        rand_r=used_r,
        keys=tuple(key.copy() for key in resolved.keys),
        policies=policies,
        sessions=agreed,
        update=protect,
        mac=mac,
        we_began=False,
        last_time=time.value,
    )
    return octets, transfer


def accept_without_answer(verified: VerifiedTransfer) -> Transfer:
    """The Responder's keys where no answer is sent (flag F clear)."""
    received, resolved = verified.received, verified.resolved
    if _F.F in received.terms.flags:
        raise UnexpectedMessage("mikey_answer_due", "the keys of this transfer need its answer")
    keys = tuple(key.copy() for key in resolved.keys)
    return _unanswered(received.message, received.terms, keys, resolved.mpki, verified.responder, we_began=False)


def answered(
    offered: CryptoSession, policies: Mapping[int, Sp], keys: Sequence[SessionKey], ssrcs: Mapping[int, int]
) -> CryptoSession:
    """One policy, the SPI, and for SRTP the SSRC."""
    number = mikey_sessions.choose_policy(offered, policies)
    spi = mikey_sessions.key_of(offered.spi, keys).spi
    data = offered.session_data
    if offered.cs_id in ssrcs and not data:
        data = ssrcs[offered.cs_id].to_bytes(4, "big")
    return replace(
        offered, policies=() if number is None else (number,), session_data=data, spi=spi, index_given=len(data) > 4
    )


# ---------------------------------------------------------------------------------------------------------- shared --


def _keys(
    header: Header, inkey: Secret, rand_i: bytes, rand_r: bytes, mac: int, length: int = 0, *, response: bool
) -> MessageKeys:
    return mikey_prf.message_keys(
        header.prf, inkey, header.csb_id, rand_i, rand_r, response=response, mac_algorithm=mac, key_length=length
    )


def identity_of(message: Message, role: IdRole) -> bytes:
    found = message.first(Idr, role)
    return found.data if found else b""


def _forked(key: SessionKey, prf: int, identity: bytes, rand_kms: bytes) -> SessionKey:
    if not key.kind.forked:
        return key.copy()
    salt = key.salt.copy() if key.salt else None  # salts are not forked
    return SessionKey(key.kind, key.spi, mikey_prf.fork_tgk(prf, key.key, identity, rand_kms), salt)


def _used(flags: TicketFlag, rand_i: bytes, rand_r: bytes) -> tuple[bytes, bytes]:
    """What of the random values enters session keys: flags H and G."""
    return rand_i if _F.H in flags else b"", rand_r if _F.G in flags else b""


def merged(offered: Sequence[Sp], added: Sequence[Sp]) -> Mapping[int, Sp]:
    policies = mikey_sessions.policies_by_number(offered)
    if set(policies) & {policy.policy for policy in added}:
        raise refusal(MikeyError.INVALID_SP_PAR, "an answer that redefines an offered policy")
    return {**policies, **mikey_sessions.policies_by_number(added)}


def check_answered(offered: Sequence[CryptoSession], answer: Header, policies: Mapping[int, Sp]) -> None:
    """Every offered session is still there, with one policy and its SSRC (RFC 6043, 6.1.1)."""
    replies = {session.cs_id: session for session in answer.crypto_sessions}
    mikey_sessions.check_offered(answer.crypto_sessions, policies)
    for session in offered:
        reply = replies.get(session.cs_id)
        if reply is None or reply.protocol != session.protocol:
            raise refusal(MikeyError.UNSPECIFIED, f"CS {session.cs_id} is not in the answer as it was offered")
        if session.session_data and session.session_data[:4] != reply.session_data[:4]:
            raise refusal(MikeyError.UNSPECIFIED, f"CS {session.cs_id} has another SSRC than we offered")
    for reply in replies.values():
        if len(reply.policies) != (1 if reply.policies or _has_policies(reply, offered) else 0) or not reply.spi:
            raise refusal(MikeyError.INVALID_SP_PAR, f"CS {reply.cs_id} without one policy and an SPI")
        if mikey_sessions.PROTOCOLS[Protocol(reply.protocol)].has_ssrc and reply.ssrc is None:
            raise refusal(MikeyError.UNSPECIFIED, f"CS {reply.cs_id} without SSRC")


def _has_policies(reply: CryptoSession, offered: Sequence[CryptoSession]) -> bool:
    return any(session.cs_id == reply.cs_id and session.policies for session in offered)


def derive_all(
    sessions: Sequence[CryptoSession],
    policies: Mapping[int, Sp],
    keys: Sequence[SessionKey],
    prf: int,
    rand_i: bytes,
    rand_r: bytes,
) -> tuple[AgreedSession, ...]:
    done: list[AgreedSession] = []
    try:
        for session in sessions:
            policy = policies[session.policies[0]] if session.policies else None
            done.append(mikey_sessions.derive_session(session, policy, keys, prf, rand_i, rand_r))
    except AgentError:
        mikey_sessions.wipe_all(done)
        raise
    return tuple(done)


def _unanswered(
    message: Message,
    terms: PolicyTerms,
    keys: tuple[SessionKey, ...],
    mpki: Secret,
    responder: bytes,
    *,
    we_began: bool,
) -> Transfer:
    rand_i = protection.random_of(message, RandRole.INITIATOR)
    used_i, _used_r = _used(terms.flags, rand_i, b"")
    mac = protection.verification(message).algorithm
    policies = mikey_sessions.policies_by_number(message.all(Sp))
    try:
        sessions = derive_all(message.header.crypto_sessions, policies, keys, message.header.prf, used_i, b"")
    except AgentError:
        _wipe(keys, None)
        raise
    return Transfer(
        header=message.header,
        terms=terms,
        initiator=identity_of(message, IdRole.INITIATOR) or terms.initiator or b"",
        responder=responder,
        answered_by=responder,
        rand_i=used_i,
        rand_r=b"",
        keys=keys,
        policies=policies,
        sessions=sessions,
        update=_keys(message.header, mpki, rand_i, b"", mac, UPDATE_KEY_LENGTH, response=False),
        mac=mac,
        we_began=we_began,
        last_time=protection.time_of(message).value,
    )


def _wipe(keys: Sequence[SessionKey], protect: MessageKeys | None) -> None:
    for key in keys:
        key.wipe()
    if protect is not None:
        protect.wipe()
