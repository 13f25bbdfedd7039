"""Packets through C: protect and unprotect of SRTP and SRTCP, streams and SSRCs in numbers, contexts made anew.

The timed loops are in `native/src/bench.c`; peers take part through the same interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from ueagent_bench.fixture import Fixture
from ueagent_bench.model import BURSTS, COMPOUND, PAYLOADS, Case, Cell, Meter, Setting
from ueagent_bench.peers import Peer
from ueagent_native.values import NativeError, Status

_WAYS: Final = ("protect", "unprotect")
_CM: Final = "AES_CM_128_HMAC_SHA1_80"
_GCM: Final = "AEAD_AES_128_GCM"
_MAIN: Final = (_CM, _GCM)  # the suites that everybody uses: more peers, more bursts
_STREAMS: Final = (1, 1000, 10_000)
_SSRCS: Final = (1, 64, 1024)


def _cases(suites: Sequence[str]) -> Iterator[Case]:
    for suite in suites:
        for way in _WAYS:
            yield from (Case(f"srtp_{way}", suite, payload) for payload in PAYLOADS)
        for way in _WAYS:
            yield Case(f"srtcp_{way}", suite, COMPOUND)
        yield Case("srtp_setup", suite, 0)
        for way in _WAYS:
            yield from (Case(f"srtp_{way}", suite, payload, contexts=n) for n in _STREAMS for payload in PAYLOADS)
            yield from (Case(f"ssrc_{way}", suite, 160, contexts=1, ssrcs=n) for n in _SSRCS)


def _is_plain(case: Case) -> bool:
    return case.operation.startswith("srtp_") and case.payload != 0 and case.contexts == 64


def _engine_cell(case: Case, engine: str, burst: int, setting: Setting) -> Cell:
    best = setting.chosen.get(case.suite) == engine
    null = case.suite.startswith("NULL")
    if _is_plain(case):
        default = not null and burst in ((1, 4, 64) if case.suite in _MAIN else (1, 64))
    else:
        way = case.operation.endswith("_protect") or case.operation.startswith(("srtcp", "srtp_setup"))
        ours = case.suite == _GCM if case.operation.startswith("ssrc") else case.suite in _MAIN
        right_burst = burst == (64 if case.contexts in _STREAMS and case.ssrcs == 1 and not _is_lookup(case) else 1)
        default = way and ours and best and right_burst and case.payload in (0, COMPOUND, 160)
    quick = _is_plain(case) and case.suite in _MAIN and best and burst in (1, 64) and case.payload == 160
    return Cell(case, engine, burst, default=default, quick=quick)


def _is_lookup(case: Case) -> bool:
    return case.operation.startswith("ssrc")


def _peer_cell(case: Case, peer: Peer, burst: int) -> Cell:
    main = case.suite in _MAIN
    default = False
    if peer.library == "ipsecmb":
        sse = peer.name.endswith("-sse")
        default = _is_plain(case) and main and (not peer.batched or burst == 4 or (burst == 64 and not sse))
    elif peer.library == "evp-masked":
        default = _is_plain(case) and case.suite == _CM
    elif _is_plain(case):
        default = main or (peer.library != "libre" and not case.suite.startswith("NULL"))
    elif _is_lookup(case):
        default = case.suite == _GCM and case.operation == "ssrc_protect" and peer.library == "libsrtp"
    elif case.operation.startswith(("srtcp", "srtp_setup")):
        default = main
    quick = _is_plain(case) and main and case.payload == 160 and peer.library in ("libsrtp", "evp")
    return Cell(case, peer.name, burst, peer.library, peer.batched, default, quick)


def cells(setting: Setting) -> list[Cell]:
    found = []
    for case in _cases(setting.suites):
        bursts = BURSTS if case.payload else (1,)
        for engine, suites in setting.engines.items():
            if case.suite in suites:
                found += [_engine_cell(case, engine, burst, setting) for burst in bursts]
        for peer in setting.peers.peers:
            if peer.can(case):
                found += [_peer_cell(case, peer, burst) for burst in (bursts if peer.batched else (1,))]
    return found


@dataclass(frozen=True, slots=True)
class _BurstMeter:
    fixture: Fixture
    burst: int

    def measure(self, seconds: float) -> Sequence[float]:
        return self.fixture.measure(self.burst, seconds)


@contextmanager
def opened(cells: Sequence[Cell], setting: Setting) -> Iterator[Mapping[Cell, Meter]]:
    """Cells of one subject share its contexts."""
    fixtures: dict[str, Fixture | None] = {}
    with ExitStack() as open_fixtures:
        meters: dict[Cell, Meter] = {}
        for cell in cells:
            if cell.subject not in fixtures:
                fixture = fixtures[cell.subject] = _open(cell, setting)
                if fixture is not None:
                    open_fixtures.callback(fixture.close)
            found = fixtures[cell.subject]
            if found is not None:
                meters[cell] = _BurstMeter(found, cell.burst)
        yield meters


def _open(cell: Cell, setting: Setting) -> Fixture | None:
    try:
        if cell.is_peer:
            return Fixture(cell.case, subject=setting.peers.find(cell.subject).subject)
        return Fixture(cell.case, engine=cell.subject)
    except NativeError as error:
        if error.status in (Status.SYSTEM, Status.UNSUPPORTED):
            return None
        raise
