"""Every IPC method over a real socket, to a real agent. The far side is a second session or text of the test's own."""

import asyncio
import base64
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.local_agent import Phone, audio_port, plain_sdp, rtp_packet, running_agent

from ueagent.client import AgentClient, AgentUnreachable
from ueagent.daemon.handlers import HANDLERS
from ueagent.errors import (
    AgentError,
    MalformedMessage,
    NegotiationFailed,
    ResourceError,
    UnexpectedMessage,
    UsageError,
)
from ueagent.ipc import api

SERVER_LIST = ["sdes-srtp;mediasec"]
E2E = {"policy": {"sdes_e2e": "preferred", "sdes_e2ae": "off"}}


def key(octets: int = 30) -> str:
    return base64.b64encode(os.urandom(octets)).decode()


def network_sdp(port: int = 40000, *, crypto: str | None = None, extra: str = "") -> str:
    """What the access edge sends."""
    line = "" if crypto is None else f"a=crypto:{crypto}\r\n"
    proto = "RTP/AVP" if crypto is None else "RTP/SAVP"
    return plain_sdp(port, proto=proto) + line + extra


def tag_of(sdp: str, suite: str) -> str:
    found = re.search(rf"^a=crypto:(\d+) {suite} ", sdp, re.MULTILINE)
    assert found, sdp
    return found[1]


def with_agent(**sections: Any) -> Callable[[Callable[[AgentClient], Awaitable[None]]], Callable[[], None]]:
    """Runs the test's coroutine with an agent and a client of it, and bounds its time."""

    def decorate(test: Callable[[AgentClient], Awaitable[None]]) -> Callable[[], None]:
        async def whole() -> None:
            async with (
                asyncio.timeout(30),
                running_agent(**sections) as agent,
                AgentClient.connect(agent.path) as client,
            ):
                await test(client)

        def run() -> None:
            asyncio.run(whole())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


async def register(client: AgentClient, binding: str = "home") -> None:
    await client.registration_offer(binding=binding)
    await client.registration_update(binding=binding, status=401, security_server=SERVER_LIST)
    await client.registration_update(binding=binding, status=200)


async def offer(client: AgentClient, **members: Any) -> api.SessionSdp:
    given: dict[str, Any] = {"sdp": plain_sdp(5000), "signalling": "confidentiality", **members}
    return await client.create_offer(**given)


async def established(client: AgentClient, **members: Any) -> api.SessionSdp:
    """A call by SDES to the access edge of a registered binding."""
    await register(client)
    made = await offer(client, binding="home", **members)
    suite = "AES_CM_128_HMAC_SHA1_80"
    answer = network_sdp(crypto=f"{tag_of(made.sdp or '', suite)} {suite} inline:{key()}")
    return await client.accept_answer(session=made.session, sdp=answer, final=True)


