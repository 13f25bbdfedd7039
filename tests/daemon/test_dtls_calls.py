"""DTLS-SRTP through real agents: sockets, relay, timers, certificates, and media that arrives."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.channels import new_identity
from support.local_agent import Phone, audio_port, plain_sdp, rtp_packet, running_agent

from ueagent.client import AgentClient
from ueagent.daemon.agent import Agent
from ueagent.errors import AgentError
from ueagent.ipc import api
from ueagent.keymgmt.dtls_association import Association, Means
from ueagent.model.media import Place

BOTH_TOKENS = ["sdes-srtp;mediasec", "dtls-srtp;mediasec"]
ANNOUNCED: dict[str, Any] = {"registration": {"dtls_srtp": True}}


async def register(client: AgentClient, binding: str = "home") -> None:
    await client.registration_offer(binding=binding)
    await client.registration_update(binding=binding, status=200, security_server=BOTH_TOKENS)


@dataclass
class Side:
    agent: Agent
    client: AgentClient
    phone: Phone
    events: list[api.Event] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    session: str = ""
    loopback: int = 0

    async def listen(self, ready: asyncio.Event) -> None:
        async with self.client.listening() as events:
            ready.set()
            async for event in events:
                self.events.append(event)
                self.heard.set()

    async def until(self, kind: str, reason: str | None = None) -> api.Event:
        """The first event of that kind, which may have come already."""
        async with asyncio.timeout(20):
            while True:
                for event in self.events:
                    if event.kind == kind and reason in (None, event.reason):
                        return event
                self.heard.clear()
                await self.heard.wait()

    async def line(self) -> api.LineState:
        (line,) = (await self.client.session_status(session=self.session)).lines
        return line


@asynccontextmanager
async def side(**sections: Any) -> AsyncIterator[Side]:
    async with running_agent(**{**ANNOUNCED, **sections}) as agent, AgentClient.connect(agent.path) as client:
        with Phone() as phone:
            one = Side(agent, client, phone)
            ready = asyncio.Event()
            listener = asyncio.create_task(one.listen(ready))
            await ready.wait()
            await register(client)
            try:
                yield one
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)


async def call(alice: Side, bob: Side, change_offer: Any = None, change_answer: Any = None) -> tuple[str, str]:
    """The SDP of offer and answer as they crossed the network."""
    made = await alice.client.create_offer(sdp=alice.phone.sdp, signalling="integrity", binding="home")
    alice.session, offer = made.session, made.sdp or ""
    seen = (change_offer or (lambda sdp: sdp))(offer)
    incoming = await bob.client.accept_offer(sdp=seen, signalling="integrity", binding="home")
    bob.session, bob.loopback = incoming.session, audio_port(incoming.sdp or "")
    answered = await bob.client.create_answer(session=bob.session, sdp=bob.phone.sdp)
    answer = (change_answer or (lambda sdp: sdp))(answered.sdp or "")
    taken = await alice.client.accept_answer(session=alice.session, sdp=answer, final=True)
    alice.loopback = audio_port(taken.sdp or "")
    return offer, answer


async def hear_each_other(alice: Side, bob: Side, first: int = 1) -> None:
    await alice.phone.send(alice.loopback, rtp_packet(first, b"a" * 160))
    assert (await bob.phone.receive())[12:] == b"a" * 160
    await bob.phone.send(bob.loopback, rtp_packet(first, b"b" * 160, ssrc=0x99))
    assert (await alice.phone.receive())[12:] == b"b" * 160


async def rtcp_arrives(alice: Side, bob: Side) -> None:
    report = bytes.fromhex("80c90001") + (0x1234).to_bytes(4, "big")
    await asyncio.get_running_loop().sock_sendto(alice.phone.rtcp, report, ("127.0.0.1", alice.loopback + 1))
    async with asyncio.timeout(10):
        assert await asyncio.get_running_loop().sock_recv(bob.phone.rtcp, 2048) == report


async def both_have_keys(alice: Side, bob: Side) -> None:
    await alice.until("keys_in_place")
    await bob.until("keys_in_place")


def test_a_call_by_dtls_srtp_is_heard_both_ways() -> None:
    """DTLS-1, DTLS-2, DTLS-15, DYN-14: without rtcp-mux RTP and RTCP have an association each."""

    async def scenario() -> None:
        async with side() as alice, side() as bob:
            offer, answer = await call(alice, bob)
            assert "m=audio" in offer
            assert " UDP/TLS/RTP/SAVP " in offer
            assert " UDP/TLS/RTP/SAVP " in answer
            assert "a=3ge2ae:requested" in offer
            assert "a=setup:actpass" in offer
            assert "a=setup:active" in answer
            for text in (offer, answer):
                assert re.search(r"^a=fingerprint:sha-256 (?:[0-9A-F]{2}:){31}[0-9A-F]{2}\r$", text, re.M)
                assert re.search(r"^a=tls-id:[A-Za-z0-9+/_-]{20,255}\r$", text, re.M)
                assert "a=crypto" not in text
                assert "a=connection" not in text
                assert "rtcp-mux" not in text
            await both_have_keys(alice, bob)
            await hear_each_other(alice, bob)
            await rtcp_arrives(alice, bob)
            line = await alice.line()
            assert (line.mechanism, line.scope, line.suite) == ("DTLS-SRTP", "e2ae", "AEAD_AES_128_GCM")
            assert line.keys_in_place
            assert line.assured

    asyncio.run(scenario())


def test_rtcp_mux_is_answered_where_it_is_offered() -> None:
    """DYN-14, DTLS-15: one association keys both."""

    async def scenario() -> None:
        async with side() as alice, side() as bob:
            muxed: dict[str, str] = {}

            def offer_mux(sdp: str) -> str:
                return sdp.replace("a=setup:actpass", "a=rtcp-mux\r\na=setup:actpass")

            def note(sdp: str) -> str:
                muxed["answer"] = sdp
                return sdp.replace("a=rtcp-mux\r\n", "")

            await call(alice, bob, offer_mux, note)
            assert "a=rtcp-mux\r\n" in muxed["answer"]
            # Alice never offered it, so only bob's RTP association has a counterpart: it is one for both.
            await both_have_keys(alice, bob)
            await hear_each_other(alice, bob)

    asyncio.run(scenario())


@pytest.mark.parametrize("role", ["active", "passive"])
def test_either_side_may_begin_the_handshake(role: str) -> None:
    """DTLS-4, DTLS-5."""

    async def scenario() -> None:
        policy = {"dtls_passive_answer": role == "passive"}
        async with side() as alice, side(policy=policy) as bob:
            _, answer = await call(alice, bob)
            assert f"a=setup:{role}\r\n" in answer
            await both_have_keys(alice, bob)
            await hear_each_other(alice, bob)

    asyncio.run(scenario())


@pytest.mark.parametrize("role", ["active", "passive"])
@pytest.mark.parametrize("liar", ["offer", "answer"])
def test_a_wrong_fingerprint_is_told_to_the_dialer_and_nothing_is_heard(role: str, liar: str) -> None:
    """DTLS-8: one bit, both roles, both sides."""

    def one_bit(sdp: str) -> str:
        digest = re.search(r"sha-256 (..)", sdp)
        assert digest is not None
        return sdp.replace(f"sha-256 {digest[1]}", f"sha-256 {int(digest[1], 16) ^ 1:02X}")

    async def scenario() -> None:
        policy = {"dtls_passive_answer": role == "passive"}
        async with side() as alice, side(policy=policy) as bob:
            lies = {"change_offer": one_bit} if liar == "offer" else {"change_answer": one_bit}
            await call(alice, bob, **lies)
            deceived, other = (bob, alice) if liar == "offer" else (alice, bob)
            event = await deceived.until("security_state", "fingerprint_mismatch")
            assert event.state is not None
            assert not event.state.keys_in_place
            await other.phone.send(other.loopback, rtp_packet(1))
            state = await deceived.client.session_status(session=deceived.session)
            assert state.counters[0].packets_received == 0

    asyncio.run(scenario())


def dialog(tag: str) -> api.DialogIdentity:
    return api.DialogIdentity(call_id="call", local_tag="alice", remote_tag=tag)


@pytest.mark.parametrize("passive", [False, True])
def test_another_fork_may_accept_the_call_after_an_early_answer(passive: bool) -> None:
    """DYN-3: what the early one knows opens nothing of the call, and it is heard no more."""

    async def scenario() -> None:
        policy = {"dtls_passive_answer": passive}
        async with side() as alice, side(policy=policy) as bob, side(policy=policy) as carol:
            made = await alice.client.create_offer(sdp=alice.phone.sdp, signalling="integrity", binding="home")
            alice.session = made.session
            answers = {}
            for one in (bob, carol):
                incoming = await one.client.accept_offer(sdp=made.sdp, signalling="integrity", binding="home")
                one.session, one.loopback = incoming.session, audio_port(incoming.sdp or "")
                answers[id(one)] = await one.client.create_answer(session=one.session, sdp=one.phone.sdp)
            early = await alice.client.accept_answer(
                session=alice.session, sdp=answers[id(bob)].sdp, final=False, dialog=dialog("bob")
            )
            alice.loopback = audio_port(early.sdp or "")
            await both_have_keys(alice, bob)
            await hear_each_other(alice, bob)
            alice.events.clear()
            taken = await alice.client.accept_answer(
                session=alice.session, sdp=answers[id(carol)].sdp, final=True, dialog=dialog("carol")
            )
            assert audio_port(taken.sdp or "") == alice.loopback
            await both_have_keys(alice, carol)
            assert [event.reason for event in alice.events if "elsewhere" in (event.reason or "")] == []
            await bob.phone.send(bob.loopback, rtp_packet(2, b"x" * 160, ssrc=0x99))
            await hear_each_other(alice, carol, first=30)
            state = await alice.client.session_status(session=alice.session)
            assert state.lines[0].keys_in_place
            assert (state.counters[0].plain_sent, state.counters[0].plain_received) == (0, 0)
            with pytest.raises(AgentError, match="other_dialog"):
                await alice.client.accept_answer(
                    session=alice.session, sdp=answers[id(bob)].sdp, final=True, dialog=dialog("bob")
                )

    asyncio.run(scenario())


def test_a_rekey_is_a_new_association_and_the_media_go_on() -> None:
    """DTLS-24, DYN-10: no gap; a refresh, on the other hand, changes nothing (DTLS-17)."""

    async def scenario() -> None:
        async with side() as alice, side() as bob:
            first, _ = await call(alice, bob)
            await both_have_keys(alice, bob)
            await hear_each_other(alice, bob)
            for rekey in (False, True):
                alice.events.clear()
                bob.events.clear()
                made = await alice.client.create_offer(
                    sdp=alice.phone.sdp, signalling="integrity", binding="home", session=alice.session, rekey=rekey
                )
                ids = [re.findall("a=tls-id:(.*)\r", sdp) for sdp in (first, made.sdp or "")]
                assert (ids[0] == ids[1]) is not rekey
                await bob.client.accept_offer(sdp=made.sdp, signalling="integrity", binding="home", session=bob.session)
                answer = await bob.client.create_answer(session=bob.session, sdp=bob.phone.sdp)
                await alice.client.accept_answer(session=alice.session, sdp=answer.sdp, final=True)
                await hear_each_other(alice, bob, first=10 + rekey)
                if rekey:
                    await both_have_keys(alice, bob)
                await hear_each_other(alice, bob, first=20 + rekey)
                assert bool([e for e in alice.events if e.kind == "keys_in_place" and e.reason is None]) is rekey

    asyncio.run(scenario())


def test_each_registration_shows_a_certificate_of_its_own() -> None:
    """DTLS-28: the same for all calls of one, another after it was released."""

    async def fingerprint(one: Side) -> str:
        made = await one.client.create_offer(sdp=one.phone.sdp, signalling="integrity", binding="home")
        found = re.search("a=fingerprint:(.*)\r", made.sdp or "")
        assert found is not None
        return found[1]

    async def scenario() -> None:
        async with side() as alice:
            first, second = await fingerprint(alice), await fingerprint(alice)
            await alice.client.registration_release(binding="home")
            await register(alice.client)
            third = await fingerprint(alice)
            assert first == second
            assert first != third

    asyncio.run(scenario())


def test_a_registration_announces_dtls_srtp_where_it_is_switched_on() -> None:
    """REG-1, REG-2, OPEN-1."""

    async def values(**registration: Any) -> list[str]:
        async with (
            running_agent(registration=registration) as agent,
            AgentClient.connect(agent.path) as client,
        ):
            return [header.value for header in await client.registration_offer(binding="home")]

    async def scenario() -> None:
        assert await values() == ["sdes-srtp;mediasec"]
        assert await values(dtls_srtp=True) == BOTH_TOKENS
        assert await values(dtls_srtp=True, dtls_srtp_name="dtls") == ["sdes-srtp;mediasec", "dtls;mediasec"]

    asyncio.run(scenario())


def test_an_edge_that_does_not_say_so_is_believed_where_the_operator_does() -> None:
    """REG-11 (b)."""

    async def scenario() -> None:
        async with (
            running_agent(registration={"dtls_srtp_unannounced": True}) as agent,
            AgentClient.connect(agent.path) as client,
        ):
            before = await client.create_offer(sdp=plain_sdp(5004), signalling="integrity", binding="home")
            await client.registration_offer(binding="home")
            await client.registration_update(binding="home", status=200, security_server=[])
            after = await client.create_offer(sdp=plain_sdp(5004), signalling="integrity", binding="home")
            assert " RTP/AVP " in (before.sdp or "")
            assert " UDP/TLS/RTP/SAVP " in (after.sdp or "")

    asyncio.run(scenario())


def test_without_integrity_of_signalling_a_fingerprint_is_worth_nothing() -> None:
    """GEN-10."""

    async def scenario() -> None:
        async with side() as alice, side() as bob:
            made = await alice.client.create_offer(sdp=alice.phone.sdp, signalling="none", binding="home")
            assert "fingerprint" not in (made.sdp or "")
            secured = await alice.client.create_offer(sdp=alice.phone.sdp, signalling="integrity", binding="home")
            with pytest.raises(AgentError, match="signalling_not_protected"):
                await bob.client.accept_offer(sdp=secured.sdp, signalling="none", binding="home")

    asyncio.run(scenario())


def test_handshake_datagrams_of_strangers_do_not_disturb_a_call() -> None:
    """DTLS-16: at the real sockets, before and after."""

    async def scenario() -> None:
        async with side() as alice, side() as bob:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.setblocking(False)
                stranger.bind(("127.0.0.1", 0))
                offer, _ = await call(alice, bob)
                port = audio_port(offer)
                for data in (
                    b"\x16\xfe\xfd" + bytes(60),
                    b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28",
                    b"\x14",
                    b"?" * 20,
                ):
                    stranger.sendto(data, ("127.0.0.1", port))
                await both_have_keys(alice, bob)
                stranger.sendto(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28", ("127.0.0.1", port))
                await hear_each_other(alice, bob)

    asyncio.run(scenario())


def shake_hands(sock: socket.socket, port: int, rounds: int) -> None:
    """A stranger, who shows cookies, goes on with a handshake as DTLS client, with a certificate of his own."""
    means = Means(new_identity(), (0x0007,), 1200, 64, os.urandom)
    to = Place("127.0.0.1", port)
    stranger = Association(means, rtcp=False)
    stranger.connect(to, 0.0)
    sock.settimeout(0.2)
    for _ in range(rounds):
        for sent in stranger.datagrams:
            sock.sendto(sent.data, ("127.0.0.1", port))
        stranger.datagrams = []
        try:
            stranger.take(sock.recv(2048), to, 0.0)
        except TimeoutError:
            return


def test_strangers_who_begin_and_finish_handshakes_do_not_disturb_a_call() -> None:
    """DTLS-8, TLS-12: before the answer, while the true handshake is due, and during the call, from many places."""

    async def attack(port: int) -> None:
        for rounds in (1, 2, 4, 4, 4, 4, 4):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("127.0.0.1", 0))
                await asyncio.to_thread(shake_hands, sock, port, rounds)

    async def scenario() -> None:
        async with side() as alice, side() as bob:
            made = await alice.client.create_offer(sdp=alice.phone.sdp, signalling="integrity", binding="home")
            alice.session, port = made.session, audio_port(made.sdp or "")
            await attack(port)
            incoming = await bob.client.accept_offer(sdp=made.sdp, signalling="integrity", binding="home")
            bob.session, bob.loopback = incoming.session, audio_port(incoming.sdp or "")
            answer = await bob.client.create_answer(session=bob.session, sdp=bob.phone.sdp)
            await attack(port)
            taken = await alice.client.accept_answer(session=alice.session, sdp=answer.sdp, final=True)
            alice.loopback = audio_port(taken.sdp or "")
            await both_have_keys(alice, bob)
            await hear_each_other(alice, bob)
            await attack(port)
            await hear_each_other(alice, bob, first=20)
            assert (await alice.line()).keys_in_place

    asyncio.run(scenario())


def test_a_wrong_certificate_from_another_address_is_told_at_once() -> None:
    """DTLS-8: the agent is DTLS server and waits for the right one, whom the answer names elsewhere."""

    async def scenario() -> None:
        async with side() as alice:
            made = await alice.client.create_offer(sdp=alice.phone.sdp, signalling="integrity", binding="home")
            alice.session, port = made.session, audio_port(made.sdp or "")
            with Phone() as elsewhere, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                answer = re.sub(r"m=audio \d+", f"m=audio {audio_port(elsewhere.sdp)}", made.sdp or "")
                answer = answer.replace("a=setup:actpass", "a=setup:active")
                await alice.client.accept_answer(session=alice.session, sdp=answer, final=True)
                sock.bind(("127.0.0.1", 0))
                await asyncio.to_thread(shake_hands, sock, port, 4)
                event = await alice.until("security_state", "elsewhere_fingerprint_mismatch")
            assert event.state is not None
            assert (event.state.reason, event.state.keys_in_place) == (None, False)

    asyncio.run(scenario())


def test_a_call_by_sdes_loads_no_tls_library() -> None:
    """An agent that has no use for certificates does without them."""
    program = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from support.local_agent import plain_sdp, running_agent
from ueagent.client import AgentClient

async def main():
    async with running_agent() as agent, AgentClient.connect(agent.path) as client:
        await client.registration_offer(binding="home")
        await client.registration_update(binding="home", status=200, security_server=["sdes-srtp;mediasec"])
        made = await client.create_offer(sdp=plain_sdp(5004), signalling="confidentiality", binding="home")
        assert "a=crypto" in made.sdp

asyncio.run(main())
print([name for name in ("OpenSSL", "cryptography", "h11", "asn1crypto") if name in sys.modules])
"""
    tests = __file__.rsplit("/daemon/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", program, tests], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
