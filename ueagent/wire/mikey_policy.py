"""Parameters of SRTP security policies in MIKEY: RFC 3830, 6.10.1; RFC 4771, 4; RFC 7714, 14.

Types that are missing take SRTP's defaults; 14 to 19, which say something of SRTP or SRTCP alone, win over 2, 3, 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from ueagent.errors import MalformedMessage
from ueagent.wire.mikey import Protocol
from ueagent.wire.mikey_payloads import Sp


class Authentication(IntEnum):
    """Types 2, 14 and 15. RCCm1 to 3 are the modes of RFC 4771, 3."""

    NULL = 0
    HMAC_SHA_1 = 1
    RCC_M1 = 2
    RCC_M2 = 3
    RCC_M3 = 4


ENCRYPTION_NULL: Final = 0
AES_CM: Final = 1
AES_GCM: Final = 6


@dataclass(frozen=True, slots=True)
class Parameter:
    """`size` in octets; `default` None: absent unless said."""

    code: int
    name: str
    size: int
    default: int | None


_ROWS: Final = (
    Parameter(0, "encryption", 1, AES_CM),
    Parameter(1, "key_length", 1, 16),
    Parameter(2, "authentication", 1, Authentication.HMAC_SHA_1),
    Parameter(3, "authentication_key_length", 1, 20),
    Parameter(4, "salt_length", 1, 14),
    Parameter(5, "prf", 1, 0),
    Parameter(6, "key_derivation_rate", 1, 0),
    Parameter(7, "srtp_encrypted", 1, 1),
    Parameter(8, "srtcp_encrypted", 1, 1),
    Parameter(9, "fec_order", 1, 0),
    Parameter(10, "srtp_authenticated", 1, 1),
    Parameter(11, "tag_length", 1, 10),
    Parameter(12, "prefix_length", 1, 0),
    Parameter(13, "roc_rate", 2, 1),
    Parameter(14, "srtp_authentication", 1, None),
    Parameter(15, "srtcp_authentication", 1, None),
    Parameter(16, "srtp_authentication_key_length", 1, None),
    Parameter(17, "srtcp_authentication_key_length", 1, None),
    Parameter(18, "srtp_tag_length", 1, None),
    Parameter(19, "srtcp_tag_length", 1, None),
    Parameter(20, "aead_tag_length", 1, 16),
)
PARAMETERS: Final = MappingProxyType({row.code: row for row in _ROWS})
_CODE_OF: Final = MappingProxyType({row.name: row.code for row in _ROWS})


@dataclass(frozen=True, slots=True)
class SrtpPolicy:
    """A policy with all defaults and precedences resolved. Lengths in octets; tags of RCC include the ROC's four."""

    encryption: int = AES_CM
    key_length: int = 16
    salt_length: int = 14
    prf: int = 0
    key_derivation_rate: int = 0
    srtp_encrypted: bool = True
    srtcp_encrypted: bool = True
    srtp_authenticated: bool = True
    prefix_length: int = 0
    roc_rate: int = 1
    srtp_authentication: int = Authentication.HMAC_SHA_1
    srtcp_authentication: int = Authentication.HMAC_SHA_1
    srtp_authentication_key_length: int = 20
    srtcp_authentication_key_length: int = 20
    srtp_tag_length: int = 10
    srtcp_tag_length: int = 10
    aead_tag_length: int = 16

    @property
    def rcc_mode(self) -> int | None:
        """1, 2 or 3 when packets carry the ROC (RFC 4771)."""
        return self.srtp_authentication - 1 if self.srtp_authentication >= Authentication.RCC_M1 else None


def read_srtp_policy(payload: Sp) -> SrtpPolicy:
    """MalformedMessage (`policy_parameter`) for a value of the wrong length, a type twice, or RCC against RFC 4771.

    Types that are not known are ignored: they cannot change what is agreed, and survive in the payload.
    """
    given: dict[str, int] = {}
    for code, value in payload.parameters:
        row = PARAMETERS.get(code)
        if row is None:
            continue
        if len(value) != row.size or row.name in given:
            raise _bad(f"parameter {row.name} is not one value of {row.size} octets")
        given[row.name] = int.from_bytes(value, "big")
    policy = _resolved(given)
    if policy.rcc_mode is not None:
        if policy.roc_rate == 0:
            raise _bad("a ROC transmission rate of 0")
        if policy.srtp_tag_length < 4 or (policy.rcc_mode == 3 and policy.srtp_tag_length != 4):
            raise _bad("a tag that cannot hold the ROC")
        if policy.encryption == AES_GCM:
            raise _bad("ROC carrying with an AEAD")
    if policy.srtcp_authentication >= Authentication.RCC_M1:
        raise _bad("ROC carrying in SRTCP")
    return policy


def _resolved(given: Mapping[str, int]) -> SrtpPolicy:
    def one(name: str) -> int:
        return given.get(name, PARAMETERS[_CODE_OF[name]].default or 0)

    def either(name: str, general: str) -> int:
        return given.get(name, one(general))

    gcm = one("encryption") == AES_GCM
    general = one("authentication")
    return SrtpPolicy(
        encryption=one("encryption"),
        key_length=one("key_length"),
        salt_length=given.get("salt_length", 12 if gcm else 14),
        prf=one("prf"),
        key_derivation_rate=one("key_derivation_rate"),
        srtp_encrypted=bool(one("srtp_encrypted")),
        srtcp_encrypted=bool(one("srtcp_encrypted")),
        srtp_authenticated=bool(one("srtp_authenticated")),
        prefix_length=one("prefix_length"),
        roc_rate=one("roc_rate"),
        srtp_authentication=either("srtp_authentication", "authentication"),
        # The general algorithm may be one of RFC 4771, which is SRTP's alone: SRTCP then has SRTP's default.
        srtcp_authentication=given.get("srtcp_authentication", min(general, Authentication.HMAC_SHA_1)),
        srtp_authentication_key_length=either("srtp_authentication_key_length", "authentication_key_length"),
        srtcp_authentication_key_length=either("srtcp_authentication_key_length", "authentication_key_length"),
        srtp_tag_length=either("srtp_tag_length", "tag_length"),
        srtcp_tag_length=given.get("srtcp_tag_length", 10 if general >= Authentication.RCC_M1 else one("tag_length")),
        aead_tag_length=one("aead_tag_length"),
    )


def srtp_parameters(policy: SrtpPolicy) -> tuple[tuple[int, bytes], ...]:
    """The parameters that say `policy` in full, in the order of the checklist's example (RCC-6)."""
    names = ["encryption", "key_length"]
    if policy.encryption == AES_GCM:
        names += ["salt_length", "prf", "srtp_encrypted", "srtcp_encrypted", "aead_tag_length"]
    else:
        names += ["srtp_authentication", "srtcp_authentication"]
        names += ["srtp_authentication_key_length", "srtcp_authentication_key_length"]
        names += ["srtp_tag_length", "srtcp_tag_length"]
        names += ["roc_rate"] if policy.rcc_mode is not None else []
        names += ["srtp_encrypted", "srtcp_encrypted", "srtp_authenticated"]
    codes = [PARAMETERS[_CODE_OF[name]] for name in names]
    return tuple((row.code, int(getattr(policy, row.name)).to_bytes(row.size, "big")) for row in codes)


def srtp_policy_payload(number: int, policy: SrtpPolicy) -> Sp:
    return Sp(number, Protocol.SRTP, srtp_parameters(policy))


def _bad(detail: str) -> MalformedMessage:
    return MalformedMessage("policy_parameter", detail, field="SP", offset=0)
