"""TLS for MSRP and BFCP, DTLS for UDPTL: who opens, who is client, and which certificate is the peer's.

    MSRP    RFC 4975, RFC 6135: TLS client = who opens; no a=connection, no tls-id of ours; MSRP-5..7
    BFCP    RFC 8856, RFC 4145: the answerer is TLS server, or by a switch who opens is client; BFCP-2, -4, -7
    UDPTL   RFC 7345, RFC 8842: who is active sends the ClientHello; T38-2, -3

Offer and answer come in as values, and at Settled the terms of a new connection go out, or nothing: the one there is
goes on. The octets are carried elsewhere (`daemon/pumps.py`); only they meet the network.

    idle --OfferRequested--> offering --RemoteAnswer--> answered --Settled--> idle
    idle --RemoteOffer--> offered --AnswerRequested--> answering --Settled--> idle
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from ueagent.channel.credentials import CertificateCredentials, Credentials, Identity
from ueagent.errors import AgentError, NegotiationFailed
from ueagent.keymgmt.fingerprints import fits, strongest
from ueagent.keymgmt.mechanism import (
    AnswerRequested,
    ChannelLost,
    ChannelReady,
    Closed,
    Failed,
    Input,
    OfferRequested,
    Output,
    PutAttributes,
    RemoteAnswer,
    RemoteOffer,
    RolledBack,
    Settled,
    step_of,
)
from ueagent.model.media import Endpoint, MediaKind, Place
from ueagent.model.security import ChannelTerms, Fingerprint, MediaPlan, SecurityPolicy, SetupRole
from ueagent.wire.dtls_attributes import ConnectionValue, DtlsParameters

TLS_ID_OCTETS: Final = 24  # 192 bits in 32 characters; RFC 8842, 4

Rng = Callable[[int], bytes]

_OPPOSITE: Final = MappingProxyType({SetupRole.ACTIVE: SetupRole.PASSIVE, SetupRole.PASSIVE: SetupRole.ACTIVE})


@dataclass(frozen=True, slots=True)
class StreamRules:
    """What differs between the protocols."""

    stream: bool
    answers: SetupRole  # to an offer of actpass
    absent_setup: bool  # a line may go without, and means what RFC 4145, 4.1 says; holdconn counts as that (RFC 6135)
    tls_id: bool
    connection: bool
    answerer_serves: bool  # the answerer is TLS server, whoever opens


RULES: Final = MappingProxyType(
    {
        MediaKind.MSRP: StreamRules(
            True, SetupRole.PASSIVE, absent_setup=True, tls_id=False, connection=False, answerer_serves=False
        ),
        MediaKind.BFCP: StreamRules(
            True, SetupRole.PASSIVE, absent_setup=False, tls_id=True, connection=True, answerer_serves=True
        ),
        MediaKind.UDPTL: StreamRules(
            False, SetupRole.ACTIVE, absent_setup=False, tls_id=True, connection=False, answerer_serves=False
        ),
    }
)


def rules_of(kind: MediaKind, policy: SecurityPolicy) -> StreamRules:
    """KeyError: a kind of line that these mechanisms do not secure."""
    rules = RULES[kind]
    if policy.streams_active and kind is not MediaKind.UDPTL:
        rules = replace(rules, answers=SetupRole.ACTIVE)
    return replace(rules, answerer_serves=rules.answerer_serves and not policy.bfcp_active_is_client)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What offer and answer say of a connection: as long as nothing of it changes, it lives on."""

    our_id: str
    their_id: str | None
    role: SetupRole  # ours
    fingerprints: frozenset[Fingerprint]
    peer: Endpoint | None
    client: bool


@dataclass(frozen=True, slots=True)
class Theirs:
    parameters: DtlsParameters
    accepted: frozenset[Fingerprint]
    setup: SetupRole
    moved: bool
    peer: Endpoint | None


