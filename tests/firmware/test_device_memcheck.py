"""No branch or address of the device depends on a secret: valgrind with its keys and payload poisoned."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support.core_build import ROOT, build

PROGRAM = ROOT / "native" / "tests" / "memcheck_device.c"
FOUND = 9

pytestmark = pytest.mark.skipif(
    shutil.which("valgrind") is None or shutil.which("cc") is None,
    reason="needs valgrind with its headers and a C compiler (apt install valgrind gcc)",
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the 32-bit form of AES, as on a microcontroller."""
    extra = ("-DUMS_MEMCHECK", "-DUMS_AES_WORD_BITS=32")
    return build(PROGRAM, tmp_path_factory.mktemp("device"), "cc", extra=extra)


def watch(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["valgrind", "-q", f"--error-exitcode={FOUND}", str(program), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={"PATH": "/usr/bin:/bin"}
    )


def test_nothing_of_the_device_depends_on_a_secret(program: Path) -> None:
    """SRTP-7: session, key load, protect, unprotect of good and forged packets in every suite."""
    done = watch(program)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "0 failures\n")


def test_a_planted_leak_of_the_device_is_found(program: Path) -> None:
    assert watch(program, "branch").returncode == FOUND
