"""The suite table of the C core. SRTP-2, SRTP-4."""

from __future__ import annotations

import pytest
from ueagent_native._core import ffi, lib

ROWS = [lib.ums_suite_at(i) for i in range(lib.ums_suite_count())]


def name_of(row: object) -> str:
    return ffi.string(row.name).decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_suite_is_found_by_its_number(row: object) -> None:
    """SRTP-2."""
    assert lib.ums_suite_find(row.suite) == row  # type: ignore[attr-defined]


def test_numbers_outside_the_table_find_nothing() -> None:
    """SRTP-2."""
    assert lib.ums_suite_find(0) == ffi.NULL
    assert lib.ums_suite_find(999) == ffi.NULL
    assert lib.ums_suite_at(len(ROWS)) == ffi.NULL
    assert lib.ums_engine_choose(999) == ffi.NULL
    assert lib.ums_engine_find(b"nonesuch") == ffi.NULL
    assert lib.ums_engine_find(ffi.NULL) == ffi.NULL


@pytest.mark.parametrize("row", [r for r in ROWS if r.transform != lib.UMS_AES_GCM], ids=name_of)
def test_srtcp_has_an_80_bit_tag_also_where_srtp_has_32(row: object) -> None:
    """SRTP-4."""
    assert row.rtcp_tag == 10  # type: ignore[attr-defined]


def test_status_names_never_fail() -> None:
    """SRTP-13."""
    assert ffi.string(lib.ums_status_name(8)) == b"AUTH_FAIL"
    assert ffi.string(lib.ums_status_name(4000)) == b"UNKNOWN"
