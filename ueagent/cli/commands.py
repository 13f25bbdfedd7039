"""`ueagent COMMAND`: a table of commands, each in a module of its own that is imported when it is used.

A command's module has `configure(parser)` and `run(args) -> int` (a status of `ueagent.cli.exits`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

from ueagent.cli import exits

if TYPE_CHECKING:
    import argparse


class Command(NamedTuple):
    name: str
    module: str
    summary: str


class CommandModule(Protocol):
    def configure(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> int: ...


# fmt: off
COMMANDS: Final = (
    Command("run", "ueagent.cli.run", "run the agent"),
    Command("demo", "ueagent.cli.demo", "make three protected calls on this machine and show what came of them"),
    Command("call", "ueagent.cli.call", "call one method of a running agent and print the reply"),
    Command("status", "ueagent.cli.status", "show the calls of a running agent, live"),
    Command("engines", "ueagent.cli.engines", "show which crypto engines this machine has and what would be chosen"),
    Command("lab", "ueagent.cli.lab", "play the network, for tests and newcomers"),
)
# fmt: on


def usage() -> str:
    width = max(len(command.name) for command in COMMANDS) + 2
    rows = "\n".join(f"  {command.name:<{width}}{command.summary}" for command in COMMANDS)
    return (
        "usage: ueagent COMMAND [ARGUMENTS]\n\n"
        "Media-security agent for IMS phones (3GPP TS 33.328).\n\n"
        f"commands:\n{rows}\n\n"
        "`ueagent COMMAND --help` explains a command, `ueagent --version` tells the version.\n\n"
        f"{exits.epilog()}\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] in (["--help"], ["-h"], ["help"]):
        sys.stdout.write(usage())
        return exits.OK
    if arguments[:1] == ["--version"]:
        from ueagent import version  # reads package metadata: not needed by any other command

        sys.stdout.write(f"ueagent {version()}\n")
        return exits.OK
    command = next((row for row in COMMANDS if arguments[:1] == [row.name]), None)
    if command is None:
        sys.stderr.write(usage())
        return exits.USAGE
    return _run(command, arguments[1:])


def _run(command: Command, arguments: list[str]) -> int:
    import argparse

    module = cast(CommandModule, import_module(command.module))
    parser = argparse.ArgumentParser(
        prog=f"ueagent {command.name}",
        description=command.summary.capitalize() + ".",
        epilog=exits.epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.configure(parser)
    try:
        args = parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return module.run(args)
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone. stdout must not be flushed again at exit.
        sys.stdout = None
        return exits.OK
