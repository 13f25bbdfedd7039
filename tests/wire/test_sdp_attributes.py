"""a=crypto and a=3ge2ae as typed values (`ueagent/wire/sdp_attributes.py`). Keys here are made for these tests."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.errors import MalformedMessage
from ueagent.model.keys import Mki, Secret
from ueagent.model.suites import SUITES, CryptoSuite
from ueagent.wire.sdp import MediaSection, parse_sdp
from ueagent.wire.sdp_attributes import (
    ATTRIBUTES,
    MAX_CRYPTO_LINES,
    MAX_KEYS,
    InvalidAttribute,
    SdesCrypto,
    SdesKey,
    SessionParam,
    build_3ge2ae,
    build_crypto,
    carries,
    parse_crypto,
    read_3ge2ae,
    read_crypto,
)

SUITE = "AES_CM_128_HMAC_SHA1_80"
OCTETS = bytes(range(160, 190))
KEY = base64.b64encode(OCTETS).decode()
KEY_2 = base64.b64encode(bytes(range(60, 90))).decode()


def section(*attributes: bytes, session: bytes = b"") -> MediaSection:
    head = b"v=0\r\n" + session + b"m=audio 49170 RTP/SAVP 0\r\n"
    return parse_sdp(head + b"".join(line + b"\r\n" for line in attributes)).media[0]


def crypto(text: str) -> SdesCrypto:
    return parse_crypto(text.encode("latin-1"))


def inline(rest: str) -> SdesKey:
    """The first key of a valid line whose key is followed by `rest`."""
    return crypto(f"1 {SUITE} inline:{KEY}{rest}").keys[0]


def why_invalid(text: str) -> str:
    """The code with which a line is invalid."""
    valid, invalid = read_crypto(section(b"a=crypto:" + text.encode("latin-1")))
    assert valid == []
    return invalid[0].code


# ------------------------------------------------------------------------------------------------ RFC 4568 examples --


def test_example_of_rfc_4568_7_1_5_reads_and_writes_back() -> None:
    """RFC 4568, 7.1.5 (each attribute is one long line): AES with lifetime, MKI and FEC_ORDER; F8 with two keys."""
    lines = (
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80"
        b" inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4"
        b" FEC_ORDER=FEC_SRTP",
        b"a=crypto:2 F8_128_HMAC_SHA1_80"
        b" inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm|2^20|1:4;"
        b"inline:QUJjZGVmMTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5|2^20|2:4"
        b" FEC_ORDER=FEC_SRTP",
    )
    valid, invalid = read_crypto(section(*lines))
    assert invalid == []
    aes, f8 = valid
    assert aes == SdesCrypto(
        tag=1,
        tag_text="1",
        suite="AES_CM_128_HMAC_SHA1_80",
        keys=(SdesKey(Secret(b"YS___semctl () {\t220;}\n}\nunles"), 1 << 20, Mki(1, 4)),),
        session_params=(SessionParam("FEC_ORDER", "FEC_SRTP"),),
    )
    assert f8.suite == "F8_128_HMAC_SHA1_80"
    assert [key.mki for key in f8.keys] == [Mki(1, 4), Mki(2, 4)]
    assert tuple(build_crypto(value) for value in valid) == lines


def test_key_examples_of_rfc_4568_6_1_read() -> None:
    """RFC 4568, 6.1: with lifetime and MKI, and with the MKI alone."""
    first = crypto("1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4").keys[0]
    assert (first.lifetime, first.mki, len(first.key_salt)) == (1 << 20, Mki(1, 4), 30)
    second = crypto("1 AES_CM_128_HMAC_SHA1_80 inline:YUJDZGVmZ2hpSktMbW9QUXJzVHVWd3l6MTIzNDU2|1066:4").keys[0]
    assert (second.lifetime, second.mki, len(second.key_salt)) == (None, Mki(1066, 4), 30)


# ------------------------------------------------------------------------------------------------------------- tags --


def test_tag_with_a_leading_zero_is_read_and_repeated_as_written() -> None:
    value = crypto(f"007 {SUITE} inline:{KEY}")
    assert (value.tag, value.tag_text) == (7, "007")
    assert build_crypto(value).startswith(b"a=crypto:007 ")


@pytest.mark.parametrize("tag", ["", "x", "-1", "+1", "1234567890", "1a", "1.0", "\u00b2"])
def test_tag_that_is_not_one_to_nine_digits_makes_the_line_invalid(tag: str) -> None:
    assert why_invalid(f"{tag} {SUITE} inline:{KEY}") == "bad_tag"


def test_second_line_with_the_same_tag_is_invalid() -> None:
    """RFC 4568, 5.1; SDP-13."""
    valid, invalid = read_crypto(
        section(
            b"a=crypto:1 SOME_SUITE inline:x",
            b"a=crypto:01 " + SUITE.encode() + b" inline:" + KEY.encode(),
            b"a=crypto:2 " + SUITE.encode() + b" inline:" + KEY_2.encode(),
        )
    )
    assert [value.tag for value in valid] == [1, 2]
    assert [entry.code for entry in invalid] == ["duplicate_tag"]


def test_tag_of_an_invalid_line_is_taken_too() -> None:
    valid, invalid = read_crypto(
        section(b"a=crypto:1 " + SUITE.encode() + b" inline:AAAA", b"a=crypto:1 SOME_SUITE inline:x")
    )
    assert valid == []
    assert [entry.code for entry in invalid] == ["bad_key_length", "duplicate_tag"]


# ------------------------------------------------------------------------------------------------------------- keys --


@pytest.mark.parametrize("row", SUITES.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("padding", [True, False])
def test_key_of_every_suite_reads_with_and_without_padding(row: CryptoSuite, padding: bool) -> None:
    """SDES-2, SDES-3: keys of 28, 30, 38, 44 and 46 octets."""
    octets = bytes(range(row.key_salt_length))
    text = base64.b64encode(octets).decode()
    value = crypto(f"1 {row.name} inline:{text if padding else text.rstrip('=')}")
    assert value.keys[0].key_salt == Secret(octets)
    assert build_crypto(value, padding=padding).endswith((text if padding else text.rstrip("=")).encode())


@pytest.mark.parametrize("row", SUITES.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("difference", [-1, 1])
def test_key_of_another_length_than_the_suites_makes_the_line_invalid(row: CryptoSuite, difference: int) -> None:
    """SDES-2: 29 and 31 octets for a suite of 30, and so on."""
    text = base64.b64encode(bytes(row.key_salt_length + difference)).decode()
    assert why_invalid(f"1 {row.name} inline:{text}") == "bad_key_length"


def test_key_of_32_octets_for_aes_256_is_invalid() -> None:
    """FIELD-6: an old stack leaves the salt away."""
    text = base64.b64encode(bytes(32)).decode()
    assert why_invalid(f"1 AES_256_CM_HMAC_SHA1_80 inline:{text}") == "bad_key_length"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "=" + KEY,
        KEY[:20] + "=" + KEY[21:],
        KEY + "===",
        KEY[:-1] + "-",
        KEY[:-1] + "_",
        KEY[:-1] + ".",
        KEY + "A",
    ],
)
def test_key_outside_the_standard_alphabet_is_invalid(text: str) -> None:
    """SDES-2."""
    assert why_invalid(f"1 {SUITE} inline:{text}") == "bad_key_encoding"


def test_bits_left_over_in_the_last_base64_character_are_not_looked_at() -> None:
    octets = bytes(28)
    text = base64.b64encode(octets).decode()
    assert text.endswith("A==")
    assert crypto(f"1 AEAD_AES_128_GCM inline:{text[:-3]}B==").keys[0].key_salt == Secret(octets)


def test_master_key_and_salt_are_cut_as_the_suite_says_and_owned_apart() -> None:
    row = SUITES[SUITE]
    key = SdesKey(Secret(OCTETS), lifetime=5, mki=Mki(1, 4))
    master = key.master_key(row)
    key.key_salt.wipe()
    assert (master.key, master.salt) == (Secret(OCTETS[:16]), Secret(OCTETS[16:]))
    assert (master.lifetime, master.mki) == (5, Mki(1, 4))


def test_wiping_a_line_wipes_all_its_keys() -> None:
    value = crypto(f"1 {SUITE} inline:{KEY} FEC_KEY=inline:{KEY_2}")
    value.wipe()
    fec = value.session_params[0].value
    assert isinstance(fec, tuple)
    assert [len(key.key_salt) for key in (*value.keys, *fec)] == [0, 0]


# --------------------------------------------------------------------------------------------------- lifetime, MKI --


@pytest.mark.parametrize(
    ("text", "lifetime"),
    [("2^31", 1 << 31), ("2^48", 1 << 48), ("281474976710656", 1 << 48), ("1", 1), ("2^0", 1), ("1000000", 1000000)],
)
def test_lifetime_is_decimal_or_a_power_of_two(text: str, lifetime: int) -> None:
    """SDES-9."""
    assert inline(f"|{text}").lifetime == lifetime


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "02^20",
        "2^020",
        "01000",
        "2^49",
        "2^",
        "2^x",
        "281474976710657",
        "9" * 5000,
        "2^" + "9" * 5000,
        "-5",
        "3^4",
    ],
)
def test_bad_lifetime_makes_the_line_invalid(text: str) -> None:
    """SDES-9: zero, leading zeros, above the suite's maximum, not a number."""
    assert why_invalid(f"1 {SUITE} inline:{KEY}|{text}") == "bad_lifetime"


