"""POL-8: no key in any log, error or event of a whole run, in raw, hex or base64."""

import asyncio
import base64
import io
import json
import os
import re
from typing import Any

from support.local_agent import Phone, audio_port, plain_sdp, rtp_packet, running_agent

from ueagent.client import AgentClient
from ueagent.errors import AgentError
from ueagent.ipc import api

SUITE = "AES_CM_128_HMAC_SHA1_80"


def forms(octets: bytes) -> list[bytes]:
    """How a key could show: whole, and its halves (key and salt), raw, hex, base64, with any beginning."""
    found = []
    for part in (octets, octets[:16], octets[16:]):
        text = base64.b64encode(part)
        found += [part, part.hex().encode(), part.hex().upper().encode(), text.rstrip(b"="), repr(part).encode()[2:-1]]
        found.append(base64.urlsafe_b64encode(part).rstrip(b"="))
    return found


def keys_in(*texts: str) -> set[bytes]:
    values = re.findall(r"inline:([A-Za-z0-9+/=]+)", "".join(texts))
    return {base64.b64decode(value + "=" * (-len(value) % 4)) for value in values}


class Run:
    """A call with everything that can go wrong around it, and all that was said about it."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self.sdp: list[str] = []
        self.told: list[str] = []

    async def refused(self, client: AgentClient, method: str, parameters: dict[str, Any]) -> None:
        try:
            await client.call(method, parameters)
        except AgentError as error:
            self.told.append(f"{error} {error.detail} {error.field}")
        else:
            raise AssertionError("it was taken")

    async def whole(self) -> None:
        with Phone() as phone:
            async with (
                asyncio.timeout(30),
                running_agent(self.log) as agent,
                AgentClient.connect(agent.path) as client,
                AgentClient.connect(agent.path) as listener,
            ):
                events = listener.call_more("org.ueagent.Agent.Subscribe", api.SubscribeRequest())
                await anext(events)
                await client.registration_update(binding="home", status=200, security_server=["sdes-srtp;mediasec"])
                await self.call(client, phone)
                event: dict[str, Any] = {}
                while event.get("kind") != "session_gone":
                    event = (await anext(events))["event"]
                    self.told.append(json.dumps(event))
                self.told.append(json.dumps(await client.call("org.ueagent.Agent.Describe")))

    async def call(self, client: AgentClient, phone: Phone) -> None:
        offer = await client.create_offer(sdp=phone.sdp, signalling="confidentiality", binding="home")
        assert offer.sdp is not None
        self.sdp.append(offer.sdp)
        found = re.search(rf"a=crypto:(\d+) {SUITE}", offer.sdp)
        assert found
        tag = found[1]
        theirs = base64.b64encode(os.urandom(30)).decode()
        answer = plain_sdp(40000, proto="RTP/SAVP") + f"a=crypto:{tag} {SUITE} inline:{theirs}\r\n"
        self.sdp.append(answer)
        wrong = "org.ueagent.Session.AcceptAnswer"
        broken = [
            answer.replace(SUITE, "NO_SUCH_SUITE"),
            answer.replace(f"crypto:{tag}", "crypto:77"),
            answer.replace("m=audio 40000", "m=audio many"),
            answer.replace(theirs, theirs[:-4]),
            answer + answer[answer.index("a=crypto") :],
            offer.sdp,
        ]
        for sdp in broken:
            await self.refused(client, wrong, {"session": offer.session, "final": True, "sdp": sdp})
        await self.refused(client, wrong, {"session": offer.session, "final": answer, "sdp": answer})
        await self.refused(client, wrong, {"session": offer.session, "final": True, "sdp": answer, theirs: theirs})
        await self.refused(client, wrong, {"session": theirs, "final": True, "sdp": answer})
        await self.refused(client, f"org.ueagent.Session.{theirs}", {})
        await self.refused(client, "org.ueagent.Session.AcceptAnswer", {"sdp_base64": answer})
        plain = await client.accept_answer(session=offer.session, sdp=answer, final=True)
        await phone.send(audio_port(plain.sdp or ""), rtp_packet(60_000))
        rekey = await client.create_offer(
            session=offer.session, sdp=phone.sdp, signalling="confidentiality", binding="home", rekey=True
        )
        self.sdp.append(rekey.sdp or "")
        self.told.append(json.dumps(await client.call("org.ueagent.Agent.Status")))
        await client.offer_failed(session=offer.session, status=488)
        await client.release(session=offer.session)


def test_no_log_error_or_event_of_a_run_holds_a_key() -> None:
    run = Run()
    asyncio.run(run.whole())
    keys = keys_in(*run.sdp)
    assert len(keys) >= 7
    said = run.log.getvalue().encode() + "\n".join(run.told).encode()
    assert b"session_created" in said
    assert b"keys_installed" in said
    for key in keys:
        assert not [form for form in forms(key) if form in said]


def test_the_search_finds_a_key_that_is_there() -> None:
    key = os.urandom(30)
    for form in (key, key.hex().encode(), base64.b64encode(key), key[:16].hex().encode()):
        assert [found for found in forms(key) if found in b"before " + form + b" after"]
