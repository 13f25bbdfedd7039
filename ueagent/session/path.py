"""Where the datagrams of one line go and come from where ICE was negotiated. RFC 8445, 7.3, 8, 12; DYN-18.

To whoever keys the line the far side then has one place, PLACE, whatever path it chooses: a handshake goes on when the
path moves. An exchange proposes credentials (`offer`, `read`); what held before holds until `settle`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ueagent.model.media import Endpoint, Place
from ueagent.negotiation.ice_lite import IceLite
from ueagent.session.commands import DatagramReceived
from ueagent.session.effects import Effect, SendDatagram, SetIce, SetPeer
from ueagent.wire.ice_attributes import IceCredentials, IceParameters
from ueagent.wire.stun import is_stun

PLACE: Final = Place("0.0.0.0", 9)  # as SDP has it that knows no address yet (RFC 8840, 4.1.1); never a destination
ENDPOINT: Final = Endpoint(PLACE.address, PLACE.port, PLACE.port)

Rng = Callable[[int], bytes]


class Path:
    """Of one line. `chosen` is the place that the far side nominated last."""

    def __init__(self, line: int, rng: Rng) -> None:
        self.chosen: Place | None = None
        self.refused = 0  # datagrams of places that showed no credentials
        self._line = line
        self._rng = rng
        self._current: IceLite | None = None
        self._checked = False  # the far side is no lite agent, too
        self._offered: IceLite | None = None  # our offer that waits for its answer
        self._proposed: IceLite | None = None
        self._theirs: IceParameters | None = None  # of the exchange in progress
        self._read: bool | None = None  # what `checked` becomes; None: nothing of theirs was read
        self._passes = False  # STUN does, in the relay

    # ----------------------------------------------------------------------------------------------- exchange --

    @property
    def ours(self) -> IceCredentials | None:
        """For our description; None: no ICE in this exchange."""
        return None if self._proposed is None else self._proposed.ours

    @property
    def checked(self) -> bool:
        """Checks say where the far side is: by the exchange in progress once `read`, else by what holds."""
        return self._checked if self._read is None else self._read

    @property
    def in_use(self) -> bool:
        return self._current is not None

    def offer(self) -> list[Effect]:
        """An offer of ours with ICE: checks may come before its answer."""
        self._offered = self._proposed = self._current or IceLite(self._rng)
        return self._pass(True)

    def read(self, theirs: IceParameters | None) -> bool:
        """What the far side says, in offer or answer; None: it does without. Whether checks will say where it is."""
        self._theirs = theirs
        if theirs is None:
            self._proposed = None
        elif self._offered is not None:
            self._proposed = self._offered
        else:
            # RFC 8445, 9: new credentials of theirs want new ones of ours.
            same = self._current is not None and self._current.theirs == theirs.credentials
            self._proposed = self._current if same else IceLite(self._rng)
        self._read = theirs is not None and not theirs.lite
        return self._read

    def settle(self) -> list[Effect]:
        """Offer and answer stand."""
        proposed, theirs = self._proposed, self._theirs
        self._checked = bool(self._read)
        self.roll_back()
        self._current = None if theirs is None else proposed
        if self._current is None or theirs is None:
            self.chosen = None
            return self._pass(False)
        self._current.theirs = theirs.credentials
        return self._pass(True)

    def roll_back(self) -> None:
        self._offered = self._proposed = self._theirs = self._read = None

    # ---------------------------------------------------------------------------------------------- datagrams --

    def take(self, happened: DatagramReceived) -> tuple[list[Effect], DatagramReceived | None]:
        """What a datagram of the network brings about, and what of it concerns whoever keys the line."""
        served = [one for one in (self._proposed, self._current) if one is not None]
        if is_stun(happened.data):
            return self._check(served, happened), None
        if any(one.knows(happened.source) for one in served):
            return [], replace(happened, source=PLACE)
        if self._checked:
            self.refused += 1  # RFC 8445, 12: only from where a check came
            return [], None
        return [], happened

    def address(self, sent: SendDatagram) -> SendDatagram | None:
        """A datagram of whoever keys the line, for where it goes. None: nowhere yet."""
        if sent.to != PLACE:
            return sent
        latest = (one.latest for one in (self._proposed, self._current) if one is not None)
        to = self.chosen or next((place for place in latest if place is not None), None)
        return None if to is None else replace(sent, to=to)

    def _check(self, served: list[IceLite], happened: DatagramReceived) -> list[Effect]:
        for ice in dict.fromkeys(served):
            checked = ice.check(happened.data, happened.source)
            if checked.refused:
                continue
            effects: list[Effect] = []
            if checked.reply is not None:
                effects.append(SendDatagram(self._line, checked.reply, happened.source, happened.rtcp))
            if checked.nominated:
                self.chosen = happened.source
                port = self.chosen.port
                effects.append(SetPeer(self._line, Endpoint(self.chosen.address, port, port)))
            return effects
        self.refused += 1
        return []

    def _pass(self, wanted: bool) -> list[Effect]:
        if wanted is self._passes:
            return []
        self._passes = wanted
        return [SetIce(self._line, wanted)]
