"""Real calls through an emulated accelerator that fails in the middle: agent, lab edge (libsrtp), a phone at each end.

Shared custody: the far end hears every packet, none fails authentication. Device custody: nothing leaves unprotected,
no index is used twice, and the call is held, re-keyed or ended.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import pytest
from support.lab_stage import Stage, stage
from ueagent_hw.emulated import EmulatedAccelerator
from ueagent_native.device import Fault

from ueagent.daemon.config import AcceleratorConfig
from ueagent.ipc import api
from ueagent.lab.eavesdropper import plaintext_datagrams
from ueagent.lab.edge import EdgeConfig
from ueagent.lab.phone import in_order
from ueagent.model.security import CustodyLoss, SecurityPolicy

DEADLINE_MS = 100  # this process plays everybody; an answer that is late is 120 ms late
SPEECH = array("h", range(-16000, 16000, 20))  # ten packets
PACKETS = 10
APART = 0.04  # seconds
PATIENCE = 10.0
DTLS_EDGE = EdgeConfig(own_list=("dtls-srtp;mediasec", "sdes-srtp;mediasec"))


@dataclass(frozen=True)
class Row:
    """What goes wrong, the state it leads to, and the counters that tell it from the others."""

    name: str
    fault: Fault | None  # None: unplugged
    state: str
    marks: Callable[[api.AcceleratorCounters], bool]


ROWS = (
    Row("unplugged", None, "gone", lambda found: found.missed == found.damaged == 0),
    Row("hung", Fault.HANG, "missed", lambda found: found.missed >= 3 and found.damaged == found.late == 0),
    Row("rebooted", Fault.REBOOT, "locked", lambda found: found.wrong == found.damaged == 0),
    Row("babbling", Fault.BABBLE, "missed", lambda found: found.missed >= 3 and found.damaged > 0),
    Row("corrupting", Fault.CORRUPT, "missed", lambda found: found.missed >= 3 and found.damaged > 0),
    Row("late", Fault.LATE, "missed", lambda found: found.missed >= 3 and found.late > 0 and found.damaged == 0),
    Row("wrong", Fault.WRONG, "wrong", lambda found: found.wrong >= 1),  # what was under way with it is wrong, too
    Row("out-of-credits", Fault.BUSY, "refused", lambda found: found.refused >= 3 and found.missed == 0),
    Row("self-test", Fault.SELFTEST, "locked", lambda found: found.wrong == found.damaged == 0),
    Row("disturbed", Fault.DISTURBED, "wrong", lambda found: found.wrong == found.damaged == found.missed == 0),
)
each_failure = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
# In device custody nobody can compare; what is wrong is noticed by who verifies the tag.
each_loss = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.fault is not Fault.WRONG], ids=[row.name for row in ROWS if row.name != "wrong"]
)


@dataclass
class Scene:
    """A call whose keys are in the device, and the agent's events."""

    stage: Stage
    device: EmulatedAccelerator
    events: AsyncGenerator[api.Event, None]

    async def call(self) -> None:
        """A call, or a re-offer; both ends have their keys."""
        await self.stage.call()
        await self.stage.dialer.keyed(PATIENCE)
        assert await self.stage.edge.wait_ready(self.stage.net.call or "", PATIENCE)

    async def accelerator(self) -> api.AcceleratorState:
        found = (await self.stage.agent.describe()).accelerator
        assert found is not None
        return found

    async def counters(self) -> api.AcceleratorCounters:
        found = (await self.accelerator()).counters
        assert found is not None
        return found

    async def loaded(self, keys: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self.counters()).loads < keys:
                await asyncio.sleep(0)

    async def event(self, kind: str, reason: str) -> api.Event:
        async with asyncio.timeout(PATIENCE):
            async for event in self.events:
                if (event.kind, event.reason) == (kind, reason):
                    return event
        raise AssertionError("the events have ended")

    def fail(self, row: Row) -> None:
        if row.fault is None:
            self.device.close()
        else:
            self.device.fail(row.fault)

    async def talk(self, apart: float = 0.001) -> None:
        near, far = self.stage.dialer.phone, self.stage.net.phone
        await asyncio.gather(near.play(SPEECH, apart), far.play(SPEECH, apart))

    async def all_heard(self) -> bool:
        """Every packet and report so far has arrived at the other end, bit for bit."""
        near, far = self.stage.dialer.phone, self.stage.net.phone
        for hears, speaks in ((near, far), (far, near)):
            await hears.wait_received(len(speaks.sent), len(speaks.rtcp_sent), PATIENCE)
        return in_order(far.received) == near.sent and in_order(near.received) == far.sent

    def wire(self) -> list[bytes]:
        """RTP from the agent on the network."""
        call = self.stage.net.call
        assert call is not None
        streams = self.stage.edge.streams(call)
        edges = {stream.access.rtp_port for stream in streams}
        return [found.data for found in self.stage.edge.wire(call) if not found.rtcp and found.destination[1] in edges]

    def edge_failures(self) -> int:
        call = self.stage.net.call
        assert call is not None
        return self.stage.edge.counters(call)["auth_failures"]


