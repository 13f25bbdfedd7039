"""The Varlink server by itself: clients, limits, order, the socket file. The service is a small one of this test's."""

import asyncio
import io
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from support.local_agent import socket_folder

from ueagent.daemon.config import LogConfig
from ueagent.daemon.ipc_server import Connection, IpcServer, Limits, Service
from ueagent.daemon.logs import open_log
from ueagent.daemon.subscriptions import EventQueue
from ueagent.errors import NegotiationFailed, UnexpectedMessage, UsageError


class Text(Struct):
    text: str


class Nothing(Struct):
    pass


class Row:
    def __init__(self, streams: bool = False) -> None:
        self.request: type[Struct] = Nothing if streams else Text
        self.reply: type[Struct] = Text
        self.streams = streams


class World:
    """What the handlers of the test service leave behind."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self.closed: list[Connection] = []
        self.seen: list[str] = []
        self.queues: list[EventQueue] = []
        self.gate = asyncio.Event()
        self.queue_limit = 4

    def echo(self, connection: Connection, request: Text) -> Text:
        self.seen.append(request.text)
        return request

    async def slow(self, connection: Connection, request: Text) -> Text:
        await self.gate.wait()
        return request

    def fail(self, connection: Connection, request: Text) -> Text:
        match request.text:
            case "usage":
                raise UsageError("wrong", "that is wrong", field="text")
            case "state":
                raise UnexpectedMessage("early", "not yet", expected=("Ping",))
            case "negotiation":
                raise NegotiationFailed("nothing_common", "nothing in common")
        raise ValueError("inline:SECRETKEY")

    def whoami(self, connection: Connection, request: Text) -> Text:
        return Text(text=f"{connection.peer.uid} {connection.peer.pid}")

    def follow(self, connection: Connection, request: Nothing) -> EventQueue:
        queue = EventQueue(self.queue_limit, Text(text="first"), lambda count: Text(text=f"lost {count}"))
        self.queues.append(queue)
        return queue

    @property
    def service(self) -> Service:
        handlers = {
            "org.test.X.Echo": self.echo,
            "org.test.X.Slow": self.slow,
            "org.test.X.Fail": self.fail,
            "org.test.X.WhoAmI": self.whoami,
            "org.test.X.Follow": self.follow,
        }
        return Service(
            product="test",
            version="7",
            methods={name: Row(name.endswith("Follow")) for name in handlers},
            handlers=handlers,
            texts={"org.test.X": "interface org.test.X\n\nmethod Echo(text: string) -> (text: string)\n"},
            closed=self.closed.append,
        )


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, method: str, text: str | None = None, **flags: bool) -> None:
        parameters = {} if text is None else {"text": text}
        self.raw(json.dumps({"method": method, "parameters": parameters, **flags}).encode())

    def raw(self, message: bytes) -> None:
        self.writer.write(message + b"\0")

    async def read(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            return json.loads((await self.reader.readuntil(b"\0"))[:-1])  # type: ignore[no-any-return]

    async def call(self, method: str, text: str | None = None, **flags: bool) -> dict[str, Any]:
        self.write(method, text, **flags)
        return await self.read()

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        self.writer.close()


class Bench:
    def __init__(self, world: World, path: Path, server: IpcServer) -> None:
        self.world, self.path, self.server = world, path, server
        self.clients: list[Client] = []

    async def client(self) -> Client:
        client = Client(*await asyncio.open_unix_connection(os.fspath(self.path)))
        self.clients.append(client)
        return client


@asynccontextmanager
async def serving(limits: Limits | None = None) -> AsyncIterator[Bench]:
    world = World()
    with socket_folder() as folder:
        server = IpcServer(world.service, open_log(LogConfig(format="json", level="debug"), world.log), limits)
        await server.start(folder / "s")
        bench = Bench(world, folder / "s", server)
        try:
            yield bench
        finally:
            for client in bench.clients:
                client.close()
            await server.close()


def with_server(limits: Limits | None = None) -> Callable[[Callable[[Bench], Awaitable[None]]], Callable[[], None]]:
    """Runs the test's coroutine with a server and bounds its time."""

    def decorate(test: Callable[[Bench], Awaitable[None]]) -> Callable[[], None]:
        async def whole() -> None:
            async with asyncio.timeout(30), serving(limits) as bench:
                await test(bench)

        def run() -> None:
            asyncio.run(whole())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop run until `condition` holds; the test's own timeout bounds it."""
    while not condition():
        await asyncio.sleep(0)


# ----------------------------------------------------------------------------------------------------------- calls --


@with_server()
async def test_call_gets_its_reply(bench: Bench) -> None:
    client = await bench.client()
    assert await client.call("org.test.X.Echo", "hello") == {"parameters": {"text": "hello"}}


