"""A call whose roll-over counters stand at 1 is refreshed, held, re-keyed; libsrtp at the far end, bit for bit."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from support.lab_stage import Stage, stage

from ueagent.client import sdp_octets
from ueagent.errors import NegotiationFailed

BEFORE_WRAP = 0xFFFB  # the fifth of ten packets is number 0


async def roc(here: Stage) -> set[tuple[str, int]]:
    return {(stream.direction, stream.roc) for stream in (await here.counters()).streams}


async def wrapped_call(here: Stage) -> None:
    await here.call()
    for phone in (here.dialer.phone, here.net.phone):
        phone.next_sequence = BEFORE_WRAP
    await here.talk()
    assert await roc(here) == {("sent", 1), ("received", 1)}


async def reoffer(here: Stage, direction: str | None = None, *, rekey: bool = False) -> None:
    """From the dialer, through agent and edge to the phone in the core, and back."""
    session = here.dialer.session
    assert session is not None
    plain = here.dialer.phone.offer()
    if direction is not None:
        plain += f"a={direction}\r\n".encode()
    offer = await here.agent.create_offer(sdp=plain, signalling="access", binding="home", session=session, rekey=rekey)
    answer = await here.net.invite("home", sdp_octets(offer))
    await here.agent.accept_answer(session=session, sdp=answer, final=True)


def play(body: Callable[[Stage], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with stage() as here:
            await wrapped_call(here)
            await body(here)

    asyncio.run(scenario())


def test_refreshes_from_both_sides_keep_the_rollover_counters() -> None:
    """SDES-15, DYN-7."""

    async def body(here: Stage) -> None:
        await reoffer(here)
        await here.talk()
        await here.ring()
        await here.talk()
        assert await roc(here) == {("sent", 1), ("received", 1)}

    play(body)


def test_two_cycles_of_hold_and_resume_keep_the_rollover_counters() -> None:
    """DYN-9."""

    async def body(here: Stage) -> None:
        for direction in ("sendonly", "inactive"):
            await reoffer(here, direction)
            await reoffer(here)
            await here.talk()
        assert await roc(here) == {("sent", 1), ("received", 1)}

    play(body)


def test_rekey_by_the_ue_starts_both_counters_again() -> None:
    """SDES-18, DYN-10: the far end begins a new context with ROC 0, and so do we."""

    async def body(here: Stage) -> None:
        await reoffer(here, rekey=True)
        await here.talk()
        assert await roc(here) == {("sent", 0), ("received", 0)}

    play(body)


def test_rekey_by_the_edge_starts_both_counters_again() -> None:
    """SDES-18, DYN-10."""

    async def body(here: Stage) -> None:
        await here.ring(rekey=True)
        await here.talk()
        assert await roc(here) == {("sent", 0), ("received", 0)}

    play(body)


def test_refused_rekey_leaves_keys_and_counters_at_work() -> None:
    """SDES-16: 488 to the re-INVITE, and the audio goes on."""

    async def body(here: Stage) -> None:
        session = here.dialer.session
        assert session is not None
        await here.agent.create_offer(
            sdp=here.dialer.phone.offer(), signalling="access", binding="home", session=session, rekey=True
        )
        failed = await here.agent.offer_failed(session=session, status=488)
        assert not failed.retry
        await here.talk()
        assert await roc(here) == {("sent", 1), ("received", 1)}

    play(body)


def test_rekey_that_the_edge_cannot_answer_leaves_the_call_as_it_was() -> None:
    """SDES-16: what came back was no answer to it."""

    async def body(here: Stage) -> None:
        session = here.dialer.session
        assert session is not None
        plain = here.dialer.phone.offer()
        offer = await here.agent.create_offer(
            sdp=plain, signalling="access", binding="home", session=session, rekey=True
        )
        with pytest.raises(NegotiationFailed, match="crypto_count"):
            await here.agent.accept_answer(session=session, sdp=sdp_octets(offer), final=True)
        await here.agent.offer_failed(session=session, status=488)
        await here.talk()

    play(body)
