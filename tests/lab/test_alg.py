"""The ALG of the lab on plain SDP (EDGE-2 to EDGE-5, EDGE-9, EDGE-10, EDGE-17, EDGE-18)."""

import hashlib
from collections.abc import Callable

import pytest

from ueagent.errors import NegotiationFailed
from ueagent.lab.alg import AlgConfig, AlgDialog, Handling, rtp_lines
from ueagent.lab.faults import Fault, Indication
from ueagent.lab.srtp_set import PROFILES
from ueagent.model.media import Endpoint
from ueagent.wire.sdp import build_sdp, parse_sdp

ACCESS = Endpoint("192.0.2.1", 30000, 30001)
CORE = Endpoint("198.51.100.1", 20000, 20001)
KEY_80 = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"  # 30 octets
KEY_GCM = "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYg=="  # 28 octets
CRYPTO_80 = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_80}"
CRYPTO_GCM = f"a=crypto:2 AEAD_AES_128_GCM inline:{KEY_GCM}"
UNKNOWN = f"a=crypto:9 AES_256_CM_HMAC_SHA1_80 inline:{'Y' * 61}w=="  # 46 octets; not in pylibsrtp


def counting_rng() -> Callable[[int], bytes]:
    count = iter(range(1000))
    return lambda n: hashlib.sha512(str(next(count)).encode()).digest()[:n]


def sdp(proto: str, *attributes: str, port: int = 40000) -> bytes:
    lines = ["v=0", "o=ue 1 1 IN IP4 203.0.113.5", "s=-", "c=IN IP4 203.0.113.5", "t=0 0"]
    lines += [f"m=audio {port} {proto} 0 8", "a=rtpmap:0 PCMU/8000", *attributes, "a=sendrecv"]
    return "".join(line + "\r\n" for line in lines).encode()


def dialog(**config: object) -> AlgDialog:
    return AlgDialog(AlgConfig(**{"agreed": True, **config}), counting_rng())  # type: ignore[arg-type]


def from_ue(here: AlgDialog, offer: bytes) -> str:
    return build_sdp(here.offer_from_ue(parse_sdp(offer), {0: CORE})).decode()


def answer_to_ue(here: AlgDialog, answer: bytes) -> str:
    return build_sdp(here.answer_to_ue(parse_sdp(answer), {0: ACCESS})).decode()


def to_ue(here: AlgDialog, offer: bytes, **options: bool) -> str:
    return build_sdp(here.offer_to_ue(parse_sdp(offer), {0: ACCESS}, **options)).decode()


def from_ue_answer(here: AlgDialog, answer: bytes) -> str:
    return build_sdp(here.answer_from_ue(parse_sdp(answer), {0: CORE})).decode()


def crypto_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("a=crypto:")]


def secured_offer(*crypto: str, proto: str = "RTP/SAVP") -> bytes:
    return sdp(proto, "a=3ge2ae:requested", *(crypto or (CRYPTO_80, CRYPTO_GCM)))


# ----------------------------------------------------------------------------------------------------- originating --


@pytest.mark.parametrize(("secure", "plain"), [("RTP/SAVP", "RTP/AVP"), ("RTP/SAVPF", "RTP/AVPF")])
def test_core_sees_a_plain_offer_from_the_gateways_address(secure: str, plain: str) -> None:
    """EDGE-2."""
    text = from_ue(dialog(), secured_offer(proto=secure))
    assert f"m=audio 20000 {plain} 0 8\r\nc=IN IP4 198.51.100.1\r\n" in text
    assert "crypto" not in text
    assert "3ge2ae" not in text
    assert "a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n" in text


def test_answer_has_one_line_with_tag_and_suite_of_the_offer_and_a_fresh_key() -> None:
    """EDGE-3."""
    here = dialog()
    from_ue(here, secured_offer())
    text = answer_to_ue(here, sdp("RTP/AVP"))
    assert "m=audio 30000 RTP/SAVP 0 8\r\nc=IN IP4 192.0.2.1\r\n" in text
    (line,) = crypto_lines(text)
    assert line.startswith("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:")
    assert KEY_80 not in line
    assert "3ge2ae" not in text


