"""Recordings: PCM WAV files to 8 kHz mono samples for G.711, and back."""

from __future__ import annotations

import io
import math
import wave
from array import array
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import IO, Final

from ueagent.errors import ResourceError, UsageError
from ueagent.lab.g711 import SAMPLE_RATE

LOWEST_RATE: Final = 8000
HIGHEST_RATE: Final = 192_000


@dataclass(frozen=True, slots=True)
class Recording:
    """`samples`: 16-bit signed, mono, 8 kHz. `note` says what was changed to get there, or is empty."""

    samples: array[int]
    note: str = ""

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def shipped_speech() -> Recording:
    """The recording that comes with the lab."""
    with files("ueagent.lab").joinpath("speech.wav").open("rb") as file:
        return decode_wav(file, "speech.wav")


def read_wav(path: Path, max_seconds: float) -> Recording:
    """A caller's own file, cut to `max_seconds`. Raises UsageError when it cannot be read or is no PCM WAV."""
    try:
        with path.open("rb") as file:
            return decode_wav(file, path.name, max_seconds)
    except OSError as error:
        raise UsageError("wav_unreadable", f"{path}: {error.strerror}", field="wav") from None


def decode_wav(source: IO[bytes], name: str, max_seconds: float = math.inf) -> Recording:
    """Mixes to mono and resamples by linear interpolation. Raises UsageError for anything but 8- or 16-bit PCM."""
    try:
        with wave.open(source) as file:
            channels, width, rate, frames = (
                file.getnchannels(),
                file.getsampwidth(),
                file.getframerate(),
                file.getnframes(),
            )
            wanted = int(min(frames, max_seconds * rate))
            octets = file.readframes(wanted)
    except (wave.Error, EOFError) as error:
        why = str(error) or "it ends early"
        raise UsageError("wav_unsupported", f"{name} is no PCM WAV file: {why}", field="wav") from None
    if width not in (1, 2) or channels not in (1, 2) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        allowed = f"8 or 16 bit, one or two channels, {LOWEST_RATE} to {HIGHEST_RATE} Hz"
        found = f"{8 * width} bit, {channels} channels, {rate} Hz"
        raise UsageError("wav_unsupported", f"{name} has {found}; playable are {allowed}", field="wav")
    octets = octets[: len(octets) // (width * channels) * width * channels]
    samples = _widened(octets) if width == 1 else array("h", memoryview(octets).cast("h"))
    if channels == 2:
        samples = array("h", ((left + right) // 2 for left, right in zip(samples[::2], samples[1::2], strict=True)))
    if not samples:
        raise UsageError("wav_empty", f"{name} holds no samples", field="wav")
    notes = []
    if rate != SAMPLE_RATE:
        samples = _resampled(samples, rate)
        notes.append(f"{name} was converted from {rate} Hz to {SAMPLE_RATE} Hz")
    if wanted < frames:
        notes.append(f"{name} lasts {frames / rate:.1f} s: only the first {max_seconds:g} s are played")
    return Recording(samples, "; ".join(notes))


def write_wav(path: Path, samples: array[int]) -> None:
    """8 kHz mono 16-bit. Raises ResourceError when the file cannot be written."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise ResourceError("wav_not_written", f"{path}: {error.strerror}", field="out") from None


def _widened(octets: bytes) -> array[int]:
    return array("h", ((octet - 128) << 8 for octet in octets))


def _resampled(samples: array[int], rate: int) -> array[int]:
    """Averages over each step before interpolating, so that content above 4 kHz does not fold back loudly."""
    span = max(round(rate / SAMPLE_RATE), 1)
    blocks = (samples[start : start + span] for start in range(len(samples)))
    smooth = array("h", (sum(block) // len(block) for block in blocks)) if span > 1 else samples
    last = len(smooth) - 1
    count = max(len(smooth) * SAMPLE_RATE // rate, 1)
    out = array("h", bytes(2 * count))
    for index in range(count):
        at, fraction = divmod(index * rate, SAMPLE_RATE)
        here, after = smooth[min(at, last)], smooth[min(at + 1, last)]
        out[index] = here + (after - here) * fraction // SAMPLE_RATE
    return out
