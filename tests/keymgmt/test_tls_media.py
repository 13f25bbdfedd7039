"""Offer and answer of MSRP and BFCP over TLS and of UDPTL over DTLS, two mechanisms back to back, without a network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from support.channels import new_identity
from support.pair import SeededRng

from ueagent.channel.credentials import Identity
from ueagent.errors import AgentError, NegotiationFailed, UnexpectedMessage
from ueagent.keymgmt.mechanism import (
    AnswerRequested,
    ChannelLost,
    ChannelReady,
    Closed,
    Failed,
    Input,
    OfferRequested,
    PutAttributes,
    RemoteAnswer,
    RemoteOffer,
    RolledBack,
    Settled,
)
from ueagent.keymgmt.tls_media import TRANSITIONS, TlsMedia, create
from ueagent.model.media import Endpoint, MediaKind, Place
from ueagent.model.security import (
    ChannelTerms,
    Fingerprint,
    Mechanism,
    MediaPlan,
    Scope,
    SecurityPolicy,
    SetupRole,
)
from ueagent.wire.dtls_attributes import DtlsParameters

MSRP, BFCP, UDPTL = MediaKind.MSRP, MediaKind.BFCP, MediaKind.UDPTL
KINDS = pytest.mark.parametrize("kind", [MSRP, BFCP, UDPTL])
ACTIVE, PASSIVE, ACTPASS = SetupRole.ACTIVE, SetupRole.PASSIVE, SetupRole.ACTPASS
ALICE, BOB = new_identity(), new_identity()


@dataclass
class End:
    kind: MediaKind
    address: str
    identity: Identity
    policy: SecurityPolicy = field(default_factory=SecurityPolicy)

    def __post_init__(self) -> None:
        mechanism = Mechanism.DTLS if self.kind is UDPTL else Mechanism.TLS
        plan = MediaPlan(0, self.kind, mechanism, Scope.E2AE)
        self.mechanism: TlsMedia = create(plan, self.policy, SeededRng(self.address), self.identity)
        self.endpoint = Endpoint(self.address, 4000, 4000)
        self.terms: list[ChannelTerms] = []

    def do(self, event: Input) -> DtlsParameters | None:
        put = None
        for output in self.mechanism.handle(event, 0.0):
            match output:
                case PutAttributes((DtlsParameters() as only,)):
                    put = only
                case ChannelReady(terms, _):
                    self.terms.append(terms)
                case Failed(error):
                    raise error
                case _:
                    raise AssertionError(output)
        return put


class Pair:
    def __init__(self, kind: MediaKind, alice: SecurityPolicy | None = None, bob: SecurityPolicy | None = None) -> None:
        self.alice = End(kind, "192.0.2.1", ALICE, alice or SecurityPolicy())
        self.bob = End(kind, "192.0.2.2", BOB, bob or SecurityPolicy())

    def exchange(
        self, *, by_bob: bool = False, fresh: bool = False, moved: bool = False
    ) -> tuple[DtlsParameters, DtlsParameters]:
        offerer, answerer = (self.bob, self.alice) if by_bob else (self.alice, self.bob)
        offer = offerer.do(OfferRequested(fresh))
        assert offer is not None
        answerer.do(RemoteOffer((offer,), moved, offerer.endpoint))
        answer = answerer.do(AnswerRequested())
        assert answer is not None
        answerer.do(Settled())
        offerer.do(RemoteAnswer((answer,), False, answerer.endpoint))
        offerer.do(Settled())
        return offer, answer


def refused(call: object) -> AgentError:
    with pytest.raises(AgentError) as caught:
        call()  # type: ignore[operator]
    return caught.value


@KINDS
def test_the_two_ends_take_opposite_roles_and_expect_each_others_certificate(kind: MediaKind) -> None:
    """MSRP-1, MSRP-7, BFCP-8, T38-3: one opens, one is client, and each knows the other's fingerprint."""
    pair = Pair(kind)
    pair.exchange()
    (a,), (b,) = pair.alice.terms, pair.bob.terms
    assert a.opens is not b.opens
    assert a.client is not b.client
    assert a.accepted == frozenset(BOB.fingerprints())
    assert b.accepted == frozenset(ALICE.fingerprints())
    assert (a.peer, b.peer) == (Place("192.0.2.2", 4000), Place("192.0.2.1", 4000))


