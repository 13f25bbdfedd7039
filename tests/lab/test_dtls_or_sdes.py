"""Which mechanism a real agent and the lab edge agree on (POL-1, POL-5, REG-11, REG-17)."""

from __future__ import annotations

import asyncio

import pytest
from support.lab_stage import stage

from ueagent.errors import NegotiationFailed
from ueagent.lab.edge import EdgeConfig
from ueagent.model.security import Mechanism, SecurityPolicy, Setting

DTLS_FIRST = EdgeConfig(own_list=("dtls-srtp;mediasec", "sdes-srtp;mediasec"))
SDES_FIRST = EdgeConfig(own_list=("sdes-srtp;mediasec", "dtls-srtp;mediasec"))
SDES_ONLY = EdgeConfig()
PREFERS_SDES = SecurityPolicy(e2ae_order=(Mechanism.SDES, Mechanism.DTLS_SRTP))


@pytest.mark.parametrize(
    ("edge", "policy", "mechanism"),
    [
        (DTLS_FIRST, None, "DTLS-SRTP"),
        (SDES_FIRST, None, "DTLS-SRTP"),
        (DTLS_FIRST, PREFERS_SDES, "SDES"),
        (SDES_ONLY, None, "SDES"),
    ],
)
def test_an_offer_follows_our_order(edge: EdgeConfig, policy: SecurityPolicy | None, mechanism: str) -> None:
    """POL-5, REG-11, REG-17: among what both announced."""

    async def scenario() -> None:
        async with stage(edge, policy, dtls=True) as here:
            await here.call()
            assert (await here.line()).mechanism == mechanism

    asyncio.run(scenario())


def test_an_answer_takes_what_the_edge_prefers() -> None:
    """POL-5: the order is each side's own."""

    async def scenario() -> None:
        async with stage(SDES_FIRST, dtls=True) as here:
            await here.ring()
            await here.talk()
            assert (await here.line()).mechanism == "SDES"

    asyncio.run(scenario())


def test_a_demand_for_dtls_meets_an_edge_without_it() -> None:
    """POL-1, POL-4."""

    async def scenario() -> None:
        async with stage(SDES_ONLY, SecurityPolicy(dtls_e2ae=Setting.REQUIRED), dtls=True) as here:
            with pytest.raises(NegotiationFailed, match="security_required"):
                await here.call()

    asyncio.run(scenario())
