"""Captures of a line: text, one piece a line, `>` from the host or `<` from the device, then octets in hexadecimal.

Keys that are loaded in plain never get into one: zeros are written instead of such a frame. Of a frame, its
head and the members of its body are printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ueagent_firmware.frame import Frame, FrameReader
from ueagent_firmware.messages import BODIES, JOBS, Op, Status, length, unpack

if TYPE_CHECKING:
    from ueagent_firmware.link import Port

_REQUESTS: Final = {Op.HELLO: "hello", Op.SESSION: "session"}
_REPLIES: Final = {
    Op.HELLO: "hello_reply",
    Op.IDENTITY: "identity_reply",
    Op.PAIR: "identity_reply",
    Op.SESSION: "session_reply",
    Op.STATUS: "status_reply",
}


class MalformedCapture(ValueError):
    """No capture of ours; the text names the line."""


@dataclass(frozen=True, slots=True)
class CapturingPort:
    """A port that also tells `write_line` what crosses it, plain keys masked."""

    port: Port
    write_line: Callable[[str], object]

    def write(self, octets: bytes) -> None:
        self.write_line(f"> {_masked(octets).hex()}\n")
        self.port.write(octets)

    def read(self, timeout: float) -> bytes:
        octets = self.port.read(timeout)
        if octets:
            self.write_line(f"< {octets.hex()}\n")
        return octets


def _masked(octets: bytes) -> bytes:
    frames = list(FrameReader().feed(octets))
    plain = any(frame.op == Op.KEY_LOAD and frame.body[:1] == b"\0" for frame in frames)
    return b"\0" * len(octets) if plain else octets


def lines(capture: str) -> Iterator[str]:
    """A line for each frame. MalformedCapture."""
    readers = {">": FrameReader(), "<": FrameReader()}
    for number, text in enumerate(capture.splitlines(), 1):
        arrow, _, digits = text.strip().partition(" ")
        if not arrow:
            continue
        try:
            octets = bytes.fromhex(digits)
            reader = readers[arrow]
        except (ValueError, KeyError):
            raise MalformedCapture(f"line {number} is neither `> octets` nor `< octets`") from None
        before = reader.damaged
        for frame in reader.feed(octets):
            yield f"{arrow} {describe(frame, reply=arrow == '<')}"
        for _ in range(reader.damaged - before):
            yield f"{arrow} damaged"


def describe(frame: Frame, *, reply: bool) -> str:
    """One frame in words; of a packet and of a wrapped key only how long it is."""
    op = Op(frame.op).name if frame.op in Op._value2member_map_ else f"op {frame.op:#04x}"
    status = Status(frame.status).name if frame.status in Status._value2member_map_ else str(frame.status)
    words = [op, f"seq {frame.seq}", f"slot {frame.slot}", *([status] if reply else [])]
    return ", ".join([*words, *_members(frame, reply)])


def _members(frame: Frame, reply: bool) -> Iterator[str]:
    if not reply and frame.op in JOBS and len(frame.body) >= length("job"):
        yield f"index {int.from_bytes(frame.body[: length('job')], 'little')}"
        yield f"packet of {len(frame.body) - length('job')} octets"
        return
    if not reply and frame.op == Op.KEY_LOAD:
        wrapped = frame.body[:1] == b"\1"
        yield "wrapped key" if wrapped else "plain key"
        return
    body = (_REPLIES if reply else _REQUESTS).get(Op(frame.op)) if frame.op in Op._value2member_map_ else None
    if body is None or len(frame.body) != length(body):
        if frame.body:
            yield f"{len(frame.body)} octets"
        return
    found = unpack(body, frame.body)
    for member in BODIES[body]:
        value = found[member.name]
        yield f"{member.name} {value.hex() if isinstance(value, bytes) else value}"
