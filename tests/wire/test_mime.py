"""Bodies of protected MESSAGEs: their parts, what is tolerated and what is not."""

from __future__ import annotations

import base64
import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.errors import MalformedMessage
from ueagent.wire.mime import (
    MAX_BODY,
    Part,
    ProtectedBody,
    build_entity,
    build_protected,
    parse_entity,
    parse_media_type,
    parse_multipart,
    parse_protected,
)

MIKEY, CMS = bytes(range(100)), bytes(reversed(range(120)))
TYPE, BODY = build_protected(ProtectedBody(MIKEY, CMS), "b1")
LIST = Part("application/resource-lists+xml", b"<resource-lists/>", "recipient-list")


def code_of(content_type: str, body: bytes, *, tolerant: bool = False) -> str:
    with pytest.raises(MalformedMessage) as caught:
        parse_protected(content_type, body, tolerant=tolerant)
    return caught.value.code


def test_mikey_comes_first_then_smime_with_the_headers_of_annex_i() -> None:
    """MIME-2, MIME-3, MIME-20: golden body."""

    def lines(octets: bytes) -> bytes:
        text = base64.b64encode(octets)
        return b"\r\n".join(text[i : i + 76] for i in range(0, len(text), 76))

    assert TYPE == 'multipart/mixed;boundary="b1"'
    assert (
        b"--b1\r\n"
        b"Content-Type: application/mikey\r\n"
        b"Content-Transfer-Encoding: base64\r\n"
        b"\r\n" + lines(MIKEY) + b"\r\n"
        b"--b1\r\n"
        b"Content-Type: application/pkcs7-mime; smime-type=auth-enveloped-data; name=smime.p7m\r\n"
        b"Content-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment; filename=smime.p7m\r\n"
        b"\r\n" + lines(CMS) + b"\r\n"
        b"--b1--\r\n"
    ) == BODY


def test_the_email_package_of_python_reads_the_same_parts() -> None:
    """MIME-2, MIME-3, by a reader that is not ours."""
    head = f"MIME-Version: 1.0\r\nContent-Type: {TYPE}\r\n\r\n".encode()
    message = email.message_from_bytes(head + BODY, policy=email.policy.default)
    first, second = message.iter_parts()
    assert (first.get_content_type(), first.get_content()) == ("application/mikey", MIKEY)
    assert (second.get_content_type(), second.get_content()) == ("application/pkcs7-mime", CMS)
    assert second.get_filename() == "smime.p7m"


def test_bodies_that_the_email_package_writes_are_read() -> None:
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message.make_mixed()
    message.add_attachment(MIKEY, "application", "mikey")
    message.add_attachment(CMS, "application", "pkcs7-mime", params={"smime-type": "authEnveloped-data"})
    body = message.as_bytes().split(b"\r\n\r\n", 1)[1]
    boundary = body.split(b"\r\n", 1)[0][2:].decode()
    assert parse_protected(f'multipart/mixed; boundary="{boundary}"', body) == ProtectedBody(MIKEY, CMS)


@pytest.mark.parametrize(
    "spelling", ["auth-enveloped-data", "authEnveloped-data", "AUTH-ENVELOPED-DATA", "AuthEnveloped-Data"]
)
def test_both_spellings_of_the_smime_type_are_accepted(spelling: str) -> None:
    """MIME-4, OPEN-12."""
    body = BODY.replace(b"auth-enveloped-data", spelling.encode())
    assert parse_protected(TYPE, body).cms == CMS


def test_smime_of_another_kind_is_not_the_protected_part() -> None:
    """MIME-1: public-key S/MIME is not what a KMS message is."""
    assert code_of(TYPE, BODY.replace(b"auth-enveloped-data", b"signed-data")) == "mime_missing_part"


def test_another_media_type_stands_for_it_only_when_configured() -> None:
    """MIME-20, OPEN-13."""
    body = BODY.replace(b"application/pkcs7-mime", b"application/vnd.3gpp.psk-mime")
    assert code_of(TYPE, body) == "mime_missing_part"
    assert parse_protected(TYPE, body, aliases=("application/vnd.3gpp.psk-mime",)).cms == CMS


def test_list_of_recipients_goes_in_clear_beside_the_protected_part() -> None:
    """MIME-16: a list server must read it."""
    content_type, body = build_protected(ProtectedBody(MIKEY, CMS, (LIST,)), "b1")
    assert b"<resource-lists/>" in body
    assert parse_protected(content_type, body).others == (LIST,)


def test_early_close_delimiter_is_refused_unless_tolerated() -> None:
    """MIME-19: the example in I.3 closes the multipart after the first part."""
    early = BODY.replace(b"--b1\r\nContent-Type: application/pkcs7", b"--b1--\r\nContent-Type: application/pkcs7")
    assert early != BODY
    assert code_of(TYPE, early) == "mime_premature_close"
    assert parse_protected(TYPE, early, tolerant=True) == ProtectedBody(MIKEY, CMS)


def test_octets_behind_the_close_delimiter_are_refused() -> None:
    """MIME-19."""
    assert code_of(TYPE, BODY + b"more") == "mime_premature_close"
    assert parse_protected(TYPE, BODY + b"\r\n").mikey == MIKEY


