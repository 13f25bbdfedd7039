"""Who has which sessions, bindings and subscriptions. The owner of each is a UID; other users find nothing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ueagent.daemon.config import IpcConfig
from ueagent.daemon.ipc_server import Connection
from ueagent.daemon.stream_lines import Line
from ueagent.daemon.subscriptions import EventQueue
from ueagent.errors import ResourceError, UsageError
from ueagent.ipc import api
from ueagent.negotiation.access_edge import EdgeProfile, Registration
from ueagent.session.effects import ReplyDone, ReplyError, ReplySdp
from ueagent.session.session import Session

_MAX_NAME: Final = 256  # characters of a binding's name


@dataclass(slots=True, eq=False)
class Entry:
    """One dialog and what the daemon knows about it. `connection` is None for a detached one."""

    id: str
    uid: int
    session: Session
    binding: str | None
    connection: Connection | None
    began: float
    legs: dict[int, int] = field(default_factory=dict)  # m-line -> leg of the relay
    streams: dict[int, Line] = field(default_factory=dict)  # m-line of MSRP, BFCP or T.38 -> its sockets
    waiter: asyncio.Future[ReplySdp | ReplyDone | ReplyError] | None = None  # of a command that waits for a KMS
    asking: dict[int | None, asyncio.Task[None]] = field(default_factory=dict)  # requests to the KMS, by bundle


class Sessions:
    def __init__(self, limits: IpcConfig) -> None:
        self._limits = limits
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, uid: int, session: Session, binding: str | None, connection: Connection | None, now: float) -> Entry:
        """A new entry under an unpredictable name."""
        entry = Entry(secrets.token_hex(8), uid, session, binding, connection, now)
        self._entries[entry.id] = entry
        return entry

    def check_room(self, uid: int) -> None:
        """ResourceError when one more session of this user would be too many."""
        mine = sum(entry.uid == uid for entry in self._entries.values())
        if len(self._entries) >= self._limits.max_sessions or mine >= self._limits.max_sessions_per_user:
            raise ResourceError("too_many_sessions", "release a session first", sip_status_hint=486)

    def of(self, uid: int) -> list[Entry]:
        return [entry for entry in self if entry.uid == uid]

    def find(self, uid: int, name: str) -> Entry:
        """UsageError `no_such_session`, the same for one that never was and one of another user."""
        entry = self._entries.get(name)
        if entry is None or entry.uid != uid:
            raise UsageError("no_such_session", "this user has no session of that name", field="session")
        return entry

    def remove(self, entry: Entry) -> None:
        self._entries.pop(entry.id, None)


class Bindings:
    """Registration agreements, by user and name of the binding."""

    def __init__(self, profile: EdgeProfile, limits: IpcConfig) -> None:
        self._profile = profile
        self._limit = limits.max_bindings_per_user
        self._found: dict[tuple[int, str], Registration] = {}

    def find(self, uid: int, name: str) -> Registration | None:
        """UsageError: not a name."""
        _check_name(name)
        return self._found.get((uid, name))

    def find_or_add(self, uid: int, name: str) -> Registration:
        """UsageError: not a name; ResourceError: too many of this user."""
        found = self.find(uid, name)
        if found is None:
            if sum(owner == uid for owner, _ in self._found) >= self._limit:
                raise ResourceError("too_many_bindings", "release a binding first", field="binding")
            found = self._found[uid, name] = Registration(self._profile)
        return found

    def remove(self, uid: int, name: str) -> None:
        """UsageError: there is none."""
        found = self._found.pop((uid, name), None)
        if found is None:
            raise UsageError("no_such_binding", "this user has no binding of that name", field="binding")
        found.release()


def _check_name(name: str) -> None:
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise UsageError("bad_binding", f"a binding's name has 1 to {_MAX_NAME} characters", field="binding")


class Subscribers:
    """Where events go: to the queues of the session's owner."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queues: dict[EventQueue, tuple[int, str | None]] = {}

    def add(self, uid: int, session: str | None) -> EventQueue:
        queue = EventQueue(self._limit, api.SubscribeReply(), _lost(session or ""))
        self._queues[queue] = (uid, session)
        queue.when_closed(lambda: self._forget(queue))
        return queue

    def publish(self, uid: int, event: api.Event) -> None:
        """To all who may see it. A subscription to one session ends with it."""
        for queue, (owner, session) in list(self._queues.items()):
            if owner == uid and session in (None, event.session):
                queue.put(api.SubscribeReply(event=event))
                if event.kind == "session_gone" and session is not None:
                    queue.close()

    def tell_all(self, event: api.Event) -> None:
        """What is of no session, to everybody who does not ask for one alone."""
        for queue, (_, session) in list(self._queues.items()):
            if session is None:
                queue.put(api.SubscribeReply(event=event))

    def close(self) -> None:
        for queue in list(self._queues):
            queue.close()

    def _forget(self, queue: EventQueue) -> None:
        self._queues.pop(queue, None)


def _lost(session: str) -> Callable[[int], api.SubscribeReply]:
    return lambda count: api.SubscribeReply(event=api.Event(kind="events_lost", session=session, count=count))
