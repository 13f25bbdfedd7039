"""dtls_handshakes: DTLS-SRTP from the first ClientHello to SRTP keys, both ends in this process, no network between.

    pyopenssl   two bare connections with contexts made once: cookie, the same suites, digest compared, keys exported
    channel     the same with two secure channels of ueagent.channel: what our use of the library costs
    ours        two associations of ueagent.keymgmt around them: candidates, cookies of a random key, keys cut and wiped
    aiortc      two of its transports on an event loop; it makes a context for each, asks for no cookie, and opens SRTP
                sessions, which are ours only in the relay

All have ECDSA P-256 certificates, X25519 and AES-128-GCM. Rounds of the subjects follow each other, so that a slow
phase of the machine meets all of them; each has the processor time of its best round, of which one end has half.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib.util import find_spec
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto

from ueagent.channel.channel import Kind, Role, SecureChannel
from ueagent.channel.credentials import CertificateCredentials, Identity
from ueagent.crypto.certificate import create_self_signed
from ueagent.keymgmt.dtls_association import LABEL, Association, Means
from ueagent.keymgmt.fingerprints import fits
from ueagent.model.keys import Secret
from ueagent.model.media import Place

ROUNDS: Final = 9
HANDSHAKES: Final = 40  # of a round
PROFILE: Final = 0x0007  # SRTP_AEAD_AES_128_GCM
KEY_OCTETS: Final = 56
MTU: Final = 1200
CLIENT: Final = Place("192.0.2.1", 1)
SERVER: Final = Place("192.0.2.2", 2)
ABSENT: Final = "not installed; pip install aiortc"

Handshake = Callable[[], None]  # AssertionError, PeerError: the two ends have no keys, or different ones
Made = Callable[[], Handshake]


@dataclass(frozen=True, slots=True)
class Result:
    """Microseconds of processor time of one end; handshakes of one end that a core does in a second."""

    scenario: str
    handshakes: int  # of each subject
    ours_us: float
    channel_us: float
    pyopenssl_us: float
    aiortc_us: float | None
    ours_per_second: float
    channel_to_pyopenssl: float  # processor time for 1 of theirs: less is better
    ours_to_pyopenssl: float
    ours_to_aiortc: float | None
    absent: dict[str, str] = field(default_factory=dict)


def run(rounds: int = ROUNDS, handshakes: int = HANDSHAKES) -> Result:
    made = {"ours": _ours(), "channel": _channels(), "pyopenssl": _pyopenssl()}
    subjects = {name: _repeated(handshake) for name, handshake in made.items()}
    absent: dict[str, str] = {}
    if find_spec("aiortc") is None:
        absent["aiortc"] = ABSENT
    else:
        subjects["aiortc"] = _aiortc()
    best = dict.fromkeys(subjects, float("inf"))
    for subject in subjects.values():
        subject(2)  # what a library loads at its first handshake
    for _ in range(rounds):
        for name, subject in subjects.items():
            start = time.process_time_ns()
            subject(handshakes)
            best[name] = min(best[name], (time.process_time_ns() - start) / 1000 / handshakes / 2)
    ours, theirs = best["ours"], best.get("aiortc")
    return Result(
        scenario="dtls_handshakes",
        handshakes=rounds * handshakes,
        ours_us=round(ours, 1),
        channel_us=round(best["channel"], 1),
        pyopenssl_us=round(best["pyopenssl"], 1),
        aiortc_us=None if theirs is None else round(theirs, 1),
        ours_per_second=round(1e6 / ours, 1),
        channel_to_pyopenssl=round(best["channel"] / best["pyopenssl"], 3),
        ours_to_pyopenssl=round(ours / best["pyopenssl"], 3),
        ours_to_aiortc=None if theirs is None else round(ours / theirs, 3),
        absent=absent,
    )


def _repeated(handshake: Handshake) -> Callable[[int], None]:
    def repeat(count: int) -> None:
        for _ in range(count):
            handshake()

    return repeat


def _identity() -> Identity:
    return Identity(create_self_signed(datetime.now(UTC), os.urandom))


# -------------------------------------------------------------------------------------------------------------- ours --


def _ours() -> Handshake:
    near, far = (Means(_identity(), (PROFILE,), MTU, 64, os.urandom) for _ in range(2))
    of_near, of_far = (frozenset(means.identity.fingerprints()) for means in (near, far))

    def handshake() -> None:
        client, server = Association(near, rtcp=False), Association(far, rtcp=False)
        client.expect(of_far, SERVER)
        server.expect(of_near, CLIENT)
        server.listen()
        client.connect(SERVER, 0.0)
        ends = ((client, server, CLIENT), (server, client, SERVER))
        while client.datagrams or server.datagrams:
            for sender, receiver, source in ends:
                datagrams, sender.datagrams = sender.datagrams, []
                for sent in datagrams:
                    receiver.take(sent.data, source, 0.0)
        a, b = client.take_keys(), server.take_keys()
        assert a is not None
        assert b is not None
        assert a.send.key == b.receive[0].key
        for end, keys in ((client, a), (server, b)):
            keys.wipe()
            end.close()

    return handshake


def _channels() -> Handshake:
    near, far = _identity(), _identity()
    of_near, of_far = near.fingerprints(), far.fingerprints()
    cookie_key = Secret(os.urandom(32))
    as_client = CertificateCredentials(near, lambda certificate: fits(certificate, of_far))
    as_server = CertificateCredentials(far, lambda certificate: fits(certificate, of_near))

    def handshake() -> None:
        client = SecureChannel(Kind.DATAGRAM, Role.CLIENT, as_client, srtp_profiles=(PROFILE,), mtu=MTU)
        server = SecureChannel(
            Kind.DATAGRAM, Role.SERVER, as_server, srtp_profiles=(PROFILE,), mtu=MTU, cookie_key=cookie_key
        )
        client.start(0.0)
        while datagrams := client.take_output():
            for datagram in datagrams:
                server.feed(datagram, 0.0, b"client")
            for datagram in server.take_output():
                client.feed(datagram, 0.0)
        keys = [end.export_key(LABEL, KEY_OCTETS) for end in (client, server)]
        assert keys[0] == keys[1]
        for key in keys:
            key.wipe()

    return handshake


# --------------------------------------------------------------------------------------------------- bare pyOpenSSL --


def _context(identity: Identity, *, server: bool) -> SSL.Context:
    own = identity.own[0]
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(0xFEFD)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256")
    context.set_tlsext_use_srtp(b"SRTP_AEAD_AES_128_GCM")
    context.use_certificate(x509.load_der_x509_certificate(own.certificate))
    key: Any = serialization.load_der_private_key(own.private_key.reveal(), None)
    context.use_privatekey(key)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    if server:
        context.set_cookie_generate_callback(lambda connection: b"cookie")
        context.set_cookie_verify_callback(lambda connection, cookie: bool(cookie == b"cookie"))
    return context


def _digest(connection: SSL.Connection) -> bytes:
    certificate = connection.get_peer_certificate()
    assert certificate is not None
    return sha256(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)).digest()


def _pyopenssl() -> Handshake:
    near, far = _identity(), _identity()
    contexts = _context(near, server=False), _context(far, server=True)
    digests = [sha256(one.own[0].certificate).digest() for one in (near, far)]

    def handshake() -> None:
        client, server = (SSL.Connection(context) for context in contexts)
        for connection in (client, server):
            connection.set_ciphertext_mtu(MTU)
        client.set_connect_state()
        server.set_accept_state()
        _step(client)
        server.bio_write(client.bio_read(1 << 16))
        try:
            server.DTLSv1_listen()
        except SSL.WantReadError:
            pass
        client.bio_write(server.bio_read(1 << 16))
        _step(client)
        server.bio_write(client.bio_read(1 << 16))
        server.DTLSv1_listen()
        done = {client: False, server: False}
        while not all(done.values()):
            for sender, receiver in ((server, client), (client, server)):
                done[sender] = _step(sender) or done[sender]
                try:
                    receiver.bio_write(sender.bio_read(1 << 16))
                except SSL.WantReadError:
                    pass
        assert _digest(server) == digests[0]
        assert _digest(client) == digests[1]
        keys = [end.export_keying_material(LABEL.encode(), KEY_OCTETS) for end in (client, server)]
        assert keys[0] == keys[1]

    return handshake


def _step(connection: SSL.Connection) -> bool:
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------------ aiortc --


class _Ice:
    """What aiortc's transport wants of ICE, as a queue each way."""

    state, role = "completed", "controlling"

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.other = self

    async def _send(self, data: bytes) -> None:
        self.other.queue.put_nowait(data)

    async def _recv(self) -> bytes:
        return await self.queue.get()

    async def stop(self) -> None:
        pass


def _aiortc() -> Callable[[int], None]:
    from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsTransport

    certificates = [RTCCertificate.generateCertificate() for _ in range(2)]

    async def handshake() -> None:
        ice: list[Any] = [_Ice(), _Ice()]
        ice[0].other, ice[1].other = ice[1], ice[0]
        ends = [RTCDtlsTransport(ice[i], [certificates[i]]) for i in range(2)]
        ends[0]._set_role("client")
        ends[1]._set_role("server")
        told = [end.getLocalParameters() for end in ends]
        await asyncio.gather(ends[0].start(told[1]), ends[1].start(told[0]))
        assert [end.state for end in ends] == ["connected"] * 2
        for end in ends:
            await end.stop()

    async def repeat(count: int) -> None:
        for _ in range(count):
            await handshake()

    return lambda count: asyncio.run(repeat(count))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--handshakes", type=int, default=HANDSHAKES)
    args = parser.parse_args(argv)
    print(json.dumps(asdict(run(args.rounds, args.handshakes)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
