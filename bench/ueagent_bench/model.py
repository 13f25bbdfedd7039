"""What a benchmark measures, by stable names: cases, cells, subjects; and what comes out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from ueagent_bench.peers import Peers

BATCH: Final = 64  # packets of a timed sample (UMS_BENCH_BATCH)
STREAMS: Final = 64  # unless a case says otherwise, each under a key of its own
PAYLOADS: Final = (20, 160, 1200)  # octets: GSM-like, 20 ms of G.711, video
COMPOUND: Final = 64  # octets of an RTCP compound packet
BURSTS: Final = (1, 2, 4, 8, 16, 64)


def short_name(suite: str) -> str:
    """`cm128_80`, `gcm256`, `null_32` of a suite's registered name."""
    if found := re.fullmatch(r"AES_(?:CM_(128)|(192|256)_CM)_HMAC_SHA1_(\d+)", suite):
        return f"cm{found[1] or found[2]}_{found[3]}"
    if found := re.fullmatch(r"AEAD_AES_(\d+)_GCM", suite):
        return f"gcm{found[1]}"
    if found := re.fullmatch(r"NULL_HMAC_SHA1_(\d+)", suite):
        return f"null_{found[1]}"
    return suite.lower()


@dataclass(frozen=True, slots=True)
class Case:
    """A task. Cells of one case are measured in turn, so that they see the same machine."""

    operation: str  # "srtp_protect", "srtcp_unprotect", "srtp_setup", "python_protect", ...
    suite: str  # registered name
    payload: int  # octets behind the RTP header; of RTCP the compound packet; 0 where there is no packet
    contexts: int = STREAMS
    ssrcs: int = 1  # streams of each context

    def name(self, subject: str, burst: int) -> str:
        parts = [self.operation, short_name(self.suite), subject]
        if self.payload:
            parts += [f"b{burst}", f"{self.payload}B"]
        if self.ssrcs != 1 or (self.contexts == 1 and self.operation.startswith("ssrc")):
            parts.append(f"{self.ssrcs}ssrc")
        elif self.contexts != STREAMS:
            parts.append(f"{self.contexts}streams")
        return "_".join(parts)


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the result. `library`: the peer's, empty for an engine of ours."""

    case: Case
    subject: str  # an engine's or a peer's name
    burst: int
    library: str = ""
    batched: bool = True  # False: the subject takes one packet at a time, so its only burst is 1

    @property
    def name(self) -> str:
        return self.case.name(self.subject, self.burst)

    @property
    def is_peer(self) -> bool:
        return self.library != ""


class Meter(Protocol):
    """A cell that is ready to run."""

    def measure(self, seconds: float) -> Sequence[float]:
        """Clock ticks per packet (or per context) of each sample, one sample at least.

        Raises WrongOutput when the subject refuses a packet or makes a wrong one.
        """


class WrongOutput(Exception):
    """What the subject made does not verify; `args[0]` says how."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A number that needs no timing."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Setting:
    """Who takes part: our engines, best first, and the peers at hand."""

    engines: Mapping[str, tuple[str, ...]]  # name -> registered names of the suites it runs here
    chosen: Mapping[str, str]  # suite -> the engine the core chooses for it
    peers: Peers

    @property
    def suites(self) -> tuple[str, ...]:
        return tuple(self.chosen)


class Scenarios(Protocol):
    """A module of `ueagent_bench.scenarios` with timed cells."""

    def cells(self, setting: Setting) -> list[Cell]: ...

    def opened(self, cells: Sequence[Cell], setting: Setting) -> AbstractContextManager[Mapping[Cell, Meter]]:
        """Meters for cells of one case; a cell that this machine has no memory for is left out."""


@dataclass(slots=True)
class Slice:
    """One turn of a cell, in cycles per packet."""

    low: float  # second percentile of the samples
    median: float
    samples: int
    steady: bool  # the core's clock was the same before and after


@dataclass(frozen=True, slots=True)
class Result:
    """`cycles` and `median` are cycles per packet: the best turn's second percentile, the median of turns' medians."""

    cell: Cell
    cycles: float
    median: float
    samples: int
    ratios: Mapping[str, float] = field(default_factory=dict)  # library -> how many times faster than its best
    against: Mapping[str, str] = field(default_factory=dict)  # library -> the scenario that was

    @property
    def name(self) -> str:
        return self.cell.name


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell whose output was wrong: nothing of it was counted."""

    cell: Cell
    why: str


@dataclass(frozen=True, slots=True)
class Outcome:
    results: tuple[Result, ...]
    failures: tuple[Failure, ...] = ()
    left_out: tuple[Cell, ...] = ()  # no memory for it, or it cannot do this after all

    def named(self) -> dict[str, Result]:
        return {result.name: result for result in self.results}
