"""SDP attributes with a meaning for media security, as typed values.

    a=crypto:<tag> <suite> inline:<key||salt>[|lifetime][|mki:length][;inline:...] [session-param ...]   RFC 4568, 9
    a=3ge2ae:requested                                                                    TS 24.229, 7.5.2

Reading is tolerant where the checklist (5.1-5.4, SDP-1..3) asks for it and a bad line makes only itself invalid
(SDP-13); writing is canonical. No error repeats any part of a line: a misplaced key could be there.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from ueagent.errors import MalformedMessage
from ueagent.model.keys import MasterKey, Mki, Secret
from ueagent.model.suites import CryptoSuite, suite_named
from ueagent.wire.key_mask import mask_keys as mask_keys  # part of this module's face
from ueagent.wire.sdp import MediaSection

MAX_CRYPTO_LINES: Final = 128  # of one medium; what follows is invalid
MAX_KEYS: Final = 16  # of one line
MAX_MKI_LENGTH: Final = 128  # octets; RFC 4568, 6.1
MIN_WINDOW: Final = 64  # RFC 4568, 6.3.6
MAX_KDR: Final = 24  # RFC 4568, 6.3.1

Indicator = Literal["requested", "applied"]


@dataclass(frozen=True, slots=True)
class AttributeRow:
    """`session_level`: an occurrence there holds for every medium without its own."""

    name: str
    session_level: bool


# Everything here belongs to one hop of key management and is never passed on between dialer and network.
ATTRIBUTES: Final = MappingProxyType(
    {
        row.name: row
        for row in (
            AttributeRow("crypto", session_level=False),  # RFC 4568, 4
            AttributeRow("3ge2ae", session_level=False),  # SDP-1, SDP-3
            AttributeRow("fingerprint", session_level=True),  # RFC 8122, 5
            AttributeRow("setup", session_level=True),  # RFC 4145, 4
            AttributeRow("connection", session_level=True),  # RFC 4145, 5
            AttributeRow("tls-id", session_level=True),  # RFC 8842, 4
            AttributeRow("key-mgmt", session_level=True),  # RFC 4567, 3.1
        )
    }
)


@dataclass(frozen=True, slots=True)
class SdesKey:
    """One `inline:`. `lifetime` counts packets. Whoever holds it owns the Secret."""

    key_salt: Secret
    lifetime: int | None = None
    mki: Mki | None = None

    def master_key(self, suite: CryptoSuite) -> MasterKey:
        """Copies of key and salt, cut as `suite` says, with an owner of their own."""
        octets = memoryview(self.key_salt.reveal())
        key, salt = Secret(octets[: suite.key_length]), Secret(octets[suite.key_length :])
        return MasterKey(key, salt, self.mki, self.lifetime)


@dataclass(frozen=True, slots=True)
class SessionParam:
    """`name` in capitals; `value` is a number (KDR, WSH), a word (FEC_ORDER), keys (FEC_KEY), or None (the flags)."""

    name: str
    value: int | str | tuple[SdesKey, ...] | None = None


@dataclass(frozen=True, slots=True)
class SdesCrypto:
    """One a=crypto line. `tag_text` is the tag as written (`01`), for an answer to repeat.

    A suite that this agent does not know has no keys and no parameters here: nothing of them was interpreted.
    """

    tag: int
    tag_text: str
    suite: str
    keys: tuple[SdesKey, ...]
    session_params: tuple[SessionParam, ...] = ()

    def wipe(self) -> None:
        for key in self.keys:
            key.key_salt.wipe()
        for param in self.session_params:
            if isinstance(param.value, tuple):
                for key in param.value:
                    key.key_salt.wipe()


@dataclass(frozen=True, slots=True)
class InvalidAttribute:
    """A line that is not used. `offset` is that of the line in the SDP; `detail` never holds any of its text."""

    name: str
    offset: int | None
    code: str
    detail: str


# --------------------------------------------------------------------------------------------------------- reading --


def read_crypto(section: MediaSection) -> tuple[list[SdesCrypto], list[InvalidAttribute]]:
    """The valid a=crypto lines of one medium in their order, and the invalid ones.

    A second line with the same tag is invalid, also when the first one was (RFC 4568, 5.1: tags are unique).
    """
    valid: list[SdesCrypto] = []
    invalid: list[InvalidAttribute] = []
    tags: set[int] = set()
    for count, attribute in enumerate(section.attributes_named("crypto")):
        try:
            if count >= MAX_CRYPTO_LINES:
                raise _bad("too_many_lines", f"more than {MAX_CRYPTO_LINES} crypto lines")
            tag = int(_tag_of(attribute.value or b""))
            if tag in tags:
                raise _bad("duplicate_tag", "an earlier line has this tag")
            tags.add(tag)
            valid.append(parse_crypto(attribute.value or b""))
        except MalformedMessage as error:
            invalid.append(InvalidAttribute("crypto", attribute.offset, error.code, error.detail))
    return valid, invalid


def parse_crypto(value: bytes) -> SdesCrypto:
    """The value of one a=crypto (what follows the colon). MalformedMessage when the line is invalid."""
    tag_text = _tag_of(value)
    if not _PRINTABLE.fullmatch(value):
        raise _bad("bad_syntax", "a character that is not visible ASCII")
    words = _join_key_params(value.decode("ascii").split())
    if len(words) < 3:
        raise _bad("bad_syntax", "not `tag suite key-params`")
    _, suite_name, key_params, *params = words
    if not _SUITE.fullmatch(suite_name):
        raise _bad("bad_suite_name", "a suite name is letters, digits and underscores")
    suite = suite_named(suite_name)
    if suite is None:
        if not _ANY_KEY_PARAMS.fullmatch(key_params):
            raise _bad("bad_syntax", "key-params are not `method:info`")
        return SdesCrypto(int(tag_text), tag_text, suite_name, ())
    keys = _parse_keys(key_params, suite)
    return SdesCrypto(int(tag_text), tag_text, suite_name, keys, _parse_params(params, suite))


def read_3ge2ae(section: MediaSection) -> Indicator | None:
    """The first valid indicator of this medium; other values count as absent (SDP-2, SDP-3)."""
    for attribute in section.attributes_named("3ge2ae"):
        word = (attribute.value or b"").strip(b" \t").lower()
        if word == b"requested":
            return "requested"
        if word == b"applied":
            return "applied"
    return None


def carries(section: MediaSection, name: str) -> bool:
    """Whether an attribute of ATTRIBUTES holds for this medium, by its presence, also at session level where legal."""
    levels = (section, section.session) if ATTRIBUTES[name].session_level else (section,)
    return any(level.attribute(name) is not None for level in levels)


# --------------------------------------------------------------------------------------------------------- writing --


def build_crypto(crypto: SdesCrypto, *, padding: bool = True) -> bytes:
    """`a=crypto:...` without a line ending, base64 padded unless told otherwise (SDES-3).

    ValueError without keys. The result is an immutable copy of the keys: drop it as soon as it is sent.
    """
    if not crypto.keys:
        raise ValueError("a crypto line has at least one key")
    words = [f"a=crypto:{crypto.tag_text}", crypto.suite, _key_params_text(crypto.keys, padding)]
    words += [_param_text(param, padding) for param in crypto.session_params]
    return " ".join(words).encode("ascii")


def build_3ge2ae(indicator: Indicator) -> bytes:
    """`a=3ge2ae:<indicator>` without a space or a line ending (SDP-1)."""
    return b"a=3ge2ae:" + indicator.encode("ascii")


# --------------------------------------------------------------------------------------------- the grammar's parts --

_TAG: Final = re.compile(rb"[ \t]*(\d{1,9})(?=[ \t])")
_PRINTABLE: Final = re.compile(rb"[\t -~]*")
_SUITE: Final = re.compile(r"[A-Za-z0-9_]+")
_ANY_KEY_PARAMS: Final = re.compile(r"[A-Za-z0-9_]+:[!-:<-~]+(?:;[A-Za-z0-9_]+:[!-:<-~]+)*")
_BASE64: Final = re.compile(r"([A-Za-z0-9+/]+)={0,2}")
_LIFETIME: Final = re.compile(r"(2\^)?(0|[1-9]\d{0,14})")  # 2^48 has fifteen digits
_MKI: Final = re.compile(r"([1-9]\d{0,308}):([1-9]\d{0,2})")  # 256^128 has 309 digits
_NUMBER: Final = re.compile(r"0|[1-9]\d{0,8}")


def _bad(code: str, detail: str) -> MalformedMessage:
    return MalformedMessage(code, detail, field="crypto")


def _tag_of(value: bytes) -> str:
    match = _TAG.match(value)
    if match is None:
        raise _bad("bad_tag", "a tag is one to nine digits")
    return match[1].decode("ascii")


def _join_key_params(words: list[str]) -> list[str]:
    """RFC 4568 prints several `inline:` on several lines, so some write a space after the semicolon."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].endswith(";") and word.lower().startswith("inline:"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _parse_keys(text: str, suite: CryptoSuite) -> tuple[SdesKey, ...]:
    parts = text.split(";")
    if len(parts) > MAX_KEYS:
        raise _bad("too_many_keys", f"more than {MAX_KEYS} keys in one line")
    keys = tuple(_parse_key(part, suite) for part in parts)
    if len(keys) > 1:  # SDES-10
        mkis = [key.mki for key in keys if key.mki is not None]
        if len(mkis) < len(keys):
            raise _bad("bad_mki", "several keys, and one has no MKI")
        if len({mki.length for mki in mkis}) > 1:
            raise _bad("bad_mki", "MKIs of several lengths")
        if len({mki.value for mki in mkis}) < len(mkis):
            raise _bad("bad_mki", "two keys with the same MKI")
    return keys


