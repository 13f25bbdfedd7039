"""The chat and the fax of the demonstration: a softphone behind an agent, an edge, and a phone in the core.

msrp    softphone -- agent =TLS= edge -- phone in the core     a message, then a file, each way; the softphone calls
kms-msrp    softphone -- agent =TLS-PSK= agent -- softphone    the same chat end to end, with keys of a KMS
t38     softphone -- agent =DTLS= edge -- phone in the core    UDPTL datagrams, each way; the phone calls
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final

from ueagent.client import AgentClient, sdp_octets
from ueagent.errors import PeerError
from ueagent.ipc import api
from ueagent.lab.edge import Edge
from ueagent.lab.sockets import LOOPBACK
from ueagent.lab.stream_phone import StreamPhone
from ueagent.model.media import MediaKind
from ueagent.wire.sdp import parse_sdp

FILE_OCTETS: Final = 256 * 1024
DATAGRAMS: Final = 50
PATIENCE: Final = 10.0  # seconds for each step, on a machine that has other things to do
_WORDS: Final = b"What we write here and what we send is nobody else's business. "
_LOOKED_FOR: Final = 16  # octets of what was sent, in a row


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What came of a call, as the softphone has it."""

    line: api.LineState
    sent: int
    received: int
    bit_exact: bool
    readable: int  # messages or datagrams of which the access network shows a piece


async def exchange_stream(
    edge: Edge, client: AgentClient, binding: str, security_verify: tuple[str, ...], kind: MediaKind, *, calls: bool
) -> StreamFacts:
    """`calls`: the softphone does, else the phone in the core. AgentError for what keeps it from being carried out."""
    near, far = (StreamPhone(kind, secrets.token_bytes) for _ in range(2))
    session = call = None
    try:
        if calls:
            made = await client.create_offer(sdp=near.offer(), signalling="access", binding=binding)
            session = made.session
            call, core_offer = await edge.offer_from_ue(binding, sdp_octets(made), security_verify=security_verify)
            answer = edge.answer_to_ue(call, far.answer(core_offer))
            near.connect(sdp_octets(await client.accept_answer(session=session, sdp=answer, final=True)))
        else:
            call, offer = await edge.offer_to_ue(binding, far.offer())
            plain = await client.accept_offer(sdp=offer, signalling="access", binding=binding)
            session = plain.session
            answered = await client.create_answer(session=session, sdp=near.answer(sdp_octets(plain)))
            far.connect(edge.answer_from_ue(call, sdp_octets(answered)))
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(near.open(), far.open(), _secured(client, session))
        if not await edge.wait_ready(call, PATIENCE):
            raise PeerError("no_keys", f"the edge has no connection within {PATIENCE:.0f} s")
        said = _payloads(kind), _payloads(kind)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(_send(near, far, said[0]), _send(far, near, said[1]))
        line = (await client.session_status(session=session)).lines[0]
        (bridge,) = edge.bridges(call)
        wire = bytes(bridge.wire)
        return StreamFacts(
            line,
            sent=len(said[0]),
            received=len(near.messages),
            bit_exact=far.messages == said[0] and near.messages == said[1],
            readable=sum(_shown(data, wire) for data in (*said[0], *said[1])),
        )
    except TimeoutError:
        raise PeerError("no_keys", f"nothing came through within {PATIENCE:.0f} s") from None
    finally:
        if session is not None:
            await client.release(session=session)
        if call is not None:
            edge.release(call)
        near.close()
        far.close()


async def exchange_chat(caller: AgentClient, callee: AgentClient, called: str) -> StreamFacts:
    """A chat with a file from agent to agent, with keys of a KMS. AgentError for what keeps it from being held."""
    near, far = (StreamPhone(MediaKind.MSRP, secrets.token_bytes) for _ in range(2))
    sessions: list[tuple[AgentClient, str]] = []
    tap = StreamTap()
    try:
        made = await caller.create_offer(sdp=near.offer(), signalling="none", called=called)
        sessions.append((caller, made.session))
        plain = await callee.accept_offer(sdp=sdp_octets(made), signalling="none")
        sessions.append((callee, plain.session))
        answered = await callee.create_answer(session=plain.session, sdp=far.answer(sdp_octets(plain)))
        answer = await tap.put_before(sdp_octets(answered))
        near.connect(sdp_octets(await caller.accept_answer(session=made.session, sdp=answer, final=True)))
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(near.open(), far.open(), *(_secured(*one) for one in sessions))
        said = _payloads(MediaKind.MSRP), _payloads(MediaKind.MSRP)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(_send(near, far, said[0]), _send(far, near, said[1]))
        wire = bytes(tap.wire)
        return StreamFacts(
            (await caller.session_status(session=made.session)).lines[0],
            sent=len(said[0]),
            received=len(near.messages),
            bit_exact=far.messages == said[0] and near.messages == said[1] and bool(wire),
            readable=sum(_shown(data, wire) for data in (*said[0], *said[1])),
        )
    except TimeoutError:
        raise PeerError("no_keys", f"nothing came through within {PATIENCE:.0f} s") from None
    finally:
        for client, session in sessions:
            await client.release(session=session)
        near.close()
        far.close()
        await tap.close()


class StreamTap:
    """Somebody on the way of a TCP connection: `wire` is what crossed it, in both directions."""

    def __init__(self) -> None:
        self.wire = bytearray()
        self._server: asyncio.Server | None = None
        self._copying: set[asyncio.Task[None]] = set()
        self._target = 0

    async def put_before(self, sdp: bytes) -> bytes:
        """The description of one MSRP line, whose connection leads through here."""
        (section,) = parse_sdp(sdp).media
        self._target = section.port
        self._server = await asyncio.start_server(self._arrived, LOOPBACK, 0)
        here = self._server.sockets[0].getsockname()[1]
        old, new = b"%d" % self._target, b"%d" % here
        return sdp.replace(b"m=message " + old, b"m=message " + new).replace(b":" + old + b"/", b":" + new + b"/")

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection(LOOPBACK, self._target)
        for source, sink in ((reader, onward_writer), (onward_reader, writer)):
            task = asyncio.create_task(self._copy(source, sink))
            self._copying.add(task)
            task.add_done_callback(self._copying.discard)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                self.wire += data
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass  # the other end is gone, and so is what it would have heard
        finally:
            sink.close()

    async def close(self) -> None:
        tasks = list(self._copying)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()


def _shown(data: bytes, wire: bytes) -> bool:
    return any(data[at : at + _LOOKED_FOR] in wire for at in (0, len(data) // 2))


def _payloads(kind: MediaKind) -> list[bytes]:
    if kind is MediaKind.UDPTL:  # each datagram repeats the one before it, as T.38's redundancy does
        pages = [secrets.token_bytes(60) for _ in range(DATAGRAMS + 1)]
        return [pages[at + 1] + pages[at] for at in range(DATAGRAMS)]
    return [_WORDS * 4, secrets.token_bytes(FILE_OCTETS)]


async def _send(sender: StreamPhone, receiver: StreamPhone, said: list[bytes]) -> None:
    for count, data in enumerate(said, start=1):
        await sender.send(data)
        await receiver.wait_messages(count)


async def _secured(client: AgentClient, session: str) -> None:
    async with client.listening(session) as events:
        while not (line := (await client.session_status(session=session)).lines[0]).keys_in_place:
            if line.reason is not None:
                raise PeerError("no_keys", f"the agent says {line.reason}")
            await anext(events)