def test_lifetime_of_an_rfc_6188_suite_may_reach_2_to_the_48() -> None:
    """SDES-9: 2^31 is only a default there."""
    text = base64.b64encode(bytes(46)).decode()
    assert crypto(f"1 AES_256_CM_HMAC_SHA1_80 inline:{text}|2^48").keys[0].lifetime == 1 << 48


@pytest.mark.parametrize(
    ("text", "mki"),
    [("1:4", Mki(1, 4)), ("1:1", Mki(1, 1)), ("255:1", Mki(255, 1)), ("1066:4", Mki(1066, 4)), ("1:128", Mki(1, 128))],
)
def test_mki_without_a_lifetime_reads(text: str, mki: Mki) -> None:
    """SDES-10."""
    key = inline(f"|{text}")
    assert (key.lifetime, key.mki) == (None, mki)


def test_largest_mki_of_128_octets_reads() -> None:
    value = (1 << 1024) - 1
    assert inline(f"|{value}:128").mki == Mki(value, 128)


@pytest.mark.parametrize(
    "text", ["256:1", "0:4", "01:4", "1:0", "1:04", "1:129", "1:1000", "1:", ":4", "x:4", "1:4:4", "9" * 5000 + ":128"]
)
def test_bad_mki_makes_the_line_invalid(text: str) -> None:
    """SDES-10."""
    assert why_invalid(f"1 {SUITE} inline:{KEY}|{text}") == "bad_mki"