def test_msrp_offers_actpass_and_answers_passive_without_connection_and_tls_id() -> None:
    """MSRP-5, MSRP-6."""
    offer, answer = Pair(MSRP).exchange()
    assert (offer.setup, answer.setup) == (ACTPASS, PASSIVE)
    for parameters in (offer, answer):
        assert parameters.connection is None
        assert parameters.tls_id is None


def test_behind_a_nat_we_open_in_offers_and_in_answers() -> None:
    """MSRP-5."""
    nat = SecurityPolicy(streams_active=True)
    offer, answer = Pair(MSRP, alice=nat).exchange()
    assert (offer.setup, answer.setup) == (ACTIVE, PASSIVE)
    offer, answer = Pair(MSRP, bob=nat).exchange()
    assert (offer.setup, answer.setup) == (ACTPASS, ACTIVE)


def test_who_opens_an_msrp_connection_is_tls_client() -> None:
    """MSRP-7."""
    for policy in (SecurityPolicy(), SecurityPolicy(streams_active=True)):
        pair = Pair(MSRP, bob=policy)
        pair.exchange()
        assert all(terms.client is terms.opens for terms in (*pair.alice.terms, *pair.bob.terms))


@pytest.mark.parametrize("setup", [None, SetupRole.HOLDCONN])
def test_an_msrp_peer_without_setup_follows_rfc_4975(setup: SetupRole | None) -> None:
    """MSRP-5: holdconn is ignored; whoever offers opens."""
    alice = End(MSRP, "192.0.2.1", ALICE)
    alice.do(OfferRequested(False))
    alice.do(RemoteAnswer((DtlsParameters(BOB.fingerprints(), setup),), peer=Endpoint("192.0.2.2", 1, 1)))
    alice.do(Settled())
    assert alice.terms[0].opens
    bob = End(MSRP, "192.0.2.2", BOB)
    bob.do(RemoteOffer((DtlsParameters(ALICE.fingerprints(), setup),)))
    answer = bob.do(AnswerRequested())
    assert answer is not None
    assert answer.setup is PASSIVE


@pytest.mark.parametrize("kind", [BFCP, UDPTL])
@pytest.mark.parametrize("setup", [None, SetupRole.HOLDCONN])
def test_others_need_a_setup_that_can_be_answered(kind: MediaKind, setup: SetupRole | None) -> None:
    """T38-3, BFCP-2."""
    bob = End(kind, "192.0.2.2", BOB)
    error = refused(lambda: bob.do(RemoteOffer((DtlsParameters(ALICE.fingerprints(), setup),))))
    assert error.code == "bad_setup"
    assert bob.mechanism.state == "idle"


def test_a_received_tls_id_is_remembered_for_msrp_and_not_answered() -> None:
    """MSRP-6: another tls-id of the peer is another connection."""
    bob = End(MSRP, "192.0.2.2", BOB)
    for tls_id, connections in (("x" * 20, 1), ("x" * 20, 1), ("y" * 20, 2)):
        bob.do(RemoteOffer((DtlsParameters(ALICE.fingerprints(), ACTPASS, tls_id),)))
        answer = bob.do(AnswerRequested())
        assert answer is not None
        assert answer.tls_id is None
        bob.do(Settled())
        assert len(bob.terms) == connections


def test_bfcp_says_connection_new_and_then_existing() -> None:
    """BFCP-2, BFCP-7."""
    pair = Pair(BFCP)
    offer, answer = pair.exchange()
    assert (offer.connection, answer.connection) == ("new", "new")
    assert offer.tls_id is not None
    assert answer.tls_id is not None
    offer, answer = pair.exchange()
    assert (offer.connection, answer.connection) == ("existing", "existing")
    assert len(pair.alice.terms) == len(pair.bob.terms) == 1


