"""The published interface text, read back by an independent Varlink parser (PyPI `varlink`)."""

import varlink as reference
from msgspec import Struct

from ueagent.ipc import api
from ueagent.ipc.interface_text import interface_text, literal_names


def text(interface: str) -> str:
    return interface_text(
        interface, api.METHODS, api.ERRORS, api.ErrorParameters, literals=literal_names(api), doc="Agent."
    )


def test_independent_parser_reads_every_interface_and_finds_every_method_and_error() -> None:
    for interface in api.INTERFACES:
        found = reference.Interface(text(interface))
        assert found.name == interface
        methods = {name.rpartition(".")[2] for name in api.METHODS if name.rpartition(".")[0] == interface}
        assert methods
        assert (methods | set(api.ERRORS)) <= set(found.members)


def test_member_with_a_default_is_optional_for_callers() -> None:
    assert "emergency: ?bool" in text("org.ueagent.Session")
    assert "method Subscribe(session: ?string)" in text("org.ueagent.Agent")


def test_member_with_a_default_is_always_there_in_replies() -> None:
    assert "warnings: []string" in text("org.ueagent.Session")


def test_words_of_a_literal_become_an_enum() -> None:
    assert "type SignallingName (none, integrity, confidentiality, access)" in text("org.ueagent.Session")


def test_words_that_no_varlink_enum_can_hold_stand_in_a_comment() -> None:
    found = text("org.ueagent.Session")
    assert "mechanism: string" in found
    assert "SDES, DTLS-SRTP, MIKEY-TICKET" in found


def test_docstrings_become_comments() -> None:
    assert "# The dialog has ended: keys are wiped and ports closed." in text("org.ueagent.Session")


def test_struct_without_members_is_written_as_empty_brackets() -> None:
    assert "method Describe() -> (mechanisms: []string, identities: []string, setting: SettingName)" in text(
        "org.ueagent.Message"
    )


def test_independent_parser_reads_maps_and_lists_of_structs() -> None:
    class Inner(Struct):
        n: int

    class Outer(Struct):
        items: list[Inner]
        table: dict[str, int]

    class Row:
        request, reply, streams = Outer, Outer, False

    found = interface_text("org.example.x", {"org.example.x.Do": Row()}, ["Bad"], Inner)
    assert "items: []Inner, table: [string]int" in found
    assert "Inner" in reference.Interface(found).members
