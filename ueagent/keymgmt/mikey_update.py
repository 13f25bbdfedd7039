"""CSB updates: new sessions or keys in a bundle that exists, in both directions. RFC 6043, 5.2; KMS-50.

Neither RANDs nor a ticket come again; both messages are protected by the keys of the last message of the transfer.
What is returned is a new Transfer; the old one is left as it was until its owner wipes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ueagent.crypto import keywrap
from ueagent.crypto.mikey_prf import MessageKeys
from ueagent.errors import AgentError, UnexpectedMessage
from ueagent.keymgmt import mikey_protection as protection
from ueagent.keymgmt import mikey_sessions
from ueagent.keymgmt.mikey_errors import MikeyError, refusal
from ueagent.keymgmt.mikey_protection import Algorithms, Profile
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.keymgmt.mikey_ticket import Transfer, answered, check_answered, derive_all, identity_of, merged
from ueagent.model.keys import Secret
from ueagent.model.ticket import IdRole, IdType, SessionKey, TicketFlag
from ueagent.wire.mikey import CryptoSession, DataType, Header, MapType, Message, parse_message
from ueagent.wire.mikey_payloads import Idr, Kemac, Payload, Randr, Sp, TicketPayload, Timestamp, V
from ueagent.wire.mikey_ticket import ntp_now, sixty_four_bits


@dataclass(frozen=True, slots=True, eq=False)
class PendingUpdate:
    """Our update, not yet answered. `transfer` is the old one with its clock advanced: use it from now on."""

    octets: bytes
    message: Message
    transfer: Transfer
    new_keys: tuple[SessionKey, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedUpdate:
    """An authentic update of the other end."""

    octets: bytes
    message: Message
    transfer: Transfer
    new_keys: tuple[SessionKey, ...]

    @property
    def answer_wanted(self) -> bool:
        return self.message.header.answer_wanted


def create_csb_update(
    transfer: Transfer,
    sessions: Sequence[CryptoSession],
    policies: Sequence[Sp],
    now: float,
    profile: Profile,
    *,
    answer_wanted: bool,
    new_keys: Sequence[SessionKey] = (),
) -> PendingUpdate:
    """An update from either side. `new_keys` only where the ticket lets us supply keys: L for the Initiator, M for the
    Responder; they are copied. Only here does flag V count.
    """
    if new_keys and not _may_supply(transfer, by_initiator=transfer.we_began):
        raise refusal(MikeyError.INVALID_TP_PAR, "the ticket does not let this end supply keys")
    mikey_sessions.check_offered(sessions, {**transfer.policies, **mikey_sessions.policies_by_number(policies)})
    time, moved = _next_time(transfer, now)
    header = replace(
        transfer.header,
        data_type=DataType.TRANSFER_INIT,
        answer_wanted=answer_wanted,
        map_type=MapType.GENERIC_ID,
        sessions=tuple(sessions),
    )
    payloads: list[Payload] = [time, *_identities(transfer), *policies]
    payloads += _kemac(transfer, header, time, new_keys, profile.send)
    tail = transfer.initiator + transfer.responder
    octets = protection.seal(header, payloads, transfer.update.authentication, transfer.mac, tail)
    return PendingUpdate(octets, parse_message(octets), moved, tuple(key.copy() for key in new_keys))


def consume_csb_update(
    transfer: Transfer, octets: bytes, replay: ReplayCache, now: float, profile: Profile
) -> ReceivedUpdate:
    """An update from the other end. Errors 0, 1, 12, 15, and of policies 9 and 10."""
    message = _read(octets, DataType.TRANSFER_INIT, transfer.header)
    protection.check_algorithms(message, profile)
    sender = transfer.responder if transfer.we_began else transfer.initiator
    time = protection.time_of(message)
    replay.check(octets, time, sender, now)
    identities = (
        identity_of(message, IdRole.INITIATOR) or transfer.initiator,
        identity_of(message, IdRole.RESPONDER) or transfer.responder,
    )
    if protection.verification(message).algorithm != transfer.mac:
        raise refusal(MikeyError.INVALID_MAC, "another MAC algorithm than in the transfer")
    protection.verify(message, octets, transfer.update.authentication, b"".join(identities))
    replay.remember(octets, time, sender, now)
    if identities != (transfer.initiator, transfer.responder):
        raise refusal(MikeyError.INVALID_ID, "an update between other parties")
    if message.first(Kemac) is not None and not _may_supply(transfer, by_initiator=not transfer.we_began):
        raise refusal(MikeyError.INVALID_TP_PAR, "KEMAC that the ticket does not allow")
    if message.header.sessions:
        mikey_sessions.check_offered(
            message.header.crypto_sessions, merged(list(transfer.policies.values()), message.all(Sp))
        )
    return ReceivedUpdate(octets, message, transfer, _new_keys(transfer, message))


def create_csb_answer(received: ReceivedUpdate, ssrcs: Mapping[int, int], now: float) -> tuple[bytes, Transfer]:
    """The answer, and the transfer as it is now. Without flag V there is none: `finish_unanswered`."""
    transfer, message = received.transfer, received.message
    if not received.answer_wanted:
        raise UnexpectedMessage("mikey_no_answer", "no answer is wanted to this update")
    keys = _all_keys(transfer, received.new_keys)
    policies = merged(list(transfer.policies.values()), message.all(Sp))
    sessions = tuple(answered(session, policies, keys, ssrcs) for session in message.header.crypto_sessions)
    header = replace(message.header, data_type=DataType.TRANSFER_RESP, answer_wanted=False, sessions=sessions)
    time, moved = _next_time(transfer, now, after=_ntp(message))
    ours = IdRole.INITIATOR if transfer.we_began else IdRole.RESPONDER
    payloads: list[Payload] = [
        time,
        Idr(ours, IdType.URI, transfer.initiator if transfer.we_began else transfer.responder),
    ]
    updated = _updated(moved, message, header, policies, keys)
    octets = protection.seal(header, payloads, transfer.update.authentication, transfer.mac, received.octets)
    return octets, updated


def consume_csb_answer(pending: PendingUpdate, octets: bytes, profile: Profile) -> Transfer:
    """The transfer as it is after the answer to our update."""
    transfer = pending.transfer
    message = _read(octets, DataType.TRANSFER_RESP, transfer.header)
    protection.check_algorithms(message, profile)
    protection.verify(message, octets, transfer.update.authentication, pending.octets)
    if message.first(Kemac) is not None and not _may_supply(transfer, by_initiator=not transfer.we_began):
        raise refusal(MikeyError.INVALID_TP_PAR, "KEMAC that the ticket does not allow")
    offered = merged(list(transfer.policies.values()), pending.message.all(Sp))
    policies = merged(list(offered.values()), message.all(Sp))
    check_answered(pending.message.header.crypto_sessions, message.header, policies)
    theirs = _new_keys(transfer, message)
    keys = _all_keys(transfer, (*pending.new_keys, *theirs))
    return _updated(transfer, message, message.header, policies, keys)


def finish_unanswered(update: PendingUpdate | ReceivedUpdate) -> Transfer:
    """The transfer after an update that wants no answer, on either side."""
    if update.message.header.answer_wanted:
        raise UnexpectedMessage("mikey_answer_due", "this update wants an answer")
    transfer, message = update.transfer, update.message
    policies = merged(list(transfer.policies.values()), message.all(Sp))
    return _updated(transfer, message, message.header, policies, _all_keys(transfer, update.new_keys))


# ---------------------------------------------------------------------------------------------------------- shared --


def _may_supply(transfer: Transfer, *, by_initiator: bool) -> bool:
    return (TicketFlag.L if by_initiator else TicketFlag.M) in transfer.terms.flags


def _next_time(transfer: Transfer, now: float, after: int = 0) -> tuple[Timestamp, Transfer]:
    """A time that no earlier message under these keys had: it alone makes the IV another one."""
    time = ntp_now(now)
    value = max(time.value, transfer.last_time + 1, after + 1)
    return replace(time, value=value), replace(transfer, last_time=value)


def _ntp(message: Message) -> int:
    """The time of a message as it enters an IV."""
    return sixty_four_bits(protection.time_of(message))


def _identities(transfer: Transfer) -> list[Payload]:
    return [
        Idr(IdRole.INITIATOR, IdType.URI, transfer.initiator),
        Idr(IdRole.RESPONDER, IdType.URI, transfer.responder),
    ]


def _protection(transfer: Transfer, encryption: int) -> MessageKeys:
    length = keywrap.KEY_LENGTH[encryption]
    key = transfer.update.encryption.reveal()[:length]
    return MessageKeys(transfer.update.authentication, Secret(key), transfer.update.salt)


def _kemac(
    transfer: Transfer, header: Header, time: Timestamp, keys: Sequence[SessionKey], algorithms: Algorithms
) -> list[Payload]:
    if not keys:
        return []
    protect = _protection(transfer, algorithms.encryption)
    data = protection.key_data(keys)
    return [protection.close_keys(data, algorithms.encryption, protect, header.csb_id, time)]


def _new_keys(transfer: Transfer, message: Message) -> tuple[SessionKey, ...]:
    kemac = message.first(Kemac)
    if kemac is None:
        return ()
    protect = _protection(transfer, kemac.encryption)
    keys = protection.open_keys(kemac, protect, message.header.csb_id, protection.time_of(message))
    found = protection.session_keys(keys)
    if len(found) != len(keys) or not all(key.kind.forked for key in found):
        for key in keys:
            key.wipe()
        raise refusal(MikeyError.UNSPECIFIED, "an update that brings other keys than TGKs")
    return found


def _all_keys(transfer: Transfer, new: Sequence[SessionKey]) -> tuple[SessionKey, ...]:
    """Copies of what holds now; a new key takes the place of one with its SPI. A new TGK is not forked."""
    known = {key.spi: key for key in (*transfer.keys, *new)}
    return tuple(key.copy() for key in known.values())


def _updated(
    transfer: Transfer, last: Message, header: Header, policies: Mapping[int, Sp], keys: tuple[SessionKey, ...]
) -> Transfer:
    """The transfer after an update; `last` is the message that came in, whose time is spent too."""
    try:
        sessions = derive_all(header.crypto_sessions, policies, keys, header.prf, transfer.rand_i, transfer.rand_r)
    except AgentError:
        for key in keys:
            key.wipe()
        raise
    latest = max(transfer.last_time, _ntp(last))
    update = MessageKeys(
        transfer.update.authentication.copy(), transfer.update.encryption.copy(), transfer.update.salt.copy()
    )
    return replace(
        transfer, header=header, policies=policies, sessions=sessions, keys=keys, update=update, last_time=latest
    )


def _read(octets: bytes, expected: DataType, known: Header) -> Message:
    message = parse_message(octets)
    if message.header.data_type is not expected:
        raise refusal(MikeyError.INVALID_DT, f"{message.header.data_type.name} instead of {expected.name}")
    if (message.header.prf, message.header.csb_id) != (known.prf, known.csb_id):
        raise refusal(MikeyError.UNSPECIFIED, "the message is of another bundle")
    if message.first(Timestamp) is None or not message.payloads or not isinstance(message.payloads[-1], V):
        raise refusal(MikeyError.UNSPECIFIED, "an update without T or V")
    if message.first(Randr) is not None or message.first(TicketPayload) is not None:
        raise refusal(MikeyError.UNSPECIFIED, "an update brings no random value and no ticket")
    if message.header.map_type is MapType.SRTP_ID:
        raise refusal(MikeyError.UNSPECIFIED, "a GENERIC-ID map is needed")
    return message
