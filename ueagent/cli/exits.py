"""Exit statuses, the same for every command."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NO_AGENT: Final = 3
CONFIG: Final = 4
INTERRUPTED: Final = 130

MEANING: Final = {
    OK: "it worked",
    FAILED: "it did not; the last line on stderr says why",
    USAGE: "wrong arguments",
    NO_AGENT: "no agent answers on the socket",
    CONFIG: "the configuration file is not valid",
    INTERRUPTED: "stopped by a second SIGINT or SIGTERM",
}


def epilog() -> str:
    return "exit status:\n" + "\n".join(f"  {status:<4} {text}" for status, text in MEANING.items())
