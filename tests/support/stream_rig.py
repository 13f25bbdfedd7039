"""A pump between a dialer's socket and a peer on loopback, for tests of TLS streams."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from support.channels import ALICE, BOB, new_identity

from ueagent.channel.channel import Kind, Role, SecureChannel
from ueagent.channel.credentials import CertificateCredentials, Identity
from ueagent.daemon.pumps import StreamPump
from ueagent.daemon.secure_stream import SecureStream
from ueagent.daemon.stream_dialer import DialerSide, PassedDescriptor
from ueagent.daemon.stream_network import Patience, StreamNetwork
from ueagent.keymgmt.fingerprints import fits
from ueagent.model.media import Place
from ueagent.model.security import ChannelTerms
from ueagent.wire.msrp import MsrpPaths

LOOPBACK = "127.0.0.1"
SOON = 20.0  # seconds that a step may take on a loaded machine
OTHER = new_identity()


def terms(*, opens: bool, peer: Place | None = None, identity: Identity = BOB, **other: bool) -> ChannelTerms:
    """We are ALICE; the certificate we expect is `identity`'s."""
    made = ChannelTerms(opens, opens, frozenset(identity.fingerprints()), peer or Place(LOOPBACK, 9))
    return replace(made, **other)


class Listener:
    """A peer's port."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.socket.bind((LOOPBACK, 0))
        self.socket.listen(8)

    @property
    def place(self) -> Place:
        return Place(*self.socket.getsockname())

    async def accept(self) -> socket.socket:
        sock, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(self.socket), SOON)
        sock.setblocking(False)
        return sock

    def close(self) -> None:
        self.socket.close()


def secured(sock: socket.socket, role: Role, identity: Identity = BOB) -> SecureStream:
    """The peer's end, which expects ALICE."""
    accepted = ALICE.fingerprints()
    credentials = CertificateCredentials(identity, lambda certificate: fits(certificate, accepted))
    return SecureStream(sock, SecureChannel(Kind.STREAM, role, credentials))


async def call(place: Place) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, (place.address, place.port)), SOON)
    return sock


class Rig:
    """ALICE's pump with a passed descriptor; `dialer` is the dialer's end of it."""

    def __init__(
        self, *, side: DialerSide | None = None, paths: MsrpPaths | None = None, patience: Patience | None = None
    ) -> None:
        self.dialer, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.dialer.setblocking(False)
        self.side = side or PassedDescriptor(ours)
        if side is not None:
            ours.close()
        self.network = StreamNetwork(LOOPBACK, patience)
        self.pump = StreamPump(self.network, self.side, paths)
        self.secured = asyncio.Event()
        self.listener = Listener()
        self.running: asyncio.Task[None] | None = None

    def start(self, agreed: ChannelTerms) -> None:
        credentials = CertificateCredentials(ALICE, lambda certificate: fits(certificate, agreed.accepted))
        self.running = asyncio.create_task(self.pump.run(agreed, credentials, lambda cipher: self.secured.set()))

    async def connected(self, *, opens: bool) -> SecureStream:
        """The peer's end, secured, in either direction of the connection."""
        if opens:
            self.start(terms(opens=True, peer=self.listener.place))
            stream = secured(await self.listener.accept(), Role.SERVER)
        else:
            self.start(terms(opens=False))
            stream = secured(await call(self.network.place), Role.CLIENT)
        await asyncio.wait_for(stream.open(), SOON)
        await asyncio.wait_for(self.secured.wait(), SOON)
        return stream

    async def ended(self) -> None:
        """What the pump raises is raised."""
        assert self.running is not None
        await asyncio.wait_for(self.running, SOON)

    async def say(self, data: bytes) -> None:
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(self.dialer, data), SOON)

    async def hear(self, count: int) -> bytes:
        return await hear(self.dialer, count)

    async def close(self) -> None:
        if self.running is not None:
            self.running.cancel()
            with suppress(BaseException):
                await self.running
        for thing in (self.dialer, self.side, self.network, self.listener):
            thing.close()


async def hear(sock: socket.socket, count: int) -> bytes:
    """`count` octets, or fewer when the other end closes."""
    data = b""
    while len(data) < count:
        piece = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, count - len(data)), SOON)
        if not piece:
            break
        data += piece
    return data


async def hear_tls(stream: SecureStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await asyncio.wait_for(stream.receive(), SOON)
        if not piece:
            break
        data += piece
    return data


def resident() -> int:
    """Octets of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
