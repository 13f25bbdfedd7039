"""`ueagent inspect mikey`."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from support.mikey import messages

from ueagent.cli import exits
from ueagent.cli.commands import main
from ueagent.cli.inspect import tree
from ueagent.errors import MalformedMessage
from ueagent.wire.mikey import CryptoSession, DataType, Header, MapType, Message, build_message
from ueagent.wire.mikey_payloads import Extension, Idr, Timestamp, V
from ueagent.wire.mikey_policy import SrtpPolicy, srtp_policy_payload

MESSAGE = build_message(
    Message(
        Header(
            DataType.TRANSFER_INIT,
            0x11223344,
            map_type=MapType.GENERIC_ID,
            sessions=(CryptoSession(1, 0, (1,), bytes.fromhex("cafebabe"), b"\x01\x02\x03\x04"),),
        ),
        (
            Timestamp(0, 0xED00378080000000),
            Idr(1, 1, b"sip:alice@example.com"),
            srtp_policy_payload(1, SrtpPolicy(srtp_authentication=3, srtp_tag_length=14)),
            Extension(1, b"mikey"),
            V(2, bytes(32)),
        ),
    )
)
SHOWN = f"""\
MIKEY TRANSFER_INIT, {len(MESSAGE)} octets
  HDR  CSB ID 11223344, PRF 1, V 0, map 2
    CS 1: SRTP, policies 1, SSRC cafebabe, SPI 01020304
  T      2026-01-01T00:00:00+00:00 (NTP-UTC)
  IDR    Initiator (URI) sip:alice@example.com
  SP     policy 1, SRTP: encryption=1, key_length=16, srtp_authentication=3, srtcp_authentication=1, \
srtp_authentication_key_length=20, srtcp_authentication_key_length=20, srtp_tag_length=14, srtcp_tag_length=10, \
roc_rate=1, srtp_encrypted=1, srtcp_encrypted=1, srtp_authenticated=1
  EXT    SDP IDs mikey
  V      HMAC-SHA-256-256 {bytes(32).hex()}
"""


@pytest.mark.parametrize(
    "text",
    [
        MESSAGE.hex(),
        base64.b64encode(MESSAGE).decode(),
        f"v=0\r\nm=audio 4000 RTP/SAVP 0\r\na=key-mgmt:mikey {base64.b64encode(MESSAGE).decode()}\r\n",
    ],
    ids=["hexadecimal", "base64", "SDP"],
)
def test_message_is_shown_as_a_tree(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "mikey", text]) == exits.OK
    assert capsys.readouterr().out == SHOWN


def test_message_is_read_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "message"
    path.write_bytes(MESSAGE)
    assert main(["inspect", "mikey", str(path)]) == exits.OK
    assert capsys.readouterr().out == SHOWN


def test_message_is_read_from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MESSAGE)))
    assert main(["inspect", "mikey"]) == exits.OK
    assert capsys.readouterr().out == SHOWN


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (MESSAGE[:20].hex(), "needs"),
        ("v=0\r\n", "no a=key-mgmt:mikey"),
        ("!", "neither a MIKEY message nor base64"),
    ],
    ids=["cut short", "SDP without it", "no message"],
)
def test_what_is_no_message_is_told_in_one_line(text: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "mikey", text]) == exits.FAILED
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(messages())
def test_every_message_has_a_tree_or_is_malformed_inside(message: Message) -> None:
    try:
        lines = tree(build_message(message)).splitlines()
    except MalformedMessage:
        return  # TP Data and Ticket Data are read only here
    assert len(lines) >= 2 + len(message.payloads)
