"""Logs that cannot hold keys, and that cannot stop the daemon (POL-8)."""

import io
import json
import os
import stat
from enum import Enum
from pathlib import Path

import pytest

from ueagent.daemon.config import LogConfig
from ueagent.daemon.logs import Log, open_log, redact
from ueagent.errors import UsageError
from ueagent.model.keys import KeySet, MasterKey, Secret
from ueagent.model.suites import SUITES

KEY = b"0123456789abcdef0123456789"
INLINE = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"


class Colour(Enum):
    RED = "red"


class Anything:
    def __repr__(self) -> str:
        return KEY.decode()


def key_set() -> KeySet:
    master = MasterKey(Secret(KEY[:16]), Secret(KEY[:14]))
    return KeySet(SUITES["AES_CM_128_HMAC_SHA1_80"], master, (master,))


def logged(**fields: object) -> dict[str, object]:
    stream = io.StringIO()
    open_log(LogConfig(format="json"), stream).info("event_name", **fields)
    return json.loads(stream.getvalue())  # type: ignore[no-any-return]


def test_json_line_has_event_level_time_and_fields() -> None:
    found = logged(session="s1", count=3, flag=True, nothing=None)
    assert (found["event"], found["level"]) == ("event_name", "info")
    assert str(found["timestamp"]).endswith("Z")
    assert (found["session"], found["count"], found["flag"], found["nothing"]) == ("s1", 3, True, None)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (KEY, "<26 octets>"),
        (bytearray(KEY), "<26 octets>"),
        (memoryview(KEY), "<26 octets>"),
        (Secret(KEY), "<Secret>"),
        (key_set(), "<KeySet>"),
        (Anything(), "<Anything>"),
        (Colour.RED, "red"),
        (Path("/run/x"), "/run/x"),
        (ValueError(INLINE), "ValueError"),
        (UsageError("code", "detail"), "code: detail"),
        ([Secret(KEY), "a"], ["<Secret>", "a"]),
        ({"a": {"b": Secret(KEY)}}, {"a": {"b": "<Secret>"}}),
        ([[[[[[KEY]]]]]], [[[["<list>"]]]]),
        ("line\r\nbreak\x1b[2J", "line\\x0d\\x0abreak\\x1b[2J"),
    ],
)
def test_value_is_shown_as_something_that_holds_no_key(value: object, shown: object) -> None:
    assert redact(value) == shown
    assert KEY.decode() not in json.dumps(redact(value))


@pytest.mark.parametrize("text", [f"a=crypto:1 X {INLINE}|2^20", f"A=CRYPTO:1 X {INLINE.upper()}", f"oops {INLINE}"])
def test_sdp_in_a_text_is_masked(text: str) -> None:
    shown = str(redact(text))
    assert INLINE[7:30] not in shown
    assert INLINE[7:30].upper() not in shown


def test_long_text_is_cut() -> None:
    assert len(str(redact("x" * 100_000))) < 5000


def test_failure_is_told_by_type_and_code_lines_without_message_or_variables() -> None:
    stream = io.StringIO()
    log = open_log(LogConfig(format="json"), stream)
    secret = KEY.decode()
    try:
        raise RuntimeError(f"{INLINE} {secret}")
    except RuntimeError as error:
        log.failure("broke", error)
    found = json.loads(stream.getvalue())
    assert found["error"] == "RuntimeError"
    assert found["trace"][0].startswith("test_logs.py:")
    assert "test_failure_is_told" in found["trace"][0]
    assert secret not in stream.getvalue()
    assert INLINE[7:] not in stream.getvalue()


def test_level_of_the_configuration_holds() -> None:
    stream = io.StringIO()
    log = open_log(LogConfig(format="json", level="warning"), stream)
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["c", "d"]


def test_console_line_is_for_people() -> None:
    stream = io.StringIO()
    open_log(LogConfig(format="console"), stream).info("event_name", key=Secret(KEY))
    assert "event_name" in stream.getvalue()
    assert "<Secret>" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_file_of_the_log_is_for_its_owner_and_is_continued(tmp_path: Path) -> None:
    file = tmp_path / "agent.log"
    for _ in range(2):
        log = open_log(LogConfig(format="json", file=str(file)))
        log.info("line")
        log.lines.close()
    assert len(file.read_text().splitlines()) == 2
    assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0


def test_log_does_not_follow_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        open_log(LogConfig(file=str(tmp_path / "link")))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this machine has no /dev/full")  # noqa: PTH110
def test_full_disk_costs_lines_and_nothing_else() -> None:
    log = open_log(LogConfig(file="/dev/full"))
    for _ in range(3):
        log.info("line")
    assert log.lines.lost == 3
    log.lines.close()


def test_closed_stream_costs_lines_and_nothing_else() -> None:
    stream = io.StringIO()
    log: Log = open_log(LogConfig(), stream)
    stream.close()
    log.error("line")
    assert log.lines.lost == 1
