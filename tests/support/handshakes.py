"""DTLS handshakes of our channel with a program, over a socket, and whether both have the same SRTP keys."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pylibsrtp
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from support.peers import LOOPBACK, PATIENCE, PeerError

from ueagent.channel.channel import SecureChannel, State
from ueagent.channel.credentials import Identity
from ueagent.model.keys import Secret
from ueagent.model.suites import suite_of_profile

LABEL = "EXTRACTOR-dtls_srtp"
LIBSRTP = {
    0x0001: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    0x0007: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    0x0008: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
RTP = bytes.fromhex("8000000100000000deadbeef") + bytes(160)


def write_pem(identity: Identity, folder: Path) -> tuple[str, str]:
    """Names of files with our kind of certificate and its key, as programs want them."""
    own = identity.own[0]
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    pem = serialization.Encoding.PEM
    certificate.write_bytes(x509.load_der_x509_certificate(own.certificate).public_bytes(pem))
    private = serialization.load_der_private_key(own.private_key.reveal(), None)
    pkcs8, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(private.private_bytes(pem, pkcs8, bare))
    return str(certificate), str(key)


def talk(channel: SecureChannel, sock: socket.socket, to: tuple[str, int] | None) -> tuple[str, int]:
    """The handshake over a socket, with its timers: until it is open. The address of the other end."""
    deadline = time.monotonic() + PATIENCE
    channel.start(0.0)
    while True:
        for datagram in channel.take_output():
            assert to is not None
            sock.sendto(datagram, to)
        if channel.state is State.OPEN:
            assert to is not None
            return to
        wait = channel.next_timeout()
        if select.select([sock], [], [], min(1.0, wait or 1.0))[0]:
            datagram, to = sock.recvfrom(65536)
            channel.feed(datagram, 0.0, repr(to).encode())
        else:
            channel.handle_timeout()
        if time.monotonic() > deadline:
            raise PeerError("no handshake in time")


@contextmanager
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        yield sock


def cut(channel: SecureChannel, profile: int) -> tuple[bytes, bytes]:
    """RFC 5764, 4.2: key and salt of the client's side, and of the server's."""
    suite = suite_of_profile(profile)
    assert suite is not None
    secret = channel.export_key(LABEL, 2 * suite.key_salt_length)
    octets = bytes(secret.reveal())  # before it goes: a Secret that nobody holds is zeros
    k, s = suite.key_length, suite.salt_length
    return octets[:k] + octets[2 * k : 2 * k + s], octets[k : 2 * k] + octets[2 * k + s :]


def check_keys(channel: SecureChannel, material: bytes, number: int) -> None:
    """Same octets, and libsrtp with one end's opens what it protected with the other's."""
    libsrtp = LIBSRTP[number]
    assert channel.srtp_profile == number
    suite = suite_of_profile(number)
    assert suite is not None
    assert channel.export_key(LABEL, 2 * suite.key_salt_length) == Secret(material)
    k, s = suite.key_length, suite.salt_length
    theirs = material[:k] + material[2 * k : 2 * k + s]
    sender = pylibsrtp.Session(pylibsrtp.Policy(theirs, pylibsrtp.Policy.SSRC_ANY_OUTBOUND, 0, libsrtp))
    ours = cut(channel, number)[0]
    receiver = pylibsrtp.Session(pylibsrtp.Policy(ours, pylibsrtp.Policy.SSRC_ANY_INBOUND, 0, libsrtp))
    assert receiver.unprotect(sender.protect(RTP)) == RTP
