"""The scenarios: which modules have them, and which are measured when nobody names one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any, Final, cast

from ueagent_bench.model import COMPOUND, STREAMS, Case, Cell, Fact, Scenarios, Setting

# Modules with timed cells, each imported on use.
TIMED: Final = ("ueagent_bench.scenarios.srtp_burst", "ueagent_bench.scenarios.python_face")
# Modules with numbers that need no timing.
COUNTED: Final = ("ueagent_bench.scenarios.memory",)
# Scenarios that are one run of their module's run(), only on demand.
WHOLE: Final = {
    "relay_loop_50pps_x100": "ueagent_bench.scenarios.relay_loop",
    "dtls_handshakes": "ueagent_bench.scenarios.dtls_handshakes",
    "tls_relay": "ueagent_bench.scenarios.tls_relay",
    "serial_job": "ueagent_bench.scenarios.serial_job",
    "mikey_ticket": "ueagent_bench.scenarios.mikey_ticket",
    "kms_session": "ueagent_bench.scenarios.kms_session",
}

ANY_ENGINE: Final = "@engine"
CHOSEN_ENGINE: Final = "@chosen"  # the one the core chooses for the suite

_CM: Final = "AES_CM_128_HMAC_SHA1_80"
_GCM: Final = "AEAD_AES_128_GCM"
_NEGOTIABLE: Final = ("AES_*", "AEAD_*")
_WELL_KNOWN: Final = (_CM, _GCM)


@dataclass(frozen=True, slots=True)
class Row:
    """Cells: every combination of what stands here. Names are patterns as of a shell."""

    operations: str
    suites: tuple[str, ...]
    bursts: tuple[int, ...]
    subjects: tuple[str, ...]
    payloads: tuple[int, ...] = (20, 160, 1200)
    contexts: tuple[int, ...] = (STREAMS,)

    def has(self, cell: Cell, setting: Setting) -> bool:
        case = cell.case
        return (
            fnmatchcase(case.operation, self.operations)
            and any(fnmatchcase(case.suite, suite) for suite in self.suites)
            and cell.burst in self.bursts
            and case.payload in self.payloads
            and case.contexts in self.contexts
            and any(_is_subject(pattern, cell, setting) for pattern in self.subjects)
        )


def _is_subject(pattern: str, cell: Cell, setting: Setting) -> bool:
    if pattern == ANY_ENGINE:
        return not cell.is_peer
    if pattern == CHOSEN_ENGINE:
        return not cell.is_peer and setting.chosen.get(cell.case.suite) == cell.subject
    return cell.is_peer and fnmatchcase(cell.subject, pattern)


_PACKETS: Final = "srtp_*protect"
# fmt: off
DEFAULT: Final = (
    Row(_PACKETS, _NEGOTIABLE, (1, 64), (ANY_ENGINE, "libsrtp", "evp")),
    Row(_PACKETS, _WELL_KNOWN, (1,), ("libre", "ipsecmb-direct")),
    Row(_PACKETS, _WELL_KNOWN, (4,), (ANY_ENGINE, "ipsecmb-*")),
    Row(_PACKETS, _WELL_KNOWN, (64,), ("ipsecmb-jobs", "ipsecmb-burst", "ipsecmb-passes")),
    Row(_PACKETS, (_CM,), (1,), ("evp-masked",)),
    Row(_PACKETS, _WELL_KNOWN, (64,), (CHOSEN_ENGINE,), payloads=(160,), contexts=(1, 1000, 10_000)),
    Row("srtcp_*", _WELL_KNOWN, (1,), (CHOSEN_ENGINE, "libsrtp", "libre"), payloads=(COMPOUND,)),
    Row("srtp_setup", _WELL_KNOWN, (1,), (ANY_ENGINE, "libsrtp", "libre"), payloads=(0,)),
    Row("ssrc_protect", (_GCM,), (1,), (CHOSEN_ENGINE, "libsrtp"), payloads=(160,), contexts=(1,)),
    Row("python_*", _WELL_KNOWN, (1, 64), (CHOSEN_ENGINE, "pylibsrtp")),
)
QUICK: Final = (
    Row(_PACKETS, _WELL_KNOWN, (1, 64), (CHOSEN_ENGINE, "libsrtp", "evp"), payloads=(160,)),
)
# fmt: on


class UnknownScenario(Exception):
    """No scenario has this name here; `args[0]` is the name."""


def timed_module(cell: Cell) -> Scenarios:
    name = TIMED[1] if cell.case.operation.startswith("python_") else TIMED[0]
    return cast(Scenarios, import_module(name))


def all_cells(setting: Setting) -> list[Cell]:
    modules = (cast(Scenarios, import_module(name)) for name in TIMED)
    return [cell for module in modules for cell in module.cells(setting)]


def all_facts(setting: Setting) -> list[Fact]:
    return [fact for name in COUNTED for fact in import_module(name).facts(setting)]


def run_whole(name: str) -> Any:
    """A frozen dataclass of results."""
    return import_module(WHOLE[name]).run()


def chosen_by_rows(cells: Iterable[Cell], rows: Sequence[Row], setting: Setting) -> list[Cell]:
    return [cell for cell in cells if any(row.has(cell, setting) for row in rows)]


def matching(cells: Iterable[Cell], patterns: Sequence[str]) -> list[Cell]:
    return [cell for cell in cells if any(fnmatchcase(cell.name, pattern) for pattern in patterns)]


def chosen_by_name(cells: Sequence[Cell], patterns: Sequence[str], *, with_peers: bool) -> list[Cell]:
    """Cells whose names match, and with them the peers they can be compared with. Raises UnknownScenario."""
    for pattern in patterns:
        if pattern not in WHOLE and not matching(cells, [pattern]):
            raise UnknownScenario(pattern)
    named = set(matching(cells, patterns))
    wanted = {(cell.case, cell.burst) for cell in named if not cell.is_peer} if with_peers else set()
    return [cell for cell in cells if cell in named or (cell.is_peer and _is_wanted(cell, wanted))]


def _is_wanted(peer: Cell, wanted: set[tuple[Case, int]]) -> bool:
    return any(case == peer.case and (burst == peer.burst or not peer.batched) for case, burst in wanted)
