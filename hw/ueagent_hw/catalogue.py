"""The engines there are, best first: what each is and what it needs. One row per engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Descriptor:
    """`needs` names CPU features as the kernel spells them; empty: every machine has what it takes."""

    name: str
    kind: Literal["cpu"]
    needs: tuple[str, ...]
    summary: str


# In the order of the C core's table (compared by a test).
CATALOGUE: Final = (
    Descriptor("vaes512", "cpu", ("vaes", "vpclmulqdq", "avx512vl"), "VAES, VPCLMULQDQ and AVX-512 of x86-64"),
    Descriptor("vaes256", "cpu", ("vaes", "vpclmulqdq", "avx2"), "VAES and VPCLMULQDQ of x86-64 with AVX2"),
    Descriptor("aesni", "cpu", ("aes", "pclmulqdq", "sse4_1"), "AES-NI and PCLMULQDQ of x86-64"),
    Descriptor("armv8ce", "cpu", ("aes",), "cryptography extensions of ARMv8; GCM needs pmull too"),
    Descriptor("portable", "cpu", (), "constant-time C for every machine"),
)


def descriptor(name: str) -> Descriptor | None:
    return next((row for row in CATALOGUE if row.name == name), None)
