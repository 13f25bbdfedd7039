"""a=path and MSRP URIs (`ueagent/wire/msrp_attributes.py`)."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.errors import MalformedMessage
from ueagent.wire.msrp_attributes import (
    MAX_URIS,
    MsrpUri,
    build_path,
    new_uri,
    parse_path,
    parse_uri,
    path_line,
)

# From RFC 4975, sections 4, 5 and 6.
EXAMPLES = {
    b"msrp://atlanta.example.com:7654/jshA7weztas;tcp": MsrpUri(False, "atlanta.example.com", 7654, "jshA7weztas"),
    b"msrp://host.example.com:8493/asfd34;tcp": MsrpUri(False, "host.example.com", 8493, "asfd34"),
    b"msrps://alice@atlanta.example.com/aeiug;tcp": MsrpUri(True, "atlanta.example.com", None, "aeiug"),
    b"MSRPS://[2001:DB8::0001]:2855/Q;TCP;x=y": MsrpUri(True, "2001:db8::1", 2855, "Q"),
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_uri_is_read_without_regard_to_what_does_not_identify_it(text: bytes) -> None:
    """MSRP-2; RFC 4975, 6.1."""
    assert parse_uri(text) == EXAMPLES[text]


@pytest.mark.parametrize("uri", EXAMPLES.values())
def test_what_is_written_is_read_back(uri: MsrpUri) -> None:
    """MSRP-2."""
    assert parse_uri(uri.build()) == uri


def test_a_path_may_have_relays() -> None:
    path = parse_path(b" msrps://relay.example.com:1/a;tcp  msrp://host.example.com:2/b;tcp ")
    assert [uri.port for uri in path] == [1, 2]
    assert build_path(path) == b"msrps://relay.example.com:1/a;tcp msrp://host.example.com:2/b;tcp"
    assert path_line(path[1:]) == b"a=path:msrp://host.example.com:2/b;tcp"


def test_a_session_id_has_more_than_eighty_random_bits_and_stays_out_of_reprs() -> None:
    """MSRP-2."""
    one, other = (new_uri("192.0.2.1", 2855, os.urandom, secure=True) for _ in range(2))
    assert one.session_id != other.session_id
    assert len(bytes.fromhex(one.session_id)) * 8 >= 80
    assert one.session_id not in repr(one)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"*",
        b"http://a/b;tcp",
        b"msrp://a:0/b;tcp",
        b"msrp://a:65536/b;tcp",
        b"msrp://a:1/b",
        b"msrp://[::g]:1/b;tcp",
        b"msrp://[1:2]:1/b;tcp",
        b"msrp://a:1/b;tcp\r\na=x",
        b"msrp://" + b"a" * 600 + b"/b;tcp",
        b" ".join([b"msrp://a:1/b;tcp"] * (MAX_URIS + 1)),
    ],
)
def test_what_is_no_path_is_refused(value: bytes) -> None:
    """MSRP-2."""
    with pytest.raises(MalformedMessage):
        parse_path(value)


@given(st.binary(max_size=80))
def test_any_octets_are_a_path_or_malformed(value: bytes) -> None:
    try:
        path = parse_path(value)
    except MalformedMessage:
        return
    assert parse_path(build_path(path)) == path
