"""Crypto sessions: which policies we take, and their keys. RFC 6043, 5.1.3 and 6.1.1; TS 33.328, Annexes C, H, I.

PROTOCOLS has a row for each kind of session: how its policy is judged and how long its key and salt are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from ueagent.crypto.mikey_prf import session_key, session_salt
from ueagent.errors import AgentError, MalformedMessage
from ueagent.keymgmt.mikey_errors import MikeyError, refusal
from ueagent.model.keys import Secret
from ueagent.model.suites import CryptoSuite
from ueagent.model.ticket import SessionKey
from ueagent.wire.mikey import CryptoSession, Protocol
from ueagent.wire.mikey_payloads import Sp
from ueagent.wire.mikey_policy import AES_CM, AES_GCM, Authentication, SrtpPolicy, read_srtp_policy

RCC_RATE: Final = 64  # RCC-5
RCC_TAG: Final = 14  # octets, the ROC's four included: RFC 4771, 4
TLS_SUITES: Final = 0  # parameter of a TLS policy: a list of 2-octet cipher suites (CHOICE-13 of the sheet)
KNOWN_TLS_SUITES: Final = (0xD001, 0xD002, 0x00AA, 0x00AB, 0x00A8, 0x00A9)  # RFC 8442, RFC 5487; KMS-84


@dataclass(frozen=True, slots=True, eq=False)
class AgreedSession:
    """A crypto session with its key. `ssrc` None: it has none, or the other end did not tell it."""

    cs_id: int
    protocol: int
    policy: Sp | None
    ssrc: int | None
    spi: bytes
    key: Secret
    salt: Secret | None = None

    def wipe(self) -> None:
        self.key.wipe()
        if self.salt is not None:
            self.salt.wipe()


@dataclass(frozen=True, slots=True)
class Lengths:
    """Octets of a session's key and salt."""

    key: int
    salt: int = 0


@dataclass(frozen=True, slots=True)
class ProtocolRow:
    """`measure` gives the lengths under a policy, and raises 9 or 10 for one that we do not take."""

    protocol: Protocol
    measure: Callable[[Sp | None, SessionKey], Lengths]
    has_ssrc: bool


def _measure_srtp(policy: Sp | None, key: SessionKey) -> Lengths:
    if policy is None:
        raise refusal(MikeyError.INVALID_SP_PAR, "SRTP without a policy")
    said = judge_srtp(policy)
    if said.key_length > len(key.key):
        raise refusal(MikeyError.INVALID_SP_PAR, "an SRTP key longer than the TGK")
    return Lengths(said.key_length, said.salt_length)


def _measure_tls(policy: Sp | None, key: SessionKey) -> Lengths:
    if policy is not None and not set(tls_suites(policy)) & set(KNOWN_TLS_SUITES):
        raise refusal(MikeyError.INVALID_SP_PAR, "no TLS cipher suite in common")
    return Lengths(len(key.key))


def _measure_message(policy: Sp | None, key: SessionKey) -> Lengths:
    if policy is not None:
        raise refusal(MikeyError.INVALID_SP_PAR, "PSK/MIME has no policy")
    return Lengths(len(key.key))


PROTOCOLS: Final = MappingProxyType(
    {
        row.protocol: row
        for row in (
            ProtocolRow(Protocol.SRTP, _measure_srtp, has_ssrc=True),
            ProtocolRow(Protocol.TLS, _measure_tls, has_ssrc=False),
            ProtocolRow(Protocol.PSK_MIME, _measure_message, has_ssrc=False),
        )
    }
)


# -------------------------------------------------------------------------------------------------------- policies --

