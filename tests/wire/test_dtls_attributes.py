"""a=fingerprint, a=setup, a=tls-id and a=connection as typed values (`ueagent/wire/dtls_attributes.py`)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.errors import MalformedMessage
from ueagent.model.security import Fingerprint, SetupRole
from ueagent.wire.dtls_attributes import (
    DIGEST_LENGTHS,
    MAX_FINGERPRINTS,
    DtlsParameters,
    build_dtls,
    parse_fingerprint,
    parse_setup,
    parse_tls_id,
    read_dtls,
)
from ueagent.wire.sdp import MediaSection, parse_sdp

# RFC 8122, 8.1, and RFC 5763, 7.1: the examples of the specifications.
RFC_8122 = b"SHA-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB"
DIGEST = bytes(range(32))
LINE = b"a=fingerprint:sha-256 " + DIGEST.hex(":").upper().encode()
ID = "kP3cTzq0Wm8s1dRr7YvG2bHfXnQe4LuA"


def section(*attributes: bytes, session: tuple[bytes, ...] = ()) -> MediaSection:
    lines = (b"v=0", *session, b"m=audio 49170 UDP/TLS/RTP/SAVP 96", *attributes)
    return parse_sdp(b"".join(line + b"\r\n" for line in lines)).media[0]


def codes(*attributes: bytes) -> list[str]:
    return [one.code for one in read_dtls(section(*attributes))[1]]


def test_the_worked_example_of_the_checklist_is_read_and_written_back() -> None:
    """DTLS-2, DTLS-3, DTLS-6: section 6 of the checklist."""
    lines = [b"a=setup:actpass", b"a=tls-id:" + ID.encode(), LINE]
    found, invalid = read_dtls(section(*lines))
    assert found == DtlsParameters((Fingerprint("sha-256", DIGEST),), SetupRole.ACTPASS, ID)
    assert invalid == []
    assert build_dtls(found) == lines


def test_the_fingerprint_of_rfc_8122_is_read() -> None:
    """DTLS-6: the hash name is compared without regard to case. A weak hash is read; whether it counts, others say."""
    found = parse_fingerprint(RFC_8122)
    assert (found.hash, found.digest[:3].hex()) == ("sha-1", "4aadb9")


def test_lower_case_digits_are_read() -> None:
    """DTLS-6."""
    assert parse_fingerprint(b"SHA-256 " + DIGEST.hex(":").encode()) == Fingerprint("sha-256", DIGEST)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"sha-256",
        b"sha-256 " + DIGEST.hex().encode(),  # no colons
        b"sha-256 " + DIGEST.hex(":").encode()[:-1],
        b"sha-256 " + DIGEST.hex(":").encode() + b":",
        b"sha-256 " + DIGEST[:31].hex(":").encode(),
        b"sha-256 " + DIGEST.hex(":").encode() + b" more",
        b"x " + b"00:" * 128 + b"00",
        b"sha 256 " + DIGEST.hex(":").encode(),
    ],
)
def test_what_is_no_fingerprint_is_refused(value: bytes) -> None:
    """DTLS-6, SDP-13."""
    with pytest.raises(MalformedMessage):
        parse_fingerprint(value)


def test_an_unknown_hash_is_read_for_what_it_is() -> None:
    assert parse_fingerprint(b"sha3-256 00:01").hash == "sha3-256"


def test_several_fingerprints_keep_their_order() -> None:
    """DTLS-6, T38-8."""
    other = b"a=fingerprint:sha-512 " + bytes(64).hex(":").upper().encode()
    found, _ = read_dtls(section(LINE, other))
    assert [one.hash for one in found.fingerprints] == ["sha-256", "sha-512"]


def test_a_bad_line_makes_only_itself_invalid() -> None:
    """SDP-13."""
    found, invalid = read_dtls(section(b"a=fingerprint:sha-256 xx", LINE, b"a=setup:perhaps", b"a=setup:active"))
    assert found.fingerprints == (Fingerprint("sha-256", DIGEST),)
    assert found.setup is SetupRole.ACTIVE
    assert [(one.name, one.code) for one in invalid] == [("fingerprint", "bad_syntax"), ("setup", "bad_setup")]


def test_a_second_setup_does_not_count() -> None:
    """SDP-13."""
    found, invalid = read_dtls(section(b"a=setup:active", b"a=setup:passive"))
    assert found.setup is SetupRole.ACTIVE
    assert [one.code for one in invalid] == ["too_many_lines"]


def test_too_many_fingerprints_are_not_read() -> None:
    found, invalid = read_dtls(section(*[LINE] * (MAX_FINGERPRINTS + 2)))
    assert (len(found.fingerprints), len(invalid)) == (MAX_FINGERPRINTS, 2)


def test_the_session_level_holds_for_a_medium_without_its_own() -> None:
    """DTLS-6: RFC 8122, 5."""
    inherited, _ = read_dtls(section(b"a=setup:active", session=(LINE, b"a=setup:passive")))
    assert (inherited.fingerprints[0].digest, inherited.setup) == (DIGEST, SetupRole.ACTIVE)


def test_the_medium_overrides_the_session_level() -> None:
    """DTLS-6: RFC 8122, 5."""
    other = b"a=fingerprint:sha-256 " + bytes(32).hex(":").encode()
    assert read_dtls(section(other, session=(LINE,)))[0].fingerprints == (Fingerprint("sha-256", bytes(32)),)


@pytest.mark.parametrize("value", [b"a" * 19, b"a" * 256, b"a" * 19 + b"!", b"a" * 20 + b" b"])
def test_a_tls_id_out_of_its_grammar_is_refused(value: bytes) -> None:
    """DTLS-3."""
    with pytest.raises(MalformedMessage):
        parse_tls_id(value)


@pytest.mark.parametrize("length", [20, 255])
def test_a_tls_id_of_any_legal_length_is_read(length: int) -> None:
    """DTLS-3."""
    assert len(parse_tls_id(b"+/-_" + b"a" * (length - 4))) == length


def test_connection_is_read_and_written() -> None:
    """BFCP-7."""
    found, _ = read_dtls(section(b"a=connection: NEW"))
    assert found.connection == "new"
    assert build_dtls(found) == [b"a=connection:new"]
    assert codes(b"a=connection:old") == ["bad_connection"]


def test_setup_is_read_in_any_case() -> None:
    assert parse_setup(b" ActPass") is SetupRole.ACTPASS


hashes = st.sampled_from(sorted(DIGEST_LENGTHS)).flatmap(
    lambda name: st.builds(
        Fingerprint, st.just(name), st.binary(min_size=DIGEST_LENGTHS[name], max_size=DIGEST_LENGTHS[name])
    )
)
parameters = st.builds(
    DtlsParameters,
    st.lists(hashes, max_size=4).map(tuple),
    st.none() | st.sampled_from(SetupRole),
    st.none() | st.from_regex(r"[A-Za-z0-9+/_-]{20,255}", fullmatch=True),
    st.none() | st.sampled_from(["new", "existing"]),
)


@given(parameters)
def test_whatever_is_written_is_read_back(value: DtlsParameters) -> None:
    assert read_dtls(section(*build_dtls(value))) == (value, [])


@given(st.binary(max_size=200))
def test_any_value_is_read_or_malformed(value: bytes) -> None:
    """SDP-13."""
    for parse in (parse_fingerprint, parse_setup, parse_tls_id):
        with contextlib.suppress(MalformedMessage):
            parse(value)
