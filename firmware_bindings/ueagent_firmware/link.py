"""The host's side of a session with the device (PROTOCOL.md, Order of events): handshake, pairing, keys, single jobs.

For probing, pairing and tests. Media takes the C data thread, which begins where `open_session` ends. The port is
given: anything with `write` and `read`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ueagent_firmware.frame import Frame, FrameReader
from ueagent_firmware.messages import (
    HELLO_TIMEOUT_MS,
    HELLO_TRIES,
    JOBS,
    VERSION,
    Capability,
    Op,
    SelfTest,
    Status,
    pack,
    unpack,
)

INFO: Final = b"UMSA-1 transport"


class Port(Protocol):
    """A line. `read` waits at most `timeout` seconds and returns what there is, perhaps nothing."""

    def write(self, octets: bytes, /) -> object: ...
    def read(self, timeout: float, /) -> bytes: ...


class LinkError(Exception):
    """`code` is a word for programs: no_answer, refused, wrong_device, wrong_version."""

    def __init__(self, code: str, detail: str, status: Status | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Description:
    """What a device says of itself in HELLO."""

    version: int
    boot_id: bytes
    session: int
    unit: bytes
    firmware: str
    engine: str
    slots: int
    credits: int
    max_packet: int
    capabilities: tuple[str, ...]
    failed_tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    status: Status
    body: bytes


def describe(body: bytes) -> Description:
    found = unpack("hello_reply", body)
    number = {name: value for name, value in found.items() if isinstance(value, int)}
    octets = {name: value for name, value in found.items() if isinstance(value, bytes)}
    firmware = number["firmware"]
    return Description(
        version=number["version"],
        boot_id=octets["boot_id"],
        session=number["session"],
        unit=octets["unit"],
        firmware=f"{firmware >> 16}.{firmware >> 8 & 0xFF}.{firmware & 0xFF}",
        engine={1: "software", 2: "peripheral"}.get(number["engine"], str(number["engine"])),
        slots=number["slots"],
        credits=number["credits"],
        max_packet=number["max_packet"],
        capabilities=tuple(bit.name.lower() for bit in Capability if number["capabilities"] & bit),
        failed_tests=tuple(bit.name.lower() for bit in SelfTest if number["failed_tests"] & bit),
    )


def public_key(key: bytes) -> bytes:
    """What a device with this key answers to IDENTITY."""
    return X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()


def derive(
    secret: bytes, nonce: bytes, boot_id: bytes, session: int, device: bytes, host: bytes
) -> tuple[bytes, bytes]:
    """Transport key and proof."""
    salt = nonce + boot_id + session.to_bytes(4, "little")
    octets = HKDF(SHA1(), 32, salt, INFO + device + host).derive(secret)  # noqa: S303  # RFC 5869, with HMAC
    return octets[:16], octets[16:]


class Link:
    """One line to one device."""

    def __init__(
        self,
        port: Port,
        rng: Callable[[int], bytes] = secrets.token_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port = port
        self._rng = rng
        self._clock = clock
        self._reader = FrameReader()
        self._seq = 0
        self._nonce = b""
        self._transport: AESGCM | None = None
        self._counter = 0
        self.device: Description | None = None

    def _exchange(self, frame: Frame, tries: int, timeout: float, nonce: bytes | None = None) -> Frame:
        for _ in range(tries):
            self._port.write(frame.encode())
            end = self._clock() + timeout
            while (left := end - self._clock()) > 0:
                for answer in self._reader.feed(self._port.read(left)):
                    if (answer.op, answer.seq) != (frame.op, frame.seq):
                        continue
                    if nonce is None or answer.body[1:17] == nonce:
                        return answer
        raise LinkError("no_answer", f"the device does not answer {Op(frame.op).name}")

    def request(self, op: Op, slot: int = 0, body: bytes = b"", *, timeout: float = 0.5) -> Reply:
        """A control request, repeated until it is answered; or a job, which is sent once."""
        self._seq = (self._seq + 1) & 0xFF
        tries = 1 if op in JOBS else HELLO_TRIES
        answer = self._exchange(Frame(op, self._seq, slot, 0, body), tries, timeout)
        return Reply(Status(answer.status), answer.body)

    def _good(self, op: Op, slot: int = 0, body: bytes = b"") -> bytes:
        reply = self.request(op, slot, body)
        if reply.status is not Status.OK:
            raise LinkError("refused", f"the device answers {op.name} with {reply.status.name}", reply.status)
        return reply.body

    def hello(self) -> Description:
        """Begins anew. LinkError: nobody there, or somebody who speaks another version."""
        self._nonce = self._rng(16)
        self._transport = None
        self._seq = (self._seq + 1) & 0xFF
        self._port.write(b"\0\0")
        frame = Frame(Op.HELLO, self._seq, body=pack("hello", version=VERSION, nonce=self._nonce))
        answer = self._exchange(frame, HELLO_TRIES, HELLO_TIMEOUT_MS / 1000, self._nonce)
        if answer.status == Status.BAD_VERSION:
            raise LinkError("wrong_version", f"the device speaks version {answer.body[0]}, not {VERSION}")
        self.device = describe(answer.body)
        return self.device

    def identity(self) -> bytes:
        """The device's public key."""
        return self._good(Op.IDENTITY)

    def pair(self) -> bytes:
        """Makes the device a new key; its public half. A board without a random source keeps the one it has."""
        reply = self.request(Op.PAIR)
        if reply.status is Status.NO_RANDOM:
            return self.identity()
        if reply.status is not Status.OK:
            raise LinkError("refused", f"the device answers PAIR with {reply.status.name}", reply.status)
        return reply.body

    def open_session(self, pinned: bytes) -> bytes:
        """Agrees on the transport key with the device whose public key is `pinned`. LinkError `wrong_device`."""
        if self.device is None:
            raise LinkError("refused", "a session begins with HELLO")
        private = X25519PrivateKey.from_private_bytes(self._rng(32))
        public = private.public_key().public_bytes_raw()
        proof = self._good(Op.SESSION, body=public)
        secret = private.exchange(X25519PublicKey.from_public_bytes(pinned))
        key, expected = derive(secret, self._nonce, self.device.boot_id, self.device.session, pinned, public)
        if not compare_digest(proof, expected):
            raise LinkError("wrong_device", "this is not the device that was paired")
        self._transport, self._counter = AESGCM(key), 0
        return key

    def load(self, slot: int, key: bytes) -> Reply:
        """`key` is a packed body "key"; wrapped when there is a transport key."""
        wrapped = self._transport is not None
        self._counter += 1
        head = pack("key_load", wrapped=int(wrapped), counter=self._counter if wrapped else 0)
        if self._transport is not None:
            nonce = self._counter.to_bytes(12, "big")
            key = self._transport.encrypt(nonce, key, bytes((Op.KEY_LOAD, slot)) + head)
        return self.request(Op.KEY_LOAD, slot, head + key)

    def job(self, op: Op, slot: int, index: int, packet: bytes) -> Reply:
        return self.request(op, slot, pack("job", index=index) + packet)

    def status(self) -> dict[str, int | bytes]:
        """The device's counters."""
        return unpack("status_reply", self._good(Op.STATUS))
