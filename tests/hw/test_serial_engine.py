"""The serial engine over a real pseudo-terminal: opening, pairing, sessions, admission; and the model against it."""

from __future__ import annotations

import os
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.accelerator import DEVICE_KEY
from ueagent_firmware.link import Link, public_key
from ueagent_hw.emulated import EmulatedAccelerator
from ueagent_hw.latency import predict
from ueagent_hw.measure import measure, measure_device
from ueagent_hw.serial_engine import AcceleratorUnavailable, SerialAccelerator, SerialConfig, admitted_slots
from ueagent_hw.serial_open import PortError, find, latency_timer, open_port
from ueagent_native.device import Fault
from ueagent_native.link import Custody, LinkState


@pytest.fixture
def device() -> Iterator[EmulatedAccelerator]:
    emulated = EmulatedAccelerator(key=DEVICE_KEY)
    yield emulated
    emulated.close()


def config(device: EmulatedAccelerator, key: bytes | None = None, **more: int) -> SerialConfig:
    return SerialConfig(device.port, device_key=key or device.public_key, **more)  # type: ignore[arg-type]


def test_a_paired_device_is_connected(device: EmulatedAccelerator) -> None:
    accelerator = SerialAccelerator(config(device))
    found = accelerator.connect()
    assert (found.slots, accelerator.up) == (16, True)
    accelerator.close()


def test_an_unpaired_device_is_not_used() -> None:
    with pytest.raises(AcceleratorUnavailable, match="accel pair"):
        SerialAccelerator(SerialConfig("/dev/null"))


def test_another_device_than_the_paired_one_is_refused(device: EmulatedAccelerator) -> None:
    accelerator = SerialAccelerator(config(device, public_key(bytes(31) + b"\x41")))
    with pytest.raises(AcceleratorUnavailable, match="paired"):
        accelerator.connect()
    assert not accelerator.up
    accelerator.close()


def test_a_port_with_nobody_behind_it_is_refused() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    accelerator = SerialAccelerator(SerialConfig(os.ttyname(slave), device_key=public_key(DEVICE_KEY)))
    with pytest.raises(AcceleratorUnavailable, match="does not answer HELLO"):
        accelerator.connect()
    accelerator.close()
    os.close(master)
    os.close(slave)


def test_a_device_that_hung_is_connected_again(device: EmulatedAccelerator) -> None:
    accelerator = SerialAccelerator(config(device))
    accelerator.connect()
    device.fail(Fault.HANG)
    with pytest.raises(AcceleratorUnavailable):
        accelerator.connect()
    device.fail(Fault.NONE)
    accelerator.connect()
    assert accelerator.stats().state is LinkState.UP
    accelerator.close()


def test_a_port_is_taken_by_one_host_only(device: EmulatedAccelerator) -> None:
    first = open_port(device.port, 921_600)
    with pytest.raises(PortError):
        open_port(device.port, 921_600)
    first.port.close()


def test_a_missing_port_is_a_clear_error() -> None:
    with pytest.raises(PortError, match="/dev/no-such-port"):
        open_port("/dev/no-such-port", 921_600)


def test_a_usb_id_that_is_not_plugged_in_is_told() -> None:
    with pytest.raises(PortError, match="usb:dead:beef"):
        find("usb:dead:beef")


def test_a_slow_latency_timer_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "ttyUSB0" / "device"
    folder.mkdir(parents=True)
    (folder / "latency_timer").write_text("16\n")
    assert latency_timer("/dev/ttyUSB0", tmp_path) == 16
    assert latency_timer("/dev/ttyUSB1", tmp_path) is None


@pytest.mark.parametrize(("custody", "slots"), [(Custody.SHARED, 6), (Custody.DEVICE, 12)])
def test_admission_counts_slots_by_custody(custody: Custody, slots: int) -> None:
    assert admitted_slots(SerialConfig("x", custody=custody, max_streams=3)) == slots


@pytest.mark.parametrize(("baud", "at_least"), [(921_600, 0), (3_000_000, 3), (12_000_000, 7)])
def test_the_model_promises_what_the_line_can_do(baud: int, at_least: int) -> None:
    """With what hardware.md assumes of the host, and the instructions that were counted of the firmware."""
    assert predict(baud).guaranteed >= at_least


@pytest.mark.parametrize("baud", [921_600, 3_000_000])
def test_a_paced_device_is_as_fast_as_its_line(baud: int) -> None:
    """The best round trip is never below the octets' time, and near the model with this machine's own overhead."""
    device = EmulatedAccelerator(baud, key=DEVICE_KEY)
    opened = open_port(device.port, baud)
    link = Link(opened.port)
    link.hello()
    link.open_session(device.public_key)
    found = measure(opened.port, link, baud, compute=0.0, rounds=30)
    wire = predict(baud, compute=0.0, host=0.0).round_trip
    assert wire <= found.best <= wire * 1.1 + 0.0005
    opened.port.close()
    device.close()


def test_a_job_on_a_paced_device_takes_the_time_of_the_processor_that_it_stands_for() -> None:
    device = EmulatedAccelerator(12_000_000, compute=0.004, key=DEVICE_KEY)
    opened = open_port(device.port, 12_000_000)
    found = measure_device(opened.port, 12_000_000, compute=0.004, rounds=5)
    assert found.best >= predict(12_000_000, compute=0.004, host=0.0).round_trip
    assert found.guaranteed == 0
    opened.port.close()
    device.close()
