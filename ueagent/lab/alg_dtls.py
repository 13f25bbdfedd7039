"""DTLS-SRTP lines of the lab edge: roles, fingerprints, tls-id of UE and gateway (DTLS-27, EDGE-11, EDGE-12)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from ueagent.errors import NegotiationFailed
from ueagent.lab.dtls_agw import DtlsOrder
from ueagent.lab.faults import Fault
from ueagent.model.security import Fingerprint, SetupRole
from ueagent.wire.dtls_attributes import DtlsParameters, build_dtls, read_dtls
from ueagent.wire.sdp import MediaSection

ATTRIBUTES: Final = ("fingerprint", "setup", "tls-id", "connection")
SECURE: Final = MappingProxyType({"RTP/AVP": "UDP/TLS/RTP/SAVP", "RTP/AVPF": "UDP/TLS/RTP/SAVPF"})
_TLS_ID_OCTETS: Final = 24

Rng = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the ALG knows of the gateway. `passive`: whom it leaves the ClientHello to when it may choose."""

    fingerprint: Fingerprint
    passive: bool = False


@dataclass(frozen=True, slots=True)
class DtlsLine:
    """`own` is what the UE gets of us, `ue` what it says; `client`: the gateway sends the ClientHello. `mux`: the UE
    offered rtcp-mux, and we take it."""

    own: DtlsParameters
    ue: DtlsParameters | None = None
    client: bool = False
    mux: bool = False

    def order(self) -> DtlsOrder | None:
        """For the gateway, once both sides have spoken."""
        if self.ue is None:
            return None
        return DtlsOrder(self.client, self.ue.fingerprints, (self.own.tls_id, self.ue.tls_id), self.mux)


def offered_by_ue(section: MediaSection, before: DtlsLine | None, gateway: Gateway, rng: Rng) -> DtlsLine:
    """EDGE-11: our part of the answer. The UE's active leaves the server to us, passive the client, actpass the choice.

    NegotiationFailed for an offer that cannot be answered.
    """
    ue = _read(section)
    same = before is not None and before.ue is not None and _lasting(before.ue) == _lasting(ue)
    client = {SetupRole.ACTIVE: False, SetupRole.PASSIVE: True}.get(
        ue.setup or SetupRole.HOLDCONN, before.client if same and before is not None else not gateway.passive
    )
    if ue.setup in (None, SetupRole.HOLDCONN):
        raise NegotiationFailed("bad_setup", "an offer says actpass, active or passive", field="a=setup")
    kept = before.own.tls_id if same and before is not None and before.client == client else None
    tls_id = None if ue.tls_id is None else kept or _new_id(rng)
    role = SetupRole.ACTIVE if client else SetupRole.PASSIVE
    return DtlsLine(DtlsParameters((gateway.fingerprint,), role, tls_id), ue, client, section.rtcp_mux)


def offer_to_ue(before: DtlsLine | None, gateway: Gateway, rng: Rng, *, rekey: bool) -> DtlsLine:
    """EDGE-12: our offer. With `rekey` it asks for another association (DTLS-24)."""
    kept = None if before is None or rekey else before.own.tls_id
    return DtlsLine(DtlsParameters((gateway.fingerprint,), SetupRole.ACTPASS, kept or _new_id(rng)))


def answered_by_ue(section: MediaSection, line: DtlsLine) -> DtlsLine:
    """EDGE-12: `active` makes the gateway the server, `passive` the client; anything else is no answer."""
    ue = _read(section)
    if ue.setup not in (SetupRole.ACTIVE, SetupRole.PASSIVE):
        raise NegotiationFailed("bad_answer", "an answer says active or passive", field="a=setup")
    return replace(line, ue=ue, client=ue.setup is SetupRole.PASSIVE)


def written(line: DtlsLine, fault: Fault) -> list[bytes]:
    """Our attributes for the UE."""
    own = line.own
    if fault is Fault.WRONG_FINGERPRINT:
        right = own.fingerprints[0]
        wrong = bytes((right.digest[0] ^ 1, *right.digest[1:]))
        own = replace(own, fingerprints=(Fingerprint(right.hash, wrong),))
    if fault is Fault.MISSING_FINGERPRINT:
        own = replace(own, fingerprints=())
    return build_dtls(own)


def _read(section: MediaSection) -> DtlsParameters:
    parameters, _ = read_dtls(section)
    if not parameters.fingerprints:
        raise NegotiationFailed("missing_fingerprint", f"{section.proto} without a=fingerprint", field="a=fingerprint")
    return parameters


def _lasting(parameters: DtlsParameters) -> tuple[object, ...]:
    """What an association stands on (DTLS-17)."""
    return frozenset(parameters.fingerprints), parameters.tls_id


def _new_id(rng: Rng) -> str:
    return base64.urlsafe_b64encode(rng(_TLS_ID_OCTETS)).decode("ascii")
