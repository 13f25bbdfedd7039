"""An offer from the network: classify, hand a plain one to the dialer, write the answer.

SDES-7, SDP-8..13, CAP-2, CAP-10, POL-4, DYN-8.
"""

from __future__ import annotations

from ueagent.errors import AgentError, NegotiationFailed, UsageError
from ueagent.model.media import Endpoint, transport_named
from ueagent.negotiation.offer_answer import (
    Keying,
    address_family,
    dialer_endpoint,
    is_rtp,
    kind_of,
    offers_rtcp_mux,
    peer_endpoint,
    plain_proto,
    read_keying,
    reject,
    rewrite,
    secured_attributes,
)
from ueagent.negotiation.planner import OfferedLine, plan_answer
from ueagent.session.exchange import Exchange, endpoint_of, loopback_side, network_side
from ueagent.session.leg import Leg
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
        peer = peer_endpoint(section, family, mux=leg.muxed)
        keying = read_keying(section)
        mux = offers_rtcp_mux(section) and (leg.ports is None or leg.muxed)
        offered = OfferedLine(leg.line, kind_of(section), transport, keying.mechanisms, keying.indicator, mux)
        try:
            decision = plan_answer(offered, self.policy, self.evidence, leg.plan)
            if decision.plan.rtcp_mux:
                peer = peer_endpoint(section, family, mux=True)
            leg.begin(decision, peer=peer)
            self._read_keying(leg, keying, now)
        except AgentError:
            keying.wipe()
            leg.roll_back(now)
            if transport.name != transport.plain or not keying.crypto:
                raise
            # CAP-2 did not work out: without its keying this is an ordinary plain line.
            bare = OfferedLine(leg.line, kind_of(section), transport, frozenset())
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
                sdp = sdp.with_media(line, rewrite(section, plain_proto(section), endpoint))
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
                ours = rewrite(ours, section.proto, endpoint_of(leg, network_side), added)
            elif line in self.legs or line in self.refusals or section.port == 0:
                ours = reject(ours, section.proto)
            answer = answer.with_media(line, ours)
        return self.text(answer, network_side), accepted

    def _dialer(self, line: int, section: MediaSection) -> Endpoint | None:
        if section.proto.upper() != plain_proto(self.offer.media[line]).upper():
            raise _transport_mismatch(line)
        return dialer_endpoint(section)


def _transport_mismatch(line: int) -> UsageError:
    detail = f"media line {line} is answered with another transport than it was offered with"
    return UsageError("transport_mismatch", detail, field=f"m={line}")
