"""Keys and sequence numbers in files, and providers made from the configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.kms_lab import private_file
from support.ub import OPC, Clock, K, network

from ueagent.daemon.config import CredentialsConfig, parse_config
from ueagent.daemon.credentials.configured import Surroundings, provider_of
from ueagent.daemon.credentials.kept_usim import KeptUsim
from ueagent.daemon.credentials.key_files import read_keys
from ueagent.errors import ResourceError, UsageError
from ueagent.keymgmt.aka import AkaKeys, SyncFailure
from ueagent.keymgmt.usim import SoftwareUsim
from ueagent.model.keys import Secret

SIXTEEN = (range(16, 17),)
RAND = bytes(range(16))


def refused(path: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read_keys(path, "credentials.psk_file", SIXTEEN)
    assert (caught.value.code, caught.value.field) == ("bad_config", "credentials.psk_file")
    return caught.value


def test_keys_are_hexadecimal_words_of_any_case_and_spacing(tmp_path: Path) -> None:
    path = private_file(tmp_path / "keys", f"  {K.hex().upper()}\r\n\t{OPC.hex()}\n\n")
    assert read_keys(path, "credentials.usim_file", SIXTEEN * 2) == [Secret(K), Secret(OPC)]


@pytest.mark.parametrize(
    "text",
    ["", "00", K.hex()[:-1] + "g", K.hex()[:-1], K.hex() + " " + OPC.hex(), K.hex() + " " * 4096, "00" * 3000],
    ids=["empty", "short", "no digit", "odd", "two words", "long", "long word"],
)
def test_file_that_holds_anything_else_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    error = refused(private_file(tmp_path / "key", text))
    assert error.detail.endswith("does not hold 16 to 16 octets in hexadecimal")
    assert "46" not in error.detail.replace(str(tmp_path), "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = private_file(tmp_path / "key", K.hex())
    Path(path).chmod(mode)
    assert "only its owner can read" in refused(path).detail


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "only its owner can read" in refused(str(tmp_path / "pipe")).detail
    assert "No such file" in refused(str(tmp_path / "missing")).detail


def kept(path: Path) -> KeptUsim:
    return KeptUsim(lambda seen: SoftwareUsim(Secret(K), Secret(OPC), seen), str(path))


def autn(sequence: int) -> bytes:
    return network().autn(RAND, (sequence << 5).to_bytes(6, "big"), b"\x80\x00")


def test_sequence_numbers_outlive_the_usim(tmp_path: Path) -> None:
    """KMS-7: a challenge is answered once, also by the next process."""
    path = tmp_path / "sqn"
    assert isinstance(kept(path).authenticate(RAND, autn(5)), AkaKeys)
    assert path.stat().st_mode & 0o777 == 0o600
    assert isinstance(kept(path).authenticate(RAND, autn(5)), SyncFailure)
    assert isinstance(kept(path).authenticate(RAND, autn(6)), AkaKeys)


def test_usim_gives_no_keys_when_its_numbers_cannot_be_kept(tmp_path: Path) -> None:
    usim = kept(tmp_path / "sqn")
    (tmp_path / "sqn.new").mkdir()
    with pytest.raises(ResourceError, match="usim_state"):
        usim.authenticate(RAND, autn(5))


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"32": 1}', '{"0": -1}', '{"0": true}', f'{{"0": {1 << 43}}}'])
def test_broken_state_is_not_taken_for_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "sqn").write_text(text)
    with pytest.raises(UsageError) as caught:
        kept(tmp_path / "sqn")
    assert caught.value.field == "credentials.usim_state"


@pytest.mark.parametrize(
    ("provider", "given", "missing"),
    [
        ("psk", {}, "psk_identity"),
        ("psk", {"psk_identity": "a"}, "psk_file"),
        ("gba", {}, "usim_file"),
        ("gba", {"usim_file": "/k"}, "usim_state"),
        ("modem", {}, "modem_port"),
        ("modem", {"modem_port": "/dev/ttyUSB2"}, "impi"),
        ("modem", {"modem_port": "/dev/ttyUSB2", "impi": "a@example.com"}, "bsf"),
    ],
)
def test_what_a_provider_lacks_is_named(provider: str, given: dict[str, str], missing: str) -> None:
    config = parse_config({"credentials": {"provider": provider, **given}}).credentials
    with pytest.raises(UsageError) as caught:
        provider_of(config, Surroundings(os.urandom, Clock()))
    assert (caught.value.code, caught.value.field) == ("bad_config", f"credentials.{missing}")


def test_bsf_of_an_impi_made_from_an_imsi_needs_no_setting() -> None:
    """KMS-8."""
    impi = "234150999999999@ims.mnc015.mcc234.3gppnetwork.org"
    config = CredentialsConfig(provider="modem", modem_port="/dev/ttyUSB2", impi=impi)
    provider_of(config, Surroundings(os.urandom, Clock())).close()
