"""Two users, a KMS, and whole MIKEY-TICKET exchanges between them; time and randomness are the test's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from ueagent.keymgmt import kms, kms_desk, mikey_ticket
from ueagent.keymgmt.kms import GrantedTicket, ResolvedTicket, TicketWish
from ueagent.keymgmt.kms_desk import OpenedRequest, OpenedTicket, Subscriber
from ueagent.keymgmt.mikey_protection import ALL_256, Algorithms, KmsAccount, Profile
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.keymgmt.mikey_sessions import srtp_policy_for, tls_policy
from ueagent.keymgmt.mikey_ticket import PendingTransfer, ReceivedTransfer, Transfer
from ueagent.model.keys import Secret
from ueagent.model.suites import SUITES
from ueagent.wire.mikey import CryptoSession, Protocol
from ueagent.wire.mikey_payloads import Extension, Sp
from ueagent.wire.mikey_policy import srtp_policy_payload

NOW = 1_800_000_000.0
KMS = b"sip:kms.example.com"
ALICE, BOB, CAROL = b"sip:alice@example.com", b"sip:bob@example.com", b"sip:carol@example.com"
PROTOCOLS = b"mikey"
RCC = srtp_policy_payload(1, srtp_policy_for(SUITES["AES_CM_128_HMAC_SHA1_80"], rcc=True))
OFFER = (
    CryptoSession(1, Protocol.SRTP, (1,), bytes.fromhex("0a0a0a0a")),
    CryptoSession(2, Protocol.SRTP, (1,)),
)
MIXED = (*OFFER, CryptoSession(3, Protocol.TLS, (2,)))
TLS = tls_policy(2, (0x00AA, 0x00A8))
ANSWER_SSRC = {2: 0x0B0B0B0B}


class Stream:
    """Random octets that are the same in every run."""

    def __init__(self, seed: str) -> None:
        self._seed, self._count = seed.encode(), 0

    def __call__(self, count: int) -> bytes:
        self._count += 1
        return hashlib.shake_128(self._seed + self._count.to_bytes(4, "big")).digest(count)


def account_of(user: bytes, kms_name: bytes = KMS) -> KmsAccount:
    psk = hashlib.sha256(b"psk of " + user).digest()
    return KmsAccount(user, kms_name, b"btid-" + user, Secret(psk))


@dataclass
class World:
    """One KMS with its users. `now` may be moved by the test."""

    now: float = NOW
    profile: Profile = field(default_factory=Profile)
    algorithms: Algorithms = ALL_256
    users: tuple[bytes, ...] = (ALICE, BOB, CAROL)

    def __post_init__(self) -> None:
        self.rng = Stream("world")
        self.tpk = Secret(bytes(range(32)))
        self.kms_replay, self.replay = ReplayCache(), ReplayCache()
        self.kms_id = b"\x00\x00\x00\x00\x00\x01"
        self.asked = 0  # requests that reached the KMS

    # -- the KMS

    def find(self, psk_id: bytes | None, _claimed: bytes | None) -> Subscriber | None:
        user = next((user for user in self.users if psk_id == b"btid-" + user), None)
        return Subscriber(user, account_of(user).psk) if user else None

    def open(self, octets: bytes) -> OpenedRequest:
        self.asked += 1
        return kms_desk.open_request(octets, KMS, self.find, self.kms_replay, self.now, self.profile)

    def grant(self, octets: bytes) -> bytes:
        opened = self.open(octets)
        wish = kms_desk.consume_request_init(opened, self.now)
        ticket = kms_desk.seal_ticket(
            wish.terms, wish.keys, self.tpk, self.kms_id, b"tpk-1", self.now, self.rng, self.algorithms
        )
        return kms_desk.create_request_resp(opened, ticket, self.now, self.algorithms)

    def ticket_in(self, octets: bytes) -> tuple[OpenedRequest, OpenedTicket]:
        opened = self.open(octets)
        return opened, kms_desk.consume_resolve_init(opened, self.tpk, self.now, self.profile)

    def resolve(self, octets: bytes) -> bytes:
        opened, ticket = self.ticket_in(octets)
        assert opened.user in ticket.terms.responders
        return kms_desk.create_resolve_resp(opened, ticket, opened.user, self.now, self.rng, self.algorithms)

    # -- the UEs

    def wish(self, user: bytes = ALICE, responders: tuple[bytes, ...] = (BOB,), *, reuse: bool = False) -> TicketWish:
        profile = replace(self.profile, send=self.algorithms)
        return kms.wish_for_media(account_of(user), responders, self.now, self.rng, profile, reuse=reuse)

    def ticket(self, wish: TicketWish | None = None, user: bytes = ALICE) -> GrantedTicket:
        wanted = wish or self.wish(user)
        pending = kms.create_request_init(account_of(user), wanted, self.now, self.rng, self.algorithms)
        return kms.consume_request_resp(pending, self.grant(pending.octets), self.now, self.profile)

    def init(
        self,
        ticket: GrantedTicket,
        sessions: tuple[CryptoSession, ...] = OFFER,
        policies: tuple[Sp, ...] = (RCC,),
        to: bytes = BOB,
        protocols: bytes | None = PROTOCOLS,
    ) -> PendingTransfer:
        extensions = () if protocols is None else (Extension(mikey_ticket.SDP_IDS, protocols),)
        profile = replace(self.profile, send=self.algorithms)
        return mikey_ticket.create_transfer_init(
            ticket, ALICE, to, sessions, policies, self.now, self.rng, profile, extensions
        )

    def receive(self, octets: bytes, protocols: bytes | None = PROTOCOLS) -> ReceivedTransfer:
        return mikey_ticket.consume_transfer_init(octets, self.replay, self.now, self.profile, protocols)

    def resolved(self, received: ReceivedTransfer, user: bytes = BOB) -> ResolvedTicket:
        pending = kms.create_resolve_init(
            account_of(user), received.ticket, received.terms, self.now, self.rng, self.algorithms
        )
        return kms.consume_resolve_resp(pending, self.resolve(pending.octets), self.profile)

    def answer(
        self, octets: bytes, user: bytes = BOB, resolved: ResolvedTicket | None = None
    ) -> tuple[bytes, Transfer]:
        received = self.receive(octets)
        keys = resolved or self.resolved(received, user)
        verified = mikey_ticket.verify_transfer_init(received, keys, user, self.replay, self.now, self.profile)
        return mikey_ticket.create_transfer_resp(verified, ANSWER_SSRC, self.now, self.rng)

    def call(
        self, sessions: tuple[CryptoSession, ...] = OFFER, policies: tuple[Sp, ...] = (RCC,)
    ) -> tuple[Transfer, Transfer]:
        """A whole call: both ends' transfers."""
        pending = self.init(self.ticket(), sessions, policies)
        octets, theirs = self.answer(pending.octets)
        return mikey_ticket.consume_transfer_resp(pending, octets, self.profile), theirs


def same_keys(one: Transfer, other: Transfer) -> bool:
    return [(s.cs_id, s.ssrc, s.spi) for s in one.sessions] == [
        (s.cs_id, s.ssrc, s.spi) for s in other.sessions
    ] and all(a.key == b.key and a.salt == b.salt for a, b in zip(one.sessions, other.sessions, strict=True))
