"""Pumps: octets between the dialer's plain connection and the network's secured one. MSRP-1, BFCP-1.

    dialer == plain TCP or UNIX stream == [paths] == SecureStream == TLS == network

Each direction reads only when all of its last piece has been taken, so a slow reader slows the writer and memory stays
flat. An end of one direction is an end of that direction; a reset, or a stream that was cut, ends both at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from ueagent.channel.credentials import Credentials
from ueagent.daemon.secure_stream import CHUNK, SecureStream, reset
from ueagent.daemon.stream_dialer import DialerSide
from ueagent.daemon.stream_network import StreamNetwork
from ueagent.errors import AgentError, PeerError
from ueagent.model.security import ChannelTerms
from ueagent.wire.msrp import MsrpPaths, PathRewriter

_T = TypeVar("_T")


class DialerGone(Exception):
    """The dialer reset its connection; nobody has to be told but the peer."""


class StreamPump:
    """One line's connections. `paths` None: octets pass as they are (BFCP)."""

    def __init__(self, network: StreamNetwork, dialer: DialerSide, paths: MsrpPaths | None = None) -> None:
        self._network = network
        self._dialer = dialer
        self._paths = paths

    async def run(
        self, terms: ChannelTerms, credentials: Credentials, secured: Callable[[str | None], None] = lambda cipher: None
    ) -> None:
        """Until both directions have ended. `secured` is told the cipher suite when the peer has shown who it is.

        PeerError: it has not, or its end broke. DialerGone: the dialer's did. Cancelling resets both ends.
        """
        entering = asyncio.create_task(self._dialer.connection())
        try:
            stream = await self._network.connection(terms, credentials)
        except BaseException:
            entering.cancel()
            with suppress(asyncio.CancelledError, OSError, AgentError):
                sock, _ = await entering
                sock.close()
            raise
        secured(stream.cipher)
        try:
            sock, first = await entering
        except OSError:
            stream.abort()
            raise DialerGone from None
        except BaseException:
            stream.abort()
            raise
        await self._carry(stream, sock, first)

    async def _carry(self, stream: SecureStream, sock: socket.socket, first: bytes) -> None:
        """Both directions; the first that breaks ends the other."""
        directions = [
            asyncio.create_task(_outward(stream, sock, self._change(outward=True), first)),
            asyncio.create_task(_inward(stream, sock, self._change(outward=False))),
        ]
        try:
            await asyncio.gather(*directions)
        except BaseException:
            for task in directions:
                task.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            reset(sock)
            stream.abort()
            raise
        else:
            stream.close()
        finally:
            sock.close()

    def _change(self, *, outward: bool) -> Callable[[bytes], bytes]:
        if self._paths is None:
            return _as_it_is
        return PathRewriter(self._paths.outward if outward else self._paths.inward).feed


def _as_it_is(data: bytes) -> bytes:
    return data


async def _outward(stream: SecureStream, sock: socket.socket, change: Callable[[bytes], bytes], data: bytes) -> None:
    loop = asyncio.get_running_loop()
    while True:
        if data and (changed := change(data)):
            await _of_the_peer(stream.send(changed))
        try:
            data = await loop.sock_recv(sock, CHUNK)
        except OSError:
            raise DialerGone from None
        if not data:
            break
    await _of_the_peer(stream.finish())


async def _inward(stream: SecureStream, sock: socket.socket, change: Callable[[bytes], bytes]) -> None:
    loop = asyncio.get_running_loop()
    while data := await _of_the_peer(stream.receive()):
        changed = change(data)
        try:
            await loop.sock_sendall(sock, changed)
        except OSError:
            raise DialerGone from None
    with suppress(OSError):  # it is gone already, and its other direction says so
        sock.shutdown(socket.SHUT_WR)


async def _of_the_peer(step: Awaitable[_T]) -> _T:
    try:
        return await step
    except OSError as error:
        raise PeerError("connection_reset", f"the peer's connection broke: {error.strerror}") from None
