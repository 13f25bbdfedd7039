"""Two agents on one machine and their dialers, with lines of MSRP, BFCP and T.38."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from support.local_agent import running_agent
from support.stream_lines import applied, description, m_line, value

from ueagent.client import AgentClient
from ueagent.daemon.agent import Agent
from ueagent.ipc import api
from ueagent.model.media import MediaKind

SOON = 20.0
TOKENS = ["msrp-tls;mediasec", "bfcp-tls;mediasec", "udptl-dtls;mediasec"]
ANNOUNCED: dict[str, Any] = {"registration": {"msrp": True, "bfcp": True, "udptl": True}}
LOOPBACK = "127.0.0.1"


def tcp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


@dataclass
class Side:
    """One agent, its dialer's sockets, and what the agent told."""

    agent: Agent
    client: AgentClient
    events: list[api.Event] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    session: str = ""
    role: str = "actpass"  # as this dialer wrote it
    plain: str = ""  # what the agent has shown of the far side
    listener: socket.socket = field(default_factory=tcp)
    datagrams: socket.socket = field(
        default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    )

    def __post_init__(self) -> None:
        for sock in (self.listener, self.datagrams):
            sock.bind((LOOPBACK, 0))
        self.listener.listen(4)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def describe(self, kind: MediaKind, setup: str) -> str:
        if kind is MediaKind.UDPTL:
            return description(kind, port=self.datagrams.getsockname()[1]).decode()
        port = 9 if setup == "active" else self.port
        return description(kind, setup=setup, port=port, session=self.session_id).decode()

    @property
    def session_id(self) -> str:
        return f"dialer{self.port}"

    async def listen(self, ready: asyncio.Event) -> None:
        async with self.client.listening() as events:
            ready.set()
            async for event in events:
                self.events.append(event)
                self.heard.set()

    async def until(self, kind: str, reason: str | None = None) -> api.Event:
        """The first event of that kind, which may have come already."""
        async with asyncio.timeout(SOON):
            while True:
                for event in self.events:
                    if event.kind == kind and reason in (None, event.reason):
                        return event
                self.heard.clear()
                await self.heard.wait()

    async def connect(self) -> socket.socket:
        """As the dialer that opens the connection: to where the agent's SDP says."""
        sock = tcp()
        await asyncio.get_running_loop().sock_connect(sock, (LOOPBACK, int(m_line(self.plain).split()[1])))
        return sock

    async def accept(self) -> socket.socket:
        sock, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(self.listener), SOON)
        sock.setblocking(False)
        return sock

    def message(self, body: bytes, tid: bytes = b"d93kswow") -> bytes:
        """A SEND of this dialer."""
        mine = value(self.describe(MediaKind.MSRP, self.role), "path")
        return (
            b"MSRP " + tid + b" SEND\r\nTo-Path: " + value(self.plain, "path").encode() + b"\r\nFrom-Path: "
            + mine.encode() + b"\r\nMessage-ID: 1\r\nContent-Type: text/plain\r\n\r\n"
            + body + b"\r\n-------" + tid + b"$\r\n"
        )  # fmt: skip

    async def line(self) -> api.LineState:
        return (await self.client.session_status(session=self.session)).lines[0]


@asynccontextmanager
async def side(**sections: Any) -> AsyncIterator[Side]:
    async with running_agent(**{**ANNOUNCED, **sections}) as agent, AgentClient.connect(agent.path) as client:
        one = Side(agent, client)
        ready = asyncio.Event()
        listener = asyncio.create_task(one.listen(ready))
        await ready.wait()
        await client.registration_offer(binding="home")
        await client.registration_update(binding="home", status=200, security_server=TOKENS)
        try:
            yield one
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
            one.listener.close()
            one.datagrams.close()


Change = Callable[[str], str]


async def call(
    alice: Side, bob: Side, kind: MediaKind, *, offers: str = "actpass", answers: str = "active", answer: Change = str
) -> None:
    """One exchange; `answer` may change what crosses the network."""
    alice.role, bob.role = offers, answers
    made = await alice.client.create_offer(
        sdp=alice.describe(kind, offers), signalling="integrity", binding="home", session=alice.session or None
    )
    alice.session = made.session
    incoming = await bob.client.accept_offer(
        sdp=applied(made.sdp or ""), signalling="integrity", binding="home", session=bob.session or None
    )
    bob.session, bob.plain = incoming.session, incoming.sdp or ""
    answered = await bob.client.create_answer(session=bob.session, sdp=bob.describe(kind, answers))
    taken = await alice.client.accept_answer(session=alice.session, sdp=answer(answered.sdp or ""), final=True)
    alice.plain = taken.sdp or ""


def between(test: Callable[[Side, Side], Awaitable[None]], alice: Any = None, bob: Any = None) -> None:
    """Run `test` with two agents that are configured so."""

    async def whole() -> None:
        async with AsyncExitStack() as stack:
            sides = [await stack.enter_async_context(side(**(sections or {}))) for sections in (alice, bob)]
            await test(*sides)

    asyncio.run(whole())


async def hear(sock: socket.socket, octets: bytes) -> None:
    """These octets come next."""
    data = b""
    while len(data) < len(octets):
        piece = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, len(octets) - len(data)), SOON)
        if not piece:
            break
        data += piece
    assert data == octets


async def say(sock: socket.socket, octets: bytes) -> None:
    await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(sock, octets), SOON)


async def until_end(sock: socket.socket) -> bytes:
    """What comes until the other end closes; ConnectionError when it breaks off."""
    data = b""
    while piece := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1 << 16), SOON):
        data += piece
    return data
