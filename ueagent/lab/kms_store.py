"""The users, keys, groups and tickets of the lab's BSF and KMS, in one SQLite file or in memory.

It is a lab: keys lie in it as they are. Its file is readable by its owner only.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ueagent.crypto.milenage import SQN_LENGTH
from ueagent.keymgmt.bootstrapping import BootstrappedContext
from ueagent.keymgmt.usim import IND_BITS
from ueagent.model.keys import Secret

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS users (
    impi TEXT PRIMARY KEY, identity BLOB NOT NULL UNIQUE, k BLOB NOT NULL, opc BLOB NOT NULL, sqn INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS members (grp BLOB NOT NULL, identity BLOB NOT NULL, PRIMARY KEY (grp, identity));
CREATE TABLE IF NOT EXISTS contexts (
    identifier TEXT PRIMARY KEY, impi TEXT NOT NULL, rand BLOB NOT NULL, expires REAL NOT NULL, ks BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS psks (identity BLOB PRIMARY KEY, key BLOB NOT NULL, user BLOB, domain BLOB);
CREATE TABLE IF NOT EXISTS tickets (
    number INTEGER PRIMARY KEY, initiator BLOB NOT NULL, issued REAL NOT NULL, responders INTEGER NOT NULL,
    resolved INTEGER NOT NULL DEFAULT 0, mark BLOB NOT NULL UNIQUE);
"""


@dataclass(frozen=True, slots=True, eq=False)
class LabUser:
    impi: str
    identity: bytes  # a URI
    k: Secret
    opc: Secret

    def wipe(self) -> None:
        self.k.wipe()
        self.opc.wipe()


@dataclass(frozen=True, slots=True, eq=False)
class LabPsk:
    """A provisioned key: of one `user`, or of a KMS that speaks for every user of `domain`."""

    key: Secret
    user: bytes | None
    domain: bytes | None

    def belongs_to(self, identity: bytes) -> bool:
        if self.user is not None:
            return identity == self.user
        return self.domain is not None and identity.endswith(b"@" + self.domain)


class KmsStore:
    def __init__(self, path: str | Path = ":memory:") -> None:
        if str(path) != ":memory:":
            Path(path).touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    # ------------------------------------------------------------------------------------------------------- users --

    def add_user(self, impi: str, identity: bytes, k: Secret, opc: Secret, sqn: int = 0) -> None:
        """Replaces the user of this IMPI."""
        row = (impi, identity, bytes(k.reveal()), bytes(opc.reveal()), sqn)
        self._db.execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?, ?)", row)

    def user(self, impi: str) -> LabUser | None:
        row = self._db.execute("SELECT impi, identity, k, opc FROM users WHERE impi = ?", (impi,)).fetchone()
        return None if row is None else LabUser(row[0], row[1], Secret(row[2]), Secret(row[3]))

    def next_sqn(self, impi: str) -> bytes:
        """A fresh sequence number SEQ || IND. TS 33.102, C.1.1."""
        (sqn,) = self._db.execute("SELECT sqn FROM users WHERE impi = ?", (impi,)).fetchone()
        ind_mask = (1 << IND_BITS) - 1
        fresh = (sqn >> IND_BITS) + 1 << IND_BITS | (sqn + 1) & ind_mask
        self.set_sqn(impi, fresh)
        return int(fresh).to_bytes(SQN_LENGTH, "big")

    def set_sqn(self, impi: str, sqn: int) -> None:
        self._db.execute("UPDATE users SET sqn = ? WHERE impi = ?", (sqn, impi))

    def add_member(self, group: bytes, identity: bytes) -> None:
        self._db.execute("INSERT OR IGNORE INTO members VALUES (?, ?)", (group, identity))

    def is_member(self, group: bytes, identity: bytes) -> bool:
        query = "SELECT 1 FROM members WHERE grp = ? AND identity = ?"
        return self._db.execute(query, (group, identity)).fetchone() is not None

    # -------------------------------------------------------------------------------------------------------- keys --

    def add_context(self, context: BootstrappedContext) -> None:
        row = (context.identifier, context.impi, context.rand, context.expires, bytes(context.ks.reveal()))
        self._db.execute("INSERT OR REPLACE INTO contexts VALUES (?, ?, ?, ?, ?)", row)

    def context(self, identifier: str, now: float) -> BootstrappedContext | None:
        """What was bootstrapped under this B-TID and has not expired."""
        query = "SELECT identifier, impi, rand, expires, ks FROM contexts WHERE identifier = ? AND expires > ?"
        row = self._db.execute(query, (identifier, now)).fetchone()
        return None if row is None else BootstrappedContext(row[0], row[1], row[2], row[3], Secret(row[4]))

    def forget_contexts(self) -> None:
        self._db.execute("DELETE FROM contexts")

    def add_psk(self, identity: bytes, key: Secret, *, user: bytes | None = None, domain: bytes | None = None) -> None:
        row = (identity, bytes(key.reveal()), user, domain)
        self._db.execute("INSERT OR REPLACE INTO psks VALUES (?, ?, ?, ?)", row)

    def psk(self, identity: bytes) -> LabPsk | None:
        row = self._db.execute("SELECT key, user, domain FROM psks WHERE identity = ?", (identity,)).fetchone()
        return None if row is None else LabPsk(Secret(row[0]), row[1], row[2])

    # ----------------------------------------------------------------------------------------------------- tickets --

    def note_ticket(self, mark: bytes, initiator: bytes, issued: float, responders: int) -> None:
        """`mark` is a digest of the ticket; the ticket itself and its keys are not kept."""
        query = "INSERT OR IGNORE INTO tickets (mark, initiator, issued, responders) VALUES (?, ?, ?, ?)"
        self._db.execute(query, (mark, initiator, issued, responders))

    def note_resolved(self, mark: bytes) -> None:
        self._db.execute("UPDATE tickets SET resolved = resolved + 1 WHERE mark = ?", (mark,))

    def counts(self) -> tuple[int, int]:
        """Tickets issued, and how often they were resolved."""
        issued, resolved = self._db.execute("SELECT count(*), coalesce(sum(resolved), 0) FROM tickets").fetchone()
        return int(issued), int(resolved)
