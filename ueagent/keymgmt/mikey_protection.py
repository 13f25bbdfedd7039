"""How MIKEY-TICKET messages are protected: algorithms, V, KEMAC. RFC 6043, 5 and 12.1; 3GPP TS 33.328, D.2A."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ueagent.crypto import keywrap, mikey_prf
from ueagent.crypto.mikey_prf import MessageKeys
from ueagent.errors import AgentError, MalformedMessage
from ueagent.keymgmt.mikey_errors import MikeyError, refusal
from ueagent.model.keys import Secret
from ueagent.model.ticket import KeyType, RandRole, SessionKey
from ueagent.wire.mikey import DataType, Header, MapType, Message, Prf, build_message, parse_message
from ueagent.wire.mikey_keys import KeyData, build_key_data, parse_key_data
from ueagent.wire.mikey_payloads import Err, Idr, Kemac, Payload, Randr, Spi, Timestamp, V
from ueagent.wire.mikey_ticket import authenticated_octets, missing_part, ntp_now, sixty_four_bits

Rng = Callable[[int], bytes]

RAND_LENGTH: Final = 32  # octets; enough for every key of the profile (KMS-25)
NO_CSB: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Algorithms:
    """PRF of header and policy, MAC of V, encryption of KEMAC. The default is all 256 bits (KMS-24)."""

    prf: int = Prf.HMAC_SHA_256
    mac: int = 2
    encryption: int = keywrap.AES_CM_256

    @property
    def key_length(self) -> int:
        return keywrap.KEY_LENGTH[self.encryption]


ALL_256: Final = Algorithms()
AES_128: Final = Algorithms(encryption=keywrap.AES_CM_128)
MIKEY_1: Final = Algorithms(Prf.MIKEY_1, 1, keywrap.AES_CM_128)


@dataclass(frozen=True, slots=True)
class Profile:
    """What this end sends and accepts. Defaults: TS 33.328, D.2A and D.4, with the checklist's choices."""

    send: Algorithms = ALL_256
    accept: tuple[Algorithms, ...] = (ALL_256, AES_128)  # MIKEY_1 is added where an operator must (KMS-21)
    application: bytes = b"IMS-MEDIA"  # KMS-34
    any_application: bool = False
    accept_group_keys: bool = False  # KMS-74


@dataclass(frozen=True, slots=True, eq=False)
class KmsAccount:
    """Who we are at a KMS, and the key shared with it. RFC 6043, 4.2.1.2. `psk` stays with its owner."""

    user: bytes  # identity, a URI
    kms: bytes
    psk_id: bytes
    psk: Secret


# -------------------------------------------------------------------------------------------------------- checking --


def read_message(octets: bytes, expected: DataType) -> Message:
    """A message of the expected type that has what it must have. Errors: MalformedMessage, 11, 12; an Error is 11."""
    message = parse_message(octets)
    if message.header.data_type is not expected:
        raise refusal(MikeyError.INVALID_DT, f"{message.header.data_type.name} instead of {expected.name}")
    if (missing := missing_part(message)) is not None:
        raise refusal(MikeyError.UNSPECIFIED, f"{expected.name} without {missing}")
    if not isinstance(message.payloads[-1], V):
        raise refusal(MikeyError.UNSPECIFIED, "V is not the last payload")
    if any(idr.kind > 2 for idr in message.all(Idr)):
        raise refusal(MikeyError.INVALID_ID, "an identity of an unknown type")
    return message


def check_algorithms(message: Message, profile: Profile) -> None:
    """Errors 2, 3, 4: what is not accepted, and mixtures that RFC 6043, 12.1 forbids."""
    prf, mac = message.header.prf, verification(message).algorithm
    if prf not in {row.prf for row in profile.accept}:
        raise refusal(MikeyError.INVALID_PRF, f"PRF {prf} is not accepted")
    if (prf, mac) not in {(row.prf, row.mac) for row in profile.accept}:
        raise refusal(MikeyError.INVALID_MAC, f"MAC {mac} with PRF {prf} is not accepted")
    if (kemac := message.first(Kemac)) is not None:
        check_encryption(kemac, prf, profile)


