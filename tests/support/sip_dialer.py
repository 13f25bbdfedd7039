"""Just enough of a SIP user agent over UDP for one call with a real phone (RFC 3261: INVITE, ACK, BYE and their 200s).

No registrar, no proxy, no authentication. SDP bodies pass through untouched: the tests put the agent between.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from dataclasses import dataclass
from types import TracebackType

from support.peers import LOOPBACK, PATIENCE

T1 = 0.5  # seconds, RFC 3261, 17.1.1.1
_numbers = itertools.count(1)


@dataclass(frozen=True)
class SipMessage:
    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def get(self, name: str) -> str:
        return next(value for key, value in self.headers if key.lower() == name)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def method(self) -> str:
        """Of a request, or of the request that a response answers."""
        return self.get("cseq").split()[1]

    @property
    def status(self) -> int | None:
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else None


_COMPACT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
    "c": "content-type",
}


def parse_message(data: bytes) -> SipMessage:
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((_COMPACT.get(name.strip().lower(), name.strip()), value.strip()))
    return SipMessage(start, tuple(headers), body)


def _build(start: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    kept = [*headers, *([("Content-Type", "application/sdp")] if body else []), ("Content-Length", str(len(body)))]
    return "\r\n".join([start, *(f"{name}: {value}" for name, value in kept), "", ""]).encode() + body


class SipDialer(asyncio.DatagramProtocol):
    """One call at a time. `async with SipDialer() as sip:` binds an ephemeral port on the loopback."""

    def __init__(self, user: str = "dialer") -> None:
        self.user = user
        self._inbox: asyncio.Queue[tuple[SipMessage, tuple[str, int]]] = asyncio.Queue()
        self._responses: dict[tuple[str, str], asyncio.Queue[SipMessage]] = {}
        self.ended = asyncio.Event()
        self._invite: SipMessage | None = None
        self._answer: bytes | None = None
        self._acked = asyncio.Event()
        self._dialog: dict[str, str] = {}
        self._peer = (LOOPBACK, 0)
        self._sequence = 0

    async def __aenter__(self) -> SipDialer:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(LOOPBACK, 0), family=socket.AF_INET
        )
        self.address: tuple[str, int] = self._transport.get_extra_info("sockname")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._transport.close()

    @property
    def uri(self) -> str:
        return f"sip:{self.user}@{self.address[0]}:{self.address[1]}"

    # ------------------------------------------------------------------------------------------------------ calling --

    async def call(self, uri: str, sdp: bytes) -> SipMessage:
        """INVITE with `sdp`, ACK; the 200 with the answer. Any other final status is a failure of the test."""
        host, port = uri.split("@")[1].split(":")
        self._peer = (host, int(port))
        number = next(_numbers)
        self._dialog = {
            "call_id": f"call-{number}@{LOOPBACK}",
            "local": f"<{self.uri}>;tag=local-{number}",
            "remote": f"<{uri}>",
            "target": uri,
        }
        response = await self._request("INVITE", sdp)
        self._dialog["remote"] = response.get("to")
        self._dialog["target"] = response.get("contact").split("<")[1].split(">")[0]
        self._send(self._request_text("ACK", self._sequence, b""), self._peer)
        assert response.status == 200, response.start
        return response

    async def hang_up(self) -> None:
        await self._request("BYE", b"")
        self.ended.set()

    def _request_text(self, method: str, sequence: int, body: bytes) -> bytes:
        host, port = self.address
        headers = [
            ("Via", f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK{method}{sequence}{self._dialog['call_id']};rport"),
            ("Max-Forwards", "70"),
            ("From", self._dialog["local"]),
            ("To", self._dialog["remote"]),
            ("Call-ID", self._dialog["call_id"]),
            ("CSeq", f"{sequence} {method}"),
            ("Contact", f"<{self.uri}>"),
        ]
        return _build(f"{method} {self._dialog['target']} SIP/2.0", headers, body)

    async def _request(self, method: str, body: bytes) -> SipMessage:
        self._sequence += 1
        key = (self._dialog["call_id"], f"{self._sequence} {method}")
        answers = self._responses[key] = asyncio.Queue()
        text = self._request_text(method, self._sequence, body)
        wait = T1
        async with asyncio.timeout(PATIENCE):
            while True:
                self._send(text, self._peer)
                try:
                    response = await asyncio.wait_for(answers.get(), wait)
                    while (response.status or 0) < 200:
                        response = await answers.get()
                except TimeoutError:
                    wait *= 2
                else:
                    return response

    # ---------------------------------------------------------------------------------------------------- answering --

    async def incoming(self) -> SipMessage:
        """The next INVITE; its body is the offer."""
        async with asyncio.timeout(PATIENCE):
            self._invite, self._peer = await self._inbox.get()
        return self._invite

    async def accept(self, sdp: bytes) -> None:
        """200 with `sdp`, repeated until the ACK comes (RFC 3261, 13.3.1.4)."""
        assert self._invite is not None
        invite = self._invite
        local = f"{invite.get('to')};tag=local-{next(_numbers)}"
        self._dialog = {
            "call_id": invite.get("call-id"),
            "local": local,
            "remote": invite.get("from"),
            "target": invite.get("contact").split("<")[1].split(">")[0],
        }
        self._answer = self._response(invite, "200 OK", sdp, to=local)
        wait = T1
        async with asyncio.timeout(PATIENCE):
            while not self._acked.is_set():
                self._send(self._answer, self._peer)
                try:
                    await asyncio.wait_for(self._acked.wait(), wait)
                except TimeoutError:
                    wait *= 2

    def _response(self, request: SipMessage, status: str, body: bytes = b"", to: str | None = None) -> bytes:
        headers = [("Via", value) for value in request.all("via")]
        headers += [(name, request.get(name.lower())) for name in ("From", "Call-ID", "CSeq")]
        headers += [("To", to or request.get("to")), ("Contact", f"<{self.uri}>")]
        return _build(f"SIP/2.0 {status}", headers, body)

    # ----------------------------------------------------------------------------------------------------- transport --

    def _send(self, data: bytes, to: tuple[str, int]) -> None:
        self._transport.sendto(data, to)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not data.strip():
            return  # keep-alive
        message = parse_message(data)
        if message.status is not None:
            queue = self._responses.get((message.get("call-id"), message.get("cseq")))
            if queue is not None:
                queue.put_nowait(message)
        elif message.method == "INVITE":
            if self._invite is None:
                self._send(self._response(message, "100 Trying"), addr)
                self._inbox.put_nowait((message, addr))
            elif self._answer is not None:
                self._send(self._answer, addr)
        elif message.method == "ACK":
            self._acked.set()
        elif message.method == "BYE":
            self._send(self._response(message, "200 OK"), addr)
            self.ended.set()
        else:
            self._send(self._response(message, "501 Not Implemented"), addr)
