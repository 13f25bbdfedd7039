"""tls_relay: MSRP in chunks of 1 MiB from a plain connection into TLS, through our pump and through socat.

    this process == plain TCP == relay == TLS 1.3, AES-128-GCM == openssl s_server

Relay and server are processes of their own; all that differs is the relay. Ours also looks at every message and puts
other paths into it, as in a call. Rounds follow each other, so that a slow phase of the machine meets both; each has
its best round. Throughput depends on how three processes share the machine, the relay's processor time does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ueagent.channel.credentials import CertificateCredentials, Identity
from ueagent.crypto.certificate import SelfSigned, create_self_signed, digest_of
from ueagent.daemon.pumps import StreamPump
from ueagent.daemon.stream_dialer import LoopbackDoor
from ueagent.daemon.stream_network import StreamNetwork
from ueagent.errors import AgentError
from ueagent.model.media import Place
from ueagent.model.security import ChannelTerms
from ueagent.wire.msrp import MsrpPaths
from ueagent.wire.msrp_attributes import parse_path

ROUNDS: Final = 3
MEBIBYTES: Final = 256  # of a round
CHUNK: Final = 1 << 20
LOOPBACK: Final = "127.0.0.1"
SUITE: Final = "TLS_AES_128_GCM_SHA256"
PATIENCE: Final = 120.0  # seconds for a round
ABSENT: Final = "not installed; apt install socat"

_DIALER, _SHOWN = b"msrp://127.0.0.1:9/dialer;tcp", b"msrp://127.0.0.1:9/shown;tcp"
_OURS, _PEER = b"msrps://192.0.2.1:9/ours;tcp", b"msrps://192.0.2.2:9/peer;tcp"
_PATHS: Final = MsrpPaths(parse_path(_DIALER), parse_path(_SHOWN)[0], parse_path(_OURS)[0], parse_path(_PEER))


@dataclass(frozen=True, slots=True)
class Result:
    """MiB a second, and milliseconds of the relay's processor time for each MiB."""

    scenario: str
    mebibytes: int  # of each subject
    ours_mib_s: float
    socat_mib_s: float | None
    ours_cpu_ms: float
    socat_cpu_ms: float | None
    ours_to_socat: float | None  # throughput for 1 of theirs: more is better
    cpu_to_socat: float | None  # processor time for 1 of theirs: less is better
    ours_peak_mib: float  # resident
    absent: dict[str, str] = field(default_factory=dict)


def run(rounds: int = ROUNDS, mebibytes: int = MEBIBYTES) -> Result:
    """RuntimeError: a relay or the server did not do what it should."""
    subjects = ["ours", *(["socat"] if shutil.which("socat") else [])]
    best = dict.fromkeys(subjects, (float("inf"), float("inf")))
    peak = 0.0
    with tempfile.TemporaryDirectory(prefix="ueagent-bench-") as folder:
        certificate = _certificate_in(Path(folder))
        for _ in range(rounds):
            for subject in subjects:
                seconds, cpu, resident = _round(subject, Path(folder), certificate, mebibytes)
                best[subject] = min(best[subject][0], seconds), min(best[subject][1], cpu)
                peak = max(peak, resident) if subject == "ours" else peak
    (ours, ours_cpu), theirs = best["ours"], best.get("socat")
    return Result(
        scenario="tls_relay",
        mebibytes=rounds * mebibytes,
        ours_mib_s=round(mebibytes / ours, 1),
        socat_mib_s=None if theirs is None else round(mebibytes / theirs[0], 1),
        ours_cpu_ms=round(1000 * ours_cpu / mebibytes, 3),
        socat_cpu_ms=None if theirs is None else round(1000 * theirs[1] / mebibytes, 3),
        ours_to_socat=None if theirs is None else round(theirs[0] / ours, 3),
        cpu_to_socat=None if theirs is None else round(ours_cpu / theirs[1], 3),
        ours_peak_mib=round(peak, 1),
        absent={} if theirs is not None else {"socat": ABSENT},
    )


