"""A Varlink service on a UNIX stream socket. Knows framing, clients and limits; what methods do is in a table.

Calls of one connection are answered in order, one at a time: while an answer is due, nothing further is read, so a
client can make the server keep one message and one answer. A client that does not take its answers is dropped.
"""

from __future__ import annotations

import asyncio
import fcntl
import grp
import os
import re
import socket
import stat
import struct
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from ueagent.daemon.ipc_wire import IpcWire
from ueagent.daemon.logs import Log
from ueagent.daemon.subscriptions import EventQueue
from ueagent.errors import AgentError, MalformedMessage, ResourceError, UnexpectedMessage, UsageError
from ueagent.ipc import api
from ueagent.ipc.interface_text import MethodRow
from ueagent.ipc.varlink import (
    MAX_MESSAGE,
    Call,
    Framer,
    ServiceError,
    build_error,
    build_reply,
    parse_call,
    parse_parameters,
)

SERVICE_INTERFACE: Final = "org.varlink.service"
SERVICE_TEXT: Final = """\
# What every Varlink service tells about itself.
interface org.varlink.service

method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
"""
_CHUNK: Final = 64 * 1024
_READ_AHEAD: Final = 16  # messages taken while a subscription streams
_WRITE_TIMEOUT: Final = 30.0  # seconds for a client to take an answer
_BACKLOG: Final = 64
_ACCEPT_PAUSE: Final = 1.0  # seconds
_LAST_WORDS: Final = 1.0  # seconds for answers that are under way when the server closes
_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,32}(\.[A-Za-z0-9-]{1,32}){0,7}")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who connected, as the kernel knows it (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """One client; compared by identity. What belongs to it ends with it.

    `take_descriptor` gives a descriptor that came with the call in progress, None when none did.
    """

    peer: Peer
    take_descriptor: Callable[[], int | None] = lambda: None


Handler = Callable[[Connection, Any], Struct | EventQueue | Awaitable[Struct]]


@dataclass(frozen=True, slots=True)
class Service:
    """What a server serves. `texts` gives each interface its published text, in the order of GetInfo."""

    product: str
    version: str
    methods: Mapping[str, MethodRow]
    handlers: Mapping[str, Handler]
    texts: Mapping[str, str]
    closed: Callable[[Connection], None] = lambda connection: None


@dataclass(frozen=True, slots=True)
class Limits:
    clients: int = 128
    clients_per_user: int = 64
    message: int = MAX_MESSAGE
    write_timeout: float = _WRITE_TIMEOUT


class IpcServer:
    def __init__(self, service: Service, log: Log, limits: Limits | None = None) -> None:
        self._service = service
        self._log = log
        self._limits = limits or Limits()
        self._path: Path | None = None
        self._lock = -1
        self._inode = 0
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: dict[asyncio.Task[None], _Conversation] = {}
        self._users: Counter[int] = Counter()
        self._refusing = False  # said so already

    async def start(self, path: str | Path, group: str | None = None) -> None:
        """Listen on `path`. Mode 0600, or 0660 with `group`. UsageError: somebody does already, or no such group."""
        self._path = Path(path)
        gid = _group_id(group)
        _make_folder(self._path.parent, gid)
        self._lock = _take_lock(self._path)
        try:
            listener = _listen(self._path, gid)
        except BaseException:
            _drop_lock(self._path, self._lock)
            raise
        self._inode = self._path.stat().st_ino
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept())

    async def close(self) -> None:
        """Stop listening, end all connections, remove the socket. Idempotent.

        Answers that are under way, and what waits in subscriptions that were closed before, are still sent.
        """
        listener, self._listener = self._listener, None
        if listener is None or self._accepting is None:
            return
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        listener.close()
        for task, conversation in self._tasks.items():
            conversation.stopping = True
            if not conversation.busy:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_WORDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self._path is not None
        try:
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        except OSError:
            pass  # somebody has removed it before
        _drop_lock(self._path, self._lock)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        listener = self._listener
        assert listener is not None
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as error:  # no descriptors left, as a rule
                self._log.warning("cannot_accept", reason=error.strerror)
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            wire = IpcWire(sock)
            try:
                peer = _peer_of(sock)
            except OSError:
                wire.close()
                continue
            connection = Connection(peer, wire.take_descriptor)
            conversation = _Conversation(self._service, self._limits, self._log, connection, wire)
            task = asyncio.create_task(self._converse(conversation, wire, connection))
            self._tasks[task] = conversation
            self._users[peer.uid] += 1
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        conversation = self._tasks.pop(task)
        conversation.close()  # also of a task that was cancelled before it began
        self._users[conversation.uid] -= 1
        self._users += Counter()  # users without connections are forgotten

    async def _converse(self, conversation: _Conversation, wire: IpcWire, connection: Connection) -> None:
        peer = connection.peer
        try:
            if len(self._tasks) > self._limits.clients or self._users[peer.uid] > self._limits.clients_per_user:
                if not self._refusing:
                    self._log.warning("too_many_clients", uid=peer.uid, clients=len(self._tasks))
                self._refusing = True
                return
            self._refusing = False
            await conversation.run()
        except OSError:  # a TimeoutError is one
            self._log.info("client_lost", uid=peer.uid, pid=peer.pid)
        except asyncio.CancelledError:
            pass  # the server is closing
        finally:
            self._service.closed(connection)
            wire.close()


class _Conversation:
    """One connection from its first octet to its last."""

    def __init__(
        self,
        service: Service,
        limits: Limits,
        log: Log,
        connection: Connection,
        wire: IpcWire,
    ) -> None:
        self._service = service
        self._limits = limits
        self._log = log
        self._connection = connection
        self._wire = wire
        self._framer = Framer(limits.message)
        self._waiting: deque[bytes] = deque()
        self.busy = False
        self.stopping = False
        self.uid = connection.peer.uid

    async def run(self) -> None:
        try:
            while True:
                self.busy = True
                while self._waiting and not self.stopping:
                    await self._answer(self._waiting.popleft())
                self._wire.drop_descriptors()
                self.busy = False
                if self.stopping:
                    return
                data = await self._wire.read(_CHUNK)
                if not data:
                    return
                self._waiting.extend(self._framer.feed(data))
        except MalformedMessage as error:
            # Framing is lost: say why, then close.
            await self._send(_agent_error(next(iter(self._service.texts)), error))
        finally:
            self._framer.clear()

    def close(self) -> None:
        self._wire.close()

    async def _answer(self, message: bytes) -> None:
        try:
            call = parse_call(message)
        except MalformedMessage as error:
            await self._send(_agent_error(next(iter(self._service.texts)), error))
            return
        except ServiceError as error:
            await self._send(build_error(error.name, error.parameters))
            return
        answer = await self._perform(call)
        if isinstance(answer, EventQueue):
            await self._stream(answer)
        elif not call.oneway:
            await self._send(answer)

    async def _perform(self, call: Call) -> bytes | EventQueue:
        try:
            if call.interface == SERVICE_INTERFACE:
                return build_reply(self._describe(call))
            result = self._handler(call)(self._connection, self._request(call))
            if isinstance(result, Awaitable):
                result = await self._while_connected(result)
            return result if isinstance(result, EventQueue) else build_reply(result)
        except ServiceError as error:
            return build_error(error.name, error.parameters)
        except AgentError as error:
            return _agent_error(call.interface, error)
        except ConnectionResetError:
            raise  # the client has left, and nobody waits for an answer
        except Exception as error:
            self._log.failure("internal_error", error, method=call.method)
            inside = ResourceError("internal_error", "the agent failed inside; its log says where")
            return _agent_error(call.interface, inside)

    def _handler(self, call: Call) -> Handler:
        if call.interface not in self._service.texts:
            raise ServiceError("InterfaceNotFound", interface=_echo(call.interface))
        row = self._service.methods.get(call.method)
        if row is None:
            raise ServiceError("MethodNotFound", method=_echo(call.method))
        if row.streams and not call.more:
            raise ServiceError("ExpectedMore")
        return self._service.handlers[call.method]

    def _request(self, call: Call) -> Struct:
        return parse_parameters(call.parameters, self._service.methods[call.method].request)

    def _describe(self, call: Call) -> dict[str, Any]:
        service = self._service
        texts = {SERVICE_INTERFACE: SERVICE_TEXT, **service.texts}
        method = call.method.rpartition(".")[2]
        if method == "GetInfo":
            return {
                "vendor": "ueagent",
                "product": service.product,
                "version": service.version,
                "url": "",
                "interfaces": list(texts),
            }
        if method != "GetInterfaceDescription":
            raise ServiceError("MethodNotFound", method=_echo(call.method))
        wanted = call.parameters.get("interface")
        if not isinstance(wanted, str):
            raise ServiceError("InvalidParameter", parameter="interface")
        if wanted not in texts:
            raise ServiceError("InterfaceNotFound", interface=_echo(wanted))
        return {"description": texts[wanted]}

    async def _stream(self, events: EventQueue) -> None:
        """Send until the queue ends or the client goes. What it sends meanwhile waits, bounded."""
        watcher = asyncio.ensure_future(self._watch(events))
        try:
            item: Struct | None = events.first
            while item is not None:
                await self._send(build_reply(item, continues=True))
                item = await events.get()
            await self._send(build_reply(events.first))
        finally:
            events.close()
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    async def _watch(self, events: EventQueue) -> None:
        if await self._client_left():
            events.close()

    async def _while_connected(self, result: Awaitable[Struct]) -> Struct:
        """What a method takes its time for, a KMS for example, is given up when the client leaves."""
        work = asyncio.ensure_future(result)
        await asyncio.sleep(0)  # most have nothing to wait for
        if work.done():
            return work.result()
        watcher = asyncio.ensure_future(self._client_left())
        try:
            await asyncio.wait((work, watcher), return_when=asyncio.FIRST_COMPLETED)
            if work.done() or not watcher.result() or not self._wire.hung_up:
                return await work
            raise ConnectionResetError("the client has left")
        finally:
            watcher.cancel()
            work.cancel()
            await asyncio.gather(watcher, work, return_exceptions=True)

    async def _client_left(self) -> bool:
        """Read ahead, bounded. False: there is no room for more, so nobody can tell."""
        try:
            while len(self._waiting) < _READ_AHEAD:
                data = await self._wire.read(_CHUNK)
                if not data:
                    return True
                self._waiting.extend(self._framer.feed(data))
        except (OSError, MalformedMessage):
            return True
        return False

    async def _send(self, message: bytes) -> None:
        async with asyncio.timeout(self._limits.write_timeout):
            await self._wire.send(message)


# --------------------------------------------------------------------------------------------------------- errors --


def _agent_error(interface: str, error: AgentError) -> bytes:
    """The error reply of `error`: the nearest class of the error tree that the interface text has."""
    name = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in api.ERRORS), "ResourceError")
    parameters = api.ErrorParameters(
        code=error.code,
        detail=error.detail,
        field=error.field,
        offset=error.offset if isinstance(error, MalformedMessage) else None,
        expected=list(error.expected) if isinstance(error, UnexpectedMessage) else None,
        sip_status_hint=error.sip_status_hint,
        sip_warning=error.sip_warning,
        key_mgmt=error.key_mgmt,
    )
    return build_error(f"{interface}.{name}", parameters)


def _echo(name: str) -> str:
    """A name of ours or a slip of the pen comes back; what looks like anything else does not."""
    return name if _NAME.fullmatch(name) else "?"


# --------------------------------------------------------------------------------------------------------- socket --


def _peer_of(sock: socket.socket) -> Peer:
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return Peer(*struct.unpack("iII", raw))


def _group_id(group: str | None) -> int | None:
    if group is None:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError("no_such_group", f"this machine has no group {group}", field="ipc.group") from None


def _make_folder(folder: Path, gid: int | None) -> None:
    """Only the last part is made, and only for us and the group."""
    try:
        folder.mkdir(mode=0o700)
        if gid is not None:
            os.chown(folder, -1, gid)
            folder.chmod(0o750)
    except FileExistsError:
        pass
    except OSError as error:
        raise UsageError("no_folder", f"cannot make {folder}: {error.strerror}", field="ipc.socket") from None


def _take_lock(path: Path) -> int:
    """A lock that ends with this process, so that two agents starting at once cannot replace each other's socket."""
    name = f"{path}.lock"
    while True:
        try:
            lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise UsageError("no_socket", f"cannot make {name}: {error.strerror}", field="ipc.socket") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The former holder may have removed the file after we opened it: then the lock is worth nothing.
            if os.fstat(lock).st_ino == Path(name).stat().st_ino:
                return lock
        except FileNotFoundError:
            pass
        except OSError:
            os.close(lock)
            raise UsageError("already_running", f"an agent is running on {path}", field="ipc.socket") from None
        os.close(lock)


def _drop_lock(path: Path, lock: int) -> None:
    Path(f"{path}.lock").unlink(missing_ok=True)
    os.close(lock)


def _listen(path: Path, gid: int | None) -> socket.socket:
    _remove_dead(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Linux gives the file the mode of the unbound socket: it never exists with a wider one.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fspath(path))
        if gid is not None:
            os.chown(path, -1, gid)
            path.chmod(0o660)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError("no_socket", f"cannot listen on {path}: {error.strerror}", field="ipc.socket") from None
    return listener


def _remove_dead(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError("no_socket", f"{path} exists and is no socket", field="ipc.socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass  # it does not let us in, or is too busy to: somebody is there
    raise UsageError("already_running", f"somebody else listens on {path}", field="ipc.socket")
