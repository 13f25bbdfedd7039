"""Messages protected by a shared key (PSK S/MIME): 3GPP TS 33.328, Annex I. MIME-1, -6..11, -15, -18, -23.

    entity --AES-GCM or -CCM under a fresh CEK--> content;   CEK --AES wrap under the KEK--> recipient

The KEK is the TEK of the PSK/MIME crypto session of a TRANSFER_INIT and is named by its SPI. It is used once. Nothing
of a message is released before its tag has been verified and its KEK found unused.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from ueagent.crypto import content_encryption, keywrap
from ueagent.errors import AuthenticationFailed, ResourceError, UsageError
from ueagent.model.keys import Secret
from ueagent.wire.cms import AuthEnvelopedData, KekRecipient, build_auth_enveloped_data, parse_auth_enveloped_data
from ueagent.wire.mime import UNDECIPHERABLE

Rng = Callable[[int], bytes]

FAMILIES: Final = ("GCM", "CCM")
_WRAP: Final = MappingProxyType({16: "aes128-wrap", 32: "aes256-wrap"})  # octets of the KEK -> algorithm
_KEK_LENGTH: Final = MappingProxyType({name: length for length, name in _WRAP.items()})
_CONTENT: Final = MappingProxyType(
    {(family, length): f"aes{8 * length}-{family}" for family in FAMILIES for length in _WRAP}
)


@dataclass(frozen=True, slots=True)
class ProtectedEntity:
    """DER of the CMS object, and its tag, which a proof of origin repeats (MIME-18)."""

    cms: bytes = field(repr=False)
    mac: bytes


class KekLedger:
    """Which KEKs have been used, kept as keyed digests until `until`, when no message may name them any more. MIME-15.

    A full ledger refuses: forgetting a KEK early would let its message be replayed.
    """

    def __init__(self, rng: Rng, capacity: int = 4096) -> None:
        self._key = Secret(rng(32))
        self._capacity = capacity
        self._used: dict[bytes, float] = {}

    def is_used(self, kek: Secret, now: float) -> bool:
        return self._used.get(self._digest(kek), now) > now

    def use(self, kek: Secret, now: float, until: float) -> None:
        """Marks `kek` as used. UsageError: it was already; ResourceError: no room."""
        if self.is_used(kek, now):
            raise UsageError("kek_used", "this key encryption key has been used")
        if len(self._used) >= self._capacity:
            self._used = {digest: end for digest, end in self._used.items() if end > now}
        if len(self._used) >= self._capacity:
            raise ResourceError("kek_ledger_full", "too many protected messages at a time")
        self._used[self._digest(kek)] = until

    def _digest(self, kek: Secret) -> bytes:
        return hmac.digest(self._key.reveal(), kek.reveal(), "sha256")


def protect_entity(entity: bytes, kek: Secret, key_id: bytes, rng: Rng, *, family: str = "GCM") -> ProtectedEntity:
    """A MIME entity as CMS for whoever holds `kek` (16 or 32 octets; the CEK is as long), named by `key_id`.

    UsageError: a KEK of another length, or a family that FAMILIES lacks. Whoever uses a KEK notes it in a KekLedger.
    """
    name = _CONTENT.get((family, len(kek)))
    if name is None:
        raise UsageError("bad_kek", f"no content encryption {family} for a key of {len(kek)} octets")
    algorithm = content_encryption.ALGORITHMS[name]
    cek = Secret(rng(algorithm.key_length))
    try:
        nonce = rng(algorithm.nonce_length)
        encrypted, mac = content_encryption.encrypt(algorithm, cek, nonce, entity)
        recipient = KekRecipient(key_id, _WRAP[len(kek)], keywrap.wrap(kek, cek))
    finally:
        cek.wipe()
    return ProtectedEntity(build_auth_enveloped_data(AuthEnvelopedData((recipient,), name, nonce, encrypted, mac)), mac)


def open_entity(
    cms: bytes, kek: Secret, key_id: bytes, ledger: KekLedger, *, now: float, until: float
) -> tuple[bytes, bytes]:
    """The entity and its tag, once the tag is verified; the KEK then counts as used until `until`.

    MalformedMessage: not CMS for a shared key. AuthenticationFailed: `wrong_key` nobody wrapped a key for `key_id`,
    `key_unwrap`, `content_tag`, `replayed` the KEK has been used. After any of them the ledger is as it was.
    """
    message = parse_auth_enveloped_data(cms)
    if ledger.is_used(kek, now):
        raise _undecipherable("replayed", "the key of this message has been used")
    algorithm = content_encryption.ALGORITHMS[message.algorithm]
    if len(message.nonce) not in algorithm.nonce_lengths or len(message.mac) not in algorithm.tag_lengths:
        raise _undecipherable("content_parameters", "nonce or tag of a length that is not accepted")
    cek = _unwrap(message, kek, key_id, algorithm.key_length)
    try:
        entity = content_encryption.decrypt(algorithm, cek, message.nonce, message.encrypted, message.mac)
    except AuthenticationFailed as error:
        error.sip_status_hint = UNDECIPHERABLE
        raise
    finally:
        cek.wipe()
    ledger.use(kek, now, until)
    return entity, message.mac


def proves_origin(mac: bytes, extension: bytes | None) -> bool:
    """Whether the extension of a TRANSFER_INIT, itself authentic, repeats the tag of the entity. MIME-18."""
    return extension is not None and hmac.compare_digest(mac, extension)


def _unwrap(message: AuthEnvelopedData, kek: Secret, key_id: bytes, length: int) -> Secret:
    """The CEK. Of several recipients with this name the first that fits counts."""
    for recipient in message.recipients:
        fits = recipient.wrap is not None and _KEK_LENGTH[recipient.wrap] == len(kek)
        if recipient.key_id == key_id and fits:
            break
    else:
        raise _undecipherable("wrong_key", "the message is for another key")
    try:
        cek = keywrap.unwrap(kek, recipient.encrypted_key)
    except AuthenticationFailed as error:
        error.sip_status_hint = UNDECIPHERABLE
        raise
    if len(cek) != length:
        cek.wipe()
        raise _undecipherable("key_unwrap", "the wrapped key is not as long as its algorithm wants")
    return cek


def _undecipherable(code: str, detail: str) -> AuthenticationFailed:
    error = AuthenticationFailed(code, detail)
    error.sip_status_hint = UNDECIPHERABLE
    return error
