"""The error tree, sorted by who is to blame.

Expected failures only; bugs stay plain exceptions. Details hold lengths, names and states, never secrets.
`code` is a stable snake_case word that programs may branch on; `detail` is one sentence for people.
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of every expected failure. `sip_status_hint` is the SIP status a dialer may answer with.

    `sip_warning` is the code of a Warning header for that answer, `key_mgmt` the value of an a=key-mgmt that tells the
    other end what was wrong (RFC 4567, 3.3; KMS-53). Both are set by who refuses an offer.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        sip_status_hint: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.field = field
        self.sip_status_hint = sip_status_hint
        self.sip_warning: int | None = None
        self.key_mgmt: str | None = None


class UsageError(AgentError):
    """Our caller asked for something illegal; nothing has changed."""


class PeerError(AgentError):
    """The far side or the network is at fault."""


class MalformedMessage(PeerError):
    """Input that does not parse: the only error `wire` raises. `offset` counts octets from the start."""

    def __init__(self, code: str, detail: str, *, field: str | None = None, offset: int | None = None) -> None:
        super().__init__(code, detail, field=field, sip_status_hint=400)
        self.offset = offset


class UnexpectedMessage(PeerError):
    """Right syntax, wrong state. `expected` names what would have been right."""

    def __init__(self, code: str, detail: str, *, expected: tuple[str, ...] = ()) -> None:
        super().__init__(code, detail)
        self.expected = expected


class NegotiationFailed(PeerError):
    """Offer and answer, or offer and policy, have nothing in common."""

    def __init__(self, code: str, detail: str, *, field: str | None = None, sip_status_hint: int | None = 488) -> None:
        super().__init__(code, detail, field=field, sip_status_hint=sip_status_hint)


class AuthenticationFailed(PeerError):
    """A fingerprint, MAC or ticket check failed. Never says which octet."""


class KmsError(AgentError):
    """The key management service is unreachable, refused, or its ticket has expired."""


class EngineError(AgentError):
    """A crypto engine failed or went away."""


class ResourceError(AgentError):
    """Ports, contexts or slots are exhausted."""