_Complaint = tuple[str, Callable[[SrtpPolicy], bool]]
_ALL: Final[tuple[_Complaint, ...]] = (
    ("this encryption", lambda p: p.encryption not in (AES_CM, AES_GCM)),
    ("another PRF than AES-CM", lambda p: p.prf != 0),
    ("a key derivation rate", lambda p: p.key_derivation_rate != 0),
    ("a prefix", lambda p: p.prefix_length != 0),
    ("no encryption", lambda p: not (p.srtp_encrypted and p.srtcp_encrypted)),
    ("no authentication", lambda p: not p.srtp_authenticated),
)
_AEAD: Final[tuple[_Complaint, ...]] = (
    ("this key length", lambda p: p.key_length not in (16, 32)),
    ("this salt length", lambda p: p.salt_length != 12),
    ("this tag", lambda p: p.aead_tag_length != 16),
)
_COUNTER_MODE: Final[tuple[_Complaint, ...]] = (
    ("this key length", lambda p: p.key_length not in (16, 24, 32)),
    ("this salt length", lambda p: p.salt_length != 14),
    ("this authentication", lambda p: p.srtp_authentication not in (Authentication.HMAC_SHA_1, Authentication.RCC_M2)),
    ("this SRTCP authentication", lambda p: p.srtcp_authentication != Authentication.HMAC_SHA_1),
    ("this authentication key", lambda p: p.srtp_authentication_key_length != 20),
    ("this SRTCP authentication key", lambda p: p.srtcp_authentication_key_length != 20),
    ("this tag", lambda p: p.srtp_tag_length not in ((RCC_TAG, 8) if p.rcc_mode else (10, 4))),
    ("this SRTCP tag", lambda p: p.srtcp_tag_length != 10),
)


@lru_cache(maxsize=64)  # the same few policies come in every message, and several times in each
def judge_srtp(policy: Sp) -> SrtpPolicy:
    """An SRTP policy that we take, else error 10. RCC-5: mode 3 has no integrity; Annex C: no key derivation rate."""
    try:
        said = read_srtp_policy(policy)
    except MalformedMessage as error:
        raise refusal(MikeyError.INVALID_SP_PAR, error.detail) from error
    for name, wrong in (*_ALL, *(_AEAD if said.encryption == AES_GCM else _COUNTER_MODE)):
        if wrong(said):
            raise refusal(MikeyError.INVALID_SP_PAR, f"SRTP with {name}")
    return said


def srtp_policy_for(suite: CryptoSuite, *, rcc: bool, rate: int = RCC_RATE) -> SrtpPolicy:
    """The policy that says `suite`, with ROC carrying in mode 2 (RCC-5). ValueError: an AEAD has no RCC (RCC-7)."""
    if suite.aead:
        if rcc:
            raise ValueError("ROC carrying with an AEAD")
        return SrtpPolicy(AES_GCM, suite.key_length, suite.salt_length, aead_tag_length=suite.srtp_tag_length)
    if rcc:
        return SrtpPolicy(
            key_length=suite.key_length,
            srtp_authentication=Authentication.RCC_M2,
            srtp_tag_length=RCC_TAG,
            roc_rate=rate,
        )
    return SrtpPolicy(
        key_length=suite.key_length, srtp_tag_length=suite.srtp_tag_length, srtcp_tag_length=suite.srtcp_tag_length
    )


def suite_of(policy: SrtpPolicy, suites: Iterable[CryptoSuite]) -> CryptoSuite | None:
    """The suite that a policy says; with RCC the one whose MAC stands beside the ROC (RFC 4771, 5)."""
    aead = policy.encryption == AES_GCM
    tag = policy.aead_tag_length if aead else policy.srtp_tag_length - (4 if policy.rcc_mode else 0)
    for suite in suites:
        if (suite.aead, suite.key_length, suite.srtp_tag_length) == (aead, policy.key_length, tag) and suite.selectable:
            return suite
    return None


def tls_policy(number: int, suites: Sequence[int]) -> Sp:
    return Sp(number, Protocol.TLS, ((TLS_SUITES, b"".join(suite.to_bytes(2, "big") for suite in suites)),))


