"""TLS-PSK keyed by a MIKEY-TICKET crypto session, for MSRP and BFCP: TS 33.328, Annex H; KMS-80 to KMS-86.

The PSK is the TEK of the line's one TLS session. What its identity looks like no document at hand says: ours names
bundle, session and SPI, so that it is unique although one SPI serves several sessions.
"""

from __future__ import annotations

from typing import Final

from ueagent.channel.credentials import PskCredentials
from ueagent.errors import AuthenticationFailed
from ueagent.keymgmt.mikey_sessions import AgreedSession
from ueagent.keymgmt.mikey_ticket import Transfer
from ueagent.wire.mikey import Protocol

MAX_IDENTITY: Final = 128  # octets: RFC 4279, 5.3


def psk_identity(csb_id: int, cs_id: int, spi: bytes) -> bytes:
    """`CSB ID.CS ID.SPI` in lower-case hexadecimal."""
    return f"{csb_id:08x}.{cs_id:02x}.{spi.hex()}".encode("ascii")


def accepted_identities(csb_id: int, session: AgreedSession) -> tuple[bytes, ...]:
    """What a client may call the key: our form, and the SPI in hexadecimal or as it is (KMS-83)."""
    plain = (session.spi,) if session.spi and b"\0" not in session.spi else ()
    return (psk_identity(csb_id, session.cs_id, session.spi), session.spi.hex().encode("ascii"), *plain)


def credentials_of(transfer: Transfer, cs_id: int, identity: bytes | None = None) -> PskCredentials:
    """Credentials for the channel of one m-line, with a copy of the key. ValueError when `cs_id` is no TLS session.

    `identity`: what the client named, checked here; AuthenticationFailed for another one, without a fallback (KMS-86).
    """
    session = next((s for s in transfer.sessions if s.cs_id == cs_id and s.protocol == Protocol.TLS), None)
    if session is None:
        raise ValueError("no TLS crypto session of this number")
    names = accepted_identities(transfer.header.csb_id, session)
    if identity is not None and identity not in names:
        raise AuthenticationFailed("psk_identity", "the peer names a key that is not ours")
    name = names[0] if identity is None else identity
    if len(name) > MAX_IDENTITY:
        raise ValueError("an identity that TLS cannot carry")
    return PskCredentials(name, session.key.copy())
