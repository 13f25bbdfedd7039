"""MIKEY codec: round trip, bounds, what is refused and with which offset."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.mikey import ANY_PAYLOAD, messages

from ueagent.errors import MalformedMessage
from ueagent.wire.cursor import Reader, Writer
from ueagent.wire.mikey import (
    MAX_MESSAGE,
    CryptoSession,
    DataType,
    Header,
    MapType,
    Message,
    build_chain,
    build_message,
    first_type,
    parse_message,
    read_chain,
)
from ueagent.wire.mikey_payloads import PAYLOADS, Extension, Idr, Kemac, Randr, Sign, Sp, Timestamp, V

SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)
HEADER = Header(DataType.REQUEST_INIT_PSK, 0x01020304)
T = Timestamp(0, 0xED00378080000000)


def octets(*payloads: object, header: Header = HEADER) -> bytes:
    return build_message(Message(header, payloads))  # type: ignore[arg-type]


def outcome(data: bytes) -> str:
    try:
        message = parse_message(data)
    except MalformedMessage as error:
        within = error.offset is not None and 0 <= error.offset <= len(data)
        return "malformed within" if within else "malformed elsewhere"
    return "same" if build_message(message) == data else "another"


@SLOW
@given(messages())
def test_message_comes_back_as_it_was(message: Message) -> None:
    """RFC 3830, 6; RFC 6043, 6; RFC 4563; RFC 4567: build, parse, build."""
    built = build_message(message)
    assert parse_message(built) == message
    assert build_message(parse_message(built)) == built


@SLOW
@given(ANY_PAYLOAD)
def test_payload_comes_back_as_it_was(payload: object) -> None:
    chain = build_chain((payload,))  # type: ignore[arg-type]
    assert read_chain(Reader(chain), first_type((payload,))) == (payload,)  # type: ignore[arg-type]


@SLOW
@given(messages(), st.data())
def test_changed_message_parses_to_itself_or_is_malformed_within_its_length(
    message: Message, data: st.DataObject
) -> None:
    """Any octets either parse, and are then built again the same, or raise with an offset."""
    built = bytearray(build_message(message))
    for _ in range(data.draw(st.integers(1, 4))):
        built[data.draw(st.integers(0, len(built) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(built[: data.draw(st.integers(0, len(built)))])
    assert outcome(cut) in ("same", "malformed within")


def test_header_is_laid_out_as_rfc_3830_says() -> None:
    """KMS-21: PRF-HMAC-SHA-256 is 1, and V is the bit above it."""
    header = Header(DataType.TRANSFER_INIT, 0x11223344, answer_wanted=True)
    assert octets(T, header=header).hex() == "010e058111223344" + "0001" + "00" + "00" + "ed00378080000000"


def test_general_map_is_laid_out_as_rfc_6043_says() -> None:
    """KMS-62: CS ID, Prot type, S and #P, policies, session data, SPI."""
    session = CryptoSession(1, 0, (1, 2), bytes.fromhex("cafebabe"), bytes.fromhex("11223344"))
    header = Header(DataType.TRANSFER_INIT, 1, map_type=MapType.GENERIC_ID, sessions=(session,))
    built = octets(T, header=header)
    assert built[8:10].hex() == "0102"
    assert built[10:].startswith(bytes.fromhex("0100" + "02" + "0102" + "0004" + "cafebabe" + "04" + "11223344"))
    assert session.ssrc == 0xCAFEBABE


