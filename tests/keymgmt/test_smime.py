"""Messages protected by a shared key: what opens, what does not, and that a key serves once."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from support.ccm import ccm_by_hand
from support.der import Node, oid, read_der

from ueagent.crypto import keywrap
from ueagent.errors import AgentError, AuthenticationFailed, MalformedMessage, ResourceError, UsageError
from ueagent.keymgmt.smime import FAMILIES, KekLedger, open_entity, protect_entity, proves_origin
from ueagent.model.keys import Secret
from ueagent.wire.cms import AuthEnvelopedData, build_auth_enveloped_data, parse_auth_enveloped_data
from ueagent.wire.mime import build_entity

NOW, UNTIL = 1000.0, 1300.0
SPI = b"\x0a\x0b\x0c\x0d"
ENTITY = build_entity("text/plain", b"nobody else reads this\n")


def rng(seed: int = 1) -> random.Random:
    return random.Random(seed)


def kek(length: int = 32, first: int = 0) -> Secret:
    return Secret(bytes((first + i) % 256 for i in range(length)))


def ledger(capacity: int = 16) -> KekLedger:
    return KekLedger(rng(99).randbytes, capacity)


def changed(cms: bytes, **fields: object) -> bytes:
    return build_auth_enveloped_data(replace(parse_auth_enveloped_data(cms), **fields))  # type: ignore[arg-type]


def opened(cms: bytes, key: Secret | None = None, used: KekLedger | None = None) -> bytes:
    return open_entity(cms, key or kek(), SPI, used or ledger(), now=NOW, until=UNTIL)[0]


def refusal(cms: bytes, key: Secret | None = None, used: KekLedger | None = None) -> AgentError:
    with pytest.raises(AgentError) as caught:
        opened(cms, key, used)
    return caught.value


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [16, 32])
def test_message_opens_with_the_same_key(family: str, length: int) -> None:
    """MIME-1, MIME-7, MIME-8, MIME-23: GCM and CCM, 128 and 256 bits."""
    made = protect_entity(ENTITY, kek(length), SPI, rng().randbytes, family=family)
    assert parse_auth_enveloped_data(made.cms).algorithm == f"aes{8 * length}-{family}"
    assert ENTITY not in made.cms
    assert opened(made.cms, kek(length)) == ENTITY


@pytest.mark.parametrize("length", [16, 32])
def test_ccm_opens_for_a_reader_that_shares_no_code(length: int) -> None:
    """MIME-6, MIME-7: own reader of DER, key unwrapped by RFC 3394's steps, CCM by RFC 3610's."""
    cms = protect_entity(ENTITY, kek(length), SPI, rng().randbytes, family="CCM").cms
    _, recipients, content, mac = read_der(cms).children[1].children[0].children
    cek = unwrapped_by_hand(bytes(range(length)), recipients.children[0].children[3].value)
    algorithm, hidden = content.children[1], content.children[2].value
    assert oid(algorithm.children[0]) == f"2.16.840.1.101.3.4.1.{7 if length == 16 else 47}"
    nonce = algorithm.children[1].children[0].value
    assert algorithm.children[1].children[1] == Node(0x02, b"\x10")
    plain = ccm_by_hand(cek, nonce, hidden, 16)[0]  # counter mode is its own inverse
    assert plain == ENTITY
    assert ccm_by_hand(cek, nonce, plain, 16) == (hidden, mac.value)


def unwrapped_by_hand(key: bytes, wrapped: bytes) -> bytes:
    """RFC 3394, 2.2.2."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    block = Cipher(algorithms.AES(key), modes.ECB()).decryptor()
    a, r = int.from_bytes(wrapped[:8], "big"), [wrapped[i : i + 8] for i in range(8, len(wrapped), 8)]
    for j in range(5, -1, -1):
        for i in range(len(r) - 1, -1, -1):
            b = block.update((a ^ (len(r) * j + i + 1)).to_bytes(8, "big") + r[i])
            a, r[i] = int.from_bytes(b[:8], "big"), b[8:]
    assert a == 0xA6A6A6A6A6A6A6A6
    return b"".join(r)


def test_each_message_has_its_own_content_key_and_nonce() -> None:
    """MIME-10."""
    draw = rng().randbytes
    one, two = (parse_auth_enveloped_data(protect_entity(ENTITY, kek(), SPI, draw).cms) for _ in range(2))
    keys = [keywrap.unwrap(kek(), message.recipients[0].encrypted_key) for message in (one, two)]
    assert keys[0] != keys[1]
    assert one.nonce != two.nonce


def test_key_identifier_is_the_spi_and_another_one_does_not_open() -> None:
    """MIME-11."""
    made = protect_entity(ENTITY, kek(), SPI, rng().randbytes)
    assert [recipient.key_id for recipient in parse_auth_enveloped_data(made.cms).recipients] == [SPI]
    with pytest.raises(AuthenticationFailed, match="wrong_key"):
        open_entity(made.cms, kek(), b"\x0a\x0b\x0c\x0e", ledger(), now=NOW, until=UNTIL)


def test_replayed_message_is_refused() -> None:
    """MIME-15."""
    made, used = protect_entity(ENTITY, kek(), SPI, rng().randbytes), ledger()
    assert opened(made.cms, used=used) == ENTITY
    assert refusal(made.cms, used=used).code == "replayed"


