"""The contract every key management mechanism keeps: `handle(event, now) -> list[Output]`, and no other way in.

A mechanism serves one media line. Events and outputs are values. Attributes travel as the typed values of
`wire.sdp_attributes`; text exists only in `wire`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ueagent.errors import AgentError
from ueagent.model.keys import KeySet
from ueagent.wire.sdp_attributes import SdesCrypto

# Typed keying attributes of one m-line. Later mechanisms widen this union with their own.
KeyAttribute = SdesCrypto

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


@dataclass(frozen=True, slots=True)
class AnswerRequested:
    """Put attributes for the answer to the last RemoteOffer. `fresh` as in OfferRequested."""

    fresh: bool = False


@dataclass(frozen=True, slots=True)
class RemoteAnswer:
    attributes: tuple[KeyAttribute, ...]
    moved: bool = False


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The offer in progress (ours or theirs) failed: what held before holds again (SDES-16)."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Offer and answer stand. Until then a repeated answer, ours or theirs, replaces the last one; now what was offered
    and not chosen is wiped. One bad line can thus fail a whole answer and leave every other line as it was.
    """


@dataclass(frozen=True, slots=True)
class Closed:
    """The line is gone: wipe everything."""


Input = OfferRequested | RemoteOffer | AnswerRequested | RemoteAnswer | Settled | RolledBack | Closed

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


@dataclass(frozen=True, slots=True)
class PeerFault:
    """The peer broke a rule and we go on; `code` is a word for the warnings of the reply."""

    code: str


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """The event is refused and has changed nothing; what it carried is wiped."""

    error: AgentError


Output = PutAttributes | KeysReady | PeerFault | Failed


class KeyMechanism(Protocol):
    def handle(self, event: Input, now: float) -> list[Output]: ...
