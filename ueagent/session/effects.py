"""What a session wants done. The runner performs each with one `match` arm and knows nothing about protocols.

`leg` numbers are the session's own: the index of the m-line. Effects of one call are performed in order. An
`OpenRelay` or `OpenStream` is answered by `RelayOpened` or `RelayFailed` before the next command is executed; the
`Reply` of a command may therefore arrive only with the effects of that input. An `AskKms` is answered by
`KmsAnswered`, which may take seconds; commands in between are refused, except those that give up waiting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ueagent.errors import AgentError
from ueagent.model.keys import KeySet
from ueagent.model.media import Component, Endpoint, MediaKind, Place
from ueagent.model.security import ChannelTerms, LineSecurity
from ueagent.wire.msrp import MsrpPaths

if TYPE_CHECKING:  # they bring in the certificate library, which calls without certificates do not need
    from ueagent.channel.credentials import Credentials
    from ueagent.keymgmt.dtls_association import Means

if TYPE_CHECKING:  # calls without a KMS do not load it
    from ueagent.keymgmt.mikey_exchange import SendKmsRequest
    from ueagent.keymgmt.mikey_protection import KmsAccount


@dataclass(frozen=True, slots=True)
class OpenRelay:
    leg: int
    never_plain: bool
    family: int = 4  # of the network side: 4 or 6
    loopback_family: int = 4  # of the dialer's side
    rtcp_mux: bool = False  # no RTCP socket on the network side; the dialer's side always has one
    secured: bool = False  # it is meant to have keys


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Sockets for a line of MSRP, BFCP or T.38, as OpenRelay opens those for RTP.

    `session_id` is the word that a dialer on TCP must know. `means` are for T.38, which answers from now on.
    """

    leg: int
    kind: MediaKind
    family: int = 4
    loopback_family: int = 4
    session_id: str | None = field(default=None, repr=False)
    means: Means | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class ConnectStream:
    """A connection on these terms, in the place of the one there is. Ownership of a key passes to the runner.

    `calls_dialer`: the dialer waits where SetDialer says; else it comes to our loopback side, or passes a descriptor.
    """

    leg: int
    terms: ChannelTerms
    credentials: Credentials = field(repr=False)
    paths: MsrpPaths | None = field(repr=False)
    calls_dialer: bool


@dataclass(frozen=True, slots=True)
class SetStreamDialer:
    """Where the dialer waits for a connection, or sends and receives datagrams; a loopback address."""

    leg: int
    place: Place


@dataclass(frozen=True, slots=True)
class CloseStream:
    leg: int


@dataclass(frozen=True, slots=True)
class SetDialer:
    """Where the dialer sends and receives this line's media; a loopback address."""

    leg: int
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class SetPeer:
    leg: int
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class SetIce:
    """STUN datagrams of this leg's network socket are wanted, and only SetPeer says where media go; or no longer."""

    leg: int
    on: bool


@dataclass(frozen=True, slots=True)
class SetMode:
    """closed, secure or plain; see ums_leg_mode."""

    leg: int
    mode: str


@dataclass(frozen=True, slots=True, eq=False)
class InstallKeys:
    """Ownership of `keys` passes to the runner, which wipes them once they are in C.

    `send` or `receive` False leaves that direction's context as it is (SDES-15). `former`: what came under the former
    keys is accepted for a while.
    """

    leg: int
    keys: KeySet
    send: bool = True
    receive: bool = True
    component: Component = Component.BOTH
    former: bool = True


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """A DTLS or STUN datagram out of the leg's network socket, `rtcp` out of the one of RTCP. It may get lost."""

    leg: int
    data: bytes = field(repr=False)
    to: Place
    rtcp: bool = False


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Give TimerFired for this leg after `seconds`, in place of its last timer."""

    leg: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class AskKms:
    """One request to the KMS: give KmsAnswered. It is for the a=key-mgmt of line `bundle`, None: of the session."""

    bundle: int | None
    account: KmsAccount = field(repr=False)
    request: SendKmsRequest = field(repr=False)


@dataclass(frozen=True, slots=True)
class CloseRelay:
    leg: int


@dataclass(frozen=True, slots=True)
class ReplySdp:
    """Success of CreateOffer, AcceptAnswer, AcceptOffer, CreateAnswer, and of OfferFailed with a retry."""

    sdp: bytes = field(repr=False)  # towards the network it holds keys
    lines: tuple[LineSecurity, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """Success of DeclineOffer and Release, and of OfferFailed without a retry."""

    lines: tuple[LineSecurity, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ReplyError:
    error: AgentError


@dataclass(frozen=True, slots=True)
class Notify:
    """An event for subscribers; `kind` is one of `ueagent.ipc.api.EventKind`."""

    kind: str
    line: int | None = None
    state: LineSecurity | None = None
    direction: str | None = None
    ssrc: int | None = None
    count: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The session has ended; the runner forgets it."""

    reason: str


Effect = (
    OpenRelay
    | OpenStream
    | ConnectStream
    | SetStreamDialer
    | CloseStream
    | SetDialer
    | SetPeer
    | SetIce
    | SetMode
    | InstallKeys
    | SendDatagram
    | StartTimer
    | AskKms
    | CloseRelay
    | ReplySdp
    | ReplyDone
    | ReplyError
    | Notify
    | Gone
)
