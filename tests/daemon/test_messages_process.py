"""Protected MESSAGEs as an operator has them: `ueagent run`, `ueagent lab kms` and `ueagent call`, each a process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.agent import AgentProcess
from support.kms_lab import ALICE, BOB, BSF_NAME, KMS, KMS_NAME, private_file, users_file
from support.peers import Program
from support.ub import OPC, K

UEAGENT = [sys.executable, "-P", "-m", "ueagent"]
SECRET_FILES = f"{K.hex()}\n{OPC.hex()}\n"


def sections(folder: Path, user: str, kms_url: str, bsf_url: str) -> dict[str, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    return {
        "kms": {"identity": KMS, "url": kms_url, "name": KMS_NAME},
        "credentials": {
            "provider": "gba",
            "identities": [user],
            "impi": user[4:],
            "bsf": BSF_NAME,
            "bsf_url": bsf_url,
            "usim_file": private_file(folder / "usim", SECRET_FILES),
            "usim_state": str(folder / "sqn"),
        },
    }


def call(agent: AgentProcess, method: str, parameters: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Contents on stdin: command lines can be seen by all."""
    command = [*UEAGENT, "call", f"org.ueagent.Message.{method}", "-", "--socket", str(agent.socket)]
    return subprocess.run(
        command, input=json.dumps(parameters), capture_output=True, text=True, timeout=60, check=False
    )


def test_message_goes_from_one_agent_to_another_by_commands(tmp_path: Path) -> None:
    """MIME-1, KMS-7: bootstrapped with software USIMs, of which one has to go on after a restart; opened once."""
    command = [*UEAGENT, "lab", "kms", "--users", str(users_file(tmp_path))]
    with Program(command) as kms:
        found = re.search(rb"lab KMS on (\S+), BSF on (\S+),", kms.wait_for("lab KMS on"))
        assert found is not None
        urls = [url.decode() for url in found.groups()]
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        with (
            AgentProcess(tmp_path / "a", **sections(tmp_path / "a", ALICE, *urls)) as alice,
            AgentProcess(tmp_path / "b", **sections(tmp_path / "b", BOB, *urls)) as bob,
        ):
            sent = {"recipient": BOB, "content_type": "text/plain", "content": "by hand"}
            made = json.loads(call(alice, "Protect", sent).stdout)
            received = {"content_type": made["content_type"], "body": made["body"]}
            opened = json.loads(call(bob, "Open", received).stdout)
            assert (opened["content"], opened["sender"]) == ("by hand", ALICE)
            again = call(bob, "Open", received)
            assert again.returncode != 0
            assert "mikey_invalid_time" in again.stderr
        assert json.loads((tmp_path / "a" / "sqn").read_text())
        (tmp_path / "a" / "notify.sock").unlink()
        with AgentProcess(tmp_path / "a", **sections(tmp_path / "a", ALICE, *urls)) as alice:
            assert call(alice, "Protect", sent).returncode == 0
