"""An offer of ours: plan, write, read the answer, try again with less. SDES-4..8, SDP-4..15, POL-4, -6, -7."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import count
from typing import Final

from ueagent.errors import AgentError, NegotiationFailed
from ueagent.keymgmt.registry import secure_transport
from ueagent.model.media import STREAM_KINDS, MediaKind, transport_named
from ueagent.model.security import THROUGH_KMS, Mechanism, MediaPlan, Scope
from ueagent.negotiation.offer_answer import (
    address_family,
    identified,
    is_rtp,
    kind_of,
    read_keying,
    reject,
    secured_attributes,
    tag_of,
)
from ueagent.negotiation.planner import Attempt, Decision, plan_offer
from ueagent.negotiation.stream_planner import plan_stream_offer
from ueagent.negotiation.stream_planner import wanted as is_wanted
from ueagent.negotiation.stream_sdp import is_stream, on_loopback
from ueagent.session.effects import Effect
from ueagent.session.exchange import Exchange, ice_attributes, network_side, session_attributes
from ueagent.session.leg import Leg
from ueagent.wire.ice_attributes import read_ice
from ueagent.wire.sdp import MediaSection, Sdp

RETRY_STATUSES: Final = frozenset({488, 606})  # POL-6


class OwnOffer(Exchange):
    def plan(self) -> None:
        """A proposal for each line of ours. NegotiationFailed, UsageError: the offer cannot be made."""
        self._closing: list[Effect] = []  # of lines that a weaker offer no longer has
        for line, section in enumerate(self.offer.media):
            transport = transport_named(section.proto)
            if section.port and is_stream(section):
                self._plan_stream(line, section)
            elif section.port == 0 or not is_rtp(section):
                self.set_aside(line, section, "not_rtp")
            elif transport is not None and transport.name != transport.plain:
                self.set_aside(line, section, "secured_by_dialer")
            elif transport is None:
                if self.required:
                    detail = f"media line {line} must be secured and has an unknown transport"
                    raise NegotiationFailed("security_required", detail, field=f"m={line}")
                self.set_aside(line, section, "unknown_transport")
            else:
                self._plan_line(line, section)
        if self.refusals and not self.legs and not self.passing:
            raise next(iter(self.refusals.values()))

    def _plan_stream(self, line: int, section: MediaSection) -> None:
        """A line that is not secured goes out as it is, unless only we could carry it: then it goes out closed."""
        transport, kind = transport_named(section.proto), kind_of(section)
        assert transport is not None
        if transport.name != transport.plain:
            self.set_aside(line, section, "secured_by_dialer")
            return
        if not is_wanted(kind, self.policy):
            self.set_aside(line, section, "policy")
            return
        leg = self.leg_at(line, section)
        if leg.plan is None:
            decision = plan_stream_offer(line, kind, self.policy, self.evidence)
        else:
            decision = self._continued(leg, leg.plan)
        secured = decision.plan.mechanism is not Mechanism.NONE
        if secured and decision.plan.mechanism not in THROUGH_KMS and not self.usable(kind):
            secured, decision = False, replace(decision, reason="no_certificate")
        if not secured and on_loopback(section):
            self.refuse(line, section, _not_secured(line, decision.reason or "policy"))
        elif not secured or (not on_loopback(section) and not decision.plan.required and not section.legacy_hold):
            self.set_aside(line, section, decision.reason or "not_on_loopback")
        else:
            dialer = leg.dialer_of(section, offers=True)
            leg.begin(decision, dialer=dialer)
            self.join(leg, address_family(section))

    def _plan_line(self, line: int, section: MediaSection) -> None:
        leg = self.leg_at(line, section)
        dialer = leg.dialer_of(section, offers=True)
        leg.check_dialer(dialer)
        if leg.plan is None:
            decision = plan_offer(line, leg.kind, self.policy, self.evidence)
        else:
            decision = self._continued(leg, leg.plan)
        leg.begin(decision, dialer=dialer)
        self.join(leg, address_family(section))

    def ask_kms(self, *, rekey: bool, now: float) -> None:
        """Begin the bundles of lines that are keyed through a KMS; what must be asked stands in their requests."""
        wanted = [line for line, leg in self.legs.items() if leg.proposed.mechanism in THROUGH_KMS]
        if not wanted:
            return
        assert self.evidence.called is not None  # the planner saw to it
        fresh = rekey or any(self.legs[line].rekey_due for line in wanted)
        self.new_bundles().offer(self.offer, wanted, self.policy, self.evidence.called, fresh=fresh, now=now)

    def without_kms(self, bundle: int | None, error: AgentError, now: float) -> None:
        """POL-4: what policy allows next is offered instead; a line that holds already keeps what it has."""
        assert self.bundles is not None
        lines = self.bundles.lines_of(bundle)
        if any(self.legs[line].plan is not None for line in lines):
            raise error
        self.evidence = replace(self.evidence, kms=False)
        try:
            decisions = {line: self._weaker(self.legs[line], self.legs[line].refused) for line in lines}
        except NegotiationFailed as failure:
            raise failure from error
        for line, decision in decisions.items():
            self._replace(self.legs[line], decision, decision.reason or "no_kms", now)
        if not self.legs and not self.passing:
            raise error

    def _continued(self, leg: Leg, plan: MediaPlan) -> Decision:
        """A later offer repeats what the line has (DYN-7): it neither drops security nor tries again to gain it."""
        known = leg.kind in self.evidence.streams or plan.mechanism in self.evidence.announced
        announced = plan.scope is Scope.E2AE and known
        return Decision(replace(plan, assured=plan.assured or announced), leg.security.peer, leg.security.reason)

    def write(self, *, rekey: bool, now: float) -> tuple[bytes, list[Effect]]:
        """The offer for the network. All relays are open."""
        sdp, effects = self.offer, self._closing
        self._closing = []
        for line in self.refusals:
            sdp = sdp.with_media(line, reject(sdp.media[line], sdp.media[line].proto))
        for line, leg in self.legs.items():
            section = sdp.media[line]
            keying = leg.offer(fresh=rekey, now=now)
            added = secured_attributes(
                keying, indicate=leg.proposed.scope is Scope.E2AE, padding=self.policy.sdes_padding
            )
            if self.bundles is not None:
                added += self.bundles.attributes(line)
            effects += leg.offer_ice()
            if leg.proposed.ice:
                added += [b"a=rtcp-mux-only", *ice_attributes(leg)]
                if tag_of(section) is None:
                    section = identified(section, self._new_tag(line))
            proto = self._network_proto(self.offer.media[line], leg)
            sdp = sdp.with_media(line, leg.for_network(section, proto, keying, added))
            effects += leg.set_dialer()
        return self.text(sdp, network_side, session_attributes(self.legs.values(), self._bundle(sdp))), effects

    def _new_tag(self, line: int) -> bytes:
        taken = {tag_of(section) for section in self.offer.media}
        return next(tag for tag in (b"%d" % number for number in count(line)) if tag not in taken)

    def _bundle(self, sdp: Sdp) -> bytes | None:
        """The tag of the audio line, else of the first that has ICE (WEB-6)."""
        lines = [line for line, leg in self.legs.items() if leg.proposed.ice]
        lines.sort(key=lambda line: self.legs[line].kind is not MediaKind.AUDIO)
        return tag_of(sdp.media[lines[0]]) if lines else None

    def read_answer(self, answer: Sdp, now: float) -> set[int]:
        """The lines that stand; the rest was refused by the far side, or fails (`refusals`).

        NegotiationFailed when a line fails that must be secured or that held before, or when nothing is left.
        """
        if len(answer.media) != len(self.offer.media):
            raise NegotiationFailed("media_count", "the answer has another number of media lines than the offer")
        if self.bundles is not None:
            self.bundles.take_answer(answer, now)
            self.vouch()
        failed: dict[int, AgentError] = {}
        accepted: set[int] = set()
        for line, leg in self.legs.items():
            if answer.media[line].port == 0:
                continue
            try:
                self._read_line(line, leg, answer.media[line], now)
                accepted.add(line)
            except AgentError as error:
                if leg.plan is not None or leg.proposed.required:
                    raise
                failed[line] = error
        for line in sorted(self.passing):
            if self.turns_into_rtp(line, answer.media[line]):
                failed[line] = _transport_mismatch(line)
                if self.required:
                    raise failed[line]
        if failed and not accepted and not any(answer.media[line].port for line in self.passing - failed.keys()):
            raise next(iter(failed.values()))
        for line, failure in failed.items():
            self.refuse(line, answer.media[line], failure)
        return accepted

    def _read_line(self, line: int, leg: Leg, section: MediaSection, now: float) -> None:
        keying = read_keying(section)
        try:
            proto = self._network_proto(self.offer.media[line], leg)
            if not self._proto_fits(proto, section, crypto=bool(keying.crypto)):
                raise _transport_mismatch(line)
            # SDES-8 wants one line and that a valid one; SDES-22 one mechanism.
            sdes = leg.proposed.mechanism is Mechanism.SDES
            if sdes and (keying.invalid or Mechanism.MIKEY_TICKET in keying.mechanisms):
                detail = f"media line {line} has invalid keying, or two kinds of it"
                raise NegotiationFailed("bad_keying", detail, field="crypto")
            checked = leg.read_ice(read_ice(section))
            peer = leg.peer_of(section, leg.family, offers=False, mux=leg.muxed, checked=checked)
        except AgentError:
            keying.wipe()
            raise
        attributes = keying.of(leg.proposed.mechanism)
        if self.bundles is not None and leg.proposed.mechanism in THROUGH_KMS:
            attributes = (*attributes, *self.bundles.keys(line))
        leg.read_answer(attributes, peer=peer, now=now)

    def _network_proto(self, section: MediaSection, leg: Leg) -> str:
        if leg.proposed.mechanism is Mechanism.NONE:
            return section.proto
        transport = transport_named(section.proto)
        assert transport is not None
        web = self.policy.webrtc and leg.proposed.mechanism is Mechanism.DTLS_SRTP
        plain = "RTP/AVPF" if web else transport.plain  # RFC 8834, 4.1
        return secure_transport(leg.proposed.mechanism, plain).name

    def _proto_fits(self, offered: str, section: MediaSection, *, crypto: bool) -> bool:
        """SDP-11, SDP-12; CAP-3: by operator switch, crypto in the plain profile counts as the secure one."""
        if section.proto.upper() == offered.upper():
            return True
        wanted = transport_named(offered)
        plain = wanted is not None and wanted.sdes and section.proto.upper() == wanted.plain
        return plain and crypto and self.policy.accept_avp_answer

    def answer_for_dialer(self, answer: Sdp, accepted: set[int]) -> Sdp:
        for line, offered in enumerate(self.offer.media):
            section, proto = answer.media[line], offered.proto
            if line in accepted:
                ours = self.legs[line].for_dialer(section, proto)
                if tag_of(offered) is None:
                    ours = identified(ours, None)
            elif line in self.passing and section.port:
                continue
            else:
                ours = reject(section, proto)
            answer = answer.with_media(line, ours)
        return answer

    def weaken(self, status: int, now: float) -> bool:
        """POL-6, POL-7: make the proposals weaker after the offer was refused. False when this is the end."""
        secured = [leg for leg in self.legs.values() if leg.proposed.mechanism is not Mechanism.NONE]
        if status not in RETRY_STATUSES or not secured:
            return False
        try:
            decisions = {leg.line: self._weaker(leg, (*leg.refused, leg.attempt)) for leg in secured}
        except NegotiationFailed:
            return False
        streams = {leg.line for leg in secured if self._ends(leg, decisions[leg.line])}
        if not self.passing and not self.legs.keys() - streams:
            return False  # nobody carries a stream in plain: nothing would be left
        for leg in secured:
            self._replace(leg, decisions[leg.line], "refused", now)
        return True

    def _replace(self, leg: Leg, decision: Decision, reason: str, now: float) -> None:
        """What is proposed for the line cannot be had."""
        if self._ends(leg, decision):
            del self.legs[leg.line]
            self._closing += leg.close(now)
            self.refuse(leg.line, self.offer.media[leg.line], _not_secured(leg.line, reason))
        else:
            leg.weaken(decision, now)
        if self.bundles is not None:
            self.bundles.drop(leg.line)

    def _weaker(self, leg: Leg, refused: Collection[Attempt]) -> Decision:
        plan = plan_stream_offer if leg.kind in STREAM_KINDS else plan_offer
        return plan(leg.line, leg.kind, self.policy, self.evidence, refused)

    def _ends(self, leg: Leg, decision: Decision) -> bool:
        """Nobody carries a stream in plain, and without a certificate nothing else is left of it."""
        if leg.kind not in STREAM_KINDS:
            return False
        mechanism = decision.plan.mechanism
        return mechanism is Mechanism.NONE or (mechanism not in THROUGH_KMS and not self.usable(leg.kind))


def _not_secured(line: int, reason: str) -> NegotiationFailed:
    detail = f"media line {line} cannot be secured, and is not carried in plain"
    return NegotiationFailed(reason, detail, field=f"m={line}")


def _transport_mismatch(line: int) -> NegotiationFailed:
    detail = f"media line {line} is answered with another transport"
    return NegotiationFailed("transport_mismatch", detail, field=f"m={line}")
