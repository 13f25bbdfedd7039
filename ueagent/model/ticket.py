"""Tickets of MIKEY-TICKET as values: flags, roles, keys. RFC 6043, 6; 3GPP TS 33.328, Annex D."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Final

from ueagent.model.keys import Secret


class TicketFlag(IntFlag):
    """The 17 bits behind the PRF of a ticket policy. RFC 6043, 6.10."""

    D = 0x10000  # the KMS made the ticket
    E = 0x8000  # it must be resolved at the KMS
    F = 0x4000  # TRANSFER_RESP is sent
    G = 0x2000  # the Responder generates RANDRr
    H = 0x1000  # RANDRi enters the session keys
    I = 0x0800  # noqa: E741 - the specification's letter; key forking
    J = 0x0400  # the ticket may be reused
    K = 0x0200  # the KMS changed what was wanted
    L = 0x0100  # the Initiator may supply session keys
    M = 0x0080  # the Responder may supply session keys
    N = 0x0040  # an Initiator needs nothing beyond RFC 6043
    O = 0x0020  # noqa: E741 - the specification's letter; nor does a Responder
    RESERVED = 0x001F


_F: Final = TicketFlag
MEDIA_FLAGS: Final = _F.D | _F.E | _F.F | _F.G | _F.H | _F.I | _F.N | _F.O  # KMS-26
MESSAGE_FLAGS: Final = _F.D | _F.E | _F.H | _F.N | _F.O  # MIME-12

# (when these are set, when these are clear) -> (these must be set, these must be set when clear ...). KMS-33
_IMPLICATIONS: Final = (
    ("without D, L", _F(0), _F.D, _F.L),
    ("G needs F", _F.G, _F(0), _F.F),
    ("without G, H", _F(0), _F.G, _F.H),
    ("without H, G", _F(0), _F.H, _F.G),
    ("I needs E", _F.I, _F(0), _F.E),
    ("K needs D", _F.K, _F(0), _F.D),
    ("M needs F", _F.M, _F(0), _F.F),
)
_I_NEEDS_F: Final = "I with a TGK needs F"


def broken_implication(flags: TicketFlag, *, tgk_inside: bool = False, self_made: bool = False) -> str | None:
    """The first dependency of RFC 6043, 6.10 that `flags` break, in words, or None.

    `self_made`: a ticket without D may be without L (KMS-28). `tgk_inside`: the ticket holds a TGK.
    """
    for name, present, absent, needed in _IMPLICATIONS:
        applies = present & flags == present and not absent & flags
        if applies and needed & flags != needed and not (self_made and absent == _F.D):
            return name
    if tgk_inside and _F.I in flags and _F.F not in flags:
        return _I_NEEDS_F
    return None


class KeyType(IntEnum):
    """RFC 3830, 6.13; RFC 6043, 6.13."""

    TGK = 0
    TGK_SALT = 1
    TEK = 2
    TEK_SALT = 3
    GTGK = 4
    GTGK_SALT = 5
    MPK = 6

    @property
    def salted(self) -> bool:
        return self in (KeyType.TGK_SALT, KeyType.TEK_SALT, KeyType.GTGK_SALT)

    @property
    def forked(self) -> bool:
        """RFC 6043, 5.1.1: only TGKs fork (MPKr does too, by its own rule)."""
        return self in (KeyType.TGK, KeyType.TGK_SALT)

    @property
    def generates(self) -> bool:
        """Session keys are derived from it; a TEK is one itself."""
        return self in (KeyType.TGK, KeyType.TGK_SALT, KeyType.GTGK, KeyType.GTGK_SALT)


class IdRole(IntEnum):
    """RFC 6043, 6.6."""

    INITIATOR = 1
    RESPONDER = 2
    KMS = 3
    PSK = 4
    APPLICATION = 5


class IdType(IntEnum):
    """RFC 3830, 6.7; RFC 6043, 6.6."""

    NAI = 0
    URI = 1
    BYTES = 2


class RandRole(IntEnum):
    """RFC 6043, 6.8."""

    INITIATOR = 1
    RESPONDER = 2
    KMS = 3


class TimeRole(IntEnum):
    """RFC 6043, 6.4."""

    ISSUE = 1
    START = 2
    END = 3
    REKEY = 4


@dataclass(frozen=True, slots=True, eq=False)
class SessionKey:
    """A key out of a ticket, named by its SPI. `salt` only when it was transported."""

    kind: KeyType
    spi: bytes
    key: Secret
    salt: Secret | None = None

    def copy(self) -> SessionKey:
        return SessionKey(self.kind, self.spi, self.key.copy(), self.salt.copy() if self.salt else None)

    def wipe(self) -> None:
        self.key.wipe()
        if self.salt is not None:
            self.salt.wipe()


@dataclass(frozen=True, slots=True)
class Validity:
    """UTC seconds since 1970; None is open on that side. `rekey` is an interval in seconds (TRr)."""

    start: float | None = None
    end: float | None = None
    rekey: float | None = None

    def covers(self, now: float) -> bool:
        return (self.start is None or self.start <= now) and (self.end is None or now <= self.end)


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """What a ticket policy says. Identities are octets as in their payloads. RFC 6043, 6.10."""

    flags: TicketFlag
    prf: int
    kms: bytes | None
    initiator: bytes | None
    responders: tuple[bytes, ...]
    applications: tuple[bytes, ...] = ()
    validity: Validity = field(default=Validity())
    kind: tuple[int, int, int] = (2, 0, 0)  # type, subtype, version: the 3GPP base ticket
