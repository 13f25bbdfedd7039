"""`ueagent accel`: a serial accelerator on its port, without an agent; and an emulated one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ueagent.cli import exits

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ueagent_firmware.link import Description, Link, Port


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in (
        ("probe", "ask the device who it is"),
        ("pair", "make the device a key, and tell its public half for the configuration"),
        ("bench", "measure round trip and streams, beside what the model says"),
    ):
        action = actions.add_parser(name, help=summary, description=summary.capitalize() + ".")
        action.add_argument("port", metavar="PORT", help="a device file, or usb:VVVV:PPPP")
        action.add_argument("--baud", type=int, default=3_000_000, help="of the line (default: %(default)s)")
        action.add_argument("--capture", metavar="FILE", help="write what crosses the line: see `ueagent inspect`")
        action.add_argument("--json", action="store_true", help="print one JSON object")
        if name == "bench":
            action.add_argument("--compute-us", type=float, help="model: time of a job (default: Cortex-M4, software)")
    emulate = actions.add_parser("emulate", help="be a device on a pseudo-terminal until interrupted")
    emulate.add_argument("--baud", type=int, default=0, help="pace the line (default: as fast as it can)")
    emulate.add_argument("--compute-us", type=float, default=0.0, help="and each job to this time (default: 0)")


def run(args: argparse.Namespace) -> int:
    if args.action == "emulate":
        return _emulate(args.baud, args.compute_us / 1e6)
    from ueagent_firmware.link import LinkError
    from ueagent_hw.serial_engine import AcceleratorUnavailable
    from ueagent_hw.serial_open import PortError, open_port

    try:
        opened = open_port(args.port, args.baud)
        try:
            for warning in opened.warnings:
                sys.stderr.write(f"ueagent accel: {warning}\n")
            with _captured(opened.port, args.capture) as port:
                found = _ACTIONS[args.action](port, args)
        finally:
            opened.port.close()
    except (PortError, LinkError, AcceleratorUnavailable, OSError) as error:
        sys.stderr.write(f"ueagent accel: {error}\n")
        return exits.FAILED
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if args.json else _table(found))
    return exits.OK if not found.get("failed_tests") else exits.FAILED


@contextmanager
def _captured(port: Port, name: str | None) -> Iterator[Port]:
    from pathlib import Path

    from ueagent_firmware.capture import CapturingPort

    if name is None:
        yield port
        return
    with Path(name).open("w", encoding="ascii") as file:
        yield CapturingPort(port, file.write)


def _greeted(port: Port) -> tuple[Link, Description]:
    from ueagent_firmware.link import Link

    link = Link(port)
    return link, link.hello()


def _described(found: Description) -> dict[str, Any]:
    from dataclasses import asdict

    return {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(found).items()}


def _probe(port: Port, args: argparse.Namespace) -> dict[str, Any]:
    link, found = _greeted(port)
    described = _described(found)
    if "identity" in found.capabilities and not found.failed_tests:
        described["device_key"] = link.identity().hex()
    return described


def _pair(port: Port, args: argparse.Namespace) -> dict[str, Any]:
    link, found = _greeted(port)
    return {"unit": found.unit.hex(), "device_key": link.pair().hex()}


def _bench(port: Port, args: argparse.Namespace) -> dict[str, Any]:
    from ueagent_hw.measure import measure_device

    result = measure_device(port, args.baud, _compute(args))
    return {
        "baud": args.baud,
        "round_trip_best_ms": round(result.best * 1e3, 3),
        "round_trip_median_ms": round(result.median * 1e3, 3),
        "round_trip_worst_ms": round(result.worst * 1e3, 3),
        "round_trip_model_ms": round(result.predicted.round_trip * 1e3, 3),
        "model_deviation_percent": round(result.deviation * 100, 1),
        "host_ms": round(result.host * 1e3, 3),
        "streams_within_5_ms": result.guaranteed,
        "streams_within_5_ms_model": result.predicted.guaranteed,
        "streams_within_5_ms_planned": result.planned.guaranteed,
        "streams_on_average_model": result.predicted.statistical,
    }


def _compute(args: argparse.Namespace) -> float:
    """Seconds of a job in the device; the model's own figure where nothing is said."""
    from ueagent_hw.latency import SOFTWARE_SECONDS

    return SOFTWARE_SECONDS if args.compute_us is None else float(args.compute_us) / 1e6


_ACTIONS: dict[str, Callable[[Port, argparse.Namespace], dict[str, Any]]] = {
    "probe": _probe,
    "pair": _pair,
    "bench": _bench,
}


def _table(found: dict[str, Any]) -> str:
    from ueagent.cli.table import render

    rows = [
        (name.replace("_", " "), ", ".join(value) if isinstance(value, list | tuple) else str(value))
        for name, value in found.items()
    ]
    return render(("what", "value"), rows) + "\n"


def _emulate(baud: int, compute: float) -> int:
    from ueagent_hw.emulated import EmulatedAccelerator

    device = EmulatedAccelerator(baud, compute=compute)
    sys.stdout.write(f"{device.port}\n")
    sys.stdout.flush()
    try:
        device.wait()
    finally:
        device.close()
    return exits.OK
