"""SDP as a lossless tree of lines: parse, edit, print (RFC 4566; RFC 3605 rtcp, RFC 5761 rtcp-mux, RFC 3264 hold).

    Sdp
     |- session: Section       lines before the first m=
     `- media: MediaSection    one per m=, its first line

A line is its content and its ending (CRLF, LF, or nothing at the end of the document). What nobody edits is printed
as it came: unknown lines, NUL and non-ASCII octets, mixed endings, garbage. Reading asks only for what the agent needs:
m= and c= lines that parse. Values are frozen; editing returns new ones and leaves every other octet alone.
No repr shows the content of a line: it may hold a key.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, Self

from ueagent.errors import MalformedMessage
from ueagent.model.media import Direction, Endpoint

MAX_OCTETS: Final = 65536
MAX_LINES: Final = 16384
MAX_MEDIA: Final = 64

_CRLF: Final = b"\r\n"
_LF: Final = b"\n"
_DIRECTIONS: Final = {direction.value: direction for direction in Direction}
_UNSPECIFIED: Final = ("0.0.0.0", "::")  # RFC 3264, 8.4: hold as RFC 2543 wrote it

_BEFORE_C: Final = frozenset("mvosiuep")  # RFC 4566, 5: these come before c=

_TYPED: Final = re.compile(rb"[a-z]=")
_M_LINE: Final = re.compile(
    rb"m=(?P<kind>[!-~]+)[ \t]+(?P<port>\d{1,5})(?P<count>/\d{1,5})?"
    rb"[ \t]+(?P<proto>[!-~]+)(?P<formats>(?:[ \t]+[!-~]+)*)[ \t]*"
)
_C_LINE: Final = re.compile(
    rb"c=[ \t]*(?P<net>[!-~]+)[ \t]+(?P<type>[!-~]+)[ \t]+(?P<address>[!-.0-~]+)(?P<suffix>/\d+(?:/\d+)?)?[ \t]*"
)
_RTCP: Final = re.compile(
    rb"[ \t]*(?P<port>\d{1,5})(?:[ \t]+IN[ \t]+IP[46][ \t]+(?P<address>[!-~]+))?[ \t]*", re.IGNORECASE
)
_FAMILIES: Final = {("IN", "IP4"): 4, ("IN", "IP6"): 6}


@dataclass(frozen=True, slots=True, repr=False)
class Line:
    """One line. `offset` is its place in the octets that were parsed, None when it was written since."""

    content: bytes
    ending: bytes = _CRLF
    offset: int | None = field(default=None, compare=False)

    @property
    def letter(self) -> str:
        """The type of the line, "" when it is not `<letter>=`."""
        return self.content[:1].decode("ascii") if _TYPED.match(self.content) else ""

    def __repr__(self) -> str:
        return f"<Line {self.letter}= of {len(self.content)} octets>"


@dataclass(frozen=True, slots=True)
class Attribute:
    """`a=name` (value None) or `a=name:value`. Names are case-sensitive (RFC 4566, 5.13)."""

    name: str
    value: bytes | None = field(repr=False)
    offset: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Connection:
    """A c= line. `family` is 4, 6, or None for a network this agent does not know; a TTL suffix is not in `address`."""

    family: int | None
    address: str


@dataclass(frozen=True, slots=True)
class Rtcp:
    """`a=rtcp` of RFC 3605: the port, and the address where it differs from that of the media."""

    port: int
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Lines of the session level, or of one medium. `ending`, the document's predominant one, is for new lines."""

    lines: tuple[Line, ...]
    ending: bytes = _CRLF

    # ------------------------------------------------------------------------------------------------ reading --

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        found = (_attribute_of(line) for line in self.lines)
        return tuple(attribute for attribute in found if attribute is not None)

    def attributes_named(self, name: str) -> tuple[Attribute, ...]:
        return tuple(attribute for attribute in self.attributes if attribute.name == name)

    def attribute(self, name: str) -> Attribute | None:
        """The first attribute of that name on this level."""
        return next(iter(self.attributes_named(name)), None)

    @property
    def own_connection(self) -> Connection | None:
        """The first c= line on this level."""
        line = next((line for line in self.lines if line.letter == "c"), None)
        return None if line is None else _parse_connection(line)

    @property
    def own_direction(self) -> Direction | None:
        """The first direction attribute on this level."""
        return next((_DIRECTIONS[a.name] for a in self.attributes if a.name in _DIRECTIONS and a.value is None), None)

    # ------------------------------------------------------------------------------------------------ editing --

    def without(self, unwanted: Callable[[Attribute], bool]) -> Self:
        """Without the attribute lines that `unwanted` picks."""
        return self._with_lines(
            line for line in self.lines if (attribute := _attribute_of(line)) is None or not unwanted(attribute)
        )

    def without_attributes(self, *names: str) -> Self:
        return self.without(lambda attribute: attribute.name in names)

    def with_attributes(self, added: Iterable[bytes], replacing: Collection[str] = ()) -> Self:
        """With `added` (`a=...`, no line ending) in the place of the first attribute named in `replacing`.

        All attributes so named go. When there is none, the new lines follow the last attribute, or the last line that
        has a type. ValueError when an added line is not one attribute line.
        """
        new = [self._new_line(content) for content in added]
        if any(_attribute_of(line) is None for line in new):
            raise ValueError("an added line is not an attribute")
        place: int | None = None
        kept: list[Line] = []
        for line in self.lines:
            attribute = _attribute_of(line)
            if attribute is None or attribute.name not in replacing:
                kept.append(line)
            elif place is None:
                place = len(kept)
        if place is None:
            place = _end_of_attributes(kept)
        return self._with_lines([*kept[:place], *new, *kept[place:]])

    def with_direction(self, direction: Direction) -> Self:
        """With this direction on this level, in the place of the one it has."""
        if self.own_direction is direction:
            return self
        return self.with_attributes([b"a=" + direction.value.encode()], replacing=_DIRECTIONS)

    def with_own_address(self, address: str) -> Self:
        """With one c= line on this level naming `address`, an IPv4 or IPv6 literal; further c= lines go."""
        family = ipaddress.ip_address(address).version
        if self.own_connection == Connection(family, address):
            return self
        line = self._new_line(f"c=IN IP{family} {address}".encode("ascii"))
        kept = [old for old in self.lines if old.letter != "c"]
        place = next((i for i, old in enumerate(self.lines) if old.letter == "c"), None)
        if place is not None:
            line = replace(line, ending=self.lines[place].ending)
        else:
            place = max((i + 1 for i, old in enumerate(kept) if old.letter in _BEFORE_C), default=0)
        return self._with_lines([*kept[:place], line, *kept[place:]])

    def _new_line(self, content: bytes) -> Line:
        if b"\r" in content or b"\n" in content:
            raise ValueError("a line of SDP holds no line break")
        return Line(content, self.ending)

    def _with_lines(self, lines: Iterable[Line]) -> Self:
        return replace(self, lines=tuple(lines))


