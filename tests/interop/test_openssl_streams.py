"""TLS streams and T.38 over DTLS against `openssl s_client` and `s_server`, with their own certificates, both roles."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from support.channels import ALICE, BORN
from support.peers import Program, require
from support.stream_rig import LOOPBACK, SOON, Rig, terms

from ueagent.channel.credentials import Identity
from ueagent.crypto.certificate import create_self_signed
from ueagent.daemon.datagram_pump import DatagramPump
from ueagent.errors import AuthenticationFailed, PeerError
from ueagent.keymgmt.dtls_association import Means
from ueagent.model.media import Place
from ueagent.model.security import ChannelTerms

KINDS = pytest.mark.parametrize("kind", ["ecdsa-p256", "rsa-3072"])
FORCED = pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])


@pytest.fixture(autouse=True)
def _openssl() -> None:
    require("openssl")


class Foreign:
    """A certificate of openssl's side, in files."""

    def __init__(self, folder: Path, kind: str = "ecdsa-p256") -> None:
        own = create_self_signed(BORN, os.urandom, kind)
        self.identity = Identity(own)
        certificate = x509.load_der_x509_certificate(own.certificate)
        key = serialization.load_der_private_key(own.private_key.reveal(), None)
        self.files = folder / "cert.pem", folder / "key.pem"
        self.files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.files_only = ["-cert", str(self.files[0]), "-key", str(self.files[1])]
        self.options = [*self.files_only, "-quiet"]


@pytest.fixture
def foreign(tmp_path: Path) -> Foreign:
    return Foreign(tmp_path)


def agreed(foreign: Foreign, peer: Place | None, *, opens: bool, right: bool = True) -> ChannelTerms:
    return terms(opens=opens, peer=peer, identity=foreign.identity if right else ALICE)


@pytest.mark.interop("TLS", "server", "openssl")
@FORCED
@KINDS
def test_s_client_calls_a_line_that_waits(tmp_path: Path, kind: str, version: str) -> None:
    """MSRP-7, BFCP-8, TLS-1, TLS-10: we are server and passive."""
    foreign = Foreign(tmp_path, kind)

    async def test() -> None:
        rig = Rig()
        rig.start(agreed(foreign, None, opens=False))
        place = rig.network.place
        argv = ["openssl", "s_client", "-connect", f"{place.address}:{place.port}", version, *foreign.options]
        with Program(argv) as client:
            client.say(b"from openssl")
            assert await rig.hear(12) == b"from openssl"
            await rig.say(b"from the dialer\n")
            assert await asyncio.to_thread(client.wait_for, "from the dialer")
        await rig.close()

    asyncio.run(test())


@pytest.mark.interop("TLS", "client", "openssl")
@FORCED
@KINDS
def test_we_call_s_server(tmp_path: Path, kind: str, version: str) -> None:
    """MSRP-7, BFCP-8, TLS-11: we are client and active; the server asks for our certificate."""
    foreign = Foreign(tmp_path, kind)

    async def test() -> None:
        argv = ["openssl", "s_server", "-accept", f"{LOOPBACK}:0", "-Verify", "1", version, *foreign.files_only]
        with Program(argv) as server:
            port = int((await asyncio.to_thread(server.wait_for, "ACCEPT")).rpartition(b":")[2])
            rig = Rig()
            rig.start(agreed(foreign, Place(LOOPBACK, port), opens=True))
            await asyncio.wait_for(rig.secured.wait(), SOON)
            await rig.say(b"from the dialer\n")
            assert await asyncio.to_thread(server.wait_for, "from the dialer")
            server.say(b"from openssl\n")
            assert await rig.hear(13) == b"from openssl\n"
            await rig.close()

    asyncio.run(test())


@pytest.mark.interop("TLS", "server", "openssl")
def test_s_client_with_another_certificate_is_refused(foreign: Foreign) -> None:
    """MSRP-7, BFCP-8."""

    async def test() -> None:
        rig = Rig()
        rig.start(agreed(foreign, Place(LOOPBACK, 9), opens=False, right=False))
        place = rig.network.place
        argv = ["openssl", "s_client", "-connect", f"{place.address}:{place.port}", *foreign.options]
        with Program(argv), pytest.raises(AuthenticationFailed):
            await rig.ended()
        await rig.close()

    asyncio.run(test())


