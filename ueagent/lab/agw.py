"""IMS access gateway: RTP streams between an access side and a core side (EDGE-6, EDGE-7, EDGE-9, EDGE-11, EDGE-16).

    UE  <--SRTP-->  access pair | stream | core pair  <--RTP-->  far end

A stream passes nothing until the ALG has said how: opening and protecting (e2ae), or untouched (plain and e2e). With
DTLS-SRTP it passes nothing until the handshake is through: one for RTP and one for RTCP, each on its port (DTLS-15), or
one for both where the UE offered rtcp-mux.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import count
from typing import Final

from ueagent.crypto.certificate import SelfSigned, create_self_signed
from ueagent.errors import UsageError
from ueagent.lab.capture import Address, Datagram, Side, Tap, Way
from ueagent.lab.dtls_agw import PROFILES as DTLS_SUITES
from ueagent.lab.dtls_agw import DtlsOrder, DtlsPort
from ueagent.lab.sockets import LOOPBACK, UdpPair, address_of
from ueagent.lab.srtp_set import ParameterSet, SrtpStream
from ueagent.model.media import Endpoint

_DTLS: Final = range(20, 64)  # first octet (RFC 7983)
_RTCP: Final = range(192, 224)  # second octet (RFC 5761, 4)
_KEPT: Final = 16  # datagrams of a handshake that begins before the ALG has said anything


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
        self.rtcp_srtp: SrtpStream | None = None  # where RTCP has keys of its own
        self.counters: Counter[str] = Counter()
        self._tap = tap
        self._now = now
        self._pairs: dict[Side, UdpPair] = {}
        self._remotes: dict[Side, Endpoint | None] = {}
        self._order: DtlsOrder | None = None
        self._dtls: dict[bool, DtlsPort] = {}
        self.ready = asyncio.Event()  # it passes packets, with keys where it needs them
        self._early: list[tuple[bool, bytes]] = []

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
        self.end_dtls()
        for pair in self._pairs.values():
            pair.close()

    def begin_dtls(
        self, order: DtlsOrder, own: SelfSigned, suites: Sequence[str], failed: Callable[[str], None]
    ) -> None:
        """A handshake for each port, unless this order is in force. Keys that hold go on until there are new ones."""
        if order == self._order:
            return
        self.end_dtls()
        self.ready.clear()
        self._order = order
        waiting = {False} if order.mux else {False, True}
        for rtcp in sorted(waiting):
            self._dtls[rtcp] = self._port(rtcp, order, own, suites, failed, waiting)
        early, self._early = self._early, []
        for port in self._dtls.values():
            port.start()
        for rtcp, data in early:
            if rtcp in self._dtls:
                self._dtls[rtcp].feed(data)

    def end_dtls(self) -> None:
        for port in self._dtls.values():
            port.close()
        self._dtls.clear()
        self._order = None

    def _port(
        self,
        rtcp: bool,
        order: DtlsOrder,
        own: SelfSigned,
        suites: Sequence[str],
        failed: Callable[[str], None],
        waiting: set[bool],
    ) -> DtlsPort:
        def send(data: bytes) -> None:
            remote = self._remotes.get(Side.ACCESS)
            if remote is not None:
                self._pairs[Side.ACCESS].send(rtcp, data, remote)
                here, there = address_of(self.access, rtcp), address_of(remote, rtcp)
                self._tapped(Side.ACCESS, Way.OUT, here, there, rtcp, data)

        def keyed(rx: ParameterSet, tx: ParameterSet) -> None:
            waiting.discard(rtcp)
            if not waiting:
                self.ready.set()
            held = self.rtcp_srtp if rtcp else self.srtp
            if held is not None:
                held.new_keys(rx, tx)
            elif rtcp:
                self.rtcp_srtp = SrtpStream(rx, tx)
            else:
                self.srtp = SrtpStream(rx, tx)

        return DtlsPort(own, order, suites, send, keyed, failed)

    def _took_dtls(self, data: bytes, rtcp: bool) -> bool:
        """Whether this was part of a handshake with us. One that nobody expects yet is kept for a while."""
        if self.passage is Passage.THROUGH or not data or data[0] not in _DTLS:
            return False
        port = self._dtls.get(rtcp)
        if port is not None:
            port.feed(data)
        elif len(self._early) < _KEPT:
            self._early.append((rtcp, data))
        return True

    def _from_access(self, rtcp: bool, data: bytes, source: Address) -> None:
        self._tapped(Side.ACCESS, Way.IN, source, address_of(self.access, rtcp), rtcp, data)
        if self._muxed and len(data) > 1 and data[1] in _RTCP and data[0] not in _DTLS:
            rtcp = True
        if not self._took_dtls(data, rtcp):
            self._forward(Side.CORE, rtcp, self._opened(data, rtcp))

    def _from_core(self, rtcp: bool, data: bytes, source: Address) -> None:
        self._tapped(Side.CORE, Way.IN, source, address_of(self.core, rtcp), rtcp, data)
        self._forward(Side.ACCESS, rtcp, self._protected(data, rtcp))

    def _opened(self, data: bytes, rtcp: bool) -> bytes | None:
        if self.passage is not Passage.SRTP:
            return data
        srtp = self._contexts(rtcp)
        if srtp is None:
            self.counters["before_keys"] += 1
        return None if srtp is None else srtp.unprotect(data, rtcp)

    def _protected(self, data: bytes, rtcp: bool) -> bytes | None:
        if self.passage is not Passage.SRTP:
            return data
        srtp = self._contexts(rtcp)
        if srtp is None:
            self.counters["before_keys"] += 1
        return None if srtp is None else srtp.protect(data, rtcp)

    def _contexts(self, rtcp: bool) -> SrtpStream | None:
        return self.rtcp_srtp if rtcp and self._order is not None and not self._muxed else self.srtp

    @property
    def _muxed(self) -> bool:
        """RTP and RTCP share a port on the access side."""
        return self._order is not None and self._order.mux

    def _forward(self, side: Side, rtcp: bool, data: bytes | None) -> None:
        remote = self._remotes.get(side)
        if self.passage is Passage.CLOSED or remote is None:
            self.counters["dropped"] += 1
        elif data is not None:
            self.counters[f"{'rtcp' if rtcp else 'packets'}_to_{side}"] += 1
            pair = self._pairs[side]
            own_port = rtcp and not (self._muxed and side is Side.ACCESS)
            pair.send(own_port, data, remote)
            self._tapped(side, Way.OUT, address_of(pair.endpoint, own_port), address_of(remote, own_port), rtcp, data)

    def _tapped(self, side: Side, way: Way, source: Address, to: Address, rtcp: bool, data: bytes) -> None:
        self._tap.record(Datagram(self._now(), side, way, source, to, rtcp, data))


class Gateway:
    """Opens streams and keys them by number. `now` gives seconds since 1970 for the tap.

    `lost` hears of streams that got no association, and why (EDGE-16). One certificate serves all streams.
    """

    def __init__(
        self,
        tap: Tap,
        now: Callable[[], float],
        address: str = LOOPBACK,
        *,
        rng: Callable[[int], bytes] = secrets.token_bytes,
        lost: Callable[[int, str], None] = lambda stream_id, reason: None,
    ) -> None:
        self.certificate = create_self_signed(datetime.fromtimestamp(now(), UTC), rng)
        self._lost = lost
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
        stream.end_dtls()
        stream.passage, stream.srtp, stream.rtcp_srtp = Passage.THROUGH, None, None
        stream.ready.set()

    def set_keys(
        self, stream_id: int, rx: ParameterSet | None, tx: ParameterSet | None, *, reset_roc: bool = False
    ) -> None:
        """Key a stream, or re-key the directions that are given."""
        stream = self.stream(stream_id)
        stream.end_dtls()
        stream.rtcp_srtp = None
        if stream.srtp is not None:
            stream.srtp.new_keys(rx, tx)
        elif rx is None or tx is None:
            raise UsageError("half_keyed", f"stream {stream_id} needs both parameter sets")
        else:
            stream.srtp = SrtpStream(rx, tx, reset_roc=reset_roc)
        stream.passage = Passage.SRTP
        stream.ready.set()

    def expect_dtls(self, stream_id: int, order: DtlsOrder, suites: Sequence[str]) -> None:
        """Key a stream by handshakes. Until they are through it passes nothing, or goes on with the keys it has."""
        stream = self.stream(stream_id)

        def failed(reason: str) -> None:
            if stream.passage is not Passage.CLOSED:
                stream.passage = Passage.CLOSED
                stream.counters["dtls_failures"] += 1
                stream.end_dtls()
                self._lost(stream_id, reason)

        stream.passage = Passage.SRTP
        stream.begin_dtls(order, self.certificate, [suite for suite in suites if suite in DTLS_SUITES], failed)

    def hold_dtls(self, stream_id: int) -> None:
        """Neither keys nor handshake: the gateway stays silent (EDGE-17)."""
        stream = self.stream(stream_id)
        stream.end_dtls()
        stream.ready.clear()
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
        self.certificate.wipe()
