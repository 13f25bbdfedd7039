"""The lab edge on its socket: as a test dialer uses it, with an agent for a UE, and as a command."""

import asyncio
import importlib.util
import json
import signal
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.lab_stage import Stage, stage
from support.lab_ue import LabUe

from ueagent.cli.commands import main
from ueagent.client import AgentClient, sdp_octets
from ueagent.errors import NegotiationFailed, UsageError
from ueagent.lab import edge_api
from ueagent.lab.edge import Edge, EdgeConfig
from ueagent.lab.edge_service import EdgeService
from ueagent.lab.g711 import PCMU

EDGE = edge_api.INTERFACE
VOICE = array("h", range(-8000, 8000, 10))  # ten packets


@asynccontextmanager
async def edge_on(folder: Path) -> AsyncIterator[AgentClient]:
    path = folder / "edge.sock"
    async with EdgeService(Edge(EdgeConfig()), path, VOICE), AgentClient.connect(path) as client:
        yield client


async def register(edge: AgentClient, here: Stage) -> None:
    headers = await here.agent.registration_offer(binding="home")
    for status in (401, 200):
        named: dict[str, list[str]] = {}
        for header in headers:
            named.setdefault(header.name.lower().replace("-", "_"), []).append(header.value)
        reply = await edge.call(f"{EDGE}.Register", {"binding": "home", **named})
        assert reply["status"] == status
        update = await here.agent.registration_update(
            binding="home", status=reply["status"], security_server=reply["security_server"]
        )
        headers = update.headers
    assert update.mechanisms == ["SDES"]


async def stats(edge: AgentClient) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = (await edge.call(f"{EDGE}.Stats"))["calls"]
    return calls


def test_dialer_with_agent_calls_and_is_called_through_the_socket(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with edge_on(tmp_path) as edge, stage(registered=False) as here:
            await register(edge, here)
            phone = here.dialer.phone
            offer = await here.agent.create_offer(sdp=phone.offer(), signalling="access", binding="home")
            reply = await edge.call(f"{EDGE}.Originate", {"binding": "home", "sdp": sdp_octets(offer).decode()})
            answer = await here.agent.accept_answer(session=offer.session, sdp=reply["sdp"], final=True)
            phone.connect(sdp_octets(answer))
            await phone.play(VOICE, 0.001)
            assert await phone.wait_received(10, 2, 5)
            assert phone.heard() == PCMU.decode(PCMU.encode(VOICE))
            (call,) = await stats(edge)
            assert (call["lines"], call["far_end_received"], call["far_end_sent"]) == (["e2ae"], 10, 10)
            await edge.call(f"{EDGE}.Release", {"call": reply["call"]})
            assert await stats(edge) == []

            phone.forget()
            ringing = await edge.call(f"{EDGE}.Terminate", {"binding": "home", "far_end": "echo"})
            plain = await here.agent.accept_offer(sdp=ringing["sdp"], signalling="access", binding="home")
            secured = await here.agent.create_answer(session=plain.session, sdp=phone.answer(sdp_octets(plain)))
            answer_parameters = {"call": ringing["call"], "sdp": sdp_octets(secured).decode()}
            core = await edge.call(f"{EDGE}.Answer", answer_parameters)
            assert " RTP/AVP 0" in core["core_sdp"]
            await phone.play(VOICE, 0.001)
            assert await phone.wait_received(10, 0, 5)
            assert [packet[12:] for packet in phone.received] == [packet[12:] for packet in phone.sent]

    asyncio.run(scenario())


def test_failures_arrive_as_the_errors_of_the_agents_interface(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with edge_on(tmp_path) as edge:
            with pytest.raises(UsageError, match="no_such_call"):
                await edge.call(f"{EDGE}.Release", {"call": "x"})
            ue = LabUe()
            await ue.open()
            request = {"binding": "home", "sdp": ue.offer("a=3ge2ae:requested").decode()}
            with pytest.raises(NegotiationFailed, match="not_agreed") as refused:
                await edge.call(f"{EDGE}.Originate", request)
            assert refused.value.sip_status_hint == 488
            assert await stats(edge) == []
            ue.pair.close()

    asyncio.run(scenario())


def test_interface_is_published_with_every_method(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with edge_on(tmp_path) as edge:
            reply = await edge.call("org.varlink.service.GetInterfaceDescription", {"interface": EDGE})
            text = reply["description"]
            assert all(f"method {name.rpartition('.')[2]}(" in text for name in edge_api.METHODS)

    asyncio.run(scenario())


# ---------------------------------------------------------------------------------------------------------- command --


def ueagent(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ueagent", *arguments], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_serves_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "edge.sock"
    command = [sys.executable, "-m", "ueagent", "lab", "edge", "--socket", str(path), "--mode", "none"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"lab edge on {path}: mode none, fault none\n"
        done = ueagent("call", "--socket", str(path), f"{EDGE}.Register", '{"binding": "home"}')
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"status": 401, "security_server": [], "unsupported": [], "require": []}
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
    assert not path.exists()


def test_unknown_suite_is_refused_by_name(tmp_path: Path) -> None:
    done = ueagent("lab", "edge", "--socket", str(tmp_path / "x"), "--suite", "AES_256_CM_HMAC_SHA1_80")
    assert done.returncode == 2
    assert "pylibsrtp has no AES_256_CM_HMAC_SHA1_80" in done.stderr


def test_lab_without_a_kind_or_socket_is_a_usage_error() -> None:
    assert ueagent("lab").returncode == 2
    assert ueagent("lab", "edge").returncode == 2


def test_socket_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    done = ueagent("lab", "edge", "--socket", str(tmp_path / "no" / "such" / "x"))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["lab", "demo"])
def test_build_without_the_lab_says_so(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        main([command])
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"ueagent {command}: this ueagent was built without the lab\n"
