"""Random bursts protected on one engine and opened on another: engines differ in speed and in nothing else.

SRTP-2, SRTP-7, SRTP-10, SRTP-13, RCC-1. Payloads of 0..1600 octets, CSRC 0..15, extensions, padding, unaligned packets
(each row of the arena begins at an odd address), every number of packets 1..64, suites mixed within a burst, with and
without ROC carrying.
"""

from __future__ import annotations

import random
from array import array
from itertools import permutations

import pytest
from support.srtp import ENGINES, SUITE_NAMES, receiver, rtcp, sender
from ueagent_native.batch import Batch, protect_batch, unprotect_batch
from ueagent_native.srtp import ContextSet, protect_burst
from ueagent_native.values import Direction, RccConfig, Status

STRIDE = 1901  # odd: rows have every alignment
KINDS = [(suite, None) for suite in SUITE_NAMES]
KINDS += [(suite, rcc) for suite in SUITE_NAMES[:6] for rcc in (RccConfig(2, 14, 2), RccConfig(1, 20, 1))]
PAIRS = list(permutations(ENGINES, 2)) or [(ENGINES[0], ENGINES[0])]


def packet(draw: random.Random, seq: int, ssrc: int) -> bytes:
    csrc, extension, padding = draw.randrange(16), draw.random() < 0.3, draw.choice((0, 0, 4, 255))
    first = 0x80 | csrc | 0x10 * extension | 0x20 * (padding > 0)
    out = bytes((first, draw.randrange(128))) + seq.to_bytes(2, "big") + draw.randbytes(4) + ssrc.to_bytes(4, "big")
    out += draw.randbytes(4 * csrc)
    if extension:
        words = draw.randrange(12)
        out += b"\xbe\xde" + words.to_bytes(2, "big") + draw.randbytes(4 * words)
    body = draw.choice((0, 1, 20, 160, 1200, 1600, draw.randrange(1600), draw.randrange(130)))
    out += draw.randbytes(body)
    if padding:
        out += bytes(padding - 1) + bytes((padding,))
    return out[: STRIDE - 40]


class Burst:
    """`n` packets, one of each of `n` SSRCs, of contexts in turn."""

    def __init__(self, draw: random.Random, n: int, seq: int, contexts: int) -> None:
        self.kinds = bytearray(draw.random() < 0.1 for _ in range(n))
        self.plain = [
            rtcp(ssrc=i + 1, body=draw.randbytes(4 * draw.randrange(40))) if kind else packet(draw, seq, i + 1)
            for i, kind in enumerate(self.kinds)
        ]
        self.octets = bytearray(b"".join(row.ljust(STRIDE, b"\0") for row in self.plain))
        self.lengths, self.statuses = array("I", map(len, self.plain)), bytearray(n)
        self.index = array("I", [draw.randrange(contexts) for _ in range(n)])
        rows = memoryview(self.octets).cast("B", (n, STRIDE))
        self.batch = Batch(rows, self.lengths, self.statuses, self.index, self.kinds)

    def rows(self) -> list[bytes]:
        return [bytes(self.octets[i * STRIDE : i * STRIDE + n]) for i, n in enumerate(self.lengths)]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_what_one_engine_protects_another_opens(one: str, other: str) -> None:
    """Bursts of every size 1..64; in each, a forged packet fails and leaves its neighbours alone."""
    draw = random.Random(f"{one} {other}")
    senders = [sender(suite, engine=one, max_ssrc=64, rcc=rcc) for suite, rcc in KINDS]
    receivers = [receiver(suite, engine=other, max_ssrc=64, rcc=rcc) for suite, rcc in KINDS]
    going, coming = ContextSet(senders), ContextSet(receivers)
    for n in range(1, 65):
        burst = Burst(draw, n, n, len(KINDS))
        assert protect_batch(going, burst.batch) == n
        forged = draw.randrange(n)  # SRTCP in its SSRC: flags and index would be refused before the tag is looked at
        at = forged * STRIDE + (4 if burst.kinds[forged] else burst.lengths[forged] - 1 - draw.randrange(4))
        burst.octets[at] ^= 1 << draw.randrange(8)
        damaged = burst.rows()[forged]
        assert unprotect_batch(coming, burst.batch) == n - 1
        assert burst.statuses[forged] == Status.AUTH_FAIL
        rows = burst.rows()
        assert rows[forged] == damaged
        assert rows[:forged] + rows[forged + 1 :] == burst.plain[:forged] + burst.plain[forged + 1 :]
    for context in senders + receivers:
        context.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_bursts_and_lone_packets_are_the_same_octets_on_every_engine(engine: str) -> None:
    """The last engine of the table is the yardstick; a live context may change its engine on the way."""
    draw = random.Random(engine)
    packets = [[packet(draw, seq, ssrc) for ssrc in range(1, 17)] for seq in range(12)]
    for suite, rcc in KINDS:
        plain = sender(suite, engine=ENGINES[-1], max_ssrc=64, rcc=rcc)
        burst, lone, moving = (sender(suite, engine=engine, max_ssrc=64, rcc=rcc) for _ in range(3))
        for turn, row in enumerate(packets):
            moving.set_engine(ENGINES[turn % len(ENGINES)])
            expected = [octets for _, octets in plain.protect_many(row)]
            assert [octets for _, octets in burst.protect_many(row)] == expected
            assert [lone.protect(one) for one in row] == expected
            assert [octets for _, octets in moving.protect_many(row)] == expected
        for context in (plain, burst, lone, moving):
            context.close()


def test_one_call_serves_contexts_of_unlike_engines() -> None:
    draw = random.Random(11)
    rows = [(sender(suite, engine=engine), packet(draw, 1, 1), False) for suite in SUITE_NAMES for engine in ENGINES]
    opened = []
    for (context, plain, _), (status, octets) in zip(rows, protect_burst(rows), strict=True):
        assert status == Status.OK
        suite = SUITE_NAMES[len(opened) // len(ENGINES)]
        with receiver(suite, engine=ENGINES[0]) as rx:
            opened.append(rx.unprotect(octets) == plain)
        assert context._direction == Direction.SEND
        context.close()
    assert all(opened)
