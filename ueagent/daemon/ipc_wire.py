"""One client's UNIX socket: octets both ways, and the descriptors that come with them (SCM_RIGHTS).

The event loop's own streams read without room for descriptors, and the kernel then throws them away.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections import deque
from typing import Final

MAX_DESCRIPTORS: Final = 4  # that wait; what comes beyond is closed


class IpcWire:
    """`sock` is connected; the wire owns it, and every descriptor that nobody has taken."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._waiting: deque[int] = deque()

    async def read(self, limit: int) -> bytes:
        """What has come, `limit` octets at most; empty at the end."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, limit, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
            except (BlockingIOError, InterruptedError):
                await self._readable()
                continue
            for descriptor in descriptors:
                self._keep(descriptor)
            return data

    async def send(self, data: bytes) -> None:
        """Returns when the kernel has all of it."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    @property
    def hung_up(self) -> bool:
        """Closed altogether: a client that has only finished sending still reads."""
        poll = select.poll()
        poll.register(self._socket, 0)
        return bool(poll.poll(0))

    def take_descriptor(self) -> int | None:
        """The oldest that waits, whose owner is the caller then."""
        return self._waiting.popleft() if self._waiting else None

    def drop_descriptors(self) -> None:
        """They came with a call that had no use for them."""
        while self._waiting:
            os.close(self._waiting.popleft())

    def close(self) -> None:
        """Idempotent."""
        self.drop_descriptors()
        self._socket.close()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        descriptor = self._socket.fileno()
        loop.add_reader(descriptor, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(descriptor)

    def _keep(self, descriptor: int) -> None:
        if len(self._waiting) < MAX_DESCRIPTORS:
            self._waiting.append(descriptor)
        else:
            os.close(descriptor)
