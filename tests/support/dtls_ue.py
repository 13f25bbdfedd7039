"""A UE for tests of the lab edge that does DTLS-SRTP by hand: our channel for handshakes, libsrtp for packets."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from support.channels import end, new_identity

from ueagent.channel.channel import Role, SecureChannel, State
from ueagent.crypto.certificate import digest_of
from ueagent.errors import AgentError
from ueagent.lab.capture import Address
from ueagent.lab.rtp import build_rtp
from ueagent.lab.sockets import UdpPair
from ueagent.lab.srtp_set import ParameterSet, SrtpStream
from ueagent.model.keys import Secret
from ueagent.model.media import Endpoint
from ueagent.model.security import SetupRole
from ueagent.model.suites import suite_of_profile
from ueagent.wire.dtls_attributes import DtlsParameters, build_dtls, read_dtls
from ueagent.wire.sdp import build_sdp, parse_sdp

LABEL = "EXTRACTOR-dtls_srtp"
GCM = 0x0007


def cut(channel: SecureChannel) -> tuple[ParameterSet, ParameterSet]:
    """RFC 5764, 4.2: of what the peer sends, and of what we send."""
    suite = suite_of_profile(channel.srtp_profile or 0)
    assert suite is not None
    secret = channel.export_key(LABEL, 2 * suite.key_salt_length)
    octets = bytes(secret.reveal())
    k, s = suite.key_length, suite.salt_length
    client = ParameterSet(suite.name, Secret(octets[:k] + octets[2 * k : 2 * k + s]))
    server = ParameterSet(suite.name, Secret(octets[k : 2 * k] + octets[2 * k + s :]))
    return (server, client) if channel.role is Role.CLIENT else (client, server)


@dataclass
class DtlsUe:
    """Two handshakes, one a port. `theirs` is what the last description of the edge said."""

    profiles: tuple[int, ...] = (GCM,)
    opened: list[bytes] = field(default_factory=list)
    reports: list[bytes] = field(default_factory=list)
    errors: list[AgentError] = field(default_factory=list)
    early: list[bytes] = field(default_factory=list)  # what came before we had a role

    async def open(self) -> None:
        self.identity = new_identity()
        self.tls_id = secrets.token_urlsafe(24)
        self.pair = await UdpPair.open(self._arrived)
        self.channels: dict[bool, SecureChannel] = {}
        self.srtp: dict[bool, SrtpStream] = {}
        self.theirs = DtlsParameters()
        self.remote: Endpoint | None = None
        self._sequence = 0
        self._arrival = asyncio.Event()

    def close(self) -> None:
        self.pair.close()

    def attributes(self, setup: SetupRole) -> list[bytes]:
        return build_dtls(DtlsParameters(self.identity.fingerprints(), setup, self.tls_id))

    def offer(self, setup: SetupRole = SetupRole.ACTPASS, *extra: str) -> bytes:
        here = self.pair.endpoint
        text = f"v=0\r\no=- 1 1 IN IP4 {here.address}\r\ns=-\r\nc=IN IP4 {here.address}\r\nt=0 0\r\n"
        text += f"m=audio {here.rtp_port} UDP/TLS/RTP/SAVP 0\r\n"
        lines = [*self.attributes(setup), *(one.encode() for one in extra)]
        return text.encode() + b"".join(line + b"\r\n" for line in lines)

    def accept(self, answer: bytes) -> SetupRole:
        """The edge's answer; our handshakes begin. What the edge is."""
        self._read(answer)
        assert self.theirs.setup is not None
        self.begin(Role.SERVER if self.theirs.setup is SetupRole.ACTIVE else Role.CLIENT)
        return self.theirs.setup

    def answer(self, offer: bytes, setup: SetupRole) -> bytes:
        self._read(offer)
        sdp, here = parse_sdp(offer), self.pair.endpoint
        section = sdp.media[0].without_attributes("3ge2ae", "fingerprint", "setup", "tls-id")
        section = section.with_attributes(self.attributes(setup)).with_port(here.rtp_port).with_address(here.address)
        return build_sdp(sdp.with_media(0, section))

    def begin(self, role: Role) -> None:
        for rtcp in (False, True):
            self.channels[rtcp] = end(role, identity=self.identity, verify=self._right, profiles=self.profiles)
            self.channels[rtcp].start(0.0)
            self._flush(rtcp)

    def send(self, payload: bytes) -> bytes:
        packet = build_rtp(0, self._sequence, 160 * self._sequence, 0x1234, payload)
        self._sequence += 1
        protected = self.srtp[False].protect(packet, False)
        assert protected is not None
        assert self.remote is not None
        self.pair.send(False, protected, self.remote)
        return packet

    async def wait_keyed(self) -> None:
        await self._wait(lambda: len(self.srtp) == 2)

    async def wait_opened(self, count: int, reports: int = 0) -> None:
        await self._wait(lambda: len(self.opened) >= count and len(self.reports) >= reports)

    async def wait_error(self) -> AgentError:
        await self._wait(lambda: bool(self.errors))
        return self.errors[0]

    async def wait_early(self) -> None:
        await self._wait(lambda: bool(self.early))

    async def _wait(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                self._arrival.clear()
                await self._arrival.wait()

    def _read(self, description: bytes) -> None:
        section = parse_sdp(description).media[0]
        assert section.proto == "UDP/TLS/RTP/SAVP"
        self.theirs, _ = read_dtls(section)
        self.remote = section.endpoint

    def _right(self, certificate: bytes) -> bool:
        return any(digest_of(certificate, one.hash) == one.digest for one in self.theirs.fingerprints)

    def _arrived(self, rtcp: bool, data: bytes, source: Address) -> None:
        channel = self.channels.get(rtcp)
        if 20 <= data[0] < 64:
            if channel is None:
                self.early.append(data)
            else:
                self._handshake(channel, rtcp, data, source)
        elif rtcp in self.srtp:
            plain = self.srtp[rtcp].unprotect(data, rtcp)
            if plain is not None:
                (self.reports if rtcp else self.opened).append(plain)
        self._arrival.set()

    def _handshake(self, channel: SecureChannel, rtcp: bool, data: bytes, source: Address) -> None:
        was = channel.state
        try:
            channel.feed(data, 0.0, repr(source).encode())
        except AgentError as error:
            self.errors.append(error)
        self._flush(rtcp)
        if channel.state is State.OPEN and was is not State.OPEN:
            self.srtp[rtcp] = SrtpStream(*cut(channel))

    def _flush(self, rtcp: bool) -> None:
        assert self.remote is not None
        for datagram in self.channels[rtcp].take_output():
            self.pair.send(rtcp, datagram, self.remote)
