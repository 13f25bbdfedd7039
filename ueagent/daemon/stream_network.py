"""How the connection of an MSRP or BFCP line comes about on the network's side: opened or awaited, then secured.

MSRP-7, MSRP-13, BFCP-4, BFCP-8. Whoever is not the peer can connect, too, before and after it: each connection makes
its handshake for itself, the first with the signalled fingerprint is the peer, and all others are let go. A wrong
certificate ends the line when it comes from the peer's own address, or from where we called.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from ueagent.channel.channel import Kind, Role, SecureChannel
from ueagent.channel.credentials import Credentials
from ueagent.daemon.secure_stream import NoHello, SecureStream, accept
from ueagent.errors import AuthenticationFailed, PeerError, ResourceError
from ueagent.model.media import Place
from ueagent.model.security import ChannelTerms

PATIENCE: Final = 15.0  # seconds until the connection is secured; MSRP-13
HELLO_PATIENCE: Final = 3.0  # seconds; BFCP-4
MAX_CANDIDATES: Final = 8
BACKLOG: Final = 8


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds; tests are less patient."""

    whole: float = PATIENCE
    hello: float = HELLO_PATIENCE


class StreamNetwork:
    """The network side of one line. Its listening socket is there before the offer goes out, so that the m-line has a
    real port; who connects before the answer waits in the kernel's queue.
    """

    def __init__(self, address: str, patience: Patience | None = None) -> None:
        """ResourceError: no port can be had at this local address."""
        self._patience = patience or Patience()
        self._address = address
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._listener.bind((address, 0))
            self._listener.listen(BACKLOG)
        except OSError as error:
            self._listener.close()
            raise ResourceError("no_port", f"no TCP port for media: {error.strerror}") from None

    @property
    def place(self) -> Place:
        address, port, *_ = self._listener.getsockname()
        return Place(address, port)

    async def connection(self, terms: ChannelTerms, credentials: Credentials) -> SecureStream:
        """The secured connection. PeerError: nobody came in time, or the peer is not the right one."""
        if terms.opens:
            coroutine = self._open(terms, credentials)
        else:
            coroutine = _Acceptance(self._listener, terms, credentials, self._patience).first()
        try:
            async with asyncio.timeout(self._patience.whole):
                return await coroutine
        except TimeoutError:
            detail = f"no secured connection within {self._patience.whole:.0f} seconds"
            raise PeerError("handshake_timeout", detail) from None

    def close(self) -> None:
        self._listener.close()

    async def _open(self, terms: ChannelTerms, credentials: Credentials) -> SecureStream:
        try:
            return await self._call(terms, credentials, client=terms.client)
        except NoHello:
            return await self._call(terms, credentials, client=True)

    async def _call(self, terms: ChannelTerms, credentials: Credentials, *, client: bool) -> SecureStream:
        assert terms.peer is not None
        sock = socket.socket(self._listener.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        stream = _candidate(sock, credentials, client=client)
        try:
            sock.bind((self._address, 0))
            await asyncio.get_running_loop().sock_connect(sock, (terms.peer.address, terms.peer.port))
            await stream.open(self._patience.hello if terms.may_swap and not client else None)
        except OSError as error:
            stream.abort()
            raise PeerError("unreachable", f"the peer cannot be reached: {error.strerror}") from None
        except BaseException:
            stream.abort()
            raise
        return stream


class _Acceptance:
    """Waiting for the peer among all who connect."""

    def __init__(
        self,
        listener: socket.socket,
        terms: ChannelTerms,
        credentials: Credentials,
        patience: Patience,
    ) -> None:
        self._listener = listener
        self._terms = terms
        self._credentials = credentials
        self._hello = patience.hello
        self._client = terms.client
        self._found: asyncio.Future[SecureStream] = asyncio.get_running_loop().create_future()
        self._attempts: dict[asyncio.Task[None], str] = {}  # and the address that each comes from

    async def first(self) -> SecureStream:
        welcome = asyncio.create_task(self._welcome())
        try:
            return await self._found
        except asyncio.CancelledError:
            if self._found.done() and not self._found.cancelled() and self._found.exception() is None:
                self._found.result().abort()  # it came in the very moment in which nobody waited any more
            raise
        finally:
            tasks = (welcome, *self._attempts)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _welcome(self) -> None:
        while True:
            sock, address = await accept(self._listener)
            if len(self._attempts) >= MAX_CANDIDATES and not self._make_room():
                sock.close()
                continue
            task = asyncio.create_task(self._attempt(sock, address))
            self._attempts[task] = address
            task.add_done_callback(lambda done: self._attempts.pop(done, None))

    def _make_room(self) -> bool:
        """The oldest that does not come from the peer's address goes."""
        for task, address in self._attempts.items():
            if not self._from_peer(address):
                task.cancel()
                del self._attempts[task]
                return True
        return False

    async def _attempt(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        client = self._client
        stream = _candidate(sock, self._credentials, client=client)
        won = False
        try:
            await stream.open(self._hello if self._terms.may_swap and not client else None)
            won = not self._found.done()
            if won:
                self._found.set_result(stream)
        except NoHello:
            if self._from_peer(address):
                self._client = True  # its next connection
        except AuthenticationFailed as error:
            if self._from_peer(address) and not self._found.done():
                self._found.set_exception(error)
        except (PeerError, OSError):
            pass  # somebody who did not mean us
        finally:
            if not won:
                stream.abort()

    def _from_peer(self, address: str) -> bool:
        peer = self._terms.peer
        return peer is not None and ip_address(peer.address) == ip_address(address)


def _candidate(sock: socket.socket, credentials: Credentials, *, client: bool) -> SecureStream:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SecureStream(sock, SecureChannel(Kind.STREAM, Role.CLIENT if client else Role.SERVER, credentials))
