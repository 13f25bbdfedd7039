"""Two sessions that agree on TLS for MSRP and BFCP and on DTLS for T.38: SDP, roles, what is connected and told."""

from __future__ import annotations

import pytest
from support.pair import plain
from support.stream_lines import (
    AT_EDGE,
    BFCP,
    FAX,
    HEAD,
    KINDS,
    MSRP,
    UDPTL,
    USUAL,
    StreamAgent,
    StreamPair,
    applied,
    description,
    line_of,
    m_line,
    nat,
    value,
    values,
)

from ueagent.channel.credentials import CertificateCredentials
from ueagent.model.media import MediaKind, Place
from ueagent.model.security import Mechanism, Scope, SecurityPolicy, Setting, Signalling
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    CreateAnswer,
    CreateOffer,
    DeclineOffer,
    Evidence,
    OfferFailed,
    Release,
    StreamEnded,
    StreamSecured,
)
from ueagent.session.effects import ConnectStream, Notify, ReplyDone, ReplySdp

EACH = pytest.mark.parametrize("kind", KINDS)
NOT_ANNOUNCED = Evidence(Signalling.INTEGRITY)
NETWORK_PROTO = {MSRP: "TCP/TLS/MSRP", BFCP: "TCP/TLS/BFCP", UDPTL: "UDP/TLS/UDPTL"}
PLAIN_PROTO = {MSRP: "TCP/MSRP", BFCP: "TCP/BFCP", UDPTL: "udptl"}


def called(kind: MediaKind, alice: StreamAgent | None = None, bob: StreamAgent | None = None) -> StreamPair:
    pair = StreamPair(alice or StreamAgent("alice"), bob or StreamAgent("bob", address="192.0.2.20"))
    return pair.call(description(kind), description(kind, setup="active", port=9, session="dialer2"))


@EACH
def test_a_line_crosses_the_network_secured_and_loopback_in_plain(kind: MediaKind) -> None:
    """MSRP-1, MSRP-3, BFCP-1, T38-2, SDP-4: transport, fingerprints and 3ge2ae:requested, in a line of the agent."""
    pair = called(kind)
    assert m_line(pair.offer).split()[2] == m_line(pair.answer).split()[2] == NETWORK_PROTO[kind]
    assert m_line(pair.to_callee).split()[2] == m_line(pair.to_caller).split()[2] == PLAIN_PROTO[kind]
    assert value(pair.offer, "3ge2ae") == "requested"
    assert "3ge2ae" not in pair.answer
    for text in (pair.offer, pair.answer):
        assert len(values(text, "fingerprint")) == (2 if kind is UDPTL else 1)
        assert "c=IN IP4 192.0.2." in text
        assert "127.0.0.1" not in text.partition("t=0 0")[2]
    for text in (pair.to_callee, pair.to_caller):
        for name in ("fingerprint", "3ge2ae", "tls-id"):
            assert f"a={name}" not in text
        assert "192.0.2" not in text.partition("t=0 0")[2]


@EACH
def test_each_side_connects_with_its_certificate_and_expects_the_others(kind: MediaKind) -> None:
    """MSRP-7, BFCP-8, T38-3, T38-6."""
    pair = called(kind)
    own = FAX if kind is UDPTL else USUAL
    (a,), (b,) = pair.alice.connected, pair.bob.connected
    assert a.terms.opens is not b.terms.opens
    assert a.terms.client is not b.terms.client
    assert a.terms.accepted == b.terms.accepted == frozenset(own.fingerprints())
    for one in (a, b):
        assert isinstance(one.credentials, CertificateCredentials)
        assert one.credentials.identity is own
        assert one.credentials.verify(own.own[0].certificate)
        assert not one.credentials.verify(FAX.own[1].certificate if own is USUAL else USUAL.own[0].certificate)


