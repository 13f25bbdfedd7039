"""Protected MESSAGEs over IPC: two agents, each with its own credentials, and the lab's KMS between them."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.kms_lab import ALICE, BOB, CAROL, TEAM, by_gba, by_psk, lab_kms, psk_of
from support.local_agent import running_agent

from ueagent.client import AgentClient, AgentUnreachable, body_octets, content_octets
from ueagent.errors import (
    AgentError,
    AuthenticationFailed,
    KmsError,
    MalformedMessage,
    NegotiationFailed,
    ResourceError,
    UnexpectedMessage,
    UsageError,
)
from ueagent.ipc import api
from ueagent.lab.faults import KmsFault
from ueagent.lab.kms_service import KmsService
from ueagent.wire.cms import parse_auth_enveloped_data
from ueagent.wire.mikey import DataType
from ueagent.wire.mime import ProtectedBody, build_protected, parse_protected

TEXT = "grüße an alle\n"
LIST_TYPE = "application/resource-lists+xml"
LIST = api.MessagePart(content_type=LIST_TYPE, content="<resource-lists/>", disposition="recipient-list")
PSI = "sip:list@example.com"


@dataclass
class Post:
    """Agents of Alice, Bob and Carol, as dialers have them."""

    kms: KmsService
    agents: dict[str, AgentClient]
    log: io.StringIO

    async def send(self, to: str = BOB, *, by: str = ALICE, **more: Any) -> api.ProtectReply:
        given = {"content_type": "text/plain; charset=utf-8", "content": TEXT, **more}
        return await self.agents[by].protect_message(recipient=to, **given)

    async def read(self, message: api.ProtectReply, who: str = BOB, **more: Any) -> api.OpenReply:
        return await self.agents[who].open_message(content_type=message.content_type, body=body_octets(message), **more)

    async def refusal(self, message: api.ProtectReply, who: str = BOB) -> AgentError:
        with pytest.raises(AgentError) as caught:
            await self.read(message, who)
        return caught.value


@asynccontextmanager
async def posted(
    folder: Path, sections: Callable[..., dict[str, Any]] = by_psk, **more: dict[str, Any]
) -> AsyncIterator[Post]:
    """`more`: further sections of every agent's configuration."""
    log = io.StringIO()
    async with (
        asyncio.timeout(30),
        lab_kms(folder) as kms,
        _agents(folder, kms, sections, more, log) as agents,
    ):
        yield Post(kms, agents, log)


@asynccontextmanager
async def _agents(
    folder: Path, kms: KmsService, sections: Callable[..., dict[str, Any]], more: dict[str, Any], log: io.StringIO
) -> AsyncIterator[dict[str, AgentClient]]:
    def of(user: str) -> dict[str, Any]:
        return {**sections(kms, folder, user, timeout_ms=500, retries=1), **more}

    async with (
        running_agent(log, **of(ALICE)) as one,
        running_agent(log, **of(BOB)) as two,
        running_agent(log, **of(CAROL)) as three,
        AgentClient.connect(one.path) as alice,
        AgentClient.connect(two.path) as bob,
        AgentClient.connect(three.path) as carol,
    ):
        yield {ALICE: alice, BOB: bob, CAROL: carol}


def post(**how: Any) -> Callable[[Callable[[Post], Awaitable[None]]], Callable[[Path], None]]:
    """Runs the test's coroutine with a Post."""

    def decorate(test: Callable[[Post], Awaitable[None]]) -> Callable[[Path], None]:
        async def whole(folder: Path) -> None:
            async with posted(folder, **how) as made:
                await test(made)

        def run(tmp_path: Path) -> None:
            asyncio.run(whole(tmp_path))

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


def changed(message: api.ProtectReply, change: Callable[[ProtectedBody], ProtectedBody]) -> api.ProtectReply:
    """The same message with other MIKEY or S/MIME octets."""
    parts = parse_protected(message.content_type, body_octets(message))
    content_type, body = build_protected(change(parts), "other")
    return api.ProtectReply(
        content_type=content_type, body_base64=base64.b64encode(body).decode(), stream=message.stream
    )


def flipped(octets: bytes, at: int) -> bytes:
    place = at % len(octets)
    return octets[:place] + bytes((octets[place] ^ 1,)) + octets[place + 1 :]


# -------------------------------------------------------------------------------------------------------- the way --


