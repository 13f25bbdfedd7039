"""A software USIM whose sequence numbers outlive the process. 3GPP TS 33.102, Annex C.2; KMS-7.

A number is on the disk before its keys are used: a crash between the two costs one challenge, never a replay.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ueagent.errors import ResourceError, UsageError
from ueagent.keymgmt.aka import AkaKeys, SyncFailure
from ueagent.keymgmt.usim import IND_BITS, SoftwareUsim

MAX_STATE: Final = 4096  # octets
_MAX_SEQ: Final = 1 << 48 - IND_BITS


class KeptUsim:
    """`create` makes the USIM from what `path` holds. Blocks: run it in a thread. UsageError `bad_config`."""

    def __init__(self, create: Callable[[dict[int, int]], SoftwareUsim], path: str) -> None:
        self._path = Path(path)
        self._usim = create(_read(self._path))

    def authenticate(self, rand: bytes, autn: bytes) -> AkaKeys | SyncFailure:
        """As SoftwareUsim; ResourceError `usim_state` when the number cannot be kept, and then no keys."""
        outcome = self._usim.authenticate(rand, autn)
        if isinstance(outcome, AkaKeys):
            try:
                _write(self._path, self._usim.seen)
            except OSError as error:
                outcome.wipe()
                raise ResourceError("usim_state", f"cannot write {self._path}: {error.strerror}") from None
        return outcome

    def wipe(self) -> None:
        self._usim.wipe()


def _read(path: Path) -> dict[int, int]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_STATE + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        detail = f"cannot read {path}: {error.strerror}"
        raise UsageError("bad_config", detail, field="credentials.usim_state") from None
    try:
        seen = {int(ind): seq for ind, seq in json.loads(text).items()}
        if not all(0 <= ind < 1 << IND_BITS and type(seq) is int and 0 <= seq < _MAX_SEQ for ind, seq in seen.items()):
            raise ValueError
    except (ValueError, AttributeError, RecursionError):
        # Not taken for empty: an old challenge would be accepted again.
        detail = f"{path} does not hold the sequence numbers of a USIM"
        raise UsageError("bad_config", detail, field="credentials.usim_state") from None
    return seen


def _write(path: Path, seen: dict[int, int]) -> None:
    """All or nothing, and on the disk."""
    other = path.with_name(path.name + ".new")
    handle = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        json.dump(seen, file)
        file.flush()
        os.fsync(file.fileno())
    other.replace(path)
