"""Ticket mode codec: TP Data, Ticket Data, Initiator Data, key data, times, MAC coverage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mikey import VALIDITIES, octets

from ueagent.errors import MalformedMessage
from ueagent.model.keys import Secret
from ueagent.model.ticket import (
    MEDIA_FLAGS,
    MESSAGE_FLAGS,
    KeyType,
    PolicyTerms,
    TicketFlag,
    Validity,
    broken_implication,
)
from ueagent.wire.mikey import DataType, Header, Message, build_chain, build_message
from ueagent.wire.mikey_keys import KeyData, build_key_data, parse_key_data
from ueagent.wire.mikey_payloads import (
    Idr,
    Kemac,
    Rand,
    Randr,
    Spi,
    TicketPayload,
    TicketPolicy,
    TimeRange,
    Timestamp,
    V,
)
from ueagent.wire.mikey_ticket import (
    ERA,
    TicketData,
    authenticated_octets,
    build_initiator_data,
    build_policy,
    build_ticket_data,
    kms_id_of,
    missing_part,
    moment_of,
    ntp_now,
    ntp_seconds,
    parse_initiator_data,
    parse_terms,
    parse_ticket_data,
    sixty_four_bits,
    ticket_octets,
)

TERMS = PolicyTerms(
    flags=MEDIA_FLAGS,
    prf=1,
    kms=b"sip:kms.example.com",
    initiator=b"sip:alice@example.com",
    responders=(b"sip:bob@example.com", b"sip:carol@example.com"),
    applications=(b"IMS-MEDIA",),
    validity=Validity(1_800_000_000.0, 1_800_003_600.0, 600.0),
)
TICKET_DATA = TicketData(
    b"\x00\x01\x02\x03\x04\x05more",
    Timestamp(3, 0xED003780),
    Rand(bytes(32)),
    Kemac(3, bytes(40)),
    Idr(4, 2, b"tpk-1"),
    V(2, bytes(range(32))),
)


def ticket(initiator_data: bytes = b"") -> TicketPayload:
    policy = build_policy(TERMS)
    return TicketPayload(
        policy.kind,
        policy.subtype,
        policy.version,
        policy.prf,
        policy.flags,
        policy.data,
        build_ticket_data(TICKET_DATA),
        initiator_data,
    )


@pytest.mark.parametrize(
    ("prf", "flags", "head"),
    [
        (1, MEDIA_FLAGS, "0002000003f860"),
        (0, MEDIA_FLAGS, "0002000001f860"),
        (1, MESSAGE_FLAGS, "00020000039060"),
        (1, MESSAGE_FLAGS | TicketFlag.I, "00020000039860"),
    ],
)
def test_policy_head_has_the_octets_of_the_profile(prf: int, flags: TicketFlag, head: str) -> None:
    """KMS-26, MIME-12; mikey-ticket sheet, 4: the PRF is shifted by one bit."""
    chain = build_chain((TicketPolicy(2, 0, 0, prf, flags, b""),))
    assert chain.hex() == "00" + head + "0000"


def test_policy_says_all_its_terms() -> None:
    """KMS-29, KMS-32."""
    wanted = Kemac(0, b"\x00\x61\x00\x01\x00\x01\x01")
    assert parse_terms(build_policy(TERMS, wanted)) == (TERMS, wanted)
    assert parse_terms(build_policy(TERMS)) == (TERMS, None)


def test_policy_without_times_is_open() -> None:
    open_terms = PolicyTerms(MEDIA_FLAGS, 1, None, None, (b"sip:bob@example.com",))
    assert parse_terms(build_policy(open_terms)) == (open_terms, None)
    assert open_terms.validity.covers(0)
    assert open_terms.validity.covers(1e12)


def test_octets_behind_policy_data_are_refused() -> None:
    policy = build_policy(TERMS)
    longer = TicketPolicy(policy.kind, 0, 0, 1, policy.flags, policy.data + b"\x00")
    with pytest.raises(MalformedMessage, match="trailing_octets"):
        parse_terms(longer)


BROKEN = {
    "without D, L": TicketFlag.F | TicketFlag.G | TicketFlag.H,
    "G needs F": TicketFlag.D | TicketFlag.G | TicketFlag.H,
    "without G, H": TicketFlag.D | TicketFlag.F,
    "I needs E": TicketFlag.D | TicketFlag.F | TicketFlag.G | TicketFlag.H | TicketFlag.I,
    "M needs F": TicketFlag.D | TicketFlag.H | TicketFlag.M,
}


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_flag_dependency_is_named(rule: str) -> None:
    """KMS-33."""
    assert broken_implication(BROKEN[rule]) == rule


def test_flag_dependencies_have_their_two_exceptions() -> None:
    """KMS-28 (own tickets without L), KMS-33 (I with a TGK needs F)."""
    own = MEDIA_FLAGS & ~TicketFlag.D
    assert broken_implication(own) == "without D, L"
    assert broken_implication(own, self_made=True) is None
    proof = MESSAGE_FLAGS | TicketFlag.I
    assert broken_implication(proof) is None
    assert broken_implication(proof, tgk_inside=True) == "I with a TGK needs F"
    assert broken_implication(MEDIA_FLAGS, tgk_inside=True) is None


def test_ticket_data_comes_back_as_it_was() -> None:
    """RFC 6043, Appendix A."""
    assert parse_ticket_data(build_ticket_data(TICKET_DATA)) == TICKET_DATA


def test_first_48_bits_of_the_ticket_header_name_the_kms() -> None:
    """KMS-30."""
    assert kms_id_of(ticket()) == bytes(range(6))


def test_ticket_mac_covers_the_ticket_without_next_payload_initiator_data_and_itself() -> None:
    """RFC 6043, A: whatever the Initiator inserts, the KMS can verify its ticket."""
    covered = ticket_octets(ticket())
    assert covered == ticket_octets(ticket(b"\x09 anything"))
    chain = build_chain((ticket(),))
    assert covered == bytes(chain[1:-34])


def test_initiator_data_is_two_verification_payloads() -> None:
    """KMS-45: Vi announces Vr although the V that it repeats announced nothing."""
    vi, vr = V(2, bytes(32)), V(2, bytes(range(32)))
    built = build_initiator_data(vi, vr)
    assert built.hex() == "09" + "0902" + bytes(32).hex() + "0002" + bytes(range(32)).hex()
    assert parse_initiator_data(built) == (vi, vr)
    for broken in (b"\x09\x00\x00", b"\x00", built + b"\x00"):
        with pytest.raises(MalformedMessage):
            parse_initiator_data(broken)


def transfer_init(initiator_data: bytes) -> Message:
    header = Header(DataType.TRANSFER_INIT, 7)
    parts = (Timestamp(0, 1), Randr(1, bytes(16)), ticket(initiator_data), Idr(1, 1, b"sip:a@x"), V(2, bytes(32)))
    return Message(header, parts)


def test_mac_of_transfer_init_leaves_initiator_data_and_its_length_out() -> None:
    """RFC 6043, 5.5."""
    without, with_data = (
        authenticated_octets(message, build_message(message))
        for message in (transfer_init(b""), transfer_init(b"initiator"))
    )
    assert without == with_data
    whole = build_message(transfer_init(b""))
    assert len(without) == len(whole) - 32 - 2
    assert without.endswith(b"sip:a@x" + b"\x00\x02")


def test_message_that_lacks_a_payload_says_which() -> None:
    message = transfer_init(b"")
    assert missing_part(message) is None
    shorter = Message(message.header, message.payloads[:1] + message.payloads[2:])
    assert missing_part(shorter) == "RANDR 1"


# -- key data


KEYS = st.sampled_from(KeyType).flatmap(
    lambda kind: st.builds(
        KeyData,
        st.just(kind),
        octets().map(Secret),
        octets().map(Secret) if kind.salted else st.none(),
        VALIDITIES,
    )
)


@given(st.lists(KEYS, min_size=1, max_size=4))
def test_key_data_comes_back_as_it_was(keys: list[KeyData]) -> None:
    """RFC 3830, 6.13; KMS-20."""
    built = build_key_data(keys)
    assert parse_key_data(built.reveal()) == tuple(keys)


@pytest.mark.parametrize("text", ["", "0071000101", "0007000101", "0500000101", "006000", "00600001ffff"])
def test_broken_key_data_is_malformed(text: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_key_data(bytes.fromhex(text))


def test_keys_never_show() -> None:
    """Neither in a key's repr nor in a KEMAC's, whose data are keys under NULL encryption."""
    key = KeyData(KeyType.MPK, Secret(b"\xaa" * 16), None, Spi(b"\x01"))
    assert "aa" not in repr(key)
    assert "data" not in repr(Kemac(0, b"\xaa" * 16))


# -- time


@pytest.mark.parametrize(
    "now", [-61_000_000.0, 0.0, 1_800_000_000.25, 2_085_978_495.0, 2_085_978_497.0, 4_200_000_000.0]
)
def test_time_survives_the_end_of_the_era_in_2036(now: float) -> None:
    """KMS-32: 1968 to 2104 (RFC 4330, 3)."""
    assert moment_of(0, ntp_now(now).value) == pytest.approx(now, abs=1e-5)
    assert moment_of(3, ntp_seconds(now)) == pytest.approx(int(now), abs=1)


def test_interval_is_a_duration_and_no_date() -> None:
    """KMS-32: TRr."""
    policy = build_policy(TERMS)
    assert TimeRange(4, 3, 600) in parse_chain_of(policy)


def parse_chain_of(policy: TicketPolicy) -> tuple[object, ...]:
    from ueagent.wire.cursor import Reader
    from ueagent.wire.mikey import read_chain

    reader = Reader(policy.data)
    return read_chain(reader, reader.unsigned(1, "first payload"))


def test_counter_is_padded_left_and_short_time_right() -> None:
    """RFC 6043, 6.2."""
    assert sixty_four_bits(Timestamp(2, 7)) == 7
    assert sixty_four_bits(Timestamp(3, 7)) == 7 * ERA
    assert sixty_four_bits(Timestamp(0, 7)) == 7
    with pytest.raises(ValueError, match="counter"):
        moment_of(2, 7)
