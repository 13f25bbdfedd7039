"""Two bundles back to back, with the KMS of `mikey_world` between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from support.mikey_world import ALICE, BOB, PROTOCOLS, Stream, World, account_of

from ueagent.keymgmt.kms import TicketCache
from ueagent.keymgmt.mikey_bundle import CoveredLine, MikeyBundle, MikeyDesk
from ueagent.keymgmt.mikey_exchange import KmsPurpose, KmsReply, SendKmsRequest
from ueagent.keymgmt.mikey_replay import RateLimit, ReplayCache
from ueagent.keymgmt.mikey_sessions import srtp_policy_for
from ueagent.model.suites import SUITES
from ueagent.wire.mikey import Protocol
from ueagent.wire.mikey_policy import srtp_policy_payload

AUDIO = CoveredLine(0, Protocol.SRTP, 0x0A0A0A0A)
VIDEO = CoveredLine(1, Protocol.SRTP)
CHAT = CoveredLine(2, Protocol.TLS)
PLAIN_SRTP = srtp_policy_payload(1, srtp_policy_for(SUITES["AES_CM_128_HMAC_SHA1_80"], rcc=False))


def desk_of(world: World, user: bytes) -> MikeyDesk:
    """Time 0 of a session is the world's present."""
    return MikeyDesk(
        account_of(user), world.profile, TicketCache(), ReplayCache(), RateLimit(), lambda now: world.now + now
    )


def reply_of(world: World, request: SendKmsRequest) -> KmsReply:
    serve = world.grant if request.purpose is KmsPurpose.TICKET_REQUEST else world.resolve
    return KmsReply(serve(request.octets))


@dataclass
class Ends:
    """Alice's bundle and Bob's; `now` is the time of both sessions."""

    world: World = field(default_factory=World)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.alice = MikeyBundle(desk_of(self.world, ALICE), Stream("alice"))
        self.bob = MikeyBundle(desk_of(self.world, BOB), Stream("bob"))

    def fork(self, user: bytes = BOB) -> MikeyBundle:
        """Another device that the offer reaches."""
        return MikeyBundle(desk_of(self.world, user), Stream("fork"))

    def served(self, bundle: MikeyBundle, request: SendKmsRequest | None) -> None:
        while request is not None:
            request = bundle.kms_replied(reply_of(self.world, request), self.now)

    def offer(self, by: MikeyBundle, lines: Sequence[CoveredLine], *, fresh: bool = False) -> bytes:
        called = BOB if by is self.alice else ALICE
        self.served(by, by.offer(lines, called, (PLAIN_SRTP,), fresh=fresh, now=self.now))
        assert by.octets is not None
        return by.octets

    def answer(self, by: MikeyBundle, offer: bytes, lines: Sequence[CoveredLine]) -> bytes:
        self.served(by, by.take_offer(offer, PROTOCOLS, lines, self.now))
        by.answer({}, self.now)
        assert by.octets is not None
        return by.octets

    def exchange(
        self, lines: Sequence[CoveredLine] = (AUDIO,), *, by: MikeyBundle | None = None, fresh: bool = False
    ) -> None:
        """One offer and its answer, not settled yet."""
        offerer = by or self.alice
        answerer = self.bob if offerer is self.alice else self.alice
        offerer.take_answer(self.answer(answerer, self.offer(offerer, lines, fresh=fresh), lines), self.now)

    def settle(self) -> None:
        self.alice.settle(whole=True)
        self.bob.settle(whole=True)
