"""HTTP Digest with AKA, and the software USIM."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ub import network, usim

from ueagent.errors import AuthenticationFailed, MalformedMessage
from ueagent.keymgmt import aka
from ueagent.keymgmt.aka import AkaKeys, SyncFailure
from ueagent.keymgmt.usim import IND_BITS, MAX_AGE, MAX_STEP
from ueagent.model.keys import Secret

RAND = bytes(range(16))
AMF = b"\x80\x00"
# RFC 3310, 4, steps 2 and 3
RFC_CHALLENGE = (
    'Digest realm="RoamingUsers@mobile.biz", nonce="CjPk9mRqNuT25eRkajM09uTl9nM09uTl9nMz5OX25PZz==", '
    'qop="auth,auth-int", opaque="5ccc069c403ebaf9f0171e9517f40e41", algorithm=AKAv1-MD5'
)
RFC_AUTHORIZATION = (
    'Digest username="jon.dough@mobile.biz", realm="RoamingUsers@mobile.biz", '
    'nonce="CjPk9mRqNuT25eRkajM09uTl9nM09uTl9nMz5OX25PZz==", uri="sip:home.mobile.biz", qop=auth-int, nc=00000001, '
    'cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
)


def autn(seq: int, ind: int = 0) -> bytes:
    return network().autn(RAND, (seq << IND_BITS | ind).to_bytes(6, "big"), AMF)


def test_challenge_of_rfc_3310_yields_rand_and_autn() -> None:
    """KMS-1."""
    challenge = aka.parse_challenge(RFC_CHALLENGE)
    octets = base64.b64decode("CjPk9mRqNuT25eRkajM09uTl9nM09uTl9nMz5OX25PZz")
    assert (challenge.rand, challenge.autn) == (octets[:16], octets[16:32])
    assert challenge.realm == "RoamingUsers@mobile.biz"
    assert challenge.opaque == "5ccc069c403ebaf9f0171e9517f40e41"


def test_authorization_of_rfc_3310_is_read() -> None:
    found = aka.parse_authorization(RFC_AUTHORIZATION)
    assert (found.username, found.uri, found.nc) == ("jon.dough@mobile.biz", "sip:home.mobile.biz", "00000001")
    assert (found.cnonce, found.response) == ("0a4f113b", "6629fae49393a05397450978507c4ef1")
    assert found.auts is None


def test_response_is_the_digest_of_rfc_2617_with_res_as_password() -> None:
    """KMS-1: computed here from the formulas of RFC 2617, 3.2.2."""

    def md5(octets: bytes) -> str:
        return hashlib.md5(octets).hexdigest()

    res = bytes.fromhex("a54211d5e3ba50bf")
    challenge = aka.parse_challenge(RFC_CHALLENGE)
    header = aka.build_authorization(challenge, "jon.dough@mobile.biz", "GET", "/", b"body", res, "0a4f113b")
    ha1 = md5(b"jon.dough@mobile.biz:RoamingUsers@mobile.biz:" + res)
    ha2 = md5(b"GET:/:" + md5(b"body").encode())
    expected = md5(f"{ha1}:{challenge.nonce}:00000001:0a4f113b:auth-int:{ha2}".encode())
    assert f'response="{expected}"' in header
    assert aka.verifies(aka.parse_authorization(header), "GET", b"body", res)


def test_every_part_of_the_request_is_covered() -> None:
    challenge = aka.parse_challenge(RFC_CHALLENGE)
    found = aka.parse_authorization(aka.build_authorization(challenge, "me", "GET", "/", b"body", b"res", "c"))
    assert not aka.verifies(found, "POST", b"body", b"res")
    assert not aka.verifies(found, "GET", b"other", b"res")
    assert not aka.verifies(found, "GET", b"body", b"reS")


def test_synchronisation_failure_travels_with_an_empty_password() -> None:
    """RFC 3310, 3.4."""
    challenge = aka.parse_challenge(RFC_CHALLENGE)
    header = aka.build_authorization(challenge, "me", "GET", "/", b"", aka.NO_PASSWORD, "c", auts=bytes(range(14)))
    found = aka.parse_authorization(header)
    assert found.auts == bytes(range(14))
    assert aka.verifies(found, "GET", b"", b"")


def test_server_proves_that_it_knows_the_password() -> None:
    """RFC 3310, 3.5."""
    sent = aka.build_authorization(aka.parse_challenge(RFC_CHALLENGE), "me", "GET", "/", b"", b"res", "c")
    info = aka.build_info(aka.parse_authorization(sent), b"answer", b"res")
    aka.check_info(info, sent, b"answer", b"res")
    for header, body in ((info, b"changed"), (info.replace("rspauth", "other"), b"answer")):
        with pytest.raises(AuthenticationFailed, match="aka_server"):
            aka.check_info(header, sent, body, b"res")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Basic realm=x", "digest_syntax"),
        ('Digest realm="a", realm="b"', "digest_syntax"),
        ('Digest realm="a" nonce', "digest_syntax"),
        (RFC_CHALLENGE.replace("AKAv1-MD5", "MD5"), "aka_algorithm"),
        (RFC_CHALLENGE.replace(",auth-int", ""), "aka_qop"),
        (RFC_CHALLENGE.replace("CjPk9mRqNuT25eRk", ""), "aka_nonce"),
        ("Digest " + "a" * 5000, "digest_syntax"),
    ],
)
def test_challenge_is_refused(header: str, code: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        aka.parse_challenge(header)
    assert caught.value.code == code


@given(st.text(max_size=80))
def test_any_text_parses_or_is_malformed(text: str) -> None:
    for candidate in (text, "Digest " + text, RFC_CHALLENGE + text):
        for parse in (aka.parse_challenge, aka.parse_authorization):
            try:
                parse(candidate)
            except MalformedMessage:
                pass


def test_usim_answers_a_fresh_challenge() -> None:
    """KMS-7: RES, CK and IK of the first test set of TS 35.208."""
    rand = bytes.fromhex("23553cbe9637a89d218ae64dae47bf35")
    keys = usim().authenticate(rand, network().autn(rand, (1 << IND_BITS).to_bytes(6, "big"), AMF))
    assert isinstance(keys, AkaKeys)
    assert keys.res == Secret(bytes.fromhex("a54211d5e3ba50bf"))
    assert keys.ck == Secret(bytes.fromhex("b40ba9a3c58b2a05bbf0d987b21bf8cb"))
    assert keys.ik == Secret(bytes.fromhex("f769bcd751044604127672711c6d3441"))


def test_usim_refuses_a_network_that_does_not_know_its_key() -> None:
    card = usim(bytes(16))
    with pytest.raises(AuthenticationFailed, match="aka_mac"):
        card.authenticate(RAND, autn(1))
    assert card.seen == {}


def test_repeated_challenge_is_a_synchronisation_failure() -> None:
    card = usim()
    card.authenticate(RAND, autn(5, 3))
    again = card.authenticate(RAND, autn(5, 3))
    assert isinstance(again, SyncFailure)
    assert network().open_auts(RAND, again.auts) == (5 << IND_BITS | 3).to_bytes(6, "big")


def test_challenges_may_arrive_out_of_order() -> None:
    """TS 33.102, C.2.2: each IND has its own highest SEQ."""
    card = usim()
    assert isinstance(card.authenticate(RAND, autn(9, 9)), AkaKeys)
    assert isinstance(card.authenticate(RAND, autn(8, 8)), AkaKeys)


def test_challenge_that_is_much_too_old_is_a_synchronisation_failure() -> None:
    """TS 33.102, C.2.2."""
    card = usim()
    card.authenticate(RAND, autn(1000))
    assert isinstance(card.authenticate(RAND, autn(999 - MAX_AGE, 1)), SyncFailure)
    assert isinstance(card.authenticate(RAND, autn(1000 - MAX_AGE, 1)), AkaKeys)


def test_a_jump_that_would_wear_the_counter_out_is_refused() -> None:
    """TS 33.102, C.2.1."""
    assert isinstance(usim().authenticate(RAND, autn(MAX_STEP + 1)), SyncFailure)
    assert isinstance(usim().authenticate(RAND, autn(MAX_STEP)), AkaKeys)
