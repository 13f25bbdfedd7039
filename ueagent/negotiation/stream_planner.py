"""What a line of MSRP, BFCP or T.38 shall have: policy x signalling x registration x remote offer -> a MediaPlan.

POL-1..4, POL-7, GEN-10, REG-10, REG-17, REG-20, SDP-9, MSRP-14, DYN-8. By certificates only e2ae: fingerprints without
an access edge that applied them say who holds the key, not who that is. Each kind of line has a setting and an
indication of its own. MSRP and BFCP are protected end to end by TLS-PSK, with keys of a KMS (M6, M8).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import MappingProxyType
from typing import Final

from ueagent.errors import NegotiationFailed
from ueagent.keymgmt.registry import MECHANISMS
from ueagent.model.media import MediaKind
from ueagent.model.security import Mechanism, MediaPlan, Scope, SecurityPolicy, Setting
from ueagent.negotiation.planner import (
    Attempt,
    Circumstances,
    Decision,
    Indicator,
    OfferedLine,
    at_least,
    far_end,
    signalling_suffices,
)

_SETTING: Final[dict[MediaKind, Callable[[SecurityPolicy], Setting]]] = {
    MediaKind.MSRP: lambda p: p.msrp_e2ae,
    MediaKind.BFCP: lambda p: p.bfcp_e2ae,
    MediaKind.UDPTL: lambda p: p.udptl_e2ae,
}
MECHANISM_OF: Final = MappingProxyType(
    {MediaKind.MSRP: Mechanism.TLS, MediaKind.BFCP: Mechanism.TLS, MediaKind.UDPTL: Mechanism.DTLS}
)

PSK_KINDS: Final = frozenset({MediaKind.MSRP, MediaKind.BFCP})
_PSK: Final[Attempt] = (Mechanism.TLS_PSK, Scope.E2E)

Obstacle = Callable[[MediaKind, SecurityPolicy, Circumstances], bool]
# What stands in the way of an offer, first match first.
_OBSTACLES: Final[tuple[tuple[str, Obstacle], ...]] = (
    ("policy", lambda k, p, c: not at_least(setting_of(k, p), Setting.ALLOWED if c.emergency else Setting.PREFERRED)),
    ("policy", lambda k, p, c: _e2e_demanded(k, p) and not c.emergency),
    ("not_announced", lambda k, p, c: k not in c.streams),
    ("signalling", lambda k, p, c: not signalling_suffices(MECHANISM_OF[k], p, c.signalling)),
)


# What stands in the way of TLS-PSK.
_PSK_OBSTACLES: Final[tuple[tuple[str, Obstacle], ...]] = (
    ("policy", lambda k, p, c: k not in PSK_KINDS or not at_least(p.kms_e2e, Setting.PREFERRED)),
    ("emergency", lambda k, p, c: c.emergency),
    ("no_kms", lambda k, p, c: not c.kms),
    ("nobody_called", lambda k, p, c: c.called is None),
)


def wanted(kind: MediaKind, policy: SecurityPolicy) -> bool:
    """Whether policy has anything for lines of this kind that we offer."""
    psk = kind in PSK_KINDS and at_least(policy.kms_e2e, Setting.PREFERRED)
    return psk or setting_of(kind, policy) is not Setting.OFF


def _e2e_demanded(kind: MediaKind, policy: SecurityPolicy) -> bool:
    return kind in PSK_KINDS and policy.kms_e2e is Setting.REQUIRED


def setting_of(kind: MediaKind, policy: SecurityPolicy) -> Setting:
    """KeyError: not one of STREAM_KINDS."""
    return _SETTING[kind](policy)


def stream_required(kind: MediaKind, policy: SecurityPolicy, emergency: bool) -> bool:
    """POL-4, POL-7, for a line of this kind."""
    return not emergency and (setting_of(kind, policy) is Setting.REQUIRED or _e2e_demanded(kind, policy))


def plan_stream_offer(
    line: int,
    kind: MediaKind,
    policy: SecurityPolicy,
    circumstances: Circumstances,
    refused: Collection[Attempt] = (),
) -> Decision:
    """NegotiationFailed when security is required and not usable (POL-4): the call is not sent."""
    required = stream_required(kind, policy, circumstances.emergency)
    hindered = next((word for word, stands in _PSK_OBSTACLES if stands(kind, policy, circumstances)), None)
    if hindered is None and _PSK not in refused:
        return Decision(MediaPlan(line, kind, *_PSK, assured=True, required=required), far_end(circumstances))
    attempt = MECHANISM_OF[kind], Scope.E2AE
    reason = next((word for word, stands in _OBSTACLES if stands(kind, policy, circumstances)), None)
    if attempt in refused:
        reason = "refused"
    if reason is None:
        plan = MediaPlan(line, kind, *attempt, assured=True, required=required)
        return Decision(plan, "access-edge")
    if required:
        detail = f"media line {line} must be secured and no mechanism is usable: {reason}"
        raise NegotiationFailed("security_required", detail, field=f"m={line}")
    return Decision(MediaPlan(line, kind, Mechanism.NONE, Scope.NONE), reason=reason)


def plan_stream_answer(
    offered: OfferedLine, policy: SecurityPolicy, circumstances: Circumstances, current: MediaPlan | None = None
) -> Decision:
    """A line in a secure transport. NegotiationFailed: it cannot be accepted. `current` is what it has already."""
    line, kind = offered.line, offered.kind
    required = stream_required(kind, policy, circumstances.emergency) or (current is not None and current.required)
    if _keyed_by_kms(offered) and circumstances.kms and policy.kms_e2e is not Setting.OFF:
        return Decision(MediaPlan(line, kind, *_PSK, assured=True, required=required), far_end(circumstances))
    mechanism = MECHANISM_OF[kind]
    if not MECHANISMS[mechanism].carries(offered.transport) or _keyed_by_kms(offered):
        detail = f"media line {line} asks for a mechanism that is not available here"
        raise NegotiationFailed("mechanism_unavailable", detail, field=f"m={line}")
    if not signalling_suffices(mechanism, policy, circumstances.signalling):
        detail = f"media line {line}: fingerprints want signalling whose integrity is protected"
        raise NegotiationFailed("signalling_not_protected", detail, field=f"m={line}")
    sure = offered.indicator is Indicator.APPLIED and kind in circumstances.streams
    continued = current is not None and current.scope is Scope.E2AE
    demanded = _e2e_demanded(kind, policy) and not circumstances.emergency
    if demanded or (not sure and not continued):
        detail = f"media line {line}: no access edge applied this, and fingerprints between phones are not used"
        raise NegotiationFailed("policy", detail, field=f"m={line}")
    plan = MediaPlan(line, kind, mechanism, Scope.E2AE, assured=sure, required=required)
    return Decision(plan, "access-edge")


def _keyed_by_kms(offered: OfferedLine) -> bool:
    """An a=key-mgmt covers it, and no certificate is shown (KMS-85)."""
    keyed = offered.kind in PSK_KINDS and Mechanism.MIKEY_TICKET in offered.keying
    return keyed and Mechanism.TLS not in offered.keying