def _parse_key(text: str, suite: CryptoSuite) -> SdesKey:
    method, _, info = text.partition(":")
    if method.lower() != "inline":
        raise _bad("bad_key_method", "the key method is not inline")
    key_salt, *rest = info.split("|")
    if len(rest) > 2:
        raise _bad("bad_syntax", "more than lifetime and MKI after the key")
    # The colon tells the MKI from the lifetime, so either may be absent.
    mki = _parse_mki(rest.pop()) if rest and ":" in rest[-1] else None
    if len(rest) > 1:
        raise _bad("bad_mki", "an MKI without its length")
    lifetime = _parse_lifetime(rest[0], suite) if rest else None
    return SdesKey(_parse_key_salt(key_salt, suite), lifetime, mki)


def _parse_key_salt(text: str, suite: CryptoSuite) -> Secret:
    """SDES-2: with or without padding; bits left over in the last character are not looked at."""
    match = _BASE64.fullmatch(text)
    if match is None or len(match[1]) % 4 == 1:
        raise _bad("bad_key_encoding", "the key is not base64")
    digits = match[1]
    octets = len(digits) * 6 // 8
    if octets != suite.key_salt_length:
        raise _bad("bad_key_length", f"key and salt of {octets} octets, {suite.name} has {suite.key_salt_length}")
    return Secret(base64.b64decode(digits + "=" * (-len(digits) % 4)))


