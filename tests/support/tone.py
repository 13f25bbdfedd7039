"""A sine tone as G.711 mu-law (ITU-T G.711, table 2a/2b), and how much of a recording is one tone."""

from __future__ import annotations

import math
import wave
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

RATE = 8000
FRAME = 160  # samples in 20 ms


def _decoded(code: int) -> int:
    """Mu-law code word -> 16-bit sample: inverted sign, segment, step."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 0x07)) - 0x84
    return -magnitude if code & 0x80 else magnitude


MULAW = tuple(_decoded(code) for code in range(256))
_BY_VALUE = sorted((value, code) for code, value in enumerate(MULAW))
_VALUES = [value for value, _code in _BY_VALUE]


def _nearest(sample: int) -> int:
    at = bisect_left(_VALUES, sample)
    near = [index for index in (at - 1, at) if 0 <= index < len(_VALUES)]
    return _BY_VALUE[min(near, key=lambda index: abs(_VALUES[index] - sample))][1]


def sine_mulaw(frequency: int, samples: int, amplitude: int = 8000) -> bytes:
    step = 2 * math.pi * frequency / RATE
    return bytes(_nearest(round(amplitude * math.sin(step * n))) for n in range(samples))


def mulaw_to_linear(data: bytes) -> list[int]:
    return [MULAW[code] for code in data]


def read_wav(path: Path) -> tuple[list[int], int]:
    """(samples of the first channel, 16 bit; sampling rate)."""
    with wave.open(str(path)) as sound:
        channels, rate = sound.getnchannels(), sound.getframerate()
        assert sound.getsampwidth() == 2
        data = sound.readframes(sound.getnframes())
    step = 2 * channels
    return [int.from_bytes(data[at : at + 2], "little", signed=True) for at in range(0, len(data) - 1, step)], rate


def share_at(samples: Sequence[int], frequency: float, rate: int = RATE) -> float:
    """Share (0..1) of the energy at `frequency` and its close neighbourhood (Goertzel over windows of 0.1 s)."""
    window = rate // 10
    at_tone = whole = 0.0
    for start in range(0, len(samples) - window + 1, window):
        part = samples[start : start + window]
        factor = 2 * math.cos(2 * math.pi * frequency / rate)
        one = two = 0.0
        for sample in part:
            one, two = sample + factor * one - two, one
        at_tone += (one * one + two * two - factor * one * two) * 2 / window
        whole += sum(sample * sample for sample in part)
    return at_tone / whole if whole else 0.0
