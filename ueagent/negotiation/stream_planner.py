"""What a line of MSRP, BFCP or T.38 shall have: policy x signalling x registration x remote offer -> a MediaPlan.

POL-1..4, POL-7, GEN-10, REG-10, REG-17, REG-20, SDP-9, MSRP-14, DYN-8. Only e2ae: fingerprints without an access edge
that applied them say who holds the key, not who that is. Each kind of line has a setting and an indication of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import MappingProxyType
from typing import Final

from ueagent.errors import NegotiationFailed
from ueagent.keymgmt.registry import carried_by
from ueagent.model.media import MediaKind
from ueagent.model.security import Mechanism, MediaPlan, Scope, SecurityPolicy, Setting
from ueagent.negotiation.planner import (
    Attempt,
    Circumstances,
    Decision,
    Indicator,
    OfferedLine,
    at_least,
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

Obstacle = Callable[[MediaKind, SecurityPolicy, Circumstances], bool]
# What stands in the way of an offer, first match first.
_OBSTACLES: Final[tuple[tuple[str, Obstacle], ...]] = (
    ("policy", lambda k, p, c: not at_least(setting_of(k, p), Setting.ALLOWED if c.emergency else Setting.PREFERRED)),
    ("not_announced", lambda k, p, c: k not in c.streams),
    ("signalling", lambda k, p, c: not signalling_suffices(MECHANISM_OF[k], p, c.signalling)),
)


def setting_of(kind: MediaKind, policy: SecurityPolicy) -> Setting:
    """KeyError: not one of STREAM_KINDS."""
    return _SETTING[kind](policy)


def stream_required(kind: MediaKind, policy: SecurityPolicy, emergency: bool) -> bool:
    """POL-4, POL-7, for a line of this kind."""
    return not emergency and setting_of(kind, policy) is Setting.REQUIRED


def plan_stream_offer(
    line: int,
    kind: MediaKind,
    policy: SecurityPolicy,
    circumstances: Circumstances,
    refused: Collection[Attempt] = (),
) -> Decision:
    """NegotiationFailed when security is required and not usable (POL-4): the call is not sent."""
    required = stream_required(kind, policy, circumstances.emergency)
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
    row = next(iter(carried_by(offered.transport)), None)
    if row is None or row.mechanism is not MECHANISM_OF[kind]:
        detail = f"media line {line} asks for a mechanism that is not available here"
        raise NegotiationFailed("mechanism_unavailable", detail, field=f"m={line}")
    if not signalling_suffices(row.mechanism, policy, circumstances.signalling):
        detail = f"media line {line}: fingerprints want signalling whose integrity is protected"
        raise NegotiationFailed("signalling_not_protected", detail, field=f"m={line}")
    sure = offered.indicator is Indicator.APPLIED and kind in circumstances.streams
    continued = current is not None and current.scope is Scope.E2AE
    if not sure and not continued:
        detail = f"media line {line}: no access edge applied this, and fingerprints between phones are not used"
        raise NegotiationFailed("policy", detail, field=f"m={line}")
    required = stream_required(kind, policy, circumstances.emergency) or (current is not None and current.required)
    plan = MediaPlan(line, kind, row.mechanism, Scope.E2AE, assured=sure, required=required)
    return Decision(plan, "access-edge")
