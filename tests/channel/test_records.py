"""Records into datagrams (`ueagent/channel/records.py`; RFC 6347, 4.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.channel.records import (
    HEADER,
    begins_association,
    client_random,
    is_unprotected,
    pack_records,
    split_records,
)

HELLO = bytes.fromhex("16fefd00000000000000000004") + b"\x01\x00\x00\x00"


def record(length: int, kind: int = 22) -> bytes:
    return bytes([kind, 0xFE, 0xFD]) + bytes(8) + length.to_bytes(2, "big") + bytes(length)


records = st.lists(st.builds(record, st.integers(0, 600), st.sampled_from([20, 21, 22, 23])), max_size=12)


@given(records)
def test_records_are_cut_where_they_begin(given_records: list[bytes]) -> None:
    assert list(split_records(b"".join(given_records))) == given_records


@given(records, st.integers(HEADER, 1500))
def test_no_octet_is_lost_and_no_datagram_is_larger_than_the_path(given_records: list[bytes], mtu: int) -> None:
    """DTLS-29."""
    packed = pack_records(given_records, mtu)
    assert b"".join(packed) == b"".join(given_records)
    assert all(len(datagram) <= mtu or datagram in given_records for datagram in packed)


@given(records)
def test_application_data_travels_alone(given_records: list[bytes]) -> None:
    """T38-7: a UDPTL datagram is one datagram again."""
    for datagram in pack_records(given_records, 1200):
        kinds = [one[0] for one in split_records(datagram)]
        assert 23 not in kinds or kinds == [23]


@pytest.mark.parametrize("cut", [1, HEADER - 1, HEADER, HEADER + 3])
def test_half_a_record_is_a_bug_of_the_library(cut: int) -> None:
    with pytest.raises(ValueError, match="whole"):
        list(split_records(record(4)[:cut] if cut <= HEADER else record(4)[:-1]))


def test_a_client_hello_in_epoch_0_begins_an_association() -> None:
    """DTLS-9."""
    assert begins_association(HELLO)
    assert is_unprotected(HELLO)


@pytest.mark.parametrize("at", [0, 1, 4, HEADER])
def test_anything_else_does_not(at: int) -> None:
    assert not begins_association(HELLO[:at] + b"\x77" + HELLO[at + 1 :])


@given(st.binary(max_size=40))
def test_short_datagrams_are_looked_at_without_harm(data: bytes) -> None:
    begins_association(data)
    is_unprotected(data)
    assert client_random(data) is None or len(client_random(data) or b"") == 32