@pytest.mark.interop("TLS", "server", "openssl")
def test_s_client_without_a_certificate_is_refused() -> None:
    """TLS-11."""

    async def test() -> None:
        rig = Rig()
        rig.start(terms(opens=False))
        place = rig.network.place
        argv = ["openssl", "s_client", "-connect", f"{place.address}:{place.port}", "-quiet"]
        with Program(argv), pytest.raises(AuthenticationFailed) as caught:
            await rig.ended()
        assert caught.value.code == "no_certificate"
        await rig.close()

    asyncio.run(test())


@pytest.mark.interop("UDPTL over DTLS", "server", "openssl")
@pytest.mark.parametrize("suite", ["ECDHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"])
def test_a_fax_machine_with_rsa_suites_only_is_served(tmp_path: Path, suite: str) -> None:
    """T38-1, T38-8: s_client over DTLS, with the two suites that RFC 7345 demands."""
    foreign = Foreign(tmp_path, "rsa-3072")

    async def test() -> None:
        own = [create_self_signed(BORN, os.urandom, kind) for kind in ("ecdsa-p256", "rsa-3072")]
        fax = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        fax.bind((LOOPBACK, 0))
        told: asyncio.Queue[PeerError | None] = asyncio.Queue()
        means = Means(Identity(*own), (), 1200, 0, os.urandom, dhe_rsa=True)
        pump = DatagramPump(means, LOOPBACK, LOOPBACK, told.put_nowait)
        pump.set_dialer(Place(*fax.getsockname()))
        pump.agree(replace(agreed(foreign, Place(LOOPBACK, 9), opens=False), client=False))
        argv = ["openssl", "s_client", "-dtls1_2", "-connect", f"{LOOPBACK}:{pump.network.port}", "-cipher", suite]
        with Program([*argv, *foreign.options]) as client:
            assert await asyncio.wait_for(told.get(), SOON) is None
            client.say(b"page one\n")
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(fax, 100), SOON) == b"page one\n"
            fax.sendto(b"page two\n", (LOOPBACK, pump.loopback.port))
            assert await asyncio.to_thread(client.wait_for, "page two")
        pump.close()
        fax.close()

    asyncio.run(test())


@pytest.mark.interop("UDPTL over DTLS", "client", "openssl")
@pytest.mark.parametrize("suite", ["ECDHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"])
def test_we_call_a_fax_machine_with_rsa_suites_only(tmp_path: Path, suite: str) -> None:
    """T38-1, T38-8: s_server over DTLS, which asks for our certificate."""
    foreign = Foreign(tmp_path, "rsa-3072")

    async def test() -> None:
        own = [create_self_signed(BORN, os.urandom, kind) for kind in ("ecdsa-p256", "rsa-3072")]
        fax = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        fax.bind((LOOPBACK, 0))
        told: asyncio.Queue[PeerError | None] = asyncio.Queue()
        means = Means(Identity(*own), (), 1200, 0, os.urandom, dhe_rsa=True)
        pump = DatagramPump(means, LOOPBACK, LOOPBACK, told.put_nowait)
        pump.set_dialer(Place(*fax.getsockname()))
        argv = ["openssl", "s_server", "-dtls1_2", "-accept", f"{LOOPBACK}:0", "-listen", "-Verify", "1"]
        with Program([*argv, "-cipher", suite, *foreign.files_only]) as server:
            port = int((await asyncio.to_thread(server.wait_for, "ACCEPT")).rpartition(b":")[2])
            pump.agree(replace(agreed(foreign, Place(LOOPBACK, port), opens=True), client=True))
            assert await asyncio.wait_for(told.get(), SOON) is None
            assert pump.cipher == suite
            fax.sendto(b"page one\n", (LOOPBACK, pump.loopback.port))
            assert await asyncio.to_thread(server.wait_for, "page one")
            server.say(b"page two\n")
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(fax, 100), SOON) == b"page two\n"
        pump.close()
        fax.close()

    asyncio.run(test())
