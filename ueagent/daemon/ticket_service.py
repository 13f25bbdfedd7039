"""What calls and messages share towards KMSs: credentials, tickets, what was resolved, replays. KMS-40 to KMS-52.

A message asks for a ticket or for keys and gets them (`ticket_for`, `resolve`). A session's exchange makes and repeats
its requests itself (`keymgmt.mikey_exchange`); `perform` carries one of them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ueagent.daemon.config import CredentialsConfig, KmsConfig
from ueagent.daemon.credentials.configured import Surroundings, origin_of, provider_of, required
from ueagent.daemon.credentials.provider import CredentialProvider, KmsCredential
from ueagent.daemon.http_client import tls_context
from ueagent.daemon.kms_http import REPEATED, KmsBinding, KmsClient, KmsService
from ueagent.errors import AgentError, KmsError, UsageError
from ueagent.keymgmt import kms
from ueagent.keymgmt.kms import GrantedTicket, PendingRequest, PendingResolve, ResolvedTicket, TicketCache, TicketWish
from ueagent.keymgmt.mikey_exchange import KmsReply, KmsUnreachable, SendKmsRequest
from ueagent.keymgmt.mikey_protection import MIKEY_1, KmsAccount, Profile
from ueagent.keymgmt.mikey_replay import RateLimit, ReplayCache
from ueagent.keymgmt.mikey_ticket import ReceivedTransfer
from ueagent.model.keys import Secret
from ueagent.model.ticket import TicketFlag

LEFT: Final = 60.0  # seconds that a ticket must still be valid to be used again: what it protects is on its way


class TicketService:
    """`kms` is our own KMS, `identities` who we are, the usual one first; `clock` gives UTC seconds since 1970.

    `tickets`, `replay` and `limit` are for `MikeyExchange` as well: one of each serves the whole agent.
    """

    def __init__(
        self,
        bindings: Mapping[bytes, KmsBinding],
        kms: bytes,
        identities: Sequence[bytes],
        credentials: CredentialProvider,
        client: KmsClient,
        rng: Callable[[int], bytes],
        clock: Callable[[], float],
        profile: Profile | None = None,
    ) -> None:
        self._bindings, self._credentials, self._client = bindings, credentials, client
        self.kms, self.identities = kms, tuple(identities)
        self.rng, self.clock = rng, clock
        self.profile = profile or Profile()
        self.tickets, self.replay, self.limit = TicketCache(), ReplayCache(), RateLimit()

    def identity(self, name: str | None, field: str) -> bytes:
        """One of ours, the usual one for None. UsageError `unknown_identity` about `field`."""
        if name is None:
            return self.identities[0]
        if name.encode("utf-8") not in self.identities:
            raise UsageError("unknown_identity", "not one of credentials.identities", field=field)
        return name.encode("utf-8")

    def close(self) -> None:
        """Wipes tickets, keys and credentials. Idempotent."""
        self.tickets.wipe()
        self._credentials.close()

    # ---------------------------------------------------------------------------------------------- for sessions --

    async def account(self, user: bytes | None = None) -> KmsAccount:
        """Who we are at our KMS. Whoever asks wipes `psk`. AgentError when there are no credentials."""
        return _account(user or self.identities[0], self.kms, await self._client.credential(self.kms))

    async def perform(self, account: KmsAccount, request: SendKmsRequest) -> KmsReply | KmsUnreachable:
        """One request of an exchange with `account`. Never raises an AgentError: the exchange decides what is next."""
        try:
            return KmsReply(await self._client.send(account.kms, KmsService(request.purpose.value), request.octets))
        except KmsError as error:
            if error.code != "kms_unauthorized" or not self._client.refused(account.psk_id):
                return KmsUnreachable(refused=error.code not in REPEATED)
        try:
            renewed = _account(account.user, account.kms, await self._client.credential(account.kms))
        except AgentError as error:
            return KmsUnreachable(refused=error.code not in REPEATED)
        return KmsUnreachable(account=renewed)

    # ---------------------------------------------------------------------------------------------- for messages --

    def names(self, user: bytes) -> KmsAccount:
        """Who asks, without a key: what a wish is made with."""
        return KmsAccount(user, self.kms, b"", Secret(b""))

    async def ticket_for(self, wish: TicketWish, user: bytes, profile: Profile) -> GrantedTicket:
        """What our KMS grants; the caller wipes it. With flag J it may be one that was granted before (KMS-49).

        Errors of `KmsClient.exchange` and `consume_request_resp`.
        """
        reuse = TicketFlag.J in wish.terms.flags
        known = self.tickets.granted(wish.terms, self.clock() + LEFT) if reuse else None
        if known is not None:
            return known.copy()

        def create(credential: KmsCredential) -> PendingRequest:
            account = _account(user, self.kms, credential)
            return kms.create_request_init(account, wish, self.clock(), self.rng, profile.send)

        def consume(pending: PendingRequest, answer: bytes) -> GrantedTicket:
            return kms.consume_request_resp(pending, answer, self.clock(), profile)

        ticket = await self._client.exchange(self.kms, KmsService.TICKET, create, consume)
        if reuse and TicketFlag.J in ticket.terms.flags:
            self.tickets.keep_granted(wish.terms, ticket.copy())
        return ticket

    async def resolve(
        self, received: ReceivedTransfer, user: bytes, profile: Profile, *, fresh: bool = False
    ) -> ResolvedTicket:
        """The keys of a ticket that came in; the caller wipes them. Its own KMS where we know it, else ours (KMS-43).
        `fresh`: ask also where the ticket was resolved before.

        ResourceError `resolve_rate` before anything is sent; errors of `KmsClient.exchange` and `consume_resolve_resp`.
        """
        known = None if fresh else self.tickets.resolved(received.ticket, self.clock())
        if known is not None:
            return known.copy()
        self.limit.spend(received.terms.initiator or b"", self.clock())
        issuer = received.terms.kms
        asked = issuer if issuer is not None and issuer in self._bindings else self.kms

        def create(credential: KmsCredential) -> PendingResolve:
            account = _account(user, asked, credential)
            return kms.create_resolve_init(
                account, received.ticket, received.terms, self.clock(), self.rng, profile.send
            )

        def consume(pending: PendingResolve, answer: bytes) -> ResolvedTicket:
            return kms.consume_resolve_resp(pending, answer, profile)

        return await self._client.exchange(asked, KmsService.RESOLVE, create, consume)

    def keep_resolved(self, received: ReceivedTransfer, resolved: ResolvedTicket) -> None:
        """For the next transfer with this ticket, once one is proven: only with flag J."""
        if TicketFlag.J in received.terms.flags and self.tickets.resolved(received.ticket, self.clock()) is None:
            self.tickets.keep_resolved(received.ticket, received.terms, resolved.copy())


def _account(user: bytes, kms_name: bytes, credential: KmsCredential) -> KmsAccount:
    return KmsAccount(user, kms_name, credential.identity, credential.key)


def create_ticket_service(
    config: KmsConfig,
    credentials: CredentialsConfig,
    rng: Callable[[int], bytes],
    clock: Callable[[], float],
) -> TicketService | None:
    """None without credentials. UsageError `bad_config`, `bad_url`."""
    if credentials.provider == "none":
        return None
    why = "credentials.provider"
    home = required(config.identity, "kms.identity", why).encode("ascii")
    bindings = {home: _binding(config, required(config.url, "kms.url", why), config.name)}
    for identity, _, url in (pair.partition(" ") for pair in config.foreign):
        bindings.setdefault(identity.encode("ascii"), _binding(config, url, None))
    if not credentials.identities:
        required(None, "credentials.identities", why)
    identities = [identity.encode("ascii") for identity in credentials.identities]
    tls = _trust(config.ca_file)
    provider = provider_of(credentials, Surroundings(rng, clock, tls))
    client, profile = KmsClient(bindings, provider, tls), profile_of(config)
    return TicketService(bindings, home, identities, provider, client, rng, clock, profile)


def profile_of(config: KmsConfig) -> Profile:
    """What is sent and accepted in calls. Messages have their own application."""
    profile = Profile(application=config.application.encode("ascii"), any_application=config.any_application)
    return replace(profile, accept=(*profile.accept, MIKEY_1)) if config.mikey_1 else profile


def _trust(ca_file: str | None) -> ssl.SSLContext | None:
    """None for the system's own: it is loaded when an https: URL needs it."""
    if ca_file is None:
        return None
    try:
        return tls_context(ca_file)
    except OSError:  # an SSLError is one
        raise UsageError("bad_config", f"{ca_file} holds no PEM certificates", field="kms.ca_file") from None


def _binding(config: KmsConfig, url: str, name: str | None) -> KmsBinding:
    origin = origin_of(url, "kms.url" if url == config.url else "kms.foreign")
    return KmsBinding(
        name or origin.host,
        origin,
        config.ticket_target,
        config.resolve_target,
        config.base64,
        config.timeout_ms / 1000,
        config.retries,
    )
