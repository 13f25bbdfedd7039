"""DTLS-SRTP handshakes with the `openssl` program, another version of the library than ours: both roles.

Its SRTP keys are its own exporter's output, and libsrtp opens with ours what was protected with its keys.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from support.channels import end, new_identity
from support.handshakes import LABEL, check_keys, talk, udp, write_pem
from support.peers import LOOPBACK, PATIENCE, Program, require

from ueagent.channel.channel import Kind, Role, State
from ueagent.channel.credentials import Identity
from ueagent.model.suites import suite_of_profile

PROFILES = {"SRTP_AES128_CM_SHA1_80": 0x0001, "SRTP_AEAD_AES_128_GCM": 0x0007, "SRTP_AEAD_AES_256_GCM": 0x0008}


@pytest.fixture(autouse=True)
def _openssl() -> None:
    require("openssl")


def certificate_options(identity: Identity, folder: Path) -> list[str]:
    certificate, key = write_pem(identity, folder)
    return ["-cert", certificate, "-key", key]


def exporting(profile: str) -> list[str]:
    suite = suite_of_profile(PROFILES[profile])
    assert suite is not None
    length = str(2 * suite.key_salt_length)
    return ["-dtls1_2", "-use_srtp", profile, "-keymatexport", LABEL, "-keymatexportlen", length]


def keying_material(program: Program) -> bytes:
    line = program.wait_for("Keying material: ")
    return bytes.fromhex(line.split(b":")[1].strip().decode())


@pytest.mark.interop("DTLS-SRTP", "client", "openssl")
@pytest.mark.parametrize("profile", PROFILES)
def test_our_client_and_s_server_agree_on_keys(profile: str, tmp_path: Path) -> None:
    """DTLS-11, DTLS-12, DTLS-14."""
    theirs = new_identity()
    argv = ["openssl", "s_server", "-accept", f"{LOOPBACK}:0", "-Verify", "1", "-listen", "-mtu", "1200"]
    with Program([*argv, *exporting(profile), *certificate_options(theirs, tmp_path)]) as server, udp() as sock:
        accept = re.search(rb":(\d+)", server.wait_for("ACCEPT"))
        assert accept is not None
        ours = end(Role.CLIENT, profiles=(PROFILES[profile],))
        talk(ours, sock, (LOOPBACK, int(accept[1])))
        assert ours.peer_digest("sha-256") == theirs.own[0].fingerprint().digest
        check_keys(ours, keying_material(server), PROFILES[profile])


@pytest.mark.interop("DTLS-SRTP", "server", "openssl")
@pytest.mark.parametrize("profile", PROFILES)
def test_our_server_and_s_client_agree_on_keys(profile: str, tmp_path: Path) -> None:
    """DTLS-11, DTLS-12, DTLS-14, TLS-11, TLS-12."""
    theirs = new_identity()
    with udp() as sock:
        argv = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{sock.getsockname()[1]}", "-mtu", "1200"]
        with Program([*argv, *exporting(profile), *certificate_options(theirs, tmp_path)]) as client:
            ours = end(Role.SERVER, profiles=(PROFILES[profile],))
            talk(ours, sock, None)
            assert ours.peer_digest("sha-256") == theirs.own[0].fingerprint().digest
            check_keys(ours, keying_material(client), PROFILES[profile])


@pytest.mark.interop("DTLS-SRTP", "server", "openssl")
def test_s_client_hears_why_it_is_refused(tmp_path: Path) -> None:
    """DTLS-8."""
    with udp() as sock:
        argv = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{sock.getsockname()[1]}"]
        options = exporting("SRTP_AEAD_AES_128_GCM")
        with Program([*argv, *options, *certificate_options(new_identity(), tmp_path)]) as client:
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
        with Program([*argv, *certificate_options(new_identity(), tmp_path)]) as client:
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