@pytest.mark.parametrize(
    ("indication", "expected"), [(Indication.APPLIED, "a=3ge2ae:applied"), (Indication.REQUESTED, "a=3ge2ae:requested")]
)
def test_answer_says_what_the_switch_asks_for(indication: Indication, expected: str) -> None:
    """EDGE-3: applied, or the UE's own indication echoed."""
    here = dialog(indication=indication)
    from_ue(here, secured_offer())
    assert f"{expected}\r\n" in answer_to_ue(here, sdp("RTP/AVP"))


def test_gateway_gets_both_parameter_sets_of_an_originating_call() -> None:
    """EDGE-6: rx from the selected line of the offer, tx from the line of the answer."""
    here = dialog()
    from_ue(here, secured_offer())
    (line,) = crypto_lines(answer_to_ue(here, sdp("RTP/AVP")))
    (order,) = here.commit()
    assert order.handling is Handling.E2AE
    assert order.rx is not None
    assert order.tx is not None
    assert order.rx.suite == order.tx.suite == "AES_CM_128_HMAC_SHA1_80"
    assert bytes(order.rx.key_salt.reveal()) == b"a" * 30
    assert line.endswith(_base64(order.tx.key_salt.reveal()))


def test_first_suite_that_libsrtp_has_is_selected() -> None:
    here = dialog()
    from_ue(here, secured_offer(UNKNOWN, CRYPTO_GCM))
    assert crypto_lines(answer_to_ue(here, sdp("RTP/AVP")))[0].startswith("a=crypto:2 AEAD_AES_128_GCM ")


@pytest.mark.parametrize("suite", PROFILES)
def test_every_suite_of_libsrtp_can_be_the_only_one(suite: str) -> None:
    here, core = dialog(suites=(suite,)), dialog(suites=(suite,))
    (offered,) = crypto_lines(to_ue(core, sdp("RTP/AVP")))
    from_ue(here, secured_offer(offered))
    assert f" {suite} " in crypto_lines(answer_to_ue(here, sdp("RTP/AVP")))[0]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (UNKNOWN, "AES_256_CM_HMAC_SHA1_80"),
        ("a=crypto:1 FOO_BAR inline:abcd", "FOO_BAR"),
        (CRYPTO_80 + "|2^20|1:4", "AES_CM_128_HMAC_SHA1_80"),
        (CRYPTO_80 + " UNENCRYPTED_SRTCP", "AES_CM_128_HMAC_SHA1_80"),
    ],
    ids=["aes-256-cm", "unknown", "mki", "unencrypted"],
)
def test_what_libsrtp_cannot_do_is_refused_by_name(line: str, named: str) -> None:
    with pytest.raises(NegotiationFailed, match=f"the lab edge cannot do {named}") as refused:
        from_ue(dialog(), secured_offer(line))
    assert refused.value.sip_status_hint == 488
    assert KEY_80 not in str(refused.value)


def test_secured_line_without_crypto_is_refused() -> None:
    with pytest.raises(NegotiationFailed, match="missing_crypto"):
        from_ue(dialog(), sdp("RTP/SAVP", "a=3ge2ae:requested"))


def test_request_without_agreement_is_refused() -> None:
    with pytest.raises(NegotiationFailed, match="not_agreed"):
        from_ue(dialog(agreed=False), secured_offer())


def test_plain_offer_of_a_ue_that_announced_sdes_is_plain() -> None:
    """EDGE-10, first mode."""
    here = dialog()
    assert "m=audio 20000 RTP/AVP 0 8\r\n" in from_ue(here, sdp("RTP/AVP"))
    assert "m=audio 30000 RTP/AVP 0 8\r\n" in answer_to_ue(here, sdp("RTP/AVP"))
    assert here.commit()[0].handling is Handling.PLAIN


def test_plain_offer_of_a_ue_that_announced_sdes_can_be_refused() -> None:
    """EDGE-10, second mode."""
    with pytest.raises(NegotiationFailed, match="plain_refused") as refused:
        from_ue(dialog(refuse_plain=True), sdp("RTP/AVP"))
    assert refused.value.sip_status_hint == 488
    assert "RTP/AVP" in from_ue(dialog(refuse_plain=True, agreed=False), sdp("RTP/AVP"))


# ----------------------------------------------------------------------------------------------------- terminating --


def test_ue_is_offered_fresh_lines_and_applied() -> None:
    """EDGE-4, SDP-5."""
    text = to_ue(dialog(), sdp("RTP/AVPF"))
    assert "m=audio 30000 RTP/SAVPF 0 8\r\n" in text
    assert "a=3ge2ae:applied\r\n" in text
    lines = crypto_lines(text)
    assert [line.split()[1] for line in lines] == list(PROFILES)
    assert len({line.split("inline:")[1] for line in lines}) == len(lines)


