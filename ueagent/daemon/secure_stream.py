"""One TCP connection towards the network with TLS on it: MSRP-7, MSRP-13, BFCP-4, BFCP-8.

Nothing is read before somebody asks for it, and nothing is accepted before the kernel has taken what was before, so
memory stays flat whatever passes. A stream that ends without close_notify has been cut (RFC 8446, 6.1).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

from ueagent.channel.channel import SecureChannel, State
from ueagent.errors import PeerError

CHUNK: Final = 1 << 16
MAX_OWED: Final = 1 << 16  # octets that a reader has made due; a peer that makes more does not mean well

ACCEPT_AGAIN: Final = 0.1  # seconds, when the process has no descriptor left

_NO_LINGER: Final = struct.pack("ii", 1, 0)


class NoHello(Exception):
    """The peer said nothing at all: it may wait for us (BFCP-4)."""


class SecureStream:
    """`sock` is connected and does not block. Who gets an error from here calls `abort`."""

    def __init__(self, sock: socket.socket, channel: SecureChannel) -> None:
        self._socket = sock
        self._channel = channel
        self._early: list[bytes] = []
        self._owed: list[bytes] = []
        self._writing = asyncio.Lock()

    async def open(self, patience: float | None = None) -> None:
        """The handshake. PeerError when it fails; NoHello when no octet came within `patience` seconds."""
        loop = asyncio.get_running_loop()
        self._channel.start(loop.time())
        await self._flush()
        while self._channel.state is not State.OPEN:
            try:
                async with asyncio.timeout(patience):
                    data = await loop.sock_recv(self._socket, CHUNK)
            except TimeoutError:
                raise NoHello from None
            patience = None
            if not data:
                raise PeerError("handshake_failed", "the peer closed the connection")
            try:
                self._early += self._channel.feed(data, loop.time())
            finally:
                await self._flush()  # also the alert that tells the peer why

    @property
    def cipher(self) -> str | None:
        """The cipher suite, once it is open."""
        return self._channel.cipher

    async def receive(self) -> bytes:
        """Some plaintext; empty after the peer's close_notify. PeerError: the stream was cut or is not authentic."""
        loop = asyncio.get_running_loop()
        plain = b"".join(self._early)
        self._early.clear()
        while not plain and not self._channel.peer_closed:
            data = await loop.sock_recv(self._socket, CHUNK)
            if not data:
                raise PeerError("truncated", "the connection ended without a goodbye")
            plain = b"".join(self._channel.feed(data, loop.time()))
            self._owed += self._channel.take_output()
            if sum(map(len, self._owed)) > MAX_OWED:
                raise PeerError("flooded", "the peer makes us answer and does not read")
            if self._owed and not self._writing.locked():
                await self._flush()
        return plain

    async def send(self, data: bytes) -> None:
        """Returns when the kernel has all of it."""
        async with self._writing:
            self._channel.send(data)
            await self._write()

    async def finish(self) -> None:
        """We send no more; the peer may."""
        async with self._writing:
            self._channel.finish()
            await self._write()
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._channel.close()
        self._socket.close()

    def abort(self) -> None:
        """The peer shall not take this for an orderly end."""
        reset(self._socket)
        self.close()

    async def _flush(self) -> None:
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        self._owed += self._channel.take_output()
        while self._owed:
            await loop.sock_sendall(self._socket, self._owed.pop(0))


async def accept(listener: socket.socket) -> tuple[socket.socket, str]:
    """The next connection and where it comes from. Who fills our table of descriptors does not close the door."""
    while True:
        try:
            sock, (address, *_) = await asyncio.get_running_loop().sock_accept(listener)
        except OSError:
            if listener.fileno() < 0:
                raise
            await asyncio.sleep(ACCEPT_AGAIN)
        else:
            return sock, address


def reset(sock: socket.socket) -> None:
    """Closing will be a reset, where the kind of socket has such a thing."""
    if sock.family != socket.AF_UNIX and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
