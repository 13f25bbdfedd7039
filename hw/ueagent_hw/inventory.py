"""What this machine has: CPU features, and the engines of the C core with the result of their self-tests."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ueagent_native.engines import EngineInfo, list_engines

# Worth telling: what an engine of ours uses today or could use.
_TOLD: Final = (
    "aes", "pclmulqdq", "sse4_1", "sha_ni", "avx2", "vaes", "vpclmulqdq", "avx512f", "avx512bw", "avx512vl",
    "pmull", "sha1", "sha2", "sha3", "sve2",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inventory:
    machine: str  # as uname(2) says, for example x86_64
    cpu_features: tuple[str, ...]
    engines: tuple[EngineInfo, ...]  # best first


def take_inventory(*, self_test: bool = True) -> Inventory:
    return Inventory(platform.machine(), cpu_features(), tuple(list_engines(self_test)))


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Features of the first processor that matter here; empty where the kernel does not say."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            has = set(value.split())
            return tuple(feature for feature in _TOLD if feature in has)
    return ()
