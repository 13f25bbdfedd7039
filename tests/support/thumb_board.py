"""The Thumb firmware in process, under Unicorn: no time, no port; instructions are counted and faults put in."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import unicorn
from support.accelerator import DEVICE_KEY
from unicorn import arm_const

FIRMWARE = Path(__file__).parents[2] / "firmware_bindings" / "firmware"
RAM, RAM_LEN = 0x20000000, 20 * 1024
RING = 2048
LIMIT = 100_000_000  # instructions: whoever needs more hangs
WATCHDOG = 200_000  # the same for a job
WFI = b"\x30\xbf"
UART_DATA, UART_FLAGS = 0x4000C000, 0x4000C018  # lm3s6965evb
MPU_REGION = 0xE000EDA0
SECRETS_LEN = 10 * 1024  # closed, where RAM begins
IDLE = 0x90  # its FIFOs are empty
HOOK = 0x20008000  # link_hook of boards/cortex_m.ld


def build_firmware(folder: Path) -> Path:
    """The image of the board whose UART is imitated here."""
    subprocess.run(["sh", str(FIRMWARE / "build.sh"), str(folder)], check=True, timeout=120)
    return folder / "lm3s6965evb.elf"


class ThumbBoard:
    """A Cortex-M3 that runs until it waits for an interrupt; a port for a Link."""

    def __init__(self, elf: Path) -> None:
        binary = elf.with_suffix(".bin")
        subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", str(elf), str(binary)], check=True)
        names = subprocess.run(["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True).stdout
        self.at = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines() if len(line.split()) == 3}
        self.image = binary.read_bytes()
        self.wfi = self.image.index(WFI)
        self._answer = bytearray()
        self.instructions = 0
        self.clock = 0.0
        self.cpu: Any = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.cpu.mem_map(0, 0x10000, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)  # flash
        for start, size in ((RAM, 0x10000), (0x40000000, 0x200000), (0xE0000000, 0x100000)):
            self.cpu.mem_map(start, size)
        self.cpu.mem_write(UART_FLAGS, bytes((IDLE,)))
        self.cpu.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._sent, begin=UART_DATA, end=UART_DATA + 3)
        self.cpu.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._protect, begin=MPU_REGION, end=MPU_REGION + 3)
        secrets = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
        self.cpu.hook_add(secrets, self._touched, begin=RAM, end=RAM + SECRETS_LEN - 1)
        self.boot(self.image)

    def boot(self, image: bytes) -> None:
        self.stopped = self._closed = False
        self.cpu.mem_write(0, image)
        self.cpu.mem_write(HOOK, b"\1" + DEVICE_KEY + bytes(16))
        self.cpu.ctl_flush_tb()
        stack, reset = struct.unpack("<II", image[:8])
        self.cpu.reg_write(arm_const.UC_ARM_REG_SP, stack)
        self.cpu.emu_start(reset | 1, self.wfi, count=LIMIT)
        assert self.waits

    @property
    def waits(self) -> bool:
        """It has done its work."""
        return not self.stopped and int(self.cpu.reg_read(arm_const.UC_ARM_REG_PC)) == self.wfi

    def _sent(self, cpu: object, access: int, address: int, size: int, value: int, data: object) -> None:
        if not self.stopped:
            self._answer.append(value & 0xFF)

    def _protect(self, cpu: Any, access: int, address: int, size: int, value: int, data: object) -> None:
        """What the memory protection unit does; Unicorn has none."""
        self._closed = bool(value & 1)

    def _touched(self, cpu: Any, access: int, address: int, size: int, value: int, data: object) -> None:
        if self._closed:
            self.stopped = True
            cpu.emu_stop()

    def receive(self, octets: bytes) -> None:
        """As the interrupt would put them into the ring."""
        (written,) = struct.unpack("<I", self.cpu.mem_read(self.at["written"], 4))
        for number, octet in enumerate(octets, written):
            self.cpu.mem_write(self.at["ring"] + number % RING, bytes((octet,)))
        self.cpu.mem_write(self.at["written"], struct.pack("<I", written + len(octets)))

    def write(self, octets: bytes) -> None:
        self.receive(octets)
        self.cpu.emu_start((self.wfi + len(WFI)) | 1, self.wfi, count=LIMIT)
        assert self.waits

    def count(self, octets: bytes) -> bytes:
        """`write` and `read`, and `instructions` from the interrupt's ring to the UART's register."""
        self.instructions = 0

        def counted(cpu: object, address: int, size: int, data: object) -> None:
            self.instructions += 1

        hook = self.cpu.hook_add(unicorn.UC_HOOK_CODE, counted)
        self.cpu.ctl_flush_tb()  # translated code calls no new hook
        self.write(octets)
        self.cpu.hook_del(hook)
        self.cpu.ctl_flush_tb()
        return self.read(0)

    def read(self, timeout: float) -> bytes:
        octets = bytes(self._answer)
        self._answer.clear()
        if not octets:
            self.clock += timeout
        return octets

    # -------------------------------------------------------------------------------------------------- faults --

    def remember(self) -> None:
        """The state `restore` goes back to: one that waits."""
        self._memory = bytes(self.cpu.mem_read(RAM, RAM_LEN))
        self._registers = self.cpu.context_save()

    def restore(self) -> None:
        self.cpu.mem_write(RAM, self._memory)
        self.cpu.mem_write(UART_FLAGS, bytes((IDLE,)))
        self.cpu.context_restore(self._registers)
        self._closed, self.stopped = True, False
        self._answer.clear()

    def disturbed(self, octets: bytes, after: int, fault: Callable[[ThumbBoard], None]) -> bytes:
        """What comes out when `fault` happens `after` so many instructions of the work on `octets`. Who stops or hangs
        is held until the watchdog: `waits` is false."""
        self.receive(octets)
        start = self.wfi + len(WFI)
        try:
            if after > 0:
                self.cpu.emu_start(start | 1, self.wfi, count=after)
                start = int(self.cpu.reg_read(arm_const.UC_ARM_REG_PC))
            fault(self)
            start = int(self.cpu.reg_read(arm_const.UC_ARM_REG_PC)) if after > 0 else start
            self.cpu.emu_start(start | 1, self.wfi, count=WATCHDOG)
        except unicorn.UcError:  # no such memory, no such instruction
            self.stopped = True
        return self.read(0)


def skip(board: ThumbBoard) -> None:
    """The next instruction is not done."""
    pc = int(board.cpu.reg_read(arm_const.UC_ARM_REG_PC))
    (half,) = struct.unpack("<H", board.cpu.mem_read(pc, 2))
    board.cpu.reg_write(arm_const.UC_ARM_REG_PC, (pc + (4 if half >> 11 in (0x1D, 0x1E, 0x1F) else 2)) | 1)


def flip_register(number: int, bit: int) -> Callable[[ThumbBoard], None]:
    def fault(board: ThumbBoard) -> None:
        register = arm_const.UC_ARM_REG_R0 + number
        board.cpu.reg_write(register, int(board.cpu.reg_read(register)) ^ 1 << bit)

    return fault


def flip_memory(address: int, bit: int) -> Callable[[ThumbBoard], None]:
    def fault(board: ThumbBoard) -> None:
        (octet,) = board.cpu.mem_read(address, 1)
        board.cpu.mem_write(address, bytes((octet ^ 1 << bit,)))

    return fault