def test_foreign_indication_never_reaches_the_ue() -> None:
    """EDGE-4, SDP-6."""
    assert "3ge2ae" not in to_ue(dialog(agreed=False), sdp("RTP/AVP", "a=3ge2ae:applied"))
    assert to_ue(dialog(), sdp("RTP/AVP", "a=3ge2ae:requested")).count("a=3ge2ae:") == 1
    assert "3ge2ae" not in to_ue(dialog(), sdp("RTP/SAVP", "a=3ge2ae:applied", CRYPTO_80))


def test_core_sees_a_plain_answer() -> None:
    """EDGE-5; EDGE-6: rx from the UE's answer, tx from the line of ours that it took."""
    here = dialog()
    offered = crypto_lines(to_ue(here, sdp("RTP/AVP")))[1]
    text = from_ue_answer(here, sdp("RTP/SAVP", offered.split("inline:")[0] + f"inline:{KEY_80}"))
    assert "m=audio 20000 RTP/AVP 0 8\r\nc=IN IP4 198.51.100.1\r\n" in text
    assert "crypto" not in text
    (order,) = here.commit()
    assert order.rx is not None
    assert order.tx is not None
    assert bytes(order.rx.key_salt.reveal()) == b"a" * 30
    assert offered.endswith(_base64(order.tx.key_salt.reveal()))


@pytest.mark.parametrize(
    "answer",
    [
        sdp("RTP/AVP"),
        sdp("RTP/AVP", f"a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY_80}"),
        sdp("RTP/SAVP"),
        sdp("RTP/SAVP", f"a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:{KEY_80}"),
        sdp("RTP/SAVP", f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_80}"),
        sdp("RTP/SAVP", CRYPTO_80.replace(":1 ", ":2 "), CRYPTO_GCM.replace(":2 ", ":1 ")),
        sdp("RTP/SAVP", f"a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY_80[4:]}"),
        sdp("RTP/SAVP") + b"m=video 0 RTP/SAVP 96\r\n",
    ],
    ids=["plain", "avp", "none", "tag", "suite", "two", "short-key", "line-count"],
)
def test_answer_that_does_not_fit_is_refused(answer: bytes) -> None:
    here = dialog()
    to_ue(here, sdp("RTP/AVP"))
    with pytest.raises(NegotiationFailed):
        from_ue_answer(here, answer)


def test_answer_that_repeats_a_key_of_ours_is_refused() -> None:
    here = dialog()
    offered = crypto_lines(to_ue(here, sdp("RTP/AVP")))[0]
    with pytest.raises(NegotiationFailed, match="repeats a key"):
        from_ue_answer(here, sdp("RTP/SAVP", offered))


def test_line_the_ue_refuses_is_refused_in_plain() -> None:
    here = dialog()
    to_ue(here, sdp("RTP/AVP"))
    assert "m=audio 0 RTP/AVP" in from_ue_answer(here, sdp("RTP/SAVP", port=0))
    assert here.commit()[0].handling is Handling.UNTOUCHED


# ------------------------------------------------------------------------------------------------ e2e, both sides --


def test_end_to_end_offer_passes_with_proto_and_crypto_unmodified() -> None:
    """EDGE-9."""
    caller, callee = dialog(), dialog()
    core = from_ue(caller, sdp("RTP/SAVP", CRYPTO_80, CRYPTO_GCM))
    text = to_ue(callee, core.encode())
    assert "m=audio 30000 RTP/SAVP 0 8\r\n" in text
    assert crypto_lines(text) == [CRYPTO_80, CRYPTO_GCM]
    core_answer = from_ue_answer(callee, sdp("RTP/SAVP", CRYPTO_80.replace(KEY_80, "Z" * 40)))
    assert crypto_lines(answer_to_ue(caller, core_answer.encode())) == [CRYPTO_80.replace(KEY_80, "Z" * 40)]
    assert [d.commit()[0].handling for d in (caller, callee)] == [Handling.E2E, Handling.E2E]


