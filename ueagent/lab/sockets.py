"""UDP socket pairs of the lab: RTP on an even port, RTCP on the next one (RFC 3550, 11)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Final

from ueagent.errors import ResourceError
from ueagent.lab.capture import Address
from ueagent.model.media import Endpoint

LOOPBACK: Final = "127.0.0.1"
_ATTEMPTS: Final = 200
_RECEIVE_BUFFER: Final = 1 << 20  # octets: a burst must not be lost while Python is busy

Receiver = Callable[[bool, bytes, Address], None]  # whether on the RTCP port, datagram, its source


class UdpPair:
    """Two bound sockets. What arrives goes to the receiver, which must not block."""

    def __init__(
        self, endpoint: Endpoint, transports: tuple[asyncio.DatagramTransport, asyncio.DatagramTransport]
    ) -> None:
        self.endpoint = endpoint
        self._rtp, self._rtcp = transports

    @classmethod
    async def open(cls, receiver: Receiver, address: str = LOOPBACK) -> UdpPair:
        """Bound to ports of the system's choice. ResourceError when there is no pair."""
        loop = asyncio.get_running_loop()
        sockets = _bound_pair(address)
        transports: list[asyncio.DatagramTransport] = []
        try:
            for rtcp, bound in enumerate(sockets):
                transport, _ = await loop.create_datagram_endpoint(_to(receiver, bool(rtcp)), sock=bound)
                transports.append(transport)
        except BaseException:
            for transport in transports:
                transport.close()  # first: the loop must not watch a descriptor that is somebody else's by then
            for bound in sockets:
                bound.close()
            raise
        rtp_port, rtcp_port = (bound.getsockname()[1] for bound in sockets)
        return cls(Endpoint(address, rtp_port, rtcp_port), (transports[0], transports[1]))

    def send(self, rtcp: bool, data: bytes, remote: Endpoint) -> None:
        """To the port of `remote` that fits."""
        transport = self._rtcp if rtcp else self._rtp
        if not transport.is_closing():
            transport.sendto(data, address_of(remote, rtcp))

    def close(self) -> None:
        self._rtp.close()
        self._rtcp.close()


class _Inbox(asyncio.DatagramProtocol):
    def __init__(self, receiver: Receiver, rtcp: bool) -> None:
        self._receiver = receiver
        self._rtcp = rtcp

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._receiver(self._rtcp, data, (str(addr[0]), int(addr[1])))

    def error_received(self, exc: Exception) -> None:
        """A port that nobody listens on is no reason to stop: that is what a call looks like while it is built up."""


def address_of(endpoint: Endpoint, rtcp: bool) -> Address:
    return endpoint.address, endpoint.rtcp_port if rtcp else endpoint.rtp_port


def _to(receiver: Receiver, rtcp: bool) -> Callable[[], _Inbox]:
    return lambda: _Inbox(receiver, rtcp)


def _bound_pair(address: str) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    for _ in range(_ATTEMPTS):
        rtp, rtcp = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        try:
            rtp.bind((address, 0))
            port = rtp.getsockname()[1]
            if port % 2 == 0:
                rtcp.bind((address, port + 1))
                for bound in (rtp, rtcp):
                    bound.setblocking(False)
                    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
                return rtp, rtcp
        except OSError:
            pass  # the next port was taken
        rtp.close()
        rtcp.close()
    raise ResourceError("no_ports", f"no free pair of UDP ports on {address}")
