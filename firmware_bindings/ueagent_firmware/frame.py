"""Frames of UMSA-1 (PROTOCOL.md, Frames): COBS around head, body and CRC-32C, ended by a zero octet.

Written for probing, pairing and reading captures, and as the second implementation that the C core is tested with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ueagent_firmware.messages import CRC, HEAD, MAX_BODY

_POLYNOMIAL = 0x82F63B78  # RFC 3720, B.4: CRC-32C, reflected
MAX_FRAME = HEAD + MAX_BODY + CRC


@dataclass(frozen=True, slots=True)
class Frame:
    op: int
    seq: int
    slot: int = 0
    status: int = 0
    body: bytes = b""

    def encode(self) -> bytes:
        """What goes on the wire, delimiter included."""
        plain = bytes((self.op, self.seq, self.slot, self.status)) + self.body
        return cobs(plain + crc32c(plain).to_bytes(CRC, "little")) + b"\0"


def _row(octet: int) -> int:
    for _ in range(8):
        octet = (octet >> 1) ^ (_POLYNOMIAL if octet & 1 else 0)
    return octet


_TABLE = tuple(_row(octet) for octet in range(256))


def crc32c(octets: bytes) -> int:
    value = 0xFFFFFFFF
    for octet in octets:
        value = (value >> 8) ^ _TABLE[(value ^ octet) & 0xFF]
    return value ^ 0xFFFFFFFF


def cobs(octets: bytes) -> bytes:
    """Consistent overhead byte stuffing: no zero octet in the result."""
    out = bytearray()
    for piece in (octets + b"\0").split(b"\0")[:-1]:
        while len(piece) >= 254:
            out += b"\xff" + piece[:254]
            piece = piece[254:]
        out += bytes((len(piece) + 1,)) + piece
    return bytes(out)


def uncobs(octets: bytes) -> bytes | None:
    """None: not an encoding of anything."""
    out = bytearray()
    at = 0
    while at < len(octets):
        code = octets[at]
        piece = octets[at + 1 : at + code]
        if code == 0 or len(piece) != code - 1 or 0 in piece:
            return None
        out += piece
        at += code
        if code != 0xFF and at < len(octets):
            out.append(0)
    return bytes(out)


def parse(encoded: bytes) -> Frame | None:
    """A frame from what stood between two delimiters; None when it is damaged."""
    if len(encoded) > MAX_FRAME + MAX_FRAME // 254 + 1:
        return None
    plain = uncobs(encoded)
    if plain is None or not HEAD + CRC <= len(plain) <= MAX_FRAME:
        return None
    if crc32c(plain[:-CRC]) != int.from_bytes(plain[-CRC:], "little"):
        return None
    return Frame(plain[0], plain[1], plain[2], plain[3], plain[HEAD:-CRC])


class FrameReader:
    """Octets as they come in, frames out. `damaged` counts what was none."""

    def __init__(self) -> None:
        self._held = bytearray()
        self.damaged = 0

    def feed(self, octets: bytes) -> Iterator[Frame]:
        self._held += octets
        while (end := self._held.find(0)) >= 0:
            encoded = bytes(self._held[:end])
            del self._held[: end + 1]
            if not encoded:
                continue
            frame = parse(encoded)
            if frame is None:
                self.damaged += 1
            else:
                yield frame
        if len(self._held) > 2 * MAX_FRAME:
            self._held.clear()
            self.damaged += 1
