"""The SDP tree: lossless, tolerant, bounded (`ueagent/wire/sdp.py`)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.errors import MalformedMessage
from ueagent.model.media import Direction, Endpoint
from ueagent.wire.sdp import MAX_MEDIA, MAX_OCTETS, Connection, MediaSection, Rtcp, Sdp, build_sdp, parse_sdp

OFFER = (
    b"v=0\r\n"
    b"o=alice 2890844526 2890844526 IN IP4 127.0.0.1\r\n"
    b"s=-\r\n"
    b"c=IN IP4 192.0.2.1\r\n"
    b"t=0 0\r\n"
    b"a=group:BUNDLE 1 2\r\n"
    b"m=audio 49170 RTP/AVP 96 0\r\n"
    b"b=AS:64\r\n"
    b"a=rtpmap:96 AMR-WB/16000\r\n"
    b"a=ptime:20\r\n"
    b"m=video 51372/2 RTP/AVPF 97\r\n"
    b"i=camera\r\n"
    b"c=IN IP6 2001:db8::7/127\r\n"
    b"a=sendonly\r\n"
    b"a=rtcp:53020 IN IP6 2001:db8::9\r\n"
    b"a=rtcp-mux\r\n"
)


def media(data: bytes, index: int = 0) -> MediaSection:
    return parse_sdp(data).media[index]


def line(text: bytes, *rest: bytes) -> MediaSection:
    return media(b"v=0\r\nc=IN IP4 192.0.2.1\r\n" + b"".join(part + b"\r\n" for part in (text, *rest)))


def rebuilt(sdp: Sdp, section: MediaSection, index: int = 0) -> bytes:
    return build_sdp(sdp.with_media(index, section))


# -------------------------------------------------------------------------------------------------------- reading --


def test_m_line_gives_kind_port_proto_and_formats() -> None:
    audio, video = parse_sdp(OFFER).media
    assert (audio.kind, audio.port, audio.port_count, audio.proto, audio.formats) == (
        "audio",
        49170,
        1,
        "RTP/AVP",
        ("96", "0"),
    )
    assert (video.kind, video.port, video.port_count, video.proto) == ("video", 51372, 2, "RTP/AVPF")


def test_medium_without_connection_uses_that_of_the_session() -> None:
    assert media(OFFER, 0).connection == Connection(4, "192.0.2.1")


def test_connection_of_the_medium_wins_and_its_ttl_is_not_part_of_the_address() -> None:
    assert media(OFFER, 1).connection == Connection(6, "2001:db8::7")


def test_connection_of_an_unknown_network_has_no_family_and_no_endpoint() -> None:
    section = line(b"m=audio 9 RTP/AVP 0", b"c=ATM NSAP 47.0091")
    assert section.connection == Connection(None, "47.0091")
    assert section.endpoint is None


def test_host_name_in_a_connection_gives_no_endpoint() -> None:
    assert line(b"m=audio 9 RTP/AVP 0", b"c=IN IP4 media.example.com").endpoint is None


def test_medium_without_any_connection_has_no_endpoint() -> None:
    assert media(b"m=audio 9 RTP/AVP 0\r\n").endpoint is None


def test_rtcp_goes_to_the_next_port_by_default() -> None:
    assert media(OFFER, 0).endpoint == Endpoint("192.0.2.1", 49170, 49171)


def test_rtcp_attribute_names_port_and_address() -> None:
    """RFC 3605, 2.1."""
    assert media(OFFER, 1).rtcp == Rtcp(53020, "2001:db8::9")
    assert line(b"m=audio 9 RTP/AVP 0", b"a=rtcp:53020").endpoint == Endpoint("192.0.2.1", 9, 53020)


def test_rtcp_mux_puts_rtcp_on_the_rtp_port() -> None:
    assert media(OFFER, 1).rtcp_port == 51372


@pytest.mark.parametrize("value", [b"", b":", b":0", b":65536", b":x", b":1 IN", b":1 IN IP4"])
def test_bad_rtcp_attribute_counts_as_absent(value: bytes) -> None:
    section = line(b"m=audio 100 RTP/AVP 0", b"a=rtcp" + value)
    assert section.rtcp is None
    assert section.rtcp_port == 101


def test_highest_port_leaves_no_room_for_rtcp() -> None:
    section = line(b"m=audio 65535 RTP/AVP 0")
    assert section.rtcp_port is None
    assert section.endpoint is None


@pytest.mark.parametrize(
    ("session", "own", "expected"),
    [
        (b"", b"", Direction.SENDRECV),
        (b"a=inactive\r\n", b"", Direction.INACTIVE),
        (b"a=inactive\r\n", b"a=sendonly\r\n", Direction.SENDONLY),
        (b"", b"a=recvonly\r\na=sendonly\r\n", Direction.RECVONLY),
        (b"", b"a=sendonly:x\r\n", Direction.SENDRECV),
    ],
)
def test_direction_is_that_of_the_medium_else_of_the_session(session: bytes, own: bytes, expected: Direction) -> None:
    assert media(b"v=0\r\n" + session + b"m=audio 9 RTP/AVP 0\r\n" + own).direction is expected


@pytest.mark.parametrize("connection", [b"IN IP4 0.0.0.0", b"IN IP6 ::"])
def test_legacy_hold_is_recognised(connection: bytes) -> None:
    """DYN-9."""
    assert line(b"m=audio 9 RTP/AVP 0", b"c=" + connection).legacy_hold
    assert not media(OFFER).legacy_hold


def test_flag_and_value_attributes_are_told_apart() -> None:
    section = line(b"m=audio 9 RTP/AVP 0", b"a=flag", b"a=empty:", b"a=x:1:2", b"a=x:3")
    assert [(a.name, a.value) for a in section.attributes] == [
        ("flag", None),
        ("empty", b""),
        ("x", b"1:2"),
        ("x", b"3"),
    ]
    assert [a.value for a in section.attributes_named("x")] == [b"1:2", b"3"]
    first = section.attribute("x")
    assert first is not None
    assert first.value == b"1:2"
    assert section.attribute("X") is None


def test_missing_v_and_o_lines_are_tolerated() -> None:
    assert media(b"m=audio 9 RTP/AVP 0").port == 9


@pytest.mark.parametrize("text", [b"m=audio 9 RTP/AVP", b"m=audio  9\tRTP/AVP   0 1 ", b"m=image 9 udptl t38"])
def test_odd_but_readable_m_lines_parse(text: bytes) -> None:
    assert line(text).port == 9


@pytest.mark.parametrize(
    "text",
    [
        b"m=",
        b"m=audio",
        b"m=audio 9",
        b"m=audio x RTP/AVP 0",
        b"m=audio -1 RTP/AVP 0",
        b"m=audio 65536 RTP/AVP 0",
        b"m=audio 123456 RTP/AVP 0",
        b"m=audio 9/ RTP/AVP 0",
        b"m=aud\x00io 9 RTP/AVP 0",
        b"m=audio 9 RTP/AVP \xff",
    ],
)
def test_bad_m_line_is_one_typed_error_with_field_and_offset(text: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        line(text)
    assert (caught.value.code, caught.value.field, caught.value.offset) == ("bad_m_line", "m=", 25)


@pytest.mark.parametrize(
    "text", [b"c=", b"c=IN", b"c=IN IP4", b"c=IN IP4 1.2.3.4/", b"c=IN IP4 1.2.3.4 x", b"c=IN IP4 \xff"]
)
def test_bad_c_line_is_one_typed_error_with_field_and_offset(text: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse_sdp(b"v=0\n" + text)
    assert (caught.value.code, caught.value.field, caught.value.offset) == ("bad_c_line", "c=", 4)


# --------------------------------------------------------------------------------------------------------- bounds --


def test_sdp_of_64_kib_parses_and_a_larger_one_does_not() -> None:
    data = OFFER + b"a=x\r\n" * ((MAX_OCTETS - len(OFFER)) // 5)
    data += b"a" * (MAX_OCTETS - len(data))
    assert len(data) == 65536
    assert build_sdp(parse_sdp(data)) == data
    with pytest.raises(MalformedMessage) as caught:
        parse_sdp(data + b"a")
    assert caught.value.code == "sdp_too_large"


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse_sdp(b"v=0\n" + b"\n" * 20000)
    assert caught.value.code == "too_many_lines"


def test_too_many_m_lines_are_refused_at_the_first_that_is_too_much() -> None:
    one = b"m=audio 9 RTP/AVP 0\n"
    assert len(parse_sdp(one * MAX_MEDIA).media) == MAX_MEDIA
    with pytest.raises(MalformedMessage) as caught:
        parse_sdp(one * (MAX_MEDIA + 1))
    assert (caught.value.code, caught.value.offset) == ("too_many_media", MAX_MEDIA * len(one))


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"hello", b"\x00\x01", b"{}", b"INVITE sip:x SIP/2.0\r\n"])
def test_octets_without_any_typed_line_are_not_sdp(data: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse_sdp(data)
    assert caught.value.code == "not_sdp"


# ------------------------------------------------------------------------------------------------------- lossless --


@pytest.mark.parametrize(
    "data",
    [
        OFFER,
        OFFER.replace(b"\r\n", b"\n"),
        OFFER.rstrip(),
        b"v=0\nm=audio 9 RTP/AVP 0\r\na=x\n\r\n",
        OFFER + b"a=nul:\x00\x00\r\na=caf\xc3\xa9:\xff\r\n",
        OFFER + b"Zzz unknown\r\nq=?\r\n=\r\n\r\n garbage\x00",
        b"\xef\xbb\xbfv=0\r\ns= \xfc \r\n",
        b"v=0\rs=x\r\r\n",
    ],
)
def test_what_nobody_edits_is_printed_as_it_came(data: bytes) -> None:
    assert build_sdp(parse_sdp(data)) == data


SOUP = st.lists(
    st.one_of(
        st.sampled_from(
            [b"\r\n", b"\n", b"\r", b"m=audio 9 RTP/AVP 0", b"c=IN IP4 1.2.3.4", b"a=", b"v=0", b"\x00", b" "]
        ),
        st.binary(max_size=12),
    ),
    max_size=30,
).map(b"".join)


@given(SOUP)
def test_any_octets_parse_and_print_the_same_or_are_malformed(data: bytes) -> None:
    try:
        sdp = parse_sdp(data)
    except MalformedMessage:
        return
    assert build_sdp(sdp) == data


# -------------------------------------------------------------------------------------------------------- editing --


def test_new_proto_changes_that_token_only() -> None:
    sdp = parse_sdp(OFFER)
    assert rebuilt(sdp, sdp.media[0].with_proto("RTP/SAVP")) == OFFER.replace(b"RTP/AVP 96", b"RTP/SAVP 96")


def test_new_port_changes_that_token_only_and_drops_a_count() -> None:
    sdp = parse_sdp(OFFER)
    assert rebuilt(sdp, sdp.media[0].with_port(40000)) == OFFER.replace(b"49170", b"40000")
    assert rebuilt(sdp, sdp.media[1].with_port(0), 1) == OFFER.replace(b"51372/2", b"0")


def test_spacing_of_an_edited_m_line_stays() -> None:
    sdp = parse_sdp(b"m=audio  9\tRTP/AVP   0 1 \n")
    assert rebuilt(sdp, sdp.media[0].with_proto("X").with_port(7)) == b"m=audio  7\tX   0 1 \n"


def test_address_of_a_medium_with_its_own_connection_is_edited_there() -> None:
    sdp = parse_sdp(OFFER)
    assert rebuilt(sdp, sdp.media[1].with_address("203.0.113.5"), 1) == OFFER.replace(
        b"c=IN IP6 2001:db8::7/127", b"c=IN IP4 203.0.113.5"
    )


def test_address_that_differs_from_the_session_adds_a_connection_after_m_and_i() -> None:
    sdp = parse_sdp(OFFER.replace(b"c=IN IP6 2001:db8::7/127\r\n", b""))
    first = rebuilt(sdp, sdp.media[0].with_address("2001:db8::1"))
    assert b"m=audio 49170 RTP/AVP 96 0\r\nc=IN IP6 2001:db8::1\r\nb=AS:64\r\n" in first
    second = rebuilt(sdp, sdp.media[1].with_address("2001:db8::1"), 1)
    assert b"i=camera\r\nc=IN IP6 2001:db8::1\r\na=sendonly\r\n" in second


def test_address_that_holds_already_changes_nothing() -> None:
    sdp = parse_sdp(OFFER)
    assert rebuilt(sdp, sdp.media[0].with_address("192.0.2.1")) == OFFER


def test_further_connections_of_a_medium_go_with_the_edit() -> None:
    sdp = parse_sdp(b"m=audio 9 RTP/AVP 0\nc=IN IP4 224.2.1.1/127\nc=IN IP4 224.2.1.2/127\na=x\n")
    assert rebuilt(sdp, sdp.media[0].with_address("192.0.2.9")) == b"m=audio 9 RTP/AVP 0\nc=IN IP4 192.0.2.9\na=x\n"


def test_address_of_the_session_is_edited_and_holds_for_its_media_while_o_stays() -> None:
    sdp = parse_sdp(OFFER)
    edited = sdp.with_session(sdp.session.with_own_address("198.51.100.3"))
    assert build_sdp(edited) == OFFER.replace(b"c=IN IP4 192.0.2.1", b"c=IN IP4 198.51.100.3")
    assert edited.media[0].connection == Connection(4, "198.51.100.3")


def test_connection_added_to_a_session_comes_before_its_timing() -> None:
    sdp = parse_sdp(b"v=0\ns=-\nt=0 0\n")
    assert build_sdp(sdp.with_session(sdp.session.with_own_address("::1"))) == b"v=0\ns=-\nc=IN IP6 ::1\nt=0 0\n"


def test_address_that_is_no_literal_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        media(OFFER).with_address("host.example.com")


def test_added_attributes_follow_the_last_attribute() -> None:
    sdp = parse_sdp(OFFER)
    edited = rebuilt(sdp, sdp.media[0].with_attributes([b"a=3ge2ae:requested", b"a=y"]))
    assert edited == OFFER.replace(b"a=ptime:20\r\n", b"a=ptime:20\r\na=3ge2ae:requested\r\na=y\r\n")


def test_added_attributes_follow_the_last_typed_line_when_there_is_none_before_garbage() -> None:
    sdp = parse_sdp(b"m=audio 9 RTP/AVP 0\nb=AS:1\ngarbage")
    edited = rebuilt(sdp, sdp.media[0].with_attributes([b"a=x"]))
    assert edited == b"m=audio 9 RTP/AVP 0\nb=AS:1\na=x\ngarbage"


def test_replacing_attributes_take_the_place_of_the_first_replaced() -> None:
    sdp = parse_sdp(b"m=audio 9 RTP/AVP 0\na=crypto:1\na=ptime:20\na=crypto:2\na=z\n")
    edited = rebuilt(sdp, sdp.media[0].with_attributes([b"a=crypto:7", b"a=crypto:8"], replacing=("crypto",)))
    assert edited == b"m=audio 9 RTP/AVP 0\na=crypto:7\na=crypto:8\na=ptime:20\na=z\n"


def test_removed_attributes_take_their_lines_with_them_only() -> None:
    sdp = parse_sdp(OFFER)
    edited = rebuilt(sdp, sdp.media[1].without_attributes("rtcp", "rtcp-mux", "absent"), 1)
    assert edited == OFFER.replace(b"a=rtcp:53020 IN IP6 2001:db8::9\r\n", b"").replace(b"a=rtcp-mux\r\n", b"")


def test_attributes_are_removed_by_value() -> None:
    sdp = parse_sdp(b"v=0\na=group:BUNDLE 1\na=group:LS 1\nm=audio 9 RTP/AVP 0\n")
    session = sdp.session.without(lambda a: a.name == "group" and (a.value or b"").startswith(b"BUNDLE"))
    assert build_sdp(sdp.with_session(session)) == b"v=0\na=group:LS 1\nm=audio 9 RTP/AVP 0\n"


@pytest.mark.parametrize("added", [b"a=x\r\nm=audio 1 RTP/AVP 0", b"a=x\n", b"b=AS:1", b""])
def test_added_line_that_is_not_one_attribute_is_refused(added: bytes) -> None:
    with pytest.raises(ValueError, match="line"):
        media(OFFER).with_attributes([added])


def test_direction_is_replaced_in_place() -> None:
    sdp = parse_sdp(OFFER)
    edited = sdp.media[1].with_direction(Direction.INACTIVE)
    assert rebuilt(sdp, edited, 1) == OFFER.replace(b"a=sendonly", b"a=inactive")
    assert edited.direction is Direction.INACTIVE


def test_rtcp_port_is_replaced_in_place() -> None:
    sdp = parse_sdp(OFFER)
    edited = rebuilt(sdp, sdp.media[1].with_rtcp(4001), 1)
    assert edited == OFFER.replace(b"a=rtcp:53020 IN IP6 2001:db8::9", b"a=rtcp:4001")


@pytest.mark.parametrize(
    ("document", "ending"),
    [
        (b"v=0\nm=audio 9 RTP/AVP 0\na=z\n", b"\n"),
        (b"v=0\r\nm=audio 9 RTP/AVP 0\r\na=z\n", b"\r\n"),
        (b"v=0\r\ns=-\nm=audio 9 RTP/AVP 0\na=z\r\na=y\n", b"\n"),
    ],
)
def test_new_line_gets_the_predominant_ending(document: bytes, ending: bytes) -> None:
    sdp = parse_sdp(document)
    assert rebuilt(sdp, sdp.media[0].with_attributes([b"a=x"])) == document + b"a=x" + ending


def test_line_after_an_unended_one_does_not_run_into_it() -> None:
    sdp = parse_sdp(b"v=0\nm=audio 9 RTP/AVP 0\na=z")
    assert rebuilt(sdp, sdp.media[0].with_attributes([b"a=x"])) == b"v=0\nm=audio 9 RTP/AVP 0\na=z\na=x\n"


@given(before=SOUP, after=SOUP)
def test_editing_one_medium_leaves_all_other_octets(before: bytes, after: bytes) -> None:
    head, tail = b"v=0\r\n" + before + b"\r\n", b"\r\n" + after
    try:
        sdp = parse_sdp(head + b"m=audio 9 RTP/AVP 0" + tail)
    except MalformedMessage:
        return
    index = next(i for i, section in enumerate(sdp.media) if section.lines[0].offset == len(head))
    edited = sdp.media[index].with_proto("RTP/SAVP").with_port(40000)
    assert rebuilt(sdp, edited, index) == head + b"m=audio 40000 RTP/SAVP 0" + tail


def test_no_repr_shows_the_content_of_a_line() -> None:
    """POL-8."""
    sdp = parse_sdp(b"v=0\r\nm=audio 9 RTP/SAVP 0\r\na=crypto:1 S inline:SECRETKEY\r\n")
    shown = repr(sdp) + repr(sdp.media[0].attributes) + repr(sdp.media[0].lines)
    assert "SECRETKEY" not in shown
