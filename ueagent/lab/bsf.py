"""The lab's bootstrapping server: Ub with its authentication centre behind it. 3GPP TS 24.109, 4; TS 33.220, 4.5.2.

KMS-1, KMS-5. The contexts it makes lie in the store where the lab's KMS, its NAF, finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ueagent.crypto.gba import bootstrapped_key, transaction_identifier
from ueagent.crypto.milenage import Milenage, Vector
from ueagent.errors import MalformedMessage
from ueagent.keymgmt import aka
from ueagent.keymgmt.aka import Authorization
from ueagent.keymgmt.bootstrapping import BSF_TYPE, TARGET, BootstrappedContext, build_info
from ueagent.lab.kms_store import KmsStore, LabUser
from ueagent.model.http import HttpRequest, HttpResponse

LIFETIME: Final = 3600.0  # seconds
MAX_CHALLENGES: Final = 256
_AMF: Final = b"\x80\x00"  # separation bit as for any use outside the access network: TS 33.102, Annex H


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    impi: str
    rand: bytes
    vector: Vector


class Bsf:
    """`name` is realm and domain of B-TIDs. `clock` gives UTC seconds since 1970."""

    def __init__(
        self,
        store: KmsStore,
        name: str,
        rng: Callable[[int], bytes],
        clock: Callable[[], float],
        lifetime: float = LIFETIME,
    ) -> None:
        self._store, self._name, self._rng, self._clock, self._lifetime = store, name, rng, clock, lifetime
        self._asked: dict[str, _Asked] = {}  # by nonce; each is answered once

    async def handle(self, request: HttpRequest) -> HttpResponse:
        if request.method != "GET" or request.target != TARGET:
            return HttpResponse(404)
        try:
            given = aka.parse_authorization(request.headers.get("authorization", ""))
        except MalformedMessage:
            return HttpResponse(400)
        user = self._store.user(given.username)
        if user is None or given.realm != self._name or given.uri != request.target:
            return HttpResponse(403)
        try:
            return self._answer(request, given, user)
        finally:
            user.wipe()

    def _answer(self, request: HttpRequest, given: Authorization, user: LabUser) -> HttpResponse:
        asked = self._asked.pop(given.nonce, None)
        if asked is None:
            return self._challenge(user)
        try:
            if asked.impi != user.impi or given.nc != aka.NONCE_COUNT:
                return self._challenge(user)
            if given.auts is not None:
                return self._resynchronise(request, given, user, asked)
            password = asked.vector.res.reveal()
            if not aka.verifies(given, request.method, request.body, password):
                return self._challenge(user)
            context = self._context(asked)
            body = build_info(context.identifier, context.expires)
            context.wipe()
            info = aka.build_info(given, body, password)
            return HttpResponse(200, {"Content-Type": BSF_TYPE, "Authentication-Info": info}, body)
        finally:
            asked.vector.wipe()

    def _challenge(self, user: LabUser) -> HttpResponse:
        functions = Milenage(user.k, user.opc)
        rand = self._rng(aka.RAND_LENGTH)
        autn = functions.autn(rand, self._store.next_sqn(user.impi), _AMF)
        nonce = aka.build_nonce(rand, autn)
        if len(self._asked) >= MAX_CHALLENGES:
            self._asked.pop(next(iter(self._asked))).vector.wipe()
        self._asked[nonce] = _Asked(user.impi, rand, functions.vector(rand))
        functions.wipe()
        return HttpResponse(401, {"WWW-Authenticate": aka.build_challenge(self._name, nonce)})

    def _resynchronise(self, request: HttpRequest, given: Authorization, user: LabUser, asked: _Asked) -> HttpResponse:
        functions = Milenage(user.k, user.opc)
        sqn = functions.open_auts(asked.rand, given.auts or b"")
        functions.wipe()
        if sqn is None or not aka.verifies(given, request.method, request.body, aka.NO_PASSWORD):
            return HttpResponse(403)
        self._store.set_sqn(user.impi, int.from_bytes(sqn, "big"))
        return self._challenge(user)

    def _context(self, asked: _Asked) -> BootstrappedContext:
        context = BootstrappedContext(
            identifier=transaction_identifier(asked.rand, self._name),
            impi=asked.impi,
            rand=asked.rand,
            expires=float(int(self._clock() + self._lifetime)),
            ks=bootstrapped_key(asked.vector.ck, asked.vector.ik),
        )
        self._store.add_context(context)
        return context
