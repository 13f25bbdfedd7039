"""a=key-mgmt and bodies with MIKEY messages."""

from __future__ import annotations

import base64

import pytest

from ueagent.errors import MalformedMessage
from ueagent.wire.key_mgmt import KeyMgmt, build_key_mgmt, message_octets, parse_key_mgmt, protocol_list

VALUE = KeyMgmt("mikey", b"\x01\x0e\x05")


@pytest.mark.parametrize("text", [b"mikey AQ4F", b" mikey AQ4F", b"mikey  AQ4F"])
def test_line_is_read_with_at_most_one_space_before_the_protocol(text: bytes) -> None:
    """KMS-60; RFC 4567, 3.1."""
    assert parse_key_mgmt(text) == VALUE


def test_line_is_written_as_rfc_4567_says() -> None:
    """KMS-60."""
    assert build_key_mgmt(VALUE) == b"mikey AQ4F"


def test_protocol_identifier_is_case_sensitive() -> None:
    """KMS-60."""
    assert not parse_key_mgmt(b"MIKEY AQ4F").is_mikey


@pytest.mark.parametrize(
    "text", [b"", b"mikey", b"  mikey AQ4F", b"mikey AQ4F x", b"mikey AQ4", b"mikey A=4F", b"mik\x00ey AQ4F"]
)
def test_broken_line_is_malformed_and_none_of_it_is_repeated(text: bytes) -> None:
    """KMS-60."""
    with pytest.raises(MalformedMessage) as caught:
        parse_key_mgmt(text)
    assert "AQ4" not in str(caught.value)


def test_oversized_line_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="too_long"):
        parse_key_mgmt(b"mikey " + b"A" * 24000)


def test_protocols_are_listed_in_sdp_order() -> None:
    """KMS-64, KMS-65."""
    assert protocol_list([VALUE]) == b"mikey"
    assert protocol_list([KeyMgmt("keyp1", b""), VALUE]) == b"keyp1;mikey"


def test_body_is_raw_or_base64() -> None:
    """KMS-11."""
    message = b"\x01\x12\x05"
    assert message_octets(message) == (message, False)
    assert message_octets(base64.b64encode(message) + b"\r\n") == (message, True)
    with pytest.raises(MalformedMessage):
        message_octets(b"<html>")
