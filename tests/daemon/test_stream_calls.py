"""MSRP and BFCP over TLS and T.38 over DTLS through real agents: from the dialer's SDP to octets that arrive."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest
from support.stream_calls import LOOPBACK, SOON, Side, between, call, hear, say, tcp, until_end
from support.stream_lines import BFCP, MSRP, UDPTL, m_line, value

from ueagent.errors import AgentError, UsageError

NAT: dict[str, Any] = {"policy": {"streams_active": True}}
TCP: dict[str, Any] = {"streams": {"bfcp_tcp": True}}
# bob's agent waits for the connection, or opens it
ROLES = pytest.mark.parametrize("bob_opens", [False, True])


def changed(answer: str) -> str:
    """One bit of each fingerprint."""
    lines = answer.split("\r\n")
    for at, line in enumerate(lines):
        if line.startswith("a=fingerprint"):
            lines[at] = line[:-1] + f"{int(line[-1], 16) ^ 1:X}"
    return "\r\n".join(lines)


async def attached(one: Side) -> socket.socket:
    """The dialer's end of a descriptor that was passed."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    mine.setblocking(False)
    try:
        await one.client.attach_stream(session=one.session, line=0, sock=theirs)
    except AgentError:
        mine.close()
        raise
    finally:
        theirs.close()
    return mine


def seen(one: Side, other: Side, body: bytes) -> bytes:
    """A message of `other` as the dialer of `one` gets it."""
    lines = other.message(body).split(b"\r\n")
    lines[1] = b"To-Path: " + value(one.describe(MSRP, one.role), "path").encode()
    lines[2] = b"From-Path: " + value(one.plain, "path").encode()
    return b"\r\n".join(lines)


@ROLES
def test_two_dialers_chat_over_tls(bob_opens: bool) -> None:
    """MSRP-1, MSRP-2, MSRP-7, MSRP-8: both setup roles, mirrored on loopback; each dialer sees its own path, and the
    one that it was shown."""

    async def test(alice: Side, bob: Side) -> None:
        await call(alice, bob, MSRP)
        bob_side = await bob.connect()
        await say(bob_side, bob.message(b"hello alice"))
        alice_side = await (alice.accept() if bob_opens else alice.connect())
        await say(alice_side, alice.message(b"hello bob"))
        await hear(alice_side, seen(alice, bob, b"hello alice"))
        await hear(bob_side, seen(bob, alice, b"hello bob"))
        for one in (alice, bob):
            await one.until("keys_in_place")
            line = await one.line()
            assert (line.mechanism, line.scope, line.assured, line.keys_in_place) == ("TLS", "e2ae", True, True)
            assert (line.suite or "").startswith("TLS_AES_")
        alice_side.shutdown(socket.SHUT_WR)
        assert await until_end(bob_side) == b""
        await say(bob_side, bob.message(b"one more"))
        await hear(alice_side, seen(alice, bob, b"one more"))
        bob_side.close()
        assert await until_end(alice_side) == b""
        for one in (alice, bob):
            await one.until("security_state", "ended")
        alice_side.close()

    between(test, bob=NAT if bob_opens else None)


def test_a_lost_connection_is_made_anew_by_the_next_offer() -> None:
    """MSRP-13."""

    async def test(alice: Side, bob: Side) -> None:
        await call(alice, bob, MSRP)
        sides = await asyncio.gather(alice.connect(), bob.connect())
        for one, sock in zip((alice, bob), sides, strict=True):
            await say(sock, one.message(b"first"))
        await hear(sides[0], seen(alice, bob, b"first"))
        sides[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sides[0].close()
        await alice.until("security_state", "dialer_gone")
        await bob.until("security_state")
        with pytest.raises(ConnectionError):
            await until_end(sides[1])
        sides[1].close()
        await call(alice, bob, MSRP)
        sides = await asyncio.gather(alice.connect(), bob.connect())
        for one, sock in zip((alice, bob), sides, strict=True):
            await say(sock, one.message(b"again"))
        await hear(sides[0], seen(alice, bob, b"again"))
        for sock in sides:
            sock.close()

    between(test)


@ROLES
def test_bfcp_over_passed_descriptors(bob_opens: bool) -> None:
    """BFCP-1, BFCP-4, BFCP-6: octets pass as they are, an error "Use TLS" too; nobody listens on loopback."""

    async def test(alice: Side, bob: Side) -> None:
        await call(alice, bob, BFCP, offers="active")
        assert m_line(alice.plain).split()[1] == m_line(bob.plain).split()[1] == "9"
        sides = await attached(alice), await attached(bob)
        error = bytes.fromhex("2d0000011000000100010001") + b"\x0e\x04\x09\x00"
        await say(sides[0], error)
        await hear(sides[1], error)
        await say(sides[1], os.urandom(64))
        assert len(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sides[0], 64), SOON)) > 0
        for sock in sides:
            sock.close()
        await alice.until("security_state", "ended")

    between(test, bob=NAT if bob_opens else None)


def test_bfcp_on_tcp_is_a_switch() -> None:
    """BFCP-1."""

    async def test(alice: Side, bob: Side) -> None:
        await call(alice, bob, BFCP)
        sides = await asyncio.gather(alice.connect(), bob.connect())
        await say(sides[0], b"floor request")
        await hear(sides[1], b"floor request")
        for sock in sides:
            sock.close()

    between(test, alice=TCP, bob=TCP)


