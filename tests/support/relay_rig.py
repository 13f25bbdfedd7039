"""A relay leg with real loopback sockets at both ends and libsrtp as the far side.

`Rig` owns a relay; `Rig.leg()` opens a leg and returns a `Call`: the peer's sockets on the network side and the
dialer's on the loopback side. Waiting is bounded and never sleeps.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pylibsrtp import Policy, Session
from ueagent_native.relay import Address, EventKind, LegMode, LegStats, Relay, RelayConfig, RelayEvent
from ueagent_native.values import Direction, MasterKeyConfig, SrtpConfig

PATIENCE = 10.0  # seconds; only a failing test ever waits this long

AES_CM_80, AES_CM_32, GCM_128, GCM_256 = 1, 2, 7, 8
PROFILES = {
    AES_CM_80: (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
    AES_CM_32: (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 16, 14),
    GCM_128: (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    GCM_256: (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
}


def material(seed: int, suite: int = AES_CM_80) -> bytes:
    """Key and salt as SDES joins them; different for every seed."""
    _, key, salt = PROFILES[suite]
    return bytes((seed * 37 + i * 11 + 5) % 256 for i in range(key + salt))


def config(direction: Direction, seed: int, suite: int = AES_CM_80, **more: Any) -> SrtpConfig:
    key_len = PROFILES[suite][1]
    octets = material(seed, suite)
    key = MasterKeyConfig(octets[:key_len], octets[key_len:], lifetime=more.pop("lifetime", 0))
    return SrtpConfig(suite, direction, (key,), **more)


def to_send(seed: int, suite: int = AES_CM_80, **more: Any) -> SrtpConfig:
    return config(Direction.SEND, seed, suite, **more)


def to_receive(seed: int, suite: int = AES_CM_80, **more: Any) -> SrtpConfig:
    return config(Direction.RECEIVE, seed, suite, **more)


def outbound(seed: int, suite: int = AES_CM_80) -> Session:
    """A libsrtp session that protects with the key of `seed`."""
    return _session(seed, suite, Policy.SSRC_ANY_OUTBOUND)


def inbound(seed: int, suite: int = AES_CM_80) -> Session:
    return _session(seed, suite, Policy.SSRC_ANY_INBOUND)


def _session(seed: int, suite: int, ssrc_type: int) -> Session:
    policy = Policy(key=material(seed, suite), ssrc_type=ssrc_type, srtp_profile=PROFILES[suite][0])
    policy.allow_repeat_tx = True
    return Session(policy)


def rtp(seq: int, *, ssrc: int = 0x1234, payload: bytes = b"speech" * 20, payload_type: int = 0) -> bytes:
    return struct.pack("!BBHII", 0x80, payload_type, seq & 0xFFFF, seq * 160 & 0xFFFFFFFF, ssrc) + payload


def rtcp(*, ssrc: int = 0x1234, packet_type: int = 201) -> bytes:
    """An empty receiver report (or another type of the same shape)."""
    return struct.pack("!BBHI", 0x80, packet_type, 1, ssrc)


def udp(host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(PATIENCE)
    return sock


def where(sock: socket.socket) -> Address:
    host, port, *_ = sock.getsockname()
    return host, port


def eventually(ask: Callable[[], bool]) -> None:
    """Asks again and again (every question is a round trip through the relay thread) until true."""
    end = time.monotonic() + PATIENCE
    while not ask():
        assert time.monotonic() < end, "it never became true"


class Call:
    """One leg; see the module."""

    def __init__(
        self,
        rig: Rig,
        *,
        net_mux: bool = False,
        loop_mux: bool = False,
        host: str = "127.0.0.1",
        connect: bool = True,
        **leg: Any,
    ) -> None:
        self.relay = rig.relay
        net, net_rtcp, loop, loop_rtcp = udp(host), udp(host), udp(), udp()
        self.net, self.net_rtcp, self.loop, self.loop_rtcp = map(where, (net, net_rtcp, loop, loop_rtcp))
        leg.setdefault("never_plain", False)
        with net, net_rtcp, loop, loop_rtcp:  # those that the relay did not take are closed here
            self.leg = self.relay.open_leg(
                net_rtp=net.fileno(),
                net_rtcp=None if net_mux else net_rtcp.fileno(),
                loop_rtp=loop.fileno(),
                loop_rtcp=None if loop_mux else loop_rtcp.fileno(),
                **leg,
            )
            for sock, kept in ((net, True), (net_rtcp, not net_mux), (loop, True), (loop_rtcp, not loop_mux)):
                if kept:
                    sock.detach()
        if net_mux:
            self.net_rtcp = self.net
        if loop_mux:
            self.loop_rtcp = self.loop
        self.peer, self.peer_rtcp, self.dialer, self.dialer_rtcp = udp(host), udp(host), udp(), udp()
        if connect:
            self.relay.set_peer(self.leg, where(self.peer), None if net_mux else where(self.peer_rtcp))
            self.relay.set_dialer(self.leg, where(self.dialer), None if loop_mux else where(self.dialer_rtcp))

    def secure(self, suite: int = AES_CM_80) -> Self:
        """Keys of seed 1 to send, of seed 2 to receive."""
        self.relay.install(self.leg, send=to_send(1, suite), receive=to_receive(2, suite))
        self.relay.set_mode(self.leg, LegMode.SECURE)
        return self

    def from_dialer(self, packet: bytes) -> None:
        self.dialer.sendto(packet, self.loop)

    def from_peer(self, packet: bytes) -> None:
        self.peer.sendto(packet, self.net)

    def stats(self) -> LegStats:
        return self.relay.leg_stats(self.leg)

    def close(self) -> None:
        for sock in (self.peer, self.peer_rtcp, self.dialer, self.dialer_rtcp):
            sock.close()


class Rig:
    """Owns a started relay, and the sockets of its calls."""

    def __init__(self, *, start: bool = True, **capacities: int) -> None:
        self.relay = Relay(RelayConfig(**capacities))
        self.calls: list[Call] = []
        self._events: list[RelayEvent] = []
        if start:
            self.relay.start()

    def call(self, **options: Any) -> Call:
        self.calls.append(Call(self, **options))
        return self.calls[-1]

    def wait_event(self, kind: EventKind) -> RelayEvent:
        """The oldest event of this kind that was not returned yet."""
        end = time.monotonic() + PATIENCE
        while True:
            for i, event in enumerate(self._events):
                if event.kind == kind:
                    return self._events.pop(i)
            left = end - time.monotonic()
            assert left > 0, f"no {kind.name}; there were {self._events}"
            select.select([self.relay.fileno()], [], [], left)
            self._events += self.relay.events()

    def count_events(self, kind: EventKind) -> int:
        """How many of this kind have come so far and were not returned."""
        self._events += self.relay.events()
        return sum(event.kind == kind for event in self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.relay.close()
        for call in self.calls:
            call.close()
