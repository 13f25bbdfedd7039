"""A user, its USIM, and a BSF that knows it: for tests of bootstrapping."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ueagent.crypto.milenage import Milenage
from ueagent.daemon.credentials.gba import GbaCredentials
from ueagent.daemon.http_client import Origin
from ueagent.keymgmt.aka import Usim
from ueagent.keymgmt.usim import SoftwareUsim
from ueagent.lab.bsf import Bsf
from ueagent.lab.http_server import HttpServer
from ueagent.lab.kms_store import KmsStore
from ueagent.model.keys import Secret

K = bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc")
OPC = bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf")
IMPI = "234150999999999@ims.mnc015.mcc234.3gppnetwork.org"
IMPU = b"sip:alice@ims.example.com"
BSF = "bsf.example.com"
NOW = 1_700_000_000.0


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def usim(k: bytes = K) -> SoftwareUsim:
    return SoftwareUsim(Secret(k), Secret(OPC))


def network() -> Milenage:
    """The same functions, as the home network has them."""
    return Milenage(Secret(K), Secret(OPC))


def store() -> KmsStore:
    made = KmsStore()
    made.add_user(IMPI, IMPU, Secret(K), Secret(OPC))
    return made


def bsf(users: KmsStore, clock: Clock, seed: int = 7, lifetime: float = 3600.0) -> Bsf:
    return Bsf(users, BSF, random.Random(seed).randbytes, clock, lifetime)


@asynccontextmanager
async def bootstrapping_server(users: KmsStore, clock: Clock) -> AsyncIterator[HttpServer]:
    async with HttpServer(bsf(users, clock).handle) as server:
        yield server


def credentials(server: HttpServer, clock: Clock, card: Usim | None = None) -> GbaCredentials:
    origin = Origin(False, "127.0.0.1", server.port)
    return GbaCredentials(IMPI, BSF, origin, card or usim(), random.Random(8).randbytes, clock)