@pytest.mark.parametrize("sections", [by_psk, by_gba], ids=["psk", "gba"])
def test_message_reaches_its_recipient_who_knows_its_sender(tmp_path: Path, sections: Any) -> None:
    """M10, MIME-1, MIME-2: end to end, through a KMS that both trust."""

    async def run() -> None:
        async with posted(tmp_path, sections) as post:
            message = await post.send()
            assert message.content_type.startswith('multipart/mixed;boundary="')
            assert TEXT.strip() not in (message.body or "")
            opened = await post.read(message)
            assert (opened.content, opened.content_type) == (
                TEXT.replace("\n", "\r\n"),
                "text/plain; charset=utf-8",
            )
            assert (opened.sender, opened.origin_proven, opened.warnings) == (ALICE, False, [])
            assert post.kms.requests == 2

    asyncio.run(run())


@post()
async def test_content_that_is_no_text_arrives_octet_by_octet(post: Post) -> None:
    """MIME-5."""
    picture = os.urandom(500)
    opened = await post.read(await post.send(content_type="image/png", content=picture))
    assert opened.content is None
    assert content_octets(opened) == picture


@post()
async def test_long_message_wants_a_stream_and_a_short_one_does_not(post: Post) -> None:
    """MIME-24."""
    message = await post.send(content="x" * 4000)
    assert message.stream
    assert len(body_octets(message)) > 1300
    short = await post.send(content="x")
    assert short.stream == (len(body_octets(short)) > 1300)


@post()
async def test_describe_names_the_mechanism_and_who_we_are(post: Post) -> None:
    found = await post.agents[BOB].message_describe()
    assert (found.mechanisms, found.identities) == (["S/MIME"], [BOB])


@pytest.mark.parametrize("setting", ["allowed", "preferred", "required"])
def test_dialer_is_told_what_policy_wants_of_messages(tmp_path: Path, setting: str) -> None:
    """POL-1."""

    async def run() -> None:
        async with posted(tmp_path, policy={"message_e2e": setting}) as post:
            assert (await post.agents[BOB].message_describe()).setting == setting
            assert (await post.read(await post.send())).sender == ALICE

    asyncio.run(run())


@post(policy={"message_e2e": "off"})
async def test_policy_can_switch_messages_off(post: Post) -> None:
    """POL-1."""
    found = await post.agents[BOB].message_describe()
    assert (found.mechanisms, found.identities, found.setting) == ([], [], "off")
    with pytest.raises(UsageError, match="mechanism_unavailable"):
        await post.send()
    with pytest.raises(UsageError, match="mechanism_unavailable"):
        await post.agents[BOB].open_message(content_type="multipart/mixed", body="")
    assert post.kms.requests == 0


@post(messages={"smime_types": ["application/vnd.3gpp.psk-smime"]})
async def test_another_media_type_may_stand_for_smime(post: Post) -> None:
    """MIME-20, OPEN-13."""
    message = await post.send()
    body = body_octets(message).replace(b"application/pkcs7-mime", b"application/vnd.3gpp.psk-smime")
    opened = await post.agents[BOB].open_message(content_type=message.content_type, body=body)
    assert opened.sender == ALICE


@post(messages={"cipher": "CCM"})
async def test_ccm_is_a_setting_and_both_ciphers_are_opened(post: Post) -> None:
    """MIME-7, MIME-23."""
    message = await post.send()
    parts = parse_protected(message.content_type, body_octets(message))
    assert parse_auth_enveloped_data(parts.cms).algorithm == "aes256-CCM"
    assert (await post.read(message)).sender == ALICE


# ------------------------------------------------------------------------------------------------------ who may read --


@post()
async def test_each_message_has_a_ticket_of_its_own_unless_reuse_is_asked_for(post: Post) -> None:
    """MIME-15, MIME-17, KMS-49: one REQUEST and one RESOLVE serve several messages, each with another KEK."""
    messages = [await post.send(reuse=True) for _ in range(3)]
    assert post.kms.requests == 1
    bodies = [parse_protected(message.content_type, body_octets(message)) for message in messages]
    assert len({body.mikey for body in bodies}) == 3
    for message in messages:
        await post.read(message)
    assert post.kms.requests == 2
    await post.send()
    await post.send()
    assert post.kms.requests == 4


