"""What an agent and `ueagent engines` tell of a serial accelerator."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.local_agent import running_agent
from ueagent_hw.emulated import EmulatedAccelerator

from ueagent.cli import exits
from ueagent.cli.commands import main
from ueagent.client import AgentClient

NOWHERE = ["--socket", "/no/such/socket"]


@pytest.fixture
def device() -> Iterator[EmulatedAccelerator]:
    emulated = EmulatedAccelerator()
    yield emulated
    emulated.close()


def section(device: EmulatedAccelerator) -> dict[str, object]:
    return {"port": device.port, "device_key": device.public_key.hex()}


def test_describe_tells_the_devices_own_words_and_our_counters(device: EmulatedAccelerator) -> None:
    async def told() -> None:
        async with running_agent(accelerator=section(device)) as agent, AgentClient.connect(agent.path) as client:
            found = await client.describe()
        assert (found.engines[0].name, found.engines[0].present, found.engines[0].self_test) == (
            "serial",
            True,
            "passed",
        )
        assert "AEAD_AES_256_GCM" in found.engines[0].suites
        assert found.accelerator is not None
        assert (found.accelerator.port, found.accelerator.state, found.accelerator.custody) == (
            device.port,
            "up",
            "shared",
        )
        assert found.accelerator.device is not None
        assert (found.accelerator.device.slots, found.accelerator.device.credits) == (16, 16)
        assert found.accelerator.counters is not None
        assert found.accelerator.counters.jobs == 0

    asyncio.run(told())


def test_describe_says_why_there_is_no_session_with_the_device(device: EmulatedAccelerator) -> None:
    wrong = {**section(device), "device_key": bytes(31).hex() + "09"}

    async def told() -> None:
        async with running_agent(accelerator=wrong) as agent, AgentClient.connect(agent.path) as client:
            found = await client.describe()
        assert found.accelerator is not None
        assert (found.engines[0].present, found.accelerator.state) == (False, "stopped")
        assert found.accelerator.reason is not None
        assert "paired" in found.accelerator.reason

    asyncio.run(told())


def test_an_agent_without_an_accelerator_tells_of_none() -> None:
    async def told() -> None:
        async with running_agent() as agent, AgentClient.connect(agent.path) as client:
            found = await client.describe()
        assert found.accelerator is None
        assert "serial" not in [engine.name for engine in found.engines]

    asyncio.run(told())


def test_engines_shows_the_accelerator_of_a_running_agent(
    device: EmulatedAccelerator, capsys: pytest.CaptureFixture[str]
) -> None:
    async def shown() -> None:
        async with running_agent(accelerator=section(device)) as agent:
            assert await asyncio.to_thread(main, ["engines", "--socket", str(agent.path)]) == exits.OK

    asyncio.run(shown())
    printed = capsys.readouterr().out
    for row in (r"^state +up$", r"^firmware +\d", r"^credits +16$", r"^jobs +0$", r"^round trip us +0$"):
        assert re.search(row, printed, re.MULTILINE), row


def test_engines_asks_the_configured_device_when_no_agent_has_it(
    device: EmulatedAccelerator, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'[accelerator]\nport = "{device.port}"\n')
    assert main(["engines", "--json", "--config", str(config), *NOWHERE]) == exits.OK
    found = json.loads(capsys.readouterr().out)["accelerator"]
    assert (found["state"], found["device"]["slots"], found["counters"]) == ("stopped", 16, None)


def test_engines_says_why_the_configured_device_cannot_be_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('[accelerator]\nport = "/dev/no-such-port"\n')
    assert main(["engines", "--config", str(config), *NOWHERE]) == exits.OK
    assert "no-such-port" in capsys.readouterr().out
