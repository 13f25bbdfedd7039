"""Fuzzer for the DTLS record and handshake path: records, the channel, and the candidates of an association.

    python tests/fuzz/fuzz_dtls.py --seconds 600 [--seed N] [--run N]

Each run is one call between two ends over a network that repeats, reorders, cuts apart (records, and handshake messages
into fragments) and packs anew what the ends send, while others send mutated and truncated copies, records of former
calls, hellos and garbage. There are two kinds of runs:

    strangers   whatever is changed comes from other addresses: the handshake succeeds, and with the right peer
    forger      it also comes from the ends' own addresses: it may spoil the handshake, never anything else, and the
                next exchange over a quiet network succeeds

Invariants of both, see `Run.check`: no exception, candidates and memory bounded, nothing larger than the MTU, nobody
answered with much more than he sent before he showed a cookie. A failing run is printed with its number.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from OpenSSL._util import ffi, lib
from support.channels import new_identity
from support.dtls_pair import DtlsPair, End

from ueagent.channel.records import (
    HANDSHAKE,
    HEADER,
    begins_association,
    first_of_its_epoch,
    is_unprotected,
    pack_records,
    split_records,
)
from ueagent.keymgmt.dtls_association import MAX_CANDIDATES, Association
from ueagent.keymgmt.mechanism import AllAnswered, DatagramReceived, RemoteAnswer, Settled
from ueagent.model.media import Component, Place
from ueagent.model.security import SecurityPolicy

FIRST_MESSAGES: Final = (1, 3)  # ClientHello, HelloVerifyRequest
MESSAGE_HEADER: Final = 12  # octets of a handshake fragment's header (RFC 6347, 4.2.2)
STRANGERS: Final = tuple(Place("203.0.113.9", port) for port in range(1000, 1008))
MTUS: Final = (300, 600, 1200)
HOSTILE: Final = 60  # datagrams of others in a run, at most
REPEATED: Final = 3  # copies of one datagram
PATIENCE: Final = 5  # the library's retransmissions that a run waits for
ALICE, BOB, MALLORY = new_identity(), new_identity(), new_identity()

WARM: Final = 100  # runs until the memory is what it is
GROWTH: Final = 32 * 1024  # KiB that it may grow afterwards
SPREAD: Final = 1_000_003  # runs of one seed have seeds of their own

Event = tuple[End, DatagramReceived]


def former_call() -> list[bytes]:
    """The datagrams of a call between the same two, which others have recorded."""
    seen: list[bytes] = []
    calls = DtlsPair(End("alice", "192.0.2.10", ALICE), End("bob", "192.0.2.20", BOB))
    calls.path = lambda datagram: [seen.append(datagram) or datagram]  # type: ignore[func-returns-value]
    calls.call()
    return seen


FORMER: Final = former_call()


def message_pieces(record: bytes, room: int) -> list[bytes]:
    """An unprotected handshake record as several, each with at most `room` octets of its message."""
    content = record[HEADER:]
    whole = len(content) >= MESSAGE_HEADER and int.from_bytes(content[9:12], "big") == len(content) - MESSAGE_HEADER
    if record[0] != HANDSHAKE or record[3:5] != b"\0\0" or not whole:
        return [record]
    start, body = int.from_bytes(content[6:9], "big"), content[MESSAGE_HEADER:]
    pieces = []
    for at in range(0, len(body), room) or [0]:
        part = body[at : at + room]
        message = content[:6] + (start + at).to_bytes(3, "big") + len(part).to_bytes(3, "big") + part
        pieces.append(record[:11] + len(message).to_bytes(2, "big") + message)
    return pieces


def mutate(rng: random.Random, datagram: bytes, others: list[bytes]) -> bytes:
    """One to four changes: octets, bits, lengths, cuts, records of other datagrams behind or before it."""
    data = bytearray(datagram)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, max(len(data) - 1, 0))
        match rng.randrange(8):
            case 0 if data:
                data[at] = rng.randrange(256)
            case 1 if data:
                data[at] ^= 1 << rng.randrange(8)
            case 2 if len(data) > HEADER:  # the header: type, version, epoch, number, length
                data[rng.randrange(HEADER)] = rng.choice((0, 1, 20, 21, 22, 23, 0xFE, 0xFD, 255))
            case 3:
                del data[at:]
            case 4:
                del data[at : at + rng.choice((1, 2, 8, 64))]
            case 5:
                data[at:at] = data[at : at + rng.choice((1, 5, 40))]
            case 6:
                data += rng.choice(others)
            case _:
                data[:0] = rng.choice(others)[: rng.choice((13, 25, 400))]
    return bytes(data[:2048])


def check_records(data: bytes, mtu: int) -> None:
    """The functions of channel/records.py, on anything."""
    begins_association(data)
    is_unprotected(data)
    try:
        records = list(split_records(data))
    except ValueError:
        return
    assert b"".join(records) == data, "cutting changes octets"
    packed = pack_records(records, mtu)
    assert b"".join(packed) == data, "packing changes octets"
    assert all(len(one) <= mtu or one in records for one in packed), "packed above the MTU"
    assert all(len(first_of_its_epoch(record)) == len(record) for record in records)


class Run:
    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.forger = rng.random() < 0.4
        self.early = rng.random() < 0.4  # other forks may answer: strangers may be theirs (DYN-3)
        self.fragments = rng.random() < 0.5
        self.mtu = rng.choice(MTUS)
        passive = rng.random() < 0.5
        alice = SecurityPolicy(dtls_mtu=self.mtu)
        bob = SecurityPolicy(dtls_mtu=self.mtu, dtls_passive_answer=passive)
        mux = rng.random() < 0.7
        self.calls = DtlsPair(
            End("alice", "192.0.2.10", ALICE, policy=alice, mux=mux), End("bob", "192.0.2.20", BOB, policy=bob, mux=mux)
        )
        self.ends = (self.calls.alice, self.calls.bob)
        self.quiet = False
        self.ahead = rng.choice(((0,), (0,), (0, 0, 0, 1, 2, 5)))  # by how many places a datagram overtakes others
        self.seen: list[bytes] = [b"\x16\xfe\xfd"]
        self.waiting: deque[Event] = deque()
        self.hostile = rng.randint(0, HOSTILE)
        self.given: Counter[Place] = Counter()  # octets that strangers sent
        self.taken: Counter[Place] = Counter()  # and got
        self.numbers: Counter[tuple[str, bool]] = Counter()

    def run(self) -> str:
        """What came of it, for statistics. AssertionError, or any other exception, is a finding."""
        calls = self.calls
        offer = calls.offer()
        self._attack(self.rng.randint(0, 5))
        answer = calls.answer(offer)
        calls.bob.do(Settled(), 0.0)
        if self.rng.random() < 0.5:
            self._carry(self.rng.randint(1, 40))  # hellos before the answer
        calls.alice.do(RemoteAnswer((answer,), False, calls.bob.endpoint), 0.0)
        calls.alice.do(Settled(early=self.early), 0.0)
        self._carry_all()
        outcome = "keys" if self._secured() else "spoiled"
        if not self.forger:
            assert outcome == "keys", "strangers prevent the handshake"
            assert not any(end.lost for end in self.ends), "strangers end the line"
        self._attack(10)
        calls.alice.do(AllAnswered(), 0.0)
        self._attack(5)
        self._carry_all()
        self._keys_fit()
        if self.forger:
            self._begin_anew()
        return f"{'forger' if self.forger else 'strangers'}: {outcome}"

    def _begin_anew(self) -> None:
        self.quiet = True
        self.waiting.clear()
        for end in self.ends:
            end.sent = []
            end.lost.clear()
            for keys in end.keys.values():
                keys.clear()
        self.calls.exchange(fresh=True)
        self._carry_all()
        assert self._secured(), "no new handshake after a spoiled one"
        self._keys_fit()

    # ------------------------------------------------------------------------------------------------- network --

    def _carry_all(self) -> None:
        self._carry(100_000)
        for _ in range(PATIENCE if self.quiet or not self.forger else 0):
            if self._secured():
                return
            self.calls.wait()
            self._carry(100_000)

    def _carry(self, steps: int) -> None:
        self._collect()
        for _ in range(steps):
            if not self.waiting:
                return
            if not self.quiet and self.hostile > 0 and self.rng.random() < 0.3:
                self.hostile -= 1
                self._attack(1)
            ahead = 0 if self.quiet else min(self.rng.choice(self.ahead), len(self.waiting) - 1)
            self.waiting.rotate(-ahead)
            receiver, event = self.waiting.popleft()
            self.waiting.rotate(ahead)
            self._deliver(receiver, event)
            self._collect()

    def _deliver(self, receiver: End, event: DatagramReceived) -> None:
        check_records(event.data, self.mtu)
        receiver.do(event, 0.0)
        self.check(receiver)

    def _collect(self) -> None:
        for sender, receiver in (self.ends, self.ends[::-1]):
            for sent in sender.sent:
                assert len(sent.data) <= self.mtu, "larger than the MTU"
                if sent.to != receiver.place(sent.rtcp):
                    self.taken[sent.to] += len(sent.data)
                    continue
                self.seen.append(sent.data)
                self.waiting += (
                    (receiver, DatagramReceived(data, sender.place(sent.rtcp), sent.rtcp))
                    for data in self._on_the_way(sender, sent.data, sent.rtcp)
                )
            sender.sent = []

    def _on_the_way(self, sender: End, datagram: bytes, rtcp: bool) -> Iterator[bytes]:
        """A path cuts nothing off and changes nothing, but it repeats, and packs as another sender might have."""
        if self.quiet:
            yield datagram
            return
        records = list(split_records(datagram))
        if self.fragments:
            records = [piece for record in records for piece in self._numbered(sender.name, rtcp, record)]
        made = records if self.rng.random() < 0.25 else pack_records(records, self.mtu)
        for one in made:
            yield from [one] * (self.rng.randint(1, REPEATED) if self.rng.random() < 0.3 else 1)

    def _numbered(self, name: str, rtcp: bool, record: bytes) -> Iterator[bytes]:
        """Fragments of an unprotected message, with the record numbers of a sender that made them so. The first hellos
        and the answer to them keep theirs."""
        if not is_unprotected(record) or (record[0] == HANDSHAKE and record[HEADER] in FIRST_MESSAGES):
            yield record
            return
        for piece in message_pieces(record, self.rng.choice((20, 100, 400, 1000))):
            self.numbers[name, rtcp] += 1
            yield piece[:5] + (1 + self.numbers[name, rtcp]).to_bytes(6, "big") + piece[11:]

    def _attack(self, count: int) -> None:
        """From strangers, or in the name of an end."""
        rng = self.rng
        for _ in range(0 if self.quiet else count):
            receiver = rng.choice(self.ends)
            rtcp = not receiver.mux and rng.random() < 0.5
            other = self.calls._other(receiver)
            source = other.place(rtcp) if self.forger and rng.random() < 0.5 else rng.choice(STRANGERS)
            match rng.randrange(6):
                case 0:
                    data = rng.randbytes(rng.randint(1, 60))
                case 1:
                    data = bytes([rng.choice((20, 21, 22, 23)), 0xFE, 0xFD, 0, rng.randrange(2)]) + rng.randbytes(40)
                case 2:
                    data = b"\x15\xfe\xfd" + bytes(8) + b"\0\x02\x02" + bytes([rng.randrange(120)])  # a fatal alert
                case 3:
                    data = rng.choice(FORMER)
                case 4:
                    self._stranger_calls(receiver, rtcp)
                    continue
                case _:
                    data = mutate(rng, rng.choice(self.seen), self.seen)
            self.given[source] += len(data)
            self._deliver(receiver, DatagramReceived(data, source, rtcp))
            self._collect()

    def _stranger_calls(self, receiver: End, rtcp: bool) -> None:
        """A whole handshake, or the beginning of one, with a certificate that nobody has signalled."""
        source = self.rng.choice(STRANGERS)
        means = self.ends[0].mechanism._means
        stranger = Association(type(means)(MALLORY, means.profiles, self.mtu, 64, self.rng.randbytes), rtcp=rtcp)
        stranger.connect(receiver.place(rtcp), 0.0)
        for _ in range(self.rng.randint(1, 4)):
            for sent in stranger.datagrams:
                self.given[source] += len(sent.data)
                self._deliver(receiver, DatagramReceived(sent.data, source, rtcp))
            stranger.datagrams = []
            back = [sent for sent in receiver.sent if sent.to == source]
            self._collect()
            for sent in back:
                stranger.take(sent.data, receiver.place(rtcp), 0.0)

    # ---------------------------------------------------------------------------------------------- invariants --

    def check(self, end: End) -> None:
        for association in end.mechanism._associations():
            assert len(association._candidates) <= MAX_CANDIDATES, "too many candidates"
            assert not association.received, "data of nobody are kept"
            channels = [candidate.channel for candidate in association._candidates.values()]
            if association._listener is not None:
                channels.append(association._listener)
            for channel in channels:
                kept = lib.BIO_get_mem_data(channel._connection._into_ssl, ffi.new("char **"))
                assert kept == 0, f"{kept} octets of a datagram are left in the library, {channel.state}"
        for place in STRANGERS:
            # A HelloVerifyRequest is smaller than a hello; who has shown a cookie gets flights, each a few times.
            assert self.taken[place] <= 12 * self.given[place] + 8000, "a stranger is sent too much"

    def _secured(self) -> bool:
        return all(end.secured for end in self.ends)

    def _keys_fit(self) -> None:
        """Keys that both have are the same, and nobody else's: a stranger has no certificate that was signalled."""
        for component in Component:
            if all(end.keys[component] for end in self.ends):
                assert self.calls.speaks(component), "keys that do not fit"


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the DTLS record and handshake path.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, which is printed")
    parser.add_argument("--run", type=int, default=None, help="only this run of the seed")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    outcomes: Counter[str] = Counter()
    small = 0
    began, number = time.monotonic(), options.run or 0
    while time.monotonic() - began < options.seconds:
        try:
            outcomes[Run(seed * SPREAD + number).run()] += 1
        except Exception as finding:
            print(f"seed {seed}, run {number}: {type(finding).__name__}: {finding}", file=sys.stderr)
            raise SystemExit(1) from finding
        if options.run is not None:
            break
        number += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        small = small or (peak if sum(outcomes.values()) >= WARM else 0)
        if small and peak > small + GROWTH:
            print(f"seed {seed}, run {number}: memory has grown from {small} to {peak} KiB", file=sys.stderr)
            return 1
    print(f"seed {seed}: {dict(sorted(outcomes.items()))}, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