@post()
async def test_members_of_a_list_are_the_resolvers_and_its_server_reads_the_list(post: Post) -> None:
    """MIME-16, KMS-55: the list travels in clear beside what its server cannot open."""
    message = await post.send(PSI, resolvers=[BOB, CAROL], clear=[LIST])
    for who in (BOB, CAROL):
        opened = await post.read(message, who)
        assert (opened.sender, opened.clear) == (ALICE, [LIST])


@post()
async def test_members_of_a_group_may_read_what_is_sent_to_it(post: Post) -> None:
    """KMS-55, KMS-56: the KMS maps individuals to groups."""
    message = await post.send(TEAM)
    assert (await post.read(message, CAROL)).sender == ALICE


@post()
async def test_list_without_resolvers_and_list_that_its_server_cannot_read_are_refused(post: Post) -> None:
    """MIME-16."""
    with pytest.raises(UsageError, match="list_without_resolvers"):
        await post.send(PSI, clear=[LIST])
    with pytest.raises(UsageError, match="protected_list"):
        await post.send(PSI, resolvers=[BOB], content_type=LIST_TYPE)
    assert post.kms.requests == 0


@post()
async def test_sender_that_the_network_asserts_differently_is_told(post: Post) -> None:
    opened = await post.read(await post.send(), asserted_identity=CAROL)
    assert (opened.sender, opened.warnings) == (ALICE, ["asserted_identity_differs"])
    assert (await post.read(await post.send(), asserted_identity=ALICE)).warnings == []


@post(messages={"proof_of_origin": True})
async def test_origin_is_proven_where_both_want_it_and_the_kms_is_asked_each_time(post: Post) -> None:
    """MIME-18, OPEN-15."""
    for _ in range(2):
        opened = await post.read(await post.send(reuse=True))
        assert (opened.sender, opened.origin_proven) == (ALICE, True)
    assert post.kms.requests == 3


# ------------------------------------------------------------------------------------------------------- bad input --


def cut(length: int) -> Callable[[ProtectedBody], ProtectedBody]:
    return lambda parts: replace(parts, mikey=parts.mikey[:length])


