"""The lab's KMS and BSF on loopback with a few users, and the configuration of agents that use them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.ub import OPC, K

from ueagent.lab.kms_service import KmsService, KmsServiceConfig

KMS, KMS_NAME, BSF_NAME = "sip:kms.example.com", "kms.example.com", "bsf.example.com"
ALICE, BOB, CAROL = "sip:alice@example.com", "sip:bob@example.com", "sip:carol@example.com"
TEAM = "sip:team@example.com"


def psk_of(user: str) -> bytes:
    return hashlib.sha256(b"psk of " + user.encode()).digest()


def users_file(folder: Path, *more: str) -> Path:
    """Each user has a key of its own and a USIM (all of one K: it is a test)."""
    tables = [
        f'[[user]]\nimpi = "{user[4:]}"\nidentity = "{user}"\nk = "{K.hex()}"\nopc = "{OPC.hex()}"\n'
        f'[[psk]]\nidentity = "key of {user}"\nkey = "{psk_of(user).hex()}"\nuser = "{user}"\n'
        for user in (ALICE, BOB, CAROL)
    ]
    tables.append(f'[[group]]\nname = "{TEAM}"\nmembers = ["{BOB}", "{CAROL}"]\n')
    path = folder / "users.toml"
    path.write_text("".join([*tables, *more]))
    return path


@asynccontextmanager
async def lab_kms(folder: Path, *more: str, **config: Any) -> AsyncIterator[KmsService]:
    """`more`: further tables of the users' file; `config`: of the service."""
    async with KmsService(KmsServiceConfig(**config), users_file(folder, *more)) as service:
        yield service


def private_file(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


def kms_section(service: KmsService, **more: Any) -> dict[str, Any]:
    return {"identity": KMS, "url": service.kms_url, "name": KMS_NAME, **more}


def by_psk(service: KmsService, folder: Path, user: str, **kms: Any) -> dict[str, Any]:
    """Sections `kms` and `credentials` of a user with a provisioned key."""
    path = private_file(folder / f"{user[4:]}.psk", psk_of(user).hex() + "\n")
    credentials = {"provider": "psk", "identities": [user], "psk_identity": f"key of {user}", "psk_file": path}
    return {"kms": kms_section(service, **kms), "credentials": credentials}


def by_gba(service: KmsService, folder: Path, user: str, **kms: Any) -> dict[str, Any]:
    """The same for a user with a software USIM."""
    credentials = {
        "provider": "gba",
        "identities": [user],
        "impi": user[4:],
        "bsf": BSF_NAME,
        "bsf_url": service.bsf_url,
        "usim_file": private_file(folder / f"{user[4:]}.usim", f"{K.hex()}\n{OPC.hex()}\n"),
        "usim_state": str(folder / f"{user[4:]}.sqn"),
    }
    return {"kms": kms_section(service, **kms), "credentials": credentials}