def test_lines_that_end_in_lf_are_read_only_when_tolerated() -> None:
    body = BODY.replace(b"\r\n", b"\n")
    assert code_of(TYPE, body) == "mime_unclosed"
    assert parse_protected(TYPE, body, tolerant=True) == ProtectedBody(MIKEY, CMS)


@pytest.mark.parametrize("tolerant", [False, True])
def test_truncated_body_is_refused(tolerant: bool) -> None:
    assert code_of(TYPE, BODY[: -len("--b1--\r\n")], tolerant=tolerant) == "mime_unclosed"


def test_a_second_protected_object_is_refused() -> None:
    """MIME-15."""
    start = BODY.index(b"--b1\r\nContent-Type: application/pkcs7")
    second = BODY[start : -len(b"--b1--\r\n")]
    assert code_of(TYPE, BODY[:start] + second + second + b"--b1--\r\n") == "mime_repeated_part"


REFUSED = {
    "no boundary": ("multipart/mixed", BODY, "mime_type"),
    "another multipart": ('multipart/signed;boundary="b1"', BODY, "mime_type"),
    "a boundary that ends in a space": ('multipart/mixed;boundary="b1 "', BODY, "mime_type"),
    "a parameter twice": ("multipart/mixed;boundary=b1;boundary=b2", BODY, "mime_type"),
    "not a type": ("multipart", BODY, "mime_type"),
    "too long": (TYPE, bytes(MAX_BODY + 1), "mime_too_long"),
    "too many parts": (TYPE, b"--b1\r\n\r\n\r\n" * 20 + b"--b1--", "mime_parts"),
    "base64 that is none": (TYPE, BODY.replace(b"\r\n\r\nA", b"\r\n\r\n*", 1), "mime_base64"),
    "unknown encoding": (TYPE, BODY.replace(b"base64", b"x-uue"), "mime_encoding"),
    "header without an end": (TYPE, b"--b1\r\nContent-Type: text/plain\r\n--b1--\r\n", "mime_header"),
    "header field twice": (TYPE, b"--b1\r\nA: b\r\na: b\r\n\r\n\r\n--b1--\r\n", "mime_header"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_code(case: str) -> None:
    content_type, body, code = REFUSED[case]
    assert code_of(content_type, body) == code


def test_preamble_is_ignored_and_folded_headers_are_read() -> None:
    body = b"This is a preamble.\r\n" + BODY.replace(b"; name=", b";\r\n  name=")
    assert parse_protected(TYPE, body) == ProtectedBody(MIKEY, CMS)


def test_boundary_that_occurs_in_a_part_is_not_written() -> None:
    with pytest.raises(ValueError, match="occurs"):
        build_protected(ProtectedBody(MIKEY, CMS, (Part("text/plain", b"x--b1"),)), "b1")


def test_header_injection_is_not_written() -> None:
    with pytest.raises(ValueError, match="one line"):
        build_protected(ProtectedBody(MIKEY, CMS, (Part("text/plain\r\nX: y", b""),)), "b1")


def test_lines_of_texts_are_made_canonical_before_protection() -> None:
    """MIME-5."""
    entity = build_entity("text/plain; charset=utf-8", b"one\ntwo\r\nthree\rfour")
    head, content = entity.split(b"\r\n\r\n", 1)
    assert head.startswith(b"Content-Type: text/plain; charset=utf-8\r\n")
    assert content == b"one\r\ntwo\r\nthree\r\nfour"


def test_binary_contents_are_protected_as_they_are() -> None:
    """MIME-5."""
    octets = bytes(range(256))
    assert parse_entity(build_entity("image/png", octets)) == Part("image/png", octets)


def test_delivery_notification_travels_as_an_entity_of_its_type() -> None:
    """MIME-21: IMDN is inside."""
    assert parse_entity(build_entity("message/imdn+xml", b"<imdn/>")) == Part("message/imdn+xml", b"<imdn/>")


def test_quoted_parameters_lose_their_quotes() -> None:
    media = parse_media_type('Text/Plain; charset="utf-8"; name="a \\"b\\""')
    assert (media.name, dict(media.parameters)) == ("text/plain", {"charset": "utf-8", "name": 'a "b"'})


@given(st.binary(max_size=300), st.booleans())
def test_any_octets_parse_or_are_malformed(body: bytes, tolerant: bool) -> None:
    for octets in (body, b"--b1" + body + b"\r\n--b1--", b"--b1\r\n" + body + b"\n--b1\n\n--b1--" + body):
        try:
            parse_multipart(TYPE, octets, tolerant=tolerant)
        except MalformedMessage:
            pass


@given(st.text(max_size=60))
def test_any_content_type_parses_or_is_malformed(text: str) -> None:
    for candidate in (text, "multipart/mixed;" + text):
        try:
            parse_multipart(candidate, BODY)
        except MalformedMessage:
            pass


@given(st.binary(max_size=200), st.binary(max_size=200), st.lists(st.binary(max_size=40), max_size=3))
def test_what_is_written_reads_back_the_same(mikey: bytes, cms: bytes, contents: list[bytes]) -> None:
    body = ProtectedBody(mikey, cms, tuple(Part("application/octet-stream", content) for content in contents))
    assert parse_protected(*build_protected(body, "a-long-boundary-that-is-not-in-there")) == body
