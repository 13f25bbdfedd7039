"""The timed loops in C: they verify what they time."""

from __future__ import annotations

import pytest
from ueagent_bench import clock
from ueagent_bench.fixture import Fixture
from ueagent_bench.model import COMPOUND, Case, WrongOutput
from ueagent_native._core import ffi, lib
from ueagent_native.engines import list_engines
from ueagent_native.values import NativeError, Status

ENGINES = [info.name for info in list_engines() if info.present]
CM, GCM = "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"
CASES = [
    *(Case(f"srtp_{way}", suite, n) for way in ("protect", "unprotect") for suite in (CM, GCM) for n in (0, 20, 1200)),
    *(Case(f"srtcp_{way}", suite, COMPOUND) for way in ("protect", "unprotect") for suite in (CM, GCM)),
    Case("srtp_setup", CM, 0),
    Case("srtp_protect", GCM, 160, contexts=1),
    Case("srtp_unprotect", GCM, 160, contexts=100),
    Case("ssrc_protect", GCM, 160, contexts=1, ssrcs=1024),
    Case("ssrc_unprotect", GCM, 160, contexts=1, ssrcs=100),
]
LITTLE = 1e-5  # seconds


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name("x", 1))
def test_every_operation_verifies_on_every_engine(case: Case, engine: str) -> None:
    fixture = Fixture(case, engine=engine)
    try:
        for burst in (1, 4, 64):
            samples = fixture.measure(burst, LITTLE)
            assert len(samples) >= 1
            assert all(ticks > 0 for ticks in samples)
    finally:
        fixture.close()


def test_sequence_numbers_roll_over_while_measuring() -> None:
    """One stream takes 64 numbers a sample: well over 65536 of them."""
    fixture = Fixture(Case("srtp_unprotect", GCM, 0, contexts=1))
    try:
        samples = sum(len(fixture.measure(64, 1.0)) for _ in range(1))
        while samples * 64 < 0x1_1000:
            samples += len(fixture.measure(64, 1.0))
    finally:
        fixture.close()


def lying_subject(run: object) -> object:
    """The core as a subject, except for what it does with packets."""
    subject = ffi.new("ums_bench_subject *", lib.ums_bench_core()[0])
    subject.run = run
    return subject


@pytest.mark.parametrize("operation", ["srtp_protect", "srtp_unprotect", "srtcp_protect", "srtp_setup"])
def test_subject_that_does_nothing_is_found_out(operation: str) -> None:
    idle = ffi.callback("size_t(void *, size_t, size_t)", lambda state, first, n: n)
    subject = lying_subject(idle)
    payload = COMPOUND if operation == "srtcp_protect" else 20
    fixture = Fixture(Case(operation, CM, payload), subject=subject)
    try:
        with pytest.raises(WrongOutput):
            fixture.measure(64, LITTLE)
    finally:
        fixture.close()


def test_subject_that_refuses_a_packet_is_found_out() -> None:
    lazy = ffi.callback("size_t(void *, size_t, size_t)", lambda state, first, n: n - 1)
    subject = lying_subject(lazy)
    fixture = Fixture(Case("srtp_protect", CM, 20), subject=subject)
    try:
        with pytest.raises(WrongOutput, match="BAD_PACKET"):
            fixture.measure(64, LITTLE)
    finally:
        fixture.close()


def test_unknown_engine_is_refused() -> None:
    with pytest.raises(NativeError) as refused:
        Fixture(Case("srtp_protect", CM, 20), engine="nonesuch")
    assert refused.value.status == Status.UNSUPPORTED


@pytest.mark.parametrize(
    "case",
    [
        Case("srtp_protect", CM, 1600),
        Case("srtcp_protect", CM, 20),
        Case("srtp_setup", CM, 0, contexts=1),
        Case("ssrc_protect", CM, 20, contexts=1, ssrcs=2000),
    ],
    ids=lambda case: case.name("x", 1),
)
def test_case_that_does_not_fit_is_refused(case: Case) -> None:
    with pytest.raises(NativeError) as refused:
        Fixture(case)
    assert refused.value.status == Status.BAD_ARGUMENT


def test_burst_that_does_not_divide_the_batch_is_refused() -> None:
    fixture = Fixture(Case("srtp_protect", CM, 20))
    try:
        with pytest.raises(WrongOutput, match="BAD_ARGUMENT"):
            fixture.measure(3, LITTLE)
    finally:
        fixture.close()


def test_fixture_closes_twice() -> None:
    fixture = Fixture(Case("srtp_protect", CM, 20))
    fixture.close()
    fixture.close()


def test_clock_runs_and_is_calibrated() -> None:
    assert clock.name() in ("rdtscp", "cntvct", "clock_gettime")
    before = clock.ticks()
    assert clock.cycles_per_tick() > 0
    assert clock.ticks() > before
    assert clock.ticks_per_second() > 1e5


def test_pinning_is_undone() -> None:
    import os

    before = os.sched_getaffinity(0)
    with clock.pinned() as core:
        assert core is None or os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before
