"""How many instructions a job takes on a Cortex-M3, counted; no time is measured. The README's table says it."""

from __future__ import annotations

import re
import shutil

import pytest
from support.accelerator import rtp, slot_key
from support.srtp import key_of
from support.srtp_model import Model
from support.thumb_board import FIRMWARE, ThumbBoard, build_firmware
from ueagent_firmware.frame import Frame, FrameReader
from ueagent_firmware.link import Link
from ueagent_firmware.messages import Direction, Op, Status, Suite

GOAL = 30_000  # a packet of 172 octets, AES-CM-128 with HMAC-SHA1-80
SILENCE, SPEECH = bytes(160), bytes(i * 73 + 41 & 255 for i in range(160))
INDEX = 6  # octets before the packet
CLEAR = 12

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="this machine has no arm-none-eabi-gcc"
)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> ThumbBoard:
    return ThumbBoard(build_firmware(tmp_path_factory.mktemp("thumb")))


OPS = {Op.PROTECT: Direction.PROTECT, Op.UNPROTECT: Direction.UNPROTECT}


def documented() -> dict[tuple[Suite, Op], int]:
    text = (FIRMWARE.parent / "README.md").read_text()
    rows = re.findall(r"^\| (AE\w+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    return {(Suite[name], op): int(count) for name, *counts in rows for op, count in zip(OPS, counts, strict=True)}


def instructions(board: ThumbBoard, suite: Suite, op: Op, payload: bytes) -> int:
    """Of one job, from the octets in the interrupt's ring to the last octet in the UART's register."""
    link = Link(board, clock=lambda: board.clock)
    link.hello()
    link.open_session(link.identity())
    assert link.load(0, slot_key(suite, OPS[op], *key_of(suite.name))).status is Status.OK
    plain = rtp(1, payload=payload)
    secured = Model(suite.name, *key_of(suite.name)).protect_rtp(plain, 0)
    packet, result = (plain, secured) if op is Op.PROTECT else (secured, plain)
    answer = board.count(Frame(op, 1, 0, body=(1).to_bytes(INDEX, "little") + packet).encode())
    assert [frame.body for frame in FrameReader().feed(answer)] == [result[CLEAR:]]
    return board.instructions


def test_a_voice_packet_takes_at_most_the_instructions_that_are_asked_for(board: ThumbBoard) -> None:
    """Octets in, COBS, CRC, crypto, CRC, COBS, octets out."""
    counted = {
        (op, name): instructions(board, Suite.AES_CM_128_HMAC_SHA1_80, op, payload)
        for op in OPS
        for name, payload in (("silence", SILENCE), ("speech", SPEECH))
    }
    assert max(counted.values()) <= GOAL, counted


@pytest.mark.parametrize(("suite", "op"), documented(), ids=lambda value: value.name)
def test_the_readme_says_how_many_instructions_a_job_takes(board: ThumbBoard, suite: Suite, op: Op) -> None:
    most = max(instructions(board, suite, op, payload) for payload in (SILENCE, SPEECH))
    assert most <= documented()[suite, op]
