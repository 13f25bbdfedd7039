"""CMS AuthEnvelopedData: what is written, read back by a reader of DER that shares no code; what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.der import Node, oid, read_der

from ueagent.errors import MalformedMessage
from ueagent.wire.cms import (
    CONTENT_OIDS,
    MAX_SIZE,
    WRAP_OIDS,
    AuthEnvelopedData,
    KekRecipient,
    build_auth_enveloped_data,
    parse_auth_enveloped_data,
)

RECIPIENT = KekRecipient(b"\x01\x02\x03\x04", "aes256-wrap", bytes(range(40)))
VALUE = AuthEnvelopedData((RECIPIENT,), "aes256-GCM", bytes(range(12)), b"hidden octets", bytes(range(16)))
DER = build_auth_enveloped_data(VALUE)


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    length = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + length + body


def rebuilt(node: Node, change: dict[tuple[int, ...], bytes], path: tuple[int, ...] = ()) -> bytes:
    """`node` written again, with the encodings in `change` in place of those at these paths."""
    if path in change:
        return change[path]
    if not node.children:
        return tlv(node.tag, node.value)
    return tlv(node.tag, *(rebuilt(child, change, (*path, i)) for i, child in enumerate(node.children)))


# Paths of child numbers below ContentInfo
ENVELOPED, VERSION, RECIPIENTS, CONTENT, MAC = (1, 0), (1, 0, 0), (1, 0, 1), (1, 0, 2), (1, 0, 3)


def test_content_info_version_and_recipient_are_as_annex_i_wants() -> None:
    """MIME-6: AuthEnvelopedData version 0 in a ContentInfo, one KEKRecipientInfo version 4 with a key identifier."""
    info = read_der(DER)
    assert oid(info.children[0]) == "1.2.840.113549.1.9.16.1.23"
    assert info.children[1].tag == 0xA0
    version, recipients, content, mac = info.children[1].children[0].children
    assert (version.tag, version.value) == (0x02, b"\x00")
    assert recipients.tag == 0x31
    (recipient,) = recipients.children
    assert recipient.tag == 0xA2
    number, kekid, wrap, key = recipient.children
    assert number.value == b"\x04"
    assert kekid.children == (Node(0x04, b"\x01\x02\x03\x04"),)
    assert (key.tag, key.value) == (0x04, RECIPIENT.encrypted_key)
    assert oid(content.children[0]) == "1.2.840.113549.1.7.1"
    assert (content.children[2].tag, content.children[2].value) == (0x80, b"hidden octets")
    assert (mac.tag, mac.value) == (0x04, VALUE.mac)
    assert [oid(wrap.children[0])] == ["2.16.840.1.101.3.4.1.45"]


@pytest.mark.parametrize(
    ("name", "arc"), [("aes128-GCM", 6), ("aes256-GCM", 46), ("aes128-CCM", 7), ("aes256-CCM", 47)]
)
def test_content_algorithms_have_the_identifiers_of_rfc_5084(name: str, arc: int) -> None:
    """MIME-7, MIME-9: nonce, then a tag length of 16 that is written."""
    info = read_der(build_auth_enveloped_data(replace(VALUE, algorithm=name)))
    algorithm = info.children[1].children[0].children[2].children[1]
    assert oid(algorithm.children[0]) == f"2.16.840.1.101.3.4.1.{arc}"
    assert algorithm.children[1].children == (Node(0x04, VALUE.nonce), Node(0x02, b"\x10"))
    assert len(CONTENT_OIDS) == 4


@pytest.mark.parametrize(("name", "arc"), [("aes128-wrap", 5), ("aes256-wrap", 45)])
def test_key_wrap_has_the_identifier_of_rfc_3565_and_no_parameters(name: str, arc: int) -> None:
    """MIME-8."""
    value = replace(VALUE, recipients=(replace(RECIPIENT, wrap=name),))
    info = read_der(build_auth_enveloped_data(value))
    algorithm = info.children[1].children[0].children[1].children[0].children[2]
    assert [oid(child) for child in algorithm.children] == [f"2.16.840.1.101.3.4.1.{arc}"]
    assert len(WRAP_OIDS) == 2


def test_tag_of_the_default_length_is_not_spelled_out_and_read_back() -> None:
    """MIME-9: ICVlen is 12 when absent, and DER leaves defaults out."""
    value = replace(VALUE, mac=bytes(12))
    der = build_auth_enveloped_data(value)
    parameters = read_der(der).children[1].children[0].children[2].children[1].children[1]
    assert len(parameters.children) == 1
    assert parse_auth_enveloped_data(der) == value


@given(
    st.builds(
        AuthEnvelopedData,
        st.lists(
            st.builds(
                KekRecipient, st.binary(max_size=255), st.sampled_from(sorted(WRAP_OIDS)), st.binary(max_size=60)
            ),
            min_size=1,
            max_size=3,
            unique=True,
        ).map(lambda found: tuple(sorted(found, key=lambda r: (r.key_id, r.encrypted_key)))),
        st.sampled_from(sorted(CONTENT_OIDS)),
        st.binary(max_size=20),
        st.binary(max_size=300),
        st.binary(max_size=20),
    )
)
def test_what_is_written_reads_back_the_same(value: AuthEnvelopedData) -> None:
    read = parse_auth_enveloped_data(build_auth_enveloped_data(value))
    assert set(read.recipients) == set(value.recipients)  # a SET OF has the order of its encodings
    assert replace(read, recipients=()) == replace(value, recipients=())


@given(st.binary(max_size=400))
def test_any_octets_parse_or_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_auth_enveloped_data(data)


@given(st.data())
def test_changed_octets_parse_or_are_malformed(data: st.DataObject) -> None:
    octets = bytearray(DER)
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_auth_enveloped_data(bytes(octets[: data.draw(st.integers(1, len(octets)))]))
    except MalformedMessage:
        pass


SKIPPED = tlv(0xA3, tlv(0x02, b"\0"))
REFUSED = {
    "cms_syntax: octets behind": (DER + b"\0", "cms_syntax"),
    "cms_too_long": (bytes(MAX_SIZE + 1), "cms_too_long"),
    "another content type": (
        rebuilt(read_der(DER), {(0,): tlv(6, bytes.fromhex("2a864886f70d010703"))}),
        "cms_content_type",
    ),
    "another version": (rebuilt(read_der(DER), {VERSION: tlv(2, b"\1")}), "cms_version"),
    "inner content that is not data": (
        rebuilt(read_der(DER), {(*CONTENT, 0): tlv(6, bytes.fromhex("2a864886f70d010702"))}),
        "cms_inner_type",
    ),
    "content encryption by CBC": (
        rebuilt(read_der(DER), {(*CONTENT, 1, 0): tlv(6, bytes.fromhex("60864801650304012a"))}),
        "cms_algorithm",
    ),
    "tag shorter than ICVlen says": (rebuilt(read_der(DER), {MAC: tlv(4, bytes(12))}), "cms_icv_length"),
    "no recipients": (rebuilt(read_der(DER), {RECIPIENTS: tlv(0x31)}), "cms_recipients"),
    "too many recipients": (rebuilt(read_der(DER), {RECIPIENTS: tlv(0x31, *[SKIPPED] * 65)}), "cms_recipients"),
    "detached content": (rebuilt(read_der(DER), {(*CONTENT, 2): b""}), "cms_detached"),
    "authenticated attributes": (
        rebuilt(read_der(DER), {MAC: tlv(0xA1, tlv(0x30)) + tlv(4, bytes(16))}),
        "cms_attributes",
    ),
    "parameters of key wrap": (
        rebuilt(read_der(DER), {(*RECIPIENTS, 0, 2): tlv(0x30, tlv(6, bytes.fromhex("60864801650304012d")), b"\5\0")}),
        "cms_wrap_parameters",
    ),
    "recipient of another version": (
        rebuilt(read_der(DER), {(*RECIPIENTS, 0, 0): tlv(2, b"\3")}),
        "cms_recipient_version",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_code(case: str) -> None:
    data, code = REFUSED[case]
    with pytest.raises(MalformedMessage) as caught:
        parse_auth_enveloped_data(data)
    assert caught.value.code == code


def test_recipients_of_other_kinds_are_skipped() -> None:
    """CHOICE-18: one KEKRecipientInfo is sent, others are skipped on receipt."""
    recipient = read_der(DER).children[1].children[0].children[1].children[0]
    both = rebuilt(read_der(DER), {RECIPIENTS: tlv(0x31, rebuilt(recipient, {}), SKIPPED)})
    read = parse_auth_enveloped_data(both)
    assert (read.recipients, read.other_recipients) == ((RECIPIENT,), 1)


def test_repr_shows_no_content() -> None:
    assert "hidden" not in repr(VALUE)


@pytest.mark.parametrize("octet", [b"\x01", b"\xff"])
def test_object_identifier_of_any_length_is_not_read_to_its_end(octet: bytes) -> None:
    """MIME-21: an arc takes time that grows with the square of its length, and nobody has proven the message yet."""
    with pytest.raises(MalformedMessage, match="cms_syntax"):
        parse_auth_enveloped_data(tlv(0x30, tlv(6, octet * 64 + b"\x01"), tlv(0xA0)))
    with pytest.raises(MalformedMessage, match="cms_content_type"):
        parse_auth_enveloped_data(tlv(0x30, tlv(6, b"\x2a" * 64), tlv(0xA0)))
