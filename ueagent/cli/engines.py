"""`ueagent engines`: which crypto engines this machine has, whether they work, what would be chosen and why."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ueagent.cli import exits
from ueagent.errors import AgentError

if TYPE_CHECKING:
    import argparse

    from ueagent.daemon.engines import Choice, Inventory


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--config", metavar="FILE", help="choose as this configuration says")
    parser.add_argument(
        "--self-test", action="store_true", help="exit with status 1 when an engine of this machine fails its self-test"
    )


def run(args: argparse.Namespace) -> int:
    from ueagent.daemon.config import Config, read_config
    from ueagent.daemon.engines import engine_choices

    try:
        config = read_config(args.config) if args.config else Config()
        inventory, choices = engine_choices(config.engine)
    except AgentError as error:
        sys.stderr.write(f"ueagent engines: {error.detail}\n")
        return exits.CONFIG
    sys.stdout.write(_json(inventory, choices) if args.json else _tables(inventory, choices))
    failed = any(engine.present and engine.self_test != "passed" for engine in inventory.engines)
    return exits.FAILED if args.self_test and failed else exits.OK


def _json(inventory: Inventory, choices: tuple[Choice, ...]) -> str:
    import json
    from dataclasses import asdict

    found = {**asdict(inventory), "choices": [asdict(choice) for choice in choices]}
    return json.dumps(found, indent=2) + "\n"


def _tables(inventory: Inventory, choices: tuple[Choice, ...]) -> str:
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
    )
