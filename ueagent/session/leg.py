"""One media line: its mechanism, its relay, and what both become when offer and answer stand.

An exchange makes a proposal (`begin`); until `settle` everything that held before goes on unchanged, so that a refused
re-offer costs nothing (SDES-16). `settle` turns the difference into effects: unchanged keys install nothing (SDES-15).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ueagent.errors import AgentError, UsageError
from ueagent.keymgmt import mechanism as keying
from ueagent.keymgmt.mechanism import (
    AllAnswered,
    AnswerRequested,
    Closed,
    Failed,
    Input,
    KeyAttribute,
    KeyMechanism,
    KeysLost,
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
)
from ueagent.keymgmt.registry import create_mechanism
from ueagent.model.media import Component, Endpoint, MediaKind
from ueagent.model.security import LineSecurity, Mechanism, MediaPlan, SecurityPolicy
from ueagent.negotiation.offer_answer import dialer_endpoint, peer_endpoint, rewrite
from ueagent.negotiation.planner import Attempt, Decision
from ueagent.session.commands import DatagramReceived, Media, MediaEvent, RelayOpened, TimerFired
from ueagent.session.effects import (
    CloseRelay,
    Effect,
    InstallKeys,
    Notify,
    OpenRelay,
    OpenStream,
    SendDatagram,
    SetDialer,
    SetMode,
    SetPeer,
    StartTimer,
)
from ueagent.session.path import ENDPOINT, Path
from ueagent.wire.ice_attributes import IceParameters
from ueagent.wire.sdp import MediaSection

if TYPE_CHECKING:
    from ueagent.channel.credentials import Identity

Rng = Callable[[int], bytes]

# What the relay tells -> the event that subscribers see, and its reason (EventKind of ipc.api).
_NOTICES: Final = MappingProxyType(
    {
        Media.FIRST_PACKET: ("security_state", "first_packet"),
        Media.NEW_KEY_SEEN: ("keys_in_place", "new_key_seen"),
        Media.SOFT_LIMIT: ("rekey_wanted", "soft_limit"),
        Media.RESTART: ("rekey_wanted", "restart"),
        Media.KEY_EXPIRED: ("lifetime", "expired"),
        Media.LATE_START: ("late_start", None),
        Media.AUTH_BURST: ("auth_failures", None),
        Media.PEER_MOVED: ("peer_moved", None),
        Media.IDLE: ("media_idle", None),
        Media.SSRC_FULL: ("auth_failures", "ssrc_full"),
        Media.ENGINE_FAILED: ("engine_failed", None),
        Media.SOCKET_FAILED: ("security_state", "socket_failed"),
        Media.KEYS_LOST: ("engine_failed", "accelerator_lost"),
    }
)
# Whose mechanism can take the answer of another fork in place of an early one (DYN-3). SDES has wiped what the first
# answer did not choose.
_SEVERAL_ANSWERS: Final = frozenset({Mechanism.NONE, Mechanism.DTLS_SRTP})
# After these the next offer or answer of ours draws a new key, whether the dialer says so or not (SDES-19).
_REKEY: Final = frozenset({Media.SOFT_LIMIT, Media.RESTART, Media.KEY_EXPIRED})


@dataclass(slots=True, eq=False)
class Proposal:
    decision: Decision
    mechanism: KeyMechanism | None
    dialer: Endpoint | None
    peer: Endpoint | None
    keys: KeysReady | None = None
    verified: str | None = None  # who has the other end, as a KMS vouches
    warnings: list[str] = field(default_factory=list)
    instead: bool = False  # another fork's: nobody new has the keys in use


class Leg:
    def __init__(
        self, line: int, kind: MediaKind, policy: SecurityPolicy, rng: Rng, identity: Identity | None = None
    ) -> None:
        self.line = line
        self.kind = kind
        self.ports: RelayOpened | None = None
        self.plan: MediaPlan | None = None  # what holds; None before the first answer
        self.security = LineSecurity(line, kind)
        self._policy = policy
        self._rng = rng
        self._identity = identity
        self._mechanism: KeyMechanism | None = None
        self._dialer: Endpoint | None = None
        self._peer: Endpoint | None = None
        self._mode = "closed"
        self._rekey_due = False
        self._switched = False  # to another fork, whose keys are not there yet
        self._stale: set[Component] = set()  # what the relay has under the former fork's keys
        self._send_lost = False  # what we sent with went with the device that had it
        self._proposal: Proposal | None = None
        self.path = Path(line, rng)
        self.refused: tuple[Attempt, ...] = ()  # what the far side did not take in the offer in progress (POL-6)

    # ---------------------------------------------------------------------------------------------- the sides --

    def dialer_of(self, section: MediaSection, *, offers: bool) -> Endpoint | None:
        """Where the dialer receives; None on hold. UsageError: its line is no good. `offers`: it stands in an offer."""
        return dialer_endpoint(section)

    def peer_of(self, section: MediaSection, family: int, *, offers: bool, mux: bool, checked: bool) -> Endpoint | None:
        """Where the far side receives; None on hold, and where ICE says it. NegotiationFailed: its line is no good."""
        return peer_endpoint(section, family, mux=mux, checked=checked)

    def for_network(
        self, section: MediaSection, proto: str, keying: Sequence[KeyAttribute], added: Sequence[bytes]
    ) -> MediaSection:
        """The line for the network; `added` is the text of `keying`."""
        return rewrite(section, proto, self._ports.network, added)

    def for_dialer(self, section: MediaSection, proto: str) -> MediaSection:
        return rewrite(section, proto, self._ports.loopback, checked=self.path.checked)

    # ----------------------------------------------------------------------------------------------- exchange --

    @property
    def proposed(self) -> MediaPlan:
        return self._proposed.decision.plan

    @property
    def proposed_reason(self) -> str | None:
        return self._proposed.decision.reason

    @property
    def attempt(self) -> Attempt:
        return self.proposed.mechanism, self.proposed.scope

    @property
    def muxed(self) -> bool:
        """RTP and RTCP share the relay's port on the network side."""
        return self.ports is not None and self.ports.network.rtp_port == self.ports.network.rtcp_port

    @property
    def family(self) -> int:
        """Of the network side of the relay."""
        return ip_address(self._ports.network.address).version

    @property
    def report(self) -> LineSecurity:
        """What holds; for a line that has nothing yet, what is proposed."""
        if self._proposal is None or self.plan is not None:
            return self.security
        plan = self.proposed
        return LineSecurity(
            self.line,
            self.kind,
            plan.mechanism,
            plan.scope,
            peer=self._proposal.decision.peer,
            identity=self._proposal.verified,
            identity_basis="none" if self._proposal.verified is None else "verified",
            reason=self._proposal.decision.reason,
        )

    def begin(self, decision: Decision, *, dialer: Endpoint | None = None, peer: Endpoint | None = None) -> None:
        """Open a proposal. A mechanism that already serves the line goes on serving it."""
        plan = decision.plan
        mechanism = None
        if self.plan is not None and self.plan.mechanism is plan.mechanism:
            mechanism = self._mechanism
        elif plan.mechanism is not Mechanism.NONE:
            mechanism = create_mechanism(plan, self._policy, self._rng, self._identity)
        self._proposal = Proposal(decision, mechanism, dialer or self._dialer, peer or self._peer)

    def meet(self, peer: Endpoint | None) -> None:
        """Where the far side receives, as its offer says."""
        self._proposed.peer = peer or self._peer

    def weaken(self, decision: Decision, now: float) -> None:
        """The far side refused what is proposed; this is proposed instead."""
        self.refused = (*self.refused, self.attempt)
        self.roll_back(now)
        self.begin(decision)

    def offer_ice(self) -> list[Effect]:
        """An offer of ours begins to be written."""
        return self.path.offer() if self.proposed.ice else []

    def read_ice(self, theirs: IceParameters | None) -> bool:
        """What the far side says of ICE. Whether its checks say where it is: then its SDP does not."""
        return self.path.read(theirs if self.proposed.ice else None)

    def open_relay(self, family: int) -> OpenRelay | OpenStream:
        dialer = self._proposed.dialer
        loopback = 4 if dialer is None else ip_address(dialer.address).version
        plan = self.proposed
        secured = plan.mechanism is not Mechanism.NONE
        return OpenRelay(self.line, plan.required, family, loopback, plan.rtcp_mux, secured)

    def offer(self, *, fresh: bool, now: float) -> tuple[KeyAttribute, ...]:
        return self._ask(OfferRequested(fresh or self._rekey_due), now)

    def read_offer(self, attributes: tuple[KeyAttribute, ...], now: float) -> None:
        self._ask(RemoteOffer(attributes, self._moved(), self._proposed.peer), now)

    def answer(self, *, dialer: Endpoint | None, now: float) -> tuple[KeyAttribute, ...]:
        self.check_dialer(dialer)
        self._proposed.dialer = dialer or self._dialer
        return self._ask(AnswerRequested(self._rekey_due), now)

    def read_answer(self, attributes: tuple[KeyAttribute, ...], *, peer: Endpoint | None, now: float) -> None:
        self._proposed.peer = peer or self._peer
        self._ask(RemoteAnswer(attributes, self._moved(), self._proposed.peer), now)

    @property
    def takes_other_fork(self) -> bool:
        return self.plan is not None and self.plan.mechanism in _SEVERAL_ANSWERS and not self.plan.ice

    def reopen(self) -> None:
        """The offer that was answered early is answered by another fork (DYN-3)."""
        assert self.plan is not None
        self.begin(Decision(self.plan, self.security.peer, self.security.reason))
        self._proposed.instead = True

    def all_answered(self, now: float) -> list[Effect]:
        """No other fork answers any more."""
        return [] if self._mechanism is None else self._carry_out(self._mechanism.handle(AllAnswered(), now))

    def check_dialer(self, dialer: Endpoint | None) -> None:
        """UsageError when the dialer speaks another family than its side of the relay."""
        if dialer is None or self.ports is None:
            return
        if ip_address(dialer.address).version != ip_address(self.ports.loopback.address).version:
            detail = f"media line {self.line} has its relay on {self.ports.loopback.address}"
            raise UsageError("address_family", detail, field="c=")

    def identify(self, identity: str) -> None:
        """POL-9: the identity became known after the answer."""
        if self.security.identity_basis == "verified":
            return
        self.security = replace(self.security, identity=identity, identity_basis="asserted")

    def vouch(self, identity: str | None) -> None:
        """KMS-47: who has the other end of what is proposed."""
        self._proposed.verified = identity

    @property
    def rekey_due(self) -> bool:
        """The next exchange of ours draws new keys (SDES-19)."""
        return self._rekey_due

    def set_dialer(self) -> list[Effect]:
        """For a new line at once: nothing holds yet that it could disturb."""
        proposal = self._proposed
        if self.plan is not None or proposal.dialer is None:
            return []
        self._dialer = proposal.dialer
        return [self._told_dialer(proposal.dialer)]

    def settle(self, identity: str | None, now: float, *, early: bool = False) -> tuple[list[Effect], list[str]]:
        """Offer and answer stand: effects in order, and warnings. `early`: another fork may answer yet."""
        proposal, self._proposal = self._proposed, None
        effects = self.path.settle()
        if proposal.dialer is not None and proposal.dialer != self._dialer:
            effects.append(self._told_dialer(proposal.dialer))
        effects += self._apply(proposal)
        outputs = [] if proposal.mechanism is None else proposal.mechanism.handle(Settled(early), now)
        if proposal.mechanism is not None and self.path.chosen is not None:
            outputs += proposal.mechanism.handle(PathFound(ENDPOINT), now)
        if self._mechanism is not None and self._mechanism is not proposal.mechanism:
            self._mechanism.handle(Closed(), now)
        before = self.security
        self._send_lost = self._send_lost and not (proposal.keys is not None and proposal.keys.send)
        self.security = self._settled_security(proposal, identity)
        self.plan = replace(proposal.decision.plan, ice=self.path.in_use)
        self._mechanism = proposal.mechanism
        self._dialer, self._peer = proposal.dialer, proposal.peer
        if proposal.keys is not None:
            self._rekey_due = self._rekey_due and not proposal.keys.send
            effects.append(Notify("keys_in_place", self.line, self.security))
        if self.security != before:
            effects.append(Notify("security_state", self.line, self.security, reason=self.security.reason))
        return [*effects, *self._carry_out(outputs)], proposal.warnings

    def _apply(self, proposal: Proposal) -> list[Effect]:
        """What the relay shall have from now on."""
        effects: list[Effect] = []
        if proposal.instead and proposal.mechanism is not None and self._mode != "closed":
            effects.append(SetMode(self.line, "closed"))
        if proposal.instead:
            self._stale = set(Component)
        # The keys in use are the former fork's: nothing passes until there are others.
        self._switched = (self._switched or proposal.instead) and proposal.mechanism is not None
        if proposal.keys is not None:
            effects.append(self._install(proposal.keys))
            self._switched = False
        if proposal.peer is not None and proposal.peer != self._peer:
            effects.append(SetPeer(self.line, proposal.peer))
        mode = "plain" if proposal.mechanism is None else "secure"
        if self._switched:
            mode = "closed"
        elif mode != self._mode:
            effects.append(SetMode(self.line, mode))
        self._mode = mode
        return effects

    def roll_back(self, now: float) -> None:
        """The exchange failed: what held before holds (SDES-16). Keys that were not handed over are wiped."""
        proposal, self._proposal = self._proposal, None
        self.path.roll_back()
        if proposal is None:
            return
        if proposal.keys is not None:
            proposal.keys.keys.wipe()
        if proposal.mechanism is not None:
            proposal.mechanism.handle(RolledBack() if proposal.mechanism is self._mechanism else Closed(), now)

    def close(self, now: float) -> list[Effect]:
        """The line is gone. Idempotent."""
        self.roll_back(now)
        if self._mechanism is not None:
            self._mechanism.handle(Closed(), now)
            self._mechanism = None
        self.plan = None
        self.security = LineSecurity(self.line, self.kind, reason="closed")
        ports, self.ports = self.ports, None
        return [] if ports is None else [self._closing()]

    def _told_dialer(self, dialer: Endpoint) -> Effect:
        return SetDialer(self.line, dialer)

    def _closing(self) -> Effect:
        return CloseRelay(self.line)

    # -------------------------------------------------------------------------------------------------- media --

    def media_event(self, event: MediaEvent) -> list[Effect]:
        if event.kind in _REKEY:
            self._rekey_due = True
        if event.kind is Media.KEY_EXPIRED:
            self.security = replace(self.security, keys_in_place=False)
        notice = _NOTICES.get(event.kind)
        if notice is None:
            return []
        kind, reason = notice
        return [Notify(kind, self.line, self.security, event.direction, event.ssrc, event.count, reason)]

    def keys_lost(self, now: float) -> list[Effect]:
        """With the device that alone had them. Nothing passes until there are new ones."""
        if self._mechanism is None:
            return []
        self._mechanism.handle(KeysLost(), now)
        self._mode = "closed"
        self._rekey_due = self._send_lost = True
        kind, reason = _NOTICES[Media.KEYS_LOST]
        self.security = replace(self.security, keys_in_place=False, reason=reason)
        return [SetMode(self.line, "closed"), Notify(kind, self.line, self.security, reason=reason)]

    # --------------------------------------------------------------------------------------------- handshakes --

    def drive(self, happened: DatagramReceived | TimerFired, now: float) -> list[Effect]:
        """A datagram or a timer for whoever keys this line, or is about to."""
        event: Input = keying.TimerFired()
        effects: list[Effect] = []
        if isinstance(happened, DatagramReceived):
            chosen = self.path.chosen
            effects, left = self.path.take(happened)
            if left is not None:
                event = keying.DatagramReceived(left.data, left.source, left.rtcp)
            elif self.path.chosen != chosen:
                event = PathFound(ENDPOINT)
            else:
                return effects
        proposed = None if self._proposal is None else self._proposal.mechanism
        served = [self._mechanism] if self._mechanism is proposed else [proposed, self._mechanism]
        for mechanism in served:
            if mechanism is not None:
                effects += self._carry_out(mechanism.handle(event, now))
        return effects

    def _carry_out(self, outputs: list[Output]) -> list[Effect]:
        """What a mechanism does when nobody asked it for attributes."""
        effects: list[Effect] = []
        for output in outputs:
            match output:
                case keying.SendDatagram(data, to, rtcp):
                    sent = self.path.address(SendDatagram(self.line, data, to, rtcp))
                    effects += [] if sent is None else [sent]
                case keying.StartTimer(seconds):
                    effects.append(StartTimer(self.line, seconds))
                case KeysReady():
                    effects += self._keys_later(output)
                case PeerFault(code):
                    effects.append(Notify("security_state", self.line, self.security, reason=code))
                case Lost(error):
                    effects += self._lost(error)
                case _:
                    pass  # a mechanism that does not know datagrams refuses them
        return effects

    def _keys_later(self, ready: KeysReady) -> list[Effect]:
        """Keys of a handshake that came after offer and answer stood."""
        install = self._install(ready)
        if ready.send and ready.component is not Component.RTCP:
            self._rekey_due = self._send_lost = False
        if ready.component is Component.RTCP or self.plan is None or not ready.receive:
            return [install]
        opened = [SetMode(self.line, "secure")] if self._switched else []
        if self._switched:
            self._switched, self._mode = False, "secure"
        self.security = replace(
            self.security,
            suite=ready.keys.suite.name,
            keys_in_place=True,
            assured=self.plan.assured,
            reason=None,
        )
        return [install, *opened, Notify("keys_in_place", self.line, self.security)]

    def _install(self, ready: KeysReady) -> InstallKeys:
        former = ready.component not in self._stale
        if ready.receive:
            self._stale.discard(ready.component)
        return InstallKeys(self.line, ready.keys, ready.send, ready.receive, ready.component, former)

    def _lost(self, error: AgentError) -> list[Effect]:
        """DTLS-8, DTLS-23: nothing passes from here on, and the dialer is told which rule failed."""
        self._mode = "closed"
        self._rekey_due = True
        self.security = replace(self.security, keys_in_place=False, assured=False, reason=error.code)
        return [
            SetMode(self.line, "closed"),
            Notify("security_state", self.line, self.security, reason=error.code),
        ]

    # ------------------------------------------------------------------------------------------------ helpers --

    @property
    def _ports(self) -> RelayOpened:
        if self.ports is None:
            raise RuntimeError(f"line {self.line} has no relay")
        return self.ports

    @property
    def _proposed(self) -> Proposal:
        if self._proposal is None:
            raise RuntimeError(f"line {self.line} is not in an exchange")
        return self._proposal

    def _moved(self) -> bool:
        """SDES-14: the address or the port of the media, not that of RTCP, and not a legacy hold (DYN-9)."""
        old, new = self._peer, self._proposed.peer
        if old is None or new is None:
            return False
        return (old.address, old.rtp_port) != (new.address, new.rtp_port)

    def _ask(self, event: Input, now: float) -> tuple[KeyAttribute, ...]:
        """One step of the mechanism: the attributes it wants to put. Raises what it says has failed."""
        proposal = self._proposed
        put: tuple[KeyAttribute, ...] = ()
        if proposal.mechanism is None:
            return put
        outputs = proposal.mechanism.handle(event, now)
        if not any(isinstance(output, Failed) for output in outputs):
            # A repeated answer replaces the last one.
            if proposal.keys is not None:
                proposal.keys.keys.wipe()
            proposal.keys, proposal.warnings = None, []
        for output in outputs:
            match output:
                case PutAttributes(attributes):
                    put = attributes
                case KeysReady():
                    proposal.keys = output
                case PeerFault(code):
                    proposal.warnings.append(code)
                case Failed(error):
                    raise error
        return put

    def _settled_security(self, proposal: Proposal, identity: str | None) -> LineSecurity:
        decision, plan = proposal.decision, proposal.decision.plan
        secured = proposal.mechanism is not None
        held = None if proposal.instead else self.security.suite
        suite = proposal.keys.keys.suite.name if proposal.keys is not None else held
        # Nobody new holds the far end's keys when they did not change, so what was known of it still is.
        unchanged = (
            self.plan is not None
            and secured
            and not proposal.instead
            and not (proposal.keys is not None and proposal.keys.receive)
        )
        return LineSecurity(
            self.line,
            self.kind,
            plan.mechanism,
            plan.scope,
            suite=suite if secured else None,
            assured=plan.assured or (unchanged and self.security.assured),
            peer=decision.peer,
            identity=proposal.verified or identity,
            identity_basis=_basis(proposal.verified, identity),
            keys_in_place=secured
            and not self._send_lost
            and (proposal.keys is not None or (self.security.keys_in_place and not proposal.instead)),
            reason=self.security.reason if secured and self._send_lost else None if secured else decision.reason,
        )


def _basis(verified: str | None, asserted: str | None) -> str:
    if verified is not None:
        return "verified"
    return "none" if asserted is None else "asserted"
