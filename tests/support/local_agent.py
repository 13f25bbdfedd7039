"""A real agent in this process, on a socket in a folder of its own, and the SDP and media of a dialer for it."""

from __future__ import annotations

import asyncio
import io
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from ueagent.daemon.agent import Agent
from ueagent.daemon.config import Config, LogConfig, parse_config
from ueagent.daemon.logs import open_log


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A short path: the name of a UNIX socket has at most 107 octets."""
    with tempfile.TemporaryDirectory(prefix="ue") as folder:
        yield Path(folder)


@asynccontextmanager
async def running_agent(log: io.StringIO | None = None, **sections: Any) -> AsyncIterator[Agent]:
    """An agent with the configuration `sections` as in TOML. Its debug log goes to `log`."""
    config = parse_config(sections) if sections else Config()
    written = open_log(LogConfig(level="debug", format="json"), log or io.StringIO())
    with socket_folder() as folder:
        async with Agent(config, written, folder / "agent.sock") as agent:
            yield agent


def plain_sdp(port: int, *, proto: str = "RTP/AVP", rtcp_port: int | None = None) -> str:
    """What a dialer hands in: one audio line, media on loopback."""
    rtcp = "" if rtcp_port is None else f"a=rtcp:{rtcp_port}\r\n"
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} {proto} 0\r\na=rtpmap:0 PCMU/8000\r\n{rtcp}"
    )


def audio_port(sdp: str) -> int:
    """The port of the first m-line."""
    line = next(line for line in sdp.splitlines() if line.startswith("m="))
    return int(line.split()[1])


class Phone:
    """The media side of a dialer: RTP and RTCP sockets on loopback."""

    def __init__(self) -> None:
        self.rtp, self.rtcp = _udp(), _udp()

    @property
    def sdp(self) -> str:
        return plain_sdp(self.rtp.getsockname()[1], rtcp_port=self.rtcp.getsockname()[1])

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *_: object) -> None:
        self.rtp.close()
        self.rtcp.close()

    async def send(self, port: int, packet: bytes) -> None:
        await asyncio.get_running_loop().sock_sendto(self.rtp, packet, ("127.0.0.1", port))

    async def receive(self) -> bytes:
        """The next RTP packet; TimeoutError after ten seconds."""
        async with asyncio.timeout(10):
            return await asyncio.get_running_loop().sock_recv(self.rtp, 2048)


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


def rtp_packet(sequence: int, payload: bytes = b"\xd5" * 160, ssrc: int = 0x1234) -> bytes:
    """RFC 3550, 5.1: version 2, PCMU."""
    head = (
        bytes([0x80, 0]) + sequence.to_bytes(2, "big") + (sequence * 160).to_bytes(4, "big") + ssrc.to_bytes(4, "big")
    )
    return head + payload
