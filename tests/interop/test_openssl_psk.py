"""TLS-PSK with the key of a MIKEY-TICKET call, against the `openssl` program: both roles. KMS-80 to KMS-85."""

from __future__ import annotations

import re
import socket

import pytest
from support.mikey_world import MIXED, RCC, TLS, World
from support.peers import LOOPBACK, PATIENCE, Program, require

from ueagent.channel.channel import Kind, Role, SecureChannel, State
from ueagent.channel.credentials import PskCredentials
from ueagent.errors import PeerError
from ueagent.keymgmt.tls_psk import credentials_of

SUITES = ("DHE-PSK-AES128-GCM-SHA256", "DHE-PSK-AES256-GCM-SHA384")


@pytest.fixture(autouse=True)
def _openssl() -> None:
    require("openssl")


@pytest.fixture(scope="module")
def key() -> PskCredentials:
    """Of the MSRP line of a call with audio and MSRP."""
    return credentials_of(World().call(MIXED, (RCC, TLS))[0], 3)


def options(key: PskCredentials, suite: str) -> list[str]:
    known = ["-psk", key.key.reveal().hex(), "-psk_identity", key.identity.decode()]
    return [*known, "-tls1_2", "-cipher", suite, "-quiet"]


def talk(ours: SecureChannel, sock: socket.socket, peer: Program) -> None:
    """A handshake and a line each way."""
    sock.settimeout(PATIENCE)
    received: list[bytes] = []

    def flush() -> None:
        for output in ours.take_output():
            sock.sendall(output)

    flush()
    while ours.state is not State.OPEN:
        received += ours.feed(sock.recv(4096), 0.0)
        flush()
    ours.send(b"MSRP 1 SEND\n")
    flush()
    peer.wait_for("MSRP 1 SEND")
    peer.say(b"MSRP 1 200 OK\n")
    while not received:
        received += ours.feed(sock.recv(4096), 0.0)
    assert b"".join(received) == b"MSRP 1 200 OK\n"


@pytest.mark.interop("TLS-PSK", "client", "openssl")
@pytest.mark.parametrize("suite", SUITES)
def test_our_client_talks_to_s_server_with_the_key_of_a_call(key: PskCredentials, suite: str) -> None:
    """KMS-80, KMS-81, KMS-83, KMS-84."""
    argv = ["openssl", "s_server", "-accept", f"{LOOPBACK}:0", "-nocert", *options(key, suite)]
    with Program([word for word in argv if word != "-quiet"]) as server:
        accept = re.search(rb":(\d+)", server.wait_for("ACCEPT"))
        assert accept is not None
        with socket.create_connection((LOOPBACK, int(accept[1])), PATIENCE) as sock:
            ours = SecureChannel(Kind.STREAM, Role.CLIENT, key)
            ours.start(0.0)
            talk(ours, sock, server)
            assert ours.cipher == suite


@pytest.mark.interop("TLS-PSK", "server", "openssl")
@pytest.mark.parametrize("suite", SUITES)
def test_our_server_talks_to_s_client_with_the_key_of_a_call(key: PskCredentials, suite: str) -> None:
    """KMS-80, KMS-81, KMS-83, KMS-84."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(PATIENCE)
        argv = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{listener.getsockname()[1]}"]
        with Program([*argv, *options(key, suite)]) as client:
            sock, _ = listener.accept()
            with sock:
                ours = SecureChannel(Kind.STREAM, Role.SERVER, key)
                talk(ours, sock, client)
                assert ours.cipher == suite


@pytest.mark.interop("TLS-PSK", "server", "openssl")
def test_s_client_with_another_key_is_refused(key: PskCredentials) -> None:
    """KMS-86: closed, and no fallback to a suite without the key."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(PATIENCE)
        argv = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{listener.getsockname()[1]}", "-tls1_2"]
        wrong = ["-psk", "5a" * 32, "-psk_identity", key.identity.decode(), "-cipher", SUITES[0]]
        with Program([*argv, *wrong]) as client:
            sock, _ = listener.accept()
            with sock, pytest.raises(PeerError, match="handshake_failed"):
                talk(SecureChannel(Kind.STREAM, Role.SERVER, key), sock, client)
