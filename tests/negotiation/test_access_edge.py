"""The agreement at registration: REG-1..20."""

from __future__ import annotations

import pytest

from ueagent.errors import MalformedMessage, UsageError
from ueagent.model.security import Mechanism
from ueagent.negotiation.access_edge import EdgeProfile, Registration

LIST = ["msrp-tls;mediasec", "sdes-srtp;mediasec", "dtls-srtp;mediasec"]
IPSEC = "ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;ealg=aes-cbc;spi-c=3333;spi-s=4444;port-c=5066;port-s=5068"
SDES = frozenset({Mechanism.SDES})


def registered(profile: EdgeProfile | None = None, listed: list[str] | None = None) -> Registration:
    registration = Registration(profile or EdgeProfile())
    registration.update(401, LIST if listed is None else listed)
    registration.update(200, [])
    return registration


def test_the_first_register_announces_sdes() -> None:
    """REG-1, REG-2, REG-3: one entry per mechanism, no q, and no sec-agree of ours (REG-15)."""
    assert Registration(EdgeProfile()).offer() == (("Security-Client", "sdes-srtp;mediasec"),)


def test_nothing_is_announced_when_all_is_off() -> None:
    """GEN-1, GEN-11."""
    registration = registered(EdgeProfile(sdes=False, strict=True))
    assert registration.offer() == ()
    assert registration.announced == frozenset()


def test_a_challenge_is_mirrored_verbatim_and_in_order() -> None:
    """REG-4, REG-12: with the same Security-Client; unknown entries too; lists and fields are one thing."""
    registration = Registration(EdgeProfile())
    before = registration.offer()
    result = registration.update(401, [IPSEC, 'new-thing;x="a,b";mediasec , SDES-SRTP ; mediasec', "msrp-tls;mediasec"])
    assert result.next == "retry"
    assert result.headers == (
        *before,
        ("Security-Verify", IPSEC),
        ("Security-Verify", 'new-thing;x="a,b";mediasec'),
        ("Security-Verify", "SDES-SRTP ; mediasec"),
        ("Security-Verify", "msrp-tls;mediasec"),
    )


def test_nothing_is_believed_before_registration_has_succeeded() -> None:
    """REG-8."""
    registration = Registration(EdgeProfile())
    assert registration.update(401, LIST).announced == frozenset()
    assert registration.update(200, []).announced == SDES


def test_a_list_only_in_the_200_counts() -> None:
    """REG-5."""
    registration = Registration(EdgeProfile())
    registration.update(401, [])
    result = registration.update(200, LIST)
    assert (result.next, result.announced) == ("done", SDES)


def test_the_list_of_the_200_replaces_that_of_the_401() -> None:
    """REG-6."""
    registration = Registration(EdgeProfile())
    registration.update(401, LIST)
    assert registration.update(200, ["msrp-tls;mediasec"]).announced == frozenset()


def test_a_200_without_a_list_keeps_that_of_the_401() -> None:
    """REG-6."""
    assert registered().announced == SDES


def test_tokens_are_compared_without_regard_to_case() -> None:
    """REG-12."""
    assert registered(listed=["Sdes-SRTP;MediaSec"]).announced == SDES


def test_an_entry_without_mediasec_is_about_signalling() -> None:
    """REG-10."""
    assert registered(listed=["sdes-srtp"]).announced == frozenset()


def test_one_mechanism_says_nothing_about_another() -> None:
    """REG-20."""
    assert registered(listed=["udptl-dtls;mediasec"]).announced == frozenset()


def test_a_later_registration_follows_the_new_list() -> None:
    """REG-7: Security-Client again; the next call follows what this answer says."""
    registration = registered()
    assert ("Security-Client", "sdes-srtp;mediasec") in registration.offer()
    registration.update(401, ["msrp-tls;mediasec"])
    assert registration.announced == SDES  # until it has succeeded
    assert registration.update(200, []).announced == frozenset()


def test_a_refresh_without_challenge_or_list_changes_nothing() -> None:
    """REG-7, REG-6."""
    registration = registered()
    assert registration.update(200, []).announced == SDES


def test_a_released_binding_leaves_nothing_behind() -> None:
    """REG-8."""
    registration = registered(EdgeProfile(strict=True))
    registration.release()
    assert registration.announced == frozenset()
    assert "Security-Verify" not in dict(registration.offer())


def test_a_refused_list_restarts_the_agreement_once() -> None:
    """REG-13."""
    registration = Registration(EdgeProfile())
    registration.update(401, LIST)
    again = registration.update(494, ["sdes-srtp;mediasec"])
    assert again.next == "retry"
    assert [v for n, v in again.headers if n == "Security-Verify"] == ["sdes-srtp;mediasec"]
    assert registration.update(401, []).next == "retry"
    assert registration.update(494, ["sdes-srtp;mediasec"]).next == "give_up"


