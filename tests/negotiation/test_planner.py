"""Decision tables: POL-1..4, POL-7, POL-10, REG-10, REG-17, SDP-9, SDP-10, CAP-2, CAP-10, DYN-8."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ueagent.errors import NegotiationFailed
from ueagent.model.media import MediaKind, transport_named
from ueagent.model.security import Mechanism, MediaPlan, Scope, SecurityPolicy, Setting, Signalling
from ueagent.negotiation.planner import Decision, Indicator, OfferedLine, plan_answer, plan_offer
from ueagent.session.commands import Evidence

OFF, ALLOWED, PREFERRED, REQUIRED = Setting
SDES = frozenset({Mechanism.SDES})
ANNOUNCED = Evidence(Signalling.CONFIDENTIALITY, announced=SDES)
SILENT = Evidence(Signalling.CONFIDENTIALITY)


def policy(e2ae: Setting, e2e: Setting) -> SecurityPolicy:
    return SecurityPolicy(sdes_e2ae=e2ae, sdes_e2e=e2e)


def offered_scope(e2ae: Setting, e2e: Setting, evidence: Evidence) -> Scope | None:
    """None: the call is not sent."""
    try:
        return plan_offer(0, MediaKind.AUDIO, policy(e2ae, e2e), evidence).plan.scope
    except NegotiationFailed:
        return None


@pytest.mark.parametrize(
    ("setting", "announced", "scope"),
    [
        (OFF, True, Scope.NONE),
        (OFF, False, Scope.NONE),
        (ALLOWED, True, Scope.NONE),  # accept when offered, do not offer
        (ALLOWED, False, Scope.NONE),
        (PREFERRED, True, Scope.E2AE),
        (PREFERRED, False, Scope.NONE),
        (REQUIRED, True, Scope.E2AE),
        (REQUIRED, False, None),
    ],
)
def test_pol_1_matrix_of_e2ae(setting: Setting, announced: bool, scope: Scope | None) -> None:
    """POL-1, REG-10, REG-17: four settings x {the network supports it, does not}."""
    assert offered_scope(setting, OFF, ANNOUNCED if announced else SILENT) is scope


@pytest.mark.parametrize(
    ("setting", "confidential", "scope"),
    [
        (OFF, True, Scope.NONE),
        (ALLOWED, True, Scope.NONE),
        (PREFERRED, True, Scope.E2E),
        (PREFERRED, False, Scope.NONE),
        (REQUIRED, True, Scope.E2E),
        (REQUIRED, False, None),
    ],
)
def test_pol_1_matrix_of_e2e(setting: Setting, confidential: bool, scope: Scope | None) -> None:
    """POL-1: e2e has no indication of support (REG-18), so what matters is whether SIP hides the keys."""
    evidence = SILENT if confidential else Evidence(Signalling.INTEGRITY)
    assert offered_scope(OFF, setting, evidence) is scope


@pytest.mark.parametrize(
    ("e2ae", "e2e", "announced", "scope"),
    [
        (PREFERRED, PREFERRED, True, Scope.E2E),
        (PREFERRED, REQUIRED, True, Scope.E2E),
        (REQUIRED, PREFERRED, True, Scope.E2E),
        (REQUIRED, REQUIRED, False, Scope.E2E),
        (PREFERRED, ALLOWED, True, Scope.E2AE),
        (REQUIRED, ALLOWED, True, Scope.E2AE),
        (REQUIRED, ALLOWED, False, None),
        (ALLOWED, ALLOWED, True, Scope.NONE),
        (PREFERRED, ALLOWED, False, Scope.NONE),
    ],
)
def test_pol_2_order(e2ae: Setting, e2e: Setting, announced: bool, scope: Scope | None) -> None:
    """POL-2: e2e where it is demanded, then e2ae, then plain if nothing is required."""
    assert offered_scope(e2ae, e2e, ANNOUNCED if announced else SILENT) is scope


def test_a_demand_for_e2e_is_not_met_by_e2ae() -> None:
    """POL-1, POL-6: after e2e was refused nothing weaker follows."""
    with pytest.raises(NegotiationFailed) as caught:
        plan_offer(0, MediaKind.AUDIO, policy(PREFERRED, REQUIRED), ANNOUNCED, ((Mechanism.SDES, Scope.E2E),))
    assert caught.value.code == "security_required"
    assert caught.value.sip_status_hint == 488


@pytest.mark.parametrize(
    ("signalling", "usable"),
    [
        (Signalling.NONE, False),
        (Signalling.INTEGRITY, False),
        (Signalling.CONFIDENTIALITY, True),
        (Signalling.ACCESS, True),
    ],
)
@pytest.mark.parametrize("scope", [Scope.E2AE, Scope.E2E])
def test_pol_3_sdes_needs_confidential_signalling(signalling: Signalling, usable: bool, scope: Scope) -> None:
    """POL-3, GEN-9, SDES-20: both roles, both scopes."""
    settings = policy(PREFERRED if scope is Scope.E2AE else OFF, PREFERRED if scope is Scope.E2E else OFF)
    evidence = Evidence(signalling, announced=SDES)
    decision = plan_offer(0, MediaKind.AUDIO, settings, evidence)
    assert (decision.plan.scope is scope) is usable
    assert usable or decision.reason == "signalling"
    line = offered(indicator=Indicator.APPLIED if scope is Scope.E2AE else Indicator.ABSENT)
    if usable:
        assert plan_answer(line, settings, evidence).plan.scope is scope
    else:
        with pytest.raises(NegotiationFailed, match="signalling_not_confidential"):
            plan_answer(line, settings, evidence)


def test_an_emergency_call_is_never_e2e() -> None:
    """POL-7, GEN-14: e2ae when available, whatever e2e wants."""
    emergency = replace(ANNOUNCED, emergency=True)
    assert offered_scope(ALLOWED, REQUIRED, emergency) is Scope.E2AE
    assert offered_scope(OFF, REQUIRED, emergency) is Scope.NONE


def test_an_emergency_call_never_fails_for_want_of_security() -> None:
    """POL-7, GEN-14."""
    emergency = replace(SILENT, emergency=True)
    assert offered_scope(REQUIRED, REQUIRED, emergency) is Scope.NONE
    plan = plan_offer(0, MediaKind.AUDIO, policy(REQUIRED, OFF), replace(ANNOUNCED, emergency=True)).plan
    assert plan.scope is Scope.E2AE
    assert not plan.required


def test_without_a_common_engine_nothing_is_offered() -> None:
    """POL-10: no suite left that is present here."""
    bare = SecurityPolicy(suites=())
    decision = plan_offer(0, MediaKind.AUDIO, bare, ANNOUNCED)
    assert (decision.plan.mechanism, decision.reason) == (Mechanism.NONE, "no_suites")


def test_video_is_not_offered_short_tags_by_default() -> None:
    """Checklist 5.2: AES_CM_128_HMAC_SHA1_32 is not in the default offer for video."""
    short = "AES_CM_128_HMAC_SHA1_32"
    assert short in plan_offer(0, MediaKind.AUDIO, SecurityPolicy(), ANNOUNCED).plan.suites
    assert short not in plan_offer(0, MediaKind.VIDEO, SecurityPolicy(), ANNOUNCED).plan.suites
    only = SecurityPolicy(suites=(short,))
    assert plan_offer(0, MediaKind.VIDEO, only, ANNOUNCED).plan.suites == (short,)


# --------------------------------------------------------------------------------------------------- terminating --


def offered(
    proto: str = "RTP/SAVP",
    keying: frozenset[Mechanism] = SDES,
    indicator: Indicator = Indicator.ABSENT,
) -> OfferedLine:
    transport = transport_named(proto)
    assert transport is not None
    return OfferedLine(0, MediaKind.AUDIO, transport, keying, indicator)


def seen(decision: Decision) -> tuple[Scope, bool, str]:
    return decision.plan.scope, decision.plan.assured, decision.peer


BOTH = policy(PREFERRED, ALLOWED)


def test_sdp_9_a_applied_with_evidence_is_assured() -> None:
    line = offered(indicator=Indicator.APPLIED)
    assert seen(plan_answer(line, BOTH, ANNOUNCED)) == (Scope.E2AE, True, "access-edge")


def test_sdp_9_b_applied_without_evidence_is_somebody_unknown() -> None:
    """SDP-9 (b), GEN-12."""
    line = offered(indicator=Indicator.APPLIED)
    assert seen(plan_answer(line, BOTH, SILENT)) == (Scope.E2E, False, "unknown")


@pytest.mark.parametrize("indicator", [Indicator.ABSENT, Indicator.REQUESTED])
def test_sdp_9_c_crypto_alone_is_e2e(indicator: Indicator) -> None:
    line = offered(indicator=indicator)
    assert seen(plan_answer(line, BOTH, ANNOUNCED)) == (Scope.E2E, False, "peer")


def test_sdp_9_d_key_mgmt_alone_is_not_available_here() -> None:
    line = offered(keying=frozenset({Mechanism.MIKEY_TICKET}))
    with pytest.raises(NegotiationFailed, match="mechanism_unavailable"):
        plan_answer(line, BOTH, ANNOUNCED)


@pytest.mark.parametrize("indicator", [Indicator.ABSENT, Indicator.APPLIED])
def test_sdp_9_e_fingerprint_without_evidence_is_somebody_somewhere(indicator: Indicator) -> None:
    """SDP-9 (b) and (e): accepted, and nobody vouches for who it is."""
    decision = plan_answer(dtls_line(indicator), BOTH, SILENT)
    assert (decision.plan.mechanism, decision.plan.scope) == (Mechanism.DTLS_SRTP, Scope.E2E)
    assert (decision.plan.assured, decision.peer) == (False, "unknown")


# ------------------------------------------------------------------------------------------------------- DTLS-SRTP --

FINGERPRINT = frozenset({Mechanism.DTLS_SRTP})
AT_DTLS_EDGE = Evidence(Signalling.INTEGRITY, announced=FINGERPRINT)
AT_BOTH_EDGE = Evidence(Signalling.CONFIDENTIALITY, announced=FINGERPRINT | SDES)


def dtls_line(indicator: Indicator = Indicator.ABSENT, *, rtcp_mux: bool = False) -> OfferedLine:
    transport = transport_named("UDP/TLS/RTP/SAVP")
    assert transport is not None
    return OfferedLine(0, MediaKind.AUDIO, transport, FINGERPRINT, indicator, rtcp_mux)


def offered_by(policy: SecurityPolicy, evidence: Evidence, *refused: tuple[Mechanism, Scope]) -> Mechanism:
    return plan_offer(0, MediaKind.AUDIO, policy, evidence, refused).plan.mechanism


def test_dtls_comes_first_where_the_edge_announced_both() -> None:
    """POL-5, OPEN-2."""
    plan = plan_offer(0, MediaKind.AUDIO, SecurityPolicy(), AT_BOTH_EDGE).plan
    assert (plan.mechanism, plan.scope, plan.assured) == (Mechanism.DTLS_SRTP, Scope.E2AE, True)
    assert plan.suites == SecurityPolicy().dtls_profiles
    assert not plan.rtcp_mux


def test_an_operator_may_put_sdes_first() -> None:
    """POL-5."""
    policy = SecurityPolicy(e2ae_order=(Mechanism.SDES, Mechanism.DTLS_SRTP))
    assert offered_by(policy, AT_BOTH_EDGE) is Mechanism.SDES


def test_what_was_refused_is_followed_by_the_other_and_then_by_nothing() -> None:
    """POL-6."""
    dtls, sdes = (Mechanism.DTLS_SRTP, Scope.E2AE), (Mechanism.SDES, Scope.E2AE)
    assert offered_by(SecurityPolicy(), AT_BOTH_EDGE, dtls) is Mechanism.SDES
    decision = plan_offer(0, MediaKind.AUDIO, SecurityPolicy(), AT_BOTH_EDGE, (dtls, sdes))
    assert (decision.plan.mechanism, decision.reason) == (Mechanism.NONE, "refused")


@pytest.mark.parametrize("announced", [frozenset[Mechanism](), SDES])
def test_dtls_is_not_offered_to_an_edge_that_does_not_do_it(announced: frozenset[Mechanism]) -> None:
    """REG-11, REG-17, DTLS-26."""
    evidence = Evidence(Signalling.CONFIDENTIALITY, announced=announced)
    assert offered_by(SecurityPolicy(), evidence) is not Mechanism.DTLS_SRTP


@pytest.mark.parametrize(
    ("signalling", "strict", "usable"),
    [
        (Signalling.NONE, False, False),
        (Signalling.INTEGRITY, False, True),
        (Signalling.INTEGRITY, True, False),
        (Signalling.CONFIDENTIALITY, True, True),
    ],
)
def test_fingerprints_want_integrity_of_signalling(signalling: Signalling, strict: bool, usable: bool) -> None:
    """GEN-10, OPEN-29: in both roles."""
    policy, evidence = SecurityPolicy(dtls_confidential=strict), replace(AT_DTLS_EDGE, signalling=signalling)
    assert (offered_by(policy, evidence) is Mechanism.DTLS_SRTP) is usable
    line = dtls_line(Indicator.APPLIED)
    if usable:
        assert plan_answer(line, policy, evidence).plan.mechanism is Mechanism.DTLS_SRTP
        return
    with pytest.raises(NegotiationFailed, match=r"signalling_not_(protected|confidential)"):
        plan_answer(line, policy, evidence)


@pytest.mark.parametrize(
    ("setting", "mechanism"),
    [
        (OFF, Mechanism.NONE),
        (ALLOWED, Mechanism.NONE),
        (PREFERRED, Mechanism.DTLS_SRTP),
        (REQUIRED, Mechanism.DTLS_SRTP),
    ],
)
def test_pol_1_matrix_of_dtls(setting: Setting, mechanism: Mechanism) -> None:
    """POL-1."""
    assert offered_by(SecurityPolicy(dtls_e2ae=setting), AT_DTLS_EDGE) is mechanism


def test_a_demand_for_dtls_is_not_met_by_keys_in_sip() -> None:
    """POL-1, POL-4."""
    policy = SecurityPolicy(dtls_e2ae=REQUIRED)
    with pytest.raises(NegotiationFailed, match="security_required"):
        plan_offer(0, MediaKind.AUDIO, policy, ANNOUNCED)
    with pytest.raises(NegotiationFailed, match="policy"):
        plan_answer(offered(indicator=Indicator.APPLIED), policy, ANNOUNCED)


def test_a_demand_for_sdes_at_the_edge_is_met_by_dtls() -> None:
    """POL-1."""
    policy = SecurityPolicy(sdes_e2ae=REQUIRED)
    assert plan_offer(0, MediaKind.AUDIO, policy, AT_DTLS_EDGE).plan.required


def test_applied_with_evidence_is_assured() -> None:
    """SDP-9 (a), DTLS-26, GEN-12."""
    decision = plan_answer(dtls_line(Indicator.APPLIED), BOTH, AT_DTLS_EDGE)
    assert (decision.plan.scope, decision.plan.assured, decision.peer) == (Scope.E2AE, True, "access-edge")


def test_dtls_that_is_switched_off_is_refused() -> None:
    """POL-1."""
    with pytest.raises(NegotiationFailed, match="policy"):
        plan_answer(dtls_line(), SecurityPolicy(dtls_e2ae=OFF), AT_DTLS_EDGE)


def test_rtcp_mux_is_taken_where_it_is_offered_with_dtls() -> None:
    """DYN-14."""
    assert plan_answer(dtls_line(rtcp_mux=True), BOTH, AT_DTLS_EDGE).plan.rtcp_mux
    assert not plan_answer(replace(offered(), rtcp_mux=True), BOTH, ANNOUNCED).plan.rtcp_mux


def test_a_conference_server_is_called_one() -> None:
    """CONF-2, CONF-3: e2e SDES with a conference ends at the server."""
    conference = replace(SILENT, conference=True)
    assert plan_answer(offered(), BOTH, conference).peer == "server"
    assert plan_offer(0, MediaKind.AUDIO, policy(OFF, PREFERRED), conference).peer == "server"


def test_e2ae_in_a_conference_still_ends_at_the_edge() -> None:
    """CONF-1."""
    conference = replace(ANNOUNCED, conference=True)
    assert plan_offer(0, MediaKind.AUDIO, policy(PREFERRED, OFF), conference).peer == "access-edge"


def test_e2e_offers_are_refused_where_e2e_is_off() -> None:
    """SDP-10: 488 and not a plain answer."""
    with pytest.raises(NegotiationFailed) as caught:
        plan_answer(offered(), policy(PREFERRED, OFF), ANNOUNCED)
    assert caught.value.sip_status_hint == 488


def test_e2ae_offers_are_refused_where_e2ae_is_off() -> None:
    with pytest.raises(NegotiationFailed, match="e2ae is not allowed"):
        plan_answer(offered(indicator=Indicator.APPLIED), policy(OFF, ALLOWED), ANNOUNCED)


def test_cap_2_crypto_on_avp_counts_only_with_3ge2ae() -> None:
    """CAP-2, SDES-1."""
    with_it = offered("RTP/AVP", indicator=Indicator.REQUESTED)
    assert plan_answer(with_it, BOTH, ANNOUNCED).plan.mechanism is Mechanism.SDES
    assert plan_answer(offered("RTP/AVP"), BOTH, ANNOUNCED).plan.mechanism is Mechanism.NONE
    off = replace(BOTH, accept_crypto_on_avp=False)
    assert plan_answer(with_it, off, ANNOUNCED).plan.mechanism is Mechanism.NONE


def test_cap_2_in_open_signalling_is_an_ordinary_plain_line() -> None:
    """CAP-2, POL-3."""
    line = offered("RTP/AVP", indicator=Indicator.REQUESTED)
    assert plan_answer(line, BOTH, Evidence(Signalling.NONE)).plan.mechanism is Mechanism.NONE


def test_cap_10_savp_with_crypto_and_fingerprint_is_sdes() -> None:
    line = offered(keying=frozenset({Mechanism.SDES, Mechanism.DTLS_SRTP}))
    assert plan_answer(line, BOTH, ANNOUNCED).plan.mechanism is Mechanism.SDES


def test_cap_10_dtls_transport_with_crypto_is_not_sdes() -> None:
    line = offered("UDP/TLS/RTP/SAVP", frozenset({Mechanism.SDES, Mechanism.DTLS_SRTP}))
    assert plan_answer(line, BOTH, ANNOUNCED).plan.mechanism is Mechanism.DTLS_SRTP


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        (policy(PREFERRED, ALLOWED), True),
        (policy(OFF, OFF), True),
        (policy(REQUIRED, ALLOWED), False),
        (policy(OFF, REQUIRED), False),
    ],
)
def test_plain_offers_are_accepted_unless_security_is_required(settings: SecurityPolicy, accepted: bool) -> None:
    """POL-4."""
    line = offered("RTP/AVP", frozenset())
    if accepted:
        assert plan_answer(line, settings, ANNOUNCED).reason == "offered_plain"
    else:
        with pytest.raises(NegotiationFailed) as caught:
            plan_answer(line, settings, ANNOUNCED)
        assert caught.value.sip_status_hint == 488


def test_a_plain_emergency_callback_is_accepted() -> None:
    """POL-7."""
    evidence = replace(SILENT, emergency=True)
    line = offered("RTP/AVP", frozenset())
    assert plan_answer(line, policy(REQUIRED, REQUIRED), evidence).plan.mechanism is Mechanism.NONE


def test_going_plain_mid_call_is_told_and_never_done_where_required() -> None:
    """DYN-8: also when the policy's own requirement came with the line."""
    secured = MediaPlan(0, MediaKind.AUDIO, Mechanism.SDES, Scope.E2AE)
    line = offered("RTP/AVP", frozenset())
    assert plan_answer(line, BOTH, ANNOUNCED, secured).reason == "downgraded"
    with pytest.raises(NegotiationFailed):
        plan_answer(line, BOTH, ANNOUNCED, replace(secured, required=True))


def test_an_e2ae_line_stays_one_without_a_repeated_applied() -> None:
    """SDP-9, GEN-12: but nothing new is assured by it."""
    secured = MediaPlan(0, MediaKind.AUDIO, Mechanism.SDES, Scope.E2AE, assured=True)
    decision = plan_answer(offered(), policy(PREFERRED, OFF), ANNOUNCED, secured)
    assert seen(decision) == (Scope.E2AE, False, "access-edge")