def test_second_object_under_the_same_key_is_refused() -> None:
    """MIME-15."""
    draw, used = rng().randbytes, ledger()
    opened(protect_entity(ENTITY, kek(), SPI, draw).cms, used=used)
    assert refusal(protect_entity(b"another", kek(), SPI, draw).cms, used=used).code == "replayed"


def test_forged_message_does_not_use_up_the_key() -> None:
    """MIME-15: the true message still opens."""
    made, used = protect_entity(ENTITY, kek(), SPI, rng().randbytes), ledger()
    assert refusal(changed(made.cms, mac=bytes(16)), used=used).code == "content_tag"
    assert opened(made.cms, used=used) == ENTITY


@pytest.mark.parametrize("family", FAMILIES)
def test_no_changed_octet_of_content_or_tag_releases_anything(family: str) -> None:
    made = protect_entity(b"short", kek(), SPI, rng().randbytes, family=family)
    message = parse_auth_enveloped_data(made.cms)
    for name in ("encrypted", "mac", "nonce"):
        octets = getattr(message, name)
        for place in range(len(octets)):
            flipped = octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :]
            error = refusal(changed(made.cms, **{name: flipped}))
            assert (error.code, error.sip_status_hint) == ("content_tag", 493)


def test_message_for_another_key_is_undecipherable() -> None:
    """MIME-21: 493."""
    made = protect_entity(ENTITY, kek(), SPI, rng().randbytes)
    error = refusal(made.cms, kek(first=1))
    assert (error.code, error.sip_status_hint) == ("key_unwrap", 493)
    assert refusal(made.cms, kek(16)).code == "wrong_key"


def test_octets_that_are_no_cms_are_malformed() -> None:
    """MIME-21: 400."""
    error = refusal(b"not DER")
    assert isinstance(error, MalformedMessage)
    assert error.sip_status_hint == 400


def test_short_tags_are_not_accepted() -> None:
    """MIME-9: by policy CCM has at least 8 octets, GCM 12."""
    message = AuthEnvelopedData((), "aes256-CCM", bytes(12), b"", bytes(16))
    for algorithm, length in (("aes256-CCM", 6), ("aes256-GCM", 8)):
        cms = build_auth_enveloped_data(
            replace(
                message,
                algorithm=algorithm,
                mac=bytes(length),
                recipients=parse_auth_enveloped_data(protect_entity(b"", kek(), SPI, rng().randbytes).cms).recipients,
            )
        )
        assert refusal(cms).code == "content_parameters"


def test_twelve_octets_of_tag_are_accepted() -> None:
    """MIME-9: the default of RFC 5084, which DER leaves out."""
    cek, nonce = bytes(32), bytes(12)
    hidden, mac = ccm_by_hand(cek, nonce, ENTITY, 12)
    recipient = parse_auth_enveloped_data(protect_entity(b"", kek(), SPI, rng().randbytes).cms).recipients[0]
    recipient = replace(recipient, encrypted_key=keywrap.wrap(kek(), Secret(cek)))
    assert (
        opened(build_auth_enveloped_data(AuthEnvelopedData((recipient,), "aes256-CCM", nonce, hidden, mac))) == ENTITY
    )


def test_content_key_of_another_length_than_its_algorithm_is_refused() -> None:
    made = protect_entity(ENTITY, kek(), SPI, rng().randbytes)
    assert refusal(changed(made.cms, algorithm="aes128-GCM")).code == "key_unwrap"


def test_used_keys_are_forgotten_when_their_messages_have_expired() -> None:
    """MIME-15."""
    used = ledger(capacity=1)
    used.use(kek(first=1), NOW, UNTIL)
    assert used.is_used(kek(first=1), UNTIL - 1)
    assert not used.is_used(kek(first=1), UNTIL)
    used.use(kek(first=2), UNTIL + 1, UNTIL + 2)


def test_full_ledger_refuses_instead_of_forgetting() -> None:
    """MIME-15."""
    used = ledger(capacity=1)
    used.use(kek(first=1), NOW, UNTIL)
    with pytest.raises(ResourceError, match="kek_ledger_full"):
        used.use(kek(first=2), NOW, UNTIL)
    assert used.is_used(kek(first=1), NOW)


def test_sender_does_not_use_a_key_twice() -> None:
    """MIME-15."""
    used = ledger()
    used.use(kek(), NOW, UNTIL)
    with pytest.raises(UsageError, match="kek_used"):
        used.use(kek(), NOW, UNTIL)


def test_origin_is_proven_by_the_same_tag_only() -> None:
    """MIME-18."""
    made = protect_entity(ENTITY, kek(), SPI, rng().randbytes)
    _, mac = open_entity(made.cms, kek(), SPI, ledger(), now=NOW, until=UNTIL)
    assert mac == made.mac
    assert proves_origin(mac, made.mac)
    assert not proves_origin(mac, bytes(16))
    assert not proves_origin(mac, None)


@pytest.mark.parametrize(("family", "length"), [("CBC", 32), ("GCM", 24), ("GCM", 0)])
def test_unknown_family_and_odd_keys_are_refused(family: str, length: int) -> None:
    with pytest.raises(UsageError, match="bad_kek"):
        protect_entity(ENTITY, Secret(bytes(length)), SPI, rng().randbytes, family=family)


def test_repr_shows_neither_content_nor_key() -> None:
    made = protect_entity(ENTITY, kek(), SPI, rng().randbytes)
    assert repr(made.cms)[2:-1] not in repr(made)
