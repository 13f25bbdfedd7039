"""A phone with one line of MSRP, BFCP or T.38 in plain: in the core behind the edge, or in front of an agent.

MSRP    SEND with a whole file, or with nothing (RFC 4975, 7.1; MSRP-8); what arrives is taken apart and counted
BFCP    octets
T.38    datagrams
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from ueagent.lab.alg_streams import opens
from ueagent.lab.sockets import LOOPBACK
from ueagent.model.media import MediaKind
from ueagent.wire.msrp import Path
from ueagent.wire.msrp_attributes import PLACEHOLDER_PORT, build_path, new_uri, parse_path
from ueagent.wire.sdp import MediaSection, Sdp, parse_sdp

CHUNK: Final = 1 << 16
_FORMATS: Final = {MediaKind.MSRP: "message {} TCP/MSRP *", MediaKind.BFCP: "application {} TCP/BFCP *"}


class StreamPhone:
    """`active`: it answers an offer that leaves the choice by opening the connection itself."""

    def __init__(self, kind: MediaKind, rng: Callable[[int], bytes], *, active: bool = True) -> None:
        self.kind = kind
        self.received = bytearray()  # MSRP: bodies; BFCP: octets
        self.messages: list[bytes] = []  # MSRP: bodies; T.38: datagrams
        self.arrived = asyncio.Event()
        self._rng = rng
        self._active = active
        udp = kind is MediaKind.UDPTL
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.bind((LOOPBACK, 0))
        if not udp:
            self._socket.listen(2)
        self._port = int(self._socket.getsockname()[1])
        self._uri = new_uri(LOOPBACK, self._port, rng, secure=False)
        self._remote: MediaSection | None = None
        self._opens = False
        self._stream: socket.socket | None = None
        self._reading: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------------------- SDP --

    def offer(self) -> bytes:
        return self._description("actpass", self._port)

    def answer(self, offer: bytes) -> bytes:
        section = self._line(parse_sdp(offer))
        setup = section.attribute("setup")
        choice = setup is None or setup.value == b"actpass"
        self._opens = self._active if choice else setup is not None and setup.value == b"passive"
        self._remote = section
        return self._description(*(("active", PLACEHOLDER_PORT) if self._opens else ("passive", self._port)))

    def connect(self, answer: bytes) -> None:
        """The answer to our offer."""
        self._remote = self._line(parse_sdp(answer))
        self._opens = not opens(self._remote, answer=True)

    def _line(self, sdp: Sdp) -> MediaSection:
        (section,) = sdp.media
        return section

    def _description(self, setup: str, port: int) -> bytes:
        lines = ["v=0", f"o=- 1 1 IN IP4 {LOOPBACK}", "s=-", f"c=IN IP4 {LOOPBACK}", "t=0 0"]
        if self.kind is MediaKind.UDPTL:
            lines += [f"m=image {self._port} udptl t38", "a=T38FaxVersion:0", "a=T38FaxUdpEC:t38UDPRedundancy"]
        else:
            lines += [f"m={_FORMATS[self.kind].format(port)}", f"a=setup:{setup}"]
        if self.kind is MediaKind.MSRP:
            lines += ["a=accept-types:*", f"a=path:{build_path(self._path).decode()}"]
        if self.kind is MediaKind.BFCP:
            lines += ["a=connection:new", "a=floorctrl:c-s", "a=confid:1", "a=userid:1", "a=floorid:1 mstrm:10"]
        return "".join(line + "\r\n" for line in lines).encode()

    @property
    def _path(self) -> Path:
        return (self._uri,)

    # --------------------------------------------------------------------------------------------------- traffic --

    async def open(self) -> None:
        """The connection, by whichever role; of T.38 nothing. Who opens it speaks at once (MSRP-8)."""
        loop = asyncio.get_running_loop()
        if self.kind is MediaKind.UDPTL:
            self._reading = asyncio.create_task(self._read_datagrams())
            return
        if self._opens:
            self._stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            await loop.sock_connect(self._stream, (LOOPBACK, self._there.port))
        else:
            self._stream, _ = await loop.sock_accept(self._socket)
            self._stream.setblocking(False)
        self._reading = asyncio.create_task(self._read_stream(self._stream))
        if self._opens and self.kind is MediaKind.MSRP:
            await self.send(b"")

    async def send(self, data: bytes) -> None:
        """A message with `data` for its body, octets, or a datagram."""
        loop = asyncio.get_running_loop()
        if self.kind is MediaKind.UDPTL:
            self._socket.sendto(data, (LOOPBACK, self._there.port))
            return
        if self._stream is None:
            raise RuntimeError("not connected")
        await loop.sock_sendall(self._stream, self._message(data) if self.kind is MediaKind.MSRP else data)

    async def wait_messages(self, count: int) -> None:
        while len(self.messages) < count:
            self.arrived.clear()
            await self.arrived.wait()

    def close(self) -> None:
        """Idempotent."""
        if self._reading is not None:
            self._reading.cancel()
        if self._stream is not None:
            self._stream.close()
        self._socket.close()

    @property
    def _there(self) -> MediaSection:
        if self._remote is None:
            raise RuntimeError("offer and answer come first")
        return self._remote

    def _message(self, body: bytes) -> bytes:
        attribute = self._there.attribute("path")
        theirs = parse_path(attribute.value or b"" if attribute else b"")
        tid = self._rng(6).hex().encode()
        head = [b"MSRP " + tid + b" SEND", b"To-Path: " + build_path(theirs), b"From-Path: " + build_path(self._path)]
        head += [b"Message-ID: " + self._rng(6).hex().encode()]
        if body:
            head += [b"Byte-Range: 1-%d/%d" % (len(body), len(body)), b"Content-Type: application/octet-stream", b""]
            head += [body]
        return b"\r\n".join([*head, b"-------" + tid + b"$", b""])

    async def _read_stream(self, stream: socket.socket) -> None:
        held = b""
        while data := await asyncio.get_running_loop().sock_recv(stream, CHUNK):
            self.received += data
            held = self._taken(held + data) if self.kind is MediaKind.MSRP else b""
            self.arrived.set()

    def _taken(self, data: bytes) -> bytes:
        """Whole messages go into `messages`; the rest comes back."""
        while True:
            tid = data[5 : data.find(b" SEND\r\n")] if b" SEND\r\n" in data[:64] else b""
            end = data.find(b"\r\n-------" + tid + b"$\r\n") if tid else -1
            if end < 0:
                return data
            body = data[:end].partition(b"\r\n\r\n")[2]
            if body:
                self.messages.append(body)
            data = data[end + len(tid) + 12 :]

    async def _read_datagrams(self) -> None:
        while True:
            self.messages.append(await asyncio.get_running_loop().sock_recv(self._socket, CHUNK))
            self.arrived.set()
