"""Clock skew and replay of initial MIKEY messages: RFC 3830, 5.4; RFC 6043, 12.4; KMS-51.

Only messages whose MAC was right enter, so that nobody can fill the cache without keys.
"""

from __future__ import annotations

import hashlib
from typing import Final

from ueagent.errors import ResourceError
from ueagent.keymgmt.mikey_errors import MikeyError, refusal
from ueagent.wire.mikey_payloads import Timestamp
from ueagent.wire.mikey_ticket import TS_COUNTER, moment_of

WINDOW: Final = 300.0  # seconds a peer's clock may be off
CAPACITY: Final = 65536


class ReplayCache:
    """Remembers authentic initial messages while their time could still be accepted."""

    def __init__(self, window: float = WINDOW, capacity: int = CAPACITY) -> None:
        self._window = window
        self._capacity = capacity
        self._until: dict[bytes, float] = {}  # digest of a message -> when its time leaves the window
        self._counters: dict[bytes, int] = {}  # peer -> the highest counter

    def __len__(self) -> int:
        return len(self._until)

    def check(self, octets: bytes, time: Timestamp, peer: bytes, now: float) -> None:
        """Error 1 for a time out of the window, a counter that did not grow, or a message that was here before."""
        if time.kind == TS_COUNTER:
            if time.value <= self._counters.get(peer, -1):
                raise refusal(MikeyError.INVALID_TS, "the counter did not grow")
        elif abs(moment_of(time.kind, time.value) - now) > self._window:
            raise refusal(MikeyError.INVALID_TS, f"the time is more than {self._window:.0f} seconds off")
        if self._until.get(hashlib.sha256(octets).digest(), now - 1) >= now:
            raise refusal(MikeyError.INVALID_TS, "the message was here before")

    def remember(self, octets: bytes, time: Timestamp, peer: bytes, now: float) -> None:
        """Keep an authentic message. ResourceError when the cache is full: to forget one would allow its replay."""
        if time.kind == TS_COUNTER:
            self._counters[peer] = time.value
            return
        if len(self._until) >= self._capacity:
            self._until = {digest: until for digest, until in self._until.items() if until >= now}
            if len(self._until) >= self._capacity:
                raise ResourceError("replay_cache_full", f"{self._capacity} messages within {self._window:.0f} seconds")
        self._until[hashlib.sha256(octets).digest()] = moment_of(time.kind, time.value) + self._window


class RateLimit:
    """How many tickets of one sender we resolve: RFC 6043, 12.3; KMS-52."""

    def __init__(self, count: int = 10, seconds: float = 60.0, senders: int = 1024) -> None:
        self._count, self._seconds, self._senders = count, seconds, senders
        self._times: dict[bytes, list[float]] = {}

    def spend(self, sender: bytes, now: float) -> None:
        """ResourceError when `sender` had its share of the last interval."""
        times = [time for time in self._times.pop(sender, []) if now - time < self._seconds]
        self._times[sender] = times
        if len(times) >= self._count:
            raise ResourceError("resolve_rate", f"more than {self._count} tickets in {self._seconds:.0f} seconds")
        times.append(now)
        if len(self._times) > self._senders:
            self._times.pop(next(iter(self._times)))
