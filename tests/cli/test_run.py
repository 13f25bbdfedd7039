"""`ueagent run` as a process: start, stop, configuration errors, what it imports, what it leaves behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.local_agent import plain_sdp, socket_folder

from ueagent.cli import exits
from ueagent.client import AgentClient
from ueagent.daemon.config import Config, parse_config

PATIENCE = 30.0
LIBRARIES = ("pylibsrtp", "serial", "OpenSSL", "cryptography")
# A finder that refuses what the agent must do without, put before `ueagent run`.
BLOCKER = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ImportError(f"refused: {name}")
        if name == "ueagent.lab" or name.startswith("ueagent.lab."):
            raise ImportError(f"refused: {name}")
sys.meta_path.insert(0, Refuse())
from ueagent.cli.commands import main
sys.exit(main(sys.argv[2:]))
"""
PLAIN = [sys.executable, "-m", "ueagent", "run"]


class Daemon:
    def __init__(self, process: subprocess.Popen[str], path: Path) -> None:
        self.process, self.path = process, path

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Status and log."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, log


@contextmanager
def daemon(*arguments: str, command: list[str] | None = None) -> Iterator[Daemon]:
    """The daemon as a process that has said READY=1 to its service manager."""
    with socket_folder() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.fspath(folder / "notify"))
        manager.settimeout(PATIENCE)
        path = folder / "agent.sock"
        process = subprocess.Popen(
            [*(command or PLAIN), "--socket", os.fspath(path), *arguments],
            env={**os.environ, "NOTIFY_SOCKET": os.fspath(folder / "notify")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert manager.recv(64) == b"READY=1"
            yield Daemon(process, path)
        finally:
            process.kill()
            process.communicate(timeout=PATIENCE)


def config_file(folder: Path, text: str) -> str:
    (folder / "agent.toml").write_text(text)
    return os.fspath(folder / "agent.toml")


async def one_offer(path: Path, **members: object) -> str:
    async with AgentClient.connect(path) as client:
        parameters = {"signalling": "confidentiality", "sdp": plain_sdp(5000), "detached": True, **members}
        return str((await client.call("org.ueagent.Session.CreateOffer", parameters))["session"])


def run_main(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PLAIN, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_cleanly_with_sessions_released_and_the_socket_removed(number: int, tmp_path: Path) -> None:
    file = config_file(tmp_path, '[log]\nformat = "json"\n')
    with daemon("--config", file) as running:
        session = asyncio.run(one_offer(running.path))
        status, log = running.stop(number)
        assert status == exits.OK
        assert not running.path.exists()
        events = [json.loads(line) for line in log.splitlines()]
        gone = next(event for event in events if event["event"] == "session_gone")
        assert (gone["session"], gone["reason"]) == (session, "agent_stopped")
        assert events[-1]["event"] == "stopped"


def test_it_works_where_libraries_for_other_mechanisms_cannot_be_imported_and_never_imports_the_lab() -> None:
    """`ueagent run` with SDES only starts without pylibsrtp, pyserial, pyOpenSSL and cryptography."""
    with daemon(command=[sys.executable, "-c", BLOCKER, ",".join(LIBRARIES), "run"]) as running:

        async def whole() -> None:
            async with AgentClient.connect(running.path) as client:
                await client.registration_update(binding="b", status=200, security_server=["sdes-srtp;mediasec"])
                made = await client.create_offer(sdp=plain_sdp(5000), signalling="confidentiality", binding="b")
                assert "a=crypto" in (made.sdp or "")
                assert (await client.session_status(session=made.session)).counters

        asyncio.run(whole())
        assert running.stop()[0] == exits.OK


def test_import_blocker_of_these_tests_bites() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER.replace("ueagent.cli.commands import main", "msgspec import Struct"), "msgspec"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "refused: msgspec" in done.stderr


def test_it_says_which_protections_hold() -> None:
    with daemon() as running:
        status = Path(f"/proc/{running.process.pid}/limits").read_text()
        core = next(line for line in status.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4] == "0"
        described = asyncio.run(describe(running.path))
        assert {"non_dumpable", "no_core_file", "dontdump", "wipeonfork"} <= set(described)


async def describe(path: Path) -> list[str]:
    async with AgentClient.connect(path) as client:
        return (await client.describe()).arena


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[policy]\nsdes_e2e = "perhaps"', "policy.sdes_e2e"),
        ("[ipcc]", "did you mean ipc?"),
        ("[[", "not TOML"),
        ('[engine]\norder = ["abacus"]', "no engine is called abacus"),
        ('[network]\naddress = "192.0.2.77"', "network.address"),
        ('[log]\nfile = "/nowhere/at/all.log"', "/nowhere/at/all.log"),
    ],
)
def test_configuration_error_has_its_own_status_and_one_clear_line(text: str, message: str, tmp_path: Path) -> None:
    with socket_folder() as folder:
        done = run_main("--config", config_file(tmp_path, text), "--socket", os.fspath(folder / "s"))
    assert done.returncode == exits.CONFIG
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_configuration_file_is_a_configuration_error() -> None:
    assert run_main("--config", "/nowhere.toml").returncode == exits.CONFIG


def test_second_agent_on_the_same_socket_is_refused_and_the_first_one_lives_on() -> None:
    with daemon() as running:
        done = run_main("--socket", os.fspath(running.path))
        assert done.returncode == exits.FAILED
        assert "an agent is running" in done.stderr
        assert asyncio.run(describe(running.path))


def test_agent_that_was_killed_leaves_nothing_that_stops_the_next_one() -> None:
    with daemon() as running:
        running.process.kill()
        running.process.communicate(timeout=PATIENCE)
        assert running.path.exists()
        again = [*PLAIN, "--socket", os.fspath(running.path)]
        process = subprocess.Popen(again, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr
            assert "running" in process.stderr.readline()
            assert asyncio.run(describe(running.path))
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


def test_printed_configuration_is_toml_of_the_effective_values(tmp_path: Path) -> None:
    file = config_file(tmp_path, '[policy]\nsdes_e2e = "off"\n')
    done = run_main("--config", file, "--print-config")
    assert done.returncode == exits.OK
    found = parse_config(tomllib.loads(done.stdout))
    assert found.policy.sdes_e2e.value == "off"
    assert found.network == Config().network


def test_closed_stderr_does_not_stop_it() -> None:
    script = "import os, sys; os.close(2); from ueagent.cli.commands import main; sys.exit(main(sys.argv[1:]))"
    with daemon(command=[sys.executable, "-c", script, "run"]) as running:
        assert asyncio.run(one_offer(running.path))
        assert running.stop()[0] == exits.OK


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
def test_full_disk_under_the_log_does_not_stop_it(tmp_path: Path) -> None:
    with daemon("--config", config_file(tmp_path, '[log]\nfile = "/dev/full"\n')) as running:
        assert asyncio.run(one_offer(running.path))
        assert running.stop()[0] == exits.OK


def test_stderr_that_nobody_reads_any_more_does_not_stop_it() -> None:
    with daemon() as running:
        assert running.process.stderr
        running.process.stderr.close()
        running.process.stderr = None
        assert asyncio.run(one_offer(running.path))
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE) == exits.OK


def test_second_signal_ends_it_at_once() -> None:
    script = (
        "import os, signal, sys, time\n"
        "from ueagent.cli.running import run_async\n"
        "async def stuck(stop):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    await stop.wait()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    import asyncio\n"
        "    await asyncio.sleep(60)\n"
        "    return 0\n"
        "sys.exit(run_async(stuck))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=PATIENCE, check=False)
    assert done.returncode == exits.INTERRUPTED
