"""T.38 over DTLS: UDPTL datagrams between the dialer's loopback port and the network. RFC 7345; T38-1, -3, -7, -11.

Datagrams pass in the order in which they come, one for one; nothing is repeated, reordered or kept for later. From the
network only DTLS is taken (RFC 7983: a first octet of 20 to 63), from loopback only what the dialer's own port sends.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from ueagent.errors import PeerError, ResourceError
from ueagent.keymgmt.dtls_association import Association, Means
from ueagent.keymgmt.mechanism import SendDatagram
from ueagent.model.media import Place
from ueagent.model.security import ChannelTerms

PATIENCE: Final = 15.0  # seconds until the peer has finished its handshake; DTLS-23
BURST: Final = 64  # datagrams of one side before the other has its turn
MAX_DATAGRAM: Final = 1 << 16
DTLS: Final = range(20, 64)


@dataclass(slots=True)
class DatagramCounts:
    """What was dropped, and why."""

    not_dtls: int = 0  # from the network: UDPTL in clear, and everything else (T38-11)
    stranger: int = 0  # on loopback: another program's
    before_keys: int = 0  # of the dialer
    too_long: int = 0  # of the dialer: no DTLS record holds it


class DatagramPump:
    """One image line. It answers a ClientHello from the beginning: who calls early loses nothing."""

    def __init__(self, means: Means, address: str, loopback: str, report: Callable[[PeerError | None], None]) -> None:
        """`address` is ours towards the network, `loopback` towards the dialer.

        `report` is told of each association: None when it stands, else why the line has none, `ended` when the peer
        has ended it. ResourceError: no port at one of these addresses.
        """
        self.counts = DatagramCounts()
        self._means = means
        self._dialer: Place | None = None
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._associations = [self._listening()]  # the newest first
        self._agreed = False
        self._reported = False
        self._ended = False
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._network = _bound(address)
        try:
            self._loopback = _bound(loopback)
        except ResourceError:
            self._network.close()
            raise
        self._loop.add_reader(self._network, self._from_network)
        self._loop.add_reader(self._loopback, self._from_dialer)

    @property
    def network(self) -> Place:
        return _place_of(self._network.getsockname())

    @property
    def loopback(self) -> Place:
        return _place_of(self._loopback.getsockname())

    @property
    def cipher(self) -> str | None:
        """The suite of the association that stands."""
        return next((one.cipher for one in self._associations if one.established), None)

    def set_dialer(self, dialer: Place) -> None:
        """Whose datagrams are taken on loopback, and where those of the network go. Until then there is nobody."""
        self._dialer = dialer

    def agree(self, terms: ChannelTerms) -> None:
        """A new association on these terms. An old one is heard until the new one stands (T38-7)."""
        now = self._loop.time()
        newest = self._associations[0]
        if self._agreed or terms.client:
            newest = self._listening() if not terms.client else Association(self._means, rtcp=False)
            kept = [one for one in self._associations if one.established]
            for other in self._associations:
                if other not in kept:
                    other.close()
            self._associations = [newest, *kept[:1]]
        self._agreed, self._reported, self._ended = True, False, False
        self._deadline = now + PATIENCE
        newest.expect(terms.accepted, terms.peer)
        if terms.client and terms.peer is not None:
            newest.connect(terms.peer, now)
        self._progress()

    def close(self) -> None:
        """Idempotent. Nothing is sent: signalling has ended the line."""
        for sock in (self._network, self._loopback):
            if sock.fileno() >= 0:
                self._loop.remove_reader(sock)
                sock.close()
        if self._timer is not None:
            self._timer.cancel()
        for association in self._associations:
            association.close()
        self._associations = []

    # ------------------------------------------------------------------------------------------------- datagrams --

    def _from_network(self) -> None:
        for data, source in _burst(self._network):
            if not data or data[0] not in DTLS:
                self.counts.not_dtls += 1
                continue
            for association in self._associations:
                if association.wants(data, source):
                    association.take(data, source, self._loop.time())
                    self._hand_over(association)
                    break
        self._progress()

    def _from_dialer(self) -> None:
        for data, source in _burst(self._loopback):
            standing = next((one for one in self._associations if one.established), None)
            if source != self._dialer:
                self.counts.stranger += 1
            elif standing is None:
                self.counts.before_keys += 1
            elif not 0 < len(data) <= self._means.mtu:
                self.counts.too_long += 1
            else:
                standing.send(data)
                self._flush(standing)

    def _hand_over(self, association: Association) -> None:
        received, association.received = association.received, []
        if self._dialer is None:
            return
        for data in received:
            with suppress(OSError):  # a dialer that does not listen loses datagrams, as UDP does
                self._loopback.sendto(data, (self._dialer.address, self._dialer.port))

    def _flush(self, association: Association) -> None:
        datagrams, association.datagrams = association.datagrams, []
        for sent in datagrams:
            _send(self._network, sent)

    # -------------------------------------------------------------------------------------------------- handshakes --

    def _progress(self) -> None:
        """What the handshakes have brought about, and when to look again."""
        now = self._loop.time()
        for association in self._associations:
            self._flush(association)
        if self._agreed and not self._reported:
            self._judge(now)
        elif self._agreed and not self._ended and self._associations[0].peer_closed:
            self._ended = True
            self._report(PeerError("ended", "the peer has ended the association"))
        if self._timer is not None:
            self._timer.cancel()
        waits = [wait for one in self._associations if (wait := one.next_timeout(now)) is not None]
        if self._deadline is not None:
            waits.append(max(0.0, self._deadline - now))
        self._timer = self._loop.call_later(min(waits), self._expire) if waits else None

    def _judge(self, now: float) -> None:
        newest = self._associations[0]
        if newest.established:
            for old in self._associations[1:]:
                old.close()
            self._associations = [newest]
            self._tell(None)
        elif newest.failure is not None:
            self._tell(newest.failure)
        elif self._deadline is not None and now >= self._deadline:
            timeout = PeerError("handshake_timeout", f"no DTLS handshake within {PATIENCE:.0f} seconds")
            self._tell(newest.refusal or timeout)

    def _tell(self, failure: PeerError | None) -> None:
        self._reported, self._deadline = True, None
        if failure is not None:
            for association in self._associations:
                association.close()
            self._associations = [Association(self._means, rtcp=False)]  # nobody gets through it
        self._report(failure)

    def _expire(self) -> None:
        for association in self._associations:
            association.expire(self._loop.time())
        self._progress()

    def _listening(self) -> Association:
        association = Association(self._means, rtcp=False)
        association.listen()
        return association


def _bound(address: str) -> socket.socket:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind((address, 0))
    except OSError as error:
        sock.close()
        raise ResourceError("no_port", f"no UDP port for T.38: {error.strerror}") from None
    return sock


def _burst(sock: socket.socket) -> list[tuple[bytes, Place]]:
    """What is there now, bounded."""
    found: list[tuple[bytes, Place]] = []
    for _ in range(BURST):
        try:
            data, name = sock.recvfrom(MAX_DATAGRAM)
        except BlockingIOError:
            break
        except OSError:
            continue  # somebody's port was closed: the kernel says so once
        found.append((data, _place_of(name)))
    return found


def _send(sock: socket.socket, sent: SendDatagram) -> None:
    with suppress(OSError):  # as lost as any datagram; DTLS repeats its flights
        sock.sendto(sent.data, (sent.to.address, sent.to.port))


def _place_of(name: tuple[str, int] | tuple[str, int, int, int]) -> Place:
    return Place(name[0], name[1])
