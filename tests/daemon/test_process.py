"""Hardening of the process, and sd_notify."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ueagent.daemon.process import notify

SCRIPT = """
import resource
resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096))
from ueagent.daemon.process import harden, hardening
print(hardening(), harden(), resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_hardened_process_writes_no_core_and_cannot_be_dumped() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "() ('non_dumpable', 'no_core_file') (0, 0)\n"


def test_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.fspath(tmp_path / "n"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(tmp_path / "n"))
        assert notify("READY=1")
        assert manager.recv(64) == b"READY=1"


def test_abstract_address_of_a_service_manager_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"ueagent-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify("READY=1")
        assert manager.recv(64) == b"READY=1"


@pytest.mark.parametrize("path", ["", "relative", "/nowhere/at/all"])
def test_no_service_manager_is_no_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    assert not notify("READY=1")