@asynccontextmanager
async def subscribed(client: AgentClient, session: str | None = None) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Replies of a subscription that stands already."""
    async with AgentClient.connect(client._path) as other:
        replies = other.call_more("org.ueagent.Agent.Subscribe", api.SubscribeRequest(session=session))
        assert await anext(replies) == {}
        yield replies


# ------------------------------------------------------------------------------------------------------------ agent --


def test_every_method_has_a_handler_and_no_handler_lacks_a_method() -> None:
    assert list(HANDLERS) == list(api.METHODS)


@with_agent()
async def test_describe_tells_version_mechanisms_suites_engines_and_protection(client: AgentClient) -> None:
    found = await client.describe()
    assert found.mechanisms == ["DTLS-SRTP", "SDES", "TLS", "DTLS"]
    assert "AEAD_AES_128_GCM" in found.suites
    assert not [suite for suite in found.suites if "NULL" in suite or "F8" in suite]
    portable = next(engine for engine in found.engines if engine.name == "portable")
    assert (portable.present, portable.self_test) == (True, "passed")
    assert (found.max_sessions, found.max_message) == (256, 256 * 1024)


@with_agent()
async def test_status_without_calls_is_empty(client: AgentClient) -> None:
    assert await client.status() == []


@with_agent()
async def test_status_lists_the_lines_of_a_call_with_their_counters(client: AgentClient) -> None:
    """POL-9"""
    made = await established(client)
    (session,) = await client.status()
    assert (session.session, session.role, session.state, session.binding) == (
        made.session,
        "offerer",
        "established",
        "home",
    )
    (line,) = session.lines
    assert (line.mechanism, line.keyed_by, line.scope, line.suite) == (
        "SDES",
        "SDES",
        "e2ae",
        "AES_CM_128_HMAC_SHA1_80",
    )
    (counters,) = session.counters
    engines = [engine.name for engine in (await client.describe()).engines]
    assert counters.engine in engines
    assert (counters.packets_sent, counters.packets_received) == (0, 0)


@with_agent()
async def test_subscription_stands_with_its_first_reply_and_tells_when_a_session_has_gone(client: AgentClient) -> None:
    async with subscribed(client) as events:
        made = await offer(client)
        await client.release(session=made.session)
        event = (await anext(events))["event"]
        assert (event["kind"], event["session"], event["reason"]) == ("session_gone", made.session, "released")


@with_agent()
async def test_subscription_to_one_session_hears_no_other_and_ends_with_it(client: AgentClient) -> None:
    wanted, other = await offer(client), await offer(client)
    async with subscribed(client, wanted.session) as events:
        await client.release(session=other.session)
        await client.release(session=wanted.session)
        told = [reply.get("event", {}).get("session") async for reply in events]
        assert told == [wanted.session, None]


@with_agent()
async def test_subscription_to_an_unknown_session_is_refused(client: AgentClient) -> None:
    with pytest.raises(UsageError) as caught:
        await anext(client.subscribe("none"))
    assert caught.value.code == "no_such_session"


@with_agent()
async def test_subscription_without_more_is_refused(client: AgentClient) -> None:
    with pytest.raises(UsageError) as caught:
        await client.call("org.ueagent.Agent.Subscribe")
    assert caught.value.code == "expected_more"


# ----------------------------------------------------------------------------------------------------- registration --


@with_agent()
async def test_registration_offer_announces_what_is_supported(client: AgentClient) -> None:
    """REG-1"""
    headers = await client.registration_offer(binding="home")
    assert [(header.name, header.value) for header in headers] == [("Security-Client", "sdes-srtp;mediasec")]


@with_agent(registration={"sdes": False})
async def test_registration_that_is_switched_off_announces_nothing(client: AgentClient) -> None:
    """GEN-11"""
    assert await client.registration_offer(binding="home") == []


@with_agent(policy={"sdes_e2ae": "off"})
async def test_what_policy_switched_off_is_not_announced(client: AgentClient) -> None:
    """GEN-11: neither at first nor when the network lists it."""
    assert await client.registration_offer(binding="home") == []
    found = await client.registration_update(binding="home", status=401, security_server=SERVER_LIST)
    assert (found.headers, found.request_headers, found.mechanisms) == ([], [], [])
    assert (await client.registration_update(binding="home", status=200, security_server=SERVER_LIST)).mechanisms == []


@with_agent(policy={"sdes_e2ae": "off", "sdes_e2e": "off"})
async def test_agent_with_everything_off_is_a_plain_ims_ue(client: AgentClient) -> None:
    """GEN-1: no token in REGISTER, no attribute in INVITE, and a plain call passes."""
    await client.registration_update(binding="home", status=200, security_server=SERVER_LIST)
    assert await client.registration_offer(binding="home") == []
    made = await offer(client, binding="home")
    for word in ("crypto", "3ge2ae", "SAVP"):
        assert word not in (made.sdp or "")
    reply = await client.accept_answer(session=made.session, sdp=network_sdp(), final=True)
    assert (reply.lines[0].mechanism, reply.lines[0].scope) == ("none", "none")


@with_agent()
async def test_network_that_announced_more_gets_what_is_built_in(client: AgentClient) -> None:
    """GEN-3, POL-5: SDES is always there; DTLS-SRTP in the network's list changes nothing where it is not announced."""
    both = ["dtls-srtp;mediasec", *SERVER_LIST]
    update = await client.registration_update(binding="home", status=200, security_server=both)
    assert update.mechanisms == ["SDES"]
    made = await offer(client, binding="home")
    assert " RTP/SAVP " in (made.sdp or "")
    assert "SDES" in (await client.describe()).mechanisms


