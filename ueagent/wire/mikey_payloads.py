"""PAYLOADS: every MIKEY payload, one row each: RFC 3830, 6; RFC 4563 and 4567 (general extension); RFC 6043, 6.

A row lists the fields of a payload behind its Next Payload octet in their order; reading and writing both follow the
row, so neither can know something that the other does not. Key data (20) occurs only inside a KEMAC: see
`wire.mikey_keys`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

from ueagent.wire.cursor import Reader, Writer

MAX_PARAMETERS: Final = 64  # of one security policy

# Output lengths in octets; an algorithm that is not here has no known length and ends the reading.
MAC_LENGTH: Final = MappingProxyType({0: 0, 1: 20, 2: 32})  # RFC 3830, 6.2; RFC 6043, 6.2
HASH_LENGTH: Final = MappingProxyType({0: 20, 1: 16, 2: 32})  # RFC 3830, 6.8; RFC 6043, 6.8
TIME_LENGTH: Final = MappingProxyType({0: 8, 1: 8, 2: 4, 3: 4})  # RFC 3830, 6.6; RFC 6043, 6.6
DH_LENGTH: Final = MappingProxyType({0: 192, 1: 96, 2: 128})  # RFC 3830, 6.4


@dataclass(frozen=True, slots=True)
class Spi:
    """Key validity by SPI (the MKI of SRTP). RFC 3830, 6.14."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Interval:
    """Key validity by sequence or index numbers. RFC 3830, 6.14."""

    start: bytes
    end: bytes


Validity = Spi | Interval | None


@dataclass(frozen=True, slots=True)
class Kemac:
    """`data` is encrypted except under algorithm 0; it is never shown, because then it may hold keys."""

    encryption: int
    data: bytes = field(repr=False)
    mac_algorithm: int = 0
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class Pke:
    cache: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Dh:
    group: int
    value: bytes
    reserved: int = 0
    validity: Validity = None


@dataclass(frozen=True, slots=True)
class Sign:
    """Always the last payload: it has no Next Payload octet."""

    kind: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Timestamp:
    """T. `value` counts as `kind` says: 0 NTP-UTC and 1 NTP (64 bits), 2 COUNTER, 3 NTP-UTC-32 (whole seconds)."""

    kind: int
    value: int


@dataclass(frozen=True, slots=True)
class Identity:
    kind: int  # 0 NAI, 1 URI, 2 byte string
    data: bytes


@dataclass(frozen=True, slots=True)
class Cert:
    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Chash:
    algorithm: int
    value: bytes


@dataclass(frozen=True, slots=True)
class V:
    algorithm: int
    mac: bytes


@dataclass(frozen=True, slots=True)
class Sp:
    """A security policy. `parameters` are (type, value), in their order."""

    policy: int
    protocol: int
    parameters: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Rand:
    value: bytes


@dataclass(frozen=True, slots=True)
class Err:
    number: int
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class TimeRange:
    """TR. `role`: 1 issue, 2 start, 3 end, 4 rekeying interval. RFC 6043, 6.4."""

    role: int
    kind: int
    value: int


@dataclass(frozen=True, slots=True)
class Idr:
    """An identity with a role: 1 IDRi, 2 IDRr, 3 IDRkms, 4 IDRpsk, 5 IDRapp. RFC 6043, 6.6."""

    role: int
    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Randr:
    """A random value with a role: 1 Initiator, 2 Responder, 3 KMS. RFC 6043, 6.8."""

    role: int
    value: bytes


@dataclass(frozen=True, slots=True)
class TicketPolicy:
    """TP: what a ticket is for. `flags` are the 17 bits behind the PRF, reserved ones included; `data` is TP Data, read
    by `wire.mikey_ticket` once the type is known to be ours. RFC 6043, 6.10.
    """

    kind: int
    subtype: int
    version: int
    prf: int
    flags: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TicketPayload:
    """TICKET: a policy and what is sealed under it. RFC 6043, 6.10."""

    kind: int
    subtype: int
    version: int
    prf: int
    flags: int
    data: bytes
    ticket_data: bytes
    initiator_data: bytes = b""

    @property
    def policy(self) -> TicketPolicy:
        return TicketPolicy(self.kind, self.subtype, self.version, self.prf, self.flags, self.data)


@dataclass(frozen=True, slots=True)
class Extension:
    """0 vendor, 1 SDP IDs (RFC 4567), 2 TESLA, 3 key id (RFC 4563), 4 CSB id, 5 OMA BCAST (RFC 6309), 241.. private."""

    kind: int
    data: bytes


