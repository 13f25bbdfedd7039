"""TLS streams between a dialer and the network (`ueagent/daemon/pumps.py` and its parts), over loopback."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from support.channels import ALICE
from support.stream_rig import (
    LOOPBACK,
    OTHER,
    SOON,
    Listener,
    Rig,
    call,
    hear,
    hear_tls,
    resident,
    secured,
    terms,
)

from ueagent.channel.channel import Role
from ueagent.daemon.pumps import DialerGone
from ueagent.daemon.secure_stream import SecureStream, reset
from ueagent.daemon.stream_dialer import LoopbackCall, LoopbackDoor, PassedDescriptor
from ueagent.daemon.stream_network import MAX_CANDIDATES, Patience
from ueagent.errors import AuthenticationFailed, PeerError, UsageError
from ueagent.model.media import Place
from ueagent.wire.msrp import MsrpPaths
from ueagent.wire.msrp_attributes import MsrpUri

BOTH = pytest.mark.parametrize("opens", [True, False])
SHORT = Patience(whole=0.3, hello=0.05)

PATHS = MsrpPaths(
    dialer=(MsrpUri(False, "127.0.0.1", 1, "dialer"),),
    shown=MsrpUri(False, "127.0.0.1", 2, "shown"),
    ours=MsrpUri(True, "192.0.2.1", 3, "ours"),
    peer=(MsrpUri(True, "192.0.2.9", 4, "relay"), MsrpUri(True, "192.0.2.2", 5, "peer")),
)


def message(to_path: str, from_path: str) -> bytes:
    return (
        f"MSRP a786 SEND\r\nTo-Path: {to_path}\r\nFrom-Path: {from_path}\r\nMessage-ID: 1\r\n-------a786$\r\n".encode()
    )


FROM_DIALER = message("msrp://127.0.0.1:2/shown;tcp", "msrp://127.0.0.1:1/dialer;tcp")
TO_PEER = message("msrps://192.0.2.9:4/relay;tcp msrps://192.0.2.2:5/peer;tcp", "msrps://192.0.2.1:3/ours;tcp")
FROM_PEER = message("msrps://192.0.2.77:99/ours;tcp", "msrps://192.0.2.2:5/peer;tcp")
TO_DIALER = message("msrp://127.0.0.1:1/dialer;tcp", "msrp://127.0.0.1:2/shown;tcp")


def run(test: Callable[[Rig], Awaitable[None]], **options: object) -> None:
    async def whole() -> None:
        rig = Rig(**options)  # type: ignore[arg-type]
        try:
            await test(rig)
        finally:
            await rig.close()

    asyncio.run(whole())


async def turned_away(stream: SecureStream) -> None:
    """Our end of a handshake that is refused: with TLS 1.3 a client may learn that only afterwards."""

    async def hope() -> bytes:
        await stream.open()
        return await stream.receive()

    with pytest.raises((PeerError, OSError)):
        await asyncio.wait_for(hope(), SOON)
    stream.abort()


@BOTH
def test_octets_pass_both_ways_in_both_roles_and_each_direction_ends_for_itself(opens: bool) -> None:
    """MSRP-7, BFCP-1: half-close, from the dialer first."""

    async def test(rig: Rig) -> None:
        peer = await rig.connected(opens=opens)
        await rig.say(b"to the network")
        assert await hear_tls(peer, 14) == b"to the network"
        rig.dialer.shutdown(socket.SHUT_WR)
        assert await asyncio.wait_for(peer.receive(), SOON) == b""
        await peer.send(b"late, but not too late")
        assert await rig.hear(22) == b"late, but not too late"
        await peer.finish()
        assert await rig.hear(1) == b""
        await rig.ended()
        peer.close()

    run(test)


@BOTH
def test_the_peer_may_end_first(opens: bool) -> None:
    """MSRP-7."""

    async def test(rig: Rig) -> None:
        peer = await rig.connected(opens=opens)
        await peer.finish()
        assert await rig.hear(1) == b""
        await rig.say(b"still here")
        assert await hear_tls(peer, 10) == b"still here"
        rig.dialer.shutdown(socket.SHUT_WR)
        await rig.ended()
        peer.close()

    run(test)


def test_the_dialer_sees_its_own_path_and_the_network_ours() -> None:
    """MSRP-2, MSRP-10: paths change in messages as they did in SDP; a middlebox may have changed our address."""

    async def test(rig: Rig) -> None:
        peer = await rig.connected(opens=False)
        await rig.say(FROM_DIALER)
        assert await hear_tls(peer, len(TO_PEER)) == TO_PEER
        await peer.send(FROM_PEER)
        assert await rig.hear(len(TO_DIALER)) == TO_DIALER
        peer.close()

    run(test, paths=PATHS)


@BOTH
def test_a_wrong_certificate_ends_the_line_and_nothing_has_passed(opens: bool) -> None:
    """MSRP-7, BFCP-8: in both roles; what the dialer has sent already is held back."""

    async def test(rig: Rig) -> None:
        await rig.say(b"secret")
        peer_place = rig.listener.place if opens else Place(LOOPBACK, 9)
        rig.start(terms(opens=opens, peer=peer_place, identity=OTHER))
        if opens:
            stream = secured(await rig.listener.accept(), Role.SERVER)
        else:
            stream = secured(await call(rig.network.place), Role.CLIENT)
        await turned_away(stream)
        with pytest.raises(AuthenticationFailed) as caught:
            await rig.ended()
        assert caught.value.code == "fingerprint_mismatch"
        assert not rig.secured.is_set()

    run(test)


def test_strangers_neither_end_the_line_nor_take_its_place() -> None:
    """MSRP-7, MSRP-13: garbage, wrong certificates, more silent connections than there is room for."""

    async def test(rig: Rig) -> None:
        rig.start(terms(opens=False, peer=Place("127.0.0.9", 9)))
        silent = [await call(rig.network.place) for _ in range(MAX_CANDIDATES + 2)]
        garbage = await call(rig.network.place)
        await asyncio.get_running_loop().sock_sendall(garbage, b"GET / HTTP/1.1\r\n\r\n")
        wrong = secured(await call(rig.network.place), Role.CLIENT, OTHER)
        await turned_away(wrong)
        peer = secured(await call(rig.network.place), Role.CLIENT)
        await asyncio.wait_for(peer.open(), SOON)
        await peer.send(b"it is me")
        assert await rig.hear(8) == b"it is me"
        for sock in (*silent, garbage):
            sock.close()
        peer.close()

    run(test)


@BOTH
def test_a_peer_that_does_not_come_in_time_ends_the_line(opens: bool) -> None:
    """MSRP-13: 15 seconds, here fewer; also when it accepts and says nothing."""

    async def test(rig: Rig) -> None:
        rig.start(terms(opens=opens, peer=rig.listener.place))
        with pytest.raises(PeerError) as caught:
            await rig.ended()
        assert caught.value.code == "handshake_timeout"

    run(test, patience=SHORT)


def test_a_peer_that_cannot_be_reached_ends_the_line() -> None:
    """MSRP-13."""

    async def test(rig: Rig) -> None:
        place = rig.listener.place
        rig.listener.close()
        rig.start(terms(opens=True, peer=place))
        with pytest.raises(PeerError) as caught:
            await rig.ended()
        assert caught.value.code == "unreachable"

    run(test)


@BOTH
def test_roles_are_swapped_once_when_a_bfcp_peer_waits_for_our_hello(opens: bool) -> None:
    """BFCP-4: we are server, no ClientHello comes, the connection is closed and the next has the roles swapped."""

    async def test(rig: Rig) -> None:
        rig.start(terms(opens=opens, peer=rig.listener.place, client=False, may_swap=True))

        async def connection() -> socket.socket:
            return await (rig.listener.accept() if opens else call(rig.network.place))

        first = await connection()
        with pytest.raises((ConnectionError, AssertionError)):
            assert await hear(first, 1)
        first.close()
        peer = secured(await connection(), Role.SERVER)
        await asyncio.wait_for(peer.open(), SOON)
        await peer.send(b"floor")
        assert await rig.hear(5) == b"floor"
        peer.close()

    run(test, patience=Patience(whole=SOON, hello=0.05))


def test_the_answerer_that_opens_a_bfcp_connection_is_server() -> None:
    """BFCP-4, the default: who opens the TCP connection need not be TLS client."""

    async def test(rig: Rig) -> None:
        rig.start(terms(opens=True, peer=rig.listener.place, client=False, may_swap=True))
        peer = secured(await rig.listener.accept(), Role.CLIENT)
        await asyncio.wait_for(peer.open(), SOON)
        await rig.say(b"floor")
        assert await hear_tls(peer, 5) == b"floor"
        peer.close()

    run(test)


@pytest.mark.parametrize(("broken", "code"), [("reset", "connection_reset"), ("cut", "truncated")])
def test_a_peer_that_breaks_off_is_no_orderly_end(broken: str, code: str) -> None:
    """MSRP-7: an attacker can cut a TCP connection, but not say goodbye."""

    async def test(rig: Rig) -> None:
        peer = await rig.connected(opens=True)
        if broken == "reset":
            reset(peer._socket)
        peer._socket.close()
        with pytest.raises(PeerError) as caught:
            await rig.ended()
        assert caught.value.code == code

    run(test)


def test_a_dialer_that_breaks_off_resets_the_peer() -> None:
    """MSRP-7: on TCP, where a reset can be told from an end."""

    async def test(rig: Rig) -> None:
        listener = Listener()
        rig.pump._dialer = LoopbackCall(listener.place)
        rig.start(terms(opens=False))
        dialer = await listener.accept()
        peer = secured(await call(rig.network.place), Role.CLIENT)
        await asyncio.wait_for(peer.open(), SOON)
        reset(dialer)
        dialer.close()
        with pytest.raises(DialerGone):
            await rig.ended()
        with pytest.raises((PeerError, OSError)):
            await asyncio.wait_for(peer.receive(), SOON)
        peer.abort()
        listener.close()

    run(test)


def test_a_cancelled_pump_leaves_no_connection() -> None:
    async def test(rig: Rig) -> None:
        peer = await rig.connected(opens=False)
        assert rig.running is not None
        rig.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rig.running
        with pytest.raises((PeerError, OSError)):
            await asyncio.wait_for(peer.receive(), SOON)
        assert await rig.hear(1) == b""
        peer.abort()

    run(test)


def test_a_slow_reader_slows_the_writer_and_memory_stays_flat() -> None:
    """MSRP-1: back-pressure in both directions; the length of a transfer does not matter, so a short one shows it."""

    async def test(rig: Rig) -> None:
        peer = await rig.connected(opens=True)
        chunk = bytes(1 << 20)

        async def fill(write: Callable[[bytes], Awaitable[None]]) -> int:
            """How many MiB go in before the writer has to wait."""
            for count in range(64):
                try:
                    await asyncio.wait_for(write(chunk), 0.3)
                except TimeoutError:
                    return count
            return 64

        before = resident()
        assert await fill(lambda data: asyncio.get_running_loop().sock_sendall(rig.dialer, data)) < 32
        assert resident() - before < 32 << 20
        peer.abort()
        with pytest.raises(PeerError):
            await rig.ended()

    run(test)


def test_many_octets_arrive_as_they_were() -> None:
    """MSRP-1."""

    async def test(rig: Rig) -> None:
        peer = await rig.connected(opens=True)
        piece = bytes(range(256)) * 4096
        rounds = 24

        async def read(stream: SecureStream) -> int:
            count = 0
            while count < rounds * len(piece):
                data = await asyncio.wait_for(stream.receive(), SOON)
                at = count % 256
                assert data == (piece + piece)[at : at + len(data)]
                count += len(data)
            return count

        reading = asyncio.create_task(read(peer))
        for _ in range(rounds):
            await rig.say(piece)
        assert await reading == rounds * len(piece)
        peer.close()

    run(test)


# ---------------------------------------------------------------------------------------------- the dialer's side --


def test_only_who_knows_the_session_id_comes_in_through_the_door() -> None:
    """MSRP-2: TCP on loopback is open to every user of the machine; strangers do not keep the dialer out."""

    async def test() -> None:
        door = LoopbackDoor("shown")
        coming = asyncio.create_task(door.connection())
        loop = asyncio.get_running_loop()
        strangers = []
        for words in (TO_DIALER, b"\x16\x03\x01 what is this", b""):
            stranger = await call(door.place)
            strangers.append(stranger)
            await loop.sock_sendall(stranger, words)
            if not words:
                stranger.shutdown(socket.SHUT_WR)
            with pytest.raises((ConnectionError, AssertionError)):
                assert await hear(stranger, 1)
        dialer = await call(door.place)
        await loop.sock_sendall(dialer, FROM_DIALER[:30])
        await loop.sock_sendall(dialer, FROM_DIALER[30:])
        sock, first = await asyncio.wait_for(coming, SOON)
        assert sock.getpeername() == dialer.getsockname()
        assert first == FROM_DIALER
        for one in (*strangers, dialer, sock, door):
            one.close()

    asyncio.run(test())


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def connect_while_none_is_left(place: Place) -> socket.socket:
    """The kernel takes the connection, and the agent's accept fails."""
    sock = socket.socket()
    sock.setblocking(False)
    with no_descriptor_left():
        await asyncio.get_running_loop().sock_connect(sock, (place.address, place.port))
        for _ in range(3):  # turns of the loop
            await asyncio.sleep(0)
    return sock


