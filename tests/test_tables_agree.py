"""Tables that exist twice, in C and in Python, say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ueagent_native import values
from ueagent_native._core import ffi, lib
from ueagent_native.arena import ArenaFlags
from ueagent_native.verification import Transform

from ueagent.model.suites import SUITES, CryptoSuite

NATIVE = Path(__file__).resolve().parent.parent / "native"
STUB = (NATIVE / "ueagent_native" / "_core.pyi").read_text()


@pytest.mark.parametrize("suite", [s for s in SUITES.values() if s.native is not None], ids=lambda s: s.name)
def test_each_python_suite_is_the_same_row_in_c(suite: CryptoSuite) -> None:
    """SRTP-2, SRTP-4."""
    row = lib.ums_suite_find(suite.native or 0)
    assert row != ffi.NULL
    assert ffi.string(row.name).decode() == suite.name
    assert (row.key_len, row.salt_len) == (suite.key_length, suite.salt_length)
    assert (row.rtp_tag, row.rtcp_tag) == (suite.srtp_tag_length, suite.srtcp_tag_length)
    assert (row.transform == lib.UMS_AES_GCM) == suite.aead
    assert row.auth_key_len == (0 if suite.aead else 20)
    assert (row.transform == lib.UMS_NULL_CIPHER) == suite.name.startswith("NULL_")


def test_c_has_no_suite_that_python_lacks() -> None:
    """SRTP-2."""
    in_c = {lib.ums_suite_at(i).suite for i in range(lib.ums_suite_count())}
    assert in_c == {s.native for s in SUITES.values() if s.native is not None}


def test_null_encryption_and_f8_are_not_selectable() -> None:
    """SRTP-2."""
    for name in ("NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32", "F8_128_HMAC_SHA1_80"):
        assert not SUITES[name].selectable


def test_status_has_the_same_names_and_numbers() -> None:
    in_c = {}
    number = 0
    while (name := ffi.string(lib.ums_status_name(number)).decode()) != "UNKNOWN":
        in_c[name] = number
        number += 1
    assert in_c == {s.name: s.value for s in values.Status}
    assert all(getattr(lib, f"UMS_{name}") == value for name, value in in_c.items())


def test_small_enumerations_have_the_same_numbers() -> None:
    assert {d.name: d.value for d in values.Direction} == {"SEND": lib.UMS_SEND, "RECEIVE": lib.UMS_RECEIVE}
    assert all(getattr(lib, f"UMS_{t.name}") == t.value for t in Transform)
    assert all(getattr(lib, f"UMS_ARENA_{f.name}") == f.value for f in ArenaFlags)


def test_the_stub_names_exactly_what_the_module_has() -> None:
    """mypy checks calls into C against this stub."""
    body = STUB[STUB.index("class _Lib") :]
    named = set(re.findall(r"def (ums_\w+)\(", body)) | set(re.findall(r"^    (UMS_\w+): Final", body, flags=re.M))
    assert named == {name for name in dir(lib) if name.lower().startswith("ums_")}
