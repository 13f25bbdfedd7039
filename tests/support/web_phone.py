"""The dialer of a call with a browser: it talks a tone in G.711 and listens, both without end, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from support.local_agent import Phone, rtp_packet
from support.media import PACE
from support.tone import FRAME, mulaw_to_linear, share_at, sine_mulaw

SAY = 440  # Hz
PATIENCE = 30.0  # seconds; only a failing test waits this long
SECOND = 50  # packets


def is_tone(samples: list[int], frequency: int | None, rate: int = 8000) -> bool:
    """Loud, and for the most part at that frequency where one is given."""
    return max(map(abs, samples)) > 1000 and (frequency is None or share_at(samples, frequency, rate) > 0.5)


class WebPhone(Phone):
    """`heard` are the payloads of RTP that came to it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[bytes] = []
        self._arrived = asyncio.Condition()

    @property
    def sdp(self) -> str:
        """With its direction: aiortc takes none for `inactive`, where RFC 4566 says `sendrecv`."""
        return super().sdp + "a=sendrecv\r\n"

    @asynccontextmanager
    async def talking(self, port: int) -> AsyncIterator[None]:
        """SAY goes to that port, and what comes is heard."""
        tasks = [asyncio.create_task(self._talk(port)), asyncio.create_task(self._listen())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    async def hears(self, frequency: int | None = None) -> None:
        """A second of that tone, or of something loud, came; TimeoutError when it does not."""
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: self._has(frequency))

    async def reported(self) -> None:
        """An RTCP packet came to its own port."""
        async with asyncio.timeout(PATIENCE):
            packet = await asyncio.get_running_loop().sock_recv(self.rtcp, 2048)
        assert 192 <= packet[1] <= 223

    def _has(self, frequency: int | None) -> bool:
        return len(self.heard) >= SECOND and is_tone(mulaw_to_linear(b"".join(self.heard[-SECOND:])), frequency)

    async def _talk(self, port: int) -> None:
        speech = sine_mulaw(SAY, SECOND * FRAME)
        sequence = 0
        while True:
            at = sequence % SECOND * FRAME
            await self.send(port, rtp_packet(sequence, speech[at : at + FRAME]))
            sequence += 1
            await asyncio.sleep(PACE)  # that is how fast speech is

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            packet = await loop.sock_recv(self.rtp, 2048)
            # A browser's packets have header extensions (RFC 3550, 5.3.1).
            head = 12 + 4 * (packet[0] & 0x0F)
            if packet[0] & 0x10:
                head += 4 + 4 * int.from_bytes(packet[head + 2 : head + 4], "big")
            async with self._arrived:
                self.heard.append(packet[head:])
                self._arrived.notify_all()
