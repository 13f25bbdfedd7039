"""Where the key shared with a KMS comes from: the interface, and the simplest answer. KMS-4, -6, -7."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ueagent.model.keys import Secret


@dataclass(frozen=True, slots=True, eq=False)
class KmsCredential:
    """IDRpsk octets and the PSK they name. Whoever obtained it wipes it."""

    identity: bytes
    key: Secret = field(repr=False)

    def wipe(self) -> None:
        self.key.wipe()


class CredentialProvider(Protocol):
    async def obtain(self, kms: str) -> KmsCredential:
        """For the KMS with this name (FQDN). AgentError when there is none."""

    def refused(self, identity: bytes) -> bool:
        """The KMS does not know `identity` any more. True: `obtain` may bring another one (KMS-6)."""

    def close(self) -> None:
        """Wipes what it holds."""


class ProvisionedPsk:
    """One identity and key for every KMS, written into the configuration. Takes over `key`."""

    def __init__(self, identity: bytes, key: Secret) -> None:
        self._identity = identity
        self._key = key

    async def obtain(self, kms: str) -> KmsCredential:
        return KmsCredential(self._identity, self._key.copy())

    def refused(self, identity: bytes) -> bool:
        return False

    def close(self) -> None:
        self._key.wipe()