def test_msrp_has_a_path_of_ours_on_each_side_and_its_session_ids_are_unguessable() -> None:
    """MSRP-2: msrps towards the network, msrp towards the dialer, 80 random bits and more; accept-types pass."""
    pair = called(MSRP)
    ours, theirs = value(pair.offer, "path"), value(pair.answer, "path")
    shown = [value(text, "path") for text in (pair.to_callee, pair.to_caller)]
    assert ours.startswith("msrps://192.0.2.10:")
    assert theirs.startswith("msrps://192.0.2.20:")
    assert all(path.startswith("msrp://127.0.0.1:") for path in shown)
    sessions = {path.rpartition("/")[2].partition(";")[0] for path in (ours, theirs, *shown)}
    assert len(sessions) == 4
    assert all(len(session) * 4 >= 80 for session in sessions)
    assert [value(text, "accept-types") for text in (pair.offer, pair.to_callee)] == ["*", "*"]
    assert m_line(pair.offer).split()[1] == ours.split(":")[2].partition("/")[0]


def test_msrp_paths_are_handed_over_with_the_connection() -> None:
    """MSRP-2."""
    pair = called(MSRP)
    (a,), (b,) = pair.alice.connected, pair.bob.connected
    assert a.paths is not None
    assert b.paths is not None
    assert (a.paths.ours,) == b.paths.peer
    assert (b.paths.ours,) == a.paths.peer
    assert a.paths.ours.build().decode() == value(pair.offer, "path")
    assert a.paths.dialer[0].session_id == "dialer1"
    assert b.paths.dialer[0].session_id == "dialer2"
    assert a.paths.shown.build().decode() == value(pair.to_caller, "path")
    assert pair.alice.streams[0].session_id == a.paths.shown.session_id


def test_who_opens_the_connection_has_port_9() -> None:
    """MSRP-5, BFCP-2: in the m-line and in the path; setup is always there."""
    for kind in (MSRP, BFCP):
        pair = StreamPair(alice=nat("alice", "192.0.2.10"))
        pair.call(description(kind), description(kind, setup="passive"))
        assert value(pair.offer, "setup") == "active"
        assert value(pair.answer, "setup") == "passive"
        assert m_line(pair.offer).split()[1] == "9"
        pair = called(kind, bob=nat())
        assert value(pair.offer, "setup") == "actpass"
        assert value(pair.answer, "setup") == "active"
        assert m_line(pair.answer).split()[1] == "9"
        if kind is MSRP:
            assert ":9/" in value(pair.answer, "path")
            assert pair.bob.connected[0].paths is not None
            assert pair.bob.connected[0].paths.ours.build().decode() == value(pair.answer, "path")


@pytest.mark.parametrize("kind", [MSRP, BFCP])
def test_setup_roles_are_mirrored_to_the_dialers(kind: MediaKind) -> None:
    """MSRP-8: who opens on the network opens on loopback, so who must speak first does."""
    pair = called(kind)  # bob waits on the network
    assert value(pair.to_callee, "setup") == "actpass"
    assert value(pair.to_caller, "setup") == "passive"
    assert pair.alice.connected[0].terms.opens
    assert not pair.alice.connected[0].calls_dialer
    pair = called(kind, bob=nat())  # bob opens on the network
    assert value(pair.to_callee, "setup") == "passive"
    assert value(pair.to_caller, "setup") == "active"
    assert pair.alice.connected[0].calls_dialer
    assert pair.alice.dialers[0].place == Place("127.0.0.1", 2855)
    assert not pair.bob.connected[0].calls_dialer


def test_a_dialer_that_waits_is_called_and_one_without_a_port_is_not() -> None:
    """MSRP-7: a passive dialer names its port, or passes a descriptor and names port 9."""
    for port, calls in ((7000, True), (9, False)):
        pair = StreamPair()
        pair.call(description(MSRP), description(MSRP, setup="passive", port=port, session="dialer2"))
        assert pair.bob.connected[0].calls_dialer is calls


def test_bfcp_writes_connection_and_setup_on_both_sides_and_passes_the_rest() -> None:
    """BFCP-2, BFCP-3, BFCP-7."""
    pair = called(BFCP)
    for text in (pair.offer, pair.to_callee, pair.answer, pair.to_caller):
        assert value(text, "connection") == "new"
        assert [value(text, name) for name in ("floorctrl", "confid", "userid", "floorid", "bfcpver")] == [
            "c-s",
            "4321",
            "1234",
            "1 mstrm:10",
            "1",
        ]
    assert value(pair.offer, "tls-id")
    assert value(pair.answer, "tls-id")
    pair.call(description(BFCP), description(BFCP, setup="active", port=9))
    assert value(pair.offer, "connection") == value(pair.answer, "connection") == "existing"
    assert value(pair.to_callee, "connection") == value(pair.to_caller, "connection") == "existing"
    assert len(pair.alice.connected) == len(pair.bob.connected) == 1


