"""Values of Security-Client, Security-Server and Security-Verify (RFC 3329, 2.2; `mediasec`: TS 24.229, 7.2A.7).

    sec-mechanism = mechanism-name *(SEMI name [EQUAL (token / quoted-string)])     lists: COMMA, or repeated fields

Comma lists and repeated header fields are the same thing and their order is kept; what is unknown is kept verbatim for
Security-Verify and otherwise ignored (REG-12).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ueagent.errors import MalformedMessage

MAX_FIELDS: Final = 64
MAX_FIELD_LENGTH: Final = 8192  # characters
MAX_MECHANISMS: Final = 64
MAX_PARAMETERS: Final = 32  # of one mechanism

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")  # RFC 3261, 25.1
_FOLD: Final = re.compile(r"\r?\n[ \t]+")
_SPACE: Final = re.compile(r"[ \t]*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = re.compile(r"\\(.)")
# Wider than a token: IPv6 references and base64 text of extensions pass as they are.
_WORD: Final = re.compile(r"[!#-+\--:<-~]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_Q_VALUE: Final = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class SecMechanism:
    """One sec-mechanism. `text` is as received, for Security-Verify; quoted values in `parameters` are unquoted."""

    name: str
    parameters: tuple[tuple[str, str | None], ...]
    text: str

    def names(self, token: str) -> bool:
        """Whether this is the mechanism `token`; tokens are compared without regard to case."""
        return self.name.lower() == token.lower()

    def parameter(self, name: str) -> str | None:
        """The value of the first parameter of that name, None also when it has no value."""
        return next((value for key, value in self.parameters if key.lower() == name.lower()), None)

    @property
    def is_mediasec(self) -> bool:
        """Whether the entry is about the media plane and no candidate for signalling protection."""
        return any(key.lower() == "mediasec" and value is None for key, value in self.parameters)

    @property
    def preference(self) -> int | None:
        """The q value in thousandths; None when absent or not a qvalue."""
        q = self.parameter("q")
        return None if q is None or not _Q_VALUE.fullmatch(q) else round(float(q) * 1000)


def parse_security(values: Sequence[str], field: str = "Security-Server") -> tuple[SecMechanism, ...]:
    """The mechanisms of all `values` (one per header field, each perhaps a comma list), in their order.

    MalformedMessage names the header field as `field[index]` and the character offset in its value, in which a folded
    line break counts as one space.
    """
    if len(values) > MAX_FIELDS:
        raise MalformedMessage("too_many_fields", f"more than {MAX_FIELDS} header fields", field=field)
    found: list[SecMechanism] = []
    for index, value in enumerate(values):
        found += _Reader(value, f"{field}[{index}]").mechanisms()
        if len(found) > MAX_MECHANISMS:
            raise MalformedMessage("too_many_mechanisms", f"more than {MAX_MECHANISMS}", field=f"{field}[{index}]")
    return tuple(found)


def duplicate_preferences(mechanisms: Iterable[SecMechanism]) -> tuple[str, ...]:
    """Names of mechanisms whose q value an earlier one has already. Peers differ, so only worth a warning (REG-3)."""
    seen: set[int] = set()
    repeated: list[str] = []
    for mechanism in mechanisms:
        q = mechanism.preference
        if q is not None and q in seen:
            repeated.append(mechanism.name)
        if q is not None:
            seen.add(q)
    return tuple(repeated)


def build_security_client(tokens: Iterable[str]) -> list[str]:
    """One Security-Client value per media mechanism, without q (REG-1..3). MalformedMessage when one is no token."""
    built: list[str] = []
    for token in tokens:
        if not _TOKEN.fullmatch(token):
            raise MalformedMessage("bad_mechanism", "a mechanism name is a token", field="Security-Client")
        built.append(f"{token};mediasec")
    return built


def build_security_verify(mechanisms: Iterable[SecMechanism]) -> list[str]:
    """One Security-Verify value per mechanism, as received and in its order (REG-4)."""
    return [mechanism.text for mechanism in mechanisms]


class _Reader:
    """A cursor over one header field value."""

    def __init__(self, value: str, field: str) -> None:
        self._field = field
        self._at = 0
        if len(value) > MAX_FIELD_LENGTH:
            raise self._bad("too_long", f"more than {MAX_FIELD_LENGTH} characters")
        # Unfolded, so that a mirrored text cannot break a line (RFC 3261, 7.3.1).
        self._text = _FOLD.sub(" ", value)
        control = _CONTROL.search(self._text)
        if control is not None:
            self._at = control.start()
            raise self._bad("bad_character", "a control character")

    def mechanisms(self) -> list[SecMechanism]:
        found = [self._mechanism()]
        while self._take(","):
            found.append(self._mechanism())
        if self._at < len(self._text):
            raise self._bad("bad_syntax", "expected a semicolon, a comma or the end")
        return found

    def _mechanism(self) -> SecMechanism:
        self._match(_SPACE)
        start = self._at
        name = self._expect(_TOKEN, "expected a mechanism name")
        end = self._at
        parameters: list[tuple[str, str | None]] = []
        while self._take(";"):
            if len(parameters) == MAX_PARAMETERS:
                raise self._bad("too_many_parameters", f"more than {MAX_PARAMETERS} parameters")
            parameters.append(self._parameter())
            end = self._at
        return SecMechanism(name, tuple(parameters), self._text[start:end])

    def _parameter(self) -> tuple[str, str | None]:
        self._match(_SPACE)
        name = self._expect(_TOKEN, "expected a parameter name")
        end = self._at
        if not self._take("="):
            self._at = end
            return name, None
        self._match(_SPACE)
        quoted = _QUOTED.match(self._text, self._at)
        if quoted is None:
            return name, self._expect(_WORD, "expected a token or a quoted string")
        self._at = quoted.end()
        return name, _ESCAPED.sub(r"\1", quoted[1])

    def _take(self, separator: str) -> bool:
        """Step over white space and `separator`; white space alone is only stepped over."""
        self._match(_SPACE)
        if not self._text.startswith(separator, self._at):
            return False
        self._at += 1
        return True

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[0]

    def _expect(self, pattern: re.Pattern[str], detail: str) -> str:
        found = self._match(pattern)
        if found is None:
            raise self._bad("bad_syntax", detail)
        return found

    def _bad(self, code: str, detail: str) -> MalformedMessage:
        return MalformedMessage(code, detail, field=self._field, offset=self._at)
