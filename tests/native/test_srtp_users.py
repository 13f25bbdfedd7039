"""Who may use a context, and until when: one user at a time, not after fork, never past its end."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable

import pytest
from support.srtp import CM80, key_of, receiver, refusal, rtp, sender
from ueagent_native._core import ffi, lib
from ueagent_native.srtp import native_config, protect_burst
from ueagent_native.values import Direction, MasterKeyConfig, NativeError, SrtpConfig, Status


def _in_child(work: Callable[[], int]) -> int:
    """Exit status of `work` run in a child of fork()."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_second_user_of_a_context_is_told_busy_and_nothing_happens() -> None:
    with sender() as tx, sender() as other:
        tx.protect(rtp(1))
        with tx._memory.use() as ctx:
            user = ffi.cast("uintptr_t **", ctx)[0]  # the first field is its guard: who is inside
            user[0] = 1
            results = protect_burst([(tx, rtp(2), False), (other, rtp(2), False), (tx, rtp(3), False)])
            assert [status for status, _ in results] == [Status.BUSY, Status.OK, Status.BUSY]
            with pytest.raises(NativeError) as error:
                tx.set_engine("portable")
            assert error.value.status == Status.BUSY
            assert tx.stats().packets == 1  # counters may be read meanwhile
            assert len(tx.streams()) == 1
            user[0] = 0
        assert tx.protect(rtp(2))


def test_threads_that_share_a_context_never_send_an_index_twice() -> None:
    """Each packet of two racing threads is sent once, or answered with BUSY or REPLAY."""
    packets = [rtp(seq, payload=bytes(200)) for seq in range(3000)]
    outcomes: list[list[tuple[Status, bytes]]] = [[], []]
    with sender(rtp_window=32768) as tx:
        gate = threading.Barrier(2)

        def work(mine: int) -> None:
            gate.wait()
            outcomes[mine] = tx.protect_many(packets)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        both = [(n, row) for outcome in outcomes for n, row in enumerate(outcome)]
        assert {status for _, (status, _) in both} <= {Status.OK, Status.BUSY, Status.REPLAY, Status.HELD}
        sent = [n for n, (status, _) in both if status == Status.OK]
        assert len(sent) == len(set(sent)) == tx.stats().packets


def test_context_of_the_parent_refuses_to_work_in_a_child() -> None:
    with sender() as tx:
        tx.protect(rtp(1))
        assert _in_child(lambda: int(refusal(tx, rtp(2), sending=True))) == Status.FORKED
        assert tx.protect(rtp(2))


def test_context_whose_memory_the_kernel_kept_refuses_to_work_in_a_child_too() -> None:
    """Without MADV_WIPEONFORK: memory that is not an arena."""
    config = SrtpConfig(1, Direction.SEND, (MasterKeyConfig(*key_of(CM80)),))
    with native_config(config) as raw:
        size = lib.ums_srtp_sizeof(raw)
        space = ffi.new("uint8_t[]", size + 64)
        ctx = ffi.cast("ums_srtp *", (int(ffi.cast("uintptr_t", space)) + 63) & ~63)
        assert lib.ums_srtp_init(ctx, size, raw, ffi.NULL) == Status.OK
    data = ffi.new("uint8_t[]", 2048)
    ffi.memmove(data, rtp(1), 32)

    def send() -> int:
        packet = ffi.new("ums_packet *", {"data": data, "len": 32, "capacity": 2048})
        lib.ums_srtp_protect(ffi.new("ums_srtp *[]", [ctx]), packet, 1)
        return int(packet.status)

    def after_wipe() -> int:
        lib.ums_srtp_wipe(ctx)
        return 0 if not any(bytes(ffi.buffer(ffi.cast("uint8_t *", ctx), size))) else 1

    assert _in_child(send) == Status.FORKED
    assert _in_child(after_wipe) == 0
    assert send() == Status.OK
    lib.ums_srtp_wipe(ctx)


def test_child_makes_contexts_of_its_own() -> None:
    def work() -> int:
        with sender() as tx, receiver() as rx:
            return 0 if rx.unprotect(tx.protect(rtp(1))) == rtp(1) else 1

    assert _in_child(work) == 0


@pytest.mark.parametrize("is_sender", [True, False])
def test_context_of_the_other_direction_is_a_bad_argument(is_sender: bool) -> None:
    with sender() if is_sender else receiver() as context:
        assert refusal(context, rtp(1), sending=not is_sender) == Status.BAD_ARGUMENT


def test_memory_that_is_too_small_or_not_aligned_is_refused() -> None:
    config = SrtpConfig(1, Direction.SEND, (MasterKeyConfig(*key_of(CM80)),))
    with native_config(config) as raw:
        size = lib.ums_srtp_sizeof(raw)
        space = ffi.new("uint8_t[]", size + 128)
        aligned = (int(ffi.cast("uintptr_t", space)) + 63) & ~63
        for address, length, status in (
            (aligned, size - 1, Status.NO_ROOM),
            (aligned + 16, size, Status.BAD_ARGUMENT),
            (0, size, Status.BAD_ARGUMENT),
        ):
            assert lib.ums_srtp_init(ffi.cast("ums_srtp *", address), length, raw, ffi.NULL) == status


def test_closing_twice_is_closing_once_and_then_every_call_is_refused() -> None:
    tx = sender()
    tx.close()
    tx.close()
    for call in (lambda: tx.protect(rtp(1)), tx.stats, tx.streams, tx.wipe, lambda: tx.engine):
        with pytest.raises(NativeError):
            call()


def test_close_waits_for_calls_under_way_before_it_unmaps() -> None:
    tx = sender()
    with tx._memory.use() as ctx:
        closing = threading.Thread(target=tx.close)
        closing.start()
        closing.join(0.05)
        assert closing.is_alive()
        assert len(bytes(ffi.buffer(ffi.cast("uint8_t *", ctx), tx._memory.size))) == tx._memory.size
    closing.join()
    with pytest.raises(NativeError):
        tx.stats()


def test_contexts_that_nobody_closed_end_cleanly_with_the_interpreter() -> None:
    """Also while a thread is using one."""
    program = """
        import sys, threading
        from ueagent_native.srtp import SrtpContext
        from ueagent_native.values import Direction, MasterKeyConfig, NativeError, SrtpConfig
        key = MasterKeyConfig(bytes(16), bytes(14))
        tx = SrtpContext(SrtpConfig(1, Direction.SEND, (key,)))
        started = threading.Event()
        def work():
            try:
                while True:
                    tx.protect_many([bytes((128, 0)) + bytes(10)])
                    started.set()
            except NativeError:
                pass
        threading.Thread(target=work, daemon=True).start()
        started.wait()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
