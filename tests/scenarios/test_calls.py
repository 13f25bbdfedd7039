"""Whole calls between two sessions: what is offered, what is answered, who can open whose packets."""

from __future__ import annotations

import pytest
from support.pair import (
    AT_EDGE,
    E2E,
    Agent,
    Pair,
    applied,
    crypto_lines,
    dialer_answer,
    keys_in,
    plain,
    tracked_secrets,
)

from ueagent.model.media import Endpoint
from ueagent.model.security import Mechanism, Scope
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    CreateAnswer,
    CreateOffer,
    Release,
)
from ueagent.session.effects import CloseRelay, InstallKeys, OpenRelay, ReplySdp
from ueagent.wire.sdp import parse_sdp


@pytest.fixture
def e2ae() -> Pair:
    return Pair(Agent("alice"), Agent("bob", address="192.0.2.20"), AT_EDGE)


@pytest.fixture
def e2e() -> Pair:
    return Pair()


def test_an_e2e_call_is_keyed_both_ways(e2e: Pair) -> None:
    """SDES-5, SDES-7, SDES-21: each side receives with the key the other put into its SDP."""
    offer, answer = e2e.call()
    assert e2e.speaks()
    assert len(crypto_lines(offer)) == 5
    assert len(crypto_lines(answer)) == 1
    assert "3ge2ae" not in offer + answer


def test_e2e_sdes_is_never_assured(e2e: Pair) -> None:
    """SDES-21, POL-9."""
    e2e.call()
    for agent in (e2e.alice, e2e.bob):
        (line,) = agent.session.lines
        assert (line.mechanism, line.scope, line.assured, line.peer) == (Mechanism.SDES, Scope.E2E, False, "peer")
        assert line.suite == "AEAD_AES_128_GCM"
        assert line.keys_in_place


def test_an_e2ae_offer_is_requested_and_assured(e2ae: Pair) -> None:
    """SDP-4, GEN-12, SDP-9 (a)."""
    offer, answer = e2ae.call()
    assert offer.count("a=3ge2ae:requested\r\n") == 1
    assert "3ge2ae" not in answer
    for agent in (e2ae.alice, e2ae.bob):
        (line,) = agent.session.lines
        assert (line.scope, line.assured, line.peer) == (Scope.E2AE, True, "access-edge")
    assert e2ae.speaks()


def test_the_offer_has_the_secure_transport_and_the_relays_address(e2ae: Pair) -> None:
    """SDP-4; RFC 4568, 5.1.1."""
    offer = e2ae.offer()
    port = e2ae.alice.relays[0].network.rtp_port
    assert f"m=audio {port} RTP/SAVP 0\r\n" in offer
    assert "c=IN IP4 192.0.2.10\r\n" in offer
    assert "c=IN IP4 127.0.0.1" not in offer


def test_feedback_profiles_keep_their_feedback(e2e: Pair) -> None:
    """RFC 5124: RTP/AVPF becomes RTP/SAVPF and comes back as RTP/AVPF."""
    offer = e2e.offer(plain(5004, proto="RTP/AVPF"))
    assert "RTP/SAVPF 0" in offer
    to_bob = e2e.bob.text(AcceptOffer(offer.encode(), e2e.evidence))
    assert "RTP/AVPF 0" in to_bob


def test_the_dialer_sees_plain_sdp_on_loopback(e2ae: Pair) -> None:
    """SDP-8: neither keys nor 3ge2ae reach the dialer."""
    offer = e2ae.offer()
    to_bob = e2ae.bob.text(AcceptOffer(applied(offer).encode(), AT_EDGE))
    answer = e2ae.bob.text(CreateAnswer(dialer_answer(to_bob)))
    to_alice = e2ae.alice.text(AcceptAnswer(answer.encode(), final=True))
    for text, agent in ((to_bob, e2ae.bob), (to_alice, e2ae.alice)):
        port = agent.relays[0].loopback.rtp_port
        assert f"m=audio {port} RTP/AVP 0\r\n" in text
        assert "c=IN IP4 127.0.0.1\r\n" in text
        assert "crypto" not in text
        assert "3ge2ae" not in text


