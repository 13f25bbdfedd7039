"""`ueagent demo`: protected calls with real speech and a protected message on this machine, and one table."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ueagent.cli import exits
from ueagent.cli.lab import require_lab
from ueagent.errors import AgentError

if TYPE_CHECKING:
    import argparse
    import asyncio

    from ueagent.lab.demo import CallReport, DemoOptions, DemoReport
    from ueagent.lab.demo_messages import MessageReport
    from ueagent.lab.eavesdropper import Overheard

# What --json tells of a call. Programs read it: later versions add, never rename.
_FIELDS: Final = (
    "name",
    "medium",
    "mechanism",
    "keyed_by",
    "scope",
    "suite",
    "assured",
    "engine",
    "packets_sent",
    "packets_received",
    "bit_exact",
    "plaintext_on_wire",
    "verified",
    "identity",
)
_MESSAGE_FIELDS: Final = (
    "name",
    "mechanism",
    "keyed_by",
    "scope",
    "verified",
    "sender",
    "recipient",
    "octets",
    "bit_exact",
    "plaintext_on_wire",
)
_HEAD: Final = ("call", "mechanism", "scope", "suite", "assured", "engine", "sent", "received", "bit-exact", "readable")


def configure(parser: argparse.ArgumentParser) -> None:
    require_lab(parser)
    from ueagent.lab.faults import Fault, Mode

    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--wav", metavar="FILE", type=Path, help="speak this recording (PCM WAV; the first 5 s of it)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write what arrived at each end as WAV files")
    parser.add_argument("--pcap", metavar="FILE", type=Path, help="write what crossed the access network")
    parser.add_argument("--codec", choices=("PCMU", "PCMA"), default="PCMU", help="G.711 law (default: %(default)s)")
    parser.add_argument(
        "--engine", choices=("serial",), help="let emulated accelerators at 12 Mbaud do the media (default: this CPU)"
    )
    parser.add_argument(
        "--mode", choices=[mode.value for mode in Mode], default=Mode.MEDIASEC.value, help="how the edge registers"
    )
    parser.add_argument(
        "--fault",
        choices=[fault.value for fault in Fault],
        default=Fault.NO_FAULT.value,
        help="let the edge do something wrong: the demonstration is expected to fail",
    )


def run(args: argparse.Namespace) -> int:
    from ueagent.cli.running import run_async
    from ueagent.lab.demo import DemoOptions
    from ueagent.lab.edge import EdgeConfig
    from ueagent.lab.faults import Fault, Mode

    options = DemoOptions(
        wav=args.wav,
        pcap=args.pcap,
        out=args.out,
        codec=args.codec,
        engine=args.engine,
        edge=EdgeConfig(mode=Mode(args.mode), fault=Fault(args.fault)),
    )
    try:
        return run_async(lambda stop: _demonstrate(options, args.json, stop))
    except AgentError as error:
        sys.stderr.write(f"ueagent demo: {error}\n")
        return exits.FAILED


async def _demonstrate(options: DemoOptions, as_json: bool, stop: asyncio.Event) -> int:
    import asyncio

    from ueagent.lab.demo import run_demo

    def tell(line: str) -> None:
        if not as_json:
            sys.stderr.write(line + "\n")

    demo, stopped = asyncio.ensure_future(run_demo(options, tell)), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((demo, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not demo.done():
            sys.stderr.write("ueagent demo: stopped before it was through\n")
            return exits.FAILED
        report = demo.result()
    finally:
        for task in (demo, stopped):
            task.cancel()
        await asyncio.gather(demo, stopped, return_exceptions=True)
    sys.stdout.write(as_json_text(report) if as_json else as_text(report, options))
    for line in (*report.notes, *_problems(report)):
        sys.stderr.write(f"ueagent demo: {line}\n")
    return exits.OK if report.ok else exits.FAILED


def _problems(report: DemoReport) -> list[str]:
    calls = [f"{call.name}: {problem}" for call in report.calls for problem in call.problems]
    return calls + [f"{message.name}: {problem}" for message in report.messages for problem in message.problems]


def as_json_text(report: DemoReport) -> str:
    calls = [{name: asdict(call)[name] for name in _FIELDS} for call in report.calls]
    messages = [{name: asdict(message)[name] for name in _MESSAGE_FIELDS} for message in report.messages]
    return json.dumps({"ok": report.ok, "calls": calls, "messages": messages}, indent=2) + "\n"


def as_text(report: DemoReport, options: DemoOptions) -> str:
    from ueagent.cli.table import render

    statuses = ", then ".join(map(str, report.statuses)) or "nothing that helped"
    parts = [
        f"Registered: the network answered {statuses}.\n",
        render(_HEAD, [_row(call) for call in report.calls]),
        "",
        *(_verified(call) for call in report.calls if call.verified),
        *(_message(message) for message in report.messages),
        *(f"{_overheard(call.name, call.overheard)}" for call in report.calls[:1] if call.overheard),
    ]
    parts += [f"What crossed the access network is in {options.pcap}."] if options.pcap else []
    parts += [f"What arrived at each end is in {options.out}."] if options.out else []
    verdict = "Everything arrived as it was sent, and nobody else could hear it." if report.ok else "It FAILED."
    parts.append(f"{verdict} ({report.seconds:.1f} s)")
    return "\n".join(parts) + "\n"


def _row(call: CallReport) -> list[str]:
    yes_no = {True: "yes", False: "no"}
    return [
        call.name,
        call.mechanism,
        call.scope,
        call.suite or "-",
        yes_no[call.assured],
        call.engine or "-",
        str(call.packets_sent),
        str(call.packets_received),
        yes_no[call.bit_exact],
        str(call.plaintext_on_wire),
    ]


def _verified(call: CallReport) -> str:
    return f"{call.name}: the KMS vouches that the other end is {call.identity}.\n"


def _message(message: MessageReport) -> str:
    verdict = "verified" if message.verified else "NOT verified"
    return (
        f"A protected MESSAGE of {message.octets} octets to {message.recipient or '-'}: {message.mechanism} keyed by "
        f"{message.keyed_by}, {message.scope};\nits sender {message.sender or '-'} is {verdict}, "
        f"{message.plaintext_on_wire} of its words could be read on the way.\n"
    )


def _overheard(name: str, heard: Overheard) -> str:
    return (
        f"A listener on the access network, {name} call, one packet:\n"
        f"  spoken    {heard.spoken.hex(' ')} ...   {heard.entropy_spoken:.2f} bits per octet\n"
        f"  on wire   {heard.wire.hex(' ')} ...   {heard.entropy_wire:.2f} bits per octet\n"
        f"  played as speech, the wire resembles what was said by {abs(heard.likeness):.0%}\n"
    )
