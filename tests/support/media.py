"""RTP and RTCP of a test: packets, a UDP socket pair that plays the softphone or the network, paced sending."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterable
from types import TracebackType

from support.peers import LOOPBACK, PATIENCE, udp_port_pair

PACE = 0.02  # seconds between two packets of one stream


def rtp(sequence: int, payload: bytes, *, ssrc: int, payload_type: int = 0) -> bytes:
    """RFC 3550, 5.1."""
    return struct.pack("!BBHII", 0x80, payload_type, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, ssrc) + payload


def sender_report(ssrc: int, packets: int, cname: bytes = b"peer@test") -> bytes:
    """RFC 3550, 6.4.1 and 6.5: SR without report blocks, then SDES with a CNAME."""
    report = struct.pack("!BBHIQIII", 0x80, 200, 6, ssrc, 0x0102030405060708, packets * 160, packets, packets * 160)
    item = b"\x01" + bytes([len(cname)]) + cname
    item += b"\0" * (4 - len(item) % 4)
    return report + struct.pack("!BBHI", 0x81, 202, 1 + len(item) // 4, ssrc) + item


def goodbye(ssrc: int) -> bytes:
    """RFC 3550, 6.4.2 and 6.6: empty RR, then BYE."""
    return struct.pack("!BBHI", 0x80, 201, 1, ssrc) + struct.pack("!BBHI", 0x81, 203, 1, ssrc)


class MediaPair:
    """A bound RTP and RTCP socket on the loopback, on a port and the next one."""

    def __init__(self) -> None:
        for attempt in range(50):
            low, high = udp_port_pair()
            self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.rtp.bind((LOOPBACK, low))
                self.rtcp.bind((LOOPBACK, high))
            except OSError:
                self.close()
                if attempt == 49:
                    raise
            else:
                break
        self.rtp.settimeout(PATIENCE)
        self.rtcp.settimeout(PATIENCE)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.rtp.getsockname()
        return host, port

    @property
    def rtcp_address(self) -> tuple[str, int]:
        host, port = self.rtcp.getsockname()
        return host, port

    def send_paced(self, packets: Iterable[bytes], to: tuple[str, int], stop: threading.Event | None = None) -> int:
        """Sends RTP at 20 ms; returns how many. Ends early when `stop` is set."""
        stop = stop or threading.Event()
        sent = 0
        for packet in packets:
            self.rtp.sendto(packet, to)
            sent += 1
            if stop.wait(PACE):
                break
        return sent

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()

    def __enter__(self) -> MediaPair:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