def test_after_a_success_the_agreement_may_be_restarted_again() -> None:
    """REG-13: once per attempt."""
    registration = Registration(EdgeProfile())
    registration.update(494, LIST)
    assert registration.update(200, []).next == "done"
    assert registration.update(494, LIST).next == "retry"


def test_a_494_without_a_list_is_the_end() -> None:
    """REG-13: there is nothing to mirror."""
    assert Registration(EdgeProfile()).update(494, []).next == "give_up"


def test_the_strict_profile_asks_for_the_option_tag() -> None:
    """REG-14."""
    headers = Registration(EdgeProfile(strict=True)).offer()
    assert ("Require", "mediasec") in headers
    assert ("Proxy-Require", "mediasec") in headers
    assert Registration(EdgeProfile()).offer() == (("Security-Client", "sdes-srtp;mediasec"),)


@pytest.mark.parametrize("unsupported", [["mediasec"], ["path, MediaSec"], ["path", "mediasec"]])
def test_an_edge_that_does_not_know_the_option_tag_is_asked_without(unsupported: list[str]) -> None:
    """REG-14."""
    registration = Registration(EdgeProfile(strict=True))
    result = registration.update(420, [], unsupported)
    assert result.next == "retry"
    assert result.headers == (("Security-Client", "sdes-srtp;mediasec"),)


def test_a_420_for_something_else_is_not_ours_to_mend() -> None:
    """REG-14."""
    assert Registration(EdgeProfile(strict=True)).update(420, [], ["path"]).next == "give_up"
    assert Registration(EdgeProfile()).update(420, [], ["mediasec"]).next == "give_up"


def test_a_second_420_is_the_end() -> None:
    """REG-14."""
    registration = Registration(EdgeProfile(strict=True))
    registration.update(420, [], ["mediasec"])
    assert registration.update(420, [], ["mediasec"]).next == "give_up"


def test_other_requests_are_verified_only_in_the_strict_profile() -> None:
    """REG-16."""
    assert Registration(EdgeProfile()).update(200, LIST).request_headers == ()
    strict = Registration(EdgeProfile(strict=True))
    assert strict.update(401, LIST).request_headers == ()
    headers = strict.update(200, []).request_headers
    assert [v for n, v in headers if n == "Security-Verify"] == LIST
    assert ("Proxy-Require", "mediasec") in headers


def test_other_requests_are_not_verified_before_a_list_was_learnt() -> None:
    """REG-16: the trap of FIELD-3."""
    strict = Registration(EdgeProfile(strict=True))
    assert strict.update(200, []).request_headers == ()


def test_media_entries_never_make_a_signalling_agreement() -> None:
    """REG-19."""
    registration = Registration(EdgeProfile())
    result = registration.update(401, LIST, ipsec_expected=True)
    assert (result.next, result.signalling_agreement) == ("give_up", False)
    assert "no_signalling_agreement" in result.warnings


def test_ipsec_in_the_list_is_a_signalling_agreement() -> None:
    """REG-19."""
    registration = Registration(EdgeProfile())
    assert registration.update(401, [IPSEC, *LIST], ipsec_expected=True).signalling_agreement
    result = registration.update(200, [], ipsec_expected=True)
    assert (result.next, result.signalling_agreement, result.announced) == ("done", True, SDES)


def test_a_failed_attempt_keeps_what_an_earlier_one_agreed() -> None:
    """REG-8: the old binding still stands."""
    registration = registered()
    registration.update(401, ["msrp-tls;mediasec"])
    assert registration.update(503, []).next == "give_up"
    assert registration.announced == SDES


def test_equal_preferences_are_only_worth_a_warning() -> None:
    """REG-3."""
    result = Registration(EdgeProfile()).update(401, ["sdes-srtp;mediasec;q=0.1", "tls;q=0.1"])
    assert result.next == "retry"
    assert result.warnings == ("duplicate_preference:tls",)


def test_a_malformed_list_changes_nothing() -> None:
    registration = registered()
    with pytest.raises(MalformedMessage):
        registration.update(401, ["msrp-tls;mediasec", ";;;"])
    assert registration.announced == SDES


@pytest.mark.parametrize("status", [100, 183, 0, 700])
def test_only_final_statuses_are_answers(status: int) -> None:
    with pytest.raises(UsageError):
        Registration(EdgeProfile()).update(status, [])
