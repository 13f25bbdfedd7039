"""mikey_ticket: what a call through a KMS costs, message by message, and how many one KMS process carries.

    agent --REQUEST--> KMS;   agent --TRANSFER--> agent --RESOLVE--> KMS;   agent <--TRANSFER_RESP-- agent

The KMS is `ueagent lab kms` in a process of its own, over HTTP on loopback; both agents' parts run in this one. Each
call is checked: both ends must have the same keys. "Bare" is the least that a message needs of cryptography, called as
the message code calls it: the derivations of its keys, and its MACs over as many octets.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from ueagent.crypto import mikey_prf
from ueagent.daemon.config import CredentialsConfig, KmsConfig
from ueagent.daemon.ticket_service import TicketService, create_ticket_service
from ueagent.keymgmt import kms, mikey_ticket
from ueagent.keymgmt.kms import GrantedTicket, ResolvedTicket
from ueagent.keymgmt.mikey_replay import RateLimit, ReplayCache
from ueagent.keymgmt.mikey_sessions import srtp_policy_for
from ueagent.keymgmt.mikey_ticket import PendingTransfer, ReceivedTransfer, Transfer
from ueagent.model.suites import SUITES
from ueagent.wire.mikey import CryptoSession, Protocol
from ueagent.wire.mikey_payloads import Extension
from ueagent.wire.mikey_policy import srtp_policy_payload

ALICE, BOB = b"sip:alice@example.com", b"sip:bob@example.com"
PROTOCOLS: Final = Extension(mikey_ticket.SDP_IDS, b"mikey")
POLICY: Final = srtp_policy_payload(1, srtp_policy_for(SUITES["AES_CM_128_HMAC_SHA1_80"], rcc=True))
OFFERED: Final = (CryptoSession(1, Protocol.SRTP, (1,), bytes(4)), CryptoSession(2, Protocol.SRTP, (1,)))
AT_A_TIME: Final = 8  # calls, for the rate
_KEPT: Final = 64  # transfers, for their memory
_NAMED: Final = re.compile(r"lab KMS on (\S+), BSF on ")


@dataclass(frozen=True, slots=True)
class Result:
    """Microseconds and milliseconds are processor time of this process, except round trips, which are wall time.

    `agents_ms_per_call`: both ends, with HTTP; `kms_ms_per_call`: the KMS's process; `transfer_kib`: kept by one end.
    """

    scenario: str
    calls: int
    wrong: int
    transfer_init_build_us: float
    transfer_init_build_bare_us: float
    transfer_init_build_ratio: float
    transfer_init_verify_us: float
    transfer_init_verify_bare_us: float
    transfer_init_verify_ratio: float
    ticket_round_trip_ms: float
    resolve_round_trip_ms: float
    calls_per_second: float
    agents_ms_per_call: float
    kms_ms_per_call: float
    transfer_kib: float


@contextmanager
def lab_kms(folder: Path) -> Iterator[tuple[str, int]]:
    """URL and process of a KMS that knows both users by provisioned keys."""
    users = folder / "users.toml"
    rows = [
        f'[[psk]]\nidentity = "{user}"\nkey = "{_psk(user.encode())}"\nuser = "{user}"\n'
        for user in (ALICE.decode(), BOB.decode())
    ]
    users.write_text("".join(rows))
    command = [sys.executable, "-m", "ueagent", "lab", "kms", "--users", str(users)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = _NAMED.match(line := process.stderr.readline())
            if found is None:
                raise RuntimeError(f"the lab KMS does not start: {line.strip()}")
            yield found[1], process.pid
        finally:
            process.terminate()
            process.communicate(timeout=30)


def _psk(user: bytes) -> str:
    return hashlib.sha256(user).hexdigest()


def service_of(folder: Path, url: str, user: bytes) -> TicketService:
    path = folder / user.decode()[4:]
    path.touch(mode=0o600)
    path.write_text(_psk(user))
    credentials = CredentialsConfig(
        provider="psk", identities=(user.decode(),), psk_identity=user.decode(), psk_file=str(path)
    )
    service = create_ticket_service(
        KmsConfig(identity="sip:kms.example.com", url=url, name="kms.example.com"), credentials, os.urandom, time.time
    )
    assert service is not None
    service.limit = RateLimit(count=1 << 30)  # the same caller all the time
    return service


class _Agents:
    """The two ends of every call. Nothing is cached between calls: no ticket may be reused."""

    def __init__(self, folder: Path, url: str) -> None:
        self.alice, self.bob = (service_of(folder, url, user) for user in (ALICE, BOB))

    async def ticket(self) -> GrantedTicket:
        service = self.alice
        wish = kms.wish_for_media(service.names(ALICE), (BOB,), service.clock(), service.rng, service.profile)
        return await service.ticket_for(wish, ALICE, service.profile)

    def build(self, ticket: GrantedTicket) -> PendingTransfer:
        service = self.alice
        return mikey_ticket.create_transfer_init(
            ticket, ALICE, BOB, OFFERED, (POLICY,), service.clock(), service.rng, service.profile, (PROTOCOLS,)
        )

    def read(self, octets: bytes, replay: ReplayCache) -> ReceivedTransfer:
        service = self.bob
        return mikey_ticket.consume_transfer_init(octets, replay, service.clock(), service.profile, PROTOCOLS.data)

    async def resolve(self, received: ReceivedTransfer) -> ResolvedTicket:
        return await self.bob.resolve(received, BOB, self.bob.profile)

    def answer(
        self, received: ReceivedTransfer, resolved: ResolvedTicket, replay: ReplayCache
    ) -> tuple[bytes, Transfer]:
        service = self.bob
        verified = mikey_ticket.verify_transfer_init(received, resolved, BOB, replay, service.clock(), service.profile)
        return mikey_ticket.create_transfer_resp(verified, {2: 7}, service.clock(), service.rng)

    async def call(self) -> bool:
        """A whole one: whether both ends have the same keys."""
        pending = self.build(await self.ticket())
        received = self.read(pending.octets, self.bob.replay)
        octets, theirs = self.answer(received, await self.resolve(received), self.bob.replay)
        ours = mikey_ticket.consume_transfer_resp(pending, octets, self.alice.profile)
        return len(ours.sessions) == 2 and all(
            one.key == other.key and one.salt == other.salt
            for one, other in zip(ours.sessions, theirs.sessions, strict=True)
        )


def _least(work: Callable[[], object], seconds: float) -> float:
    """Microseconds of the least disturbed tenth of repetitions."""
    samples: list[int] = []
    end = time.monotonic() + seconds
    while len(samples) < 20 or time.monotonic() < end:
        start = time.perf_counter_ns()
        work()
        samples.append(time.perf_counter_ns() - start)
    samples.sort()
    return samples[len(samples) // 10] / 1000


def _bare_build(pending: PendingTransfer) -> Callable[[], None]:
    """MAC key and MAC; with flag I the key of Vr and Vr (RFC 6043, 4.2.2.1 and 6.10)."""
    ticket, header, rand = pending.ticket, pending.message.header, pending.rand_i
    data = pending.octets + ALICE + BOB
    assert ticket.mpkr is not None
    mpkr, covered = ticket.mpkr, bytes(1 + 2 * 34)

    def work() -> None:
        keys = mikey_prf.message_keys(
            header.prf, ticket.mpki, header.csb_id, rand, b"", response=False, mac_algorithm=2, key_length=0
        )
        mikey_prf.mac(2, keys.authentication, data)
        mikey_prf.mac(2, mikey_prf.initiator_data_key(ticket.terms.prf, mpkr, 2), covered)

    return work


def _bare_verify(pending: PendingTransfer) -> Callable[[], None]:
    """MAC key and MAC."""
    ticket, header, rand = pending.ticket, pending.message.header, pending.rand_i
    data = pending.octets + ALICE + BOB

    def work() -> None:
        keys = mikey_prf.message_keys(
            header.prf, ticket.mpki, header.csb_id, rand, b"", response=False, mac_algorithm=2, key_length=0
        )
        mikey_prf.same(mikey_prf.mac(2, keys.authentication, data), bytes(32))

    return work


def _cpu_of(process: int) -> float:
    """Seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _measure(agents: _Agents, process: int, seconds: float) -> Result:
    tickets, resolves = [], []
    for _ in range(10):
        start = time.perf_counter()
        ticket = await agents.ticket()
        tickets.append(time.perf_counter() - start)
        pending = agents.build(ticket)
        received = agents.read(pending.octets, ReplayCache())
        start = time.perf_counter()
        resolved = await agents.resolve(received)
        resolves.append(time.perf_counter() - start)

    def verify() -> None:
        replay = ReplayCache()
        mikey_ticket.verify_transfer_init(
            agents.read(pending.octets, replay), resolved, BOB, replay, time.time(), agents.bob.profile
        )

    share = seconds / 8
    build, bare_build = _least(lambda: agents.build(ticket), share), _least(_bare_build(pending), share)
    read, bare_read = _least(verify, share), _least(_bare_verify(pending), share)
    kept = _memory(agents, received, resolved)

    made = wrong = 0
    cpu, far_cpu, start = time.process_time(), _cpu_of(process), time.monotonic()
    while time.monotonic() < start + seconds / 2:
        right = await asyncio.gather(*(agents.call() for _ in range(AT_A_TIME)))
        made, wrong = made + len(right), wrong + right.count(False)
    passed, cpu, far_cpu = time.monotonic() - start, time.process_time() - cpu, _cpu_of(process) - far_cpu
    return Result(
        scenario="mikey_ticket",
        calls=made,
        wrong=wrong,
        transfer_init_build_us=round(build, 1),
        transfer_init_build_bare_us=round(bare_build, 1),
        transfer_init_build_ratio=round(build / bare_build, 2),
        transfer_init_verify_us=round(read, 1),
        transfer_init_verify_bare_us=round(bare_read, 1),
        transfer_init_verify_ratio=round(read / bare_read, 2),
        ticket_round_trip_ms=round(1000 * min(tickets), 2),
        resolve_round_trip_ms=round(1000 * min(resolves), 2),
        calls_per_second=round(made / passed, 1),
        agents_ms_per_call=round(1000 * cpu / made, 2),
        kms_ms_per_call=round(1000 * far_cpu / made, 2),
        transfer_kib=round(kept / 1024, 1),
    )


def _memory(agents: _Agents, received: ReceivedTransfer, resolved: ResolvedTicket) -> float:
    """Octets of Python's heap that a call keeps at one end."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [agents.answer(replace(received), resolved, ReplayCache())[1] for _ in range(_KEPT)]
        after, _ = tracemalloc.get_traced_memory()
        return (after - before) / len(kept)
    finally:
        tracemalloc.stop()


def run(seconds: float = 10.0) -> Result:
    with tempfile.TemporaryDirectory(prefix="ueagent-bench-") as name, lab_kms(Path(name)) as (url, process):
        agents = _Agents(Path(name), url)
        try:
            return asyncio.run(_measure(agents, process, seconds))
        finally:
            agents.alice.close()
            agents.bob.close()


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 when all calls ended in the same keys, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    args = parser.parse_args(argv)
    row: dict[str, Any] = asdict(run(args.seconds))
    if args.json:
        print(json.dumps(row))
    else:
        for name, value in row.items():
            print(f"{name:<30}{value}")
    return 0 if row["wrong"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
