"""Offers that come in, as networks really write them: SDES-7, SDP-9..13, CAP-2, CAP-10, POL-3, POL-4, SDP-8, -11."""

from __future__ import annotations

import base64

import pytest
from support.pair import AT_EDGE, REQUIRED, SECURE, Agent, crypto_lines, dialer_answer, keys_in, plain

from ueagent.model.security import Mechanism, Scope, SecurityPolicy, Setting, Signalling
from ueagent.session.commands import AcceptOffer, CreateAnswer, CreateOffer, DeclineOffer, Evidence
from ueagent.session.effects import Gone, InstallKeys, OpenRelay, ReplyDone, ReplySdp

KEY = base64.b64encode(bytes(range(30))).decode()
CM80 = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"


def offer(*lines: str, proto: str = "RTP/SAVP", port: int = 30000, end: str = "\r\n", media: str = "audio") -> bytes:
    head = ["v=0", "o=- 7 7 IN IP4 198.51.100.7", "s=-", "c=IN IP4 198.51.100.7", "t=0 0"]
    return end.join([*head, f"m={media} {port} {proto} 0", *lines, ""]).encode()


def bob(policy: SecurityPolicy | None = None) -> Agent:
    return Agent("bob", policy or SecurityPolicy())


def take(agent: Agent, sdp: bytes, evidence: Evidence = AT_EDGE) -> str:
    """Accept and answer; the answer on the network."""
    to_dialer = agent.do(AcceptOffer(sdp, evidence))
    assert isinstance(to_dialer, ReplySdp), to_dialer
    return agent.text(CreateAnswer(dialer_answer(to_dialer.sdp.decode("latin-1"))))


def test_applied_with_evidence_is_assured_e2ae() -> None:
    """SDP-9 (a)."""
    agent = bob()
    answer = take(agent, offer("a=3ge2ae:applied", CM80))
    (line,) = agent.session.lines
    assert (line.scope, line.assured, line.peer) == (Scope.E2AE, True, "access-edge")
    assert len(crypto_lines(answer)) == 1
    assert "3ge2ae" not in answer


def test_applied_without_evidence_is_nobody_we_know() -> None:
    """SDP-9 (b), GEN-12."""
    agent = bob()
    take(agent, offer("a=3ge2ae:applied", CM80), SECURE)
    (line,) = agent.session.lines
    assert (line.scope, line.assured, line.peer) == (Scope.E2E, False, "unknown")


@pytest.mark.parametrize("indicator", ["a=3ge2ae:foo", "a=3ge2ae", "a=3ge2ae:requested"])
def test_any_other_indicator_is_no_claim(indicator: str) -> None:
    """SDP-2."""
    agent = bob()
    take(agent, offer(indicator, CM80))
    assert agent.session.lines[0].scope is Scope.E2E


@pytest.mark.parametrize("indicator", ["a=3ge2ae: applied", "a=3ge2ae:APPLIED", "a=3ge2ae:  Applied "])
def test_spaces_and_case_of_the_indicator_are_tolerated(indicator: str) -> None:
    """SDP-3."""
    agent = bob()
    take(agent, offer(indicator, CM80))
    assert agent.session.lines[0].scope is Scope.E2AE


def test_the_conformance_message_with_crypto_on_avp_is_answered_in_kind() -> None:
    """CAP-2, FIELD-16: `requested` with a space, RTP/AVP, lifetime, MKI and FEC_ORDER."""
    agent = bob()
    answer = take(agent, offer("a=3ge2ae: requested", f"{CM80}|2^20|1:4 FEC_ORDER=FEC_SRTP", proto="RTP/AVP"))
    assert " RTP/AVP 0" in answer
    assert len(crypto_lines(answer)) == 1
    assert agent.relays[0].mode == "secure"
    assert agent.relays[0].receive_lifetime == 1 << 20


