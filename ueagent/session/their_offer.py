"""An offer from the network: classify, hand a plain one to the dialer, write the answer.

SDES-7, SDP-8..13, CAP-2, CAP-10, POL-4, DYN-8.
"""

from __future__ import annotations

from ueagent.errors import AgentError, NegotiationFailed, UsageError
from ueagent.model.media import STREAM_KINDS, Endpoint, transport_named
from ueagent.model.security import THROUGH_KMS, Mechanism, Setting
from ueagent.negotiation.offer_answer import (
    Keying,
    address_family,
    bundled,
    identified,
    is_rtp,
    kind_of,
    offers_rtcp_mux,
    plain_proto,
    read_keying,
    reject,
    secured_attributes,
    tag_of,
)
from ueagent.negotiation.planner import Decision, OfferedLine, plan_answer
from ueagent.negotiation.stream_planner import plan_stream_answer, setting_of
from ueagent.negotiation.stream_sdp import is_stream
from ueagent.session.exchange import (
    Exchange,
    ice_attributes,
    loopback_side,
    network_side,
    session_attributes,
)
from ueagent.session.leg import Leg
from ueagent.wire.ice_attributes import read_ice
from ueagent.wire.sdp import MediaSection, Sdp


class TheirOffer(Exchange):
    _under_mikey: frozenset[int] = frozenset()  # lines that an a=key-mgmt covers

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why lines are refused, and that a secured line is to become plain (DYN-8)."""
        downgraded = [reason for leg in self.legs.values() if (reason := leg.proposed_reason) == "downgraded"]
        return (*(error.code for error in self.refusals.values()), *downgraded)

    def plan(self, now: float) -> None:
        """A proposal for each line of ours. NegotiationFailed: the whole offer is refused.

        A line that is no good is refused alone (SDP-15), unless security is required, it held before (SDES-16), or
        nothing else is left.
        """
        levels = self._levels()
        self._under_mikey = frozenset(line for lines in levels.values() for line in lines)
        for line, section in enumerate(self.offer.media):
            if section.port == 0 or not (is_rtp(section) or is_stream(section)):
                self.set_aside(line, section, "not_rtp")
                continue
            if is_stream(section) and self._leave(line, section):
                continue
            leg = self.leg_at(line, section)
            try:
                self._plan_line(leg, section, now)
            except AgentError as error:
                if leg.plan is not None or self.must_secure(section):
                    raise
                self.refuse(line, section, error)
        if self.refusals and not self.legs and not self.passing:
            raise next(iter(self.refusals.values()))
        keyed = {line for line, leg in self.legs.items() if leg.proposed.mechanism in THROUGH_KMS}
        for key, lines in levels.items():
            if keyed & set(lines):
                (self.bundles or self.new_bundles()).take_offer(key, self.offer, lines, now)

    def _levels(self) -> dict[int | None, list[int]]:
        """The lines under each a=key-mgmt, where we can do anything with them."""
        sections = (self.offer.session, *self.offer.media)
        if self._desk is None or not any(section.attribute("key-mgmt") for section in sections):
            return {}
        from ueagent.session.bundles import levels_of  # calls without a KMS do not load it

        return levels_of(self.offer)

    def _leave(self, line: int, section: MediaSection) -> bool:
        """Whether a line of STREAM_KINDS is the dialer's own matter: one in plain, or of a kind that we do not do."""
        had = self._existing.get(line)
        held = None if had is None or had.kind is not kind_of(section) else had.plan
        if section.proto.upper() == plain_proto(section).upper():
            if self.must_secure(section) or (held is not None and held.required):
                raise NegotiationFailed("security_required", f"media line {line} is offered plain", field=f"m={line}")
            self.set_aside(line, section, "offered_plain" if held is None else "downgraded")
            return True
        unwanted = setting_of(kind_of(section), self.policy) is Setting.OFF and line not in self._under_mikey
        if unwanted and held is None:
            self.set_aside(line, section, "policy")
            return True
        return False

    def _decide(self, offered: OfferedLine, leg: Leg) -> Decision:
        if offered.kind not in STREAM_KINDS:
            return plan_answer(offered, self.policy, self.evidence, leg.plan)
        decision = plan_stream_answer(offered, self.policy, self.evidence, leg.plan)
        if decision.plan.mechanism not in THROUGH_KMS and not self.usable(offered.kind):
            detail = f"media line {offered.line}: there is no certificate to show"
            raise NegotiationFailed("mechanism_unavailable", detail, field=f"m={offered.line}")
        return decision

    def _plan_line(self, leg: Leg, section: MediaSection, now: float) -> None:
        transport = transport_named(section.proto)
        if transport is None:
            detail = f"media line {leg.line} has an unknown transport"
            raise NegotiationFailed("unknown_transport", detail, field=f"m={leg.line}")
        family = address_family(section) if leg.ports is None else leg.family
        keying = read_keying(section)
        mux = offers_rtcp_mux(section) and (leg.ports is None or leg.muxed)
        held = keying.mechanisms | ({Mechanism.MIKEY_TICKET} if leg.line in self._under_mikey else frozenset())
        ice = read_ice(section)
        offered = OfferedLine(leg.line, kind_of(section), transport, held, keying.indicator, mux, ice is not None)
        try:
            decision = self._decide(offered, leg)
            leg.begin(decision)
            checked = leg.read_ice(ice)
            mux = leg.muxed or decision.plan.rtcp_mux
            leg.meet(leg.peer_of(section, family, offers=True, mux=mux, checked=checked))
            self._read_keying(leg, keying, now)
        except AgentError:
            keying.wipe()
            leg.roll_back(now)
            if transport.name != transport.plain or not keying.crypto:
                raise
            # CAP-2 did not work out: without its keying this is an ordinary plain line.
            bare = OfferedLine(leg.line, kind_of(section), transport, frozenset())
            peer = leg.peer_of(section, family, offers=True, mux=leg.muxed, checked=False)
            leg.begin(plan_answer(bare, self.policy, self.evidence, leg.plan), peer=peer)
        self.join(leg, family)

    @staticmethod
    def _read_keying(leg: Leg, keying: Keying, now: float) -> None:
        leg.read_offer(keying.of(leg.proposed.mechanism), now)

    def offer_for_dialer(self) -> bytes:
        """The offer in plain. All relays are open, and the KMS has said who sent it where it was asked."""
        self.vouch()
        sdp = self.offer
        for line, section in enumerate(sdp.media):
            if line in self.legs:
                sdp = sdp.with_media(line, self.legs[line].for_dialer(section, plain_proto(section)))
            elif line in self.refusals or section.port == 0:
                sdp = sdp.with_media(line, reject(section, plain_proto(section)))
        return self.text(sdp, loopback_side)

    def write_answer(self, answer: Sdp, now: float) -> tuple[bytes, set[int]]:
        """The answer for the network, and the lines that the dialer took. UsageError: its answer is no good."""
        if len(answer.media) != len(self.offer.media):
            raise UsageError("media_count", "the answer has another number of media lines than the offer", field="sdp")
        accepted = {line for line in self.legs if answer.media[line].port != 0}
        dialers = {line: self._dialer(line, answer.media[line]) for line in accepted}
        for line in self.passing:
            if self.turns_into_rtp(line, answer.media[line]):
                raise _transport_mismatch(line)
        if self.bundles is not None:
            self.bundles.answer(answer, accepted, now)
        for line, section in enumerate(self.offer.media):
            ours = answer.media[line]
            if line in accepted:
                leg = self.legs[line]
                keyed = self.bundles is not None and leg.proposed.mechanism in THROUGH_KMS
                if self.bundles is not None and keyed:
                    leg.read_offer(self.bundles.keys(line), now)
                # SDP-8: whatever the offer said, no 3ge2ae of ours in an answer.
                keying = leg.answer(dialer=dialers[line], now=now)
                added = secured_attributes(keying, indicate=False, padding=self.policy.sdes_padding)
                if self.bundles is not None and keyed:
                    added += self.bundles.attributes(line)
                added += ice_attributes(leg)
                ours = leg.for_network(ours, section.proto, keying, added)
                if leg.proposed.ice:
                    ours = identified(ours, tag_of(section))
            elif line in self.legs or line in self.refusals or section.port == 0:
                ours = reject(ours, section.proto)
            answer = answer.with_media(line, ours)
        added = session_attributes((self.legs[line] for line in accepted), self._bundle(accepted))
        return self.text(answer, network_side, added), accepted

    def _bundle(self, accepted: set[int]) -> bytes | None:
        """RFC 9143, 7.3: the first of the offered tags whose line stands; all other lines leave the group."""
        ours = {tag_of(self.offer.media[line]) for line in accepted if self.legs[line].proposed.ice}
        return next((tag for tag in bundled(self.offer) if tag in ours), None)

    def _dialer(self, line: int, section: MediaSection) -> Endpoint | None:
        if section.proto.upper() != plain_proto(self.offer.media[line]).upper():
            raise _transport_mismatch(line)
        return self.legs[line].dialer_of(section, offers=False)


def _transport_mismatch(line: int) -> UsageError:
    detail = f"media line {line} is answered with another transport than it was offered with"
    return UsageError("transport_mismatch", detail, field=f"m={line}")
