"""Mutation fuzzer for MIKEY: the codec, and what a UE and a KMS do with a message before any MAC is verified.

    python tests/fuzz/fuzz_mikey.py --seconds 600 [--seed N]

Seeds are the messages of whole exchanges. Invariants, see `check`: octets parse, and are then built again the same, or
are a MalformedMessage with an offset inside; consumers raise AgentError and nothing else, never accept, and keep
nothing. A failing input is printed in hexadecimal and the exit status is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.mikey_world import ALICE, BOB, MIXED, RCC, TLS, World, account_of

from ueagent.cli.inspect import tree
from ueagent.errors import AgentError, MalformedMessage
from ueagent.keymgmt import kms, mikey_ticket, mikey_update
from ueagent.wire.mikey import Message, build_message, parse_message

_WORLD = World()


def _seeds() -> tuple[list[bytes], kms.PendingRequest, mikey_ticket.PendingTransfer, mikey_ticket.Transfer]:
    request = kms.create_request_init(account_of(ALICE), _WORLD.wish(), _WORLD.now, _WORLD.rng)
    granted = _WORLD.grant(request.octets)
    ticket = kms.consume_request_resp(request, granted, _WORLD.now, _WORLD.profile)
    pending = _WORLD.init(ticket, MIXED, (RCC, TLS))
    received = _WORLD.receive(pending.octets)
    bob = account_of(BOB)
    resolve = kms.create_resolve_init(bob, received.ticket, received.terms, _WORLD.now, _WORLD.rng)
    resolved = _WORLD.resolve(resolve.octets)
    answer, theirs = _WORLD.answer(pending.octets)
    update = mikey_update.create_csb_update(theirs, MIXED, (), _WORLD.now, _WORLD.profile, answer_wanted=True)
    octets = [request.octets, granted, pending.octets, resolve.octets, resolved, answer, update.octets]
    ours = mikey_ticket.consume_transfer_resp(pending, answer, _WORLD.profile)
    return octets, request, pending, ours


SEEDS, REQUEST, PENDING, OURS = _seeds()
TYPES = [bytes((code,)) for code in range(27)]


def consumers() -> list[Callable[[bytes], object]]:
    return [
        _WORLD.open,
        lambda data: kms.consume_request_resp(REQUEST, data, _WORLD.now, _WORLD.profile),
        lambda data: mikey_ticket.consume_transfer_resp(PENDING, data, _WORLD.profile),
        lambda data: mikey_update.consume_csb_update(OURS, data, _WORLD.replay, _WORLD.now, _WORLD.profile),
    ]


def check(data: bytes) -> None:
    """AssertionError, or any exception but those named, is a finding."""
    found = parsed_or_refusal(data)
    if isinstance(found, MalformedMessage):
        assert found.offset is not None, "an error without offset"
        assert 0 <= found.offset <= len(data), "an offset outside"
    else:
        assert build_message(found) == data, "building changes octets"
    for read in (tree, lambda octets: _WORLD.receive(octets)):
        try:
            read(data)
        except AgentError:
            pass
    if data in SEEDS:
        return
    kept = len(_WORLD.kms_replay), len(_WORLD.replay)
    for consume in consumers():
        try:
            consume(data)
        except AgentError:
            continue
        raise AssertionError("a changed message is accepted")
    assert (len(_WORLD.kms_replay), len(_WORLD.replay)) == kept, "a changed message is kept"


def parsed_or_refusal(data: bytes) -> Message | MalformedMessage:
    try:
        return parse_message(data)
    except MalformedMessage as error:
        return error


def mutate(rng: random.Random) -> bytes:
    """One to six changes to a seed: octets, bits, lengths, cuts, spliced halves."""
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, max(len(data) - 1, 0))
        match rng.randrange(7):
            case 0 if data:
                data[at] = rng.randrange(256)
            case 1 if data:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                data[at : at + 1] = rng.choice(TYPES)
            case 3:
                del data[at : at + rng.choice((1, 2, 8, 64))]
            case 4:
                other = rng.choice(SEEDS)
                data[at:] = other[rng.randint(0, len(other)) :]
            case 5:
                data[at:at] = data[at : at + rng.choice((1, 5, 40))]
            case _:
                del data[at:]
    return bytes(data)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the MIKEY codec and its consumers.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, which is printed")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    rng = random.Random(seed)
    began, runs = time.monotonic(), 0
    while time.monotonic() - began < options.seconds:
        data = mutate(rng)
        runs += 1
        try:
            check(data)
        except Exception as finding:
            print(f"seed {seed}, run {runs}: {type(finding).__name__}: {finding}\n{data.hex()}", file=sys.stderr)
            raise SystemExit(1) from finding
    print(f"seed {seed}: {runs} inputs, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