def test_a_bfcp_offer_without_tls_id_is_answered_without() -> None:
    """BFCP-7: its absence is accepted."""
    bob = End(BFCP, "192.0.2.2", BOB)
    bob.do(RemoteOffer((DtlsParameters(ALICE.fingerprints(), ACTPASS, None, "new"),)))
    answer = bob.do(AnswerRequested())
    assert answer is not None
    assert answer.tls_id is None
    assert answer.connection == "new"


@pytest.mark.parametrize("answerer_opens", [False, True])
def test_the_answerer_is_tls_server_for_bfcp_whoever_opens(answerer_opens: bool) -> None:
    """BFCP-4, the default."""
    pair = Pair(BFCP, bob=SecurityPolicy(streams_active=answerer_opens))
    pair.exchange()
    (a,), (b,) = pair.alice.terms, pair.bob.terms
    assert a.client
    assert not b.client
    assert b.opens is answerer_opens
    assert a.may_swap
    assert b.may_swap


def test_by_the_switch_who_opens_is_client_for_bfcp() -> None:
    """BFCP-4, the operator's switch."""
    switched = SecurityPolicy(bfcp_active_is_client=True)
    pair = Pair(BFCP, alice=switched, bob=replace(switched, streams_active=True))
    pair.exchange()
    (a,), (b,) = pair.alice.terms, pair.bob.terms
    assert b.opens
    assert b.client
    assert not a.client


def test_bfcp_roles_do_not_change_while_the_connection_lives_on() -> None:
    """BFCP-4, BFCP-7: the re-offer of the other side makes nobody change places."""
    pair = Pair(BFCP)
    pair.exchange()
    pair.exchange(by_bob=True)
    assert len(pair.alice.terms) == len(pair.bob.terms) == 1


def test_a_peer_that_says_connection_new_gets_a_new_one() -> None:
    """BFCP-7."""
    bob = End(BFCP, "192.0.2.2", BOB)
    offer = DtlsParameters(ALICE.fingerprints(), ACTPASS, "x" * 20, "new")
    for count in (1, 2):
        bob.do(RemoteOffer((offer,)))
        bob.do(AnswerRequested())
        bob.do(Settled())
        assert len(bob.terms) == count


def test_t38_has_actpass_tls_id_and_no_connection() -> None:
    """T38-2, T38-3: as for DTLS-SRTP; active is recommended for the answer."""
    offer, answer = Pair(UDPTL).exchange()
    assert (offer.setup, answer.setup) == (ACTPASS, ACTIVE)
    assert offer.connection is None
    assert offer.tls_id is not None
    assert answer.tls_id is not None


def test_t38_shows_a_fingerprint_of_both_certificates() -> None:
    """T38-8: the same hash for each."""
    both = new_identity("ecdsa-p256", "rsa-3072")
    offer = End(UDPTL, "192.0.2.1", both).do(OfferRequested(False))
    assert offer is not None
    assert [one.hash for one in offer.fingerprints] == ["sha-256", "sha-256"]


@KINDS
def test_a_reoffer_that_changes_nothing_keeps_the_connection(kind: MediaKind) -> None:
    pair = Pair(kind)
    pair.exchange()
    pair.exchange()
    pair.exchange(by_bob=True)
    assert len(pair.alice.terms) == len(pair.bob.terms) == 1


@KINDS
def test_a_fresh_offer_makes_a_new_connection_where_the_line_can_say_so(kind: MediaKind) -> None:
    """T38-7, BFCP-7: by tls-id or connection; MSRP has no word for it, so both sides keep what they have."""
    pair = Pair(kind)
    pair.exchange()
    pair.exchange(fresh=True)
    assert len(pair.bob.terms) == (1 if kind is MSRP else 2)


@pytest.mark.parametrize("kind", [MSRP, BFCP])
def test_a_stream_whose_address_moved_is_made_anew(kind: MediaKind) -> None:
    """MSRP-13, BFCP-7."""
    pair = Pair(kind)
    pair.exchange()
    pair.exchange(moved=True)
    assert len(pair.bob.terms) == 2


