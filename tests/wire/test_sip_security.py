"""Header field values of the security agreement (`ueagent/wire/sip_security.py`)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.errors import MalformedMessage
from ueagent.wire.sip_security import (
    MAX_FIELD_LENGTH,
    MAX_FIELDS,
    MAX_MECHANISMS,
    MAX_PARAMETERS,
    SecMechanism,
    build_security_client,
    build_security_verify,
    duplicate_preferences,
    parse_security,
)

IPSEC = "ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;ealg=aes-cbc;spi-c=3333;spi-s=4444;port-c=5066;port-s=5068"


def refused(*values: str) -> MalformedMessage:
    with pytest.raises(MalformedMessage) as caught:
        parse_security(values)
    return caught.value


def test_mechanism_gives_name_parameters_and_its_text() -> None:
    (found,) = parse_security(["sdes-srtp;mediasec;x=1"])
    assert found == SecMechanism("sdes-srtp", (("mediasec", None), ("x", "1")), "sdes-srtp;mediasec;x=1")


def test_example_of_rfc_3329_4_1_reads() -> None:
    """RFC 3329, 4.1: a client list of one field, a server list with preferences."""
    client = parse_security(["digest", "tls;q=0.1"], "Security-Client")
    assert [entry.name for entry in client] == ["digest", "tls"]
    server = parse_security(["ipsec-ike;q=0.1, tls;q=0.2"])
    assert [(entry.name, entry.preference) for entry in server] == [("ipsec-ike", 100), ("tls", 200)]


def test_comma_lists_and_repeated_fields_are_one_list_in_order() -> None:
    """REG-12."""
    lists = parse_security([IPSEC, "sdes-srtp;mediasec , dtls-srtp;mediasec", "msrp-tls;mediasec"])
    assert [entry.name for entry in lists] == ["ipsec-3gpp", "sdes-srtp", "dtls-srtp", "msrp-tls"]
    assert build_security_verify(lists) == [IPSEC, "sdes-srtp;mediasec", "dtls-srtp;mediasec", "msrp-tls;mediasec"]


def test_three_fields_of_a_german_operator_read() -> None:
    """FIELD-1."""
    found = parse_security(["msrp-tls;mediasec", "sdes-srtp;mediasec", "dtls-srtp;mediasec"])
    assert all(entry.is_mediasec for entry in found)


def test_unknown_mechanisms_and_parameters_are_kept_as_they_came() -> None:
    """REG-12: octet for octet in Security-Verify, spacing inside the entry included."""
    text = 'x-New.Mech ; Foo = "a, b;c\\"d" ;ealg=NULL; bar ;v6=[2001:db8::1];b64=QUJD=='
    assert build_security_verify(parse_security([f"  {text}  ,tls"])) == [text, "tls"]
    (found, _) = parse_security([f"{text},tls"])
    assert found.parameters == (
        ("Foo", 'a, b;c"d'),
        ("ealg", "NULL"),
        ("bar", None),
        ("v6", "[2001:db8::1]"),
        ("b64", "QUJD=="),
    )


def test_quoted_string_may_hold_commas_and_escapes() -> None:
    """REG-12; RFC 3329, 2.2: digest-verify is a quoted string."""
    found = parse_security([r'digest;d-ver="a,\\b\"c;",tls'])
    assert [entry.name for entry in found] == ["digest", "tls"]
    assert found[0].parameter("D-Ver") == r'a,\b"c;'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sdes-srtp;mediasec", True),
        ("sdes-srtp;q=0.1;MediaSec", True),
        ("sdes-srtp", False),
        ("sdes-srtp;mediasec=1", False),
        ("mediasec", False),
        ('tls;x="mediasec"', False),
    ],
)
def test_mediasec_parameter_marks_a_media_mechanism(text: str, expected: bool) -> None:
    assert parse_security([text])[0].is_mediasec is expected


def test_tokens_are_compared_without_regard_to_case() -> None:
    """REG-12."""
    (found,) = parse_security(["SDES-srtp;MEDIASEC"])
    assert found.names("sdes-SRTP")
    assert found.is_mediasec
    assert found.text == "SDES-srtp;MEDIASEC"


def test_folded_field_is_unfolded_so_that_its_mirror_cannot_break_a_line() -> None:
    (first, second) = parse_security(["tls;q=0.1;\r\n x=1,\r\n\tdigest"])
    assert (first.text, second.text) == ("tls;q=0.1; x=1", "digest")


@pytest.mark.parametrize(
    ("q", "expected"),
    [("0", 0), ("1", 1000), ("0.", 0), ("0.05", 50), ("1.000", 1000), ("2", None), ("0.1234", None), ("x", None)],
)
def test_preference_is_a_qvalue(q: str, expected: int | None) -> None:
    """RFC 3329, 2.2."""
    assert parse_security([f"tls;q={q}"])[0].preference == expected


def test_equal_preferences_are_worth_a_warning_only() -> None:
    """REG-3."""
    assert duplicate_preferences(parse_security(["tls;q=0.1,digest;q=0.10", "x;q=0.2,y,z"])) == ("digest",)


@pytest.mark.parametrize(
    ("value", "offset"),
    [
        ("", 0),
        ("  ", 2),
        (",tls", 0),
        ("tls,", 4),
        ("tls,,digest", 4),
        ("tls;", 4),
        ("tls;=1", 4),
        ("tls;q=", 6),
        ('tls;q="open', 6),
        ('tls;q="a"b', 9),
        ("tls digest", 4),
        ("tls/1.0", 3),
        ("t\u00e9ls", 1),
    ],
)
def test_malformed_value_says_which_field_and_where(value: str, offset: int) -> None:
    error = refused("digest", value)
    assert (error.code, error.field, error.offset) == ("bad_syntax", "Security-Server[1]", offset)


@pytest.mark.parametrize("value", ["tls\r\ndigest", "tls;x=\x00", 'tls;x="\x07"', "tls\rx", "tls\n"])
def test_control_characters_are_refused(value: str) -> None:
    assert refused(value).code == "bad_character"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (["tls"] * (MAX_FIELDS + 1), "too_many_fields"),
        ([",".join(["tls"] * (MAX_MECHANISMS + 1))], "too_many_mechanisms"),
        (["tls" + ";x" * (MAX_PARAMETERS + 1)], "too_many_parameters"),
        (["t" * (MAX_FIELD_LENGTH + 1)], "too_long"),
    ],
)
def test_sizes_and_counts_are_bounded(values: list[str], code: str) -> None:
    assert refused(*values).code == code


def test_sizes_and_counts_at_the_bound_are_read() -> None:
    assert len(parse_security(["tls"] * MAX_FIELDS)) == MAX_FIELDS
    assert len(parse_security(["tls" + ";x" * MAX_PARAMETERS])[0].parameters) == MAX_PARAMETERS
    assert parse_security(["t" * MAX_FIELD_LENGTH])[0].name == "t" * MAX_FIELD_LENGTH


def test_no_field_at_all_is_an_empty_list() -> None:
    assert parse_security([]) == ()


def test_security_client_has_one_entry_per_mechanism_without_q() -> None:
    """REG-1, REG-2, REG-3."""
    assert build_security_client(["sdes-srtp", "dtls-srtp"]) == ["sdes-srtp;mediasec", "dtls-srtp;mediasec"]
    assert build_security_client([]) == []


@pytest.mark.parametrize("token", ["", "a b", "a;b", "a,b", "a\r\nb", "\u00e4"])
def test_security_client_entry_that_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        build_security_client([token])
    assert caught.value.field == "Security-Client"


PIECES = st.lists(
    st.one_of(st.sampled_from([*';,="\\ \t', "\r\n ", "tls", "mediasec", "q=0.1"]), st.text(max_size=3)),
    max_size=20,
).map("".join)


@given(st.lists(PIECES, max_size=4))
def test_any_values_read_or_are_malformed(values: list[str]) -> None:
    with contextlib.suppress(MalformedMessage):
        parse_security(values)


@given(st.lists(PIECES, max_size=4))
def test_mirrored_list_reads_back_as_the_same_list(values: list[str]) -> None:
    """REG-4: what Security-Verify repeats is the list that was received."""
    try:
        found = parse_security(values)
    except MalformedMessage:
        return
    assert parse_security(build_security_verify(found)) == found
