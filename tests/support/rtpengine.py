"""rtpengine, a media gateway of real networks, driven over its ng protocol: bencoded dictionaries in UDP datagrams."""

from __future__ import annotations

import socket
from itertools import count
from pathlib import Path
from types import TracebackType

from support.peers import LOOPBACK, PATIENCE, PeerError, Program, udp_port_pair

Value = int | str | bytes | list["Value"] | dict[str, "Value"]


def bencode(value: Value) -> bytes:
    match value:
        case int():
            return b"i%de" % value
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%s" % (len(value), value)
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case dict():
            return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"


def bdecode(data: bytes, at: int = 0) -> tuple[Value, int]:
    """The value at `at`, texts as str, and where it ends."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items: list[Value] = []
        at += 1
        while data[at : at + 1] != b"e":
            item, at = bdecode(data, at)
            items.append(item)
        if kind == b"l":
            return items, at + 1
        return {str(key): value for key, value in zip(items[::2], items[1::2], strict=True)}, at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(), end


class Rtpengine:
    """In user space, media on the loopback. `offer` and `answer` rewrite SDP between two sides."""

    def __init__(self, folder: Path) -> None:
        port, _ = udp_port_pair()
        self._cookies = count(1)
        self._to = (LOOPBACK, port)
        self.program = Program(
            [
                *("rtpengine", "--foreground", "--log-stderr", "--log-level=4", "--table=-1"),
                *("--interface", LOOPBACK, "--listen-ng", f"{LOOPBACK}:{port}", "--num-threads=2"),
                *("--pidfile", str(folder / "rtpengine.pid"), "--port-min=34000", "--port-max=39999"),
            ],
            cwd=folder,
        )
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.settimeout(0.2)
            assert self._asked({"command": "ping"})["result"] == "pong"
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Rtpengine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()
        self.program.stop()

    def offer(self, sdp: str, *, call: str, transport: str, **flags: Value) -> str:
        """The offer for the other side, whose lines have that transport protocol."""
        asked = {"command": "offer", "call-id": call, "from-tag": "a", "sdp": sdp, "transport-protocol": transport}
        return self._sdp({**asked, "ICE": "remove", **flags})

    def answer(self, sdp: str, *, call: str, **flags: Value) -> str:
        asked = {"command": "answer", "call-id": call, "from-tag": "a", "to-tag": "b", "sdp": sdp}
        return self._sdp({**asked, "ICE": "remove", **flags})

    def _sdp(self, asked: dict[str, Value]) -> str:
        reply = self._asked(asked)
        if reply.get("result") != "ok":
            raise PeerError(f"rtpengine says {reply}")
        return str(reply["sdp"])

    def _asked(self, asked: dict[str, Value]) -> dict[str, Value]:
        """A request is repeated under its cookie until it is answered: that is how the protocol wants it."""
        cookie = b"%d" % next(self._cookies)
        for _ in range(int(PATIENCE / 0.2)):
            self._socket.sendto(cookie + b" " + bencode(asked), self._to)
            try:
                data = self._socket.recv(65536)
            except (TimeoutError, ConnectionRefusedError):
                if not self.program.alive():
                    break
                continue
            mark, _, body = data.partition(b" ")
            if mark == cookie:
                reply, _ = bdecode(body)
                assert isinstance(reply, dict)
                return reply
        raise PeerError(f"rtpengine does not answer; its last words:\n{self.program.tail()}")
