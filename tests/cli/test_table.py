"""Tables for terminals."""

from ueagent.cli.table import printable, render


def test_columns_line_up_and_numbers_stand_to_the_right() -> None:
    assert render(("name", "sent"), [("a", "5"), ("long name", "-"), ("b", "12345")]) == (
        "name        sent\n---------  -----\na              5\nlong name      -\nb          12345"
    )


def test_table_without_rows_has_its_head() -> None:
    assert render(("a", "b"), []) == "a  b\n-  -"


def test_control_characters_from_the_network_cannot_reach_the_terminal() -> None:
    assert printable("x\x1b[2Jy\n") == "x\\x1b[2Jy\\x0a"