@asynccontextmanager
async def scene(
    custody: Literal["shared", "device"] = "shared", policy: SecurityPolicy | None = None, *, dtls: bool = False
) -> AsyncIterator[Scene]:
    device = EmulatedAccelerator()
    try:
        config = AcceleratorConfig(
            port=device.port,
            custody=custody,
            device_key=device.public_key.hex(),
            deadline_ms=DEADLINE_MS,
            verify_every=1,
        )
        async with (
            stage(DTLS_EDGE if dtls else None, policy, dtls=dtls, accelerator=config) as found,
            found.agent.listening() as events,
        ):
            here = Scene(found, device, events)
            await here.call()
            await here.loaded(2 if custody == "shared" else 4)
            yield here
    finally:
        device.close()


@each_failure
def test_shared_the_far_end_hears_everything_whatever_happens_to_the_device(row: Row) -> None:
    async def act() -> None:
        async with scene() as here:
            await here.talk()
            assert await here.all_heard()
            assert (await here.stage.counters()).accelerated == 2 * PACKETS
            here.fail(row)
            await here.talk(APART)
            await here.event("accelerator", row.state)
            assert await here.all_heard()
            await here.talk()
            assert await here.all_heard()
            line = await here.stage.counters()
            assert (line.auth_failures, here.edge_failures()) == (0, 0)
            assert line.engine != "serial"
            assert row.marks(await here.counters())
            near, far = here.stage.dialer.phone, here.stage.net.phone
            call = here.stage.net.call or ""
            assert plaintext_datagrams(here.stage.edge.wire(call), near.sent + far.sent) == 0

    asyncio.run(act())


def test_a_device_that_refuses_its_self_test_is_not_used_again_and_says_so() -> None:
    async def act() -> None:
        async with scene() as here:
            here.device.fail(Fault.SELFTEST)
            await here.talk()
            await here.event("accelerator", "locked")
            async with asyncio.timeout(PATIENCE):
                while "self-test: aes" not in ((await here.accelerator()).reason or "").lower():
                    await asyncio.sleep(0.01)
            assert (await here.accelerator()).state == "locked"
            assert await here.all_heard()

    asyncio.run(act())


def test_more_packets_at_once_than_credits_lose_none() -> None:
    """Shared custody: what finds no credit waits, what finds no place is done by a CPU."""

    async def act() -> None:
        async with scene() as here:
            near = here.stage.dialer.phone
            for number in range(200):
                near.send(bytes([number]) * 160)
            assert await here.all_heard()
            assert (await here.accelerator()).state == "up"
            assert (await here.stage.counters()).auth_failures == here.edge_failures() == 0

    asyncio.run(act())


