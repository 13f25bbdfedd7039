"""The WebRTC profile through a real agent: its sockets, its relay, checks by aioice and floods of what is none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from support.channels import end, new_identity
from support.checks import check, credentials, succeeded
from support.local_agent import Phone, audio_port, plain_sdp, running_agent

from ueagent.channel.channel import Role, SecureChannel, State
from ueagent.client import AgentClient
from ueagent.model.security import SetupRole
from ueagent.wire.dtls_attributes import DtlsParameters, build_dtls

PATIENCE = 10.0
GCM = 0x0007


class Peer:
    """A full ICE agent by hand: it checks, and shakes hands as the DTLS server."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(("127.0.0.1", 0))
        self.identity = new_identity()
        self.channel: SecureChannel = end(Role.SERVER, identity=self.identity, profiles=(GCM,))

    def answer(self) -> str:
        attributes = build_dtls(DtlsParameters(self.identity.fingerprints(), SetupRole.PASSIVE))
        lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0"]
        lines += ["m=audio 9 UDP/TLS/RTP/SAVPF 0", "c=IN IP4 0.0.0.0", "a=mid:0", "a=rtcp-mux"]
        lines += ["a=ice-ufrag:them", "a=ice-pwd:theirpassword0123456789", *(line.decode() for line in attributes)]
        return "".join(line + "\r\n" for line in lines)

    async def receive(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.get_running_loop().sock_recv(self.sock, 4096)

    async def shake_hands(self, agent: tuple[str, int]) -> None:
        while self.channel.state is not State.OPEN:
            data = await self.receive()
            if data[0] > 3:
                self.channel.feed(data, 0.0, b"agent")
            for datagram in self.channel.take_output():
                self.sock.sendto(datagram, agent)


async def keyed(client: AgentClient, session: str) -> None:
    async with asyncio.timeout(PATIENCE), client.listening() as events:
        while not (await client.session_status(session=session)).lines[0].keys_in_place:
            await anext(events)


@dataclass
class Call:
    client: AgentClient
    session: str
    ours: tuple[str, str]  # credentials of the agent
    agent: tuple[str, int]
    peer: Peer

    async def refused(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self.client.session_status(session=self.session)).counters[0].refused_checks < count:
                await asyncio.sleep(0)


@asynccontextmanager
async def answered_call() -> AsyncIterator[Call]:
    async with running_agent(policy={"webrtc": True}) as agent, AgentClient.connect(agent.path) as client:
        with Phone() as phone:
            peer = Peer()
            with peer.sock:
                offer = await client.create_offer(sdp=phone.sdp, signalling="integrity")
                sdp = offer.sdp or ""
                await client.accept_answer(session=offer.session, sdp=peer.answer(), final=True)
                yield Call(client, offer.session, credentials(sdp), ("127.0.0.1", audio_port(sdp)), peer)


def test_check_opens_the_way_for_the_handshake() -> None:
    """WEB-4, DYN-18: through real sockets."""

    async def run() -> None:
        async with answered_call() as call:
            call.peer.sock.sendto(check(call.ours, nominate=True), call.agent)
            assert succeeded(await call.peer.receive(), call.ours)
            await call.peer.shake_hands(call.agent)
            await keyed(call.client, call.session)

    asyncio.run(run())


def test_forged_checks_move_counters_only() -> None:
    """WEB-4: before the right check, and when the path stands; the answers and media go on to the right place."""

    async def run() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
            attacker.bind(("127.0.0.1", 0))
            attacker.setblocking(False)
            async with answered_call() as call:
                forged = check((call.ours[0], "0123456789012345678901234"), nominate=True)
                for _ in range(5):
                    attacker.sendto(forged, call.agent)
                await call.refused(5)
                call.peer.sock.sendto(check(call.ours, nominate=True), call.agent)
                assert succeeded(await call.peer.receive(), call.ours)
                for _ in range(5):
                    attacker.sendto(forged, call.agent)
                await call.refused(10)
                await call.peer.shake_hands(call.agent)
                await keyed(call.client, call.session)
                with pytest.raises(BlockingIOError):
                    attacker.recv(2048)

    asyncio.run(run())


def test_flood_of_stun_does_not_end_the_checks_of_the_peer() -> None:
    """Each kind of control datagram has a limit of its own in the relay."""

    async def run() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
            attacker.bind(("127.0.0.1", 0))
            async with answered_call() as call:
                call.peer.sock.sendto(check(call.ours, nominate=True), call.agent)
                assert succeeded(await call.peer.receive(), call.ours)
                for _ in range(300):
                    attacker.sendto(check(("else", "0123456789012345678901234")), call.agent)
                call.peer.sock.sendto(check(call.ours, nominate=True), call.agent)
                while (data := await call.peer.receive())[0] > 3:
                    pass  # the agent's hello
                assert succeeded(data, call.ours)

    asyncio.run(run())


def test_two_agents_call_each_other() -> None:
    """RFC 8445, 6.1.1: two lite agents find each other by the addresses of SDP."""

    async def run() -> None:
        async with (
            running_agent(policy={"webrtc": True}) as one,
            running_agent(policy={"webrtc": True}) as other,
            AgentClient.connect(one.path) as alice,
            AgentClient.connect(other.path) as bob,
        ):
            with Phone() as here, Phone() as there:
                offer = await alice.create_offer(sdp=here.sdp, signalling="integrity")
                incoming = await bob.accept_offer(sdp=offer.sdp or "", signalling="integrity")
                plain = plain_sdp(there.rtp.getsockname()[1], proto="RTP/AVPF", rtcp_port=there.rtcp.getsockname()[1])
                answer = await bob.create_answer(session=incoming.session, sdp=plain)
                await alice.accept_answer(session=offer.session, sdp=answer.sdp or "", final=True)
                await keyed(alice, offer.session)
                await keyed(bob, incoming.session)

    asyncio.run(run())
