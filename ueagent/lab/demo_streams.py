"""The chat and the fax of the demonstration: a softphone behind an agent, an edge, and a phone in the core.

msrp    softphone -- agent =TLS= edge -- phone in the core     a message, then a file, each way; the softphone calls
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
from ueagent.lab.stream_phone import StreamPhone
from ueagent.model.media import MediaKind

FILE_OCTETS: Final = 256 * 1024
DATAGRAMS: Final = 50
PATIENCE: Final = 5.0  # seconds for each step
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
