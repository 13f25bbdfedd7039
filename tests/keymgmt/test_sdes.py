"""SDES on its own: RFC 4568, SDES-2..22."""

from __future__ import annotations

import base64

import pytest
from support.pair import SeededRng, octets, tracked_secrets

from ueagent.errors import AgentError, MalformedMessage
from ueagent.keymgmt.mechanism import (
    AnswerRequested,
    Closed,
    Failed,
    Input,
    KeysReady,
    OfferRequested,
    Output,
    PeerFault,
    PutAttributes,
    RemoteAnswer,
    RemoteOffer,
    RolledBack,
    Settled,
)
from ueagent.keymgmt.registry import MECHANISMS, create_mechanism, secure_transport
from ueagent.keymgmt.sdes import TRANSITIONS, Sdes, create
from ueagent.model.media import MediaKind
from ueagent.model.security import Mechanism, MediaPlan, Scope, SecurityPolicy
from ueagent.model.suites import DEFAULT_OFFER, SUITES
from ueagent.wire.sdp_attributes import SdesCrypto, build_crypto, parse_crypto

CM80 = "AES_CM_128_HMAC_SHA1_80"
GCM = "AEAD_AES_128_GCM"


def sdes(name: str = "us", **options: object) -> Sdes:
    defaults: dict[str, object] = {"offer": (GCM, CM80), "accept": frozenset(DEFAULT_OFFER)}
    return Sdes(SeededRng(name), **(defaults | options))  # type: ignore[arg-type]


def key(first: int, suite: str = CM80) -> str:
    length = SUITES[suite].key_salt_length
    return base64.b64encode(bytes((first + i) & 255 for i in range(length))).decode()


def line(text: str) -> SdesCrypto:
    return parse_crypto(text.encode())


def their(tag: int = 1, suite: str = CM80, first: int = 100, rest: str = "") -> SdesCrypto:
    return line(f"{tag} {suite} inline:{key(first, suite)}{rest}")


def put(outputs: list[Output]) -> tuple[SdesCrypto, ...]:
    (only,) = [o for o in outputs if isinstance(o, PutAttributes)]
    return only.attributes


def ready(outputs: list[Output]) -> KeysReady:
    (only,) = [o for o in outputs if isinstance(o, KeysReady)]
    return only


def failure(outputs: list[Output]) -> AgentError:
    (only,) = outputs
    assert isinstance(only, Failed)
    return only.error


def run(mechanism: Sdes, *events: Input) -> list[Output]:
    return [output for event in events for output in mechanism.handle(event, 0.0)]


def answered(mechanism: Sdes, *, theirs: SdesCrypto | None = None) -> list[Output]:
    """Our offer, their answer, settled."""
    return run(mechanism, OfferRequested(False), RemoteAnswer((theirs or their(2),)), Settled())


# ------------------------------------------------------------------------------------------------------ offering --


def test_an_offer_has_one_fresh_key_for_each_suite_in_order() -> None:
    """SDES-4, SDES-6, SDES-11: no lifetime, no MKI by default."""
    lines = put(run(sdes(offer=DEFAULT_OFFER), OfferRequested(False)))
    assert [(crypto.tag, crypto.suite) for crypto in lines] == list(enumerate(DEFAULT_OFFER, 1))
    texts = [build_crypto(crypto) for crypto in lines]
    assert len({text.split(b"inline:")[1] for text in texts}) == len(DEFAULT_OFFER)
    assert not any(b"|" in text for text in texts)


def test_lifetime_and_mki_are_written_where_the_operator_wants_them() -> None:
    """SDES-11."""
    (crypto, _) = put(run(sdes(lifetime=1 << 20, mki=True), OfferRequested(False)))
    assert build_crypto(crypto).endswith(b"|2^20|1:4")


def test_a_new_key_has_a_new_mki() -> None:
    mechanism = sdes(mki=True)
    answered(mechanism)
    (crypto, _) = put(run(mechanism, OfferRequested(True)))
    assert crypto.keys[0].mki is not None
    assert crypto.keys[0].mki.value == 2


