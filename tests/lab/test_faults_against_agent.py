"""What a real agent does when the network is what it should be, and when it is not (EDGE-1, EDGE-10, EDGE-17)."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest
from support.lab_stage import PACKETS, VOICE, Stage, stage
from support.lab_ue import LabUe

from ueagent.errors import AgentError, AuthenticationFailed, NegotiationFailed
from ueagent.lab.core_net import EARLY_PACKETS
from ueagent.lab.edge import EdgeConfig
from ueagent.lab.faults import Fault, Indication, Mode
from ueagent.lab.srtp_set import PROFILES
from ueagent.model.security import SecurityPolicy, Setting

REQUIRED = SecurityPolicy(sdes_e2ae=Setting.REQUIRED)
PLAIN = SecurityPolicy(sdes_e2ae=Setting.OFF, sdes_e2e=Setting.OFF)


def play(body: Callable[[Stage], Awaitable[None]], edge: EdgeConfig | None = None, **options: object) -> None:
    async def scenario() -> None:
        async with stage(edge, **options) as here:  # type: ignore[arg-type]
            await body(here)

    asyncio.run(scenario())


# --------------------------------------------------------------------------------------------------- as it should be --


@pytest.mark.parametrize("suite", PROFILES)
def test_originating_call_speaks_with_libsrtp_in_every_suite_it_has(suite: str) -> None:
    """SDES-1, EDGE-2, EDGE-3, EDGE-7: both directions, RTP and RTCP."""

    async def body(here: Stage) -> None:
        await here.call()
        await here.talk()
        line = await here.line()
        assert (line.suite, line.scope, line.assured) == (suite, "e2ae", True)

    play(body, EdgeConfig(suites=(suite,)))


@pytest.mark.parametrize("suite", PROFILES)
def test_terminating_call_speaks_with_libsrtp_in_every_suite_it_has(suite: str) -> None:
    """EDGE-4, EDGE-5: the UE reports assured."""

    async def body(here: Stage) -> None:
        await here.ring()
        await here.talk()
        line = await here.line()
        assert (line.suite, line.scope, line.assured) == (suite, "e2ae", True)

    play(body, EdgeConfig(suites=(suite,)))


@pytest.mark.parametrize("indication", Indication)
def test_every_indication_in_the_answer_is_accepted(indication: Indication) -> None:
    """SDP-7, EDGE-3."""

    async def body(here: Stage) -> None:
        await here.call()
        await here.talk()

    play(body, EdgeConfig(indication=indication))


def test_unpadded_keys_are_read() -> None:
    """EDGE-17, SDES-2."""

    async def body(here: Stage) -> None:
        await here.call()
        await here.talk()

    play(body, EdgeConfig(fault=Fault.UNPADDED_KEYS, suites=("AEAD_AES_128_GCM",)))


@pytest.mark.parametrize("ring_first", [False, True], ids=["originating", "terminating"])
def test_refresh_and_rekey_by_the_edge_go_on_with_speech(ring_first: bool) -> None:
    """EDGE-17, rekey; SDES-15, SDES-18, DYN-10: libsrtp starts at ROC 0 under the new key."""

    async def body(here: Stage) -> None:
        await (here.ring() if ring_first else here.call())
        await here.talk()
        for rekey in (False, True, False):
            await here.ring(rekey=rekey)
            await here.talk()

    play(body)


def test_refresh_by_the_ue_goes_on_with_speech() -> None:
    """DYN-7, SDES-15."""

    async def body(here: Stage) -> None:
        await here.call()
        await here.talk()
        await here.call()
        await here.talk()

    play(body)


# ----------------------------------------------------------------------------------------------------- registration --


@pytest.mark.parametrize("mode", [Mode.MEDIASEC, Mode.LIST_IN_200])
def test_agreement_is_learnt_from_401_or_from_200(mode: Mode) -> None:
    """REG-4, REG-5, EDGE-1."""

    async def body(here: Stage) -> None:
        registered = await here.dialer.register(here.net)
        assert (registered.statuses, registered.mechanisms) == ((401, 200), ("SDES",))
        assert here.edge.registrar.agreed("home")

    play(body, EdgeConfig(mode=mode), registered=False)


def test_strict_edge_takes_a_strict_agent() -> None:
    """REG-14, REG-16: option tag in REGISTER, Security-Verify in INVITE."""

    async def body(here: Stage) -> None:
        await here.call()
        await here.talk()

    play(body, EdgeConfig(mode=Mode.STRICT), strict=True)


def test_strict_edge_refuses_an_agent_that_is_not() -> None:
    """REG-14."""

    async def body(here: Stage) -> None:
        with pytest.raises(AuthenticationFailed, match="not_registered: the network answered 421"):
            await here.register()

    play(body, EdgeConfig(mode=Mode.STRICT), registered=False)


def test_strict_agent_gives_way_to_420() -> None:
    """REG-14: retry without the option tag."""

    async def body(here: Stage) -> None:
        assert (await here.dialer.register(here.net)).statuses == (420, 401, 200)
        await here.call()
        await here.talk()

    play(body, strict=True, registered=False)


def test_edge_without_media_security_gets_a_plain_call_when_policy_allows() -> None:
    """EDGE-1, mode none; REG-17."""

    async def body(here: Stage) -> None:
        await here.call()
        await here.talk()
        line = await here.line()
        assert (line.mechanism, line.scope, line.assured) == ("none", "none", False)

    play(body, EdgeConfig(mode=Mode.NONE))


def test_edge_without_media_security_gets_no_call_when_it_is_required() -> None:
    """EDGE-1, mode none; POL-1."""

    async def body(here: Stage) -> None:
        with pytest.raises(NegotiationFailed):
            await here.call()
        assert here.edge.calls() == ()

    play(body, EdgeConfig(mode=Mode.NONE), policy=REQUIRED)


@pytest.mark.parametrize("policy", [SecurityPolicy(), REQUIRED], ids=["preferred", "required"])
def test_edge_that_lies_gets_no_originating_call(policy: SecurityPolicy) -> None:
    """EDGE-1, mode lying; POL-6: a plain answer to a secured offer is a failure."""

    async def body(here: Stage) -> None:
        with pytest.raises(NegotiationFailed):
            await here.call()

    play(body, EdgeConfig(mode=Mode.LYING), policy=policy)


def test_edge_that_lies_rings_in_vain_when_security_is_required() -> None:
    """EDGE-1, mode lying: the offer is plain although it announced."""

    async def body(here: Stage) -> None:
        with pytest.raises(NegotiationFailed) as refused:
            await here.ring()
        assert refused.value.sip_status_hint == 488

    play(body, EdgeConfig(mode=Mode.LYING), policy=REQUIRED)


def test_edge_may_refuse_a_plain_offer() -> None:
    """EDGE-10: the agent's policy has nothing else to offer."""

    async def body(here: Stage) -> None:
        with pytest.raises(NegotiationFailed, match="plain_refused"):
            await here.call()

    # The dialer registers with what another agent announced, so that only the offer is plain.
    async def scenario() -> None:
        async with stage(EdgeConfig(refuse_plain=True)) as announced, stage(policy=PLAIN, registered=False) as plain:
            plain.edge, plain.net = announced.edge, announced.net
            await body(plain)

    asyncio.run(scenario())


