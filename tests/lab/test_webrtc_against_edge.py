"""A real agent with the WebRTC profile at a lab edge that does DTLS-SRTP without a word at registration (eP-CSCF)."""

from __future__ import annotations

import asyncio

import pytest
from support.lab_stage import stage

from ueagent.lab.edge import EdgeConfig
from ueagent.model.security import SecurityPolicy, Setting

EDGE = EdgeConfig(dtls_unannounced=True, own_list=())
WEB = SecurityPolicy(webrtc=True, sdes_e2ae=Setting.OFF)  # so there is nothing to announce
WAIT = 10.0


@pytest.mark.parametrize("passive", [False, True])
def test_outgoing_call_has_one_port_for_rtp_and_rtcp(passive: bool) -> None:
    """WEB-1, WEB-6, DYN-14: the edge does not know ICE; packets and reports arrive bit for bit."""

    async def scenario() -> None:
        edge = EdgeConfig(dtls_unannounced=True, dtls_passive=passive)
        async with stage(edge, WEB) as here:
            await here.call()
            await here.dialer.keyed(WAIT)
            call = here.net.call
            assert call is not None
            assert await here.edge.wait_ready(call, WAIT)
            line = await here.line()
            assert (line.mechanism, line.scope, line.assured) == ("DTLS-SRTP", "e2ae", True)
            await here.talk()
            wire = here.edge.wire(call)
            assert len({one.source for one in wire} | {one.destination for one in wire}) == 2
            assert {192 <= one.data[1] <= 223 for one in wire if one.data[0] >= 128} == {False, True}

    asyncio.run(scenario())


def test_terminating_call_is_secured_without_a_token_in_the_registration() -> None:
    """WEB-2."""

    async def scenario() -> None:
        async with stage(EDGE, WEB) as here:
            await here.ring()
            await here.dialer.keyed(WAIT)
            call = here.net.call
            assert call is not None
            assert await here.edge.wait_ready(call, WAIT)
            line = await here.line()
            assert (line.mechanism, line.scope, line.assured) == ("DTLS-SRTP", "e2ae", True)
            await here.talk()

    asyncio.run(scenario())
