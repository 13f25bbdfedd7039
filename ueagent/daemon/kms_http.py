"""MIKEY-TICKET requests to KMSs over HTTP: KMS-6, KMS-10..14. Paths and coding are settings; Annex A is not public.

A repetition is a new message with fresh time and randomness: the KMS's replay cache would refuse the old one.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeVar

from ueagent.daemon import http_client
from ueagent.daemon.credentials.provider import CredentialProvider, KmsCredential
from ueagent.daemon.http_client import TIMEOUT, Origin
from ueagent.errors import KmsError, UsageError
from ueagent.model.http import HttpRequest, HttpResponse

RETRIES: Final = 2  # KMS-13
MIKEY_TYPE: Final = "application/mikey"
MIKEY_VERSION: Final = 0x01  # first octet of a message; a base64 one begins with "A"

REPEATED: Final = frozenset({"http_unreachable", "http_timeout", "http_syntax", "kms_unavailable"})
_REFUSALS: Final = {
    401: ("kms_unauthorized", "the KMS does not know us"),
    403: ("kms_forbidden", "the KMS does not allow it"),
    404: ("kms_not_found", "the KMS has no such service"),
}


class KmsService(Enum):
    """What a request asks for. KMS-10."""

    TICKET = "ticketrequest"
    RESOLVE = "ticketresolve"


@dataclass(frozen=True, slots=True)
class KmsBinding:
    """How one KMS is spoken to. `name` (FQDN) enters the PSK (KMS-3)."""

    name: str
    origin: Origin
    ticket_target: str = "/keymanagement?requesttype=ticketrequest"
    resolve_target: str = "/keymanagement?requesttype=ticketresolve"
    base64: bool = False
    timeout: float = TIMEOUT
    retries: int = RETRIES

    def target(self, service: KmsService) -> str:
        return self.ticket_target if service is KmsService.TICKET else self.resolve_target


class Pending(Protocol):
    @property
    def octets(self) -> bytes:
        """The message as it is sent."""


P = TypeVar("P", bound=Pending)
T = TypeVar("T")


class KmsClient:
    """`bindings` by KMS identity (IDRkms octets): the home KMS and foreign ones."""

    def __init__(
        self,
        bindings: Mapping[bytes, KmsBinding],
        credentials: CredentialProvider,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._bindings = bindings
        self._credentials = credentials
        self._tls = tls

    async def exchange(
        self,
        kms: bytes,
        service: KmsService,
        create: Callable[[KmsCredential], P],
        consume: Callable[[P, bytes], T],
    ) -> T:
        """What `consume` makes of the answer to what `create` made; `create` runs once for each attempt.

        The credential lives as long as the call. After a 401 credentials are renewed once (KMS-6). UsageError
        `unknown_kms`; KmsError `http_*`, `kms_*`; whatever `create` and `consume` raise.
        """
        binding = self._binding(kms)
        renewed = False
        while True:
            credential = await self._credentials.obtain(binding.name)
            try:
                return await self._attempts(binding, service, credential, create, consume)
            except KmsError as error:
                if error.code != "kms_unauthorized" or renewed or not self._credentials.refused(credential.identity):
                    raise
                renewed = True
            finally:
                credential.wipe()

    async def _attempts(
        self,
        binding: KmsBinding,
        service: KmsService,
        credential: KmsCredential,
        create: Callable[[KmsCredential], P],
        consume: Callable[[P, bytes], T],
    ) -> T:
        left = binding.retries
        while True:
            pending = create(credential)
            try:
                answer = await self._once(binding, service, pending.octets)
            except KmsError as error:
                if error.code not in REPEATED or not left:
                    raise
                left -= 1
                continue
            return consume(pending, answer)

    # For whoever repeats and renews itself: a session's exchange makes its own messages (`keymgmt.mikey_exchange`).

    async def credential(self, kms: bytes) -> KmsCredential:
        """Whoever asks wipes it. UsageError `unknown_kms`; what the provider raises."""
        return await self._credentials.obtain(self._binding(kms).name)

    def refused(self, identity: bytes) -> bool:
        """The KMS does not know `identity`. True: `credential` may bring another one (KMS-6)."""
        return self._credentials.refused(identity)

    async def send(self, kms: bytes, service: KmsService, octets: bytes) -> bytes:
        """One attempt. UsageError `unknown_kms`; KmsError, of which the codes in REPEATED are worth another message."""
        return await self._once(self._binding(kms), service, octets)

    def _binding(self, kms: bytes) -> KmsBinding:
        binding = self._bindings.get(kms)
        if binding is None:
            raise UsageError("unknown_kms", "no KMS of this name is configured")
        return binding

    async def _once(self, binding: KmsBinding, service: KmsService, octets: bytes) -> bytes:
        body = encode(octets, binding.base64)
        request = HttpRequest("POST", binding.target(service), {"Content-Type": MIKEY_TYPE}, body)
        response = await http_client.exchange(binding.origin, request, seconds=binding.timeout, tls=self._tls)
        return message_of(response)


def message_of(response: HttpResponse) -> bytes:
    """The MIKEY message in a response, an Error message included, or KmsError. KMS-12."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.body and kind == MIKEY_TYPE and (response.status == 200 or 400 <= response.status < 500):
        return decode(response.body)
    if response.status in _REFUSALS:
        raise KmsError(*_REFUSALS[response.status])
    if response.status >= 500:
        raise KmsError("kms_unavailable", f"the KMS answers {response.status}")
    raise KmsError("kms_answer", f"the KMS answers {response.status} without a MIKEY message")


def encode(message: bytes, as_base64: bool) -> bytes:
    return base64.b64encode(message) if as_base64 else message


def decode(body: bytes) -> bytes:
    """Either form; the first octet tells (KMS-11). KmsError for what is neither."""
    if body[:1] == bytes((MIKEY_VERSION,)):
        return body
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise KmsError("kms_answer", "the KMS's answer is neither MIKEY nor base64") from None