def check_encryption(kemac: Kemac, prf: int, profile: Profile) -> None:
    """Errors 3 and 4. KEMAC has no MAC of its own in ticket mode; NULL encryption stands in wishes alone."""
    if kemac.mac_algorithm:
        raise refusal(MikeyError.INVALID_MAC, "a MAC inside KEMAC")
    if (prf, kemac.encryption) not in {(row.prf, row.encryption) for row in profile.accept}:
        raise refusal(MikeyError.INVALID_EA, f"encryption {kemac.encryption} with PRF {prf} is not accepted")


def check_answer(answer: Message, initial: Header) -> None:
    """Error 12: an answer repeats PRF and CSB ID (RFC 6043, 4.2)."""
    if (answer.header.prf, answer.header.csb_id) != (initial.prf, initial.csb_id):
        raise refusal(MikeyError.UNSPECIFIED, "the answer is to another message")


def check_random(length: int, keys: Sequence[Secret]) -> None:
    """Error 12: as many random octets as the longest key they serve (RFC 6043, 12.1; KMS-25)."""
    if length < max(map(len, keys), default=0):
        raise refusal(MikeyError.UNSPECIFIED, f"{length} random octets are fewer than a key has")


def verification(message: Message) -> V:
    """The V that ends a message which `read_message` let pass."""
    last = message.payloads[-1]
    assert isinstance(last, V)
    return last


def random_of(message: Message, role: RandRole) -> bytes:
    found = message.first(Randr, role)
    return found.value if found else b""


def time_of(message: Message) -> Timestamp:
    found = message.first(Timestamp)
    assert found is not None  # every row of MANDATORY has it
    return found


# ------------------------------------------------------------------------------------------------------- V payload --


def seal(header: Header, payloads: Sequence[Payload], key: Secret, algorithm: int, tail: bytes = b"") -> bytes:
    """The message with its V. `tail` follows the message in the MAC: identities, or the initial message."""
    length = mikey_prf.MACS[algorithm][1]
    unsigned = Message(header, (*payloads, V(algorithm, bytes(length))))
    octets = build_message(unsigned)
    return octets[:-length] + mikey_prf.mac(algorithm, key, authenticated_octets(unsigned, octets) + tail)


def verify(message: Message, octets: bytes, key: Secret, tail: bytes = b"") -> None:
    """Error 0 when the MAC is wrong. `octets` are the message as it came."""
    v = verification(message)
    if not mikey_prf.same(mikey_prf.mac(v.algorithm, key, authenticated_octets(message, octets) + tail), v.mac):
        raise refusal(MikeyError.AUTH_FAILURE, "a MAC does not verify")


# ----------------------------------------------------------------------------------------------------------- KEMAC --


def close_keys(keys: Sequence[KeyData], algorithm: int, protection: MessageKeys, csb_id: int, time: Timestamp) -> Kemac:
    """A KEMAC with `keys`, which stay with the caller."""
    plaintext = build_key_data(keys)
    iv = keywrap.kemac_iv(protection.salt, csb_id, sixty_four_bits(time))
    try:
        return Kemac(algorithm, keywrap.encrypt(algorithm, protection.encryption, iv, plaintext))
    finally:
        plaintext.wipe()


def open_keys(kemac: Kemac, protection: MessageKeys, csb_id: int, time: Timestamp) -> tuple[KeyData, ...]:
    """The keys of a KEMAC whose message has been verified. Every key has an SPI (RFC 6043, 6.13)."""
    iv = keywrap.kemac_iv(protection.salt, csb_id, sixty_four_bits(time))
    plaintext = keywrap.decrypt(kemac.encryption, protection.encryption, iv, kemac.data)
    try:
        keys = parse_key_data(plaintext.reveal())
    finally:
        plaintext.wipe()
    try:
        _check_keys(keys, kemac.encryption)
    except AgentError:
        for key in keys:
            key.wipe()
        raise
    return keys