def _parse_lifetime(text: str, suite: CryptoSuite) -> int:
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise _bad("bad_lifetime", "not a decimal number or 2^n without leading zeros")
    number = int(match[2])
    # An exponent far beyond any limit must not become a huge number.
    lifetime = number if match[1] is None else 1 << min(number, 64)
    if not 0 < lifetime <= suite.max_lifetime:
        raise _bad("bad_lifetime", f"zero, or above the limit of {suite.name}")
    return lifetime


def _parse_mki(text: str) -> Mki:
    match = _MKI.fullmatch(text)
    if match is None or int(match[2]) > MAX_MKI_LENGTH:
        raise _bad("bad_mki", f"not `value:length` with a length of 1 to {MAX_MKI_LENGTH}")
    mki = Mki(int(match[1]), int(match[2]))
    if mki.value.bit_length() > 8 * mki.length:
        raise _bad("bad_mki", "the value does not fit the length")
    return mki


# ----------------------------------------------------------------------------------------------- session parameters --

ParamValue = int | str | tuple[SdesKey, ...] | None


def _parse_flag(text: str | None, suite: CryptoSuite) -> ParamValue:
    if text is not None:
        raise _bad("bad_parameter", "a parameter that takes no value has one")
    return None


def _number(text: str | None, low: int, high: int) -> int:
    if text is None or not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise _bad("bad_parameter", f"not a number of at least {low} without leading zeros, or too large")
    return int(text)