def test_crypto_on_avp_alone_is_ignored() -> None:
    """SDES-1, CAP-2: it counts with 3ge2ae only."""
    agent = bob()
    answer = take(agent, offer(CM80, proto="RTP/AVP"))
    assert "crypto" not in answer
    assert agent.relays[0].mode == "plain"


def test_crypto_on_avp_that_nobody_can_use_leaves_a_plain_line() -> None:
    """CAP-2, RFC 8643: best effort."""
    agent = bob()
    answer = take(agent, offer("a=3ge2ae:requested", f"a=crypto:1 NULL_HMAC_SHA1_80 inline:{KEY}", proto="RTP/AVP"))
    assert "crypto" not in answer
    assert agent.relays[0].mode == "plain"


def test_crypto_on_avp_that_nobody_can_use_is_refused_where_required() -> None:
    """CAP-2, POL-4."""
    sdp = offer("a=3ge2ae:requested", f"a=crypto:1 NULL_HMAC_SHA1_80 inline:{KEY}", proto="RTP/AVP")
    assert bob(REQUIRED).error(AcceptOffer(sdp, AT_EDGE)).sip_status_hint == 488


def test_crypto_and_fingerprint_in_one_savp_line_is_sdes() -> None:
    """CAP-10."""
    agent = bob()
    answer = take(agent, offer("a=fingerprint:sha-256 00:11", "a=setup:actpass", CM80))
    assert "fingerprint" not in answer
    assert "setup" not in answer
    assert agent.session.lines[0].mechanism is Mechanism.SDES


def test_a_dtls_line_is_refused_where_there_is_no_certificate() -> None:
    """CAP-10: such a session has keys in SDP only."""
    error = bob().error(AcceptOffer(offer(CM80, "a=fingerprint:sha-256 00", proto="UDP/TLS/RTP/SAVP"), AT_EDGE))
    assert (error.code, error.sip_status_hint) == ("mechanism_unavailable", 488)


@pytest.mark.parametrize("proto", ["SRTP", "TCP/RTP/SAVP", "RTP/SAVPX"])
def test_an_unknown_transport_is_refused(proto: str) -> None:
    """SDP-12."""
    assert bob().error(AcceptOffer(offer(CM80, proto=proto), AT_EDGE)).code == "unknown_transport"


def test_a_line_that_is_no_good_is_refused_alone() -> None:
    """SDP-15, SDP-12: port 0 for the dialer and in the answer, with the proto of the offer."""
    agent = bob()
    sdp = offer(CM80) + b"m=video 4000 TCP/RTP/SAVP 99\r\nm=audio 4002 UDP/TLS/RTP/SAVPF 0\r\n"
    to_dialer = agent.text(AcceptOffer(sdp, AT_EDGE))
    assert "m=video 0 TCP/RTP/SAVP 99" in to_dialer
    assert "m=audio 0 RTP/AVPF 0" in to_dialer
    answer = agent.text(CreateAnswer(dialer_answer(to_dialer)))
    assert "m=video 0 TCP/RTP/SAVP 99" in answer
    assert "m=audio 0 UDP/TLS/RTP/SAVPF 0" in answer
    assert [line.mechanism.value for line in agent.session.lines] == ["SDES", "none", "none"]
    assert [line.reason for line in agent.session.lines] == [None, "unknown_transport", "mechanism_unavailable"]


def test_a_line_that_is_no_good_fails_the_offer_where_security_is_required() -> None:
    """SDP-15."""
    sdp = offer("a=3ge2ae:applied", CM80) + b"m=video 4000 RTP/SAVP 99\r\n"
    assert bob(REQUIRED).error(AcceptOffer(sdp, AT_EDGE)).sip_status_hint == 488