@dataclass(frozen=True, slots=True)
class MediaSection(Section):
    """One m= line and what follows it. `session` is the section whose c= and direction hold where this has none."""

    session: Section = field(default=Section(()), repr=False, compare=False)

    @property
    def kind(self) -> str:
        """The media word: audio, video, message, application, image, ..."""
        return self._token("kind")

    @property
    def port(self) -> int:
        return int(self._token("port"))

    @property
    def port_count(self) -> int:
        return int(self._token("count")[1:] or "1")

    @property
    def proto(self) -> str:
        return self._token("proto")

    @property
    def formats(self) -> tuple[str, ...]:
        return tuple(self._token("formats").split())

    @property
    def connection(self) -> Connection | None:
        """The c= line that holds for this medium: its own, else that of the session."""
        return self.own_connection or self.session.own_connection

    @property
    def direction(self) -> Direction:
        return self.own_direction or self.session.own_direction or Direction.SENDRECV

    @property
    def legacy_hold(self) -> bool:
        """`c=IN IP4 0.0.0.0`: the old form of hold, a change of direction and not of address (DYN-9)."""
        return self.connection is not None and self.connection.address in _UNSPECIFIED

    @property
    def rtcp(self) -> Rtcp | None:
        """The first `a=rtcp` that parses."""
        found = (_parse_rtcp(attribute) for attribute in self.attributes_named("rtcp"))
        return next((rtcp for rtcp in found if rtcp is not None), None)

    @property
    def rtcp_mux(self) -> bool:
        return self.attribute("rtcp-mux") is not None

    @property
    def rtcp_port(self) -> int | None:
        """The RTP port with rtcp-mux, else that of `a=rtcp`, else the next one; None when there is no next one."""
        if self.rtcp_mux:
            return self.port
        if self.rtcp is not None:
            return self.rtcp.port
        return self.port + 1 if self.port < 65535 else None

    @property
    def endpoint(self) -> Endpoint | None:
        """Where RTP and RTCP go; None without a connection to an IP literal or without an RTCP port."""
        here, rtcp_port = self.connection, self.rtcp_port
        if here is None or here.family is None or rtcp_port is None or not _is_literal(here):
            return None
        return Endpoint(here.address, self.port, rtcp_port)

    def with_proto(self, proto: str) -> Self:
        return self._with_token("proto", "proto", proto)

    def with_port(self, port: int) -> Self:
        """With another port; a port count goes, since the agent has one pair of sockets for a line."""
        return self._with_token("port", "count", str(port))

    def with_address(self, address: str) -> Self:
        """With `address` (a literal) for this medium: its c= line edited, or one added where the session's differs."""
        wanted = Connection(ipaddress.ip_address(address).version, address)
        return self if self.connection == wanted else self.with_own_address(address)

    def with_rtcp(self, port: int) -> Self:
        """With `a=rtcp:port` in the place of the one it has."""
        return self.with_attributes([b"a=rtcp:%d" % port], replacing=("rtcp",))

    def _token(self, group: str) -> str:
        return (_match_m_line(self.lines[0])[group] or b"").decode("ascii")

    def _with_token(self, first: str, last: str, text: str) -> Self:
        line = self.lines[0]
        match = _match_m_line(line)
        end = match.end(last) if match[last] is not None else match.end(first)
        content = line.content[: match.start(first)] + text.encode("ascii") + line.content[end:]
        edited = replace(line, content=content)
        _match_m_line(edited)
        return self._with_lines((edited, *self.lines[1:]))