@with_agent(registration={"strict": True})
async def test_strict_profile_asks_for_mediasec(client: AgentClient) -> None:
    """REG-14"""
    names = [header.name for header in await client.registration_offer(binding="home")]
    assert {"Require", "Proxy-Require"} <= set(names)


@with_agent()
async def test_registration_update_mirrors_and_learns(client: AgentClient) -> None:
    """REG-4, REG-5"""
    await client.registration_offer(binding="home")
    challenged = await client.registration_update(binding="home", status=401, security_server=SERVER_LIST)
    assert challenged.next == "retry"
    assert ("Security-Verify", "sdes-srtp;mediasec") in [(h.name, h.value) for h in challenged.headers]
    accepted = await client.registration_update(binding="home", status=200)
    assert (accepted.next, accepted.mechanisms) == ("done", ["SDES"])


@with_agent()
async def test_registration_of_one_binding_says_nothing_about_another(client: AgentClient) -> None:
    """REG-8"""
    await register(client, "home")
    await client.registration_offer(binding="office")
    assert "crypto" in ((await offer(client, binding="home")).sdp or "")
    assert "crypto" not in ((await offer(client, binding="office")).sdp or "")


@with_agent()
async def test_release_of_a_binding_forgets_what_it_announced(client: AgentClient) -> None:
    """REG-8"""
    await register(client)
    await client.registration_release(binding="home")
    made = await offer(client, binding="home")
    assert "crypto" not in (made.sdp or "")
    assert "binding_not_registered" in made.warnings
    with pytest.raises(UsageError) as caught:
        await client.registration_release(binding="home")
    assert caught.value.code == "no_such_binding"


@with_agent(ipc={"max_bindings_per_user": 2})
async def test_bindings_of_a_user_are_limited(client: AgentClient) -> None:
    await client.registration_offer(binding="1")
    await client.registration_offer(binding="2")
    with pytest.raises(ResourceError):
        await client.registration_offer(binding="3")


@with_agent()
async def test_security_server_value_that_does_not_parse_is_the_peers_fault(client: AgentClient) -> None:
    with pytest.raises(MalformedMessage):
        await client.registration_update(binding="home", status=401, security_server=['sdes-srtp;q="'])


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb"])
def test_binding_needs_a_proper_name(name: str) -> None:
    @with_agent()
    async def refused(client: AgentClient) -> None:
        with pytest.raises(UsageError):
            await client.registration_offer(binding=name)

    refused()


# ---------------------------------------------------------------------------------------------------------- session --


@with_agent()
async def test_offer_of_a_registered_binding_is_secured(client: AgentClient) -> None:
    await register(client)
    made = await offer(client, binding="home")
    assert made.sdp is not None
    assert "RTP/SAVP" in made.sdp
    assert "a=3ge2ae:requested" in made.sdp


@with_agent()
async def test_offer_without_confidential_signalling_has_no_keys(client: AgentClient) -> None:
    """POL-3"""
    await register(client)
    assert "crypto" not in ((await offer(client, binding="home", signalling="integrity")).sdp or "")


@with_agent()
async def test_answer_comes_back_as_plain_sdp_for_the_dialer(client: AgentClient) -> None:
    made = await established(client)
    assert made.sdp is not None
    assert "RTP/AVP" in made.sdp
    assert "crypto" not in made.sdp
    assert "127.0.0.1" in made.sdp


@with_agent()
async def test_failed_offer_is_repeated_in_plain_where_policy_allows(client: AgentClient) -> None:
    """POL-6"""
    await register(client)
    made = await offer(client, binding="home")
    found = await client.offer_failed(session=made.session, status=488)
    assert found.retry
    assert "RTP/AVP" in (found.sdp or "")


@with_agent()
async def test_failed_offer_with_another_status_ends_the_session(client: AgentClient) -> None:
    made = await offer(client)
    assert not (await client.offer_failed(session=made.session, status=603)).retry
    assert await client.status() == []


@with_agent()
async def test_status_that_is_no_refusal_is_a_usage_error(client: AgentClient) -> None:
    made = await offer(client)
    with pytest.raises(UsageError):
        await client.offer_failed(session=made.session, status=200)