@pytest.mark.parametrize(
    "first",
    [
        f"a=crypto:1 NULL_HMAC_SHA1_80 inline:{KEY}",
        f"a=crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}",
        "a=crypto:1 AES_CM_256_HMAC_SHA1_80 inline:" + base64.b64encode(bytes(46)).decode(),
        "a=crypto:1 AEAD_AES_128_GCM_8 inline:" + base64.b64encode(bytes(28)).decode(),
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:tooshort",
        f"a=crypto:1234567890 AES_CM_128_HMAC_SHA1_80 inline:{KEY}",
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^49",
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^48 UNENCRYPTED_SRTCP",
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} MUST_KNOW",
    ],
)
def test_a_bad_line_first_does_not_stop_the_next(first: str) -> None:
    """SDES-7, SDP-13, FIELD-6, FIELD-9."""
    agent = bob()
    second = base64.b64encode(bytes(range(40, 70))).decode()
    answer = take(agent, offer(first, f"a=crypto:02 AES_CM_128_HMAC_SHA1_32 inline:{second}"))
    assert "a=crypto:02 AES_CM_128_HMAC_SHA1_32 " in answer
    assert agent.relays[0].receive == (bytes(range(40, 70)),)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (f"a=crypto:1 NULL_HMAC_SHA1_80 inline:{KEY}",),
        ("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:tooshort",),
        ("a=key-mgmt:mikey AQAFgM0X",),
    ],
)
def test_a_secured_line_without_usable_keys_is_488(lines: tuple[str, ...]) -> None:
    """SDES-7, SDP-9 (d), SDP-10: never a plain answer."""
    agent = bob()
    assert agent.error(AcceptOffer(offer(*lines), AT_EDGE)).sip_status_hint == 488
    assert agent.session.state == "new"
    assert agent.count(OpenRelay) == 0


def test_e2e_is_refused_where_it_is_off() -> None:
    """SDP-10."""
    agent = bob(SecurityPolicy(sdes_e2e=Setting.OFF))
    assert agent.error(AcceptOffer(offer(CM80), AT_EDGE)).sip_status_hint == 488


@pytest.mark.parametrize("signalling", [Signalling.NONE, Signalling.INTEGRITY])
def test_keys_in_open_signalling_are_refused(signalling: Signalling) -> None:
    """POL-3, GEN-9."""
    error = bob().error(AcceptOffer(offer(CM80), Evidence(signalling)))
    assert (error.code, error.sip_status_hint) == ("signalling_not_confidential", 488)


def test_a_plain_offer_is_refused_where_security_is_required() -> None:
    """POL-4: 488, no relay, no state."""
    agent = bob(REQUIRED)
    error = agent.error(AcceptOffer(offer(proto="RTP/AVP"), AT_EDGE))
    assert (error.code, error.sip_status_hint) == ("security_required", 488)
    assert agent.relays == {}


def test_a_required_relay_can_never_be_plain() -> None:
    """POL-4."""
    agent = bob(REQUIRED)
    take(agent, offer("a=3ge2ae:applied", CM80))
    assert agent.relays[0].never_plain


def test_sixty_six_crypto_lines_are_read() -> None:
    lines = [f"a=crypto:{tag} NULL_HMAC_SHA1_80 inline:{KEY}" for tag in range(1, 66)]
    answer = take(bob(), offer(*lines, f"a=crypto:66 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"))
    assert "a=crypto:66 " in answer


def test_two_keys_joined_by_a_semicolon_are_both_received() -> None:
    """SDES-10."""
    agent = bob()
    take(agent, offer(f"{CM80}|1:4;inline:{base64.b64encode(bytes(30)).decode()}|2:4"))
    assert agent.relays[0].receive == (bytes(range(30)), bytes(30))


def test_bare_lf_sdp_stays_bare_lf() -> None:
    agent = bob()
    to_dialer = agent.text(AcceptOffer(offer(CM80, end="\n"), AT_EDGE))
    assert "\r" not in to_dialer