BAD: dict[str, tuple[Callable[[ProtectedBody], ProtectedBody], type[AgentError], str, int]] = {
    "truncated transfer": (cut(-40), MalformedMessage, "truncated", 400),
    "oversized transfer": (
        lambda parts: replace(parts, mikey=parts.mikey + bytes(16384)),
        MalformedMessage,
        "too_long",
        400,
    ),
    "truncated content": (
        lambda parts: replace(parts, cms=parts.cms[:-1]),
        MalformedMessage,
        "cms_syntax",
        400,
    ),
    "wrong MAC": (
        lambda parts: replace(parts, mikey=flipped(parts.mikey, -1)),
        AuthenticationFailed,
        "mikey_auth_failure",
        493,
    ),
    "changed content": (
        lambda parts: replace(parts, cms=flipped(parts.cms, -1)),
        AuthenticationFailed,
        "content_tag",
        493,
    ),
    "an answer in place of a transfer": (
        lambda parts: replace(parts, mikey=parts.mikey[:1] + bytes((DataType.TRANSFER_RESP,)) + parts.mikey[2:]),
        UnexpectedMessage,
        "mikey_unexpected_type",
        493,
    ),
    "NULL MAC": (
        lambda parts: replace(parts, mikey=parts.mikey[:-33] + b"\0"),
        NegotiationFailed,
        "mikey_invalid_mac",
        493,
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_message_is_refused_and_the_right_one_still_opens(tmp_path: Path, case: str) -> None:
    """MIME-21: exact error and status; nothing of the content comes out, and nothing has changed."""
    change, kind, code, status = BAD[case]

    async def run() -> None:
        async with posted(tmp_path) as post:
            message = await post.send()
            error = await post.refusal(changed(message, change))
            assert (type(error), error.code, error.sip_status_hint) == (kind, code, status)
            assert (await post.read(message)).sender == ALICE

    asyncio.run(run())


@post()
async def test_replayed_message_is_refused(post: Post) -> None:
    """MIME-15, KMS-51: MIKEY error 1."""
    message = await post.send()
    await post.read(message)
    asked = post.kms.requests
    error = await post.refusal(message)
    assert (error.code, error.sip_status_hint) == ("mikey_invalid_time", 493)
    assert post.kms.requests == asked


@post()
async def test_messages_may_overtake_each_other(post: Post) -> None:
    """Re-ordered: each is opened once, in any order."""
    messages = [await post.send(content=str(number)) for number in range(3)]
    assert [(await post.read(messages[number])).content for number in (2, 0, 1)] == ["2", "0", "1"]


@post()
async def test_two_readers_of_one_message_get_it_once(post: Post) -> None:
    """MIME-15: also when both wait for the KMS at the same time."""
    message = await post.send()
    async with AgentClient.connect(post.agents[BOB]._path) as other:
        outcomes = await asyncio.gather(
            post.read(message),
            other.open_message(content_type=message.content_type, body=body_octets(message)),
            return_exceptions=True,
        )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NegotiationFailed", "OpenReply"]


@post()
async def test_user_that_the_ticket_does_not_name_cannot_read(post: Post) -> None:
    """Wrong user: the KMS refuses with error 7."""
    message = await post.send()
    error = await post.refusal(message, CAROL)
    assert (type(error), error.code, error.sip_status_hint) == (KmsError, "kms_refused", 493)
    assert "MIKEY error 7" in error.detail
    assert (await post.read(message)).sender == ALICE


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (KmsFault.DOWN, KmsError, "kms_unavailable"),
        (KmsFault.SLOW, KmsError, "http_timeout"),
        (KmsFault.WRONG_MAC, AuthenticationFailed, "mikey_auth_failure"),
    ],
)
def test_message_stays_openable_when_the_kms_fails(
    tmp_path: Path, fault: KmsFault, kind: type[AgentError], code: str
) -> None:
    """MIME-21, KMS-12, KMS-13: 493 if it is still possible to say so; later it may open."""

    async def run() -> None:
        async with posted(tmp_path) as post:
            message = await post.send()
            post.kms.kms.fault = fault
            error = await post.refusal(message)
            assert (type(error), error.code, error.sip_status_hint) == (kind, code, 493)
            post.kms.kms.fault = KmsFault.NO_FAULT
            assert (await post.read(message)).sender == ALICE

    asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (KmsFault.EXPIRED, NegotiationFailed, "mikey_invalid_time"),
        (KmsFault.POLICY_CHANGE, KmsError, "ticket_policy_changed"),
        (KmsFault.WRONG_MAC, AuthenticationFailed, "mikey_auth_failure"),
        (KmsFault.UNKNOWN_BTID, KmsError, "kms_unauthorized"),
        (KmsFault.DOWN, KmsError, "kms_unavailable"),
    ],
)
def test_message_is_not_protected_with_what_a_kms_should_not_have_answered(
    tmp_path: Path, fault: KmsFault, kind: type[AgentError], code: str
) -> None:
    """KMS-40: expired, a policy that nobody asked for, a wrong MAC; and then the next one is."""

    async def run() -> None:
        async with posted(tmp_path, by_gba) as post:
            post.kms.kms.fault = fault
            with pytest.raises(AgentError) as caught:
                await post.send()
            assert (type(caught.value), caught.value.code) == (kind, code)
            post.kms.kms.fault = KmsFault.NO_FAULT
            assert (await post.read(await post.send())).sender == ALICE

    asyncio.run(run())


@post()
async def test_flood_of_messages_does_not_reach_the_kms(post: Post) -> None:
    """KMS-52: ten tickets of one sender in a minute; MESSAGE is answered 480."""
    messages = [await post.send(content=str(number)) for number in range(11)]
    asked = post.kms.requests
    for message in messages[:10]:
        await post.read(message)
    error = await post.refusal(messages[10])
    assert (type(error), error.code, error.sip_status_hint) == (ResourceError, "resolve_rate", 480)
    assert post.kms.requests == asked + 10


@post()
async def test_proof_that_nobody_asked_for_is_refused_before_content_comes_out(post: Post) -> None:
    """MIME-18: a group key, where the agent is not set to understand one."""
    async with posted_with_proof(post) as proving:
        message = await proving.protect_message(recipient=BOB, content_type="text/plain", content=TEXT)
    error = await post.refusal(message)
    assert (error.code, error.sip_status_hint) == ("mikey_invalid_ticket_policy", 493)


@asynccontextmanager
async def posted_with_proof(post: Post) -> AsyncIterator[AgentClient]:
    with tempfile.TemporaryDirectory() as folder:
        sections = {**by_psk(post.kms, Path(folder), ALICE), "messages": {"proof_of_origin": True}}
        async with running_agent(**sections) as agent, AgentClient.connect(agent.path) as client:
            yield client