def test_what_goes_into_sip_is_sdp_that_every_proxy_can_read(e2e: Pair) -> None:
    """GEN-13: nothing is wrapped or encrypted, and media, addresses and direction stand where they always do."""
    for text in e2e.call(plain(5004, extra="a=sendrecv")):
        sdp = parse_sdp(text.encode())
        assert text.startswith("v=0\r\no=")
        (section,) = sdp.media
        assert (section.kind, section.proto, section.direction.value) == ("audio", "RTP/SAVP", "sendrecv")
        assert section.endpoint is not None


def test_relay_sides_get_their_addresses(e2e: Pair) -> None:
    e2e.call(plain(5004))
    assert e2e.alice.relays[0].dialer == Endpoint("127.0.0.1", 5004, 5005)
    assert e2e.alice.relays[0].peer == e2e.bob.relays[0].network
    assert e2e.bob.relays[0].dialer == Endpoint("127.0.0.1", 6000, 6001)
    assert e2e.bob.relays[0].peer == e2e.alice.relays[0].network
    assert e2e.alice.relays[0].mode == e2e.bob.relays[0].mode == "secure"


def test_audio_and_video_have_four_distinct_keys(e2e: Pair) -> None:
    """SDP-14, DYN-17, SDES-4."""
    offer, answer = e2e.call(plain(5004, 5006))
    keys = keys_in(offer) + keys_in(answer)
    assert len(set(keys)) == len(keys) == 12
    assert e2e.speaks(0)
    assert e2e.speaks(1)
    used = {relay.send for agent in (e2e.alice, e2e.bob) for relay in agent.relays.values()}
    assert len(used) == 4


def test_answer_picks_the_second_suite_when_the_first_is_not_its_own() -> None:
    """SDES-7."""
    policy = E2E.__class__(sdes_e2e=E2E.sdes_e2e, suites=("AES_CM_128_HMAC_SHA1_80",), accept_suites=())
    pair = Pair(bob=Agent("bob", policy))
    _, answer = pair.call()
    assert "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:" in answer
    assert pair.speaks()


def test_a_plain_call_works_where_nothing_is_announced() -> None:
    """REG-17, POL-2: e2ae preferred, no evidence, nothing required."""
    pair = Pair(Agent("alice"), Agent("bob"))
    offer, answer = pair.call()
    assert "RTP/AVP 0" in offer
    assert "crypto" not in offer + answer
    (line,) = pair.alice.session.lines
    assert (line.mechanism, line.reason) == (Mechanism.NONE, "not_announced")
    assert pair.alice.relays[0].mode == pair.bob.relays[0].mode == "plain"


def test_both_ports_of_an_ipv6_dialer_are_relayed(e2e: Pair) -> None:
    offer, _ = e2e.call(plain(5004, address="::1"))
    assert "c=IN IP6 2001:db8::10\r\n" in offer
    assert e2e.alice.relays[0].loopback.address == "::1"
    assert e2e.alice.relays[0].dialer == Endpoint("::1", 5004, 5005)


def test_a_refresh_keeps_keys_and_contexts(e2e: Pair) -> None:
    """SDES-15: the same lines again, nothing is installed."""
    _, first_answer = e2e.call()
    offer, answer = e2e.call()
    assert len(crypto_lines(offer)) == 1
    assert crypto_lines(answer) == crypto_lines(first_answer)
    assert e2e.alice.count(InstallKeys) == e2e.bob.count(InstallKeys) == 0
    assert e2e.alice.relays[0].sends_installed == e2e.alice.relays[0].receives_installed == 1
    assert e2e.speaks()