def test_the_door_opens_again_when_there_are_descriptors_again() -> None:
    """MSRP-2: whoever fills the agent's table of descriptors for a moment shuts nobody out for longer."""

    async def test() -> None:
        door = LoopbackDoor("shown")
        coming = asyncio.create_task(door.connection())
        await asyncio.sleep(0)
        dialer = await connect_while_none_is_left(door.place)
        await asyncio.get_running_loop().sock_sendall(dialer, FROM_DIALER)
        sock, first = await asyncio.wait_for(coming, SOON)
        assert first == FROM_DIALER
        for one in (dialer, sock, door):
            one.close()

    asyncio.run(test())


def test_the_peer_gets_in_when_there_are_descriptors_again() -> None:
    """MSRP-7: a table of descriptors that was full for a moment costs no line."""

    async def test(rig: Rig) -> None:
        rig.start(terms(opens=False))
        await asyncio.sleep(0)
        peer = secured(await connect_while_none_is_left(rig.network.place), Role.CLIENT)
        await asyncio.wait_for(peer.open(), SOON)
        peer.abort()

    run(test)


def test_a_silent_stranger_at_the_door_is_let_go() -> None:
    """MSRP-13."""

    async def test() -> None:
        door = LoopbackDoor("shown", patience=0.05)
        coming = asyncio.create_task(door.connection())
        stranger = await call(door.place)
        assert await hear(stranger, 1) == b""
        coming.cancel()
        stranger.close()
        door.close()

    asyncio.run(test())


