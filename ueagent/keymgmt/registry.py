"""MECHANISMS: one row per mechanism in the order in which it is tried; a row's module is imported on first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from ueagent.keymgmt.mechanism import KeyMechanism
from ueagent.model.media import TRANSPORTS, Transport
from ueagent.model.security import Mechanism, MediaPlan, SecurityPolicy

if TYPE_CHECKING:  # it brings in the certificate library, which calls without certificates do not need
    from ueagent.channel.credentials import Identity

Rng = Callable[[int], bytes]
Factory = Callable[..., KeyMechanism]


@dataclass(frozen=True, slots=True)
class MechanismRow:
    """`module` has `create(plan, policy, rng)`, with `certificates` also our identity as a fourth.

    `carries` says which transports of an m-line can hold its keying.
    """

    mechanism: Mechanism
    module: str
    carries: Callable[[Transport], bool]
    keys_in_sdp: bool  # so signalling must be confidential: GEN-9, POL-3
    certificates: bool  # needs our identity


_TLS: Final = frozenset({"TCP/TLS/MSRP", "TCP/TLS/BFCP"})

# fmt: off
_ROWS: Final = (
    MechanismRow(Mechanism.DTLS_SRTP, "ueagent.keymgmt.dtls_srtp", lambda t: t.rtp and t.fingerprint,
                 keys_in_sdp=False, certificates=True),
    MechanismRow(Mechanism.MIKEY_TICKET, "ueagent.keymgmt.mikey_line", lambda t: t.sdes,
                 keys_in_sdp=False, certificates=False),
    MechanismRow(Mechanism.SDES, "ueagent.keymgmt.sdes", lambda t: t.sdes, keys_in_sdp=True, certificates=False),
    MechanismRow(Mechanism.TLS_PSK, "ueagent.keymgmt.tls_psk_media", lambda t: t.name in _TLS,
                 keys_in_sdp=False, certificates=False),
    MechanismRow(Mechanism.TLS, "ueagent.keymgmt.tls_media", lambda t: t.name in _TLS,
                 keys_in_sdp=False, certificates=True),
    MechanismRow(Mechanism.DTLS, "ueagent.keymgmt.tls_media", lambda t: t.name == "UDP/TLS/UDPTL",
                 keys_in_sdp=False, certificates=True),
)
# fmt: on

MECHANISMS: Final = MappingProxyType({row.mechanism: row for row in _ROWS})


def create_mechanism(
    plan: MediaPlan, policy: SecurityPolicy, rng: Rng, identity: Identity | None = None
) -> KeyMechanism:
    """A fresh mechanism for one media line. KeyError when the plan names one that this build does not have."""
    row = MECHANISMS[plan.mechanism]
    create = cast(Factory, import_module(row.module).create)
    if not row.certificates:
        return create(plan, policy, rng)
    if identity is None:
        raise RuntimeError(f"{plan.mechanism.value} was planned without a certificate")
    return create(plan, policy, rng, identity)


def secure_transport(mechanism: Mechanism, plain: str) -> Transport:
    """The transport that carries `mechanism` with the feedback profile of `plain`: RTP/AVPF -> RTP/SAVPF."""
    carries = MECHANISMS[mechanism].carries
    return next(row for row in TRANSPORTS.values() if carries(row) and row.plain == plain)


def carried_by(transport: Transport) -> tuple[MechanismRow, ...]:
    """The mechanisms that a received secure transport may ask for, best first: RTP/SAVP names no single one."""
    return tuple(row for row in _ROWS if row.carries(transport))
