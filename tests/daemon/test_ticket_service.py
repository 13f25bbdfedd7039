"""What calls and messages share towards KMSs, against the lab's KMS over HTTP."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.kms_lab import ALICE, BOB, by_gba, by_psk, lab_kms, private_file
from support.local_agent import running_agent
from support.mikey_world import OFFER, PROTOCOLS, RCC

from ueagent.daemon.agent import Agent
from ueagent.daemon.config import LogConfig, parse_config
from ueagent.daemon.logs import open_log
from ueagent.daemon.ticket_service import TicketService, create_ticket_service
from ueagent.errors import AgentError, UsageError
from ueagent.keymgmt import mikey_ticket
from ueagent.keymgmt.kms import TicketWish, wish_for_media
from ueagent.keymgmt.mikey_exchange import (
    Agreed,
    AnswerReceived,
    AnswerWanted,
    Event,
    Failed,
    KmsUnreachable,
    MikeyExchange,
    OfferReceived,
    OfferWanted,
    Output,
    PutMikey,
    SendKmsRequest,
)
from ueagent.keymgmt.mikey_protection import MIKEY_1, KmsAccount
from ueagent.lab.faults import KmsFault
from ueagent.lab.kms_service import KmsService


def service_of(sections: dict[str, Any]) -> TicketService:
    config = parse_config(sections)
    made = create_ticket_service(config.kms, config.credentials, os.urandom, time.time)
    assert made is not None
    return made


def wish_of(service: TicketService, *, reuse: bool = False) -> TicketWish:
    user = service.identities[0]
    return wish_for_media(
        service.names(user), (BOB.encode(),), service.clock(), os.urandom, service.profile, reuse=reuse
    )


def run(folder: Path, test: Callable[[KmsService], Awaitable[None]], **config: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30), lab_kms(folder, **config) as kms:
            await test(kms)

    asyncio.run(whole())


def exchange_of(service: TicketService, account: KmsAccount) -> MikeyExchange:
    return MikeyExchange(account, service.profile, os.urandom, service.tickets, service.replay, service.limit)


async def driven(
    service: TicketService, account: KmsAccount, exchange: MikeyExchange, event: Event
) -> tuple[list[Output], int]:
    """What an event leads to once the KMS has answered, and how many requests it took: a session does as much."""
    outputs, asked = exchange.handle(event, service.clock()), 0
    while outputs and isinstance(outputs[0], SendKmsRequest):
        reply = await service.perform(account, outputs[0])
        if isinstance(reply, KmsUnreachable) and reply.account is not None:
            account = reply.account
        outputs, asked = exchange.handle(reply, service.clock()), asked + 1
    return outputs, asked


def test_without_credentials_there_is_no_service() -> None:
    config = parse_config({})
    assert create_ticket_service(config.kms, config.credentials, os.urandom, time.time) is None


@pytest.mark.parametrize("sections", [by_psk, by_gba], ids=["psk", "gba"])
def test_exchanges_of_two_sessions_agree_through_the_kms(tmp_path: Path, sections: Callable[..., Any]) -> None:
    """KMS-41, KMS-7: an offer and its answer, with requests carried by each agent's service."""

    async def test(kms: KmsService) -> None:
        alice, bob = (service_of(sections(kms, tmp_path, user)) for user in (ALICE, BOB))
        one, other = await alice.account(), await bob.account()
        caller, callee = exchange_of(alice, one), exchange_of(bob, other)
        wanted = OfferWanted(wish_of(alice), BOB.encode(), OFFER, (RCC,), PROTOCOLS)
        (offer,), _ = await driven(alice, one, caller, wanted)
        assert isinstance(offer, PutMikey)
        await driven(bob, other, callee, OfferReceived(offer.octets, PROTOCOLS))
        answer, theirs = callee.handle(AnswerWanted({2: 7}), bob.clock())
        assert isinstance(answer, PutMikey)
        (ours,) = caller.handle(AnswerReceived(answer.octets), alice.clock())
        assert isinstance(ours, Agreed)
        assert isinstance(theirs, Agreed)
        for mine, yours in zip(ours.transfer.sessions, theirs.transfer.sessions, strict=True):
            assert mine.key == yours.key
        for service in (alice, bob):
            service.close()

    run(tmp_path, test)


