"""T.38 datagrams between a dialer and the network (`ueagent/daemon/datagram_pump.py`), over loopback."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import pytest
from support.channels import ALICE, BOB, new_identity
from support.stream_rig import LOOPBACK, OTHER, SOON

from ueagent.channel.credentials import Identity
from ueagent.daemon import datagram_pump
from ueagent.daemon.datagram_pump import DatagramPump
from ueagent.errors import AuthenticationFailed, PeerError
from ueagent.keymgmt.dtls_association import Means
from ueagent.model.media import Place
from ueagent.model.security import ChannelTerms

BOTH = pytest.mark.parametrize("client", [True, False])


class Fax:
    """A dialer's port and the pump behind it."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind((LOOPBACK, 0))
        self.told: asyncio.Queue[PeerError | None] = asyncio.Queue()
        means = Means(identity, (), 1200, 0, os.urandom, dhe_rsa=True)
        self.pump = DatagramPump(means, LOOPBACK, LOOPBACK, self.told.put_nowait)
        self.pump.set_dialer(Place(*self.socket.getsockname()))

    def agree(self, other: Fax, *, client: bool, expected: Identity | None = None) -> None:
        accepted = frozenset((expected or other.identity).fingerprints())
        self.pump.agree(ChannelTerms(client, client, accepted, other.pump.network))

    async def outcome(self) -> PeerError | None:
        return await asyncio.wait_for(self.told.get(), SOON)

    def say(self, data: bytes) -> None:
        place = self.pump.loopback
        self.socket.sendto(data, (place.address, place.port))

    async def hear(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 2048), SOON)

    def close(self) -> None:
        self.pump.close()
        self.socket.close()


def run(test: Callable[[Fax, Fax], Awaitable[None]], alice: Identity = ALICE, bob: Identity = BOB) -> None:
    async def whole() -> None:
        faxes = Fax(alice), Fax(bob)
        try:
            await test(*faxes)
        finally:
            for fax in faxes:
                fax.close()

    asyncio.run(whole())


async def secured(alice: Fax, bob: Fax, *, client: bool = True) -> None:
    bob.agree(alice, client=not client)
    alice.agree(bob, client=client)
    assert [await fax.outcome() for fax in (alice, bob)] == [None, None]


@BOTH
def test_datagrams_pass_in_the_order_in_which_they_come(client: bool) -> None:
    """T38-1, T38-3: both roles, both directions; each UDPTL datagram is one datagram with its redundancy."""

    async def test(alice: Fax, bob: Fax) -> None:
        await secured(alice, bob, client=client)
        for sender, receiver in ((alice, bob), (bob, alice)):
            pages = [bytes([number]) * (number + 1) for number in (3, 1, 2, 2, 200, 0)]
            for page in pages:
                sender.say(page)
            assert [await receiver.hear() for _ in pages] == pages

    run(test)


def test_a_hello_that_comes_before_the_answer_is_kept() -> None:
    """T38-3: as for DTLS-SRTP, the ClientHello may be faster than SIP."""

    async def test(alice: Fax, bob: Fax) -> None:
        alice.agree(bob, client=True)
        assert await alice.outcome() is None
        bob.agree(alice, client=False)
        assert await bob.outcome() is None
        alice.say(b"page")
        assert await bob.hear() == b"page"

    run(test)


@BOTH
def test_a_wrong_certificate_ends_the_line(client: bool) -> None:
    """T38-6: in both roles."""

    async def test(alice: Fax, bob: Fax) -> None:
        bob.agree(alice, client=not client)
        alice.agree(bob, client=client, expected=OTHER)
        failure = await alice.outcome()
        assert isinstance(failure, AuthenticationFailed)
        assert failure.code == "fingerprint_mismatch"
        alice.say(b"page")
        await asyncio.wait_for(_holds(lambda: alice.pump.counts.before_keys == 1), SOON)

    run(test)


def test_only_dtls_is_taken_from_the_network() -> None:
    """T38-11: UDPTL in clear is not accepted, neither from strangers nor from the peer's own port."""

    async def test(alice: Fax, bob: Fax) -> None:
        await secured(alice, bob)
        place = alice.pump.network
        for data in (b"\x00\x01clear", b"\x80rtp", bytes([64]), bytes([19])):
            bob.pump._network.sendto(data, (place.address, place.port))
        bob.say(b"page")
        assert await alice.hear() == b"page"
        assert alice.pump.counts.not_dtls == 4

    run(test)


def test_strangers_disturb_neither_side() -> None:
    """T38-11: garbage in DTLS clothes on the network, another program on loopback."""

    async def test(alice: Fax, bob: Fax) -> None:
        await secured(alice, bob)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for place in (alice.pump.network, alice.pump.loopback):
                for data in (b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28", b"\x16\xfe\xfd" + bytes(40)):
                    stranger.sendto(data, (place.address, place.port))
        bob.say(b"one")
        alice.say(b"two")
        assert await alice.hear() == b"one"
        assert await bob.hear() == b"two"
        assert alice.pump.counts.stranger == 2

    run(test)


def test_old_keys_are_heard_until_the_new_association_stands() -> None:
    """T38-7: a new association during a page loses nothing."""

    async def test(alice: Fax, bob: Fax) -> None:
        await secured(alice, bob)
        bob.agree(alice, client=False)
        alice.say(b"under the old keys")
        assert await bob.hear() == b"under the old keys"
        alice.agree(bob, client=True)
        assert [await fax.outcome() for fax in (alice, bob)] == [None, None]
        alice.say(b"under the new keys")
        assert await bob.hear() == b"under the new keys"

    run(test)


def test_a_fax_with_an_rsa_certificate_is_a_peer_as_well() -> None:
    """T38-8."""

    async def test(alice: Fax, bob: Fax) -> None:
        await secured(alice, bob)
        bob.say(b"page")
        assert await alice.hear() == b"page"

    run(test, alice=new_identity("ecdsa-p256", "rsa-3072"), bob=new_identity("rsa-3072"))


def test_a_peer_that_does_not_come_ends_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """T38-3: the time that DTLS-23 gives, here less."""
    monkeypatch.setattr(datagram_pump, "PATIENCE", 0.05)

    async def test(alice: Fax, bob: Fax) -> None:
        alice.agree(bob, client=False)
        failure = await alice.outcome()
        assert failure is not None
        assert failure.code == "handshake_timeout"

    run(test)


def test_what_does_not_fit_or_comes_too_early_is_counted() -> None:
    """T38-1."""

    async def test(alice: Fax, bob: Fax) -> None:
        alice.say(b"early")
        await asyncio.wait_for(_holds(lambda: alice.pump.counts.before_keys == 1), SOON)
        await secured(alice, bob)
        alice.say(bytes(1400))
        alice.say(b"page")
        assert await bob.hear() == b"page"
        assert alice.pump.counts.too_long == 1

    run(test)


async def _holds(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)