@pytest.mark.parametrize(
    ("rest", "code"),
    [("|2^20|1", "bad_mki"), ("|1:4|2^20", "bad_mki"), ("|2^20|1:4|x", "bad_syntax"), ("|x:1|1:4", "bad_lifetime")],
)
def test_fields_after_the_key_have_their_order(rest: str, code: str) -> None:
    assert why_invalid(f"1 {SUITE} inline:{KEY}{rest}") == code


# ---------------------------------------------------------------------------------------------------- several keys --


@pytest.mark.parametrize("gap", ["", " ", "\t "])
def test_two_keys_joined_by_a_semicolon_read(gap: str) -> None:
    """SDES-10; RFC 4568, 7.1.5 prints the second key on a line of its own."""
    value = crypto(f"1 {SUITE} inline:{KEY}|2^20|1:4;{gap}inline:{KEY_2}|2^20|2:4 UNENCRYPTED_SRTCP")
    assert [key.mki for key in value.keys] == [Mki(1, 4), Mki(2, 4)]
    assert value.session_params == (SessionParam("UNENCRYPTED_SRTCP"),)


@pytest.mark.parametrize(
    ("first", "second"),
    [("|1:4", ""), ("", "|1:4"), ("", ""), ("|1:4", "|2:3"), ("|1:4", "|1:4")],
)
def test_several_keys_need_distinct_mkis_of_one_length(first: str, second: str) -> None:
    """SDES-10."""
    assert why_invalid(f"1 {SUITE} inline:{KEY}{first};inline:{KEY_2}{second}") == "bad_mki"