def test_request_of_a_session_is_carried_once_and_the_exchange_repeats_it(tmp_path: Path) -> None:
    """KMS-13: perform sends what it is given; repetitions are new messages of the exchange."""

    async def test(kms: KmsService) -> None:
        kms.kms.fault = KmsFault.DOWN
        alice = service_of(by_psk(kms, tmp_path, ALICE))
        account = await alice.account()
        wanted = OfferWanted(wish_of(alice), BOB.encode(), OFFER, (RCC,), PROTOCOLS)
        (failed,), asked = await driven(alice, account, exchange_of(alice, account), wanted)
        assert isinstance(failed, Failed)
        assert (failed.error.code, asked) == ("kms_unreachable", 3)

    run(tmp_path, test)


def test_session_goes_on_with_renewed_credentials_once(tmp_path: Path) -> None:
    """KMS-6."""

    async def test(kms: KmsService) -> None:
        alice = service_of(by_gba(kms, tmp_path, ALICE))
        account = await alice.account()
        wanted = OfferWanted(wish_of(alice), BOB.encode(), OFFER, (RCC,), PROTOCOLS)
        kms.kms.fault = KmsFault.UNKNOWN_BTID
        exchange = exchange_of(alice, account)
        (request,) = exchange.handle(wanted, alice.clock())
        assert isinstance(request, SendKmsRequest)
        reply = await alice.perform(account, request)
        assert isinstance(reply, KmsUnreachable)
        assert reply.account is not None
        assert reply.account.psk_id != account.psk_id
        kms.kms.fault = KmsFault.NO_FAULT
        (offer,), _ = await driven(alice, reply.account, exchange, reply)
        assert isinstance(offer, PutMikey)

    run(tmp_path, test)


def test_session_gives_up_when_renewed_credentials_are_refused(tmp_path: Path) -> None:
    """KMS-6."""

    async def test(kms: KmsService) -> None:
        alice = service_of(by_gba(kms, tmp_path, ALICE))
        account = await alice.account()
        kms.kms.fault = KmsFault.UNKNOWN_BTID
        wanted = OfferWanted(wish_of(alice), BOB.encode(), OFFER, (RCC,), PROTOCOLS)
        (failed,), asked = await driven(alice, account, exchange_of(alice, account), wanted)
        assert isinstance(failed, Failed)
        assert (failed.error.code, asked) == ("kms_refused", 2)

    run(tmp_path, test)


def test_key_that_cannot_be_renewed_is_refused_at_once(tmp_path: Path) -> None:
    """KMS-6, KMS-12: 401 for a wrong key."""

    async def test(kms: KmsService) -> None:
        sections = by_psk(kms, tmp_path, ALICE)
        private_file(tmp_path / f"{ALICE[4:]}.psk", "11" * 32)
        alice = service_of(sections)
        with pytest.raises(AgentError, match="kms_unauthorized"):
            await alice.ticket_for(wish_of(alice), ALICE.encode(), alice.profile)

    run(tmp_path, test)


def test_ticket_is_asked_for_again_only_where_it_may_not_be_reused(tmp_path: Path) -> None:
    """KMS-40, KMS-49."""

    async def test(kms: KmsService) -> None:
        alice = service_of(by_psk(kms, tmp_path, ALICE))
        user = ALICE.encode()
        single = [await alice.ticket_for(wish_of(alice), user, alice.profile) for _ in range(2)]
        assert single[0].payload != single[1].payload
        reused = [await alice.ticket_for(wish_of(alice, reuse=True), user, alice.profile) for _ in range(2)]
        assert reused[0].payload == reused[1].payload
        assert reused[0].mpki is not reused[1].mpki
        alice.close()
        assert len(reused[0].mpki) == 32  # a copy: its owner wipes it

    run(tmp_path, test)


def test_identities_are_those_of_the_configuration(tmp_path: Path) -> None:
    async def test(kms: KmsService) -> None:
        alice = service_of(by_psk(kms, tmp_path, ALICE))
        assert alice.identity(None, "sender") == alice.identity(ALICE, "sender") == ALICE.encode()
        with pytest.raises(UsageError, match="unknown_identity"):
            alice.identity(BOB, "sender")

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("section", "key", "value", "code"),
    [
        ("kms", "identity", None, "kms.identity"),
        ("kms", "url", None, "kms.url"),
        ("kms", "url", "http://host:99999", "kms.url"),
        ("kms", "foreign", ["sip:kms.example.net http://host:99999"], "kms.foreign"),
        ("kms", "ca_file", "/dev/null", "kms.ca_file"),
        ("credentials", "identities", [], "credentials.identities"),
    ],
)
def test_service_that_cannot_work_is_refused(tmp_path: Path, section: str, key: str, value: Any, code: str) -> None:
    async def test(kms: KmsService) -> None:
        sections = by_psk(kms, tmp_path, ALICE)
        sections[section].pop(key, None)
        if value is not None:
            sections[section][key] = value
        with pytest.raises(UsageError) as caught:
            service_of(sections)
        assert (caught.value.code, caught.value.field) == ("bad_config", code)

    run(tmp_path, test)