@with_server()
async def test_pipelined_calls_are_answered_in_order(bench: Bench) -> None:
    client = await bench.client()
    client.write("org.test.X.Slow", "0")
    for number in range(1, 50):
        client.write("org.test.X.Echo", str(number))
    bench.world.gate.set()
    assert [(await client.read())["parameters"]["text"] for _ in range(50)] == [str(n) for n in range(50)]


@with_server()
async def test_a_slow_answer_does_not_hold_up_other_clients(bench: Bench) -> None:
    slow, quick = await bench.client(), await bench.client()
    slow.write("org.test.X.Slow", "later")
    assert (await quick.call("org.test.X.Echo", "now"))["parameters"] == {"text": "now"}
    bench.world.gate.set()
    assert (await slow.read())["parameters"] == {"text": "later"}


@with_server()
async def test_oneway_call_is_done_and_gets_no_reply(bench: Bench) -> None:
    client = await bench.client()
    client.write("org.test.X.Echo", "quiet", oneway=True)
    assert (await client.call("org.test.X.Echo", "loud"))["parameters"] == {"text": "loud"}
    assert bench.world.seen == ["quiet", "loud"]


@with_server()
async def test_more_on_a_method_with_one_answer_gets_one_answer(bench: Bench) -> None:
    client = await bench.client()
    assert await client.call("org.test.X.Echo", "once", more=True) == {"parameters": {"text": "once"}}


@with_server()
async def test_client_that_only_half_closes_still_gets_its_answers(bench: Bench) -> None:
    client = await bench.client()
    client.write("org.test.X.Echo", "last words")
    client.writer.write_eof()
    assert (await client.read())["parameters"] == {"text": "last words"}
    assert await client.ended()


@with_server()
async def test_peer_is_known_by_the_kernels_word(bench: Bench) -> None:
    client = await bench.client()
    assert (await client.call("org.test.X.WhoAmI", ""))["parameters"]["text"] == f"{os.geteuid()} {os.getpid()}"


# ------------------------------------------------------------------------------------------------ standard errors --


@with_server()
async def test_standard_errors_of_org_varlink_service(bench: Bench) -> None:
    client = await bench.client()
    service = "org.varlink.service."
    assert await client.call("org.test.Y.Echo") == {
        "error": service + "InterfaceNotFound",
        "parameters": {"interface": "org.test.Y"},
    }
    assert await client.call("org.test.X.Nope") == {
        "error": service + "MethodNotFound",
        "parameters": {"method": "org.test.X.Nope"},
    }
    assert (await client.call("org.test.X.Q" + "z" * 40))["parameters"] == {"method": "?"}
    assert await client.call("org.test.X.Echo") == {
        "error": service + "InvalidParameter",
        "parameters": {"parameter": "text"},
    }
    assert await client.call("org.test.X.Follow") == {"error": service + "ExpectedMore", "parameters": {}}
    assert (await client.call("org.test.X.Echo", "x", upgrade=True))["error"] == service + "InvalidParameter"
    assert (await client.call("org.varlink.service.Nope"))["error"] == service + "MethodNotFound"


@with_server()
async def test_service_describes_itself_and_its_interfaces(bench: Bench) -> None:
    client = await bench.client()
    info = (await client.call("org.varlink.service.GetInfo"))["parameters"]
    assert (info["product"], info["version"]) == ("test", "7")
    assert info["interfaces"] == ["org.varlink.service", "org.test.X"]
    for interface in info["interfaces"]:
        client.raw(
            json.dumps(
                {"method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": interface}}
            ).encode()
        )
        assert f"interface {interface}\n" in (await client.read())["parameters"]["description"]


@with_server()
async def test_error_tree_becomes_error_replies(bench: Bench) -> None:
    client = await bench.client()
    found = await client.call("org.test.X.Fail", "usage")
    assert found["error"] == "org.test.X.UsageError"
    assert (found["parameters"]["code"], found["parameters"]["field"]) == ("wrong", "text")
    found = await client.call("org.test.X.Fail", "state")
    assert found["error"] == "org.test.X.UnexpectedMessage"
    assert found["parameters"]["expected"] == ["Ping"]
    assert (await client.call("org.test.X.Fail", "negotiation"))["parameters"]["sip_status_hint"] == 488


@with_server()
async def test_bug_in_a_handler_costs_one_answer_and_shows_nothing_of_its_message(bench: Bench) -> None:
    client = await bench.client()
    found = await client.call("org.test.X.Fail", "bug")
    assert (found["error"], found["parameters"]["code"]) == ("org.test.X.ResourceError", "internal_error")
    assert (await client.call("org.test.X.Echo", "still here"))["parameters"] == {"text": "still here"}
    log = bench.world.log.getvalue()
    assert "ValueError" in log
    assert "SECRETKEY" not in log + json.dumps(found)


