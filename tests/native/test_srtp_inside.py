"""Ends of counters (SRTP-8) and failing engines, which packets cannot reach: the cases of srtp_inside.c.

Compiled from the sources beside the tests with ASan and UBSan where the compiler has them; needs a C compiler.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).with_name("srtp_inside.c")
CASES = re.findall(r"^    CASE\((\w+)\)", SOURCE.read_text(), re.M)
PARTS = ("core", "arena", "suite", "kdf", "engine", "engine_portable", "engine_self_test")
PRIMITIVES = ("aes_vector", "aes_word", "ghash", "hmac_sha1", "hmac_sha1_lanes", "sha1")
OURS = ("index", "layout", "stream", "context", "srtp", "srtp_long")
COMPILER = shutil.which(os.environ.get("CC", "cc"))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built program. Only the portable engine: rows of files that are not built are absent."""
    if COMPILER is None:
        if os.environ.get("CI"):
            pytest.fail("no C compiler")
        pytest.skip("no C compiler")
    native = ROOT / "native"
    out = tmp_path_factory.mktemp("inside") / "inside"
    sources = [native / "src" / f"{name}.c" for name in (*PARTS, *OURS)]
    sources += [native / "src" / "prim" / f"{name}.c" for name in PRIMITIVES]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread", "-Wall", "-Wextra", "-Werror"]
    include = [f"-I{native / 'include'}", f"-I{native / 'src'}"]
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [COMPILER, *flags, *include, "-o", str(out), str(SOURCE), *map(str, sources)]
    if subprocess.run([*command, *sanitize], capture_output=True, check=False).returncode != 0:
        subprocess.run(command, check=True)
    return out


@pytest.mark.parametrize("case", CASES)
def test_case_holds(program: Path, case: str) -> None:
    done = subprocess.run([program, case], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_unknown_case_is_no_success(program: Path) -> None:
    assert subprocess.run([program, "nothing"], check=False).returncode == 2
