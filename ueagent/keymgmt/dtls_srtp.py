"""DTLS-SRTP: `a=fingerprint`, `a=setup` and `a=tls-id` of one media line, and the handshakes that follow.

RFC 5763, RFC 5764, RFC 8842; DTLS-1..30. One association where RTP and RTCP share a port, else one for each (DTLS-15).
When it begins anew and when it lives on is decided here (DTLS-17); the handshake itself is `dtls_association`.

    idle --OfferRequested--> offering --RemoteAnswer--> answered --Settled--> idle, with what was agreed
    idle --RemoteOffer--> offered --AnswerRequested--> answering --Settled--> idle

After Settled(early=True) the offer stays open for the answer of another fork, until AllAnswered: RemoteAnswer in `idle`
(DYN-3).

Datagrams and timers belong to every state. Keys come out at Settled at the earliest.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from ueagent.channel.credentials import Identity
from ueagent.errors import AgentError, AuthenticationFailed, NegotiationFailed, PeerError, UnexpectedMessage
from ueagent.keymgmt.dtls_association import Association, Means
from ueagent.keymgmt.fingerprints import strongest
from ueagent.keymgmt.mechanism import (
    AllAnswered,
    AnswerRequested,
    Closed,
    DatagramReceived,
    Failed,
    Input,
    KeysReady,
    Lost,
    OfferRequested,
    Output,
    PathFound,
    PeerFault,
    PutAttributes,
    RemoteAnswer,
    RemoteOffer,
    RolledBack,
    Settled,
    StartTimer,
    TimerFired,
    step_of,
)
from ueagent.model.keys import KeySet
from ueagent.model.media import Component, Endpoint, MediaKind, Place
from ueagent.model.security import Fingerprint, MediaPlan, SecurityPolicy, SetupRole
from ueagent.model.suites import SUITES
from ueagent.wire.dtls_attributes import DtlsParameters

TLS_ID_OCTETS: Final = 24  # 192 bits in 32 characters; DTLS-3
GIVE_UP: Final = 15.0  # seconds; DTLS-23
# Seconds that a server goes on sending under the old keys after a re-key: until then the client has got the last flight
# and its keys, or nearly always has. It receives under both at once, so nothing is lost.
SEND_LATER: Final = 2.0
ELSEWHERE: Final = "elsewhere_"  # before the code of a rule that a peer at another place than signalled has failed

Rng = Callable[[int], bytes]

# What a value of the far side's a=setup leaves for us. Absent: no answer and no offer of ours or theirs goes without.
_OPPOSITE: Final = MappingProxyType({SetupRole.ACTIVE: SetupRole.PASSIVE, SetupRole.PASSIVE: SetupRole.ACTIVE})


@dataclass(slots=True, eq=False)
class _Agreed:
    """What offer and answer say of an association: as long as nothing of it changes, it lives on (DTLS-17)."""

    our_id: str
    their_id: str | None
    fingerprints: frozenset[Fingerprint]
    role: SetupRole
    associations: tuple[Association, ...]
    peer: Endpoint | None
    deadline: float | None = None
    lost: bool = False
    keyed: bool = False  # keys came out of it
    rekeys: bool = False  # it follows one that had keys
    instead: bool = False  # another fork's: what the former had is of no use

    def close(self, but: tuple[Association, ...] = ()) -> None:
        for association in self.associations:
            if association not in but:
                association.close()


@dataclass(slots=True)
class _Theirs:
    """The far side's offer."""

    parameters: DtlsParameters
    accepted: frozenset[Fingerprint]
    moved: bool
    peer: Endpoint | None = field(default=None)


