"""ICE as a lite agent: connectivity checks are answered, none is sent. RFC 8445, 7.3, 8.2; RFC 7675 for the far side.

A check is a Binding request with the credentials that offer and answer exchanged. Whoever cannot show them is told
nothing, against RFC 8489, 9.1.3: an error to everybody would reach whomever the sender says it is. Nothing changes
before `StunMessage.authentic`. The far side chooses the path: the last place that a check nominated.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ueagent.errors import MalformedMessage
from ueagent.model.media import Place
from ueagent.wire.ice_attributes import IceCredentials
from ueagent.wire.stun import (
    OPTIONAL_FROM,
    StunAttribute,
    StunMessage,
    StunName,
    StunType,
    build_stun,
    error_code,
    mapped_address,
    parse_stun,
    unknown_attributes,
)

UFRAG_OCTETS: Final = 6  # 48 bits in 8 characters; RFC 8839, 5.4 wants 24
PASSWORD_OCTETS: Final = 18  # 144 bits in 24 characters; it wants 128
MAX_PLACES: Final = 32  # that checks came from; the oldest one is forgotten

Rng = Callable[[int], bytes]

_KNOWN: Final = frozenset(StunName)


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one STUN datagram. `nominated`: the path is another one from here on. `refused`: nobody vouches."""

    reply: bytes | None = field(default=None, repr=False)
    nominated: bool = False
    refused: bool = False


class IceLite:
    """One component of one medium, from its credentials on: new credentials are a new one (RFC 8445, 9)."""

    def __init__(self, rng: Rng) -> None:
        self.ours = IceCredentials(_characters(rng(UFRAG_OCTETS)), _characters(rng(PASSWORD_OCTETS)))
        self.theirs: IceCredentials | None = None  # None: no answer yet; checks may well be quicker
        self.path: Place | None = None  # what the far side nominated
        self._places: dict[Place, None] = {}

    @property
    def latest(self) -> Place | None:
        """Where something for the far side goes: the nominated path, before that where the last check came from."""
        return self.path or next(reversed(self._places), None)

    def knows(self, place: Place) -> bool:
        """Whether a check came from there."""
        return place in self._places

    def check(self, data: bytes, source: Place) -> Checked:
        """A datagram of class STUN from `source`."""
        try:
            message = parse_stun(data)
        except MalformedMessage:
            return Checked(refused=True)
        if message.type == StunType.INDICATION:
            return Checked()  # keeps a binding open, has no credentials and asks for nothing (RFC 8445, 11)
        password = self.ours.password.encode("ascii")
        if message.type != StunType.REQUEST or not message.fingerprint:
            return Checked(refused=True)
        if not self._is_for_us(message) or not message.authentic(password):
            return Checked(refused=True)
        return self._answer(message, source, password)

    def _answer(self, message: StunMessage, source: Place, password: bytes) -> Checked:
        unknown = tuple(one.name for one in message.attributes if one.name < OPTIONAL_FROM and one.name not in _KNOWN)
        if unknown:
            problem = (error_code(420, "Unknown Attribute"), unknown_attributes(unknown))
            return Checked(_reply(StunType.ERROR, message, problem, password))
        if message.value(StunName.ICE_CONTROLLED) is not None:
            # RFC 8445, 7.3.1.1: of a full agent and a lite one the full one controls.
            return Checked(_reply(StunType.ERROR, message, (error_code(487, "Role Conflict"),), password))
        self._places.pop(source, None)
        self._places[source] = None
        if len(self._places) > MAX_PLACES:
            del self._places[next(place for place in self._places if place != self.path)]
        nominated = message.value(StunName.USE_CANDIDATE) is not None and source != self.path
        if nominated:
            self.path = source
        mapped = (mapped_address(source, message.transaction),)
        return Checked(_reply(StunType.SUCCESS, message, mapped, password), nominated)

    def _is_for_us(self, message: StunMessage) -> bool:
        """USERNAME is `ours:theirs` (RFC 8445, 7.2.2)."""
        name = message.value(StunName.USERNAME) or b""
        if self.theirs is None:
            return name.startswith(f"{self.ours.ufrag}:".encode("ascii"))
        return name == f"{self.ours.ufrag}:{self.theirs.ufrag}".encode("ascii")


def _reply(kind: StunType, request: StunMessage, attributes: tuple[StunAttribute, ...], password: bytes) -> bytes:
    return build_stun(kind, request.transaction, attributes, password)


def _characters(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")  # multiples of 3 octets: no padding
