"""The installed agent as a process of its own, for tests that talk to it as a softphone does."""

from __future__ import annotations

import json
import select
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from support.peers import PATIENCE, PeerError, Program

from ueagent.client import AgentClient


def toml(sections: dict[str, dict[str, Any]]) -> str:
    """Plain values only: JSON writes texts, numbers, booleans and lists of them as TOML does."""
    lines = []
    for name, keys in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


class AgentProcess:
    """`ueagent run` with a configuration and a socket under `folder`; ready when entered (sd_notify's READY=1)."""

    def __init__(self, folder: Path, **sections: dict[str, Any]) -> None:
        self.socket = folder / "agent.sock"
        config = folder / "agent.toml"
        config.write_text(toml({"ipc": {"socket": str(self.socket)}, **sections}))
        self._config, self._notify = config, folder / "notify.sock"

    def __enter__(self) -> AgentProcess:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self._notify))
            self.program = Program(
                [sys.executable, "-m", "ueagent", "run", "--config", str(self._config)],
                env={"NOTIFY_SOCKET": str(self._notify), "PYTHONSAFEPATH": "1"},  # the installed tree, not the folder
            )
            try:
                self._await_ready(manager)
            except BaseException:
                self.program.stop()
                raise
        return self

    def _await_ready(self, manager: socket.socket) -> None:
        manager.settimeout(PATIENCE)
        while True:
            ready, _, _ = select.select([manager, self.program.stdout], [], [], PATIENCE)
            if manager in ready:
                if b"READY=1" in manager.recv(4096):
                    return
            elif not ready or (not self.program.read(0) and not self.program.alive()):
                raise PeerError(f"the agent does not start:\n{self.program.tail()}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.program.stop()

    def client(self) -> AgentClient:
        return AgentClient.connect(self.socket)