Payload = (
    Kemac
    | Pke
    | Dh
    | Sign
    | Timestamp
    | Identity
    | Cert
    | Chash
    | V
    | Sp
    | Rand
    | Err
    | TimeRange
    | Idr
    | Randr
    | TicketPolicy
    | TicketPayload
    | Extension
)

# ---------------------------------------------------------------------------------------------------------- fields --

Values = dict[str, Any]


class Field(Protocol):
    def read(self, reader: Reader, values: Values) -> None: ...
    def write(self, writer: Writer, payload: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Number:
    """An unsigned integer of `size` octets."""

    name: str
    size: int

    def read(self, reader: Reader, values: Values) -> None:
        values[self.name] = reader.unsigned(self.size, self.name)

    def write(self, writer: Writer, payload: Any) -> None:
        writer.unsigned(getattr(payload, self.name), self.size)


@dataclass(frozen=True, slots=True)
class Split:
    """Two integers that share `size` octets; the lower one has `low_bits`."""

    high: str
    low: str
    low_bits: int
    size: int

    def read(self, reader: Reader, values: Values) -> None:
        word = reader.unsigned(self.size, self.low)
        values[self.high], values[self.low] = word >> self.low_bits, word & ((1 << self.low_bits) - 1)

    def write(self, writer: Writer, payload: Any) -> None:
        low = getattr(payload, self.low)
        if low >> self.low_bits:
            raise ValueError(f"{self.low} has {self.low_bits} bits")
        writer.unsigned(getattr(payload, self.high) << self.low_bits | low, self.size)


@dataclass(frozen=True, slots=True)
class Block:
    """Octets behind a length of `size` octets."""

    name: str
    size: int

    def read(self, reader: Reader, values: Values) -> None:
        values[self.name] = reader.block(self.size, self.name)

    def write(self, writer: Writer, payload: Any) -> None:
        writer.block(getattr(payload, self.name), self.size)


@dataclass(frozen=True, slots=True)
class FlaggedBlock:
    """Octets behind a 16-bit word: `flag` in the upper bits, the length in the lower `length_bits`."""

    flag: str
    name: str
    length_bits: int

    def read(self, reader: Reader, values: Values) -> None:
        word = reader.unsigned(2, f"length of {self.name}")
        values[self.flag] = word >> self.length_bits
        values[self.name] = reader.octets(word & ((1 << self.length_bits) - 1), self.name)

    def write(self, writer: Writer, payload: Any) -> None:
        data = getattr(payload, self.name)
        if len(data) >> self.length_bits:
            raise ValueError(f"{self.name} is too long")
        writer.unsigned(getattr(payload, self.flag) << self.length_bits | len(data), 2)
        writer.octets(data)


@dataclass(frozen=True, slots=True)
class Implied:
    """An algorithm in one octet and octets of the length that it implies. An unknown one is the error `code`."""

    selector: str
    name: str
    lengths: Mapping[int, int]
    code: str
    number: bool = False  # the octets are an integer

    def read(self, reader: Reader, values: Values) -> None:
        selected = reader.unsigned(1, self.selector)
        length = self.lengths.get(selected)
        if length is None:
            raise reader.malformed(self.code, f"{self.selector} {selected} is not known", self.selector, back=1)
        values[self.selector] = selected
        values[self.name] = reader.unsigned(length, self.name) if self.number else reader.octets(length, self.name)

    def write(self, writer: Writer, payload: Any) -> None:
        selected, value = getattr(payload, self.selector), getattr(payload, self.name)
        writer.unsigned(selected, 1)
        if self.number:
            writer.unsigned(value, self.lengths[selected])
            return
        if len(value) != self.lengths[selected]:
            raise ValueError(f"{self.name} has {self.lengths[selected]} octets")
        writer.octets(value)


class Parameters:
    """Type, length, value triples behind their total length (SP)."""

    def read(self, reader: Reader, values: Values) -> None:
        length = reader.unsigned(2, "length of parameters")
        inner = Reader(reader.view(length, "parameters"), reader.offset - length)
        found: list[tuple[int, bytes]] = []
        while inner.remaining:
            if len(found) == MAX_PARAMETERS:
                raise inner.malformed("too_many", f"more than {MAX_PARAMETERS} policy parameters", "parameters")
            found.append((inner.unsigned(1, "parameter type"), inner.block(1, "parameter")))
        values["parameters"] = tuple(found)

    def write(self, writer: Writer, payload: Any) -> None:
        inner = Writer()
        for kind, value in payload.parameters:
            inner.unsigned(kind, 1)
            inner.block(value, 1)
        writer.block(inner.take(), 2)


class DhValidity:
    """Reserved and KV nibbles, then the KV data (DH)."""

    def read(self, reader: Reader, values: Values) -> None:
        word = reader.unsigned(1, "validity")
        values["reserved"], values["validity"] = word >> 4, read_validity(reader, word & 15)

    def write(self, writer: Writer, payload: Any) -> None:
        writer.unsigned(payload.reserved << 4 | validity_code(payload.validity), 1)
        write_validity(writer, payload.validity)


def read_validity(reader: Reader, code: int) -> Validity:
    """The KV data that `code` (0 none, 1 SPI, 2 interval) announces."""
    if code == 0:
        return None
    if code == 1:
        return Spi(reader.block(1, "SPI"))
    if code == 2:
        return Interval(reader.block(1, "valid from"), reader.block(1, "valid to"))
    raise reader.malformed("unknown_validity", f"key validity {code} is not known", "validity")


def validity_code(validity: Validity) -> int:
    return 0 if validity is None else 1 if isinstance(validity, Spi) else 2


def write_validity(writer: Writer, validity: Validity) -> None:
    if isinstance(validity, Spi):
        writer.block(validity.value, 1)
    elif isinstance(validity, Interval):
        writer.block(validity.start, 1)
        writer.block(validity.end, 1)


# ----------------------------------------------------------------------------------------------------------- table --


@dataclass(frozen=True, slots=True)
class PayloadRow:
    code: int
    name: str
    kind: type[Payload]
    fields: tuple[Field, ...]


_POLICY: Final = (Number("kind", 2), Number("subtype", 1), Number("version", 1), Split("prf", "flags", 17, 3))
_MAC: Final = Implied("mac_algorithm", "mac", MAC_LENGTH, "unknown_mac")
_TIME: Final = Implied("kind", "value", TIME_LENGTH, "unknown_time", number=True)

_ROWS: Final = (
    PayloadRow(1, "KEMAC", Kemac, (Number("encryption", 1), Block("data", 2), _MAC)),  # RFC 3830, 6.2
    PayloadRow(2, "PKE", Pke, (FlaggedBlock("cache", "data", 14),)),  # 6.3
    PayloadRow(3, "DH", Dh, (Implied("group", "value", DH_LENGTH, "unknown_dh_group"), DhValidity())),  # 6.4
    PayloadRow(4, "SIGN", Sign, (FlaggedBlock("kind", "signature", 12),)),  # 6.5
    PayloadRow(5, "T", Timestamp, (_TIME,)),  # 6.6
    PayloadRow(6, "ID", Identity, (Number("kind", 1), Block("data", 2))),  # 6.7
    PayloadRow(7, "CERT", Cert, (Number("kind", 1), Block("data", 2))),  # 6.7
    PayloadRow(8, "CHASH", Chash, (Implied("algorithm", "value", HASH_LENGTH, "unknown_hash"),)),  # 6.8
    PayloadRow(9, "V", V, (Implied("algorithm", "mac", MAC_LENGTH, "unknown_mac"),)),  # 6.9
    PayloadRow(10, "SP", Sp, (Number("policy", 1), Number("protocol", 1), Parameters())),  # 6.10
    PayloadRow(11, "RAND", Rand, (Block("value", 1),)),  # 6.11
    PayloadRow(12, "ERR", Err, (Number("number", 1), Number("reserved", 2))),  # 6.12
    PayloadRow(13, "TR", TimeRange, (Number("role", 1), _TIME)),  # RFC 6043, 6.4
    PayloadRow(14, "IDR", Idr, (Number("role", 1), Number("kind", 1), Block("data", 2))),  # RFC 6043, 6.6
    PayloadRow(15, "RANDR", Randr, (Number("role", 1), Block("value", 1))),  # RFC 6043, 6.8
    PayloadRow(16, "TP", TicketPolicy, (*_POLICY, Block("data", 2))),  # RFC 6043, 6.10
    PayloadRow(
        17, "TICKET", TicketPayload, (*_POLICY, Block("data", 2), Block("ticket_data", 2), Block("initiator_data", 2))
    ),
    PayloadRow(21, "EXT", Extension, (Number("kind", 1), Block("data", 2))),  # RFC 3830, 6.15
)

PAYLOADS: Final = MappingProxyType({row.code: row for row in _ROWS})
ROW_OF: Final = MappingProxyType({row.kind: row for row in _ROWS})


def read_fields(row: PayloadRow, reader: Reader) -> Payload:
    values: Values = {}
    for part in row.fields:
        part.read(reader, values)
    return row.kind(**values)


def write_fields(writer: Writer, payload: Payload) -> None:
    for part in ROW_OF[type(payload)].fields:
        part.write(writer, payload)
