"""One HTTP/1.1 exchange over TCP or TLS: a connection each, bounded in time and size. h11 reads and writes. KMS-14."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import h11

from ueagent.errors import KmsError, UsageError
from ueagent.model.http import HttpRequest, HttpResponse

TIMEOUT: Final = 5.0  # seconds for the whole exchange, KMS-13
MAX_BODY: Final = 64 * 1024  # octets
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests go; `path` stands before every target."""

    tls: bool
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


def parse_origin(url: str) -> Origin:
    """`http://host[:port][/path]` or https. UsageError `bad_url`."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        if not parts.hostname or parts.query or parts.fragment or parts.username is not None or not url.isprintable():
            raise ValueError
    except (ValueError, KeyError):
        raise UsageError("bad_url", "not an http or https URL of a host and a path", field="url") from None
    return Origin(parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/"))


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The server is verified by its name; TLS 1.2 or later."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def exchange(
    origin: Origin, request: HttpRequest, *, seconds: float = TIMEOUT, tls: ssl.SSLContext | None = None
) -> HttpResponse:
    """KmsError: `http_unreachable`, `http_timeout`, `http_tls`, `http_syntax`."""
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(origin, request, tls)
    except TimeoutError:
        raise KmsError("http_timeout", f"{origin.authority} gave no answer within {seconds:g} s") from None
    except ssl.SSLError:
        raise KmsError("http_tls", f"no TLS with {origin.authority}") from None
    except OSError as error:
        reason = error.strerror or "not reachable"
        raise KmsError("http_unreachable", f"{origin.authority}: {reason}") from None
    except h11.ProtocolError:
        raise KmsError("http_syntax", f"{origin.authority} does not speak HTTP/1.1 as it should") from None


async def _exchange(origin: Origin, request: HttpRequest, tls: ssl.SSLContext | None) -> HttpResponse:
    context = (tls or tls_context()) if origin.tls else None
    reader, writer = await asyncio.open_connection(origin.host, origin.port, ssl=context)
    try:
        connection = h11.Connection(h11.CLIENT)
        headers = {
            "Host": origin.authority,
            "Connection": "close",
            "Content-Length": str(len(request.body)),
            **request.headers,
        }
        head = h11.Request(method=request.method, target=origin.path + request.target, headers=list(headers.items()))
        writer.write((connection.send(head) or b"") + (connection.send(h11.Data(data=request.body)) or b""))
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return await _read(connection, reader)
    finally:
        # Not `close`, which waits for the server to end TLS, too: the answer is whole by now, or not wanted.
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def _read(connection: h11.Connection, reader: asyncio.StreamReader) -> HttpResponse:
    status, headers, body = 0, dict[str, str](), bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(16384))
        elif isinstance(event, h11.Response):
            status = event.status_code
            for name, value in event.headers:
                headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise KmsError("http_syntax", f"an answer of more than {MAX_BODY} octets")
        elif isinstance(event, h11.EndOfMessage):
            return HttpResponse(status, headers, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise KmsError("http_syntax", "the connection ended before the answer did")
