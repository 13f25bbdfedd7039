"""Who we are on a channel and how the peer is verified: self-signed certificates, or a pre-shared key.

The library keeps a copy of a private key inside a context. An `Identity` owns these contexts, shares them among all its
channels, and lets go of them when it is wiped; the library clears its copy with the last channel that used it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from ueagent.crypto.certificate import SelfSigned
from ueagent.model.keys import Secret
from ueagent.model.security import Fingerprint

# Whether this certificate (DER) may be the peer's. Also True while that is not known yet, to be looked at later.
VerifyPeer = Callable[[bytes], bool]


class Identity:
    """Our certificates towards one kind of peer: an ECDSA one, and an RSA one where a peer may need it (T38-8)."""

    def __init__(self, *own: SelfSigned) -> None:
        self.own = own
        self._contexts: dict[Hashable, Any] = {}

    def fingerprints(self, hash_name: str = "sha-256") -> tuple[Fingerprint, ...]:
        return tuple(certificate.fingerprint(hash_name) for certificate in self.own)

    def context(self, settings: Hashable, build: Callable[[], Any]) -> Any:
        """The library's context for `settings`, built when there is none yet."""
        found = self._contexts.get(settings)
        if found is None:
            found = self._contexts[settings] = build()
        return found

    def wipe(self) -> None:
        self._contexts.clear()
        for certificate in self.own:
            certificate.wipe()

    def __repr__(self) -> str:
        return f"<Identity of {len(self.own)} certificates>"


@dataclass(frozen=True, slots=True, eq=False)
class CertificateCredentials:
    """Both sides present a certificate: no chain, no names, only what `verify` says (DTLS-7, TLS-11)."""

    identity: Identity
    verify: VerifyPeer


@dataclass(frozen=True, slots=True, eq=False)
class PskCredentials:
    """Both sides hold `key` under `identity`, 1 to 128 octets without NUL. TLS 1.2 and DTLS 1.2 only.

    `plain` adds suites without forward secrecy, last (KMS-84).
    """

    identity: bytes
    key: Secret
    plain: bool = False

    def __repr__(self) -> str:
        return "<PskCredentials>"


Credentials = CertificateCredentials | PskCredentials