def test_datagrams_survive_a_new_address_under_the_same_tls_id() -> None:
    """T38-3; RFC 8842, 3.1."""
    pair = Pair(UDPTL)
    pair.exchange()
    pair.exchange(moved=True)
    assert len(pair.bob.terms) == 1


@KINDS
def test_a_lost_connection_is_made_anew_by_the_next_exchange(kind: MediaKind) -> None:
    pair = Pair(kind)
    pair.exchange()
    for end in (pair.alice, pair.bob):
        end.do(ChannelLost())
    pair.exchange()
    assert len(pair.alice.terms) == len(pair.bob.terms) == 2


@KINDS
def test_a_failed_exchange_changes_nothing(kind: MediaKind) -> None:
    pair = Pair(kind)
    pair.exchange()
    offer = pair.alice.do(OfferRequested(True))
    assert offer is not None
    pair.bob.do(RemoteOffer((offer,)))
    pair.bob.do(AnswerRequested())
    pair.bob.do(RolledBack())
    pair.alice.do(RolledBack())
    pair.exchange()
    assert len(pair.alice.terms) == len(pair.bob.terms) == 1


@KINDS
@pytest.mark.parametrize("fingerprints", [(), (Fingerprint("sha-1", b"x" * 20),), (Fingerprint("md5", b"x" * 16),)])
def test_a_line_without_a_good_fingerprint_is_refused(kind: MediaKind, fingerprints: tuple[Fingerprint, ...]) -> None:
    """MSRP-1, BFCP-8: also with hashes that nobody should use (RFC 8122, 5)."""
    bob = End(kind, "192.0.2.2", BOB)
    error = refused(lambda: bob.do(RemoteOffer((DtlsParameters(fingerprints, ACTPASS),))))
    assert isinstance(error, NegotiationFailed)
    assert bob.mechanism.state == "idle"


@KINDS
@pytest.mark.parametrize("answer", [ACTPASS, None])
def test_an_answer_that_names_no_role_is_refused(kind: MediaKind, answer: SetupRole | None) -> None:
    if kind is MSRP and answer is None:
        answer = ACTPASS  # without one it means passive there
    alice = End(kind, "192.0.2.1", ALICE)
    alice.do(OfferRequested(False))
    error = refused(lambda: alice.do(RemoteAnswer((DtlsParameters(BOB.fingerprints(), answer),))))
    assert error.code == "bad_setup"


def test_an_answer_must_leave_us_the_role_that_we_offered() -> None:
    """MSRP-5: to an offer of active nobody answers active."""
    alice = End(MSRP, "192.0.2.1", ALICE, SecurityPolicy(streams_active=True))
    alice.do(OfferRequested(False))
    error = refused(lambda: alice.do(RemoteAnswer((DtlsParameters(BOB.fingerprints(), ACTIVE),))))
    assert error.code == "bad_setup"


@KINDS
def test_a_line_on_hold_before_it_began_gets_its_terms_when_the_place_is_known(kind: MediaKind) -> None:
    bob = End(kind, "192.0.2.2", BOB)
    for peer in (None, Endpoint("192.0.2.1", 4000, 4000)):
        bob.do(RemoteOffer((DtlsParameters(ALICE.fingerprints(), ACTPASS, "x" * 20),), peer=peer))
        bob.do(AnswerRequested())
        bob.do(Settled())
    assert [terms.peer for terms in bob.terms] == [None, Place("192.0.2.1", 4000)]


def test_an_event_out_of_place_is_refused_in_every_state() -> None:
    events: tuple[Input, ...] = (Settled(), RolledBack(), AnswerRequested(), RemoteAnswer(()))
    for event in events:
        error = refused(lambda event=event: End(MSRP, "192.0.2.1", ALICE).do(event))
        assert isinstance(error, UnexpectedMessage)
        assert error.expected == tuple(sorted(TRANSITIONS["idle"]))
    closed = End(MSRP, "192.0.2.1", ALICE)
    closed.do(Closed())
    assert isinstance(refused(lambda: closed.do(OfferRequested(False))), UnexpectedMessage)
