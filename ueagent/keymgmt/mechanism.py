"""The contract every key management mechanism keeps: `handle(event, now) -> list[Output]`, and no other way in.

A mechanism serves one media line. Events and outputs are values. Attributes travel as the typed values of
`wire.sdp_attributes`; text exists only in `wire`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from ueagent.errors import AgentError, UnexpectedMessage
from ueagent.model.keys import KeySet
from ueagent.model.media import Component, Endpoint, Place
from ueagent.model.security import ChannelTerms
from ueagent.wire.dtls_attributes import DtlsParameters
from ueagent.wire.sdp_attributes import SdesCrypto

if TYPE_CHECKING:  # it brings in the certificate library, which calls without certificates do not need
    from ueagent.channel.credentials import Credentials, PskCredentials


@dataclass(frozen=True, slots=True, eq=False)
class BundleKeys:
    """What an a=key-mgmt, whose bundle may cover several lines, gives to this one. None: what the line has already."""

    keys: KeySet | PskCredentials | None

    def wipe(self) -> None:
        if isinstance(self.keys, KeySet):
            self.keys.wipe()
        elif self.keys is not None:
            self.keys.key.wipe()


# Typed keying attributes of one m-line. Later mechanisms widen this union with their own.
KeyAttribute = SdesCrypto | DtlsParameters | BundleKeys

# -------------------------------------------------------------------------------------------------------- inputs --


@dataclass(frozen=True, slots=True)
class OfferRequested:
    """Put attributes for an offer. `fresh` asks for new keys, also where old ones could be repeated."""

    fresh: bool


@dataclass(frozen=True, slots=True)
class RemoteOffer:
    """Keying attributes of the far side; the mechanism owns the secrets in them from here on."""

    attributes: tuple[KeyAttribute, ...]
    moved: bool = False  # the offer changes the media address or port (SDES-14)
    peer: Endpoint | None = None  # where the far side receives; None: not known, or as before


@dataclass(frozen=True, slots=True)
class AnswerRequested:
    """Put attributes for the answer to the last RemoteOffer. `fresh` as in OfferRequested."""

    fresh: bool = False


@dataclass(frozen=True, slots=True)
class RemoteAnswer:
    attributes: tuple[KeyAttribute, ...]
    moved: bool = False
    peer: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The offer in progress (ours or theirs) failed: what held before holds again (SDES-16)."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Offer and answer stand. Until then a repeated answer, ours or theirs, replaces the last one; now what was offered
    and not chosen is wiped. One bad line can thus fail a whole answer and leave every other line as it was.

    `early`: the answer to our offer came before the call was accepted, so that another one may yet take its place.
    """

    early: bool = False


@dataclass(frozen=True, slots=True)
class AllAnswered:
    """After Settled(early=True): the call is accepted, no other answer comes (DYN-3)."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The line is gone: wipe everything."""


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """A DTLS datagram for the line's network socket, `rtcp` for the one of RTCP. Nobody has looked at it yet."""

    data: bytes = field(repr=False)
    source: Place
    rtcp: bool = False


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of the last StartTimer has come; firing early or twice does no harm."""


@dataclass(frozen=True, slots=True)
class PathFound:
    """A connectivity check chose a path to the far side: `peer` can be reached. Repeating it does no harm."""

    peer: Endpoint


@dataclass(frozen=True, slots=True)
class KeysLost:
    """The keys of the last KeysReady are gone, with the device that had them. The next exchange brings new ones; a key
    of the far side that stays the same is told again.
    """


@dataclass(frozen=True, slots=True)
class ChannelLost:
    """The connection of the last ChannelReady is gone: the next exchange makes a new one."""


Input = (
    OfferRequested
    | RemoteOffer
    | AnswerRequested
    | RemoteAnswer
    | Settled
    | AllAnswered
    | RolledBack
    | Closed
    | DatagramReceived
    | TimerFired
    | PathFound
    | KeysLost
    | ChannelLost
)

# ------------------------------------------------------------------------------------------------------- outputs --


@dataclass(frozen=True, slots=True)
class PutAttributes:
    """For our SDP. The mechanism keeps owning the secrets in them: write the text before the next event."""

    attributes: tuple[KeyAttribute, ...]


@dataclass(frozen=True, slots=True, eq=False)
class KeysReady:
    """Keys to install; `send`/`receive` False: that direction goes on as it is (SDES-15)."""

    keys: KeySet
    send: bool = True
    receive: bool = True
    component: Component = Component.BOTH


@dataclass(frozen=True, slots=True)
class PeerFault:
    """The peer broke a rule and we go on; `code` is a word for the warnings of the reply."""

    code: str


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """The event is refused and has changed nothing; what it carried is wiped."""

    error: AgentError


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """Out of the line's network socket, `rtcp` for the one of RTCP."""

    data: bytes = field(repr=False)
    to: Place
    rtcp: bool = False


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Give TimerFired after `seconds`, in place of what the last StartTimer asked for."""

    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Lost:
    """The keys that the exchange promised cannot be had: the line carries nothing from here on."""

    error: AgentError


@dataclass(frozen=True, slots=True, eq=False)
class ChannelReady:
    """Make a connection on these terms; it takes the place of the one there is.

    `credentials` say what we show and what the peer has to. Whoever makes the connection owns a key in them.
    """

    terms: ChannelTerms
    credentials: Credentials


Output = PutAttributes | KeysReady | PeerFault | Failed | SendDatagram | StartTimer | Lost | ChannelReady


class KeyMechanism(Protocol):
    def handle(self, event: Input, now: float) -> list[Output]: ...


Step = TypeVar("Step")


def step_of(transitions: Mapping[str, Mapping[str, Step]], state: str, event: Input) -> Step:
    """What `event` does in `state`, by the table of a mechanism. UnexpectedMessage names what would have been right."""
    steps = transitions[state]
    step = steps.get(type(event).__name__)
    if step is None:
        detail = f"{type(event).__name__} does not belong into state {state}"
        raise UnexpectedMessage("unexpected_event", detail, expected=tuple(sorted(steps)))
    return step
