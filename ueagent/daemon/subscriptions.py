"""Queues between things that happen and clients that may read slowly: bounded, losses counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import Struct


class EventQueue:
    """What one subscriber has not read yet. When `limit` items wait, further ones are counted instead of kept.

    `first` is sent at once: it says that the subscription stands. The count is told, as `lost(count)`, in the place
    where the items are missing.
    """

    def __init__(self, limit: int, first: Struct, lost: Callable[[int], Struct]) -> None:
        self.first = first
        self._limit = limit
        self._make_lost = lost
        self._items: deque[Struct] = deque()
        self._missing = 0
        self._closed = False
        self._wake = asyncio.Event()
        self._on_close: list[Callable[[], None]] = []

    def put(self, item: Struct) -> None:
        if self._closed:
            return
        if len(self._items) >= self._limit:
            self._missing += 1
            return
        if self._missing:
            self._items.append(self._make_lost(self._missing))
            self._missing = 0
        self._items.append(item)
        self._wake.set()

    async def get(self) -> Struct | None:
        """The oldest item, or None when the queue is closed and empty."""
        while True:
            if self._items:
                return self._items.popleft()
            if self._missing:
                missing, self._missing = self._missing, 0
                return self._make_lost(missing)
            if self._closed:
                return None
            self._wake.clear()
            await self._wake.wait()

    def when_closed(self, done: Callable[[], None]) -> None:
        self._on_close.append(done)

    def close(self) -> None:
        """No more items. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        for done in self._on_close:
            done()
