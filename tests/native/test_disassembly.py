"""What valgrind cannot run is read instead: vaes256, vaes512 and the SHA-1 kernels, as the compiler left them. SRTP-13.

Secrets live in vector registers there. They could steer the program only through an instruction that turns a vector or
a mask into flags, or that takes addresses from a vector. The first kind may be the verdict on a tag and nothing else;
the second kind may not occur.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.core_build import FLAGS, ROOT, run

COMPILER = shutil.which(os.environ.get("CC", "cc"))
TO_FLAGS = re.compile(
    r"^v?(ptest|testp[sd]|u?comis[sd]|pmovmskb|movmskp[sd])\b|^k(or)?test[bwdq]\b|^kmov[bwdq]\s+%k\d,%[re]"
)
FROM_VECTOR_ADDRESSES = re.compile(r"^v?p?(gather|scatter)")
# Functions that open packets, with the one verdict each holds; `submit` holds what the compiler put into it.
VERDICTS = {"gcm_128": 1, "gcm_256": 1, "hmac_burst": 1, "hmac_one": 1, "submit": 2}
# Masks in general registers that were read and hold lengths.
LENGTHS = {"submit": 4}

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or COMPILER is None or shutil.which("objdump") is None,
    reason="this machine has no x86-64 compiler and objdump: apt-get install gcc binutils",
)


def watched() -> dict[str, list[str]]:
    """Source file -> its own flags, of the files that valgrind's processor is too old for."""
    code = "import build_native as b, json; print(json.dumps([b.sources(), b.ISA_FLAGS]))"
    sources, flags = json.loads(
        run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "native")})
    )
    newer = ("-mvaes", "-mavx512f", "-mavx2")
    return {name: flags[Path(name).name] for name in sources if set(flags.get(Path(name).name, ())) & set(newer)}


def instructions(source: str, flags: list[str], folder: Path) -> Counter[tuple[str, str]]:
    """(function, mnemonic) -> how often, of the instructions in question in one source file."""
    target = folder / "one.o"
    includes = [f"-I{ROOT}/native/include", f"-I{ROOT}/native/src"]
    run([str(COMPILER), *FLAGS, *includes, *flags, "-c", str(ROOT / source), "-o", str(target)])
    found: Counter[tuple[str, str]] = Counter()
    function = ""
    for line in run(["objdump", "-d", "--no-show-raw-insn", str(target)]).splitlines():
        if head := re.match(r"^[0-9a-f]+ <(.+)>:", line):
            function = head[1]
        elif "\t" in line:
            text = line.split("\t")[-1].strip()
            if TO_FLAGS.match(text) or FROM_VECTOR_ADDRESSES.match(text):
                found[function, text.split()[0]] += 1
    return found


@pytest.mark.parametrize("source", sorted(watched()) if platform.machine() == "x86_64" else [])
def test_vectors_become_flags_only_for_the_verdict_on_a_tag(source: str, tmp_path: Path) -> None:
    for (function, mnemonic), count in instructions(source, watched()[source], tmp_path).items():
        assert not FROM_VECTOR_ADDRESSES.match(mnemonic), f"{function} takes addresses from a vector"
        allowed = (LENGTHS if mnemonic.startswith("kmov") else VERDICTS).get(function.split(".")[0], 0)
        assert count <= allowed, f"{function}: {count} times {mnemonic}"


def test_a_planted_comparison_is_found(tmp_path: Path) -> None:
    source = tmp_path / "planted.c"
    source.write_text(
        "#include <immintrin.h>\nint planted(__m512i a, __m512i b) { return _mm512_cmpeq_epi8_mask(a, b) ? 1 : 2; }\n"
    )
    run([str(COMPILER), "-O2", "-mavx512bw", "-c", str(source), "-o", str(tmp_path / "planted.o")])
    text = run(["objdump", "-d", "--no-show-raw-insn", str(tmp_path / "planted.o")])
    assert any(TO_FLAGS.match(line.split("\t")[-1].strip()) for line in text.splitlines() if "\t" in line)
