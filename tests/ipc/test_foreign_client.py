"""An independent Varlink implementation (PyPI `asyncvarlink`) as client of a real agent."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncvarlink
import pytest
import varlink as reference
from asyncvarlink.serviceerrors import InterfaceNotFound
from asyncvarlink.serviceinterface import VarlinkServiceInterface
from support.local_agent import plain_sdp, running_agent

from ueagent.ipc import api


def with_client(
    test: Callable[[asyncvarlink.VarlinkClientProtocol], Awaitable[None]],
) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30), running_agent() as agent:
            transport, protocol = await asyncvarlink.connect_unix_varlink(
                asyncvarlink.VarlinkClientProtocol, str(agent.path)
            )
            try:
                await test(protocol)
            finally:
                transport.close()
                await asyncio.sleep(0)

    asyncio.run(whole())


async def call(protocol: asyncvarlink.VarlinkClientProtocol, method: str, **parameters: Any) -> Any:
    reply, _ = await protocol.call(asyncvarlink.VarlinkMethodCall(method, parameters))
    return reply.parameters


def test_service_is_introspected_through_the_foreign_proxy() -> None:
    async def test(protocol: asyncvarlink.VarlinkClientProtocol) -> None:
        service = protocol.make_proxy(VarlinkServiceInterface)
        info = await service.GetInfo()
        assert info["product"] == "ueagent"
        assert info["interfaces"] == ["org.varlink.service", *api.INTERFACES]
        for interface in info["interfaces"]:
            found = await service.GetInterfaceDescription(interface=interface)
            assert reference.Interface(found["description"]).name == interface

    with_client(test)


def test_call_with_parameters_is_answered() -> None:
    async def test(protocol: asyncvarlink.VarlinkClientProtocol) -> None:
        made = await call(protocol, "org.ueagent.Session.CreateOffer", signalling="none", sdp=plain_sdp(5000))
        assert made["sdp"].startswith("v=0")
        state = await call(protocol, "org.ueagent.Session.Status", session=made["session"])
        assert state["state"]["state"] == "offering"
        assert await call(protocol, "org.ueagent.Session.Release", session=made["session"]) == {}

    with_client(test)


def test_optional_members_may_be_null() -> None:
    async def test(protocol: asyncvarlink.VarlinkClientProtocol) -> None:
        nulls = dict.fromkeys(["session", "sdp_base64", "binding", "emergency", "detached", "rekey"])
        made = await call(protocol, "org.ueagent.Session.CreateOffer", signalling="none", sdp=plain_sdp(5000), **nulls)
        assert made["sdp"]

    with_client(test)


def test_errors_arrive_with_name_and_parameters() -> None:
    async def test(protocol: asyncvarlink.VarlinkClientProtocol) -> None:
        wrong = asyncvarlink.VarlinkMethodCall("org.ueagent.Session.Status", {"session": "none"})
        reply, _ = await protocol.call(wrong)
        assert reply.error == "org.ueagent.Session.UsageError"
        assert reply.parameters["code"] == "no_such_session"
        with pytest.raises(InterfaceNotFound):
            await protocol.make_proxy(VarlinkServiceInterface).GetInterfaceDescription(interface="org.ueagent.Nothing")

    with_client(test)


def test_subscription_streams_replies() -> None:
    async def test(protocol: asyncvarlink.VarlinkClientProtocol) -> None:
        made = await call(protocol, "org.ueagent.Session.CreateOffer", signalling="none", sdp=plain_sdp(5000))
        replies = protocol.call_more(
            asyncvarlink.VarlinkMethodCall("org.ueagent.Agent.Subscribe", {"session": made["session"]}, more=True)
        )
        first, _ = await anext(replies)
        assert first.continues
        assert first.parameters == {"event": None}
        await replies.aclose()

    with_client(test)