def test_msrp_never_says_connection_or_tls_id_and_cema_by_policy() -> None:
    """MSRP-5, MSRP-6, MSRP-10."""
    pair = called(MSRP)
    for name in ("connection", "tls-id", "msrp-cema"):
        assert f"a={name}" not in pair.offer + pair.answer
    pair = called(MSRP, alice=StreamAgent("alice", SecurityPolicy(msrp_cema=True)))
    assert "a=msrp-cema\r\n" in pair.offer
    assert "cema" not in pair.to_callee


@pytest.mark.parametrize("cema", [True, False])
def test_with_cema_the_media_address_counts_and_not_the_path(cema: bool) -> None:
    """MSRP-10: a middlebox has changed c= and m= and left the path alone."""
    alice, bob = StreamAgent("alice"), StreamAgent("bob", address="192.0.2.20")
    offer = alice.text(CreateOffer(description(MSRP), AT_EDGE))
    bob.text(AcceptOffer(applied(offer).encode(), AT_EDGE))
    answer = bob.text(CreateAnswer(description(MSRP, setup="active", port=9)))
    port = m_line(answer).split()[1]
    changed = answer.replace("c=IN IP4 192.0.2.20", "c=IN IP4 198.51.100.1").replace(f"message {port}", "message 4444")
    changed += "a=msrp-cema\r\n" if cema else ""
    alice.text(AcceptAnswer(changed.encode(), final=True))
    wanted = Place("198.51.100.1", 4444) if cema else Place("192.0.2.20", int(port))
    assert alice.connected[0].terms.peer == wanted


def test_t38_offers_actpass_with_two_fingerprints_and_is_answered_active() -> None:
    """T38-2, T38-3, T38-8."""
    pair = called(UDPTL)
    assert value(pair.offer, "setup") == "actpass"
    assert value(pair.answer, "setup") == "active"
    assert value(pair.offer, "tls-id")
    assert "a=connection" not in pair.offer
    assert values(pair.offer, "T38FaxVersion") == values(pair.to_callee, "T38FaxVersion") == ["0"]
    assert pair.alice.streams[0].means is not None
    assert pair.alice.streams[0].means.dhe_rsa
    assert pair.alice.dialers[0].place == Place("127.0.0.1", 2855)
    assert "a=setup" not in pair.to_callee + pair.to_caller


@EACH
def test_the_dialer_is_told_when_a_line_is_secured_and_when_it_has_gone(kind: MediaKind) -> None:
    """POL-9, MSRP-7, BFCP-8, T38-6."""
    pair = called(kind)
    (line,) = pair.alice.session.lines
    assert (line.kind, line.scope, line.keys_in_place) == (kind, Scope.E2AE, False)
    assert line.mechanism is (Mechanism.DTLS if kind is UDPTL else Mechanism.TLS)
    assert line.peer == "access-edge"
    (told,) = pair.alice.hears_of(StreamSecured(0, "TLS_AES_128_GCM_SHA256"))
    assert isinstance(told, Notify)
    assert told.kind == "keys_in_place"
    (line,) = pair.alice.session.lines
    assert (line.keys_in_place, line.assured, line.suite) == (True, True, "TLS_AES_128_GCM_SHA256")
    (told,) = pair.alice.hears_of(StreamEnded(0, "fingerprint_mismatch"))
    assert isinstance(told, Notify)
    assert (told.kind, told.reason) == ("security_state", "fingerprint_mismatch")
    (line,) = pair.alice.session.lines
    assert (line.keys_in_place, line.assured, line.reason) == (False, False, "fingerprint_mismatch")


@EACH
def test_a_reoffer_keeps_the_connection_and_makes_a_new_one_where_it_was_lost(kind: MediaKind) -> None:
    """MSRP-13, T38-3: nothing changes, nothing is connected; after a loss on both sides the next exchange connects."""
    pair = called(kind)
    pair.call(description(kind), description(kind, setup="active", port=9, session="dialer2"))
    pair.call(
        description(kind, setup="actpass", session="dialer2"),
        description(kind, setup="active", port=9),
        by_bob=True,
    )
    assert (len(pair.alice.connected), len(pair.bob.connected)) == (1, 1)
    for agent in (pair.alice, pair.bob):
        agent.hears_of(StreamEnded(0, "connection_reset"))
    pair.call(description(kind), description(kind, setup="active", port=9, session="dialer2"))
    assert (len(pair.alice.connected), len(pair.bob.connected)) == (2, 2)


