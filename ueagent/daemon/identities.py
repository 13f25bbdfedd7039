"""Our certificates: one key pair for each binding, and one for each session that has none. DTLS-28.

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
        self._made: dict[tuple[int, str], asyncio.Task[Identity]] = {}

    async def of(self, uid: int, binding: str | None) -> Identity:
        """The identity of a user's binding, or a fresh one. AgentError: the library lacks something."""
        if binding is None:
            return await asyncio.to_thread(_create)
        task = self._made.get((uid, binding))
        if task is None or (task.done() and task.exception() is not None):
            task = self._made[uid, binding] = asyncio.create_task(asyncio.to_thread(_create))
        return await asyncio.shield(task)  # others may wait for it

    def remove(self, uid: int, binding: str) -> None:
        """The next registration of that name shows another certificate; calls that last keep theirs."""
        self._made.pop((uid, binding), None)


def _create() -> Identity:
    from ueagent.channel.channel import warm_up
    from ueagent.channel.credentials import Identity
    from ueagent.crypto.certificate import create_self_signed

    identity = Identity(create_self_signed(datetime.now(UTC), os.urandom))
    warm_up(identity)
    return identity
