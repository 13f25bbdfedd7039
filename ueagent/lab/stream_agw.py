"""TLS of MSRP and BFCP and DTLS of T.38 in the access gateway, by pyOpenSSL (EDGE-13, EDGE-14, EDGE-16).

It shares no code with the agent's own channels, so that every lab call is an interop test. The core's side is plain.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from OpenSSL import SSL

from ueagent.crypto.certificate import SelfSigned
from ueagent.lab.capture import Side
from ueagent.lab.dtls_agw import DtlsOrder, DtlsPort, context_of, reason_of
from ueagent.lab.sockets import LOOPBACK
from ueagent.model.media import Endpoint, MediaKind
from ueagent.model.security import Fingerprint

PATIENCE: Final = 15.0  # seconds for both connections
MAX_WIRE: Final = 1 << 20  # octets of the access side that are kept
_READ: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class BridgeOrder:
    """What the ALG says of a line. `ue_opens`: the UE opens the connection, and the gateway that to the core.

    `client`: the gateway sends the ClientHello.
    """

    ue_opens: bool
    client: bool
    fingerprints: tuple[Fingerprint, ...]
    ids: tuple[str | None, str | None] = (None, None)


class Bridge(Protocol):
    """One line. `ready` when both sides are connected; `wire` is what crossed the access, octets of TLS or DTLS."""

    ready: asyncio.Event
    wire: bytearray

    @property
    def access(self) -> Endpoint: ...
    @property
    def core(self) -> Endpoint: ...
    def set_remote(self, side: Side, remote: Endpoint | None) -> None: ...
    def perform(self, order: BridgeOrder) -> None:
        """Another order than the last one means another connection."""

    def close(self) -> None: ...


def open_bridge(kind: MediaKind, own: SelfSigned, failed: Callable[[str], None], address: str = LOOPBACK) -> Bridge:
    """With ports on both sides; `failed` is told why there is no connection."""
    return FaxBridge(own, failed, address) if kind is MediaKind.UDPTL else TlsBridge(own, failed, address)


class TlsBridge:
    def __init__(self, own: SelfSigned, failed: Callable[[str], None], address: str) -> None:
        self.ready = asyncio.Event()
        self.wire = bytearray()
        self._own = own
        self._failed = failed
        self._listeners = {side: _listening(address) for side in Side}
        self._remotes: dict[Side, Endpoint | None] = {}
        self._order: tuple[BridgeOrder, Endpoint | None] | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def access(self) -> Endpoint:
        return _endpoint(self._listeners[Side.ACCESS])

    @property
    def core(self) -> Endpoint:
        return _endpoint(self._listeners[Side.CORE])

    def set_remote(self, side: Side, remote: Endpoint | None) -> None:
        self._remotes[side] = remote

    def perform(self, order: BridgeOrder) -> None:
        where = self._remotes.get(Side.CORE if order.ue_opens else Side.ACCESS)
        if where is None or (order, where) == self._order:
            return
        self._order = order, where
        if self._running is not None:
            self._running.cancel()
        self.ready.clear()
        self._running = asyncio.create_task(self._carry(order))

    def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
        for listener in self._listeners.values():
            listener.close()

    async def _carry(self, order: BridgeOrder) -> None:
        sides: list[socket.socket] = []
        tasks: list[asyncio.Task[bytes] | asyncio.Task[socket.socket]] = []
        try:
            async with asyncio.timeout(PATIENCE):
                sides.append(await self._connected(Side.ACCESS, opens=not order.ue_opens))
                tls = _Tls(sides[0], context_of(self._own, order.fingerprints), self.wire, client=order.client)
                await tls.handshake()
                first = asyncio.create_task(tls.receive())  # in TLS 1.3 a client learns of its refusal only here
                core = asyncio.create_task(self._connected(Side.CORE, opens=order.ue_opens))
                tasks += [first, core]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if first.done():
                    first.result()
                sides.append(await core)
            self.ready.set()
            await asyncio.gather(_from_core(sides[1], tls), _from_ue(first, tls, sides[1]))
        except TimeoutError:
            self._failed("no TLS connection in time")
        except (SSL.Error, OSError) as error:
            self._failed(reason_of(error) if isinstance(error, SSL.Error) else str(error.strerror or error))
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, socket.socket):
                    outcome.close()
            for sock in sides:
                sock.close()

    async def _connected(self, side: Side, *, opens: bool) -> socket.socket:
        loop = asyncio.get_running_loop()
        if not opens:
            sock, _ = await loop.sock_accept(self._listeners[side])
            sock.setblocking(False)
            return sock
        remote = self._remotes[side]
        assert remote is not None  # perform() has looked
        sock = socket.socket(self._listeners[side].family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await loop.sock_connect(sock, (remote.address, remote.rtp_port))
        except BaseException:
            sock.close()
            raise
        return sock


class _Tls:
    """TLS over one TCP connection."""

    def __init__(self, sock: socket.socket, context: SSL.Context, wire: bytearray, *, client: bool) -> None:
        self._socket = sock
        self._wire = wire
        self._writing = asyncio.Lock()
        self._connection = SSL.Connection(context)
        if client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    async def handshake(self) -> None:
        while True:
            try:
                self._connection.do_handshake()
            except SSL.WantReadError:
                await self._flush()
                await self._fill()
                continue
            except SSL.Error:
                await self._flush()
                raise
            await self._flush()
            return

    async def receive(self) -> bytes:
        """Empty after the UE's close_notify."""
        while True:
            try:
                return self._connection.recv(_READ)
            except SSL.WantReadError:
                await self._flush()
                await self._fill()
            except SSL.ZeroReturnError:
                return b""

    async def send(self, data: bytes) -> None:
        self._connection.sendall(data)
        await self._flush()

    async def finish(self) -> None:
        self._connection.shutdown()
        await self._flush()
        self._socket.shutdown(socket.SHUT_WR)

    async def _fill(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, _READ)
        if not data:
            raise ConnectionResetError("the UE closed without a goodbye")
        self._keep(data)
        self._connection.bio_write(data)

    async def _flush(self) -> None:
        async with self._writing:
            with suppress(SSL.WantReadError):
                while data := self._connection.bio_read(_READ):
                    self._keep(data)
                    await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def _keep(self, data: bytes) -> None:
        self._wire += data[: max(0, MAX_WIRE - len(self._wire))]


