"""`ueagent lab edge`: a small IMS access network on a UNIX socket, for tests and newcomers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ueagent.cli import exits
from ueagent.errors import AgentError, UsageError

if TYPE_CHECKING:
    import argparse
    import asyncio

_EXAMPLE = """\
It speaks Varlink (interface org.ueagent.lab.Edge), so this is a call to it:

  ueagent call --socket EDGE org.ueagent.lab.Edge.Register '{"binding": "home"}'
"""


def require_lab(parser: argparse.ArgumentParser) -> None:
    """Ends the command where the lab was left out of the build (UEAGENT_WITHOUT_LAB=1)."""
    from importlib.util import find_spec

    if find_spec("ueagent.lab") is None:
        parser.exit(exits.FAILED, f"{parser.prog}: this ueagent was built without the lab\n")


def configure(parser: argparse.ArgumentParser) -> None:
    require_lab(parser)
    from ueagent.lab.faults import Fault, Indication, Mode

    kinds = parser.add_subparsers(dest="kind", metavar="edge", required=True)
    edge = kinds.add_parser(
        "edge",
        help="registrar, IMS-ALG and access gateway (SRTP by libsrtp, DTLS by pyOpenSSL), with a phone behind them",
        description=_EXAMPLE,
        formatter_class=parser.formatter_class,
        epilog=exits.epilog(),
    )
    edge.add_argument("--socket", metavar="PATH", required=True, help="where to listen")
    edge.add_argument("--address", default="127.0.0.1", help="address for media (default: %(default)s)")
    edge.add_argument("--mode", choices=[mode.value for mode in Mode], default=Mode.MEDIASEC.value, help="registration")
    edge.add_argument(
        "--fault", choices=[fault.value for fault in Fault], default=Fault.NO_FAULT.value, help="what to do wrong"
    )
    edge.add_argument(
        "--indication",
        choices=[word.value for word in Indication],
        default=Indication.ABSENT.value,
        help="3ge2ae in answers to the UE",
    )
    edge.add_argument("--suite", action="append", help="only this suite of libsrtp (may be repeated)")
    edge.add_argument(
        "--announce",
        action="append",
        choices=["sdes-srtp", "dtls-srtp"],
        help="only this in Security-Server (may be repeated, preferred first; default: sdes-srtp)",
    )
    edge.add_argument("--dtls-passive", action="store_true", help="leave the ClientHello to the UE where it may choose")
    edge.add_argument("--refuse-plain", action="store_true", help="488 for plain offers of a UE that announced SDES")


def run(args: argparse.Namespace) -> int:
    from ueagent.cli.running import run_async

    try:
        return run_async(lambda stop: _serve(args, stop))
    except UsageError as error:
        sys.stderr.write(f"ueagent lab: {error}\n")
        return exits.USAGE
    except AgentError as error:
        sys.stderr.write(f"ueagent lab: {error}\n")
        return exits.FAILED


async def _serve(args: argparse.Namespace, stop: asyncio.Event) -> int:
    from pathlib import Path

    from ueagent.lab.edge import Edge, EdgeConfig
    from ueagent.lab.edge_service import EdgeService
    from ueagent.lab.faults import Fault, Indication, Mode
    from ueagent.lab.registrar import MEDIASEC, OWN_LIST
    from ueagent.lab.srtp_set import PROFILES

    config = EdgeConfig(
        mode=Mode(args.mode),
        fault=Fault(args.fault),
        indication=Indication(args.indication),
        refuse_plain=args.refuse_plain,
        suites=tuple(args.suite or PROFILES),
        address=args.address,
        own_list=tuple(f"{name};{MEDIASEC}" for name in args.announce) if args.announce else OWN_LIST,
        dtls_passive=args.dtls_passive,
    )
    async with EdgeService(Edge(config), Path(args.socket)):
        sys.stderr.write(f"lab edge on {args.socket}: mode {args.mode}, fault {args.fault}\n")
        await stop.wait()
    return exits.OK
