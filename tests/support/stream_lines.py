"""Two sessions with lines of MSRP, BFCP and T.38: what their dialers write, and what they would connect."""

from __future__ import annotations

from dataclasses import dataclass, field

from support.channels import new_identity
from support.pair import Agent

from ueagent.model.media import Endpoint, MediaKind
from ueagent.model.security import SecurityPolicy, Signalling
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    CreateAnswer,
    CreateOffer,
    Evidence,
    Input,
    RelayFailed,
    RelayOpened,
)
from ueagent.session.effects import (
    CloseStream,
    ConnectStream,
    Effect,
    OpenStream,
    SetStreamDialer,
)

MSRP, BFCP, UDPTL = MediaKind.MSRP, MediaKind.BFCP, MediaKind.UDPTL
KINDS = (MSRP, BFCP, UDPTL)
AT_EDGE = Evidence(Signalling.INTEGRITY, streams=frozenset(KINDS))
USUAL, FAX = new_identity(), new_identity("ecdsa-p256", "rsa-3072")

HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"


def line_of(kind: MediaKind, port: int = 2855, setup: str | None = "actpass", session: str = "dialer1") -> str:
    """A dialer's line in plain."""
    lines = {
        MSRP: [f"m=message {port} TCP/MSRP *", f"a=path:msrp://127.0.0.1:{port}/{session};tcp", "a=accept-types:*"],
        BFCP: [
            f"m=application {port} TCP/BFCP *",
            "a=connection:new",
            "a=floorctrl:c-s",
            "a=confid:4321",
            "a=userid:1234",
            "a=floorid:1 mstrm:10",
            "a=bfcpver:1",
        ],
        UDPTL: [f"m=image {port} udptl t38", "a=T38FaxVersion:0", "a=T38FaxUdpEC:t38UDPRedundancy"],
    }[kind]
    lines += [f"a=setup:{setup}"] if setup is not None and kind is not UDPTL else []
    return "".join(line + "\r\n" for line in lines)


def description(*kinds: MediaKind, setup: str | None = "actpass", port: int = 2855, session: str = "dialer1") -> bytes:
    return (HEAD + "".join(line_of(kind, port + 2 * i, setup, session) for i, kind in enumerate(kinds))).encode()


@dataclass
class StreamAgent(Agent):
    """Performs the effects of streams, too; `streams` are the lines that are open."""

    certificates: bool = True
    streams: dict[int, OpenStream] = field(default_factory=dict)
    connected: list[ConnectStream] = field(default_factory=list)
    dialers: dict[int, SetStreamDialer] = field(default_factory=dict)
    closed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.certificates:
            self.session.show(USUAL, FAX)

    def _perform(self, effect: Effect) -> list[Effect]:
        match effect:
            case OpenStream(leg):
                if self.no_relay:
                    return self.session.receive(RelayFailed(leg, "no_ports"), self.now)
                self._ports += 4
                self.streams[leg] = effect
                network = Endpoint(self.address, self._ports, self._ports)
                loopback = Endpoint("127.0.0.1", self._ports + 2, self._ports + 2)
                return self.session.receive(RelayOpened(leg, network, loopback), self.now)
            case ConnectStream():
                self.connected.append(effect)
            case SetStreamDialer(leg):
                self.dialers[leg] = effect
            case CloseStream(leg):
                del self.streams[leg]
                self.closed.append(leg)
            case _:
                return super()._perform(effect)
        return []

    def hears_of(self, happened: Input) -> list[Effect]:
        return self.session.receive(happened, self.now)


def applied(offer: str) -> str:
    """What the far edge makes of our offer for its own phone."""
    return offer.replace("a=3ge2ae:requested", "a=3ge2ae:applied")


@dataclass
class StreamPair:
    """`evidence` is that of both. What the last exchange looked like stands in the texts."""

    alice: StreamAgent = field(default_factory=lambda: StreamAgent("alice"))
    bob: StreamAgent = field(default_factory=lambda: StreamAgent("bob", address="192.0.2.20"))
    evidence: Evidence = AT_EDGE

    def call(self, offered: bytes, answered: bytes, *, by_bob: bool = False) -> StreamPair:
        caller, callee = (self.bob, self.alice) if by_bob else (self.alice, self.bob)
        self.offer = caller.text(CreateOffer(offered, self.evidence))
        self.to_callee = callee.text(AcceptOffer(applied(self.offer).encode(), self.evidence))
        self.answer = callee.text(CreateAnswer(answered))
        self.to_caller = caller.text(AcceptAnswer(self.answer.encode(), final=True))
        return self


def nat(name: str = "bob", address: str = "192.0.2.20") -> StreamAgent:
    return StreamAgent(name, SecurityPolicy(streams_active=True), address)


def value(sdp: str, name: str, index: int = 0) -> str:
    """Of the attribute in the m-line number `index`, or "" where it has none."""
    section = sdp.split("\r\nm=")[index + 1]
    found = [line for line in section.split("\r\n") if line.startswith(f"a={name}:")]
    return found[0].partition(":")[2] if found else ""


def values(sdp: str, name: str) -> list[str]:
    return [line.partition(":")[2] for line in sdp.split("\r\n") if line.startswith(f"a={name}:")]


def m_line(sdp: str, index: int = 0) -> str:
    return sdp.split("\r\nm=")[index + 1].split("\r\n")[0]
