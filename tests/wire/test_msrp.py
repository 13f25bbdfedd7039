"""Paths in a stream of MSRP messages (`ueagent/wire/msrp.py`)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.errors import MalformedMessage
from ueagent.wire.msrp import MAX_HEADERS, Path, PathRewriter
from ueagent.wire.msrp_attributes import parse_path

OUR, THEIR = b"msrp://127.0.0.1:1/ours;tcp", b"msrp://127.0.0.1:2/theirs;tcp"
NEW_TO, NEW_FROM = b"msrps://192.0.2.1:3/to;tcp", b"msrps://192.0.2.2:4/from;tcp"


def swap(to_path: Path, from_path: Path) -> tuple[Path, Path]:
    return parse_path(NEW_TO), parse_path(NEW_FROM)


def message(tid: bytes, body: bytes | None, flag: bytes = b"$", *, old: bool = True, start: bytes = b"SEND") -> bytes:
    to, sender = (THEIR, OUR) if old else (NEW_TO, NEW_FROM)
    head = b"MSRP " + tid + b" " + start + b"\r\nTo-Path: " + to + b"\r\nFrom-Path: " + sender
    head += b"\r\nMessage-ID: 12339sdqwer"
    middle = b"" if body is None else b"\r\nContent-Type: text/plain\r\n\r\n" + body
    return head + middle + b"\r\n-------" + tid + flag + b"\r\n"


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


BODIES = st.one_of(
    st.none(),
    st.binary(max_size=200),
    st.lists(
        st.sampled_from([b"\r\n", b"-------", b"\r\n-------", b"a786", b"a786hjs2", b"$", b"\r", b"To-Path: x"]),
        max_size=12,
    ).map(b"".join),
).filter(lambda body: body is None or b"-------a786hjs2" not in b"\r\n" + body)


@given(
    st.lists(st.tuples(BODIES, st.sampled_from([b"$", b"+", b"#"])), min_size=1, max_size=3),
    st.lists(st.integers(0, 60), max_size=20),
)
def test_only_the_paths_of_a_message_change_wherever_the_stream_is_cut(
    parts: list[tuple[bytes | None, bytes]], sizes: list[int]
) -> None:
    """MSRP-2: the dialer sees its own path and the network ours; bodies stay as they are, octet by octet."""
    before = b"".join(message(b"a786hjs2", body, flag) for body, flag in parts)
    after = b"".join(message(b"a786hjs2", body, flag, old=False) for body, flag in parts)
    rewriter = PathRewriter(swap)
    assert b"".join(rewriter.feed(piece) for piece in cut(before, sizes)) == after
    assert rewriter.between_messages


@pytest.mark.parametrize("start", [b"200 OK", b"408", b"REPORT", b"SEND"])
def test_responses_and_reports_change_as_well(start: bytes) -> None:
    assert PathRewriter(swap).feed(message(b"d93k.sl2", None, start=start)) == message(
        b"d93k.sl2", None, old=False, start=start
    )


def test_a_long_body_is_not_held_back() -> None:
    """MSRP-2: memory stays flat whatever a message weighs."""
    rewriter = PathRewriter(swap)
    rewriter.feed(message(b"a786hjs2", b"").removesuffix(b"\r\n-------a786hjs2$\r\n"))
    chunk = b"\r\n-------a786hjs" * 4096
    for _ in range(16):
        rewriter.feed(chunk)
        assert len(rewriter._held) < 32


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"MSRP",  # and then something else
        b"MSRP x SEND\r\n",
        b"MSRP a786hjs2 SEND\r\nFrom-Path: msrp://a:1/b;tcp\r\nTo-Path: msrp://a:1/b;tcp\r\n-------a786hjs2$\r\n",
        b"MSRP a786hjs2 SEND\r\n\r\n-------a786hjs2$\r\n",
        b"MSRP a786hjs2 SEND\r\nTo-Path: x\r\nFrom-Path: y\r\n-------a786hjs2$\r\n",
        b"MSRP a786hjs2 SEND\r\nTo-Path: " + b"x" * MAX_HEADERS,
        b"MSRP " + b"a" * MAX_HEADERS,
        b"\x16\x03\x01",
    ],
)
def test_what_is_no_msrp_is_refused(data: bytes) -> None:
    rewriter = PathRewriter(swap)
    with pytest.raises(MalformedMessage):
        b"".join(rewriter.feed(piece) for piece in (data, b"?\r\n\r\n"))


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_octets_pass_or_are_malformed(pieces: list[bytes]) -> None:
    rewriter = PathRewriter(swap)
    try:
        for piece in pieces:
            rewriter.feed(piece)
    except MalformedMessage:
        pass
