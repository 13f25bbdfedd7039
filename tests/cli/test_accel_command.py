"""`ueagent accel` against an emulated device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.accelerator import linked, slot_key
from ueagent_firmware.capture import CapturingPort
from ueagent_firmware.link import Link
from ueagent_firmware.messages import Direction, Status, Suite
from ueagent_hw.emulated import EmulatedAccelerator

from ueagent.cli import exits
from ueagent.cli.commands import main


@pytest.fixture
def device() -> Iterator[EmulatedAccelerator]:
    emulated = EmulatedAccelerator()
    yield emulated
    emulated.close()


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["accel", *arguments, "--json"]) == exits.OK
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_probe_tells_who_the_device_is(device: EmulatedAccelerator, capsys: pytest.CaptureFixture[str]) -> None:
    found = output(capsys, "probe", device.port)
    assert (found["slots"], found["device_key"], found["failed_tests"]) == (16, device.public_key.hex(), [])


def test_pair_makes_a_new_key_that_probe_then_tells(
    device: EmulatedAccelerator, capsys: pytest.CaptureFixture[str]
) -> None:
    paired = output(capsys, "pair", device.port)["device_key"]
    assert paired != device.public_key.hex()
    assert output(capsys, "probe", device.port)["device_key"] == paired


def test_bench_tells_measurement_and_model(device: EmulatedAccelerator, capsys: pytest.CaptureFixture[str]) -> None:
    found = output(capsys, "bench", device.port, "--baud", "12000000")
    assert found["streams_within_5_ms_planned"] == 9
    for name in ("round_trip_best_ms", "round_trip_model_ms", "model_deviation_percent", "host_ms"):
        assert isinstance(found[name], float)


def test_a_table_is_printed_without_json(device: EmulatedAccelerator, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accel", "probe", device.port]) == exits.OK
    assert "device key" in capsys.readouterr().out


def test_a_capture_of_a_session_can_be_inspected(
    device: EmulatedAccelerator, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "line"
    assert main(["accel", "bench", device.port, "--capture", str(file)]) == exits.OK
    capsys.readouterr()
    assert main(["inspect", "accel", str(file)]) == exits.OK
    printed = capsys.readouterr().out
    for expected in ("> HELLO", "< HELLO, seq 1, slot 0, OK, version 1", "wrapped key", "< PROTECT", "packet of 172"):
        assert expected in printed


def test_what_is_no_capture_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "line").write_text("= 00\n")
    assert main(["inspect", "accel", str(tmp_path / "line")]) == exits.FAILED
    assert "line 1" in capsys.readouterr().err


def test_a_key_in_plain_is_not_captured() -> None:
    """Keys never get into logs or files."""
    written: list[str] = []
    port, link = linked()
    capturing = Link(CapturingPort(port, written.append), clock=lambda: port.clock)
    capturing.hello()
    key = slot_key(Suite.AES_CM_128_HMAC_SHA1_80, Direction.PROTECT, bytes(range(16)), bytes(14))
    assert capturing.load(0, key).status is Status.OK
    assert key[24:40].hex() not in "".join(written)
    assert link.device is None


def test_a_port_that_is_not_there_is_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accel", "probe", "/dev/no-such-port"]) == exits.FAILED
    assert "no-such-port" in capsys.readouterr().err
