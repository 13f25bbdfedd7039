"""DTLS-SRTP of one media line, two mechanisms back to back (`ueagent/keymgmt/dtls_srtp.py`, `dtls_association.py`)."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.channels import new_identity
from support.dtls_pair import DtlsPair, End, bad_path, error_of

from ueagent.channel.channel import Role
from ueagent.channel.records import begins_association, split_records
from ueagent.errors import NegotiationFailed, UnexpectedMessage
from ueagent.keymgmt.dtls_association import MAX_CANDIDATES, Association
from ueagent.keymgmt.dtls_srtp import GIVE_UP, SEND_LATER, TRANSITIONS
from ueagent.keymgmt.mechanism import (
    AllAnswered,
    AnswerRequested,
    Closed,
    DatagramReceived,
    Failed,
    OfferRequested,
    RemoteAnswer,
    RemoteOffer,
    RolledBack,
    SendDatagram,
    Settled,
    TimerFired,
)
from ueagent.model.media import Component, Place
from ueagent.model.security import Fingerprint, SecurityPolicy, SetupRole
from ueagent.model.suites import SUITES
from ueagent.wire.dtls_attributes import DtlsParameters

STRANGER = Place("203.0.113.66", 6666)
PASSIVE = SecurityPolicy(dtls_passive_answer=True)


def pair(*, mux: bool = True, bob: SecurityPolicy | None = None, **options: object) -> DtlsPair:
    return DtlsPair(
        End("alice", "192.0.2.10", mux=mux),
        End("bob", "192.0.2.20", mux=mux, policy=bob or SecurityPolicy()),
        **options,  # type: ignore[arg-type]
    )


def hello(to: End, source: Place) -> Association:
    """A stranger's association that wants to be a client of `to`; its datagrams go through `exchange_with`."""
    stranger = Association(to.mechanism._means, rtcp=False)
    stranger._accepted = None
    stranger.connect(to.place(False), 0.0)
    return stranger


def exchange_with(one: End, stranger: Association, source: Place = STRANGER, rounds: int = 6) -> None:
    for _ in range(rounds):
        for sent in stranger.datagrams:
            one.do(DatagramReceived(sent.data, source))
        stranger.datagrams = []
        back, one.sent = [sent for sent in one.sent if sent.to == source], [s for s in one.sent if s.to != source]
        for sent in back:
            stranger.take(sent.data, one.place(False), 0.0)


# -------------------------------------------------------------------------------------------------------- signalling --


