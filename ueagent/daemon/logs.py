"""Logs that cannot hold keys (POL-8). The only module that knows structlog.

Every value passes `redact`: types that carry keys and raw octets are replaced by a word, SDP is masked, everything
unknown is named by its type. A failure is told as its type and the lines of code it passed through, never with its
message (unless it is an AgentError, whose details hold none) and never with local variables. Writing never raises: a
full disk or a closed stderr costs lines, which are counted, not the daemon.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

from ueagent.daemon.config import LogConfig
from ueagent.errors import AgentError
from ueagent.wire.sdp_attributes import mask_keys

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_INLINE: Final = re.compile(r"inline", re.IGNORECASE)
_MAX_TEXT: Final = 4096  # characters of one value
_MAX_DEPTH: Final = 4

Emit = Callable[..., None]


class Log:
    """Named events with fields: `log.info("session_created", session=id)`."""

    __slots__ = ("_logger", "lines")

    def __init__(self, logger: Any, lines: Lines) -> None:
        self._logger = logger
        self.lines = lines

    def debug(self, event: str, **fields: object) -> None:
        self._logger.debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        self._logger.info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        self._logger.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        self._logger.error(event, **fields)

    def failure(self, event: str, error: BaseException, **fields: object) -> None:
        """An error that should not have been: its type and the code it passed through."""
        self._logger.error(event, error=error, trace=_frames(error), **fields)


class Lines:
    """Where lines go. Never raises; `lost` counts the lines that could not be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = 0

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self.lost += 1

    def flush(self) -> None:
        pass  # write has done it

    def isatty(self) -> bool:
        try:
            return self._stream.isatty()
        except ValueError:
            return False

    def close(self) -> None:
        if self._stream is sys.stderr:
            return
        try:
            self._stream.close()
        except (OSError, ValueError):
            self.lost += 1


def open_log(config: LogConfig, stream: TextIO | None = None) -> Log:
    """A log as configured, to `stream` where given, else to the configured file or stderr. OSError: no such file."""
    lines = Lines(stream or (_open_file(config.file) if config.file else sys.stderr))
    renderer: Any = structlog.processors.JSONRenderer(sort_keys=False, default=_nothing)
    if config.format == "console":
        renderer = structlog.dev.ConsoleRenderer(
            colors=lines.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    logger = structlog.wrap_logger(
        structlog.WriteLogger(lines),  # type: ignore[arg-type]  # it only writes and flushes
        processors=[
            structlog.processors.add_log_level,
            _redact_event,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[config.level]),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return Log(logger, lines)


def _open_file(path: str) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123  # Lines owns it


def _nothing(value: object) -> str:
    return f"<{type(value).__name__}>"


def _redact_event(_logger: object, _name: str, event: Any) -> dict[str, Any]:
    return {str(key): redact(value) for key, value in event.items()}


def redact(value: object, depth: int = _MAX_DEPTH) -> Any:
    """`value` as something that may be printed: plain data without octets, keys or control characters."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return redact(value.value, depth)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Path):
        return _text(str(value))
    if isinstance(value, AgentError):
        return _text(str(value))
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} octets>"
    if depth and isinstance(value, Mapping):
        return {_text(str(key)): redact(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth - 1) for item in value]
    return f"<{type(value).__name__}>"


def _text(text: str) -> str:
    if _INLINE.search(text):
        text = mask_keys(text.encode("utf-8", "backslashreplace")).decode("utf-8", "replace")
    text = text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _frames(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
