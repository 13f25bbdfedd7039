"""Paths in a stream of MSRP messages (RFC 4975, 9): what stands in between is neither kept nor looked at.

    MSRP <tid> <method or status> CRLF  To-Path: ... CRLF  From-Path: ... CRLF  [headers CRLF]
    [CRLF body CRLF] -------<tid>$ CRLF

The two paths come first, in this order (RFC 4975, 7.1). A body is passed on as it comes, however long it is; only
as much is held back as could be the beginning of its end line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ueagent.errors import MalformedMessage
from ueagent.wire.msrp_attributes import MsrpUri, build_path, parse_path

MAX_HEADERS: Final = 8192  # octets before a body

Path = tuple[MsrpUri, ...]
Rewrite = Callable[[Path, Path], tuple[Path, Path]]

_FIRST: Final = re.compile(rb"MSRP ([A-Za-z0-9][A-Za-z0-9.\-+%=]{3,31}) (?:[A-Z]+|[0-9]{3}(?: [^\r\n]*)?)")


@dataclass(frozen=True, slots=True)
class MsrpPaths:
    """The two pairs of paths of one session: what the dialer sees, and what the network sees.

    They are told apart by their session-ids: a middlebox may have changed addresses (RFC 6714, 5).
    """

    dialer: Path  # the dialer's own
    shown: MsrpUri  # ours towards the dialer, in place of the peer's
    ours: MsrpUri  # towards the network, in place of the dialer's
    peer: Path  # the peer's own

    def outward(self, to_path: Path, from_path: Path) -> tuple[Path, Path]:
        return (
            self.peer if to_path[-1].session_id == self.shown.session_id else to_path,
            (self.ours,) if from_path[-1].session_id == self.dialer[-1].session_id else from_path,
        )

    def inward(self, to_path: Path, from_path: Path) -> tuple[Path, Path]:
        return (
            self.dialer if to_path[-1].session_id == self.ours.session_id else to_path,
            (self.shown,) if from_path[-1].session_id == self.peer[-1].session_id else from_path,
        )


class PathRewriter:
    """`rewrite(to, from)` gives the two paths that a message leaves with.

    `feed` raises MalformedMessage for what is no MSRP; then nothing more may be fed. What `rewrite` raises passes.
    """

    def __init__(self, rewrite: Rewrite) -> None:
        self._rewrite = rewrite
        self._held = b""
        self._end = b""  # of the body that is being passed on, else empty

    def feed(self, data: bytes) -> bytes:
        """Octets of the stream, cut anywhere: what can be passed on."""
        data = self._held + data if self._held else data
        self._held = b""
        out: list[bytes] = []
        at = 0  # an offset: what is left is not copied for each of many small messages
        while at < len(data):
            at = self._body(data, at, out) if self._end else self._message(data, at, out)
        return b"".join(out)

    @property
    def between_messages(self) -> bool:
        """Nothing has begun that has not ended."""
        return not self._end and not self._held

    def _message(self, data: bytes, at: int, out: list[bytes]) -> int:
        """Headers, when they are all there. Where they have ended."""
        limit = at + MAX_HEADERS
        line_end = data.find(b"\r\n", at, limit)
        match = None if line_end < 0 else _FIRST.fullmatch(data, at, line_end)
        if (line_end >= 0 and match is None) or not b"MSRP ".startswith(data[at : at + 5]):
            raise _bad("bad_start_line", "no MSRP message begins here")
        end_line = b"" if match is None else b"\r\n-------" + match[1]
        body = data.find(b"\r\n\r\n", at, limit + 4)
        over = data.find(end_line, at, limit + len(end_line)) if end_line else -1
        has_body = body >= 0 and (over < 0 or body < over)
        stop = body if has_body else over
        if stop < 0:
            if len(data) > limit:
                raise _bad("long_headers", f"more than {MAX_HEADERS} octets of headers")
            self._held = data[at:]
            return len(data)
        out.append(self._headers(data[at:stop].split(b"\r\n")))
        self._end = end_line
        if not has_body:
            return stop
        # The CRLF of an end line may be the one that closes the headers, where the body is empty.
        out.append(b"\r\n")
        return stop + 2

    def _headers(self, lines: list[bytes]) -> bytes:
        names = [line.partition(b":")[0].strip().lower() for line in lines[1:3]]
        if names != [b"to-path", b"from-path"]:
            raise _bad("no_paths", "To-Path and From-Path are not the first headers")
        to_path, from_path = (parse_path(line.partition(b":")[2]) for line in lines[1:3])
        to_path, from_path = self._rewrite(to_path, from_path)
        paths = [b"To-Path: " + build_path(to_path), b"From-Path: " + build_path(from_path)]
        return b"\r\n".join([lines[0], *paths, *lines[3:]])

    def _body(self, data: bytes, at: int, out: list[bytes]) -> int:
        """Up to and with the end line, as far as it is there. Where that is."""
        whole = len(self._end) + 3  # flag and CRLF
        end = data.find(self._end, at)
        while end >= 0:
            tail = data[end + len(self._end) : end + whole]
            if len(tail) < 3 and _could_end(tail):
                out.append(data[at:end])
                self._held = data[end:]
                return len(data)
            if len(tail) == 3 and _could_end(tail):
                out.append(data[at : end + whole])
                self._end = b""
                return end + whole
            end = data.find(self._end, end + 1)
        longest = min(len(self._end) - 1, len(data) - at)
        kept = next((n for n in range(longest, 0, -1) if data.endswith(self._end[:n])), 0)
        out.append(data[at : len(data) - kept])
        self._held = data[len(data) - kept :]
        return len(data)


def _could_end(tail: bytes) -> bool:
    return (not tail or tail[:1] in (b"$", b"+", b"#")) and b"\r\n".startswith(tail[1:])


def _bad(code: str, detail: str) -> MalformedMessage:
    return MalformedMessage(code, detail, field="msrp")
