"""MSRP and BFCP by TLS-PSK with keys of a KMS, seen from both sessions: TS 33.328, Annex H."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from support.kms_pair import KMS_POLICY, TO_BOB, KmsAgent
from support.mikey_bundles import desk_of
from support.mikey_world import ALICE, BOB, World
from support.pair import held, plain, tracked_secrets
from support.stream_lines import AT_EDGE, BFCP, HEAD, MSRP, StreamAgent, StreamPair, line_of, m_line, value

from ueagent.channel.credentials import PskCredentials
from ueagent.keymgmt.mikey_exchange import KmsUnreachable
from ueagent.model.media import MediaKind
from ueagent.model.security import Mechanism, Scope, SecurityPolicy, Setting
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    CreateAnswer,
    CreateOffer,
    KmsAnswered,
    OfferFailed,
    Release,
    StreamEnded,
    StreamSecured,
)
from ueagent.session.effects import ConnectStream, Effect, ReplySdp
from ueagent.wire.mikey import Protocol

KINDS = pytest.mark.parametrize("kind", [MSRP, BFCP])
AUDIO = plain(5004).decode().split("t=0 0\r\n")[1]


@dataclass
class Both(KmsAgent, StreamAgent):
    """Relays, streams and a KMS; no certificate."""

    certificates: bool = False

    def __post_init__(self) -> None:
        StreamAgent.__post_init__(self)
        self.desk = desk_of(self.world, self.user)
        self.session.use_kms(self.desk)

    def psk(self) -> PskCredentials:
        """Of the last connection."""
        found = self.connected[-1].credentials
        assert isinstance(found, PskCredentials)
        return found


def pair_of(policy: SecurityPolicy = KMS_POLICY) -> StreamPair:
    world = World()
    return StreamPair(
        Both("alice", policy, world=world, user=ALICE),
        Both("bob", policy, address="192.0.2.20", world=world, user=BOB),
        TO_BOB,
    )


def described(*lines: str) -> bytes:
    return (HEAD + "".join(lines)).encode()


def called(pair: StreamPair, kind: MediaKind, *more: str, by_bob: bool = False) -> StreamPair:
    """`more`: lines before the stream's."""
    return pair.call(
        described(*more, line_of(kind)),
        described(*more, line_of(kind, 9, "active", "dialer2")),
        by_bob=by_bob,
    )


def both(agent: StreamAgent) -> Both:
    assert isinstance(agent, Both)
    return agent


@KINDS
def test_a_line_is_keyed_by_the_kms_and_shows_no_certificate(kind: MediaKind) -> None:
    """M6, M8, KMS-63, KMS-80, KMS-81, KMS-85: setup and key-mgmt; one crypto session; the same key at both ends."""
    pair = called(pair_of(), kind)
    for sdp in (pair.offer, pair.answer):
        assert m_line(sdp).split()[2] == f"TCP/TLS/{kind.value.upper()}"
        assert "fingerprint" not in sdp
        assert "tls-id" not in sdp
        assert sdp.count("a=key-mgmt:mikey ") == 1
    assert (value(pair.offer, "setup"), value(pair.answer, "setup")) == ("actpass", "passive")
    ours, theirs = both(pair.alice).psk(), both(pair.bob).psk()
    assert (ours.identity, ours.key) == (theirs.identity, theirs.key)
    assert len(ours.key) == 32
    assert "key-mgmt" not in pair.to_callee + pair.to_caller


@pytest.mark.parametrize("plain", [False, True])
def test_suites_without_forward_secrecy_are_for_who_wants_them(plain: bool) -> None:
    """KMS-84: by switch, each end for itself."""
    pair = pair_of()
    pair.bob = Both(
        "bob", replace(KMS_POLICY, kms_tls_plain=plain), address="192.0.2.20", world=both(pair.alice).world, user=BOB
    )
    called(pair, MSRP)
    assert (both(pair.alice).psk().plain, both(pair.bob).psk().plain) == (False, plain)


@KINDS
def test_roles_are_those_of_the_line_and_nothing_opens_before_the_answer(kind: MediaKind) -> None:
    """KMS-85, KMS-86, BFCP-4: one end is client, the other server; who opens is active."""
    pair = pair_of()
    offer = pair.alice.text(CreateOffer(described(line_of(kind)), TO_BOB))
    pair.bob.text(AcceptOffer(offer.encode(), TO_BOB))
    assert pair.alice.connected == pair.bob.connected == []
    pair = called(pair_of(), kind)
    ours, theirs = pair.alice.connected[0].terms, pair.bob.connected[0].terms
    assert (ours.opens, theirs.opens) == (True, False)
    assert ours.client is not theirs.client


def test_audio_and_chat_are_under_one_attribute() -> None:
    """KMS-61, KMS-63: audio 1 and 2, then MSRP 3."""
    pair = called(pair_of(), MSRP, AUDIO)
    assert pair.offer.index("a=key-mgmt:") < pair.offer.index("m=")
    bundle = both(pair.alice).session._bundles[None]
    assert bundle._held is not None
    assert [(s.cs_id, s.protocol) for s in bundle._held.sessions] == [
        (1, Protocol.SRTP),
        (2, Protocol.SRTP),
        (3, Protocol.TLS),
    ]
    assert both(pair.alice).psk().key == both(pair.bob).psk().key
    audio, chat = pair.alice.session.lines
    assert (audio.mechanism, chat.mechanism) == (Mechanism.MIKEY_TICKET, Mechanism.TLS_PSK)
    assert chat.identity == audio.identity == BOB.decode()


