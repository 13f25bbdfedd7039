"""The lab edge's DTLS-SRTP against our channel with libsrtp (EDGE-11, EDGE-12, EDGE-16, EDGE-17)."""

import asyncio
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from support.channels import new_identity
from support.dtls_ue import DtlsUe
from support.lab_ue import new_phone

from ueagent.channel.channel import Role
from ueagent.errors import NegotiationFailed
from ueagent.lab.alg import Handling
from ueagent.lab.capture import Side
from ueagent.lab.core_net import PhoneNetwork
from ueagent.lab.edge import Edge, EdgeConfig
from ueagent.lab.faults import Fault
from ueagent.lab.registrar import RegisterRequest
from ueagent.model.security import SetupRole
from ueagent.wire.dtls_attributes import read_dtls
from ueagent.wire.sdp import parse_sdp
from ueagent.wire.sdp_attributes import read_3ge2ae

REQUESTED = "a=3ge2ae:requested"
BOTH = ("dtls-srtp;mediasec", "sdes-srtp;mediasec")
VOICE = bytes(range(160))
FIVE_PACKETS = array("h", range(0, 32000, 40))
ROLES = {SetupRole.ACTPASS: SetupRole.ACTIVE, SetupRole.ACTIVE: SetupRole.PASSIVE, SetupRole.PASSIVE: SetupRole.ACTIVE}


@asynccontextmanager
async def network(config: EdgeConfig | None = None) -> AsyncIterator[tuple[PhoneNetwork, DtlsUe]]:
    edge, phone, ue = Edge(replace(config or EdgeConfig(), own_list=BOTH)), new_phone(), DtlsUe()
    await phone.open()
    await ue.open()
    first = edge.register(RegisterRequest("home", BOTH))
    assert edge.register(RegisterRequest("home", BOTH, first.security_server)).status == 200
    try:
        yield PhoneNetwork(edge, phone), ue
    finally:
        ue.close()
        phone.close()
        edge.close()


async def talk(net: PhoneNetwork, ue: DtlsUe) -> None:
    """Both ways, speech and reports, bit for bit."""
    await ue.wait_keyed()
    before = len(net.phone.received), len(ue.opened), len(ue.reports)
    sent = [ue.send(VOICE) for _ in range(5)]
    assert await net.phone.wait_received(before[0] + 5, 0, 5)
    assert net.phone.received[before[0] :] == sent
    await net.phone.play(FIVE_PACKETS, 0)
    await ue.wait_opened(before[1] + 5, reports=before[2] + 2)
    assert ue.opened[-5:] == net.phone.sent[-5:]
    assert ue.reports[-2:] == net.phone.rtcp_sent[-2:]


@pytest.mark.parametrize("setup", ROLES)
def test_each_role_of_an_offer_is_answered_with_its_counterpart_and_speech_flows(setup: SetupRole) -> None:
    """EDGE-11, DTLS-27, DTLS-5, DTLS-15: two handshakes, one a port."""

    async def scenario() -> None:
        async with network() as (net, ue):
            assert ue.accept(await net.invite("home", ue.offer(setup, REQUESTED))) is ROLES[setup]
            await talk(net, ue)

    asyncio.run(scenario())


def test_a_passive_gateway_leaves_the_hello_to_the_ue() -> None:
    """EDGE-11: with actpass the ALG decides."""

    async def scenario() -> None:
        async with network(EdgeConfig(dtls_passive=True)) as (net, ue):
            assert ue.accept(await net.invite("home", ue.offer(SetupRole.ACTPASS, REQUESTED))) is SetupRole.PASSIVE
            await talk(net, ue)

    asyncio.run(scenario())


def test_the_core_sees_a_plain_offer() -> None:
    """EDGE-11, DTLS-27: RTP/AVP without setup, fingerprint, tls-id and 3ge2ae."""

    async def scenario() -> None:
        async with network() as (net, ue):
            _, offer = await net.edge.offer_from_ue("home", ue.offer(SetupRole.ACTPASS, REQUESTED))
            section = parse_sdp(offer).media[0]
            assert section.proto == "RTP/AVP"
            for name in ("setup", "fingerprint", "tls-id", "3ge2ae"):
                assert section.attribute(name) is None

    asyncio.run(scenario())


@pytest.mark.parametrize("setup", [SetupRole.ACTIVE, SetupRole.PASSIVE])
def test_a_terminating_call_is_offered_dtls_and_the_answer_gives_the_gateway_its_role(setup: SetupRole) -> None:
    """EDGE-12."""

    async def scenario() -> None:
        async with network() as (net, ue):
            offer = await net.ring("home")
            section = parse_sdp(offer).media[0]
            assert read_3ge2ae(section) == "applied"
            parameters, _ = read_dtls(section)
            assert parameters.setup is SetupRole.ACTPASS
            assert parameters.tls_id is not None
            net.answered(ue.answer(offer, setup))
            ue.begin(Role.CLIENT if setup is SetupRole.ACTIVE else Role.SERVER)
            await talk(net, ue)

    asyncio.run(scenario())


def test_a_client_hello_that_comes_before_the_answer_is_not_lost() -> None:
    """EDGE-12, DTLS-9: the UE's handshake overtakes its answer."""

    async def scenario() -> None:
        async with network() as (net, ue):
            answer = ue.answer(await net.ring("home"), SetupRole.ACTIVE)
            ue.begin(Role.CLIENT)
            while len(net.edge.tap.wire()) < 2:  # both hellos
                await asyncio.sleep(0)
            net.answered(answer)
            await talk(net, ue)

    asyncio.run(scenario())


