"""A real agent, a lab edge and phones, on loopback, for tests of what a UE does to what a network does."""

from array import array
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from support.lab_ue import new_phone

from ueagent.client import AgentClient
from ueagent.daemon.agent import Agent
from ueagent.daemon.config import AcceleratorConfig, Config, LogConfig, RegistrationConfig, RelayConfig
from ueagent.daemon.logs import open_log
from ueagent.ipc import api
from ueagent.lab.core_net import PhoneNetwork
from ueagent.lab.dialer import Dialer
from ueagent.lab.edge import Edge, EdgeConfig
from ueagent.model.security import SecurityPolicy

VOICE = array("h", range(-16000, 16000, 20))  # ten packets
PACKETS = 10


@dataclass
class Stage:
    agent: AgentClient
    edge: Edge
    dialer: Dialer
    net: PhoneNetwork
    log: StringIO

    async def register(self) -> None:
        await self.dialer.register(self.net)

    async def call(self) -> api.SessionSdp:
        return await self.dialer.call(self.net)

    async def ring(self, *, rekey: bool = False) -> None:
        self.net.answered(await self.dialer.take(await self.net.ring(self.dialer.binding, rekey=rekey)))

    async def talk(self) -> None:
        """Ten packets and two reports each way, every one of them bit for bit."""
        near, far = self.dialer.phone, self.net.phone
        for phone in (near, far):
            phone.forget()
        await near.play(VOICE, 0.001)
        await far.play(VOICE, 0.001)
        assert await far.wait_received(PACKETS, 2, 5)
        assert await near.wait_received(PACKETS, 2, 5)
        assert (far.received, far.rtcp_received) == (near.sent, near.rtcp_sent)
        assert (near.received, near.rtcp_received) == (far.sent, far.rtcp_sent)

    async def line(self) -> api.LineState:
        return (await self.dialer.status()).lines[0]

    async def counters(self) -> api.LineCounters:
        return (await self.dialer.status()).counters[0]


@asynccontextmanager
async def stage(
    edge: EdgeConfig | None = None,
    policy: SecurityPolicy | None = None,
    *,
    strict: bool = False,
    registered: bool = True,
    dtls: bool = False,
    accelerator: AcceleratorConfig | None = None,
) -> AsyncIterator[Stage]:
    """One phone behind an agent, one in the core, an edge between them."""
    async with AsyncExitStack() as stack:
        path = Path(stack.enter_context(TemporaryDirectory())) / "agent.sock"
        config = Config(
            policy=policy or SecurityPolicy(),
            registration=RegistrationConfig(strict=strict, dtls_srtp=dtls),
            relay=RelayConfig(max_legs=4),
            accelerator=accelerator or AcceleratorConfig(),
        )
        log = StringIO()
        await stack.enter_async_context(Agent(config, open_log(LogConfig(level="debug"), log), path))
        agent = await stack.enter_async_context(AgentClient.connect(path))
        network = Edge(edge)
        near, far = new_phone("near"), new_phone("far")
        stack.callback(network.close)
        for phone in (near, far):
            await phone.open()
            stack.callback(phone.close)
        found = Stage(agent, network, Dialer(agent, near, "home"), PhoneNetwork(network, far), log)
        if registered:
            await found.register()
        yield found
