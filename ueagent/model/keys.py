"""Key material and who may look at it.

A `Secret` has exactly one owner; the owner wipes it. Nothing here prints, pickles or compares in variable time.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import NoReturn

from ueagent.errors import UsageError
from ueagent.model.suites import CryptoSuite


class Secret:
    """Wipeable octets with a hidden repr and constant-time equality."""

    __slots__ = ("_data",)
    __hash__ = None  # type: ignore[assignment]  # a hash would leak a digest of the key

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = bytearray(data)

    def reveal(self) -> bytearray:
        """The octets themselves, still owned by this Secret: do not keep, do not copy without need."""
        return self._data

    def copy(self) -> Secret:
        """A second Secret with its own owner."""
        return Secret(self._data)

    def wipe(self) -> None:
        """Overwrite with zeros and shrink to nothing. Idempotent."""
        self._data[:] = bytes(len(self._data))
        self._data.clear()

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._data, other._data)

    def __repr__(self) -> str:
        return f"<Secret of {len(self._data)} octets>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or deep-copied")

    def __del__(self) -> None:
        self._data[:] = bytes(len(self._data))


@dataclass(frozen=True, slots=True)
class Mki:
    """Master key identifier: `value` >= 1, written in `length` octets (1..128), big-endian. RFC 3711, 3.1."""

    value: int
    length: int

    def octets(self) -> bytes:
        return self.value.to_bytes(self.length, "big")


@dataclass(frozen=True, slots=True, eq=False)
class MasterKey:
    """One master key with its salt. `lifetime` counts packets; None means the suite's own limit."""

    key: Secret
    salt: Secret
    mki: Mki | None = None
    lifetime: int | None = None

    def copy(self) -> MasterKey:
        """A second one with its own owner."""
        return MasterKey(self.key.copy(), self.salt.copy(), self.mki, self.lifetime)

    def wipe(self) -> None:
        self.key.wipe()
        self.salt.wipe()


@dataclass(frozen=True, slots=True)
class RocCarrying:
    """RTP packets with the rollover counter in their tag (RFC 4771): those whose SEQ is a multiple of `rate`."""

    mode: int  # 1..3: RFC 4771, 3
    rate: int  # R, 1..65535
    tag_length: int  # octets; counts the ROC's four where it is carried


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """Keys of one media line as this agent uses them: `send` protects what leaves, `receive` opens what arrives.

    `receive` holds more than one key only when the peer's line named several, told apart by MKI. UsageError
    (`rcc_with_aead`) for ROC carrying with a suite that has no HMAC (RCC-7).
    """

    suite: CryptoSuite
    send: MasterKey
    receive: tuple[MasterKey, ...]
    receive_window: int = 128  # packets; RFC 4568 WSH or the medium's default
    rcc: RocCarrying | None = None

    def __post_init__(self) -> None:
        if self.rcc is not None and self.suite.aead:
            raise UsageError("rcc_with_aead", f"{self.suite.name} cannot carry the rollover counter")

    def copy(self) -> KeySet:
        """A second one with its own owner."""
        receive = tuple(key.copy() for key in self.receive)
        return KeySet(self.suite, self.send.copy(), receive, self.receive_window, self.rcc)

    def wipe(self) -> None:
        self.send.wipe()
        for key in self.receive:
            key.wipe()