class DtlsSrtp:
    """One media line. `rtcp_mux`: RTP and RTCP share a port, so one association keys both. `ice`: where the far side is
    PathFound tells, in time."""

    def __init__(self, means: Means, *, rtcp_mux: bool, passive_answer: bool = False, ice: bool = False) -> None:
        self._means = means
        self._mux = rtcp_mux
        self._ice = ice
        self._preferred = SetupRole.PASSIVE if passive_answer else SetupRole.ACTIVE
        self._state = "idle"
        self._current: _Agreed | None = None
        self._proposed: _Agreed | None = None
        self._offered_id = ""
        self._early: tuple[Association, ...] = ()  # listening since our offer (DTLS-9), for all who may answer it
        self._theirs: _Theirs | None = None
        self._send_later: list[tuple[float, KeysReady]] = []

    @property
    def state(self) -> str:
        return self._state

    def handle(self, event: Input, now: float) -> list[Output]:
        try:
            outputs = step_of(TRANSITIONS, self._state, event)(self, event, now)
        except AgentError as error:
            return [Failed(error)]
        return [*outputs, *self._progress(now)]

    # ------------------------------------------------------------------------------------------- as offerer --

    def _offer(self, event: OfferRequested, now: float) -> list[Output]:
        """DTLS-2, DTLS-19: actpass always; a new tls-id only where a new association is wanted (DTLS-24)."""
        self._all_answered(AllAnswered(), now)
        current = self._current
        lives_on = current is not None and not current.lost and not event.fresh
        self._offered_id = current.our_id if current is not None and lives_on else self._new_id()
        self._early = self._listening()
        self._state = "offering"
        return [PutAttributes((self._parameters(SetupRole.ACTPASS, self._offered_id),))]

    def _read_answer(self, event: RemoteAnswer, now: float) -> list[Output]:
        parameters = _only(event.attributes)
        role = _OPPOSITE.get(parameters.setup) if parameters.setup is not None else None
        if role is None:
            raise _failure("bad_setup", "an answer says active or passive")
        accepted = strongest(parameters.fingerprints)
        theirs = _Theirs(parameters, accepted, event.moved, event.peer)
        self._propose(self._offered_id, theirs, role, instead=self._state == "idle")
        self._state = "answered"
        return []

    def _read_another(self, event: RemoteAnswer, now: float) -> list[Output]:
        """DYN-3: of another fork, which takes the place of the early one."""
        if not self._early:
            expected = tuple(name for name in TRANSITIONS["idle"] if name != "RemoteAnswer")
            raise UnexpectedMessage("unexpected_event", "no offer of ours is open", expected=expected)
        return self._read_answer(event, now)

    def _all_answered(self, event: AllAnswered, now: float) -> list[Output]:
        current = self._current
        for association in self._early:
            if current is not None and association in current.associations and not current.lost:
                association.all_answered()
            else:
                association.close()
        self._early = ()
        return []

    # ------------------------------------------------------------------------------------------ as answerer --

    def _read_offer(self, event: RemoteOffer, now: float) -> list[Output]:
        """DTLS-5: active and passive are taken too. holdconn, or nothing at all, cannot be answered."""
        parameters = _only(event.attributes)
        if parameters.setup is None or parameters.setup is SetupRole.HOLDCONN:
            raise _failure("bad_setup", "an offer says actpass, active or passive")
        self._theirs = _Theirs(parameters, strongest(parameters.fingerprints), event.moved, event.peer)
        self._all_answered(AllAnswered(), now)
        self._state = "offered"
        return []

    def _answer(self, event: AnswerRequested, now: float) -> list[Output]:
        """DTLS-4: a tls-id only where the offer had one. DTLS-19: the same id and role while nothing changes."""
        assert self._theirs is not None
        theirs, current = self._theirs, self._current
        asked = theirs.parameters.setup
        assert asked is not None
        kept = self._preferred if current is None else current.role
        role = _OPPOSITE.get(asked, kept)
        lives_on = current is not None and not event.fresh and self._unchanged(current, current.our_id, theirs, role)
        if not lives_on and asked is SetupRole.ACTPASS:
            role = self._preferred
        our_id = current.our_id if current is not None and lives_on else self._new_id()
        self._propose(our_id, theirs, role)
        self._state = "answering"
        shown = our_id if theirs.parameters.tls_id is not None else None
        return [PutAttributes((self._parameters(role, shown),))]

    # ----------------------------------------------------------------------------------------------- either role --

    def _propose(self, our_id: str, theirs: _Theirs, role: SetupRole, *, instead: bool = False) -> None:
        """What the answer amounts to. A second answer before Settled replaces the first."""
        current, former = None if instead else self._current, self._proposed
        peer = theirs.peer or (None if current is None else current.peer)
        if current is not None and self._unchanged(current, our_id, theirs, role):
            associations = current.associations
        elif role is SetupRole.ACTIVE:
            associations = self._new()
        else:
            associations = self._early or self._listening()
        kept = (associations, self._early, None if current is None else current.associations)
        if former is not None and former.associations not in kept:
            former.close()
        self._proposed = _Agreed(
            our_id, theirs.parameters.tls_id, theirs.accepted, role, associations, peer, instead=instead
        )

    @staticmethod
    def _unchanged(current: _Agreed, our_id: str, theirs: _Theirs, role: SetupRole) -> bool:
        """DTLS-17: RFC 8842, 3.1. Without a tls-id of theirs a new address means a new association."""
        return (
            not current.lost
            and current.our_id == our_id
            and current.their_id == theirs.parameters.tls_id
            and current.fingerprints == theirs.accepted
            and current.role is role
            and not (theirs.moved and theirs.parameters.tls_id is None)
        )

    def _settle(self, event: Settled, now: float) -> list[Output]:
        proposed, former = self._proposed, self._current
        assert proposed is not None
        fresh = former is None or former.associations is not proposed.associations or proposed.instead
        if former is not None:
            if fresh:
                former.close(proposed.associations)
            else:
                proposed.deadline = former.deadline
        early = self._early if event.early else ()
        for association in self._early:
            if association not in (*proposed.associations, *early):
                association.close()
        self._current, self._proposed, self._early, self._theirs, self._state = proposed, None, early, None, "idle"
        if fresh:
            proposed.deadline = now + GIVE_UP
            proposed.rekeys = former is not None and former.keyed and not proposed.instead
            self._forget_later()
        elif former is not None:
            proposed.keyed, proposed.rekeys = former.keyed, former.rekeys
        for association in proposed.associations:
            place = _place(proposed.peer, association.rtcp)
            association.expect(proposed.fingerprints, place, more=association in early, instead=proposed.instead)
            if proposed.role is SetupRole.ACTIVE and not association.started:
                if place is not None:
                    association.connect(place, now)
                elif not self._ice:
                    proposed.deadline = None  # on hold before it began: a later offer says where to go
        if any(a.started and not a.established for a in proposed.associations) and proposed.deadline is None:
            proposed.deadline = now + GIVE_UP
        return []

    def _roll_back(self, event: RolledBack, now: float) -> list[Output]:
        current, proposed = self._current, self._proposed
        kept = self._early if proposed is not None and proposed.instead else ()
        for association in (*self._early, *(proposed.associations if proposed else ())):
            if association not in kept and (current is None or association not in current.associations):
                association.close()
        self._proposed, self._early, self._theirs, self._state = None, kept, None, "idle"
        return []

    def _close(self, event: Closed, now: float) -> list[Output]:
        self._roll_back(RolledBack(), now)
        self._all_answered(AllAnswered(), now)
        if self._current is not None:
            self._current.close()
        self._forget_later()
        self._current, self._state = None, "closed"
        return []

    # --------------------------------------------------------------------------------------------------- handshakes --

    def _datagram(self, event: DatagramReceived, now: float) -> list[Output]:
        """To the association that wants it, the newest first; what nobody wants is dropped (DTLS-16)."""
        for association in self._associations():
            if association.rtcp == event.rtcp and association.wants(event.data, event.source):
                association.take(event.data, event.source, now)
                break
        return []

    def _timer(self, event: TimerFired, now: float) -> list[Output]:
        for association in self._associations():
            association.expire(now)
        return []

    def _path(self, event: PathFound, now: float) -> list[Output]:
        """DYN-18: with ICE a client begins here."""
        current = self._current
        if current is None or current.peer == event.peer:
            return []
        current.peer = event.peer
        for association in current.associations:
            place = _place(event.peer, association.rtcp)
            association.expect(current.fingerprints, place)
            if current.role is SetupRole.ACTIVE and not association.started and place is not None:
                association.connect(place, now)
                current.deadline = now + GIVE_UP
        return []

    def _ignore(self, event: Input, now: float) -> list[Output]:
        return []

    def _progress(self, now: float) -> list[Output]:
        """What the associations have brought about: datagrams, keys, a failure, and when to look again."""
        outputs: list[Output] = []
        current = self._current
        if current is not None and not current.lost:
            # Keys before datagrams: when the peer reads our last flight it may send at once.
            outputs += self._harvest(current, now)
            notices = [code for association in current.associations for code in association.take_notices()]
            outputs += [] if current.lost else [PeerFault(f"{ELSEWHERE}{code}") for code in notices]
        for association in self._associations():
            outputs += association.datagrams
            association.datagrams = []
        outputs += (ready for due, ready in self._send_later if due <= now)
        self._send_later = [entry for entry in self._send_later if entry[0] > now]
        waits = [due - now for due, _ in self._send_later]
        waits += [wait for one in self._associations() if (wait := one.next_timeout(now)) is not None]
        if current is not None and current.deadline is not None:
            waits.append(max(0.0, current.deadline - now))
        return [*outputs, StartTimer(min(waits))] if waits else outputs

    def _harvest(self, current: _Agreed, now: float) -> list[Output]:
        outputs: list[Output] = []
        for association in current.associations:
            keys = association.take_keys()
            if keys is not None:
                outputs.append(self._ready(current, keys, self._component(association), now))
                current.keyed = True
        if all(association.established for association in current.associations):
            current.deadline = None
        main = current.associations[0]
        failure = next((one.failure for one in current.associations if self._fatal(one, main)), None)
        if failure is None and current.deadline is not None and now >= self._deadline(current):
            current.deadline = None
            if main.established:
                outputs.append(PeerFault("rtcp_not_keyed"))
            else:
                failure = self._late(current)
        if failure is not None:
            for output in outputs:
                if isinstance(output, KeysReady):
                    output.keys.wipe()
            outputs = [Lost(failure)]
            current.lost, current.deadline = True, None
            self._forget_later()
            outputs += self._last_words(current)
            current.close(self._early)
        return outputs

    def _ready(self, current: _Agreed, keys: KeySet, component: Component, now: float) -> KeysReady:
        """A server has its keys before the client has: of a re-key it sends under the new ones only later."""
        if not current.rekeys or current.role is SetupRole.ACTIVE:
            return KeysReady(keys, component=component)
        later = KeysReady(keys.copy(), receive=False, component=component)
        self._send_later.append((now + SEND_LATER, later))
        return KeysReady(keys, send=False, component=component)

    def _forget_later(self) -> None:
        for _, ready in self._send_later:
            ready.keys.wipe()
        self._send_later = []

    @staticmethod
    def _last_words(current: _Agreed) -> list[Output]:
        """Alerts that tell the peer why (DTLS-8)."""
        words: list[Output] = []
        for association in current.associations:
            words += association.datagrams
            association.datagrams = []
        return words

    @staticmethod
    def _fatal(association: Association, main: Association) -> bool:
        """RTP goes on where only RTCP got no keys; a wrong certificate there is nevertheless an attack."""
        if association.failure is None:
            return False
        return association is main or not main.established or isinstance(association.failure, AuthenticationFailed)

    @staticmethod
    def _deadline(current: _Agreed) -> float:
        """DTLS-23: from the later of the answer and the first ClientHello."""
        assert current.deadline is not None
        hellos = [one.first_hello for one in current.associations if one.first_hello is not None]
        current.deadline = max(current.deadline, *(hello + GIVE_UP for hello in hellos), current.deadline)
        return current.deadline

    @staticmethod
    def _late(current: _Agreed) -> PeerError:
        """Nobody with the right certificate came in time. Whoever came with a wrong one tells more."""
        refusal = next((one.refusal for one in current.associations if one.refusal is not None), None)
        return refusal or PeerError("handshake_timeout", f"no DTLS handshake within {GIVE_UP:.0f} seconds")

    # ------------------------------------------------------------------------------------------------------- helpers --

    def _associations(self) -> list[Association]:
        """All that live, the newest first."""
        proposed = self._proposed.associations if self._proposed else ()
        current = self._current.associations if self._current else ()
        found: list[Association] = []
        for group in (proposed, self._early, current):
            found += [association for association in group if association not in found]
        return found

    def _new(self) -> tuple[Association, ...]:
        ports = (False,) if self._mux else (False, True)
        return tuple(Association(self._means, rtcp=rtcp) for rtcp in ports)

    def _listening(self) -> tuple[Association, ...]:
        made = self._new()
        for association in made:
            association.listen()
        return made

    def _component(self, association: Association) -> Component:
        if self._mux:
            return Component.BOTH
        return Component.RTCP if association.rtcp else Component.RTP

    def _parameters(self, setup: SetupRole, tls_id: str | None) -> DtlsParameters:
        return DtlsParameters(self._means.identity.fingerprints(), setup, tls_id)

    def _new_id(self) -> str:
        return base64.urlsafe_b64encode(self._means.rng(TLS_ID_OCTETS)).decode("ascii")


