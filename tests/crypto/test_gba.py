"""Ks_NAF and B-TID of the generic bootstrapping architecture (TS 33.220)."""

from __future__ import annotations

from ueagent.crypto.gba import LABEL_UICC, bootstrapped_key, naf_id, naf_key, transaction_identifier
from ueagent.model.keys import Secret

RAND = bytes.fromhex("23553cbe9637a89d218ae64dae47bf35")
KS = Secret(bytes(range(32)))
IMPI = "user@ims.example.com"


def test_naf_key_is_the_check_value_of_the_requirements() -> None:
    """KMS-2; section 22.1 of the checklist."""
    key = naf_key(KS, RAND, IMPI, naf_id("kms.example.com"))
    assert key == Secret(bytes.fromhex("b733c872d07a503f12c3fb935e87c384979237015eb17e2b069ee2dd124cc9be"))


def test_naf_id_is_the_name_and_the_identifier_of_the_protocol() -> None:
    """KMS-3."""
    assert naf_id("KMS.example.com") == b"kms.example.com\x01\x00\x00\x00\x06"


def test_another_protocol_identifier_gives_another_key() -> None:
    """KMS-3: a wrong identifier ends in a MAC failure."""
    other = naf_id("kms.example.com", bytes.fromhex("0100000007"))
    assert naf_key(KS, RAND, IMPI, other) != naf_key(KS, RAND, IMPI, naf_id("kms.example.com"))


def test_key_for_the_uicc_differs_by_its_label() -> None:
    """KMS-2."""
    naf = naf_id("kms.example.com")
    assert naf_key(KS, RAND, IMPI, naf, LABEL_UICC) != naf_key(KS, RAND, IMPI, naf)


def test_bootstrapped_key_is_ck_then_ik() -> None:
    """KMS-2."""
    assert bootstrapped_key(Secret(bytes(16)), Secret(b"\x01" * 16)) == Secret(bytes(16) + b"\x01" * 16)


def test_transaction_identifier_names_the_random_value_and_the_bsf() -> None:
    """KMS-5."""
    assert transaction_identifier(RAND, "bsf.example.com") == "I1U8vpY3qJ0hiuZNrke/NQ==@bsf.example.com"
