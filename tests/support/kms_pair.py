"""Two sessions back to back, as in `pair`, with a KMS that both ask."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace

from support.mikey_bundles import desk_of, reply_of
from support.mikey_world import ALICE, BOB, World
from support.pair import SECURE, Agent, Pair

from ueagent.errors import AgentError
from ueagent.keymgmt.mikey_exchange import KmsReply, KmsUnreachable
from ueagent.model.security import SecurityPolicy, Setting, Signalling
from ueagent.session.commands import Evidence, KmsAnswered
from ueagent.session.effects import AskKms, Effect

KMS_POLICY = SecurityPolicy(sdes_e2ae=Setting.OFF, sdes_e2e=Setting.OFF, kms_e2e=Setting.PREFERRED)
TO_BOB = replace(SECURE, called=BOB.decode())
OPEN_SIP = Evidence(Signalling.NONE, called=BOB.decode())  # nothing protects SIP: MIKEY does not mind


@dataclass
class KmsAgent(Agent):
    """`asked` are the requests to the KMS; with `hold` they stay unanswered, with `silent` nobody is there."""

    user: bytes = ALICE
    world: World = field(default_factory=World)
    hold: bool = False
    silent: bool = False
    refusing: bool = False  # the KMS may well refuse; this tells nobody why
    asked: list[AskKms] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.desk = desk_of(self.world, self.user)
        self.session.use_kms(self.desk)

    def reply(self, asked: AskKms) -> KmsAnswered:
        event: KmsReply | KmsUnreachable = KmsUnreachable(refused=True)
        if not self.silent:
            with contextlib.suppress(AgentError) if self.refusing else contextlib.nullcontext():
                event = reply_of(self.world, asked.request)
        return KmsAnswered(asked.bundle, event)

    def _perform(self, effect: Effect) -> list[Effect]:
        if not isinstance(effect, AskKms):
            return super()._perform(effect)
        self.asked.append(effect)
        return [] if self.hold else self.session.receive(self.reply(effect), self.now)


def kms_pair(
    policy: SecurityPolicy = KMS_POLICY, evidence: Evidence = TO_BOB, *, callee: SecurityPolicy | None = None
) -> Pair:
    """Alice calls Bob; both have accounts at one KMS."""
    world = World()
    alice = KmsAgent("alice", policy, world=world)
    bob = KmsAgent("bob", callee or policy, address="192.0.2.20", user=BOB, world=world)
    return Pair(alice, bob, evidence)
