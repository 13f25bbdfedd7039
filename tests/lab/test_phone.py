"""The softphone's media half: RTP, RTCP and plain SDP."""

import asyncio
from array import array

import pytest
from support.lab_ue import new_phone

from ueagent.errors import NegotiationFailed
from ueagent.lab.g711 import PCMA
from ueagent.lab.phone import Phone, in_order
from ueagent.lab.rtp import build_rtp, parse_rtp


def in_loop(body: object) -> None:
    asyncio.run(body())  # type: ignore[operator]


async def pair() -> tuple[Phone, Phone]:
    one, other = new_phone("one"), new_phone("other")
    await one.open()
    await other.open()
    one.connect(other.answer(one.offer()))
    return one, other


def test_what_one_plays_the_other_hears() -> None:
    async def scenario() -> None:
        one, other = await pair()
        samples = array("h", range(-8000, 8000, 10))
        await one.play(samples, 0)
        assert await other.wait_received(10, 2, 5)
        assert other.received == one.sent
        assert other.heard() == one.codec.decode(one.codec.encode(samples))
        one.close()
        other.close()

    in_loop(scenario)


def test_stream_begins_below_half_the_sequence_numbers() -> None:
    """SDES-13."""
    for octet in (0, 0x7F, 0x80, 0xFF):
        phone = Phone("x", lambda n, octet=octet: bytes((octet,)) * n, lambda: 0.0)  # type: ignore[misc]
        assert phone.next_sequence < 1 << 15


def test_reports_are_sender_reports_with_a_cname() -> None:
    """RFC 3550, 6.1: a compound packet begins with a report and has a CNAME."""

    async def scenario() -> None:
        one, other = await pair()
        one.send(bytes(160))
        one.send_report()
        assert await other.wait_received(1, 1, 5)
        (report,) = other.rtcp_received
        header = parse_rtp(other.received[0])
        assert header is not None
        assert report[:4] == bytes.fromhex("80c80006")
        assert int.from_bytes(report[4:8], "big") == header.ssrc
        assert int.from_bytes(report[20:24], "big") == 1
        assert int.from_bytes(report[24:28], "big") == 160
        assert report[28:30] == bytes.fromhex("81ca")
        assert 28 + 4 * (int.from_bytes(report[30:32], "big") + 1) == len(report)
        assert b"\x01\x0fone@lab.invalid\x00" in report
        one.close()
        other.close()

    in_loop(scenario)


def test_answer_takes_the_law_of_the_offer_and_refuses_other_lines() -> None:
    async def scenario() -> None:
        phone = new_phone()
        await phone.open()
        offer = b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 4 RTP/AVP 96\r\nm=audio 2 RTP/AVPF 8\r\nm=image 6 udptl t38\r\n"
        answer = phone.answer(offer).decode()
        kinds = [line for line in answer.splitlines() if line.startswith("m=")]
        assert kinds[0] == "m=video 0 RTP/AVP 96"
        assert kinds[1] == f"m=audio {phone.local.rtp_port} RTP/AVPF 8"
        assert kinds[2] == "m=image 0 udptl t38"
        assert phone.codec is PCMA
        phone.close()

    in_loop(scenario)


@pytest.mark.parametrize(
    ("line", "code"),
    [("m=video 2 RTP/AVP 0", "no_audio"), ("m=audio 0 RTP/AVP 0", "no_audio"), ("m=audio 2 RTP/AVP 9", "no_codec")],
)
def test_nothing_to_talk_over_is_a_failed_negotiation(line: str, code: str) -> None:
    async def scenario() -> None:
        phone = new_phone()
        await phone.open()
        with pytest.raises(NegotiationFailed, match=code):
            phone.answer(f"v=0\r\nc=IN IP4 127.0.0.1\r\n{line}\r\n".encode())
        phone.close()

    in_loop(scenario)


def test_packets_are_put_in_order_across_a_wrap() -> None:
    packets = [build_rtp(0, number, 0, 1, b"x") for number in (0xFFFE, 0, 0xFFFF, 1)]
    assert in_order(packets) == [packets[0], packets[2], packets[1], packets[3]]


@pytest.mark.parametrize("data", [b"", bytes(12), b"\x80" * 11, b"\x8f" + bytes(11)])
def test_what_is_no_rtp_has_no_header(data: bytes) -> None:
    assert parse_rtp(data) is None
