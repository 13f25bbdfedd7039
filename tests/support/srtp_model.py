"""A slow SRTP, written from the RFCs alone: the oracle for suites and fields that no other library on hand has.

RFC 3711 (packets 3.1 and 3.4, AES-CM 4.1.1, HMAC 4.2, key derivation 4.3), RFC 6188 (longer keys), RFC 7714 (AEAD),
RFC 4771 (ROC carrying).
Built on AES-ECB, AESGCM and hmac; shares nothing with the C core. The caller names every index: this model keeps no
state, so it can neither estimate nor refuse.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


@dataclass(frozen=True)
class ModelSuite:
    number: int  # enum ums_suite
    cipher: str  # CM, GCM, NULL
    key: int
    salt: int
    rtp_tag: int
    rtcp_tag: int


MODEL_SUITES = {
    "AES_CM_128_HMAC_SHA1_80": ModelSuite(1, "CM", 16, 14, 10, 10),
    "AES_CM_128_HMAC_SHA1_32": ModelSuite(2, "CM", 16, 14, 4, 10),
    "AES_192_CM_HMAC_SHA1_80": ModelSuite(3, "CM", 24, 14, 10, 10),
    "AES_192_CM_HMAC_SHA1_32": ModelSuite(4, "CM", 24, 14, 4, 10),
    "AES_256_CM_HMAC_SHA1_80": ModelSuite(5, "CM", 32, 14, 10, 10),
    "AES_256_CM_HMAC_SHA1_32": ModelSuite(6, "CM", 32, 14, 4, 10),
    "AEAD_AES_128_GCM": ModelSuite(7, "GCM", 16, 12, 16, 16),
    "AEAD_AES_256_GCM": ModelSuite(8, "GCM", 32, 12, 16, 16),
    "NULL_HMAC_SHA1_80": ModelSuite(9, "NULL", 16, 14, 10, 10),
    "NULL_HMAC_SHA1_32": ModelSuite(10, "NULL", 16, 14, 4, 10),
}


@dataclass(frozen=True)
class ModelRcc:
    """RFC 4771: the mode (3), R (2) and the length of the tag in octets, which counts the ROC (4, 5)."""

    mode: int
    tag: int
    rate: int


class ModelRefused(Exception):
    """The tag does not verify."""


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def keystream(key: bytes, iv: int, length: int) -> bytes:
    """AES-CM (RFC 3711, 4.1.1): E(IV) | E(IV + 1) | ..., cut to `length`."""
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # one block at a time is the definition
    blocks = (length + 15) // 16
    return b"".join(ecb.update(((iv + i) % 2**128).to_bytes(16, "big")) for i in range(blocks))[:length]


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def derive(master_key: bytes, master_salt: bytes, label: int, length: int) -> bytes:
    """RFC 3711, 4.3.1 with a key derivation rate of 0; a 96-bit salt gets two zero octets behind (RFC 7714 erratum)."""
    x = _number(master_salt.ljust(14, b"\0")) ^ (label << 48)
    return keystream(master_key, x << 16, length)


@dataclass(frozen=True)
class Sessions:
    """Session keys for one kind of packet."""

    cipher: bytes
    auth: bytes
    salt: bytes


def sessions(suite: ModelSuite, key: bytes, salt: bytes, rtcp: bool) -> Sessions:
    base = 3 if rtcp else 0
    return Sessions(
        derive(key, salt, base, suite.key),
        derive(key, salt, base + 1, 20),
        derive(key, salt, base + 2, suite.salt),
    )


def rtp_header_length(packet: bytes) -> int:
    length = 12 + 4 * (packet[0] & 15)
    if packet[0] & 0x10:
        length += 4 + 4 * _number(packet[length + 2 : length + 4])
    return length


def _cm_iv(salt: bytes, ssrc: int, index: int) -> int:
    return (_number(salt) << 16) ^ (ssrc << 64) ^ (index << 16)


def _gcm_iv(salt: bytes, ssrc: int, index: int) -> bytes:
    return _xor(b"\0\0" + ssrc.to_bytes(4, "big") + index.to_bytes(6, "big"), salt)


class Model:
    """One master key. `rtp`/`rtcp` may be given directly when session keys are known (RFC 7714, 16 and 17)."""

    def __init__(
        self,
        suite: str,
        key: bytes,
        salt: bytes,
        mki: bytes = b"",
        *,
        session_keys: bool = False,
        rcc: ModelRcc | None = None,
    ) -> None:
        self.suite = MODEL_SUITES[suite]
        self.mki = mki
        self.rcc = rcc
        if session_keys:
            self._rtp = self._rtcp = Sessions(key, b"", salt)
        else:
            self._rtp = sessions(self.suite, key, salt, False)
            self._rtcp = sessions(self.suite, key, salt, True)

    def _crypt(self, keys: Sessions, ssrc: int, index: int, text: bytes) -> bytes:
        if self.suite.cipher == "NULL":
            return text
        return _xor(text, keystream(keys.cipher, _cm_iv(keys.salt, ssrc, index), len(text)))

    def protect_rtp(self, packet: bytes, roc: int) -> bytes:
        keys, header = self._rtp, rtp_header_length(packet)
        head, payload = packet[:header], packet[header:]
        ssrc, index = _number(packet[8:12]), (roc << 16) | _number(packet[2:4])
        if self.suite.cipher == "GCM":
            iv = _gcm_iv(keys.salt, ssrc, index)
            return head + AESGCM(keys.cipher).encrypt(iv, payload, head) + self.mki
        body = head + self._crypt(keys, ssrc, index, payload)
        return body + self.mki + self._tag(keys, body, index)

    def _tag(self, keys: Sessions, body: bytes, index: int) -> bytes:
        """RFC 3711, 4.2, or what RFC 4771, 2 and 3 put in its place."""
        roc = (index >> 16).to_bytes(4, "big")
        mac = hmac.digest(keys.auth, body + roc, "sha1")
        if self.rcc is None:
            return mac[: self.suite.rtp_tag]
        if (index & 0xFFFF) % self.rcc.rate:
            return mac[: self.rcc.tag] if self.rcc.mode == 2 else b""
        mac_tr = mac[: self.rcc.tag - 4]  # mode 3 has a tag of 4: nothing
        return roc + mac_tr

    def unprotect_rtp(self, packet: bytes, roc: int) -> bytes:
        """Without ROC carrying: what carries it is opened by nobody but the core."""
        keys, header = self._rtp, rtp_header_length(packet)
        ssrc, index = _number(packet[8:12]), (roc << 16) | _number(packet[2:4])
        if self.suite.cipher == "GCM":
            sealed = packet[header : len(packet) - len(self.mki)]
            head = packet[:header]
            return head + _open(keys.cipher, _gcm_iv(keys.salt, ssrc, index), sealed, head)
        end = len(packet) - self.suite.rtp_tag
        body = packet[: end - len(self.mki)]
        _same(hmac.digest(keys.auth, body + roc.to_bytes(4, "big"), "sha1")[: self.suite.rtp_tag], packet[end:])
        return body[:header] + self._crypt(keys, ssrc, index, body[header:])

    def protect_rtcp(self, packet: bytes, index: int, *, encrypt: bool | None = None) -> bytes:
        """`encrypt` None: as the agent does, E = 1 unless the cipher is NULL."""
        encrypt = self.suite.cipher != "NULL" if encrypt is None else encrypt
        keys, ssrc = self._rtcp, _number(packet[4:8])
        word = (index | (0x80000000 if encrypt else 0)).to_bytes(4, "big")
        clear = 8 if encrypt else len(packet)
        head, rest = packet[:clear], packet[clear:]
        if self.suite.cipher == "GCM":
            iv = _gcm_iv(keys.salt, ssrc, index)
            return head + AESGCM(keys.cipher).encrypt(iv, rest, head + word) + word + self.mki
        body = head + self._crypt(keys, ssrc, index, rest) + word
        return body + self.mki + hmac.digest(keys.auth, body, "sha1")[: self.suite.rtcp_tag]

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        keys, ssrc = self._rtcp, _number(packet[4:8])
        if self.suite.cipher == "GCM":
            sealed_end = len(packet) - len(self.mki) - 4
            word = packet[sealed_end : sealed_end + 4]
            index, encrypted = _number(word) & 0x7FFFFFFF, packet[sealed_end] >> 7
            clear = 8 if encrypted else sealed_end - 16
            head = packet[:clear]
            iv = _gcm_iv(keys.salt, ssrc, index)
            return head + _open(keys.cipher, iv, packet[clear:sealed_end], head + word)
        end = len(packet) - self.suite.rtcp_tag
        body = packet[: end - len(self.mki)]
        _same(hmac.digest(keys.auth, body, "sha1")[: self.suite.rtcp_tag], packet[end:])
        plain, word = body[:-4], body[-4:]
        index, encrypted = _number(word) & 0x7FFFFFFF, word[0] >> 7
        return plain[:8] + self._crypt(keys, ssrc, index, plain[8:]) if encrypted else plain


def _open(key: bytes, iv: bytes, sealed: bytes, aad: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(iv, sealed, aad)
    except InvalidTag:
        raise ModelRefused from None


def _same(ours: bytes, theirs: bytes) -> None:
    if ours != theirs:
        raise ModelRefused
