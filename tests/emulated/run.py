#!/usr/bin/env python3
"""The C core on machines that are emulated (qemu-user): `python tests/emulated/run.py [--stage NAME ...]`.

    aarch64 arm mips mipsel riscv64   known answers and round trips (native/tests/kat.c), cross-compiled
    counts                            instructions per packet against counts.json; more than 3 % above is a failure
    python                            the core's Python tests on an aarch64 CPython with the cross-built wheel

Needs the cross compilers and qemu-user of Debian; `python` also debootstrap, and the indices that apt and pip are
configured for. `--record` writes what `counts` found to counts.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from support.core_build import ROOT, build, run  # noqa: E402  # needs the path above

COUNTS = HERE / "counts.json"
TOLERANCE = 1.03


@dataclass(frozen=True)
class Machine:
    triplet: str
    name: str  # as platform.machine() says it
    qemu: str
    # What each model of processor must report: engine -> OK or absent.
    processors: dict[str, dict[str, str]]

    @property
    def sysroot(self) -> str:
        return f"/usr/{self.triplet}"

    @property
    def compiler(self) -> str:
        return f"{self.triplet}-gcc"


PORTABLE = {"portable": "OK"}
MACHINES = {
    "aarch64": Machine(
        "aarch64-linux-gnu",
        "aarch64",
        "qemu-aarch64",
        {m: {"armv8ce": "OK", **PORTABLE} for m in ("cortex-a53", "max")},
    ),
    "arm": Machine(
        "arm-linux-gnueabihf",
        "armv7l",
        "qemu-arm",
        {"cortex-a7": {"armv8ce": "absent", **PORTABLE}, "max": {"armv8ce": "OK", **PORTABLE}},
    ),
    "mips": Machine("mips-linux-gnu", "mips", "qemu-mips", {"24Kf": PORTABLE}),  # big-endian
    "mipsel": Machine("mipsel-linux-gnu", "mips", "qemu-mipsel", {"24Kf": PORTABLE}),
    "riscv64": Machine("riscv64-linux-gnu", "riscv64", "qemu-riscv64", {"rv64": PORTABLE}),
}

# machine, engine, suite (ums_suite), packets a call
COUNTED = [
    ("aarch64", "armv8ce", 1, 1),
    ("aarch64", "armv8ce", 1, 64),
    ("aarch64", "armv8ce", 7, 1),
    ("aarch64", "armv8ce", 7, 64),
    ("aarch64", "portable", 1, 1),
    ("aarch64", "portable", 1, 64),
    ("aarch64", "portable", 7, 64),
    ("arm", "portable", 1, 1),
    ("arm", "portable", 1, 64),
    ("riscv64", "portable", 1, 64),
]


def build_for(machine: Machine, program: Path, out: Path) -> Path:
    return build(program, out / machine.triplet, machine.compiler, machine.name)


def known_answers(name: str, out: Path) -> None:
    machine = MACHINES[name]
    binary = build_for(machine, ROOT / "native" / "tests" / "kat.c", out)
    for processor, engines in machine.processors.items():
        text = run([machine.qemu, "-cpu", processor, "-L", machine.sysroot, str(binary)])
        print(f"{name} {processor}: {text.splitlines()[-1]}")
        reported = dict(re.findall(r"^engine (\w+): (\w+)$", text, re.M))
        if reported != engines:
            raise SystemExit(f"{name} {processor}: expected {engines}, found {reported}")


# ------------------------------------------------------------------------------------------------------ counting --


def instructions(machine: Machine, plugin: Path, binary: Path, engine: str, suite: int, burst: int) -> int:
    """Per packet. Two marks with nothing between them come first: what a mark costs."""
    command = [machine.qemu, "-plugin", str(plugin), "-L", machine.sysroot, str(binary), engine, str(suite), str(burst)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    marks = [int(n) for n in re.findall(r"^mark (\d+)$", done.stderr, re.M)]
    if len(marks) != 4:
        raise SystemExit(f"the plug-in saw {len(marks)} marks instead of 4: {done.stderr[:500]}")
    return round((marks[3] - marks[2] - (marks[1] - marks[0])) / 64)


def counts(out: Path, record: bool) -> None:
    plugin = out / "counter.so"
    run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", str(HERE / "counter.c"), "-o", str(plugin)])
    known: dict[str, int] = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    found, worse = {}, []
    for name, engine, suite, burst in COUNTED:
        machine = MACHINES[name]
        binary = build_for(machine, HERE / "count.c", out)
        label = f"{name} {engine} suite {suite}, {burst} a call"
        found[label] = instructions(machine, plugin, binary, engine, suite, burst)
        limit = known.get(label, 0) * TOLERANCE
        print(f"{label}: {found[label]} instructions per packet, recorded {known.get(label)}")
        if found[label] > limit:
            worse.append(label)
    if record:
        COUNTS.write_text(json.dumps(found, indent=1) + "\n")
    elif worse:
        raise SystemExit(f"more than {TOLERANCE - 1:.0%} above the record: {worse}")


# -------------------------------------------------------------------------------------------- Python on aarch64 --

PYTHON_PACKAGES = ["cffi", "cryptography", "hypothesis", "numpy", "pylibsrtp", "pytest"]
NEEDED_BY_THEM = ["iniconfig", "packaging", "pluggy", "pycparser", "pygments", "sortedcontainers"]

# What qemu-user does not emulate; everything else must pass.
NOT_EMULATED = {
    "tests/native/test_srtp_inside.py": "a program of the target cannot start another one",
    "tests/native/test_memory_probe.py": "as that, and memory is the emulator's",
    "tests/native/test_srtp_residue.py": "the stack is the emulator's too",
    "tests/native/test_mac_kernels.py": "kernels of x86-64",
    "tests/native/test_memcheck.py": "valgrind runs programs of its own machine",
    "tests/native/test_disassembly.py": "reads code for x86-64",
    "tests/native/test_arena.py::test_the_kernel_confirms_what_the_flags_claim": "smaps is written by the emulator",
    "tests/native/test_arena.py::test_a_child_process_sees_zeros": "the emulator does not pass MADV_WIPEONFORK on",
    "tests/native/test_arena.py::test_a_closed_arena_is_unmapped_and_closing_again_does_nothing": "as smaps",
}


def debian_mirror() -> str:
    """Where apt is configured to get the main archive of this release from."""
    for line in run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"]).splitlines():
        uri, _, release = line.partition(" ")
        if release == "bookworm":
            return uri
    raise SystemExit("apt knows no source of bookworm")


def make_tree(tree: Path) -> None:
    """A Debian for arm64, unpacked and not installed, and the wheels beside it."""
    staging = tree / "staging"
    options = ["--arch=arm64", "--foreign", "--variant=minbase", "--include=python3"]
    run(["debootstrap", *options, "bookworm", str(staging), debian_mirror()])
    for package in sorted((staging / "var/cache/apt/archives").glob("*.deb")):
        run(["dpkg", "-x", str(package), str(tree / "root")])
    tags = [f"--platform=manylinux{tag}_aarch64" for tag in ("2014", "_2_17", "_2_28")]
    abis = ["--implementation=cp", "--python-version=3.11", "--abi=cp311", "--abi=abi3", "--abi=none"]
    where = ["--target", str(tree / "site"), "--no-deps", "--only-binary=:all:"]
    run([sys.executable, "-m", "pip", "install", "-q", *where, *abis, *tags, *PYTHON_PACKAGES, *NEEDED_BY_THEM])
    (tree / "complete").touch()


def cross_wheel(machine: Machine, out: Path) -> Path:
    """The project's own wheel for aarch64, built from a copy so that no build folder is left behind."""
    copy, site = out / "source", out / "wheel"
    files = run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT).splitlines()
    for name in files:
        source, target = ROOT / name, copy / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)
    cross = {
        "UEAGENT_TARGET_MACHINE": machine.name,
        "_PYTHON_HOST_PLATFORM": f"linux-{machine.name}",
        "CC": machine.compiler,
        "AR": f"{machine.triplet}-ar",
        "LDSHARED": f"{machine.compiler} -shared",
    }
    run([sys.executable, "-m", "build", "-n", "-w", "-o", str(out / "dist"), str(copy)], env={**os.environ, **cross})
    (wheel,) = (out / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


# A program of the target cannot be started by another one, except through the emulator: so sys.executable is a script.
SITECUSTOMIZE = "import os, sys\nsys.executable = os.environ['UEAGENT_EMULATED_PYTHON']\n"


def python_tests(out: Path, tree: Path) -> None:
    machine = MACHINES["aarch64"]
    if not (tree / "complete").exists():
        make_tree(tree)
    site = cross_wheel(machine, out)
    (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
    python = out / "python"
    python.write_text(f'#!/bin/sh\nexec {machine.qemu} -L "{tree}/root" "{tree}/root/usr/bin/python3.11" "$@"\n')
    python.chmod(0o755)
    deselect = [f"--deselect={name}" for name in NOT_EMULATED]
    vectors = os.environ.get("UEAGENT_VECTORS", str(ROOT.parent / "shared" / "vectors"))
    environment = {
        **os.environ,
        "CC": machine.compiler,
        "PYTHONPATH": f"{site}:{tree / 'site'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "UEAGENT_EMULATED_PYTHON": str(python),
        "UEAGENT_VECTORS": vectors,
    }
    command = [str(python), "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *deselect, "tests/native"]
    done = subprocess.run(command, cwd=out / "source", env=environment)
    if done.returncode != 0:
        raise SystemExit(f"pytest on {machine.name} ended with {done.returncode}")


# --------------------------------------------------------------------------------------------------------- stages --


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*MACHINES, "counts", "python"]
    parser.add_argument("--stage", action="append", choices=names, help="repeatable; default: all")
    parser.add_argument("--record", action="store_true", help="write counts.json instead of comparing with it")
    parser.add_argument("--tree", type=Path, help="keep the arm64 Debian here and use it again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        tree = (options.tree or out / "tree").resolve()
        tree.mkdir(parents=True, exist_ok=True)
        stages: dict[str, Callable[[], None]] = {
            **{name: lambda name=name: known_answers(name, out) for name in MACHINES},  # type: ignore[misc]
            "counts": lambda: counts(out, options.record),
            "python": lambda: python_tests(out, tree),
        }
        for name in options.stage or names:
            start = time.monotonic()
            stages[name]()
            print(f"stage {name} passed in {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
