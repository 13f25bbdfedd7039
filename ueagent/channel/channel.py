"""One secure channel: TLS or DTLS, either role, by certificate or pre-shared key, over memory buffers.

    feed(octets from the peer) -> plaintext          send(plaintext)          take_output() -> octets for the peer

The profile of section 17 holds for all of them (TLS-1..13): versions, suites, groups, signatures; no compression, no
renegotiation, no resumption, no early data; the peer's certificate is required. A DTLS server asks for a cookie before
it remembers anybody (TLS-12; RFC 6347, 4.2.1). The library keeps its own time and randomness: `next_timeout` says when
it wants `handle_timeout`. A handshake step costs well below a millisecond, so it may run in an event loop.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final
from weakref import ref

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL, crypto

from ueagent.channel import psk, records
from ueagent.channel.credentials import CertificateCredentials, Credentials, Identity, PskCredentials
from ueagent.channel.library import (
    Verifier,
    check_library,
    export,
    has_extended_master_secret,
    lib,
    restrict,
    set_dhe_group,
    waiting_output,
)
from ueagent.crypto.certificate import digest_of
from ueagent.errors import AuthenticationFailed, PeerError
from ueagent.model.keys import Secret

MTU: Final = 1200  # octets of a UDP payload; DTLS-29
MAX_READ: Final = 1 << 16
RSA_BITS: Final = (2048, 4096)  # TLS-10
CURVES: Final = ("secp256r1", "secp384r1")

_DTLS_1_2: Final = 0xFEFD
_CIPHERS: Final = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"  # TLS-5
)
_DHE_RSA: Final = b":DHE-RSA-AES128-GCM-SHA256"
_LEVEL: Final = b":@SECLEVEL=2"

# RFC 5764, 4.1.2 and RFC 7714, 14.2: what the library calls them.
SRTP_PROFILES: Final = MappingProxyType(
    {
        0x0001: b"SRTP_AES128_CM_SHA1_80",
        0x0002: b"SRTP_AES128_CM_SHA1_32",
        0x0007: b"SRTP_AEAD_AES_128_GCM",
        0x0008: b"SRTP_AEAD_AES_256_GCM",
    }
)


class Kind(Enum):
    STREAM = "TLS"
    DATAGRAM = "DTLS"


class Role(Enum):
    CLIENT = "client"
    SERVER = "server"


class State(Enum):
    LISTENING = "listening"  # a DTLS server that nobody has shown a cookie
    HANDSHAKE = "handshake"
    OPEN = "open"
    FAILED = "failed"
    CLOSED = "closed"


def warm_up(identity: Identity) -> None:
    """Load what the library loads at its first handshake, which takes milliseconds: for a worker thread.

    ResourceError: the installed library lacks something.
    """
    credentials = CertificateCredentials(identity, lambda certificate: False)
    _context_for(credentials, _Settings(Kind.DATAGRAM, (), dhe_rsa=False, listening=False))


@dataclass(frozen=True, slots=True)
class _Settings:
    """What makes contexts differ."""

    kind: Kind
    srtp_profiles: tuple[int, ...]
    dhe_rsa: bool
    listening: bool


class SecureChannel:
    """`srtp_profiles` in order of preference, all in SRTP_PROFILES. `dhe_rsa` allows one more suite (T38-8).

    `cookie_key` is what a DTLS server signs cookies with; without one it takes any ClientHello.
    """

    def __init__(
        self,
        kind: Kind,
        role: Role,
        credentials: Credentials,
        *,
        srtp_profiles: tuple[int, ...] = (),
        mtu: int = MTU,
        cookie_key: Secret | None = None,
        dhe_rsa: bool = False,
    ) -> None:
        self.kind = kind
        self.role = role
        self._credentials = credentials
        self._mtu = mtu
        self._cookie_key = cookie_key
        self._source = b""
        self._refused: str | None = None
        self._spoken = False  # plaintext of ours has left: what waits may be more than a handshake's flight
        self._peer: bytes | None = None
        listening = kind is Kind.DATAGRAM and role is Role.SERVER and cookie_key is not None
        made = _context_for(credentials, _Settings(kind, srtp_profiles, dhe_rsa, listening))
        self._context, self._book, self._verifier = made.context, made.book, made.verifier
        self._state = State.LISTENING if listening else State.HANDSHAKE
        self._open_connection()

    def _open_connection(self) -> None:
        self._connection = SSL.Connection(self._context)
        self._connection.set_app_data(ref(self))  # weak, so that the library's keys go with the channel, at once
        if self.kind is Kind.DATAGRAM:
            self._connection.set_ciphertext_mtu(self._mtu)
        if self._book is not None and isinstance(self._credentials, PskCredentials):
            self._book.add(self._connection, self._credentials)
        if self.role is Role.SERVER:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()

    # ------------------------------------------------------------------------------------------------- traffic --

    @property
    def state(self) -> State:
        return self._state

    def start(self, now: float) -> None:
        """A client's first flight goes to the output; a server waits."""
        if self.role is Role.CLIENT and self._state is State.HANDSHAKE:
            self._handshake()

    def feed(self, data: bytes, now: float, source: bytes = b"") -> list[bytes]:
        """Take what came from the peer, one datagram or any part of a stream: the plaintext in it, record by record.

        `source` is where a datagram came from, for cookies. Output may be due afterwards, also when this raises:
        AuthenticationFailed for a peer that is not the right one, PeerError for a handshake that failed otherwise.
        Datagrams that make no sense are dropped.
        """
        if not data or self._state in (State.FAILED, State.CLOSED):
            return []
        self._connection.bio_write(data)
        if self._state is State.LISTENING and not self._listen(source):
            return []
        if self._state is State.HANDSHAKE:
            self._handshake()
        return self._read() if self._state is State.OPEN else []

    def send(self, data: bytes) -> None:
        """Plaintext for the peer; of a datagram channel one record in one datagram. ValueError before OPEN."""
        if self._state is not State.OPEN:
            raise ValueError(f"the channel is {self._state.value}")
        self._spoken = True
        self._connection.sendall(data)

    def take_output(self) -> list[bytes]:
        """What has to go to the peer: datagrams of at most the MTU, or pieces of a stream."""
        waiting = waiting_output(self._connection)
        if not waiting:
            return []
        data = self._connection.bio_read(waiting)
        if self.kind is Kind.STREAM:
            return [data]
        if self._state is State.LISTENING:
            # The library repeats the hello's number here and later begins with 1: after a repeated hello its next
            # flight would look like a replay. A client that has one HelloVerifyRequest needs no other.
            return [records.first_of_its_epoch(record) for record in records.split_records(data)]
        if len(data) <= self._mtu and not self._spoken:
            return [data]
        return records.pack_records(records.split_records(data), self._mtu)

    def next_timeout(self) -> float | None:
        """Seconds from now until `handle_timeout` is due; None: nothing is waited for."""
        if self.kind is Kind.STREAM or self._state in (State.LISTENING, State.FAILED, State.CLOSED):
            return None
        return self._connection.DTLSv1_get_timeout()

    def handle_timeout(self) -> None:
        """Retransmit what is due (RFC 6347, 4.2.4). Early calls do nothing. PeerError: retransmitted often enough."""
        if self.next_timeout() is None:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            raise self._failed(error) from None

    def finish(self) -> None:
        """We send no more, and what comes is still read: close_notify in the output (RFC 8446, 6.1)."""
        if self._state is State.OPEN and not self._connection.get_shutdown() & SSL.SENT_SHUTDOWN:
            self._connection.shutdown()

    def close(self) -> None:
        """Say goodbye (close_notify in the output) and forget the keys. Idempotent."""
        if self._state in (State.HANDSHAKE, State.OPEN):
            try:
                self._connection.shutdown()
            except SSL.Error:
                pass  # it was not open
        self._state = State.CLOSED if self._state is not State.FAILED else self._state
        if self._book is not None:
            self._book.remove(self._connection)

    @property
    def peer_closed(self) -> bool:
        """The peer's close_notify came: it sends no more."""
        return bool(self._connection.get_shutdown() & SSL.RECEIVED_SHUTDOWN)

    # ------------------------------------------------------------------------------------------------ what holds --

    def export_key(self, label: str, length: int) -> Secret:
        """RFC 5705 keying material without context. ValueError before OPEN."""
        if self._state is not State.OPEN:
            raise ValueError(f"the channel is {self._state.value}")
        return export(self._connection, label.encode("ascii"), length)

    def peer_digest(self, hash_name: str) -> bytes | None:
        """The digest of the peer's certificate; None while there is none. KeyError: an unknown hash."""
        return None if self._peer is None else digest_of(self._peer, hash_name)

    @property
    def peer_certificate(self) -> bytes | None:
        """DER, None while there is none."""
        return self._peer

    @property
    def srtp_profile(self) -> int | None:
        """The protection profile both sides agreed on (RFC 5764, 4.1.1)."""
        name = self._connection.get_selected_srtp_profile()
        return next((number for number, known in SRTP_PROFILES.items() if known == name), None)

    @property
    def version(self) -> str:
        return self._connection.get_protocol_version_name()

    @property
    def cipher(self) -> str | None:
        return self._connection.get_cipher_name()

    @property
    def extended_master_secret(self) -> bool:
        return has_extended_master_secret(self._connection)

    def __repr__(self) -> str:
        return f"<SecureChannel {self.kind.value} {self.role.value}, {self._state.value}>"

    # ------------------------------------------------------------------------------------------------- the library --

    def _listen(self, source: bytes) -> bool:
        """Whether a ClientHello with our cookie for `source` came. Nothing is remembered of what has none."""
        self._source = source
        try:
            self._connection.DTLSv1_listen()
        except SSL.WantReadError:
            return False
        except SSL.Error:
            self._open_connection()  # whatever this was, nothing of it stays
            return False
        self._state = State.HANDSHAKE
        return True

    def _handshake(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise self._failed(error) from None
        self._state = State.OPEN

    def _read(self) -> list[bytes]:
        received: list[bytes] = []
        while True:
            try:
                received.append(self._connection.recv(MAX_READ))
            except (SSL.WantReadError, SSL.ZeroReturnError):
                return received
            except SSL.Error as error:
                raise self._failed(error) from None

    def _failed(self, error: SSL.Error) -> PeerError:
        self._state = State.FAILED
        if self._verifier is not None:
            self._verifier.raise_problem()
        if self._book is not None:
            self._book.remove(self._connection)
        if self._refused is not None:
            return AuthenticationFailed(self._refused, _REFUSALS[self._refused])
        reasons = [part[2] for part in error.args[0]] if error.args and isinstance(error.args[0], list) else []
        reason = next((str(word) for word in reasons if word), "closed by the peer")
        if reason == "peer did not return a certificate":
            return AuthenticationFailed("no_certificate", "the peer has shown no certificate")
        return PeerError("handshake_failed", f"{self.kind.value} as {self.role.value}: {reason}")

    def _judge(self, load: Callable[[], crypto.X509]) -> bool:
        """The peer's own certificate, in the middle of the handshake; once."""
        if self._peer is None and self._refused is None:
            self._peer, self._refused = self._looked_at(load())
        return self._refused is None

    def _looked_at(self, certificate: crypto.X509) -> tuple[bytes | None, str | None]:
        """The octets of a certificate that may be the peer's, or why it may not."""
        assert isinstance(self._credentials, CertificateCredentials)
        octets = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        try:
            if not _key_acceptable(x509.load_der_x509_certificate(octets)):
                return None, "weak_certificate"
        except _UNREADABLE:
            return None, "weak_certificate"
        return (octets, None) if self._credentials.verify(octets) else (None, "fingerprint_mismatch")

    def _cookie(self) -> bytes:
        assert self._cookie_key is not None
        return hmac.digest(self._cookie_key.reveal(), self._source, "sha256")


_REFUSALS: Final = MappingProxyType(
    {
        "fingerprint_mismatch": "the peer's certificate does not have a fingerprint that was signalled",
        "weak_certificate": "the peer's certificate has a key that the profile does not allow",
    }
)
_UNREADABLE: Final = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion)  # of a certificate that is not well made


