"""Requests to a KMS over HTTP, and where the credentials come from."""

from __future__ import annotations

import asyncio
import base64
import itertools
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from support.modem import Modem, plugged_in
from support.ub import BSF, Clock, bootstrapping_server, credentials, store

from ueagent.crypto.gba import naf_id, naf_key
from ueagent.daemon import http_client
from ueagent.daemon.credentials.modem import ModemUsim
from ueagent.daemon.credentials.provider import KmsCredential, ProvisionedPsk
from ueagent.daemon.http_client import Origin, parse_origin
from ueagent.daemon.kms_http import KmsBinding, KmsClient, KmsService, decode
from ueagent.errors import AgentError, KmsError, UsageError
from ueagent.lab.http_server import HttpServer
from ueagent.model.http import HttpRequest, HttpResponse
from ueagent.model.keys import Secret

KMS = b"sip:kms.example.com"
FQDN = "kms.example.com"
ANSWER = b"\x01\x0d an answer"
MIKEY = {"Content-Type": "application/mikey"}


@dataclass(frozen=True)
class Message:
    octets: bytes


class Kms:
    """Answers from a list, then the last of them for ever."""

    def __init__(self, *answers: HttpResponse) -> None:
        self.answers = list(answers)
        self.seen: list[HttpRequest] = []

    async def handle(self, request: HttpRequest) -> HttpResponse:
        self.seen.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Credentials:
    """Counts; the n-th credential is called `n`."""

    def __init__(self, *, renewable: bool = True) -> None:
        self.given: list[KmsCredential] = []
        self.renewable = renewable

    async def obtain(self, kms: str) -> KmsCredential:
        self.given.append(KmsCredential(str(len(self.given) + 1).encode(), Secret(bytes(32))))
        return self.given[-1]

    def refused(self, identity: bytes) -> bool:
        return self.renewable

    def close(self) -> None:
        pass


def exchange(
    kms: Kms,
    provider: Credentials | None = None,
    change: Callable[[KmsBinding], KmsBinding] = lambda binding: binding,
    service: KmsService = KmsService.TICKET,
) -> bytes:
    async def run() -> bytes:
        async with HttpServer(kms.handle) as server:
            binding = change(KmsBinding(FQDN, Origin(False, "127.0.0.1", server.port, "/base")))
            client = KmsClient({KMS: binding}, provider or Credentials())
            numbers = itertools.count(1)

            def create(credential: KmsCredential) -> Message:
                return Message(b"\x01\x0b" + credential.identity + b" attempt %d" % next(numbers))

            return await client.exchange(KMS, service, create, lambda pending, answer: pending.octets + answer)

    return asyncio.run(run())


def error_of(kms: Kms, provider: Credentials | None = None, **more: Callable[[KmsBinding], KmsBinding]) -> AgentError:
    with pytest.raises(AgentError) as caught:
        exchange(kms, provider, **more)
    return caught.value


def test_requests_go_to_the_paths_of_the_binding() -> None:
    """KMS-10."""
    kms = Kms(HttpResponse(200, MIKEY, ANSWER))
    assert exchange(kms) == b"\x01\x0b1 attempt 1" + ANSWER
    exchange(kms, service=KmsService.RESOLVE)
    assert [(request.method, request.target) for request in kms.seen] == [
        ("POST", "/base/keymanagement?requesttype=ticketrequest"),
        ("POST", "/base/keymanagement?requesttype=ticketresolve"),
    ]


def test_paths_are_settings() -> None:
    """KMS-10."""
    kms = Kms(HttpResponse(200, MIKEY, ANSWER))
    exchange(kms, change=lambda binding: KmsBinding(binding.name, binding.origin, ticket_target="/other?x=y"))
    assert kms.seen[0].target == "/base/other?x=y"


def test_body_is_the_message_itself_by_default() -> None:
    """KMS-11."""
    kms = Kms(HttpResponse(200, MIKEY, ANSWER))
    exchange(kms)
    assert kms.seen[0].body == b"\x01\x0b1 attempt 1"
    assert kms.seen[0].headers["content-type"] == "application/mikey"
    assert "content-transfer-encoding" not in kms.seen[0].headers


def test_body_is_base64_where_the_operator_wants_it() -> None:
    """KMS-11."""
    kms = Kms(HttpResponse(200, MIKEY, base64.b64encode(ANSWER)))
    made = exchange(kms, change=lambda binding: KmsBinding(binding.name, binding.origin, base64=True))
    assert made.endswith(ANSWER)
    assert base64.b64decode(kms.seen[0].body) == b"\x01\x0b1 attempt 1"


