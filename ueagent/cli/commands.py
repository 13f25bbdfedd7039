"""`ueagent COMMAND`: a table of commands, each in a module of its own that is imported when it is used.

A command's module has `configure(parser)` and `run(args) -> int` (a status of `ueagent.cli.exits`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
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
    Command("demo", "ueagent.cli.demo", "make protected calls and send a message, all on this machine"),
    Command("call", "ueagent.cli.call", "call one method of a running agent and print the reply"),
    Command("status", "ueagent.cli.status", "show the calls of a running agent, live"),
    Command("engines", "ueagent.cli.engines", "show which crypto engines this machine has and what would be chosen"),
    Command("bench", "ueagent.cli.bench", "measure the core on this machine, beside the libraries that are at hand"),
    Command("inspect", "ueagent.cli.inspect", "print a MIKEY message, or an accelerator's line, as readable text"),
    Command("accel", "ueagent.cli.accel", "probe, pair, measure or emulate a serial accelerator"),
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
    _open_missing_streams()
    return _end_output(_dispatch(list(sys.argv[1:] if argv is None else argv)))


def _dispatch(arguments: list[str]) -> int:
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
        if arguments:
            sys.stderr.write(f"\nueagent: error: no command is called {arguments[0]!r}\n")
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
        return exits.OK  # whoever read our output has gone
    except ModuleNotFoundError as missing:
        if (missing.name or "ueagent").startswith("ueagent"):
            raise  # ours: a bug
        sys.stderr.write(f"ueagent {command.name}: needs the Python module {missing.name}, which is not installed\n")
        return exits.FAILED


def _open_missing_streams() -> None:
    """What the caller has closed goes nowhere. Otherwise a socket would get that number, and with it whatever a library
    writes to it; and each writer here would meet None."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # in order: the lowest free descriptor is the missing one
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123


def _end_output(status: int) -> int:
    """Write out what is still buffered. Output that nobody reads any more goes nowhere without a word; output that
    cannot be written makes a failure of success. Left to the interpreter, both end in a message and status 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != stream.fileno():  # equal where the descriptor had been closed
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
            if stream is sys.stdout and status == exits.OK and not isinstance(error, BrokenPipeError):
                status = exits.FAILED
                with suppress(OSError):
                    sys.stderr.write(f"ueagent: cannot write the output: {error.strerror}\n")
    return status
