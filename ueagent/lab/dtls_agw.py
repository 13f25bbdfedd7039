"""DTLS-SRTP of the access gateway, by pyOpenSSL: one handshake on one port of a stream (EDGE-11, EDGE-12, EDGE-16).

It shares no code with the agent's own channel and asks for no cookie, so that every lab call is an interop test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto

from ueagent.channel.records import pack_records, split_records
from ueagent.crypto.certificate import DIGESTS, SelfSigned, digest_of
from ueagent.lab.srtp_set import ParameterSet
from ueagent.model.keys import Secret
from ueagent.model.security import Fingerprint
from ueagent.model.suites import SUITES

GIVE_UP: Final = 15.0  # seconds for a handshake
MTU: Final = 1200
_LABEL: Final = b"EXTRACTOR-dtls_srtp"
_READ: Final = 1 << 16

# Suites in order of preference, and the library's names of their protection profiles (RFC 5764, RFC 7714).
PROFILES: Final = {
    "AEAD_AES_128_GCM": b"SRTP_AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM": b"SRTP_AEAD_AES_256_GCM",
    "AES_CM_128_HMAC_SHA1_80": b"SRTP_AES128_CM_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32": b"SRTP_AES128_CM_SHA1_32",
}


@dataclass(frozen=True, slots=True)
class DtlsOrder:
    """What the ALG says of a stream's association. Another order than the last one means another association.

    `client`: the gateway sends the ClientHello. `ids`: tls-id of the gateway and of the UE. `mux`: RTP and RTCP share
    the port of RTP on the access side, and the association (RFC 5761).
    """

    client: bool
    fingerprints: tuple[Fingerprint, ...]
    ids: tuple[str | None, str | None]
    mux: bool = False


class DtlsPort:
    """One association. `keyed` gets the parameter sets of what the UE sends and of what it gets, `failed` a reason.

    Exactly one of the two is called, once, unless `close` comes first.
    """

    def __init__(
        self,
        own: SelfSigned,
        order: DtlsOrder,
        suites: Sequence[str],
        send: Callable[[bytes], None],
        keyed: Callable[[ParameterSet, ParameterSet], None],
        failed: Callable[[str], None],
    ) -> None:
        self.order = order
        self._send = send
        self._keyed = keyed
        self._failed = failed
        self._waiting = True
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._limit = self._loop.call_later(GIVE_UP, self._fail, "no DTLS handshake in time")
        self._connection = SSL.Connection(context_of(own, order.fingerprints, suites, SSL.DTLS_METHOD))
        self._connection.set_ciphertext_mtu(MTU)
        if order.client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    def start(self) -> None:
        """A client's first flight."""
        if self.order.client:
            self._step()

    def feed(self, datagram: bytes) -> None:
        self._connection.bio_write(datagram)
        self._step()

    def close(self) -> None:
        self._waiting = False
        self._limit.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _step(self) -> None:
        try:
            if self._waiting:
                self._connection.do_handshake()
            else:
                while True:
                    self._received(self._connection.recv(_READ))
        except SSL.WantReadError:
            self._flush()
            return
        except SSL.Error as error:
            self._flush()
            self._fail(reason_of(error))
            return
        self._flush()
        if self._waiting:
            self._finish()

    def _received(self, data: bytes) -> None:
        """SRTP has nothing to say here: only a repeated flight is expected, and answered."""

    def _finish(self) -> None:
        name = self._connection.get_selected_srtp_profile()
        suite = next((suite for suite, profile in PROFILES.items() if profile == name), None)
        if suite is None:
            self._fail("no common protection profile")
            return
        self.close()
        self._keyed(*self._cut(suite))

    def _cut(self, suite: str) -> tuple[ParameterSet, ParameterSet]:
        """RFC 5764, 4.2: client's key, server's key, client's salt, server's salt."""
        row = SUITES[suite]
        k, s = row.key_length, row.salt_length
        octets = self._connection.export_keying_material(_LABEL, 2 * (k + s))
        client = ParameterSet(suite, Secret(octets[:k] + octets[2 * k : 2 * k + s]))
        server = ParameterSet(suite, Secret(octets[k : 2 * k] + octets[2 * k + s :]))
        return (server, client) if self.order.client else (client, server)

    def _flush(self) -> None:
        pieces = []
        while True:
            try:
                pieces.append(self._connection.bio_read(_READ))
            except SSL.Error:
                break
        for datagram in pack_records(split_records(b"".join(pieces)), MTU):
            self._send(datagram)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait = self._connection.DTLSv1_get_timeout() if self._waiting else None
        self._timer = None if wait is None else self._loop.call_later(wait, self._expired)

    def _expired(self) -> None:
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self._fail(reason_of(error))
            return
        self._flush()

    def _fail(self, reason: str) -> None:
        if self._waiting:
            self.close()
            self._failed(reason)


def context_of(
    own: SelfSigned, fingerprints: tuple[Fingerprint, ...], suites: Sequence[str] = (), method: int = SSL.TLS_METHOD
) -> SSL.Context:
    """`suites` are those of SRTP. The UE must show a certificate with one of `fingerprints`."""
    context = SSL.Context(method)
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET)
    context.set_cipher_list(b"ECDHE+AESGCM")
    context.use_certificate(x509.load_der_x509_certificate(own.certificate))
    key = serialization.load_der_private_key(own.private_key.reveal(), None)
    context.use_privatekey(key)  # type: ignore[arg-type]  # ECDSA, as it was made
    if suites:
        context.set_tlsext_use_srtp(b":".join(profile for suite, profile in PROFILES.items() if suite in suites))

    def matches(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        octets = certificate.to_cryptography().public_bytes(serialization.Encoding.DER)
        return any(one.hash in DIGESTS and digest_of(octets, one.hash) == one.digest for one in fingerprints)

    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, matches)
    return context


def reason_of(error: SSL.Error) -> str:
    reasons = [part[2] for part in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    return next((str(word) for word in reasons if word), "closed by the UE")
