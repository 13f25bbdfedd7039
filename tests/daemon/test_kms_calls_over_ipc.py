"""Calls through the lab's KMS, as two dialers see them over IPC: real agents, HTTP, media."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.kms_lab import ALICE, BOB, by_psk, lab_kms
from support.local_agent import Phone, audio_port, rtp_packet, running_agent
from support.stream_calls import Side, say, side
from support.stream_lines import MSRP

from ueagent.client import AgentClient
from ueagent.daemon.agent import Agent
from ueagent.errors import AgentError, NegotiationFailed, UnexpectedMessage, UsageError
from ueagent.ipc import api
from ueagent.lab.faults import KmsFault
from ueagent.lab.kms_service import KmsService

POLICY = {"kms_e2e": "preferred", "sdes_e2e": "off", "sdes_e2ae": "off"}


@dataclass
class Stage:
    kms: KmsService
    agents: dict[str, Agent]
    alice: AgentClient
    bob: AgentClient

    def client(self, name: str) -> AgentClient:
        return AgentClient.connect(self.agents[name].path)


@asynccontextmanager
async def stage(folder: Path, policy: dict[str, Any] | None = None, **kms: Any) -> AsyncIterator[Stage]:
    """A KMS, an agent for each of Alice and Bob, and a dialer at each."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(lab_kms(folder))
        agents, clients = {}, {}
        for name, user in (("alice", ALICE), ("bob", BOB)):
            sections = {**by_psk(service, folder, user, **kms), "policy": policy or POLICY}
            agents[name] = await stack.enter_async_context(running_agent(**sections))
            clients[name] = await stack.enter_async_context(AgentClient.connect(agents[name].path))
        yield Stage(service, agents, clients["alice"], clients["bob"])


def run(folder: Path, test: Callable[[Stage], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30), stage(folder, **options) as found:
            await test(found)

    asyncio.run(whole())


async def call(found: Stage, alice: Phone, bob: Phone) -> tuple[api.SessionSdp, api.SessionSdp]:
    """A call from Alice to Bob: what each dialer has at its end."""
    offer = await found.alice.create_offer(sdp=alice.sdp, signalling="none", called=BOB)
    ringing = await found.bob.accept_offer(sdp=offer.sdp or "", signalling="none")
    assert ringing.lines[0].identity == ALICE
    answer = await found.bob.create_answer(session=ringing.session, sdp=bob.sdp)
    done = await found.alice.accept_answer(session=offer.session, sdp=answer.sdp or "", final=True)
    return done, ringing


def test_voices_pass_end_to_end_and_both_dialers_hear_who_the_other_is(tmp_path: Path) -> None:
    """M4, KMS-41..47: nothing protects SIP; two requests reach the KMS; both directions of real RTP."""

    async def test(found: Stage) -> None:
        with Phone() as alice, Phone() as bob:
            at_alice, at_bob = await call(found, alice, bob)
            await alice.send(audio_port(at_alice.sdp or ""), rtp_packet(1))
            assert await bob.receive() == rtp_packet(1)
            await bob.send(audio_port(at_bob.sdp or ""), rtp_packet(7))
            assert await alice.receive() == rtp_packet(7)
            for client, session, other in (
                (found.alice, at_alice.session, BOB),
                (found.bob, at_bob.session, ALICE),
            ):
                (line,) = (await client.session_status(session=session)).lines
                assert (line.mechanism, line.keyed_by, line.scope) == ("MIKEY-TICKET", "MIKEY-TICKET", "e2e")
                assert (line.identity, line.identity_basis, line.assured) == (other, "verified", True)

    run(tmp_path, test)


def test_the_kms_going_away_changes_nothing_for_the_call(tmp_path: Path) -> None:
    """Hold and resume go on without it."""

    async def test(found: Stage) -> None:
        with Phone() as alice, Phone() as bob:
            at_alice, at_bob = await call(found, alice, bob)
            found.kms.kms.fault = KmsFault.DOWN
            held = alice.sdp + "a=sendonly\r\n"
            offer = await found.alice.create_offer(sdp=held, signalling="none", session=at_alice.session)
            await found.bob.accept_offer(sdp=offer.sdp or "", signalling="none", session=at_bob.session)
            answer = await found.bob.create_answer(session=at_bob.session, sdp=bob.sdp + "a=recvonly\r\n")
            await found.alice.accept_answer(session=at_alice.session, sdp=answer.sdp or "", final=True)
            await alice.send(audio_port(at_alice.sdp or ""), rtp_packet(9))
            assert await bob.receive() == rtp_packet(9)

    run(tmp_path, test)


@asynccontextmanager
async def waiting(found: Stage, client: AgentClient, phone: Phone) -> AsyncIterator[asyncio.Task[api.SessionSdp]]:
    """An offer that waits for a slow KMS."""
    found.kms.kms.fault = KmsFault.SLOW
    task = asyncio.create_task(client.create_offer(sdp=phone.sdp, signalling="none", called=BOB))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, AgentError, OSError):
            await task


async def opening(client: AgentClient) -> str:
    """The session that waits, as soon as there is one."""
    while True:
        for state in await client.status():
            if state.state == "opening":
                return state.session


async def no_sessions(client: AgentClient) -> None:
    while await client.status():
        pass