def test_another_path_of_the_peer_is_another_connection() -> None:
    """MSRP-13: one connection for one session."""
    pair = called(MSRP)
    other = value(pair.answer, "path").replace("/", "/x", 3).replace("msrps:/x/x", "msrps://")
    offer = pair.alice.text(CreateOffer(description(MSRP), AT_EDGE))
    assert value(offer, "path") == value(pair.offer, "path")
    pair.alice.text(AcceptAnswer(pair.answer.replace(value(pair.answer, "path"), other).encode(), final=True))
    assert len(pair.alice.connected) == 2


@EACH
def test_what_the_edge_did_not_announce_is_not_used(kind: MediaKind) -> None:
    """REG-10, REG-20: each medium has its own word, and no other stands in for it."""
    others = Evidence(Signalling.CONFIDENTIALITY, frozenset(Mechanism), streams=frozenset(KINDS) - {kind})
    error = StreamAgent().error(CreateOffer(description(kind), others))
    assert error.code == "not_announced"
    elsewhere = description(kind).replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 192.0.2.10")
    agent = StreamAgent()
    text = agent.text(CreateOffer(elsewhere, others))
    assert m_line(text).split()[2] == PLAIN_PROTO[kind]
    assert "3ge2ae" not in text
    assert "fingerprint" not in text
    assert agent.session.lines[0].reason == "not_announced"
    assert agent.error(AcceptOffer(applied(called(kind).offer).encode(), others)).code == "unexpected_command"
    assert StreamAgent().error(AcceptOffer(applied(called(kind).offer).encode(), others)).code == "policy"


def test_audio_goes_on_beside_a_line_that_cannot_be_secured() -> None:
    """SDP-15, REG-20: the line goes out closed, since nobody would carry it in plain; the dialer is told why."""
    agent = StreamAgent()
    text = agent.text(CreateOffer(plain() + line_of(MSRP).encode(), NOT_ANNOUNCED))
    assert m_line(text, 1).split()[1] == "0"
    assert [line.reason for line in agent.session.lines] == ["not_announced", "not_announced"]


def test_a_fax_is_secured_where_only_udptl_was_announced_and_audio_stays_plain() -> None:
    """REG-20, T38-4."""
    only = Evidence(Signalling.CONFIDENTIALITY, streams=frozenset({UDPTL}))
    text = StreamAgent().text(CreateOffer(plain() + line_of(UDPTL).encode(), only))
    assert m_line(text, 0).split()[2] == "RTP/AVP"
    assert m_line(text, 1).split()[2] == "UDP/TLS/UDPTL"


@pytest.mark.parametrize("proto", ["UDP/TLS/BFCP", "TCP/DTLS/BFCP"])
def test_other_secure_transports_of_bfcp_are_rejected(proto: str) -> None:
    """BFCP-5."""
    pair = called(BFCP)
    offer = applied(pair.offer).replace("TCP/TLS/BFCP", proto)
    assert StreamAgent().error(AcceptOffer(offer.encode(), AT_EDGE)).code == "mechanism_unavailable"
    beside = StreamAgent()
    audio = plain(address="192.0.2.9").decode() + offer[offer.index("m=") :]
    assert m_line(beside.text(AcceptOffer(audio.encode(), AT_EDGE)), 1).split()[1] == "0"
    answer = beside.text(CreateAnswer(plain() + line_of(BFCP, 0).encode()))
    assert m_line(answer, 1).split()[1:3] == ["0", proto]


@EACH
def test_fingerprints_without_an_edge_that_applied_them_are_refused(kind: MediaKind) -> None:
    """MSRP-14, SDP-9, GEN-12."""
    offer = called(kind).offer
    for text in (offer.replace("a=3ge2ae:requested\r\n", ""), offer):
        assert StreamAgent().error(AcceptOffer(text.encode(), AT_EDGE)).code == "policy"


