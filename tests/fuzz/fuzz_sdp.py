"""Mutation fuzzer for the SDP tree, a=crypto and key masking.

    python tests/fuzz/fuzz_sdp.py --seconds 600 [--seed N] [--corpus DIR]

Invariants of every input, see `check`: it parses or is a MalformedMessage, prints as it came, an edit touches nothing
else, what is read writes back, and neither errors nor logs show a key. A failing input is written to the working
directory and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import sys
import time
from pathlib import Path

from ueagent.errors import MalformedMessage
from ueagent.model.media import Direction
from ueagent.wire.sdp import MediaSection, Sdp, build_sdp, parse_sdp
from ueagent.wire.sdp_attributes import (
    ATTRIBUTES,
    SdesCrypto,
    build_crypto,
    carries,
    mask_keys,
    parse_crypto,
    read_3ge2ae,
    read_crypto,
)

CORPUS = Path(__file__).parent / "corpus" / "sdp"
LARGEST = 4096  # octets of a mutated input: small ones find more per second

DICTIONARY = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b"\xff",
        b" ",
        b"\t",
        b"|",
        b";",
        b":",
        b"=",
        b"-",
        b"0",
        b"2^31",
        b"|2^48",
        b"|1:4",
    ),
    *(b"m=audio 9 RTP/SAVP 0\r\n", b"m=", b"c=IN IP4 0.0.0.0\r\n", b"c=IN IP6 ::1/127\n", b"c=", b"k=clear:", b"a="),
    *(
        b"a=crypto:",
        b"a=crypto:1 ",
        b"inline:",
        b"INLINE :",
        b"a=3ge2ae: requested\r\n",
        b"a=rtcp:9 IN IP4 1.2.3.4\r\n",
    ),
    *(b"AES_CM_128_HMAC_SHA1_80 ", b"AEAD_AES_256_GCM ", b"F8_128_HMAC_SHA1_80 ", b"AES_CM_256_HMAC_SHA1_80 "),
    *(b" KDR=1", b" WSH=64", b" UNENCRYPTED_SRTCP", b" FEC_ORDER=FEC_SRTP", b" FEC_KEY=inline:", b" -EXT=x", b"=="),
    b"inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd",
]
_KEY_LIKE = re.compile(rb"[A-Za-z0-9+/]{16,}")
_WORD_LIKE = re.compile(r"[A-Za-z0-9_+/]{16,}")


def check(data: bytes) -> None:
    """AssertionError, or any exception but MalformedMessage, is a finding."""
    masked = mask_keys(data)
    for key in re.findall(rb"inline:([A-Za-z0-9+/]{16,})", data):
        alone = data.count(key) == data.count(b"inline:" + key)  # a mutation may copy a key to where it is none
        assert not alone or key not in masked, "a key survives masking"
    sdp = parsed_or_refusal(data)
    if isinstance(sdp, str):
        assert not any(found.decode() in sdp for found in _KEY_LIKE.findall(data)), "an error repeats input"
        return
    assert build_sdp(sdp) == data, "printing changes octets"
    for index, section in enumerate(sdp.media):
        check_reading(section)
        check_editing(data, sdp, index, section)


def parsed_or_refusal(data: bytes) -> Sdp | str:
    try:
        return parse_sdp(data)
    except MalformedMessage as error:
        return str(error)


def check_reading(section: MediaSection) -> None:
    _ = (section.kind, section.port, section.port_count, section.proto, section.formats, section.direction)
    _ = (section.connection, section.legacy_hold, section.rtcp, section.rtcp_mux, section.endpoint)
    _ = (read_3ge2ae(section), [carries(section, name) for name in ATTRIBUTES])
    valid, invalid = read_crypto(section)
    assert len(valid) + len(invalid) == len(section.attributes_named("crypto")), "a line is lost"
    assert len({value.tag for value in valid}) == len(valid), "two lines with one tag"
    for value in valid:
        check_writing(value)
    text = repr(invalid)
    assert not any(
        word in text and "HMAC" not in word and "GCM" not in word
        for attribute in section.attributes_named("crypto")
        for word in _WORD_LIKE.findall((attribute.value or b"").decode("latin-1"))
    ), "an invalid attribute repeats input"


def check_writing(value: SdesCrypto) -> None:
    if value.keys:
        for padding in (True, False):
            text = build_crypto(value, padding=padding)
            assert parse_crypto(text.removeprefix(b"a=crypto:")) == value, "a line reads back as another"


def check_editing(data: bytes, sdp: Sdp, index: int, section: MediaSection) -> None:
    """A new port and proto change the m-line only; attributes that come and go leave the rest."""
    line = section.lines[0]
    assert line.offset is not None
    edited = section.with_proto("RTP/SAVP").with_port(4)
    end = line.offset + len(line.content)
    expected = data[: line.offset] + edited.lines[0].content + data[end:]
    assert build_sdp(sdp.with_media(index, edited)) == expected, "an edit touches other octets"
    assert (edited.port, edited.proto, edited.formats) == (4, "RTP/SAVP", section.formats)

    moved = section.with_address("192.0.2.77").with_direction(Direction.INACTIVE)
    assert moved.connection is not None
    assert (moved.connection.address, moved.direction) == ("192.0.2.77", Direction.INACTIVE)

    fresh = section.without_attributes("x-fuzz")
    grown = fresh.with_attributes([b"a=x-fuzz:1", b"a=x-fuzz:2"])
    assert grown.without_attributes("x-fuzz").lines == fresh.lines, "adding and removing leaves a trace"
    again = parse_sdp(build_sdp(sdp.with_media(index, grown)))
    assert len(again.media[index].attributes_named("x-fuzz")) == 2, "an added line is not read back"


def mutate(rng: random.Random, seeds: list[bytes]) -> bytes:
    """One to eight changes to a seed: octets, words, lines, spliced halves."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 8)):
        at = rng.randint(0, len(data))
        match rng.randrange(8):
            case 0 if data:
                data[at % len(data)] = rng.randrange(256)
            case 1 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 2:
                data[at:at] = rng.choice(DICTIONARY)
            case 3:
                del data[at : at + rng.choice((1, 2, 8, 64))]
            case 4:
                other = rng.choice(seeds)
                data[at:] = other[rng.randint(0, len(other)) :]
            case 5:
                lines = bytes(data).split(b"\n")
                lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
                data = bytearray(b"\n".join(lines))
            case 6:
                end = at + rng.choice((4, 32, 200))
                data[at:at] = data[at:end]
            case _:
                data = data.replace(b"\r\n", b"\n") if rng.random() < 0.5 else data[:at]
    return bytes(data[:LARGEST])


def seeds_of(corpus: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(corpus.iterdir()) if path.is_file()]


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the SDP and SDES reader.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, which is printed")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    rng = random.Random(seed)
    seeds = seeds_of(options.corpus)
    for data in seeds:
        check(data)
    began, runs = time.monotonic(), 0
    while time.monotonic() - began < options.seconds:
        data = mutate(rng, seeds)
        runs += 1
        try:
            check(data)
        except Exception as finding:
            path = Path(f"fuzz-sdp-{hashlib.sha256(data).hexdigest()[:16]}")
            path.write_bytes(data)
            print(f"seed {seed}, run {runs}: {type(finding).__name__}: {finding}; input in {path}", file=sys.stderr)
            raise SystemExit(1) from finding
    print(f"seed {seed}: {runs} inputs, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
