"""The batch face of Python: rows of one array, in place. SRTP-13."""

from __future__ import annotations

import random
from array import array

import pytest
from support.srtp import CM80, GCM128, master, model, receiver, rtcp, rtp, sender
from ueagent_native._core import ffi
from ueagent_native.batch import Batch, protect_batch, unprotect_batch
from ueagent_native.srtp import ContextSet
from ueagent_native.values import NativeError, Status

STRIDE = 1600


class Rows:
    """A batch on plain Python buffers, without NumPy, filled with packets."""

    def __init__(self, packets: list[bytes], index: list[int] | None = None, rtcp: list[bool] | None = None) -> None:
        self.octets = bytearray(b"".join(packet.ljust(STRIDE, b"\xee") for packet in packets))
        self.lengths = array("I", map(len, packets))
        self.statuses = bytearray(b"\xff" * len(packets))
        self.batch = Batch(
            memoryview(self.octets).cast("B", (len(packets), STRIDE)),
            self.lengths,
            self.statuses,
            None if index is None else array("I", index),
            None if rtcp is None else bytearray(rtcp),
        )

    def results(self) -> list[tuple[Status, bytes]]:
        rows = [bytes(self.octets[i * STRIDE : i * STRIDE + n]) for i, n in enumerate(self.lengths)]
        return [(Status(status), row) for status, row in zip(self.statuses, rows, strict=True)]


def test_rows_of_mixed_contexts_become_what_an_independent_model_says() -> None:
    """Two suites, RTP and RTCP, 150 rows: more than one burst."""
    draw, suites = random.Random(3), (CM80, GCM128)
    index = [i % 2 for i in range(150)]
    kinds = [i % 5 == 0 for i in range(150)]
    plain = [
        rtcp(ssrc=i) if kind else rtp(7, ssrc=i, payload=draw.randbytes(draw.randrange(1300)))
        for i, kind in enumerate(kinds)
    ]
    expected = [
        model(suites[which]).protect_rtcp(packet, 1) if kind else model(suites[which]).protect_rtp(packet, 0)
        for packet, which, kind in zip(plain, index, kinds, strict=True)
    ]
    senders = [sender(suite, max_ssrc=200) for suite in suites]
    receivers = [receiver(suite, max_ssrc=200) for suite in suites]
    rows = Rows(plain, index, kinds)
    assert protect_batch(senders, rows.batch) == 150
    assert rows.results() == [(Status.OK, packet) for packet in expected]
    assert unprotect_batch(receivers, rows.batch) == 150
    assert rows.results() == [(Status.OK, packet) for packet in plain]
    for context in senders + receivers:
        context.close()


def test_numpy_arrays_are_taken_as_they_are() -> None:
    numpy = pytest.importorskip("numpy")
    packets = [rtp(seq) for seq in range(64)]
    arena = numpy.zeros((64, 256), numpy.uint8)
    lengths, statuses = numpy.full(64, len(packets[0]), numpy.uint32), numpy.full(64, 255, numpy.uint8)
    for row, packet in zip(arena, packets, strict=True):
        row[: len(packet)] = numpy.frombuffer(packet, numpy.uint8)
    with sender() as tx:
        assert protect_batch([tx], Batch(arena, lengths, statuses)) == 64
    assert not statuses.any()
    assert [bytes(row[:n]) for row, n in zip(arena, lengths, strict=True)] == [
        model(CM80).protect_rtp(packet, 0) for packet in packets
    ]


def test_bad_rows_keep_their_octets_and_leave_the_others_alone() -> None:
    """A length beyond its row, a context that is not there, junk, a row without room for the tag."""
    packets = [rtp(1), rtp(2), rtp(3), b"junk", rtp(5, payload=bytes(STRIDE - 12)), rtp(6)]
    rows = Rows(packets, [0, 0, 9, 0, 0, 0])
    rows.lengths[1] = STRIDE + 1
    before = bytes(rows.octets)
    with sender() as tx:
        assert protect_batch([tx], rows.batch) == 2
    assert list(rows.statuses) == [
        Status.OK,
        Status.BAD_ARGUMENT,
        Status.BAD_ARGUMENT,
        Status.BAD_PACKET,
        Status.NO_ROOM,
        Status.OK,
    ]
    assert list(rows.lengths) == [42, STRIDE + 1, 32, 4, STRIDE, 42]
    assert rows.octets[STRIDE : 5 * STRIDE] == before[STRIDE : 5 * STRIDE]