def test_a_device_that_was_rebooted_serves_the_call_again() -> None:
    async def act() -> None:
        async with scene() as here:
            first = (await here.accelerator()).device
            here.device.fail(Fault.REBOOT)
            await here.talk()
            await here.event("accelerator", "locked")
            await here.event("accelerator", "up")
            await here.loaded(4)
            second = (await here.accelerator()).device
            assert first is not None
            assert second is not None
            assert first.boot != second.boot
            before = (await here.stage.counters()).accelerated
            await here.talk()
            assert await here.all_heard()
            assert (await here.stage.counters()).accelerated == before + 2 * PACKETS

    asyncio.run(act())


# ---------------------------------------------------------------------------------------------- device custody --


def nothing_twice(wire: list[bytes]) -> bool:
    """No SSRC and sequence number in two packets that differ: one keystream for each."""
    seen: dict[bytes, bytes] = {}
    return all(seen.setdefault(packet[2:4] + packet[8:12], packet) == packet for packet in wire)


@each_loss
def test_custody_nothing_leaves_unprotected_and_no_index_twice(row: Row) -> None:
    async def act() -> None:
        async with scene("device") as here:
            await here.talk()
            assert await here.all_heard()
            here.fail(row)
            await here.talk(APART)
            lost = await here.event("engine_failed", "accelerator_lost")
            assert lost.session == here.stage.dialer.session
            await here.event("accelerator", row.state)
            heard = len(here.stage.net.phone.received)
            await here.talk()
            line = (await here.stage.dialer.status()).lines[0]
            assert (line.keys_in_place, line.reason) == (False, "accelerator_lost")
            near, far = here.stage.dialer.phone, here.stage.net.phone
            assert len(far.received) == heard
            wire = here.wire()
            assert len(wire) >= PACKETS
            assert nothing_twice(wire)
            assert plaintext_datagrams(here.stage.edge.wire(here.stage.net.call or ""), near.sent + far.sent) == 0
            assert here.edge_failures() == 0
            assert row.marks(await here.counters())

    asyncio.run(act())


@pytest.mark.parametrize(("dtls", "mechanism"), [(False, "SDES"), (True, "DTLS-SRTP")])
def test_custody_a_call_is_rekeyed_and_goes_on_when_the_device_is_back(dtls: bool, mechanism: str) -> None:
    async def act() -> None:
        async with scene("device", SecurityPolicy(custody_loss=CustodyLoss.REKEY), dtls=dtls) as here:
            await here.talk()
            assert await here.all_heard()
            here.device.fail(Fault.REBOOT)
            await here.talk()
            await here.event("rekey_wanted", "accelerator_lost")
            await here.call()  # the dialer re-offers
            await here.event("accelerator", "up")
            await here.loaded(8)
            for phone in (here.stage.dialer.phone, here.stage.net.phone):
                phone.forget()
            await here.talk()
            assert await here.all_heard()
            line = (await here.stage.dialer.status()).lines[0]
            assert (line.mechanism, line.keys_in_place, line.reason) == (mechanism, True, None)
            assert (await here.stage.counters()).engine == "serial"

    asyncio.run(act())


def test_custody_a_call_ends_when_policy_says_so() -> None:
    async def act() -> None:
        async with scene("device", SecurityPolicy(custody_loss=CustodyLoss.END)) as here:
            here.device.close()
            gone = await here.event("session_gone", "accelerator_lost")
            assert gone.session == here.stage.dialer.session
            assert await here.stage.agent.status() == []

    asyncio.run(act())


def test_custody_a_call_on_hold_is_told_and_stays() -> None:
    async def act() -> None:
        async with scene("device", SecurityPolicy(custody_loss=CustodyLoss.HOLD)) as here:
            here.device.close()
            await here.event("engine_failed", "accelerator_lost")
            await here.event("accelerator", "gone")
            assert (await here.stage.dialer.status()).state == "established"

    asyncio.run(act())
