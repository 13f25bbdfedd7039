"""A short run of the DTLS fuzzer; the long one is `python tests/fuzz/fuzz_dtls.py --seconds N`."""

from __future__ import annotations

import random

import pytest
from fuzz.fuzz_dtls import FORMER, Run, check_records, message_pieces, mutate

from ueagent.channel.records import begins_association, split_records


def test_strangers_and_forgers_keep_the_invariants_and_both_are_reached() -> None:
    """DTLS-8, DTLS-16, DTLS-29, TLS-12."""
    outcomes = {Run(seed).run() for seed in range(24)}
    assert outcomes == {"strangers: keys", "forger: keys", "forger: spoiled"}


def test_records_of_anything_keep_the_invariants() -> None:
    """DTLS-29."""
    rng = random.Random(6347)
    cut = 0
    for _ in range(3000):
        data = mutate(rng, rng.choice(FORMER), FORMER)
        check_records(data, rng.choice((100, 300, 1200)))
        cut += begins_association(data)
    assert cut > 100


def test_fragments_of_a_message_are_the_message() -> None:
    """RFC 6347, 4.2.3: what the fuzzer makes of a flight is still that flight."""
    whole = next(record for one in FORMER for record in split_records(one) if record[0] == 22 and len(record) > 200)
    pieces = message_pieces(whole, 50)
    assert len(pieces) > 2
    assert b"".join(piece[25:] for piece in pieces) == whole[25:]
    assert [int.from_bytes(piece[19:22], "big") for piece in pieces] == [50 * n for n in range(len(pieces))]


def test_an_association_that_takes_any_certificate_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail."""
    monkeypatch.setattr("ueagent.keymgmt.dtls_association.fits", lambda certificate, accepted: True)
    monkeypatch.setattr("fuzz.fuzz_dtls.PATIENCE", 0)
    findings = []
    for seed in range(24):
        try:
            Run(seed).run()
        except AssertionError as finding:
            findings.append(str(finding))
    assert {"keys that do not fit", "strangers prevent the handshake"} & set(findings)