_ANYTIME: Final[dict[str, Callable[[DtlsSrtp, Any, float], list[Output]]]] = {
    "DatagramReceived": DtlsSrtp._datagram,
    "TimerFired": DtlsSrtp._timer,
    "PathFound": DtlsSrtp._path,
    "Closed": DtlsSrtp._close,
}
# What may happen in which state. A repeated answer before Settled replaces the last one.
TRANSITIONS: Final[dict[str, dict[str, Callable[[DtlsSrtp, Any, float], list[Output]]]]] = {
    "idle": {
        "OfferRequested": DtlsSrtp._offer,
        "RemoteOffer": DtlsSrtp._read_offer,
        "RemoteAnswer": DtlsSrtp._read_another,
        "AllAnswered": DtlsSrtp._all_answered,
        **_ANYTIME,
    },
    "offering": {"RemoteAnswer": DtlsSrtp._read_answer, "RolledBack": DtlsSrtp._roll_back, **_ANYTIME},
    "answered": {
        "RemoteAnswer": DtlsSrtp._read_answer,
        "Settled": DtlsSrtp._settle,
        "RolledBack": DtlsSrtp._roll_back,
        **_ANYTIME,
    },
    "offered": {"AnswerRequested": DtlsSrtp._answer, "RolledBack": DtlsSrtp._roll_back, **_ANYTIME},
    "answering": {
        "AnswerRequested": DtlsSrtp._answer,
        "Settled": DtlsSrtp._settle,
        "RolledBack": DtlsSrtp._roll_back,
        **_ANYTIME,
    },
    "closed": {
        "Closed": DtlsSrtp._close,
        "DatagramReceived": DtlsSrtp._ignore,
        "TimerFired": DtlsSrtp._ignore,
        "PathFound": DtlsSrtp._ignore,
    },
}


def create(plan: MediaPlan, policy: SecurityPolicy, rng: Rng, identity: Identity) -> DtlsSrtp:
    """The row's factory. `plan.suites` are names of suites that have a protection profile."""
    profiles = tuple(profile for name in plan.suites if (profile := SUITES[name].dtls_profile) is not None)
    window = policy.video_window if plan.kind is MediaKind.VIDEO else policy.audio_window
    means = Means(identity, profiles, policy.dtls_mtu, window, rng)
    return DtlsSrtp(means, rtcp_mux=plan.rtcp_mux, passive_answer=policy.dtls_passive_answer, ice=plan.ice)


def _only(attributes: tuple[object, ...]) -> DtlsParameters:
    found = [one for one in attributes if isinstance(one, DtlsParameters)]
    if len(found) != 1:
        raise _failure("no_fingerprint", "the line has no valid fingerprint")
    return found[0]


def _place(peer: Endpoint | None, rtcp: bool) -> Place | None:
    if peer is None:
        return None
    return Place(peer.address, peer.rtcp_port if rtcp else peer.rtp_port)


def _failure(code: str, detail: str) -> NegotiationFailed:
    return NegotiationFailed(code, detail, field="fingerprint")
