"""C programs with the whole core in them, built as `native/build_native.py` would for the machine in question."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread")


def run(command: Sequence[str], **options: object) -> str:
    """Standard output; a command that fails is an error with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])} ... ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def build(program: Path, folder: Path, compiler: str, machine: str | None = None, extra: Sequence[str] = ()) -> Path:
    """`program` (one C file) and the core in `folder`. The core's objects there are used again by the next program."""
    code = "import build_native as b, json; print(json.dumps([b.sources(), b.ISA_FLAGS, b.ATOMICS]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "native"), "CC": compiler}
    if machine is not None:
        environment["UEAGENT_TARGET_MACHINE"] = machine
    sources, isa_flags, libraries = json.loads(run([sys.executable, "-c", code], env=environment))
    folder.mkdir(parents=True, exist_ok=True)
    flags = [*FLAGS, *extra, f"-I{ROOT}/native/include", f"-I{ROOT}/native/src", f"-I{ROOT}/firmware_bindings/firmware"]
    objects = []
    for name in sources:
        target = folder / (name.replace("/", "_") + ".o")
        if not target.exists():
            isa = isa_flags.get(Path(name).name, [])
            run([compiler, *flags, *isa, "-c", str(ROOT / name), "-o", str(target)])
        objects.append(str(target))
    binary = folder / program.stem
    run([compiler, *flags, str(program), *objects, "-o", str(binary), *libraries])
    return binary
