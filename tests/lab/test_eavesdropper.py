"""What a listener has, measured."""

import secrets

import pytest

from ueagent.lab.capture import Datagram, Side, Way
from ueagent.lab.eavesdropper import correlation, entropy, overhear, plaintext_datagrams
from ueagent.lab.g711 import PCMU
from ueagent.lab.rtp import build_report, build_rtp
from ueagent.lab.wave import shipped_speech

SPEECH = [build_rtp(0, n, 160 * n, 7, payload) for n, payload in enumerate(PCMU.packets(shipped_speech().samples))]


def on_wire(data: bytes, rtcp: bool = False) -> Datagram:
    return Datagram(0.0, Side.ACCESS, Way.IN, ("127.0.0.1", 2), ("127.0.0.1", 4), rtcp, data)


def protected(packet: bytes) -> bytes:
    return packet[:12] + secrets.token_bytes(len(packet) - 12 + 16)


@pytest.mark.parametrize("place", [b"", b"x", b"\x00" * 20])
def test_payload_is_found_wherever_it_stands(place: bytes) -> None:
    wire = [on_wire(place + SPEECH[3][12:] + place), on_wire(protected(SPEECH[3]))]
    assert plaintext_datagrams(wire, SPEECH) == 1


def test_every_readable_datagram_counts() -> None:
    assert plaintext_datagrams(map(on_wire, SPEECH), SPEECH) == len(SPEECH)
    assert plaintext_datagrams([on_wire(protected(packet)) for packet in SPEECH], SPEECH) == 0


def test_readable_report_counts() -> None:
    report = build_report(7, 0.0, 0, 0, 0, "near@lab.invalid")
    assert plaintext_datagrams([on_wire(report, rtcp=True)], SPEECH) == 1
    assert plaintext_datagrams([on_wire(report[:8] + secrets.token_bytes(60), rtcp=True)], SPEECH) == 0


def test_plain_speech_resembles_itself_and_noise_does_not() -> None:
    plain = overhear(map(on_wire, SPEECH), SPEECH, PCMU)
    noise = overhear([on_wire(protected(packet)) for packet in SPEECH], SPEECH, PCMU)
    assert plain is not None
    assert noise is not None
    assert plain.likeness == pytest.approx(1.0)
    assert abs(noise.likeness) < 0.05
    assert plain.wire == plain.spoken == noise.spoken != noise.wire
    assert plain.entropy_wire == plain.entropy_spoken < 7.5 < noise.entropy_wire


def test_stream_that_was_not_seen_gives_nothing() -> None:
    assert overhear([on_wire(b"hello")], SPEECH, PCMU) is None


def test_entropy_and_correlation_of_simple_values() -> None:
    assert entropy(bytes(range(256))) == 8.0
    assert entropy(bytes(100)) == 0.0
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert correlation([1, 2, 3], [5, 5, 5]) == 0.0
