"""Owns the native relay: sockets for its legs, and the way of its events to sessions.

Towards the network a leg binds the configured address, towards the dialer 127.0.0.1 or ::1. RTP takes an even port
and RTCP the next one (RFC 3550, 11) on both sides. Only numbers cross into C per call; packets never come here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from ueagent_native.arena import ArenaFlags
from ueagent_native.relay import EventKind, LegMode, LegStats, Part, Relay, RelayConfig, RelayEvent
from ueagent_native.values import Direction, MasterKeyConfig, NativeError, RccConfig, SrtpConfig, Status

from ueagent.daemon.config import NetworkConfig
from ueagent.daemon.config import RelayConfig as Settings
from ueagent.daemon.logs import Log
from ueagent.errors import AgentError, EngineError, ResourceError, UsageError
from ueagent.ipc import api
from ueagent.model.keys import KeySet, MasterKey
from ueagent.model.media import Component, Endpoint, Place
from ueagent.session.commands import Media, MediaEvent
from ueagent.session.effects import InstallKeys, OpenRelay

if TYPE_CHECKING:
    from ueagent.daemon.accelerator import AcceleratorHost

LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
WINDOW_MAX: Final = 1024  # replay list, packets; RFC 4568 WSH above it is cut
_TRIES: Final = 64  # ports that the system gives in pairs: it may take a few
_RECEIVE_BUFFER: Final = 256 * 1024  # octets of one socket

_DIRECTIONS: Final = ("sent", "received")
_STREAMS: Final[tuple[tuple[Literal["sent", "received"], Direction], ...]] = (
    ("sent", Direction.SEND),
    ("received", Direction.RECEIVE),
)


@dataclass(frozen=True, slots=True)
class Translation:
    """How an event of C becomes one of a session: what its numbers mean."""

    media: Media
    a: str | None = None  # the MediaEvent member that `a` is
    direction: str | None = None


TRANSLATIONS: Final = MappingProxyType(
    {
        EventKind.FIRST_PACKET: Translation(Media.FIRST_PACKET, "ssrc", "received"),
        EventKind.AUTH_BURST: Translation(Media.AUTH_BURST, "count", "received"),
        EventKind.SOFT_LIMIT: Translation(Media.SOFT_LIMIT, "direction"),
        EventKind.KEY_EXPIRED: Translation(Media.KEY_EXPIRED, "direction"),
        EventKind.RESTART: Translation(Media.RESTART, "ssrc", "sent"),
        EventKind.LATE_START: Translation(Media.LATE_START, "ssrc", "sent"),
        EventKind.NEW_KEY_SEEN: Translation(Media.NEW_KEY_SEEN, None, "received"),
        EventKind.OLD_KEY_GONE: Translation(Media.OLD_KEY_GONE, None, "received"),
        EventKind.PEER_MOVED: Translation(Media.PEER_MOVED),
        EventKind.IDLE: Translation(Media.IDLE, None, "received"),
        EventKind.SSRC_FULL: Translation(Media.SSRC_FULL),
        EventKind.ENGINE: Translation(Media.ENGINE_FAILED),
        EventKind.SOCKET: Translation(Media.SOCKET_FAILED, "count"),
        EventKind.KEYS_LOST: Translation(Media.KEYS_LOST),
    }
)

OnMedia = Callable[[int, RelayEvent], None]
# leg, datagram, where it came from, whether to the RTCP socket
OnDatagram = Callable[[int, bytes, Place, bool], None]

_PARTS: Final = MappingProxyType({Component.BOTH: Part.BOTH, Component.RTP: Part.RTP, Component.RTCP: Part.RTCP})


class RelayHost:
    """`engines` gives each suite's engine where it is not the core's own choice."""

    def __init__(
        self,
        network: NetworkConfig,
        settings: Settings,
        engines: dict[str, str],
        log: Log,
        accelerator: AcceleratorHost | None = None,
    ) -> None:
        self._network = network
        self._settings = settings
        self._engines = engines
        self._log = log
        self._ports = _PortRange(*network.ports) if network.ports else None
        _check_addresses(network)
        self._on_event: OnMedia | None = None
        self._on_datagram: OnDatagram | None = None
        self._relay = Relay(
            RelayConfig(
                max_legs=settings.max_legs,
                split_legs=min(settings.split_legs, settings.max_legs),
                early_packets=settings.early_packets,
                max_ssrc=settings.max_ssrc,
                rtp_window_max=WINDOW_MAX,
                auth_burst=settings.auth_burst,
            )
        )

        self._secured: set[int] = set()  # legs that are meant to have keys
        self._accelerator = accelerator
        if accelerator is not None:
            self._relay.attach(accelerator.link)

    @property
    def arena(self) -> list[str]:
        """What protects the memory that holds the keys, by name."""
        return [str(flag.name).lower() for flag in ArenaFlags(self._relay.arena_flags)]

    def accelerator_state(self) -> api.AcceleratorState | None:
        """None: none is configured."""
        return None if self._accelerator is None else self._accelerator.state()

    def start(self, on_event: OnMedia, on_datagram: OnDatagram) -> None:
        """Begin to carry packets. Events, DTLS and STUN datagrams are handed over in the running event loop."""
        self._on_event, self._on_datagram = on_event, on_datagram
        self._relay.start()
        asyncio.get_running_loop().add_reader(self._relay.fileno(), self._take_events)

    def close(self) -> None:
        """Sockets closed, keys wiped. Idempotent."""
        if self._on_event is not None:
            asyncio.get_running_loop().remove_reader(self._relay.fileno())
            self._on_event = self._on_datagram = None
        self._relay.close()

    def _take_events(self) -> None:
        for event in self._relay.events():
            if event.kind is EventKind.LOST:
                self._log.warning("relay_events_lost", count=event.a)
            elif event.kind is EventKind.ACCELERATOR:
                if self._accelerator is not None:
                    self._accelerator.changed(event.a)
            elif self._on_event is not None:
                self._on_event(event.leg, event)
        for control in self._relay.controls():
            if self._on_datagram is not None:
                self._on_datagram(control.leg, control.data, Place(*control.sender), control.rtcp)

    # ---------------------------------------------------------------------------------------------------- legs --

    def open_leg(self, wanted: OpenRelay) -> tuple[int, Endpoint, Endpoint]:
        """A leg of the relay, its network and its loopback endpoint. ResourceError: no sockets, ports or capacity."""
        if self._accelerator is not None and wanted.secured:
            self._accelerator.admit(len(self._secured))
        address = self._network.address if wanted.family == 4 else self._network.address6
        if address is None:
            raise ResourceError("no_address", f"no IPv{wanted.family} address is configured", field="network.address6")
        sockets: list[socket.socket] = []
        try:
            sockets += self._bind(address, wanted.rtcp_mux, self._ports)
            split = len(sockets)
            sockets += self._bind(LOOPBACK[wanted.loopback_family], False, None)
            network, loopback = _endpoint(sockets[:split]), _endpoint(sockets[split:])
            descriptors = [sock.fileno() for sock in sockets]
            leg = self._relay.open_leg(
                net_rtp=descriptors[0],
                net_rtcp=None if wanted.rtcp_mux else descriptors[1],
                loop_rtp=descriptors[split],
                loop_rtcp=descriptors[split + 1],
                never_plain=wanted.never_plain,
                learn_peer=self._settings.learn_peer,
                idle_seconds=self._settings.idle_seconds,
            )
        except NativeError as error:
            for sock in sockets:
                sock.close()
            raise translated(error) from None
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        for sock in sockets:
            sock.detach()  # the relay owns them now
        if wanted.secured:
            self._secured.add(leg)
        return leg, network, loopback

    def close_leg(self, leg: int) -> None:
        with _Translated():
            self._relay.close_leg(leg)
        self._secured.discard(leg)

    def set_dialer(self, leg: int, endpoint: Endpoint) -> None:
        with _Translated():
            self._relay.set_dialer(leg, *_addresses(endpoint))

    def set_peer(self, leg: int, endpoint: Endpoint) -> None:
        with _Translated():
            self._relay.set_peer(leg, *_addresses(endpoint))

    def set_ice(self, leg: int, on: bool) -> None:
        with _Translated():
            self._relay.set_ice(leg, on)

    def set_mode(self, leg: int, mode: str) -> None:
        with _Translated():
            self._relay.set_mode(leg, LegMode[mode.upper()])

    def install(self, leg: int, effect: InstallKeys) -> None:
        """Keys into C. Wiping `effect.keys` stays the caller's duty."""
        keys = effect.keys
        if self._accelerator is not None:
            self._accelerator.check(keys)
        with _Translated():
            if self._engines:
                self._relay.set_engine(leg, self._engines.get(keys.suite.name))
            # What came under another fork's keys is not heard any more (DYN-3).
            install = self._relay.install if effect.former else partial(self._relay.install, grace_ms=0, grace_max_ms=0)
            install(
                leg,
                part=_PARTS[effect.component],
                send=self._context(keys, Direction.SEND) if effect.send else None,
                receive=self._context(keys, Direction.RECEIVE) if effect.receive else None,
            )

    def send(self, leg: int, data: bytes, to: Place, rtcp: bool) -> bool:
        """A DTLS or STUN datagram from the leg's network socket. False: it did not leave, as if lost on the way."""
        try:
            self._relay.send(leg, data, rtcp=rtcp, to=(to.address, to.port))
        except NativeError as error:
            if error.status not in (Status.SYSTEM, Status.BAD_ARGUMENT):
                raise
            return False
        return True

    def _context(self, keys: KeySet, direction: Direction) -> SrtpConfig:
        assert keys.suite.native is not None
        masters = (keys.send,) if direction is Direction.SEND else keys.receive
        window = min(max(keys.receive_window, 64), WINDOW_MAX)
        rcc = RccConfig(keys.rcc.mode, keys.rcc.tag_length, keys.rcc.rate) if keys.rcc else None
        return SrtpConfig(
            suite=keys.suite.native,
            direction=direction,
            keys=tuple(_master(master) for master in masters),
            max_ssrc=self._settings.max_ssrc,
            rtp_window=window,
            rtcp_window=128,
            soft_limit=_soft_limit(keys, masters),
            rcc=rcc,
        )

    # ------------------------------------------------------------------------------------------------ counters --

    def counters(self, line: int, leg: int, refused_checks: int = 0) -> api.LineCounters:
        with _Translated():
            stats = self._relay.leg_stats(leg)
            streams = [
                api.StreamCounters(
                    ssrc=stream.ssrc,
                    direction=word,
                    packets=stream.packets,
                    octets=stream.octets,
                    roc=stream.roc,
                    auth_failures=stream.auth_fail,
                    replays=stream.replay,
                    too_old=stream.too_old,
                )
                for word, direction in _STREAMS
                for stream in self._relay.leg_streams(leg, direction)
            ]
        return line_counters(line, stats, streams, refused_checks)

    # ------------------------------------------------------------------------------------------------- sockets --

    def _bind(self, address: str, muxed: bool, ports: _PortRange | None) -> list[socket.socket]:
        """One socket, or two on an even port and the next. ResourceError when none are to be had."""
        for even in ports.evens() if ports else [0] * _TRIES:
            found: list[socket.socket] = []
            try:
                found.append(_udp(address, even))
                if muxed:
                    return found
                port = found[0].getsockname()[1]
                if port % 2 == 0:
                    return [*found, _udp(address, port + 1)]
            except OSError:
                pass  # taken
            for sock in found:
                sock.close()
        raise ResourceError("no_ports", f"no free pair of UDP ports on {address}")


