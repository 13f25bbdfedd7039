"""The Thumb firmware in process, under Unicorn: how many instructions a job takes. No time is measured."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from support.accelerator import DEVICE_KEY, rtp, slot_key
from support.srtp import key_of
from support.srtp_model import Model
from ueagent_firmware.link import Link
from ueagent_firmware.messages import Direction, Op, Status, Suite

unicorn = pytest.importorskip("unicorn")
arm_const = pytest.importorskip("unicorn.arm_const")

FIRMWARE = Path(__file__).parents[2] / "firmware_bindings" / "firmware"
WFI = b"\x30\xbf"
UART_DATA = 0x4000C000  # lm3s6965evb
HOOK = 0x20008000
RING = 2048
LIMIT = 100_000_000  # instructions: whoever needs more hangs
WHOLE_JOB = 52_000  # octets in, COBS, CRC, crypto, COBS, CRC, octets out; 172 octets of AES-CM

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="this machine has no arm-none-eabi-gcc"
)


class Board:
    """A processor that runs until it waits for an interrupt; a port for a Link."""

    def __init__(self, elf: Path) -> None:
        binary = elf.with_suffix(".bin")
        subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", str(elf), str(binary)], check=True)
        names = subprocess.run(["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True).stdout
        self._at = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines() if len(line.split()) == 3}
        image = binary.read_bytes()
        self._wfi = image.index(WFI)
        self._answer = bytearray()
        self._cpu = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        for start, size in ((0, 0x10000), (0x20000000, 0x10000), (0x40000000, 0x200000), (0xE0000000, 0x100000)):
            self._cpu.mem_map(start, size)
        self._cpu.mem_write(0, image)
        self._cpu.mem_write(HOOK, b"\1" + DEVICE_KEY + bytes(16))
        self._cpu.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._sent, begin=UART_DATA, end=UART_DATA + 3)
        self._cpu.hook_add(unicorn.UC_HOOK_CODE, self._counted)
        stack, reset = struct.unpack("<II", image[:8])
        self._cpu.reg_write(arm_const.UC_ARM_REG_SP, stack)
        self.clock = 0.0
        self._run(reset)

    def _sent(self, cpu: object, access: int, address: int, size: int, value: int, data: object) -> None:
        self._answer.append(value & 0xFF)

    def _counted(self, cpu: object, address: int, size: int, data: object) -> None:
        self.instructions += 1

    def _run(self, start: int) -> None:
        self.instructions = 0
        self._cpu.emu_start(start | 1, self._wfi, count=LIMIT)
        assert self.instructions < LIMIT

    def write(self, octets: bytes) -> None:
        """As the interrupt would put them into the ring."""
        (written,) = struct.unpack("<I", self._cpu.mem_read(self._at["written"], 4))
        for number, octet in enumerate(octets, written):
            self._cpu.mem_write(self._at["ring"] + number % RING, bytes((octet,)))
        self._cpu.mem_write(self._at["written"], struct.pack("<I", written + len(octets)))
        self._run(self._wfi + len(WFI))

    def read(self, timeout: float) -> bytes:
        octets = bytes(self._answer)
        self._answer.clear()
        if not octets:
            self.clock += timeout
        return octets


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp("thumb")
    subprocess.run(["sh", str(FIRMWARE / "build.sh"), str(folder)], check=True, timeout=120)
    return Board(folder / "lm3s6965evb.elf")


def test_a_voice_packet_takes_no_more_instructions_than_before(board: Board) -> None:
    suite = Suite.AES_CM_128_HMAC_SHA1_80
    link = Link(board, clock=lambda: board.clock)
    link.hello()
    link.open_session(link.identity())
    assert link.load(0, slot_key(suite, Direction.PROTECT, *key_of(suite.name))).status is Status.OK
    packet = rtp(1, payload=bytes(160))
    reply = link.job(Op.PROTECT, 0, 1, packet)
    print(f"{board.instructions} instructions")
    assert packet[:12] + reply.body == Model(suite.name, *key_of(suite.name)).protect_rtp(packet, 0)
    assert board.instructions <= WHOLE_JOB
