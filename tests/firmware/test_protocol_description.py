"""The firmware's header and PROTOCOL.md follow from one description."""

from __future__ import annotations

from pathlib import Path

import pytest
from ueagent_firmware import gen_header, messages

FOLDER = Path(__file__).parents[2] / "firmware_bindings"


def test_the_c_header_is_the_generated_one() -> None:
    assert (FOLDER / gen_header.HEADER).read_text() == gen_header.c_header()


def test_the_tables_of_the_document_are_the_generated_ones() -> None:
    text = (FOLDER / gen_header.DOCUMENT).read_text()
    assert gen_header.document(text) == text


def test_the_document_has_every_table() -> None:
    text = (FOLDER / gen_header.DOCUMENT).read_text()
    assert [name for name in gen_header.tables() if f"<!-- {name} -->" not in text] == []


def test_a_body_comes_back_as_it_was_packed() -> None:
    octets = messages.pack("hello", version=1, nonce=bytes(range(16)))
    assert messages.unpack("hello", octets) == {"version": 1, "nonce": bytes(range(16))}


def test_a_body_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="17 octets"):
        messages.unpack("hello", bytes(16))
    with pytest.raises(ValueError, match="nonce"):
        messages.pack("hello", version=1, nonce=b"")
