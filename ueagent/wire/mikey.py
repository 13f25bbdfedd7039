"""MIKEY messages: RFC 3830, 6.1, with the general CS ID map of RFC 4563 and RFC 6043, 6.1.1, as values.

A message is a header and a chain of payloads; what a payload looks like is a row of `wire.mikey_payloads.PAYLOADS`.
There is no common length field, so an unknown payload type, or an algorithm whose output length is not known, cannot
be skipped and refuses the message. What parses is built again octet by octet the same; unknown policy parameters,
extensions and identities survive. Error codes say what is unknown: `keymgmt.mikey_errors` maps them to RFC 3830, 6.12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from ueagent.errors import MalformedMessage
from ueagent.wire.cursor import Reader, Writer
from ueagent.wire.mikey_payloads import (
    PAYLOADS,
    ROW_OF,
    Idr,
    Kemac,
    Payload,
    Randr,
    Sign,
    Sp,
    TicketPayload,
    TicketPolicy,
    Timestamp,
    V,
    read_fields,
    write_fields,
)

VERSION: Final = 1
MAX_MESSAGE: Final = 16384  # octets, checked before anything is read
MAX_PAYLOADS: Final = 128  # of one chain
LAST: Final = 0


class DataType(IntEnum):
    """RFC 3830, 6.1; RFC 4650 (7, 8); RFC 4738 (9, 10); RFC 6043, 6.1 (11 to 18)."""

    PSK = 0
    PSK_VERIFICATION = 1
    PK = 2
    PK_VERIFICATION = 3
    DH = 4
    DH_RESPONSE = 5
    ERROR = 6
    DHHMAC = 7
    DHHMAC_RESPONSE = 8
    RSA_R_INIT = 9
    RSA_R_RESP = 10
    REQUEST_INIT_PSK = 11
    REQUEST_INIT_PK = 12
    REQUEST_RESP = 13
    TRANSFER_INIT = 14
    TRANSFER_RESP = 15
    RESOLVE_INIT_PSK = 16
    RESOLVE_INIT_PK = 17
    RESOLVE_RESP = 18


class Prf(IntEnum):
    """RFC 3830, 6.1; RFC 6043, 6.1."""

    MIKEY_1 = 0
    HMAC_SHA_256 = 1


class MapType(IntEnum):
    """RFC 3830, 6.1; RFC 4563, 5; RFC 6043, 6.1."""

    SRTP_ID = 0
    EMPTY = 1
    GENERIC_ID = 2


class Protocol(IntEnum):
    """Prot type of a session or policy. None is registered for TLS and PSK/MIME: ours are of the private range."""

    SRTP = 0
    TLS = 241
    PSK_MIME = 242


@dataclass(frozen=True, slots=True)
class SrtpSession:
    """One entry of the SRTP-ID map (RFC 3830, 6.1.1); its CS ID is its place, from 1."""

    policy: int
    ssrc: int
    roc: int


@dataclass(frozen=True, slots=True)
class CryptoSession:
    """One entry of the GENERIC-ID map (RFC 6043, 6.1.1).

    `session_data` of SRTP is nothing, or the SSRC (4 octets), with `index_given` (S) followed by ROC (4) and SEQ (2).
    """

    cs_id: int
    protocol: int
    policies: tuple[int, ...] = ()
    session_data: bytes = b""
    spi: bytes = b""
    index_given: bool = False

    @property
    def ssrc(self) -> int | None:
        return int.from_bytes(self.session_data[:4], "big") if self.session_data else None


@dataclass(frozen=True, slots=True)
class Header:
    data_type: DataType
    csb_id: int
    prf: int = Prf.HMAC_SHA_256
    answer_wanted: bool = False  # the V flag
    map_type: MapType = MapType.EMPTY
    sessions: tuple[SrtpSession, ...] | tuple[CryptoSession, ...] = ()

    @property
    def crypto_sessions(self) -> tuple[CryptoSession, ...]:
        """Those of a GENERIC-ID map."""
        return tuple(session for session in self.sessions if isinstance(session, CryptoSession))


_P = TypeVar("_P", bound=Payload)


@dataclass(frozen=True, slots=True)
class Message:
    header: Header
    payloads: tuple[Payload, ...]

    def first(self, kind: type[_P], role: int | None = None) -> _P | None:
        """The first payload of a kind, and of a role where payloads have one."""
        for payload in self.payloads:
            if isinstance(payload, kind) and (role is None or getattr(payload, "role", None) == role):
                return payload
        return None

    def all(self, kind: type[_P], role: int | None = None) -> list[_P]:
        return all_of(self.payloads, kind, role)


def all_of(payloads: Sequence[Payload], kind: type[_P], role: int | None = None) -> list[_P]:
    """The payloads of a kind, and of a role where payloads have one, in their order."""
    return [p for p in payloads if isinstance(p, kind) and (role is None or getattr(p, "role", None) == role)]


# --------------------------------------------------------------------------------------------------------- reading --


def parse_message(data: bytes) -> Message:
    """A whole message. MalformedMessage with the offset of what is wrong; nothing may follow the last payload."""
    if len(data) > MAX_MESSAGE:
        raise MalformedMessage("too_long", f"{len(data)} octets; at most {MAX_MESSAGE}", field="message", offset=0)
    reader = Reader(data)
    header, following = _read_header(reader)
    payloads = read_chain(reader, following)
    _refuse_repetition(payloads, len(data))
    if header.map_type is MapType.EMPTY and any(isinstance(payload, Sp) for payload in payloads):
        raise MalformedMessage("policy_without_sessions", "an Empty map has no policies", field="SP", offset=9)
    return Message(header, payloads)


def read_chain(reader: Reader, following: int) -> tuple[Payload, ...]:
    """Payloads from the type `following` to the end of `reader`."""
    payloads: list[Payload] = []
    while following != LAST:
        if len(payloads) == MAX_PAYLOADS:
            raise reader.malformed("too_many", f"more than {MAX_PAYLOADS} payloads", "payloads")
        row = PAYLOADS.get(following)
        if row is None:
            raise reader.malformed("unknown_payload", f"payload {following} cannot be skipped", "next payload")
        following = LAST if row.kind is Sign else reader.unsigned(1, "next payload")
        payloads.append(read_fields(row, reader))
    reader.end("the last payload")
    return tuple(payloads)


def _read_header(reader: Reader) -> tuple[Header, int]:
    if (version := reader.unsigned(1, "version")) != VERSION:
        raise reader.malformed("unknown_version", f"version {version} is not known", "version", back=1)
    code = reader.unsigned(1, "data type")
    if code not in DataType._value2member_map_:
        raise reader.malformed("unknown_data_type", f"data type {code} is not known", "data type", back=1)
    following = reader.unsigned(1, "next payload")
    word = reader.unsigned(1, "PRF")
    if word & 0x7F not in Prf._value2member_map_:
        raise reader.malformed("unknown_prf", f"PRF {word & 0x7F} is not known", "PRF", back=1)
    csb_id = reader.unsigned(4, "CSB ID")
    count = reader.unsigned(1, "#CS")
    map_type = reader.unsigned(1, "map type")
    if map_type not in MapType._value2member_map_:
        raise reader.malformed("unknown_map", f"CS ID map type {map_type} is not known", "map type", back=1)
    sessions: tuple[SrtpSession, ...] | tuple[CryptoSession, ...] = ()
    if map_type == MapType.SRTP_ID:
        sessions = tuple(_read_srtp_session(reader) for _ in range(count))
    elif map_type == MapType.GENERIC_ID:
        sessions = _read_sessions(reader, count)
    elif count:
        raise reader.malformed("sessions_without_map", "an Empty map with sessions", "#CS", back=2)
    return Header(DataType(code), csb_id, Prf(word & 0x7F), bool(word & 0x80), MapType(map_type), sessions), following


def _read_srtp_session(reader: Reader) -> SrtpSession:
    return SrtpSession(reader.unsigned(1, "policy"), reader.unsigned(4, "SSRC"), reader.unsigned(4, "ROC"))


def _read_sessions(reader: Reader, count: int) -> tuple[CryptoSession, ...]:
    sessions = tuple(_read_session(reader) for _ in range(count))
    if len({session.cs_id for session in sessions}) != count:
        raise reader.malformed("repeated", "a CS ID occurs twice", "CS ID")
    return sessions


def _read_session(reader: Reader) -> CryptoSession:
    cs_id, protocol = reader.unsigned(1, "CS ID"), reader.unsigned(1, "Prot type")
    word = reader.unsigned(1, "#P")
    policies = tuple(reader.octets(word & 0x7F, "policies"))
    data = reader.block(2, "session data")
    index_given = bool(word & 0x80)
    if protocol == Protocol.SRTP and len(data) not in (0, 10 if index_given else 4):
        raise reader.malformed("session_data", f"SRTP session data of {len(data)} octets", "session data")
    return CryptoSession(cs_id, protocol, policies, data, reader.block(1, "SPI"), index_given)


def _refuse_repetition(payloads: Sequence[Payload], length: int) -> None:
    """RFC 6043, 4.2: one of each; the receiver could not tell which is meant. V and SIGN end a message."""
    seen: set[object] = set()
    for place, payload in enumerate(payloads, 1):
        mark: object = None
        if isinstance(payload, Timestamp | V | TicketPolicy | TicketPayload | Kemac | Sign):
            mark = type(payload)
        elif isinstance(payload, Idr | Randr):
            mark = type(payload), payload.role
        elif isinstance(payload, Sp):
            mark = Sp, payload.policy
        if mark is not None and mark in seen:
            name = ROW_OF[type(payload)].name
            raise MalformedMessage("repeated", f"two payloads {name} of one kind", field=name, offset=length)
        seen.add(mark)
        if isinstance(payload, V) and place != len(payloads):
            raise MalformedMessage("after_v", "V is not the last payload", field="V", offset=length)


# -------------------------------------------------------------------------------------------------------- building --


def build_message(message: Message) -> bytes:
    """The octets of a message. ValueError or OverflowError for values that their fields cannot hold."""
    writer = Writer()
    _write_header(writer, message.header, first_type(message.payloads))
    writer.octets(build_chain(message.payloads))
    return bytes(writer.take())


def first_type(payloads: Sequence[Payload]) -> int:
    """What announces the first payload of a chain; 0 when there is none."""
    return ROW_OF[type(payloads[0])].code if payloads else LAST


def build_chain(payloads: Sequence[Payload], last: int = LAST) -> bytearray:
    """Payloads, each behind the type of the next one; the last of them announces `last`."""
    writer = Writer()
    types = [ROW_OF[type(payload)].code for payload in payloads[1:]]
    for payload, following in zip(payloads, [*types, last], strict=False):
        if not isinstance(payload, Sign):
            writer.unsigned(following, 1)
        elif following != LAST:
            raise ValueError("SIGN is the last payload")
        write_fields(writer, payload)
    return writer.take()


def _write_header(writer: Writer, header: Header, following: int) -> None:
    writer.unsigned(VERSION, 1)
    writer.unsigned(header.data_type, 1)
    writer.unsigned(following, 1)
    writer.unsigned(header.answer_wanted << 7 | header.prf, 1)
    writer.unsigned(header.csb_id, 4)
    writer.unsigned(len(header.sessions), 1)
    writer.unsigned(header.map_type, 1)
    for session in header.sessions:
        if isinstance(session, SrtpSession):
            writer.unsigned(session.policy, 1)
            writer.unsigned(session.ssrc, 4)
            writer.unsigned(session.roc, 4)
        else:
            _write_session(writer, session)


def _write_session(writer: Writer, session: CryptoSession) -> None:
    writer.unsigned(session.cs_id, 1)
    writer.unsigned(session.protocol, 1)
    if len(session.policies) > 0x7F:
        raise ValueError("#P has 7 bits")
    writer.unsigned(session.index_given << 7 | len(session.policies), 1)
    writer.octets(bytes(session.policies))
    writer.block(session.session_data, 2)
    writer.block(session.spi, 1)
