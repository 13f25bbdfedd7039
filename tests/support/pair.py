"""Two sessions back to back: a fake relay, a fake clock, a seeded random source, and the network between them.

`Agent` performs effects as the runner does: it opens relays, takes the keys out of a KeySet and wipes it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from ueagent.errors import AgentError
from ueagent.model.keys import KeySet, MasterKey, RocCarrying, Secret
from ueagent.model.media import Endpoint
from ueagent.model.security import Mechanism, SecurityPolicy, Setting, Signalling
from ueagent.model.suites import SUITES
from ueagent.negotiation.capability import Capability
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    Command,
    CreateAnswer,
    CreateOffer,
    Dialog,
    Evidence,
    Media,
    MediaEvent,
    RelayFailed,
    RelayOpened,
)
from ueagent.session.effects import (
    CloseRelay,
    Effect,
    Gone,
    InstallKeys,
    Notify,
    OpenRelay,
    ReplyDone,
    ReplyError,
    ReplySdp,
    SetDialer,
    SetIce,
    SetMode,
    SetPeer,
)
from ueagent.session.session import Session

E2E = SecurityPolicy(sdes_e2ae=Setting.OFF, sdes_e2e=Setting.PREFERRED)
REQUIRED = SecurityPolicy(sdes_e2ae=Setting.REQUIRED)
EVERY_SUITE = Capability(frozenset(name for name, suite in SUITES.items() if suite.native is not None))
SECURE = Evidence(Signalling.CONFIDENTIALITY)
AT_EDGE = Evidence(Signalling.CONFIDENTIALITY, announced=frozenset({Mechanism.SDES}))


class SeededRng:
    """A stream of octets fixed by its seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def __call__(self, n: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(f"{self._seed}/{self._count}".encode()).digest(n)


def octets(key: MasterKey) -> bytes:
    return bytes(key.key.reveal() + key.salt.reveal())


@dataclass
class FakeRelay:
    """What the runner and the C relay would hold for one leg."""

    network: Endpoint
    loopback: Endpoint
    never_plain: bool
    mode: str = "closed"
    suite: str | None = None
    send: bytes | None = None
    receive: tuple[bytes, ...] = ()
    send_mki: int | None = None
    receive_lifetime: int | None = None
    receive_mkis: tuple[tuple[int, int] | None, ...] = ()
    window: int = 0
    rcc: RocCarrying | None = None
    sends_installed: int = 0
    receives_installed: int = 0
    dialer: Endpoint | None = None
    peer: Endpoint | None = None
    ice: bool = False

    def install(self, keys: KeySet, send: bool, receive: bool) -> None:
        self.suite, self.window, self.rcc = keys.suite.name, keys.receive_window, keys.rcc
        if send:
            self.send, self.sends_installed = octets(keys.send), self.sends_installed + 1
            self.send_mki = None if keys.send.mki is None else keys.send.mki.value
        if receive:
            self.receive, self.receives_installed = tuple(map(octets, keys.receive)), self.receives_installed + 1
            self.receive_lifetime = keys.receive[0].lifetime
            self.receive_mkis = tuple(k.mki and (k.mki.value, k.mki.length) for k in keys.receive)
        keys.wipe()


@dataclass
class Agent:
    name: str = "alice"
    policy: SecurityPolicy = field(default_factory=SecurityPolicy)
    address: str = "192.0.2.10"
    capability: Capability = EVERY_SUITE
    no_relay: bool = False
    now: float = 0.0

    def __post_init__(self) -> None:
        self.session = Session(self.policy, SeededRng(self.name), self.capability)
        self.relays: dict[int, FakeRelay] = {}
        self.effects: list[Effect] = []
        self.notices: list[Notify] = []
        self.gone: str | None = None
        self._ports = 40000

    def do(self, command: Command) -> ReplySdp | ReplyDone | ReplyError:
        """Execute, perform every effect, and return the one reply."""
        self.effects, replies = [], []
        todo = self.session.execute(command, self.now)
        while todo:
            self.effects += todo
            replies += [effect for effect in todo if isinstance(effect, ReplySdp | ReplyDone | ReplyError)]
            todo = [more for effect in todo for more in self._perform(effect)]
        assert len(replies) == 1, f"{len(replies)} replies to one command"
        return replies[0]

    def text(self, command: Command) -> str:
        """The SDP of a command that succeeds."""
        reply = self.do(command)
        assert isinstance(reply, ReplySdp), reply.error if isinstance(reply, ReplyError) else reply
        return reply.sdp.decode()

    def error(self, command: Command) -> AgentError:
        reply = self.do(command)
        assert isinstance(reply, ReplyError), reply
        return reply.error

    def hears(self, kind: Media, **details: Any) -> list[Effect]:
        return self.session.receive(MediaEvent(details.pop("leg", 0), kind, **details), self.now)

    def count(self, kind: type[Effect]) -> int:
        """How many effects of that kind the last command had."""
        return sum(isinstance(effect, kind) for effect in self.effects)

    def _perform(self, effect: Effect) -> list[Effect]:
        match effect:
            case OpenRelay(leg, never_plain, family, loopback_family, mux, _):
                if self.no_relay:
                    return self.session.receive(RelayFailed(leg, "no_ports"), self.now)
                self._ports += 4
                here = self.address if family == 4 else "2001:db8::10"
                there = "127.0.0.1" if loopback_family == 4 else "::1"
                network = Endpoint(here, self._ports, self._ports + (not mux))
                loopback = Endpoint(there, self._ports + 2, self._ports + 3)
                self.relays[leg] = FakeRelay(network, loopback, never_plain)
                return self.session.receive(RelayOpened(leg, network, loopback), self.now)
            case SetDialer(leg, endpoint):
                self.relays[leg].dialer = endpoint
            case SetPeer(leg, endpoint):
                self.relays[leg].peer = endpoint
            case SetIce(leg, on):
                self.relays[leg].ice = on
            case SetMode(leg, mode):
                assert not (mode == "plain" and self.relays[leg].never_plain)
                self.relays[leg].mode = mode
            case InstallKeys(leg, keys, send, receive):
                self.relays[leg].install(keys, send, receive)
            case CloseRelay(leg):
                del self.relays[leg]
            case Notify():
                self.notices.append(effect)
            case Gone(reason):
                self.gone = reason
            case _:
                pass
        return []


def plain(
    *ports: int, proto: str = "RTP/AVP", address: str = "127.0.0.1", extra: str = "", media: str = "audio"
) -> bytes:
    """A dialer's SDP: one line of G.711 for each port."""
    family = 6 if ":" in address else 4
    lines = ["v=0", f"o=- 1 1 IN IP{family} {address}", "s=-", f"c=IN IP{family} {address}", "t=0 0"]
    for port in ports or (5004,):
        lines += [f"m={media} {port} {proto} 0", "a=rtpmap:0 PCMU/8000", *([extra] if extra else [])]
    return "".join(line + "\r\n" for line in lines).encode()


def applied(sdp: str) -> str:
    """What the far edge makes of it for its own phone: the edge applies e2ae there."""
    return sdp.replace("a=3ge2ae:requested\r\n", "").replace("a=crypto:1 ", "a=3ge2ae:applied\r\na=crypto:1 ")


def crypto_lines(sdp: str) -> list[str]:
    return [line for line in sdp.splitlines() if line.startswith("a=crypto:")]


def keys_in(sdp: str) -> list[str]:
    return [line.split("inline:")[1].split("|")[0].split(" ")[0] for line in crypto_lines(sdp)]


@dataclass
class Pair:
    """A call between two agents. `evidence` is that of both; e2e by default, e2ae where SDES was announced."""

    alice: Agent = field(default_factory=lambda: Agent("alice", E2E))
    bob: Agent = field(default_factory=lambda: Agent("bob", E2E, address="192.0.2.20"))
    evidence: Evidence = SECURE

    def offer(self, sdp: bytes | None = None, *, by: Agent | None = None, rekey: bool = False) -> str:
        return (by or self.alice).text(CreateOffer(sdp or plain(5004), self.evidence, rekey))

    def call(self, sdp: bytes | None = None, *, by: Agent | None = None, rekey: bool = False) -> tuple[str, str]:
        """One whole exchange: the offer and the answer as they crossed the network."""
        caller = by or self.alice
        callee = self.bob if caller is self.alice else self.alice
        offer = self.offer(sdp, by=caller, rekey=rekey)
        seen = applied(offer) if self.evidence.announced else offer
        to_dialer = callee.text(AcceptOffer(seen.encode(), self.evidence))
        answer = callee.text(CreateAnswer(dialer_answer(to_dialer)))
        caller.text(AcceptAnswer(answer.encode(), final=True, dialog=Dialog("call-1", "a", "b")))
        return offer, answer

    def forget(self) -> None:
        """Drop the effects of the last commands."""
        self.alice.effects, self.bob.effects = [], []

    def speaks(self, line: int = 0) -> bool:
        """Each side can open what the other sends."""
        a, b = self.alice.relays[line], self.bob.relays[line]
        return (a.suite, a.rcc) == (b.suite, b.rcc) and a.send in b.receive and b.send in a.receive and a.send != b.send


def dialer_answer(offer: str, first_port: int = 6000) -> bytes:
    """A dialer that takes every line it can and mirrors the offer's media."""
    out, port = [], first_port
    for line in offer.splitlines():
        if line.startswith("m="):
            word, old, rest = line.split(" ", 2)
            out.append(f"{word} {port if int(old) else 0} {rest}")
            port += 2
        elif line.startswith("c="):
            out.append("c=IN IP6 ::1" if "IP6" in line else "c=IN IP4 127.0.0.1")
        elif line.startswith("a=rtcp:"):
            continue
        else:
            out.append(line)
    return "".join(line + "\r\n" for line in out).encode()


def held(made: list[Secret]) -> list[Secret]:
    """Those that are not wiped and that somebody still holds."""
    ours = 3  # the list, the name here, the argument
    found = []
    for i in range(len(made)):
        secret = made[i]
        if len(secret) and sys.getrefcount(secret) > ours:
            found.append(secret)
    return found


@contextmanager
def tracked_secrets() -> Iterator[list[Secret]]:
    """Every Secret made inside."""
    made: list[Secret] = []
    original = Secret.__init__

    def remember(self: Secret, data: bytes | bytearray | memoryview) -> None:
        original(self, data)
        made.append(self)

    with mock.patch.object(Secret, "__init__", remember):
        yield made