# ---------------------------------------------------------------------------------------------------------- bounds --


@with_server()
async def test_message_that_is_no_json_gets_an_error_and_the_connection_goes_on(bench: Bench) -> None:
    client = await bench.client()
    for message in (b"{", b"[1]", b"\xff", b"[" * 100_000):
        client.raw(message)
        assert (await client.read())["error"] == "org.test.X.MalformedMessage"
    assert "parameters" in await client.call("org.test.X.Echo", "well")


@with_server(Limits(message=1000))
async def test_message_that_is_too_long_gets_an_error_and_ends_the_connection(bench: Bench) -> None:
    client, neighbour = await bench.client(), await bench.client()
    client.writer.write(b"x" * 1001)
    assert (await client.read())["parameters"]["code"] == "message_too_long"
    assert await client.ended()
    assert (await neighbour.call("org.test.X.Echo", "fine"))["parameters"] == {"text": "fine"}


@with_server(Limits(clients=2, clients_per_user=64))
async def test_clients_are_limited_in_total(bench: Bench) -> None:
    first, second = await bench.client(), await bench.client()
    await first.call("org.test.X.Echo", "1")
    await second.call("org.test.X.Echo", "2")
    assert await (await bench.client()).ended()
    first.close()
    await until(lambda: len(bench.world.closed) == 2)
    assert "parameters" in await (await bench.client()).call("org.test.X.Echo", "room again")


@with_server(Limits(clients=64, clients_per_user=1))
async def test_clients_are_limited_per_user(bench: Bench) -> None:
    first = await bench.client()
    await first.call("org.test.X.Echo", "1")
    assert await (await bench.client()).ended()


@with_server(Limits(write_timeout=0.05))
async def test_client_that_does_not_take_its_answers_is_dropped(bench: Bench) -> None:
    client = await bench.client()
    client.reader._limit = 1  # type: ignore[attr-defined]  # stop reading at once
    for _ in range(200):
        client.write("org.test.X.Echo", "x" * 20_000)
        if bench.world.closed:
            break
        await asyncio.sleep(0)
    await until(lambda: bool(bench.world.closed))


@with_server()
async def test_end_of_a_connection_is_told_to_the_service(bench: Bench) -> None:
    client = await bench.client()
    await client.call("org.test.X.Echo", "x")
    client.close()
    await until(lambda: len(bench.world.closed) == 1)


@with_server()
async def test_answer_that_is_under_way_is_still_sent_when_the_server_closes(bench: Bench) -> None:
    busy, idle = await bench.client(), await bench.client()
    busy.write("org.test.X.Slow", "last words")
    await idle.call("org.test.X.Echo", "x")
    closing = asyncio.ensure_future(bench.server.close())
    assert await idle.ended()
    bench.world.gate.set()
    assert (await busy.read())["parameters"] == {"text": "last words"}
    await closing


# -------------------------------------------------------------------------------------------------- subscriptions --


@with_server()
async def test_subscription_sends_its_first_reply_then_what_happens(bench: Bench) -> None:
    client = await bench.client()
    first = await client.call("org.test.X.Follow", more=True)
    assert first == {"parameters": {"text": "first"}, "continues": True}
    bench.world.queues[0].put(Text(text="news"))
    assert await client.read() == {"parameters": {"text": "news"}, "continues": True}


@with_server()
async def test_subscription_that_ends_says_so_and_the_connection_serves_on(bench: Bench) -> None:
    client = await bench.client()
    await client.call("org.test.X.Follow", more=True)
    client.write("org.test.X.Echo", "waiting")
    bench.world.queues[0].close()
    assert "continues" not in await client.read()
    assert (await client.read())["parameters"] == {"text": "waiting"}


@with_server()
async def test_subscription_ends_when_its_client_goes(bench: Bench) -> None:
    client = await bench.client()
    await client.call("org.test.X.Follow", more=True)
    ended: list[bool] = []
    bench.world.queues[0].when_closed(lambda: ended.append(True))
    client.close()
    await until(lambda: bool(ended))


@with_server()
async def test_calls_sent_during_a_subscription_wait_and_are_taken_only_up_to_a_bound(bench: Bench) -> None:
    client = await bench.client()
    await client.call("org.test.X.Follow", more=True)
    for number in range(200):
        client.write("org.test.X.Echo", str(number) * 20_000)
    for number in range(3):
        bench.world.queues[0].put(Text(text=str(number)))
        assert (await client.read())["parameters"] == {"text": str(number)}
    assert bench.world.seen == []
    assert client.writer.transport.get_write_buffer_size() > 1_000_000


