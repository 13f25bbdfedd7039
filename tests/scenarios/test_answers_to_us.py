"""Answers to our offer, good, bad and late: SDES-8, SDP-7, SDP-11, SDP-15, CAP-3, POL-6, POL-7, DYN-6."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from support.pair import AT_EDGE, E2E, REQUIRED, SECURE, Agent, crypto_lines, keys_in, plain

from ueagent.model.security import LineSecurity, Mechanism, Scope, SecurityPolicy, Setting
from ueagent.session.commands import AcceptAnswer, AcceptOffer, CreateOffer, Dialog, OfferFailed, Release
from ueagent.session.effects import CloseRelay, InstallKeys, OpenRelay, ReplyDone, ReplyError, ReplySdp, SetMode

KEY = base64.b64encode(bytes(range(30))).decode()
KEY_GCM = base64.b64encode(bytes(range(28))).decode()
OTHER_KEY = base64.b64encode(bytes(range(50, 80))).decode()
CM80 = f"a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"


def answer(*lines: str, proto: str = "RTP/SAVP", port: int = 30000, end: str = "\r\n") -> bytes:
    """One audio line from 198.51.100.7."""
    head = ["v=0", "o=- 7 7 IN IP4 198.51.100.7", "s=-", "c=IN IP4 198.51.100.7", "t=0 0"]
    return end.join([*head, f"m=audio {port} {proto} 0", *lines, ""]).encode()


def offering(policy: SecurityPolicy | None = None, sdp: bytes | None = None) -> Agent:
    agent = Agent("alice", policy or SecurityPolicy())
    agent.text(CreateOffer(sdp or plain(), AT_EDGE))
    return agent


def accept(sdp: bytes, *, final: bool = True, tag: str = "b") -> AcceptAnswer:
    return AcceptAnswer(sdp, final, Dialog("call", "a", tag))


@pytest.mark.parametrize("indicator", [None, "a=3ge2ae:applied", "a=3ge2ae:requested", "a=3ge2ae: requested"])
def test_an_answer_needs_no_indicator(indicator: str | None) -> None:
    """SDP-7: absent, applied, and requested echoed are all the same."""
    agent = offering()
    text = agent.text(accept(answer(CM80, *([indicator] if indicator else []))))
    assert "3ge2ae" not in text
    assert agent.relays[0].receive == (bytes(range(30)),)
    assert agent.session.lines[0].assured


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ((), "crypto_count"),
        ((CM80, f"a=crypto:1 AEAD_AES_128_GCM inline:{KEY_GCM}"), "crypto_count"),
        ((CM80, CM80), "bad_keying"),
        ((CM80, "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:short"), "bad_keying"),
        ((f"a=crypto:9 AES_CM_128_HMAC_SHA1_80 inline:{KEY}",), "unknown_tag"),
        ((f"a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}",), "suite_changed"),
        ((f"a=crypto:2 NULL_HMAC_SHA1_80 inline:{KEY}",), "suite_changed"),
        ((f"a=crypto:2 F8_128_HMAC_SHA1_80 inline:{KEY}",), "suite_changed"),
        ((f"a=crypto:2 AES_CM_256_HMAC_SHA1_80 inline:{KEY}",), "suite_changed"),
        ((f"{CM80} UNENCRYPTED_SRTCP",), "session_parameter"),
        ((f"{CM80}|2^49",), "bad_keying"),
        ((CM80, "a=key-mgmt:mikey AQAFgM0X"), "bad_keying"),
    ],
)
def test_bad_answers_fail_and_the_offer_stays_open(lines: tuple[str, ...], code: str) -> None:
    """SDES-8, SDES-22: one typed error without a key in it, and nothing changes."""
    agent = offering()
    error = agent.error(accept(answer(*lines)))
    assert (error.code, error.sip_status_hint) == (code, 488)
    assert KEY not in str(error)
    assert agent.session.state == "offering"
    assert agent.relays[0].mode == "closed"
    assert agent.text(accept(answer(CM80)))
    assert agent.relays[0].mode == "secure"


def test_the_offered_key_echoed_is_a_failure() -> None:
    """SDES-8, EDGE-17."""
    agent = Agent()
    offer = agent.text(CreateOffer(plain(), AT_EDGE))
    echoed = crypto_lines(offer)[1]
    error = agent.error(accept(answer(echoed)))
    assert error.code == "key_echoed"
    assert keys_in(offer)[1] not in str(error)


@pytest.mark.parametrize("proto", ["RTP/AVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/AVPF", "SRTP"])
def test_another_transport_in_the_answer_is_a_failure(proto: str) -> None:
    """SDP-11, CAP-3 by default."""
    assert offering().error(accept(answer(CM80, proto=proto))).code == "transport_mismatch"


CHAT = b"m=message 9 TCP/MSRP *\r\nc=IN IP4 192.0.2.10\r\n"  # the dialer's own matter: it is not on loopback
PLAIN_AUDIO = b"m=audio 30002 RTP/AVP 0\r\n"


def test_a_line_that_is_not_rtp_cannot_come_back_as_plain_rtp() -> None:
    """POL-4, SDP-11: the dialer is never told of RTP that nobody secured."""
    agent = offering(REQUIRED, plain() + CHAT)
    assert agent.error(accept(answer(CM80) + PLAIN_AUDIO)).code == "transport_mismatch"
    assert agent.session.state == "offering"
    agent.text(accept(answer(CM80) + CHAT))


def test_a_line_that_comes_back_as_plain_rtp_is_closed_where_nothing_is_required() -> None:
    """SDP-11, SDP-15."""
    agent = offering(sdp=plain() + CHAT)
    reply = agent.do(accept(answer(CM80) + PLAIN_AUDIO))
    assert isinstance(reply, ReplySdp)
    assert b"m=audio 0 TCP/MSRP" in reply.sdp
    assert reply.warnings == ("transport_mismatch",)
    assert [line.reason for line in reply.lines] == [None, "transport_mismatch"]


def test_a_closed_line_stays_closed_whatever_the_answer_says() -> None:
    """RFC 3264, 6: a port for a line that was offered without one opens nothing."""
    agent = offering(REQUIRED, plain() + b"m=audio 0 RTP/AVP 0\r\n")
    text = agent.text(accept(answer(CM80) + PLAIN_AUDIO))
    assert [line.split()[1] for line in text.splitlines() if line.startswith("m=")][1] == "0"


def test_letter_case_of_the_transport_does_not_matter() -> None:
    """SDP-12."""
    assert offering().text(accept(answer(CM80, proto="rtp/savp")))


def test_crypto_on_avp_in_an_answer_is_taken_where_the_operator_says_so() -> None:
    """CAP-3."""
    policy = SecurityPolicy(accept_avp_answer=True)
    agent = offering(policy)
    agent.text(accept(answer(CM80, proto="RTP/AVP")))
    assert agent.relays[0].mode == "secure"
    assert offering(policy).error(accept(answer(proto="RTP/AVP"))).code == "transport_mismatch"


def test_a_plain_answer_to_a_secured_offer_is_a_failure_and_plain_needs_a_new_offer() -> None:
    """POL-6: no silent downgrade; the dialer may make a new, plain offer."""
    agent = offering()
    assert agent.error(accept(answer(proto="RTP/AVP"))).sip_status_hint == 488
    reply = agent.do(OfferFailed(488))
    assert isinstance(reply, ReplySdp)
    assert b"RTP/AVP 0" in reply.sdp
    assert agent.relays[0].mode == "closed"


@pytest.mark.parametrize("text", [answer(CM80, end="\n"), answer(CM80) + b"a=\xff\xfe\x00odd\r\n"])
def test_odd_octets_pass_and_keys_still_count(text: bytes) -> None:
    """Bare LF; NUL and non-ASCII octets."""
    agent = offering()
    reply = agent.do(accept(text))
    assert isinstance(reply, ReplySdp)
    assert agent.relays[0].receive == (bytes(range(30)),)
    assert b"\r\n" in reply.sdp or b"\n" in reply.sdp


def test_a_refused_line_is_closed() -> None:
    agent = offering()
    text = agent.text(accept(answer(port=0)))
    assert "m=audio 0 RTP/AVP 0" in text
    assert agent.relays == {}
    assert agent.session.lines[0].reason == "closed"
    assert agent.session.state == "established"


def two(*, second: str, proto: str = "RTP/SAVP", port: int = 30002) -> bytes:
    return answer(CM80) + f"m=audio {port} {proto} 0\r\n{second}\r\n".encode()


def test_a_failing_line_is_given_up_when_nothing_is_required() -> None:
    """SDP-15: the other one stands."""
    agent = offering(sdp=plain(5004, 5006))
    reply = agent.do(accept(two(second="a=x", proto="RTP/AVP")))
    assert isinstance(reply, ReplySdp)
    assert reply.warnings == ("transport_mismatch",)
    assert b"m=audio 0 RTP/AVP 0" in reply.sdp
    assert list(agent.relays) == [0]
    assert [line.mechanism for line in reply.lines] == [Mechanism.SDES, Mechanism.NONE]
    assert [line.reason for line in reply.lines] == [None, "transport_mismatch"]


def test_a_failing_line_fails_the_call_where_security_is_required() -> None:
    """SDP-15, POL-4; and no key of the good line went anywhere."""
    agent = offering(REQUIRED, plain(5004, 5006))
    assert isinstance(agent.do(accept(two(second="a=x", proto="RTP/AVP"))), ReplyError)
    assert agent.count(InstallKeys) == agent.count(SetMode) == 0
    assert agent.text(accept(two(second=f"a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{OTHER_KEY}")))


@pytest.mark.parametrize(
    ("sdp", "code"),
    [
        (answer(CM80) + b"m=audio 1 RTP/SAVP 0\r\n", "media_count"),
        (answer(CM80).split(b"m=")[0], "media_count"),
        (answer(CM80).replace(b"198.51.100.7\r\nt=", b"edge.example.com\r\nt="), "media_address"),
        (answer(CM80).replace(b"198.51.100.7\r\nt=", b"224.2.1.1/127\r\nt="), "media_address"),
        (answer(CM80).replace(b"IP4 198.51.100.7\r\nt=", b"IP6 2001:db8::1\r\nt="), "address_family"),
        (answer(CM80).replace(b"m=audio 30000", b"m=audio 70000"), "bad_m_line"),
        (b"", "not_sdp"),
    ],
)
def test_unusable_answers_are_one_typed_error(sdp: bytes, code: str) -> None:
    agent = offering()
    assert agent.error(accept(sdp)).code == code
    assert agent.session.state == "offering"


def test_rtcp_goes_where_the_answer_says() -> None:
    """RFC 3605; rtcp-mux was not offered, so it is not in use (DYN-14)."""
    agent = offering()
    agent.text(accept(answer(CM80, "a=rtcp:40404", "a=rtcp-mux")))
    assert agent.relays[0].peer is not None
    assert agent.relays[0].peer.rtcp_port == 40404


def test_the_first_answer_counts_and_the_200_gets_the_same_reply() -> None:
    """DYN-6: 183 and 200 with the same SDP."""
    agent = offering()
    first = agent.do(accept(answer(CM80), final=False))
    assert agent.session.state == "established"
    second = agent.do(accept(answer(CM80)))
    assert isinstance(first, ReplySdp)
    assert isinstance(second, ReplySdp)
    assert second.sdp == first.sdp
    assert second.warnings == ()
    assert agent.count(InstallKeys) == 0


def test_other_keys_in_a_later_answer_are_reported_and_ignored() -> None:
    """DYN-6."""
    agent = offering()
    agent.text(accept(answer(CM80), final=False))
    reply = agent.do(accept(answer(CM80.replace(KEY, OTHER_KEY))))
    assert isinstance(reply, ReplySdp)
    assert reply.warnings == ("answer_keys_differ",)
    assert agent.relays[0].receive == (bytes(range(30)),)


def test_an_answer_of_another_dialog_is_refused_once_one_stands() -> None:
    agent = offering()
    agent.text(accept(answer(CM80), final=False, tag="b"))
    assert agent.error(accept(answer(CM80), tag="c")).code == "other_dialog"


def test_a_call_refused_after_its_early_answer_ends() -> None:
    agent = offering()
    agent.text(accept(answer(CM80), final=False))
    assert isinstance(agent.do(OfferFailed(486)), ReplyDone)
    assert agent.gone == "offer_failed"
    assert agent.relays == {}


def test_an_established_call_has_no_offer_to_fail() -> None:
    agent = offering()
    agent.text(accept(answer(CM80), final=False))
    agent.text(accept(answer(CM80), final=True))
    assert agent.error(OfferFailed(488)).code == "unexpected_command"
    assert agent.session.state == "established"


def test_identity_comes_with_the_answer() -> None:
    """POL-9, OPEN-28."""
    agent = offering()
    agent.text(AcceptAnswer(answer(CM80), True, asserted_identity="sip:bob@example.org"))
    (line,) = agent.session.lines
    assert (line.identity, line.identity_basis) == ("sip:bob@example.org", "asserted")


def test_identity_may_come_with_the_200_only() -> None:
    """POL-9, DYN-6."""
    agent = offering()
    agent.text(accept(answer(CM80), final=False))
    reply = agent.do(AcceptAnswer(answer(CM80), True, asserted_identity="sip:bob@example.org"))
    assert isinstance(reply, ReplySdp)
    assert reply.lines[0].identity == "sip:bob@example.org"


# -------------------------------------------------------------------------------------------- refused offers --


@pytest.mark.parametrize("status", [488, 606])
def test_a_preferred_offer_is_made_again_in_plain(status: int) -> None:
    """POL-6: the state shows it."""
    agent = offering()
    ports = agent.relays[0].network
    reply = agent.do(OfferFailed(status))
    assert isinstance(reply, ReplySdp)
    assert b"RTP/AVP 0" in reply.sdp
    assert b"crypto" not in reply.sdp
    assert b"3ge2ae" not in reply.sdp
    assert reply.lines == (LineSecurity(0, reply.lines[0].kind, reason="refused"),)
    assert agent.count(OpenRelay) == 0
    agent.text(accept(answer(proto="RTP/AVP")))
    assert agent.relays[0].network == ports
    assert agent.relays[0].mode == "plain"
    assert agent.session.lines[0].reason == "refused"


def test_a_plain_offer_that_fails_too_is_the_end() -> None:
    """POL-6: one retry."""
    agent = offering()
    agent.do(OfferFailed(488))
    assert isinstance(agent.do(OfferFailed(488)), ReplyDone)
    assert agent.gone == "offer_failed"


@pytest.mark.parametrize("status", [486, 404, 503, 603, 415])
def test_other_statuses_end_the_call(status: int) -> None:
    agent = offering()
    assert isinstance(agent.do(OfferFailed(status)), ReplyDone)
    assert agent.session.state == "ended"
    assert agent.count(CloseRelay) == 1


def test_a_required_offer_is_not_made_again() -> None:
    """POL-6, POL-4."""
    agent = offering(REQUIRED)
    assert agent.relays[0].never_plain
    assert isinstance(agent.do(OfferFailed(488)), ReplyDone)
    assert agent.gone == "offer_failed"


def test_an_emergency_call_gets_one_plain_retry_although_required() -> None:
    """POL-7."""
    agent = Agent("alice", REQUIRED)
    agent.text(CreateOffer(plain(), replace(AT_EDGE, emergency=True)))
    assert agent.session.emergency
    assert not agent.relays[0].never_plain
    reply = agent.do(OfferFailed(488))
    assert isinstance(reply, ReplySdp)
    assert b"RTP/AVP 0" in reply.sdp
    agent.text(accept(answer(proto="RTP/AVP")))
    assert agent.relays[0].mode == "plain"


def test_an_emergency_call_stays_one_in_the_networks_re_offer() -> None:
    """POL-7: also where the dialer does not say so again."""
    agent = Agent("alice", REQUIRED)
    agent.text(CreateOffer(plain(), replace(AT_EDGE, emergency=True)))
    agent.do(OfferFailed(488))
    agent.text(accept(answer(proto="RTP/AVP")))
    assert isinstance(agent.do(AcceptOffer(answer(proto="RTP/AVP"), AT_EDGE)), ReplySdp)


def test_e2e_refused_is_followed_by_e2ae_and_then_by_plain() -> None:
    """POL-2, POL-6: each step gives up no more than it must."""
    policy = SecurityPolicy(sdes_e2ae=Setting.PREFERRED, sdes_e2e=Setting.PREFERRED)
    agent = offering(policy)
    assert agent.session.lines[0].scope is Scope.E2E
    assert "3ge2ae:requested" in agent.text(OfferFailed(488))
    assert "RTP/AVP" in agent.text(OfferFailed(488))
    assert isinstance(agent.do(OfferFailed(488)), ReplyDone)


def test_each_try_has_keys_of_its_own() -> None:
    """SDES-4."""
    policy = replace(E2E, sdes_e2ae=Setting.PREFERRED)
    agent = Agent("alice", policy)
    first = agent.text(CreateOffer(plain(), AT_EDGE))
    assert set(keys_in(first)).isdisjoint(keys_in(agent.text(OfferFailed(488))))


def test_a_required_call_without_a_usable_mechanism_is_not_sent() -> None:
    """POL-4: no relay is opened for it."""
    agent = Agent("alice", REQUIRED)
    error = agent.error(CreateOffer(plain(), SECURE))
    assert error.code == "security_required"
    assert agent.relays == {}
    assert agent.session.state == "new"
    agent.do(Release())
    assert agent.gone == "released"
