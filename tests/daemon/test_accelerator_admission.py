"""Device custody admits what the device can do, and says why it does not."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.local_agent import Phone, plain_sdp, running_agent
from ueagent_hw.emulated import EmulatedAccelerator

from ueagent.client import AgentClient
from ueagent.daemon.accelerator import AcceleratorHost
from ueagent.daemon.config import AcceleratorConfig, LogConfig
from ueagent.daemon.logs import open_log
from ueagent.errors import EngineError, ResourceError, UsageError
from ueagent.ipc import api
from ueagent.model.keys import KeySet, MasterKey, RocCarrying, Secret
from ueagent.model.suites import SUITES

E2E = {"sdes_e2e": "preferred"}


@pytest.fixture
def device() -> Iterator[EmulatedAccelerator]:
    emulated = EmulatedAccelerator()
    yield emulated
    emulated.close()


def section(device: EmulatedAccelerator, **more: Any) -> dict[str, Any]:
    return {"port": device.port, "device_key": device.public_key.hex(), "custody": "device", **more}


async def offer(client: AgentClient) -> api.SessionSdp:
    with Phone() as phone:
        return await client.create_offer(sdp=phone.sdp, signalling="confidentiality")


def test_a_call_more_than_the_device_carries_is_refused_with_the_reason(device: EmulatedAccelerator) -> None:
    async def calls() -> None:
        config = section(device, max_streams=2)
        async with running_agent(accelerator=config, policy=E2E) as agent, AgentClient.connect(agent.path) as client:
            first = await offer(client)
            await offer(client)
            with pytest.raises(ResourceError, match="at a time: 2"):
                await offer(client)
            await client.release(session=first.session)
            await offer(client)

    asyncio.run(calls())


def test_shared_a_call_more_than_the_device_carries_is_done_by_a_cpu_and_the_log_says_why(
    device: EmulatedAccelerator,
) -> None:
    async def calls(log: io.StringIO) -> None:
        config = section(device, max_streams=1, custody="shared")
        async with (
            running_agent(log, accelerator=config, policy=E2E) as agent,
            AgentClient.connect(agent.path) as client,
        ):
            await offer(client)
            await offer(client)

    log = io.StringIO()
    asyncio.run(calls(log))
    (line,) = [json.loads(line) for line in log.getvalue().splitlines() if "accelerator_refuses" in line]
    assert line["reason"] == "streams that the accelerator carries at a time: 1"


def test_a_call_is_refused_while_the_device_is_not_there(device: EmulatedAccelerator) -> None:
    wrong = section(device, device_key=bytes(31).hex() + "09")

    async def calls() -> None:
        async with running_agent(accelerator=wrong, policy=E2E) as agent, AgentClient.connect(agent.path) as client:
            with pytest.raises(ResourceError, match="is not there"):
                await offer(client)

    asyncio.run(calls())


def test_a_call_without_keys_needs_no_device(device: EmulatedAccelerator) -> None:
    wrong = section(device, device_key=bytes(31).hex() + "09")

    async def calls() -> None:
        policy = {"sdes_e2ae": "off", "sdes_e2e": "off", "dtls_e2ae": "off"}
        async with running_agent(accelerator=wrong, policy=policy) as agent, AgentClient.connect(agent.path) as client:
            made = await client.create_offer(sdp=plain_sdp(5004), signalling="none")
        assert [line.mechanism for line in made.lines] == ["none"]

    asyncio.run(calls())


def test_streams_that_carry_their_rollover_counter_are_not_to_be_had_with_custody(
    device: EmulatedAccelerator, tmp_path: Path
) -> None:
    """KMS-35: what the device cannot do is refused when the agent starts, not in a call."""

    async def start() -> None:
        psk = tmp_path / "psk"
        psk.touch(mode=0o600)
        psk.write_text("00" * 32)
        kms = {"identity": "sip:kms.example.com", "url": "http://127.0.0.1:9"}
        credentials = {
            "provider": "psk",
            "identities": ["sip:alice@example.com"],
            "psk_identity": "sip:alice@example.com",
            "psk_file": str(psk),
        }
        with pytest.raises(UsageError, match=r"policy\.kms_rcc"):
            async with running_agent(accelerator=section(device), kms=kms, credentials=credentials):
                pass
        without = {"kms_rcc": False}
        async with running_agent(accelerator=section(device), kms=kms, credentials=credentials, policy=without):
            pass

    asyncio.run(start())


@pytest.mark.parametrize("shape", ["rcc", "keys"])
def test_keys_that_no_slot_can_hold_are_refused_with_custody(shape: str) -> None:
    def master() -> MasterKey:
        return MasterKey(Secret(bytes(16)), Secret(bytes(14)))

    host = AcceleratorHost(
        AcceleratorConfig(port="/dev/null", custody="device", trusted_wiring=True),
        open_log(LogConfig(), io.StringIO()),
        lambda event: None,
    )
    suite = SUITES["AES_CM_128_HMAC_SHA1_80"]
    good = KeySet(suite, master(), (master(),))
    host.check(good)
    bad = replace(good, rcc=RocCarrying(2, 64, 14)) if shape == "rcc" else replace(good, receive=(master(), master()))
    with pytest.raises(EngineError) as refused:
        host.check(bad)
    assert refused.value.code == "accelerator_refuses"
    host.close()


def test_only_suites_that_a_slot_can_hold_are_usable(device: EmulatedAccelerator) -> None:
    async def told() -> None:
        async with running_agent(accelerator=section(device)) as agent, AgentClient.connect(agent.path) as client:
            suites = (await client.describe()).suites
        assert "AES_256_CM_HMAC_SHA1_80" in suites
        assert not [suite for suite in suites if "192" in suite]

    asyncio.run(told())
