"""Frames of UMSA-1, by the Python half; tests of the device show that the C half agrees."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.accelerator import linked
from ueagent_firmware.frame import Frame, FrameReader, cobs, crc32c, parse, uncobs
from ueagent_firmware.messages import MAX_BODY, Op


def test_the_checksum_is_crc_32c() -> None:
    """RFC 3720, B.4: 32 octets of zero, of ones, ascending."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(st.binary(max_size=1200))
def test_stuffing_has_no_zero_and_comes_back(octets: bytes) -> None:
    assert 0 not in cobs(octets)
    assert uncobs(cobs(octets)) == octets


@given(st.binary(max_size=600))
def test_any_octets_are_a_frame_or_damaged(octets: bytes) -> None:
    reader = FrameReader()
    list(reader.feed(octets + b"\0"))


def test_a_frame_comes_back_whatever_its_pieces() -> None:
    frame = Frame(Op.STATUS, 7, 3, 0, bytes(300))
    reader = FrameReader()
    assert [found for octet in frame.encode() for found in reader.feed(bytes((octet,)))] == [frame]


@pytest.mark.parametrize("bit", range(0, 8 * 19, 7))
def test_a_flipped_bit_is_noticed(bit: int) -> None:
    encoded = bytearray(Frame(Op.STATUS, 1, body=b"0123456789").encode())
    encoded[bit // 8] ^= 1 << bit % 8
    assert parse(bytes(encoded[:-1])) is None


@pytest.mark.parametrize("length", [0, 1, 245, 246, 247, 248, 500, 754, 755, MAX_BODY])
def test_device_and_host_agree_about_frames_of_every_length(length: int) -> None:
    """A frame of that body is good for the device: it says that it is no request, not that it is damaged."""
    for body in (b"\1" * length, bytes(length), random.Random(length).randbytes(length)):
        port, _ = linked()
        answers = list(FrameReader().feed(port.device.feed(Frame(0x55, 9, body=body).encode())))
        assert [(answer.op, answer.seq) for answer in answers] == [(0x55, 9)]


@given(
    st.lists(
        st.sampled_from([b"\0", b"\1", b"\xff", b"text", bytes(300), b"\1" * 700, b"\2" * 300, b"\xff" + b"x" * 254])
    )
)
def test_device_and_host_agree_about_any_octets_whatever_their_pieces(pieces: list[bytes]) -> None:
    whole, parts = linked()[0].device, linked()[0].device
    octets = b"".join(pieces) + b"\0"
    answers = whole.feed(octets)
    assert b"".join(parts.feed(piece) for piece in [*pieces, b"\0"]) == answers
    reader = FrameReader()
    found = len(list(reader.feed(octets)))
    assert len(list(FrameReader().feed(answers))) == found + reader.damaged


def test_noise_between_frames_costs_no_frame() -> None:
    port, link = linked()
    noise = random.Random(1)
    for _ in range(100):
        port.device.feed(noise.randbytes(noise.randrange(50)) + b"\0")
        assert link.hello().slots == 16
