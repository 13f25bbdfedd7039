"""What a process that holds keys does to itself, and the one line it owes its service manager."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
from typing import Final

_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4


def harden() -> tuple[str, ...]:
    """No core file, no ptrace by other processes of this user, no dump through /proc. What holds now, by name."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        pass  # reported below: the word is missing
    return hardening()


def hardening() -> tuple[str, ...]:
    """Which protections this process has: non_dumpable, no_core_file."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    if libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) == 0:
        found.append("non_dumpable")
    if resource.getrlimit(resource.RLIMIT_CORE)[0] == 0:
        found.append("no_core_file")
    return tuple(found)


def notify(state: str) -> bool:
    """sd_notify(3): tell the service manager `state`, where there is one. True when it was told."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        try:
            manager.sendto(state.encode(), address)
        except OSError:
            return False
    return True
