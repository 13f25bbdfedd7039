"""Captures of the lab as pcap files, read back by a parser of our own."""

import struct
from pathlib import Path

import pytest

from ueagent.errors import ResourceError
from ueagent.lab.capture import Datagram, Side, Tap, Way, build_pcap, write_pcap


def datagram(
    data: bytes, *, host: str = "127.0.0.1", side: Side = Side.ACCESS, time: float = 1_700_000_000.25
) -> Datagram:
    return Datagram(time, side, Way.IN, (host, 40000), (host, 40002), False, data)


def ones_complement_sum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def packets_of(pcap: bytes) -> list[tuple[int, int, bytes]]:
    magic, major, minor, _, _, _, linktype = struct.unpack_from("<IHHiIII", pcap)
    assert (magic, major, minor, linktype) == (0xA1B2C3D4, 2, 4, 101)
    found, at = [], 24
    while at < len(pcap):
        seconds, micros, kept, length = struct.unpack_from("<IIII", pcap, at)
        assert kept == length
        found.append((seconds, micros, pcap[at + 16 : at + 16 + kept]))
        at += 16 + kept
    return found


@pytest.mark.parametrize("payload", [b"", b"a", b"ab", bytes(range(200))])
def test_ipv4_headers_have_right_lengths_and_checksums(payload: bytes) -> None:
    ((seconds, micros, packet),) = packets_of(build_pcap([datagram(payload)]))
    assert (seconds, micros) == (1_700_000_000, 250_000)
    assert packet[0] == 0x45
    assert struct.unpack_from("!H", packet, 2)[0] == len(packet)
    assert ones_complement_sum(packet[:20]) == 0xFFFF
    assert struct.unpack_from("!HHH", packet, 20) == (40000, 40002, 8 + len(payload))
    pseudo = packet[12:20] + struct.pack("!HH", 17, 8 + len(payload))
    assert ones_complement_sum(pseudo + packet[20:]) == 0xFFFF
    assert packet[28:] == payload


def test_ipv6_headers_have_right_lengths_and_checksums() -> None:
    ((_, _, packet),) = packets_of(build_pcap([datagram(b"hello", host="::1")]))
    assert packet[0] >> 4 == 6
    assert struct.unpack_from("!HB", packet, 4) == (13, 17)
    pseudo = packet[8:40] + struct.pack("!II", 13, 17)
    assert ones_complement_sum(pseudo + packet[40:]) == 0xFFFF
    assert packet[48:] == b"hello"


def test_tap_is_bounded_and_counts_what_it_lost() -> None:
    tap = Tap(limit=2)
    for _ in range(5):
        tap.record(datagram(b"x"))
    assert (len(tap.datagrams), tap.lost) == (2, 3)


def test_wire_is_the_access_side_alone() -> None:
    tap = Tap()
    tap.record(datagram(b"secret", side=Side.ACCESS))
    tap.record(datagram(b"plain", side=Side.CORE))
    assert [found.data for found in tap.wire()] == [b"secret"]


@pytest.mark.parametrize("path", ["/dev/full", "/nonexistent/a.pcap"])
def test_pcap_that_cannot_be_written_is_a_resource_error(path: str) -> None:
    with pytest.raises(ResourceError, match=f"pcap_not_written: {path}: "):
        write_pcap(Path(path), [datagram(bytes(20))])