def test_either_form_of_an_answer_is_read() -> None:
    """KMS-11."""
    assert decode(ANSWER) == ANSWER
    assert decode(base64.encodebytes(ANSWER)) == ANSWER
    with pytest.raises(KmsError, match="kms_answer"):
        decode(b"\x02 neither")


def test_error_message_of_the_kms_is_handed_on() -> None:
    """KMS-12."""
    assert exchange(Kms(HttpResponse(403, MIKEY, b"\x01\x06 error"))).endswith(b"\x01\x06 error")


@pytest.mark.parametrize(
    ("status", "code", "requests"),
    [
        (401, "kms_unauthorized", 2),
        (403, "kms_forbidden", 1),
        (404, "kms_not_found", 1),
        (503, "kms_unavailable", 3),
        (200, "kms_answer", 1),
    ],
)
def test_status_without_a_message_is_an_error(status: int, code: str, requests: int) -> None:
    """KMS-12, KMS-13: what may be temporary is tried three times, a 401 once more with new credentials (KMS-6)."""
    kms = Kms(HttpResponse(status))
    assert error_of(kms).code == code
    assert len(kms.seen) == requests


def test_repetition_is_another_message() -> None:
    """KMS-13: a replay cache would refuse the old one."""
    kms = Kms(HttpResponse(503), HttpResponse(503), HttpResponse(200, MIKEY, ANSWER))
    exchange(kms)
    assert [request.body for request in kms.seen] == [b"\x01\x0b1 attempt %d" % n for n in (1, 2, 3)]


def test_credentials_are_renewed_once_after_401() -> None:
    """KMS-6."""
    provider = Credentials()
    kms = Kms(HttpResponse(401), HttpResponse(200, MIKEY, ANSWER))
    assert exchange(kms, provider) == b"\x01\x0b2 attempt 2" + ANSWER
    assert len(provider.given) == 2


def test_credentials_that_cannot_be_renewed_are_not_asked_for_again() -> None:
    """KMS-6."""
    provider = Credentials(renewable=False)
    assert error_of(Kms(HttpResponse(401)), provider).code == "kms_unauthorized"
    assert len(provider.given) == 1


def test_credentials_are_wiped_after_use() -> None:
    provider = Credentials()
    exchange(Kms(HttpResponse(401), HttpResponse(200, MIKEY, ANSWER)), provider)
    assert [len(credential.key) for credential in provider.given] == [0, 0]


def test_kms_that_does_not_answer_is_given_up_after_the_timeout() -> None:
    """KMS-13."""

    class Stuck(Kms):
        async def handle(self, request: HttpRequest) -> HttpResponse:
            self.seen.append(request)
            await asyncio.Event().wait()
            raise AssertionError

    kms = Stuck(HttpResponse(200))
    error = error_of(kms, change=lambda binding: KmsBinding(binding.name, binding.origin, timeout=0.05))
    assert error.code == "http_timeout"
    assert len(kms.seen) == 3


def test_kms_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as bound:  # bound, not listening
        bound.bind(("127.0.0.1", 0))
        origin = Origin(False, "127.0.0.1", bound.getsockname()[1])
        error = error_of(Kms(HttpResponse(200)), change=lambda binding: KmsBinding(binding.name, origin))
    assert error.code == "http_unreachable"


def test_unknown_kms_is_refused_before_anything_is_sent() -> None:
    provider = Credentials()
    client = KmsClient({}, provider)
    with pytest.raises(UsageError, match="unknown_kms"):
        asyncio.run(client.exchange(KMS, KmsService.TICKET, lambda _: Message(b""), lambda _, answer: answer))
    assert provider.given == []


def test_answer_that_is_too_long_is_refused() -> None:
    assert error_of(Kms(HttpResponse(200, MIKEY, bytes(70_000)))).code == "http_syntax"


def test_https_is_used_when_the_uri_says_so(tmp_path: Path) -> None:
    """KMS-14: the certificate is verified by name."""
    certificate, server_context = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def run(context: ssl.SSLContext) -> bytes:
        kms = Kms(HttpResponse(200, MIKEY, ANSWER))
        async with HttpServer(kms.handle, tls=server_context) as server:
            binding = KmsBinding(FQDN, parse_origin(f"https://localhost:{server.port}"), retries=0)
            client = KmsClient({KMS: binding}, Credentials(), context)
            return await client.exchange(KMS, KmsService.TICKET, lambda _: Message(b"\x01"), lambda _, answer: answer)

    assert asyncio.run(run(trusting)) == ANSWER
    with pytest.raises(KmsError, match="http_tls"):
        asyncio.run(run(ssl.create_default_context()))


