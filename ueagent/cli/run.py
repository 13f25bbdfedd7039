"""`ueagent run`: the daemon. SIGINT and SIGTERM release all sessions and wipe all keys."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ueagent.cli import exits
from ueagent.errors import AgentError

if TYPE_CHECKING:
    import argparse
    import asyncio
    from pathlib import Path

    from ueagent.daemon.config import Config
    from ueagent.daemon.logs import Log


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="TOML; without it everything has its default")
    parser.add_argument("--socket", metavar="PATH", help="listen here instead of where the configuration says")
    parser.add_argument(
        "--print-config", action="store_true", help="check the configuration, print it whole with comments, and exit"
    )


def run(args: argparse.Namespace) -> int:
    from ueagent.cli.running import run_async
    from ueagent.client import default_socket
    from ueagent.daemon.config import build_toml
    from ueagent.daemon.logs import open_log

    try:
        config = _config(args)
    except AgentError as error:
        return _refuse(error, exits.CONFIG)
    path = args.socket or config.ipc.socket or default_socket()
    if args.print_config:
        sys.stdout.write(build_toml(config))
        return exits.OK
    try:
        log = open_log(config.log)
    except OSError as error:
        sys.stderr.write(f"ueagent run: cannot write to {config.log.file}: {error.strerror}\n")
        return exits.CONFIG
    try:
        return run_async(lambda stop: _serve(config, log, path, stop))
    except AgentError as error:
        log.error("cannot_run", reason=error)
        return _refuse(error, exits.CONFIG if error.code == "bad_config" else exits.FAILED)
    except Exception as error:
        # Not to the interpreter: it would print the message, which may hold anything.
        log.failure("internal_error", error)
        return exits.FAILED
    finally:
        log.lines.close()


def _refuse(error: AgentError, status: int) -> int:
    try:
        sys.stderr.write(f"ueagent run: {error.detail}\n")
    except (OSError, ValueError):
        pass
    return status


def _config(args: argparse.Namespace) -> Config:
    from ueagent.daemon.config import Config, read_config

    return read_config(args.config) if args.config else Config()


async def _serve(config: Config, log: Log, path: str | Path, stop: asyncio.Event) -> int:
    import asyncio

    from ueagent import version
    from ueagent.daemon.agent import Agent
    from ueagent.daemon.process import harden, notify

    protections = harden()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: _loop_failure(log, context))
    async with Agent(config, log, path) as agent:
        log.info("running", version=version(), socket=agent.path, process=protections, arena=agent.arena)
        if config.network.address.startswith("127."):
            log.warning("loopback_only", reason="network.address is not set: only calls on this machine have media")
        notify("READY=1")
        await stop.wait()
        notify("STOPPING=1")
        log.info("stopping")
    log.info("stopped", lost_lines=log.lines.lost)
    return exits.OK


def _loop_failure(log: Log, context: dict[str, object]) -> None:
    error = context.get("exception")
    if isinstance(error, BaseException):
        log.failure("internal_error", error)
    else:
        log.error("internal_error", reason=context.get("message"))
