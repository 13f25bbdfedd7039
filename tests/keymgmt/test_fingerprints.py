"""Which fingerprints count (`ueagent/keymgmt/fingerprints.py`; RFC 8122, 5)."""

from __future__ import annotations

import hashlib

import pytest
from support.dtls_pair import error_of

from ueagent.keymgmt.fingerprints import fits, strongest
from ueagent.model.security import Fingerprint

CERTIFICATE = b"a certificate"


def fingerprint(name: str, of: bytes = CERTIFICATE) -> Fingerprint:
    return Fingerprint(name, hashlib.new(name.replace("-", "", 1), of).digest())


@pytest.mark.parametrize("name", ["sha-256", "sha-384", "sha-512"])
def test_each_acceptable_hash_is_compared(name: str) -> None:
    """DTLS-6."""
    accepted = strongest([fingerprint(name)])
    assert fits(CERTIFICATE, accepted)
    assert not fits(b"another", accepted)


def test_one_bit_makes_the_difference() -> None:
    """DTLS-8."""
    right = fingerprint("sha-256")
    for bit in range(256):
        digest = bytearray(right.digest)
        digest[bit // 8] ^= 1 << bit % 8
        assert not fits(CERTIFICATE, {Fingerprint("sha-256", bytes(digest))})


def test_a_weaker_hash_that_fits_does_not_outweigh_a_stronger_one() -> None:
    """DTLS-6."""
    offered = [fingerprint("sha-256"), fingerprint("sha-512", b"another")]
    assert not fits(CERTIFICATE, strongest(offered))


def test_one_of_several_certificates_may_be_used() -> None:
    """DTLS-6, T38-8."""
    accepted = strongest([fingerprint("sha-256", b"RSA"), fingerprint("sha-256")])
    assert fits(CERTIFICATE, accepted)
    assert fits(b"RSA", accepted)


def test_weak_hashes_beside_a_good_one_are_passed_over() -> None:
    """DTLS-6."""
    assert fits(CERTIFICATE, strongest([fingerprint("sha-1", b"another"), fingerprint("sha-256")]))


@pytest.mark.parametrize("name", ["sha-1", "md5"])
def test_weak_hashes_alone_are_refused(name: str) -> None:
    """DTLS-6, POL-10."""
    assert error_of(lambda: strongest([fingerprint(name)])).code == "weak_fingerprint"


def test_no_fingerprint_is_refused() -> None:
    """DTLS-6."""
    assert error_of(lambda: strongest([])).code == "no_fingerprint"
