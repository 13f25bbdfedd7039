"""DTLS records in and out of datagrams. RFC 6347, 4.1 and 4.1.1; DTLS-29.

    type(1) version(2) epoch(2) sequence(6) length(2) fragment(length)

One read from the library's buffer can return a whole flight: it is cut at record headers, and handshake records are
packed again into datagrams that fit the path. Application data keeps its datagram for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

HEADER: Final = 13  # octets
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23
CLIENT_HELLO: Final = 1
DTLS_MAJOR: Final = 0xFE


def split_records(data: bytes) -> Iterator[bytes]:
    """The records of `data`, which the library wrote. ValueError when it does not end with a whole record."""
    at = 0
    while at < len(data):
        end = at + HEADER + int.from_bytes(data[at + 11 : at + HEADER], "big")
        if end > len(data) or len(data) - at < HEADER:
            raise ValueError("octets that are not a whole DTLS record")
        yield data[at:end]
        at = end


def pack_records(records: Iterable[bytes], mtu: int) -> list[bytes]:
    """Datagrams of at most `mtu` octets with the records in their order; a longer record travels alone."""
    datagrams: list[bytes] = []
    alone = True
    for record in records:
        own = record[0] == APPLICATION_DATA
        if alone or own or len(datagrams[-1]) + len(record) > mtu:
            datagrams.append(record)
        else:
            datagrams[-1] += record
        alone = own
    return datagrams


def begins_association(datagram: bytes) -> bool:
    """Whether the datagram begins with (a fragment of) a ClientHello in epoch 0."""
    return (
        len(datagram) > HEADER
        and datagram[0] == HANDSHAKE
        and datagram[1] == DTLS_MAJOR
        and datagram[3:5] == b"\0\0"
        and datagram[HEADER] == CLIENT_HELLO
    )


def client_random(datagram: bytes) -> bytes | None:
    """The random of the ClientHello that the datagram begins with: every copy of one hello has the same."""
    at = HEADER + 12 + 2  # the fragment's header, the version
    return datagram[at : at + 32] if begins_association(datagram) and len(datagram) >= at + 32 else None


def is_unprotected(datagram: bytes) -> bool:
    """Whether its first record belongs to epoch 0: a handshake that has no keys yet."""
    return len(datagram) >= HEADER and datagram[3:5] == b"\0\0"


def first_of_its_epoch(record: bytes) -> bytes:
    """An unprotected record with sequence number 0."""
    return record[:5] + bytes(6) + record[11:]
