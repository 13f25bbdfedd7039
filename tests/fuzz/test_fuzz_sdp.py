"""A short run of the SDP fuzzer; the long one is `python tests/fuzz/fuzz_sdp.py --seconds N`."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from fuzz.fuzz_sdp import CORPUS, check, mutate, seeds_of

from ueagent.errors import MalformedMessage
from ueagent.wire.sdp import parse_sdp
from ueagent.wire.sdp_attributes import parse_crypto, read_crypto


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_every_seed_keeps_the_invariants(path: Path) -> None:
    check(path.read_bytes())


def test_mutated_seeds_keep_the_invariants() -> None:
    rng = random.Random(4568)
    seeds = seeds_of(CORPUS)
    for _ in range(1500):
        check(mutate(rng, seeds))


def test_mutations_reach_both_sides_of_every_reader() -> None:
    """A fuzzer whose inputs all fail at the door shows nothing."""
    rng = random.Random(3329)
    seeds = seeds_of(CORPUS)
    parsed = refused = 0
    codes: set[str] = set()
    for _ in range(1500):
        try:
            sdp = parse_sdp(mutate(rng, seeds))
        except MalformedMessage:
            refused += 1
            continue
        parsed += 1
        for section in sdp.media:
            valid, invalid = read_crypto(section)
            codes |= {entry.code for entry in invalid} | {"valid" for _ in valid}
    assert parsed > 300
    assert refused > 30
    assert codes >= {
        "valid",
        "bad_tag",
        "duplicate_tag",
        "bad_key_length",
        "bad_key_encoding",
        "bad_lifetime",
        "bad_mki",
    }


def test_reader_that_repeats_its_input_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: here the reader puts the line into its error."""

    def leaky(value: bytes) -> None:
        raise MalformedMessage("leak", value.decode("latin-1"))

    monkeypatch.setattr("ueagent.wire.sdp_attributes.parse_crypto", leaky)
    seed = next(data for data in seeds_of(CORPUS) if re.search(rb"a=crypto:1 \w+ inline:", data))
    with pytest.raises(AssertionError, match="repeats input"):
        check(seed)
    monkeypatch.undo()
    assert parse_crypto(b"1 NEW x:y").tag == 1
