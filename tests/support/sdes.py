"""What a peer reads from and writes into SDP: `a=crypto` by RFC 4568, 9.1, and the m= and c= lines.

For well-formed lines only. The agent's own `ueagent.wire` is under test and therefore not used here.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

# key and salt octets of each crypto suite: RFC 4568, 6.2; RFC 6188, 4; RFC 7714, 14.2
KEY_SALT = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AES_256_CM_HMAC_SHA1_80": 46,
    "AES_256_CM_HMAC_SHA1_32": 46,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
_CRYPTO = re.compile(
    r"^a=crypto:(?P<tag>\d+) (?P<suite>\S+) inline:(?P<key>[A-Za-z0-9+/=]+)(?P<more>(?:\|[^\s|]+)*)\s*$", re.M
)


@dataclass(frozen=True)
class CryptoLine:
    tag: int
    suite: str
    inline: str  # base64 of key and salt, padded
    mki: bytes | None  # as it stands in packets

    @property
    def key_salt(self) -> bytes:
        return base64.b64decode(self.inline)


def crypto_lines(sdp: str) -> list[CryptoLine]:
    found = []
    for match in _CRYPTO.finditer(sdp):
        key = match["key"].rstrip("=")
        mki = None
        for parameter in match["more"].split("|")[1:]:
            if ":" in parameter:
                value, length = parameter.split(":")
                mki = int(value).to_bytes(int(length), "big")
        padded = key + "=" * (-len(key) % 4)
        found.append(CryptoLine(int(match["tag"]), match["suite"], padded, mki))
    return found


def media_address(sdp: str) -> tuple[str, int]:
    """Address and RTP port of the first m-line."""
    port = re.search(r"^m=\w+ (\d+)", sdp, re.M)
    addresses = re.findall(r"^c=IN IP4 ([\d.]+)", sdp, re.M)
    assert port is not None
    return addresses[-1], int(port[1])


def rtcp_address(sdp: str) -> tuple[str, int]:
    """RFC 3605 a=rtcp, else the port above the RTP port (RFC 3550, 11)."""
    host, port = media_address(sdp)
    rtcp = re.search(r"^a=rtcp:(\d+)(?: IN IP4 ([\d.]+))?", sdp, re.M)
    return (rtcp[2] or host, int(rtcp[1])) if rtcp else (host, port + 1)


def media_proto(sdp: str) -> str:
    found = re.search(r"^m=\w+ \d+ (\S+)", sdp, re.M)
    assert found is not None
    return found[1]


def audio_sdp(rtp: tuple[str, int], rtcp_port: int, proto: str, crypto: str | None = None) -> str:
    """An offer or answer with one PCMU line."""
    host, port = rtp
    return (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} {proto} 0\r\n"
        f"a=rtpmap:0 PCMU/8000\r\na=rtcp:{rtcp_port}\r\n"
        + (f"a=crypto:{crypto}\r\n" if crypto else "")
        + "a=ptime:20\r\n"
    )
