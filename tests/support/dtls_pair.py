"""Two DTLS-SRTP mechanisms back to back: signalling by values, and a network that may lose, repeat and reorder.

The clock is the test's own, except for the library's retransmission timers, which are real: `wait` waits for them.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from support.channels import new_identity
from support.pair import SeededRng

from ueagent.channel.credentials import Identity
from ueagent.errors import AgentError
from ueagent.keymgmt.dtls_srtp import DtlsSrtp, create
from ueagent.keymgmt.mechanism import (
    AnswerRequested,
    DatagramReceived,
    Failed,
    Input,
    KeysReady,
    Lost,
    OfferRequested,
    Output,
    PeerFault,
    PutAttributes,
    RemoteAnswer,
    RemoteOffer,
    RolledBack,
    SendDatagram,
    Settled,
    StartTimer,
    TimerFired,
)
from ueagent.model.keys import KeySet
from ueagent.model.media import Component, Endpoint, MediaKind, Place
from ueagent.model.security import Mechanism, MediaPlan, Scope, SecurityPolicy
from ueagent.wire.dtls_attributes import DtlsParameters

PROFILES = ("AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_80")


@dataclass
class End:
    name: str
    address: str
    identity: Identity = field(default_factory=new_identity)
    profiles: tuple[str, ...] = PROFILES
    policy: SecurityPolicy = field(default_factory=SecurityPolicy)
    mux: bool = True

    def __post_init__(self) -> None:
        plan = MediaPlan(0, MediaKind.AUDIO, Mechanism.DTLS_SRTP, Scope.E2AE, self.profiles, rtcp_mux=self.mux)
        self.mechanism: DtlsSrtp = create(plan, self.policy, SeededRng(self.name), self.identity)
        self.endpoint = Endpoint(self.address, 40000, 40000 if self.mux else 40001)
        self.keys: dict[Component, list[KeySet]] = {component: [] for component in Component}
        self.directions: list[tuple[bool, bool]] = []  # (send, receive) of each KeysReady
        self.lost: list[str] = []
        self.faults: list[str] = []
        self.sent: list[SendDatagram] = []
        self.waits: list[float] = []

    def do(self, event: Input, now: float = 0.0) -> DtlsParameters | None:
        """The attributes that the event puts; what the mechanism says has failed is raised."""
        put: DtlsParameters | None = None
        outputs: list[Output] = self.mechanism.handle(event, now)
        for output in outputs:
            match output:
                case PutAttributes(attributes):
                    (only,) = attributes
                    assert isinstance(only, DtlsParameters)
                    put = only
                case KeysReady():
                    self.keys[output.component].append(output.keys)
                    self.directions.append((output.send, output.receive))
                case SendDatagram():
                    self.sent.append(output)
                case StartTimer(seconds):
                    self.waits.append(seconds)
                case Lost(error):
                    self.lost.append(error.code)
                case PeerFault(code):
                    self.faults.append(code)
                case Failed(error):
                    raise error
        return put

    def place(self, rtcp: bool) -> Place:
        return Place(self.address, self.endpoint.rtcp_port if rtcp else self.endpoint.rtp_port)

    @property
    def secured(self) -> bool:
        wanted = (Component.BOTH,) if self.mux else (Component.RTP, Component.RTCP)
        return all(self.keys[component] for component in wanted)


Path = Callable[[bytes], list[bytes]]


def perfect(datagram: bytes) -> list[bytes]:
    return [datagram]


def bad_path(seed: int, loss: float = 0.0, repeat: float = 0.0) -> Path:
    """Loses and repeats; the pump reorders by itself."""
    chance = random.Random(seed)

    def path(datagram: bytes) -> list[bytes]:
        if chance.random() < loss:
            return []
        return [datagram] * (2 if chance.random() < repeat else 1)

    return path


@dataclass
class DtlsPair:
    alice: End = field(default_factory=lambda: End("alice", "192.0.2.10"))
    bob: End = field(default_factory=lambda: End("bob", "192.0.2.20"))
    path: Path = perfect
    reorder: random.Random | None = None
    now: float = 0.0

    def offer(self, by: End | None = None, *, fresh: bool = False) -> DtlsParameters:
        put = (by or self.alice).do(OfferRequested(fresh), self.now)
        assert put is not None
        return put

    def answer(self, offer: DtlsParameters, by: End | None = None, *, moved: bool = False) -> DtlsParameters:
        answerer = by or self.bob
        answerer.do(RemoteOffer((offer,), moved, self._other(answerer).endpoint), self.now)
        put = answerer.do(AnswerRequested(), self.now)
        assert put is not None
        return put

    def exchange(self, by: End | None = None, *, fresh: bool = False) -> tuple[DtlsParameters, DtlsParameters]:
        """Offer and answer, settled on both sides; the handshake has not run."""
        offerer = by or self.alice
        answerer = self._other(offerer)
        offer = self.offer(offerer, fresh=fresh)
        answer = self.answer(offer, answerer)
        answerer.do(Settled(), self.now)
        offerer.do(RemoteAnswer((answer,), False, answerer.endpoint), self.now)
        offerer.do(Settled(), self.now)
        return offer, answer

    def call(self, by: End | None = None, *, fresh: bool = False) -> tuple[DtlsParameters, DtlsParameters]:
        told = self.exchange(by, fresh=fresh)
        self.pump()
        return told

    def roll_back(self) -> None:
        for one in (self.alice, self.bob):
            one.do(RolledBack(), self.now)

    def pump(self) -> None:
        """Carry datagrams until nobody has any."""
        while self.alice.sent or self.bob.sent:
            waiting: deque[tuple[End, DatagramReceived]] = deque()
            for sender in (self.alice, self.bob):
                receiver = self._other(sender)
                for sent in sender.sent:
                    if sent.to != receiver.place(sent.rtcp):
                        continue
                    waiting += (
                        (receiver, DatagramReceived(copy, sender.place(sent.rtcp), sent.rtcp))
                        for copy in self.path(sent.data)
                    )
                sender.sent = []
            if self.reorder is not None:
                shuffled = list(waiting)
                self.reorder.shuffle(shuffled)
                waiting = deque(shuffled)
            for receiver, event in waiting:
                receiver.do(event, self.now)

    def wait(self) -> None:
        """The library's timers: until the next is due, then everybody is told."""
        waits = [
            wait
            for one in (self.alice, self.bob)
            for association in one.mechanism._associations()
            if (wait := association.next_timeout(self.now)) is not None
        ]
        threading.Event().wait(min(waits, default=0.0) + 0.01)
        for one in (self.alice, self.bob):
            one.do(TimerFired(), self.now)

    def later(self, seconds: float) -> None:
        """Our own clock moves on."""
        self.now += seconds
        for one in (self.alice, self.bob):
            one.do(TimerFired(), self.now)

    def speaks(self, component: Component = Component.BOTH) -> bool:
        """Each side opens what the other sends, and the two directions differ."""
        a, b = self.alice.keys[component][-1], self.bob.keys[component][-1]
        return (
            a.suite is b.suite
            and a.send.key == b.receive[0].key
            and a.send.salt == b.receive[0].salt
            and b.send.key == a.receive[0].key
            and b.send.salt == a.receive[0].salt
            and a.send.key != a.receive[0].key
        )

    def _other(self, one: End) -> End:
        return self.bob if one is self.alice else self.alice


def error_of(call: Callable[[], object]) -> AgentError:
    try:
        call()
    except AgentError as error:
        return error
    raise AssertionError("nothing failed")
