"""What somebody on the access side could have heard: measured on the captured datagrams, not assumed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ueagent.lab.capture import Datagram
from ueagent.lab.g711 import PACKET_SAMPLES, Codec
from ueagent.lab.phone import CNAME_DOMAIN
from ueagent.lab.rtp import parse_rtp

_SHOWN: Final = 8  # octets


@dataclass(frozen=True, slots=True)
class Overheard:
    """One packet as spoken and as it crossed the wire, and figures over the whole stream.

    Entropy in bits per octet. `likeness` is the correlation of the wire octets, played as the codec, with the speech:
    1.0 is the speech itself, 0.0 is noise.
    """

    spoken: bytes
    wire: bytes
    entropy_spoken: float
    entropy_wire: float
    likeness: float


def plaintext_datagrams(wire: Iterable[Datagram], sent: Iterable[bytes]) -> int:
    """How many datagrams hold a whole payload of the RTP packets `sent`, at any place, or a readable report."""
    payloads = {_payload(packet) for packet in sent}
    lengths = {len(payload) for payload in payloads}
    return sum(_holds(datagram.data, payloads, lengths) for datagram in wire)


def overhear(wire: Iterable[Datagram], sent: Sequence[bytes], codec: Codec) -> Overheard | None:
    """The RTP stream `sent` as the wire had it; None when none of its packets was seen."""
    by_name = {_name(datagram.data): datagram.data for datagram in wire if not datagram.rtcp}
    pairs = [
        (_payload(packet), _payload(by_name[_name(packet)])[:PACKET_SAMPLES])
        for packet in sent
        if _name(packet) in by_name
    ]
    if not pairs:
        return None
    loudest = max(pairs, key=lambda pair: sum(map(abs, codec.decode(pair[0]))))
    spoken, heard = (b"".join(side) for side in zip(*pairs, strict=True))
    return Overheard(
        spoken=loudest[0][:_SHOWN],
        wire=loudest[1][:_SHOWN],
        entropy_spoken=entropy(spoken),
        entropy_wire=entropy(heard),
        likeness=correlation(codec.decode(spoken), codec.decode(heard)),
    )


def entropy(octets: bytes) -> float:
    """Bits per octet of the distribution of octets."""
    total = len(octets)
    return -sum(n / total * math.log2(n / total) for n in Counter(octets).values())


def correlation(one: Sequence[int], other: Sequence[int]) -> float:
    """Pearson's coefficient; 0.0 when one of them is constant."""
    mean_one, mean_other = sum(one) / len(one), sum(other) / len(other)
    both = sum((a - mean_one) * (b - mean_other) for a, b in zip(one, other, strict=True))
    spread = math.sqrt(sum((a - mean_one) ** 2 for a in one) * sum((b - mean_other) ** 2 for b in other))
    return both / spread if spread else 0.0


def _holds(data: bytes, payloads: set[bytes], lengths: set[int]) -> bool:
    if CNAME_DOMAIN.encode() in data:
        return True
    return any(
        data[start : start + length] in payloads for length in lengths for start in range(len(data) - length + 1)
    )


def _payload(packet: bytes) -> bytes:
    header = parse_rtp(packet)
    return packet if header is None else packet[header.length :]


def _name(packet: bytes) -> tuple[int, int] | None:
    header = parse_rtp(packet)
    return None if header is None else (header.ssrc, header.sequence)