def _check_keys(keys: Sequence[KeyData], encryption: int) -> None:
    if any(not isinstance(key.validity, Spi) or not len(key.key) for key in keys):
        raise refusal(MikeyError.UNSPECIFIED, "a key without SPI, or empty")
    session = [key for key in keys if key.kind is not KeyType.MPK]
    if len({key.spi for key in session}) != len(session):
        raise refusal(MikeyError.UNSPECIFIED, "two keys of one SPI")
    if encryption != keywrap.AES_CM_256 and any(len(key.key) > 16 for key in session):
        raise refusal(MikeyError.INVALID_EA, "session keys above 128 bits under a cipher of 128 bits")


def session_keys(keys: Sequence[KeyData]) -> tuple[SessionKey, ...]:
    """Those that are no MPK, with the Secrets handed over."""
    return tuple(SessionKey(k.kind, k.spi or b"", k.key, k.salt) for k in keys if k.kind is not KeyType.MPK)


def key_data(keys: Sequence[SessionKey]) -> tuple[KeyData, ...]:
    """For a KEMAC; the Secrets stay where they are."""
    return tuple(KeyData(key.kind, key.key, key.salt, Spi(key.spi)) for key in keys)


def protection_key(key: Secret, spi: bytes) -> KeyData:
    """An MPK for a KEMAC."""
    return KeyData(KeyType.MPK, key, None, Spi(spi))


# ---------------------------------------------------------------------------------------------------------- Errors --


@dataclass(frozen=True, slots=True)
class ReceivedError:
    """An Error message. Without `authentic` it is a hint and ends nothing (CHOICE-24 of the sheet)."""

    numbers: tuple[int, ...]
    authentic: bool


def create_error(failed: bytes, numbers: Sequence[MikeyError], now: float, key: Secret | None = None) -> bytes:
    """An Error about the message `failed`, with its PRF and CSB ID; `key` is the authentication key of that message.

    A message that does not parse gets an Error with what its header could tell. An Error is never answered: ValueError
    (RFC 6043, 5.4).
    """
    if failed[1:2] == bytes((DataType.ERROR,)):
        raise ValueError("an Error is not answered")
    known = len(failed) >= 8 and (failed[3] & 0x7F) in Prf._value2member_map_
    prf = failed[3] & 0x7F if known else Prf.HMAC_SHA_256
    header = Header(DataType.ERROR, int.from_bytes(failed[4:8], "big") if known else 0, prf)
    payloads: tuple[Payload, ...] = (ntp_now(now), *(Err(number) for number in numbers))
    if key is None:
        return build_message(Message(header, payloads))
    return seal(header, payloads, key, 1 if prf == Prf.MIKEY_1 else 2)


def consume_error(octets: bytes, initial: Header, key: Secret | None) -> ReceivedError | None:
    """The Error message in `octets`, None when they are no Error about `initial`. A wrong MAC makes it a hint."""
    try:
        message = parse_message(octets)
    except MalformedMessage:
        return None
    if message.header.data_type is not DataType.ERROR:
        return None
    if (message.header.prf, message.header.csb_id) != (initial.prf, initial.csb_id):
        return None
    numbers = tuple(err.number for err in message.all(Err))
    if key is None or not message.payloads or not isinstance(message.payloads[-1], V):
        return ReceivedError(numbers, authentic=False)
    if verification(message).algorithm not in mikey_prf.MACS:
        return ReceivedError(numbers, authentic=False)
    try:
        verify(message, octets, key)
    except AgentError:
        return ReceivedError(numbers, authentic=False)
    return ReceivedError(numbers, authentic=True)


def empty_header(data_type: DataType, csb_id: int, algorithms: Algorithms, *, initial: bool) -> Header:
    """Of a KMS exchange: no sessions, an Empty map; V in the initial message (CHOICE-1 of the sheet)."""
    return Header(data_type, csb_id, algorithms.prf, answer_wanted=initial, map_type=MapType.EMPTY)


def number_from(rng: Rng, size: int) -> int:
    return int.from_bytes(rng(size), "big")
