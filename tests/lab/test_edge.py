"""Registrar, ALG and gateway together, with packets (EDGE-6, EDGE-7, EDGE-9, EDGE-17)."""

import asyncio
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.lab_ue import LabUe, new_phone

from ueagent.errors import NegotiationFailed, UsageError
from ueagent.lab.alg import Handling
from ueagent.lab.capture import Side
from ueagent.lab.core_net import EARLY_PACKETS, PhoneNetwork
from ueagent.lab.edge import Edge, EdgeConfig
from ueagent.lab.faults import Fault, Mode
from ueagent.lab.phone import Phone
from ueagent.lab.registrar import RegisterRequest

REQUESTED = "a=3ge2ae:requested"
VOICE = bytes(range(160))
FIVE_PACKETS = array("h", range(0, 32000, 40))


def register(edge: Edge, binding: str = "home") -> None:
    first = edge.register(RegisterRequest(binding, ("sdes-srtp;mediasec",)))
    assert edge.register(RegisterRequest(binding, ("sdes-srtp;mediasec",), first.security_server)).status == 200


@asynccontextmanager
async def network(fault: Fault = Fault.NO_FAULT, **options: bool) -> AsyncIterator[tuple[PhoneNetwork, LabUe]]:
    edge, phone, ue = Edge(EdgeConfig(fault=fault)), new_phone(**options), LabUe()
    await phone.open()
    await ue.open()
    register(edge)
    try:
        yield PhoneNetwork(edge, phone), ue
    finally:
        ue.pair.close()
        phone.close()
        edge.close()


async def call(net: PhoneNetwork, ue: LabUe) -> None:
    ue.accept(await net.invite("home", ue.offer(REQUESTED)))


async def silence(net: PhoneNetwork, ue: LabUe) -> None:
    """Both ends speak, and nothing comes through."""
    ue.send(VOICE)
    net.phone.send(VOICE)
    await ue.wait_refused(1)
    assert not await net.phone.wait_received(1, 0, 0.05)
    assert ue.opened == []


def test_speech_is_opened_and_protected_both_ways() -> None:
    """EDGE-7."""

    async def scenario() -> None:
        async with network() as (net, ue):
            await call(net, ue)
            sent = [ue.send(VOICE) for _ in range(5)]
            assert await net.phone.wait_received(5, 0, 5)
            assert net.phone.received == sent
            await net.phone.play(FIVE_PACKETS, 0)
            await ue.wait_opened(5, reports=2)
            assert ue.opened == net.phone.sent
            assert ue.reports == net.phone.rtcp_sent

    asyncio.run(scenario())


def test_access_side_is_opaque_and_core_side_is_plain() -> None:
    """EDGE-7: by a capture of both."""

    async def scenario() -> None:
        async with network(echo=True) as (net, ue):
            await call(net, ue)
            ue.send(VOICE)
            await ue.wait_opened(1)
            sides = {side: [d.data for d in net.edge.tap.datagrams if d.side is side] for side in Side}
            assert len(sides[Side.ACCESS]) == len(sides[Side.CORE]) == 2
            assert [VOICE in data for data in sides[Side.ACCESS]] == [False, False]
            assert [VOICE in data for data in sides[Side.CORE]] == [True, True]

    asyncio.run(scenario())


def test_terminating_call_carries_speech() -> None:
    """EDGE-4 to EDGE-7."""

    async def scenario() -> None:
        async with network() as (net, ue):
            net.answered(ue.answer(await net.ring("home")))
            net.phone.send(VOICE)
            await ue.wait_opened(1)
            sent = ue.send(VOICE)
            assert await net.phone.wait_received(1, 0, 5)
            assert net.phone.received == [sent]

    asyncio.run(scenario())


@pytest.mark.parametrize("new_offer", [False, True], ids=["edge", "ue"])
def test_rekey_is_followed_in_both_directions(new_offer: bool) -> None:
    """EDGE-17, rekey: new contexts with ROC 0 on both ends (SDES-18)."""

    async def scenario() -> None:
        async with network(echo=True) as (net, ue):
            await call(net, ue)
            ue.send(VOICE)
            await ue.wait_opened(1)
            ue.key = LabUe().key
            if new_offer:
                await call(net, ue)
            else:
                net.answered(ue.answer(await net.ring("home", rekey=True)))
            ue.send(VOICE)
            await ue.wait_opened(2)

    asyncio.run(scenario())


def test_end_to_end_packets_pass_unaltered() -> None:
    """EDGE-9: the edge has no keys, so what comes out is what went in."""

    async def scenario() -> None:
        edge, ue, far = Edge(), LabUe(), LabUe()
        await ue.open()
        await far.open()
        call, core_offer = await edge.offer_from_ue("home", ue.offer())
        ue.accept(edge.answer_to_ue(call, far.answer(core_offer)))
        assert edge.handlings(call) == (Handling.E2E,)
        ue.send(VOICE)
        await far.wait_opened(1)
        far.send(VOICE)
        await ue.wait_opened(1)
        inside = [datagram.data for datagram in edge.tap.datagrams]
        assert inside[0] == inside[1]
        assert inside[2] == inside[3]
        assert VOICE not in inside[0]
        for end in (ue, far):
            end.pair.close()
        edge.close()

    asyncio.run(scenario())