def test_what_is_told_of_a_line() -> None:
    """The keys are in place when the connection stands; who has the other end is verified."""
    pair = called(pair_of(), MSRP)
    line = pair.bob.session.lines[0]
    assert (line.scope, line.identity, line.identity_basis) == (Scope.E2E, ALICE.decode(), "verified")
    assert not line.keys_in_place
    pair.bob.hears_of(StreamSecured(0, "ECDHE-PSK-AES128-GCM-SHA256"))
    line = pair.bob.session.lines[0]
    assert (line.keys_in_place, line.assured, line.suite) == (True, True, "ECDHE-PSK-AES128-GCM-SHA256")


def test_a_later_offer_leaves_the_connection_and_a_lost_one_is_made_anew_with_the_same_key() -> None:
    """KMS-50, MSRP-13."""
    pair = called(pair_of(), MSRP)
    first = bytes(both(pair.alice).psk().key.reveal())
    called(pair, MSRP, by_bob=False)
    assert len(pair.alice.connected) == len(pair.bob.connected) == 1
    for agent in (pair.alice, pair.bob):
        agent.hears_of(StreamEnded(0, "truncated"))
    called(pair, MSRP)
    assert len(pair.alice.connected) == len(pair.bob.connected) == 2
    assert both(pair.bob).psk().key.reveal() == first


def test_an_answer_without_key_makes_no_connection() -> None:
    """KMS-48, KMS-86: no fallback."""
    pair = pair_of()
    offer = pair.alice.text(CreateOffer(described(line_of(MSRP)), TO_BOB))
    pair.bob.text(AcceptOffer(offer.encode(), TO_BOB))
    answer = pair.bob.text(CreateAnswer(described(line_of(MSRP, 9, "active", "dialer2"))))
    stripped = "".join(line for line in answer.splitlines(keepends=True) if "key-mgmt" not in line)
    assert pair.alice.error(AcceptAnswer(stripped.encode(), final=True)).code == "mikey_missing"
    assert pair.alice.connected == []


def test_without_the_kms_a_chat_is_not_carried_unless_the_edge_does_tls() -> None:
    """POL-2: the next best is TLS to an access edge; without one the line goes out closed."""
    world = World()
    alone = Both("alice", KMS_POLICY, world=world, silent=True)
    told = alone.do(CreateOffer(described(AUDIO, line_of(MSRP)), TO_BOB))
    assert isinstance(told, ReplySdp)
    assert m_line(told.sdp.decode(), 1).split()[1] == "0"
    assert alone.streams == {}
    at_edge = Both("alice", KMS_POLICY, world=world, silent=True, certificates=True)
    sdp = at_edge.text(CreateOffer(described(line_of(MSRP)), replace(AT_EDGE, called=BOB.decode())))
    assert "a=fingerprint" in sdp
    assert "key-mgmt" not in sdp
    assert at_edge.session.lines[0].mechanism is Mechanism.TLS


def test_a_far_end_that_refuses_gets_tls_to_its_edge() -> None:
    """POL-6."""
    alice = Both("alice", KMS_POLICY, certificates=True)
    evidence = replace(AT_EDGE, called=BOB.decode())
    assert "key-mgmt" in alice.text(CreateOffer(described(AUDIO, line_of(MSRP)), evidence))
    retry = alice.text(OfferFailed(488))
    assert "key-mgmt" not in retry
    assert m_line(retry, 1).split()[2] == "TCP/TLS/MSRP"
    assert "a=fingerprint" in retry


def test_a_demand_for_the_kms_is_one_for_chats_too() -> None:
    """POL-4."""
    alice = Both("alice", replace(KMS_POLICY, kms_e2e=Setting.REQUIRED), silent=True, certificates=True)
    error = alice.error(CreateOffer(described(line_of(MSRP)), replace(AT_EDGE, called=BOB.decode())))
    assert error.code == "security_required"


def test_the_end_leaves_no_key() -> None:
    """DYN-20."""
    with tracked_secrets() as made:
        pair = called(pair_of(), MSRP, AUDIO)
        for agent in (pair.alice, pair.bob):
            agent.do(Release())
            for effect in agent.connected:
                assert isinstance(effect.credentials, PskCredentials)
                effect.credentials.key.wipe()  # the runner's part
            agent.effects, agent.connected = [], []
            both(agent).asked = []
    assert [secret for secret in held(made) if secret is not both(pair.alice).world.tpk] == []


def test_a_kms_that_answers_late_makes_the_line_wait() -> None:
    alice = Both("alice", KMS_POLICY, hold=True)
    todo: list[Effect] = alice.session.execute(CreateOffer(described(line_of(MSRP)), TO_BOB), 0.0)
    while todo:
        todo = [more for effect in todo for more in alice._perform(effect)]
    assert alice.session.state == "opening"
    effects = alice.session.receive(KmsAnswered(None, KmsUnreachable(refused=True)), 0.0)
    assert not any(isinstance(effect, ConnectStream) for effect in effects)
    assert alice.session.state == "new"
