"""Two sessions that agree on DTLS-SRTP, without handshakes: what stands in SDP, what the dialer is told."""

from __future__ import annotations

import pytest
from support.channels import new_identity
from support.pair import Agent, plain

from ueagent.model.media import Place
from ueagent.model.security import Mechanism, Scope, SecurityPolicy, Setting, Signalling
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    CreateAnswer,
    CreateOffer,
    DatagramReceived,
    Dialog,
    Evidence,
    Media,
    OfferFailed,
    Release,
    TimerFired,
)
from ueagent.session.effects import InstallKeys, Notify, ReplyDone, ReplySdp, SendDatagram, SetMode, StartTimer

AT_EDGE = Evidence(Signalling.INTEGRITY, announced=frozenset({Mechanism.DTLS_SRTP}))
AT_BOTH = Evidence(Signalling.CONFIDENTIALITY, announced=frozenset({Mechanism.DTLS_SRTP, Mechanism.SDES}))


def agent(name: str = "alice", policy: SecurityPolicy | None = None) -> Agent:
    made = Agent(name, policy or SecurityPolicy())
    made.session.show(new_identity())
    return made


def attribute(sdp: str, name: str) -> str:
    return next(line for line in sdp.splitlines() if line.startswith(f"a={name}:")).partition(":")[2]


def call(alice: Agent, bob: Agent) -> tuple[str, str]:
    offer = alice.text(CreateOffer(plain(), AT_EDGE))
    bob.text(AcceptOffer(offer.encode(), AT_EDGE))
    answer = bob.text(CreateAnswer(plain()))
    alice.text(AcceptAnswer(answer.encode(), final=True))
    return offer, answer


def test_the_handshake_begins_when_the_answer_stands() -> None:
    """DTLS-21: the answerer's hellos for RTP and RTCP, and a timer; the mode is secure, and there are no keys."""
    alice, bob = agent(), agent("bob")
    call(alice, bob)
    hellos = [effect for effect in bob.effects if isinstance(effect, SendDatagram)]
    assert [(sent.rtcp, sent.to.port - alice.relays[0].network.rtp_port) for sent in hellos] == [(False, 0), (True, 1)]
    assert [effect for effect in bob.effects if isinstance(effect, StartTimer)]
    assert bob.relays[0].mode == "secure"
    assert bob.relays[0].send is None
    assert not bob.session.lines[0].keys_in_place
    assert bob.session.lines[0].mechanism is Mechanism.DTLS_SRTP


def test_a_hello_before_the_answer_is_answered_by_the_session() -> None:
    """DTLS-9."""
    alice, bob = agent(), agent("bob")
    offer = alice.text(CreateOffer(plain(), AT_EDGE))
    bob.text(AcceptOffer(offer.encode(), AT_EDGE))
    bob.text(CreateAnswer(plain()))
    hello = next(effect for effect in bob.effects if isinstance(effect, SendDatagram))
    back = alice.session.receive(DatagramReceived(0, hello.data, Place("192.0.2.20", 40000)), 0.0)
    assert [effect.to for effect in back if isinstance(effect, SendDatagram)] == [Place("192.0.2.20", 40000)]
    assert not [effect for effect in back if isinstance(effect, InstallKeys)]


def test_a_line_that_gets_no_keys_is_closed_and_the_dialer_is_told() -> None:
    """DTLS-23."""
    alice, bob = agent(), agent("bob")
    call(alice, bob)
    effects = alice.session.receive(TimerFired(0), 16.0)
    assert [effect.mode for effect in effects if isinstance(effect, SetMode)] == ["closed"]
    (told,) = [effect for effect in effects if isinstance(effect, Notify)]
    assert (told.kind, told.reason) == ("security_state", "handshake_timeout")
    assert alice.session.lines[0].reason == "handshake_timeout"
    assert not alice.session.lines[0].assured


def test_a_soft_limit_makes_the_next_offer_a_new_association() -> None:
    """DTLS-24, DTLS-25."""
    alice, bob = agent(), agent("bob")
    offer, _ = call(alice, bob)
    assert attribute(alice.text(CreateOffer(plain(), AT_EDGE)), "tls-id") == attribute(offer, "tls-id")
    alice.do(OfferFailed(500))
    alice.hears(Media.SOFT_LIMIT)
    assert attribute(alice.text(CreateOffer(plain(), AT_EDGE)), "tls-id") != attribute(offer, "tls-id")


