"""A small HTTP/1.1 server for the lab's BSF and KMS: one request a connection, values in and out. h11 does the rest."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import h11

from ueagent.model.http import HttpRequest, HttpResponse

MAX_BODY: Final = 64 * 1024  # octets
IDLE: Final = 10.0  # seconds that a client may take for its request

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class HttpServer:
    """`async with HttpServer(handler) as server`: it listens at `server.port`, which the system chooses by default."""

    def __init__(
        self, handler: Handler, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._handler = handler
        self._address = address
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.port = port
        self.requests = 0

    async def __aenter__(self) -> HttpServer:
        self._server = await asyncio.start_server(self._serve, self._address, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.close()
            for task in list(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        connection = h11.Connection(h11.SERVER)
        try:
            async with asyncio.timeout(IDLE):
                request = await _read(connection, reader)
            self.requests += 1
            response = HttpResponse(400) if request is None else await self._handler(request)
            writer.write(_answer(connection, response))
            await writer.drain()
        except asyncio.CancelledError:
            pass  # the lab closes; asyncio.streams would report it as an error
        except (OSError, TimeoutError, h11.ProtocolError):
            pass  # a client that went away or speaks something else
        finally:
            self._open.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


async def _read(connection: h11.Connection, reader: asyncio.StreamReader) -> HttpRequest | None:
    """None: too long."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(16384))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                return None
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            return HttpRequest(head.method.decode(), head.target.decode(), headers, bytes(body))
        else:
            raise OSError("the client went away")


def _answer(connection: h11.Connection, response: HttpResponse) -> bytes:
    headers = {"Content-Length": str(len(response.body)), "Connection": "close", **response.headers}
    head = h11.Response(status_code=response.status, headers=list(headers.items()))
    return b"".join(connection.send(event) or b"" for event in (head, h11.Data(data=response.body), h11.EndOfMessage()))