# ----------------------------------------------------------------------------------------------------- our dialer's --


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"content_type": "no type"}, "bad_content_type"),
        ({"content_type": "text/plain\r\nX: y"}, "bad_content_type"),
        ({"recipient": ""}, "bad_identity"),
        ({"recipient": "sip:bøb@example.com"}, "bad_identity"),
        ({"resolvers": [BOB, BOB]}, "bad_resolvers"),
        ({"resolvers": [f"sip:{number}@example.com" for number in range(65)]}, "bad_resolvers"),
        ({"sender": BOB}, "unknown_identity"),
        ({"clear": [LIST] * 15, "resolvers": [BOB]}, "too_many_parts"),
        ({"clear": [api.MessagePart(content_type="text/plain")]}, "content_form"),
        ({"clear": [api.MessagePart(content_type="a/b", content="", disposition="a\nb")]}, "bad_content_type"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_the_kms_is_asked(
    tmp_path: Path, given: dict[str, Any], code: str
) -> None:
    async def run() -> None:
        async with posted(tmp_path) as post:
            members = {"recipient": BOB, "content_type": "text/plain", "content": TEXT, **given}
            with pytest.raises(UsageError) as caught:
                await post.agents[ALICE].protect_message(**members)
            assert caught.value.code == code
            assert post.kms.requests == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"content_type": "text/plain"}, "body_form"),
        ({"content_type": "text/plain", "body": "a", "body_base64": "YQ=="}, "body_form"),
        ({"content_type": "text/plain", "body_base64": "?"}, "not_base64"),
        ({"content_type": "text/plain", "body": "a", "recipient": ALICE}, "unknown_identity"),
    ],
)
def test_request_that_makes_no_sense_is_refused(tmp_path: Path, members: dict[str, str], code: str) -> None:
    async def run() -> None:
        async with posted(tmp_path) as post:
            with pytest.raises(UsageError, match=code):
                await post.agents[BOB].call("org.ueagent.Message.Open", members)

    asyncio.run(run())


@post()
async def test_body_that_is_not_protected_is_malformed(post: Post) -> None:
    with pytest.raises(MalformedMessage) as caught:
        await post.agents[BOB].open_message(content_type="text/plain", body=TEXT)
    assert (caught.value.code, caught.value.sip_status_hint) == ("mime_type", 400)


def test_agent_without_a_kms_protects_and_opens_nothing() -> None:
    async def run() -> None:
        async with running_agent() as agent, AgentClient.connect(agent.path) as client:
            assert (await client.message_describe()).mechanisms == []
            with pytest.raises(UsageError, match="mechanism_unavailable"):
                await client.protect_message(recipient=BOB, content_type="text/plain", content=TEXT)
            with pytest.raises(UsageError) as caught:
                await client.open_message(content_type="multipart/mixed", body="")
            assert caught.value.sip_status_hint == 493

    asyncio.run(run())


@post()
async def test_log_tells_what_happened_and_neither_content_nor_key(post: Post) -> None:
    """POL-8."""
    message = await post.send()
    await post.read(message)
    await post.refusal(message)
    written = post.log.getvalue()
    for word in ("message_protected", "message_opened", "message_refused", "mikey_invalid_time"):
        assert word in written
    for secret in (TEXT.strip(), "grü", psk_of(ALICE).hex(), psk_of(BOB).hex(), BOB, ALICE):
        assert secret not in written


@post()
async def test_agent_that_ends_while_the_kms_is_slow_ends_in_time(post: Post) -> None:
    """Keys of the request are wiped with it; its client is told that the agent has gone."""
    post.kms.kms.fault = KmsFault.SLOW
    with tempfile.TemporaryDirectory() as folder:
        sections = by_psk(post.kms, Path(folder), ALICE, timeout_ms=60_000)
        async with AsyncExitStack() as stack:
            agent = await stack.enter_async_context(running_agent(**sections))
            client = await stack.enter_async_context(AgentClient.connect(agent.path))
            waiting = asyncio.create_task(
                client.protect_message(recipient=BOB, content_type="text/plain", content=TEXT)
            )
            while not post.kms.requests:
                await asyncio.sleep(0)
            await agent.close()
            with pytest.raises(AgentUnreachable):
                await waiting