# ---------------------------------------------------------------------------------------------------------- contexts --


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """A context and what the library calls into while it lives."""

    context: SSL.Context
    book: psk.PskBook | None = None
    verifier: Verifier | None = None


def _context_for(credentials: Credentials, settings: _Settings) -> _Made:
    if isinstance(credentials, PskCredentials):
        if not 0 < len(credentials.identity) <= psk.MAX_IDENTITY or b"\0" in credentials.identity:
            raise ValueError(f"a PSK identity has 1 to {psk.MAX_IDENTITY} octets, none of them NUL")
        context = _bare_context(settings)
        context.set_max_proto_version(_DTLS_1_2 if settings.kind is Kind.DATAGRAM else SSL.TLS1_2_VERSION)
        context.set_cipher_list(psk.CIPHERS + (psk.PLAIN_CIPHERS if credentials.plain else b"") + _LEVEL)
        set_dhe_group(context)
        return _Made(context, book=psk.PskBook(context))
    own = credentials.identity.own

    def build() -> _Made:
        context = _bare_context(settings)
        context.set_cipher_list(_CIPHERS + (_DHE_RSA if settings.dhe_rsa else b"") + _LEVEL)
        if settings.dhe_rsa:
            set_dhe_group(context)
        for certificate in own:
            context.use_certificate(x509.load_der_x509_certificate(certificate.certificate))
            key = serialization.load_der_private_key(certificate.private_key.reveal(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
            context.use_privatekey(key)
        return _Made(context, verifier=Verifier(context, _judge))

    made = credentials.identity.context(settings, build)
    assert isinstance(made, _Made)
    return made


def _bare_context(settings: _Settings) -> SSL.Context:
    check_library()
    context = SSL.Context(SSL.DTLS_METHOD if settings.kind is Kind.DATAGRAM else SSL.TLS_METHOD)
    if settings.kind is Kind.DATAGRAM:
        context.set_min_proto_version(_DTLS_1_2)
        context.set_max_proto_version(_DTLS_1_2)  # TLS-2
    else:
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(SSL.TLS1_3_VERSION)
        context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384")
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    restrict(context)
    if settings.srtp_profiles:
        context.set_tlsext_use_srtp(b":".join(SRTP_PROFILES[number] for number in settings.srtp_profiles))
    if settings.listening:
        context.set_options(lib.SSL_OP_COOKIE_EXCHANGE)
        context.set_cookie_generate_callback(lambda connection: _channel_of(connection)._cookie())
        context.set_cookie_verify_callback(
            lambda connection, cookie: hmac.compare_digest(cookie, _channel_of(connection)._cookie())
        )
    return context


def _channel_of(connection: SSL.Connection) -> SecureChannel:
    found = connection.get_app_data()()
    assert isinstance(found, SecureChannel)
    return found


def _judge(connection: SSL.Connection, load: Callable[[], crypto.X509]) -> bool:
    return _channel_of(connection)._judge(load)


def _key_acceptable(certificate: x509.Certificate) -> bool:
    """TLS-10."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return RSA_BITS[0] <= key.key_size <= RSA_BITS[1]
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES
