"""The lab's KMS: MIKEY-TICKET over HTTP with a SQLite store, faults on request, forwarding by THDR.

KMS-10..12; RFC 6043, 4.2.1, 4.2.3 and 10. The messages are made and opened by `keymgmt.kms_desk`; here it is
decided who may have a ticket and who may open one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ueagent.crypto.gba import naf_id, naf_key
from ueagent.daemon.credentials.provider import KmsCredential
from ueagent.daemon.kms_http import MIKEY_TYPE, MIKEY_VERSION, KmsClient, KmsService, decode, encode
from ueagent.errors import AgentError, AuthenticationFailed
from ueagent.keymgmt import kms_desk
from ueagent.keymgmt.bootstrapping import BootstrappedContext
from ueagent.keymgmt.kms import (
    PendingResolve,
    WantedKey,
    check_terms,
    consume_resolve_resp,
    create_resolve_init,
)
from ueagent.keymgmt.kms_desk import OpenedRequest, Subscriber
from ueagent.keymgmt.mikey_errors import MikeyError, number_of, refusal
from ueagent.keymgmt.mikey_protection import KmsAccount, Profile, create_error
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.lab.faults import KmsFault
from ueagent.lab.kms_store import KmsStore
from ueagent.model.http import HttpRequest, HttpResponse
from ueagent.model.keys import Secret
from ueagent.model.ticket import KeyType, PolicyTerms, TicketFlag, Validity, broken_implication
from ueagent.wire.mikey_payloads import TicketPayload
from ueagent.wire.mikey_ticket import kms_id_of

MAX_RESPONDERS: Final = 16
SLOWNESS: Final = 30.0  # seconds: longer than any client waits
_NOBODY: Final = BootstrappedContext("", "nobody", bytes(16), 0.0, Secret(bytes(32)))
_ANY: Final = b"!.*!"  # the wildcard of TS 23.003, 13.5 that this KMS understands


@dataclass(frozen=True, slots=True)
class Peer:
    """Another KMS, to which tickets of its own are sent for resolving."""

    identity: bytes
    client: KmsClient


class LabKms:
    """`identity` is IDRkms, `fqdn` enters Ks_NAF, `number` (6 octets) begins THDR; `clock` gives UTC seconds."""

    def __init__(
        self,
        store: KmsStore,
        identity: bytes,
        fqdn: str,
        number: bytes,
        rng: Callable[[int], bytes],
        clock: Callable[[], float],
        peers: Mapping[bytes, Peer] | None = None,
        profile: Profile | None = None,
    ) -> None:
        self._store, self._identity, self._naf, self._number = store, identity, naf_id(fqdn), number
        self._rng, self._clock = rng, clock
        self._peers = dict(peers or {})
        self._profile = profile or Profile()
        self._tpk = Secret(rng(32))
        self._replay = ReplayCache()
        self.fault = KmsFault.NO_FAULT

    async def handle(self, request: HttpRequest) -> HttpResponse:
        services = {f"/keymanagement?requesttype={service.value}": service for service in KmsService}
        service = services.get(request.target)
        if request.method != "POST" or service is None:
            return HttpResponse(404)
        if self.fault is KmsFault.DOWN:
            return HttpResponse(503, {"Retry-After": "5"})
        if self.fault is KmsFault.SLOW:
            await asyncio.sleep(SLOWNESS)
        try:
            octets = decode(request.body)
        except AgentError:
            return HttpResponse(400)
        status, answer = await self._answer(service, octets)
        if not answer:
            return HttpResponse(status)
        if self.fault is KmsFault.WRONG_MAC:
            answer = answer[:-1] + bytes((answer[-1] ^ 1,))
        as_base64 = request.body[:1] != bytes((MIKEY_VERSION,))
        return HttpResponse(status, {"Content-Type": MIKEY_TYPE}, encode(answer, as_base64))

    async def _answer(self, service: KmsService, octets: bytes) -> tuple[int, bytes]:
        """Status and message. An unknown identity and a wrong MAC look the same: 401 without a body."""
        found: list[Subscriber] = []

        def find(psk_id: bytes | None, claimed: bytes | None) -> Subscriber | None:
            subscriber = self._find(psk_id, claimed)
            if subscriber is not None:
                found.append(subscriber)
            return subscriber

        key: Secret | None = None
        try:
            opened = kms_desk.open_request(octets, self._identity, find, self._replay, self._clock(), self._profile)
            key = opened.authentication
            grant = service is KmsService.TICKET
            return 200, self._grant(opened) if grant else await self._resolve(opened)
        except AuthenticationFailed as error:
            return (401, b"") if key is None else self._error(octets, error, key)
        except AgentError as error:
            return self._error(octets, error, key)
        finally:
            for subscriber in found:
                subscriber.psk.wipe()
            if key is not None:
                key.wipe()

    def _error(self, octets: bytes, error: AgentError, key: Secret | None) -> tuple[int, bytes]:
        try:
            return 200, create_error(octets, [number_of(error)], self._clock(), key)
        except ValueError:
            return 400, b""  # an Error is not answered

    def _find(self, psk_id: bytes | None, claimed: bytes | None) -> Subscriber | None:
        """A provisioned key, or Ks_NAF of a bootstrapping. The same steps are taken whoever asks, known or not."""
        provisioned = self._store.psk(psk_id or b"")
        known = self.fault is not KmsFault.UNKNOWN_BTID
        identifier = (psk_id or b"").decode("ascii", "replace") if known else ""
        context = self._store.context(identifier, self._clock())
        of = context or _NOBODY
        psk = naf_key(of.ks, of.rand, of.impi, self._naf)
        owner = self._store.user(of.impi)
        if context is not None:
            context.wipe()
        if owner is not None:
            owner.wipe()
        if provisioned is not None:
            psk.wipe()
            user = provisioned.user or claimed or b""
            return Subscriber(user, provisioned.key) if provisioned.belongs_to(user) else None
        if context is None or owner is None:
            psk.wipe()
            return None
        return Subscriber(owner.identity, psk)

    # ------------------------------------------------------------------------------------------------------ tickets --

    def _grant(self, opened: OpenedRequest) -> bytes:
        now = self._clock()
        wish = kms_desk.consume_request_init(opened, now)
        keys = wish.keys or (WantedKey(KeyType.TGK, 32, self._rng(4)),)
        terms = self._granted(wish.terms, opened, keys)
        ticket = kms_desk.seal_ticket(terms, keys, self._tpk, self._number, b"lab TPK", now, self._rng)
        try:
            self._store.note_ticket(_mark(ticket.payload), opened.user, now, len(terms.responders))
            return kms_desk.create_request_resp(opened, ticket, now)
        finally:
            ticket.wipe()

    def _granted(self, terms: PolicyTerms, opened: OpenedRequest, keys: tuple[WantedKey, ...]) -> PolicyTerms:
        """What of a wish is granted; errors 7, 15."""
        if terms.initiator not in (None, opened.user):
            raise refusal(MikeyError.INVALID_ID, "a ticket for somebody else")
        if len(terms.responders) > MAX_RESPONDERS:
            raise refusal(MikeyError.INVALID_TP_PAR, f"more than {MAX_RESPONDERS} responders")
        tgk_inside = any(key.kind.forked for key in keys)
        if TicketFlag.D not in terms.flags or broken_implication(terms.flags, tgk_inside=tgk_inside) is not None:
            raise refusal(MikeyError.INVALID_TP_PAR, "ticket flags that do not go together")
        granted = replace(terms, kms=self._identity, initiator=opened.user)
        if self.fault is KmsFault.POLICY_CHANGE:
            granted = replace(granted, flags=granted.flags & ~TicketFlag.N | TicketFlag.K)
        if self.fault is KmsFault.EXPIRED:
            end = float(int(self._clock())) - 10
            granted = replace(granted, validity=Validity(end - 10, end, terms.validity.rekey))
        return granted

    async def _resolve(self, opened: OpenedRequest) -> bytes:
        payload = opened.message.first(TicketPayload)
        if payload is None:
            raise refusal(MikeyError.INVALID_DT, "no RESOLVE_INIT")
        if kms_id_of(payload) != self._number:
            return await self._forward(opened, payload)
        now = self._clock()
        ticket = kms_desk.consume_resolve_init(opened, self._tpk, now, self._profile)
        try:
            if not any(self._covers(responder, opened.user) for responder in ticket.terms.responders):
                raise refusal(MikeyError.INVALID_ID, "the ticket is not for this user")
            self._store.note_resolved(_mark(payload))
            return kms_desk.create_resolve_resp(opened, ticket, opened.user, now, self._rng)
        finally:
            ticket.wipe()

    def _covers(self, responder: bytes, user: bytes) -> bool:
        if responder == user or self._store.is_member(responder, user):
            return True
        before, wildcard, after = responder.partition(_ANY)
        long_enough = len(user) >= len(before) + len(after)
        return bool(wildcard) and long_enough and user.startswith(before) and user.endswith(after)

    async def _forward(self, opened: OpenedRequest, payload: TicketPayload) -> bytes:
        """To the KMS that made the ticket; it forks, we hand on. RFC 6043, 10."""
        peer = self._peers.get(kms_id_of(payload))
        if peer is None:
            raise refusal(MikeyError.INVALID_TICKET, "a ticket of a KMS that this one does not know")
        terms = check_terms(payload, self._clock())

        def create(credential: KmsCredential) -> PendingResolve:
            account = KmsAccount(opened.user, peer.identity, credential.identity, credential.key)
            return create_resolve_init(account, payload, terms, self._clock(), self._rng)

        resolved = await peer.client.exchange(
            peer.identity,
            KmsService.RESOLVE,
            create,
            lambda pending, answer: consume_resolve_resp(pending, answer, self._profile),
        )
        try:
            return kms_desk.create_forwarded_resp(opened, resolved, self._clock())
        finally:
            resolved.wipe()


def _mark(payload: TicketPayload) -> bytes:
    return hashlib.sha256(payload.ticket_data).digest()[:16]