def test_kms_is_named_by_the_host_of_its_url_unless_it_is_set(tmp_path: Path) -> None:
    """KMS-3: the name enters the derived key, so a wrong one is a key that the KMS does not have."""

    async def test(kms: KmsService) -> None:
        sections = by_gba(kms, tmp_path, ALICE)
        del sections["kms"]["name"]
        alice = service_of(sections)
        with pytest.raises(AgentError, match="kms_unauthorized"):
            await alice.ticket_for(wish_of(alice), ALICE.encode(), alice.profile)

    run(tmp_path, test)


def test_ticket_of_a_foreign_kms_is_resolved_there_and_others_at_home(tmp_path: Path) -> None:
    """KMS-43: a foreign KMS that is configured answers for its own tickets; without it ours is asked."""
    other = "sip:kms.example.net"
    (tmp_path / "net").mkdir()

    async def whole() -> None:
        async with (
            asyncio.timeout(30),
            lab_kms(tmp_path) as home,
            lab_kms(tmp_path / "net", identity=other, name="kms.example.net", number=2) as foreign,
        ):
            alice_net = by_psk(foreign, tmp_path / "net", ALICE, identity=other, name="kms.example.net")
            alice = service_of(alice_net)
            known = service_of(by_psk(home, tmp_path, BOB, foreign=[f"{other} {foreign.kms_url}"]))
            unknown = service_of(by_psk(home, tmp_path, BOB))
            ticket = await alice.ticket_for(wish_of(alice), ALICE.encode(), alice.profile)
            transfer = mikey_ticket.create_transfer_init(
                ticket, ALICE.encode(), BOB.encode(), OFFER, (RCC,), alice.clock(), os.urandom, alice.profile
            )
            received = mikey_ticket.consume_transfer_init(transfer.octets, known.replay, known.clock(), known.profile)
            resolved = await known.resolve(received, BOB.encode(), known.profile)
            assert resolved.mpki == ticket.mpki
            assert (foreign.requests, home.requests) == (2, 0)
            with pytest.raises(AgentError, match="kms_refused"):  # and that KMS knows nobody to forward it to
                await unknown.resolve(received, BOB.encode(), unknown.profile)
            assert (foreign.requests, home.requests) == (2, 1)

    asyncio.run(whole())


def test_closed_service_has_wiped_its_key(tmp_path: Path) -> None:
    async def test(kms: KmsService) -> None:
        alice = service_of(by_psk(kms, tmp_path, ALICE))
        account = await alice.account()
        alice.close()
        alice.close()
        assert len(account.psk) == 32  # the session's copy: its own to wipe
        assert len((await alice.account()).psk) == 0

    run(tmp_path, test)


def test_agent_that_ends_or_cannot_begin_has_wiped_its_key(tmp_path: Path) -> None:
    async def test(kms: KmsService) -> None:
        sections = by_psk(kms, tmp_path, ALICE)
        async with running_agent(**sections) as agent:
            second = Agent(parse_config(sections), open_log(LogConfig(level="error")), agent.path)
            with pytest.raises(UsageError, match="already_running"):
                await second.__aenter__()
        for ended in (agent, second):
            assert ended._tickets is not None
            assert len((await ended._tickets.account()).psk) == 0

    run(tmp_path, test)


def test_profile_of_calls_is_a_setting(tmp_path: Path) -> None:
    """KMS-21, KMS-34."""

    async def test(kms: KmsService) -> None:
        usual = service_of(by_psk(kms, tmp_path, ALICE)).profile
        assert (usual.application, usual.any_application, MIKEY_1 in usual.accept) == (b"IMS-MEDIA", False, False)
        keys = {"application": "OTHER-MEDIA", "any_application": True, "mikey_1": True}
        alice = service_of(by_psk(kms, tmp_path, ALICE, **keys))
        set_so = alice.profile
        assert (set_so.application, set_so.any_application, MIKEY_1 in set_so.accept) == (b"OTHER-MEDIA", True, True)
        ticket = await alice.ticket_for(wish_of(alice), ALICE.encode(), alice.profile)
        assert ticket.terms.applications == (b"OTHER-MEDIA",)

    run(tmp_path, test)
