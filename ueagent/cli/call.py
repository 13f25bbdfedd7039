"""`ueagent call METHOD '{json}'`: one Varlink call to a running agent, or to a lab edge."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ueagent.cli import exits
from ueagent.cli.connection import add_socket_option, talk

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", metavar="METHOD", help="for example org.ueagent.Agent.Describe")
    parser.add_argument(
        "parameters",
        metavar="JSON",
        nargs="?",
        default="{}",
        help="a JSON object, or - to read it from stdin (other users see what stands in a command line)",
    )
    parser.add_argument("--more", action="store_true", help="ask for many replies and print one JSON object a line")
    add_socket_option(parser)


def run(args: argparse.Namespace) -> int:
    parameters = _parameters(args.parameters)
    if parameters is None:
        sys.stderr.write("ueagent call: the parameters are not a JSON object\n")
        return exits.USAGE
    return talk(lambda: _call(args.socket, args.method, parameters, args.more))


def _parameters(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


async def _call(socket: str | None, method: str, parameters: dict[str, Any], more: bool) -> int:
    from ueagent.client import AgentClient
    from ueagent.errors import UsageError

    async with AgentClient.connect(socket) as agent:
        if more:
            async for reply in agent.call_more(method, parameters):
                sys.stdout.write(json.dumps(reply) + "\n")
                sys.stdout.flush()
            return exits.OK
        try:
            sys.stdout.write(json.dumps(await agent.call(method, parameters), indent=2) + "\n")
        except UsageError as error:
            if error.code != "expected_more":
                raise
            sys.stderr.write(f"ueagent call: {method} replies many times: say --more\n")
            return exits.USAGE
    return exits.OK
