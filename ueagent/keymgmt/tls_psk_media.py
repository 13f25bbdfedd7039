"""TLS-PSK of MSRP and BFCP, keyed by the a=key-mgmt over the line: TS 33.328, Annex H; KMS-80 to KMS-86.

Setup roles and the life of a connection are those of `tls_media`; in the place of certificates stands the key that the
bundle gives. No fingerprint and no tls-id goes into SDP (KMS-85), and nothing is opened before there is an authentic
answer (KMS-86).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ueagent.channel.credentials import Credentials, PskCredentials
from ueagent.errors import NegotiationFailed
from ueagent.keymgmt.mechanism import (
    AnswerRequested,
    BundleKeys,
    Closed,
    Failed,
    Input,
    Output,
    RemoteAnswer,
    RemoteOffer,
    RolledBack,
    Settled,
)
from ueagent.keymgmt.tls_media import Agreed, StreamRules, Theirs, TlsMedia, rules_of
from ueagent.model.security import Fingerprint, MediaPlan, SecurityPolicy, SetupRole
from ueagent.wire.dtls_attributes import DtlsParameters

Rng = Callable[[int], bytes]


class TlsPskMedia(TlsMedia):
    def __init__(self, rules: StreamRules, rng: Rng, offers: SetupRole, *, plain: bool = False) -> None:
        super().__init__(replace(rules, tls_id=False), None, rng, offers)
        self._plain = plain  # KMS-84
        self._held: PskCredentials | None = None
        self._next: PskCredentials | None = None  # of the exchange in progress

    def handle(self, event: Input, now: float) -> list[Output]:
        """Keys come with their answer, or, for ours, in a RemoteOffer of their own before AnswerRequested."""
        if isinstance(event, RemoteOffer | RemoteAnswer):
            self._take(event)
        if isinstance(event, RemoteOffer) and self.state in ("offered", "answering"):
            return []
        if isinstance(event, AnswerRequested | RemoteAnswer) and self._next is None and self._held is None:
            detail = "no authentic key-mgmt message gives this line a key"
            return [Failed(NegotiationFailed("mikey_missing", detail, field="key-mgmt"))]
        outputs = super().handle(event, now)
        if isinstance(event, RolledBack | Settled | Closed):
            self._wipe_next()
        if isinstance(event, Closed) and self._held is not None:
            self._held.key.wipe()
            self._held = None
        return outputs

    def _accepted(self, parameters: DtlsParameters) -> frozenset[Fingerprint]:
        return frozenset()

    def _shown(self) -> tuple[Fingerprint, ...]:
        return ()

    def _unchanged(self, current: Agreed, our_id: str, theirs: Theirs, role: SetupRole) -> bool:
        return self._next is None and super()._unchanged(current, our_id, theirs, role)

    def _credentials(self, agreed: Agreed) -> Credentials:
        """A copy for the connection; the line keeps its own, for a connection after a lost one."""
        if self._next is not None:
            if self._held is not None:
                self._held.key.wipe()
            self._held, self._next = self._next, None
        assert self._held is not None  # no exchange ends without keys
        return PskCredentials(self._held.identity, self._held.key.copy(), self._plain)

    def _take(self, event: RemoteOffer | RemoteAnswer) -> None:
        self._wipe_next()
        for attribute in event.attributes:
            if isinstance(attribute, BundleKeys) and isinstance(attribute.keys, PskCredentials):
                self._next = attribute.keys

    def _wipe_next(self) -> None:
        if self._next is not None:
            self._next.key.wipe()
        self._next = None


def create(plan: MediaPlan, policy: SecurityPolicy, rng: Rng) -> TlsPskMedia:
    """KeyError: a line that is neither MSRP nor BFCP."""
    offers = SetupRole.ACTIVE if policy.streams_active else SetupRole.ACTPASS
    return TlsPskMedia(rules_of(plan.kind, policy), rng, offers, plain=policy.kms_tls_plain)
