"""Owners: what one user has, another one does not see. Needs root, to become two users."""

import asyncio
import json
import os
import sys
from typing import Any

import pytest
from support.local_agent import plain_sdp, running_agent

from ueagent.client import AgentClient
from ueagent.daemon.agent import Agent

OTHER = 65534  # nobody
CHILD = """
import json, os, socket, sys
path, uid, calls = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(20)
    s.connect(path)
    for call in calls:
        s.sendall(json.dumps(call).encode() + b"\\0")
        got = b""
        while not got.endswith(b"\\0"):
            got += s.recv(65536) or sys.exit("closed")
        print(got[:-1].decode())
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


async def as_other_user(agent: Agent, *calls: dict[str, Any]) -> list[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CHILD,
        os.fspath(agent.path),
        str(OTHER),
        json.dumps(calls),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.decode().splitlines()]


def open_to_all(agent: Agent) -> None:
    """As if both users were in the socket's group."""
    agent.path.parent.chmod(0o755)
    agent.path.chmod(0o666)


def call(method: str, **parameters: Any) -> dict[str, Any]:
    return {"method": f"org.ueagent.{method}", "parameters": parameters}


@needs_root
def test_session_of_another_user_is_like_one_that_never_was() -> None:
    async def whole() -> None:
        async with asyncio.timeout(60), running_agent() as agent, AgentClient.connect(agent.path) as client:
            open_to_all(agent)
            made = await client.create_offer(sdp=plain_sdp(5000), signalling="none")
            about = {"sdp": plain_sdp(5000)}
            methods: list[tuple[str, dict[str, Any]]] = [
                ("Session.Status", {}),
                ("Session.Release", {}),
                ("Session.DeclineOffer", {}),
                ("Session.OfferFailed", {"status": 488}),
                ("Session.AcceptAnswer", {"final": True, **about}),
                ("Session.CreateAnswer", about),
                ("Session.CreateOffer", {"signalling": "none", **about}),
                ("Session.AcceptOffer", {"signalling": "none", **about}),
            ]
            calls = [call(method, session=made.session, **rest) for method, rest in methods]
            unknown = [call(method, session="0" * 16, **rest) for method, rest in methods]
            found = await as_other_user(agent, *calls, *unknown)
            assert found[: len(methods)] == found[len(methods) :]
            assert {reply["parameters"]["code"] for reply in found} == {"no_such_session"}
            assert len(await client.status()) == 1

    asyncio.run(whole())


@needs_root
def test_status_and_bindings_are_each_users_own() -> None:
    """REG-8"""

    async def whole() -> None:
        async with asyncio.timeout(60), running_agent() as agent, AgentClient.connect(agent.path) as client:
            open_to_all(agent)
            await client.registration_update(binding="home", status=200, security_server=["sdes-srtp;mediasec"])
            await client.create_offer(sdp=plain_sdp(5000), signalling="none")
            offer = {"sdp": plain_sdp(5000), "signalling": "confidentiality", "binding": "home"}
            status, made = await as_other_user(agent, call("Agent.Status"), call("Session.CreateOffer", **offer))
            assert status["parameters"] == {"sessions": []}
            assert "crypto" not in made["parameters"]["sdp"]

    asyncio.run(whole())


@needs_root
def test_limit_of_one_user_leaves_room_for_another() -> None:
    async def whole() -> None:
        limits = {"ipc": {"max_sessions_per_user": 1}}
        async with asyncio.timeout(60), running_agent(**limits) as agent, AgentClient.connect(agent.path) as client:
            open_to_all(agent)
            await client.create_offer(sdp=plain_sdp(5000), signalling="none")
            offer = {"sdp": plain_sdp(5000), "signalling": "none"}
            first, second = await as_other_user(
                agent, call("Session.CreateOffer", **offer), call("Session.CreateOffer", **offer)
            )
            assert "session" in first["parameters"]
            assert second["parameters"]["code"] == "too_many_sessions"

    asyncio.run(whole())


@needs_root
def test_events_go_to_the_owner_only() -> None:
    async def whole() -> None:
        async with asyncio.timeout(60), running_agent() as agent, AgentClient.connect(agent.path) as client:
            open_to_all(agent)
            events = client.call_more("org.ueagent.Agent.Subscribe")
            await anext(events)
            await as_other_user(agent, call("Session.CreateOffer", sdp=plain_sdp(5000), signalling="none"))
            async with AgentClient.connect(agent.path) as second:
                made = await second.create_offer(sdp=plain_sdp(5000), signalling="none")
            assert (await anext(events))["event"]["session"] == made.session

    asyncio.run(whole())


@needs_root
def test_socket_that_is_not_for_others_lets_nobody_else_in() -> None:
    async def whole() -> None:
        async with asyncio.timeout(60), running_agent() as agent:
            agent.path.parent.chmod(0o755)
            with pytest.raises(AssertionError, match="Permission denied"):
                await as_other_user(agent, call("Agent.Status"))

    asyncio.run(whole())