def test_an_offer_says_actpass_with_a_fingerprint_and_a_new_id() -> None:
    """DTLS-2, DTLS-3: 192 random bits in 32 characters, and no a=connection."""
    offer = DtlsPair().offer()
    assert offer.setup is SetupRole.ACTPASS
    assert [one.hash for one in offer.fingerprints] == ["sha-256"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", str(offer.tls_id))
    assert offer.connection is None


def test_two_lines_have_ids_of_their_own() -> None:
    """DTLS-3, DYN-17."""
    assert pair().offer().tls_id != DtlsPair(End("other", "192.0.2.10")).offer().tls_id


@pytest.mark.parametrize(
    ("asked", "policy", "answered"),
    [
        (SetupRole.ACTPASS, SecurityPolicy(), SetupRole.ACTIVE),
        (SetupRole.ACTPASS, PASSIVE, SetupRole.PASSIVE),
        (SetupRole.ACTIVE, SecurityPolicy(), SetupRole.PASSIVE),
        (SetupRole.PASSIVE, PASSIVE, SetupRole.ACTIVE),
    ],
)
def test_the_answer_takes_the_role_that_is_left(asked: SetupRole, policy: SecurityPolicy, answered: SetupRole) -> None:
    """DTLS-4, DTLS-5."""
    calls = pair(bob=policy)
    offer = replace(calls.offer(), setup=asked)
    assert calls.answer(offer).setup is answered


def test_an_answer_has_an_id_only_where_the_offer_had_one() -> None:
    """DTLS-4."""
    assert pair().answer(replace(pair().offer(), tls_id=None)).tls_id is None
    assert pair().answer(pair().offer()).tls_id is not None


@pytest.mark.parametrize("setup", [None, SetupRole.HOLDCONN])
def test_an_offer_without_a_usable_role_is_refused(setup: SetupRole | None) -> None:
    """DTLS-4."""
    calls = pair()
    offer = replace(calls.offer(), setup=setup)
    assert error_of(lambda: calls.answer(offer)).code == "bad_setup"
    assert calls.bob.mechanism.state == "idle"


@pytest.mark.parametrize("setup", [None, SetupRole.HOLDCONN, SetupRole.ACTPASS])
def test_an_answer_without_a_usable_role_is_refused(setup: SetupRole | None) -> None:
    """DTLS-4."""
    calls = pair()
    answer = replace(calls.answer(calls.offer()), setup=setup)
    assert error_of(lambda: calls.alice.do(RemoteAnswer((answer,)))).code == "bad_setup"
    assert calls.alice.mechanism.state == "offering"


@pytest.mark.parametrize(
    ("fingerprints", "code"),
    [((), "no_fingerprint"), ((Fingerprint("sha-1", bytes(20)), Fingerprint("md5", bytes(16))), "weak_fingerprint")],
)
def test_missing_and_weak_fingerprints_are_refused_in_both_roles(
    fingerprints: tuple[Fingerprint, ...], code: str
) -> None:
    """DTLS-6, POL-10."""
    calls = pair()
    offer = calls.offer()
    assert error_of(lambda: calls.answer(replace(offer, fingerprints=fingerprints))).code == code
    answer = replace(pair().answer(offer), fingerprints=fingerprints)
    assert error_of(lambda: calls.alice.do(RemoteAnswer((answer,)))).code == code


# --------------------------------------------------------------------------------------------------------- handshake --


@pytest.mark.parametrize("mux", [True, False])
@pytest.mark.parametrize("policy", [SecurityPolicy(), PASSIVE], ids=["active", "passive"])
def test_both_sides_get_the_same_keys(mux: bool, policy: SecurityPolicy) -> None:
    """DTLS-14, DTLS-15: one association where RTP and RTCP share a port, else two with keys of their own."""
    calls = pair(mux=mux, bob=policy)
    calls.call()
    assert calls.alice.secured
    assert calls.bob.secured
    if mux:
        assert calls.speaks()
        return
    assert calls.speaks(Component.RTP)
    assert calls.speaks(Component.RTCP)
    rtp, rtcp = (calls.alice.keys[part][0].send.key for part in (Component.RTP, Component.RTCP))
    assert rtp != rtcp


@pytest.mark.parametrize(
    "name", ["AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"]
)
def test_each_profile_alone_gives_keys_of_its_lengths(name: str) -> None:
    """DTLS-11, DTLS-12, DTLS-14, SRTP-16: and all else is as by default, without an MKI."""
    calls = DtlsPair(End("alice", "192.0.2.10", profiles=(name,)), End("bob", "192.0.2.20"))
    if name.endswith("_32"):
        calls.bob = End("bob", "192.0.2.20", profiles=(name,))
    calls.call()
    keys = calls.alice.keys[Component.BOTH][0]
    assert keys.suite.name == name
    assert (len(keys.send.key), len(keys.send.salt)) == (keys.suite.key_length, keys.suite.salt_length)
    assert keys.receive_window == SecurityPolicy().audio_window
    assert [(one.mki, one.lifetime) for one in (keys.send, *keys.receive)] == [(None, None), (None, None)]


@pytest.mark.parametrize("policy", [SecurityPolicy(), PASSIVE], ids=["active", "passive"])
def test_no_common_profile_ends_the_line_on_both_sides(policy: SecurityPolicy) -> None:
    """DTLS-10."""
    calls = DtlsPair(
        End("alice", "192.0.2.10", profiles=("AEAD_AES_256_GCM",)),
        End("bob", "192.0.2.20", profiles=("AES_CM_128_HMAC_SHA1_80",), policy=policy),
    )
    calls.call()
    assert calls.alice.lost == ["no_srtp_profile"]
    assert calls.bob.lost == ["no_srtp_profile"]
    assert not calls.alice.secured


def test_the_answerer_begins_as_soon_as_its_answer_stands() -> None:
    """DTLS-21: early media, also in a 183."""
    calls = pair()
    calls.answer(calls.offer())
    assert calls.bob.sent == []
    calls.bob.do(Settled())
    assert [sent.to for sent in calls.bob.sent] == [calls.alice.place(False)]


def test_a_hello_before_the_answer_is_answered_and_its_keys_wait() -> None:
    """DTLS-9: the handshake completes, and nobody gets keys before the fingerprint is known."""
    calls = pair()
    answer = calls.answer(calls.offer())
    calls.bob.do(Settled())
    calls.pump()
    assert calls.bob.secured
    assert not calls.alice.secured
    calls.alice.do(RemoteAnswer((answer,), False, calls.bob.endpoint))
    assert not calls.alice.secured
    calls.alice.do(Settled())
    assert calls.speaks()


def test_a_late_copy_of_a_hello_does_not_end_an_early_handshake() -> None:
    """DTLS-9: finished before the answer; a copy has a valid cookie and is nevertheless no new beginning."""
    calls = pair()
    offer = calls.offer()
    answer = calls.answer(offer)
    hellos: list[bytes] = []

    def path(datagram: bytes) -> list[bytes]:
        hellos.extend([datagram] if begins_association(datagram) else [])
        return [datagram]

    calls.path = path
    calls.bob.do(Settled())
    calls.pump()
    assert len(hellos) == 2
    for copy in hellos:
        calls.alice.do(DatagramReceived(copy, calls.bob.place(False)))
    calls.alice.do(RemoteAnswer((answer,), False, calls.bob.endpoint))
    calls.alice.do(Settled())
    assert calls.speaks()


def test_a_peer_that_begins_anew_before_the_answer_is_heard() -> None:
    """DTLS-9: another hello from its place, with a random of its own."""
    calls = pair()
    offer = calls.offer()
    answer = calls.answer(offer)
    exchange_with(calls.alice, hello(calls.alice, calls.bob.place(False)), calls.bob.place(False))
    calls.bob.do(Settled())
    calls.pump()
    calls.alice.do(RemoteAnswer((answer,), False, calls.bob.endpoint))
    calls.alice.do(Settled())
    assert calls.speaks()


def test_an_early_handshake_of_the_wrong_one_gives_no_keys() -> None:
    """DTLS-8, DTLS-9."""
    calls = pair()
    answer = calls.answer(calls.offer())
    calls.bob.do(Settled())
    calls.pump()
    wrong = replace(answer, fingerprints=new_identity().fingerprints())
    calls.alice.do(RemoteAnswer((wrong,), False, calls.bob.endpoint))
    calls.alice.do(Settled())
    assert calls.alice.lost == ["fingerprint_mismatch"]
    assert not calls.alice.secured


@pytest.mark.parametrize("liar", ["alice", "bob"])
@pytest.mark.parametrize("policy", [SecurityPolicy(), PASSIVE], ids=["active", "passive"])
def test_a_wrong_fingerprint_is_refused_in_both_roles(liar: str, policy: SecurityPolicy) -> None:
    """DTLS-8: also when only one bit is wrong."""
    calls = pair(bob=policy)
    offer = calls.offer()
    answer = calls.answer(_one_bit_off(offer) if liar == "alice" else offer)
    calls.bob.do(Settled())
    calls.alice.do(RemoteAnswer((_one_bit_off(answer) if liar == "bob" else answer,), False, calls.bob.endpoint))
    calls.alice.do(Settled())
    calls.pump()
    deceived = calls.bob if liar == "alice" else calls.alice
    assert deceived.lost == ["fingerprint_mismatch"]
    assert not deceived.secured


def _one_bit_off(parameters: DtlsParameters) -> DtlsParameters:
    digest = bytearray(parameters.fingerprints[0].digest)
    digest[7] ^= 0x10
    return replace(parameters, fingerprints=(Fingerprint("sha-256", bytes(digest)),))


def test_keys_want_a_change_before_two_to_the_thirty_one_packets() -> None:
    """DTLS-25: of any profile; no lifetime is signalled."""
    for name in (*SecurityPolicy().dtls_profiles, "AES_CM_128_HMAC_SHA1_32"):
        assert SUITES[name].rekey_at <= 1 << 31
    calls = pair()
    calls.call()
    assert calls.alice.keys[Component.BOTH][0].send.lifetime is None


def test_a_silent_peer_is_given_up_after_fifteen_seconds() -> None:
    """DTLS-23."""
    calls = pair(path=lambda datagram: [])
    calls.exchange()
    assert max(calls.alice.waits) == GIVE_UP == 15.0
    calls.later(14.9)
    assert calls.alice.lost == []
    calls.later(0.2)
    assert calls.alice.lost == ["handshake_timeout"]
    assert calls.bob.lost == ["handshake_timeout"]


def test_no_timer_is_left_when_both_have_their_keys() -> None:
    """DTLS-23."""
    calls = pair()
    calls.call()
    calls.alice.waits = []
    calls.later(100.0)
    assert calls.alice.waits == []
    assert calls.alice.lost == []


def test_a_line_without_rtcp_keys_goes_on_with_rtp() -> None:
    """DTLS-15: and says so."""
    calls = pair(mux=False)
    calls.exchange()
    calls.alice.sent = [sent for sent in calls.alice.sent if not sent.rtcp]
    calls.bob.sent = [sent for sent in calls.bob.sent if not sent.rtcp]
    calls.pump()
    calls.later(16.0)
    for one in (calls.alice, calls.bob):
        assert one.keys[Component.RTP]
        assert one.lost == []
        assert one.faults == ["rtcp_not_keyed"]


# ------------------------------------------------------------------------------------------------------ bad networks --


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_repeated_and_reordered_datagrams_do_no_harm(seed: int) -> None:
    calls = pair(mux=False, path=bad_path(seed, repeat=0.5), reorder=random.Random(seed))
    calls.call()
    for _ in range(4):
        if calls.alice.secured and calls.bob.secured:
            break
        calls.wait()
        calls.pump()
    assert calls.speaks(Component.RTP)
    assert calls.speaks(Component.RTCP)
    assert [len(keys) for keys in calls.alice.keys.values()] == [0, 1, 1]


@pytest.mark.parametrize("seed", range(2))
def test_lost_datagrams_are_sent_again(seed: int) -> None:
    """DTLS-23: by the library's timers, which are real; the test waits for them."""
    calls = pair(path=bad_path(seed, loss=0.25))
    calls.call()
    for _ in range(6):
        if calls.alice.secured and calls.bob.secured:
            break
        calls.wait()
        calls.pump()
    assert calls.speaks()


def test_no_datagram_is_larger_than_the_path() -> None:
    """DTLS-29."""
    sizes: list[int] = []

    def measured(datagram: bytes) -> list[bytes]:
        sizes.append(len(datagram))
        return [datagram]

    calls = pair(bob=SecurityPolicy(dtls_mtu=500), path=measured)
    calls.alice = End("alice", "192.0.2.10", policy=SecurityPolicy(dtls_mtu=500))
    calls.call()
    assert calls.speaks()
    assert max(sizes) <= 500


# ---------------------------------------------------------------------------------------------- later offers, re-key --


@pytest.mark.parametrize("by_bob", [False, True])
def test_a_refresh_keeps_the_association(by_bob: bool) -> None:
    """DTLS-17, DTLS-19: same id and fingerprint, actpass again; no hello, no keys."""
    calls = pair()
    first_offer, first_answer = calls.call()
    offer, answer = calls.exchange(calls.bob if by_bob else None)
    assert calls.alice.sent == calls.bob.sent == []
    assert [len(one.keys[Component.BOTH]) for one in (calls.alice, calls.bob)] == [1, 1]
    assert offer.setup is SetupRole.ACTPASS
    assert offer.tls_id == (first_answer if by_bob else first_offer).tls_id
    assert answer.setup is (SetupRole.PASSIVE if by_bob else SetupRole.ACTIVE)


@pytest.mark.parametrize("by_bob", [False, True])
def test_a_new_id_makes_a_new_association_with_new_keys(by_bob: bool) -> None:
    """DTLS-17, DTLS-24, DYN-10."""
    calls = pair()
    first, _ = calls.call()
    old = calls.alice.keys[Component.BOTH][0]
    offer, answer = calls.call(calls.bob if by_bob else None, fresh=True)
    assert offer.tls_id != first.tls_id
    assert answer.tls_id != first.tls_id
    assert [len(one.keys[Component.BOTH]) for one in (calls.alice, calls.bob)] == [2, 2]
    assert calls.speaks()
    assert calls.alice.keys[Component.BOTH][1].send.key != old.send.key


def test_the_server_of_a_rekey_sends_under_the_old_keys_until_the_client_has_the_new_ones() -> None:
    """DYN-10: it receives under both, so there is no gap."""
    calls = pair()
    calls.call()
    assert calls.alice.directions == [(True, True)]
    calls.call(fresh=True)
    assert calls.alice.directions[1:] == [(False, True)]  # alice offers, so bob is the client
    assert calls.bob.directions[1:] == [(True, True)]
    calls.later(SEND_LATER)
    assert calls.alice.directions[2:] == [(True, False)]
    sent, received = calls.alice.keys[Component.BOTH][2], calls.bob.keys[Component.BOTH][1]
    assert sent.send.key == received.receive[0].key


def test_the_old_association_lives_until_the_exchange_stands() -> None:
    """DTLS-18: a re-key that is refused costs nothing."""
    calls = pair()
    calls.call()
    before = calls.alice.mechanism._current
    calls.offer(fresh=True)
    calls.alice.do(RolledBack())
    assert calls.alice.mechanism._current is before
    calls.exchange()
    assert calls.alice.sent == []


def test_another_fingerprint_makes_a_new_association() -> None:
    """DTLS-17."""
    calls = pair()
    calls.call()
    calls.bob.mechanism._means = replace(calls.bob.mechanism._means, identity=new_identity())
    offer = calls.offer()
    changed = calls.answer(replace(offer, fingerprints=calls.alice.identity.fingerprints()))
    calls.alice.do(RemoteAnswer((changed,), False, calls.bob.endpoint))
    assert calls.alice.mechanism._proposed is not None
    current = calls.alice.mechanism._current
    assert current is not None
    assert calls.alice.mechanism._proposed.associations is not current.associations


def test_another_role_makes_a_new_association() -> None:
    """DTLS-17: bob was active and is asked to be passive."""
    calls = pair()
    calls.call()
    offer = replace(calls.offer(), setup=SetupRole.ACTIVE)
    answer = calls.answer(offer)
    assert answer.setup is SetupRole.PASSIVE
    current, proposed = calls.bob.mechanism._current, calls.bob.mechanism._proposed
    assert current is not None
    assert proposed is not None
    assert proposed.associations is not current.associations
    assert proposed.our_id != current.our_id


@pytest.mark.parametrize("moved", [False, True])
def test_without_an_id_a_new_address_makes_a_new_association(moved: bool) -> None:
    """DTLS-17."""
    calls = pair()
    old_style = replace(calls.offer(), tls_id=None)
    calls.answer(old_style)
    calls.bob.do(Settled())
    again = calls.answer(old_style, moved=moved)
    assert again.tls_id is None
    current, proposed = calls.bob.mechanism._current, calls.bob.mechanism._proposed
    assert current is not None
    assert proposed is not None
    assert (proposed.associations is current.associations) is not moved


def test_a_line_that_was_lost_begins_anew_with_the_next_offer() -> None:
    """DTLS-17: the same id cannot bring back what failed."""
    calls = pair(path=lambda datagram: [])
    first, _ = calls.exchange()
    calls.later(16.0)
    assert calls.alice.lost
    calls.path = lambda datagram: [datagram]
    calls.alice.sent = calls.bob.sent = []
    offer, _ = calls.call()
    assert offer.tls_id != first.tls_id
    assert calls.speaks()


def test_a_second_answer_replaces_the_first() -> None:
    """DYN-3: what the first answerer began is not what counts."""
    calls = pair()
    offer = calls.offer()
    first = calls.answer(offer)
    other = End("carol", "192.0.2.30")
    other.do(RemoteOffer((offer,), False, calls.alice.endpoint))
    second = other.do(AnswerRequested())
    assert second is not None
    calls.alice.do(RemoteAnswer((first,), False, calls.bob.endpoint))
    calls.alice.do(RemoteAnswer((second,), False, other.endpoint))
    calls.alice.do(Settled())
    other.do(Settled())
    calls.bob = other
    calls.pump()
    assert calls.speaks()


def test_two_answerers_may_begin_and_the_one_that_is_meant_wins() -> None:
    """DYN-3: told apart by where they come from; no mismatch is declared before the answer is in."""
    calls = pair()
    offer = calls.offer()
    answer = calls.answer(offer)
    exchange_with(calls.alice, hello(calls.alice, STRANGER))  # another branch of the fork finishes first
    calls.bob.do(Settled())
    calls.pump()
    calls.alice.do(RemoteAnswer((answer,), False, calls.bob.endpoint))
    calls.alice.do(Settled())
    assert calls.alice.lost == []
    assert calls.speaks()


@dataclass
class Fork:
    """An offer of Alice's that Bob answers early and Carol, too; where they answer passively Alice is the client."""

    bob_policy: SecurityPolicy = field(default_factory=SecurityPolicy)
    carol_policy: SecurityPolicy = field(default_factory=SecurityPolicy)

    def __post_init__(self) -> None:
        self.alice = End("alice", "192.0.2.10")
        self.bob = End("bob", "192.0.2.20", policy=self.bob_policy)
        self.carol = End("carol", "192.0.2.30", policy=self.carol_policy)
        offer = self.alice.do(OfferRequested(False))
        assert offer is not None
        self.answers = {}
        for one in (self.bob, self.carol):
            one.do(RemoteOffer((offer,), False, self.alice.endpoint))
            self.answers[one.name] = one.do(AnswerRequested())
            one.do(Settled())
        self.take(self.bob, early=True)

    def take(self, one: End, *, early: bool = False) -> None:
        answer = self.answers[one.name]
        assert answer is not None
        self.alice.do(RemoteAnswer((answer,), False, one.endpoint))
        self.alice.do(Settled(early))

    def pump(self) -> None:
        ends = (self.alice, self.bob, self.carol)
        while any(one.sent for one in ends):
            for sender in ends:
                sent, sender.sent = sender.sent, []
                for datagram in sent:
                    for receiver in ends:
                        if datagram.to == receiver.place(datagram.rtcp):
                            receiver.do(DatagramReceived(datagram.data, sender.place(datagram.rtcp), datagram.rtcp))

    def speaks_with(self, one: End) -> bool:
        return DtlsPair(self.alice, one).speaks()


@pytest.mark.parametrize("bob", [SecurityPolicy(), PASSIVE], ids=["bob active", "bob passive"])
@pytest.mark.parametrize("carol", [SecurityPolicy(), PASSIVE], ids=["carol active", "carol passive"])
def test_another_fork_takes_the_place_of_the_early_one(bob: SecurityPolicy, carol: SecurityPolicy) -> None:
    """DYN-3: her handshake, which came before her answer, counts then, and nobody was told of a mismatch."""
    fork = Fork(bob, carol)
    fork.pump()
    assert fork.speaks_with(fork.bob)
    early = len(fork.alice.keys[Component.BOTH])
    fork.take(fork.carol)
    fork.pump()
    assert (fork.alice.lost, fork.alice.faults, fork.carol.lost) == ([], [], [])
    assert len(fork.alice.keys[Component.BOTH]) == early + 1
    assert fork.speaks_with(fork.carol)
    assert fork.alice.directions[-1] == (True, True)
    assert len(fork.alice.mechanism._associations()) == 1


def test_the_fork_that_was_not_taken_is_refused_when_all_have_answered() -> None:
    """DYN-3: unmatched associations are closed on the final answer; the others go on."""
    fork = Fork()
    fork.pump()
    fork.alice.do(AllAnswered())
    (association,) = fork.alice.mechanism._associations()
    assert list(association._candidates) == [fork.bob.place(False)]
    assert fork.speaks_with(fork.bob)
    fork.alice.sent = []
    exchange_with(fork.alice, hello(fork.alice, STRANGER))
    assert fork.alice.sent == []
    with pytest.raises(UnexpectedMessage):
        fork.take(fork.carol)
    assert fork.speaks_with(fork.bob)


def test_an_early_fork_that_never_speaks_does_not_cost_the_other_her_handshake() -> None:
    """DTLS-23, DYN-3: its line is lost, and the next answer makes it good."""
    fork = Fork()
    fork.bob.sent = []
    fork.pump()
    fork.alice.do(TimerFired(), GIVE_UP)
    assert fork.alice.lost == ["handshake_timeout"]
    fork.take(fork.carol)
    fork.pump()
    assert fork.speaks_with(fork.carol)


def test_a_wrong_certificate_at_the_early_forks_own_place_is_refused_at_once() -> None:
    """DTLS-8: there it can be nobody else's."""
    fork = Fork()
    fork.bob.sent = []
    impostor = Association(replace(fork.alice.mechanism._means, identity=new_identity()), rtcp=False)
    impostor.connect(fork.alice.place(False), 0.0)
    exchange_with(fork.alice, impostor, fork.bob.place(False))
    assert fork.alice.lost == ["fingerprint_mismatch"]


def test_a_bad_answer_of_another_fork_changes_nothing() -> None:
    """DYN-3, SDES-16: the early one goes on, and the other may answer again."""
    fork = Fork()
    fork.pump()
    answer = fork.answers["carol"]
    assert answer is not None
    with pytest.raises(NegotiationFailed):
        fork.alice.do(RemoteAnswer((replace(answer, fingerprints=()),), False, fork.carol.endpoint))
    fork.alice.do(RemoteAnswer((answer,), False, fork.carol.endpoint))
    fork.alice.do(RolledBack())
    assert fork.speaks_with(fork.bob)
    fork.take(fork.carol)
    assert fork.speaks_with(fork.carol)


def test_a_later_offer_ends_the_wait_for_other_forks() -> None:
    fork = Fork()
    fork.pump()
    fork.alice.do(OfferRequested(False))
    fork.alice.do(RolledBack())
    with pytest.raises(UnexpectedMessage):
        fork.take(fork.carol)


# --------------------------------------------------------------------------------------------- under attack (server) --


def established_by_bob(calls: DtlsPair) -> None:
    calls.pump()
    assert calls.speaks()
    assert calls.alice.lost == calls.bob.lost == []


def test_a_stranger_with_another_certificate_is_dropped_and_the_call_goes_on() -> None:
    """DTLS-8: before the true handshake, after the answer."""
    calls = pair()
    calls.exchange()
    stranger = Association(replace(calls.alice.mechanism._means, identity=new_identity()), rtcp=False)
    stranger.connect(calls.alice.place(False), 0.0)
    exchange_with(calls.alice, stranger)
    assert not stranger.established
    established_by_bob(calls)


@pytest.mark.parametrize("mux", [True, False])
def test_a_wrong_certificate_from_elsewhere_is_told_at_once_and_ends_nothing(mux: bool) -> None:
    """DTLS-8: the peer behind a NAT, or an attacker; each rule is told once, whoever asks how often."""
    calls = pair(mux=mux)
    calls.exchange()
    for port in (1, 2, 3):
        place = Place("203.0.113.7", port)
        stranger = Association(replace(calls.alice.mechanism._means, identity=new_identity()), rtcp=False)
        stranger.connect(calls.alice.place(False), 0.0)
        exchange_with(calls.alice, stranger, place)
        assert calls.alice.faults == ["elsewhere_fingerprint_mismatch"]
    assert calls.alice.lost == []
    calls.later(GIVE_UP)
    assert calls.alice.lost == ["fingerprint_mismatch"]


def test_strangers_hellos_fill_no_memory_and_take_nobodys_place() -> None:
    """TLS-12: a thousand of them, each willing to show its cookie and no more."""
    calls = pair()
    calls.exchange()
    for number in range(200):
        place = Place("203.0.113.1", 1000 + number)
        stranger = hello(calls.alice, place)
        exchange_with(calls.alice, stranger, place, rounds=2)
    (association,) = calls.alice.mechanism._current.associations  # type: ignore[union-attr]
    assert len(association._candidates) <= MAX_CANDIDATES
    calls.alice.sent = []
    established_by_bob(calls)


def test_a_candidate_that_does_not_finish_is_dropped() -> None:
    calls = pair()
    calls.exchange()
    exchange_with(calls.alice, hello(calls.alice, STRANGER), rounds=2)
    (association,) = calls.alice.mechanism._current.associations  # type: ignore[union-attr]
    assert STRANGER in association._candidates
    calls.alice.do(TimerFired(), 11.0)
    assert STRANGER not in association._candidates


GARBAGE = st.binary(min_size=1, max_size=80) | st.builds(
    lambda kind, epoch, rest: bytes([kind, 0xFE, 0xFD, 0, epoch]) + rest,
    st.sampled_from([20, 21, 22, 23]),
    st.integers(0, 2),
    st.binary(max_size=60),
)


@given(st.lists(GARBAGE, max_size=10), st.sampled_from(["before", "during", "after"]))
@settings(max_examples=60, deadline=None)
def test_garbage_and_alerts_from_elsewhere_change_nothing(garbage: list[bytes], when: str) -> None:
    """DTLS-16."""
    calls = pair()
    alert = b"\x15\xfe\xfd" + bytes(8) + b"\0\x02\x02\x28"
    attack = [*garbage, alert]

    def strike() -> None:
        for one in (calls.alice, calls.bob):
            for datagram in attack:
                one.do(DatagramReceived(datagram, STRANGER))

    offer = calls.offer()
    if when == "before":
        strike()
    answer = calls.answer(offer)
    calls.bob.do(Settled())
    calls.alice.do(RemoteAnswer((answer,), False, calls.bob.endpoint))
    calls.alice.do(Settled())
    if when == "during":
        strike()
    calls.pump()
    if when == "after":
        strike()
        assert [sent for sent in calls.alice.sent if sent.to == STRANGER] == []
    assert calls.speaks()
    assert calls.alice.lost == calls.bob.lost == []


def test_an_established_line_listens_to_nobody_else() -> None:
    """No new association without signalling (DTLS-17)."""
    calls = pair()
    calls.call()
    stranger = hello(calls.alice, STRANGER)
    exchange_with(calls.alice, stranger)
    assert calls.alice.sent == []
    assert not stranger.established
    assert len(calls.alice.keys[Component.BOTH]) == 1


def test_a_client_listens_to_nobody_but_whom_it_called() -> None:
    calls = pair()
    calls.exchange()
    (association,) = calls.bob.mechanism._current.associations  # type: ignore[union-attr]
    assert association._role is Role.CLIENT
    for sent in calls.bob.sent:
        calls.bob.do(DatagramReceived(sent.data, STRANGER))
    established_by_bob(calls)


def test_a_peer_behind_another_address_is_known_by_its_fingerprint() -> None:
    """A NAT: what signalling says of the address is not what counts."""
    calls = pair()
    calls.exchange()
    calls.bob.address = "198.51.100.7"
    calls.bob.endpoint = replace(calls.bob.endpoint, address="198.51.100.7")
    calls.pump()
    assert calls.speaks()


def test_media_datagrams_never_reach_the_channel() -> None:
    """DTLS-16: the mechanism takes DTLS only, whatever is handed to it."""
    calls = pair()
    calls.exchange()
    calls.alice.do(DatagramReceived(b"\x80" + bytes(171), calls.bob.place(False)))
    established_by_bob(calls)


def test_the_last_flight_is_repeated_for_a_peer_that_missed_it() -> None:
    """RFC 6347, 4.2.4: after its own end of the handshake the server still answers."""
    calls = pair()
    calls.exchange()
    lost: list[bytes] = []

    def path(datagram: bytes) -> list[bytes]:
        last = any(record[0] == 20 for record in split_records(datagram))
        if last and calls.alice.secured and not lost:
            lost.append(datagram)
            return []
        return [datagram]

    calls.path = path
    calls.pump()
    assert lost
    assert not calls.bob.secured
    calls.wait()
    calls.pump()
    assert calls.speaks()
    assert len(calls.alice.keys[Component.BOTH]) == 1


# ------------------------------------------------------------------------------------------------------------ states --


@pytest.mark.parametrize("state", TRANSITIONS)
def test_what_does_not_belong_into_a_state_changes_nothing(state: str) -> None:
    events = [
        OfferRequested(False),
        RemoteOffer(()),
        AnswerRequested(),
        RemoteAnswer(()),
        Settled(),
        RolledBack(),
    ]
    for event in events:
        if type(event).__name__ in TRANSITIONS[state]:
            continue
        mechanism = pair().alice.mechanism
        mechanism._state = state
        (output,) = mechanism.handle(event, 0.0)
        assert isinstance(output, Failed)
        assert mechanism.state == state


def test_a_closed_line_hears_nothing() -> None:
    """DYN-20."""
    calls = pair()
    calls.call()
    calls.alice.do(Closed())
    assert calls.alice.mechanism.handle(DatagramReceived(b"\x16", STRANGER), 0.0) == []
    assert calls.alice.mechanism.handle(TimerFired(), 0.0) == []
    assert calls.alice.mechanism._associations() == []


def test_no_repr_shows_a_datagram_or_a_key() -> None:
    """POL-8."""
    calls = pair()
    calls.exchange()
    (sent,) = calls.bob.sent
    assert isinstance(sent, SendDatagram)
    assert sent.data.hex()[:20] not in repr(sent)
    assert "data" not in repr(DatagramReceived(b"x", STRANGER))
