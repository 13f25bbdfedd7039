"""STUN messages of connectivity checks (`ueagent/wire/stun.py`): RFC 5769, and aioice as another implementation."""

from __future__ import annotations

import contextlib

import pytest
from aioice import stun as other
from hypothesis import given
from hypothesis import strategies as st
from support.vectors import Vector, load

from ueagent.errors import MalformedMessage
from ueagent.model.media import Place
from ueagent.wire.stun import (
    MAX_ATTRIBUTES,
    StunAttribute,
    StunName,
    StunType,
    build_stun,
    error_code,
    mapped_address,
    parse_stun,
    unknown_attributes,
)

VECTORS = load("rfc5769/connectivity_checks")
TRANSACTION = bytes(range(12))
PASSWORD = b"0123456789abcdefghijkl"


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_message_of_the_specification_is_read_and_authenticated(vector: Vector) -> None:
    message = parse_stun(vector.inputs["message"])
    assert (message.type, message.transaction) == (vector.expect["type"], vector.expect["transaction"])
    assert message.fingerprint
    assert message.authentic(vector.inputs["password"])
    assert not message.authentic(vector.inputs["password"] + b"x")


def test_attributes_of_the_sample_request_are_found() -> None:
    message, expect = parse_stun(VECTORS[0].inputs["message"]), VECTORS[0].expect
    assert message.value(StunName.USERNAME) == expect["username"]
    assert message.value(StunName.PRIORITY) == expect["priority"]
    assert message.value(StunName.ICE_CONTROLLED) == expect["controlled"]


@pytest.mark.parametrize("vector", VECTORS[1:], ids=str)
def test_mapped_address_is_masked_as_in_the_specification(vector: Vector) -> None:
    place = Place(vector.expect["address"], vector.expect["port"])
    message = parse_stun(vector.inputs["message"])
    assert mapped_address(place, message.transaction).value == message.value(StunName.XOR_MAPPED_ADDRESS)


@pytest.mark.parametrize("place", range(len(VECTORS[0].inputs["message"])))
def test_every_octet_of_the_sample_request_matters(place: int) -> None:
    """Whatever octet is changed, the message is malformed, or nobody vouches for it."""
    data = bytearray(VECTORS[0].inputs["message"])
    data[place] ^= 1
    with contextlib.suppress(MalformedMessage):
        message = parse_stun(bytes(data))
        assert not (message.fingerprint and message.authentic(VECTORS[0].inputs["password"]))


def test_another_implementation_reads_what_is_built() -> None:
    attributes = (mapped_address(Place("192.0.2.1", 4711), TRANSACTION),)
    data = build_stun(StunType.SUCCESS, TRANSACTION, attributes, PASSWORD)
    message = other.parse_message(data)
    assert message.check_message_integrity(PASSWORD)
    assert message.message_class is other.Class.RESPONSE
    assert message.attributes["XOR-MAPPED-ADDRESS"] == ("192.0.2.1", 4711)


def test_errors_are_read_by_another_implementation() -> None:
    attributes = (error_code(420, "Unknown Attribute"), unknown_attributes((0x7001,)))
    message = other.parse_message(build_stun(StunType.ERROR, TRANSACTION, attributes, None))
    assert message.attributes["ERROR-CODE"] == (420, "Unknown Attribute")


def test_attribute_behind_the_mac_is_not_read() -> None:
    """RFC 8489, 14.5: nobody vouches for it."""
    data = bytearray(build_stun(StunType.REQUEST, TRANSACTION, (), PASSWORD)[:-8])
    data += bytes.fromhex("00250000")
    data[2:4] = (len(data) - 20).to_bytes(2, "big")
    message = parse_stun(bytes(data))
    assert message.authentic(PASSWORD)
    assert message.value(StunName.USE_CANDIDATE) is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x00\x01", "truncated"),
        (bytes(20), "not_stun"),
        (bytes.fromhex("000100002112a443") + bytes(12), "not_stun"),
        (bytes.fromhex("000100042112a442") + bytes(12), "not_stun"),
        (bytes.fromhex("000100042112a442") + bytes(12) + bytes.fromhex("00060009"), "truncated"),
        (bytes.fromhex("000100082112a442") + bytes(12) + bytes.fromhex("0008000400000000"), "bad_integrity"),
        (bytes.fromhex("000100082112a442") + bytes(12) + bytes.fromhex("8028000400000000"), "bad_fingerprint"),
    ],
)
def test_what_is_no_stun_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(MalformedMessage) as refused:
        parse_stun(data)
    assert refused.value.code == code


def test_number_of_attributes_is_bounded() -> None:
    many = (StunAttribute(0x8022),) * MAX_ATTRIBUTES
    with pytest.raises(MalformedMessage) as refused:
        parse_stun(build_stun(StunType.REQUEST, TRANSACTION, many, None))
    assert refused.value.code == "too_many_attributes"


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda b: VECTORS[0].inputs["message"][:40] + b))
def test_any_octets_parse_or_are_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        parse_stun(data)
