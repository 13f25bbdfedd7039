"""Builds `ueagent_native._core`: cffi API mode, limited API, every source file with its own ISA flags.

The C declarations that cffi reads come from `include/ums.h` itself: what stands between its include guards, less the
preprocessor's own lines. So there is one description of the API.

UEAGENT_TARGET_MACHINE names the machine to build for when it is not this one; UEAGENT_SANITIZE=1 builds with ASan
and UBSan.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
FIRMWARE = HERE.parent / "firmware_bindings" / "firmware"  # the protocol core that host and device share
MACHINE = os.environ.get("UEAGENT_TARGET_MACHINE") or platform.machine()
SANITIZE = os.environ.get("UEAGENT_SANITIZE") == "1"

# Source files that need more than the machine's baseline. Chosen at run time, so never -march=native.
_AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vbmi2"]
# SHA-1 in lanes: a round's last addition must stay last (x86/sha1_lanes.h), and -O3 unrolls the transpositions.
_LANES = ["-O3", "-fno-tree-reassoc", "-fno-schedule-insns2"] if "clang" not in os.environ.get("CC", "") else ["-O3"]
_X86: dict[str, list[str]] = {
    "engine_aesni.c": ["-maes", "-mpclmul", "-msse4.1", "-msha"],
    "engine_vaes256.c": ["-mavx2", "-maes", "-mvaes", "-mpclmul", "-mvpclmulqdq", "-msha"],
    "engine_vaes512.c": [*_AVX512, "-maes", "-mvaes", "-mpclmul", "-mvpclmulqdq", "-msha"],
    "mac_ni.c": ["-O3", "-msha", "-msse4.1"],
    "mac_ni_avx512.c": ["-O3", "-msha", *_AVX512],
    "mac_x16_avx512.c": [*_LANES, *_AVX512],
    "mac_x4_sse.c": [*_LANES, "-msse4.1"],
    "mac_x8_avx2.c": [*_LANES, "-mavx2"],
    "mac_x8_avx512.c": [*_LANES, *_AVX512],
    "sha1_ni.c": ["-msha", "-msse4.1"],
}
_CRYPTO_32 = ["-march=armv8-a", "-mfpu=crypto-neon-fp-armv8"]
_ARM = {"engine_armv8ce.c": ["-march=armv8-a+crypto"] if MACHINE == "aarch64" else _CRYPTO_32}
ISA_FLAGS = {**_X86, **_ARM}
ISA_FILES: dict[str, list[str]] = {
    "x86_64": [*_X86, "mac.c"],
    "aarch64": [*_ARM],
    "armv7l": [*_ARM],
    "armv8l": [*_ARM],
}
# Where 64-bit counters are not atomic by themselves, the compiler's library makes them so.
ATOMICS = [] if MACHINE in ("x86_64", "aarch64") else ["-Wl,--as-needed", "-latomic"]


def sources() -> list[str]:
    """What is built for MACHINE, relative to the root of the project."""
    isa = {name for names in ISA_FILES.values() for name in names}
    wanted = set(ISA_FILES.get(MACHINE, []))
    folders = (HERE / "src", HERE / "src" / "prim", HERE / "src" / "x86", FIRMWARE)
    found = [path for folder in folders for path in sorted(folder.glob("*.c"))]
    kept = [path for path in found if path.name not in isa or path.name in wanted]
    # setuptools wants paths relative to setup.py.
    return [os.path.relpath(path, HERE.parent) for path in kept]


def declarations(header: str) -> str:
    """The header as cffi reads it: no directives, constants as `#define NAME ...`, no alignment, no C++ brackets."""
    header = re.sub(r"/\*.*?\*/", " ", header, flags=re.S)
    header = re.sub(r"#ifdef __cplusplus.*?#endif", "", header, flags=re.S)
    constants = re.findall(r"^#define (UMS_\w+)[ \t]+\S", header, flags=re.M)
    body = re.sub(r"\\\n", " ", header)
    body = re.sub(r"^#.*$", "", body, flags=re.M)
    body = re.sub(r"_Alignas\(\w+\)\s*", "", body)
    body = re.sub(r"\b(UMS_KEY_MAX|UMS_MAX_PACKET)\]", "...]", body)
    # Structs that hold aligned members have padding that cffi must ask the compiler for.
    body = re.sub(r"(uint8_t iv\[16\];\s*void \*owner;)", r"\1 ...;", body)
    return "\n".join(f"#define {name} ..." for name in constants) + "\n" + body


_CFLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-pthread"]
_SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g"]

ffi = FFI()
for header in ("ums.h", "ums_accel.h"):
    ffi.cdef(declarations((HERE / "include" / header).read_text()))
ffi.set_source(
    "ueagent_native._core",
    '#include <string.h>\n#include <alloca.h>\n#include "ums.h"\n#include "ums_accel.h"\n',
    py_limited_api=True,
    sources=sources(),
    include_dirs=[os.path.relpath(path, HERE.parent) for path in (HERE / "include", HERE / "src", FIRMWARE)],
    extra_compile_args=[*_CFLAGS, "-Wno-unused-parameter", *(_SANITIZE if SANITIZE else [])],
    extra_link_args=["-pthread", *ATOMICS, *(_SANITIZE[:1] if SANITIZE else [])],
)