def tls_suites(policy: Sp) -> tuple[int, ...]:
    """The cipher suites of a TLS policy; none said means those we know. Error 10 for half a suite."""
    values = [value for kind, value in policy.parameters if kind == TLS_SUITES]
    if not values:
        return KNOWN_TLS_SUITES
    if len(values) > 1 or len(values[0]) % 2:
        raise refusal(MikeyError.INVALID_SP_PAR, "broken list of TLS cipher suites")
    return tuple(int.from_bytes(values[0][place : place + 2], "big") for place in range(0, len(values[0]), 2))


# -------------------------------------------------------------------------------------------------------- sessions --


def policies_by_number(policies: Iterable[Sp]) -> Mapping[int, Sp]:
    return {policy.policy: policy for policy in policies}


def check_offered(sessions: Sequence[CryptoSession], policies: Mapping[int, Sp]) -> None:
    """Errors 9 and 10 about what an offer names, before any key is known."""
    for session in sessions:
        row = _row(session)
        for number in session.policies:
            policy = policies.get(number)
            if policy is None or policy.protocol != session.protocol:
                raise refusal(MikeyError.INVALID_SP_PAR, f"policy {number} is not there, or of another protocol")
        if row.has_ssrc and not session.policies:
            raise refusal(MikeyError.INVALID_SP_PAR, "SRTP without a policy")
        if session.policies and not any(_taken(row, policies[number]) for number in session.policies):
            raise refusal(MikeyError.INVALID_SP_PAR, f"no acceptable policy for CS {session.cs_id}")


def _row(session: CryptoSession) -> ProtocolRow:
    row = next((row for row in PROTOCOLS.values() if row.protocol == session.protocol), None)
    if row is None:
        raise refusal(MikeyError.INVALID_SP, f"Prot type {session.protocol} is not supported")
    return row


def _taken(row: ProtocolRow, policy: Sp) -> bool:
    if row.has_ssrc:
        try:
            judge_srtp(policy)
        except AgentError:
            return False
        return True
    return row.protocol is Protocol.TLS and bool(set(tls_suites(policy)) & set(KNOWN_TLS_SUITES))


def choose_policy(session: CryptoSession, policies: Mapping[int, Sp]) -> int | None:
    """The first offered policy that we take."""
    row = _row(session)
    return next((number for number in session.policies if _taken(row, policies[number])), None)


def key_of(spi: bytes, keys: Sequence[SessionKey]) -> SessionKey:
    """The key that an SPI names; an empty SPI means the only one there is. Error 12 when there is none."""
    found = [key for key in keys if key.kind.generates and (key.spi == spi or not spi)]
    if len(found) != 1:
        raise refusal(MikeyError.UNSPECIFIED, "an SPI that names no key" if not found else "which key is not said")
    return found[0]


def derive_session(
    session: CryptoSession, policy: Sp | None, keys: Sequence[SessionKey], prf: int, rand_i: bytes, rand_r: bytes
) -> AgreedSession:
    """The keys of one session (RFC 6043, 5.1.3). `rand_i`, `rand_r`: empty where flags H, G leave them out."""
    row = _row(session)
    source = key_of(session.spi, keys)
    lengths = row.measure(policy, source)
    if source.salt is not None and lengths.salt and len(source.salt) != lengths.salt:
        raise refusal(MikeyError.INVALID_SP_PAR, "a transported salt of another length than the policy's")
    key = session_key(prf, source.key, session.cs_id, rand_i, rand_r, lengths.key)
    salt = None
    if lengths.salt:
        salt = (
            source.salt.copy()
            if source.salt is not None
            else session_salt(prf, source.key, session.cs_id, rand_i, rand_r, lengths.salt)
        )
    return AgreedSession(session.cs_id, session.protocol, policy, session.ssrc, source.spi, key, salt)


def wipe_all(sessions: Iterable[AgreedSession]) -> None:
    for session in sessions:
        session.wipe()
