"""The media half of a softphone: plain RTP with G.711 on a loopback socket pair, a player and a recorder.

Knows nothing of security: it is the dialer behind an agent, and as well the far end in the core network.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from typing import Final

from ueagent.errors import NegotiationFailed
from ueagent.lab.capture import Address
from ueagent.lab.g711 import CODECS, PACKET_SAMPLES, PACKET_SECONDS, PCMU, Codec
from ueagent.lab.rtp import build_report, build_rtp, parse_rtp
from ueagent.lab.sockets import LOOPBACK, UdpPair
from ueagent.model.media import Endpoint
from ueagent.wire.sdp import Sdp, parse_sdp

CNAME_DOMAIN: Final = "lab.invalid"
REPORT_EVERY: Final = 50  # packets: one second of speech
_NTP_EPOCH: Final = 2_208_988_800  # seconds from 1900 to 1970 (RFC 5905, 6)

Rng = Callable[[int], bytes]


class Phone:
    """One end of a call. `now` gives seconds since 1970; `rng` draws SSRC, timestamp and first sequence number."""

    def __init__(
        self, name: str, rng: Rng, now: Callable[[], float], *, codec: Codec = PCMU, echo: bool = False
    ) -> None:
        self.name = name
        self.codec = codec
        self.echo = echo
        self.remote: Endpoint | None = None
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.rtcp_sent: list[bytes] = []
        self.rtcp_received: list[bytes] = []
        self._now = now
        self._ssrc = int.from_bytes(rng(4), "big")
        self._timestamp = int.from_bytes(rng(4), "big")
        self.next_sequence = int.from_bytes(rng(2), "big") >> 1  # below 2^15: SDES-13
        self._pair: UdpPair | None = None
        self._arrival = asyncio.Event()

    async def open(self, address: str = LOOPBACK) -> None:
        self._pair = await UdpPair.open(self._arrived, address)

    def close(self) -> None:
        if self._pair is not None:
            self._pair.close()

    @property
    def local(self) -> Endpoint:
        return self._opened().endpoint

    # ---------------------------------------------------------------------------------------------- signalling --

    def offer(self) -> bytes:
        """One audio line with both G.711 laws, the preferred one first."""
        codecs = sorted(CODECS.values(), key=lambda codec: codec is not self.codec)
        return self._description("RTP/AVP", codecs)

    def answer(self, offer: bytes) -> bytes:
        """Takes the first G.711 law of the first audio line and connects. Other lines are refused.

        NegotiationFailed when there is nothing to talk over in plain RTP.
        """
        sdp = parse_sdp(offer)
        index = _audio_line(sdp)
        line = sdp.media[index]
        laws = {str(codec.payload_type): codec for codec in CODECS.values()}
        self.codec = next((laws[name] for name in line.formats if name in laws), self.codec)
        if str(self.codec.payload_type) not in line.formats:
            raise NegotiationFailed("no_codec", "the audio line has neither PCMU nor PCMA", field="m=")
        self.connect(offer)
        own = self._description(line.proto, [self.codec])
        head, audio = own.split(b"m=audio", 1)
        others = [_refused(other.kind, other.proto, other.formats) for other in sdp.media]
        return head + b"".join(b"m=audio" + audio if at == index else other for at, other in enumerate(others))

    def connect(self, description: bytes) -> None:
        """Send to the audio line of the far side's description from now on."""
        sdp = parse_sdp(description)
        self.remote = sdp.media[_audio_line(sdp)].endpoint

    def _description(self, proto: str, codecs: Sequence[Codec]) -> bytes:
        formats = " ".join(str(codec.payload_type) for codec in codecs)
        lines = [
            "v=0",
            f"o={self.name} {self._ssrc} 1 IN IP4 {self.local.address}",
            "s=-",
            f"c=IN IP4 {self.local.address}",
            "t=0 0",
            f"m=audio {self.local.rtp_port} {proto} {formats}",
            *(f"a=rtpmap:{codec.payload_type} {codec.name}/8000" for codec in codecs),
            "a=ptime:20",
            "a=sendrecv",
        ]
        return "".join(line + "\r\n" for line in lines).encode("ascii")

    # --------------------------------------------------------------------------------------------------- media --

    async def play(self, samples: array[int], interval: float = PACKET_SECONDS) -> None:
        """Send `samples` as 20 ms packets, one every `interval` seconds, with sender reports."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        self.send_report()
        for number, payload in enumerate(self.codec.packets(samples)):
            await asyncio.sleep(max(0.0, start + number * interval - loop.time()))
            self.send(payload, marker=number == 0)
            if number % REPORT_EVERY == REPORT_EVERY - 1:
                self.send_report()
        self.send_report()

    def send(self, payload: bytes, *, marker: bool = False) -> None:
        """One RTP packet to the far side."""
        packet = build_rtp(
            self.codec.payload_type, self.next_sequence, self._timestamp, self._ssrc, payload, marker=marker
        )
        self.next_sequence = (self.next_sequence + 1) & 0xFFFF
        self._timestamp += PACKET_SAMPLES
        self.sent.append(packet)
        self._transmit(False, packet)

    def send_report(self) -> None:
        octets = sum(len(packet) - 12 for packet in self.sent)
        report = build_report(
            self._ssrc, self._now() + _NTP_EPOCH, self._timestamp, len(self.sent), octets, f"{self.name}@{CNAME_DOMAIN}"
        )
        self.rtcp_sent.append(report)
        self._transmit(True, report)

    async def wait_received(self, packets: int, reports: int, seconds: float) -> bool:
        """Until so many packets and reports have arrived; False when they have not within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while len(self.received) < packets or len(self.rtcp_received) < reports:
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            return False
        return True

    def forget(self) -> None:
        """Begin the four lists anew; the streams go on."""
        for packets in (self.sent, self.received, self.rtcp_sent, self.rtcp_received):
            packets.clear()

    def heard(self) -> array[int]:
        """What arrived, decoded, in order of sequence numbers."""
        audio: array[int] = array("h")
        for packet in in_order(self.received):
            header = parse_rtp(packet)
            assert header is not None  # only RTP is kept
            audio.extend(self.codec.decode(packet[header.length :]))
        return audio

    def _arrived(self, rtcp: bool, data: bytes, source: Address) -> None:
        if rtcp:
            self.rtcp_received.append(data)
        else:
            header = parse_rtp(data)
            if header is None:
                return
            self.received.append(data)
            if self.echo:
                self.send(data[header.length :], marker=header.marker)
        self._arrival.set()

    def _transmit(self, rtcp: bool, data: bytes) -> None:
        if self.remote is not None:
            self._opened().send(rtcp, data, self.remote)

    def _opened(self) -> UdpPair:
        assert self._pair is not None, "open() comes first"
        return self._pair


def in_order(packets: Sequence[bytes]) -> list[bytes]:
    """Packets of one short stream by sequence number, across its wrap."""
    headers = [(header, packet) for packet in packets if (header := parse_rtp(packet)) is not None]
    if not headers:
        return []
    first = headers[0][0].sequence
    return [packet for _, packet in sorted(headers, key=lambda item: (item[0].sequence - first + 0x8000) & 0xFFFF)]


def _audio_line(sdp: Sdp) -> int:
    found = (at for at, line in enumerate(sdp.media) if line.kind == "audio" and line.port and line.endpoint)
    index = next(found, None)
    if index is None:
        raise NegotiationFailed("no_audio", "no audio line is open", field="m=")
    return index


def _refused(kind: str, proto: str, formats: Sequence[str]) -> bytes:
    return f"m={kind} 0 {proto} {' '.join(formats)}\r\n".encode("ascii")
