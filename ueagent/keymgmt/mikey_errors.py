"""What can be wrong in an exchange, as our errors and as the numbers of RFC 3830, 6.12 and RFC 6043, 6.11."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from ueagent.errors import AgentError, AuthenticationFailed, MalformedMessage, NegotiationFailed, UnexpectedMessage

SIP_STATUS: Final = 488  # KMS-53; RFC 4567, 3.3


class MikeyError(IntEnum):
    AUTH_FAILURE = 0
    INVALID_TS = 1
    INVALID_PRF = 2
    INVALID_MAC = 3
    INVALID_EA = 4
    INVALID_HA = 5
    INVALID_DH = 6
    INVALID_ID = 7
    INVALID_CERT = 8
    INVALID_SP = 9
    INVALID_SP_PAR = 10
    INVALID_DT = 11
    UNSPECIFIED = 12
    UNSUPPORTED_TYPE = 13
    INVALID_TICKET = 14
    INVALID_TP_PAR = 15


@dataclass(frozen=True, slots=True)
class ErrorRow:
    number: MikeyError
    code: str


_ROWS: Final = (
    ErrorRow(MikeyError.AUTH_FAILURE, "mikey_auth_failure"),
    ErrorRow(MikeyError.INVALID_TS, "mikey_invalid_time"),
    ErrorRow(MikeyError.INVALID_PRF, "mikey_invalid_prf"),
    ErrorRow(MikeyError.INVALID_MAC, "mikey_invalid_mac"),
    ErrorRow(MikeyError.INVALID_EA, "mikey_invalid_encryption"),
    ErrorRow(MikeyError.INVALID_ID, "mikey_invalid_identity"),
    ErrorRow(MikeyError.INVALID_SP, "mikey_invalid_policy"),
    ErrorRow(MikeyError.INVALID_SP_PAR, "mikey_invalid_policy_parameter"),
    ErrorRow(MikeyError.INVALID_DT, "mikey_unexpected_type"),
    ErrorRow(MikeyError.UNSPECIFIED, "mikey_inconsistent"),
    ErrorRow(MikeyError.INVALID_TICKET, "mikey_invalid_ticket"),
    ErrorRow(MikeyError.INVALID_TP_PAR, "mikey_invalid_ticket_policy"),
)
_CODE_OF: Final = MappingProxyType({row.number: row.code for row in _ROWS})

# What `wire` cannot read, where RFC 3830 has a number of its own for it.
_NUMBER_OF: Final = MappingProxyType(
    {row.code: row.number for row in _ROWS}
    | {
        "unknown_time": MikeyError.INVALID_TS,
        "unknown_prf": MikeyError.INVALID_PRF,
        "unknown_mac": MikeyError.INVALID_MAC,
        "unknown_data_type": MikeyError.INVALID_DT,
        "policy_parameter": MikeyError.INVALID_SP_PAR,
    }
)


def refusal(number: MikeyError, detail: str) -> AgentError:
    """The error for a message that is refused; a dialer may answer 488 with Warning 306 or 399 (RFC 4567, 3.3)."""
    code = _CODE_OF[number]
    if number is MikeyError.AUTH_FAILURE:
        return AuthenticationFailed(code, detail, sip_status_hint=SIP_STATUS)
    if number is MikeyError.INVALID_DT:
        return UnexpectedMessage(code, detail)
    return NegotiationFailed(code, detail, sip_status_hint=SIP_STATUS)


def number_of(error: AgentError) -> MikeyError:
    """The number for an Error message. What RFC 3830 has no number for is 12, unspecified."""
    number = _NUMBER_OF.get(error.code)
    if number is None and isinstance(error, AuthenticationFailed):
        return MikeyError.AUTH_FAILURE
    if number is None and isinstance(error, UnexpectedMessage) and not isinstance(error, MalformedMessage):
        return MikeyError.INVALID_DT
    return MikeyError.UNSPECIFIED if number is None else number