def test_more_keys_than_the_bound_make_the_line_invalid() -> None:
    keys = ";".join(f"inline:{KEY}|{i + 1}:4" for i in range(MAX_KEYS + 1))
    assert why_invalid(f"1 {SUITE} {keys}") == "too_many_keys"


def test_semicolon_without_a_following_key_makes_the_line_invalid() -> None:
    assert why_invalid(f"1 {SUITE} inline:{KEY}|1:4; UNENCRYPTED_SRTCP") == "bad_key_method"


# -------------------------------------------------------------------------------------------------------- parameters --


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("KDR=1", SessionParam("KDR", 1)),
        ("KDR=24", SessionParam("KDR", 24)),
        ("KDR=0", SessionParam("KDR", 0)),
        ("UNENCRYPTED_SRTP", SessionParam("UNENCRYPTED_SRTP")),
        ("UNENCRYPTED_SRTCP", SessionParam("UNENCRYPTED_SRTCP")),
        ("UNAUTHENTICATED_SRTP", SessionParam("UNAUTHENTICATED_SRTP")),
        ("unencrypted_srtp", SessionParam("UNENCRYPTED_SRTP")),
        ("FEC_ORDER=FEC_SRTP", SessionParam("FEC_ORDER", "FEC_SRTP")),
        ("FEC_ORDER=SRTP_FEC", SessionParam("FEC_ORDER", "SRTP_FEC")),
        ("WSH=64", SessionParam("WSH", 64)),
        ("WSH=1024", SessionParam("WSH", 1024)),
        (
            f"FEC_KEY=inline:{KEY_2}|1:4",
            SessionParam("FEC_KEY", (SdesKey(Secret(bytes(range(60, 90))), None, Mki(1, 4)),)),
        ),
    ],
)
def test_session_parameter_becomes_a_typed_value(text: str, param: SessionParam) -> None:
    """RFC 4568, 6.3."""
    value = crypto(f"1 {SUITE} inline:{KEY} {text}")
    assert value.session_params == (param,)
    assert parse_crypto(build_crypto(value)[len(b"a=crypto:") :]) == value


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("KDR", "bad_parameter"),
        ("KDR=", "bad_parameter"),
        ("KDR=25", "bad_parameter"),
        ("KDR=01", "bad_parameter"),
        ("WSH=63", "bad_parameter"),
        ("WSH=064", "bad_parameter"),
        ("WSH=" + "9" * 5000, "bad_parameter"),
        ("FEC_ORDER=X", "bad_parameter"),
        ("FEC_ORDER", "bad_parameter"),
        ("UNENCRYPTED_SRTP=1", "bad_parameter"),
        ("FEC_KEY=inline:AAAA", "bad_key_length"),
        ("FEC_KEY", "bad_key_method"),
        ("NEW_THING", "unknown_parameter"),
        ("NEW=1", "unknown_parameter"),
        ("UNENCRYPTED", "unknown_parameter"),
        ("WSH=64 WSH=128", "repeated_parameter"),
    ],
)
def test_bad_or_unknown_session_parameter_makes_the_line_invalid(text: str, code: str) -> None:
    """RFC 4568, 6.3 and 6.3.7."""
    assert why_invalid(f"1 {SUITE} inline:{KEY} {text}") == code


