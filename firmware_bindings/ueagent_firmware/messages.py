"""UMSA-1, the protocol between a host and its serial accelerator: the one description of its numbers and bodies.

`gen_header` makes the C header of the firmware and the tables of PROTOCOL.md from it; `frame` and `link` read it here.
All numbers are little-endian. A packet in a job is in network order, as it always is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSION: Final = 1
HEAD: Final = 4  # octets before a body: op, seq, slot, status
CRC: Final = 4
MAX_BODY: Final = 1544
MAX_PACKET: Final = 1500  # octets of RTP or RTCP in a job, its tag not counted
SLOTS: Final = 16
CREDITS: Final = 16
ALL_SLOTS: Final = 0xFF
HEARTBEAT_MS: Final = 2000  # a device that hears nothing valid for so long wipes its slots
HELLO_TRIES: Final = 5
HELLO_TIMEOUT_MS: Final = 100
ANY_SSRC: Final = 0x01  # flag of a key: the slot binds the SSRC of its first good job


class Op(IntEnum):
    """First octet of a frame. A reply carries the op of its request."""

    HELLO = 0x01
    IDENTITY = 0x02
    PAIR = 0x03
    SESSION = 0x04
    STATUS = 0x05
    KEY_LOAD = 0x10
    KEY_CLEAR = 0x11
    PROTECT = 0x20
    UNPROTECT = 0x21
    NAK = 0x7F


OP_MEANINGS: Final = {
    Op.HELLO: "forget everything: slots, transport key, cached reply; begin a session",
    Op.IDENTITY: "the device's public key (X25519), which the host pins",
    Op.PAIR: "make a new device key; needs a random source",
    Op.SESSION: "agree on a transport key; proves that the device has the pinned key",
    Op.STATUS: "counters; the heartbeat",
    Op.KEY_LOAD: "session keys for one direction into a slot",
    Op.KEY_CLEAR: "wipe a slot, or all (slot 255)",
    Op.PROTECT: "encrypt and authenticate one packet (media job, never repeated)",
    Op.UNPROTECT: "verify, then decrypt one packet (media job, never repeated)",
    Op.NAK: "device only: a frame that cannot be read; seq and slot say nothing",
}
JOBS: Final = (Op.PROTECT, Op.UNPROTECT)


class Status(IntEnum):
    """Fourth octet of a reply; 0 in a request."""

    OK = 0
    BAD_CRC = 1
    BAD_LEN = 2
    BAD_OP = 3
    NO_SLOT = 4
    SLOT_DIR = 5
    SSRC_MISMATCH = 6
    AUTH_FAIL = 7
    INDEX_REUSE = 8
    KEY_EXPIRED = 9
    BUSY = 10
    SELFTEST_FAIL = 11
    LOCKED = 12
    UNWRAP_FAIL = 13
    INTERNAL = 14
    NO_KEY = 15
    NO_RANDOM = 16
    REFUSED = 17
    BAD_VERSION = 18


STATUS_MEANINGS: Final = {
    Status.OK: "done",
    Status.BAD_CRC: "the frame was damaged (only in NAK)",
    Status.BAD_LEN: "the body has another length than its op, or the packet is no RTP or RTCP",
    Status.BAD_OP: "no such op",
    Status.NO_SLOT: "no such slot, or it holds no key",
    Status.SLOT_DIR: "the slot's key is for the other direction",
    Status.SSRC_MISMATCH: "the slot is bound to another SSRC",
    Status.AUTH_FAIL: "the tag does not verify; there is no plaintext in the reply",
    Status.INDEX_REUSE: "this index was protected before, or is too old to tell",
    Status.KEY_EXPIRED: "the slot's packet limit is used up",
    Status.BUSY: "more jobs than credits",
    Status.SELFTEST_FAIL: "a self-test failed at boot; only HELLO is answered",
    Status.LOCKED: "no HELLO since boot, or the heartbeat was lost: all slots are empty",
    Status.UNWRAP_FAIL: "the wrapped key does not verify, or its counter is not new",
    Status.INTERNAL: "the device contradicts itself; after a job it has forgotten all keys",
    Status.NO_KEY: "the device has no identity yet (PAIR makes one)",
    Status.NO_RANDOM: "the board has no random source and refuses to make a key",
    Status.REFUSED: "not in this build: plain key loading",
    Status.BAD_VERSION: "the host speaks another version; the reply tells the device's",
}


class Suite(IntEnum):
    """Profile of a slot: the suite numbers of the host's core."""

    AES_CM_128_HMAC_SHA1_80 = 1
    AES_CM_128_HMAC_SHA1_32 = 2
    AES_256_CM_HMAC_SHA1_80 = 5
    AES_256_CM_HMAC_SHA1_32 = 6
    AEAD_AES_128_GCM = 7
    AEAD_AES_256_GCM = 8


class Capability(IntEnum):
    """Bits of HELLO's `capabilities`."""

    RANDOM = 0x01
    IDENTITY = 0x02
    PLAIN_LOAD = 0x04


