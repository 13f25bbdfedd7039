"""Crypto sessions and m-lines."""

from __future__ import annotations

import pytest
from support.mikey_world import RCC, TLS, World

from ueagent.errors import AgentError
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
    here, there = (key_set_of(end, (1, 2), rcc=False) for end in (ours, theirs))
    assert (here.suite, there.suite) == (suite, suite)
    assert here.send.key == there.receive[0].key
    assert here.receive[0].salt == there.send.salt
    assert here.send.mki is not None
    assert here.send.mki.octets() == ours.sessions[0].spi


def test_roc_carrying_is_refused_where_the_core_has_none() -> None:
    """KMS-35, RCC-5."""
    ours, _theirs = World().call(offered_sessions([AUDIO]), (RCC,))
    assert key_set_of(ours, (1, 2), rcc=True).suite.name == "AES_CM_128_HMAC_SHA1_80"
    with pytest.raises(AgentError, match="does not carry the ROC"):
        key_set_of(ours, (1, 2), rcc=False)


def test_tls_line_of_a_mixed_bundle_has_its_psk() -> None:
    """KMS-63, KMS-81."""
    ours, theirs = World().call(offered_sessions([AUDIO, MSRP]), (RCC, TLS))
    assert psk_of(ours, (3,)).key == psk_of(theirs, (3,)).key
    assert psk_of(ours, (3,)).identity == psk_of(theirs, (3,)).identity


def test_more_lines_than_numbers_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="too many"):
        number_lines([Protocol.SRTP] * 128)