def test_keys_go_the_right_way() -> None:
    """SDES-5: the key in an SDP is its sender's."""
    mechanism = sdes()
    lines = put(run(mechanism, OfferRequested(False)))
    ours = octets(lines[1].keys[0].master_key(SUITES[CM80]))
    keys = ready(run(mechanism, RemoteAnswer((their(2),)))).keys
    assert octets(keys.send) == ours
    assert octets(keys.receive[0]) == bytes(range(100, 130))
    assert keys.suite.name == CM80


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ((), "crypto_count"),
        ((their(1, GCM), their(2)), "crypto_count"),
        ((their(7),), "unknown_tag"),
        ((their(1),), "suite_changed"),
        ((their(2, "NULL_HMAC_SHA1_80"),), "suite_changed"),
        ((line(f"2 AES_256_CM_HMAC_SHA1_80 inline:{key(1, 'AES_256_CM_HMAC_SHA1_80')}"),), "suite_changed"),
        ((line("2 AES_CM_256_HMAC_SHA1_80 inline:abcd"),), "suite_changed"),
        ((their(2, rest=" UNENCRYPTED_SRTCP"),), "session_parameter"),
        ((their(2, rest=" UNAUTHENTICATED_SRTP"),), "session_parameter"),
        ((their(2, rest=" KDR=3"),), "session_parameter"),
    ],
)
def test_bad_answers_fail_and_change_nothing(lines: tuple[SdesCrypto, ...], code: str) -> None:
    """SDES-8: no line, two lines, unknown tag, changed suite, parameters that were not offered."""
    mechanism = sdes()
    run(mechanism, OfferRequested(False))
    copies = tuple(line(build_crypto(c).decode().removeprefix("a=crypto:")) if c.keys else c for c in lines)
    assert failure(run(mechanism, RemoteAnswer(copies))).code == code
    assert mechanism.state == "offering"
    assert all(not len(k.key_salt) for crypto in copies for k in crypto.keys)
    assert ready(run(mechanism, RemoteAnswer((their(2),)))).send


@pytest.mark.parametrize("echoed", [0, 1])
def test_an_answer_with_a_key_of_the_offer_fails(echoed: int) -> None:
    """SDES-4, SDES-8: the chosen line's key, or that of another line under the chosen tag."""
    mechanism = sdes(offer=(CM80, "AES_CM_128_HMAC_SHA1_32"))
    lines = put(run(mechanism, OfferRequested(False)))
    echo = build_crypto(lines[echoed]).split(b"inline:")[1].decode()
    error = failure(run(mechanism, RemoteAnswer((line(f"1 {CM80} inline:{echo}"),))))
    assert error.code == "key_echoed"
    assert echo not in str(error)


def test_our_key_under_another_salt_is_still_our_key() -> None:
    """SDES-4: one master key in both directions would be a two-time pad."""
    mechanism = sdes(offer=(CM80,))
    (ours,) = put(run(mechanism, OfferRequested(False)))
    salted = bytes(ours.keys[0].key_salt.reveal())[:16] + bytes(14)
    theirs = line(f"1 {CM80} inline:{base64.b64encode(salted).decode()}")
    assert failure(run(mechanism, RemoteAnswer((theirs,)))).code == "key_echoed"


def test_keys_by_sdes_carry_no_roc() -> None:
    """RCC-8, OPEN-6: no crypto suite and no session parameter says RFC 4771; what looks like one is not taken."""
    offered = put(run(sdes(offer=DEFAULT_OFFER), OfferRequested(False)))
    assert [crypto.session_params for crypto in offered] == [()] * len(DEFAULT_OFFER)
    assert ready(answered(sdes())).keys.rcc is None
    with pytest.raises(MalformedMessage) as caught:
        their(rest=" RCCm2")
    assert caught.value.code == "unknown_parameter"


def test_what_was_not_chosen_is_wiped_when_the_answer_stands() -> None:
    mechanism = sdes()
    lines = put(run(mechanism, OfferRequested(False)))
    outputs = run(mechanism, RemoteAnswer((their(2),)))
    assert all(len(crypto.keys[0].key_salt) for crypto in lines)
    run(mechanism, Settled())
    assert not any(len(crypto.keys[0].key_salt) for crypto in lines)
    assert len(ready(outputs).keys.send.key) == 16  # the KeySet is the session's


