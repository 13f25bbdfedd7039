"""Which crypto sessions belong to which m-line: RFC 4567, 7.1; TS 33.328, H.3; KMS-61 to KMS-66.

CS IDs run from 1 in the order of the lines that a key-mgmt attribute covers: two for an RTP line, the lower one for
what the offerer sends, one for a TLS line. An attribute of session level covers all lines, one of media level its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ueagent.channel.credentials import PskCredentials
from ueagent.keymgmt.mikey_errors import MikeyError, refusal
from ueagent.keymgmt.mikey_sessions import AgreedSession, judge_srtp, suite_of
from ueagent.keymgmt.mikey_ticket import Transfer
from ueagent.keymgmt.tls_psk import credentials_of
from ueagent.model.keys import KeySet, MasterKey, Mki, RocCarrying
from ueagent.model.suites import SUITES
from ueagent.wire.mikey import CryptoSession, Protocol

MAX_LINES = 127  # a CS ID has 8 bits


@dataclass(frozen=True, slots=True)
class SecuredLine:
    """An m-line under one key-mgmt attribute. `ssrc` is ours, for RTP; `policies` are alternatives, by number."""

    index: int
    protocol: Protocol
    ssrc: int | None = None
    policies: tuple[int, ...] = ()


def number_lines(protocols: Sequence[Protocol]) -> list[tuple[int, ...]]:
    """The CS IDs of each line. ValueError for more lines than there are numbers."""
    if len(protocols) > MAX_LINES:
        raise ValueError("too many m-lines for one bundle")
    numbers: list[tuple[int, ...]] = []
    following = 1
    for protocol in protocols:
        count = 2 if protocol is Protocol.SRTP else 1
        numbers.append(tuple(range(following, following + count)))
        following += count
    return numbers


def offered_sessions(lines: Sequence[SecuredLine], spi: bytes = b"") -> tuple[CryptoSession, ...]:
    """The sessions of an offer: our SSRC in the first of a line's two, the second left to the answerer."""
    sessions: list[CryptoSession] = []
    for line, numbers in zip(lines, number_lines([line.protocol for line in lines]), strict=True):
        ours = b"" if line.ssrc is None else line.ssrc.to_bytes(4, "big")
        for place, cs_id in enumerate(numbers):
            data = ours if place == 0 and line.protocol is Protocol.SRTP else b""
            sessions.append(CryptoSession(cs_id, line.protocol, line.policies, data, spi))
    return tuple(sessions)


def check_mapping(sessions: Sequence[CryptoSession], protocols: Sequence[Protocol]) -> None:
    """Error 12 when the sessions of an offer are not those that its m-lines need."""
    wanted = [
        (cs_id, protocol)
        for protocol, numbers in zip(protocols, number_lines(protocols), strict=True)
        for cs_id in numbers
    ]
    if sorted((session.cs_id, session.protocol) for session in sessions) != wanted:
        raise refusal(MikeyError.UNSPECIFIED, "the crypto sessions do not fit the m-lines")


def answer_ssrcs(lines: Sequence[SecuredLine]) -> dict[int, int]:
    """Where an answer puts our SSRCs: the second session of each RTP line."""
    numbers = number_lines([line.protocol for line in lines])
    return {cs[1]: line.ssrc for line, cs in zip(lines, numbers, strict=True) if len(cs) == 2 and line.ssrc is not None}


def key_set_of(transfer: Transfer, numbers: tuple[int, ...]) -> KeySet:
    """Copies of the keys of an RTP line. Error 10 for a policy that no suite of ours says."""
    by_number: Mapping[int, AgreedSession] = {session.cs_id: session for session in transfer.sessions}
    if len(numbers) != 2 or any(number not in by_number for number in numbers):
        raise refusal(MikeyError.UNSPECIFIED, "an RTP line has two crypto sessions")
    lower, upper = (by_number[number] for number in numbers)
    if lower.policy is None or lower.policy != upper.policy:
        raise refusal(MikeyError.INVALID_SP_PAR, "the two directions of a line have different policies")
    said = judge_srtp(lower.policy)
    suite = suite_of(said, SUITES.values())
    if suite is None:
        raise refusal(MikeyError.INVALID_SP_PAR, "no suite of ours has this policy")
    send, receive = (lower, upper) if transfer.we_began else (upper, lower)
    rcc = RocCarrying(said.rcc_mode, said.roc_rate, said.srtp_tag_length) if said.rcc_mode else None
    return KeySet(suite, _master(send), (_master(receive),), rcc=rcc)


def _master(session: AgreedSession) -> MasterKey:
    """The SPI is the MKI (CHOICE-17 of the sheet)."""
    assert session.salt is not None  # every SRTP policy has a salt
    value = int.from_bytes(session.spi, "big")
    return MasterKey(session.key.copy(), session.salt.copy(), Mki(value, len(session.spi)) if value else None)


def psk_of(transfer: Transfer, numbers: tuple[int, ...]) -> PskCredentials:
    """Credentials of a TLS line (KMS-81)."""
    if len(numbers) != 1:
        raise refusal(MikeyError.UNSPECIFIED, "a TLS line has one crypto session")
    return credentials_of(transfer, numbers[0])
