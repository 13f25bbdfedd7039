"""What each media line shall have: policy x signalling x registration x remote offer -> one MediaPlan, or a refusal.

POL-1..7, POL-10, GEN-9, GEN-10, REG-10, REG-11, REG-17, SDP-9, SDP-10, CAP-2, CAP-10, DYN-8. Two decisions, one for
each role. The policy given here names only suites that are present (`Capability.usable`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, Protocol

from ueagent.errors import NegotiationFailed
from ueagent.keymgmt.registry import MECHANISMS, carried_by
from ueagent.model.media import MediaKind, Transport
from ueagent.model.security import THROUGH_KMS, Mechanism, MediaPlan, Scope, SecurityPolicy, Setting, Signalling
from ueagent.model.suites import DEFAULT_OFFER, SUITES

_ORDER: Final = tuple(Setting)
SHORT_TAG: Final = 4  # octets; such a suite is not offered for video by default (5.2)


class Circumstances(Protocol):
    """What is known of the call, as far as decisions need it; `session.commands.Evidence` is one."""

    @property
    def signalling(self) -> Signalling: ...
    @property
    def announced(self) -> frozenset[Mechanism]: ...
    @property
    def streams(self) -> frozenset[MediaKind]: ...
    @property
    def emergency(self) -> bool: ...
    @property
    def conference(self) -> bool: ...
    @property
    def called(self) -> str | None: ...
    @property
    def kms(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Decision:
    plan: MediaPlan
    peer: str = "unknown"  # who will hold the other end of the keys
    reason: str | None = None  # why the line is plain, one word


class Indicator(Enum):
    """`a=3ge2ae` of an offer as SDP-2 reads it: any other value is ABSENT."""

    ABSENT = "absent"
    REQUESTED = "requested"
    APPLIED = "applied"


@dataclass(frozen=True, slots=True)
class OfferedLine:
    """One RTP line of a remote offer, as far as the decision needs it."""

    line: int
    kind: MediaKind
    transport: Transport
    keying: frozenset[Mechanism]  # whose attributes it holds
    indicator: Indicator = Indicator.ABSENT
    rtcp_mux: bool = False  # offered, and the relay's leg can do it
    ice: bool = False  # offered


def at_least(setting: Setting, wanted: Setting) -> bool:
    return _ORDER.index(setting) >= _ORDER.index(wanted)


def security_required(policy: SecurityPolicy, emergency: bool) -> bool:
    """POL-4, and POL-7: an emergency call never fails for want of media security."""
    settings = (policy.sdes_e2ae, policy.sdes_e2e, policy.dtls_e2ae, policy.kms_e2e)
    return not emergency and Setting.REQUIRED in settings


def signalling_suffices(mechanism: Mechanism, policy: SecurityPolicy, signalling: Signalling) -> bool:
    """Keys in SDP want confidentiality (POL-3, GEN-9), fingerprints integrity (GEN-10), or more by choice (OPEN-29).

    MIKEY-TICKET wants nothing: its messages are protected by keys of the KMS.
    """
    if mechanism in THROUGH_KMS:
        return True
    if MECHANISMS[mechanism].keys_in_sdp or policy.dtls_confidential:
        return signalling.confidential
    return signalling is not Signalling.NONE


# --------------------------------------------------------------------------------------------------- originating --

# Something that an offer can be made with.
Attempt = tuple[Mechanism, Scope]

_E2AE_SETTING: Final[dict[Mechanism, Callable[[SecurityPolicy], Setting]]] = {
    Mechanism.SDES: lambda p: p.sdes_e2ae,
    Mechanism.DTLS_SRTP: lambda p: p.dtls_e2ae,
}
_E2E_SETTING: Final[dict[Mechanism, Callable[[SecurityPolicy], Setting]]] = {
    Mechanism.MIKEY_TICKET: lambda p: p.kms_e2e,
    Mechanism.SDES: lambda p: p.sdes_e2e,
}
# What stands in the way of an attempt, first match first; None when nothing does. POL-3, REG-10, REG-11.
Obstacle = Callable[[Mechanism, SecurityPolicy, Circumstances], bool]
_OBSTACLES: Final[dict[Scope, tuple[tuple[str, Obstacle], ...]]] = {
    Scope.E2E: (
        ("emergency", lambda _, p, c: c.emergency),  # POL-7
        ("policy", lambda _, p, c: p.webrtc),  # browsers have DTLS-SRTP and nothing else (RFC 8827, 6.5)
        ("policy", lambda m, p, c: not at_least(_E2E_SETTING[m](p), Setting.PREFERRED)),
        ("policy", lambda m, p, c: m is Mechanism.SDES and p.kms_e2e is Setting.REQUIRED),
        ("nobody_called", lambda m, p, c: m is Mechanism.MIKEY_TICKET and c.called is None),
        ("no_kms", lambda m, p, c: m is Mechanism.MIKEY_TICKET and not c.kms),
        ("signalling", lambda m, p, c: not signalling_suffices(m, p, c.signalling)),
        ("no_suites", lambda m, p, c: not _suites(m, MediaKind.AUDIO, p)),
    ),
    Scope.E2AE: (
        # A demand for e2e is not met by less; e2e on the other hand protects the access too.
        ("policy", lambda _, p, c: _e2e_demanded(p) and not c.emergency),
        ("policy", lambda m, p, c: _outranked(m, p) and not c.emergency),
        ("policy", lambda m, p, c: p.webrtc and m is not Mechanism.DTLS_SRTP),
        (
            "policy",
            lambda m, p, c: not at_least(_E2AE_SETTING[m](p), Setting.ALLOWED if c.emergency else Setting.PREFERRED),
        ),
        ("not_announced", lambda m, p, c: m not in c.announced),
        ("signalling", lambda m, p, c: not signalling_suffices(m, p, c.signalling)),
        ("no_suites", lambda m, p, c: not _suites(m, MediaKind.AUDIO, p)),
    ),
}
# How much the reason for a plain line tells, least first.
_TELLS: Final = (
    "policy",
    "emergency",
    "not_announced",
    "signalling",
    "no_suites",
    "nobody_called",
    "no_kms",
    "refused",
)


def plan_offer(
    line: int,
    kind: MediaKind,
    policy: SecurityPolicy,
    circumstances: Circumstances,
    refused: Collection[Attempt] = (),
) -> Decision:
    """POL-2: e2e where it is wanted, then e2ae in the order of POL-5, then plain. `refused` was turned down before.

    NegotiationFailed when security is required and nothing is usable (POL-4): the call is not sent.
    """
    required = security_required(policy, circumstances.emergency)
    reasons = ["policy"]
    for mechanism, scope in (*((m, Scope.E2E) for m in _E2E_SETTING), *((m, Scope.E2AE) for m in policy.e2ae_order)):
        if (mechanism, scope) in refused:
            reasons.append("refused")
            continue
        obstacles = _OBSTACLES[scope]
        reason = next((word for word, stands in obstacles if stands(mechanism, policy, circumstances)), None)
        if reason is None:
            web = policy.webrtc and mechanism is Mechanism.DTLS_SRTP
            plan = _plan(mechanism, line, kind, scope, policy, required, rtcp_mux=web, ice=web)
            return Decision(plan, "access-edge" if scope is Scope.E2AE else far_end(circumstances))
        reasons.append(reason)
    reason = max(reasons, key=_TELLS.index)
    if required:
        detail = f"media line {line} must be secured and no mechanism is usable: {reason}"
        raise NegotiationFailed("security_required", detail, field=f"m={line}")
    return Decision(_plain(line, kind), reason=reason)


def _e2e_demanded(policy: SecurityPolicy) -> bool:
    return Setting.REQUIRED in (policy.sdes_e2e, policy.kms_e2e)


def _outranked(mechanism: Mechanism, policy: SecurityPolicy) -> bool:
    """A demand for DTLS-SRTP is not met by keys that stand in SIP; a demand for SDES is met by DTLS-SRTP."""
    return mechanism is Mechanism.SDES and policy.dtls_e2ae is Setting.REQUIRED


def offered_suites(kind: MediaKind, policy: SecurityPolicy) -> tuple[str, ...]:
    """The suites of an offer in order. By default no 32-bit tag for video (5.2)."""
    if kind is not MediaKind.VIDEO or not set(policy.suites) <= set(DEFAULT_OFFER):
        return policy.suites
    return tuple(s for s in policy.suites if SUITES[s].srtp_tag_length > SHORT_TAG) or policy.suites


# --------------------------------------------------------------------------------------------------- terminating --


def plan_answer(
    offered: OfferedLine,
    policy: SecurityPolicy,
    circumstances: Circumstances,
    current: MediaPlan | None = None,
) -> Decision:
    """What a line of a remote offer becomes. NegotiationFailed: the line, or the whole offer, cannot be accepted.

    `current` is what the line has in this dialog already.
    """
    line, kind = offered.line, offered.kind
    required = security_required(policy, circumstances.emergency) or (current is not None and current.required)
    if offered.transport.name == offered.transport.plain:
        decision = _best_effort(offered, policy, circumstances, current, required)
        if decision is not None:
            return decision
        if required:
            raise NegotiationFailed("security_required", f"media line {line} is offered plain", field=f"m={line}")
        downgraded = current is not None and current.mechanism is not Mechanism.NONE  # DYN-8
        return Decision(_plain(line, kind), reason="downgraded" if downgraded else "offered_plain")
    # CAP-10: the transport decides, whatever else the line holds.
    held = [row.mechanism for row in carried_by(offered.transport) if row.mechanism in offered.keying]
    usable = [mechanism for mechanism in held if circumstances.kms or mechanism is not Mechanism.MIKEY_TICKET]
    if not usable:
        detail = f"media line {line} asks for a mechanism that is not available here"
        raise NegotiationFailed("mechanism_unavailable", detail, field=f"m={line}")
    wanted = [m for m in usable if m is not Mechanism.MIKEY_TICKET or policy.kms_e2e is not Setting.OFF]
    return _secured((wanted or usable)[0], offered, policy, circumstances, current, required)


def _best_effort(
    offered: OfferedLine,
    policy: SecurityPolicy,
    circumstances: Circumstances,
    current: MediaPlan | None,
    required: bool,
) -> Decision | None:
    """CAP-2: RTP/AVP with crypto counts only together with 3ge2ae. What does not fit is an ordinary plain line."""
    if not policy.accept_crypto_on_avp or Mechanism.SDES not in offered.keying or offered.indicator is Indicator.ABSENT:
        return None
    try:
        return _secured(Mechanism.SDES, offered, policy, circumstances, current, required)
    except NegotiationFailed:
        return None


def _secured(
    mechanism: Mechanism,
    offered: OfferedLine,
    policy: SecurityPolicy,
    circumstances: Circumstances,
    current: MediaPlan | None,
    required: bool,
) -> Decision:
    line, kind = offered.line, offered.kind
    if mechanism is Mechanism.DTLS_SRTP and not policy.dtls_profiles:
        detail = f"media line {line} asks for a mechanism that is not available here"
        raise NegotiationFailed("mechanism_unavailable", detail, field=f"m={line}")
    if not signalling_suffices(mechanism, policy, circumstances.signalling):
        code, lacks = _UNFIT[MECHANISMS[mechanism].keys_in_sdp or policy.dtls_confidential]
        raise NegotiationFailed(code, f"media line {line}: {lacks}", field=f"m={line}")
    applied = offered.indicator is Indicator.APPLIED
    announced = mechanism in circumstances.announced
    # SDP-9. An e2ae line stays one when the edge does not repeat `applied` in a later offer, but is assured only with
    # it.
    continued = current is not None and current.scope is Scope.E2AE
    at_edge = continued or (applied and announced)
    scope = Scope.E2AE if at_edge and mechanism is not Mechanism.MIKEY_TICKET else Scope.E2E
    if not _accepted(mechanism, scope, policy, circumstances.emergency):
        raise NegotiationFailed("policy", f"media line {line}: {scope.value} is not allowed", field=f"m={line}")
    sure = mechanism is Mechanism.MIKEY_TICKET or (scope is Scope.E2AE and applied and announced)
    mux = offered.rtcp_mux and mechanism is Mechanism.DTLS_SRTP  # DYN-14
    ice = policy.webrtc and mux and offered.ice
    plan = _plan(mechanism, line, kind, scope, policy, required, assured=sure, rtcp_mux=mux, ice=ice)
    if scope is Scope.E2AE:
        return Decision(plan, "access-edge")
    # `applied` without evidence, or a fingerprint without any: somebody, somewhere (GEN-12; SDP-9 (b), (e)).
    somebody = applied or mechanism is Mechanism.DTLS_SRTP
    return Decision(plan, "unknown" if somebody else far_end(circumstances))


_UNFIT: Final = MappingProxyType(
    {
        True: ("signalling_not_confidential", "its keying wants signalling that is confidential"),
        False: ("signalling_not_protected", "fingerprints want signalling whose integrity is protected"),
    }
)


def _accepted(mechanism: Mechanism, scope: Scope, policy: SecurityPolicy, emergency: bool) -> bool:
    if not emergency and _outranked(mechanism, policy):
        return False
    if mechanism is Mechanism.MIKEY_TICKET:
        return policy.kms_e2e is not Setting.OFF
    if mechanism is Mechanism.SDES and scope is Scope.E2E:
        # SDP-10
        return policy.sdes_e2e is not Setting.OFF and (emergency or policy.kms_e2e is not Setting.REQUIRED)
    wanted = _E2AE_SETTING[mechanism](policy) is not Setting.OFF
    return wanted and (emergency or not _e2e_demanded(policy))


def _plain(line: int, kind: MediaKind) -> MediaPlan:
    return MediaPlan(line, kind, Mechanism.NONE, Scope.NONE)


def _suites(mechanism: Mechanism, kind: MediaKind, policy: SecurityPolicy) -> tuple[str, ...]:
    match mechanism:
        case Mechanism.DTLS_SRTP:
            return policy.dtls_profiles
        case Mechanism.MIKEY_TICKET:
            return policy.kms_suites
        case _:
            return offered_suites(kind, policy)


def _plan(
    mechanism: Mechanism,
    line: int,
    kind: MediaKind,
    scope: Scope,
    policy: SecurityPolicy,
    required: bool,
    *,
    assured: bool | None = None,
    rtcp_mux: bool = False,
    ice: bool = False,
) -> MediaPlan:
    """`assured` None: by scope. e2e SDES never is: every SIP node on the path can read the keys (SDES-21)."""
    suites = _suites(mechanism, kind, policy)
    sure = scope is Scope.E2AE or mechanism is Mechanism.MIKEY_TICKET if assured is None else assured
    return MediaPlan(line, kind, mechanism, scope, suites, sure, required, rtcp_mux, ice)


def far_end(circumstances: Circumstances) -> str:
    return "server" if circumstances.conference else "peer"  # CONF-3
