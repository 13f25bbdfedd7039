"""Recordings in and out."""

import io
import math
import wave
from array import array
from pathlib import Path

import pytest

from ueagent.errors import ResourceError, UsageError
from ueagent.lab.wave import read_wav, shipped_speech, write_wav


def make_wav(path: Path, samples: array, *, rate: int = 8000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


def tone(rate: int, seconds: float, hertz: float = 440.0) -> array:
    return array("h", (round(8000 * math.sin(2 * math.pi * hertz * i / rate)) for i in range(int(rate * seconds))))


def test_shipped_speech_is_short_8_khz_speech() -> None:
    speech = shipped_speech()
    assert 2.0 <= speech.seconds <= 3.0
    assert speech.note == ""
    assert max(map(abs, speech.samples)) > 10_000


def test_written_samples_are_read_back(tmp_path: Path) -> None:
    samples = tone(8000, 0.1)
    write_wav(tmp_path / "a.wav", samples)
    assert read_wav(tmp_path / "a.wav", 10).samples == samples


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_other_rates_keep_length_and_pitch(tmp_path: Path, rate: int) -> None:
    recording = read_wav(make_wav(tmp_path / "a.wav", tone(rate, 0.5), rate=rate), 10)
    assert recording.seconds == pytest.approx(0.5, abs=0.001)
    crossings = sum(a < 0 <= b for a, b in zip(recording.samples, recording.samples[1:], strict=False))
    assert crossings == pytest.approx(220, abs=2)
    assert ("converted" in recording.note) == (rate != 8000)


def test_stereo_is_mixed(tmp_path: Path) -> None:
    recording = read_wav(make_wav(tmp_path / "a.wav", array("h", [100, 300, -100, -300]), channels=2), 10)
    assert list(recording.samples) == [200, -200]


def test_eight_bit_is_widened(tmp_path: Path) -> None:
    recording = read_wav(make_wav(tmp_path / "a.wav", array("B", [128, 255, 0]), width=1), 10)
    assert list(recording.samples) == [0, 127 << 8, -128 << 8]


def test_long_recording_is_cut_and_says_so(tmp_path: Path) -> None:
    recording = read_wav(make_wav(tmp_path / "a.wav", tone(16000, 2), rate=16000), 0.5)
    assert recording.seconds == pytest.approx(0.5, abs=0.001)
    assert "lasts 2.0 s: only the first 0.5 s are played" in recording.note


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not a wave file at all, but long enough to be one", bytes(100)])
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UsageError, match=r"wav_unsupported: a.wav is no PCM WAV file: \S"):
        read_wav(tmp_path / "a.wav", 10)


def test_twenty_four_bits_are_refused_with_what_is_allowed(tmp_path: Path) -> None:
    make_wav(tmp_path / "a.wav", array("B", bytes(300)), width=3)
    with pytest.raises(UsageError, match=r"a\.wav has 24 bit, 1 channels, 8000 Hz; playable are 8 or 16 bit"):
        read_wav(tmp_path / "a.wav", 10)


def test_empty_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="wav_empty"):
        read_wav(make_wav(tmp_path / "a.wav", array("h")), 10)


def test_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_wav(tmp_path / "none.wav", 10)


def test_data_cut_off_mid_frame_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = io.BytesIO(make_wav(tmp_path / "a.wav", tone(8000, 0.1)).read_bytes())
    (tmp_path / "b.wav").write_bytes(whole.getvalue()[:-3])
    assert len(read_wav(tmp_path / "b.wav", 10).samples) == 798


def test_unwritable_path_is_a_resource_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="wav_not_written"):
        write_wav(tmp_path / "no" / "a.wav", array("h", [1]))
