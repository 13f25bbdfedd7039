"""Two UEs behind one edge: each access is protected by itself, and every packet goes through the gateway."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from support.lab_stage import PACKETS, VOICE, Stage, stage

from ueagent.client import sdp_octets
from ueagent.lab.alg import Handling
from ueagent.lab.core_net import PeerNetwork
from ueagent.lab.eavesdropper import plaintext_datagrams
from ueagent.lab.phone import Phone
from ueagent.model.security import SecurityPolicy, Setting

SECURED = SecurityPolicy(sdes_e2ae=Setting.REQUIRED)
PLAIN = SecurityPolicy(sdes_e2ae=Setting.OFF, sdes_e2e=Setting.OFF)
E2E = SecurityPolicy(sdes_e2ae=Setting.OFF, sdes_e2e=Setting.REQUIRED)
EACH_WAY = PACKETS + 2  # packets and reports of one phone


async def speak(near: Phone, far: Phone) -> None:
    await near.play(VOICE, 0.001)
    await far.play(VOICE, 0.001)
    assert await far.wait_received(PACKETS, 2, 5)
    assert await near.wait_received(PACKETS, 2, 5)
    assert (far.received, near.received) == (near.sent, far.sent)


async def at_one_edge(stack: AsyncExitStack, caller: SecurityPolicy, callee: SecurityPolicy) -> tuple[Stage, Stage]:
    near = await stack.enter_async_context(stage(policy=caller, registered=False))
    far = await stack.enter_async_context(stage(policy=callee, registered=False))
    far.dialer.binding, far.edge = "away", near.edge
    return near, far


@pytest.mark.parametrize("callee", [SECURED, PLAIN], ids=["to secured", "to plain"])
@pytest.mark.parametrize("caller", [SECURED, PLAIN], ids=["secured", "plain"])
def test_each_access_of_a_call_is_protected_by_itself_and_goes_through_the_gateway(
    caller: SecurityPolicy, callee: SecurityPolicy
) -> None:
    """GEN-2, GEN-7, GEN-8, EDGE-18: 2 x 2 secured and plain, real media both ways."""

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            near, far = await at_one_edge(stack, caller, callee)
            network = PeerNetwork(near.edge, near.edge, far.dialer)
            for dialer in (near.dialer, far.dialer):
                await dialer.register(network)
            await near.dialer.call(network)
            await speak(near.dialer.phone, far.dialer.phone)
            assert network.calls is not None
            said = near.dialer.phone.sent + far.dialer.phone.sent
            ciphertexts = []
            for call, here, policy in zip(network.calls, (near, far), (caller, callee), strict=True):
                secured = policy is SECURED
                assert near.edge.handlings(call) == (Handling.E2AE if secured else Handling.PLAIN,)
                wire = near.edge.wire(call)
                assert len(wire) == 2 * EACH_WAY
                assert plaintext_datagrams(wire, said) == (0 if secured else 2 * EACH_WAY)
                line = await here.line()
                assert (line.scope, line.assured) == (("e2ae", True) if secured else ("none", False))
                ciphertexts.append({datagram.data for datagram in wire})
            assert ciphertexts[0].isdisjoint(ciphertexts[1]) or PLAIN in (caller, callee)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("policy", "peer", "scope", "assured"), [(SECURED, "access-edge", "e2ae", True), (E2E, "server", "e2e", False)]
)
def test_conference_call_is_secured_as_any_other_and_says_where_its_keys_end(
    policy: SecurityPolicy, peer: str, scope: str, assured: bool
) -> None:
    """CONF-1, CONF-2, CONF-3: through the edge e2ae, or e2e SDES with the server, here the second UE."""

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            near, server = await at_one_edge(stack, policy, E2E if policy is E2E else PLAIN)
            network = PeerNetwork(near.edge, near.edge, server.dialer)
            if policy is SECURED:
                await near.dialer.register(network)
            phone, agent = near.dialer.phone, near.agent
            offer = await agent.create_offer(
                sdp=phone.offer(),
                signalling="confidentiality",
                binding=near.dialer.binding,
                conference=True,
                asserted_identity="sip:room@conference.example.org",
            )
            answer = await network.invite(near.dialer.binding, sdp_octets(offer))
            reply = await agent.accept_answer(session=offer.session, sdp=answer, final=True)
            phone.connect(sdp_octets(reply))
            await speak(phone, server.dialer.phone)
            line = (await agent.session_status(session=offer.session)).lines[0]
            assert (line.mechanism, line.peer, line.scope, line.assured) == ("SDES", peer, scope, assured)
            assert (line.identity, line.identity_basis) == ("sip:room@conference.example.org", "asserted")

    asyncio.run(scenario())