@EACH
def test_a_line_must_be_secured_where_policy_says_so(kind: MediaKind) -> None:
    """POL-1, POL-4, POL-7."""
    policy = SecurityPolicy(msrp_e2ae=Setting.REQUIRED, bfcp_e2ae=Setting.REQUIRED, udptl_e2ae=Setting.REQUIRED)
    assert StreamAgent("a", policy).error(CreateOffer(description(kind), NOT_ANNOUNCED)).code == "security_required"
    bare = description(kind).replace(b"127.0.0.1", b"192.0.2.9")
    assert StreamAgent("a", policy).error(AcceptOffer(bare, AT_EDGE)).code == "security_required"
    emergency = Evidence(Signalling.INTEGRITY, emergency=True)
    assert StreamAgent("a", policy).text(AcceptOffer(bare, emergency))


@EACH
def test_a_kind_that_is_off_is_the_dialers_own_matter(kind: MediaKind) -> None:
    """POL-1."""
    off = SecurityPolicy(msrp_e2ae=Setting.OFF, bfcp_e2ae=Setting.OFF, udptl_e2ae=Setting.OFF)
    agent = StreamAgent("a", off)
    text = agent.text(AcceptOffer(applied(called(kind).offer).encode(), AT_EDGE))
    assert m_line(text).split()[2] == NETWORK_PROTO[kind]
    assert agent.session.lines[0].reason == "policy"


def test_after_488_the_line_is_closed_and_the_rest_goes_on() -> None:
    """POL-6, T38-9: nothing falls back to plain by itself; with nothing left the call has failed."""
    agent = StreamAgent()
    agent.text(CreateOffer(plain() + line_of(UDPTL).encode(), AT_EDGE))
    again = agent.do(OfferFailed(488))
    assert isinstance(again, ReplySdp)
    assert m_line(again.sdp.decode(), 1).split()[1] == "0"
    assert agent.closed == [1]
    alone = StreamAgent()
    alone.text(CreateOffer(description(UDPTL), AT_EDGE))
    assert isinstance(alone.do(OfferFailed(488)), ReplyDone)
    assert alone.gone == "offer_failed"


def test_a_call_of_audio_becomes_a_fax_and_audio_again() -> None:
    """T38-10: a re-INVITE adds the image line and closes audio, or puts it into its place; old keys go."""
    pair = StreamPair(evidence=Evidence(Signalling.INTEGRITY, streams=frozenset(KINDS)))
    pair.call(plain(), plain())
    closed = plain().replace(b"audio 5004", b"audio 0")
    fax = line_of(UDPTL, 6000).encode()
    pair.call(closed + fax, closed + fax)
    assert not pair.alice.relays
    assert list(pair.alice.streams) == [1]
    pair.call(plain() + fax.replace(b"6000", b"0"), plain() + fax.replace(b"6000", b"0"))
    assert list(pair.alice.relays) == [0]
    assert not pair.alice.streams
    pair = StreamPair(evidence=pair.evidence).call(plain(), plain())
    pair.call(description(UDPTL), description(UDPTL))
    assert not pair.alice.relays
    assert list(pair.alice.streams) == [0]
    pair.call(plain(), plain())
    assert not pair.bob.streams
    assert list(pair.bob.relays) == [0]


@EACH
def test_a_refused_reoffer_and_a_release_leave_nothing_behind(kind: MediaKind) -> None:
    """SDES-16, DYN-20."""
    pair = called(kind)
    pair.alice.text(CreateOffer(description(kind), AT_EDGE))
    pair.alice.do(OfferFailed(491))
    pair.bob.text(AcceptOffer(applied(pair.offer).encode(), AT_EDGE))
    pair.bob.do(DeclineOffer())
    assert list(pair.alice.streams) == list(pair.bob.streams) == [0]
    pair.alice.do(Release())
    assert not pair.alice.streams
    assert pair.alice.hears_of(StreamSecured(0)) == pair.alice.hears_of(StreamEnded(0, "ended")) == []


@EACH
def test_without_ports_the_offer_fails_and_nothing_stays(kind: MediaKind) -> None:
    agent = StreamAgent(no_relay=True)
    assert agent.error(CreateOffer(description(kind), AT_EDGE)).code == "no_relay"
    assert not agent.streams


