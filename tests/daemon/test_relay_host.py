"""Between sessions and the C relay: events, ports, failures, and the end of keys."""

import asyncio
import io
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.local_agent import Phone, audio_port, plain_sdp, rtp_packet, running_agent
from support.relay_rig import udp
from ueagent_native.relay import EventKind, RelayEvent
from ueagent_native.values import NativeError, Status

from ueagent.client import AgentClient
from ueagent.daemon.config import LogConfig, NetworkConfig, RelayConfig
from ueagent.daemon.logs import open_log
from ueagent.daemon.relay_host import TRANSLATIONS, RelayHost, media_event, translated
from ueagent.errors import AgentError, EngineError, ResourceError
from ueagent.model.keys import KeySet, MasterKey, RocCarrying, Secret
from ueagent.model.media import Endpoint
from ueagent.model.suites import SUITES
from ueagent.session.commands import Media
from ueagent.session.effects import InstallKeys, OpenRelay


def host(network: NetworkConfig | None = None) -> RelayHost:
    return RelayHost(network or NetworkConfig(), RelayConfig(max_legs=4), {}, open_log(LogConfig(), io.StringIO()))


def key_set() -> KeySet:
    def master() -> MasterKey:
        return MasterKey(Secret(os.urandom(16)), Secret(os.urandom(14)))

    return KeySet(SUITES["AES_CM_128_HMAC_SHA1_80"], master(), (master(),))


def test_every_event_of_the_relay_is_translated_or_concerns_no_session() -> None:
    assert set(EventKind) - set(TRANSLATIONS) == {EventKind.LEG_CLOSED, EventKind.LOST, EventKind.ACCELERATOR}
    assert {row.media for row in TRANSLATIONS.values()} == set(Media)


@pytest.mark.parametrize(
    ("kind", "a", "member", "value"),
    [
        (EventKind.FIRST_PACKET, 7, "ssrc", 7),
        (EventKind.AUTH_BURST, 20, "count", 20),
        (EventKind.RESTART, 7, "ssrc", 7),
        (EventKind.SOFT_LIMIT, 0, "direction", "sent"),
        (EventKind.SOFT_LIMIT, 1, "direction", "received"),
        (EventKind.KEY_EXPIRED, 1, "direction", "received"),
        (EventKind.RESTART, 7, "direction", "sent"),
        (EventKind.AUTH_BURST, 20, "direction", "received"),
        (EventKind.PEER_MOVED, 0, "direction", None),
    ],
)
def test_numbers_of_an_event_become_what_they_mean(kind: EventKind, a: int, member: str, value: object) -> None:
    found = media_event(3, RelayEvent(kind, 99, a, 0))
    assert found is not None
    assert (found.leg, found.kind) == (3, TRANSLATIONS[kind].media)
    assert getattr(found, member) == value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.ENGINE, EngineError),
        (Status.SELF_TEST, EngineError),
        (Status.UNSUPPORTED, EngineError),
        (Status.NO_ROOM, ResourceError),
        (Status.SYSTEM, ResourceError),
        (Status.BUSY, ResourceError),
    ],
)
def test_failure_of_the_core_becomes_one_of_the_error_tree(status: Status, kind: type[AgentError]) -> None:
    assert type(translated(NativeError(status, "call"))) is kind


def test_failure_that_no_correct_call_provokes_stays_what_it_is() -> None:
    with pytest.raises(NativeError):
        translated(NativeError(Status.BAD_ARGUMENT, "call"))


def test_leg_has_even_rtp_and_next_rtcp_port_on_both_sides() -> None:
    """RFC 3550, 11"""
    relay = host()
    _, network, loopback = relay.open_leg(OpenRelay(0, never_plain=False))
    for endpoint in (network, loopback):
        assert endpoint.address == "127.0.0.1"
        assert endpoint.rtp_port % 2 == 0
        assert endpoint.rtcp_port == endpoint.rtp_port + 1
    relay.close()


def test_muxed_leg_has_one_port_towards_the_network_and_two_towards_the_dialer() -> None:
    relay = host()
    _, network, loopback = relay.open_leg(OpenRelay(0, never_plain=False, rtcp_mux=True))
    assert network.rtp_port == network.rtcp_port
    assert loopback.rtcp_port == loopback.rtp_port + 1
    relay.close()


def free_pair() -> int:
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
            found.bind(("127.0.0.1", 0))
            port = int(found.getsockname()[1])
        if port % 2 == 0 and port < 65000:
            return port


def endpoint_of(sock: socket.socket) -> Endpoint:
    address, port = sock.getsockname()
    return Endpoint(address, port, port + 1)


def test_keys_with_roc_carrying_reach_the_packets() -> None:
    """KMS-35, RCC-1: SEQ 128 carries the ROC, 129 has a MAC of the whole tag (RFC 4771, 5)."""

    async def run() -> list[bytes]:
        relay = host()
        leg, _, loopback = relay.open_leg(OpenRelay(0, never_plain=True))
        relay.start(lambda *_: None, lambda *_: None)
        with udp() as peer, udp() as dialer:
            relay.set_peer(leg, endpoint_of(peer))
            relay.set_dialer(leg, endpoint_of(dialer))
            relay.install(leg, InstallKeys(leg, replace(key_set(), rcc=RocCarrying(mode=2, rate=64, tag_length=14))))
            relay.set_mode(leg, "secure")
            for seq in (128, 129):
                dialer.sendto(rtp_packet(seq), (loopback.address, loopback.rtp_port))
            sent = [peer.recv(2048) for _ in range(2)]
        relay.close()
        return sent

    sent = asyncio.run(run())
    assert [len(packet) for packet in sent] == [len(rtp_packet(0)) + 14] * 2
    assert [packet[-14:-10] == bytes(4) for packet in sent] == [True, False]