def test_a_descriptor_may_come_before_and_after_the_peer() -> None:
    """MSRP-7: it serves one connection; what is no UNIX stream, or nobody's line, is refused."""

    async def test(alice: Side, bob: Side) -> None:
        with pytest.raises(UsageError) as caught:
            await alice.client.call("org.ueagent.Session.AttachStream", {"session": "none", "line": 0})
        assert caught.value.code == "no_descriptor"
        await call(alice, bob, MSRP, offers="active")
        one_end, other_end = socket.socketpair()
        for sock, line, code in ((tcp(), 0, "bad_descriptor"), (one_end, 7, "no_such_line")):
            with pytest.raises(UsageError) as caught:
                await alice.client.attach_stream(session=alice.session, line=line, sock=sock)
            assert caught.value.code == code
            sock.close()
        other_end.close()
        read, write = os.pipe()
        parameters = {"session": alice.session, "line": 0}
        with pytest.raises(UsageError) as caught:
            await alice.client.call("org.ueagent.Session.AttachStream", parameters, descriptor=read)
        assert caught.value.code == "bad_descriptor"
        os.close(read)
        os.close(write)
        bob_side = await attached(bob)
        await say(bob_side, bob.message(b"early"))
        await alice.until("keys_in_place")
        alice_side = await attached(alice)
        await hear(alice_side, seen(alice, bob, b"early"))
        second = await attached(alice)
        with pytest.raises(AgentError) as refused:
            await attached(alice)
        assert refused.value.code == "bad_descriptor"
        for sock in (alice_side, bob_side, second):
            sock.close()

    between(test)


@pytest.mark.parametrize("bob_calls", [False, True])
def test_a_fax_passes_datagram_by_datagram(bob_calls: bool) -> None:
    """T38-1, T38-3, T38-8: both roles; the certificate for RSA is made beside the event loop."""

    async def test(alice: Side, bob: Side) -> None:
        first, second = (bob, alice) if bob_calls else (alice, bob)
        await call(first, second, UDPTL)
        for one in (alice, bob):
            await one.until("keys_in_place")
            line = await one.line()
            assert (line.mechanism, line.scope, line.assured) == ("DTLS", "e2ae", True)
        for sender, receiver in ((alice, bob), (bob, alice)):
            place = LOOPBACK, int(m_line(sender.plain).split()[1])
            for page in (b"page 1", b"page 1 and 2", b"page 2 and 3"):
                sender.datagrams.sendto(page, place)
                got = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(receiver.datagrams, 2048), SOON)
                assert got == page

    between(test)


@pytest.mark.parametrize("kind", [MSRP, BFCP, UDPTL])
def test_one_bit_of_a_fingerprint_ends_the_line_and_the_dialer_is_told(kind: Any) -> None:
    """MSRP-7, BFCP-8, T38-6: nothing has passed."""

    async def test(alice: Side, bob: Side) -> None:
        await call(alice, bob, kind, offers="active", answer=changed)
        assert (await alice.until("security_state", "fingerprint_mismatch")).state is not None
        line = await alice.line()
        assert (line.keys_in_place, line.assured, line.reason) == (False, False, "fingerprint_mismatch")

    between(test)


def test_other_users_of_the_machine_neither_get_in_nor_shut_the_dialer_out() -> None:
    """MSRP-2: who connects on loopback and does not know the session-id, in any number and with any words."""

    async def test(alice: Side, bob: Side) -> None:
        await call(alice, bob, MSRP)
        strangers = [await bob.connect() for _ in range(40)]
        wrong = bob.message(b"let me in").replace(value(bob.plain, "path").encode(), b"msrp://127.0.0.1:9/guess;tcp")
        long = b"MSRP d93kswow SEND\r\nTo-Path: " + b"x" * 20_000
        for sock, words in zip(strangers, [wrong, long, b"GET / HTTP/1.1\r\n\r\n"] * 13 + [wrong], strict=True):
            await say(sock, words)
        for sock in strangers:
            with pytest.raises((ConnectionError, AssertionError)):
                assert await until_end(sock)
            sock.close()
        bob_side, alice_side = await bob.connect(), await alice.connect()
        await say(bob_side, bob.message(b"the right one"))
        await say(alice_side, alice.message(b"also"))
        await hear(alice_side, seen(alice, bob, b"the right one"))
        await hear(bob_side, seen(bob, alice, b"also"))
        for sock in (alice_side, bob_side):
            sock.close()

    between(test)


def test_a_peer_that_speaks_no_msrp_ends_the_line() -> None:
    """MSRP-2."""

    async def test(alice: Side, bob: Side) -> None:
        await call(alice, bob, MSRP, offers="active")
        bob_side = await attached(bob)
        await say(bob_side, b"GET / HTTP/1.1\r\n\r\n")
        assert (await bob.until("security_state", "bad_start_line")).line == 0
        assert await until_end(bob_side) == b""
        await alice.until("security_state")
        bob_side.close()

    between(test)


def test_lines_have_a_limit_and_ports_come_back() -> None:
    """DYN-20."""

    async def test(alice: Side, bob: Side) -> None:
        for _ in range(3):
            made = await alice.client.create_offer(
                sdp=alice.describe(MSRP, "actpass"), signalling="integrity", binding="home"
            )
            with pytest.raises(AgentError) as refused:
                await alice.client.create_offer(
                    sdp=alice.describe(BFCP, "actpass"), signalling="integrity", binding="home"
                )
            assert refused.value.code == "no_relay"
            await alice.client.release(session=made.session)

    between(test, alice={"streams": {"max_lines": 1}})
