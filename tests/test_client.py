"""The client for softphones: forms of SDP, errors by class, a connection that ends. The far end is the test's own."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.local_agent import running_agent, socket_folder

from ueagent import errors
from ueagent.client import AgentClient, AgentUnreachable, default_socket, sdp_form, sdp_octets
from ueagent.ipc import api


def against(replies: list[bytes], use: Callable[[AgentClient], Awaitable[Any]]) -> Any:
    """What `use` gives when a server answers each call with the next of `replies`, then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            await reader.readuntil(b"\0")
            writer.write(reply)
        writer.close()

    async def whole() -> Any:
        with socket_folder() as folder:
            server = await asyncio.start_unix_server(serve, os.fspath(folder / "s"))
            async with asyncio.timeout(20), server, AgentClient.connect(folder / "s") as client:
                return await use(client)

    return asyncio.run(whole())


def error_reply(name: str, **parameters: Any) -> bytes:
    return json.dumps({"error": name, "parameters": parameters}).encode() + b"\0"


@pytest.mark.parametrize("name", api.ERRORS)
def test_every_error_of_the_agent_arrives_as_its_class(name: str) -> None:
    reply = error_reply(f"org.ueagent.Session.{name}", code="some_code", detail="some detail", field="f")
    with pytest.raises(errors.AgentError) as caught:
        against([reply], lambda client: client.status())
    assert type(caught.value) is getattr(errors, name)
    assert (caught.value.code, caught.value.detail, caught.value.field) == ("some_code", "some detail", "f")


def test_offset_expected_and_status_hint_are_kept() -> None:
    name = "org.ueagent.Session."
    about = {"code": "c", "detail": "d"}
    with pytest.raises(errors.MalformedMessage) as malformed:
        against([error_reply(name + "MalformedMessage", offset=7, **about)], lambda client: client.status())
    assert malformed.value.offset == 7
    with pytest.raises(errors.UnexpectedMessage) as unexpected:
        against([error_reply(name + "UnexpectedMessage", expected=["A"], **about)], lambda client: client.status())
    assert unexpected.value.expected == ("A",)
    with pytest.raises(errors.NegotiationFailed) as failed:
        against([error_reply(name + "NegotiationFailed", sip_status_hint=606, **about)], lambda client: client.status())
    assert failed.value.sip_status_hint == 606


def test_varlink_service_error_is_a_usage_error_with_its_name_as_code() -> None:
    reply = error_reply("org.varlink.service.InvalidParameter", parameter="sdp")
    with pytest.raises(errors.UsageError) as caught:
        against([reply], lambda client: client.status())
    assert caught.value.code == "invalid_parameter"
    assert "sdp" in caught.value.detail