class TlsMedia:
    """One media line. `offers` is the a=setup of our offers: actpass, or active where nobody can reach us.

    `identity` is None only where something else than certificates proves who is there (`tls_psk_media`).
    """

    def __init__(
        self, rules: StreamRules, identity: Identity | None, rng: Rng, offers: SetupRole = SetupRole.ACTPASS
    ) -> None:
        self._rules = rules
        self._identity = identity
        self._rng = rng
        self._offers = offers
        self._state = "idle"
        self._current: Agreed | None = None
        self._proposed: tuple[Agreed, bool] | None = None  # with: a new connection?
        self._lost = False
        self._offered = ("", False)  # our tls-id, and whether the connection there is shall go on
        self._theirs: Theirs | None = None

    @property
    def state(self) -> str:
        return self._state

    def handle(self, event: Input, now: float) -> list[Output]:
        try:
            return step_of(TRANSITIONS, self._state, event)(self, event)
        except AgentError as error:
            return [Failed(error)]

    # ------------------------------------------------------------------------------------------------ as offerer --

    def _offer(self, event: OfferRequested) -> list[Output]:
        current = self._current
        lives_on = current is not None and not self._lost and not event.fresh
        our_id = current.our_id if current is not None and lives_on else self._new_id()
        self._offered = our_id, lives_on
        self._state = "offering"
        return [self._put(self._offers, our_id, existing=lives_on)]

    def _read_answer(self, event: RemoteAnswer) -> list[Output]:
        theirs = self._read(event, absent=SetupRole.PASSIVE)
        role = _OPPOSITE.get(theirs.setup)
        if role is None or self._offers not in (SetupRole.ACTPASS, role):
            raise _failure("bad_setup", "an answer says active or passive, and what the offer leaves")
        our_id, lives_on = self._offered
        self._propose(our_id, theirs, role, offerer=True, keep=lives_on)
        self._state = "answered"
        return []

    # ----------------------------------------------------------------------------------------------- as answerer --

    def _read_offer(self, event: RemoteOffer) -> list[Output]:
        theirs = self._read(event, absent=SetupRole.ACTIVE)
        if theirs.setup is SetupRole.HOLDCONN:
            raise _failure("bad_setup", "an offer says actpass, active or passive")
        self._theirs = theirs
        self._state = "offered"
        return []

    def _answer(self, event: AnswerRequested) -> list[Output]:
        """Role and tls-id stay while nothing else changes (RFC 8842, 5.3)."""
        assert self._theirs is not None
        theirs, current = self._theirs, self._current
        kept = self._rules.answers if current is None else current.role
        role = _OPPOSITE.get(theirs.setup, kept)
        keep = current is not None and not event.fresh and self._unchanged(current, current.our_id, theirs, role)
        if not keep and theirs.setup is SetupRole.ACTPASS:
            role = self._rules.answers
        our_id = current.our_id if current is not None and keep else self._new_id()
        fresh = self._propose(our_id, theirs, role, offerer=False, keep=keep)
        self._state = "answering"
        shown = our_id if theirs.parameters.tls_id is not None else None
        return [self._put(role, shown, existing=not fresh)]

    # ----------------------------------------------------------------------------------------------- either role --

    def _read(self, event: RemoteOffer | RemoteAnswer, *, absent: SetupRole) -> Theirs:
        found = [one for one in event.attributes if isinstance(one, DtlsParameters)]
        if len(found) != 1:
            raise _failure("no_fingerprint", "the line has no valid fingerprint")
        (parameters,) = found
        setup = parameters.setup
        if self._rules.absent_setup and setup in (None, SetupRole.HOLDCONN):
            setup = absent
        if setup is None:
            raise _failure("bad_setup", "the line has no valid a=setup")
        return Theirs(parameters, self._accepted(parameters), setup, event.moved, event.peer)

    def _propose(self, our_id: str, theirs: Theirs, role: SetupRole, *, offerer: bool, keep: bool) -> bool:
        """What the answer amounts to; whether that is a new connection."""
        current = self._current
        fresh = current is None or not keep or not self._unchanged(current, our_id, theirs, role)
        peer = theirs.peer or (None if current is None else current.peer)
        opens = role is SetupRole.ACTIVE
        client = offerer if self._rules.answerer_serves else opens
        if current is not None and not fresh:
            client = current.client
        agreed = Agreed(our_id, theirs.parameters.tls_id, role, theirs.accepted, peer, client)
        self._proposed = agreed, fresh
        return fresh

    def _unchanged(self, current: Agreed, our_id: str, theirs: Theirs, role: SetupRole) -> bool:
        """A stream is bound to its address (RFC 4145, 5); datagrams are when no tls-id tells more (RFC 8842, 3.1)."""
        by_address = self._rules.stream or theirs.parameters.tls_id is None
        return (
            not self._lost
            and current.our_id == our_id
            and current.their_id == theirs.parameters.tls_id
            and current.fingerprints == theirs.accepted
            and current.role is role
            and not (theirs.moved and by_address)
            and not (self._rules.connection and theirs.parameters.connection == "new")
        )

    def _settle(self, event: Settled) -> list[Output]:
        assert self._proposed is not None
        agreed, fresh = self._proposed
        # On hold before it began: the exchange that says where to go makes the connection.
        waited = self._current is not None and self._current.peer is None and agreed.peer is not None
        self._current, self._proposed, self._theirs, self._state = agreed, None, None, "idle"
        if not fresh and not waited and not self._lost:
            return []
        self._lost = False
        place = None if agreed.peer is None else Place(agreed.peer.address, agreed.peer.rtp_port)
        terms = ChannelTerms(
            opens=agreed.role is SetupRole.ACTIVE,
            client=agreed.client,
            accepted=agreed.fingerprints,
            peer=place,
            may_swap=self._rules.connection,
        )
        return [ChannelReady(terms, self._credentials(agreed))]

    def _roll_back(self, event: RolledBack) -> list[Output]:
        self._proposed, self._theirs, self._state = None, None, "idle"
        return []

    def _close(self, event: Closed) -> list[Output]:
        self._current, self._proposed, self._theirs, self._state = None, None, None, "closed"
        return []

    def _lose(self, event: ChannelLost) -> list[Output]:
        self._lost = True
        return []

    def _ignore(self, event: Input) -> list[Output]:
        return []

    # ---------------------------------------------------------------------------------------------------- proofs --

    def _accepted(self, parameters: DtlsParameters) -> frozenset[Fingerprint]:
        return strongest(parameters.fingerprints)

    def _shown(self) -> tuple[Fingerprint, ...]:
        assert self._identity is not None
        return self._identity.fingerprints()

    def _credentials(self, agreed: Agreed) -> Credentials:
        """For the connection that is to be made."""
        assert self._identity is not None

        def verify(certificate: bytes) -> bool:
            return fits(certificate, agreed.fingerprints)

        return CertificateCredentials(self._identity, verify)

    # --------------------------------------------------------------------------------------------------- helpers --

    def _put(self, setup: SetupRole, tls_id: str | None, *, existing: bool) -> PutAttributes:
        connection: ConnectionValue | None = None
        if self._rules.connection:
            connection = "existing" if existing else "new"
        shown = tls_id if self._rules.tls_id else None
        return PutAttributes((DtlsParameters(self._shown(), setup, shown, connection),))

    def _new_id(self) -> str:
        return base64.urlsafe_b64encode(self._rng(TLS_ID_OCTETS)).decode("ascii")