class SelfTest(IntEnum):
    """Bits of HELLO's `failed_tests`."""

    AES = 0x01
    AES_CM = 0x02
    HMAC_SHA1 = 0x04
    GCM = 0x08
    X25519 = 0x10


SELF_TEST_SOURCES: Final = {
    SelfTest.AES: "FIPS-197, C.1",
    SelfTest.AES_CM: "RFC 3711, B.2",
    SelfTest.HMAC_SHA1: "RFC 2202, test case 1",
    SelfTest.GCM: "GCM specification, test case 2",
    SelfTest.X25519: "RFC 7748, 5.2, first vector",
}


class Direction(IntEnum):
    PROTECT = 0
    UNPROTECT = 1


class Kind(IntEnum):
    RTP = 0
    RTCP = 1


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a body: `size` octets, an unsigned number when `number`."""

    name: str
    size: int
    meaning: str
    number: bool = True


def _octets(name: str, size: int, meaning: str) -> Field:
    return Field(name, size, meaning, number=False)


# Fixed bodies, or the fixed beginning of one. `packet`, `wrapped` and results follow where the text says so.
BODIES: Final[dict[str, tuple[Field, ...]]] = {
    "hello": (
        Field("version", 1, "the host's protocol version"),
        _octets("nonce", 16, "fresh and random for each HELLO"),
    ),
    "hello_reply": (
        Field("version", 1, "the device's protocol version"),
        _octets("nonce", 16, "the request's, so that stale replies are told apart"),
        _octets("boot_id", 8, "another one after each boot: random, or a counter"),
        Field("session", 4, "counts HELLOs since boot"),
        _octets("unit", 8, "serial number of the unit"),
        Field("firmware", 4, "firmware version"),
        Field("engine", 1, "1: software, 2: crypto peripheral"),
        Field("slots", 1, "key slots"),
        Field("credits", 1, "jobs that may be outstanding; 0: the self-test failed"),
        Field("max_packet", 2, "longest packet in a job"),
        Field("capabilities", 2, "bits"),
        Field("failed_tests", 2, "bits"),
    ),
    "identity_reply": (_octets("public_key", 32, "X25519"),),
    "session": (_octets("public_key", 32, "the host's, made for this session"),),
    "session_reply": (_octets("proof", 16, "second half of the derived octets"),),
    "status_reply": (
        Field("frames", 4, "good frames received"),
        Field("damaged", 4, "frames with a wrong CRC or encoding"),
        Field("jobs", 4, "jobs done"),
        Field("refused", 4, "jobs refused"),
        Field("auth_fail", 4, "packets that did not verify"),
        Field("used_slots", 1, "slots that hold a key"),
    ),
    "key_load": (
        Field("wrapped", 1, "1: under the transport key, 0: plain"),
        Field("counter", 4, "larger in each wrapped load of a session; GCM nonce, right-aligned in 12 octets of zero"),
    ),
    "key": (
        Field("suite", 1, "profile"),
        Field("direction", 1, "0: protect, 1: unprotect"),
        Field("kind", 1, "0: RTP, 1: RTCP"),
        Field("flags", 1, "bit 0: bind the SSRC of the first good job"),
        Field("ssrc", 4, "the only SSRC this slot serves"),
        Field("index_floor", 6, "lowest index that may be protected"),
        Field("packet_limit", 6, "packets before KEY_EXPIRED"),
        _octets("cipher_key", 32, "session key; a shorter one is followed by zeros"),
        _octets("auth_key", 20, "session authentication key; zeros for AEAD"),
        _octets("salt", 14, "session salt; 12 octets and zeros for AEAD"),
    ),
    "job": (Field("index", 6, "48-bit SRTP index, or 31-bit SRTCP index"),),
}


def length(body: str) -> int:
    """Octets of the fixed part of a body."""
    return sum(field.size for field in BODIES[body])


def pack(body: str, /, **values: int | bytes) -> bytes:
    """The fixed part of a body. KeyError, ValueError: a member is missing, unknown or of a wrong size."""
    out = bytearray()
    for field in BODIES[body]:
        value = values.pop(field.name)
        if isinstance(value, int):
            out += value.to_bytes(field.size, "little")
        else:
            if len(value) != field.size:
                raise ValueError(f"{field.name} has {field.size} octets")
            out += value
    if values:
        raise ValueError(f"no member {', '.join(values)}")
    return bytes(out)


def unpack(body: str, octets: bytes) -> dict[str, int | bytes]:
    """Members of a body of exactly its length. ValueError otherwise."""
    if len(octets) != length(body):
        raise ValueError(f"{body} has {length(body)} octets, not {len(octets)}")
    found: dict[str, int | bytes] = {}
    at = 0
    for field in BODIES[body]:
        piece = octets[at : at + field.size]
        found[field.name] = int.from_bytes(piece, "little") if field.number else piece
        at += field.size
    return found
