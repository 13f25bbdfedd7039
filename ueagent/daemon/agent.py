"""The composition root: the only place that builds the parts of the daemon and puts them together."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ueagent_hw.inventory import Inventory

from ueagent import version
from ueagent.daemon.config import Config
from ueagent.daemon.engines import Choice, engine_choices, exceptions
from ueagent.daemon.handlers import HANDLERS, Context
from ueagent.daemon.identities import Identities
from ueagent.daemon.ipc_server import Connection, Handler, IpcServer, Limits, Service
from ueagent.daemon.logs import Log
from ueagent.daemon.process import hardening
from ueagent.daemon.relay_host import RelayHost
from ueagent.daemon.runner import Runner
from ueagent.daemon.sessions import Bindings, Sessions, Subscribers
from ueagent.daemon.stream_lines import StreamLines
from ueagent.errors import UsageError
from ueagent.ipc import api
from ueagent.ipc.interface_text import interface_text, literal_names
from ueagent.keymgmt.registry import MECHANISMS
from ueagent.model.media import MediaKind
from ueagent.model.security import THROUGH_KMS, Setting
from ueagent.model.suites import SUITES
from ueagent.negotiation.access_edge import EdgeProfile
from ueagent.negotiation.capability import Capability
from ueagent.negotiation.stream_planner import setting_of

if TYPE_CHECKING:
    from ueagent.daemon.accelerator import AcceleratorHost
    from ueagent.daemon.messages import Messages
    from ueagent.daemon.ticket_service import TicketService

_DOC = "Media security of IMS phones (3GPP TS 33.328). SDP is the only place where keys cross this interface."


class Agent:
    """One agent on the socket `path`: `async with Agent(config, log, path) as agent`, in a running event loop.

    Building it raises UsageError `bad_config` for what the machine cannot do, entering it UsageError for a socket that
    cannot be had.
    """

    def __init__(self, config: Config, log: Log, path: str | Path) -> None:
        self.path = Path(path)
        self._config = config
        self._log = log
        inventory, choices = engine_choices(config.engine)
        self._sessions = Sessions(config.ipc)
        self._subscribers = Subscribers(config.ipc.event_queue)
        self._accelerator = _accelerator(config, log, self._subscribers)
        self._tickets, messages = _ticket_service(config)
        self._relay = RelayHost(config.network, config.relay, exceptions(choices), log, self._accelerator)
        self._streams = StreamLines(config.network, config.streams, log)
        self._runner = Runner(self._relay, self._streams, self._sessions, self._subscribers, log, tickets=self._tickets)
        capability = Capability(_suites(config, choices))
        context = Context(
            config=config,
            capability=capability,
            about=self._about(inventory, capability),
            relay=self._relay,
            runner=self._runner,
            sessions=self._sessions,
            bindings=Bindings(edge_profile(config), config.ipc),
            identities=Identities(),
            subscribers=self._subscribers,
            tickets=self._tickets,
            messages=messages,
            log=log,
        )
        limits = Limits(config.ipc.max_clients, config.ipc.max_clients_per_user, config.ipc.max_message)
        self._server = IpcServer(self._service(context), log, limits)
        profile = edge_profile(config)
        if profile.dtls and not profile.sdes:
            log.warning("outside_of_the_specification", reason="DTLS-SRTP without SDES (GEN-3)")
        for choice in choices:
            log.debug("engine_chosen", suite=choice.suite, engine=choice.engine, reason=choice.reason)

    @property
    def arena(self) -> list[str]:
        """What protects the memory that holds the keys, by name."""
        return self._relay.arena

    async def __aenter__(self) -> Self:
        try:
            self._relay.start(self._runner.happened, self._runner.datagram)
            if self._accelerator is not None:
                self._accelerator.start()
            await self._server.start(self.path, self._config.ipc.group)
        except BaseException:
            await self._close_parts()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """No more clients, all sessions released, keys wiped, the socket gone. Idempotent."""
        for entry in self._sessions:
            self._runner.release(entry, "agent_stopped")
        self._subscribers.close()
        await self._server.close()
        await self._streams.close()
        await self._close_parts()

    async def _close_parts(self) -> None:
        """The link to an accelerator outlives the relay that uses it."""
        if self._tickets is not None:
            self._tickets.close()
        if self._accelerator is not None:
            await self._accelerator.stop()
        self._relay.close()
        if self._accelerator is not None:
            self._accelerator.close()

    def _service(self, context: Context) -> Service:
        names = literal_names(api)
        return Service(
            product="ueagent",
            version=version(),
            methods=api.METHODS,
            handlers={name: _bound(context, name) for name in HANDLERS},
            texts={
                interface: interface_text(
                    interface, api.METHODS, api.ERRORS, api.ErrorParameters, doc=_DOC, literals=names
                )
                for interface in api.INTERFACES
            },
            closed=self._connection_closed,
        )

    def _connection_closed(self, connection: Connection) -> None:
        """A session that is not detached ends with its connection."""
        for entry in self._sessions:
            if entry.connection is connection:
                self._runner.release(entry, "connection_closed")

    def _about(self, inventory: Inventory, capability: Capability) -> api.DescribeReply:
        return api.DescribeReply(
            version=version(),
            mechanisms=[
                mechanism.value for mechanism in MECHANISMS if mechanism not in THROUGH_KMS or self._tickets is not None
            ],
            suites=list(capability.usable(SUITES)),
            engines=[
                api.EngineState(
                    name=engine.name, present=engine.present, self_test=engine.self_test, suites=list(engine.suites)
                )
                for engine in inventory.engines
            ],
            arena=[*self._relay.arena, *hardening()],
            max_sessions=self._config.ipc.max_sessions,
            max_message=self._config.ipc.max_message,
        )


def edge_profile(config: Config) -> EdgeProfile:
    """What is announced follows policy (GEN-11): an edge that was told of SDES would offer what policy refuses."""
    registration, policy = config.registration, config.policy
    off = Setting.OFF
    dtls = policy.dtls_e2ae is not off
    wanted = {
        MediaKind.MSRP: registration.msrp,
        MediaKind.BFCP: registration.bfcp,
        MediaKind.UDPTL: registration.udptl,
    }
    return EdgeProfile(
        sdes=registration.sdes and policy.sdes_e2ae is not off,
        strict=registration.strict,
        dtls=registration.dtls_srtp and dtls,
        dtls_name=registration.dtls_srtp_name,
        dtls_unannounced=registration.dtls_srtp_unannounced and dtls,
        streams=frozenset(kind for kind in wanted if wanted[kind] and setting_of(kind, policy) is not off),
    )


def _bound(context: Context, name: str) -> Handler:
    handle = HANDLERS[name]
    return lambda connection, request: handle(context, connection, request)


def _suites(config: Config, choices: tuple[Choice, ...]) -> frozenset[str]:
    """What some engine runs; where the accelerator alone may have keys, what it can hold."""
    runs = frozenset(choice.suite for choice in choices if choice.engine)
    if config.accelerator.port is None or config.accelerator.custody == "shared":
        return runs
    from ueagent.daemon.accelerator_state import SUITES

    return runs & frozenset(SUITES)


def _accelerator(config: Config, log: Log, subscribers: Subscribers) -> AcceleratorHost | None:
    if config.accelerator.port is None:
        return None
    policy, kms = config.policy, config.credentials.provider != "none"
    if config.accelerator.custody == "device" and kms and policy.kms_e2e is not Setting.OFF and policy.kms_rcc:
        detail = "an accelerator with custody of the keys cannot carry the rollover counter: policy.kms_rcc = false"
        raise UsageError("bad_config", detail, field="policy.kms_rcc")
    from ueagent.daemon.accelerator import AcceleratorHost  # its libraries are needed by nobody else

    return AcceleratorHost(config.accelerator, log, subscribers.tell_all)


def _ticket_service(config: Config) -> tuple[TicketService | None, Messages | None]:
    """HTTP and its libraries, and those of CMS, serve nobody else."""
    if config.credentials.provider == "none":
        return None, None
    from ueagent.daemon.messages import Messages
    from ueagent.daemon.ticket_service import create_ticket_service

    tickets = create_ticket_service(config.kms, config.credentials, os.urandom, time.time)
    if tickets is None or config.policy.message_e2e is Setting.OFF:
        return tickets, None
    return tickets, Messages(tickets, config.messages)
