"""SRTP of the access gateway, by libsrtp: its name for each suite, and one stream's contexts (EDGE-6, EDGE-7)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from pylibsrtp import Error, Policy, Session

from ueagent.lab.rtp import parse_rtp
from ueagent.model.keys import Secret

# The suites pylibsrtp has. The lab names every other one when it refuses it.
PROFILES: Final = {
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
WINDOW: Final = 1024  # packets
_RESET_AFTER: Final = 10  # packets after the sequence number has wrapped

_REASONS: Final = {
    "authentication failure": "auth_failures",
    "replay check failed (bad index)": "replays",
    "replay check failed (index too old)": "too_old",
    "packet index is too old to consider": "too_old",
}


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """One direction of a stream as the ALG hands it to the gateway: suite, master key and salt (EDGE-6)."""

    suite: str
    key_salt: Secret


class SrtpStream:
    """The contexts of one stream: `rx` opens what the UE sends, `tx` protects what it gets.

    `reset_roc` plays a broken gateway (EDGE-17): some packets after the sequence number of `tx` has wrapped, its
    context starts again with the same key.
    """

    def __init__(self, rx: ParameterSet, tx: ParameterSet, *, reset_roc: bool = False) -> None:
        self._tx_set = tx
        self._tx = _session(tx, Policy.SSRC_ANY_OUTBOUND)
        self._rx = [_session(rx, Policy.SSRC_ANY_INBOUND)]
        self._until_reset: int | None = None
        self._last_sequence = 0
        self._reset_roc = reset_roc
        self.counters: Counter[str] = Counter()

    def new_keys(self, rx: ParameterSet | None, tx: ParameterSet | None) -> None:
        """New contexts with ROC 0 (SDES-18). Packets under the old receiving key pass until the new one is seen."""
        if tx is not None:
            self._tx_set, self._tx = tx, _session(tx, Policy.SSRC_ANY_OUTBOUND)
        if rx is not None:
            self._rx = [_session(rx, Policy.SSRC_ANY_INBOUND), *self._rx[:1]]

    def protect(self, packet: bytes, rtcp: bool) -> bytes | None:
        """The packet for the UE, or None when libsrtp will not send it (counted)."""
        if self._reset_roc and not rtcp:
            self._watch_wrap(packet)
        try:
            return bytes(self._tx.protect_rtcp(packet) if rtcp else self._tx.protect(packet))
        except (Error, ValueError) as error:
            self._count("unsent", error)
            return None

    def unprotect(self, packet: bytes, rtcp: bool) -> bytes | None:
        """The plain packet, or None (counted by reason)."""
        failure: Exception | None = None
        for session in self._rx:
            try:
                plain = bytes(session.unprotect_rtcp(packet) if rtcp else session.unprotect(packet))
            except (Error, ValueError) as error:
                failure = failure or error
                continue
            if session is self._rx[0]:
                del self._rx[1:]
            return plain
        self._count("bad_packets", failure)
        return None

    def _count(self, otherwise: str, error: Exception | None) -> None:
        self.counters[_REASONS.get(str(error), otherwise)] += 1

    def _watch_wrap(self, packet: bytes) -> None:
        header = parse_rtp(packet)
        if header is None:
            return
        if self._last_sequence - header.sequence > 0x8000:
            self._until_reset = _RESET_AFTER
        self._last_sequence = header.sequence
        if self._until_reset is not None:
            self._until_reset -= 1
            if self._until_reset == 0:
                self._tx = _session(self._tx_set, Policy.SSRC_ANY_OUTBOUND)


def _session(parameters: ParameterSet, streams: int) -> Session:
    policy = Policy(bytes(parameters.key_salt.reveal()), streams, srtp_profile=PROFILES[parameters.suite])
    policy.window_size = WINDOW
    try:
        return Session(policy)
    finally:
        policy.key = None