# ----------------------------------------------------------------------------------------------------- wrong answers --


@pytest.mark.parametrize(
    "fault",
    [
        Fault.WRONG_TAG,
        Fault.WRONG_SUITE,
        Fault.TWO_LINES,
        Fault.MISSING_CRYPTO,
        Fault.PLAIN_ANSWER,
        Fault.ECHOED_KEY,
    ],
)
def test_wrong_answer_fails_the_call_and_nothing_else(fault: Fault) -> None:
    """EDGE-17, SDES-8, SDP-11: no media, and the agent serves the next call."""

    async def body(here: Stage) -> None:
        with pytest.raises(NegotiationFailed):
            await here.call()
        assert here.dialer.phone.remote is None
        await here.dialer.hang_up()

    async def scenario() -> None:
        async with stage(EdgeConfig(fault=fault)) as here:
            await body(here)
            async with stage() as good:
                good.dialer.agent = here.agent
                await good.register()
                await good.call()
                await good.talk()

    asyncio.run(scenario())


def test_offer_without_crypto_is_refused() -> None:
    """EDGE-17: RTP/SAVP and 3ge2ae, but no key."""

    async def body(here: Stage) -> None:
        with pytest.raises(NegotiationFailed) as refused:
            await here.ring()
        assert refused.value.sip_status_hint == 488

    play(body, EdgeConfig(fault=Fault.MISSING_CRYPTO))


