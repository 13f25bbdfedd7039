"""Measures an accelerator on its line: round trips, and how many streams it does within a budget, beside the model."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Final

from ueagent_firmware.frame import Frame, FrameReader
from ueagent_firmware.link import Link, Port
from ueagent_firmware.messages import ANY_SSRC, Direction, Kind, Op, Status, Suite, pack

from ueagent_hw.latency import BITS_PER_OCTET, BUDGET, STATUS, Prediction, predict
from ueagent_hw.serial_engine import AcceleratorUnavailable

SUITE: Final = Suite.AES_CM_128_HMAC_SHA1_80
PAYLOAD: Final = 160  # G.711, 20 ms
MOST_STREAMS: Final = 32
ROUNDS: Final = 5  # a number of streams holds when one round of so many is within the budget
PATIENCE: Final = 2.0  # seconds for one burst


@dataclass(frozen=True, slots=True)
class Measurement:
    """Seconds. `best` is comparable with the model; the others include what else the machine did.

    `host` is this machine's own share of a round trip, from heartbeats: frames of which no job and no prediction knows.
    """

    best: float
    median: float
    worst: float
    host: float
    guaranteed: int  # streams whose packets, sent at once, came back within the budget
    predicted: Prediction  # with `host`
    planned: Prediction  # with the model's own assumption, as admission has it

    @property
    def deviation(self) -> float:
        """Of the best round trip from the prediction, relative."""
        return self.best / self.predicted.round_trip - 1.0


class _Session:
    """One slot to protect with, under keys that nobody else has."""

    def __init__(self, port: Port, link: Link) -> None:
        self._port = port
        self._reader = FrameReader()
        self._index = 0
        key = pack(
            "key",
            suite=SUITE,
            direction=Direction.PROTECT,
            kind=Kind.RTP,
            flags=ANY_SSRC,
            ssrc=0,
            index_floor=0,
            packet_limit=1 << 40,
            cipher_key=secrets.token_bytes(16) + bytes(16),
            auth_key=secrets.token_bytes(20),
            salt=secrets.token_bytes(14),
        )
        if link.load(0, key).status is not Status.OK:
            raise AcceleratorUnavailable("the device does not take a key")

    def burst(self, jobs: int) -> float:
        """Seconds from the first octet sent to the last one back."""
        return self._exchange(b"".join(self._frame(seq) for seq in range(jobs)), jobs)

    def heartbeat(self) -> float:
        return self._exchange(Frame(Op.STATUS, 0).encode(), 1)

    def _exchange(self, frames: bytes, jobs: int) -> float:
        left = jobs
        began = time.perf_counter()
        self._port.write(frames)
        while left > 0:
            if time.perf_counter() - began > PATIENCE:
                raise AcceleratorUnavailable(f"{left} of {jobs} jobs did not come back")
            for answer in self._reader.feed(self._port.read(PATIENCE)):
                if answer.status != Status.OK:
                    raise AcceleratorUnavailable(f"a job came back with {Status(answer.status).name}")
                left -= 1
        return time.perf_counter() - began

    def _frame(self, seq: int) -> bytes:
        self._index += 1
        packet = b"\x80\x00" + (self._index & 0xFFFF).to_bytes(2, "big") + bytes(8) + bytes(PAYLOAD)
        return Frame(Op.PROTECT, seq, body=pack("job", index=self._index) + packet).encode()


def measure(port: Port, link: Link, baud: int, compute: float, rounds: int = 50) -> Measurement:
    """After HELLO, and SESSION where plain keys are refused. AcceleratorUnavailable."""
    session = _Session(port, link)
    trips, beats = [], []
    for _ in range(rounds):  # in turn, so that both see the same machine
        trips.append(session.burst(1))
        beats.append(session.heartbeat())
    trips.sort()
    host = max(0.0, min(beats) - BITS_PER_OCTET * sum(STATUS) / baud)
    guaranteed = 0
    while guaranteed < MOST_STREAMS and min(session.burst(2 * (guaranteed + 1)) for _ in range(ROUNDS)) <= BUDGET:
        guaranteed += 1
    return Measurement(
        trips[0],
        trips[len(trips) // 2],
        trips[-1],
        host,
        guaranteed,
        predict(baud, compute=compute, host=host, budget=BUDGET),
        predict(baud, compute=compute, budget=BUDGET),
    )


def measure_device(port: Port, baud: int, compute: float, rounds: int = 50) -> Measurement:
    """From HELLO on. LinkError, AcceleratorUnavailable."""
    link = Link(port)
    if "identity" in link.hello().capabilities:
        link.open_session(link.identity())
    return measure(port, link, baud, compute, rounds)