@with_agent()
async def test_offer_of_the_network_is_answered_with_a_key_of_ours(client: AgentClient) -> None:
    await register(client)
    theirs = key()
    crypto = f"7 AES_CM_128_HMAC_SHA1_80 inline:{theirs}"
    incoming = await client.accept_offer(
        sdp=network_sdp(crypto=crypto, extra="a=3ge2ae:applied\r\n"), signalling="confidentiality", binding="home"
    )
    assert incoming.sdp is not None
    assert "RTP/AVP" in incoming.sdp
    assert "crypto" not in incoming.sdp
    answer = await client.create_answer(session=incoming.session, sdp=plain_sdp(5000))
    assert answer.sdp is not None
    assert "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:" in answer.sdp
    assert theirs not in answer.sdp
    assert answer.lines[0].assured


@with_agent()
async def test_declined_offer_ends_the_session(client: AgentClient) -> None:
    incoming = await client.accept_offer(sdp=network_sdp(), signalling="none")
    await client.decline_offer(session=incoming.session)
    assert await client.status() == []


@with_agent()
async def test_session_status_tells_one_session(client: AgentClient) -> None:
    made = await established(client, asserted_identity="sip:alice@example.org")
    found = await client.session_status(session=made.session)
    assert found.lines[0].identity == "sip:alice@example.org"
    assert found.age_ms >= 0


@with_agent()
async def test_released_session_is_gone(client: AgentClient) -> None:
    made = await offer(client)
    await client.release(session=made.session)
    for call in (client.release, client.session_status, client.decline_offer):
        with pytest.raises(UsageError) as caught:
            await call(session=made.session)
        assert caught.value.code == "no_such_session"


@with_agent()
async def test_refresh_and_rekey_are_offers_of_the_same_session(client: AgentClient) -> None:
    made = await established(client)
    refresh = await client.create_offer(session=made.session, sdp=plain_sdp(5000), signalling="confidentiality")
    assert refresh.session == made.session
    assert len(await client.status()) == 1


@with_agent()
async def test_command_in_the_wrong_state_names_what_would_be_right(client: AgentClient) -> None:
    made = await offer(client)
    with pytest.raises(UnexpectedMessage) as caught:
        await client.create_answer(session=made.session, sdp=plain_sdp(5000))
    assert "AcceptAnswer" in caught.value.expected


@with_agent(policy={"sdes_e2ae": "required"})
async def test_required_policy_sends_no_call_without_protection_and_leaves_nothing_behind(client: AgentClient) -> None:
    """POL-4"""
    with pytest.raises(NegotiationFailed):
        await offer(client)
    assert await client.status() == []


@with_agent()
async def test_message_describe_names_no_mechanism(client: AgentClient) -> None:
    assert (await client.message_describe()).mechanisms == []


# -------------------------------------------------------------------------------------------------------- SDP forms --


@with_agent()
async def test_sdp_that_is_not_utf8_travels_as_base64_and_comes_back_so(client: AgentClient) -> None:
    octets = plain_sdp(5000).encode().replace(b"s=-", b"s=\xff\xfe")
    made = await client.create_offer(sdp=octets, signalling="none")
    assert made.sdp is None
    assert b"s=\xff\xfe" in base64.b64decode(made.sdp_base64 or "")


@with_agent()
async def test_sdp_sent_as_base64_comes_back_as_base64_although_it_is_text(client: AgentClient) -> None:
    parameters = {"signalling": "none", "sdp_base64": base64.b64encode(plain_sdp(5000).encode()).decode()}
    found = await client.call("org.ueagent.Session.CreateOffer", parameters)
    assert "sdp" not in found
    assert base64.b64decode(found["sdp_base64"]).startswith(b"v=0")


@pytest.mark.parametrize(
    "given",
    [{}, {"sdp": "v=0", "sdp_base64": "dj0w"}, {"sdp_base64": "not base64!"}, {"sdp_base64": "dj0"}],
    ids=["neither", "both", "no base64", "cut base64"],
)
def test_exactly_one_proper_form_of_sdp_is_set(given: dict[str, str]) -> None:
    @with_agent()
    async def refused(client: AgentClient) -> None:
        with pytest.raises(UsageError):
            await client.call("org.ueagent.Session.CreateOffer", {"signalling": "none", **given})
        assert await client.status() == []

    refused()


