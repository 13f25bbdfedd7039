"""Later offers from both sides: refresh, re-key, hold, moves, other lines, refusals. DYN-7..10, SDES-14..18."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from support.pair import AT_EDGE, E2E, REQUIRED, Agent, Pair, crypto_lines, dialer_answer, keys_in, plain

from ueagent.model.security import Mechanism, Scope, SecurityPolicy, Setting
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    CreateAnswer,
    CreateOffer,
    DeclineOffer,
    Media,
    OfferFailed,
)
from ueagent.session.effects import CloseRelay, InstallKeys, Notify, OpenRelay, ReplyDone, ReplySdp, SetMode, SetPeer

KEY = base64.b64encode(bytes(range(30))).decode()
NEW_KEY = base64.b64encode(bytes(range(60, 90))).decode()


@pytest.fixture
def call() -> Pair:
    pair = Pair()
    pair.call()
    return pair


def offer(*lines: str, proto: str = "RTP/SAVP", address: str = "198.51.100.7", port: int = 30000) -> bytes:
    head = ["v=0", "o=- 7 7 IN IP4 198.51.100.7", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    return "\r\n".join([*head, f"m=audio {port} {proto} 0", *lines, ""]).encode()


def crypto(key: str = KEY, tag: int = 1) -> str:
    return f"a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{key}"


def called(policy: SecurityPolicy | None = None, *lines: str) -> Agent:
    """A terminating agent in an e2ae call with an edge at 198.51.100.7."""
    agent = Agent("bob", policy or SecurityPolicy())
    take(agent, offer("a=3ge2ae:applied", *(lines or (crypto(),))))
    return agent


def take(agent: Agent, sdp: bytes) -> ReplySdp:
    to_dialer = agent.text(AcceptOffer(sdp, AT_EDGE))
    reply = agent.do(CreateAnswer(dialer_answer(to_dialer)))
    assert isinstance(reply, ReplySdp), reply
    return reply


# ------------------------------------------------------------------------------------------------ refresh, hold --


@pytest.mark.parametrize("direction", ["sendonly", "inactive", "recvonly"])
def test_hold_and_resume_keep_the_contexts(call: Pair, direction: str) -> None:
    """DYN-9, SDES-15: two cycles, nothing is installed, the line stays secure."""
    for _ in range(2):
        offered, answered = call.call(plain(5004, extra=f"a={direction}"))
        assert f"a={direction}\r\n" in offered
        assert len(crypto_lines(answered)) == 1
        call.call(plain(5004))
    assert call.alice.relays[0].sends_installed == call.bob.relays[0].receives_installed == 1
    assert call.alice.relays[0].mode == "secure"
    assert call.speaks()


def test_a_legacy_hold_of_the_peer_is_no_move() -> None:
    """DYN-9: c=0.0.0.0 with the old key; the dialer is told by direction."""
    agent = called()
    to_dialer = agent.text(AcceptOffer(offer("a=3ge2ae:applied", crypto(), address="0.0.0.0"), AT_EDGE))
    assert "a=sendonly\r\n" in to_dialer
    assert "c=IN IP4 127.0.0.1\r\n" in to_dialer
    reply = agent.do(CreateAnswer(dialer_answer(to_dialer)))
    assert isinstance(reply, ReplySdp)
    assert reply.warnings == ()
    assert agent.count(InstallKeys) == agent.count(SetPeer) == 0


def test_a_new_key_in_a_legacy_hold_is_taken() -> None:
    """DYN-9: the peer may still send one."""
    agent = called()
    take(agent, offer("a=3ge2ae:applied", crypto(NEW_KEY), address="0.0.0.0"))
    assert agent.relays[0].receive == (bytes(range(60, 90)),)


def test_a_dialers_legacy_hold_becomes_a_direction(call: Pair) -> None:
    """DYN-9: on the network the relay's address stays."""
    offered = call.offer(plain(5004, address="0.0.0.0"))
    assert "a=sendonly\r\n" in offered
    assert "c=IN IP4 192.0.2.10\r\n" in offered


