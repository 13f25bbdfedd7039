"""Where it was measured: processor, its features, kernel, compilers, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from ueagent_native._core import ffi, lib

from ueagent_bench import clock, origin

# What engines and gates ask for, as the kernel names it.
_OF_INTEREST: Final = (
    "ssse3", "sse4_1", "avx", "avx2", "avx512f", "avx512bw", "avx512vl", "aes", "pclmulqdq", "vaes", "vpclmulqdq",
    "sha_ni", "gfni", "asimd", "neon", "pmull", "sha1", "sha2", "sve", "sve2",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    processor: str
    family: str
    cores: int
    features: tuple[str, ...]
    system: str
    clock: str
    core_mhz: int  # as the chain of additions says
    compiler: str  # of the C core
    python: str
    ueagent: str
    commit: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip().lower(), value.strip())
    return found


def features() -> frozenset[str]:
    """All of them, in the kernel's words; empty where there is no /proc/cpuinfo."""
    info = _cpuinfo()
    return frozenset((info.get("flags") or info.get("features") or "").split())


def _family(info: Mapping[str, str]) -> str:
    if "cpu family" in info:
        return f"family {info['cpu family']} model {info.get('model', '?')} stepping {info.get('stepping', '?')}"
    return f"part {info['cpu part']}" if "cpu part" in info else ""


def _commit() -> str:
    """Of the tree that was installed, as it is now; "unknown" when it is not at hand."""
    tree = origin.tree()
    if tree is None:
        return "unknown"
    command = ["git", "-C", str(tree), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip() or "unknown"


def _version() -> str:
    try:
        return version("ueagent")
    except PackageNotFoundError:
        return "unknown"


@cache
def describe() -> Machine:
    info, has = _cpuinfo(), features()
    return Machine(
        processor=info.get("model name") or info.get("hardware") or platform.processor() or platform.machine(),
        family=_family(info),
        cores=os.cpu_count() or 1,
        features=tuple(name for name in _OF_INTEREST if name in has),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        clock=clock.name(),
        core_mhz=round(clock.cycles_per_tick() * clock.ticks_per_second() / 1e6),
        compiler=ffi.string(lib.ums_bench_compiler()).decode(),
        python=platform.python_version(),
        ueagent=_version(),
        commit=_commit(),
    )
