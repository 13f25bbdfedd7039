"""SRTP-2: every SHA-1 kernel of the x86 engines, also those that the processor's own choice passes over."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import pytest
from support.core_build import build, run

SOURCE = Path(__file__).with_name("mac_kernels.c")
KERNELS = ("plain", "sha-ni", "ni avx512", "x4 sse", "x8 avx2", "x8 avx512", "x16 avx512")
COMPILER = shutil.which(os.environ.get("CC", "cc"))

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64"),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler"),
]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program says of each kernel, built with the flags of the product."""
    assert COMPILER is not None
    lines = run([str(build(SOURCE, tmp_path_factory.mktemp("kernels"), COMPILER))]).splitlines()
    return {name: line[len(name) + 1 :] for line in lines for name in KERNELS if line.startswith(name)}


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_agrees_with_hmac_sha1_in_plain_c(verdicts: dict[str, str], kernel: str) -> None:
    """SRTP-2: any number of messages up to its lanes, of unlike length."""
    if verdicts[kernel] == "absent":
        pytest.skip(f"this machine's processor cannot run {kernel}")
    assert verdicts[kernel] == "ok"
