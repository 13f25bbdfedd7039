"""Varlink: JSON objects, each ended by one NUL octet, on a stream socket (https://varlink.org).

    call   {"method": "org.example.Iface.Name", "parameters": {..}, "more": bool, "oneway": bool}  NUL
    reply  {"parameters": {..}, "continues": bool, "error": "org.example.Iface.ErrorName"}         NUL

Pure: octets in, values out. Whatever does not parse is one MalformedMessage (framing, JSON) or one ServiceError (a
call that is well formed but not one of ours); neither ever repeats what was sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from ueagent.errors import MalformedMessage

MAX_MESSAGE: Final = 256 * 1024  # octets of one call, the NUL not counted
MAX_REPLY: Final = 16 * 1024 * 1024  # what a client takes from its agent
MAX_DEPTH: Final = 32  # nested JSON containers

_ECHOED_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_PATH: Final = re.compile(r"at `\$\.([A-Za-z0-9_.]+)")
_FIELD: Final = re.compile(r"field `([^`]*)`")

T = TypeVar("T")


class ServiceError(Exception):
    """One of the errors of org.varlink.service. `name` is complete, `parameters` are as the interface says."""

    def __init__(self, name: str, **parameters: str) -> None:
        super().__init__(f"org.varlink.service.{name}")
        self.name = f"org.varlink.service.{name}"
        self.parameters = parameters


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """One call. `parameters` may hold keys inside SDP: no repr."""

    method: str
    parameters: dict[str, Any]
    more: bool = False
    oneway: bool = False

    @property
    def interface(self) -> str:
        return self.method.rpartition(".")[0]


@dataclass(frozen=True, slots=True, repr=False)
class ReplyMessage:
    """One reply. `error` is None on success; `continues` says that more replies to the same call follow."""

    parameters: dict[str, Any]
    continues: bool = False
    error: str | None = None


class Framer:
    """Cuts a stream into messages. Holds at most `max_message` octets of an unfinished one."""

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self._max = max_message
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes, without their NUL. MalformedMessage: one is too long; stop reading."""
        *whole, rest = data.split(b"\0")
        messages = []
        for piece in whole:
            self._append(piece)
            messages.append(bytes(self._partial))
            self.clear()
        self._append(rest)
        return messages

    def clear(self) -> None:
        """Forget the unfinished message; its octets may hold SDP with keys and are overwritten."""
        self._partial[:] = bytes(len(self._partial))
        self._partial.clear()

    def _append(self, piece: bytes) -> None:
        if len(self._partial) + len(piece) > self._max:
            self.clear()
            raise MalformedMessage("message_too_long", f"a message has at most {self._max} octets", offset=self._max)
        self._partial += piece


# --------------------------------------------------------------------------------------------------------- reading --


def parse_call(message: bytes) -> Call:
    """A call. MalformedMessage: no JSON object or a member of the wrong type; ServiceError: `upgrade` was asked for."""
    members = _object(message)
    method = _member(members, "method", str, "")
    if "." not in method:
        raise MalformedMessage("no_method", "a call names its method as INTERFACE.METHOD", field="method")
    if _member(members, "upgrade", bool, False):
        raise ServiceError("InvalidParameter", parameter="upgrade")
    call = Call(
        method=method,
        parameters=_member(members, "parameters", dict, {}),
        more=_member(members, "more", bool, False),
        oneway=_member(members, "oneway", bool, False),
    )
    if call.more and call.oneway:
        raise ServiceError("InvalidParameter", parameter="oneway")
    return call


def parse_reply(message: bytes) -> ReplyMessage:
    """A reply, or MalformedMessage."""
    members = _object(message)
    return ReplyMessage(
        parameters=_member(members, "parameters", dict, {}),
        continues=_member(members, "continues", bool, False),
        error=_member(members, "error", str, "") or None,
    )


def parse_parameters(parameters: dict[str, Any], kind: type[T]) -> T:
    """`parameters` as the struct `kind`. ServiceError InvalidParameter names the first member that does not fit."""
    try:
        return msgspec.convert(parameters, kind)
    except msgspec.ValidationError as error:
        raise ServiceError("InvalidParameter", parameter=_culprit(str(error))) from None


def _culprit(message: str) -> str:
    """The member a validation error is about. Names that could be anything (an unknown member's) are cut short."""
    names = [match[1] for pattern in (_PATH, _FIELD) if (match := pattern.search(message))]
    kept = [found[0] for name in names for part in name.split(".") if (found := _ECHOED_NAME.fullmatch(part))]
    return ".".join(kept) or "parameters"


def _object(message: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(message)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise MalformedMessage("not_json", "a message is one JSON object in UTF-8") from None
    if not isinstance(value, dict):
        raise MalformedMessage("not_an_object", "a message is one JSON object in UTF-8")
    members = _without_nulls(value, MAX_DEPTH)
    assert isinstance(members, dict)
    return members


def _without_nulls(value: Any, depth: int) -> Any:
    """An optional member that is null is absent."""
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        raise MalformedMessage("nested_too_deeply", f"at most {MAX_DEPTH} JSON containers inside each other")
    if isinstance(value, list):
        return [_without_nulls(item, depth - 1) for item in value]
    return {key: _without_nulls(item, depth - 1) for key, item in value.items() if item is not None}


def _member(members: dict[str, Any], name: str, kind: type[T], default: T) -> T:
    value = members.get(name, default)
    if not isinstance(value, kind):
        raise MalformedMessage("wrong_type", f"a member of the message has the wrong type: {name}", field=name)
    return value


# --------------------------------------------------------------------------------------------------------- writing --


def build_call(method: str, parameters: object, *, more: bool = False, oneway: bool = False) -> bytes:
    """One call with its NUL. `parameters` is a dict or a msgspec struct."""
    flags = {name: True for name, on in (("more", more), ("oneway", oneway)) if on}
    return _message({"method": method, "parameters": parameters, **flags})


def build_reply(parameters: object, *, continues: bool = False) -> bytes:
    """One reply with its NUL. `continues`: further replies to the same call follow."""
    return _message({"parameters": parameters, **({"continues": True} if continues else {})})


def build_error(name: str, parameters: object) -> bytes:
    """One error reply with its NUL. `name` is INTERFACE.NAME."""
    return _message({"error": name, "parameters": parameters})


def _message(value: dict[str, object]) -> bytes:
    return msgspec.json.encode(value) + b"\0"
