"""The Thumb firmware on emulated boards: its size, and the same jobs over a real pseudo-terminal through pyserial."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.accelerator import DEVICE_KEY, rtp, slot_key
from support.relay_rig import AES_CM_80, GCM_256, Rig, eventually, inbound, outbound
from support.relay_rig import rtp as speech
from support.srtp import key_of
from support.srtp_model import Model
from ueagent_firmware.link import Link, LinkError, public_key
from ueagent_firmware.messages import Direction, Op, Status, Suite
from ueagent_hw.serial_engine import AcceleratorUnavailable, SerialAccelerator, SerialConfig
from ueagent_hw.serial_open import open_port

FIRMWARE = Path(__file__).parents[2] / "firmware_bindings" / "firmware"
BOARDS = ("lm3s6965evb", "mps2-an386")
TEXT, RAM = 16 * 1024, 20 * 1024
HOOK = 0x20008000  # link_hook of boards/cortex_m.ld
BOOT = 60.0  # seconds: the emulator on a busy machine

pytestmark = [
    pytest.mark.no_row("our own protocol on emulated boards"),
    pytest.mark.skipif(
        shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
        reason="this machine has no arm-none-eabi-gcc or no qemu-system-arm",
    ),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("firmware")
    subprocess.run(["sh", str(FIRMWARE / "build.sh"), str(folder)], check=True, timeout=120)
    return folder


@pytest.fixture(params=BOARDS)
def line(request: pytest.FixtureRequest, images: Path, tmp_path: Path) -> Iterator[str]:
    """The pseudo-terminal of an emulated board that has the test key as identity, boot identity 5 and unit 1."""
    hook = tmp_path / "hook.bin"
    hook.write_bytes(b"\1" + DEVICE_KEY + (5).to_bytes(8, "little") + (1).to_bytes(8, "little"))
    command = ["qemu-system-arm", "-M", request.param, "-kernel", str(images / f"{request.param}.elf")]
    command += ["-display", "none", "-monitor", "none", "-serial", "pty"]
    command += ["-device", f"loader,file={hook},addr={HOOK:#x},force-raw=on"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as board:
        try:
            assert board.stdout is not None
            found = re.search(r"/dev/pts/\d+", board.stdout.readline())
            assert found, "the emulator names no pseudo-terminal"
            yield found[0]
        finally:
            board.kill()


@pytest.fixture
def link(line: str) -> Iterator[Link]:
    """A session with the board."""
    port = open_port(line, 921_600).port
    yield _patient(Link(port))
    port.close()


def _patient(link: Link) -> Link:
    for _ in range(100):  # each waits half a second at most
        try:
            link.hello()
        except LinkError:
            continue
        return link
    raise AssertionError("the board does not answer")


def _connect(accelerator: SerialAccelerator) -> None:
    for _ in range(100):  # as above
        try:
            accelerator.connect()
        except AcceleratorUnavailable:
            continue
        return
    raise AssertionError("the board does not answer")


@pytest.mark.parametrize("board", BOARDS)
def test_the_firmware_is_as_small_as_promised(images: Path, board: str) -> None:
    command = ["arm-none-eabi-size", str(images / f"{board}.elf")]
    sizes = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text, data, bss = (int(number) for number in sizes.splitlines()[1].split()[:3])
    assert text + data <= TEXT
    assert data + bss + 4096 <= RAM  # the linker script keeps the last 4 KiB for the stack


def test_a_board_says_who_it_is_and_makes_no_key(link: Link) -> None:
    found = link.device
    assert found is not None
    assert (found.slots, found.credits, found.failed_tests) == (16, 16, ())
    assert (found.boot_id, found.capabilities) == ((5).to_bytes(8, "little"), ("identity",))
    assert link.request(Op.PAIR, timeout=BOOT).status is Status.NO_RANDOM


def test_a_board_protects_with_a_wrapped_key_as_the_rfc_says(link: Link) -> None:
    """Every suite in both directions; the session key reaches the board wrapped only."""
    link.open_session(link.pair())
    for slot, suite in enumerate(Suite):
        model = Model(suite.name, *key_of(suite.name))
        for direction in Direction:
            assert link.load(slot, slot_key(suite, direction, *key_of(suite.name))).status is Status.OK
            packet = rtp(slot, payload=bytes(range(160)))
            secured = model.protect_rtp(packet, 2)
            op, given, wanted = (
                (Op.PROTECT, packet, secured) if direction is Direction.PROTECT else (Op.UNPROTECT, secured, packet)
            )
            reply = link.job(op, slot, (2 << 16) | slot, given)
            assert packet[:12] + reply.body == wanted


def test_a_board_refuses_plain_keys_and_repeated_indices(link: Link) -> None:
    suite = Suite.AES_CM_128_HMAC_SHA1_80
    key = slot_key(suite, Direction.PROTECT, *key_of(suite.name))
    assert link.load(0, key).status is Status.REFUSED
    link.open_session(link.identity())
    assert link.load(0, key).status is Status.OK
    statuses = [link.job(Op.PROTECT, 0, 7, rtp(7)).status for _ in range(2)]
    assert statuses == [Status.OK, Status.INDEX_REUSE]


@pytest.mark.parametrize("suite", [AES_CM_80, GCM_256])
def test_a_call_runs_over_the_board(line: str, suite: int) -> None:
    """The real driver and the relay; the far end is libsrtp. The emulator is slow, so the deadline is long."""
    accelerator = SerialAccelerator(SerialConfig(line, 921_600, device_key=public_key(DEVICE_KEY), deadline_ms=1000))
    with Rig(start=False) as rig:
        rig.relay.attach(accelerator.link)
        rig.relay.start()
        _connect(accelerator)
        call = rig.call().secure(suite)
        eventually(lambda: accelerator.stats().loads == 2)
        theirs, ours = outbound(2, suite), inbound(1, suite)
        for seq in range(1, 21):
            call.from_dialer(speech(seq))
            call.from_peer(theirs.protect(speech(seq)))
            assert ours.unprotect(call.peer.recv(2048)) == speech(seq)
            assert call.dialer.recv(2048) == speech(seq)
        assert accelerator.stats().done == 40
        assert accelerator.stats().fallback == 0
    accelerator.close()