def test_forged_row_stays_as_it_came() -> None:
    """SRTP-7."""
    packets = [model(CM80).protect_rtp(rtp(seq), 0) for seq in range(3)]
    packets[1] = packets[1][:-1] + bytes((packets[1][-1] ^ 1,))
    rows = Rows(packets)
    with receiver() as rx:
        assert unprotect_batch([rx], rows.batch) == 2
    assert rows.results() == [(Status.OK, rtp(0)), (Status.AUTH_FAIL, packets[1]), (Status.OK, rtp(2))]


def test_context_in_use_elsewhere_answers_busy_and_its_rows_are_not_touched() -> None:
    rows = Rows([rtp(1), rtp(1)], [0, 1])
    with sender() as tx, sender(keys=(master(CM80, 1),)) as other, tx._memory.use() as ctx:
        user = ffi.cast("uintptr_t **", ctx)[0]  # the first field is its guard: who is inside
        user[0] = 1
        assert protect_batch([tx, other], rows.batch) == 1
        user[0] = 0
    assert rows.results() == [(Status.BUSY, rtp(1)), (Status.OK, model(CM80, 1).protect_rtp(rtp(1), 0))]


def test_set_in_use_elsewhere_answers_busy_for_all() -> None:
    rows = Rows([rtp(1), rtp(2)])
    with sender() as tx:
        contexts = ContextSet([tx])
        contexts.seat.pop()  # as a call in another thread does
        assert protect_batch(contexts, rows.batch) == 0
        assert rows.results() == [(Status.BUSY, rtp(1)), (Status.BUSY, rtp(2))]
        contexts.seat.append(None)
        assert protect_batch(contexts, rows.batch) == 2


def test_closed_context_leaves_the_set() -> None:
    first, second = sender(), sender()
    contexts = ContextSet([first, second])
    first.close()
    rows = Rows([rtp(1), rtp(1)], [0, 1])
    assert protect_batch(contexts, rows.batch) == 1
    assert list(rows.statuses) == [Status.BAD_ARGUMENT, Status.OK]
    with pytest.raises(NativeError):
        ContextSet([first])
    second.close()


def test_one_packet_call_is_busy_while_another_thread_is_in_it() -> None:
    with sender() as tx:
        packet = tx._memory.seat.pop()  # as a call in another thread does
        with pytest.raises(Exception, match="BUSY"):
            tx.protect(rtp(1))
        tx._memory.seat.append(packet)
        assert tx.protect(bytearray(rtp(1))) == model(CM80).protect_rtp(rtp(1), 0)


def test_buffers_stay_where_they_are_while_a_batch_holds_them() -> None:
    """Nothing in C points into memory that Python may free."""
    rows = Rows([rtp(1)])
    for buffer in (rows.octets, rows.statuses):
        with pytest.raises(BufferError):
            buffer.extend(b"more")


@pytest.mark.parametrize(
    "changed",
    [
        {"arena": bytearray(64)},
        {"arena": bytes(64)},
        {"arena": memoryview(bytes(64)).cast("B", (1, 64))},
        {"lengths": array("H", [12])},
        {"lengths": array("I", [12, 12])},
        {"lengths": array("f", [12])},
        {"statuses": bytes(1)},
        {"index": array("Q", [0])},
        {"rtcp": bytearray(2)},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_buffers_of_another_shape_are_refused(changed: dict[str, object]) -> None:
    buffers: dict[str, object] = {
        "arena": memoryview(bytearray(64)).cast("B", (1, 64)),
        "lengths": array("I", [12]),
        "statuses": bytearray(1),
    }
    with pytest.raises((ValueError, BufferError)):
        Batch(**{**buffers, **changed})  # type: ignore[arg-type]
