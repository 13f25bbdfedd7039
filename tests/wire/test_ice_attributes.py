"""ICE in SDP (`ueagent/wire/ice_attributes.py`): RFC 8839."""

from __future__ import annotations

import pytest
from aioice import Candidate

from ueagent.model.media import Endpoint
from ueagent.wire.ice_attributes import IceCredentials, IceParameters, build_ice, in_bundle, read_ice
from ueagent.wire.sdp import MediaSection, parse_sdp

UFRAG, PASSWORD = b"a=ice-ufrag:8hhY", b"a=ice-pwd:asd88fgpdd777uzjYhagZg"  # RFC 8839, appendix
CREDENTIALS = IceCredentials("8hhY", "asd88fgpdd777uzjYhagZg")


def section(*attributes: bytes, session: tuple[bytes, ...] = ()) -> MediaSection:
    lines = (b"v=0", *session, b"m=audio 9 UDP/TLS/RTP/SAVPF 96", *attributes)
    return parse_sdp(b"".join(line + b"\r\n" for line in lines)).media[0]


def test_credentials_of_the_medium_are_read() -> None:
    assert read_ice(section(UFRAG, PASSWORD)) == IceParameters(CREDENTIALS)


def test_credentials_of_the_session_hold_where_the_medium_has_none() -> None:
    found = read_ice(section(session=(b"a=ice-lite", UFRAG, PASSWORD)))
    assert found == IceParameters(CREDENTIALS, lite=True)


@pytest.mark.parametrize(
    "attributes",
    [
        (UFRAG,),
        (PASSWORD,),
        (b"a=ice-ufrag:8hh", PASSWORD),
        (UFRAG, b"a=ice-pwd:tooshort"),
        (UFRAG + b"\x80", PASSWORD),
        (UFRAG, PASSWORD, b"a=ice-mismatch"),
    ],
)
def test_medium_without_valid_credentials_does_without_ice(attributes: tuple[bytes, ...]) -> None:
    assert read_ice(section(*attributes)) is None


def test_what_is_written_is_read_back() -> None:
    assert read_ice(section(*build_ice(CREDENTIALS, Endpoint("192.0.2.1", 4000, 4000)))) == IceParameters(CREDENTIALS)


def test_candidate_is_read_by_another_implementation() -> None:
    lines = build_ice(CREDENTIALS, Endpoint("2001:db8::1", 4000, 4001))
    candidates = [
        Candidate.from_sdp(line.decode().removeprefix("a=candidate:")) for line in lines if b"candidate:" in line
    ]
    assert [(c.component, c.host, c.port, c.type, c.transport) for c in candidates] == [
        (1, "2001:db8::1", 4000, "host", "UDP"),
        (2, "2001:db8::1", 4001, "host", "UDP"),
    ]
    assert candidates[0].priority == 2130706431  # RFC 8445, 5.1.2.1 for the only host candidate


def test_password_is_in_no_repr() -> None:
    assert CREDENTIALS.password not in repr(IceParameters(CREDENTIALS))


def test_tags_of_a_bundle_are_found() -> None:
    """DYN-16."""
    assert in_bundle([b"LS 0 1", b" BUNDLE 0 1", b"BUNDLE 7"]) == (b"0", b"1")
    assert in_bundle([b"LS 0 1", b""]) == ()