# ---------------------------------------------------------------------------------------------------- keys, moves --


def test_a_peers_new_key_is_received_and_ours_changes_with_it() -> None:
    """DYN-10, SDES-17: the relay gets one KeySet and keeps the old context for a while by itself."""
    agent = called()
    before = agent.relays[0].send
    take(agent, offer("a=3ge2ae:applied", crypto(NEW_KEY)))
    assert agent.relays[0].receive == (bytes(range(60, 90)),)
    assert agent.relays[0].send != before
    assert agent.count(InstallKeys) == 1


def test_a_peer_that_moves_with_its_old_key_is_accepted_reset_and_told() -> None:
    """SDES-14."""
    agent = called()
    reply = take(agent, offer("a=3ge2ae:applied", crypto(), address="198.51.100.8"))
    assert reply.warnings == ("moved_without_new_key",)
    assert agent.relays[0].receives_installed == 2
    assert agent.relays[0].sends_installed == 1
    assert agent.relays[0].peer is not None
    assert agent.relays[0].peer.address == "198.51.100.8"


def test_a_peer_that_moves_with_a_new_key_is_no_fault() -> None:
    """SDES-14."""
    agent = called()
    reply = take(agent, offer("a=3ge2ae:applied", crypto(NEW_KEY), address="198.51.100.8"))
    assert reply.warnings == ()
    assert agent.relays[0].receives_installed == 2


def test_a_moved_dialer_keeps_keys_and_network_address(call: Pair) -> None:
    """SDES-14: the address in the SDP is the relay's and does not move."""
    first = call.alice.relays[0].network
    call.call(plain(7004))
    assert call.alice.relays[0].network == first
    assert call.alice.relays[0].dialer is not None
    assert call.alice.relays[0].dialer.rtp_port == 7004
    assert call.alice.count(InstallKeys) == 0


@pytest.mark.parametrize("wish", [Media.SOFT_LIMIT, Media.RESTART, Media.KEY_EXPIRED])
def test_the_offer_after_a_wish_for_new_keys_has_new_keys(call: Pair, wish: Media) -> None:
    """SDES-19, no index twice: also when the dialer does not say `rekey`; and once."""
    before = keys_in(call.offer())
    call.alice.do(OfferFailed(491))
    call.alice.hears(wish)
    offered, _ = call.call()
    assert set(keys_in(offered)).isdisjoint(before)
    assert call.speaks()
    call.call()
    assert call.alice.count(InstallKeys) == 0


def test_the_answer_after_a_wish_for_new_keys_has_a_new_key(call: Pair) -> None:
    call.bob.hears(Media.SOFT_LIMIT)
    before = call.bob.relays[0].send
    call.call()
    assert call.bob.relays[0].send != before
    assert call.speaks()


# ---------------------------------------------------------------------------------------------------- refusals --


def test_a_refused_rekey_leaves_the_old_keys_in_force(call: Pair) -> None:
    """SDES-16: 488 to the re-key; nothing was installed, and the next refresh repeats the old key."""
    old = call.alice.relays[0].send
    call.offer(rekey=True)
    assert isinstance(call.alice.do(OfferFailed(488)), ReplyDone)
    assert call.alice.session.state == "established"
    assert call.alice.count(InstallKeys) == 0
    call.call()
    assert call.alice.relays[0].send == old
    assert call.alice.count(InstallKeys) == 0


def test_a_declined_reoffer_leaves_the_old_keys_in_force(call: Pair) -> None:
    """SDES-16, the other side."""
    offered = call.offer(rekey=True)
    call.bob.text(AcceptOffer(offered.encode(), call.evidence))
    assert isinstance(call.bob.do(DeclineOffer()), ReplyDone)
    call.alice.do(OfferFailed(488))
    assert call.bob.session.state == "established"
    assert call.speaks()
    call.call()
    assert call.bob.count(InstallKeys) == 0


