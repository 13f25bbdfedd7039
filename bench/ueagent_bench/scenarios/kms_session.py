"""kms_session: what a call with keys of a KMS costs in each agent's session, from plain SDP to keys for the relay.

    dialer's offer -> ticket -> SDP   |   SDP -> resolve -> dialer's offer, dialer's answer -> SDP   |   SDP -> keys

Processor time inside of the sessions: SDP, MIKEY messages, key derivation. HTTP, IPC and the KMS itself, which is
`ueagent lab kms` in a process of its own, are not in it; `mikey_ticket` has those. Each call is checked: what one end
sends with, the other receives with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ueagent.daemon.call_desks import desk_for
from ueagent.daemon.config import LogConfig
from ueagent.daemon.logs import open_log
from ueagent.daemon.ticket_service import TicketService
from ueagent.model.media import Endpoint
from ueagent.model.security import SecurityPolicy, Setting, Signalling
from ueagent.model.suites import SUITES
from ueagent.negotiation.capability import Capability
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    Command,
    CreateAnswer,
    CreateOffer,
    Evidence,
    KmsAnswered,
    RelayOpened,
    Release,
)
from ueagent.session.effects import AskKms, Effect, InstallKeys, OpenRelay, ReplyError, ReplySdp
from ueagent.session.session import Session
from ueagent_bench.scenarios.mikey_ticket import ALICE, BOB, lab_kms, service_of

POLICY: Final = SecurityPolicy(kms_e2e=Setting.PREFERRED)
CALLING: Final = Evidence(Signalling.NONE, called=BOB.decode())
CALLED: Final = Evidence(Signalling.NONE)
EVERY_SUITE: Final = Capability(frozenset(name for name, suite in SUITES.items() if suite.native is not None))
_PLAIN: Final = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 5004 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n"
)


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds of processor time for each call, on average and in the least disturbed call."""

    scenario: str
    calls: int
    wrong: int
    caller_ms: float
    caller_least_ms: float
    callee_ms: float
    callee_least_ms: float


class _End:
    """One session; `spent` is the processor time inside of it."""

    def __init__(self, service: TicketService, port: int) -> None:
        self.service = service
        self.session = Session(POLICY, os.urandom, EVERY_SUITE)
        self.spent = 0.0
        self.keys: tuple[bytes, bytes] | None = None  # to send, to receive
        self._port = port

    async def begin(self) -> None:
        desk = await desk_for(self.service, None, "caller", 0.0, open_log(LogConfig(level="error")))
        assert desk is not None
        self.session.use_kms(desk)

    async def do(self, command: Command) -> bytes:
        """The SDP of the reply."""
        waiting = deque(self._timed(lambda: self.session.execute(command, 0.0)))
        reply = b""
        while waiting:
            match waiting.popleft():
                case OpenRelay(leg):
                    there, here = Endpoint("192.0.2.1", self._port, self._port + 1), Endpoint("127.0.0.1", 4000, 4001)
                    opened = RelayOpened(leg, there, here)
                    waiting.extend(self._timed(lambda happened=opened: self.session.receive(happened, 0.0)))
                case AskKms(bundle, account, request):
                    answered = KmsAnswered(bundle, await self.service.perform(account, request))
                    waiting.extend(self._timed(lambda happened=answered: self.session.receive(happened, 0.0)))
                case InstallKeys(_, keys):
                    self.keys = bytes(keys.send.key.reveal()), bytes(keys.receive[0].key.reveal())
                    keys.wipe()
                case ReplySdp(sdp):
                    reply = sdp
                case ReplyError(error):
                    raise error
                case _:
                    pass
        return reply

    def _timed(self, work: Any) -> list[Effect]:
        start = time.process_time()
        effects: list[Effect] = work()
        self.spent += time.process_time() - start
        return effects


async def _call(alice: TicketService, bob: TicketService) -> tuple[float, float, bool]:
    """Seconds of caller and callee, and whether their keys fit."""
    caller, callee = _End(alice, 40000), _End(bob, 50000)
    for end in (caller, callee):
        await end.begin()
    offer = await caller.do(CreateOffer(_PLAIN, CALLING))
    await callee.do(AcceptOffer(offer, CALLED))
    answer = await callee.do(CreateAnswer(_PLAIN))
    await caller.do(AcceptAnswer(answer, final=True))
    fits = caller.keys is not None and callee.keys is not None and caller.keys == callee.keys[::-1]
    spent = caller.spent, callee.spent
    for end in (caller, callee):
        await end.do(Release())
    return *spent, fits


async def _measure(alice: TicketService, bob: TicketService, seconds: float) -> Result:
    await _call(alice, bob)  # modules are loaded and tables built
    end, found = time.monotonic() + seconds, []
    while time.monotonic() < end:
        found.append(await _call(alice, bob))
    callers, callees = sorted(one[0] for one in found), sorted(one[1] for one in found)
    return Result(
        scenario="kms_session",
        calls=len(found),
        wrong=sum(not one[2] for one in found),
        caller_ms=round(1000 * sum(callers) / len(found), 2),
        caller_least_ms=round(1000 * callers[0], 2),
        callee_ms=round(1000 * sum(callees) / len(found), 2),
        callee_least_ms=round(1000 * callees[0], 2),
    )


def run(seconds: float = 5.0) -> Result:
    with tempfile.TemporaryDirectory(prefix="ueagent-bench-") as name, lab_kms(Path(name)) as (url, _):
        alice, bob = (service_of(Path(name), url, user) for user in (ALICE, BOB))
        try:
            return asyncio.run(_measure(alice, bob, seconds))
        finally:
            alice.close()
            bob.close()


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 when the keys of all calls fitted, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
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
