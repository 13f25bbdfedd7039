"""One offer and its answer, in progress: which lines take part, and how to go back. RFC 3264; SDES-16.

Keys of all tables are indices of m-lines. The session's own table of legs is not touched before the exchange settles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ueagent.errors import AgentError, NegotiationFailed, UsageError
from ueagent.model.media import STREAM_KINDS, Endpoint, MediaKind
from ueagent.model.security import THROUGH_KMS, LineSecurity, SecurityPolicy
from ueagent.negotiation.offer_answer import finish, is_rtp, kind_of
from ueagent.negotiation.planner import security_required
from ueagent.negotiation.stream_planner import stream_required
from ueagent.session.commands import Evidence, RelayOpened
from ueagent.session.effects import Effect
from ueagent.session.leg import Leg
from ueagent.session.stream_leg import StreamLeg
from ueagent.wire.ice_attributes import build_ice
from ueagent.wire.sdp import MediaSection, Sdp, build_sdp

if TYPE_CHECKING:
    from ueagent.channel.credentials import Identity
    from ueagent.keymgmt.mikey_bundle import MikeyBundle, MikeyDesk
    from ueagent.session.bundles import Bundles

CLOSED: Final = "closed"  # the reason of a line with port 0

Rng = Callable[[int], bytes]
Side = Callable[[RelayOpened], Endpoint]


def network_side(ports: RelayOpened) -> Endpoint:
    return ports.network


def loopback_side(ports: RelayOpened) -> Endpoint:
    return ports.loopback


class Exchange:
    """`existing` are the legs of the dialog so far; `offer` is as it came, from the dialer or from the network."""

    def __init__(
        self,
        offer: Sdp,
        evidence: Evidence,
        policy: SecurityPolicy,
        rng: Rng,
        existing: Mapping[int, Leg],
        identity: Identity | None = None,
        fax_identity: Identity | None = None,
    ) -> None:
        self.offer = offer
        self.evidence = evidence
        self.policy = policy
        self.legs: dict[int, Leg] = {}  # lines that are negotiated
        self.passing: set[int] = set()  # lines that are not ours to secure
        self.refusals: dict[int, AgentError] = {}  # lines that somebody wanted and that are closed instead
        self.others: dict[int, LineSecurity] = {}  # reports of all lines without a leg
        self.early = False  # an answer that stands may yet be followed by another fork's
        self.bundles: Bundles | None = None  # where some line is keyed by MIKEY-TICKET
        self._desk: MikeyDesk | None = None
        self._held_bundles: Mapping[int | None, MikeyBundle] = {}
        self._rng = rng
        self._identities = {MediaKind.UDPTL: fax_identity}
        self._identity = identity
        self._existing = existing
        self._created: set[int] = set()
        self._families: dict[int, int] = {}

    def at_kms(self, desk: MikeyDesk | None, held: Mapping[int | None, MikeyBundle]) -> None:
        """What MIKEY-TICKET needs; `held` are the dialog's bundles so far."""
        self._desk, self._held_bundles = desk, held

    def new_bundles(self) -> Bundles:
        from ueagent.session.bundles import Bundles  # calls without a KMS do not load it

        if self._desk is None:
            raise RuntimeError("MIKEY-TICKET was planned without a KMS")
        self.bundles = Bundles(self._desk, self._rng, self._held_bundles)
        return self.bundles

    def without_kms(self, bundle: int | None, error: AgentError, now: float) -> None:
        """The bundle gets no keys. Unless something else will do, `error` is raised."""
        raise error

    def vouch(self) -> None:
        """Lines keyed through a KMS learn who has the other end."""
        for line, leg in self.legs.items():
            if self.bundles is not None and leg.proposed.mechanism in THROUGH_KMS:
                leg.vouch(self.bundles.identity(line))

    @property
    def required(self) -> bool:
        return security_required(self.policy, self.evidence.emergency)

    @property
    def reports(self) -> dict[int, LineSecurity]:
        return self.others | {line: leg.report for line, leg in self.legs.items()}

    def must_secure(self, section: MediaSection) -> bool:
        """POL-4 for this line."""
        kind = kind_of(section)
        return stream_required(kind, self.policy, self.evidence.emergency) if kind in STREAM_KINDS else self.required

    def usable(self, kind: MediaKind) -> bool:
        """Whether there is a certificate to show on a line of STREAM_KINDS."""
        return self._identities.get(kind, self._identity) is not None

    def leg_at(self, line: int, section: MediaSection) -> Leg:
        """The line's leg, a new one where the dialog has none or where its medium is another now (T38-10)."""
        kind, leg = kind_of(section), self._existing.get(line)
        streams = {kind} & STREAM_KINDS
        if leg is not None and (leg.kind is kind or not {leg.kind, kind} & STREAM_KINDS):
            return leg
        if leg is not None and leg.kind in STREAM_KINDS and streams:
            raise NegotiationFailed("medium_changed", f"media line {line} is of another kind", field=f"m={line}")
        make = StreamLeg if streams else Leg
        return make(line, kind, self.policy, self._rng, self._identities.get(kind, self._identity))

    def join(self, leg: Leg, family: int) -> None:
        """The leg takes part; it has a proposal."""
        self.legs[leg.line] = leg
        self._families[leg.line] = family
        if self._existing.get(leg.line) is not leg:
            self._created.add(leg.line)

    def set_aside(self, line: int, section: MediaSection, reason: str) -> None:
        """The line is not ours to secure. A leg that it had is closed when the exchange settles."""
        if section.port:
            self.passing.add(line)
        self.others[line] = LineSecurity(line, kind_of(section), reason=reason if section.port else CLOSED)

    def turns_into_rtp(self, line: int, answer: MediaSection) -> bool:
        """A line that was not ours to secure comes back as RTP that nobody secured, by a transport not offered."""
        return bool(answer.port) and is_rtp(answer) and answer.proto.upper() != self.offer.media[line].proto.upper()

    def refuse(self, line: int, section: MediaSection, error: AgentError) -> None:
        self.passing.discard(line)
        self.refusals[line] = error
        self.others[line] = LineSecurity(line, kind_of(section), reason=error.code)

    def relays_to_open(self) -> list[Effect]:
        return [leg.open_relay(self._families[line]) for line, leg in self.legs.items() if leg.ports is None]

    def undo(self, now: float) -> list[Effect]:
        """What held before holds again. CloseRelay for lines that only this exchange had."""
        effects: list[Effect] = []
        self.drop_bundles()
        for line, leg in self.legs.items():
            if line in self._created:
                effects += leg.close(now)
            else:
                leg.roll_back(now)
        return effects

    def drop_bundles(self) -> None:
        """Those of the dialog go on as before."""
        if self.bundles is not None:
            self.bundles.undo()
            self.bundles = None

    def settle_bundles(self, accepted: Collection[int]) -> dict[int | None, MikeyBundle]:
        """Those that live on when offer and answer stand; the others are closed."""
        if self.bundles is not None:
            return self.bundles.settle(accepted)
        for bundle in self._held_bundles.values():
            bundle.close()
        return {}

    def settle(
        self, accepted: Collection[int], identity: str | None, now: float
    ) -> tuple[dict[int, Leg], list[Effect], list[str]]:
        """Offer and answer stand: the legs that live on, effects, warnings. All other lines are closed."""
        effects: list[Effect] = []
        warnings: list[str] = []
        for line, leg in self._existing.items():
            if self.legs.get(line, leg) is not leg:
                effects += leg.close(now)  # another leg has the line now
        for line, leg in sorted((dict(self._existing) | self.legs).items()):
            if line not in accepted:
                effects += leg.close(now)
                self.others.setdefault(line, leg.security)
                continue
            done, noted = leg.settle(identity, now, early=self.early)
            effects += done
            warnings += noted
        return {line: self.legs[line] for line in sorted(accepted)}, effects, warnings

    def text(self, sdp: Sdp, side: Side, added: Sequence[bytes] = ()) -> bytes:
        """`sdp` with its session level finished, as octets."""
        ports = next((leg.ports for leg in self.legs.values() if leg.ports is not None), None)
        done = finish(sdp, not self.passing, None if ports is None else side(ports).address, added)
        if self.bundles is not None:
            ours = self.bundles.attributes(None) if side is network_side else []
            done = done.with_session(done.session.without_attributes("key-mgmt").with_attributes(ours))
        return build_sdp(done)


def endpoint_of(leg: Leg, side: Side) -> Endpoint:
    if leg.ports is None:
        raise RuntimeError(f"line {leg.line} has no relay")
    return side(leg.ports)


def ice_attributes(leg: Leg) -> list[bytes]:
    """Of the line towards the network, where ICE is part of the exchange."""
    ours = leg.path.ours
    return [] if ours is None else build_ice(ours, endpoint_of(leg, network_side))


def session_attributes(legs: Iterable[Leg], tag: bytes | None) -> list[bytes]:
    """Of the session towards the network: `tag` is bundled, alone, since every line has a relay of its own (DYN-16);
    checks are answered, not sent (RFC 8839, 5.3)."""
    lite = [b"a=ice-lite"] if any(leg.path.ours is not None for leg in legs) else []
    return lite if tag is None else [b"a=group:BUNDLE " + tag, *lite]


def check_count(offer: Sdp, before: int, error: Callable[[str, str], AgentError]) -> None:
    """RFC 3264, 8: media lines are never taken out, only closed."""
    if len(offer.media) < before:
        raise error("media_count", f"the offer has {len(offer.media)} media lines, the last one had {before}")


def dialer_count(code: str, detail: str) -> AgentError:
    return UsageError(code, detail, field="sdp")