def test_applied_that_leaked_from_the_far_end_assures_nothing() -> None:
    """EDGE-17, SDP-9 (b): no agreement stands behind it."""

    async def scenario() -> None:
        async with stage(EdgeConfig(fault=Fault.LEAKED_APPLIED), registered=False) as here:
            far = LabUe()
            await far.open()
            _, offer = await here.edge.offer_to_ue("home", far.offer("a=3ge2ae:applied"))
            assert b"a=3ge2ae:applied" in offer
            await here.dialer.take(offer)
            line = await here.line()
            assert (line.mechanism, line.assured) == ("SDES", False)
            far.pair.close()

    asyncio.run(scenario())


# ------------------------------------------------------------------------------------------------------- wrong media --


def test_wrong_key_lets_no_sound_through_and_is_counted() -> None:
    """EDGE-17, SRTP-7, DYN-11: counters move and nothing else."""

    async def body(here: Stage) -> None:
        await here.call()
        near, far = here.dialer.phone, here.net.phone
        await near.play(VOICE, 0.001)
        await far.play(VOICE, 0.001)
        assert not await near.wait_received(1, 0, 0.2)
        assert far.received == []
        counters = await here.counters()
        assert counters.auth_failures == PACKETS + 2
        assert counters.packets_received == 0
        assert [stream for stream in counters.streams if stream.direction == "received"] == []

    play(body, EdgeConfig(fault=Fault.WRONG_KEY))


def test_media_before_a_late_answer_is_dropped_and_the_call_goes_on() -> None:
    """EDGE-17, DYN-5."""

    async def body(here: Stage) -> None:
        await here.call()
        assert here.dialer.phone.received == []
        assert len(here.net.phone.sent) == EARLY_PACKETS
        await here.talk()

    play(body, EdgeConfig(fault=Fault.LATE_ANSWER))


def test_roc_reset_without_a_new_key_is_not_followed() -> None:
    """EDGE-17, SDES-15: what comes with the wrong roll-over counter fails authentication."""

    async def body(here: Stage) -> None:
        await here.call()
        far, near = here.net.phone, here.dialer.phone
        before = 0x10000 - far.next_sequence
        for _ in range(before + 30):
            far.send(secrets.token_bytes(160))
            await asyncio.sleep(0)
        await near.wait_received(before + 9, 0, 5)
        assert not await near.wait_received(before + 10, 0, 0.2)
        counters = await here.counters()
        assert counters.auth_failures == 21
        assert next(s.roc for s in counters.streams if s.direction == "received") == 1

    play(body, EdgeConfig(fault=Fault.ROC_RESET))


def test_no_fault_brings_a_key_into_the_log() -> None:
    """POL-8: whatever went wrong, the log has no key, in base64 or in hex."""

    async def scenario() -> None:
        for fault in Fault:
            drawn: list[bytes] = []

            def rng(n: int, drawn: list[bytes] = drawn) -> bytes:
                drawn.append(secrets.token_bytes(n))
                return drawn[-1]

            async with stage(EdgeConfig(fault=fault, rng=rng)) as here:
                for work in (here.call, here.ring):
                    try:
                        await work()
                    except AgentError:
                        pass
                    here.dialer.session, here.net.call = None, None
                text = here.log.getvalue()
                assert drawn
                assert text
                for key in drawn:
                    assert key.hex() not in text
                    assert LabUe.text_of(key) not in text

    asyncio.run(scenario())
