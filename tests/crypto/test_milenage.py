"""Milenage against the test sets of TS 35.208, and what a USIM and its home network build from it."""

from __future__ import annotations

import pytest
from support.vectors import Vector, load

from ueagent.crypto.milenage import Milenage, opc_of
from ueagent.model.keys import Secret

SETS = load("ts35208/milenage")
RAND = bytes(range(16))
SQN = bytes.fromhex("000000000021")


def functions_of(vector: Vector) -> Milenage:
    return Milenage(Secret(vector.inputs["k"]), Secret(vector.expect["opc"]))


@pytest.mark.parametrize("vector", SETS, ids=str)
def test_opc_of_the_published_sets(vector: Vector) -> None:
    assert opc_of(Secret(vector.inputs["k"]), Secret(vector.inputs["op"])) == Secret(vector.expect["opc"])


@pytest.mark.parametrize("vector", SETS, ids=str)
def test_f1_to_f5_star_of_the_published_sets(vector: Vector) -> None:
    functions = functions_of(vector)
    rand, expect = vector.inputs["rand"], vector.expect
    made = functions.vector(rand)
    assert functions.macs(rand, vector.inputs["sqn"], vector.inputs["amf"]) == (expect["f1"], expect["f1_star"])
    assert (made.res, made.ck, made.ik) == (Secret(expect["f2"]), Secret(expect["f3"]), Secret(expect["f4"]))
    assert (made.ak, made.ak_resync) == (expect["f5"], expect["f5_star"])


def test_autn_hides_the_sequence_number_and_opens_again() -> None:
    functions = functions_of(SETS[0])
    autn = functions.autn(RAND, SQN, b"\x80\x00")
    assert len(autn) == 16
    assert autn[:6] != SQN
    assert functions.open_autn(RAND, autn) == SQN


def test_autn_with_one_changed_bit_does_not_open() -> None:
    functions = functions_of(SETS[0])
    autn = functions.autn(RAND, SQN, b"\x80\x00")
    for place in range(16):
        changed = bytearray(autn)
        changed[place] ^= 1
        assert functions.open_autn(RAND, bytes(changed)) is None


def test_auts_tells_the_network_the_sequence_number_of_the_usim() -> None:
    functions = functions_of(SETS[0])
    auts = functions.auts(RAND, SQN)
    assert len(auts) == 14
    assert functions.open_auts(RAND, auts) == SQN
    assert functions.open_auts(RAND, auts[:-1] + bytes([auts[-1] ^ 1])) is None


def test_keys_and_random_values_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="16 octets"):
        Milenage(Secret(bytes(15)), Secret(bytes(16)))
    with pytest.raises(ValueError, match="16 octets"):
        functions_of(SETS[0]).vector(bytes(15))
    with pytest.raises(ValueError, match="SQN has 6"):
        functions_of(SETS[0]).macs(RAND, bytes(5), bytes(2))


def test_what_was_wiped_computes_nothing() -> None:
    functions = functions_of(SETS[0])
    functions.wipe()
    with pytest.raises(ValueError, match="zip"):
        functions.vector(RAND)
