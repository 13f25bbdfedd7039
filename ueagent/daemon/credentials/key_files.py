"""Keys in files: hexadecimal words, readable by their owner only. What is read is wiped before it is forgotten."""

from __future__ import annotations

import os
import stat
from typing import Final

from ueagent.errors import UsageError
from ueagent.model.keys import Secret

MAX_FILE: Final = 4096  # octets
_DIGITS: Final = b"0123456789abcdef"


def read_keys(path: str, key: str, lengths: tuple[range, ...]) -> list[Secret]:
    """One key for each of `lengths`, which say how many octets it may have. UsageError `bad_config` about `key`."""
    text = bytearray(MAX_FILE + 1)
    keys: list[Secret] = []
    try:
        length = _read(path, key, text)
        words = _words(text, length)
        fits = len(words) == len(lengths) and all(
            (end - start) % 2 == 0 and (end - start) // 2 in allowed
            for (start, end), allowed in zip(words, lengths, strict=False)
        )
        if length > MAX_FILE or not fits:
            raise ValueError
        for start, end in words:
            octets = bytearray(_octet(text, at) for at in range(start, end, 2))
            keys.append(Secret(octets))
            octets[:] = bytes(len(octets))
        return keys
    except ValueError:
        for secret in keys:
            secret.wipe()
        wanted = " and ".join(f"{allowed[0]} to {allowed[-1]}" for allowed in lengths)
        raise UsageError("bad_config", f"{path} does not hold {wanted} octets in hexadecimal", field=key) from None
    finally:
        text[:] = bytes(len(text))


def _read(path: str, key: str, into: bytearray) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer does not block
    except OSError as error:
        raise UsageError("bad_config", f"cannot read {path}: {error.strerror}", field=key) from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid not in (0, os.geteuid()):
            raise UsageError("bad_config", f"{path} must be a file that only its owner can read: mode 0600", field=key)
        return os.readv(handle, [into])
    except OSError as error:
        raise UsageError("bad_config", f"cannot read {path}: {error.strerror}", field=key) from None
    finally:
        os.close(handle)


def _words(text: bytearray, length: int) -> list[tuple[int, int]]:
    """Where words begin and end; no copy of one is made."""
    words: list[tuple[int, int]] = []
    start: int | None = None
    for at in range(min(length, MAX_FILE) + 1):
        space = at >= length or text[at] in b" \t\r\n"
        if not space and start is None:
            start = at
        elif space and start is not None:
            words.append((start, at))
            start = None
    return words


def _octet(text: bytearray, at: int) -> int:
    return 16 * _DIGITS.index(text[at] | 0x20) + _DIGITS.index(text[at + 1] | 0x20)
