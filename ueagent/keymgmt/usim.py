"""A USIM in software: Milenage and the freshness of sequence numbers. 3GPP TS 33.102, 6.3 and Annex C; KMS-7.

A sequence number is SEQ || IND. For each of the 32 values of IND the highest SEQ is kept, so that challenges may
arrive out of order, but not much older than the newest (C.2.2).
"""

from __future__ import annotations

from typing import Final

from ueagent.crypto.milenage import SQN_LENGTH, Milenage
from ueagent.errors import AuthenticationFailed
from ueagent.keymgmt.aka import AkaKeys, SyncFailure
from ueagent.model.keys import Secret

IND_BITS: Final = 5  # C.3.2
MAX_AGE: Final = 64  # SEQs behind the highest: the limit L of C.2.2
MAX_STEP: Final = 1 << 28  # SEQ may advance by so much at once: C.2.1 protects against wrapping around


class SoftwareUsim:
    """`k` and `opc` have 16 octets; copies are taken. `seen` are the SEQs of an earlier life, by IND."""

    def __init__(self, k: Secret, opc: Secret, seen: dict[int, int] | None = None) -> None:
        self._functions = Milenage(k, opc)
        self.seen: dict[int, int] = dict(seen or {})

    def authenticate(self, rand: bytes, autn: bytes) -> AkaKeys | SyncFailure:
        """TS 33.102, 6.3.3. AuthenticationFailed `aka_mac` leaves everything as it was."""
        sqn = self._functions.open_autn(rand, autn)
        if sqn is None:
            raise AuthenticationFailed("aka_mac", "the network has not proven that it knows the key of this USIM")
        number = int.from_bytes(sqn, "big")
        seq, ind = number >> IND_BITS, number & (1 << IND_BITS) - 1
        highest = max(self.seen.values(), default=0)
        if seq <= self.seen.get(ind, 0) or not highest - MAX_AGE <= seq <= highest + MAX_STEP:
            return SyncFailure(self._functions.auts(rand, self._highest()))
        self.seen[ind] = seq
        vector = self._functions.vector(rand)
        return AkaKeys(vector.res, vector.ck, vector.ik)

    def _highest(self) -> bytes:
        ind, seq = max(self.seen.items(), key=lambda pair: pair[1], default=(0, 0))
        return (seq << IND_BITS | ind).to_bytes(SQN_LENGTH, "big")

    def wipe(self) -> None:
        self._functions.wipe()