@with_agent()
async def test_sdp_with_nul_and_other_control_characters_passes_unharmed(client: AgentClient) -> None:
    made = await client.create_offer(sdp=plain_sdp(5000) + "a=odd:\0\x01é\r\n", signalling="none")
    assert "a=odd:\0\x01é" in (made.sdp or "")


@with_agent()
async def test_sdp_of_64_kib_passes(client: AgentClient) -> None:
    filler = "".join(f"a=x-filler:{number:04} {'.' * 80}\r\n" for number in range(650))
    text = plain_sdp(5000) + filler
    assert 60_000 < len(text) <= 65_536
    assert filler in ((await client.create_offer(sdp=text, signalling="none")).sdp or "")


@with_agent()
async def test_malformed_sdp_is_one_typed_error_and_the_session_goes_on(client: AgentClient) -> None:
    made = await established(client)
    with pytest.raises(MalformedMessage) as caught:
        await client.create_offer(session=made.session, sdp="v=0\r\nm=audio\r\n", signalling="none")
    assert caught.value.field
    assert (await client.session_status(session=made.session)).lines[0].keys_in_place


# ------------------------------------------------------------------------------------------- owners and their limits --


@with_agent()
async def test_session_ends_with_the_connection_that_made_it(client: AgentClient) -> None:
    async with subscribed(client) as events:
        async with AgentClient.connect(client._path) as other:
            made = await offer(other)
        event = (await anext(events))["event"]
        assert (event["session"], event["reason"]) == (made.session, "connection_closed")
        assert await client.status() == []


@with_agent()
async def test_detached_session_outlives_its_connection(client: AgentClient) -> None:
    async with AgentClient.connect(client._path) as other:
        made = await offer(other, detached=True)
    assert [found.session for found in await client.status()] == [made.session]
    await client.release(session=made.session)


@with_agent(ipc={"max_sessions_per_user": 3})
async def test_sessions_of_a_user_are_limited(client: AgentClient) -> None:
    made = [await offer(client) for _ in range(3)]
    with pytest.raises(ResourceError) as caught:
        await offer(client)
    assert caught.value.code == "too_many_sessions"
    await client.release(session=made[0].session)
    await offer(client)


@with_agent(relay={"max_legs": 1})
async def test_call_without_room_in_the_relay_is_refused_and_leaves_nothing_behind(client: AgentClient) -> None:
    await offer(client)
    for _ in range(3):
        with pytest.raises(ResourceError):
            await offer(client)
    assert len(await client.status()) == 1


@with_agent(network={"ports": [42000, 42003]})
async def test_ports_come_from_the_configured_range_even_for_rtp_and_are_given_again(client: AgentClient) -> None:
    for _ in range(5):
        first, second = await offer(client), await offer(client)
        ports = {audio_port(made.sdp or "") for made in (first, second)}
        assert ports == {42000, 42002}
        with pytest.raises(ResourceError):
            await offer(client)
        await client.release(session=first.session)
        await client.release(session=second.session)


@with_agent()
async def test_call_over_ipv6_without_an_address_is_refused(client: AgentClient) -> None:
    sdp = network_sdp().replace("IN IP4 127.0.0.1", "IN IP6 ::1")
    with pytest.raises(AgentError):
        await client.accept_offer(sdp=sdp, signalling="none")
    assert await client.status() == []


@with_agent(network={"address6": "::1"})
async def test_call_over_ipv6_gets_the_configured_address(client: AgentClient) -> None:
    sdp = network_sdp().replace("IN IP4 127.0.0.1", "IN IP6 ::1")
    incoming = await client.accept_offer(sdp=sdp, signalling="none")
    answer = await client.create_answer(session=incoming.session, sdp=plain_sdp(5000))
    assert "IN IP6 ::1" in (answer.sdp or "")


# -------------------------------------------------------------------------------------------------------- real calls --