@pytest.mark.parametrize("level", ["session", "media"])
def test_key_management_end_to_end_passes_untouched(level: str) -> None:
    """KMS-67: transport and a=key-mgmt as they came, either way; the gateway forwards what it cannot read."""
    attribute = "a=key-mgmt:mikey AQ4FAA=="
    offer = sdp("RTP/SAVP") if level == "session" else sdp("RTP/SAVP", attribute)
    if level == "session":
        offer = offer.replace(b"t=0 0\r\n", b"t=0 0\r\n" + attribute.encode() + b"\r\n")
    caller, callee = dialog(), dialog()
    there = to_ue(callee, from_ue(caller, offer).encode())
    back = answer_to_ue(caller, from_ue_answer(callee, offer).encode())
    for text in (there, back):
        assert " RTP/SAVP 0 8\r\n" in text
        assert text.count(attribute) == 1
        assert "crypto" not in text
    orders = (*caller.commit(), *callee.commit())
    assert [(order.handling, order.rx, order.tx) for order in orders] == [(Handling.E2E, None, None)] * 2


@pytest.mark.parametrize("caller_agreed", [False, True])
@pytest.mark.parametrize("callee_agreed", [False, True])
def test_protection_of_one_access_says_nothing_of_the_other(caller_agreed: bool, callee_agreed: bool) -> None:
    """EDGE-18."""
    caller, callee = dialog(agreed=caller_agreed), dialog(agreed=callee_agreed)
    offer = secured_offer() if caller_agreed else sdp("RTP/AVP")
    offered = to_ue(callee, from_ue(caller, offer).encode())
    assert bool(crypto_lines(offered)) == callee_agreed
    crypto = [crypto_lines(offered)[1].split("inline:")[0] + f"inline:{KEY_80}"] if callee_agreed else []
    core = from_ue_answer(callee, sdp("RTP/SAVP" if callee_agreed else "RTP/AVP", *crypto))
    answered = answer_to_ue(caller, core.encode())
    assert bool(crypto_lines(answered)) == caller_agreed
    assert "RTP/AVP 0" in core
    assert not crypto_lines(core)


def test_edge_that_knows_nothing_passes_everything_on() -> None:
    """EDGE-1, mode none: 3ge2ae is an unknown attribute to it."""
    text = from_ue(dialog(agreed=False, aware=False), secured_offer())
    assert "a=3ge2ae:requested" in text
    assert crypto_lines(text) == [CRYPTO_80, CRYPTO_GCM]


def test_lying_edge_answers_and_offers_plain() -> None:
    """EDGE-1, mode lying."""
    here = dialog(lying=True)
    from_ue(here, secured_offer())
    text = answer_to_ue(here, sdp("RTP/AVP"))
    assert "RTP/AVP 0" in text
    assert not crypto_lines(text)
    assert "RTP/AVP 0" in to_ue(dialog(lying=True), sdp("RTP/AVP"))


def test_lines_without_rtp_pass_untouched() -> None:
    offer = secured_offer() + b"m=message 5060 TCP/TLS/MSRP *\r\na=path:msrps://x\r\na=3ge2ae:requested\r\n"
    assert rtp_lines(parse_sdp(offer)) == [0]
    text = from_ue(dialog(), offer)
    assert text.endswith("m=message 5060 TCP/TLS/MSRP *\r\na=path:msrps://x\r\na=3ge2ae:requested\r\n")


# --------------------------------------------------------------------------------------------------------- re-offers --


def test_refresh_keeps_both_keys() -> None:
    """SDES-15: nothing is installed again."""
    here = dialog()
    for number in range(2):
        from_ue(here, secured_offer())
        text = answer_to_ue(here, sdp("RTP/AVP"))
        (order,) = here.commit()
        if number == 0:
            first = crypto_lines(text)
    assert crypto_lines(text) == first
    assert (order.rx, order.tx) == (None, None)


def test_new_key_of_the_ue_gets_a_new_key_of_ours() -> None:
    """DYN-10."""
    here = dialog()
    from_ue(here, secured_offer())
    first = crypto_lines(answer_to_ue(here, sdp("RTP/AVP")))
    here.commit()
    from_ue(here, secured_offer(CRYPTO_80.replace(KEY_80, "Z" * 40)))
    assert crypto_lines(answer_to_ue(here, sdp("RTP/AVP"))) != first
    (order,) = here.commit()
    assert order.rx is not None
    assert order.tx is not None


