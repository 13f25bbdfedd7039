"""Self-signed certificates (`ueagent/crypto/certificate.py`), read back by the library that peers use."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from ueagent.crypto.certificate import create_self_signed, digest_of

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def parsed(kind: str = "ecdsa-p256") -> x509.Certificate:
    return x509.load_der_x509_certificate(create_self_signed(NOW, os.urandom, kind).certificate)


def test_it_is_ecdsa_p256_signed_with_sha_256_by_itself() -> None:
    """DTLS-7, DTLS-28."""
    certificate = parsed()
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
    certificate.verify_directly_issued_by(certificate)


def test_it_is_valid_for_thirty_days_and_more() -> None:
    """DTLS-28."""
    certificate = parsed()
    assert certificate.not_valid_before_utc <= NOW
    assert certificate.not_valid_after_utc - NOW >= timedelta(days=30)


def test_two_of_them_have_nothing_in_common() -> None:
    """DTLS-28: keys, names and numbers do not link two registrations."""
    one, other = parsed(), parsed()
    assert one.public_key() != other.public_key()
    assert one.subject != other.subject
    assert one.serial_number != other.serial_number


def test_the_rsa_one_has_3072_bits() -> None:
    """TLS-10, T38-8."""
    key = parsed("rsa-3072").public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 3072


def test_the_private_key_belongs_to_it() -> None:
    own = create_self_signed(NOW, os.urandom)
    key = load_der_private_key(own.private_key.reveal(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == x509.load_der_x509_certificate(own.certificate).public_key()


def test_the_private_key_is_wiped_and_never_shown() -> None:
    """POL-8."""
    own = create_self_signed(NOW, os.urandom)
    octets = own.private_key.reveal()
    shown = bytes(octets).hex()
    assert shown not in repr(own)
    own.wipe()
    assert octets == b""


@pytest.mark.parametrize(("name", "ours"), [("sha-256", "sha256"), ("sha-384", "sha384"), ("sha-512", "sha512")])
def test_a_fingerprint_is_the_hash_of_the_der_form(name: str, ours: str) -> None:
    """DTLS-6."""
    own = create_self_signed(NOW, os.urandom)
    assert own.fingerprint(name).digest == hashlib.new(ours, own.certificate).digest()


@pytest.mark.parametrize("name", ["sha-1", "md5", "sha256"])
def test_weak_and_unknown_hashes_are_not_computed(name: str) -> None:
    """DTLS-6, POL-10."""
    with pytest.raises(KeyError):
        digest_of(b"certificate", name)
