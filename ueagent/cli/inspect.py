"""`ueagent inspect`: any MIKEY message as a readable tree, from hexadecimal, base64, raw octets or SDP; and what was
captured on the line of a serial accelerator."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ueagent.cli import exits
from ueagent.cli.table import printable
from ueagent.errors import MalformedMessage

if TYPE_CHECKING:
    import argparse

    from ueagent.wire.mikey import CryptoSession, Message, SrtpSession
    from ueagent.wire.mikey_payloads import Payload, TicketPayload, TicketPolicy

Lines = Iterator[tuple[int, str]]  # depth, text


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=["mikey", "accel"], help="what to read")
    parser.add_argument(
        "message",
        nargs="?",
        default="-",
        help="mikey: hexadecimal, base64, or a file of these, of octets or SDP; accel: a capture file (- is stdin)",
    )


def run(args: argparse.Namespace) -> int:
    if args.kind == "accel":
        return _accel(args.message)
    try:
        found = list(_messages(_input(args.message)))
        if not found:
            raise MalformedMessage("nothing", "no a=key-mgmt:mikey in this SDP")
        for octets in found:
            sys.stdout.write(tree(octets))
    except MalformedMessage as error:
        where = "" if error.offset is None else f" at octet {error.offset}"
        sys.stderr.write(f"ueagent inspect: {error.detail}{where}\n")
        return exits.FAILED
    except OSError as error:
        sys.stderr.write(f"ueagent inspect: {error.strerror}\n")
        return exits.FAILED
    return exits.OK


def _accel(name: str) -> int:
    from ueagent_firmware.capture import MalformedCapture, lines

    try:
        for line in lines(_input(name).decode("ascii", "replace")):
            sys.stdout.write(printable(line) + "\n")
    except (MalformedCapture, OSError) as error:
        sys.stderr.write(f"ueagent inspect: {error}\n")
        return exits.FAILED
    return exits.OK


def _input(text: str) -> bytes:
    from pathlib import Path

    if text == "-":
        return sys.stdin.buffer.read(1 << 20)
    path = Path(text)
    try:
        known = path.is_file()
    except OSError:  # a message is longer than any name of a file
        known = False
    return path.read_bytes() if known else text.encode()


def _messages(data: bytes) -> Iterator[bytes]:
    """Every MIKEY message in `data`."""
    import re

    from ueagent.wire.key_mgmt import message_octets, parse_key_mgmt

    lines = re.findall(rb"^a=key-mgmt:([^\r\n]*)", data, flags=re.MULTILINE)
    if lines or data.startswith(b"v=0"):
        values = [parse_key_mgmt(line) for line in lines]
        yield from (value.data for value in values if value.is_mikey)
        return
    text = b"".join(data.split())
    if data[:1] != b"\x01" and re.fullmatch(rb"(?:[0-9A-Fa-f]{2})+", text) and text.startswith(b"01"):
        yield bytes.fromhex(text.decode())
    else:
        yield message_octets(data)[0]


def tree(octets: bytes) -> str:
    """The message as indented lines. Keys are told by type and length alone."""
    from ueagent.wire.mikey import parse_message

    return "".join(f"{'  ' * depth}{printable(text)}\n" for depth, text in _message(parse_message(octets), len(octets)))


def _message(message: Message, length: int) -> Lines:
    header = message.header
    yield 0, f"MIKEY {header.data_type.name}, {length} octets"
    yield 1, f"HDR  CSB ID {header.csb_id:08x}, PRF {header.prf}, V {int(header.answer_wanted)}, map {header.map_type}"
    sessions: tuple[CryptoSession | SrtpSession, ...] = header.sessions
    for place, session in enumerate(sessions, 1):
        yield 2, _session(place, session)
    for payload in message.payloads:
        yield from _payload(payload, 1)


def _session(place: int, session: CryptoSession | SrtpSession) -> str:
    from ueagent.wire.mikey import SrtpSession

    if isinstance(session, SrtpSession):
        return f"CS {place}: policy {session.policy}, SSRC {session.ssrc:08x}, ROC {session.roc}"
    ssrc = "none" if session.ssrc is None else f"{session.ssrc:08x}"
    policies = ", ".join(map(str, session.policies)) or "none"
    protocol = _name("PROTOCOLS", session.protocol)
    return f"CS {session.cs_id}: {protocol}, policies {policies}, SSRC {ssrc}, SPI {session.spi.hex() or 'none'}"


def _payload(payload: Payload, depth: int) -> Lines:
    from ueagent.wire.mikey_payloads import ROW_OF, TicketPayload, TicketPolicy

    yield depth, f"{ROW_OF[type(payload)].name:<6} {_facts(payload)}"
    if isinstance(payload, TicketPolicy | TicketPayload):
        yield from _policy(payload, depth + 1)


def _facts(payload: Payload) -> str:
    from ueagent.wire import mikey_payloads as p

    match payload:
        case p.Kemac():
            return (
                f"{_name('ENCRYPTIONS', payload.encryption)}, {len(payload.data)} octets, MAC {payload.mac_algorithm}"
                f" {payload.mac.hex()}"
            ).rstrip()
        case p.Timestamp():
            return _time(payload.kind, payload.value)
        case p.TimeRange():
            if payload.role == 4:
                return f"rekeying interval {payload.value} (type {payload.kind})"
            return f"{_name('TIME_ROLES', payload.role)} {_time(payload.kind, payload.value)}"
        case p.Idr():
            return f"{_name('ID_ROLES', payload.role)} ({_name('ID_TYPES', payload.kind)}) {_text(payload.data)}"
        case p.Identity():
            return f"({_name('ID_TYPES', payload.kind)}) {_text(payload.data)}"
        case p.Randr():
            return f"{_name('RAND_ROLES', payload.role)} {payload.value.hex()}"
        case p.Rand():
            return payload.value.hex()
        case p.V():
            return f"{_name('MACS', payload.algorithm)} {payload.mac.hex()}"
        case p.Sp():
            return f"policy {payload.policy}, {_name('PROTOCOLS', payload.protocol)}: {_parameters(payload)}"
        case p.Err():
            return f"{payload.number} {_name('ERRORS', payload.number)}"
        case p.Extension():
            return f"{_name('EXTENSIONS', payload.kind)} {_text(payload.data)}"
        case p.TicketPolicy() | p.TicketPayload():
            flags = "".join(letter for place, letter in enumerate("DEFGHIJKLMNO") if payload.flags >> (16 - place) & 1)
            return (
                f"type {payload.kind}.{payload.subtype}.{payload.version}, PRF {payload.prf}, flags {flags or 'none'}"
            )
        case p.Dh():
            return f"group {payload.group}, {len(payload.value)} octets"
        case p.Sign():
            return f"type {payload.kind}, {len(payload.signature)} octets"
        case p.Pke() | p.Cert():
            return f"{len(payload.data)} octets"
        case p.Chash():
            return f"hash {payload.algorithm} {payload.value.hex()}"


def _policy(payload: TicketPolicy | TicketPayload, depth: int) -> Lines:
    from ueagent.wire.cursor import Reader
    from ueagent.wire.mikey import read_chain
    from ueagent.wire.mikey_payloads import Kemac, TicketPayload
    from ueagent.wire.mikey_ticket import TICKET_TYPES, kms_id_of

    if (payload.kind, payload.subtype, payload.version) not in TICKET_TYPES:
        yield depth, f"TP Data of another ticket type, {len(payload.data)} octets"
        return
    reader = Reader(payload.data)
    for part in read_chain(reader, reader.unsigned(1, "first payload")):
        yield from _payload(part, depth)
        if isinstance(part, Kemac) and part.encryption == 0:
            yield from _keys(part.data, depth + 1)
    if isinstance(payload, TicketPayload):
        yield depth, f"Ticket Data {len(payload.ticket_data)} octets, of KMS {kms_id_of(payload).hex()}"
        if payload.initiator_data:
            yield depth, "Initiator Data"
            reader = Reader(payload.initiator_data)
            for part in read_chain(reader, reader.unsigned(1, "first payload")):
                yield from _payload(part, depth + 1)


def _keys(data: bytes, depth: int) -> Lines:
    from ueagent.wire.mikey_keys import parse_key_data

    for key in parse_key_data(data):
        spi = "none" if key.spi is None else key.spi.hex()
        yield depth, f"{key.kind.name}, {len(key.key)} octets, SPI {spi}"
        key.wipe()


def _parameters(payload: Payload) -> str:
    from ueagent.wire.mikey import Protocol
    from ueagent.wire.mikey_payloads import Sp
    from ueagent.wire.mikey_policy import PARAMETERS

    assert isinstance(payload, Sp)
    known = PARAMETERS if payload.protocol == Protocol.SRTP else {}
    named = [(known[kind].name if kind in known else str(kind), value) for kind, value in payload.parameters]
    return ", ".join(f"{name}={int.from_bytes(value, 'big')}" for name, value in named) or "defaults"


def _time(kind: int, value: int) -> str:
    from datetime import UTC, datetime, timedelta

    from ueagent.wire.mikey_ticket import TS_COUNTER, moment_of

    if kind == TS_COUNTER:
        return f"counter {value}"
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment_of(kind, value))
    return f"{moment.isoformat(timespec='seconds')} ({_name('TIME_TYPES', kind)})"


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.hex()


_NAMES = {
    "PROTOCOLS": {0: "SRTP", 1: "TESLA", 241: "TLS", 242: "PSK/MIME"},
    "ENCRYPTIONS": {0: "NULL", 1: "AES-CM-128", 2: "AES-KW-128", 3: "AES-CM-256"},
    "MACS": {0: "NULL", 1: "HMAC-SHA-1-160", 2: "HMAC-SHA-256-256"},
    "TIME_TYPES": {0: "NTP-UTC", 1: "NTP", 3: "NTP-UTC-32"},
    "TIME_ROLES": {1: "issue", 2: "start", 3: "end"},
    "ID_ROLES": {1: "Initiator", 2: "Responder", 3: "KMS", 4: "PSK", 5: "application"},
    "ID_TYPES": {0: "NAI", 1: "URI", 2: "octets"},
    "RAND_ROLES": {1: "Initiator", 2: "Responder", 3: "KMS"},
    "EXTENSIONS": {0: "vendor", 1: "SDP IDs", 2: "TESLA", 3: "key id", 4: "CSB ID", 5: "OMA BCAST", 241: "origin"},
    "ERRORS": {
        0: "auth failure",
        1: "invalid TS",
        2: "invalid PRF",
        3: "invalid MAC",
        4: "invalid EA",
        5: "invalid HA",
        6: "invalid DH",
        7: "invalid ID",
        8: "invalid Cert",
        9: "invalid SP",
        10: "invalid SPpar",
        11: "invalid DT",
        12: "unspecified",
        13: "unsupported message type",
        14: "invalid TICKET",
        15: "invalid TPpar",
    },
}


def _name(table: str, number: int) -> str:
    return _NAMES[table].get(number, str(number))
