"""Ticket mode: what messages are made of, and the three nested chains: TP Data, Ticket Data, Initiator Data. RFC 6043.

Reading a chain inside a payload is a step of its own, because its format belongs to the ticket's type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from ueagent.errors import MalformedMessage
from ueagent.model.ticket import IdRole, IdType, PolicyTerms, TicketFlag, TimeRole, Validity
from ueagent.wire.cursor import Reader, Writer
from ueagent.wire.mikey import DataType, Message, all_of, build_chain, first_type, read_chain
from ueagent.wire.mikey_payloads import (
    ROW_OF,
    Idr,
    Kemac,
    Payload,
    Rand,
    Randr,
    TicketPayload,
    TicketPolicy,
    TimeRange,
    Timestamp,
    V,
)

TS_NTP_UTC: Final = 0
TS_COUNTER: Final = 2
TS_NTP_UTC_32: Final = 3
EPOCH_1900: Final = 2_208_988_800  # seconds from 1900 to 1970
ERA: Final = 1 << 32  # RFC 4330, 3: with a clear top bit seconds count from 2036

TICKET_TYPES: Final = ((2, 0, 0), (1, 1, 1))  # 3GPP base ticket (TS 33.328, D.4); RFC 6043, Appendix A
KMS_ID_LENGTH: Final = 6  # TS 33.328, D.4


@dataclass(frozen=True, slots=True)
class Part:
    """A payload that a message must have."""

    kind: type[Payload]
    role: int | None = None

    @property
    def name(self) -> str:
        return ROW_OF[self.kind].name if self.role is None else f"{ROW_OF[self.kind].name} {self.role}"


# RFC 6043, 4.2: what each message cannot be without; V comes last. Flags of the ticket add to TRANSFER_RESP.
MANDATORY: Final = MappingProxyType(
    {
        DataType.REQUEST_INIT_PSK: (Part(Timestamp), Part(Randr, 1), Part(TicketPolicy), Part(V)),
        DataType.REQUEST_RESP: (Part(Timestamp), Part(TicketPayload), Part(Kemac), Part(V)),
        DataType.TRANSFER_INIT: (Part(Timestamp), Part(Randr, 1), Part(TicketPayload), Part(V)),
        DataType.TRANSFER_RESP: (Part(Timestamp), Part(V)),
        DataType.RESOLVE_INIT_PSK: (Part(Timestamp), Part(Randr, 2), Part(TicketPayload), Part(V)),
        DataType.RESOLVE_RESP: (Part(Timestamp), Part(Kemac), Part(V)),
    }
)


def missing_part(message: Message) -> str | None:
    """The name of the first payload that this kind of message cannot be without and lacks."""
    for part in MANDATORY.get(message.header.data_type, ()):
        if message.first(part.kind, part.role) is None:
            return part.name
    return None


# ------------------------------------------------------------------------------------------------------------ time --


def ntp_now(now: float) -> Timestamp:
    """NTP-UTC, 64 bits, of `now` (UTC seconds since 1970)."""
    return Timestamp(TS_NTP_UTC, round((now + EPOCH_1900) * ERA) % (1 << 64))


def ntp_seconds(now: float) -> int:
    """NTP-UTC-32 of `now`: whole seconds."""
    return int(now + EPOCH_1900) % ERA


def moment_of(kind: int, value: int) -> float:
    """UTC seconds since 1970 of a T or TR of an NTP type, 1968 to 2104 (RFC 4330, 3). ValueError for a counter."""
    if kind == TS_COUNTER:
        raise ValueError("a counter is not a time")
    seconds = float(value) if kind == TS_NTP_UTC_32 else value / ERA
    return seconds - EPOCH_1900 + (0 if seconds >= ERA // 2 else ERA)


def sixty_four_bits(stamp: Timestamp) -> int:
    """T as it enters the IV of a KEMAC: COUNTER is padded on the left, NTP-UTC-32 on the right. RFC 6043, 6.2."""
    return stamp.value << 32 if stamp.kind == TS_NTP_UTC_32 else stamp.value


# --------------------------------------------------------------------------------------------------------- TP Data --


def parse_terms(policy: TicketPolicy | TicketPayload) -> tuple[PolicyTerms, Kemac | None]:
    """What TP Data says, and the wanted keys of a request. MalformedMessage; its offset counts within TP Data."""
    reader = Reader(policy.data)
    payloads = read_chain(reader, reader.unsigned(1, "first payload"))
    times = {time.role: time for time in all_of(payloads, TimeRange)}
    single = [Part(Idr, IdRole.KMS), Part(Idr, IdRole.INITIATOR), Part(Kemac)]
    single += [Part(TimeRange, role) for role in TimeRole]
    for part in single:
        if len(all_of(payloads, part.kind, part.role)) > 1:
            raise MalformedMessage("repeated", f"{part.name} twice in TP Data", field="TP Data", offset=0)
    names = {role: tuple(idr.data for idr in all_of(payloads, Idr, role)) for role in IdRole}
    validity = Validity(_moment(times, TimeRole.START), _moment(times, TimeRole.END), _interval(times))
    terms = PolicyTerms(
        flags=TicketFlag(policy.flags),
        prf=policy.prf,
        kms=next(iter(names[IdRole.KMS]), None),
        initiator=next(iter(names[IdRole.INITIATOR]), None),
        responders=names[IdRole.RESPONDER],
        applications=names[IdRole.APPLICATION],
        validity=validity,
        kind=(policy.kind, policy.subtype, policy.version),
    )
    return terms, next(iter(all_of(payloads, Kemac)), None)


def _moment(times: dict[int, TimeRange], role: TimeRole) -> float | None:
    if (time := times.get(role)) is None:
        return None
    if time.kind == TS_COUNTER:
        raise MalformedMessage("unknown_time", "validity as a counter", field="TP Data", offset=0)
    return moment_of(time.kind, time.value)


def _interval(times: dict[int, TimeRange]) -> float | None:
    """TRr is a duration in seconds, not a date. RFC 6043, 6.4."""
    if (time := times.get(TimeRole.REKEY)) is None:
        return None
    return time.value / ERA if time.kind in (TS_NTP_UTC, 1) else float(time.value)


def build_policy(terms: PolicyTerms, wanted_keys: Kemac | None = None) -> TicketPolicy:
    """A TP payload: TP Data in the order of RFC 6043, 6.10; times as NTP-UTC-32 (KMS-32)."""
    payloads: list[Payload] = []
    if terms.kms is not None:
        payloads.append(Idr(IdRole.KMS, IdType.URI, terms.kms))
    if terms.initiator is not None:
        payloads.append(Idr(IdRole.INITIATOR, IdType.URI, terms.initiator))
    if terms.validity.start is not None:
        payloads.append(TimeRange(TimeRole.START, TS_NTP_UTC_32, ntp_seconds(terms.validity.start)))
    if terms.validity.end is not None:
        payloads.append(TimeRange(TimeRole.END, TS_NTP_UTC_32, ntp_seconds(terms.validity.end)))
    if terms.validity.rekey is not None:
        payloads.append(TimeRange(TimeRole.REKEY, TS_NTP_UTC_32, int(terms.validity.rekey)))
    if wanted_keys is not None:
        payloads.append(wanted_keys)
    payloads += [Idr(IdRole.APPLICATION, IdType.BYTES, name) for name in terms.applications]
    payloads += [Idr(IdRole.RESPONDER, IdType.URI, name) for name in terms.responders]
    kind, subtype, version = terms.kind
    return TicketPolicy(kind, subtype, version, terms.prf, terms.flags, _announced(payloads))


def _announced(payloads: Sequence[Payload]) -> bytes:
    """A chain behind the type of its first payload."""
    return bytes((first_type(payloads), *build_chain(payloads)))


# ----------------------------------------------------------------------------------------- Ticket, Initiator Data --


@dataclass(frozen=True, slots=True)
class TicketData:
    """RFC 6043, Appendix A.2. `header` is THDR: it has no payload number and always comes first."""

    header: bytes
    time: Timestamp
    rand: Rand
    kemac: Kemac
    psk: Idr | None
    v: V

    @property
    def kms_id(self) -> bytes:
        """Which KMS issued it: TS 33.328, D.4."""
        return self.header[:KMS_ID_LENGTH]


def kms_id_of(ticket: TicketPayload) -> bytes:
    """The KMS that issued a ticket, from THDR alone. MalformedMessage when there is none."""
    reader = Reader(ticket.ticket_data)
    reader.unsigned(1, "next payload")
    header = reader.block(2, "THDR")
    if len(header) < KMS_ID_LENGTH:
        raise reader.malformed("truncated", f"THDR of {len(header)} octets", "THDR")
    return header[:KMS_ID_LENGTH]


def parse_ticket_data(octets: bytes) -> TicketData:
    """What only a KMS reads. MalformedMessage; its offset counts within Ticket Data."""
    reader = Reader(octets)
    following = reader.unsigned(1, "next payload")
    header = reader.block(2, "THDR")
    payloads = read_chain(reader, following)
    found = [all_of(payloads, kind) for kind in (Timestamp, Rand, Kemac, V)]
    psk = all_of(payloads, Idr, IdRole.PSK)
    if len(header) < KMS_ID_LENGTH or any(len(some) != 1 for some in found) or len(psk) > 1:
        raise MalformedMessage("ticket_data", "not THDR, T, RAND, KEMAC, [IDRpsk], V", field="Ticket Data", offset=0)
    if not isinstance(payloads[-1], V):
        raise MalformedMessage("after_v", "V is not the last payload", field="Ticket Data", offset=0)
    time, rand = all_of(payloads, Timestamp)[0], all_of(payloads, Rand)[0]
    return TicketData(header, time, rand, all_of(payloads, Kemac)[0], next(iter(psk), None), payloads[-1])


def build_ticket_data(ticket: TicketData) -> bytes:
    middle: list[Payload] = [ticket.time, ticket.rand, ticket.kemac]
    payloads = [*middle, *([ticket.psk] if ticket.psk else []), ticket.v]
    writer = Writer()
    writer.unsigned(first_type(payloads), 1)
    writer.block(ticket.header, 2)
    writer.octets(build_chain(payloads))
    return bytes(writer.take())


def parse_initiator_data(octets: bytes) -> tuple[V, V]:
    """Vi and Vr. MalformedMessage; its offset counts within Initiator Data."""
    reader = Reader(octets)
    payloads = read_chain(reader, reader.unsigned(1, "first payload"))
    values = all_of(payloads, V)
    if len(values) != 2 or not isinstance(payloads[-1], V):
        raise MalformedMessage("initiator_data", "not Vi, Vr", field="Initiator Data", offset=0)
    return values[0], values[1]


def build_initiator_data(vi: V, vr: V) -> bytes:
    return _announced((vi, vr))


# ------------------------------------------------------------------------------------------------------ MAC inputs --


def authenticated_octets(message: Message, octets: bytes) -> bytes:
    """`octets`, which are `message` with its V last, up to the MAC; TRANSFER_INIT without Initiator Data and their
    length. RFC 6043, 5.5.
    """
    v = message.payloads[-1]
    if not isinstance(v, V):
        raise ValueError("no V to compute")
    end = len(octets) - len(v.mac)
    if message.header.data_type is not DataType.TRANSFER_INIT:
        return octets[:end]
    for place, payload in enumerate(message.payloads):
        if isinstance(payload, TicketPayload):
            behind = end - len(build_chain(message.payloads[place + 1 :])) + len(v.mac)
            return octets[: behind - 2 - len(payload.initiator_data)] + octets[behind:end]
    return octets[:end]


def insert_initiator_data(message: Message, octets: bytes, data: bytes) -> tuple[Message, bytes]:
    """TRANSFER_INIT with Initiator Data where it had none. TICKET and V are its last payloads: as we build them."""
    *before, ticket, v = message.payloads
    if not isinstance(ticket, TicketPayload) or not isinstance(v, V) or ticket.initiator_data:
        raise ValueError("not a bare ticket in front of V")
    place = len(octets) - len(v.mac) - 2  # V: next payload, algorithm, MAC
    longer = octets[: place - 2] + len(data).to_bytes(2, "big") + data + octets[place:]
    return Message(message.header, (*before, replace(ticket, initiator_data=data), v)), longer


def ticket_octets(ticket: TicketPayload) -> bytes:
    """What the MAC of Ticket Data covers: Ticket Type to the octet before that MAC. RFC 6043, A.3."""
    chain = build_chain((ticket,))
    mac = parse_ticket_data(ticket.ticket_data).v.mac
    return bytes(chain[1 : len(chain) - 2 - len(ticket.initiator_data) - len(mac)])
