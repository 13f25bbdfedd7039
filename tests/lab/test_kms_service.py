"""`ueagent lab kms`: its file of users, its servers, the command."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.ub import OPC, K

from ueagent.daemon.credentials.gba import GbaCredentials
from ueagent.daemon.http_client import parse_origin
from ueagent.errors import UsageError
from ueagent.keymgmt.usim import SoftwareUsim
from ueagent.lab.kms_service import KmsService, KmsServiceConfig, read_users
from ueagent.lab.kms_store import KmsStore
from ueagent.model.keys import Secret

USERS = f"""
[[user]]
impi = "alice@ims.example.com"
identity = "sip:alice@example.com"
k = "{K.hex()}"
opc = "{OPC.hex()}"
[[group]]
name = "sip:team@example.com"
members = ["sip:alice@example.com"]
[[psk]]
identity = "kms.example.net"
key = "{"5a" * 32}"
domain = "example.net"
[[peer]]
identity = "sip:kms.example.net"
number = 2
name = "kms.example.net"
url = "http://127.0.0.1:1"
psk_identity = "kms.example.com"
key = "{"5b" * 32}"
"""


def written(folder: Path, text: str = USERS) -> Path:
    path = folder / "users.toml"
    path.write_text(text)
    return path


async def bootstrap(bsf_url: str) -> bytes:
    import time

    usim = SoftwareUsim(Secret(K), Secret(OPC))
    draw = random.Random(4).randbytes
    origin = parse_origin(bsf_url)
    provider = GbaCredentials("alice@ims.example.com", "bsf.example.com", origin, usim, draw, time.time)
    return (await provider.obtain("kms.example.com")).identity


def test_file_of_users_fills_the_store(tmp_path: Path) -> None:
    store = KmsStore(tmp_path / "kms.db")
    peers = read_users(written(tmp_path), store)
    user, psk = store.user("alice@ims.example.com"), store.psk(b"kms.example.net")
    assert user is not None
    assert user.k == Secret(K)
    assert store.is_member(b"sip:team@example.com", b"sip:alice@example.com")
    assert psk is not None
    assert psk.belongs_to(b"sip:carol@example.net")
    assert not psk.belongs_to(b"sip:carol@other.example.net")
    assert list(peers) == [bytes(5) + b"\x02"]
    assert (tmp_path / "kms.db").stat().st_mode & 0o777 == 0o600
    store.close()


@pytest.mark.parametrize(
    "text",
    ["[[user]]", "nonsense", "[[users]]", USERS.replace(K.hex(), "not hex"), "user = 5", '[[group]]\nname = "a"'],
)
def test_file_that_does_not_fit_is_refused(tmp_path: Path, text: str) -> None:
    store = KmsStore()
    with pytest.raises(UsageError, match="bad_users"):
        read_users(written(tmp_path, text), store)
    store.close()


def test_both_servers_listen_and_the_users_can_bootstrap(tmp_path: Path) -> None:
    """KMS-1."""

    async def run() -> bytes:
        async with KmsService(KmsServiceConfig(), written(tmp_path)) as service:
            assert service.kms_url != service.bsf_url
            return await bootstrap(service.bsf_url)

    assert asyncio.run(run()).endswith(b"@bsf.example.com")


def test_command_serves_until_it_is_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ueagent", "lab", "kms", "--users", str(written(tmp_path))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.fullmatch(r"lab KMS on (\S+), BSF on (\S+), fault none\n", line)
        assert found is not None, line
        assert asyncio.run(bootstrap(found[2])).endswith(b"@bsf.example.com")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_command_says_what_is_wrong_with_its_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ueagent", "lab", "kms", "--users", str(tmp_path / "missing")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "cannot read" in done.stderr