async def _from_core(core: socket.socket, tls: _Tls) -> None:
    while data := await asyncio.get_running_loop().sock_recv(core, _READ):
        await tls.send(data)
    await tls.finish()


async def _from_ue(first: asyncio.Task[bytes], tls: _Tls, core: socket.socket) -> None:
    data = await first
    while data:
        await asyncio.get_running_loop().sock_sendall(core, data)
        data = await tls.receive()
    core.shutdown(socket.SHUT_WR)


class FaxBridge:
    def __init__(self, own: SelfSigned, failed: Callable[[str], None], address: str) -> None:
        self.ready = asyncio.Event()
        self.wire = bytearray()
        self._own = own
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._sockets = {side: _bound(address) for side in Side}
        self._remotes: dict[Side, Endpoint | None] = {}
        self._port: _FaxPort | None = None
        self._order: BridgeOrder | None = None
        self._early: list[bytes] = []  # hellos before the order
        self._loop.add_reader(self._sockets[Side.ACCESS], self._from_ue)
        self._loop.add_reader(self._sockets[Side.CORE], self._from_core)

    @property
    def access(self) -> Endpoint:
        return _endpoint(self._sockets[Side.ACCESS])

    @property
    def core(self) -> Endpoint:
        return _endpoint(self._sockets[Side.CORE])

    def set_remote(self, side: Side, remote: Endpoint | None) -> None:
        self._remotes[side] = remote

    def perform(self, order: BridgeOrder) -> None:
        if order == self._order:
            return
        self._order = order
        if self._port is not None:
            self._port.close()
        self.ready.clear()
        said = DtlsOrder(order.client, order.fingerprints, order.ids)
        self._port = _FaxPort(self._own, said, self._to_ue, self._to_core, self.ready.set, self._failed)
        self._port.start()
        for datagram in self._early:
            self._port.feed(datagram)
        self._early.clear()

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
        for sock in self._sockets.values():
            self._loop.remove_reader(sock)
            sock.close()

    def _from_ue(self) -> None:
        with suppress(OSError):
            while True:
                data = self._sockets[Side.ACCESS].recv(_READ)
                self.wire += data[: max(0, MAX_WIRE - len(self.wire))]
                if self._port is not None:
                    self._port.feed(data)
                elif len(self._early) < 8:
                    self._early.append(data)

    def _from_core(self) -> None:
        with suppress(OSError):
            while True:
                data = self._sockets[Side.CORE].recv(_READ)
                if self._port is not None and self.ready.is_set():
                    self._port.send(data)

    def _to_ue(self, data: bytes) -> None:
        self.wire += data[: max(0, MAX_WIRE - len(self.wire))]
        self._send(Side.ACCESS, data)

    def _to_core(self, data: bytes) -> None:
        self._send(Side.CORE, data)

    def _send(self, side: Side, data: bytes) -> None:
        remote = self._remotes.get(side)
        if remote is not None:
            with suppress(OSError):  # as lost as any datagram
                self._sockets[side].sendto(data, (remote.address, remote.rtp_port))


class _FaxPort(DtlsPort):
    """An association that carries datagrams of its own."""

    def __init__(
        self,
        own: SelfSigned,
        order: DtlsOrder,
        send: Callable[[bytes], None],
        received: Callable[[bytes], None],
        ready: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        super().__init__(own, order, (), send, lambda rx, tx: None, failed)
        self._deliver = received
        self._ready = ready

    def send(self, data: bytes) -> None:
        self._connection.send(data)
        self._flush()

    def _finish(self) -> None:
        self.close()
        self._ready()

    def _received(self, data: bytes) -> None:
        self._deliver(data)


def _listening(address: str) -> socket.socket:
    listener = socket.socket(_family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.bind((address, 0))
    listener.listen(4)
    return listener


def _bound(address: str) -> socket.socket:
    sock = socket.socket(_family(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind((address, 0))
    return sock


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _endpoint(sock: socket.socket) -> Endpoint:
    address, port, *_ = sock.getsockname()
    return Endpoint(address, port, port)