async def e2e_call(caller: AgentClient, callee: AgentClient, a: Phone, b: Phone) -> tuple[str, str, int, int]:
    """SDP passes between two agents as SIP would carry it. Sessions and loopback ports of both."""
    made = await caller.create_offer(sdp=a.sdp, signalling="confidentiality")
    incoming = await callee.accept_offer(sdp=made.sdp or "", signalling="confidentiality")
    answer = await callee.create_answer(session=incoming.session, sdp=b.sdp)
    final = await caller.accept_answer(session=made.session, sdp=answer.sdp or "", final=True)
    return made.session, incoming.session, audio_port(final.sdp or ""), audio_port(incoming.sdp or "")


def test_speech_crosses_two_agents_as_srtp_and_comes_out_bit_for_bit() -> None:
    async def whole() -> None:
        with Phone() as a, Phone() as b:
            async with (
                asyncio.timeout(30),
                running_agent(**E2E) as one,
                running_agent(**E2E) as two,
                AgentClient.connect(one.path) as caller,
                AgentClient.connect(two.path) as callee,
                subscribed(callee) as events,
            ):
                session, their_session, port_a, port_b = await e2e_call(caller, callee, a, b)
                for number in range(20):
                    packet = rtp_packet(number)
                    await a.send(port_a, packet)
                    assert await b.receive() == packet
                    await b.send(port_b, packet)
                    assert await a.receive() == packet
                kinds = set()
                while "keys_in_place" not in kinds:
                    kinds.add((await anext(events))["event"]["kind"])
                for client, name in ((caller, session), (callee, their_session)):
                    state = await client.session_status(session=name)
                    (counters,) = state.counters
                    assert (counters.packets_sent, counters.packets_received) == (20, 20)
                    assert (counters.plain_sent, counters.plain_received, counters.auth_failures) == (0, 0, 0)
                    assert {(s.direction, s.ssrc, s.packets) for s in counters.streams} == {
                        ("sent", 0x1234, 20),
                        ("received", 0x1234, 20),
                    }
                    assert (state.lines[0].scope, state.lines[0].assured) == ("e2e", False)

    asyncio.run(whole())


def test_released_call_carries_nothing_any_more() -> None:
    """DYN-20"""

    async def whole() -> None:
        with Phone() as a, Phone() as b:
            async with (
                asyncio.timeout(30),
                running_agent(**E2E) as one,
                running_agent(**E2E) as two,
                AgentClient.connect(one.path) as caller,
                AgentClient.connect(two.path) as callee,
            ):
                session, their_session, port_a, _ = await e2e_call(caller, callee, a, b)
                await a.send(port_a, rtp_packet(1))
                await b.receive()
                await caller.release(session=session)
                await a.send(port_a, rtp_packet(2))
                found = await callee.session_status(session=their_session)
                assert found.counters[0].packets_received == 1

    asyncio.run(whole())


@with_agent(engine={"order": ["portable"]}, **E2E)
async def test_engine_of_the_configuration_does_the_work(client: AgentClient) -> None:
    with Phone() as a, Phone() as b:
        session, *_ = await e2e_call(client, client, a, b)
        assert (await client.session_status(session=session)).counters[0].engine == "portable"


def test_engine_that_does_not_exist_is_a_configuration_error() -> None:
    async def whole() -> None:
        async with running_agent(engine={"disabled": ["abacus"]}):
            pass

    with pytest.raises(UsageError) as caught:
        asyncio.run(whole())
    assert (caught.value.code, caught.value.field) == ("bad_config", "engine")


def test_address_that_is_not_this_machines_is_a_configuration_error() -> None:
    async def whole() -> None:
        async with running_agent(network={"address": "192.0.2.77"}):
            pass

    with pytest.raises(UsageError) as caught:
        asyncio.run(whole())
    assert (caught.value.code, caught.value.field) == ("bad_config", "network.address")


# ----------------------------------------------------------------------------------------------------------- the end --


def test_agent_that_stops_ends_calls_and_subscriptions_and_says_so() -> None:
    async def whole() -> None:
        async with asyncio.timeout(30):
            async with running_agent() as agent, AgentClient.connect(agent.path) as client:
                made = await offer(client)
                async with subscribed(client) as events:
                    await agent.close()
                    event = (await anext(events))["event"]
                    assert (event["session"], event["reason"]) == (made.session, "agent_stopped")
                    with pytest.raises(AgentUnreachable):
                        await client.status()
                assert not agent.path.exists()

    asyncio.run(whole())
