"""SDP for logs (`ueagent/wire/key_mask.py`, POL-8)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.wire.sdp_attributes import mask_keys

KEY = b"wD/8EkmQb3yiVpLx0tRa+7uJZc2fNgHs5oXvK1Ue"


def test_key_is_masked_and_everything_else_stays() -> None:
    text = (
        b"v=0\r\nm=audio 9 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%s|2^20|1:4 FEC_ORDER=FEC_SRTP\r\n"
        b"a=crypto:2 NEW inline:%s|1:4;inline:%s|2:4 WSH=64 FEC_KEY=inline:%s\r\na=sendrecv\r\n"
    )
    assert mask_keys(text % ((KEY,) * 4)) == text % ((b"****",) * 4)


@pytest.mark.parametrize(
    "text",
    [
        b"v=0\r\ns=-\r\nm=audio 49170 RTP/AVP 0\r\na=fingerprint:SHA-256 AA:BB\r\n",
        b"",
        b"a=crypto\r\na=x\r\n",
        b"a=crypto:\r\na=x\r\n",
        b"a=crypto:1 SUITE\r\nm=audio 9 RTP/AVP 0\r\n",
        b"\x00\xff\n\n",
    ],
)
def test_text_without_a_key_stays_as_it_is(text: bytes) -> None:
    assert mask_keys(text) == text


@pytest.mark.parametrize(
    "text",
    [
        b"a=crypto:1 S inline:%s",
        b"a=crypto:1 S INLINE:%s|2^31\r\na=x",
        b"a=crypto:1 S inline : %s\r\na=x",
        b"a=crypto:1 S inline:\r\n %s\r\na=x",
        b"a=crypto:1 S inline\r\n\t:%s\r\na=x",
        b"a=crypto:1 S inl\r\n ine:%s\r\na=x",
        b"a=crypto:1 S \r\n inline:%s\r\na=x",
        b"a=crypto:1 S inline:|%s",
        b"a=crypto:1 S inline:;%s",
        b"a=crypto:1 S inline:x y %s",
        b"a=crypto:1 S inline:x|2^20|%s",
        b"a=crypto:1 S inline:x FEC_KEY=%s",
        b"a=crypto:1 S inline:x -EXT=inline:%s",
        b"a=crypto:1 S uri:%s",
        b"a=crypto:1 S %s",
        b"a=crypto:1 %s",
        b"a=crypto:%s",
        b"a=Crypto : 1 S %s",
        b"a=crypto:1 inline :%s",
        b"a=crypto:x;%s",
        b"a=acap:1 crypto:1 S inline:%s",
        b"a=acap:1 crypto:1 S key:%s",
        b"sip text with inline:%s in it",
        b'{"sdp": "a=crypto:1 S inline:%s\\r\\na=x"}',
        b"k=clear:%s\r\na=x",
        b"k=base64:%s",
        b"v=0\nk=%s\na=x",
        b"a=key-mgmt:mikey %s\r\na=x",
        b"a=key-mgmt:%s",
        b"\rk=base64:%s",
    ],
)
def test_no_odd_shape_gives_a_key_away(text: bytes) -> None:
    assert KEY not in mask_keys(text % KEY)
    assert mask_keys(b"v=0\r\n" + text % KEY).startswith(b"v=0\r\n")


@pytest.mark.parametrize("fold", [b"\r\n ", b"\n\t", b"\r\n", b"\n", b" ", b"\r"])
@pytest.mark.parametrize("at", [1, 12, 30, 39])
def test_both_halves_of_a_folded_key_are_masked(fold: bytes, at: int) -> None:
    masked = mask_keys(b"a=crypto:1 S inline:" + KEY[:at] + fold + KEY[at:] + b"|2^20\r\na=sendrecv\r\n")
    assert KEY[:at] not in masked.removeprefix(b"a=crypto:1 S inline:")[:at]
    assert KEY[at:] not in masked or len(KEY[at:]) == 1
    assert masked.endswith(b"|2^20\r\na=sendrecv\r\n")


def test_padding_on_a_line_of_its_own_does_not_end_the_key() -> None:
    masked = mask_keys(b"a=crypto:1 S inline:AAAA\r\ng==\r\n" + KEY + b"\r\na=x\r\n")
    assert masked == b"a=crypto:1 S inline:****\r\n****\r\n****\r\na=x\r\n"


def test_key_that_looks_like_a_lifetime_is_masked() -> None:
    assert mask_keys(b"inline:1234|2^20") == b"inline:****|2^20"


@given(
    key=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", min_size=38, max_size=64),
    before=st.binary(max_size=20),
    colon=st.sampled_from([b":", b" :", b":\r\n ", b"\t: "]),
    after=st.binary(max_size=20),
)
def test_no_key_after_inline_survives(key: str, before: bytes, colon: bytes, after: bytes) -> None:
    masked = mask_keys(before + b" inline" + colon + key.encode() + after)
    assert key.encode() not in masked


@pytest.mark.parametrize(
    "unit",
    [
        b"inline:",
        b"inline",
        b"crypto: ",
        b"crypto:",
        b" ",
        b"inline:\n",
        b"key-mgmt:",
        b"\nk=",
        b"a=crypto:1 S inline:x\r\n",
    ],
)
def test_hostile_input_costs_linear_time(unit: bytes) -> None:
    text = b"crypto:" + unit * (4 * 65536 // len(unit))
    began = time.process_time()
    mask_keys(text)
    assert time.process_time() - began < 2  # quadratic would be minutes
