"""Our certificates: one key pair for each binding, and one for each session that has none. DTLS-28, T38-8.

They are made when first needed and in a worker thread: the certificate and TLS libraries are loaded there, too, so that
an agent without calls that need them never does. Whoever holds an identity keeps it alive; its keys are wiped when
nobody does.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ueagent.channel.credentials import Identity


class Identities:
    def __init__(self) -> None:
        self._made: dict[tuple[int, str, bool], asyncio.Task[Identity]] = {}

    async def of(self, uid: int, binding: str | None, *, fax: bool = False) -> Identity:
        """The identity of a user's binding, or a fresh one. AgentError: the library lacks something.

        `fax`: with an RSA key pair, too, which takes up to a second to make.
        """
        if binding is None:
            return await self._make(uid, None, fax)
        task = self._made.get((uid, binding, fax))
        if task is None or (task.done() and task.exception() is not None):
            task = self._made[uid, binding, fax] = asyncio.create_task(self._make(uid, binding, fax))
        return await asyncio.shield(task)  # others may wait for it

    async def _make(self, uid: int, binding: str | None, fax: bool) -> Identity:
        """For fax the same certificate as elsewhere, and one more."""
        if fax:
            return await asyncio.to_thread(_add_rsa, await self.of(uid, binding))
        return await asyncio.to_thread(_create)

    def remove(self, uid: int, binding: str) -> None:
        """The next registration of that name shows another certificate; calls that last keep theirs."""
        for fax in (False, True):
            self._made.pop((uid, binding, fax), None)


def _create() -> Identity:
    from ueagent.channel.channel import warm_up
    from ueagent.channel.credentials import Identity
    from ueagent.crypto.certificate import create_self_signed

    identity = Identity(create_self_signed(datetime.now(UTC), os.urandom))
    warm_up(identity)
    return identity


def _add_rsa(identity: Identity) -> Identity:
    from ueagent.channel.channel import warm_up
    from ueagent.channel.credentials import Identity
    from ueagent.crypto.certificate import create_self_signed

    both = Identity(*identity.own, create_self_signed(datetime.now(UTC), os.urandom, "rsa-3072"))
    warm_up(both)
    return both