def test_forged_packet_moves_a_counter_and_nothing_else() -> None:
    async def scenario() -> None:
        async with network() as (net, ue):
            await call(net, ue)
            ue.pair.send(False, b"\x80" + bytes(60), ue.remote)
            ue.pair.send(True, b"\x80\xc8" + bytes(60), ue.remote)
            sent = ue.send(VOICE)
            assert await net.phone.wait_received(1, 0, 5)
            assert net.phone.received == [sent]
            assert net.call is not None
            counters = net.edge.counters(net.call)
            assert counters["auth_failures"] + counters["bad_packets"] == 2
            assert counters["packets_to_core"] == 1

    asyncio.run(scenario())


def test_fault_wrong_key_lets_nothing_through() -> None:
    """EDGE-17."""

    async def scenario() -> None:
        async with network(Fault.WRONG_KEY) as (net, ue):
            await call(net, ue)
            await silence(net, ue)
            assert net.call is not None
            assert net.edge.counters(net.call)["auth_failures"] == 1

    asyncio.run(scenario())


def test_fault_late_answer_brings_media_first() -> None:
    """EDGE-17: packets under the answer's key arrive before the answer, and cannot be opened (DYN-5)."""

    async def scenario() -> None:
        async with network(Fault.LATE_ANSWER) as (net, ue):
            answer = await net.invite("home", ue.offer(REQUESTED))
            await ue.wait_refused(EARLY_PACKETS)
            ue.accept(answer)
            net.phone.send(VOICE)
            await ue.wait_opened(1)

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [Fault.ROC_RESET, Fault.NO_FAULT])
def test_fault_roc_reset_starts_the_context_again_after_a_wrap(fault: Fault) -> None:
    """EDGE-17: a receiver that has counted on refuses what comes then."""

    async def scenario() -> None:
        async with network(fault) as (net, ue):
            await call(net, ue)
            net.phone.next_sequence = 0xFFF0  # sixteen packets before the wrap
            for _ in range(40):
                net.phone.send(VOICE)
            if fault is Fault.NO_FAULT:
                await ue.wait_opened(40)
            else:
                await ue.wait_refused(15)
                assert len(ue.opened) == 25

    asyncio.run(scenario())


def test_stream_carries_nothing_before_the_answer() -> None:
    async def scenario() -> None:
        async with network() as (net, ue):
            call, core_offer = await net.edge.offer_from_ue("home", ue.offer(REQUESTED))
            early = Phone.answer(net.phone, core_offer)
            net.phone.send(VOICE)
            await asyncio.to_thread(lambda: None)  # one turn of the loop for the datagram
            ue.accept(net.edge.answer_to_ue(call, early))
            sent = ue.send(VOICE)
            assert await net.phone.wait_received(1, 0, 5)
            assert net.phone.received == [sent]
            assert net.edge.counters(call)["packets_to_access"] == 0

    asyncio.run(scenario())


def test_calls_set_up_at_once_do_not_share_streams() -> None:
    """EDGE-6: the link from keys to one stream is unambiguous."""

    async def scenario() -> None:
        edge, phones = Edge(), [new_phone(str(n)) for n in range(8)]
        for phone in phones:
            await phone.open()
        await asyncio.gather(*(edge.offer_to_ue("home", phone.offer()) for phone in phones))
        ports = [stream.access.rtp_port for call in edge.calls() for stream in edge.streams(call)]
        ids = {stream.id for call in edge.calls() for stream in edge.streams(call)}
        assert len(ids) == len(set(ports)) == 8
        for end in (*phones, edge):
            end.close()

    asyncio.run(scenario())


def test_refused_offer_leaves_no_call_behind() -> None:
    async def scenario() -> None:
        async with network() as (net, ue):
            with pytest.raises(NegotiationFailed):
                await net.edge.offer_from_ue("elsewhere", ue.offer(REQUESTED))
            call, _ = await net.edge.offer_from_ue("home", ue.offer(REQUESTED))
            net.edge.offer_refused(call)
            assert net.edge.calls() == ()

    asyncio.run(scenario())


def test_plain_call_passes_in_mode_none() -> None:
    """EDGE-1."""

    async def scenario() -> None:
        edge, ue, far = Edge(EdgeConfig(mode=Mode.NONE)), new_phone("ue"), new_phone()
        await ue.open()
        await far.open()
        net = PhoneNetwork(edge, far)
        ue.connect(await net.invite("home", ue.offer()))
        await ue.play(FIVE_PACKETS, 0)
        assert await far.wait_received(5, 2, 5)
        assert (far.received, far.rtcp_received) == (ue.sent, ue.rtcp_sent)
        for end in (ue, far, edge):
            end.close()

    asyncio.run(scenario())


def test_unknown_call_and_unknown_suite_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="no_such_call"):
        Edge().answer_to_ue("x", b"v=0\r\n")
    with pytest.raises(UsageError, match="pylibsrtp has no AES_256_CM_HMAC_SHA1_80"):
        EdgeConfig(suites=("AES_256_CM_HMAC_SHA1_80",))
