"""Registration at the lab edge: Security-Client in, Security-Server out, Security-Verify checked (RFC 3329; EDGE-1).

The first REGISTER of a binding gets 401, the second one 200: the challenge itself is not played.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ueagent.errors import MalformedMessage
from ueagent.lab.faults import Mode
from ueagent.wire.sip_security import SecMechanism, parse_security

SDES: Final = "sdes-srtp"
DTLS: Final = "dtls-srtp"
MEDIASEC: Final = "mediasec"
OWN_LIST: Final = (f"{SDES};{MEDIASEC}",)

_LIST_IN_401: Final = frozenset({Mode.MEDIASEC, Mode.STRICT, Mode.LYING})
_LIST_IN_200: Final = frozenset({Mode.MEDIASEC, Mode.STRICT, Mode.LYING, Mode.LIST_IN_200})


@dataclass(frozen=True, slots=True)
class RegisterRequest:
    """The header values of a REGISTER that matter here, raw and in order."""

    binding: str
    security_client: tuple[str, ...] = ()
    security_verify: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    proxy_require: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisterResponse:
    status: int
    security_server: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    require: tuple[str, ...] = ()


@dataclass(slots=True)
class Binding:
    """`sent` is the list the UE has to mirror; `announced` are the UE's own media mechanisms, lower case."""

    challenged: bool = False
    registered: bool = False
    sent: tuple[str, ...] = ()
    announced: frozenset[str] = frozenset()


class Registrar:
    """`own_list` may change between registrations (REG-7); its entries need not be media entries."""

    def __init__(self, mode: Mode = Mode.MEDIASEC, own_list: Sequence[str] = OWN_LIST) -> None:
        self.mode = mode
        self.own_list = tuple(own_list)
        self._bindings: dict[str, Binding] = {}

    def register(self, request: RegisterRequest) -> RegisterResponse:
        """The response. Header values that do not parse give 400."""
        refusal = self._refused_extension(request)
        if refusal is not None:
            return refusal
        try:
            client = parse_security(request.security_client)
            verify = _texts(parse_security(request.security_verify))
        except MalformedMessage:
            return RegisterResponse(400)
        binding = self._bindings.setdefault(request.binding, Binding())
        binding.announced = frozenset(entry.name.lower() for entry in client if entry.is_mediasec)
        if not verify and not binding.challenged:  # a fresh start, also after 494
            binding.challenged, binding.registered, binding.sent = True, False, ()
            return RegisterResponse(401, self._listed(binding, _LIST_IN_401))
        if verify != _texts(parse_security(binding.sent)):
            binding.challenged, binding.registered, binding.sent = False, False, self.own_list
            return RegisterResponse(494, binding.sent)
        if binding.challenged or binding.registered:
            binding.challenged, binding.registered = False, True
            return RegisterResponse(200, self._listed(binding, _LIST_IN_200))
        binding.challenged = True
        return RegisterResponse(401, self._listed(binding, _LIST_IN_401))

    def release(self, binding: str) -> None:
        """The binding has gone (REG-8)."""
        self._bindings.pop(binding, None)

    def agreed(self, binding: str, name: str = SDES) -> bool:
        """Whether both sides announced this mechanism for this binding, in a registration that stands."""
        found = self._bindings.get(binding)
        if found is None or not found.registered or self.mode is Mode.NONE or name not in found.announced:
            return False
        return any(entry.names(name) and entry.is_mediasec for entry in parse_security(found.sent))

    def registered(self, binding: str) -> bool:
        found = self._bindings.get(binding)
        return found is not None and found.registered

    def prefers_dtls(self) -> bool:
        """Whether our own list names DTLS-SRTP before SDES, or alone."""
        ranks = [entry.name.lower() for entry in parse_security(self.own_list) if entry.is_mediasec]
        return DTLS in ranks and (SDES not in ranks or ranks.index(DTLS) < ranks.index(SDES))

    def check_request(self, binding: str, security_verify: Sequence[str]) -> int | None:
        """Status that refuses a request other than REGISTER, or None: strict mode wants Security-Verify (REG-16)."""
        found = self._bindings.get(binding)
        if self.mode is not Mode.STRICT or found is None or not found.sent:
            return None
        try:
            given = _texts(parse_security(security_verify))
        except MalformedMessage:
            return 400
        return None if given == _texts(parse_security(found.sent)) else 494

    def _refused_extension(self, request: RegisterRequest) -> RegisterResponse | None:
        """Option tag `mediasec` (REG-14): unknown to the 3GPP modes, wanted in strict mode."""
        asked = MEDIASEC in _option_tags(request.require) and MEDIASEC in _option_tags(request.proxy_require)
        if self.mode is Mode.STRICT:
            return None if asked else RegisterResponse(421, require=(MEDIASEC,))
        known = MEDIASEC not in _option_tags((*request.require, *request.proxy_require))
        return None if known else RegisterResponse(420, unsupported=(MEDIASEC,))

    def _listed(self, binding: Binding, modes: frozenset[Mode]) -> tuple[str, ...]:
        if self.mode not in modes or not binding.announced:
            return ()
        binding.sent = self.own_list
        return self.own_list


def _texts(entries: Sequence[SecMechanism]) -> list[str]:
    return [entry.text for entry in entries]


def _option_tags(values: Sequence[str]) -> set[str]:
    return {tag.strip().lower() for value in values for tag in value.split(",")}