@dataclass(frozen=True, slots=True)
class Sdp:
    """A session description. Every medium sees this `session`, whatever it was made with."""

    session: Section
    media: tuple[MediaSection, ...] = ()

    def __post_init__(self) -> None:
        bound = tuple(m if m.session is self.session else replace(m, session=self.session) for m in self.media)
        object.__setattr__(self, "media", bound)

    def with_media(self, index: int, section: MediaSection) -> Self:
        """With `section` as the m-line number `index`, from 0."""
        return replace(self, media=(*self.media[:index], section, *self.media[index + 1 :]))

    def with_session(self, section: Section) -> Self:
        return replace(self, session=section)


def parse_sdp(data: bytes) -> Sdp:
    """The tree of `data`. MalformedMessage: too large, not SDP at all, or an m= or c= line that does not parse."""
    if len(data) > MAX_OCTETS:
        raise MalformedMessage("sdp_too_large", f"more than {MAX_OCTETS} octets", field="sdp", offset=MAX_OCTETS)
    lines = _split(data)
    endings = Counter(line.ending for line in lines)
    ending = _LF if endings[_LF] > endings[_CRLF] else _CRLF
    if not any(line.letter for line in lines):
        raise MalformedMessage("not_sdp", "no line has a type", field="sdp", offset=0)
    starts = [i for i, line in enumerate(lines) if line.letter == "m"]
    if len(starts) > MAX_MEDIA:
        offset = lines[starts[MAX_MEDIA]].offset
        raise MalformedMessage("too_many_media", f"more than {MAX_MEDIA} m-lines", field="m=", offset=offset)
    for line in lines:
        _check(line)
    bounds = [*starts, len(lines)]
    session = Section(tuple(lines[: bounds[0]]), ending)
    media = (MediaSection(tuple(lines[start:end]), ending, session) for start, end in pairwise(bounds))
    return Sdp(session, tuple(media))


