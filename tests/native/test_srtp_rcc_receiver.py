"""The core's receiver with ROC carrying beside one that is written from RFC 3711, 3.3.1 and RFC 4771, 2 alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from support.srtp import CM80, ENGINES, model, receiver, refusal, rtp
from ueagent_native.values import RccConfig, Status

WINDOW = 64
LIMIT = 1 << 48
RCC = st.sampled_from((RccConfig(2, 14, 1), RccConfig(2, 14, 5), RccConfig(2, 8, 64), RccConfig(1, 14, 1)))


@dataclass
class Reference:
    """One SSRC. A set instead of a list of bits, and Appendix A as it is printed."""

    rcc: RccConfig
    roc: int = 0
    s_l: int | None = None
    seen: set[int] = field(default_factory=set)

    def guess(self, seq: int) -> int:
        if self.s_l is None:
            return seq
        v = self.roc
        if self.s_l < 32768:
            if seq - self.s_l > 32768:
                v = self.roc - 1
        elif self.s_l - 32768 > seq:
            v = self.roc + 1
        return v * 65536 + seq

    def take(self, packet: bytes, true_index: int, damaged: bool) -> Status:
        seq = int.from_bytes(packet[2:4], "big")
        index = self.guess(seq)
        if seq % self.rcc.rate == 0:
            tag = packet[-self.rcc.tag_len :]
            index = int.from_bytes(tag[:4], "big") * 65536 + seq
        if index < 0:
            return Status.TOO_OLD
        if index >= LIMIT:
            return Status.KEY_EXPIRED
        if self.s_l is not None:
            highest = self.roc * 65536 + self.s_l
            if highest - index >= WINDOW:
                return Status.TOO_OLD
            if index in self.seen:
                return Status.REPLAY
        if damaged or index != true_index:
            return Status.AUTH_FAIL
        self.seen.add(index)
        if self.s_l is None or index > self.roc * 65536 + self.s_l:
            self.roc, self.s_l = divmod(index, 65536)
        return Status.OK


STEPS = st.lists(
    st.tuples(
        # near each other, around a wrap, some rounds on, and at the end of all rounds
        st.one_of(
            st.integers(0, 140),
            st.integers(65_470, 65_600),
            st.builds(lambda roc, seq: roc * 65536 + seq, st.integers(2, 9), st.integers(0, 140)),
            st.integers(LIMIT - 140, LIMIT - 1),
        ),
        # which octet from the end is spoilt: of the tag or the payload, whatever the tag's length
        st.one_of(st.just(0), st.just(0), st.just(0), st.integers(1, 28)),
        st.integers(0, 7),
    ),
    max_size=80,
)


@settings(max_examples=250, deadline=None)
@given(rcc=RCC, engine=st.sampled_from(ENGINES), steps=STEPS)
def test_receiver_agrees_with_one_written_from_the_rfcs(
    rcc: RccConfig, engine: str, steps: list[tuple[int, int, int]]
) -> None:
    """RCC-2, RCC-9: status of every packet, ROC and highest sequence number after each; also of forged ROCs."""
    oracle, reference = model(CM80, rcc=rcc), Reference(rcc)
    with receiver(engine=engine, rcc=rcc, rtp_window=WINDOW) as rx:
        for index, spoilt, bit in steps:
            packet = bytearray(oracle.protect_rtp(rtp(index & 0xFFFF), index >> 16))
            if spoilt:
                packet[-spoilt] ^= 1 << bit
            expected = reference.take(bytes(packet), index, spoilt > 0)
            assert refusal(rx, bytes(packet)) == expected
            if reference.s_l is not None:
                (stream,) = rx.streams()
                assert (stream.roc, stream.highest_seq) == (reference.roc, reference.s_l)
            else:
                assert rx.streams() == []
