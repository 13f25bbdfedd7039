"""The demo softphone: a dialer behind an agent, as docs/dialer.md describes one, with G.711 for a voice.

It knows the agent through `ueagent.client` only and hands it plain SDP; the network is whatever takes its messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ueagent.client import AgentClient, sdp_octets
from ueagent.errors import AuthenticationFailed, NegotiationFailed, PeerError
from ueagent.ipc import api
from ueagent.lab.phone import Phone
from ueagent.lab.registrar import RegisterRequest, RegisterResponse

_ROUNDS: Final = 6  # REGISTER requests until we believe that it leads nowhere


class Network(Protocol):
    """What the dialer's SIP stack would reach. Descriptions are octets of SDP."""

    def register(self, request: RegisterRequest) -> RegisterResponse: ...

    async def invite(self, binding: str, offer: bytes, security_verify: tuple[str, ...] = ()) -> bytes:
        """The answer. NegotiationFailed carries the SIP status of a refusal."""
        ...


@dataclass(frozen=True, slots=True)
class Registered:
    """How a registration went: statuses in order, and the mechanisms usable in e2ae mode.

    `security_verify` goes into every other request of the binding (REG-16).
    """

    statuses: tuple[int, ...]
    mechanisms: tuple[api.MechanismName, ...]
    security_verify: tuple[str, ...]


class Dialer:
    """One softphone with one call at a time."""

    def __init__(
        self, agent: AgentClient, phone: Phone, binding: str, signalling: api.SignallingName = "access"
    ) -> None:
        self.agent = agent
        self.phone = phone
        self.binding = binding
        self.signalling: api.SignallingName = signalling
        self.session: str | None = None
        self.registered: Registered | None = None

    async def register(self, network: Network) -> Registered:
        """REGISTER until the network is content. AuthenticationFailed when it is not."""
        headers = await self.agent.registration_offer(binding=self.binding)
        statuses: list[int] = []
        for _ in range(_ROUNDS):
            response = network.register(self._request(headers))
            statuses.append(response.status)
            update = await self.agent.registration_update(
                binding=self.binding,
                status=response.status,
                security_server=list(response.security_server),
                unsupported=list(response.unsupported),
            )
            if update.next == "done":
                verify = _values(update.request_headers, "security-verify")
                self.registered = Registered(tuple(statuses), tuple(update.mechanisms), verify)
                return self.registered
            if update.next == "give_up":
                break
            headers = update.headers
        raise AuthenticationFailed("not_registered", f"the network answered {', '.join(map(str, statuses))}")

    async def call(self, network: Network, called: str | None = None) -> api.SessionSdp:
        """Plain offer to the agent, its offer to the network, the answer back; then the phone may play.

        `called`: who that is, for keys of a KMS.
        A refusal goes to the agent, which may have another offer. NegotiationFailed when it has none.
        """
        offer = await self.agent.create_offer(
            sdp=self.phone.offer(),
            signalling=self.signalling,
            binding=self.binding,
            session=self.session,
            called=called,
        )
        self.session = offer.session
        answer = await self._invite(network, sdp_octets(offer))
        reply = await self.agent.accept_answer(session=offer.session, sdp=answer, final=True)
        self.phone.connect(sdp_octets(reply))
        return reply

    async def _invite(self, network: Network, offer: bytes) -> bytes:
        verify = self.registered.security_verify if self.registered else ()
        while True:
            try:
                return await network.invite(self.binding, offer, verify)
            except NegotiationFailed as refusal:
                assert self.session is not None, "the offer came from a session"
                status = refusal.sip_status_hint or 488
                again = await self.agent.offer_failed(session=self.session, status=status)
                if not again.retry:
                    raise
                offer = sdp_octets(again)

    async def take(self, offer: bytes) -> bytes:
        """The network's offer in, our answer out; then the phone may play."""
        plain = await self.agent.accept_offer(
            sdp=offer, signalling=self.signalling, binding=self.binding, session=self.session
        )
        self.session = plain.session
        answer = await self.agent.create_answer(session=plain.session, sdp=self.phone.answer(sdp_octets(plain)))
        return sdp_octets(answer)

    async def keyed(self, seconds: float) -> None:
        """Until every secured line has its keys: a handshake follows the answer. PeerError when they do not come."""
        try:
            async with asyncio.timeout(seconds), self.agent.listening() as events:
                while waiting := [line for line in (await self.status()).lines if _wants_keys(line)]:
                    if waiting[0].reason is not None:
                        raise PeerError("no_keys", f"the agent says {waiting[0].reason}")
                    await anext(events)
        except TimeoutError:
            raise PeerError("no_keys", f"no keys within {seconds:.0f} s") from None

    async def status(self) -> api.SessionState:
        assert self.session is not None, "a call comes first"
        return await self.agent.session_status(session=self.session)

    async def hang_up(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            await self.agent.release(session=session)
        self.phone.close()

    def _request(self, headers: Sequence[api.HeaderValue]) -> RegisterRequest:
        return RegisterRequest(
            self.binding,
            security_client=_values(headers, "security-client"),
            security_verify=_values(headers, "security-verify"),
            require=_values(headers, "require"),
            proxy_require=_values(headers, "proxy-require"),
        )


def _wants_keys(line: api.LineState) -> bool:
    return line.mechanism != "none" and not line.keys_in_place


def _values(headers: Sequence[api.HeaderValue], name: str) -> tuple[str, ...]:
    return tuple(header.value for header in headers if header.name.lower() == name)
