"""DTLS-SRTP handshakes with the `openssl` program, another version of the library than ours: both roles.

Its SRTP keys are its own exporter's output, and libsrtp opens with ours what was protected with its keys.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pylibsrtp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from support.channels import end, new_identity
from support.peers import LOOPBACK, PATIENCE, PeerError, Program, require

from ueagent.channel.channel import Kind, Role, SecureChannel, State
from ueagent.channel.credentials import Identity
from ueagent.model.keys import Secret
from ueagent.model.suites import suite_of_profile

LABEL = "EXTRACTOR-dtls_srtp"
PROFILES = {
    "SRTP_AES128_CM_SHA1_80": (0x0001, pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80),
    "SRTP_AEAD_AES_128_GCM": (0x0007, pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM),
    "SRTP_AEAD_AES_256_GCM": (0x0008, pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM),
}
RTP = bytes.fromhex("8000000100000000deadbeef") + bytes(160)


@pytest.fixture(autouse=True)
def _openssl() -> None:
    require("openssl")


def write_pem(identity: Identity, folder: Path) -> list[str]:
    """The options that give a program our kind of certificate."""
    own = identity.own[0]
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    pem = serialization.Encoding.PEM
    certificate.write_bytes(x509.load_der_x509_certificate(own.certificate).public_bytes(pem))
    private = serialization.load_der_private_key(own.private_key.reveal(), None)
    pkcs8, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(private.private_bytes(pem, pkcs8, bare))
    return ["-cert", str(certificate), "-key", str(key)]


def exporting(profile: str) -> list[str]:
    suite = suite_of_profile(PROFILES[profile][0])
    assert suite is not None
    length = str(2 * suite.key_salt_length)
    return ["-dtls1_2", "-use_srtp", profile, "-keymatexport", LABEL, "-keymatexportlen", length]


def keying_material(program: Program) -> bytes:
    line = program.wait_for("Keying material: ")
    return bytes.fromhex(line.split(b":")[1].strip().decode())


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


def check_keys(channel: SecureChannel, material: bytes, profile: str) -> None:
    """Same octets, and libsrtp with one end's opens what it protected with the other's."""
    number, libsrtp = PROFILES[profile]
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


@pytest.mark.interop("DTLS-SRTP", "client", "openssl")
@pytest.mark.parametrize("profile", PROFILES)
def test_our_client_and_s_server_agree_on_keys(profile: str, tmp_path: Path) -> None:
    """DTLS-11, DTLS-12, DTLS-14."""
    theirs = new_identity()
    argv = ["openssl", "s_server", "-accept", f"{LOOPBACK}:0", "-Verify", "1", "-listen", "-mtu", "1200"]
    with Program([*argv, *exporting(profile), *write_pem(theirs, tmp_path)]) as server, udp() as sock:
        accept = re.search(rb":(\d+)", server.wait_for("ACCEPT"))
        assert accept is not None
        ours = end(Role.CLIENT, profiles=(PROFILES[profile][0],))
        talk(ours, sock, (LOOPBACK, int(accept[1])))
        assert ours.peer_digest("sha-256") == theirs.own[0].fingerprint().digest
        check_keys(ours, keying_material(server), profile)


@pytest.mark.interop("DTLS-SRTP", "server", "openssl")
@pytest.mark.parametrize("profile", PROFILES)
def test_our_server_and_s_client_agree_on_keys(profile: str, tmp_path: Path) -> None:
    """DTLS-11, DTLS-12, DTLS-14, TLS-11, TLS-12."""
    theirs = new_identity()
    with udp() as sock:
        argv = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{sock.getsockname()[1]}", "-mtu", "1200"]
        with Program([*argv, *exporting(profile), *write_pem(theirs, tmp_path)]) as client:
            ours = end(Role.SERVER, profiles=(PROFILES[profile][0],))
            talk(ours, sock, None)
            assert ours.peer_digest("sha-256") == theirs.own[0].fingerprint().digest
            check_keys(ours, keying_material(client), profile)


@pytest.mark.interop("DTLS-SRTP", "server", "openssl")
def test_s_client_hears_why_it_is_refused(tmp_path: Path) -> None:
    """DTLS-8."""
    with udp() as sock:
        argv = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{sock.getsockname()[1]}"]
        options = exporting("SRTP_AEAD_AES_128_GCM")
        with Program([*argv, *options, *write_pem(new_identity(), tmp_path)]) as client:
            ours = end(Role.SERVER, profiles=(7,), verify=lambda certificate: False)
            refused = False
            to = None
            while not refused:
                datagram, to = sock.recvfrom(65536)
                try:
                    ours.feed(datagram, 0.0, repr(to).encode())
                except Exception:
                    refused = True
                for output in ours.take_output():
                    sock.sendto(output, to)
            client.wait_for("alert bad certificate")


@pytest.mark.interop("DTLS-SRTP", "server", "openssl")
def test_s_client_without_certificate_is_refused() -> None:
    """DTLS-7, TLS-11."""
    with udp() as sock:
        sock.settimeout(PATIENCE)
        argv = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{sock.getsockname()[1]}"]
        with Program([*argv, *exporting("SRTP_AEAD_AES_128_GCM")]):
            ours = end(Role.SERVER, profiles=(7,))
            with pytest.raises(Exception, match="no_certificate"):
                talk(ours, sock, None)
            assert ours.state is State.FAILED


@pytest.mark.interop("TLS", "server", "openssl")
def test_tls_1_3_with_s_client(tmp_path: Path) -> None:
    """TLS-1, TLS-3: the same channel over TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen(1)
        listener.settimeout(PATIENCE)
        argv = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{listener.getsockname()[1]}", "-quiet"]
        with Program([*argv, *write_pem(new_identity(), tmp_path)]) as client:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(PATIENCE)
                ours = end(Role.SERVER, Kind.STREAM)
                while ours.state is not State.OPEN:
                    ours.feed(sock.recv(4096), 0.0)
                    for output in ours.take_output():
                        sock.sendall(output)
                assert ours.version == "TLSv1.3"
                ours.send(b"greetings\n")
                for output in ours.take_output():
                    sock.sendall(output)
                client.wait_for("greetings")
                client.say(b"and to you\n")
                received: list[bytes] = []
                while not received:
                    received = ours.feed(sock.recv(4096), 0.0)
                assert received == [b"and to you\n"]