def build_sdp(sdp: Sdp) -> bytes:
    """The octets of `sdp`; `build_sdp(parse_sdp(data)) == data` for all data that parses."""
    sections: tuple[Section, ...] = (sdp.session, *sdp.media)
    lines = [line for section in sections for line in section.lines]
    last = len(lines) - 1
    # A line that once ended the document may stand in the middle after editing.
    return b"".join(
        line.content + (line.ending if line.ending or i == last else sdp.session.ending) for i, line in enumerate(lines)
    )


# ----------------------------------------------------------------------------------------------------------- lines --


def _split(data: bytes) -> list[Line]:
    parts = data.split(_LF)
    tail = parts.pop()
    if len(parts) + bool(tail) > MAX_LINES:
        offset = sum(len(part) + 1 for part in parts[:MAX_LINES])
        raise MalformedMessage("too_many_lines", f"more than {MAX_LINES} lines", field="sdp", offset=offset)
    lines: list[Line] = []
    offset = 0
    for part in parts:
        lines.append(Line(part[:-1], _CRLF, offset) if part.endswith(b"\r") else Line(part, _LF, offset))
        offset += len(part) + 1
    if tail:
        lines.append(Line(tail, b"", offset))
    return lines


def _check(line: Line) -> None:
    if line.letter == "m":
        _match_m_line(line)
    elif line.letter == "c":
        _parse_connection(line)


def _match_m_line(line: Line) -> re.Match[bytes]:
    match = _M_LINE.fullmatch(line.content)
    if match is None:
        raise MalformedMessage("bad_m_line", "not `media port proto formats`", field="m=", offset=line.offset)
    if int(match["port"]) > 65535:
        raise MalformedMessage("bad_m_line", "port above 65535", field="m=", offset=line.offset)
    return match


def _parse_connection(line: Line) -> Connection:
    match = _C_LINE.fullmatch(line.content)
    if match is None:
        raise MalformedMessage("bad_c_line", "not `network type address`", field="c=", offset=line.offset)
    family = _FAMILIES.get((match["net"].decode("ascii").upper(), match["type"].decode("ascii").upper()))
    return Connection(family, match["address"].decode("ascii"))


def _parse_rtcp(attribute: Attribute) -> Rtcp | None:
    match = _RTCP.fullmatch(attribute.value or b"")
    if match is None or not 0 < int(match["port"]) <= 65535:
        return None
    return Rtcp(int(match["port"]), match["address"].decode("ascii") if match["address"] else None)


def _attribute_of(line: Line) -> Attribute | None:
    if not line.content.startswith(b"a="):
        return None
    name, colon, value = line.content[2:].partition(b":")
    return Attribute(name.decode("latin-1"), value if colon else None, line.offset)


def _is_literal(connection: Connection) -> bool:
    try:
        return ipaddress.ip_address(connection.address).version == connection.family
    except ValueError:
        return False


def _end_of_attributes(lines: list[Line]) -> int:
    attributes = [i for i, line in enumerate(lines) if line.letter == "a"]
    typed = attributes or [i for i, line in enumerate(lines) if line.letter]
    return typed[-1] + 1 if typed else len(lines)