def test_everything_the_agent_does_not_own_passes_unchanged() -> None:
    """Lossless editing: NUL, non-ASCII, unknown lines, 64 KiB."""
    odd = b"a=x-odd:\x00\xff\xc3\xa9\r\nz=nothing\r\n" + b"a=pad:" + b"x" * 60000 + b"\r\n"
    agent = bob()
    reply = agent.do(AcceptOffer(offer(CM80) + odd, AT_EDGE))
    assert isinstance(reply, ReplySdp)
    assert odd in reply.sdp
    assert KEY.encode() not in reply.sdp


def test_the_dialer_is_not_told_of_ice_bundle_or_mux() -> None:
    """DYN-14, DYN-16: declined by not answering."""
    sdp = offer(CM80, "a=mid:0", "a=rtcp-mux", "a=ice-ufrag:abcd", "a=candidate:1 1 UDP 1 198.51.100.7 30000 typ host")
    sdp = sdp.replace(b"t=0 0\r\n", b"t=0 0\r\na=group:BUNDLE 0\r\na=group:LS 0\r\na=ice-lite\r\n")
    agent = bob()
    to_dialer = agent.text(AcceptOffer(sdp, AT_EDGE))
    for word in ("BUNDLE", "rtcp-mux", "ice-", "candidate"):
        assert word not in to_dialer
    assert "a=group:LS 0" in to_dialer


def test_lines_that_are_not_rtp_pass_untouched() -> None:
    agent = bob()
    chat = b"m=message 7394 TCP/MSRP *\r\na=path:msrp://198.51.100.7:7394/a;tcp\r\n"
    reply = agent.do(AcceptOffer(offer(CM80) + chat, AT_EDGE))
    assert isinstance(reply, ReplySdp)
    assert chat in reply.sdp
    assert [(line.kind.value, line.mechanism.value, line.reason) for line in reply.lines][1] == (
        "msrp",
        "none",
        "offered_plain",
    )


def test_an_offer_of_chat_alone_is_nobodys_business_here() -> None:
    agent = bob()
    chat = b"v=0\r\nc=IN IP4 198.51.100.7\r\nm=message 7394 TCP/MSRP *\r\n"
    assert agent.text(AcceptOffer(chat, AT_EDGE)).encode() == chat
    assert agent.relays == {}


def test_the_answers_key_is_fresh_and_not_one_of_the_offers() -> None:
    """SDES-4."""
    answer = take(bob(), offer(CM80))
    assert keys_in(answer) != [KEY]
    assert keys_in(take(Agent("carol"), offer(CM80))) != keys_in(answer)


def test_a_dialer_that_takes_no_line_closes_it() -> None:
    agent = bob()
    to_dialer = agent.text(AcceptOffer(offer(CM80), AT_EDGE))
    answer = agent.text(CreateAnswer(dialer_answer(to_dialer).replace(b"m=audio 6000", b"m=audio 0")))
    assert "m=audio 0 RTP/SAVP 0" in answer
    assert "crypto" not in answer
    assert agent.relays == {}
    assert agent.count(InstallKeys) == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ((b"RTP/AVP", b"RTP/SAVP"), "transport_mismatch"),
        ((b"127.0.0.1", b"192.0.2.1"), "media_not_loopback"),
        ((b"IP4 127.0.0.1", b"IP6 ::1"), "address_family"),
        ((b"m=audio", b"m=audio 9 RTP/AVP 0\r\nm=audio"), "media_count"),
        ((b"m=audio 6000", b"m=audio x"), "bad_m_line"),
    ],
)
def test_a_dialers_bad_answer_can_be_mended(change: tuple[bytes, bytes], code: str) -> None:
    """A failed command changes nothing."""
    agent = bob()
    good = dialer_answer(agent.text(AcceptOffer(offer(CM80), AT_EDGE)))
    assert agent.error(CreateAnswer(good.replace(*change))).code == code
    assert agent.session.state == "offered"
    assert agent.text(CreateAnswer(good))
    assert agent.relays[0].mode == "secure"