def test_a_refresh_from_the_answerer_repeats_its_key(e2e: Pair) -> None:
    """SDES-15, DYN-7 in the other direction."""
    _, answer = e2e.call()
    offer, _ = e2e.call(by=e2e.bob)
    assert keys_in(offer) == keys_in(answer)
    assert e2e.alice.count(InstallKeys) == e2e.bob.count(InstallKeys) == 0


def test_e2ae_reoffers_of_the_terminating_side_are_requested(e2ae: Pair) -> None:
    """DYN-7."""
    e2ae.call()
    offer, _ = e2ae.call(by=e2ae.bob)
    assert "a=3ge2ae:requested\r\n" in offer
    assert e2ae.bob.session.lines[0].assured


def test_a_rekey_changes_both_keys(e2e: Pair) -> None:
    """DYN-10, SDES-18: new keys are new contexts, in both directions and at both ends."""
    e2e.call()
    before = e2e.alice.relays[0].send, e2e.bob.relays[0].send
    e2e.call(rekey=True)
    after = e2e.alice.relays[0].send, e2e.bob.relays[0].send
    assert set(before).isdisjoint(after)
    assert e2e.speaks()
    for agent in (e2e.alice, e2e.bob):
        assert agent.relays[0].sends_installed == agent.relays[0].receives_installed == 2


def test_many_refreshes_and_rekeys_end_in_working_keys(e2e: Pair) -> None:
    e2e.call()
    for round_, (by, rekey) in enumerate([("a", False), ("b", True), ("b", False), ("a", True), ("b", True)]):
        e2e.call(by=e2e.alice if by == "a" else e2e.bob, rekey=rekey)
        assert e2e.speaks(), round_


def test_everything_is_wiped_when_the_dialog_ends() -> None:
    """DYN-20, POL-8: every Secret that was ever made in the call."""
    with tracked_secrets() as made:
        pair = Pair()
        pair.call(plain(5004, 5006))
        pair.call(rekey=True, sdp=plain(5004, 5006))
        pair.call(by=pair.bob, sdp=plain(5004, 5006))
        for agent in (pair.alice, pair.bob):
            agent.do(Release())
            assert agent.gone == "released"
            assert agent.count(CloseRelay) == 2
            assert agent.session.state == "ended"
    assert len(made) > 40
    assert [secret for secret in made if len(secret)] == []


def test_unchosen_keys_are_wiped_when_the_answer_comes() -> None:
    """SDES, architecture: what stays is each side's own current key and the digest keys."""
    with tracked_secrets() as made:
        pair = Pair()
        pair.call()
        alive = [secret for secret in made if len(secret)]
    # Per side: digest keys of session and mechanism, one current key.
    assert len(alive) == 6


def test_a_call_can_end_at_any_point_without_a_key_left() -> None:
    """DYN-20."""
    for steps in range(1, 4):
        with tracked_secrets() as made:
            pair = Pair()
            offer = pair.alice.text(CreateOffer(plain(), pair.evidence))
            if steps > 1:
                to_bob = pair.bob.text(AcceptOffer(offer.encode(), pair.evidence))
            if steps > 2:
                pair.bob.text(CreateAnswer(dialer_answer(to_bob)))
            for agent in (pair.alice, pair.bob):
                agent.do(Release())
                assert agent.relays == {}
        assert [secret for secret in made if len(secret)] == [], steps


def test_the_dialogs_identity_and_role_are_known(e2e: Pair) -> None:
    e2e.call()
    assert e2e.alice.session.role == "offerer"
    assert e2e.bob.session.role == "answerer"
    assert e2e.alice.session.dialog is not None
    e2e.call(by=e2e.bob)
    assert e2e.bob.session.role == "answerer"


def test_relays_are_opened_once_for_each_line(e2e: Pair) -> None:
    reply = e2e.alice.do(CreateOffer(plain(5004, 5006), e2e.evidence))
    assert isinstance(reply, ReplySdp)
    assert e2e.alice.count(OpenRelay) == 2
