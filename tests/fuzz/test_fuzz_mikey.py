"""A short run of the MIKEY fuzzer; the long one is `python tests/fuzz/fuzz_mikey.py --seconds N`."""

from __future__ import annotations

import random

import pytest
from fuzz.fuzz_mikey import SEEDS, check, mutate

from ueagent.errors import MalformedMessage
from ueagent.wire.mikey import DataType, Message, parse_message


@pytest.mark.parametrize("place", range(len(SEEDS)), ids=[parse_message(seed).header.data_type.name for seed in SEEDS])
def test_every_seed_keeps_the_invariants(place: int) -> None:
    check(SEEDS[place])


def test_mutated_messages_keep_the_invariants() -> None:
    """KMS-51 too: nothing unproven is kept."""
    rng = random.Random(6043)
    for _ in range(1000):
        check(mutate(rng))


def test_mutations_reach_both_sides_of_the_reader() -> None:
    """A fuzzer whose inputs all fail at the door shows nothing."""
    rng = random.Random(3830)
    parsed: set[DataType] = set()
    refused: set[str] = set()
    for _ in range(2000):
        try:
            parsed.add(parse_message(mutate(rng)).header.data_type)
        except MalformedMessage as error:
            refused.add(error.code)
    assert len(parsed) >= 6
    assert refused >= {"truncated", "unknown_payload", "trailing_octets", "unknown_mac", "unknown_time", "repeated"}


def test_builder_that_changes_octets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail."""

    def shorter(_message: Message) -> bytes:
        return b""

    monkeypatch.setattr("fuzz.fuzz_mikey.build_message", shorter)
    with pytest.raises(AssertionError, match="changes octets"):
        check(SEEDS[0])
