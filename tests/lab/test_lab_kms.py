"""The lab's KMS and BSF over sockets: tickets for bootstrapped users, what is refused, faults, forwarding."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from support.mikey_world import ANSWER_SSRC, OFFER, PROTOCOLS, RCC
from support.ub import BSF, OPC, Clock, K, bsf

from ueagent.crypto import mikey_prf
from ueagent.daemon.credentials.gba import GbaCredentials
from ueagent.daemon.credentials.provider import KmsCredential, ProvisionedPsk
from ueagent.daemon.http_client import Origin, exchange
from ueagent.daemon.kms_http import KmsBinding, KmsClient, KmsService
from ueagent.errors import AgentError
from ueagent.keymgmt import kms, mikey_ticket
from ueagent.keymgmt.aka import AkaKeys, SyncFailure
from ueagent.keymgmt.bootstrapping import BootstrappedContext
from ueagent.keymgmt.kms import GrantedTicket, PendingRequest, PendingResolve, ResolvedTicket
from ueagent.keymgmt.mikey_protection import KmsAccount, Profile
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.keymgmt.usim import SoftwareUsim
from ueagent.lab import kms as lab_kms_module
from ueagent.lab.faults import KmsFault
from ueagent.lab.http_server import HttpServer
from ueagent.lab.kms import LabKms, Peer
from ueagent.lab.kms_store import KmsStore
from ueagent.model.http import HttpRequest, HttpResponse
from ueagent.model.keys import Secret

HOME, FOREIGN = b"sip:kms.example.com", b"sip:kms.example.net"
ALICE, BOB, CAROL = b"sip:alice@example.com", b"sip:bob@example.com", b"sip:carol@example.net"
TEAM = b"sip:team@example.com"
PROFILE = Profile()


@dataclass
class Stage:
    """One KMS and BSF on loopback. `faults` are set on `kms`."""

    kms: LabKms
    identity: bytes
    store: KmsStore
    server: HttpServer
    bsf_server: HttpServer
    clock: Clock
    rng: random.Random = field(default_factory=lambda: random.Random(5))

    def binding(self) -> KmsBinding:
        return KmsBinding("kms.lab", Origin(False, "127.0.0.1", self.server.port), timeout=0.5, retries=1)

    def client(self, user: bytes) -> KmsClient:
        origin = Origin(False, "127.0.0.1", self.bsf_server.port)
        usim = SoftwareUsim(Secret(K), Secret(OPC))
        credentials = GbaCredentials(impi_of(user), BSF, origin, usim, self.rng.randbytes, self.clock)
        return KmsClient({self.identity: self.binding()}, credentials)

    async def ticket(
        self, user: bytes, responders: tuple[bytes, ...], client: KmsClient | None = None
    ) -> GrantedTicket:
        def create(credential: KmsCredential) -> PendingRequest:
            account = KmsAccount(user, self.identity, credential.identity, credential.key)
            wish = kms.wish_for_media(account, responders, self.clock(), self.rng.randbytes, PROFILE)
            return kms.create_request_init(account, wish, self.clock(), self.rng.randbytes)

        return await (client or self.client(user)).exchange(
            self.identity,
            KmsService.TICKET,
            create,
            lambda pending, octets: kms.consume_request_resp(pending, octets, self.clock(), PROFILE),
        )

    async def resolve(self, user: bytes, ticket: GrantedTicket, to: bytes | None = None) -> ResolvedTicket:
        pending = self.transfer(ticket, to or user)
        return await self.resolve_octets(user, pending.octets)

    def transfer(self, ticket: GrantedTicket, to: bytes) -> mikey_ticket.PendingTransfer:
        extension = mikey_ticket.Extension(mikey_ticket.SDP_IDS, PROTOCOLS)
        return mikey_ticket.create_transfer_init(
            ticket, ALICE, to, OFFER, (RCC,), self.clock(), self.rng.randbytes, PROFILE, (extension,)
        )

    async def resolve_octets(self, user: bytes, octets: bytes) -> ResolvedTicket:
        received = mikey_ticket.consume_transfer_init(octets, ReplayCache(), self.clock(), PROFILE, PROTOCOLS)

        def create(credential: KmsCredential) -> PendingResolve:
            account = KmsAccount(user, self.identity, credential.identity, credential.key)
            return kms.create_resolve_init(account, received.ticket, received.terms, self.clock(), self.rng.randbytes)

        return await self.client(user).exchange(
            self.identity,
            KmsService.RESOLVE,
            create,
            lambda pending, answer: kms.consume_resolve_resp(pending, answer, PROFILE),
        )


def impi_of(user: bytes) -> str:
    return user.decode().removeprefix("sip:")


@asynccontextmanager
async def stage(
    identity: bytes = HOME,
    number: int = 1,
    users: tuple[bytes, ...] = (ALICE, BOB),
    peers: dict[bytes, Peer] | None = None,
) -> AsyncIterator[Stage]:
    store, clock = KmsStore(), Clock()
    for user in users:
        store.add_user(impi_of(user), user, Secret(K), Secret(OPC))
    lab = LabKms(store, identity, "kms.lab", number.to_bytes(6, "big"), random.Random(number).randbytes, clock, peers)
    async with HttpServer(lab.handle) as server, HttpServer(bsf(store, clock, seed=number).handle) as bsf_server:
        yield Stage(lab, identity, store, server, bsf_server, clock)
    store.close()


async def code_of(work: object) -> str:
    with pytest.raises(AgentError) as caught:
        await work  # type: ignore[misc]
    return caught.value.code


def test_call_through_the_kms_ends_in_the_same_keys() -> None:
    """KMS-10, KMS-12: bootstrapping, REQUEST, TRANSFER, RESOLVE, over sockets."""

    async def run() -> None:
        async with stage() as lab:
            ticket = await lab.ticket(ALICE, (BOB,))
            pending = lab.transfer(ticket, BOB)
            resolved = await lab.resolve_octets(BOB, pending.octets)
            replay = ReplayCache()
            received = mikey_ticket.consume_transfer_init(pending.octets, replay, lab.clock(), PROFILE, PROTOCOLS)
            verified = mikey_ticket.verify_transfer_init(received, resolved, BOB, replay, lab.clock(), PROFILE)
            octets, theirs = mikey_ticket.create_transfer_resp(verified, ANSWER_SSRC, lab.clock(), lab.rng.randbytes)
            ours = mikey_ticket.consume_transfer_resp(pending, octets, PROFILE)
            assert [one.key for one in ours.sessions] == [one.key for one in theirs.sessions]
            assert ours.answered_by == BOB
            assert lab.store.counts() == (1, 1)

    asyncio.run(run())


def test_user_that_the_ticket_does_not_name_is_refused() -> None:
    async def run() -> None:
        async with stage() as lab:
            ticket = await lab.ticket(ALICE, (ALICE,))
            with pytest.raises(AgentError):
                await lab.resolve(BOB, ticket)
            assert lab.store.counts() == (1, 0)

    asyncio.run(run())


@pytest.mark.parametrize("name", [TEAM, b"sip:!.*!@example.com"])
def test_members_of_a_group_and_of_a_wildcard_may_resolve(name: bytes) -> None:
    """KMS-56."""

    async def run() -> None:
        async with stage() as lab:
            lab.store.add_member(TEAM, BOB)
            resolved = await lab.resolve(BOB, await lab.ticket(ALICE, (name,)), name)
            assert resolved.identity == BOB

    asyncio.run(run())


def test_unknown_identity_and_wrong_mac_get_the_same_answer() -> None:
    """KMS-12: 401 without a body."""

    async def run() -> None:
        async with stage() as lab:
            answers = []
            lab.store.add_psk(b"known", Secret(bytes(32)), user=ALICE)
            for psk_id, psk in ((b"known", b"\x01" * 32), (b"unknown", bytes(32))):
                account = KmsAccount(ALICE, HOME, psk_id, Secret(psk))
                wish = kms.wish_for_media(account, (BOB,), lab.clock(), lab.rng.randbytes, PROFILE)
                made = kms.create_request_init(account, wish, lab.clock(), lab.rng.randbytes)
                request = HttpRequest("POST", lab.binding().target(KmsService.TICKET), {}, made.octets)
                answers.append(await exchange(lab.binding().origin, request))
            assert answers[0] == answers[1]
            assert (answers[0].status, answers[0].body) == (401, b"")

    asyncio.run(run())


def test_unknown_identity_and_wrong_mac_cost_the_same_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """KMS-12: keys looked up, keys derived and MACs made, for a bootstrapped user, a provisioned one, and nobody."""
    done: list[str] = []

    def counted(module: object, name: str) -> None:
        real = getattr(module, name)

        def call(*given: object, **more: object) -> object:
            done.append(name)
            return real(*given, **more)

        monkeypatch.setattr(module, name, call)

    async def run() -> None:
        async with stage() as lab:
            lab.store.add_psk(b"known", Secret(bytes(32)), user=ALICE)
            context = BootstrappedContext("b-tid", impi_of(ALICE), bytes(16), lab.clock() + 60, Secret(bytes(32)))
            lab.store.add_context(context)
            for name in ("psk", "context", "user"):
                counted(KmsStore, name)
            counted(lab_kms_module, "naf_key")
            counted(mikey_prf, "mac")
            seen = []
            for psk_id in (b"b-tid", b"known", b"unknown"):
                account = KmsAccount(ALICE, HOME, psk_id, Secret(b"\x01" * 32))
                wish = kms.wish_for_media(account, (BOB,), lab.clock(), lab.rng.randbytes, PROFILE)
                made = kms.create_request_init(account, wish, lab.clock(), lab.rng.randbytes)
                done.clear()
                target = lab.binding().target(KmsService.TICKET)
                answer = await lab.kms.handle(HttpRequest("POST", target, {}, made.octets))
                seen.append((answer, list(done)))
            assert seen[0] == seen[1] == seen[2]
            assert seen[0] == (HttpResponse(401), ["psk", "context", "naf_key", "user", "mac"])

    asyncio.run(run())


def test_kms_that_forgot_a_bootstrapping_makes_the_ue_do_another_one() -> None:
    """KMS-6."""

    async def run() -> None:
        async with stage() as lab:
            client = lab.client(ALICE)
            await lab.ticket(ALICE, (BOB,), client)
            lab.store.forget_contexts()
            await lab.ticket(ALICE, (BOB,), client)
            assert lab.bsf_server.requests == 4
            lab.kms.fault = KmsFault.UNKNOWN_BTID
            assert await code_of(lab.ticket(ALICE, (BOB,), client)) == "kms_unauthorized"
            assert lab.bsf_server.requests == 6

    asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (KmsFault.POLICY_CHANGE, "ticket_policy_changed"),
        (KmsFault.SLOW, "http_timeout"),
        (KmsFault.DOWN, "kms_unavailable"),
    ],
)
def test_fault_ends_in_its_error(fault: KmsFault, code: str) -> None:
    """KMS-12, KMS-13."""

    async def run() -> None:
        async with stage() as lab:
            lab.kms.fault = fault
            assert await code_of(lab.ticket(ALICE, (BOB,))) == code

    asyncio.run(run())


@pytest.mark.parametrize("fault", [KmsFault.EXPIRED, KmsFault.WRONG_MAC])
def test_answer_that_must_not_be_used_is_refused(fault: KmsFault) -> None:
    async def run() -> None:
        async with stage() as lab:
            lab.kms.fault = fault
            with pytest.raises(AgentError):
                await lab.ticket(ALICE, (BOB,))
            lab.kms.fault = KmsFault.NO_FAULT
            await lab.ticket(ALICE, (BOB,))

    asyncio.run(run())


def test_base64_is_answered_in_base64() -> None:
    """KMS-11."""

    async def run() -> None:
        async with stage() as lab:
            binding = replace(lab.binding(), base64=True)
            lab.store.add_psk(b"alice", Secret(bytes(32)), user=ALICE)
            client = KmsClient({HOME: binding}, ProvisionedPsk(b"alice", Secret(bytes(32))))
            assert (await lab.ticket(ALICE, (BOB,), client)).terms.initiator == ALICE

    asyncio.run(run())


def test_ticket_of_another_kms_is_forwarded_to_it() -> None:
    """RFC 6043, 10: found by THDR; that KMS forks, this one hands on."""

    async def run() -> None:
        async with stage() as home:
            home.store.add_psk(b"kms.example.net", Secret(b"z" * 32), domain=b"example.net")
            client = KmsClient({HOME: home.binding()}, ProvisionedPsk(b"kms.example.net", Secret(b"z" * 32)))
            peers = {(1).to_bytes(6, "big"): Peer(HOME, client)}
            async with stage(FOREIGN, 2, (CAROL,), peers) as foreign:
                ticket = await home.ticket(ALICE, (CAROL,))
                resolved = await foreign.resolve(CAROL, ticket)
                assert resolved.identity == CAROL
                assert home.store.counts() == (1, 1)
                assert foreign.store.counts() == (0, 0)

    asyncio.run(run())


def test_ticket_of_a_kms_that_nobody_knows_is_refused() -> None:
    async def run() -> None:
        async with stage() as home, stage(FOREIGN, 2, (CAROL,)) as foreign:
            ticket = await home.ticket(ALICE, (CAROL,))
            with pytest.raises(AgentError):
                await foreign.resolve(CAROL, ticket)

    asyncio.run(run())


def test_other_methods_and_paths_are_not_found() -> None:
    """KMS-10, KMS-15."""

    async def run() -> None:
        async with stage() as lab:
            origin = lab.binding().origin
            for method, target in (
                ("GET", "/keymanagement?requesttype=ticketrequest"),
                ("POST", "/keymanagement/identity/v1/init"),
            ):
                assert (await exchange(origin, HttpRequest(method, target))).status == 404

    asyncio.run(run())


class _SlowUsim:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.asked, self.let = threading.Event(), threading.Event()
        self.keys: AkaKeys | None = None
        self._usim = SoftwareUsim(Secret(K), Secret(OPC))

    def authenticate(self, rand: bytes, autn: bytes) -> AkaKeys | SyncFailure:
        self.asked.set()
        assert self.let.wait(10)
        outcome = self._usim.authenticate(rand, autn)
        assert isinstance(outcome, AkaKeys)
        self.keys = outcome
        return outcome

    def wipe(self) -> None:
        self._usim.wipe()


def test_bootstrapping_given_up_ends_with_its_usim_and_leaves_no_keys() -> None:
    """KMS-7: a thread goes on after its waiter: it would hold keys, and write a state file, that nobody owns."""

    async def run() -> None:
        async with stage() as lab:
            usim = _SlowUsim()
            origin = Origin(False, "127.0.0.1", lab.bsf_server.port)
            credentials = GbaCredentials(impi_of(ALICE), BSF, origin, usim, lab.rng.randbytes, lab.clock)
            work = asyncio.ensure_future(credentials.obtain("kms.lab"))
            await asyncio.to_thread(usim.asked.wait, 10)
            work.cancel()
            await asyncio.sleep(0)
            assert not work.done()
            usim.let.set()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert usim.keys is not None
            assert not any(len(key) for key in (usim.keys.res, usim.keys.ck, usim.keys.ik))

    asyncio.run(run())