def _round(subject: str, folder: Path, certificate: SelfSigned, mebibytes: int) -> tuple[float, float, float]:
    """Seconds, seconds of the relay's processor time, and its resident MiB at the highest."""
    message = _message()
    with (
        _server(folder) as (server, port),
        _relay(subject, port, certificate) as (relay, place),
        socket.create_connection(place) as source,
    ):
        for _ in range(2):  # the handshake, and what a program does when it starts, are not measured
            source.sendall(message)
        before, began = _processor_time(relay.pid), time.monotonic()
        for _ in range(mebibytes):
            source.sendall(message)
        source.shutdown(socket.SHUT_WR)
        server.wait(PATIENCE)
        seconds = time.monotonic() - began
        _, status, usage = os.wait4(relay.pid, 0)
    relay.returncode = os.waitstatus_to_exitcode(status)
    if relay.returncode:
        raise RuntimeError(f"the relay {subject} ended with {relay.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime - before, usage.ru_maxrss / 1024


def _processor_time(pid: int) -> float:
    """Seconds until now."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _message() -> bytes:
    head = [b"MSRP tid12345 SEND", b"To-Path: " + _SHOWN, b"From-Path: " + _DIALER, b"Message-ID: 1"]
    return b"\r\n".join([*head, b"Content-Type: x/y", b"", os.urandom(CHUNK), b"-------tid12345$", b""])


# --------------------------------------------------------------------------------------------------------- processes --


def _certificate_in(folder: Path) -> SelfSigned:
    own = create_self_signed(datetime.now(UTC), os.urandom)
    certificate = x509.load_der_x509_certificate(own.certificate)
    key = serialization.load_der_private_key(own.private_key.reveal(), None)
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return own


@contextmanager
def _server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = _free_port()
    argv = ["openssl", "s_server", "-accept", f"{LOOPBACK}:{port}", "-naccept", "1", "-quiet", "-tls1_3"]
    argv += ["-ciphersuites", SUITE, "-cert", str(folder / "cert.pem"), "-key", str(folder / "key.pem")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield server, port
        finally:
            server.kill()


@contextmanager
def _relay(
    subject: str, port: int, certificate: SelfSigned
) -> Iterator[tuple[subprocess.Popen[bytes], tuple[str, int]]]:
    ours = _free_port()
    expected = digest_of(certificate.certificate, "sha-256").hex()
    argv = [sys.executable, "-m", "ueagent_bench.scenarios.tls_relay", "--relay-to", str(port), "--expect", expected]
    if subject == "socat":
        tls = f"OPENSSL:{LOOPBACK}:{port},verify=0,retry=50,interval=0.1"
        argv = ["socat", "-b", str(1 << 18), f"TCP-LISTEN:{ours},bind={LOOPBACK}", tls]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as relay:
        try:
            if subject == "ours":
                assert relay.stdout is not None
                ours = int(relay.stdout.readline())
            else:
                _await_listener(ours)
            yield relay, (LOOPBACK, ours)
        finally:
            if relay.returncode is None:
                relay.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _await_listener(port: int) -> None:
    """Without connecting: socat takes one connection only."""
    wanted = f":{port:04X} 00000000:0000 0A"
    end = time.monotonic() + 10
    while wanted not in Path("/proc/net/tcp").read_text():
        if time.monotonic() > end:
            raise RuntimeError("socat does not listen")
        time.sleep(0.01)


async def _serve(port: int, expected: bytes) -> None:
    """Our relay: one connection from loopback, into TLS towards `port`."""
    door, network = LoopbackDoor(None), StreamNetwork(LOOPBACK)
    print(door.place.port, flush=True)
    identity = Identity(create_self_signed(datetime.now(UTC), os.urandom))
    credentials = CertificateCredentials(identity, lambda certificate: digest_of(certificate, "sha-256") == expected)
    terms = ChannelTerms(opens=True, client=True, accepted=frozenset(), peer=Place(LOOPBACK, port))
    _await_listener(port)
    try:
        await StreamPump(network, door, _PATHS).run(terms, credentials)
    except AgentError as error:  # the server ends as it likes once everything has come
        if error.code not in ("truncated", "connection_reset"):
            raise


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--mebibytes", type=int, default=MEBIBYTES)
    parser.add_argument("--relay-to", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--expect", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.relay_to is not None:
        asyncio.run(_serve(args.relay_to, bytes.fromhex(args.expect)))
        return 0
    print(json.dumps(asdict(run(args.rounds, args.mebibytes)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