REFUSED = {
    "nothing": ("", "truncated", 0),
    "another version": ("02" + "0b05" + "01" + "01020304" + "0001", "unknown_version", 0),
    "unknown data type": ("01" + "1e05" + "01" + "01020304" + "0001", "unknown_data_type", 1),
    "unknown PRF": ("010b05" + "02" + "01020304" + "0001", "unknown_prf", 3),
    "unknown map": ("010b00" + "01" + "01020304" + "0003", "unknown_map", 9),
    "sessions in an Empty map": ("010b00" + "01" + "01020304" + "0101", "sessions_without_map", 8),
    "unknown payload": ("010bf1" + "01" + "01020304" + "0001" + "0000", "unknown_payload", 10),
    "key data outside a KEMAC": ("010b14" + "01" + "01020304" + "0001" + "0000", "unknown_payload", 10),
    "unknown MAC": ("010b09" + "01" + "01020304" + "0001" + "0003", "unknown_mac", 11),
    "unknown time": ("010b05" + "01" + "01020304" + "0001" + "0004", "unknown_time", 11),
    "time cut short": ("010b05" + "01" + "01020304" + "0001" + "0000ed", "truncated", 12),
    "octets after the last payload": ("010b00" + "01" + "01020304" + "0001" + "00", "trailing_octets", 10),
    "SRTP session data of three octets": (
        "010e00" + "01" + "01020304" + "0102" + "010000" + "0003cafeba" + "00",
        "session_data",
        18,
    ),
    "CS ID twice": ("010e00" + "01" + "01020304" + "0202" + "010000000000" * 2, "repeated", 22),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_message_is_refused_with_its_offset(case: str) -> None:
    text, code, offset = REFUSED[case]
    with pytest.raises(MalformedMessage) as caught:
        parse_message(bytes.fromhex(text))
    assert (caught.value.code, caught.value.offset) == (code, offset)


TWICE = {
    "T": T,
    "V in the middle": V(1, bytes(20)),
    "KEMAC": Kemac(1, b""),
    "IDR of one role": Idr(1, 1, b"sip:a@example.com"),
    "RANDR of one role": Randr(1, bytes(16)),
}


@pytest.mark.parametrize("case", TWICE)
def test_repeated_payload_is_refused(case: str) -> None:
    """RFC 6043, 4.2: nobody could say which one counts."""
    with pytest.raises(MalformedMessage):
        parse_message(octets(TWICE[case], TWICE[case]))


def test_policy_number_twice_is_refused() -> None:
    header = Header(DataType.TRANSFER_INIT, 1, map_type=MapType.GENERIC_ID)
    with pytest.raises(MalformedMessage, match="repeated"):
        parse_message(octets(Sp(1, 0, ()), Sp(1, 0, ()), header=header))


def test_empty_map_has_no_policies() -> None:
    """RFC 4563, 5."""
    with pytest.raises(MalformedMessage, match="policy_without_sessions"):
        parse_message(octets(Sp(1, 0, ())))


def test_nothing_follows_v_and_sign() -> None:
    with pytest.raises(MalformedMessage, match="after_v"):
        parse_message(octets(V(1, bytes(20)), T))
    with pytest.raises(ValueError, match="SIGN"):
        octets(Sign(0, b"x"), T)


def test_message_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(MalformedMessage, match="too_long") as caught:
        parse_message(bytes(MAX_MESSAGE + 1))
    assert caught.value.offset == 0


def test_endless_chain_is_bounded() -> None:
    chain = octets(*[Extension(0, b"")] * 200)
    with pytest.raises(MalformedMessage, match="too_many"):
        parse_message(chain)


def test_unknown_optional_parts_survive() -> None:
    """Extensions, identity types, policy parameters, reserved bits that nobody here knows."""
    header = Header(DataType.TRANSFER_INIT, 1, map_type=MapType.GENERIC_ID)
    built = octets(Extension(200, b"news"), Idr(9, 77, b"?"), Sp(3, 99, ((250, b"\x01\x02"),)), header=header)
    assert build_message(parse_message(built)) == built


def test_every_payload_of_the_specifications_has_a_row() -> None:
    """Numbers of RFC 3830, 6.1, RFC 6043, 6.1 and RFC 3830, 6.15; 20 lives inside KEMAC."""
    assert set(PAYLOADS) == {*range(1, 18), 21}


def test_lengths_that_a_field_cannot_hold_are_a_bug_of_the_builder() -> None:
    with pytest.raises(OverflowError):
        octets(Randr(1, bytes(256)))
    with pytest.raises(ValueError, match="octets"):
        octets(V(2, bytes(20)))
    writer = Writer()
    with pytest.raises(OverflowError):
        writer.block(bytes(256), 1)
