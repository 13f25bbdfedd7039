"""The agreement with the access edge at registration: RFC 3329 with `mediasec`. REG-1..20, GEN-11, GEN-12.

One `Registration` per binding (a contact at one edge). The dialer owns the SIP transactions: it asks for header values
and reports statuses. Nothing is announced that the profile does not enable, and nothing is believed before a 2xx or
after `release`. Security-Verify mirrors all that the dialer handed in, signalling entries too (REG-4, REG-12); a dialer
that runs an ipsec-3gpp agreement of its own takes these values in place of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ueagent.errors import UsageError
from ueagent.model.media import MediaKind
from ueagent.model.security import Mechanism
from ueagent.wire.sip_security import (
    SecMechanism,
    build_security_client,
    build_security_verify,
    duplicate_preferences,
    parse_security,
)

Headers = tuple[tuple[str, str], ...]
Next = Literal["done", "retry", "give_up"]

OPTION_TAG: Final = "mediasec"  # of an expired draft: REG-14, OPEN-24
CHALLENGE: Final = 401
SIGNALLING: Final = "ipsec-3gpp"  # what IMS AKA needs: REG-19


@dataclass(frozen=True, slots=True)
class EdgeProfile:
    """What this operator's edge is told and asked. `strict`: option tag, and Security-Verify on every request."""

    sdes: bool = True
    strict: bool = False
    dtls: bool = False
    dtls_name: str = "dtls-srtp"  # OPEN-1: no specification names one
    dtls_unannounced: bool = False  # REG-11 (b): this edge does DTLS-SRTP and does not say so
    streams: frozenset[MediaKind] = frozenset()  # media other than RTP (REG-20)


@dataclass(frozen=True, slots=True)
class TokenRow:
    mechanism: Mechanism
    token: Callable[[EdgeProfile], str]
    enabled: Callable[[EdgeProfile], bool]
    kind: MediaKind | None = None  # what it is about, where that is not RTP


def _stream(mechanism: Mechanism, name: str, kind: MediaKind) -> TokenRow:
    return TokenRow(mechanism, lambda profile: name, lambda profile: kind in profile.streams, kind)


# REG-2, in the order of Security-Client. A mechanism without a row has no indication at registration (REG-18).
TOKENS: Final = (
    TokenRow(Mechanism.SDES, lambda profile: "sdes-srtp", lambda profile: profile.sdes),
    TokenRow(Mechanism.DTLS_SRTP, lambda profile: profile.dtls_name, lambda profile: profile.dtls),
    _stream(Mechanism.TLS, "msrp-tls", MediaKind.MSRP),
    _stream(Mechanism.TLS, "bfcp-tls", MediaKind.BFCP),
    _stream(Mechanism.DTLS, "udptl-dtls", MediaKind.UDPTL),
)


@dataclass(frozen=True, slots=True)
class RegistrationResult:
    """`headers` go into the next REGISTER, `request_headers` into every other request (REG-16)."""

    next: Next
    headers: Headers
    request_headers: Headers
    announced: frozenset[Mechanism]
    signalling_agreement: bool
    warnings: tuple[str, ...] = ()
    streams: frozenset[MediaKind] = frozenset()


