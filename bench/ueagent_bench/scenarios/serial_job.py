"""serial_job: the serial accelerator's model against the paced device, and what a packet costs the host.

    driver --octets at the pace of the baud rate--> host build of the firmware, which takes a Cortex-M4's time for a job

The host's share of a round trip comes from heartbeats, the other terms of the model from arithmetic; jobs are then
measured beside it. Streams: the packets of all of them, handed over at once, are back within 5 ms. What a packet costs
is the processor time of the relay's and the link's threads in calls that the device does, every packet checked.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from typing import Final

from ueagent_hw.emulated import EmulatedAccelerator
from ueagent_hw.latency import SOFTWARE_SECONDS
from ueagent_hw.measure import Measurement, measure_device
from ueagent_hw.serial_engine import SerialAccelerator, SerialConfig
from ueagent_hw.serial_open import open_port

from ueagent_bench.scenarios import relay_loop

BAUDS: Final = (921_600, 3_000_000, 12_000_000)
WANTED: Final = {3_000_000: 3, 12_000_000: 7}  # streams within the budget
WITHIN: Final = 0.10  # of the model
ROUNDS: Final = 50
TURNS: Final = 3  # the best one counts: others use this machine, too
CALLS: Final = 7
SECONDS: Final = 3.0
_DEADLINE_MS: Final = 100  # packets are counted here, not their delay


@dataclass(frozen=True, slots=True)
class Line:
    """Milliseconds and streams. `planned`: with the share of the host that the model assumes where nobody measures."""

    baud: int
    host_ms: float
    round_trip_model_ms: float
    round_trip_ms: float
    deviation: float
    streams_model: int
    streams_planned: int
    streams: int


@dataclass(frozen=True, slots=True)
class Result:
    """Microseconds of processor time for a packet: of the relay's thread, of the link's, and of the relay's without a
    device. `accelerated` packets of `packets` were done by the device.
    """

    scenario: str
    compute_us: float
    lines: tuple[Line, ...]
    packets: int
    accelerated: int
    wrong: int
    relay_us_per_packet: float
    link_us_per_packet: float
    cpu_engine: str
    cpu_us_per_packet: float
    missed: tuple[str, ...]  # what the lines should do and did not


def run(rounds: int = ROUNDS, seconds: float = SECONDS) -> Result:
    lines = tuple(_line(baud, rounds) for baud in BAUDS)
    link, cpu = _calls(seconds), relay_loop.run(CALLS, seconds)
    return Result(
        scenario="serial_job",
        compute_us=round(SOFTWARE_SECONDS * 1e6, 1),
        lines=lines,
        packets=link.received,
        accelerated=link.accelerated,
        wrong=link.wrong + link.lost,
        relay_us_per_packet=link.relay_us_per_packet,
        link_us_per_packet=link.link_us_per_packet,
        cpu_engine=cpu.engine,
        cpu_us_per_packet=cpu.relay_us_per_packet,
        missed=tuple(failure for line in lines for failure in _missed(line)),
    )


def _line(baud: int, rounds: int) -> Line:
    found = min((_measured(baud, rounds) for _ in range(TURNS)), key=lambda one: one.best)
    return Line(
        baud=baud,
        host_ms=round(found.host * 1e3, 3),
        round_trip_model_ms=round(found.predicted.round_trip * 1e3, 3),
        round_trip_ms=round(found.best * 1e3, 3),
        deviation=round(found.deviation, 3),
        streams_model=found.predicted.guaranteed,
        streams_planned=found.planned.guaranteed,
        streams=found.guaranteed,
    )


def _measured(baud: int, rounds: int) -> Measurement:
    device = EmulatedAccelerator(baud, compute=SOFTWARE_SECONDS)
    try:
        opened = open_port(device.port, baud)
        try:
            return measure_device(opened.port, baud, SOFTWARE_SECONDS, rounds)
        finally:
            opened.port.close()
    finally:
        device.close()


def _missed(line: Line) -> list[str]:
    found = []
    if abs(line.deviation) > WITHIN:
        found.append(f"{line.baud} baud: {line.deviation:+.0%} from the model")
    if line.streams < WANTED.get(line.baud, 0):
        found.append(f"{line.baud} baud: {line.streams} streams, {WANTED[line.baud]} are wanted")
    return found


def _calls(seconds: float) -> relay_loop.Result:
    device = EmulatedAccelerator(BAUDS[-1], compute=SOFTWARE_SECONDS)
    accelerator = SerialAccelerator(
        SerialConfig(device.port, BAUDS[-1], device_key=device.public_key, deadline_ms=_DEADLINE_MS, verify_every=0)
    )
    try:
        accelerator.connect()
        return relay_loop.run(CALLS, seconds, link=accelerator.link)
    finally:
        accelerator.close()
        device.close()


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 when every packet was right and every line does what it should, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="round trips of a turn")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the calls")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    args = parser.parse_args(argv)
    result = run(args.rounds, args.seconds)
    if args.json:
        print(json.dumps(asdict(result)))
    else:
        for name, value in asdict(result).items():
            for one in value if name == "lines" else [value]:
                print(f"{name:<22}{one}")
    return 1 if result.wrong or result.missed else 0


if __name__ == "__main__":
    sys.exit(main())
