"""What commands that talk to a running agent share: the `--socket` option and one way to report failures."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ueagent.cli import exits
from ueagent.errors import AgentError

if TYPE_CHECKING:
    import argparse


def add_socket_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", metavar="PATH", help="the agent's socket (default: where `ueagent run` puts it)")


def talk(work: Callable[[], Awaitable[int]]) -> int:
    """Run `work()` until it ends or the user stops it; failures become a line on stderr and a status."""
    from ueagent.cli.running import run_async, until_stopped
    from ueagent.client import AgentUnreachable

    try:
        return run_async(lambda stop: until_stopped(stop, work()))
    except AgentUnreachable as error:
        sys.stderr.write(f"ueagent: {error}\n")
        return exits.NO_AGENT
    except AgentError as error:
        sys.stderr.write(f"ueagent: {error}\n")
        return exits.FAILED