def test_unknown_parameter_with_a_dash_is_ignored() -> None:
    """RFC 4568, 6.3.7."""
    assert crypto(f"1 {SUITE} inline:{KEY} -NEW=1 -X WSH=64").session_params == (SessionParam("WSH", 64),)


# ------------------------------------------------------------------------------------------------ interop shapes --


@pytest.mark.parametrize(
    ("rest", "lifetime", "mki", "params"),
    [
        ("|2^31", 1 << 31, None, ()),
        ("|2^48 UNENCRYPTED_SRTCP", 1 << 48, None, (SessionParam("UNENCRYPTED_SRTCP"),)),
        ("|2^20|1:4 FEC_ORDER=FEC_SRTP", 1 << 20, Mki(1, 4), (SessionParam("FEC_ORDER", "FEC_SRTP"),)),
        ("|2^48|1:4", 1 << 48, Mki(1, 4), ()),
        ("|1:1", None, Mki(1, 1), ()),
    ],
)
def test_shapes_seen_in_the_field_read_and_write_back(
    rest: str, lifetime: int | None, mki: Mki | None, params: tuple[SessionParam, ...]
) -> None:
    """FIELD-6, FIELD-10, FIELD-16."""
    value = crypto(f"1 {SUITE} inline:{KEY}{rest}")
    assert (value.keys[0].lifetime, value.keys[0].mki, value.session_params) == (lifetime, mki, params)
    assert build_crypto(value) == f"a=crypto:1 {SUITE} inline:{KEY}{rest}".encode()


@pytest.mark.parametrize(
    "name",
    [
        "AES_CM_256_HMAC_SHA1_80",
        "AEAD_AES_128_GCM_8",
        "AEAD_AES_256_GCM_8",
        "F8_128_HMAC_SHA1_32",
        "aes_cm_128_hmac_sha1_80",
    ],
)
def test_unknown_suite_reads_without_its_keys_being_interpreted(name: str) -> None:
    """FIELD-9 and 5.2: wrong names are unknown suites, not known ones spelled differently."""
    value = crypto(f"1 {name} inline:whatever|x|y;uri:http://example.com NEW_THING")
    assert value == SdesCrypto(1, "1", name, ())


@pytest.mark.parametrize("rest", ["inline", "inline:", "inline:a;", ":a", "in-line:a"])
def test_unknown_suite_still_has_to_follow_the_generic_grammar(rest: str) -> None:
    """RFC 4568, 9.1."""
    assert why_invalid(f"1 NEW_SUITE {rest}") == "bad_syntax"


@pytest.mark.parametrize("name", ["NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32", "F8_128_HMAC_SHA1_80"])
def test_null_and_f8_are_read_and_leave_the_choice_to_others(name: str) -> None:
    assert crypto(f"1 {name} inline:{KEY}").suite == name


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_tag"),
        ("1", "bad_tag"),
        ("1 ", "bad_syntax"),
        (f"1 {SUITE}", "bad_syntax"),
        (f"1 AES-CM inline:{KEY}", "bad_suite_name"),
        (f"1 {SUITE} uri:{KEY}", "bad_key_method"),
        (f"1 {SUITE} {KEY}", "bad_key_method"),
        (f"1 {SUITE} inline:{KEY}\x00", "bad_syntax"),
        (f"1 {SUITE} inline:{KEY} \xe9", "bad_syntax"),
        (f"1 {SUITE} inline:{KEY} WSH=64\x0bX", "bad_syntax"),
    ],
)
def test_line_outside_the_grammar_is_invalid(text: str, code: str) -> None:
    assert why_invalid(text) == code


def test_crypto_without_a_value_is_invalid() -> None:
    assert [entry.code for entry in read_crypto(section(b"a=crypto"))[1]] == ["bad_tag"]