def test_one_slow_kms_delays_nobody_else_and_giving_up_works(tmp_path: Path) -> None:
    """While one offer waits, another command of that session is refused, other calls go on, and Release ends it."""

    async def test(found: Stage) -> None:
        with Phone() as alice:
            second = found.client("alice")
            async with second, waiting(found, found.alice, alice) as task:
                session = await opening(second)
                with pytest.raises(UnexpectedMessage):
                    await second.create_answer(session=session, sdp=alice.sdp)
                plain = await second.create_offer(sdp=alice.sdp, signalling="none")
                assert plain.lines[0].reason == "nobody_called"
                await second.release(session=plain.session)
                await second.release(session=session)
                with pytest.raises(UnexpectedMessage, match="given_up"):
                    await task
                assert await second.status() == []

    run(tmp_path, test)


def test_a_client_that_leaves_while_the_kms_is_asked_leaves_nothing(tmp_path: Path) -> None:
    async def test(found: Stage) -> None:
        with Phone() as alice:
            client = found.client("alice")
            async with client, waiting(found, client, alice):
                await opening(found.alice)
                await client.close()
                await no_sessions(found.alice)

    run(tmp_path, test)


def test_a_refused_offer_tells_what_the_answer_may_say(tmp_path: Path) -> None:
    """KMS-51, KMS-53: a replay gets 488, a Warning, and an Error message for a=key-mgmt."""

    async def test(found: Stage) -> None:
        with Phone() as alice, Phone() as bob:
            at_alice, _ = await call(found, alice, bob)
            offer = await found.alice.create_offer(sdp=alice.sdp, signalling="none", called=BOB)
            await found.bob.accept_offer(sdp=offer.sdp or "", signalling="none")
            with pytest.raises(NegotiationFailed) as caught:
                await found.bob.accept_offer(sdp=offer.sdp or "", signalling="none")
            assert (caught.value.sip_status_hint, caught.value.sip_warning) == (488, 399)
            assert (caught.value.key_mgmt or "").startswith("mikey AQ")
            assert at_alice.session != offer.session

    run(tmp_path, test)


def test_a_demand_that_no_kms_can_meet_fails_the_offer(tmp_path: Path) -> None:
    """POL-4: nothing is sent, nothing is left."""

    async def test(found: Stage) -> None:
        found.kms.kms.fault = KmsFault.DOWN
        with Phone() as alice:
            with pytest.raises(NegotiationFailed, match="security_required"):
                await found.alice.create_offer(sdp=alice.sdp, signalling="none", called=BOB)
            assert await found.alice.status() == []

    run(tmp_path, test, policy={**POLICY, "kms_e2e": "required"}, retries=0)


def test_a_chat_beside_the_voice_runs_over_tls_with_keys_of_the_same_bundle(tmp_path: Path) -> None:
    """M6, KMS-61, KMS-80, KMS-84: a real TLS-PSK connection between two agents; the dialers see plain MSRP."""

    async def test(alice: Side, bob: Side) -> None:
        with Phone() as voice:
            audio = voice.sdp[voice.sdp.index("m=") :]
            offered, answered = (
                one.describe(MSRP, setup) + audio for one, setup in ((alice, "actpass"), (bob, "active"))
            )
            bob.role = "active"
            made = await alice.client.create_offer(sdp=offered, signalling="none", called=BOB)
            assert (made.sdp or "").count("a=key-mgmt:") == 1
            incoming = await bob.client.accept_offer(sdp=made.sdp or "", signalling="none")
            bob.session, bob.plain = incoming.session, incoming.sdp or ""
            answer = await bob.client.create_answer(session=bob.session, sdp=answered)
            taken = await alice.client.accept_answer(session=made.session, sdp=answer.sdp or "", final=True)
            alice.session, alice.plain = made.session, taken.sdp or ""
            at_bob = await bob.connect()
            await say(at_bob, bob.message(b"hello alice"))
            at_alice = await alice.connect()
            await say(at_alice, alice.message(b"hello bob"))
            heard = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(at_alice, 4096), 10)
            assert b"hello alice" in heard
            for one, other in ((alice, BOB), (bob, ALICE)):
                await one.until("keys_in_place")
                chat, talk = (await one.client.session_status(session=one.session)).lines
                assert (chat.mechanism, chat.keyed_by, chat.scope) == ("TLS-PSK", "MIKEY-TICKET", "e2e")
                assert (chat.identity, chat.identity_basis, talk.identity) == (other, "verified", other)
                assert "PSK" in (chat.suite or "")
            at_alice.close()
            at_bob.close()

    async def whole() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(asyncio.timeout(30))
            kms = await stack.enter_async_context(lab_kms(tmp_path))
            sides = [
                await stack.enter_async_context(side(**by_psk(kms, tmp_path, user), policy=POLICY))
                for user in (ALICE, BOB)
            ]
            await test(*sides)

    asyncio.run(whole())


def test_who_is_called_and_who_calls_are_checked(tmp_path: Path) -> None:
    """KMS-54."""

    async def test(found: Stage) -> None:
        with Phone() as alice:
            with pytest.raises(UsageError, match="bad_identity"):
                await found.alice.create_offer(sdp=alice.sdp, signalling="none", called="a\nb")
            with pytest.raises(UsageError, match="unknown_identity"):
                await found.alice.create_offer(sdp=alice.sdp, signalling="none", called=BOB, caller=BOB)

    run(tmp_path, test)