def test_kms_that_does_not_end_tls_keeps_nobody_waiting(tmp_path: Path) -> None:
    """KMS-13: its answer counts, and a KMS without one is given up when the time is over and not later."""
    certificate, server_context = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    over = threading.Event()

    def serve(listener: socket.socket, answers: list[bytes]) -> None:
        for answer in answers:
            connection = server_context.wrap_socket(listener.accept()[0], server_side=True)
            connection.recv(65536)
            connection.sendall(answer)
            kept.append(connection)
        over.wait()

    async def run(origin: Origin, seconds: float) -> HttpResponse:
        return await http_client.exchange(origin, HttpRequest("POST", "/", {}, b"\x01"), seconds=seconds, tls=trusting)

    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10.0)
        answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\x01", b"HTTP/1.1 200 OK\r\nContent-Le"]
        server = threading.Thread(target=serve, args=(listener, answers))
        server.start()
        try:
            origin = parse_origin(f"https://localhost:{listener.getsockname()[1]}")
            assert asyncio.run(run(origin, 10.0)).body == b"\x01"
            with pytest.raises(KmsError, match="http_timeout"):
                asyncio.run(asyncio.wait_for(run(origin, 0.5), 10.0))
        finally:
            over.set()
            server.join()
            for connection in kept:
                connection.close()


def self_signed(folder: Path) -> tuple[Path, ssl.SSLContext]:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab KMS")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, both = folder / "kms.pem", folder / "both.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(private + public.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return public, context


@pytest.mark.parametrize("url", ["", "kms", "ftp://kms", "http://", "http://a@kms", "http://kms?x", "http://kms:99999"])
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="bad_url"):
        parse_origin(url)


def test_url_becomes_an_origin() -> None:
    assert parse_origin("https://kms.example.com/base/") == Origin(True, "kms.example.com", 443, "/base")
    assert parse_origin("http://[::1]:8080") == Origin(False, "::1", 8080)
    assert Origin(False, "::1", 8080).authority == "[::1]:8080"


# ----------------------------------------------------------------------------------------------------- credentials --


def test_provisioned_key_is_given_out_as_a_copy() -> None:
    """KMS-7."""
    provider = ProvisionedPsk(b"alice", Secret(b"k" * 32))
    credential = asyncio.run(provider.obtain(FQDN))
    credential.wipe()
    assert asyncio.run(provider.obtain(FQDN)).key == Secret(b"k" * 32)
    assert not provider.refused(b"alice")


def test_bootstrapped_key_is_the_one_that_the_network_knows() -> None:
    """KMS-1, KMS-4, KMS-5: over a socket, with the software USIM."""

    async def run() -> None:
        users, clock = store(), Clock()
        async with bootstrapping_server(users, clock) as server:
            credential = await credentials(server, clock).obtain(FQDN)
        context = users.context(credential.identity.decode(), clock())
        assert context is not None
        assert credential.key == naf_key(context.ks, context.rand, context.impi, naf_id(FQDN))
        assert credential.identity.endswith(b"@" + BSF.encode())

    asyncio.run(run())


def test_bootstrapping_works_with_the_usim_in_a_modem() -> None:
    """KMS-7."""

    async def run(port: str) -> None:
        users, clock = store(), Clock()
        async with bootstrapping_server(users, clock) as server:
            credential = await credentials(server, clock, ModemUsim(port)).obtain(FQDN)
        context = users.context(credential.identity.decode(), clock())
        assert context is not None
        assert credential.key == context.key_for(FQDN)

    with plugged_in(Modem()) as port:
        asyncio.run(run(port))


def test_one_bootstrapping_serves_until_it_expires_or_is_refused() -> None:
    """KMS-6."""

    async def run() -> list[int]:
        users, clock = store(), Clock()
        counts = []
        async with bootstrapping_server(users, clock) as server:
            provider = credentials(server, clock)
            first, second = await asyncio.gather(provider.obtain(FQDN), provider.obtain("other.example.com"))
            assert first.identity == second.identity
            assert first.key != second.key
            counts.append(server.requests)
            clock.now += 3550  # within the margin before the end
            await provider.obtain(FQDN)
            counts.append(server.requests)
            third = await provider.obtain(FQDN)
            assert provider.refused(third.identity)
            await provider.obtain(FQDN)
            counts.append(server.requests)
            provider.close()
        return counts

    assert asyncio.run(run()) == [2, 4, 6]
