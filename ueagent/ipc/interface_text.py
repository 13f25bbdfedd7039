"""The published interface text (`.varlink`), generated from msgspec structs.

A member that a caller may leave out (it has a default) is optional, `?`; in replies only `X | None` is. A Literal of
which every word is a Varlink identifier becomes an enum, any other a string whose words stand in a comment.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Protocol, Union, get_args, get_origin, get_type_hints

import msgspec

_IDENTIFIER: Final = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")
_WIDTH: Final = 110
_SIMPLE: Final = {str: "string", int: "int", float: "float", bool: "bool", dict: "object"}


class MethodRow(Protocol):
    """What the generator reads of a row of a METHODS table."""

    @property
    def request(self) -> type[msgspec.Struct]: ...
    @property
    def reply(self) -> type[msgspec.Struct]: ...
    @property
    def streams(self) -> bool: ...


def interface_text(
    interface: str,
    methods: Mapping[str, MethodRow],
    errors: Iterable[str],
    error_parameters: type[msgspec.Struct],
    *,
    doc: str = "",
    literals: Mapping[Any, str] | None = None,
) -> str:
    """The text of `interface`: its methods (full names), the types they use, and `errors`, all with one shape.

    `literals` names Literal types; one without a name is called after its member.
    """
    writer = _Writer(dict(literals or {}))
    parts = []
    for name, row in methods.items():
        if name.rpartition(".")[0] != interface:
            continue
        request, reply = writer.members(row.request, True), writer.members(row.reply, False)
        notes = [*_doc(row.request), *_doc(row.reply), *(["Call with `more`."] if row.streams else [])]
        parts.append(f"{_comment(notes)}method {name.rpartition('.')[2]}{request} -> {reply}")
    shape = writer.members(error_parameters, False)
    parts += [f"error {name} {shape}" for name in errors]
    head = f"{_comment([*doc.splitlines(), *writer.words.values()])}interface {interface}"
    return "\n\n".join([head, *writer.types.values(), *parts]) + "\n"


def literal_names(module: types.ModuleType) -> dict[Any, str]:
    """The Literal types that `module` gives a name to."""
    return {value: name for name, value in vars(module).items() if get_origin(value) is Literal}


class _Writer:
    def __init__(self, literals: dict[Any, str]) -> None:
        self.types: dict[str, str] = {}  # name -> declaration, in order of first use
        self.words: dict[Any, str] = {}  # Literals that no enum can hold -> a sentence
        self._literals = literals

    def members(self, struct: type[msgspec.Struct], from_caller: bool) -> str:
        hints = get_type_hints(struct)
        found = []
        for field in msgspec.structs.fields(struct):
            kind, optional = _strip_none(hints[field.name])
            text = self._type(kind, field.name, from_caller)
            optional = optional or (from_caller and not field.required)
            found.append(f"{field.name}: {'?' if optional else ''}{text}")
        if len(", ".join(found)) < _WIDTH:
            return f"({', '.join(found)})"
        return "(\n  " + ",\n  ".join(found) + "\n)"

    def _type(self, kind: Any, member: str, from_caller: bool) -> str:
        if kind in _SIMPLE:
            return _SIMPLE[kind]
        origin = get_origin(kind)
        if origin is list:
            return "[]" + self._type(get_args(kind)[0], member, from_caller)
        if origin is dict:
            return "[string]" + self._type(get_args(kind)[1], member, from_caller)
        if origin is Literal:
            return self._enum(kind, member)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if kind.__name__ not in self.types:
                self.types[kind.__name__] = ""  # holds the place; types may refer to each other
                self.types[kind.__name__] = (
                    f"{_comment(_doc(kind))}type {kind.__name__} {self.members(kind, from_caller)}"
                )
            return kind.__name__
        raise TypeError(f"no Varlink type for {kind!r}")

    def _enum(self, kind: Any, member: str) -> str:
        words = get_args(kind)
        if not all(_IDENTIFIER.fullmatch(word) for word in words):
            self.words.setdefault(kind, f"`{member}` and its like are one of: {', '.join(words)}.")
            return "string"
        name = self._literals.get(kind) or "".join(part.capitalize() for part in member.split("_"))
        declaration = f"type {name} ({', '.join(words)})"
        if self.types.setdefault(name, declaration) != declaration:
            raise TypeError(f"two types are called {name}")
        return name


def _strip_none(kind: Any) -> tuple[Any, bool]:
    if get_origin(kind) not in (Union, types.UnionType):
        return kind, False
    rest = [option for option in get_args(kind) if option is not types.NoneType]
    if len(rest) != 1:
        raise TypeError(f"no Varlink type for {kind!r}")
    return rest[0], True


def _doc(struct: type[msgspec.Struct]) -> list[str]:
    return [line.strip() for line in (struct.__dict__.get("__doc__") or "").strip().splitlines()]


def _comment(lines: Iterable[str]) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)
