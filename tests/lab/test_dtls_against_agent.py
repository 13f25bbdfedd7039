"""A real agent at the lab edge with DTLS-SRTP: every role, re-keying, and an edge that does it wrong (EDGE-17)."""

import asyncio
from array import array
from dataclasses import replace

import pytest
from support.lab_stage import Stage, stage

from ueagent.errors import AgentError, PeerError
from ueagent.lab.edge import EdgeConfig
from ueagent.lab.faults import Fault
from ueagent.model.security import SecurityPolicy

BOTH = ("dtls-srtp;mediasec", "sdes-srtp;mediasec")
EDGE = EdgeConfig(own_list=BOTH)
WAIT = 10.0
VOICE = array("h", range(0, 32000, 40))


async def secured(here: Stage) -> None:
    await here.dialer.keyed(WAIT)
    assert here.net.call is not None
    assert await here.net.edge.wait_ready(here.net.call, WAIT)
    line = await here.line()
    assert (line.mechanism, line.scope, line.assured) == ("DTLS-SRTP", "e2ae", True)


@pytest.mark.parametrize("gateway_passive", [False, True])
@pytest.mark.parametrize("suite", ["AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"])
def test_outgoing_call_is_heard_both_ways(suite: str, gateway_passive: bool) -> None:
    """EDGE-11, DTLS-11, DTLS-12: each profile alone, each role."""

    async def scenario() -> None:
        edge = replace(EDGE, suites=(suite,), dtls_passive=gateway_passive)
        async with stage(edge, dtls=True) as here:
            await here.call()
            await secured(here)
            assert (await here.line()).suite == suite
            await here.talk()

    asyncio.run(scenario())


@pytest.mark.parametrize("agent_passive", [False, True])
def test_incoming_call_is_heard_both_ways(agent_passive: bool) -> None:
    """EDGE-12: the agent's answer is active, or passive."""

    async def scenario() -> None:
        policy = SecurityPolicy(dtls_passive_answer=agent_passive)
        async with stage(EDGE, policy, dtls=True) as here:
            await here.ring()
            await secured(here)
            await here.talk()

    asyncio.run(scenario())


def test_the_edge_can_rekey_a_call() -> None:
    """DTLS-24, DTLS-17: an offer with a new tls-id."""

    async def scenario() -> None:
        async with stage(EDGE, dtls=True) as here:
            await here.ring()
            await secured(here)
            await here.talk()
            await here.ring(rekey=True)
            await secured(here)
            await here.talk()

    asyncio.run(scenario())


def test_handshake_before_the_answer_is_completed_when_it_comes() -> None:
    """DTLS-9, EDGE-17."""

    async def scenario() -> None:
        async with stage(replace(EDGE, fault=Fault.EARLY_HELLO), dtls=True) as here:
            await here.call()
            await secured(here)
            await here.talk()

    asyncio.run(scenario())


def test_a_fingerprint_that_is_wrong_in_one_bit_ends_in_silence_and_is_named() -> None:
    """DTLS-8, EDGE-17: outgoing and incoming, the agent being the DTLS client."""

    async def scenario(incoming: bool) -> None:
        async with stage(replace(EDGE, fault=Fault.WRONG_FINGERPRINT, dtls_passive=True), dtls=True) as here:
            await (here.ring() if incoming else here.call())
            with pytest.raises(PeerError, match="fingerprint_mismatch"):
                await here.dialer.keyed(WAIT)
            await here.dialer.phone.play(VOICE, 0)
            here.net.phone.send(bytes(160))
            counters = await here.counters()
            assert (counters.packets_sent, counters.packets_received) == (0, 0)
            assert here.net.phone.received == []

    asyncio.run(scenario(False))
    asyncio.run(scenario(True))


def test_a_dtls_server_refuses_the_wrong_client_and_waits_for_the_right_one() -> None:
    """DTLS-8, EDGE-16, EDGE-17: the gateway hears the alert, and media are held back."""

    async def scenario() -> None:
        async with stage(replace(EDGE, fault=Fault.WRONG_FINGERPRINT), dtls=True) as here:
            await here.call()
            call = here.net.call
            assert call is not None
            async with asyncio.timeout(WAIT):
                while not here.edge.failures(call):
                    await asyncio.sleep(0.001)
            assert "bad certificate" in here.edge.failures(call)[0]
            await here.dialer.phone.play(VOICE, 0)
            assert not (await here.line()).keys_in_place
            assert [one for one in here.edge.wire(call) if one.data[0] >= 128] == []

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [Fault.MISSING_FINGERPRINT, Fault.PLAIN_ANSWER])
def test_an_answer_without_fingerprint_is_refused(fault: Fault) -> None:
    """EDGE-17, POL-6."""

    async def scenario() -> None:
        async with stage(replace(EDGE, fault=fault), dtls=True) as here:
            with pytest.raises(AgentError):
                await here.call()

    asyncio.run(scenario())


def test_silent_gateway_leaves_the_call_without_media() -> None:
    """DTLS-23, EDGE-17: nothing leaves the agent unprotected while nobody answers its handshake."""

    async def scenario() -> None:
        async with stage(replace(EDGE, fault=Fault.SILENT_PEER), dtls=True) as here:
            await here.call()
            await here.dialer.phone.play(VOICE, 0)
            with pytest.raises(PeerError, match="no keys within"):
                await here.dialer.keyed(0.1)
            assert here.net.call is not None
            assert [one for one in here.edge.wire(here.net.call) if one.data[0] >= 128] == []

    asyncio.run(scenario())


def test_agent_that_announces_no_dtls_is_offered_sdes() -> None:
    """EDGE-4: what both sides announced decides."""

    async def scenario() -> None:
        async with stage(EDGE) as here:
            await here.ring()
            assert (await here.line()).mechanism == "SDES"
            await here.talk()

    asyncio.run(scenario())
