"""IMS access gateway: RTP streams between an access side and a core side (EDGE-6, EDGE-7, EDGE-9).

    UE  <--SRTP-->  access pair | stream | core pair  <--RTP-->  far end

A stream passes nothing until the ALG has said how: opening and protecting (e2ae), or untouched (plain and e2e).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from itertools import count

from ueagent.errors import UsageError
from ueagent.lab.capture import Address, Datagram, Side, Tap, Way
from ueagent.lab.sockets import LOOPBACK, UdpPair, address_of
from ueagent.lab.srtp_set import ParameterSet, SrtpStream
from ueagent.model.media import Endpoint


class Passage(StrEnum):
    CLOSED = "closed"
    THROUGH = "through"
    SRTP = "srtp"


class Stream:
    """One RTP stream with its RTCP. Made by `Gateway.open_stream`."""

    def __init__(self, stream_id: int, tap: Tap, now: Callable[[], float]) -> None:
        self.id = stream_id
        self.passage = Passage.CLOSED
        self.srtp: SrtpStream | None = None
        self.counters: Counter[str] = Counter()
        self._tap = tap
        self._now = now
        self._pairs: dict[Side, UdpPair] = {}
        self._remotes: dict[Side, Endpoint | None] = {}

    async def open(self, address: str) -> None:
        """Both pairs of sockets. ResourceError when there are none."""
        self._pairs[Side.ACCESS] = await UdpPair.open(self._from_access, address)
        try:
            self._pairs[Side.CORE] = await UdpPair.open(self._from_core, address)
        except BaseException:
            self.close()
            raise

    @property
    def access(self) -> Endpoint:
        """Where the UE sends."""
        return self._pairs[Side.ACCESS].endpoint

    @property
    def core(self) -> Endpoint:
        """Where the far end sends."""
        return self._pairs[Side.CORE].endpoint

    def set_remote(self, side: Side, remote: Endpoint | None) -> None:
        """Where packets leave to on that side, as signalled; None: nowhere."""
        self._remotes[side] = remote

    def close(self) -> None:
        self.passage = Passage.CLOSED
        for pair in self._pairs.values():
            pair.close()

    def _from_access(self, rtcp: bool, data: bytes, source: Address) -> None:
        self._tapped(Side.ACCESS, Way.IN, source, address_of(self.access, rtcp), rtcp, data)
        self._forward(Side.CORE, rtcp, self._opened(data, rtcp))

    def _from_core(self, rtcp: bool, data: bytes, source: Address) -> None:
        self._tapped(Side.CORE, Way.IN, source, address_of(self.core, rtcp), rtcp, data)
        self._forward(Side.ACCESS, rtcp, self._protected(data, rtcp))

    def _opened(self, data: bytes, rtcp: bool) -> bytes | None:
        return self.srtp.unprotect(data, rtcp) if self.passage is Passage.SRTP and self.srtp else data

    def _protected(self, data: bytes, rtcp: bool) -> bytes | None:
        return self.srtp.protect(data, rtcp) if self.passage is Passage.SRTP and self.srtp else data

    def _forward(self, side: Side, rtcp: bool, data: bytes | None) -> None:
        remote = self._remotes.get(side)
        if self.passage is Passage.CLOSED or remote is None:
            self.counters["dropped"] += 1
        elif data is not None:
            self.counters[f"{'rtcp' if rtcp else 'packets'}_to_{side}"] += 1
            pair = self._pairs[side]
            pair.send(rtcp, data, remote)
            self._tapped(side, Way.OUT, address_of(pair.endpoint, rtcp), address_of(remote, rtcp), rtcp, data)

    def _tapped(self, side: Side, way: Way, source: Address, to: Address, rtcp: bool, data: bytes) -> None:
        self._tap.record(Datagram(self._now(), side, way, source, to, rtcp, data))


class Gateway:
    """Opens streams and keys them by number. `now` gives seconds since 1970 for the tap."""

    def __init__(self, tap: Tap, now: Callable[[], float], address: str = LOOPBACK) -> None:
        self._tap = tap
        self._now = now
        self._address = address
        self._streams: dict[int, Stream] = {}
        self._numbers = count(1)

    async def open_stream(self) -> Stream:
        """Two pairs of sockets. ResourceError when there are none."""
        stream = Stream(next(self._numbers), self._tap, self._now)
        await stream.open(self._address)
        self._streams[stream.id] = stream
        return stream

    def pass_through(self, stream_id: int) -> None:
        stream = self.stream(stream_id)
        stream.passage, stream.srtp = Passage.THROUGH, None

    def set_keys(
        self, stream_id: int, rx: ParameterSet | None, tx: ParameterSet | None, *, reset_roc: bool = False
    ) -> None:
        """Key a stream, or re-key the directions that are given."""
        stream = self.stream(stream_id)
        if stream.srtp is not None:
            stream.srtp.new_keys(rx, tx)
        elif rx is None or tx is None:
            raise UsageError("half_keyed", f"stream {stream_id} needs both parameter sets")
        else:
            stream.srtp = SrtpStream(rx, tx, reset_roc=reset_roc)
        stream.passage = Passage.SRTP

    def stream(self, stream_id: int) -> Stream:
        found = self._streams.get(stream_id)
        if found is None:
            raise UsageError("no_such_stream", f"no stream has the number {stream_id}")
        return found

    def close_stream(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            stream.close()

    def close(self) -> None:
        for stream_id in list(self._streams):
            self.close_stream(stream_id)