# ----------------------------------------------------------------------------------------------------- answering --


def test_the_first_acceptable_line_is_answered_with_its_tag() -> None:
    """SDES-7: NULL, F8, an unknown suite and a wrong name stand before it."""
    offer = (
        their(1, "NULL_HMAC_SHA1_80"),
        their(2, "F8_128_HMAC_SHA1_80"),
        line("3 AES_CM_256_HMAC_SHA1_80 inline:abcd"),
        line("4 AEAD_AES_128_GCM_8 inline:abcd"),
        their(5, CM80, rest=" UNENCRYPTED_SRTP"),
        their(9, CM80, first=50),
        their(10, GCM),
    )
    mechanism = sdes()
    assert run(mechanism, RemoteOffer(offer)) == []
    outputs = run(mechanism, AnswerRequested())
    (answer,) = put(outputs)
    assert (answer.tag, answer.suite, answer.session_params) == (9, CM80, ())
    assert octets(ready(outputs).keys.receive[0]) == bytes(range(50, 80))
    assert octets(ready(outputs).keys.send) == octets(answer.keys[0].master_key(SUITES[CM80]))


def test_a_leading_zero_of_the_tag_comes_back() -> None:
    mechanism = sdes()
    run(mechanism, RemoteOffer((line(f"01 {CM80} inline:{key(1)}"),)))
    assert build_crypto(put(run(mechanism, AnswerRequested()))[0]).startswith(b"a=crypto:01 ")


@pytest.mark.parametrize(
    "offer",
    [
        (),
        (their(1, "NULL_HMAC_SHA1_80"), their(2, "NULL_HMAC_SHA1_32")),
        (their(1, "F8_128_HMAC_SHA1_80"),),
        (their(1, rest=" UNENCRYPTED_SRTP"),),
        (their(1, rest=" UNENCRYPTED_SRTCP"),),
        (their(1, rest=" UNAUTHENTICATED_SRTP"),),
        (their(1, rest=" KDR=1"),),
        (their(1, rest=" FEC_ORDER=SRTP_FEC"),),
    ],
)
def test_nothing_acceptable_is_488(offer: tuple[SdesCrypto, ...]) -> None:
    """SDES-7, POL-10."""
    error = failure(run(sdes(), RemoteOffer(offer)))
    assert (error.code, error.sip_status_hint) == ("no_common_suite", 488)


@pytest.mark.parametrize("rest", ["|2^31", "|2^20|1:4 FEC_ORDER=FEC_SRTP", "|1:1", "|1048576", " WSH=256", " -odd=1"])
def test_lines_seen_in_the_field_are_acceptable(rest: str) -> None:
    """FIELD-6, FIELD-16; 5.3."""
    mechanism = sdes()
    run(mechanism, RemoteOffer((their(1, rest=rest),)))
    assert ready(run(mechanism, AnswerRequested())).receive


@pytest.mark.parametrize(("hint", "window"), [("", 128), (" WSH=64", 128), (" WSH=512", 512), (" WSH=4096", 1024)])
def test_the_window_hint_widens_ours_up_to_a_limit(hint: str, window: int) -> None:
    """5.3: max(n, own window) up to 1024."""
    mechanism = sdes()
    run(mechanism, RemoteOffer((their(1, rest=hint),)))
    assert ready(run(mechanism, AnswerRequested())).keys.receive_window == window


def test_lifetime_and_mki_of_the_peer_are_about_receiving() -> None:
    """SDES-9, SDES-12: ours are what our own line says, that is nothing."""
    mechanism = sdes()
    run(mechanism, RemoteOffer((their(1, rest="|2^20|5:2"),)))
    keys = ready(run(mechanism, AnswerRequested())).keys
    assert keys.receive[0].lifetime == 1 << 20
    assert keys.receive[0].mki is not None
    assert (keys.receive[0].mki.value, keys.receive[0].mki.length) == (5, 2)
    assert (keys.send.lifetime, keys.send.mki) == (None, None)


def test_our_lifetime_limits_what_we_send() -> None:
    """SDES-9, SDES-11."""
    mechanism = sdes(lifetime=1 << 16)
    run(mechanism, OfferRequested(False))
    keys = ready(run(mechanism, RemoteAnswer((their(2),)))).keys
    assert (keys.send.lifetime, keys.receive[0].lifetime) == (1 << 16, None)