def test_an_operator_that_names_sdes_first_offers_sdes() -> None:
    async def scenario() -> None:
        edge, phone = Edge(EdgeConfig(own_list=BOTH[::-1])), new_phone()
        await phone.open()
        first = edge.register(RegisterRequest("home", BOTH))
        edge.register(RegisterRequest("home", BOTH, first.security_server))
        assert b"RTP/SAVP" in await PhoneNetwork(edge, phone).ring("home")
        phone.close()
        edge.close()

    asyncio.run(scenario())


def test_an_edge_that_announces_nothing_may_still_do_it() -> None:
    """WEB-2: the eP-CSCF applies e2ae to terminating calls on its own."""

    async def scenario() -> None:
        edge, phone = Edge(EdgeConfig(own_list=(), dtls_unannounced=True)), new_phone()
        await phone.open()
        edge.register(RegisterRequest("home"))
        edge.register(RegisterRequest("home"))
        assert b"UDP/TLS/RTP/SAVP" in await PhoneNetwork(edge, phone).ring("home")
        phone.close()
        edge.close()

    asyncio.run(scenario())


def test_dtls_that_was_not_agreed_on_is_refused() -> None:
    """EDGE-11: requested, and the registration says nothing of it."""

    async def scenario() -> None:
        async with network() as (net, ue):
            with pytest.raises(NegotiationFailed, match="not_agreed"):
                await net.edge.offer_from_ue("stranger", ue.offer(SetupRole.ACTPASS, REQUESTED))

    asyncio.run(scenario())


def test_without_an_indication_dtls_is_end_to_end_and_passes_untouched() -> None:
    """EDGE-9."""

    async def scenario() -> None:
        async with network() as (net, ue):
            call, offer = await net.edge.offer_from_ue("home", ue.offer())
            section = parse_sdp(offer).media[0]
            assert section.proto == "UDP/TLS/RTP/SAVP"
            assert read_dtls(section)[0].fingerprints == ue.identity.fingerprints()
            net.edge.release(call)

    asyncio.run(scenario())


def test_a_repeated_offer_keeps_the_association() -> None:
    """DTLS-17, DTLS-19: same tls-id, fingerprint and role; no ClientHello."""

    async def scenario() -> None:
        async with network() as (net, ue):
            ue.accept(await net.invite("home", ue.offer(SetupRole.ACTPASS, REQUESTED)))
            await talk(net, ue)
            assert net.call is not None
            hellos = sum(1 for one in net.edge.wire(net.call) if one.data[0] == 22)
            before = ue.theirs
            await net.invite("home", ue.offer(SetupRole.ACTPASS, REQUESTED))
            assert ue.theirs == before
            await talk(net, ue)
            assert sum(1 for one in net.edge.wire(net.call) if one.data[0] == 22) == hellos

    asyncio.run(scenario())


def test_a_new_tls_id_of_the_ue_makes_a_new_association() -> None:
    """DTLS-17, DTLS-24."""

    async def scenario() -> None:
        async with network() as (net, ue):
            ue.accept(await net.invite("home", ue.offer(SetupRole.ACTPASS, REQUESTED)))
            await talk(net, ue)
            first = ue.theirs.tls_id
            ue.tls_id = ue.tls_id[::-1]
            ue.srtp.clear()
            ue.accept(await net.invite("home", ue.offer(SetupRole.ACTPASS, REQUESTED)))
            assert ue.theirs.tls_id != first
            await talk(net, ue)

    asyncio.run(scenario())


def test_the_gateway_reports_a_certificate_that_was_not_signalled() -> None:
    """EDGE-16, DTLS-8: the stream is released and passes nothing."""

    async def scenario() -> None:
        async with network() as (net, ue):
            offer = ue.offer(SetupRole.ACTIVE, REQUESTED)
            ue.identity = new_identity()
            ue.accept(await net.invite("home", offer))
            error = await ue.wait_error()
            assert error.code == "handshake_failed"
            assert net.call is not None
            assert "certificate verify failed" in net.edge.failures(net.call)[0]
            assert net.edge.handlings(net.call) == (Handling.UNTOUCHED,)

    asyncio.run(scenario())


def test_a_wrong_fingerprint_of_the_edge_is_noticed() -> None:
    """EDGE-17, DTLS-8: one bit."""

    async def scenario() -> None:
        async with network(EdgeConfig(fault=Fault.WRONG_FINGERPRINT)) as (net, ue):
            ue.accept(await net.invite("home", ue.offer(SetupRole.ACTPASS, REQUESTED)))
            assert (await ue.wait_error()).code == "fingerprint_mismatch"

    asyncio.run(scenario())


def test_early_hello_comes_before_the_answer() -> None:
    """EDGE-17, DTLS-9."""

    async def scenario() -> None:
        async with network(EdgeConfig(fault=Fault.EARLY_HELLO)) as (net, ue):
            call, _ = await net.edge.offer_from_ue("home", ue.offer(SetupRole.ACTPASS, REQUESTED))
            await ue.wait_early()
            assert ue.early[0][0] == 22
            net.edge.release(call)

    asyncio.run(scenario())


def test_silent_peer_says_nothing_and_passes_nothing() -> None:
    """EDGE-17, DTLS-23."""

    async def scenario() -> None:
        async with network(EdgeConfig(fault=Fault.SILENT_PEER)) as (net, ue):
            ue.accept(await net.invite("home", ue.offer(SetupRole.ACTPASS, REQUESTED)))
            net.phone.send(VOICE)
            assert net.call is not None
            async with asyncio.timeout(5):
                while not net.edge.counters(net.call)["before_keys"]:
                    await asyncio.sleep(0)
            assert not [one for one in net.edge.wire(net.call) if one.side is Side.ACCESS]

    asyncio.run(scenario())