@pytest.mark.parametrize(
    ("short", "parameters", "detail"),
    [
        ("InvalidParameter", {"parameter": "sdp"}, "missing, unknown, or not what the interface says: parameter sdp"),
        ("MethodNotFound", {"method": "a.B"}, "the agent has no such method: method a.B"),
        ("InterfaceNotFound", {"interface": "a"}, "the agent has no such interface: interface a"),
        ("ExpectedMore", {}, "this method answers many times: call it with `more`"),
    ],
)
def test_varlink_service_error_says_what_to_do(short: str, parameters: dict[str, str], detail: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        against([error_reply(f"org.varlink.service.{short}", **parameters)], lambda client: client.status())
    assert caught.value.detail == detail


def test_error_of_another_service_is_a_usage_error() -> None:
    with pytest.raises(errors.UsageError) as caught:
        against([error_reply("org.example.OutOfCheese")], lambda client: client.status())
    assert caught.value.code == "out_of_cheese"


def test_reply_in_many_pieces_is_one_reply() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        for octet in b'{"parameters":{"sessions":[]}}\0':
            writer.write(bytes([octet]))
            await writer.drain()
        writer.close()

    async def whole() -> list[api.SessionState]:
        with socket_folder() as folder:
            server = await asyncio.start_unix_server(serve, os.fspath(folder / "s"))
            async with asyncio.timeout(20), server, AgentClient.connect(folder / "s") as client:
                return await client.status()

    assert asyncio.run(whole()) == []


@pytest.mark.parametrize("replies", [[], [b'{"parameters":{"sess'], [b'{"parameters":{"sessions":[]}}\0']])
def test_agent_that_goes_away_is_unreachable(replies: list[bytes]) -> None:
    async def use(client: AgentClient) -> None:
        await client.status()
        await client.status()

    with pytest.raises(AgentUnreachable):
        against(replies, use)


def test_reply_that_is_no_json_is_malformed() -> None:
    with pytest.raises(errors.MalformedMessage):
        against([b"hello\0"], lambda client: client.status())


def test_nobody_on_the_socket_is_unreachable() -> None:
    async def whole() -> None:
        async with AgentClient.connect("/nowhere/at.sock"):
            pass

    with pytest.raises(AgentUnreachable, match=r"no agent on /nowhere/at\.sock"):
        asyncio.run(whole())


def test_closed_client_is_unreachable_and_closing_twice_is_nothing() -> None:
    async def use(client: AgentClient) -> None:
        await client.close()
        await client.close()
        await client.status()

    with pytest.raises(AgentUnreachable):
        against([], use)


def test_calls_of_several_tasks_get_their_own_replies() -> None:
    async def whole() -> None:
        async with asyncio.timeout(20), running_agent() as agent, AgentClient.connect(agent.path) as client:
            names = [f"binding {number}" for number in range(10)]
            await asyncio.gather(*(client.registration_offer(binding=name) for name in names))
            found = await asyncio.gather(client.describe(), client.status(), client.message_describe())
            assert [type(reply) for reply in found] == [api.DescribeReply, list, api.MessageDescribeReply]

    asyncio.run(whole())


NO_MEDIA = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


def test_whatever_happens_while_listening_is_heard() -> None:
    async def whole() -> None:
        async with (
            asyncio.timeout(20),
            running_agent() as agent,
            AgentClient.connect(agent.path) as client,
            client.listening() as events,
        ):
            made = await client.create_offer(sdp=NO_MEDIA, signalling="none")
            await client.release(session=made.session)
            event = await anext(events)
            assert (event.kind, event.session, event.reason) == ("session_gone", made.session, "released")

    asyncio.run(whole())


def test_subscription_to_a_session_ends_with_it() -> None:
    async def whole() -> None:
        async with asyncio.timeout(20), running_agent() as agent, AgentClient.connect(agent.path) as client:
            made = await client.create_offer(sdp=NO_MEDIA, signalling="none")
            async with client.listening(made.session) as events:
                await client.release(session=made.session)
                assert [event.kind async for event in events] == ["session_gone"]

    asyncio.run(whole())


def test_subscribe_yields_events() -> None:
    async def whole() -> None:
        async with asyncio.timeout(20), running_agent() as agent, AgentClient.connect(agent.path) as client:
            events = client.subscribe()
            first = asyncio.ensure_future(anext(events))
            while not first.done():
                # It stands at some time after its task began: an event from then on is seen.
                made = await client.create_offer(sdp=NO_MEDIA, signalling="none")
                await client.release(session=made.session)
            assert (await first).kind == "session_gone"
            await events.aclose()

    asyncio.run(whole())


def test_call_that_was_given_up_leaves_its_reply_to_nobody_else() -> None:
    async def use(client: AgentClient) -> list[api.SessionState]:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.call("org.test.Slow")
        return await client.status()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        await reader.readuntil(b"\0")  # the second call is there: the first one was given up
        writer.write(b'{"parameters":{"late":1}}\0{"parameters":{"sessions":[]}}\0')
        writer.close()

    async def whole() -> None:
        with socket_folder() as folder:
            server = await asyncio.start_unix_server(serve, os.fspath(folder / "s"))
            async with asyncio.timeout(20), server, AgentClient.connect(folder / "s") as client:
                assert await use(client) == []

    asyncio.run(whole())


def test_stream_that_was_left_early_closes_its_connection() -> None:
    async def whole() -> None:
        async with asyncio.timeout(20), running_agent() as agent, AgentClient.connect(agent.path) as client:
            replies = client.call_more("org.ueagent.Agent.Subscribe")
            await anext(replies)
            await replies.aclose()
            with pytest.raises(AgentUnreachable):
                await client.status()

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("sdp", "form"),
    [
        ("v=0\r\n", {"sdp": "v=0\r\n"}),
        (b"v=0\r\n", {"sdp": "v=0\r\n"}),
        (b"s=\xc3\xa9", {"sdp": "s=é"}),
        (b"s=\xff", {"sdp_base64": "cz3/"}),
        (None, {}),
    ],
)
def test_sdp_travels_as_text_where_it_is_text(sdp: str | bytes | None, form: dict[str, str]) -> None:
    assert sdp_form(sdp) == form


def test_octets_of_a_reply_are_the_same_in_both_forms() -> None:
    assert sdp_octets(api.SessionSdp(session="s", lines=[], sdp="s=é")) == b"s=\xc3\xa9"
    assert sdp_octets(api.SessionSdp(session="s", lines=[], sdp_base64="cz3/")) == b"s=\xff"
    assert sdp_octets(api.OfferFailedReply(retry=False, lines=[])) == b""


def test_default_socket_of_a_user_and_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_socket() == Path("/run/user/1000/ueagent/agent.sock")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_socket() == Path("/run/ueagent/agent.sock")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_socket() == Path("/run/ueagent/agent.sock")
