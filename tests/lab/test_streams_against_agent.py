"""MSRP, BFCP and T.38 between an agent and the lab edge, which ends TLS and DTLS with pyOpenSSL: every role, faults."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Any

import pytest
from support.local_agent import running_agent

from ueagent.client import AgentClient, sdp_octets
from ueagent.errors import AgentError
from ueagent.ipc import api
from ueagent.lab.alg import Handling
from ueagent.lab.edge import Edge, EdgeConfig
from ueagent.lab.faults import Fault, Indication
from ueagent.lab.registrar import RegisterRequest
from ueagent.lab.stream_phone import StreamPhone
from ueagent.model.media import MediaKind

MSRP, BFCP, UDPTL = MediaKind.MSRP, MediaKind.BFCP, MediaKind.UDPTL
ALL = ("msrp-tls;mediasec", "bfcp-tls;mediasec", "udptl-dtls;mediasec")
ANNOUNCED = {"registration": {"msrp": True, "bfcp": True, "udptl": True}, "streams": {"bfcp_tcp": True}}
SOON = 20.0


@dataclass
class Stage:
    """A softphone behind an agent, an edge, and a phone in the core."""

    edge: Edge
    client: AgentClient
    near: StreamPhone
    far: StreamPhone
    session: str = ""
    call: str = ""
    to_core: bytes = b""
    to_ue: bytes = b""

    async def register(self) -> None:
        headers = await self.client.registration_offer(binding="home")
        for _ in range(3):
            client, verify = (
                tuple(header.value for header in headers if header.name == name)
                for name in ("Security-Client", "Security-Verify")
            )
            response = self.edge.register(RegisterRequest("home", client, verify))
            update = await self.client.registration_update(
                binding="home", status=response.status, security_server=list(response.security_server)
            )
            headers = update.headers
            if update.next == "done":
                self.streams = update.streams
                return
        raise AssertionError("not registered")

    async def originate(self) -> None:
        made = await self.client.create_offer(sdp=self.near.offer(), signalling="integrity", binding="home")
        self.session = made.session
        self.call, self.to_core = await self.edge.offer_from_ue("home", sdp_octets(made))
        self.to_ue = self.edge.answer_to_ue(self.call, self.far.answer(self.to_core))
        taken = await self.client.accept_answer(session=self.session, sdp=self.to_ue, final=True)
        self.near.connect(sdp_octets(taken))

    async def terminate(self) -> None:
        self.call, self.to_ue = await self.edge.offer_to_ue("home", self.far.offer())
        incoming = await self.client.accept_offer(sdp=self.to_ue, signalling="integrity", binding="home")
        self.session = incoming.session
        answered = await self.client.create_answer(session=self.session, sdp=self.near.answer(sdp_octets(incoming)))
        self.to_core = self.edge.answer_from_ue(self.call, sdp_octets(answered))
        self.far.connect(self.to_core)

    async def exchange(self) -> None:
        """Something each way, and the other side has it as it was sent."""
        async with asyncio.timeout(SOON):
            await asyncio.gather(self.near.open(), self.far.open())
            assert await self.edge.wait_ready(self.call, SOON)
            await self.keyed()
            for sender, receiver in ((self.near, self.far), (self.far, self.near)):
                sent = [os.urandom(600 * n + 1) for n in range(2)]
                before = len(receiver.messages)
                for data in sent:
                    await sender.send(data)
                if sender.kind is BFCP:
                    while not bytes(receiver.received).endswith(b"".join(sent)):
                        receiver.arrived.clear()
                        await receiver.arrived.wait()
                else:
                    await receiver.wait_messages(before + 2)
                    assert receiver.messages[before:] == sent
                (bridge,) = self.edge.bridges(self.call)
                assert bridge.wire
                assert sent[1] not in bridge.wire

    async def keyed(self) -> api.LineState:
        async with self.client.listening() as events:
            while True:
                (line,) = (await self.client.session_status(session=self.session)).lines
                if line.keys_in_place or line.reason is not None:
                    return line
                await asyncio.wait_for(anext(events), SOON)


def on_stage(kind: MediaKind, test: Any, *, active: tuple[bool, bool] = (True, True), **edge: Any) -> None:
    policy = {"policy": edge.pop("policy", {})}

    async def whole() -> None:
        lab = Edge(EdgeConfig(**{"own_list": ALL, **edge}))
        async with running_agent(**{**ANNOUNCED, **policy}) as agent, AgentClient.connect(agent.path) as client:
            near, far = (StreamPhone(kind, os.urandom, active=one) for one in active)
            stage = Stage(lab, client, near, far)
            await stage.register()
            try:
                await test(stage)
            finally:
                near.close()
                far.close()
                lab.close()
                await asyncio.sleep(0)

    asyncio.run(whole())


KINDS = pytest.mark.parametrize("kind", [MSRP, BFCP, UDPTL])
BOTH = pytest.mark.parametrize("far_opens", [True, False])


@BOTH
@KINDS
def test_the_ue_offers(kind: MediaKind, far_opens: bool) -> None:
    """M5, M7, M9, EDGE-13, EDGE-14, MSRP-4, BFCP-1, T38-1, T38-5: TLS or DTLS ends in the gateway."""

    async def test(stage: Stage) -> None:
        await stage.originate()
        for word in (b"fingerprint", b"3ge2ae", b"TLS"):
            assert word not in stage.to_core
        assert stage.edge.handlings(stage.call) == (Handling.E2AE,)
        await stage.exchange()
        line = await stage.keyed()
        assert (line.scope, line.assured, line.medium) == ("e2ae", True, kind.value)

    on_stage(kind, test, active=(True, far_opens))


@BOTH
@KINDS
def test_the_core_offers(kind: MediaKind, far_opens: bool) -> None:
    """EDGE-13, EDGE-14, MSRP-4, T38-5, T38-6: the UE gets fingerprint and 3ge2ae:applied, and assures the line."""

    async def test(stage: Stage) -> None:
        await stage.terminate()
        assert b"a=3ge2ae:applied" in stage.to_ue
        assert b"a=fingerprint" in stage.to_ue
        assert b"fingerprint" not in stage.to_core
        await stage.exchange()
        line = await stage.keyed()
        assert (line.scope, line.assured, line.peer) == ("e2ae", True, "access-edge")

    on_stage(kind, test, active=(not far_opens, True))


@pytest.mark.parametrize("active_is_client", [True, False])
@pytest.mark.parametrize("direction", ["originate", "terminate"])
def test_bfcp_with_either_rule_of_who_is_client(active_is_client: bool, direction: str) -> None:
    """BFCP-4: the answerer is server, or who opens is client; both call directions."""

    async def test(stage: Stage) -> None:
        await getattr(stage, direction)()
        await stage.exchange()

    policy = {"bfcp_active_is_client": active_is_client}
    on_stage(BFCP, test, policy=policy, bfcp_active_is_client=active_is_client)


@KINDS
@pytest.mark.parametrize("fault", [Fault.WRONG_FINGERPRINT, Fault.MISSING_FINGERPRINT, Fault.PLAIN_ANSWER])
def test_an_edge_that_does_it_wrong_is_refused(kind: MediaKind, fault: Fault) -> None:
    """EDGE-16, EDGE-17, MSRP-7, BFCP-8, T38-9."""

    async def test(stage: Stage) -> None:
        if fault is not Fault.WRONG_FINGERPRINT:
            with pytest.raises(AgentError) as refused:
                await stage.originate()
            assert refused.value.code in ("no_fingerprint", "transport_mismatch")
            return
        await stage.originate()
        line = await stage.keyed()
        assert (line.reason, line.keys_in_place, line.assured) == ("fingerprint_mismatch", False, False)
        async with asyncio.timeout(SOON):
            while not stage.edge.failures(stage.call):
                await asyncio.sleep(0.01)

    on_stage(kind, test, fault=fault)


@pytest.mark.parametrize("announced", ALL)
def test_each_medium_has_its_own_word(announced: str) -> None:
    """REG-2, REG-20, T38-4."""
    words = dict(zip(ALL, ("msrp", "bfcp", "udptl"), strict=True))

    async def test(stage: Stage) -> None:
        assert stage.streams == [words[announced]]
        await stage.originate()

    kind = MediaKind(words[announced])
    on_stage(kind, test, own_list=(announced,))

    async def other(stage: Stage) -> None:
        with pytest.raises(AgentError) as refused:
            await stage.originate()
        assert refused.value.code == "not_announced"

    on_stage(next(one for one in (MSRP, BFCP, UDPTL) if one is not kind), other, own_list=(announced,))


def test_a_line_without_a_request_is_none_of_the_edges_business() -> None:
    """EDGE-15: transport and every attribute of TLS pass unmodified; no gateway is in between."""

    async def test(stage: Stage) -> None:
        made = await stage.client.create_offer(sdp=stage.near.offer(), signalling="integrity", binding="home")
        offer = sdp_octets(made).replace(b"a=3ge2ae:requested\r\n", b"")
        stage.call, to_core = await stage.edge.offer_from_ue("home", offer)
        assert to_core == offer
        stage.edge.answer_to_ue(stage.call, offer)
        assert stage.edge.handlings(stage.call) == (Handling.UNTOUCHED,)
        assert stage.edge.bridges(stage.call) == ()

    on_stage(MSRP, test, indication=Indication.APPLIED)
