"""The Python faces: a packet per call, and 64 per call, against pylibsrtp."""

from __future__ import annotations

import gc
import struct
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from ueagent_native._core import ffi, lib
from ueagent_native.batch import Batch, protect_batch, unprotect_batch
from ueagent_native.srtp import ContextSet, PacketRefused, SrtpContext, protect_burst
from ueagent_native.values import Direction, MasterKeyConfig, SrtpConfig, Status

from ueagent_bench import clock
from ueagent_bench.model import BATCH, PAYLOADS, STREAMS, Case, Cell, Meter, Setting, WrongOutput

_WAYS: Final = ("protect", "unprotect")
_FIRST_SSRC: Final = 0x20000
_STRIDE: Final = 1600
_PYLIBSRTP: Final = {  # suite -> name of the profile in pylibsrtp.Policy
    "AES_CM_128_HMAC_SHA1_80": "SRTP_PROFILE_AES128_CM_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32": "SRTP_PROFILE_AES128_CM_SHA1_32",
    "AEAD_AES_128_GCM": "SRTP_PROFILE_AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM": "SRTP_PROFILE_AEAD_AES_256_GCM",
}


class Work(Protocol):
    """Works on a batch of packets, one of each stream. Only `run` is timed."""

    def fill(self, packets: list[bytes]) -> None: ...
    def run(self) -> None: ...
    def results(self) -> Sequence[bytes]: ...


@dataclass(frozen=True, slots=True)
class _Suite:
    number: int
    key_len: int
    salt_len: int


def _suite(name: str) -> _Suite:
    rows = (lib.ums_suite_at(i) for i in range(lib.ums_suite_count()))
    return next(_Suite(r.suite, r.key_len, r.salt_len) for r in rows if ffi.string(r.name).decode() == name)


def _key(suite: _Suite, stream: int) -> bytes:
    return bytes((stream * 37 + i * 11) % 256 for i in range(suite.key_len + suite.salt_len))


def _context(suite: _Suite, stream: int, direction: Direction, engine: str | None) -> SrtpContext:
    key = _key(suite, stream)
    master = MasterKeyConfig(key[: suite.key_len], key[suite.key_len :])
    return SrtpContext(SrtpConfig(suite.number, direction, (master,), max_ssrc=1), engine)


def _contexts(case: Case, direction: Direction, engine: str | None, closing: ExitStack) -> list[SrtpContext]:
    suite = _suite(case.suite)
    return [closing.enter_context(_context(suite, stream, direction, engine)) for stream in range(STREAMS)]


class _OnePerCall:
    """A call per packet, which is given and comes back as bytes."""

    def __init__(self, calls: Sequence[Callable[[bytes], bytes]]) -> None:
        self._calls = calls

    def fill(self, packets: list[bytes]) -> None:
        self._packets = packets

    def run(self) -> None:
        self._made = [call(packet) for call, packet in zip(self._calls, self._packets, strict=True)]

    def results(self) -> Sequence[bytes]:
        return self._made


class _AllInOneCall:
    """The batch face: packets are rows of one array and are changed there."""

    def __init__(self, contexts: list[SrtpContext], way: str) -> None:
        self._contexts, self._call = ContextSet(contexts), protect_batch if way == "protect" else unprotect_batch
        self._octets = bytearray(STREAMS * _STRIDE)
        self._lengths, self._statuses = array("I", [0] * STREAMS), bytearray(STREAMS)
        rows = memoryview(self._octets).cast("B", (STREAMS, _STRIDE))
        self._batch = Batch(rows, self._lengths, self._statuses, array("I", range(STREAMS)))

    def fill(self, packets: list[bytes]) -> None:
        for i, packet in enumerate(packets):
            self._octets[i * _STRIDE : i * _STRIDE + len(packet)] = packet
            self._lengths[i] = len(packet)

    def run(self) -> None:
        self._call(self._contexts, self._batch)

    def results(self) -> Sequence[bytes]:
        if any(self._statuses):
            raise WrongOutput(Status(max(self._statuses)).name)
        return [bytes(self._octets[i * _STRIDE : i * _STRIDE + n]) for i, n in enumerate(self._lengths)]