def test_the_first_request_of_the_dialer_is_not_lost_at_the_door() -> None:
    """MSRP-8: the request that opens the session goes on to the peer."""

    async def test() -> None:
        door = LoopbackDoor("shown")
        rig = Rig(side=door, paths=PATHS)
        rig.start(terms(opens=True, peer=rig.listener.place))
        dialer = await call(door.place)
        await asyncio.get_running_loop().sock_sendall(dialer, FROM_DIALER)
        peer = secured(await rig.listener.accept(), Role.SERVER)
        await asyncio.wait_for(peer.open(), SOON)
        assert await hear_tls(peer, len(TO_PEER)) == TO_PEER
        dialer.close()
        peer.abort()
        await rig.close()

    asyncio.run(test())


def test_the_dialers_listener_must_be_on_loopback() -> None:
    """MSRP-2: plain octets never leave the machine."""
    with pytest.raises(UsageError):
        LoopbackCall(Place("192.0.2.1", 2855))


def test_a_descriptor_that_is_no_unix_stream_is_refused() -> None:
    for kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_DGRAM)):
        with pytest.raises(UsageError):
            PassedDescriptor(socket.socket(*kind))


def test_nothing_shows_a_session_id() -> None:
    """MSRP-2."""
    assert all(word not in repr(PATHS).split("MsrpUri", 1)[1] for word in ("/ours", "/peer", "/shown", "/dialer"))
    assert ALICE is not OTHER