def test_after_488_sdes_follows_and_then_plain() -> None:
    """POL-5, POL-6."""
    alice = agent()
    assert "a=fingerprint" in alice.text(CreateOffer(plain(), AT_BOTH))
    by_sdes = alice.do(OfferFailed(488))
    assert isinstance(by_sdes, ReplySdp)
    assert b"a=crypto" in by_sdes.sdp
    assert b"fingerprint" not in by_sdes.sdp
    bare = alice.do(OfferFailed(488))
    assert isinstance(bare, ReplySdp)
    assert b" RTP/AVP " in bare.sdp
    assert isinstance(alice.do(OfferFailed(488)), ReplyDone)


@pytest.mark.parametrize("broken", ["a=setup:actpass", "a=setup:holdconn", "a=tls-idle:x"])
def test_an_answer_without_a_role_is_refused_and_nothing_changes(broken: str) -> None:
    """DTLS-4."""
    alice, bob = agent(), agent("bob")
    offer = alice.text(CreateOffer(plain(), AT_EDGE))
    bob.text(AcceptOffer(offer.encode(), AT_EDGE))
    answer = bob.text(CreateAnswer(plain()))
    error = alice.error(AcceptAnswer(answer.replace("a=setup:active", broken).encode(), final=True))
    assert error.code == "bad_setup"
    assert alice.session.state == "offering"
    alice.text(AcceptAnswer(answer.encode(), final=True))


@pytest.mark.parametrize("evidence", [AT_EDGE, Evidence(Signalling.CONFIDENTIALITY, frozenset({Mechanism.SDES}))])
def test_a_session_without_a_certificate_does_not_forget_that_dtls_is_demanded(evidence: Evidence) -> None:
    """POL-1, POL-4."""
    bare = Agent("alice", SecurityPolicy(dtls_e2ae=Setting.REQUIRED))
    assert bare.error(CreateOffer(plain(), evidence)).code == "security_required"


def test_an_answer_in_another_transport_is_refused() -> None:
    """SDP-11, CAP-3: the switch for SDES does not reach DTLS."""
    alice, bob = agent(policy=SecurityPolicy(accept_avp_answer=True)), agent("bob")
    offer = alice.text(CreateOffer(plain(), AT_EDGE))
    bob.text(AcceptOffer(offer.encode(), AT_EDGE))
    answer = bob.text(CreateAnswer(plain())).replace("UDP/TLS/RTP/SAVP", "RTP/AVP")
    crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "\r\n"
    assert alice.error(AcceptAnswer((answer + crypto).encode(), final=True)).code == "transport_mismatch"


def test_crypto_beside_a_fingerprint_is_ignored() -> None:
    """CAP-10: the transport says DTLS."""
    alice, bob = agent(), agent("bob")
    offer = alice.text(CreateOffer(plain(), AT_EDGE))
    crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "\r\n"
    bob.text(AcceptOffer((offer + crypto).encode(), AT_EDGE))
    answer = bob.text(CreateAnswer(plain()))
    assert "a=crypto" not in answer
    assert bob.session.lines[0].mechanism is Mechanism.DTLS_SRTP


def test_sdes_in_rtp_savp_with_a_fingerprint_stays_sdes() -> None:
    """CAP-10."""
    alice, bob = agent(policy=SecurityPolicy(dtls_e2ae=Setting.OFF, sdes_e2e=Setting.PREFERRED)), agent("bob")
    offer = alice.text(CreateOffer(plain(), Evidence(Signalling.CONFIDENTIALITY)))
    both = offer + "a=setup:actpass\r\na=fingerprint:sha-256 " + ":".join(["00"] * 32) + "\r\n"
    bob.text(AcceptOffer(both.encode(), Evidence(Signalling.CONFIDENTIALITY)))
    assert "a=fingerprint" not in bob.text(CreateAnswer(plain()))
    assert bob.session.lines[0].mechanism is Mechanism.SDES


def test_nobody_is_assured_of_who_it_is_without_the_edge() -> None:
    """SDP-9 (e), GEN-12."""
    alice, bob = agent(), agent("bob")
    offer = alice.text(CreateOffer(plain(), AT_EDGE)).replace("a=3ge2ae:requested\r\n", "")
    bob.text(AcceptOffer(offer.encode(), AT_EDGE))
    bob.text(CreateAnswer(plain()))
    (line,) = bob.session.lines
    assert (line.scope, line.assured, line.peer) == (Scope.E2E, False, "unknown")


def test_datagrams_and_timers_of_a_released_session_do_nothing() -> None:
    """DYN-20."""
    alice, bob = agent(), agent("bob")
    call(alice, bob)
    alice.do(Release())
    assert alice.session.receive(DatagramReceived(0, b"\x16", Place("192.0.2.20", 1)), 1.0) == []
    assert alice.session.receive(TimerFired(0), 1.0) == []


