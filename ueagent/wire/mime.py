"""MIME bodies of protected SIP MESSAGEs: multipart/mixed with MIKEY and S/MIME parts, and the entity inside.

RFC 2045, 2046, 5.1; RFC 8551, 3.1; 3GPP TS 33.328, F.3.1 and I.2.2; MIME-2..5, -16, -19.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from ueagent.errors import MalformedMessage

MAX_PARTS: Final = 16
MAX_HEADERS: Final = 32  # octet lines of one part's header
MAX_BODY: Final = 1 << 20  # octets
UNDECIPHERABLE: Final = 493  # SIP status for what cannot be opened: RFC 3261, 21.4.28; MIME-21
STREAM_ABOVE: Final = 1300  # octets of body: SIP over TCP or TLS; RFC 3261, 18.1.1, MIME-24

MIKEY_TYPE: Final = "application/mikey"
SMIME_TYPE: Final = "application/pkcs7-mime"
_SENT_SMIME_TYPE: Final = "auth-enveloped-data"  # TS 33.328, I.2.2; OPEN-12
_SMIME_KINDS: Final = frozenset({_SENT_SMIME_TYPE, "authenveloped-data"})  # RFC 8551, 3.2.2, without case
_LINE: Final = 76  # base64 characters: RFC 2045, 6.8

_WORD: Final = r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]+"
_TYPE: Final = re.compile(rf"[ \t]*({_WORD})/({_WORD})[ \t]*")
_PARAMETER: Final = re.compile(rf';[ \t]*({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\\r\n]|\\[^\r\n])*)"|({_WORD}))[ \t]*')
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_HEADER: Final = re.compile(rf"({_WORD})[ \t]*:[ \t]*(.*)")
_IDENTITY: Final = frozenset({"7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class MediaType:
    """`type/subtype` in lower case; parameter names in lower case, values as they are."""

    name: str
    parameters: MappingProxyType[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """One body part: its type as written, its content after transfer decoding, its disposition."""

    content_type: str
    content: bytes = field(repr=False)
    disposition: str | None = None


@dataclass(frozen=True, slots=True)
class ProtectedBody:
    """The parts of a protected MESSAGE. `others`, in clear, are for servers on the way: a list of recipients."""

    mikey: bytes = field(repr=False)
    cms: bytes = field(repr=False)
    others: tuple[Part, ...] = ()


# ----------------------------------------------------------------------------------------------------- media types --


def parse_media_type(text: str) -> MediaType:
    """The value of a Content-Type field, or MalformedMessage. RFC 2045, 5.1."""
    match = _TYPE.match(text)
    if match is None:
        raise MalformedMessage("mime_type", "no media type", field="Content-Type", offset=0)
    parameters: dict[str, str] = {}
    place = match.end()
    while place < len(text):
        found = _PARAMETER.match(text, place)
        if found is None or found[1].lower() in parameters:
            raise MalformedMessage("mime_type", "parameters that do not parse", field="Content-Type", offset=place)
        quoted, token = found[2], found[3]
        parameters[found[1].lower()] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        place = found.end()
    return MediaType(f"{match[1]}/{match[2]}".lower(), MappingProxyType(parameters))


# ---------------------------------------------------------------------------------------------------------- entities --


def build_entity(content_type: str, content: bytes) -> bytes:
    """A MIME entity in canonical form, ready to be protected. RFC 8551, 3.1.1; MIME-5.

    Lines of texts end in CRLF; everything else travels as it is.
    """
    name = parse_media_type(content_type).name
    if name.startswith(("text/", "message/")):
        content = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
        encoding = "8bit"
    else:
        encoding = "binary"  # allowed inside an enveloped entity: RFC 8551, 3.1.3
    header = f"Content-Type: {_field(content_type)}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return header.encode("utf-8") + content


def parse_entity(entity: bytes) -> Part:
    """The part inside a protected entity, or MalformedMessage."""
    return _part(entity, tolerant=False)


# ------------------------------------------------------------------------------------------------------- multiparts --


def build_protected(body: ProtectedBody, boundary: str) -> tuple[str, bytes]:
    """Value of Content-Type, and body. The boundary is the caller's and must occur in no part. MIME-2, -3."""
    if _BOUNDARY.fullmatch(boundary) is None:
        raise ValueError("not a boundary")
    pieces = [
        _headers(MIKEY_TYPE, "base64") + _base64(body.mikey),
        _headers(
            f"{SMIME_TYPE}; smime-type={_SENT_SMIME_TYPE}; name=smime.p7m", "base64", "attachment; filename=smime.p7m"
        )
        + _base64(body.cms),
        *(_headers(part.content_type, "binary", part.disposition) + part.content for part in body.others),
    ]
    delimiter = b"--" + boundary.encode("ascii")
    if any(delimiter in piece for piece in pieces):
        raise ValueError("the boundary occurs in a part")
    lines = b"".join(delimiter + b"\r\n" + piece + b"\r\n" for piece in pieces)
    return f'multipart/mixed;boundary="{boundary}"', lines + delimiter + b"--\r\n"


