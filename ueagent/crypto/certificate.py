"""Self-signed certificates for DTLS and TLS keyed by fingerprints, and digests of certificates.

DTLS-7, DTLS-28, T38-8, TLS-10; RFC 8122, 5.1. Nobody reads the names in them: identity comes from the fingerprint in
integrity-protected SIP, so the subject is random and tells nothing about who calls. The key pair is drawn from the
random source of the library that makes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from ueagent.model.keys import Secret
from ueagent.model.security import Fingerprint

VALIDITY: Final = timedelta(days=90)  # DTLS-28: at least 30 days
BACKDATED: Final = timedelta(days=1)  # for peers whose clock is behind and who look at it
RSA_BITS: Final = 3072  # TLS-10
SERIAL_BITS: Final = 64

# The hash functions of fingerprints that we know, strongest first: name in SDP -> hashlib's. DTLS-6.
DIGESTS: Final = MappingProxyType({"sha-512": "sha512", "sha-384": "sha384", "sha-256": "sha256"})

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_GENERATORS: Final = MappingProxyType[str, Callable[[], _PrivateKey]](
    {
        "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "rsa-3072": lambda: rsa.generate_private_key(65537, RSA_BITS),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class SelfSigned:
    """A key pair and its certificate, both DER. Whoever holds it wipes it."""

    certificate: bytes = field(repr=False)
    private_key: Secret  # PKCS #8

    def fingerprint(self, hash_name: str = "sha-256") -> Fingerprint:
        return Fingerprint(hash_name, digest_of(self.certificate, hash_name))

    def wipe(self) -> None:
        self.private_key.wipe()


def create_self_signed(now: datetime, rng: Callable[[int], bytes], kind: str = "ecdsa-p256") -> SelfSigned:
    """A fresh key pair, `ecdsa-p256` or `rsa-3072`, with a certificate signed with SHA-256.

    Takes a fraction of a millisecond for the first kind and up to a second for the other: call it off the event loop.
    """
    key = _GENERATORS[kind]()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, rng(8).hex())])
    begins = now.astimezone(UTC).replace(microsecond=0) - BACKDATED
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(rng(SERIAL_BITS // 8), "big") | 1)
        .not_valid_before(begins)
        .not_valid_after(begins + BACKDATED + VALIDITY)
        .sign(key, hashes.SHA256())
    )
    pkcs8 = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SelfSigned(certificate.public_bytes(serialization.Encoding.DER), Secret(pkcs8))


def digest_of(certificate: bytes, hash_name: str) -> bytes:
    """The digest of a DER certificate. KeyError: a hash that is not in DIGESTS."""
    return hashlib.new(DIGESTS[hash_name], certificate).digest()