def test_two_lines_have_an_association_each() -> None:
    """DYN-17, SDP-14: ids of their own, one certificate."""
    alice = agent()
    offer = alice.text(CreateOffer(plain(5004, 5006), AT_EDGE))
    ids = [line for line in offer.splitlines() if line.startswith("a=tls-id:")]
    prints = [line for line in offer.splitlines() if line.startswith("a=fingerprint:")]
    assert len(set(ids)) == 2
    assert len(prints) == 2
    assert len(set(prints)) == 1


# --------------------------------------------------------------------------------------------------- forking (DYN-3) --


def fork(evidence: Evidence = AT_EDGE, offered: bytes = plain()) -> tuple[Agent, str, str]:
    """Alice, answered early by one of two who have her offer; and both answers."""
    alice = agent()
    offer = alice.text(CreateOffer(offered, evidence))
    answers = []
    for name in ("bob", "carol"):
        one = agent(name)
        one.text(AcceptOffer(offer.encode(), evidence))
        answers.append(one.text(CreateAnswer(offered)))
    alice.text(AcceptAnswer(answers[0].encode(), final=False, dialog=dialog("bob")))
    return alice, answers[0], answers[1]


def port(sdp: str) -> int:
    return int(sdp.partition("m=audio ")[2].split()[0])


def dialog(tag: str) -> Dialog:
    return Dialog("call", "alice", tag)


def taken(answer: str, *, final: bool = True, tag: str = "carol") -> AcceptAnswer:
    return AcceptAnswer(answer.encode(), final=final, dialog=dialog(tag))


def test_the_fork_that_accepts_takes_the_place_of_an_early_one() -> None:
    """DYN-3: nothing passes until it has keys."""
    alice, bob, carol = fork()
    assert port(bob) == port(carol)
    carol = carol.replace(f"m=audio {port(bob)}", "m=audio 41004")
    alice.text(taken(carol))
    assert alice.session.dialog == dialog("carol")
    assert alice.relays[0].mode == "closed"
    assert not alice.session.lines[0].keys_in_place
    assert alice.session.lines[0].mechanism is Mechanism.DTLS_SRTP
    assert alice.relays[0].peer is not None
    assert alice.relays[0].peer.rtp_port == 41004


def test_an_early_answer_of_another_fork_waits_until_it_accepts() -> None:
    """DYN-3, DYN-6: there is one relay, and the first early answer has it."""
    alice, bob, carol = fork()
    assert alice.error(taken(carol, final=False)).code == "other_dialog"
    alice.text(taken(bob, tag="bob"))
    assert alice.error(taken(carol)).code == "other_dialog"
    assert alice.relays[0].mode == "secure"


def test_one_call_is_accepted_once() -> None:
    alice, bob, carol = fork()
    alice.text(taken(carol))
    assert alice.error(taken(bob, tag="bob")).code == "other_dialog"
    assert alice.session.dialog == dialog("carol")


def test_a_bad_answer_of_another_fork_leaves_the_early_one_as_it_is() -> None:
    """SDES-16."""
    alice, _, carol = fork()
    alice.effects.clear()
    broken = "".join(line for line in carol.splitlines(True) if "fingerprint" not in line)
    assert alice.error(taken(broken)).code in ("no_fingerprint", "bad_keying")
    assert alice.relays[0].mode == "secure"
    assert [effect for effect in alice.effects if isinstance(effect, SetMode | SendDatagram)] == []
    assert alice.session.dialog == dialog("bob")
    alice.text(taken(carol))
    assert alice.session.dialog == dialog("carol")


def test_a_later_offer_ends_the_wait_for_other_forks() -> None:
    """RFC 3311: an early dialog may be changed."""
    alice, _, carol = fork()
    alice.text(CreateOffer(plain(), AT_EDGE))
    alice.do(OfferFailed(488))
    assert alice.error(taken(carol)).code == "other_dialog"


def test_keys_of_sdes_are_chosen_once() -> None:
    """DYN-1: what the first answer did not choose is wiped."""
    evidence = Evidence(Signalling.CONFIDENTIALITY, announced=frozenset({Mechanism.SDES}))
    alice, _, carol = fork(evidence)
    assert alice.session.lines[0].mechanism is Mechanism.SDES
    assert alice.error(taken(carol)).code == "other_dialog"


def test_a_released_call_waits_for_no_fork() -> None:
    alice, _, carol = fork()
    alice.do(Release("bye"))
    assert alice.error(taken(carol)).code == "unexpected_command"