@pytest.mark.parametrize("rekey", [False, True])
def test_reoffer_of_the_edge_repeats_its_key_unless_it_rekeys(rekey: bool) -> None:
    """EDGE-17, rekey."""
    here = dialog()
    from_ue(here, secured_offer())
    (first,) = crypto_lines(answer_to_ue(here, sdp("RTP/AVP")))
    here.commit()
    (again,) = crypto_lines(to_ue(here, sdp("RTP/AVP"), rekey=rekey))
    assert again.split("inline:")[0] == first.split("inline:")[0]
    assert (again != first) == rekey
    from_ue_answer(here, sdp("RTP/SAVP", CRYPTO_80))
    (order,) = here.commit()
    assert order.rx is None
    assert (order.tx is not None) == rekey


def test_refused_reoffer_leaves_everything_as_it_was() -> None:
    """SDES-16."""
    here = dialog()
    from_ue(here, secured_offer())
    first = crypto_lines(answer_to_ue(here, sdp("RTP/AVP")))
    here.commit()
    to_ue(here, sdp("RTP/AVP"), rekey=True)
    here.roll_back()
    from_ue(here, secured_offer())
    assert crypto_lines(answer_to_ue(here, sdp("RTP/AVP"))) == first


# ------------------------------------------------------------------------------------------------------------ faults --


def faulty_answer(fault: Fault, *crypto: str) -> str:
    here = dialog(fault=fault)
    from_ue(here, secured_offer(*crypto))
    return answer_to_ue(here, sdp("RTP/AVP"))


def test_fault_wrong_tag_names_a_tag_that_was_not_offered() -> None:
    """EDGE-17."""
    (line,) = crypto_lines(faulty_answer(Fault.WRONG_TAG))
    assert line.startswith("a=crypto:3 AES_CM_128_HMAC_SHA1_80 ")


def test_fault_wrong_suite_keeps_the_tag() -> None:
    """EDGE-17."""
    (line,) = crypto_lines(faulty_answer(Fault.WRONG_SUITE))
    assert line.startswith("a=crypto:1 AEAD_AES_128_GCM ")


def test_fault_two_crypto_lines() -> None:
    """EDGE-17."""
    one, other = crypto_lines(faulty_answer(Fault.TWO_LINES))
    assert (one.split()[0], other.split()[0]) == ("a=crypto:1", "a=crypto:2")


def test_fault_missing_crypto_keeps_the_secure_proto() -> None:
    """EDGE-17."""
    text = faulty_answer(Fault.MISSING_CRYPTO)
    assert "RTP/SAVP 0" in text
    assert not crypto_lines(text)
    offer = to_ue(dialog(fault=Fault.MISSING_CRYPTO), sdp("RTP/AVP"))
    assert "RTP/SAVP 0" in offer
    assert not crypto_lines(offer)


def test_fault_plain_answer_is_plain() -> None:
    """EDGE-17."""
    text = faulty_answer(Fault.PLAIN_ANSWER)
    assert "RTP/AVP 0" in text
    assert not crypto_lines(text)


def test_fault_echoed_key_is_the_key_of_the_offer() -> None:
    """EDGE-17."""
    assert crypto_lines(faulty_answer(Fault.ECHOED_KEY)) == [CRYPTO_80]


def test_fault_leaked_applied_lets_the_far_ends_word_pass() -> None:
    """EDGE-17."""
    offer = sdp("RTP/SAVP", "a=3ge2ae:applied", CRYPTO_80)
    assert "a=3ge2ae:applied" in to_ue(dialog(fault=Fault.LEAKED_APPLIED), offer)


def test_fault_unpadded_keys_have_no_padding() -> None:
    """EDGE-17."""
    (padded,) = crypto_lines(faulty_answer(Fault.NO_FAULT, CRYPTO_GCM))
    assert padded.endswith("==")
    assert crypto_lines(faulty_answer(Fault.UNPADDED_KEYS, CRYPTO_GCM)) == [padded.rstrip("=")]


def test_fault_wrong_key_gives_the_gateway_other_keys_than_the_ue() -> None:
    """EDGE-17."""
    here = dialog(fault=Fault.WRONG_KEY)
    from_ue(here, secured_offer())
    (line,) = crypto_lines(answer_to_ue(here, sdp("RTP/AVP")))
    (order,) = here.commit()
    assert order.rx is not None
    assert order.tx is not None
    assert bytes(order.rx.key_salt.reveal()) != b"a" * 30
    assert not line.endswith(_base64(order.tx.key_salt.reveal()))


def _base64(octets: bytearray) -> str:
    import base64

    return base64.b64encode(octets).decode()