def test_a_bad_answer_to_a_reoffer_fails_and_the_old_keys_stay(call: Pair) -> None:
    """SDES-16: an established line is not given up."""
    call.offer(rekey=True)
    bad = offer(f"a=crypto:9 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")
    assert call.alice.error(AcceptAnswer(bad, True)).code == "unknown_tag"
    assert isinstance(call.alice.do(OfferFailed(488)), ReplyDone)
    assert call.alice.session.lines[0].mechanism is Mechanism.SDES
    assert call.speaks()


def test_a_bad_reoffer_is_refused_as_a_whole() -> None:
    """SDES-16: 488, and the call goes on."""
    agent = called()
    error = agent.error(AcceptOffer(offer("a=3ge2ae:applied", "a=crypto:1 NULL_HMAC_SHA1_80 inline:" + KEY), AT_EDGE))
    assert error.sip_status_hint == 488
    assert agent.session.state == "established"
    assert agent.relays[0].mode == "secure"
    take(agent, offer("a=3ge2ae:applied", crypto()))
    assert agent.count(InstallKeys) == 0


def test_glare_is_refused_with_what_would_be_right(call: Pair) -> None:
    """RFC 3264, 4: one offer at a time."""
    offered = call.offer()
    error = call.alice.error(AcceptOffer(offered.encode(), call.evidence))
    assert error.code == "unexpected_command"
    assert getattr(error, "expected", ()) == ("AcceptAnswer", "OfferFailed", "Release")
    assert call.alice.error(CreateOffer(plain(), call.evidence)).code == "unexpected_command"


# ------------------------------------------------------------------------------------------------- mode changes --


def test_going_plain_is_told_where_policy_allows_it() -> None:
    """DYN-8, POL-6: with an event and a reason, never silently."""
    agent = called()
    reply = agent.do(AcceptOffer(offer(proto="RTP/AVP"), AT_EDGE))
    assert isinstance(reply, ReplySdp)
    assert reply.warnings == ("downgraded",)
    assert agent.relays[0].mode == "secure"  # until it is answered
    agent.do(CreateAnswer(dialer_answer(reply.sdp.decode())))
    assert agent.relays[0].mode == "plain"
    notice = next(effect for effect in agent.effects if isinstance(effect, Notify))
    assert (notice.kind, notice.reason) == ("security_state", "downgraded")
    assert agent.session.lines[0].mechanism is Mechanism.NONE


def test_going_plain_is_refused_where_security_is_required() -> None:
    """DYN-8, POL-4: not even when the re-offer claims an emergency."""
    agent = called(REQUIRED)
    for evidence in (AT_EDGE, replace(AT_EDGE, emergency=True)):
        assert agent.error(AcceptOffer(offer(proto="RTP/AVP"), evidence)).sip_status_hint == 488
    assert agent.relays[0].mode == "secure"
    assert agent.session.state == "established"


def test_going_secure_is_allowed() -> None:
    """DYN-8."""
    agent = Agent("bob")
    take(agent, offer(proto="RTP/AVP"))
    assert agent.relays[0].mode == "plain"
    take(agent, offer("a=3ge2ae:applied", crypto()))
    assert agent.relays[0].mode == "secure"
    assert agent.session.lines[0].assured


def test_our_own_reoffer_of_a_plain_line_stays_plain() -> None:
    """POL-6: what fell back does not try again with every hold."""
    agent = Agent("bob")
    take(agent, offer(proto="RTP/AVP"))
    assert "RTP/AVP 0" in agent.text(CreateOffer(plain(), AT_EDGE))


def test_a_reoffer_of_the_network_without_applied_keeps_e2ae_assured_while_its_key_stays() -> None:
    """SDP-9, GEN-12: same key, same holder; a new key without `applied` proves nothing."""
    agent = called()
    take(agent, offer(crypto()))
    assert (agent.session.lines[0].scope, agent.session.lines[0].assured) == (Scope.E2AE, True)
    take(agent, offer(crypto(NEW_KEY)))
    assert (agent.session.lines[0].scope, agent.session.lines[0].assured) == (Scope.E2AE, False)


