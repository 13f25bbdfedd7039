"""G.711 companding against sox and ffmpeg, and against values printed in the Recommendation."""

import shutil
import subprocess
from array import array

import pytest

from ueagent.lab.g711 import CODECS, PACKET_SAMPLES, PCMA, PCMU, Codec

ALL_CODES = bytes(range(256))
ALL_SAMPLES = array("h", range(-32768, 32768))
TOOL_NAMES = {"PCMU": ("mulaw", "ul"), "PCMA": ("alaw", "al")}
codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not here: apt install ffmpeg")


def ffmpeg(data: bytes, source: str, target: str) -> bytes:
    command = ["ffmpeg", "-v", "error", "-f", source, "-ar", "8000", "-ac", "1", "-i", "-", "-f", target, "-"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@needs_ffmpeg
@codecs
def test_every_code_decodes_as_in_ffmpeg(codec: Codec) -> None:
    expected = ffmpeg(ALL_CODES, TOOL_NAMES[codec.name][0], "s16le")
    assert codec.decode(ALL_CODES) == array("h", expected)


@needs_ffmpeg
@codecs
def test_every_sample_encodes_as_in_ffmpeg_or_to_the_next_code(codec: Codec) -> None:
    """ffmpeg takes the nearest output; G.711 has decision values, which differ from that where segments meet."""
    theirs = ffmpeg(ALL_SAMPLES.tobytes(), "s16le", TOOL_NAMES[codec.name][0])
    ours = codec.encode(ALL_SAMPLES)
    levels = sorted(set(codec.decode(ALL_CODES)))
    different = [(a, b) for a, b in zip(codec.decode(ours), codec.decode(theirs), strict=True) if a != b]
    assert len(different) < 0.02 * len(ALL_SAMPLES)
    assert all(abs(levels.index(a) - levels.index(b)) == 1 for a, b in different)


@pytest.mark.parametrize(("boundary", "below", "above"), [(4063, 0x90, 0x8F), (2015, 0xA0, 0x9F), (31, 0xF0, 0xEF)])
def test_mu_law_segments_meet_at_the_decision_values_of_table_2a(boundary: int, below: int, above: int) -> None:
    assert PCMU.encode(array("h", [4 * boundary - 1, 4 * boundary])) == bytes((below, above))


@pytest.mark.parametrize(("boundary", "below", "above"), [(2048, 0xEF, 0xF0), (1024, 0xDF, 0xE0), (64, 0x9F, 0xA0)])
def test_a_law_segments_meet_at_the_decision_values_of_table_1a(boundary: int, below: int, above: int) -> None:
    """Codes as the Recommendation numbers them, before every other bit is inverted."""
    raw = bytes(code ^ 0x55 for code in PCMA.encode(array("h", [8 * boundary - 1, 8 * boundary])))
    assert raw == bytes((below, above))


@codecs
def test_encoding_a_decoded_code_gives_it_back(codec: Codec) -> None:
    round_trip = codec.encode(codec.decode(ALL_CODES))
    negative_zero = 0x7F if codec is PCMU else None  # mu-law has two codes for zero
    assert [code for code in ALL_CODES if round_trip[code] != code and code != negative_zero] == []


def test_decoded_values_are_those_of_the_recommendation() -> None:
    """G.711 tables 1a and 2a, columns 6 to 8: outputs for the last and first values, at 13 and 14 bits."""
    assert list(PCMU.decode(bytes((0x80, 0x00, 0xFF, 0x8F)))) == [8031 * 4, -8031 * 4, 0, 4191 * 4]
    assert list(PCMA.decode(bytes((0xAA, 0x2A, 0xD5, 0x55)))) == [4032 * 8, -4032 * 8, 1 * 8, -1 * 8]


@codecs
def test_packets_hold_twenty_milliseconds_and_end_in_silence(codec: Codec) -> None:
    first, second = codec.packets(array("h", [1000] * (PACKET_SAMPLES + 10)))
    assert len(first) == len(second) == PACKET_SAMPLES
    assert max(map(abs, codec.decode(second[10:]))) <= 8
