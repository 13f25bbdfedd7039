"""`ueagent lab edge`: a small IMS access network on a UNIX socket. `ueagent lab kms`: a KMS and a BSF over HTTP."""

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

_KMS_EXAMPLE = """\
The file of users is TOML; keys are hexadecimal:

  [[user]]
  impi = "alice@ims.example.com"
  identity = "sip:alice@example.com"
  k = "00112233445566778899aabbccddeeff"
  opc = "ffeeddccbbaa99887766554433221100"

Further tables: [[group]] name, members; [[psk]] identity, key, user or domain; [[peer]] identity, number, name, url,
psk_identity, key. Tickets of an earlier run cannot be opened: their key lives as long as the process.
"""


def require_lab(parser: argparse.ArgumentParser) -> None:
    """Ends the command where the lab was left out of the build (UEAGENT_WITHOUT_LAB=1)."""
    from importlib.util import find_spec

    if find_spec("ueagent.lab") is None:
        parser.exit(exits.FAILED, f"{parser.prog}: this ueagent was built without the lab\n")


def configure(parser: argparse.ArgumentParser) -> None:
    require_lab(parser)
    from ueagent.lab.faults import Fault, Indication, KmsFault, Mode

    kinds = parser.add_subparsers(dest="kind", metavar="{edge,kms}", required=True)
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
        choices=["sdes-srtp", "dtls-srtp", "msrp-tls", "bfcp-tls", "udptl-dtls"],
        help="only this in Security-Server (may be repeated, preferred first; default: sdes-srtp)",
    )
    edge.add_argument("--dtls-passive", action="store_true", help="leave the ClientHello to the UE where it may choose")
    edge.add_argument("--refuse-plain", action="store_true", help="488 for plain offers of a UE that announced SDES")

    kms = kinds.add_parser(
        "kms",
        help="key management service (MIKEY-TICKET) and bootstrapping server (GBA) over HTTP",
        description=_KMS_EXAMPLE,
        formatter_class=parser.formatter_class,
        epilog=exits.epilog(),
    )
    kms.add_argument("--users", metavar="FILE", required=True, help="who is known")
    kms.add_argument("--store", metavar="FILE", default=":memory:", help="SQLite file (default: in memory)")
    kms.add_argument("--address", default="127.0.0.1", help="where to listen (default: %(default)s)")
    kms.add_argument("--port", type=int, default=0, help="of the KMS (default: the system chooses)")
    kms.add_argument("--bsf-port", type=int, default=0, help="of the BSF (default: the system chooses)")
    kms.add_argument("--identity", default="sip:kms.example.com", help="the KMS's identity (default: %(default)s)")
    kms.add_argument("--name", default="kms.example.com", help="its FQDN, part of keys (default: %(default)s)")
    kms.add_argument("--number", type=int, default=1, help="begins its tickets (default: %(default)s)")
    kms.add_argument("--bsf-name", default="bsf.example.com", help="the BSF's FQDN (default: %(default)s)")
    kms.add_argument(
        "--kms-fault",
        choices=[fault.value for fault in KmsFault],
        default=KmsFault.NO_FAULT.value,
        help="what to do wrong",
    )


def run(args: argparse.Namespace) -> int:
    from ueagent.cli.running import run_async

    try:
        serve = _serve_kms if args.kind == "kms" else _serve
        return run_async(lambda stop: serve(args, stop))
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


async def _serve_kms(args: argparse.Namespace, stop: asyncio.Event) -> int:
    from pathlib import Path

    from ueagent.lab.faults import KmsFault
    from ueagent.lab.kms_service import KmsService, KmsServiceConfig

    config = KmsServiceConfig(
        address=args.address,
        port=args.port,
        bsf_port=args.bsf_port,
        identity=args.identity,
        name=args.name,
        number=args.number,
        bsf_name=args.bsf_name,
        store=args.store,
        fault=KmsFault(args.kms_fault),
    )
    async with KmsService(config, Path(args.users)) as service:
        sys.stderr.write(f"lab KMS on {service.kms_url}, BSF on {service.bsf_url}, fault {args.kms_fault}\n")
        sys.stderr.flush()
        await stop.wait()
    return exits.OK
