"""An offer from the network: classify, hand a plain one to the dialer, write the answer.

SDES-7, SDP-8..13, CAP-2, CAP-10, POL-4, DYN-8.
"""

from __future__ import annotations

from ueagent.errors import AgentError, NegotiationFailed, UsageError
from ueagent.model.media import Endpoint, transport_named
from ueagent.negotiation.offer_answer import (
    Keying,
    address_family,
    bundled,
    dialer_endpoint,
    identified,
    is_rtp,
    kind_of,
    offers_rtcp_mux,
    peer_endpoint,
    plain_proto,
    read_keying,
    reject,
    rewrite,
    secured_attributes,
    tag_of,
)
from ueagent.negotiation.planner import OfferedLine, plan_answer
from ueagent.session.exchange import (
    Exchange,
    endpoint_of,
    ice_attributes,
    loopback_side,
    network_side,
    session_attributes,
)
from ueagent.session.leg import Leg
from ueagent.wire.ice_attributes import read_ice
from ueagent.wire.sdp import MediaSection, Sdp


class TheirOffer(Exchange):
    @property
    def warnings(self) -> tuple[str, ...]:
        """Why lines are refused, and that a secured line is to become plain (DYN-8)."""
        downgraded = [reason for leg in self.legs.values() if (reason := leg.proposed_reason) == "downgraded"]
        return (*(error.code for error in self.refusals.values()), *downgraded)

    def plan(self, now: float) -> None:
        """A proposal for each RTP line. NegotiationFailed: the whole offer is refused.

        A line that is no good is refused alone (SDP-15), unless security is required, it held before (SDES-16), or
        nothing else is left.
        """
        for line, section in enumerate(self.offer.media):
            if section.port == 0 or not is_rtp(section):
                self.set_aside(line, section, "not_rtp")
                continue
            leg = self.leg_at(line, section)
            try:
                self._plan_line(leg, section, now)
            except AgentError as error:
                if leg.plan is not None or self.required:
                    raise
                self.refuse(line, section, error)
        if self.refusals and not self.legs and not self.passing:
            raise next(iter(self.refusals.values()))

    def _plan_line(self, leg: Leg, section: MediaSection, now: float) -> None:
        transport = transport_named(section.proto)
        if transport is None:
            detail = f"media line {leg.line} has an unknown transport"
            raise NegotiationFailed("unknown_transport", detail, field=f"m={leg.line}")
        family = address_family(section) if leg.ports is None else leg.family
        keying = read_keying(section)
        mux = offers_rtcp_mux(section) and (leg.ports is None or leg.muxed)
        ice = read_ice(section)
        offered = OfferedLine(
            leg.line, kind_of(section), transport, keying.mechanisms, keying.indicator, mux, ice is not None
        )
        try:
            decision = plan_answer(offered, self.policy, self.evidence, leg.plan)
            leg.begin(decision)
            checked = leg.read_ice(ice)
            leg.meet(peer_endpoint(section, family, mux=leg.muxed or decision.plan.rtcp_mux, checked=checked))
            self._read_keying(leg, keying, now)
        except AgentError:
            keying.wipe()
            leg.roll_back(now)
            if transport.name != transport.plain or not keying.crypto:
                raise
            # CAP-2 did not work out: without its keying this is an ordinary plain line.
            bare = OfferedLine(leg.line, kind_of(section), transport, frozenset())
            peer = peer_endpoint(section, family, mux=leg.muxed)
            leg.begin(plan_answer(bare, self.policy, self.evidence, leg.plan), peer=peer)
        self.join(leg, family)

    @staticmethod
    def _read_keying(leg: Leg, keying: Keying, now: float) -> None:
        leg.read_offer(keying.of(leg.proposed.mechanism), now)

    def offer_for_dialer(self) -> bytes:
        """The offer in plain. All relays are open."""
        sdp = self.offer
        for line, section in enumerate(sdp.media):
            if line in self.legs:
                endpoint = endpoint_of(self.legs[line], loopback_side)
                checked = self.legs[line].path.checked
                sdp = sdp.with_media(line, rewrite(section, plain_proto(section), endpoint, checked=checked))
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
        for line, section in enumerate(self.offer.media):
            ours = answer.media[line]
            if line in accepted:
                leg = self.legs[line]
                # SDP-8: whatever the offer said, no 3ge2ae of ours in an answer.
                added = secured_attributes(
                    leg.answer(dialer=dialers[line], now=now), indicate=False, padding=self.policy.sdes_padding
                )
                added += ice_attributes(leg)
                ours = rewrite(ours, section.proto, endpoint_of(leg, network_side), added)
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
        return dialer_endpoint(section)


def _transport_mismatch(line: int) -> UsageError:
    detail = f"media line {line} is answered with another transport than it was offered with"
    return UsageError("transport_mismatch", detail, field=f"m={line}")
