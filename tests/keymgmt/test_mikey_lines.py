"""Crypto sessions and m-lines."""

from __future__ import annotations

import pytest
from support.mikey_world import RCC, TLS, World

from ueagent.errors import AgentError, UsageError
from ueagent.keymgmt.mikey_lines import (
    SecuredLine,
    answer_ssrcs,
    check_mapping,
    key_set_of,
    number_lines,
    offered_sessions,
    psk_of,
)
from ueagent.keymgmt.mikey_sessions import srtp_policy_for
from ueagent.model.keys import KeySet, MasterKey, RocCarrying, Secret
from ueagent.model.suites import SUITES
from ueagent.wire.mikey import Protocol
from ueagent.wire.mikey_policy import srtp_policy_payload

AUDIO = SecuredLine(0, Protocol.SRTP, 0x0A0A0A0A, (1,))
MSRP = SecuredLine(1, Protocol.TLS, None, (2,))


def test_mixed_session_level_bundle_is_numbered_in_m_line_order() -> None:
    """KMS-61, KMS-62, KMS-63: audio 1, 2, then MSRP 3, then video 4, 5."""
    assert number_lines([Protocol.SRTP, Protocol.TLS, Protocol.SRTP]) == [(1, 2), (3,), (4, 5)]


def test_media_level_bundle_begins_at_one() -> None:
    """KMS-61: it holds the sessions of its own line."""
    assert [session.cs_id for session in offered_sessions([MSRP])] == [1]


def test_offer_leaves_the_answerer_its_ssrc() -> None:
    """KMS-62, KMS-66: the lower CS ID is what the offerer sends."""
    sessions = offered_sessions([AUDIO, MSRP])
    assert [(s.cs_id, s.protocol, s.ssrc) for s in sessions] == [(1, 0, 0x0A0A0A0A), (2, 0, None), (3, 241, None)]
    assert answer_ssrcs([SecuredLine(0, Protocol.SRTP, 7), MSRP]) == {2: 7}


def test_sessions_that_do_not_fit_the_lines_are_refused() -> None:
    """KMS-61."""
    sessions = offered_sessions([AUDIO, MSRP])
    check_mapping(sessions, [Protocol.SRTP, Protocol.TLS])
    for protocols in ([Protocol.SRTP], [Protocol.TLS, Protocol.SRTP], [Protocol.SRTP, Protocol.SRTP]):
        with pytest.raises(AgentError, match="mikey_inconsistent"):
            check_mapping(sessions, protocols)


def test_key_sets_of_both_ends_fit_each_other() -> None:
    """KMS-62, KMS-66; the SPI is the MKI."""
    suite = SUITES["AES_CM_128_HMAC_SHA1_80"]
    policy = srtp_policy_payload(1, srtp_policy_for(suite, rcc=False))
    ours, theirs = World().call(offered_sessions([AUDIO]), (policy,))
    here, there = (key_set_of(end, (1, 2)) for end in (ours, theirs))
    assert (here.suite, there.suite) == (suite, suite)
    assert here.send.key == there.receive[0].key
    assert here.receive[0].salt == there.send.salt
    assert here.send.mki is not None
    assert here.send.mki.octets() == ours.sessions[0].spi


def test_key_set_says_how_the_roc_is_carried() -> None:
    """KMS-35, RCC-4, RCC-5: mode 2, R = 64, a tag of 14 octets; both ends and every copy alike."""
    ours, theirs = World().call(offered_sessions([AUDIO]), (RCC,))
    here, there = (key_set_of(end, (1, 2)) for end in (ours, theirs))
    assert here.suite.name == "AES_CM_128_HMAC_SHA1_80"
    assert here.rcc == there.rcc == here.copy().rcc == RocCarrying(mode=2, rate=64, tag_length=14)


def test_rate_of_the_carried_roc_is_the_one_of_the_policy() -> None:
    """RCC-4: type 13."""
    suite = SUITES["AES_256_CM_HMAC_SHA1_80"]
    policy = srtp_policy_payload(1, srtp_policy_for(suite, rcc=True, rate=1000))
    ours, _theirs = World().call(offered_sessions([AUDIO]), (policy,))
    assert key_set_of(ours, (1, 2)).rcc == RocCarrying(mode=2, rate=1000, tag_length=14)


def test_roc_carrying_with_an_aead_is_no_key_set() -> None:
    """RCC-7."""
    key = MasterKey(Secret(bytes(16)), Secret(bytes(12)))
    with pytest.raises(UsageError) as caught:
        KeySet(SUITES["AEAD_AES_128_GCM"], key, (key,), rcc=RocCarrying(2, 64, 14))
    assert caught.value.code == "rcc_with_aead"


def test_tls_line_of_a_mixed_bundle_has_its_psk() -> None:
    """KMS-63, KMS-81."""
    ours, theirs = World().call(offered_sessions([AUDIO, MSRP]), (RCC, TLS))
    assert psk_of(ours, (3,)).key == psk_of(theirs, (3,)).key
    assert psk_of(ours, (3,)).identity == psk_of(theirs, (3,)).identity


def test_more_lines_than_numbers_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="too many"):
        number_lines([Protocol.SRTP] * 128)
