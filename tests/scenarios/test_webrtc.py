"""Calls with the WebRTC profile, without handshakes: what stands in SDP, and what checks bring about.

The far side is a browser by its SDP (RFC 8829, 7) and a full ICE agent by aioice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.channels import new_identity
from support.checks import check, credentials, succeeded
from support.pair import Agent, crypto_lines, plain
from support.stream_lines import AT_EDGE, StreamAgent, description

from ueagent.model.media import Endpoint, MediaKind, Place
from ueagent.model.security import Mechanism, Scope, SecurityPolicy, Setting, Signalling
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    CreateAnswer,
    CreateOffer,
    DatagramReceived,
    Evidence,
    OfferFailed,
    TimerFired,
)
from ueagent.session.effects import Effect, Notify, SendDatagram, SetIce, SetPeer
from ueagent.wire.stun import StunType, build_stun

WEB = SecurityPolicy(webrtc=True)
INTEGRITY = Evidence(Signalling.INTEGRITY)  # nothing was announced
BROWSER = Place("192.0.2.77", 51000)
OTHER = Place("192.0.2.78", 52000)
FINGERPRINT = "a=fingerprint:sha-256 " + bytes(range(32)).hex(":").upper()
HELLO = bytes([22, 254, 253]) + bytes(range(60))
ICE = ("a=ice-ufrag:them", "a=ice-pwd:theirpassword0123456789")


def agent(policy: SecurityPolicy = WEB, name: str = "alice") -> Agent:
    made = Agent(name, policy)
    made.session.show(new_identity())
    return made


def browser(
    setup: str, *more: str, ice: tuple[str, ...] = ICE, session: tuple[str, ...] = ("a=group:BUNDLE 0",)
) -> str:
    """As a browser writes it that trickles: no address yet."""
    lines = ["v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", *session]
    lines += ["m=audio 9 UDP/TLS/RTP/SAVPF 0", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0", *ice, FINGERPRINT]
    lines += [f"a=setup:{setup}", "a=mid:0", "a=sendrecv", "a=rtcp-mux", "a=rtpmap:0 PCMU/8000", *more]
    return "".join(line + "\r\n" for line in lines)


def lines_of(sdp: str, *names: str) -> list[str]:
    return [line for line in sdp.splitlines() if line.removeprefix("a=").partition(":")[0] in names]


def comes(to: Agent, data: bytes, source: Place = BROWSER) -> list[Effect]:
    return to.session.receive(DatagramReceived(0, data, source), to.now)


def sent(effects: list[Effect]) -> list[tuple[bytes, Place]]:
    return [(effect.data, effect.to) for effect in effects if isinstance(effect, SendDatagram)]


def answered_call(setup: str = "passive", **more: Any) -> tuple[Agent, str]:
    """A call of ours that a browser has answered, and our offer."""
    alice = agent()
    offer = alice.text(CreateOffer(plain(), INTEGRITY))
    alice.text(AcceptAnswer(browser(setup, **more).encode(), final=True))
    return alice, offer


# ------------------------------------------------------------------------------------------------------- our offer --


def test_our_offer_is_what_a_browser_expects() -> None:
    """WEB-1, WEB-6, DYN-16: SAVPF, BUNDLE with the audio line, rtcp-mux demanded, ICE-lite, without registration."""
    alice = agent()
    offer = alice.text(CreateOffer(plain(), INTEGRITY))
    assert "m=audio 40004 UDP/TLS/RTP/SAVPF 0\r\n" in offer
    session, _, medium = offer.partition("m=audio")
    assert lines_of(session, "group", "ice-lite") == ["a=group:BUNDLE 0", "a=ice-lite"]
    names = ("mid", "rtcp-mux", "rtcp-mux-only", "3ge2ae", "setup", "end-of-candidates")
    assert sorted(lines_of(medium, *names)) == [
        "a=3ge2ae:requested",
        "a=end-of-candidates",
        "a=mid:0",
        "a=rtcp-mux",
        "a=rtcp-mux-only",
        "a=setup:actpass",
    ]
    assert lines_of(medium, "candidate") == ["a=candidate:1 1 UDP 2130706431 192.0.2.10 40004 typ host"]
    assert alice.relays[0].ice
    assert alice.session.lines[0].scope is Scope.E2AE


def test_every_line_is_offered_and_the_audio_line_is_bundled() -> None:
    alice = agent()
    sdp = plain(5004, media="video") + b"m=audio 5008 RTP/AVP 0\r\na=mid:0\r\n"
    offer = alice.text(CreateOffer(sdp, INTEGRITY))
    assert lines_of(offer, "group", "mid") == ["a=group:BUNDLE 0", "a=mid:1", "a=mid:0"]


def test_lines_of_other_kinds_keep_their_transports_and_stay_out_of_it() -> None:
    """WEB-6: MSRP, BFCP and T.38 beside the audio line."""
    alice = StreamAgent("alice", WEB)
    sdp = plain(5004) + description(MediaKind.MSRP, MediaKind.BFCP, MediaKind.UDPTL).partition(b"t=0 0\r\n")[2]
    offer = alice.text(CreateOffer(sdp, replace(AT_EDGE, signalling=Signalling.INTEGRITY)))
    protos = [line.split()[2] for line in offer.splitlines() if line.startswith("m=")]
    assert protos == ["UDP/TLS/RTP/SAVPF", "TCP/TLS/MSRP", "TCP/TLS/BFCP", "UDP/TLS/UDPTL"]
    assert lines_of(offer, "group", "mid") == ["a=group:BUNDLE 0", "a=mid:0"]
    assert len(lines_of(offer, "ice-ufrag")) == 1


def test_without_the_switch_an_offer_has_nothing_of_it() -> None:
    """WEB-5, WEB-6, DYN-14, DYN-16: and DTLS-SRTP is there all the same."""
    alice = agent(SecurityPolicy())
    announced = Evidence(Signalling.INTEGRITY, announced=frozenset({Mechanism.DTLS_SRTP}))
    offer = alice.text(CreateOffer(plain(), announced))
    assert "UDP/TLS/RTP/SAVP 0" in offer
    assert lines_of(offer, "group", "rtcp-mux", "ice-lite", "ice-ufrag", "candidate", "mid") == []


def test_signalling_without_integrity_gets_no_fingerprint() -> None:
    """WEB-3, GEN-10: whoever could change the fingerprint could be the peer."""
    alice = agent(SecurityPolicy(webrtc=True, dtls_e2ae=Setting.REQUIRED))
    assert alice.error(CreateOffer(plain(), Evidence(Signalling.NONE))).code == "security_required"


def test_keys_never_stand_in_sdp_with_the_profile() -> None:
    """RFC 8827, 6.5: SDES is not for browsers, whoever announced it."""
    alice = agent(SecurityPolicy(webrtc=True, sdes_e2e=Setting.PREFERRED))
    both = Evidence(Signalling.CONFIDENTIALITY, announced=frozenset({Mechanism.SDES}))
    assert crypto_lines(alice.text(CreateOffer(plain(), both))) == []
    assert alice.session.lines[0].mechanism is Mechanism.DTLS_SRTP


def test_refused_offer_does_not_fall_back_to_keys_in_sdp() -> None:
    alice = agent(SecurityPolicy(webrtc=True, dtls_e2ae=Setting.REQUIRED))
    alice.text(CreateOffer(plain(), INTEGRITY))
    alice.do(OfferFailed(488))
    assert alice.gone == "offer_failed"


def test_answer_without_rtcp_mux_is_refused() -> None:
    """WEB-6: rtcp-mux is required (RFC 8858)."""
    alice = agent()
    alice.text(CreateOffer(plain(), INTEGRITY))
    answer = browser("active").replace("a=rtcp-mux\r\n", "").encode()
    assert alice.error(AcceptAnswer(answer, final=True)).code == "rtcp_mux_withdrawn"


def test_dialer_sees_nothing_of_it() -> None:
    alice = agent()
    alice.text(CreateOffer(plain(), INTEGRITY))
    for_dialer = alice.text(AcceptAnswer(browser("active").encode(), final=True))
    assert "RTP/AVP 0\r\n" in for_dialer
    assert lines_of(for_dialer, "group", "mid", "rtcp-mux", "ice-ufrag", "ice-pwd", "fingerprint") == []
    assert lines_of(for_dialer, "sendrecv", "sendonly", "inactive") == ["a=sendrecv"]


# ---------------------------------------------------------------------------------------------------------- checks --


def test_check_is_answered_and_nothing_else_happens() -> None:
    """WEB-4."""
    alice, offer = answered_call()
    (reply,) = comes(alice, check(credentials(offer)))
    assert isinstance(reply, SendDatagram)
    assert succeeded(reply.data, credentials(offer))
    assert reply.to == BROWSER


def test_nominated_path_is_where_media_go_and_the_handshake_begins() -> None:
    """DYN-18: as DTLS client we wait for a valid pair."""
    alice, offer = answered_call("passive")
    assert not sent(alice.effects)
    effects = comes(alice, check(credentials(offer), nominate=True))
    assert SetPeer(0, Endpoint(BROWSER.address, BROWSER.port, BROWSER.port)) in effects
    reply, hello = sent(effects)
    assert succeeded(reply[0], credentials(offer))
    assert (hello[0][0], hello[1]) == (22, BROWSER)
    assert effects.index(next(e for e in effects if isinstance(e, SetPeer))) < len(effects) - 1


def test_checks_that_are_quicker_than_the_answer_count() -> None:
    alice = agent()
    offer = alice.text(CreateOffer(plain(), INTEGRITY))
    assert len(sent(comes(alice, check(credentials(offer), nominate=True)))) == 1
    alice.text(AcceptAnswer(browser("passive").encode(), final=True))
    assert [(data[0], to) for data, to in sent(alice.effects)] == [(22, BROWSER)]


def test_handshake_goes_on_when_the_path_moves() -> None:
    """RFC 8842, 4: the association belongs to the component, not to a pair."""
    alice, offer = answered_call("passive")
    comes(alice, check(credentials(offer), nominate=True))
    effects = comes(alice, check(credentials(offer), nominate=True), OTHER)
    assert SetPeer(0, Endpoint(OTHER.address, OTHER.port, OTHER.port)) in effects
    assert [to for _, to in sent(effects)] == [OTHER]  # the answer; no second hello


def test_unauthenticated_checks_change_nothing() -> None:
    """WEB-4: unproven STUN moves a counter."""
    alice, offer = answered_call("passive")
    ufrag, _ = credentials(offer)
    for bad in (
        check((ufrag, "another0password12345678"), nominate=True),
        check(("else", "x"), nominate=True),
        b"\x00",
    ):
        assert comes(alice, bad, OTHER) == []
    assert alice.session.refused_checks(0) == 3


def test_handshakes_of_places_without_a_check_are_dropped() -> None:
    """RFC 8445, 12."""
    alice, _ = answered_call("active")
    assert comes(alice, HELLO, OTHER) == []
    assert alice.session.refused_checks(0) == 1


def test_early_hello_is_answered_where_the_check_came_from() -> None:
    """DTLS-9: before the answer, and before anything is nominated."""
    alice, bob = agent(), agent(name="bob")
    offer = alice.text(CreateOffer(plain(), INTEGRITY))
    theirs = browser("actpass")
    bob.text(AcceptOffer(theirs.encode(), INTEGRITY))
    answer = bob.text(CreateAnswer(plain(proto="RTP/AVPF")))
    (hello,) = (d for d, _ in sent(comes(bob, check(credentials(answer), nominate=True))) if d[0] == 22)
    comes(alice, check(credentials(offer)))
    assert [(data[0], to) for data, to in sent(comes(alice, hello))] == [(22, BROWSER)]


@pytest.mark.parametrize("setup", ["active", "passive"])
def test_line_without_any_check_is_given_up(setup: str) -> None:
    """DTLS-23: in either role, as where the far side is silent."""
    alice, _ = answered_call(setup)
    effects = alice.session.receive(TimerFired(0), 16.0)
    assert [effect.reason for effect in effects if isinstance(effect, Notify)] == ["handshake_timeout"]


def test_keepalives_count_as_nothing() -> None:
    """RFC 8445, 11: binding indications without credentials."""
    alice, _ = answered_call()
    assert comes(alice, build_stun(StunType.INDICATION, bytes(12), (), None)) == []
    assert alice.session.refused_checks(0) == 0


# ------------------------------------------------------------------------------------------------------ our answer --


def test_offer_of_a_browser_is_answered_in_kind() -> None:
    """WEB-4, WEB-6, DYN-14, DYN-16."""
    bob = agent()
    for_dialer = bob.text(AcceptOffer(browser("actpass").encode(), INTEGRITY))
    assert "RTP/AVPF 0\r\n" in for_dialer
    assert lines_of(for_dialer, "sendrecv", "sendonly", "inactive") == ["a=sendrecv"]
    answer = bob.text(CreateAnswer(plain(proto="RTP/AVPF")))
    assert "m=audio 40004 UDP/TLS/RTP/SAVPF 0\r\n" in answer
    assert lines_of(answer, "group", "ice-lite", "mid", "setup", "rtcp-mux", "rtcp-mux-only", "3ge2ae") == [
        "a=group:BUNDLE 0",
        "a=ice-lite",
        "a=setup:active",
        "a=rtcp-mux",
        "a=mid:0",
    ]
    assert len(lines_of(answer, "candidate")) == 1
    assert bob.relays[0].ice


def test_terminating_call_needs_no_registration() -> None:
    """WEB-2: the eP-CSCF applies e2ae by itself, and says so."""
    bob = agent()
    bob.text(AcceptOffer(browser("actpass", "a=3ge2ae:applied").encode(), INTEGRITY))
    bob.text(CreateAnswer(plain(proto="RTP/AVPF")))
    (line,) = bob.session.lines
    assert (line.mechanism, line.scope, line.peer) == (Mechanism.DTLS_SRTP, Scope.E2AE, "access-edge")


def test_line_that_we_do_not_take_leaves_the_bundle() -> None:
    """DYN-16: RFC 9143, 7.3.3."""
    bob = agent()
    video = "m=video 9 UDP/TLS/RTP/SAVPF 34\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtcp-mux\r\na=setup:actpass\r\n"
    video += "".join(line + "\r\n" for line in (*ICE, FINGERPRINT))
    bob.text(AcceptOffer((browser("actpass", session=("a=group:BUNDLE 0 1",)) + video).encode(), INTEGRITY))
    answer = bob.text(CreateAnswer(plain(proto="RTP/AVPF") + b"m=video 0 RTP/AVPF 34\r\n"))
    assert lines_of(answer, "group") == ["a=group:BUNDLE 0"]
    assert "m=video 0 UDP/TLS/RTP/SAVPF 34\r\n" in answer


def test_bundle_is_declined_without_the_switch() -> None:
    """DYN-16."""
    bob = agent(SecurityPolicy())
    theirs = browser("actpass").replace("0.0.0.0", "192.0.2.77").encode()
    bob.text(AcceptOffer(theirs, INTEGRITY))
    answer = bob.text(CreateAnswer(plain(proto="RTP/AVPF")))
    assert lines_of(answer, "group", "ice-lite", "ice-ufrag", "candidate") == []
    assert not bob.relays[0].ice


def test_two_lite_agents_use_the_addresses_of_sdp() -> None:
    """RFC 8445, 6.1.1 and 8.2.2: nobody checks."""
    bob = agent()
    theirs = browser("actpass", session=("a=group:BUNDLE 0", "a=ice-lite")).replace("0.0.0.0", "192.0.2.77")
    bob.text(AcceptOffer(theirs.encode(), INTEGRITY))
    answer = bob.text(CreateAnswer(plain(proto="RTP/AVPF")))
    assert lines_of(answer, "ice-lite") == ["a=ice-lite"]
    assert bob.relays[0].peer == Endpoint("192.0.2.77", 9, 9)
    assert [to for data, to in sent(bob.effects) if data[0] == 22] == [Place("192.0.2.77", 9)]


def test_far_side_without_ice_is_reached_by_the_addresses_of_sdp() -> None:
    """RFC 8839, 4.2.5: an edge that declines ICE, and STUN is dropped in the relay from then on."""
    alice = agent()
    alice.text(CreateOffer(plain(), INTEGRITY))
    assert alice.relays[0].ice
    answer = browser("passive", ice=(), session=()).replace("0.0.0.0", "192.0.2.77").encode()
    alice.text(AcceptAnswer(answer, final=True))
    assert not alice.relays[0].ice
    assert alice.relays[0].peer == Endpoint("192.0.2.77", 9, 9)
    assert [to for data, to in sent(alice.effects) if data[0] == 22] == [Place("192.0.2.77", 9)]


# -------------------------------------------------------------------------------------------------------- restarts --


def test_later_offers_repeat_what_holds() -> None:
    alice, offer = answered_call()
    again = alice.text(CreateOffer(plain(), INTEGRITY))
    names = ("ice-ufrag", "ice-pwd", "group", "mid", "candidate", "tls-id", "setup")
    assert lines_of(again, *names) == lines_of(offer, *names)


def test_restart_of_theirs_gets_new_credentials_of_ours_and_keeps_the_keys() -> None:
    """RFC 8445, 9; RFC 8842, 5.5: the old path serves until a check with the new credentials chooses another."""
    alice, offer = answered_call()
    first = credentials(offer)
    comes(alice, check(first, nominate=True))
    restarted = ("a=ice-ufrag:anew", "a=ice-pwd:newpassword0123456789x")
    alice.text(AcceptOffer(browser("actpass", ice=restarted).encode(), INTEGRITY))
    answer = alice.text(CreateAnswer(plain(proto="RTP/AVPF")))
    assert credentials(answer) != first
    assert alice.count(SetIce) == 0
    assert comes(alice, check(first, nominate=True), OTHER) == []
    effects = comes(alice, check(credentials(answer), "anew", nominate=True), OTHER)
    assert SetPeer(0, Endpoint(OTHER.address, OTHER.port, OTHER.port)) in effects


def test_repeated_offer_of_theirs_keeps_our_credentials() -> None:
    alice, offer = answered_call()
    alice.text(AcceptOffer(browser("actpass").encode(), INTEGRITY))
    assert credentials(alice.text(CreateAnswer(plain(proto="RTP/AVPF")))) == credentials(offer)


@pytest.mark.parametrize("setup", ["active", "passive"])
def test_password_never_shows(setup: str) -> None:
    alice, offer = answered_call(setup)
    assert credentials(offer)[1] not in repr(alice.effects)
