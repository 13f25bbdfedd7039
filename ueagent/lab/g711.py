"""G.711 companding: 16-bit samples to octets and back by look-up (ITU-T G.711, tables 1a to 2b; RFC 3551, 4.5.14)."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

SAMPLE_RATE: Final = 8000
PACKET_SAMPLES: Final = 160  # 20 ms
PACKET_SECONDS: Final = PACKET_SAMPLES / SAMPLE_RATE


def _ulaw_to_linear(code: int) -> int:
    code ^= 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw_to_linear(code: int) -> int:
    code ^= 0x55
    segment, step = (code & 0x70) >> 4, code & 0x0F
    magnitude = (step << 4) + 8 if segment == 0 else ((step << 4) + 0x108) << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


def _linear_to_ulaw(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    biased = min(abs(sample), 32635) + 0x84
    segment = biased.bit_length() - 8
    return (sign | segment << 4 | (biased >> (segment + 3)) & 0x0F) ^ 0xFF


def _linear_to_alaw(sample: int) -> int:
    sign = 0x80 if sample >= 0 else 0
    magnitude = min(sample if sample >= 0 else -sample - 1, 32767)
    segment = max(magnitude.bit_length() - 8, 0)
    return (sign | segment << 4 | (magnitude >> max(segment + 3, 4)) & 0x0F) ^ 0x55


@dataclass(frozen=True, slots=True)
class Codec:
    """One row per companding law. `payload_type` is the static one of RFC 3551, table 4."""

    name: str
    payload_type: int
    silence: int
    to_linear: Callable[[int], int]
    from_linear: Callable[[int], int]

    def encode(self, samples: array[int]) -> bytes:
        """16-bit signed samples to one octet each."""
        table = _encode_table(self.name)
        return bytes(table[sample & 0xFFFF] for sample in samples)

    def decode(self, payload: bytes) -> array[int]:
        """One 16-bit signed sample per octet."""
        table = _decode_table(self.name)
        return array("h", (table[code] for code in payload))

    def packets(self, samples: array[int]) -> list[bytes]:
        """The payloads of 20 ms packets, the last one filled up with silence."""
        octets = self.encode(samples)
        return [
            octets[start : start + PACKET_SAMPLES].ljust(PACKET_SAMPLES, bytes((self.silence,)))
            for start in range(0, len(octets), PACKET_SAMPLES)
        ]


PCMU: Final = Codec("PCMU", 0, 0xFF, _ulaw_to_linear, _linear_to_ulaw)
PCMA: Final = Codec("PCMA", 8, 0xD5, _alaw_to_linear, _linear_to_alaw)
CODECS: Final = {codec.name: codec for codec in (PCMU, PCMA)}


@cache
def _decode_table(name: str) -> tuple[int, ...]:
    return tuple(CODECS[name].to_linear(code) for code in range(256))


@cache
def _encode_table(name: str) -> bytes:
    """Indexed by the sample's 16 bits, so that a negative sample needs no branch."""
    law = CODECS[name].from_linear
    return bytes(law(bits - 0x10000 if bits & 0x8000 else bits) for bits in range(0x10000))
