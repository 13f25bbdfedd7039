"""The command table: what `ueagent` says about itself, and how little it loads to say it."""

import subprocess
import sys
from importlib import import_module

import pytest

from ueagent.cli import exits
from ueagent.cli.commands import COMMANDS, main

HEAVY = ("asyncio", "msgspec", "ueagent_native", "structlog", "ueagent.lab", "cryptography", "OpenSSL")


def loaded_by(*arguments: str) -> set[str]:
    script = (
        "import sys; from ueagent.cli.commands import main; status = main(sys.argv[1:]);"
        "print('\\n@', *sorted(sys.modules)); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("@")[2].split())


def test_help_names_every_command_and_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == exits.OK
    printed = capsys.readouterr().out
    assert all(command.name in printed and command.summary in printed for command in COMMANDS)
    assert all(meaning in printed for meaning in exits.MEANING.values())


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_by("--help") & {*HEAVY, "argparse"}


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help_of_a_command_loads_nothing_heavy_and_names_exit_statuses(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    allowed = {"ueagent.lab"} if command in ("demo", "lab") else set()  # names of its modes and faults
    assert not loaded_by(command, "--help") & (set(HEAVY) - allowed)
    assert main([command, "--help"]) == exits.OK
    assert "exit status:" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["fly"], ["call"], ["status", "--interval", "never"], ["call", "-x"]])
def test_wrong_arguments_exit_with_usage_on_stderr(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == exits.USAGE
    assert "usage: ueagent" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_standard_files_are_no_obstacle_and_no_descriptor_for_anything_else(closed: str) -> None:
    script = (
        "import os, sys; from ueagent.cli.commands import main; status = main(['engines']);"
        "sys.exit(status or any(not os.path.sameopenfile(fd, fd) for fd in range(3)))"
    )
    shell = f'"$0" -c "$1" {closed}'
    done = subprocess.run(["sh", "-c", shell, sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (exits.OK, "")


def test_every_command_has_its_module() -> None:
    for command in COMMANDS:
        module = import_module(command.module)
        assert callable(module.configure)
        assert callable(module.run)


def test_a_command_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demonstrate"]) == exits.USAGE
    assert capsys.readouterr().err.endswith("no command is called 'demonstrate'\n")


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == exits.OK
    assert capsys.readouterr().out.startswith("ueagent ")


def test_python_m_ueagent_is_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "ueagent", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: ueagent COMMAND")


def test_call_with_parameters_that_are_no_json_object_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "org.ueagent.Agent.Describe", "[1]"]) == exits.USAGE
    assert main(["call", "org.ueagent.Agent.Describe", "{"]) == exits.USAGE


@pytest.mark.parametrize("arguments", [["call", "org.ueagent.Agent.Describe"], ["status", "--once"]])
def test_no_agent_on_the_socket_has_its_own_exit_status(
    arguments: list[str], tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path_factory.mktemp("s") / "nowhere.sock"
    assert main([*arguments, "--socket", str(nowhere)]) == exits.NO_AGENT
    assert "no agent" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "library"), [(["demo"], "pylibsrtp"), (["call", "x.y.Z"], "msgspec")])
def test_library_that_is_not_installed_is_named_in_one_sentence(arguments: list[str], library: str) -> None:
    script = (
        "import importlib.abc, sys\n"
        "class Refuse(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {library!r}: raise ModuleNotFoundError(f'No module named {library}', name={library!r})\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from ueagent.cli.commands import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    wanted = f"ueagent {arguments[0]}: needs the Python module {library}, which is not installed\n"
    assert (done.returncode, done.stderr) == (exits.FAILED, wanted)
