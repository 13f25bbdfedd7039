"""Pre-shared keys for TLS 1.2 and DTLS 1.2 (RFC 4279, RFC 5487): the callbacks that pyOpenSSL does not expose.

The callbacks find the channel's credentials by the library's own connection object, so one function serves all.
"""

from __future__ import annotations

import hmac
from typing import Any, Final

from OpenSSL import SSL

from ueagent.channel.credentials import PskCredentials
from ueagent.channel.library import ffi, lib, native

MAX_IDENTITY: Final = 128  # octets; what the library stores
# KMS-84. The library has no ECDHE-PSK suite with GCM.
CIPHERS: Final = b"DHE-PSK-AES128-GCM-SHA256:DHE-PSK-AES256-GCM-SHA384"
PLAIN_CIPHERS: Final = b":PSK-AES128-GCM-SHA256:PSK-AES256-GCM-SHA384"  # no forward secrecy: by switch

_Tables = dict[Any, PskCredentials]


class PskBook:
    """Credentials by connection of one context. Keep it as long as the context: the library calls into it."""

    def __init__(self, context: SSL.Context) -> None:
        self._known: _Tables = {}
        self._client = ffi.callback(
            "unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)", self._as_client
        )
        self._server = ffi.callback("unsigned int(SSL *, const char *, unsigned char *, unsigned int)", self._as_server)
        lib.SSL_CTX_set_psk_client_callback(native(context), self._client)
        lib.SSL_CTX_set_psk_server_callback(native(context), self._server)

    def add(self, connection: SSL.Connection, credentials: PskCredentials) -> None:
        self._known[connection._ssl] = credentials

    def remove(self, connection: SSL.Connection) -> None:
        self._known.pop(connection._ssl, None)

    def _as_client(self, ssl: Any, hint: Any, identity: Any, room: int, key: Any, key_room: int) -> int:
        """The length of our key, which is put where the library wants it; 0 ends the handshake."""
        found = self._known.get(ssl)
        if found is None or len(found.identity) >= room or len(found.key) > key_room:
            return 0
        ffi.memmove(identity, found.identity + b"\0", len(found.identity) + 1)
        ffi.memmove(key, found.key.reveal(), len(found.key))
        return len(found.key)

    def _as_server(self, ssl: Any, identity: Any, key: Any, key_room: int) -> int:
        found = self._known.get(ssl)
        if found is None or len(found.key) > key_room:
            return 0
        if not hmac.compare_digest(ffi.string(identity, MAX_IDENTITY), found.identity):
            return 0
        ffi.memmove(key, found.key.reveal(), len(found.key))
        return len(found.key)
