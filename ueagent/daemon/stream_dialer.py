"""The dialer's side of an MSRP or BFCP line: one plain connection, and nobody else's.

A descriptor that the dialer passed is its own. On TCP any user of the machine can connect: then the first MSRP request
must name the session-id, which nobody guesses (RFC 4975, 14.1). BFCP has no such word, so TCP takes a switch there.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from ipaddress import ip_address
from typing import Final, Protocol

from ueagent.daemon.secure_stream import CHUNK, accept
from ueagent.errors import AgentError, AuthenticationFailed, ResourceError, UsageError
from ueagent.model.media import Place
from ueagent.wire.msrp import Path, PathRewriter
from ueagent.wire.msrp_attributes import PLACEHOLDER_PORT

PATIENCE: Final = 15.0  # seconds that a connection may take to show what it knows
MAX_CANDIDATES: Final = 16  # the oldest goes when one more comes: the dialer speaks at once
LOOPBACK: Final = "127.0.0.1"


class DialerSide(Protocol):
    async def connection(self) -> tuple[socket.socket, bytes]:
        """The dialer's connection, which does not block, and what was read of it already."""

    def close(self) -> None:
        """Idempotent; does not touch a connection that was given away."""


class DialerSeat:
    """All ways in which the dialer of one line may take its side: it passes a descriptor, or on TCP it comes in through
    a door that is open from the beginning, or waits for our call (`calls`). Without `tcp` only the first is left.
    """

    def __init__(self, session_id: str | None, *, tcp: bool) -> None:
        """ResourceError: no port on loopback."""
        self.calls = False
        self._door = LoopbackDoor(session_id) if tcp else None
        self._listens_at: Place | None = None
        self._passed: PassedDescriptor | None = None
        self._attached: asyncio.Event = asyncio.Event()

    @property
    def place(self) -> Place:
        """Where the dialer finds the door; PLACEHOLDER_PORT is none."""
        return Place(LOOPBACK, PLACEHOLDER_PORT) if self._door is None else self._door.place

    def listens_at(self, place: Place) -> None:
        self._listens_at = place

    def attach(self, sock: socket.socket) -> None:
        """For the connection that waits for the dialer, or for the next one. UsageError: there is one already."""
        if self._passed is not None:
            sock.close()
            raise UsageError("bad_descriptor", "this line has a descriptor that was not used yet", field="descriptor")
        self._passed = PassedDescriptor(sock)
        self._attached.set()

    async def connection(self) -> tuple[socket.socket, bytes]:
        """The first that comes about. OSError: the dialer does not listen where it said."""
        ways = [asyncio.create_task(self._descriptor())]
        if self._door is not None:
            at = self._listens_at if self.calls else None
            ways.append(asyncio.create_task(self._door.connection() if at is None else LoopbackCall(at).connection()))
        taken: asyncio.Task[tuple[socket.socket, bytes]] | None = None
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            taken = next(way for way in ways if way.done())
            return taken.result()
        finally:
            for way in ways:
                way.cancel()
            outcomes = await asyncio.gather(*ways, return_exceptions=True)
            for way, outcome in zip(ways, outcomes, strict=True):
                if way is not taken and isinstance(outcome, tuple):
                    outcome[0].close()

    async def _descriptor(self) -> tuple[socket.socket, bytes]:
        await self._attached.wait()
        assert self._passed is not None
        passed, self._passed = self._passed, None
        self._attached.clear()
        return await passed.connection()

    def close(self) -> None:
        if self._door is not None:
            self._door.close()
        if self._passed is not None:
            self._passed.close()