# ------------------------------------------------------------------------------------------- added and removed --


def test_an_added_line_gets_a_relay_and_keys_of_its_own(call: Pair) -> None:
    """DYN-17, REG-9."""
    call.call(plain(5004, 5006))
    assert call.alice.relays.keys() == {0, 1}
    assert call.speaks(1)
    assert call.alice.relays[0].sends_installed == 1
    assert call.alice.relays[0].send != call.alice.relays[1].send


def test_what_was_announced_during_a_call_serves_its_new_lines() -> None:
    """REG-9: a plain call, then a registration that lists SDES, then a second line; the first stays as it is."""
    agent = Agent()
    agent.text(CreateOffer(plain(), replace(AT_EDGE, announced=frozenset())))
    agent.text(AcceptAnswer(offer(proto="RTP/AVP"), True))
    offered = agent.text(CreateOffer(plain(5004, 5006), AT_EDGE))
    first, second = offered.split("m=audio ")[1:]
    assert " RTP/AVP 0" in first
    assert "crypto" not in first
    assert " RTP/SAVP 0" in second
    assert "a=3ge2ae:requested" in second
    answer = offer(proto="RTP/AVP") + offer(crypto(tag=2)).partition(b"t=0 0\r\n")[2]
    agent.text(AcceptAnswer(answer, True))
    assert [line.scope for line in agent.session.lines] == [Scope.NONE, Scope.E2AE]
    assert (agent.relays[0].mode, agent.relays[1].mode) == ("plain", "secure")
    assert agent.session.lines[1].assured


def test_an_added_line_of_a_refused_reoffer_is_closed_again(call: Pair) -> None:
    """SDES-16."""
    call.offer(plain(5004, 5006))
    assert call.alice.relays.keys() == {0, 1}
    call.alice.do(OfferFailed(488))
    assert call.alice.relays.keys() == {0}
    assert len(call.alice.session.lines) == 1


def test_a_removed_line_is_closed_when_the_answer_stands() -> None:
    call = Pair()
    call.call(plain(5004, 5006))
    offered = call.offer(plain(5004, 0))
    assert "m=audio 0 RTP/AVP 0" in offered
    assert 1 in call.alice.relays
    to_bob = call.bob.text(AcceptOffer(offered.encode(), call.evidence))
    answered = call.bob.text(CreateAnswer(dialer_answer(to_bob)))
    call.alice.text(AcceptAnswer(answered.encode(), True))
    assert call.alice.relays.keys() == call.bob.relays.keys() == {0}
    assert call.alice.count(CloseRelay) == 1
    assert call.alice.session.lines[1].reason == "closed"
    call.call(plain(5004, 5006))
    assert call.speaks(1)


def test_media_lines_never_disappear(call: Pair) -> None:
    """RFC 3264, 8."""
    bare = plain().split(b"m=")[0]
    assert call.alice.error(CreateOffer(bare, call.evidence)).code == "media_count"
    assert call.bob.error(AcceptOffer(bare, call.evidence)).code == "media_count"


def test_an_added_line_that_cannot_be_secured_is_not_offered_where_required() -> None:
    """POL-4: nothing is opened for it, and the call goes on."""
    agent = called(REQUIRED)
    error = agent.error(CreateOffer(plain(5004, 5006), replace(AT_EDGE, announced=frozenset())))
    assert error.code == "security_required"
    assert agent.count(OpenRelay) == 0
    assert agent.session.state == "established"


def test_mode_is_set_once(call: Pair) -> None:
    call.call()
    assert call.alice.count(SetMode) == call.alice.count(SetPeer) == 0


def test_two_scopes_in_one_policy_keep_to_what_the_line_has() -> None:
    """DYN-7: a later offer repeats what the line has."""
    agent = called(replace(E2E, sdes_e2ae=Setting.ALLOWED))
    assert "3ge2ae:requested" in agent.text(CreateOffer(plain(), AT_EDGE))
