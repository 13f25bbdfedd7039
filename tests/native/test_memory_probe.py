"""What is left of keys in the memory of a process: read from outside while legs come and go (DYN-20, POL-8).

The session keys that are looked for are derived in C. Neither this process nor the probed one's Python ever hands them
over: the probed process knows master keys only, and this one computes what it looks for by the slow model.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import relay_rig as rig
from support.srtp_model import MODEL_SUITES, sessions
from ueagent_native import _core

TESTS = Path(__file__).parents[1]
# A sanitizer's code keeps on the stack what ours keeps in registers, and has shadows of more size than memory.
pytestmark = pytest.mark.skipif(
    b"__asan_report" in Path(_core.__file__).read_bytes(), reason="this machine runs a core with sanitizers in it"
)
SUITES = {rig.AES_CM_80: "AES_CM_128_HMAC_SHA1_80", rig.GCM_256: "AEAD_AES_256_GCM"}
PROBED = """
import sys
sys.path.insert(0, sys.argv[1])
from support import relay_rig as rig
suite = int(sys.argv[2])
with rig.Rig(max_legs=2) as r:
    call = r.call().secure(suite)
    call.from_dialer(rig.rtp(1))
    call.peer.recv(2048)
    steps = {
        "rekey": lambda: r.relay.install(call.leg, send=rig.to_send(11, suite)),
        "release": lambda: r.relay.close_leg(call.leg),
        "close": r.relay.close,
    }
    print("ready", flush=True)
    for line in sys.stdin:
        steps[line.strip()]()
        print("done", flush=True)
"""


class Probed:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.wait("ready")

    def wait(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"

    def step(self, name: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        self.wait("done")

    def count(self, needle: bytes) -> int:
        """How often `needle` stands in writable memory."""
        found = 0
        maps = Path(f"/proc/{self.process.pid}/maps").read_text()
        with Path(f"/proc/{self.process.pid}/mem").open("rb", buffering=0) as memory:
            for start, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", maps, re.MULTILINE):
                memory.seek(int(start, 16))
                try:
                    found += memory.read(int(end, 16) - int(start, 16)).count(needle)
                except OSError:  # what cannot be read, like [vvar]
                    continue
        return found


@contextmanager
def probed(suite: int) -> Iterator[Probed]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROBED, str(TESTS), str(suite)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Probed(process)
        finally:
            process.kill()


def secrets_of(seed: int, suite: int) -> tuple[list[bytes], list[bytes]]:
    """Session salts, and session salts and keys, of RTP and RTCP. Salts stand as they are whatever the engine does."""
    row = MODEL_SUITES[SUITES[suite]]
    octets = rig.material(seed, suite)
    both = [sessions(row, octets[: row.key], octets[row.key :], rtcp) for rtcp in (False, True)]
    return [found.salt for found in both], [part for found in both for part in (found.salt, found.cipher)]


@pytest.mark.parametrize("suite", SUITES, ids=SUITES.get)
def test_session_keys_leave_memory_with_their_leg(suite: int) -> None:
    """DYN-20, POL-8."""
    (sent, all_sent), (received, all_received) = secrets_of(1, suite), secrets_of(2, suite)
    fresh, all_fresh = secrets_of(11, suite)
    with probed(suite) as process:
        assert all(map(process.count, (*sent, *received))), "the probe sees what is in use"
        process.step("rekey")
        assert not any(map(process.count, all_sent))
        assert all(map(process.count, fresh))
        process.step("release")
        assert not any(map(process.count, (*all_fresh, *all_received)))


def test_session_keys_leave_memory_with_the_relay() -> None:
    """DYN-20: also those of legs that nobody closed."""
    (sent, all_sent), (received, all_received) = (secrets_of(seed, rig.AES_CM_80) for seed in (1, 2))
    with probed(rig.AES_CM_80) as process:
        assert all(map(process.count, (*sent, *received)))
        process.step("close")
        assert not any(map(process.count, (*all_sent, *all_received)))
