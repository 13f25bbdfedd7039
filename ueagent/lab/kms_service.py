"""The lab's KMS and BSF as servers, with their users out of a TOML file."""

from __future__ import annotations

import secrets
import time
import tomllib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ueagent.daemon.credentials.provider import ProvisionedPsk
from ueagent.daemon.http_client import parse_origin
from ueagent.daemon.kms_http import KmsBinding, KmsClient
from ueagent.errors import ResourceError, UsageError
from ueagent.lab.bsf import Bsf
from ueagent.lab.faults import KmsFault
from ueagent.lab.http_server import HttpServer
from ueagent.lab.kms import LabKms, Peer
from ueagent.lab.kms_store import KmsStore
from ueagent.model.keys import Secret

KMS_NUMBER_LENGTH: Final = 6  # octets that begin THDR


@dataclass(frozen=True, slots=True)
class KmsServiceConfig:
    address: str = "127.0.0.1"
    port: int = 0
    bsf_port: int = 0
    identity: str = "sip:kms.example.com"
    name: str = "kms.example.com"
    number: int = 1
    bsf_name: str = "bsf.example.com"
    store: str = ":memory:"
    fault: KmsFault = KmsFault.NO_FAULT


class KmsService:
    """`async with KmsService(config, users)`. UsageError `bad_users` for a file that does not fit."""

    def __init__(self, config: KmsServiceConfig, users: Path) -> None:
        if not 0 <= config.number < 1 << 8 * KMS_NUMBER_LENGTH:
            raise UsageError("bad_number", "the number of a KMS has 48 bits", field="--number")
        self._config = config
        self._stack = AsyncExitStack()
        self._store = KmsStore(config.store)
        self._stack.callback(self._store.close)
        peers = read_users(users, self._store)
        identity, number = config.identity.encode(), config.number.to_bytes(KMS_NUMBER_LENGTH, "big")
        rng, clock = secrets.token_bytes, time.time
        self.kms = LabKms(self._store, identity, config.name, number, rng, clock, peers)
        self.kms.fault = config.fault
        bsf = Bsf(self._store, config.bsf_name, rng, clock)
        self._servers = (
            HttpServer(self.kms.handle, config.address, config.port),
            HttpServer(bsf.handle, config.address, config.bsf_port),
        )

    @property
    def kms_url(self) -> str:
        return f"http://{self._config.address}:{self._servers[0].port}"

    @property
    def requests(self) -> int:
        """How many reached the KMS so far."""
        return self._servers[0].requests

    @property
    def bsf_url(self) -> str:
        return f"http://{self._config.address}:{self._servers[1].port}"

    async def __aenter__(self) -> KmsService:
        try:
            for server in self._servers:
                await self._stack.enter_async_context(server)
        except OSError as error:
            await self._stack.aclose()
            raise ResourceError("no_ports", f"cannot listen on {self._config.address}: {error.strerror}") from None
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()


def read_users(path: Path, store: KmsStore) -> dict[bytes, Peer]:
    """Puts users, groups and keys of the file into `store`; the peers by their number. UsageError `bad_users`."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        unknown = set(tables) - {"user", "group", "psk", "peer"}
        if unknown:
            raise UsageError("bad_users", f"no table is called {sorted(unknown)[0][:40]}", field=str(path))
        for row in tables.get("user", []):
            store.add_user(row["impi"], row["identity"].encode(), _key(row["k"]), _key(row["opc"]))
        for row in tables.get("group", []):
            for member in row["members"]:
                store.add_member(row["name"].encode(), member.encode())
        for row in tables.get("psk", []):
            user, domain = row.get("user"), row.get("domain")
            store.add_psk(
                row["identity"].encode(),
                _key(row["key"]),
                user=None if user is None else user.encode(),
                domain=None if domain is None else domain.encode(),
            )
        return dict(_peer(row) for row in tables.get("peer", []))
    except OSError as error:
        raise UsageError("bad_users", f"cannot read {path}: {error.strerror}", field="--users") from None
    except KeyError as missing:
        raise UsageError("bad_users", f"{path}: a row lacks {missing}", field="--users") from None
    except (ValueError, TypeError, AttributeError):
        raise UsageError("bad_users", f"{path} is no TOML file of users", field="--users") from None


def _peer(row: dict[str, Any]) -> tuple[bytes, Peer]:
    identity = row["identity"].encode()
    credentials = ProvisionedPsk(row["psk_identity"].encode(), _key(row["key"]))
    client = KmsClient({identity: KmsBinding(row["name"], parse_origin(row["url"]))}, credentials)
    return int(row["number"]).to_bytes(KMS_NUMBER_LENGTH, "big"), Peer(identity, client)


def _key(text: str) -> Secret:
    return Secret(bytes.fromhex(text))
