"""Protected messages against `openssl cms`, both ways, for AES-GCM. It neither writes nor opens AES-CCM."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from support.peers import require

from ueagent.keymgmt.smime import KekLedger, open_entity, protect_entity
from ueagent.model.keys import Secret
from ueagent.wire.mime import build_entity

ENTITY = build_entity("text/plain", b"both ways\n")
SPI = bytes.fromhex("0a0b0c0d")


@pytest.fixture(autouse=True)
def _openssl() -> None:
    require("openssl")


def openssl_cms(folder: Path, *arguments: str, given: bytes) -> bytes:
    source, target = folder / "given", folder / "made"
    source.write_bytes(given)
    command = ["openssl", "cms", *arguments, "-in", str(source), "-out", str(target), "-binary"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return target.read_bytes()


@pytest.mark.interop("S/MIME with PSK", "writer", "openssl")
@pytest.mark.parametrize("length", [16, 32])
def test_openssl_opens_what_we_protect(tmp_path: Path, length: int) -> None:
    """MIME-7, MIME-8."""
    key = bytes(range(length))
    cms = protect_entity(ENTITY, Secret(key), SPI, random.Random(1).randbytes).cms
    plain = openssl_cms(
        tmp_path, "-decrypt", "-inform", "DER", "-secretkey", key.hex(), "-secretkeyid", SPI.hex(), given=cms
    )
    assert plain == ENTITY


@pytest.mark.interop("S/MIME with PSK", "reader", "openssl")
@pytest.mark.parametrize("length", [16, 32])
@pytest.mark.parametrize("stream", [(), ("-stream",)], ids=["DER", "BER in pieces"])
def test_we_open_what_openssl_protects(tmp_path: Path, length: int, stream: tuple[str, ...]) -> None:
    """MIME-7, MIME-8."""
    key = bytes(range(length))
    cms = openssl_cms(
        tmp_path,
        "-encrypt",
        f"-aes-{8 * length}-gcm",
        *stream,
        "-outform",
        "DER",
        "-secretkey",
        key.hex(),
        "-secretkeyid",
        SPI.hex(),
        given=ENTITY,
    )
    ledger = KekLedger(random.Random(2).randbytes)
    assert open_entity(cms, Secret(key), SPI, ledger, now=0.0, until=1.0)[0] == ENTITY