@EACH
def test_without_a_certificate_nothing_is_offered_and_nothing_taken(kind: MediaKind) -> None:
    assert StreamAgent(certificates=False).error(CreateOffer(description(kind), AT_EDGE)).code == "no_certificate"
    offer = applied(called(kind).offer).encode()
    assert StreamAgent(certificates=False).error(AcceptOffer(offer, AT_EDGE)).code == "mechanism_unavailable"


@EACH
def test_a_line_on_hold_from_the_beginning_connects_when_it_is_resumed(kind: MediaKind) -> None:
    """DYN-9."""
    pair = StreamPair()
    held = description(kind).replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 0.0.0.0")
    assert m_line(pair.alice.text(CreateOffer(held, AT_EDGE))).split()[2] == NETWORK_PROTO[kind]
    pair = called(kind)
    answer = pair.answer.replace("c=IN IP4 192.0.2.20", "c=IN IP4 0.0.0.0")
    alice = StreamAgent("alice")
    alice.text(CreateOffer(description(kind), AT_EDGE))
    alice.text(AcceptAnswer(answer.encode(), final=True))
    assert not alice.connected
    alice.text(CreateOffer(description(kind), AT_EDGE))
    alice.text(AcceptAnswer(pair.answer.encode(), final=True))
    assert len(alice.connected) == 1


BAD_DIALERS = [
    (line_of(MSRP).replace("a=path", "a=pfad"), "bad_path"),
    (line_of(MSRP).replace("msrp://", "msrps://"), "bad_path"),
    (line_of(MSRP).replace("/dialer1", ""), "bad_path"),
    (line_of(MSRP, setup="passive"), "bad_setup"),
    (line_of(MSRP, setup="holdconn"), "bad_setup"),
    (line_of(BFCP, setup="holdconn"), "bad_setup"),
]


@pytest.mark.parametrize(("line", "code"), BAD_DIALERS)
def test_a_dialers_line_that_cannot_work_is_a_usage_error(line: str, code: str) -> None:
    """MSRP-2, MSRP-5."""
    agent = StreamAgent()
    assert agent.error(CreateOffer((HEAD + line).encode(), AT_EDGE)).code == code
    assert agent.session.state == "new"
    assert not agent.streams


def test_a_dialer_answers_the_role_that_it_was_left_and_keeps_its_path() -> None:
    """MSRP-5."""
    pair = StreamPair(bob=nat())
    offer = applied(pair.alice.text(CreateOffer(description(MSRP), AT_EDGE))).encode()
    pair.bob.text(AcceptOffer(offer, AT_EDGE))
    assert pair.bob.error(CreateAnswer(description(MSRP, setup="passive"))).code == "bad_setup"
    answer = pair.bob.text(CreateAnswer(description(MSRP, setup="active", port=9)))
    pair.alice.text(AcceptAnswer(answer.encode(), final=True))
    assert pair.alice.error(CreateOffer(description(MSRP, session="other"), AT_EDGE)).code == "path_changed"


BAD_ANSWERS = [
    ("msrps://", "msrp://", "bad_path"),
    ("a=path", "a=pfad", "bad_path"),
    ("a=fingerprint:sha-256", "a=fingerprint:sha-1", "no_fingerprint"),
    ("a=fingerprint", "a=fingers", "no_fingerprint"),
    ("a=setup:passive", "a=setup:actpass", "bad_setup"),
    ("TCP/TLS/MSRP", "TCP/MSRP", "transport_mismatch"),
    ("c=IN IP4 192.0.2.20", "c=IN IP4 chat.example", None),
    ("192.0.2.20", "224.0.0.1", "media_address"),
]


@pytest.mark.parametrize(("right", "wrong", "code"), BAD_ANSWERS)
def test_an_answer_that_cannot_work_is_refused_and_changes_nothing(right: str, wrong: str, code: str | None) -> None:
    """MSRP-2, MSRP-7, SDP-11. A name in c= does no harm where the path has the address."""
    pair = called(MSRP)
    alice = StreamAgent("alice")
    alice.text(CreateOffer(description(MSRP), AT_EDGE))
    command = AcceptAnswer(pair.answer.replace(right, wrong).encode(), final=True)
    if code is None:
        alice.text(command)
        return
    assert alice.error(command).code == code
    assert alice.session.state == "offering"
    assert not alice.connected
    alice.text(AcceptAnswer(pair.answer.encode(), final=True))
    assert len([effect for effect in alice.effects if isinstance(effect, ConnectStream)]) == 1
