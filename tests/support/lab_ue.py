"""A UE of its own kind for tests of the lab edge: it does its SDES by hand and its SRTP with libsrtp."""

import asyncio
import base64
import secrets
import time

from ueagent.lab.capture import Address
from ueagent.lab.phone import Phone
from ueagent.lab.rtp import build_rtp
from ueagent.lab.sockets import UdpPair
from ueagent.lab.srtp_set import ParameterSet, SrtpStream
from ueagent.model.keys import Secret
from ueagent.wire.sdp import build_sdp, parse_sdp
from ueagent.wire.sdp_attributes import SdesCrypto, SdesKey, build_crypto, read_crypto


def new_phone(name: str = "far", **options: bool) -> Phone:
    return Phone(name, secrets.token_bytes, time.time, **options)


class LabUe:
    """Sends `payload` packets from sequence number 0 on; keeps what it could open."""

    def __init__(self, suite: str = "AES_CM_128_HMAC_SHA1_80") -> None:
        self.suite = suite
        self.key = Secret(secrets.token_bytes(28 if suite == "AEAD_AES_128_GCM" else 30))
        self.srtp: SrtpStream | None = None
        self.opened: list[bytes] = []
        self.refused = 0
        self.reports: list[bytes] = []
        self._sequence = 0
        self._arrival = asyncio.Event()

    @staticmethod
    def text_of(key: bytes) -> str:
        return base64.b64encode(key).decode().rstrip("=")

    async def open(self) -> None:
        self.pair = await UdpPair.open(self._arrived)

    def offer(self, *attributes: str) -> bytes:
        line = build_crypto(SdesCrypto(1, "1", self.suite, (SdesKey(self.key),)))
        here = self.pair.endpoint
        text = f"v=0\r\no=- 1 1 IN IP4 {here.address}\r\ns=-\r\nc=IN IP4 {here.address}\r\nt=0 0\r\n"
        text += f"m=audio {here.rtp_port} RTP/SAVP 0\r\n"
        return text.encode() + b"".join(line + b"\r\n" for line in (line, *(a.encode() for a in attributes)))

    def accept(self, answer: bytes) -> None:
        section = parse_sdp(answer).media[0]
        ((line,), _) = read_crypto(section)
        assert section.endpoint is not None
        self.remote = section.endpoint
        theirs = ParameterSet(line.suite, line.keys[0].key_salt)
        self.srtp = SrtpStream(theirs, ParameterSet(self.suite, self.key))

    def answer(self, offer: bytes) -> bytes:
        """Takes the edge's line of our suite."""
        sdp = parse_sdp(offer)
        section = sdp.media[0]
        line = next(line for line in read_crypto(section)[0] if line.suite == self.suite)
        assert section.endpoint is not None
        self.remote = section.endpoint
        own = SdesCrypto(line.tag, line.tag_text, line.suite, (SdesKey(self.key),))
        self.srtp = SrtpStream(ParameterSet(line.suite, line.keys[0].key_salt), ParameterSet(self.suite, self.key))
        written = section.without_attributes("3ge2ae").with_attributes([build_crypto(own)], replacing=("crypto",))
        here = self.pair.endpoint
        return build_sdp(sdp.with_media(0, written.with_port(here.rtp_port).with_address(here.address)))

    def send(self, payload: bytes) -> bytes:
        assert self.srtp is not None
        packet = build_rtp(0, self._sequence, 160 * self._sequence, 0x1234, payload)
        self._sequence += 1
        protected = self.srtp.protect(packet, False)
        assert protected is not None
        self.pair.send(False, protected, self.remote)
        return packet

    async def wait_opened(self, count: int, reports: int = 0) -> None:
        async with asyncio.timeout(5):
            while len(self.opened) < count or len(self.reports) < reports:
                self._arrival.clear()
                await self._arrival.wait()

    async def wait_refused(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.refused < count:
                self._arrival.clear()
                await self._arrival.wait()

    def _arrived(self, rtcp: bool, data: bytes, source: Address) -> None:
        plain = self.srtp.unprotect(data, rtcp) if self.srtp else None
        if plain is None:
            self.refused += 1
        else:
            (self.reports if rtcp else self.opened).append(plain)
        self._arrival.set()