_Step = Callable[[TlsMedia, Any], list[Output]]
_ANYTIME: Final[dict[str, _Step]] = {"Closed": TlsMedia._close, "ChannelLost": TlsMedia._lose}
# A repeated answer before Settled replaces the last one.
TRANSITIONS: Final[dict[str, dict[str, _Step]]] = {
    "idle": {"OfferRequested": TlsMedia._offer, "RemoteOffer": TlsMedia._read_offer, **_ANYTIME},
    "offering": {"RemoteAnswer": TlsMedia._read_answer, "RolledBack": TlsMedia._roll_back, **_ANYTIME},
    "answered": {
        "RemoteAnswer": TlsMedia._read_answer,
        "Settled": TlsMedia._settle,
        "RolledBack": TlsMedia._roll_back,
        **_ANYTIME,
    },
    "offered": {"AnswerRequested": TlsMedia._answer, "RolledBack": TlsMedia._roll_back, **_ANYTIME},
    "answering": {
        "AnswerRequested": TlsMedia._answer,
        "Settled": TlsMedia._settle,
        "RolledBack": TlsMedia._roll_back,
        **_ANYTIME,
    },
    "closed": {"Closed": TlsMedia._close, "ChannelLost": TlsMedia._ignore},
}


def create(plan: MediaPlan, policy: SecurityPolicy, rng: Rng, identity: Identity) -> TlsMedia:
    """The factory of the rows for TLS and DTLS. KeyError: a line that is none of RULES."""
    rules = rules_of(plan.kind, policy)
    behind_nat = policy.streams_active and plan.kind is not MediaKind.UDPTL
    return TlsMedia(rules, identity, rng, SetupRole.ACTIVE if behind_nat else SetupRole.ACTPASS)


def _failure(code: str, detail: str) -> NegotiationFailed:
    return NegotiationFailed(code, detail, field="fingerprint" if code == "no_fingerprint" else "setup")
