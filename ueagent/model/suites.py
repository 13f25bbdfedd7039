"""Crypto suites: one row each, read by every mechanism.

Lengths are in octets. `dtls_profile` is the RFC 5764 / RFC 7714 protection profile. `native` is the row's number in
the C core (`enum ums_suite`), compared with C by `tests/test_tables_agree.py`. Packet limits: RFC 3711, 9.2;
RFC 6188 and RFC 7714 name their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class CryptoSuite:
    name: str
    key_length: int
    salt_length: int
    srtp_tag_length: int
    srtcp_tag_length: int
    aead: bool
    dtls_profile: int | None
    max_lifetime: int  # packets of one master key that a lifetime in SDP may name
    rekey_at: int  # packets after which we ask for a new key ourselves
    selectable: bool  # may be offered and accepted outside the lab
    native: int | None  # None: known by name only

    @property
    def key_salt_length(self) -> int:
        return self.key_length + self.salt_length


_2_31: Final = 1 << 31
_2_48: Final = 1 << 48

# fmt: off
_ROWS: Final = (
    #           name                      key salt tag rtcp aead   dtls    max     rekey  selectable native
    CryptoSuite("AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10, False, 0x0001, _2_48, _2_31, True, 1),   # RFC 4568, 6.2.1
    CryptoSuite("AES_CM_128_HMAC_SHA1_32", 16, 14, 4, 10, False, 0x0002, _2_48, _2_31, True, 2),    # RFC 4568, 6.2.2
    CryptoSuite("AES_192_CM_HMAC_SHA1_80", 24, 14, 10, 10, False, None, _2_48, _2_31, True, 3),     # RFC 6188, 2.2
    CryptoSuite("AES_192_CM_HMAC_SHA1_32", 24, 14, 4, 10, False, None, _2_48, _2_31, True, 4),
    CryptoSuite("AES_256_CM_HMAC_SHA1_80", 32, 14, 10, 10, False, None, _2_48, _2_31, True, 5),     # RFC 6188, 2.1
    CryptoSuite("AES_256_CM_HMAC_SHA1_32", 32, 14, 4, 10, False, None, _2_48, _2_31, True, 6),
    CryptoSuite("AEAD_AES_128_GCM", 16, 12, 16, 16, True, 0x0007, _2_48, _2_31, True, 7),           # RFC 7714, 14.1
    CryptoSuite("AEAD_AES_256_GCM", 32, 12, 16, 16, True, 0x0008, _2_48, _2_31, True, 8),           # RFC 7714, 14.1
    CryptoSuite("F8_128_HMAC_SHA1_80", 16, 14, 10, 10, False, None, _2_48, _2_31, False, None),     # RFC 4568, 6.2.3
    CryptoSuite("NULL_HMAC_SHA1_80", 16, 14, 10, 10, False, 0x0005, _2_48, _2_31, False, 9),        # lab only
    CryptoSuite("NULL_HMAC_SHA1_32", 16, 14, 4, 10, False, 0x0006, _2_48, _2_31, False, 10),        # lab only
)
# fmt: on

SUITES: Final = MappingProxyType({row.name: row for row in _ROWS})

# The checklist's default offer, 5.2.
DEFAULT_OFFER: Final = (
    "AEAD_AES_128_GCM",
    "AES_CM_128_HMAC_SHA1_80",
    "AEAD_AES_256_GCM",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
)

# DTLS-12: the first and the third are mandatory (Annex O), the second belongs to the first (RFC 7714).
DEFAULT_DTLS_PROFILES: Final = ("AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_80")


def suite_named(name: str) -> CryptoSuite | None:
    """The suite of a registered SDES name, letter case as registered, or None when it is unknown."""
    return SUITES.get(name)


def suite_of_profile(profile: int) -> CryptoSuite | None:
    """The suite of a DTLS-SRTP protection profile (RFC 5764, 4.1.2), or None when it is unknown."""
    return next((row for row in _ROWS if row.dtls_profile == profile), None)