def test_any_white_space_between_the_fields_and_around_them_is_read() -> None:
    assert crypto(f" 1 \t{SUITE}  INLINE:{KEY}\tWSH=64 ").session_params == (SessionParam("WSH", 64),)


def test_bad_line_makes_only_itself_invalid_and_says_where_it_is() -> None:
    """SDP-13."""
    good = b"a=crypto:2 " + SUITE.encode() + b" inline:" + KEY.encode()
    valid, invalid = read_crypto(section(b"a=crypto:1 " + SUITE.encode() + b" inline:AAAA", good))
    assert [value.tag for value in valid] == [2]
    assert invalid == [
        InvalidAttribute("crypto", 31, "bad_key_length", f"key and salt of 3 octets, {SUITE} has 30"),
    ]


def test_order_of_many_lines_is_kept_and_what_exceeds_the_bound_is_invalid() -> None:
    lines = [f"a=crypto:{i} {SUITE} inline:{KEY}".encode() for i in range(1, MAX_CRYPTO_LINES + 3)]
    valid, invalid = read_crypto(section(*lines[:65]))
    assert ([value.tag for value in valid], invalid) == (list(range(1, 66)), [])
    valid, invalid = read_crypto(section(*lines))
    assert len(valid) == MAX_CRYPTO_LINES
    assert [entry.code for entry in invalid] == ["too_many_lines"] * 2


def test_crypto_at_session_level_is_not_read() -> None:
    """SDES-1."""
    media = section(session=f"a=crypto:1 {SUITE} inline:{KEY}\r\n".encode())
    assert read_crypto(media) == ([], [])
    assert not carries(media, "crypto")


def test_attribute_name_in_another_letter_case_is_another_attribute() -> None:
    assert read_crypto(section(f"a=Crypto:1 {SUITE} inline:{KEY}".encode())) == ([], [])


# ---------------------------------------------------------------------------------------------------------- writing --


def test_written_line_is_canonical() -> None:
    """SDES-3: padded, one space, a power of two as such, any other lifetime in decimal."""
    value = crypto(
        f"1 \tAEAD_AES_128_GCM  Inline:{base64.b64encode(bytes(28)).decode().rstrip('=')}|1048576|1:4  wsh=64"
    )
    assert build_crypto(value) == b"a=crypto:1 AEAD_AES_128_GCM inline:" + b"A" * 38 + b"==|2^20|1:4 WSH=64"
    assert b"|1000 " in build_crypto(crypto(f"1 {SUITE} inline:{KEY}|1000 WSH=64"))


def test_line_without_a_key_is_not_written() -> None:
    with pytest.raises(ValueError, match="key"):
        build_crypto(SdesCrypto(1, "1", "NEW_SUITE", ()))


MKI = st.integers(1, 128).flatmap(lambda n: st.builds(Mki, st.integers(1, (1 << (8 * n)) - 1), st.just(n)))
LIFETIME = st.one_of(st.none(), st.integers(1, 1 << 48), st.integers(0, 48).map(lambda n: 1 << n))
PARAMS = st.lists(
    st.one_of(
        st.builds(SessionParam, st.just("KDR"), st.integers(0, 24)),
        st.builds(SessionParam, st.just("WSH"), st.integers(64, 99999)),
        st.sampled_from([SessionParam("UNENCRYPTED_SRTP"), SessionParam("FEC_ORDER", "FEC_SRTP")]),
    ),
    max_size=4,
    unique_by=lambda param: param.name,
).map(tuple)


@given(st.data())
def test_written_line_reads_back_as_the_same_value(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(list(SUITES.values())))
    octets = data.draw(st.binary(min_size=row.key_salt_length, max_size=row.key_salt_length))
    tag = data.draw(st.from_regex(r"[0-9]{1,9}", fullmatch=True))
    key = SdesKey(Secret(octets), data.draw(LIFETIME), data.draw(st.one_of(st.none(), MKI)))
    value = SdesCrypto(int(tag), tag, row.name, (key,), data.draw(PARAMS))
    text = build_crypto(value, padding=data.draw(st.booleans()))
    assert read_crypto(section(text)) == ([value], [])