class Registration:
    def __init__(self, profile: EdgeProfile) -> None:
        self._profile = profile
        self._rows = tuple(row for row in TOKENS if row.enabled(profile))
        self._state = "idle"
        self._list: tuple[SecMechanism, ...] = ()  # of the exchange in progress
        self._agreed: tuple[SecMechanism, ...] = ()  # of the last 2xx
        self._option_tag = profile.strict

    @property
    def announced(self) -> frozenset[Mechanism]:
        """Mechanisms of RTP that both sides announced (REG-10), or that need no announcement here (REG-11)."""
        found = {row.mechanism for row in self._rows if row.kind is None and self._both(row)}
        if self._profile.dtls_unannounced and self._state == "registered":
            found.add(Mechanism.DTLS_SRTP)
        return frozenset(found)

    @property
    def streams(self) -> frozenset[MediaKind]:
        """Media other than RTP for which both sides announced their mechanism: each has its own word (REG-20)."""
        return frozenset(row.kind for row in self._rows if row.kind is not None and self._both(row))

    def _both(self, row: TokenRow) -> bool:
        return any(entry.is_mediasec and entry.names(row.token(self._profile)) for entry in self._agreed)

    def offer(self) -> Headers:
        """Header values for the next REGISTER. None at all when nothing is enabled (GEN-1)."""
        if not self._rows:
            return ()
        client = build_security_client([row.token(self._profile) for row in self._rows])
        return (
            *(("Security-Client", value) for value in client),
            *self._option_headers(),
            *_verify(self._list or self._agreed),
        )

    def update(
        self,
        status: int,
        security_server: Sequence[str],
        unsupported: Sequence[str] = (),
        ipsec_expected: bool = False,
    ) -> RegistrationResult:
        """What the edge answered to REGISTER. MalformedMessage, UsageError: nothing has changed."""
        if not 200 <= status <= 699:
            raise UsageError("not_final", f"status {status} is not a final one", field="status")
        entries = parse_security(security_server)
        warnings = tuple(f"duplicate_preference:{name}" for name in duplicate_preferences(entries))  # REG-3
        outcome = "accepted" if status < 300 else _OUTCOMES.get(status, "failed")
        # REG-19: a challenge must bring the list itself; media entries never stand in for what signalling needs.
        pool = entries if status == CHALLENGE else (entries or self._list or self._agreed)
        agreement = any(not entry.is_mediasec and (not ipsec_expected or entry.names(SIGNALLING)) for entry in pool)
        if ipsec_expected and not agreement and outcome in ("challenged", "accepted"):
            return self._result(self._fail((), ()), False, (*warnings, "no_signalling_agreement"))
        step = TRANSITIONS[self._state].get(outcome)
        following = (step or Registration._fail)(self, entries, unsupported)
        return self._result(following, agreement, warnings)

    def release(self) -> None:
        """The binding is gone: nothing of it may serve another one (REG-8)."""
        self._list = self._agreed = ()
        self._option_tag = self._profile.strict
        self._state = "idle"

    # ------------------------------------------------------------------------------------------------- steps --

    def _learn(self, entries: tuple[SecMechanism, ...], unsupported: Sequence[str]) -> Next:
        """REG-4; a challenge without a list leaves the one we have."""
        self._list = entries or self._list
        self._state = "restarted" if self._state == "restarted" else "listed"
        return "retry"

    def _agree(self, entries: tuple[SecMechanism, ...], unsupported: Sequence[str]) -> Next:
        """REG-5, REG-6: the list of the 2xx replaces, none keeps."""
        self._agreed = entries or self._list or self._agreed
        self._list = ()
        self._state = "registered"
        return "done"

    def _restart(self, entries: tuple[SecMechanism, ...], unsupported: Sequence[str]) -> Next:
        """REG-13: once, with the list that came."""
        if not entries:
            return self._fail(entries, unsupported)
        self._list = entries
        self._state = "restarted"
        return "retry"

    def _drop_option(self, entries: tuple[SecMechanism, ...], unsupported: Sequence[str]) -> Next:
        """REG-14: only where it was ours that the edge did not understand."""
        tags = {tag.strip().lower() for value in unsupported for tag in value.split(",")}
        if not self._option_tag or OPTION_TAG not in tags:
            return self._fail(entries, unsupported)
        self._option_tag = False
        return "retry"

    def _fail(self, entries: tuple[SecMechanism, ...], unsupported: Sequence[str]) -> Next:
        """This attempt is over; what an earlier 2xx agreed on holds until `release`."""
        self._list = ()
        self._state = "registered" if self._agreed else "idle"
        return "give_up"

    # ----------------------------------------------------------------------------------------------- helpers --

    def _result(self, following: Next, agreement: bool, warnings: tuple[str, ...]) -> RegistrationResult:
        return RegistrationResult(
            following, self.offer(), self._request_headers(), self.announced, agreement, warnings, self.streams
        )

    def _option_headers(self) -> Headers:
        return (("Require", OPTION_TAG), ("Proxy-Require", OPTION_TAG)) if self._option_tag else ()

    def _request_headers(self) -> Headers:
        """REG-16: only for the strict profile, and only when there is a list to mirror."""
        if not self._rows or not self._profile.strict or not self._agreed:
            return ()
        return (*self._option_headers(), *_verify(self._agreed))


_OUTCOMES: Final = {401: "challenged", 407: "challenged", 420: "unsupported", 421: "mismatch", 494: "mismatch"}

_Step = Callable[[Registration, tuple[SecMechanism, ...], Sequence[str]], Next]
_BEGINNING: Final[dict[str, _Step]] = {
    "challenged": Registration._learn,
    "accepted": Registration._agree,
    "mismatch": Registration._restart,
    "unsupported": Registration._drop_option,
}
# An outcome that has no step in a state ends the attempt.
TRANSITIONS: Final[dict[str, dict[str, _Step]]] = {
    "idle": _BEGINNING,
    "listed": _BEGINNING,
    "registered": _BEGINNING,
    "restarted": {outcome: step for outcome, step in _BEGINNING.items() if outcome != "mismatch"},
}


def _verify(entries: Sequence[SecMechanism]) -> Headers:
    return tuple(("Security-Verify", value) for value in build_security_verify(entries))