def test_symmetric_mki_mirrors_the_peers() -> None:
    """SDES-12: by operator switch."""
    mechanism = sdes(symmetric_mki=True)
    run(mechanism, RemoteOffer((their(1, rest="|9:3"),)))
    outputs = run(mechanism, AnswerRequested())
    assert build_crypto(put(outputs)[0]).endswith(b"|9:3")
    assert ready(outputs).keys.send.mki == ready(outputs).keys.receive[0].mki


def test_several_keys_of_the_peer_are_all_received() -> None:
    """SDES-10, RFC 4568, 6.1."""
    mechanism = sdes()
    run(mechanism, RemoteOffer((line(f"1 {CM80} inline:{key(1)}|1:1;inline:{key(60)}|2:1"),)))
    keys = ready(run(mechanism, AnswerRequested())).keys
    assert [k.mki.value for k in keys.receive if k.mki is not None] == [1, 2]


def test_the_answers_key_is_none_of_the_offers() -> None:
    """SDES-4: even if the random source gives what the peer offered first."""
    draws = [bytes(32), bytes(range(100, 130)), bytes(range(30))]
    mechanism = Sdes(lambda n: draws.pop(0)[:n], offer=(CM80,), accept=frozenset({CM80}))
    run(mechanism, RemoteOffer((their(1),)))
    assert octets(ready(run(mechanism, AnswerRequested())).keys.send) == bytes(range(30))


def test_a_stuck_random_source_is_an_error_and_no_key() -> None:
    mechanism = Sdes(lambda n: bytes(n), offer=(CM80, "AES_CM_128_HMAC_SHA1_32"), accept=frozenset())
    assert failure(run(mechanism, OfferRequested(False))).code == "random_source"


# ---------------------------------------------------------------------------------------------- later exchanges --


def test_a_refresh_repeats_the_line_and_installs_nothing() -> None:
    """SDES-15."""
    mechanism = sdes()
    lines = put(answered(mechanism))
    sent = put(run(mechanism, OfferRequested(False)))
    assert len(sent) == 1
    assert (sent[0].tag, sent[0].suite) == (lines[1].tag, lines[1].suite)
    assert run(mechanism, RemoteAnswer((their(2),)), Settled()) == []


def test_a_peer_that_changes_its_key_is_received_anew_only() -> None:
    """SDES-15, SDES-18: our own direction goes on."""
    mechanism = sdes()
    answered(mechanism)
    keys = ready(run(mechanism, OfferRequested(False), RemoteAnswer((their(2, first=7),))))
    assert (keys.send, keys.receive) == (False, True)


def test_an_answerer_changes_its_key_when_the_offerer_does() -> None:
    """DYN-10."""
    mechanism = sdes()
    before = put(run(mechanism, RemoteOffer((their(1),)), AnswerRequested()))
    text = build_crypto(before[0])
    run(mechanism, Settled())
    outputs = run(mechanism, RemoteOffer((their(1, first=7),)), AnswerRequested())
    assert build_crypto(put(outputs)[0]) != text
    assert (ready(outputs).send, ready(outputs).receive) == (True, True)


def test_an_answerer_keeps_its_key_when_the_offerer_does() -> None:
    """SDES-15."""
    mechanism = sdes()
    text = build_crypto(put(run(mechanism, RemoteOffer((their(1),)), AnswerRequested()))[0])
    run(mechanism, Settled())
    outputs = run(mechanism, RemoteOffer((their(1),)), AnswerRequested())
    assert build_crypto(put(outputs)[0]) == text
    assert not any(isinstance(output, KeysReady) for output in outputs)


def test_a_peer_that_moves_with_its_old_key_is_received_anew() -> None:
    """SDES-14: accepted, reset, and told."""
    mechanism = sdes()
    answered(mechanism)
    outputs = run(mechanism, RemoteOffer((their(2),), moved=True), AnswerRequested())
    assert PeerFault("moved_without_new_key") in outputs
    assert (ready(outputs).send, ready(outputs).receive) == (False, True)


