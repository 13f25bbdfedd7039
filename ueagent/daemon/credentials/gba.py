"""Keys by bootstrapping over Ub with a USIM, which may be software or sit in a modem. KMS-1..8; TS 24.109, 4."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

from ueagent.daemon import http_client
from ueagent.daemon.credentials.provider import KmsCredential
from ueagent.daemon.http_client import Origin
from ueagent.keymgmt.aka import AkaKeys, SyncFailure, Usim
from ueagent.keymgmt.bootstrapping import BootstrappedContext, Bootstrapping
from ueagent.model.http import HttpRequest, HttpResponse

MARGIN: Final = 60.0  # seconds before the end of a key's life at which it is renewed


class GbaCredentials:
    """One bootstrapping serves every KMS until it expires or is refused. `bsf` is the BSF's name, its realm.

    `clock` gives UTC seconds since 1970. The USIM runs in a worker thread: a modem takes its time.
    """

    def __init__(
        self,
        impi: str,
        bsf: str,
        origin: Origin,
        usim: Usim,
        rng: Callable[[int], bytes],
        clock: Callable[[], float],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._impi, self._bsf, self._origin = impi, bsf, origin
        self._usim, self._rng, self._clock, self._tls = usim, rng, clock, tls
        self._context: BootstrappedContext | None = None
        self._busy = asyncio.Lock()  # two calls at a time share one bootstrapping

    async def obtain(self, kms: str) -> KmsCredential:
        async with self._busy:
            if self._context is None or self._context.expires - MARGIN <= self._clock():
                self._forget()
                self._context = await self._bootstrap()
            return KmsCredential(self._context.identifier.encode("ascii"), self._context.key_for(kms))

    def refused(self, identity: bytes) -> bool:
        if self._context is not None and self._context.identifier.encode("ascii") == identity:
            self._forget()
        return True

    def close(self) -> None:
        self._forget()
        self._usim.wipe()

    def _forget(self) -> None:
        if self._context is not None:
            self._context.wipe()
            self._context = None

    async def _bootstrap(self) -> BootstrappedContext:
        run = Bootstrapping(self._impi, self._bsf, self._rng)
        try:
            response = await self._send(run.begin())
            while True:
                challenge = run.challenged(response)
                outcome = await self._authenticate(challenge.rand, challenge.autn)
                response = await self._send(run.respond(outcome))
                if isinstance(outcome, AkaKeys):
                    return run.finish(response, self._clock())
        finally:
            run.close()

    async def _authenticate(self, rand: bytes, autn: bytes) -> AkaKeys | SyncFailure:
        """Given up only when the USIM is done: a thread cannot be stopped, it holds keys, and it writes a file."""
        work = asyncio.ensure_future(asyncio.to_thread(self._usim.authenticate, rand, autn))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            if work.exception() is None and isinstance(outcome := work.result(), AkaKeys):
                outcome.wipe()
            raise

    async def _send(self, request: HttpRequest) -> HttpResponse:
        return await http_client.exchange(self._origin, request, tls=self._tls)