def _check_addresses(network: NetworkConfig) -> None:
    """UsageError `bad_config`: an address is not one of this machine's."""
    for key, address in (("address", network.address), ("address6", network.address6)):
        try:
            if address is not None:
                _udp(address, 0).close()
        except OSError as error:
            detail = f"network.{key} = {address} cannot be used: {error.strerror}"
            raise UsageError("bad_config", detail, field=f"network.{key}") from None


class _PortRange:
    """Even ports of a range, starting behind the one given last so that a port rests before it is used again."""

    def __init__(self, low: int, high: int) -> None:
        self._evens = list(range(low + low % 2, high, 2))
        self._next = 0

    def evens(self) -> Iterator[int]:
        for _ in self._evens:
            even = self._evens[self._next]
            self._next = (self._next + 1) % len(self._evens)
            yield even


def _udp(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _endpoint(sockets: list[socket.socket]) -> Endpoint:
    address, port = sockets[0].getsockname()[:2]
    return Endpoint(address, port, sockets[-1].getsockname()[1])


def _addresses(endpoint: Endpoint) -> tuple[tuple[str, int], tuple[str, int] | None]:
    rtcp = None if endpoint.rtcp_port == endpoint.rtp_port else (endpoint.address, endpoint.rtcp_port)
    return (endpoint.address, endpoint.rtp_port), rtcp


# ----------------------------------------------------------------------------------------------------- translation --


def media_event(line: int, event: RelayEvent) -> MediaEvent | None:
    """An event of C as an input for the session whose m-line `line` it concerns; None: it concerns nobody."""
    row = TRANSLATIONS.get(event.kind)
    if row is None:
        return None
    return MediaEvent(
        leg=line,
        kind=row.media,
        direction=_DIRECTIONS[event.a & 1] if row.a == "direction" else row.direction,
        ssrc=event.a if row.a == "ssrc" else None,
        count=event.a if row.a == "count" else None,
    )


def line_counters(
    line: int, stats: LegStats, streams: list[api.StreamCounters], refused_checks: int = 0
) -> api.LineCounters:
    send, receive = stats.send, stats.receive
    return api.LineCounters(
        line=line,
        engine=stats.send_engine or stats.receive_engine,
        packets_sent=send.packets,
        packets_received=receive.packets,
        octets_sent=send.octets,
        octets_received=receive.octets,
        rtcp_sent=send.rtcp_packets,
        rtcp_received=receive.rtcp_packets,
        plain_sent=stats.plain_sent,
        plain_received=stats.plain_received,
        auth_failures=receive.auth_fail,
        replays=receive.replay,
        too_old=receive.too_old,
        wrong_mki=receive.wrong_mki,
        unknown_ssrc=stats.unknown_ssrc,
        repeated_index=send.replay + send.too_old,
        held=send.held,
        refused_checks=refused_checks,
        accelerated=stats.accelerated,
        dropped=stats.dropped_closed + stats.dropped_class + stats.send_errors,
        key_age_ms=stats.key_age_ms,
        streams=streams,
    )


def _master(master: MasterKey) -> MasterKeyConfig:
    return MasterKeyConfig(
        key=master.key.reveal(),
        salt=master.salt.reveal(),
        mki=master.mki.octets() if master.mki else b"",
        lifetime=master.lifetime or 0,
    )


def _soft_limit(keys: KeySet, masters: tuple[MasterKey, ...]) -> int:
    """Packets after which a re-key is wanted: nine tenths of the shortest signalled lifetime, or the suite's figure."""
    signalled = [master.lifetime for master in masters if master.lifetime]
    return min([keys.suite.rekey_at, *(lifetime - lifetime // 10 for lifetime in signalled)])


def translated(error: NativeError) -> AgentError:
    """The failure of a call into C as one of the error tree. What no correct call provokes stays a NativeError."""
    match error.status:
        case Status.ENGINE | Status.SELF_TEST | Status.UNSUPPORTED:
            return EngineError("engine_failed", f"the crypto engine refused: {error.status.name.lower()}")
        case Status.NO_ROOM | Status.SYSTEM | Status.BUSY:
            return ResourceError("relay_exhausted", f"the relay has no room: {error.status.name.lower()}")
        case _:
            raise error


class _Translated:
    """`with _Translated():` around calls into C."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NativeError):
            raise translated(error) from None
