"""A burst has the outcome of its packets taken one by one, whatever their mix: contexts, suites, engines, bad ones."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.srtp import CM80, ENGINES, GCM128, master, model, receiver, rtcp, rtp, sender
from ueagent_native.srtp import SrtpContext, protect_burst, unprotect_burst
from ueagent_native.values import RccConfig, Status

# Small receivers, so that capacity and lifetime are met; each with its suite and engine, some with ROC carrying.
SHAPES = (
    {"suite": CM80, "engine": ENGINES[0], "max_ssrc": 2, "rtp_window": 64, "keys": (master(CM80, lifetime=40),)},
    {"suite": GCM128, "engine": ENGINES[-1], "max_ssrc": 8, "rtp_window": 128},
    {"suite": "AES_256_CM_HMAC_SHA1_32", "engine": ENGINES[-1], "max_ssrc": 1, "restart_after": 3},
    {"suite": CM80, "engine": ENGINES[0], "max_ssrc": 2, "rcc": RccConfig(2, 14, 64)},
    {"suite": CM80, "engine": ENGINES[-1], "max_ssrc": 2, "rcc": RccConfig(1, 14, 4), "lab_no_mac": True},
    {"suite": CM80, "engine": ENGINES[0], "max_ssrc": 2, "rcc": RccConfig(3, 4, 5), "lab_no_mac": True},
)
MODELS = tuple(model(shape["suite"], rcc=shape.get("rcc")) for shape in SHAPES)
# Indices near each other, near a wrap, half the circle away, and where only a carried ROC leads.
INDICES = st.one_of(
    st.integers(0, 80),
    st.integers(65500, 65570),
    st.sampled_from((32767, 32768, 33000, 98000, 131072, 40000, 327680, 327700)),
)


@dataclass(frozen=True)
class Step:
    context: int
    is_rtcp: bool
    ssrc: int
    index: int
    damage: int  # 0: none; else the octet from the end that is flipped


STEPS = st.lists(
    st.builds(
        Step,
        st.integers(0, len(SHAPES) - 1),
        st.sampled_from((False, False, False, True)),
        st.integers(1, 3),
        INDICES,
        st.sampled_from((0, 0, 0, 0, 0, 1, 9, 25, 30)),
    ),
    min_size=1,
    max_size=150,
)
# Runs in order, so that bursts are not cut at every packet.
RUNS = st.builds(
    lambda context, ssrc, start, n: [Step(context, False, ssrc, start + i, 0) for i in range(n)],
    st.integers(0, len(SHAPES) - 1),
    st.integers(1, 3),
    INDICES,
    st.integers(1, 90),
)
MIXES = st.lists(st.one_of(STEPS, RUNS), min_size=1, max_size=4).map(
    lambda parts: [step for part in parts for step in part]
)


def _protected(step: Step) -> bytes:
    oracle, payload = MODELS[step.context], b"payload %d" % step.index
    if step.is_rtcp:
        packet = oracle.protect_rtcp(rtcp(step.ssrc), step.index)
    else:
        packet = oracle.protect_rtp(rtp(step.index & 0xFFFF, step.ssrc, payload), step.index >> 16)
    if step.damage:
        octets = bytearray(packet)
        octets[-min(step.damage, len(octets))] ^= 0x10
        return bytes(octets)
    return packet


def _state(contexts: list[SrtpContext]) -> list[object]:
    return [(context.stats(), context.streams()) for context in contexts]


def _chunks(rows: list, sizes: list[int]) -> list[list]:
    out, at = [], 0
    while at < len(rows):
        size = sizes[len(out) % len(sizes)]
        out.append(rows[at : at + size])
        at += size
    return out


@settings(max_examples=120, deadline=None)
@given(steps=MIXES, sizes=st.lists(st.integers(1, 200), min_size=1, max_size=3))
def test_received_burst_equals_single_packets(steps: list[Step], sizes: list[int]) -> None:
    """SRTP-6, SRTP-7: status, octets, counters, streams."""
    burst, single = ([receiver(**shape) for shape in SHAPES] for _ in range(2))
    packets = [(step.context, _protected(step), step.is_rtcp) for step in steps]
    together = []
    for chunk in _chunks(packets, sizes):
        together += unprotect_burst([(burst[c], octets, kind) for c, octets, kind in chunk])
    alone = [unprotect_burst([(single[c], octets, kind)])[0] for c, octets, kind in packets]
    assert together == alone
    assert _state(burst) == _state(single)
    for context in burst + single:
        context.close()


@settings(max_examples=80, deadline=None)
@given(steps=MIXES, sizes=st.lists(st.integers(1, 200), min_size=1, max_size=3))
def test_sent_burst_equals_single_packets(steps: list[Step], sizes: list[int]) -> None:
    """SRTP-11."""
    burst, single = ([sender(**shape) for shape in SHAPES] for _ in range(2))
    packets = [
        (step.context, rtcp(step.ssrc) if step.is_rtcp else rtp(step.index & 0xFFFF, step.ssrc), step.is_rtcp)
        for step in steps
    ]
    together = []
    for chunk in _chunks(packets, sizes):
        together += protect_burst([(burst[c], octets, kind) for c, octets, kind in chunk])
    alone = [protect_burst([(single[c], octets, kind)])[0] for c, octets, kind in packets]
    assert together == alone
    assert _state(burst) == _state(single)
    protected = [
        (c, octets) for (status, octets), (c, _, _) in zip(together, packets, strict=True) if status == Status.OK
    ]
    assert len(protected) == len(set(protected))
    for context in burst + single:
        context.close()


@pytest.mark.parametrize("copies", [2, 64, 65, 200])
def test_of_duplicates_in_one_burst_exactly_one_succeeds(copies: int) -> None:
    """SRTP-5: also the first packets of an SSRC."""
    with receiver() as rx:
        for index in (5, 6):
            packet = model(CM80).protect_rtp(rtp(index), 0)
            statuses = [status for status, _ in rx.unprotect_many([packet] * copies)]
            assert statuses == [Status.OK] + [Status.REPLAY] * (copies - 1)
        control = model(CM80).protect_rtcp(rtcp(), 1)
        statuses = [status for status, _ in rx.unprotect_many([control] * copies, rtcp=True)]
        assert statuses == [Status.OK] + [Status.REPLAY] * (copies - 1)


def test_forged_first_packet_does_not_spoil_the_true_one_behind_it() -> None:
    """DYN-11: same SSRC, same index, one burst."""
    true = model(CM80).protect_rtp(rtp(5), 0)
    forged = true[:-1] + bytes((true[-1] ^ 1,))
    with receiver() as rx:
        statuses = [status for status, _ in rx.unprotect_many([forged, true, forged, true])]
        assert statuses == [Status.AUTH_FAIL, Status.OK, Status.REPLAY, Status.REPLAY]


def test_forged_jump_inside_a_burst_does_not_mislead_the_estimate() -> None:
    """SRTP-6: 65000, then a forged 100, then 65001: the true packets pass whatever stands between."""
    oracle = model(CM80)
    forged = bytearray(oracle.protect_rtp(rtp(100), 1))
    forged[-1] ^= 1
    burst = [oracle.protect_rtp(rtp(65000), 0), bytes(forged), oracle.protect_rtp(rtp(65001), 0)]
    with receiver() as rx:
        assert [status for status, _ in rx.unprotect_many(burst)] == [Status.OK, Status.AUTH_FAIL, Status.OK]


def test_first_packets_of_a_stream_bound_by_rtcp_are_estimated_one_after_the_other() -> None:
    """SRTP-6: 60000 counts as ahead only while no RTP packet has come; behind 5 it lies before the start."""
    oracle = model(CM80)
    with receiver() as rx:
        rx.unprotect(oracle.protect_rtcp(rtcp(), 1), rtcp=True)
        burst = [oracle.protect_rtp(rtp(seq), 0) for seq in (5, 60000)]
        assert [status for status, _ in rx.unprotect_many(burst)] == [Status.OK, Status.TOO_OLD]


def test_forged_packet_does_not_vouch_for_a_far_one_behind_the_first() -> None:
    """SRTP-6: 60000 lies ahead of nothing and of 30000, but before the start of a stream that stands at 10."""
    oracle = model(CM80)
    forged = bytearray(oracle.protect_rtp(rtp(30000), 0))
    forged[-1] ^= 1
    with receiver() as rx:
        rx.unprotect(oracle.protect_rtcp(rtcp(), 1), rtcp=True)
        burst = [oracle.protect_rtp(rtp(10), 0), bytes(forged), oracle.protect_rtp(rtp(60000), 0)]
        statuses = [status for status, _ in rx.unprotect_many(burst)]
        assert statuses == [Status.OK, Status.AUTH_FAIL, Status.TOO_OLD]


@pytest.mark.parametrize("n", [1, 63, 64, 65, 129, 1000])
def test_bursts_of_any_length_pass_whole(n: int) -> None:
    packets = [rtp(seq, ssrc=seq % 5) for seq in range(n)]
    with sender() as tx, receiver() as rx:
        sent = tx.protect_many(packets)
        received = rx.unprotect_many([octets for _, octets in sent])
        assert received == [(Status.OK, packet) for packet in packets]


def test_bad_packet_leaves_its_neighbours_alone() -> None:
    packets = [rtp(seq) for seq in range(9)]
    with sender() as tx, receiver() as rx:
        sent = [octets for _, octets in tx.protect_many([*packets[:4], b"junk", *packets[4:]])]
        sent[7] = bytes(20)
        results = rx.unprotect_many(sent)
        good = [octets for status, octets in results if status == Status.OK]
        assert good == [*packets[:6], *packets[7:]]