def test_a_dialer_cannot_answer_chat_with_plain_rtp() -> None:
    """POL-4, SDP-11: nobody would secure it."""
    agent, chat = bob(REQUIRED), b"m=message 9 TCP/MSRP *\r\n"
    to_dialer = agent.text(AcceptOffer(offer(CM80, "a=3ge2ae:applied") + chat, AT_EDGE)).encode()
    good = dialer_answer(to_dialer.decode())
    bad = good.replace(b" TCP/MSRP *", b" RTP/AVP 0").replace(b"m=message", b"m=audio")
    assert agent.error(CreateAnswer(bad)).code == "transport_mismatch"
    agent.text(CreateAnswer(good))


def test_a_declined_call_is_over() -> None:
    agent = bob()
    agent.text(AcceptOffer(offer(CM80), AT_EDGE))
    assert isinstance(agent.do(DeclineOffer()), ReplyDone)
    assert Gone("declined") in agent.effects
    assert agent.relays == {}


# ------------------------------------------------------------------------------------- what dialers hand to us --


def test_a_media_address_that_is_not_loopback_is_the_dialers_error() -> None:
    agent = Agent()
    error = agent.error(CreateOffer(plain(address="192.0.2.1"), AT_EDGE))
    assert (type(error).__name__, error.code) == ("UsageError", "media_not_loopback")


def test_a_line_the_dialer_secured_itself_is_left_alone() -> None:
    agent = Agent()
    sdp = plain(5004, proto="RTP/SAVP", address="192.0.2.1", extra=CM80)
    reply = agent.do(CreateOffer(sdp, AT_EDGE))
    assert isinstance(reply, ReplySdp)
    assert reply.sdp == sdp
    assert (reply.lines[0].mechanism, reply.lines[0].reason) == (Mechanism.NONE, "secured_by_dialer")
    assert agent.relays == {}


def test_the_offer_carries_neither_mux_nor_bundle_nor_candidates() -> None:
    """DYN-14, DYN-16: the relay is the transport."""
    extra = "a=rtcp-mux\r\na=mid:a\r\na=rtcp:5005 IN IP4 127.0.0.1\r\na=candidate:1 1 UDP 1 127.0.0.1 5004 typ host"
    sdp = plain(5004, extra=extra).replace(b"t=0 0\r\n", b"t=0 0\r\na=group:BUNDLE a\r\n")
    agent = Agent()
    offered = agent.text(CreateOffer(sdp, AT_EDGE))
    for word in ("rtcp-mux", "BUNDLE", "candidate", "a=rtcp:"):
        assert word not in offered
    assert agent.relays[0].dialer is not None
    assert agent.relays[0].dialer.rtcp_port == 5005  # we do not agree to mux


def test_a_dialers_own_keys_do_not_pass() -> None:
    """The agent owns keying: crypto on RTP/AVP from the dialer is dropped."""
    agent = Agent()
    assert KEY not in agent.text(CreateOffer(plain(5004, extra=CM80), AT_EDGE))


def test_an_unknown_transport_from_the_dialer_passes_unless_security_is_required() -> None:
    sdp = plain(5004, proto="RTP/XAVP")
    reply = Agent().do(CreateOffer(sdp, AT_EDGE))
    assert isinstance(reply, ReplySdp)
    assert (reply.sdp, reply.lines[0].reason) == (sdp, "unknown_transport")
    assert Agent("alice", REQUIRED).error(CreateOffer(sdp, AT_EDGE)).code == "security_required"


def test_padding_is_left_out_where_the_operator_says_so() -> None:
    """SDES-3."""
    offered = Agent("alice", SecurityPolicy(sdes_padding=False)).text(CreateOffer(plain(), AT_EDGE))
    assert not any(line.endswith("=") for line in crypto_lines(offered))
    assert crypto_lines(offered)[0].startswith("a=crypto:1 AEAD_AES_128_GCM inline:")
