"""The Thumb firmware under faults that are put in one at a time: bits that fall over, instructions that are not done.

Whatever happens: no key and no plaintext on the line, and no keystream of one packet in another. A fault in the middle
of AES or SHA-1 makes a wrong result, which nobody but the receiver, or a host that compares, can notice.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support.accelerator import DEVICE_KEY, rtp, slot_key
from support.srtp import key_of
from support.srtp_model import Model
from support.thumb_board import RAM, SECRETS_LEN, ThumbBoard, build_firmware, flip_memory, flip_register, skip
from ueagent_firmware.frame import Frame, FrameReader, uncobs
from ueagent_firmware.link import Link, LinkError
from ueagent_firmware.messages import Direction, Op, Status, Suite

SUITE = Suite.AES_CM_128_HMAC_SHA1_80
CLEAR, PAYLOAD, TAG, BLOCK, SEEN = 12, 160, 10, 16, 8  # octets; who sees 8 of a key or a text in a row has seen it
JOB, REPLAY, FORGED = 30_000, 5_500, 14_000  # instructions of a job, of one that is refused, until one was verified
SPENT, NEXT = (1, 2, 3), 4  # indices
SELF_TESTS = {
    "aes": "69c4e0d86a7b0430",
    "aes_cm": "e03ead0935c95e80",
    "hmac_sha1": "b617318655057264",
    "gcm": "0388dace60b6a392",
    "x25519": "c3da55379de9c690",
}

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="this machine has no arm-none-eabi-gcc"
)


def plain(index: int) -> bytes:
    return rtp(index, payload=bytes(index * 37 + k * (k + index) * 91 + k & 255 for k in range(PAYLOAD)))


PLAIN = {index: plain(index) for index in (*SPENT, NEXT)}
MASTER, SALT = key_of(SUITE.name)
THEIRS = (MASTER[::-1], SALT)  # of the other direction
SECURED = {index: Model(SUITE.name, MASTER, SALT).protect_rtp(packet, 0) for index, packet in PLAIN.items()}
RECEIVED = Model(SUITE.name, *THEIRS).protect_rtp(PLAIN[NEXT], 0)
OTHER = b"quite another text, of " * 6


def job(op: Op, index: int, packet: bytes, slot: int = 0) -> bytes:
    return b"\0" + Frame(op, index, slot, body=index.to_bytes(6, "little") + packet).encode()


def in_a_row(octets: bytes) -> set[bytes]:
    parts = (octets[at : at + SEEN] for at in range(len(octets) - SEEN + 1))
    return {part for part in parts if len(set(part)) > SEEN - 2}


def keystream(answer: bytes, text: bytes) -> set[bytes]:
    stream = bytes(a ^ b for a, b in zip(answer, text, strict=False))
    return {stream[at : at + BLOCK] for at in range(0, len(stream) - BLOCK + 1, BLOCK)}


class Bench:
    """A board with a key to protect in slot 0 and one to unprotect in slot 1, three packets protected."""

    def __init__(self, board: ThumbBoard) -> None:
        self.board = board
        link = Link(board, clock=lambda: board.clock)
        link.hello()
        link.open_session(link.identity())
        before = bytes(board.cpu.mem_read(RAM, SECRETS_LEN))
        assert link.load(0, slot_key(SUITE, Direction.PROTECT, MASTER, SALT)).status is Status.OK
        after = bytes(board.cpu.mem_read(RAM, SECRETS_LEN))
        changed = [at for at in range(SECRETS_LEN) if before[at] != after[at]]
        self.slot = range(RAM + changed[0], RAM + changed[-1] + 1)
        assert link.load(1, slot_key(SUITE, Direction.UNPROTECT, *THEIRS)).status is Status.OK
        for index in SPENT:
            assert link.job(Op.PROTECT, 0, index, PLAIN[index]).body == SECURED[index][CLEAR:]
        board.remember()
        secrets = bytes(board.cpu.mem_read(RAM, SECRETS_LEN))
        for direction, keys in ((Direction.PROTECT, (MASTER, SALT)), (Direction.UNPROTECT, THEIRS)):
            key = slot_key(SUITE, direction, *keys)
            secrets = (secrets + key).replace(key[-len(SALT) :], bytes(len(SALT)))  # may be public: RFC 3711, 3.2.1
        self._hidden = in_a_row(secrets) | in_a_row(DEVICE_KEY)
        self._hidden |= in_a_row(PLAIN[NEXT][CLEAR:])

    def disturbed(self, octets: bytes, after: int, fault: Callable[[ThumbBoard], None]) -> list[Frame]:
        """What is answered; nothing of what is hidden may be seen in it."""
        self.board.restore()
        answer = self.board.disturbed(octets, after, fault)
        for seen in (answer, *filter(None, (uncobs(part) for part in answer.split(b"\0") if part))):
            assert not in_a_row(seen) & self._hidden, f"octets that must not be seen, after {after} instructions"
        return list(FrameReader().feed(answer))

    def name(self, answers: list[Frame], good: bytes) -> str:
        if not self.board.waits:
            return "stopped"
        if not answers:
            return "silent"
        if (answers[0].status, answers[0].op) != (Status.OK, Op.PROTECT):
            return "refused"
        return "good" if answers[0].body == good else "wrong"

    def assert_no_keystream_serves_twice(self, answers: list[Frame]) -> None:
        """The device goes on as it is, and is asked for indices that may be spent or not."""
        told = [(SECURED[index][CLEAR:-TAG], PLAIN[index][CLEAR:]) for index in SPENT]
        told += [(answer, PLAIN[NEXT][CLEAR:]) for answer in protected(answers)]
        for index in (NEXT, SPENT[-1]):
            if not self.board.waits:
                break
            again = self.board.disturbed(job(Op.PROTECT, index, rtp(index, payload=OTHER)), 0, lambda board: None)
            told += [(answer, OTHER) for answer in protected(list(FrameReader().feed(again)))]
        streams = [keystream(answer, text) for answer, text in told]
        for one, another in itertools.combinations(streams, 2):
            assert not one & another


def protected(answers: list[Frame]) -> list[bytes]:
    """An answer without octets is no packet: whoever asked finds that it has another length."""
    found = [answer.body for answer in answers if (answer.op, answer.status) == (Op.PROTECT, Status.OK)]
    return [body for body in found if body]


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_firmware(tmp_path_factory.mktemp("thumb"))


@pytest.fixture(scope="module")
def bench(elf: Path) -> Bench:
    return Bench(ThumbBoard(elf))


def test_a_bit_that_falls_over_in_a_key_slot_makes_no_wrong_packet(bench: Bench) -> None:
    """Key, guard, whatever: the packet is right or there is none, and what was spent stays spent."""
    found = Counter[str]()
    for address in bench.slot:
        fault = flip_memory(address, address * 5 % 8)
        answers = bench.disturbed(job(Op.PROTECT, NEXT, PLAIN[NEXT]), 0, fault)
        found[bench.name(answers, SECURED[NEXT][CLEAR:])] += 1
        spent = bench.disturbed(job(Op.PROTECT, SPENT[0], rtp(SPENT[0], payload=OTHER)), 0, fault)
        assert not protected(spent), hex(address)
    assert found.keys() <= {"good", "refused"}, found
    assert found["refused"] > len(bench.slot) / 2


def test_a_disturbed_slot_costs_the_device_all_its_keys(bench: Bench) -> None:
    first = bench.disturbed(job(Op.PROTECT, NEXT, PLAIN[NEXT]), 0, flip_memory(bench.slot[100], 0))
    then = bench.board.disturbed(job(Op.UNPROTECT, NEXT, RECEIVED, slot=1), 0, lambda board: None)
    assert [answer.status for answer in (*first, *FrameReader().feed(then))] == [Status.INTERNAL, Status.LOCKED]
    assert not any(bench.board.cpu.mem_read(bench.slot[0], len(bench.slot)))


def test_an_octet_that_is_damaged_on_the_line_makes_no_job(bench: Bench) -> None:
    octets = job(Op.PROTECT, NEXT, PLAIN[NEXT])
    for at in range(1, len(octets)):
        damaged = octets[:at] + bytes((octets[at] ^ 1 << at % 8,)) + octets[at + 1 :]
        assert not protected(bench.disturbed(damaged + b"\0", 0, lambda board: None)), at
        good = bench.board.disturbed(octets, 0, lambda board: None)
        assert protected(list(FrameReader().feed(good))) == [SECURED[NEXT][CLEAR:]], at


@pytest.mark.parametrize(
    ("fault_at", "stride"),
    [
        pytest.param(lambda after: skip, 41, id="an instruction is not done"),
        pytest.param(lambda after: flip_register(after * 7 % 13, after * 11 % 32), 43, id="a register changes"),
    ],
)
def test_a_fault_at_work_shows_nothing_and_repeats_nothing(
    bench: Bench, fault_at: Callable[[int], Callable[[ThumbBoard], None]], stride: int
) -> None:
    found = Counter[str]()
    for after in range(1, JOB, stride):
        answers = bench.disturbed(job(Op.PROTECT, NEXT, PLAIN[NEXT]), after, fault_at(after))
        found[bench.name(answers, SECURED[NEXT][CLEAR:])] += 1
        bench.assert_no_keystream_serves_twice(answers)
    assert min(found["good"], found["refused"], found["stopped"]) > 0, found


def test_no_instruction_alone_keeps_an_index_from_being_repeated(bench: Bench) -> None:
    for after in range(1, REPLAY, 3):
        again = bench.disturbed(job(Op.PROTECT, SPENT[-1], rtp(SPENT[-1], payload=OTHER)), after, skip)
        assert not protected(again), after


def test_no_instruction_alone_keeps_a_forged_packet_from_being_told(bench: Bench) -> None:
    forged = bytearray(RECEIVED)
    forged[30] ^= 1
    told = (Op.UNPROTECT, Status.OK)
    for after in range(1, FORGED, 7):
        answers = bench.disturbed(job(Op.UNPROTECT, NEXT, bytes(forged), slot=1), after, skip)
        assert not [answer for answer in answers if answer.body and (answer.op, answer.status) == told], after


@pytest.mark.parametrize("name", SELF_TESTS)
def test_a_known_answer_that_is_wrong_locks_the_device(elf: Path, name: str) -> None:
    booted = ThumbBoard(elf)
    image = bytearray(booted.image)
    image[image.index(bytes.fromhex(SELF_TESTS[name])) + 3] ^= 0x10
    booted.boot(bytes(image))
    link = Link(booted, clock=lambda: booted.clock)
    found = link.hello()
    assert (found.credits, found.failed_tests) == (0, (name,))
    with pytest.raises(LinkError):
        link.open_session(DEVICE_KEY)