def _pylibsrtp(case: Case, way: str) -> Work:
    import pylibsrtp

    policy = pylibsrtp.Policy
    kind = policy.SSRC_ANY_OUTBOUND if way == "protect" else policy.SSRC_ANY_INBOUND
    profile = getattr(policy, _PYLIBSRTP[case.suite])
    suite = _suite(case.suite)
    sessions = [
        pylibsrtp.Session(policy(key=_key(suite, stream), ssrc_type=kind, srtp_profile=profile))
        for stream in range(STREAMS)
    ]
    return _OnePerCall([session.protect if way == "protect" else session.unprotect for session in sessions])


def _way(case: Case) -> str:
    return case.operation.removeprefix("python_")


def cells(setting: Setting) -> list[Cell]:
    found = []
    cases = (Case(f"python_{way}", suite, n) for suite in setting.suites for way in _WAYS for n in PAYLOADS)
    for case in cases:
        for engine, suites in setting.engines.items():
            if case.suite in suites:
                found += [Cell(case, engine, burst) for burst in (1, BATCH)]
        if "pylibsrtp" in setting.peers.present and case.suite in _PYLIBSRTP:
            found.append(Cell(case, "pylibsrtp", 1, "pylibsrtp", batched=False))
    return found


class _PythonMeter:
    """Feeds fresh packets to the work and looks at one result of each batch."""

    def __init__(self, case: Case, work: Work, partners: list[SrtpContext]) -> None:
        self._way = _way(case)
        self._work = work
        self._partners = partners
        self._payload = bytes(i % 251 for i in range(case.payload))
        self._seq = 0
        self._turn = 0

    def _batch(self) -> tuple[list[bytes], list[bytes]]:
        """Packets as the work wants them, and as plain RTP."""
        self._seq = (self._seq + 1) % 0x10000
        header = [struct.pack("!BBHII", 0x80, 96, self._seq, 0, _FIRST_SSRC + stream) for stream in range(STREAMS)]
        plain = [head + self._payload for head in header]
        if self._way == "protect":
            return plain, plain
        made = protect_burst([(partner, packet, False) for partner, packet in zip(self._partners, plain, strict=True)])
        return [packet for _, packet in made], plain

    def _check(self, results: Sequence[bytes], plain: list[bytes], stream: int) -> None:
        result = results[stream]
        if self._way == "protect":
            try:
                result = self._partners[stream].unprotect(result)
            except PacketRefused as error:
                raise WrongOutput(error.status.name) from None
        if result != plain[stream]:
            raise WrongOutput("BAD_PACKET")

    def measure(self, seconds: float) -> Sequence[float]:
        packets, plain = self._batch()
        self._work.fill(packets)
        self._work.run()
        results = self._work.results()
        for stream in range(STREAMS):
            self._check(results, plain, stream)
        samples: list[float] = []
        end = time.monotonic() + seconds
        while not samples or time.monotonic() < end:
            packets, plain = self._batch()
            self._work.fill(packets)
            start = clock.ticks()
            self._work.run()
            samples.append((clock.ticks() - start) / BATCH)
            self._turn = (self._turn + 1) % STREAMS
            self._check(self._work.results(), plain, self._turn)
        return samples


@contextmanager
def opened(cells: Sequence[Cell], setting: Setting) -> Iterator[Mapping[Cell, Meter]]:
    with ExitStack() as closing:
        meters: dict[Cell, Meter] = {}
        for cell in cells:
            way = _way(cell.case)
            near, far = Direction.SEND, Direction.RECEIVE
            if way == "unprotect":
                near, far = far, near
            work: Work
            if cell.is_peer:
                work = _pylibsrtp(cell.case, way)
            else:
                contexts = _contexts(cell.case, near, cell.subject, closing)
                calls = [context.protect if way == "protect" else context.unprotect for context in contexts]
                work = _OnePerCall(calls) if cell.burst == 1 else _AllInOneCall(contexts, way)
            meters[cell] = _PythonMeter(cell.case, work, _contexts(cell.case, far, None, closing))
        collects = gc.isenabled()
        gc.disable()
        try:
            yield meters
        finally:
            if collects:
                gc.enable()
