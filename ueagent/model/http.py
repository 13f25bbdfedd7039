"""HTTP messages as values: what protocol code asks for and gets, without sockets. RFC 9110."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`target` is path and query. Host and Content-Length belong to whoever sends it."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # Authorization may be among them
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Names of headers are in lower case; of several fields with one name the first counts."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
