"""No branch and no address depends on a secret: valgrind's memcheck with poisoned keys and payload. SRTP-7, SRTP-13."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.core_build import ROOT, build

PROGRAM = ROOT / "native" / "tests" / "memcheck.c"
COMPILER = shutil.which(os.environ.get("CC", "cc"))
FOUND = 9

# The portable AES has three forms; the machine's own, and those of machines with 64-bit and 32-bit words only.
FORMS = {"own": (), "word64": ("-DUMS_AES_WORD_BITS=64",), "word32": ("-DUMS_AES_WORD_BITS=32",)}

pytestmark = pytest.mark.skipif(
    shutil.which("valgrind") is None or COMPILER is None or not Path("/usr/include/valgrind/memcheck.h").exists(),
    reason="needs valgrind with its headers and a C compiler (apt install valgrind gcc)",
)


def watch(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["valgrind", "-q", f"--error-exitcode={FOUND}", str(program), *arguments]
    # A preloaded sanitizer of the tests' own interpreter would run under valgrind, too, and cannot.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    assert COMPILER is not None
    folder = tmp_path_factory.mktemp("memcheck")
    return {
        name: build(PROGRAM, folder / name, COMPILER, extra=("-DUMS_MEMCHECK", *flags)) for name, flags in FORMS.items()
    }


@pytest.mark.parametrize("form", FORMS)
def test_nothing_but_the_verdict_depends_on_a_secret(programs: dict[str, Path], form: str) -> None:
    """SRTP-7: key derivation, key load, protect, unprotect of good and forged packets, on all that valgrind can run."""
    done = watch(programs[form])
    assert (done.returncode, done.stderr) == (0, "")
    assert "engine portable" in done.stdout
    assert "0 failures" in done.stdout


@pytest.mark.parametrize("planted", ["branch", "address"])
def test_a_planted_leak_is_found(programs: dict[str, Path], planted: str) -> None:
    """SRTP-7: a watch that cannot find anything proves nothing."""
    assert watch(programs["own"], planted).returncode == FOUND


def test_the_verdict_on_a_tag_is_found_unless_declassified(tmp_path: Path) -> None:
    """SRTP-7: the poison reaches the core's own branches."""
    assert COMPILER is not None
    done = watch(build(PROGRAM, tmp_path, COMPILER))
    assert done.returncode == FOUND
    assert "Conditional jump or move depends on uninitialised value" in done.stderr
