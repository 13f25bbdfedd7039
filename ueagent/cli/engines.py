"""`ueagent engines`: which crypto engines there are, whether they work, what would be chosen and why.

The engines of the processor are looked at here. A serial accelerator is told by the agent that has it; without an
agent, the device on the configured port is asked.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ueagent.cli import exits
from ueagent.cli.connection import add_socket_option
from ueagent.errors import AgentError

if TYPE_CHECKING:
    import argparse

    from ueagent.daemon.config import Config
    from ueagent.daemon.engines import Choice, Inventory
    from ueagent.ipc import api


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--config", metavar="FILE", help="choose as this configuration says")
    parser.add_argument(
        "--self-test", action="store_true", help="exit with status 1 when an engine of this machine fails its self-test"
    )
    add_socket_option(parser)


def run(args: argparse.Namespace) -> int:
    from ueagent.daemon.config import Config, read_config
    from ueagent.daemon.engines import engine_choices

    try:
        config = read_config(args.config) if args.config else Config()
        inventory, choices = engine_choices(config.engine)
        accelerator = _accelerator(args.socket or config.ipc.socket, config)
    except AgentError as error:
        sys.stderr.write(f"ueagent engines: {error.detail}\n")
        return exits.CONFIG
    sys.stdout.write((_json if args.json else _tables)(inventory, choices, accelerator))
    failed = any(engine.present and engine.self_test != "passed" for engine in inventory.engines)
    failed = failed or bool(accelerator and accelerator.device and accelerator.device.failed_tests)
    return exits.FAILED if args.self_test and failed else exits.OK


def _accelerator(socket: str | None, config: Config) -> api.AcceleratorState | None:
    """From the agent on `socket`, where one is; else from the configured port."""
    import asyncio

    from ueagent.client import AgentClient, AgentUnreachable

    async def told() -> api.AcceleratorState | None:
        async with AgentClient.connect(socket) as agent:
            return (await agent.describe()).accelerator

    try:
        return asyncio.run(told())
    except AgentUnreachable:
        pass
    if config.accelerator.port is None:
        return None
    from ueagent.daemon.accelerator_state import ask_device

    return ask_device(config.accelerator)


def _json(inventory: Inventory, choices: tuple[Choice, ...], accelerator: api.AcceleratorState | None) -> str:
    import json
    from dataclasses import asdict

    from msgspec import to_builtins

    found = {
        **asdict(inventory),
        "choices": [asdict(choice) for choice in choices],
        "accelerator": to_builtins(accelerator),
    }
    return json.dumps(found, indent=2) + "\n"


def _tables(inventory: Inventory, choices: tuple[Choice, ...], accelerator: api.AcceleratorState | None) -> str:
    from ueagent.cli.table import render

    engines = [
        (engine.name, "yes" if engine.present else "no", engine.self_test, str(engine.batch), str(len(engine.suites)))
        for engine in inventory.engines
    ]
    chosen = [(choice.suite, choice.engine or "-", choice.reason) for choice in choices]
    return (
        f"machine: {inventory.machine}; CPU features: {' '.join(inventory.cpu_features) or 'none told'}\n\n"
        f"{render(('engine', 'present', 'self-test', 'batch', 'suites'), engines)}\n\n"
        f"{render(('suite', 'engine', 'why'), chosen)}\n"
        f"{'' if accelerator is None else _about(accelerator)}"
    )


def _about(accelerator: api.AcceleratorState) -> str:
    from msgspec import structs

    from ueagent.cli.table import printable, render

    rows: list[tuple[str, Any]] = [(name, getattr(accelerator, name)) for name in ("port", "custody", "state")]
    for part in (accelerator.device, accelerator.counters):
        rows += [] if part is None else structs.asdict(part).items()
    rows += [("warning", warning) for warning in accelerator.warnings]
    rows += [] if accelerator.reason is None else [("reason", accelerator.reason)]
    cells = [
        (name.replace("_", " "), printable(", ".join(value) if isinstance(value, list) else str(value)))
        for name, value in rows
    ]
    return f"\n{render(('serial accelerator', ''), cells)}\n"
