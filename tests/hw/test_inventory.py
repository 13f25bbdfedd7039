"""What this machine has."""

import platform
from pathlib import Path

from ueagent_hw.inventory import cpu_features, take_inventory


def test_features_of_an_x86_processor_are_read(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu aes pclmulqdq vaes\n\nprocessor\t: 1\nflags\t\t: sha_ni\n")
    assert cpu_features(file) == ("aes", "pclmulqdq", "vaes")


def test_features_of_an_arm_processor_are_read(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("Features\t: fp asimd aes pmull sha1 sha2 crc32\n")
    assert cpu_features(file) == ("aes", "pmull", "sha1", "sha2")


def test_machine_that_tells_nothing_has_no_features(tmp_path: Path) -> None:
    assert cpu_features(tmp_path / "none") == ()
    (tmp_path / "odd").write_bytes(b"\xff\x00 flags\n")
    assert cpu_features(tmp_path / "odd") == ()


def test_inventory_holds_the_portable_engine_tested() -> None:
    found = take_inventory()
    assert found.machine == platform.machine()
    portable = next(engine for engine in found.engines if engine.name == "portable")
    assert (portable.present, portable.self_test) == (True, "passed")


def test_self_tests_can_be_left_out() -> None:
    assert {engine.self_test for engine in take_inventory(self_test=False).engines} == {"not run"}
