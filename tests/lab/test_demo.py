"""`ueagent demo` as a user runs it: six calls, one table, one object of JSON, files, and honest failures."""

import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import wave
from array import array
from pathlib import Path
from typing import Any

import pytest

from ueagent.cli.commands import main
from ueagent.lab import demo as demo_module
from ueagent.lab.g711 import PCMA, PCMU
from ueagent.lab.wave import read_wav, shipped_speech, write_wav

FIELDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "medium": str,
    "mechanism": str,
    "keyed_by": str,
    "scope": str,
    "suite": str,
    "assured": bool,
    "engine": (str, type(None)),  # none where the TLS library does the work
    "packets_sent": int,
    "packets_received": int,
    "bit_exact": bool,
    "plaintext_on_wire": int,
    "verified": bool,
    "identity": (str, type(None)),
}
MESSAGE_FIELDS: dict[str, type] = {
    "name": str,
    "mechanism": str,
    "keyed_by": str,
    "scope": str,
    "verified": bool,
    "sender": str,
    "recipient": str,
    "octets": int,
    "bit_exact": bool,
    "plaintext_on_wire": int,
}
MECHANISMS = {"dtls": "DTLS-SRTP", "kms": "MIKEY-TICKET", "msrp": "TLS", "t38": "DTLS"}
STREAMS = {"msrp": ("msrp", 2), "t38": ("udptl", 50), "kms-msrp": ("msrp", 2)}  # medium; messages or datagrams each way
COMMAND = [sys.executable, "-m", "ueagent", "demo"]


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30)


@pytest.fixture
def short(tmp_path: Path) -> str:
    """A recording of twelve and a half packets."""
    write_wav(tmp_path / "short.wav", array("h", range(-10000, 10000, 10)))
    return str(tmp_path / "short.wav")


def calls_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {call["name"]: call for call in json.loads(done.stdout)["calls"]}


def test_json_is_one_object_with_nine_protected_calls() -> None:
    """M1 to M6, M9: the contract that programs rely on: names, types and values, in under ten seconds."""
    began = time.monotonic()
    done = demo("--json")
    assert time.monotonic() - began < 10
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert list(report) == ["ok", "calls", "messages"]
    assert report["ok"] is True
    (message,) = report["messages"]
    assert {name: type(value) for name, value in message.items()} == MESSAGE_FIELDS
    assert (message["mechanism"], message["keyed_by"], message["scope"]) == ("S/MIME", "MIKEY-TICKET", "e2e")
    assert (message["verified"], message["bit_exact"], message["plaintext_on_wire"]) == (True, True, 0)
    assert (message["sender"], message["recipient"]) == ("sip:alice@example.com", "sip:bob@example.com")
    packets = len(PCMU.packets(shipped_speech().samples))
    for call in report["calls"]:
        assert list(call) == list(FIELDS)
        assert all(isinstance(call[name], kind) for name, kind in FIELDS.items())
        keyed_by = MECHANISMS.get(call["name"].split("-")[0], "SDES")
        mechanism = "TLS-PSK" if call["name"] == "kms-msrp" else keyed_by
        medium, count = STREAMS.get(call["name"], ("audio", packets))
        assert (call["medium"], call["mechanism"], call["keyed_by"]) == (medium, mechanism, keyed_by)
        assert call["packets_sent"] == call["packets_received"] == count
        assert (call["engine"] is None) is (call["name"] in STREAMS)
        assert call["bit_exact"] is True
        assert call["plaintext_on_wire"] == 0
    facts = [(call["name"], call["scope"], call["assured"]) for call in report["calls"]]
    assert facts == [
        ("originating", "e2ae", True),
        ("terminating", "e2ae", True),
        ("end-to-end", "e2e", False),
        ("dtls-originating", "e2ae", True),
        ("dtls-terminating", "e2ae", True),
        ("kms-end-to-end", "e2e", True),
        ("msrp", "e2ae", True),
        ("t38", "e2ae", True),
        ("kms-msrp", "e2e", True),
    ]
    told = {call["name"]: call["identity"] for call in report["calls"] if call["verified"]}
    assert told == dict.fromkeys(("kms-end-to-end", "kms-msrp"), "sip:alice@example.com")


def test_engine_is_one_that_the_engines_command_lists(short: str) -> None:
    listed = subprocess.run(
        [*COMMAND[:-1], "engines", "--json"], capture_output=True, text=True, timeout=30, check=True
    )
    names = {engine["name"] for engine in json.loads(listed.stdout)["engines"]}
    used = {call["engine"] for call in calls_of(demo("--json", "--wav", short)).values()}
    assert used - {None} <= names


def test_table_has_a_row_for_each_call_and_says_what_a_listener_gets(short: str) -> None:
    done = demo("--wav", short)
    assert done.returncode == 0, done.stderr
    assert "the network answered 401, then 200" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    rows = {line[0]: line for line in lines if len(line) > 1 and line[1] in ("SDES", "TLS-PSK", *MECHANISMS.values())}
    assert list(rows)[:5] == ["originating", "terminating", "end-to-end", "dtls-originating", "dtls-terminating"]
    assert list(rows)[5:] == ["kms-end-to-end", "msrp", "t38", "kms-msrp"]
    assert "the KMS vouches that the other end is sip:alice@example.com" in done.stdout
    assert all(row[-2:] == ["yes", "0"] for row in rows.values())
    assert "A listener on the access network" in done.stdout
    assert "nobody else could hear it" in done.stdout