def _parse_kdr(text: str | None, suite: CryptoSuite) -> ParamValue:
    return _number(text, 0, MAX_KDR)


def _parse_wsh(text: str | None, suite: CryptoSuite) -> ParamValue:
    return _number(text, MIN_WINDOW, 999_999_999)


def _parse_fec_order(text: str | None, suite: CryptoSuite) -> ParamValue:
    if text is None or text.upper() not in ("FEC_SRTP", "SRTP_FEC"):
        raise _bad("bad_parameter", "an unknown order of FEC")
    return text.upper()


def _parse_fec_key(text: str | None, suite: CryptoSuite) -> ParamValue:
    return _parse_keys(text or "", suite)


# RFC 4568, 6.3. Names are matched without regard to case, as ABNF literals are.
_PARAMS: Final[Mapping[str, Callable[[str | None, CryptoSuite], ParamValue]]] = MappingProxyType(
    {
        "KDR": _parse_kdr,
        "UNENCRYPTED_SRTP": _parse_flag,
        "UNENCRYPTED_SRTCP": _parse_flag,
        "UNAUTHENTICATED_SRTP": _parse_flag,
        "FEC_ORDER": _parse_fec_order,
        "FEC_KEY": _parse_fec_key,
        "WSH": _parse_wsh,
    }
)


def _parse_params(words: list[str], suite: CryptoSuite) -> tuple[SessionParam, ...]:
    params: dict[str, SessionParam] = {}
    for word in words:
        if word.startswith("-"):  # RFC 4568, 6.3.7: may be ignored when unknown, and all of these are
            continue
        name, equals, text = word.partition("=")
        name = name.upper()
        if name not in _PARAMS:
            raise _bad("unknown_parameter", "a session parameter that must not be ignored")
        if name in params:
            raise _bad("repeated_parameter", f"{name} appears twice")
        params[name] = SessionParam(name, _PARAMS[name](text if equals else None, suite))
    return tuple(params.values())


# ------------------------------------------------------------------------------------------------------- text parts --


def _key_params_text(keys: tuple[SdesKey, ...], padding: bool) -> str:
    return ";".join(_key_text(key, padding) for key in keys)


def _key_text(key: SdesKey, padding: bool) -> str:
    text = "inline:" + base64.b64encode(key.key_salt.reveal()).decode("ascii")
    fields = [text if padding else text.rstrip("=")]
    if key.lifetime is not None:
        exponent = key.lifetime.bit_length() - 1
        fields.append(f"2^{exponent}" if key.lifetime == 1 << exponent else str(key.lifetime))
    if key.mki is not None:
        fields.append(f"{key.mki.value}:{key.mki.length}")
    return "|".join(fields)


def _param_text(param: SessionParam, padding: bool) -> str:
    if param.value is None:
        return param.name
    value = _key_params_text(param.value, padding) if isinstance(param.value, tuple) else str(param.value)
    return f"{param.name}={value}"