def test_events_beyond_the_limit_are_counted_and_the_count_stands_in_their_place() -> None:
    async def whole() -> list[Struct | None]:
        queue = EventQueue(2, Text(text="first"), lambda count: Text(text=f"lost {count}"))
        for number in range(5):
            queue.put(Text(text=str(number)))
        found = [await queue.get(), await queue.get(), await queue.get()]
        queue.put(Text(text="later"))
        queue.close()
        return [*found, await queue.get(), await queue.get()]

    told = asyncio.run(whole())
    assert told == [Text(text="0"), Text(text="1"), Text(text="lost 3"), Text(text="later"), None]


# --------------------------------------------------------------------------------------------------------- socket --


@with_server()
async def test_socket_is_for_its_owner_only(bench: Bench) -> None:
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o600


def test_socket_is_never_wider_than_asked_for_whatever_the_umask(monkeypatch: pytest.MonkeyPatch) -> None:
    async def whole() -> list[int]:
        seen = []
        bind = socket.socket.bind

        def watched(self: socket.socket, address: Any) -> None:
            bind(self, address)
            seen.append(stat.S_IMODE(Path(address).stat().st_mode))

        monkeypatch.setattr(socket.socket, "bind", watched)
        async with serving():
            return seen

    former = os.umask(0)
    try:
        assert asyncio.run(whole()) == [0o600]
    finally:
        os.umask(former)


def test_socket_with_a_group_is_for_owner_and_group() -> None:
    import grp

    group = grp.getgrgid(os.getegid()).gr_name

    async def whole() -> None:
        world = World()
        with socket_folder() as folder:
            server = IpcServer(world.service, open_log(LogConfig(), world.log))
            await server.start(folder / "new" / "s", group)
            found = (folder / "new" / "s").stat()
            assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getegid())
            assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o750
            await server.close()

    asyncio.run(whole())


def refused_start(prepare: Callable[[Path], Any], group: str | None = None) -> UsageError:
    async def whole() -> UsageError:
        world = World()
        with socket_folder() as folder:
            kept = prepare(folder / "s")
            server = IpcServer(world.service, open_log(LogConfig(), world.log))
            try:
                with pytest.raises(UsageError) as caught:
                    await server.start(folder / "s", group)
            finally:
                if isinstance(kept, socket.socket):
                    kept.close()
            return caught.value

    return asyncio.run(whole())


def test_group_that_does_not_exist_is_refused() -> None:
    assert refused_start(lambda path: None, "no-such-group-here").code == "no_such_group"


def test_file_that_is_no_socket_is_not_replaced() -> None:
    assert refused_start(lambda path: path.write_text("mine")).code == "no_socket"


def test_socket_of_another_live_program_is_not_replaced() -> None:
    def listen(path: Path) -> socket.socket:
        other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        other.bind(os.fspath(path))
        other.listen()
        return other

    assert refused_start(listen).code == "already_running"


def test_live_program_that_takes_no_more_connections_is_not_waited_for() -> None:
    """A full backlog blocks a connection as long as it lasts; the refusal comes at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:

        def listen_and_fill(path: Path) -> socket.socket:
            other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            other.bind(os.fspath(path))
            other.listen(0)
            first.connect(os.fspath(path))
            return other

        assert refused_start(listen_and_fill).code == "already_running"


def test_path_that_is_too_long_is_refused() -> None:
    async def whole() -> None:
        world = World()
        with socket_folder() as folder, pytest.raises(UsageError):
            await IpcServer(world.service, open_log(LogConfig(), world.log)).start(folder / ("x" * 200))

    asyncio.run(whole())


@with_server()
async def test_second_server_on_the_same_path_is_refused(bench: Bench) -> None:
    second = IpcServer(bench.world.service, open_log(LogConfig(), bench.world.log))
    with pytest.raises(UsageError) as caught:
        await second.start(bench.path)
    assert caught.value.code == "already_running"
    assert "parameters" in await (await bench.client()).call("org.test.X.Echo", "unharmed")


def test_dead_socket_is_replaced_and_nothing_is_left_behind_at_the_end() -> None:
    async def whole() -> None:
        world = World()
        with socket_folder() as folder:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
                dead.bind(os.fspath(folder / "s"))
            server = IpcServer(world.service, open_log(LogConfig(), world.log))
            await server.start(folder / "s")
            await server.close()
            await server.close()
            assert list(folder.iterdir()) == []

    asyncio.run(whole())


@with_server()
async def test_socket_that_somebody_put_in_our_place_is_left_alone(bench: Bench) -> None:
    bench.path.unlink()
    bench.path.write_text("mine")
    await bench.server.close()
    assert bench.path.read_text() == "mine"
    bench.path.unlink()
