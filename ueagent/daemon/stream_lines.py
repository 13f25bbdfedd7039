"""The sockets of MSRP, BFCP and T.38 lines: what sessions want opened, connected and closed, and what came of it.

One object a line. It says what happened by inputs of the session; after `close` it says nothing more.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from types import MappingProxyType
from typing import Final, Protocol

from ueagent.daemon.config import NetworkConfig, StreamConfig
from ueagent.daemon.logs import Log
from ueagent.errors import AgentError, PeerError, ResourceError, UsageError
from ueagent.model.media import Endpoint, MediaKind, Place
from ueagent.session.commands import StreamEnded, StreamSecured
from ueagent.session.effects import ConnectStream, OpenStream

Tell = Callable[[StreamSecured | StreamEnded], None]

LOOPBACK: Final = MappingProxyType({4: "127.0.0.1", 6: "::1"})
ENDED: Final = "ended"


class Line(Protocol):
    """What the runner works with."""

    @property
    def network(self) -> Endpoint: ...
    @property
    def loopback(self) -> Endpoint: ...
    def set_dialer(self, dialer: Place) -> None: ...
    def attach(self, sock: socket.socket) -> None:
        """A descriptor that the dialer passed. UsageError: not here, or not now."""

    def connect(self, wanted: ConnectStream) -> None:
        """What there was is reset."""

    def close(self) -> None:
        """Idempotent. Connections are reset."""


class StreamLines:
    def __init__(self, network: NetworkConfig, streams: StreamConfig, log: Log) -> None:
        self._network = network
        self._config = streams
        self._log = log
        self._open: set[Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, wanted: OpenStream, tell: Tell) -> Line:
        """ResourceError: no port, no address of that family, or too many lines."""
        if len(self._open) >= self._config.max_lines:
            raise ResourceError("no_relay", "too many lines of MSRP, BFCP and T.38")
        address = self._network.address if wanted.family == 4 else self._network.address6
        if address is None:
            raise ResourceError("no_relay", "this agent has no IPv6 address for media")
        line: Line
        if wanted.kind is MediaKind.UDPTL:
            line = FaxLine(wanted, address, tell, self._open.discard)
        else:
            tcp = wanted.kind is MediaKind.MSRP or self._config.bfcp_tcp
            line = ConnectionLine(wanted, address, tcp, tell, self._open.discard, self._start, self._log)
        self._open.add(line)
        return line

    async def close(self) -> None:
        """When every line is closed: until nothing of them is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, carrying: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(carrying)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class ConnectionLine:
    """MSRP or BFCP. `tcp`: the dialer may come, or be called, on loopback; a descriptor it may always pass."""

    def __init__(
        self,
        wanted: OpenStream,
        address: str,
        tcp: bool,
        tell: Tell,
        closed: Callable[[Line], None],
        start: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        log: Log,
    ) -> None:
        from ueagent.daemon.stream_dialer import DialerSeat  # with these comes the TLS library
        from ueagent.daemon.stream_network import StreamNetwork

        self._number = wanted.leg
        self._tell: Tell | None = tell
        self._closed = closed
        self._start = start
        self._log = log
        self._running: asyncio.Task[None] | None = None
        self._network = StreamNetwork(address)
        try:
            self._dialer = DialerSeat(wanted.session_id, tcp=tcp)
        except BaseException:
            self._network.close()
            raise

    @property
    def network(self) -> Endpoint:
        return _one_port(self._network.place)

    @property
    def loopback(self) -> Endpoint:
        return _one_port(self._dialer.place)

    def set_dialer(self, dialer: Place) -> None:
        self._dialer.listens_at(dialer)

    def attach(self, sock: socket.socket) -> None:
        self._dialer.attach(sock)

    def connect(self, wanted: ConnectStream) -> None:
        former = self._running
        if former is not None:
            former.cancel()
        self._running = self._start(self._run(wanted, former))

    def close(self) -> None:
        if self._tell is None:
            return
        self._tell = None
        if self._running is not None:
            self._running.cancel()
        self._network.close()
        self._dialer.close()
        self._closed(self)

    async def _run(self, wanted: ConnectStream, former: asyncio.Task[None] | None) -> None:
        from ueagent.channel.credentials import PskCredentials
        from ueagent.daemon.pumps import DialerGone, StreamPump

        try:
            if former is not None:
                await asyncio.wait({former})
            self._dialer.calls = wanted.calls_dialer
            pump = StreamPump(self._network, self._dialer, wanted.paths)
            await pump.run(wanted.terms, wanted.credentials, self._secured)
        except DialerGone:
            self._ended("dialer_gone")
        except AgentError as error:
            self._ended(error.code)
        except Exception as error:  # a bug ends this line and not the agent
            self._log.failure("stream_failed", error, line=self._number)
            self._ended("internal_error")
        else:
            self._ended(ENDED)
        finally:
            if isinstance(wanted.credentials, PskCredentials):
                wanted.credentials.key.wipe()

    def _secured(self, cipher: str | None) -> None:
        if self._tell is not None:
            self._tell(StreamSecured(self._number, cipher))

    def _ended(self, reason: str) -> None:
        if self._tell is not None:
            self._tell(StreamEnded(self._number, reason))


class FaxLine:
    """T.38."""

    def __init__(self, wanted: OpenStream, address: str, tell: Tell, closed: Callable[[Line], None]) -> None:
        from ueagent.daemon.datagram_pump import DatagramPump  # with it comes the TLS library

        assert wanted.means is not None
        self._number = wanted.leg
        self._tell: Tell | None = tell
        self._closed = closed
        self._pump = DatagramPump(wanted.means, address, LOOPBACK[wanted.loopback_family], self._report)

    @property
    def network(self) -> Endpoint:
        return _one_port(self._pump.network)

    @property
    def loopback(self) -> Endpoint:
        return _one_port(self._pump.loopback)

    def set_dialer(self, dialer: Place) -> None:
        self._pump.set_dialer(dialer)

    def attach(self, sock: socket.socket) -> None:
        sock.close()
        raise UsageError("bad_descriptor", "T.38 has no stream to attach", field="line")

    def connect(self, wanted: ConnectStream) -> None:
        self._pump.agree(wanted.terms)

    def close(self) -> None:
        if self._tell is None:
            return
        self._tell = None
        self._pump.close()
        self._closed(self)

    def _report(self, failure: PeerError | None) -> None:
        """Later: an early hello may have finished its handshake while the session still gives orders."""
        asyncio.get_running_loop().call_soon(self._say, failure)

    def _say(self, failure: PeerError | None) -> None:
        if self._tell is None:
            return
        if failure is None:
            self._tell(StreamSecured(self._number, self._pump.cipher))
        else:
            self._tell(StreamEnded(self._number, failure.code))


def _one_port(place: Place) -> Endpoint:
    return Endpoint(place.address, place.port, place.port)
