"""A line of MSRP, BFCP or T.38: instead of a relay it has a connection of its own, or an association for datagrams.

Setup roles are mirrored: whoever opens the connection on the network is, for the dialer, whoever opens it on loopback,
so that the one who must speak first (MSRP-8) does. An MSRP line has two URIs of ours, one for each side; neither
changes while the line lives.

    dialer's path  <-- messages -->  shown | ours  <-- messages -->  peer's path
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ueagent.errors import NegotiationFailed, UsageError
from ueagent.keymgmt.mechanism import ChannelLost, ChannelReady, KeyAttribute, Output
from ueagent.model.media import Endpoint, MediaKind, Place
from ueagent.model.security import MediaPlan, SecurityPolicy, SetupRole
from ueagent.negotiation.stream_sdp import (
    bad_setup,
    dialer_line,
    dialer_path,
    network_line,
    peer_path,
    placeholder,
    stream_dialer,
    stream_peer,
)
from ueagent.session.commands import StreamEnded, StreamSecured
from ueagent.session.effects import CloseStream, ConnectStream, Effect, Notify, OpenStream, SetStreamDialer
from ueagent.session.leg import Leg, Proposal, Rng
from ueagent.wire.dtls_attributes import DtlsParameters, read_dtls
from ueagent.wire.msrp import MsrpPaths, Path
from ueagent.wire.msrp_attributes import PLACEHOLDER_PORT, SESSION_ID_OCTETS, MsrpUri
from ueagent.wire.sdp import MediaSection

if TYPE_CHECKING:
    from ueagent.channel.credentials import Identity
    from ueagent.keymgmt.dtls_association import Means

# What a dialer may answer to what it was shown.
_ANSWERS: Final = MappingProxyType(
    {
        SetupRole.ACTIVE: (SetupRole.PASSIVE,),
        SetupRole.PASSIVE: (SetupRole.ACTIVE,),
        SetupRole.ACTPASS: (SetupRole.PASSIVE, SetupRole.ACTIVE),
    }
)


@dataclass(frozen=True, slots=True)
class _Sides:
    """What the two sides have said of the line."""

    dialer_path: Path | None = None
    dialer_setup: SetupRole | None = None
    peer_path: Path | None = None
    peer_setup: SetupRole | None = None
    peer_connection: str = "new"
    ours: MsrpUri | None = None  # as the network's SDP has it
    dialer_offers: bool = True


class StreamLeg(Leg):
    def __init__(
        self, line: int, kind: MediaKind, policy: SecurityPolicy, rng: Rng, identity: Identity | None = None
    ) -> None:
        super().__init__(line, kind, policy, rng, identity)
        self._sides = _Sides()  # as they stand
        self._said: _Sides | None = None  # in the exchange in progress
        self._ours, self._shown = (rng(SESSION_ID_OCTETS).hex() for _ in range(2))

    # ------------------------------------------------------------------------------------------------- the sides --

    def dialer_of(self, section: MediaSection, *, offers: bool) -> Endpoint | None:
        endpoint = stream_dialer(section)
        said = self._current
        setup = read_dtls(section)[0].setup
        if self.kind is MediaKind.MSRP:
            path = dialer_path(section)
            former = self._sides.dialer_path
            if former is not None and former[-1].session_id != path[-1].session_id:
                raise UsageError("path_changed", f"media line {self.line} keeps the path that it began with")
            said = replace(said, dialer_path=path)
        if self._is_tcp:
            self._check_setup(setup, offers=offers)
        self._said = replace(said, dialer_setup=setup, dialer_offers=offers)
        return endpoint

    def peer_of(self, section: MediaSection, family: int, *, offers: bool, mux: bool, checked: bool) -> Endpoint | None:
        path = peer_path(section) if self.kind is MediaKind.MSRP else None
        endpoint = stream_peer(section, family, path)
        parameters = read_dtls(section)[0]
        self._said = replace(
            self._current,
            peer_path=path,
            peer_setup=parameters.setup,
            peer_connection=parameters.connection or "new",
            dialer_offers=not offers,
        )
        return endpoint

    def for_network(
        self, section: MediaSection, proto: str, keying: Sequence[KeyAttribute], added: Sequence[bytes]
    ) -> MediaSection:
        opens = any(isinstance(one, DtlsParameters) and one.setup is SetupRole.ACTIVE for one in keying)
        here = placeholder(self._ports.network) if opens and self._is_tcp else self._ports.network
        path = None
        if self.kind is MediaKind.MSRP:
            ours = self._uri(here, self._ours, secure=True)
            self._said, path = replace(self._current, ours=ours), (ours,)
        return network_line(section, proto, here, added, path, cema=self._policy.msrp_cema)

    def for_dialer(self, section: MediaSection, proto: str) -> MediaSection:
        here = self._ports.loopback
        path = (self._uri(here, self._shown, secure=False),) if self.kind is MediaKind.MSRP else None
        setup = self._shown_setup if self._is_tcp else None
        return dialer_line(section, proto, here, path, setup, self._current.peer_connection)

    # -------------------------------------------------------------------------------------------------- exchange --

    def open_relay(self, family: int) -> OpenStream:
        dialer = self._proposed.dialer
        loopback = 6 if dialer is not None and ":" in dialer.address else 4
        session_id = self._shown if self.kind is MediaKind.MSRP else None
        return OpenStream(self.line, self.kind, family, loopback, session_id, self._means())

    def roll_back(self, now: float) -> None:
        super().roll_back(now)
        self._said = None

    def _apply(self, proposal: Proposal) -> list[Effect]:
        """Nothing but terms reaches the network's side."""
        self._sides, self._said = self._current, None
        return []

    def _told_dialer(self, dialer: Endpoint) -> Effect:
        return SetStreamDialer(self.line, Place(dialer.address, dialer.rtp_port))

    def _closing(self) -> Effect:
        return CloseStream(self.line)

    def _moved(self) -> bool:
        """A path of another session is another connection (RFC 4975, 8.6). Who opens it has no port that counts."""
        before, now = self._sides.peer_path, self._current.peer_path
        if before is not None and now is not None and before[-1].session_id != now[-1].session_id:
            return True
        old, new = self._peer, self._proposed.peer
        if self._is_tcp and old is not None and new is not None and PLACEHOLDER_PORT in (old.rtp_port, new.rtp_port):
            return old.address != new.address
        return super()._moved()

    # --------------------------------------------------------------------------------------------------- streams --

    def stream_event(self, happened: StreamSecured | StreamEnded, now: float) -> list[Effect]:
        """The line's connection has come about, or has gone."""
        plan = self.plan
        if plan is None or self._mechanism is None:
            return []
        if isinstance(happened, StreamSecured):
            return self._secured(plan, happened.suite)
        self._mechanism.handle(ChannelLost(), now)
        self.security = replace(self.security, keys_in_place=False, assured=False, reason=happened.reason)
        return [Notify("security_state", self.line, self.security, reason=happened.reason)]

    def _secured(self, plan: MediaPlan, suite: str | None) -> list[Effect]:
        self.security = replace(self.security, suite=suite, keys_in_place=True, assured=plan.assured, reason=None)
        return [Notify("keys_in_place", self.line, self.security)]

    def _carry_out(self, outputs: list[Output]) -> list[Effect]:
        return [self._connect(output) for output in outputs if isinstance(output, ChannelReady) and output.terms.peer]

    def _connect(self, ready: ChannelReady) -> ConnectStream:
        sides, paths = self._sides, None
        if sides.dialer_path is not None and sides.ours is not None and sides.peer_path is not None:
            shown = self._uri(self._ports.loopback, self._shown, secure=False)
            paths = MsrpPaths(sides.dialer_path, shown, sides.ours, sides.peer_path)
        self.security = replace(self.security, keys_in_place=False)
        return ConnectStream(self.line, ready.terms, ready.credentials, paths, self._calls_dialer)

    # --------------------------------------------------------------------------------------------------- helpers --

    @property
    def _is_tcp(self) -> bool:
        return self.kind is not MediaKind.UDPTL

    @property
    def _current(self) -> _Sides:
        return self._sides if self._said is None else self._said

    @property
    def _calls_dialer(self) -> bool:
        """A dialer that names no port waits for nobody: it comes, or passes a descriptor."""
        waits = self._sides.dialer_setup is not SetupRole.ACTIVE
        if self._sides.dialer_offers:
            waits = self._shown_setup is SetupRole.ACTIVE
        return waits and self._dialer is not None and self._dialer.rtp_port != PLACEHOLDER_PORT

    @property
    def _shown_setup(self) -> SetupRole:
        """What the dialer sees as the far side's role."""
        said = self._current
        if said.dialer_offers:  # what stands in our answer to it; absent, its offer says active (RFC 4145, 4.1)
            if said.dialer_setup is SetupRole.ACTPASS:
                return SetupRole.ACTIVE if said.peer_setup is SetupRole.ACTIVE else SetupRole.PASSIVE
            return SetupRole.ACTIVE if said.dialer_setup is SetupRole.PASSIVE else SetupRole.PASSIVE
        if said.peer_setup is SetupRole.ACTPASS:
            return SetupRole.PASSIVE if self._policy.streams_active else SetupRole.ACTPASS
        return SetupRole.PASSIVE if said.peer_setup is SetupRole.PASSIVE else SetupRole.ACTIVE

    def _check_setup(self, setup: SetupRole | None, *, offers: bool) -> None:
        if offers:
            passive = setup is SetupRole.PASSIVE and self.kind is MediaKind.MSRP  # RFC 6135, 4.2.2
            if passive or setup is SetupRole.HOLDCONN:
                raise bad_setup(f"media line {self.line}: an offer says actpass or active")
        elif (setup or SetupRole.PASSIVE) not in _ANSWERS[self._shown_setup]:
            raise bad_setup(f"media line {self.line} was offered with setup:{self._shown_setup.value}")

    def _uri(self, here: Endpoint, session_id: str, *, secure: bool) -> MsrpUri:
        return MsrpUri(secure, here.address, here.rtp_port, session_id)

    def _means(self) -> Means | None:
        if self.kind is not MediaKind.UDPTL:
            return None
        if self._identity is None:
            raise NegotiationFailed("mechanism_unavailable", "T.38 over DTLS was planned without a certificate")
        from ueagent.keymgmt.dtls_association import Means  # brings in the certificate library

        return Means(self._identity, (), self._policy.dtls_mtu, 0, self._rng, dhe_rsa=True)
