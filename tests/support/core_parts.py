"""Parts of the C core that the public header does not show, compiled into a small library for their own tests."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "native" / "src"


def build(folder: Path, *sources: str) -> ctypes.CDLL:
    """The named files of `native/src` as a shared library in `folder`."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    library = folder / "parts.so"
    command = [compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*command, *(str(SOURCES / name) for name in sources)], check=True, timeout=120)
    return ctypes.CDLL(str(library))