class PassedDescriptor:
    """A connected stream socket that came over the IPC socket. UsageError: it is something else."""

    def __init__(self, sock: socket.socket) -> None:
        if sock.type != socket.SOCK_STREAM or sock.family != socket.AF_UNIX:
            sock.close()
            raise UsageError("bad_descriptor", "the descriptor is no UNIX stream socket", field="descriptor")
        sock.setblocking(False)
        self._socket: socket.socket | None = sock

    async def connection(self) -> tuple[socket.socket, bytes]:
        if self._socket is None:
            raise UsageError("bad_descriptor", "the descriptor has served; a new connection needs another")
        sock, self._socket = self._socket, None
        return sock, b""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class LoopbackCall:
    """The dialer listens on loopback, where we call it. UsageError: not a loopback address."""

    def __init__(self, place: Place) -> None:
        if not ip_address(place.address).is_loopback:
            raise UsageError("not_loopback", "the dialer's side is on loopback only", field="path")
        self._place = place

    async def connection(self) -> tuple[socket.socket, bytes]:
        family = socket.AF_INET6 if ":" in self._place.address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (self._place.address, self._place.port))
        except BaseException:
            sock.close()
            raise
        return sock, b""

    def close(self) -> None:
        pass


class LoopbackDoor:
    """We listen on loopback. `session_id` None lets in whoever comes first: for BFCP, by switch only."""

    def __init__(self, session_id: str | None, patience: float = PATIENCE) -> None:
        self._session_id = session_id
        self._patience = patience
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._listener.bind((LOOPBACK, 0))
            self._listener.listen(MAX_CANDIDATES)
        except OSError as error:
            self._listener.close()
            raise ResourceError("no_port", f"no TCP port on loopback: {error.strerror}") from None

    @property
    def place(self) -> Place:
        address, port = self._listener.getsockname()
        return Place(address, port)

    async def connection(self) -> tuple[socket.socket, bytes]:
        """The first that knows the session-id. All others are closed and do no harm."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[tuple[socket.socket, bytes]] = loop.create_future()
        attempts: dict[asyncio.Task[None], socket.socket] = {}  # the oldest first

        async def attempt(sock: socket.socket) -> None:
            try:
                data = await self._shown(sock)
            except (AgentError, OSError, TimeoutError, asyncio.CancelledError):
                sock.close()
            else:
                if found.done():
                    sock.close()
                else:
                    found.set_result((sock, data))

        async def welcome() -> None:
            while True:
                sock, _ = await accept(self._listener)
                sock.setblocking(False)
                if len(attempts) >= MAX_CANDIDATES:
                    oldest = next(iter(attempts))
                    oldest.cancel()
                    del attempts[oldest]
                task = asyncio.create_task(attempt(sock))
                attempts[task] = sock
                task.add_done_callback(lambda done: attempts.pop(done, None))

        welcoming = asyncio.create_task(welcome())
        try:
            return await found
        except asyncio.CancelledError:
            if found.done() and not found.cancelled():
                found.result()[0].close()
            raise
        finally:
            left = dict(attempts)
            for task in (welcoming, *left):
                task.cancel()
            await asyncio.gather(welcoming, *left, return_exceptions=True)
            for sock in left.values():  # also of one that was cancelled before it began
                if not found.done() or found.cancelled() or found.result()[0] is not sock:
                    sock.close()

    def close(self) -> None:
        self._listener.close()

    async def _shown(self, sock: socket.socket) -> bytes:
        """What was read until the right session-id was in it. AgentError: it is not."""
        if self._session_id is None:
            return b""
        wanted = self._session_id
        named = False

        def look(to_path: Path, from_path: Path) -> tuple[Path, Path]:
            nonlocal named
            if not hmac.compare_digest(to_path[0].session_id, wanted):
                raise AuthenticationFailed("wrong_session", "the first request is for another session")
            named = True
            return to_path, from_path

        reader = PathRewriter(look)
        data = b""
        async with asyncio.timeout(self._patience):
            while not named:
                piece = await asyncio.get_running_loop().sock_recv(sock, CHUNK)
                if not piece:
                    raise AuthenticationFailed("wrong_session", "closed before its first request")
                data += piece
                reader.feed(piece)
        return data