@pytest.mark.parametrize("codec", [PCMU, PCMA], ids=lambda codec: codec.name)
def test_own_recording_comes_out_at_every_end(tmp_path: Path, short: str, codec: Any) -> None:
    """Real audio in and out."""
    done = demo("--wav", short, "--out", str(tmp_path / "out"), "--codec", codec.name)
    assert done.returncode == 0, done.stderr
    spoken = b"".join(codec.packets(read_wav(Path(short), 5).samples))
    written = sorted((tmp_path / "out").iterdir())
    assert len(written) == 12
    for path in written:
        assert read_wav(path, 5).samples == codec.decode(spoken)


def test_long_recording_is_cut_and_a_foreign_rate_converted_and_both_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        file.writeframes(random.Random(1).randbytes(4 * 16000 * 7))
    monkeypatch.setattr(demo_module, "MAX_SECONDS", 0.25)
    assert main(["demo", "--json", "--wav", str(tmp_path / "long.wav")]) == 0
    printed = capsys.readouterr()
    assert "lasts 7.0 s: only the first 0.25 s are played" in printed.err
    assert "converted from 16000 Hz" in printed.err
    assert json.loads(printed.out)["calls"][0]["packets_sent"] == 13


def test_pcap_has_the_access_side_and_nothing_readable(tmp_path: Path, short: str) -> None:
    path = tmp_path / "wire.pcap"
    assert demo("--wav", short, "--pcap", str(path)).returncode == 0
    data, at, packets = path.read_bytes(), 24, []
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        packets.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    # 13 packets and 2 reports each way, on one access side of four calls and on both of two; and two handshakes
    # for each call by DTLS-SRTP (first octet after IP and UDP: RFC 7983).
    media = [packet for packet in packets if packet[28] >= 128]
    assert len(media) == 8 * 2 * 15
    assert all(20 <= packet[28] < 64 for packet in packets if packet not in media)
    assert all(packet[0] == 0x45 and packet[9] == 17 for packet in packets)
    payloads = PCMU.packets(read_wav(Path(short), 5).samples)
    assert not any(payload in packet for payload in payloads for packet in packets)


@pytest.mark.parametrize("option", ["--pcap", "--out"])
def test_path_that_cannot_be_written_is_a_clear_error(option: str, short: str) -> None:
    done = demo("--wav", short, option, "/dev/null/x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ueagent demo: cannot_write: /dev/null/x: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_a_clear_error(short: str) -> None:
    done = demo("--wav", short, "--pcap", "/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ueagent demo: pcap_not_written: /dev/full: No space left on device"


def test_recording_that_is_none_is_a_clear_error() -> None:
    done = demo("--wav", __file__)
    assert done.returncode == 1
    assert done.stderr.startswith("ueagent demo: wav_unsupported: test_demo.py is no PCM WAV file")


def test_wrong_key_makes_the_demonstration_fail_with_no_sound_and_says_which_check(short: str) -> None:
    """EDGE-17."""
    done = demo("--json", "--wav", short, "--fault", "wrong-key")
    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False
    calls = calls_of(done)
    for name in ("originating", "terminating"):
        assert calls[name]["packets_received"] == 0
        assert calls[name]["bit_exact"] is False
        assert f"ueagent demo: {name}: the agent counted 15 packets that failed authentication" in done.stderr
    assert calls["end-to-end"]["bit_exact"] is True


def test_network_without_media_security_makes_it_fail_with_everything_readable(short: str) -> None:
    done = demo("--json", "--wav", short, "--mode", "none")
    assert done.returncode == 1
    calls = calls_of(done)
    assert calls["originating"]["mechanism"] == "none"
    assert calls["originating"]["suite"] is None
    assert calls["originating"]["plaintext_on_wire"] == 2 * 15
    assert calls["end-to-end"]["plaintext_on_wire"] == 0


def test_refused_call_is_reported_and_the_others_go_on(short: str) -> None:
    done = demo("--json", "--wav", short, "--fault", "wrong-tag")
    assert done.returncode == 1
    calls = calls_of(done)
    assert calls["originating"]["packets_sent"] == 0
    assert calls["terminating"]["bit_exact"] is True
    assert "originating: unknown_tag" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    """Not ok, no traceback, no sockets left behind."""
    pcap = tmp_path / "a.pcap"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*COMMAND, "--pcap", str(pcap)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "6 calls at once, 2.5 s of speech each way ...\n"
        assert list(tmp_path.glob("ueagent-demo-*/*.sock")) != []
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert (out, err) == ("", "ueagent demo: stopped before it was through\n")
    assert list(tmp_path.glob("ueagent-demo-*")) == []


def test_with_serial_accelerators_every_media_packet_is_done_by_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The demonstration through emulated devices at 12 Mbaud; it fails where the agent's counters say otherwise."""
    assert main(["demo", "--engine", "serial", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    used = {call["engine"] for call in report["calls"] if call["name"] not in STREAMS}
    assert (report["ok"], used) == (True, {"serial"})