# -------------------------------------------------------------------------------------------------- errors and keys --


@given(st.binary(max_size=80).filter(lambda value: b"\r" not in value and b"\n" not in value))
def test_any_value_reads_or_is_malformed(value: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        parse_crypto(value)


@given(
    key=st.text("ABCDEFGHabcdefgh0123+/", min_size=12, max_size=70),
    shape=st.sampled_from(
        [
            "1 {s} inline:{k}",
            "1 {s} inline:{k}|{k}",
            "1 {s} inline:{k}|1:{k}",
            "1 {s} {k}",
            "1 {k} inline:x",
            "{k} {s} inline:x",
            "1 {s} inline:AAAA {k}",
            "1 {s} inline:" + KEY + " {k}",
            "1 {s} inline:" + KEY + " KDR={k}",
            "1 {s} inline:" + KEY + " FEC_KEY=inline:{k}",
            "1 {s} inline:" + KEY + " FEC_ORDER={k}",
            "1 {s} inline:" + KEY + "|1:4;inline:{k}|1:4",
        ]
    ),
)
def test_no_error_and_no_repr_ever_shows_a_key(key: str, shape: str) -> None:
    """POL-8."""
    text = "a=crypto:" + shape.format(s=SUITE, k=key)
    valid, invalid = read_crypto(section(text.encode()))
    # What parse_crypto raises becomes the code and the detail of an InvalidAttribute.
    shown = repr(invalid) + repr([(value.keys, value.session_params) for value in valid])
    assert key not in shown
    assert KEY not in shown


# ------------------------------------------------------------------------------------------------- 3ge2ae and others --


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"a=3ge2ae:requested"], "requested"),
        ([b"a=3ge2ae:applied"], "applied"),
        ([b"a=3ge2ae: requested"], "requested"),
        ([b"a=3ge2ae:   Applied  "], "applied"),
        ([b"a=3ge2ae:foo"], None),
        ([b"a=3ge2ae:"], None),
        ([b"a=3ge2ae"], None),
        ([b"a=3ge2ae:requested applied"], None),
        ([b"a=3ge2ae:foo", b"a=3ge2ae:applied", b"a=3ge2ae:requested"], "applied"),
        ([], None),
    ],
)
def test_first_valid_3ge2ae_counts(lines: list[bytes], expected: str | None) -> None:
    """SDP-2, SDP-3."""
    assert read_3ge2ae(section(*lines)) == expected


def test_3ge2ae_at_session_level_is_ignored() -> None:
    """SDP-3."""
    assert read_3ge2ae(section(session=b"a=3ge2ae:applied\r\n")) is None


def test_3ge2ae_is_written_without_a_space() -> None:
    """SDP-1."""
    assert build_3ge2ae("requested") == b"a=3ge2ae:requested"


@pytest.mark.parametrize("name", ["fingerprint", "setup", "tls-id", "key-mgmt"])
def test_presence_is_seen_on_the_levels_where_the_attribute_is_legal(name: str) -> None:
    """SDP-9, CAP-10."""
    text = f"a={name}:x".encode()
    assert carries(section(text), name)
    assert carries(section(session=text + b"\r\n"), name)
    assert not carries(section(b"a=other:x"), name)


def test_crypto_and_fingerprint_in_one_medium_are_both_seen() -> None:
    """CAP-10."""
    media = section(f"a=crypto:1 {SUITE} inline:{KEY}".encode(), b"a=fingerprint:SHA-256 00")
    assert all(carries(media, name) for name in ("crypto", "fingerprint"))


def test_table_names_every_keying_attribute() -> None:
    assert set(ATTRIBUTES) == {"crypto", "3ge2ae", "fingerprint", "setup", "connection", "tls-id", "key-mgmt"}
