"""Which fingerprints of a peer count, and whether a certificate has one of them. RFC 8122, 5; DTLS-6, DTLS-8."""

from __future__ import annotations

import hmac
from collections.abc import Collection

from ueagent.crypto.certificate import DIGESTS, digest_of
from ueagent.errors import NegotiationFailed
from ueagent.model.security import Fingerprint


def strongest(offered: Collection[Fingerprint]) -> frozenset[Fingerprint]:
    """Those made with the strongest hash among `offered`: a weaker one that fits must not outweigh a stronger one.

    NegotiationFailed: there is none at all, or none of an acceptable hash.
    """
    for name in DIGESTS:
        found = frozenset(one for one in offered if one.hash == name)
        if found:
            return found
    if offered:
        raise NegotiationFailed("weak_fingerprint", "no fingerprint of an acceptable hash", field="fingerprint")
    raise NegotiationFailed("no_fingerprint", "the line has no valid fingerprint", field="fingerprint")


def fits(certificate: bytes, accepted: Collection[Fingerprint]) -> bool:
    """Whether the DER certificate has one of these fingerprints."""
    return any(hmac.compare_digest(digest_of(certificate, one.hash), one.digest) for one in accepted)
