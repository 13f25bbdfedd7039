"""Bounded reading and writing of binary messages: the only place that slices octets from the network.

All integers are big endian. A Reader never looks past its end: what is missing is a MalformedMessage with the offset,
counted from the start of the outermost message.
"""

from __future__ import annotations

from ueagent.errors import MalformedMessage


class Reader:
    """Takes octets from the front. `base` is the offset of the first octet in the whole message."""

    __slots__ = ("_base", "_data", "_length", "_position")

    def __init__(self, data: bytes | bytearray | memoryview, base: int = 0) -> None:
        self._data = memoryview(data)
        self._length = len(data)
        self._base = base
        self._position = 0

    @property
    def offset(self) -> int:
        return self._base + self._position

    @property
    def remaining(self) -> int:
        return self._length - self._position

    def octets(self, count: int, field: str) -> bytes:
        """The next `count` octets. MalformedMessage when fewer remain."""
        return bytes(self.view(count, field))

    def view(self, count: int, field: str) -> memoryview:
        """As `octets`, without a copy: for keys."""
        start = self._position
        end = start + count
        if end > self._length:
            raise self.malformed("truncated", f"{field} needs {count} octets, {self.remaining} remain", field)
        self._position = end
        return self._data[start:end]

    def unsigned(self, size: int, field: str) -> int:
        """An integer of `size` octets."""
        return int.from_bytes(self.view(size, field), "big")

    def block(self, size: int, field: str) -> bytes:
        """Octets behind a length field of `size` octets."""
        return bytes(self.view(self.unsigned(size, field), field))

    def rest(self) -> bytes:
        return self.octets(self.remaining, "rest")

    def end(self, field: str) -> None:
        """MalformedMessage when octets remain."""
        if self.remaining:
            raise self.malformed("trailing_octets", f"{self.remaining} octets after {field}", field)

    def malformed(self, code: str, detail: str, field: str, *, back: int = 0) -> MalformedMessage:
        """The error for what stands `back` octets before the current position."""
        return MalformedMessage(code, detail, field=field, offset=self.offset - back)


class Writer:
    """Appends octets. A value that its field cannot hold is a bug of the caller: ValueError or OverflowError."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def unsigned(self, value: int, size: int) -> None:
        self._data += value.to_bytes(size, "big")

    def octets(self, data: bytes | bytearray | memoryview) -> None:
        self._data += data

    def block(self, data: bytes | bytearray | memoryview, size: int) -> None:
        """`data` behind its length in `size` octets."""
        self._data += len(data).to_bytes(size, "big")
        self._data += data

    def take(self) -> bytearray:
        """What was written; the caller owns it, and wipes it if it holds keys."""
        data, self._data = self._data, bytearray()
        return data