def test_an_offer_that_holds_our_own_key_is_refused() -> None:
    """SDES-5: nobody else may send with it."""
    mechanism = sdes()
    ours = put(answered(mechanism))
    assert ours  # wiped by now, so it is asked for again
    (again,) = put(run(mechanism, OfferRequested(False)))
    text = build_crypto(again).decode().removeprefix("a=crypto:")
    run(mechanism, RolledBack())
    assert failure(run(mechanism, RemoteOffer((line(text),)))).code == "key_echoed"


def test_a_roll_back_leaves_the_old_key_in_force() -> None:
    """SDES-16."""
    mechanism = sdes()
    answered(mechanism)
    (before,) = put(run(mechanism, OfferRequested(False)))
    text = build_crypto(before)
    run(mechanism, RolledBack(), OfferRequested(True), RolledBack())
    run(mechanism, RemoteOffer((their(1, first=3),)), AnswerRequested(), RolledBack())
    assert build_crypto(put(run(mechanism, OfferRequested(False)))[0]) == text


def test_a_repeated_answer_before_the_exchange_settles_replaces_the_first() -> None:
    mechanism = sdes()
    run(mechanism, OfferRequested(False), RemoteAnswer((their(2),)))
    keys = ready(run(mechanism, RemoteAnswer((their(1, GCM, first=9),)))).keys
    assert keys.suite.name == GCM


def test_closing_wipes_everything_in_every_state() -> None:
    """DYN-20, POL-8."""
    walks: list[tuple[Input, ...]] = [
        (),
        (OfferRequested(False),),
        (OfferRequested(False), RemoteAnswer((their(2),))),
        (OfferRequested(False), RemoteAnswer((their(2),)), Settled()),
        (RemoteOffer((their(1),)),),
        (RemoteOffer((their(1),)), AnswerRequested()),
        (RemoteOffer((their(1),)), AnswerRequested(), AnswerRequested(), Settled(), OfferRequested(True)),
    ]
    for walk in walks:
        with tracked_secrets() as made:
            mechanism = sdes()
            for output in run(mechanism, *walk, Closed()):
                if isinstance(output, KeysReady):
                    output.keys.wipe()
            assert mechanism.state == "closed"
        assert not [secret for secret in made if len(secret)], walk


def test_what_does_not_belong_is_named_with_what_does() -> None:
    error = failure(run(sdes(), Settled()))
    assert error.code == "unexpected_event"
    assert getattr(error, "expected", ()) == ("Closed", "KeysLost", "OfferRequested", "RemoteOffer")


def test_every_state_can_be_closed_and_every_step_leads_to_a_known_state() -> None:
    assert all("Closed" in steps for steps in TRANSITIONS.values())


# ------------------------------------------------------------------------------------------------------ registry --


def test_the_registry_builds_sdes_from_plan_and_policy() -> None:
    plan = MediaPlan(0, MediaKind.VIDEO, Mechanism.SDES, Scope.E2E, suites=(CM80,))
    mechanism = create_mechanism(plan, SecurityPolicy(sdes_lifetime_exponent=31), SeededRng("r"))
    assert isinstance(mechanism, Sdes)
    (crypto,) = put(run(mechanism, OfferRequested(False)))
    assert (crypto.suite, crypto.keys[0].lifetime) == (CM80, 1 << 31)
    assert ready(run(mechanism, RemoteAnswer((their(1),)))).keys.receive_window == 1024  # SRTP-5


def test_what_we_offer_we_accept() -> None:
    plan = MediaPlan(0, MediaKind.AUDIO, Mechanism.SDES, Scope.E2E, suites=(CM80,))
    mechanism = create(plan, SecurityPolicy(accept_suites=()), SeededRng("r"))
    assert run(mechanism, RemoteOffer((their(1),))) == []


@pytest.mark.parametrize(("plain", "secure"), [("RTP/AVP", "RTP/SAVP"), ("RTP/AVPF", "RTP/SAVPF")])
def test_the_secure_transport_keeps_the_feedback_profile(plain: str, secure: str) -> None:
    assert secure_transport(Mechanism.SDES, plain).name == secure
    assert MECHANISMS[Mechanism.SDES].keys_in_sdp