def test_pair_of_which_one_port_is_taken_is_passed_over() -> None:
    low = free_pair()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", low + 1))
        relay = host(NetworkConfig(ports=(low, low + 3)))
        _, network, _ = relay.open_leg(OpenRelay(0, never_plain=False))
        assert (network.rtp_port, network.rtcp_port) == (low + 2, low + 3)
        with pytest.raises(ResourceError):
            relay.open_leg(OpenRelay(1, never_plain=False))
        relay.close()


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_refused_leg_leaves_no_socket_open() -> None:
    relay = host()
    for line in range(4):
        relay.open_leg(OpenRelay(line, never_plain=False))
    before = open_files()
    with pytest.raises(ResourceError):
        relay.open_leg(OpenRelay(9, never_plain=False))
    assert open_files() == before
    relay.close()


def test_closing_twice_is_nothing() -> None:
    relay = host()
    relay.close()
    relay.close()


def test_line_that_must_not_be_plain_cannot_be_made_plain() -> None:
    """POL-6: not even by a mistake of ours."""
    relay = host()
    leg, *_ = relay.open_leg(OpenRelay(0, never_plain=True))
    with pytest.raises(NativeError):
        relay.set_mode(leg, "plain")
    relay.set_mode(leg, "closed")
    relay.set_peer(leg, Endpoint("127.0.0.1", 4000, 4001))
    relay.close()


# ------------------------------------------------------------------------------------------------------- the runner --


def test_keys_are_wiped_once_they_are_in_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """POL-8"""
    installed: list[KeySet] = []
    install = RelayHost.install

    def watched(self: RelayHost, leg: int, effect: InstallKeys) -> None:
        assert len(effect.keys.send.key)
        installed.append(effect.keys)
        install(self, leg, effect)

    monkeypatch.setattr(RelayHost, "install", watched)
    with Phone() as a, Phone() as b:
        asyncio.run(call_between_sessions(a, b))
    assert len(installed) == 2
    assert not [key for keys in installed for key in (keys.send, *keys.receive) if len(key.key) or len(key.salt)]


async def call_between_sessions(a: Phone, b: Phone) -> None:
    async with (
        asyncio.timeout(30),
        running_agent(policy={"sdes_e2e": "preferred", "sdes_e2ae": "off"}) as agent,
        AgentClient.connect(agent.path) as client,
    ):
        made = await client.create_offer(sdp=a.sdp, signalling="confidentiality")
        incoming = await client.accept_offer(sdp=made.sdp or "", signalling="confidentiality")
        answer = await client.create_answer(session=incoming.session, sdp=b.sdp)
        await client.accept_answer(session=made.session, sdp=answer.sdp or "", final=True)


def test_keys_that_cannot_be_installed_end_the_call_with_a_typed_error_and_are_wiped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused: list[KeySet] = []

    def refuse(self: RelayHost, leg: int, effect: InstallKeys) -> None:
        refused.append(effect.keys)
        raise EngineError("engine_failed", "the crypto engine refused: engine")

    monkeypatch.setattr(RelayHost, "install", refuse)

    async def whole() -> None:
        async with (
            asyncio.timeout(30),
            running_agent(policy={"sdes_e2e": "preferred", "sdes_e2ae": "off"}) as agent,
            AgentClient.connect(agent.path) as client,
            client.listening() as events,
        ):
            neighbour = await client.create_offer(sdp=plain_sdp(5000), signalling="none")
            offer = plain_sdp(40000, proto="RTP/SAVP")
            offer += "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
            incoming = await client.accept_offer(sdp=offer, signalling="confidentiality")
            with pytest.raises(EngineError):
                await client.create_answer(session=incoming.session, sdp=plain_sdp(5002))
            seen = [await anext(events)]
            while seen[-1].kind != "session_gone":
                seen.append(await anext(events))
            assert (seen[-1].session, seen[-1].reason) == (incoming.session, "engine_failed")
            assert [found.session for found in await client.status()] == [neighbour.session]

    asyncio.run(whole())
    assert refused
    assert not [keys for keys in refused if len(keys.send.key)]


def test_forged_packets_move_a_counter_and_are_told_as_an_event_and_harm_nothing() -> None:
    async def whole(a: Phone, b: Phone, forger: socket.socket) -> None:
        config: dict[str, Any] = {"policy": {"sdes_e2e": "preferred", "sdes_e2ae": "off"}, "relay": {"auth_burst": 3}}
        async with (
            asyncio.timeout(30),
            running_agent(**config) as agent,
            AgentClient.connect(agent.path) as client,
        ):
            made = await client.create_offer(sdp=a.sdp, signalling="confidentiality")
            incoming = await client.accept_offer(sdp=made.sdp or "", signalling="confidentiality")
            answer = await client.create_answer(session=incoming.session, sdp=b.sdp)
            final = await client.accept_answer(session=made.session, sdp=answer.sdp or "", final=True)
            async with client.listening(incoming.session) as events:
                for number in range(20):
                    forger.sendto(rtp_packet(number, os.urandom(170)), ("127.0.0.1", audio_port(answer.sdp or "")))
                event = await anext(events)
                while event.kind != "auth_failures":
                    event = await anext(events)
                assert (event.line, event.direction) == (0, "received")
            packet = rtp_packet(1)
            await a.send(audio_port(final.sdp or ""), packet)
            assert await b.receive() == packet
            (counters,) = (await client.session_status(session=incoming.session)).counters
            assert (counters.auth_failures, counters.packets_received) == (20, 1)

    with Phone() as a, Phone() as b, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        asyncio.run(whole(a, b, forger))
