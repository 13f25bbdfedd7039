"""SRTP policies in MIKEY."""

from __future__ import annotations

import pytest

from ueagent.errors import MalformedMessage
from ueagent.wire.mikey_payloads import Sp
from ueagent.wire.mikey_policy import AES_GCM, SrtpPolicy, read_srtp_policy, srtp_policy_payload

RCC = SrtpPolicy(key_length=32, srtp_authentication=3, srtp_tag_length=14, roc_rate=64)


def read(**octets: str) -> SrtpPolicy:
    return read_srtp_policy(Sp(1, 0, tuple((int(code[1:]), bytes.fromhex(value)) for code, value in octets.items())))


def test_missing_parameters_take_the_defaults_of_srtp() -> None:
    """RFC 3830, 6.10.1."""
    assert read() == SrtpPolicy()


def test_profile_with_rcc_has_the_octets_of_the_checklist() -> None:
    """RCC-4, RCC-6, KMS-35."""
    said = {kind: int.from_bytes(value, "big") for kind, value in srtp_policy_payload(1, RCC).parameters}
    assert said == {0: 1, 1: 32, 14: 3, 15: 1, 16: 20, 17: 20, 18: 14, 19: 10, 13: 64, 7: 1, 8: 1, 10: 1}
    assert RCC.rcc_mode == 2


@pytest.mark.parametrize(
    "policy",
    [SrtpPolicy(), RCC, SrtpPolicy(encryption=AES_GCM, key_length=16, salt_length=12)],
    ids=["cm", "rcc", "gcm"],
)
def test_policy_comes_back_as_it_was(policy: SrtpPolicy) -> None:
    assert read_srtp_policy(srtp_policy_payload(1, policy)) == policy


def test_particular_types_win_over_general_ones() -> None:
    """RCC-4: types 14 to 19 over 2, 3, 11."""
    policy = read(t2="00", t14="01", t11="04", t18="0a")
    assert (policy.srtp_authentication, policy.srtcp_authentication) == (1, 0)
    assert (policy.srtp_tag_length, policy.srtcp_tag_length) == (10, 4)


def test_general_rcc_leaves_srtcp_its_default() -> None:
    """RCC-3."""
    policy = read(t2="03", t11="0e")
    assert (policy.rcc_mode, policy.srtcp_authentication, policy.srtcp_tag_length) == (2, 1, 10)


REFUSED = {
    "RCC with an AEAD": {"t0": "06", "t14": "03", "t18": "0e"},  # RCC-7
    "RCC in SRTCP": {"t15": "03"},  # RCC-3
    "a rate of 0": {"t14": "03", "t18": "0e", "t13": "0000"},
    "a tag shorter than the ROC": {"t14": "03", "t18": "03"},
    "mode 3 with a MAC": {"t14": "04", "t18": "0e"},
    "a value of another length": {"t13": "40"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_policy_against_rfc_4771_is_refused(case: str) -> None:
    """RCC-4, RCC-7."""
    with pytest.raises(MalformedMessage, match="policy_parameter"):
        read(**REFUSED[case])


def test_parameter_twice_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="policy_parameter"):
        read_srtp_policy(Sp(1, 0, ((0, b"\x01"), (0, b"\x06"))))