def parse_protected(
    content_type: str, body: bytes, *, tolerant: bool = False, aliases: Sequence[str] = ()
) -> ProtectedBody:
    """MIKEY, S/MIME and other parts of a body, in any order; one of each of the first two, or MalformedMessage.

    `aliases` are further media types that stand for application/pkcs7-mime (OPEN-13). For `tolerant` see
    `parse_multipart`.
    """
    found: dict[str, bytes] = {}
    others = []
    for part in parse_multipart(content_type, body, tolerant=tolerant):
        media = parse_media_type(part.content_type)
        kind = media.name
        if kind in aliases:
            kind = SMIME_TYPE
        smime = kind == SMIME_TYPE and media.parameters.get("smime-type", "").lower() in _SMIME_KINDS
        if not smime and kind != MIKEY_TYPE:
            others.append(part)
        elif kind in found:
            raise MalformedMessage("mime_repeated_part", f"more than one part is {kind}", field="body")
        else:
            found[kind] = part.content
    for kind in (MIKEY_TYPE, SMIME_TYPE):
        if kind not in found:
            raise MalformedMessage(
                "mime_missing_part", f"no part is {kind} as a protected message has it", field="body"
            )
    return ProtectedBody(found[MIKEY_TYPE], found[SMIME_TYPE], tuple(others))


def parse_multipart(content_type: str, body: bytes, *, tolerant: bool = False) -> list[Part]:
    """The parts of a multipart/mixed body, transfer encodings removed, or MalformedMessage.

    `tolerant` also reads lines that end in LF, and parts behind a close delimiter that came too early: the example in
    TS 33.328, I.3 has one (MIME-19).
    """
    if len(body) > MAX_BODY:
        raise MalformedMessage("mime_too_long", f"{len(body)} octets of body, at most {MAX_BODY} are read")
    media = parse_media_type(content_type)
    boundary = media.parameters.get("boundary", "")
    if media.name != "multipart/mixed" or _BOUNDARY.fullmatch(boundary) is None:
        raise MalformedMessage("mime_type", "not multipart/mixed with a boundary", field="Content-Type")
    end = rb"\r?\n" if tolerant else rb"\r\n"
    delimiter = re.compile(rb"(?:\A|%b)--%b(--)?[ \t]*(?:\Z|(?=%b))" % (end, re.escape(boundary.encode("ascii")), end))
    marks = list(delimiter.finditer(body))
    if not marks or not any(mark[1] for mark in marks):
        raise MalformedMessage("mime_unclosed", "the multipart body has no end", field="body", offset=len(body))
    if len(marks) > MAX_PARTS + 1:
        raise MalformedMessage("mime_parts", f"more than {MAX_PARTS} parts", field="body")
    parts = []
    closed = False
    for number, mark in enumerate(marks):
        chunk = body[mark.end() : marks[number + 1].start() if number + 1 < len(marks) else len(body)]
        closed = closed or mark[1] is not None
        if not closed or (chunk.strip() and tolerant):
            parts.append(_part(re.sub(rb"\A%b" % end, b"", chunk), tolerant=tolerant))
        elif chunk.strip() or number + 1 < len(marks):
            if tolerant:
                continue  # nothing between an early and a late close delimiter
            raise MalformedMessage(
                "mime_premature_close", "octets behind the close delimiter", field="body", offset=mark.end()
            )
    return parts


def _part(octets: bytes, *, tolerant: bool) -> Part:
    head, content = _split_header(octets, tolerant=tolerant)
    fields: dict[str, str] = {}
    for line in head:
        match = _HEADER.fullmatch(line)
        if match is None or match[1].lower() in fields:
            raise MalformedMessage("mime_header", "a header field of a part that does not parse", field="header")
        fields[match[1].lower()] = match[2].strip()
    encoding = fields.get("content-transfer-encoding", "7bit").lower()
    if encoding == "base64":
        content = _from_base64(content)
    elif encoding not in _IDENTITY:
        raise MalformedMessage("mime_encoding", "unknown transfer encoding", field="Content-Transfer-Encoding")
    content_type = fields.get("content-type", "text/plain; charset=us-ascii")
    parse_media_type(content_type)
    return Part(content_type, content, fields.get("content-disposition"))


def _split_header(octets: bytes, *, tolerant: bool) -> tuple[list[str], bytes]:
    """Unfolded header lines, and what follows the empty line."""
    lines: list[str] = []
    place = 0
    while True:
        end = octets.find(b"\n", place)
        line = octets[place : len(octets) if end < 0 else end + 1]
        if not line.endswith(b"\r\n" if not tolerant else b"\n") or len(lines) > MAX_HEADERS:
            raise MalformedMessage("mime_header", "the header of a part has no end", field="header", offset=place)
        place += len(line)
        text = line.rstrip(b"\r\n").decode("utf-8", "replace")
        if not text:
            return lines, octets[place:]
        if text[0] in " \t" and lines:
            lines[-1] += " " + text.strip()
        else:
            lines.append(text)


def _headers(content_type: str, encoding: str, disposition: str | None = None) -> bytes:
    text = f"Content-Type: {_field(content_type)}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    if disposition is not None:
        text += f"Content-Disposition: {_field(disposition)}\r\n"
    return text.encode("utf-8") + b"\r\n"


def _field(value: str) -> str:
    if not value.isprintable():
        raise ValueError("a header field of one line")
    return value


def _base64(octets: bytes) -> bytes:
    text = base64.b64encode(octets)
    return b"\r\n".join(text[i : i + _LINE] for i in range(0, len(text), _LINE))


def _from_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedMessage("mime_base64", "a part is not base64", field="body") from None
