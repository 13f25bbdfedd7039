"""DTLS-SRTP handshakes with GnuTLS, a TLS library of other people: both roles.

Its tools know no AEAD profile (3.7). `gnutls-serv` tells nothing of a DTLS session, so there the echo of what the
channel carries is what shows that both ends agree.
"""

from __future__ import annotations

import select
from pathlib import Path

import pytest
from support.channels import end, new_identity
from support.handshakes import LABEL, check_keys, talk, udp, write_pem
from support.peers import LOOPBACK, PATIENCE, Program, require, udp_port_pair

from ueagent.channel.channel import Role

CM80 = 0x0001
PROFILE = "SRTP_AES128_CM_HMAC_SHA1_80"


@pytest.fixture(autouse=True)
def _gnutls() -> None:
    require("gnutls")


def options(folder: Path) -> list[str]:
    certificate, key = write_pem(new_identity(), folder)
    return ["--udp", "--mtu=1200", f"--srtp-profiles={PROFILE}", "--x509certfile", certificate, "--x509keyfile", key]


@pytest.mark.interop("DTLS-SRTP", "server", "gnutls")
def test_our_server_and_gnutls_cli_agree_on_keys(tmp_path: Path) -> None:
    """DTLS-11, DTLS-14, TLS-11, TLS-12."""
    with udp() as sock:
        export = ["--insecure", f"--keymatexport={LABEL}", "--keymatexportsize=60"]
        argv = ["gnutls-cli", *options(tmp_path), *export, "-p", str(sock.getsockname()[1]), LOOPBACK]
        with Program(argv) as client:
            ours = end(Role.SERVER, profiles=(CM80,))
            talk(ours, sock, None)
            assert PROFILE.encode() in client.wait_for("SRTP profile")
            check_keys(ours, bytes.fromhex(client.wait_for("Key material").split(b":")[1].decode()), CM80)


@pytest.mark.interop("DTLS-SRTP", "client", "gnutls")
def test_our_client_and_gnutls_serv_agree_on_a_profile(tmp_path: Path) -> None:
    """DTLS-10, TLS-11: it demands our certificate, echoes the profile, and what is sent."""
    port, _ = udp_port_pair()
    argv = ["gnutls-serv", *options(tmp_path), "--require-client-cert", "--echo", "-p", str(port)]
    with Program(argv) as server, udp() as sock:
        server.wait_for("UDP Echo Server listening on IPv4")
        ours = end(Role.CLIENT, profiles=(CM80,))
        talk(ours, sock, (LOOPBACK, port))
        assert ours.srtp_profile == CM80
        ours.send(b"do you hear me?\n")
        for datagram in ours.take_output():
            sock.sendto(datagram, (LOOPBACK, port))
        echoed: list[bytes] = []
        while not echoed:
            assert select.select([sock], [], [], PATIENCE)[0]
            echoed = ours.feed(sock.recv(4096), 0.0, b"server")
        assert echoed == [b"do you hear me?\n"]
