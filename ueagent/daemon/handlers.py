"""One small function per IPC method: request -> command -> runner -> reply. The table at the end is all of them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct, structs

from ueagent.daemon import message_handlers
from ueagent.daemon.call_desks import checked_uri, desk_for
from ueagent.daemon.config import Config
from ueagent.daemon.forms import form_of, octets_of
from ueagent.daemon.identities import Identities
from ueagent.daemon.ipc_server import Connection
from ueagent.daemon.logs import Log
from ueagent.daemon.relay_host import RelayHost
from ueagent.daemon.runner import Outcome, Runner, line_state
from ueagent.daemon.sessions import Bindings, Entry, Sessions, Subscribers
from ueagent.daemon.subscriptions import EventQueue
from ueagent.errors import AgentError, MalformedMessage, UsageError
from ueagent.ipc import api
from ueagent.model.media import MediaKind
from ueagent.model.security import LineSecurity, Mechanism, Setting, Signalling
from ueagent.negotiation.capability import Capability
from ueagent.negotiation.offer_answer import asks_for_certificate
from ueagent.negotiation.planner import at_least
from ueagent.negotiation.stream_sdp import kinds_to_secure
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    Command,
    CreateAnswer,
    CreateOffer,
    DeclineOffer,
    Dialog,
    Evidence,
    OfferFailed,
)
from ueagent.session.effects import ReplySdp
from ueagent.session.session import Session
from ueagent.wire.sdp import parse_sdp

if TYPE_CHECKING:
    from ueagent.channel.credentials import Identity
    from ueagent.daemon.messages import Messages
    from ueagent.daemon.ticket_service import TicketService
    from ueagent.keymgmt.mikey_bundle import MikeyDesk


@dataclass(frozen=True, slots=True)
class Context:
    """What handlers work with. `about` is what Describe tells."""

    config: Config
    capability: Capability
    about: api.DescribeReply
    relay: RelayHost
    runner: Runner
    sessions: Sessions
    bindings: Bindings
    identities: Identities
    subscribers: Subscribers
    tickets: TicketService | None
    messages: Messages | None
    log: Log


Handle = Callable[[Context, Connection, Any], Struct | EventQueue | Awaitable[Struct]]


# ------------------------------------------------------------------------------------------------------------- SDP --


class _WithSdp(Protocol):
    @property
    def sdp(self) -> str | None: ...
    @property
    def sdp_base64(self) -> str | None: ...


def _sdp_of(request: _WithSdp) -> bytes:
    return octets_of(request, api.SDP_FORMS)


def _sdp_form(octets: bytes, as_base64: bool) -> dict[str, str]:
    """The form of the request."""
    return form_of(octets, api.SDP_FORMS, as_base64=as_base64)


def _lines(lines: tuple[LineSecurity, ...]) -> list[api.LineState]:
    return [line_state(line) for line in lines]


def _session_sdp(entry: Entry, request: _WithSdp, outcome: Outcome, warnings: tuple[str, ...] = ()) -> api.SessionSdp:
    assert isinstance(outcome, ReplySdp)
    return api.SessionSdp(
        session=entry.id,
        lines=_lines(outcome.lines),
        warnings=[*warnings, *outcome.warnings],
        **_sdp_form(outcome.sdp, request.sdp_base64 is not None),
    )


# ----------------------------------------------------------------------------------------------- org.ueagent.Agent --


def describe(context: Context, connection: Connection, request: api.DescribeRequest) -> api.DescribeReply:
    accelerator = context.relay.accelerator_state()
    if accelerator is None:
        return context.about
    from ueagent.daemon.accelerator_state import engine_state  # loaded by now: there is one

    engines = [engine_state(accelerator), *context.about.engines]
    return structs.replace(context.about, engines=engines, accelerator=accelerator)


def status(context: Context, connection: Connection, request: api.StatusRequest) -> api.StatusReply:
    mine = context.sessions.of(connection.peer.uid)
    return api.StatusReply(sessions=[_state(context, entry) for entry in mine])


def subscribe(context: Context, connection: Connection, request: api.SubscribeRequest) -> EventQueue:
    if request.session is not None:
        context.sessions.find(connection.peer.uid, request.session)
    return context.subscribers.add(connection.peer.uid, request.session)


def _state(context: Context, entry: Entry) -> api.SessionState:
    session = entry.session
    return api.SessionState(
        session=entry.id,
        binding=entry.binding,
        role=session.role,
        state=session.state,
        emergency=session.emergency,
        detached=entry.connection is None,
        age_ms=int((context.runner.now() - entry.began) * 1000),
        call_id=session.dialog.call_id if session.dialog else None,
        lines=_lines(session.lines),
        counters=[
            context.relay.counters(line, leg, entry.session.refused_checks(line))
            for line, leg in sorted(entry.legs.items())
        ],
    )


# ---------------------------------------------------------------------------------------- org.ueagent.Registration --


def _headers(pairs: tuple[tuple[str, str], ...]) -> list[api.HeaderValue]:
    return [api.HeaderValue(name=name, value=value) for name, value in pairs]


def registration_offer(
    context: Context, connection: Connection, request: api.RegistrationOfferRequest
) -> api.RegistrationHeaders:
    registration = context.bindings.find_or_add(connection.peer.uid, request.binding)
    return api.RegistrationHeaders(headers=_headers(registration.offer()))


def registration_update(
    context: Context, connection: Connection, request: api.RegistrationUpdateRequest
) -> api.RegistrationUpdateReply:
    registration = context.bindings.find_or_add(connection.peer.uid, request.binding)
    result = registration.update(request.status, request.security_server, request.unsupported, request.ipsec_expected)
    context.log.info("registration", binding=request.binding, status=request.status, next=result.next)
    return api.RegistrationUpdateReply(
        next=result.next,
        headers=_headers(result.headers),
        request_headers=_headers(result.request_headers),
        mechanisms=[mechanism.value for mechanism in sorted(result.announced, key=lambda found: found.value)],
        streams=[kind.value for kind in sorted(result.streams, key=lambda found: found.value)],
        signalling_agreement=result.signalling_agreement,
        warnings=list(result.warnings),
    )


def registration_release(
    context: Context, connection: Connection, request: api.RegistrationReleaseRequest
) -> api.Empty:
    context.bindings.remove(connection.peer.uid, request.binding)
    context.identities.remove(connection.peer.uid, request.binding)
    return api.Empty()


# --------------------------------------------------------------------------------------------- org.ueagent.Session --


async def create_offer(context: Context, connection: Connection, request: api.CreateOfferRequest) -> api.SessionSdp:
    certificates = await _certificates(context, connection, request)
    evidence, warnings = _evidence(context, connection, request)
    evidence = replace(evidence, called=checked_uri(request.called, "called"))
    command = CreateOffer(sdp=_sdp_of(request), evidence=evidence, rekey=request.rekey)
    needed = request.called is not None or request.session is not None  # a call knows whom it is with
    wanted = needed and at_least(context.config.policy.kms_e2e, Setting.PREFERRED)
    desk = await _desk(context, request.caller, "caller") if wanted else None
    entry, outcome = await _execute(context, connection, request, command, certificates, desk)
    return _session_sdp(entry, request, outcome, warnings)


async def accept_offer(context: Context, connection: Connection, request: api.AcceptOfferRequest) -> api.SessionSdp:
    certificates = await _certificates(context, connection, request)
    evidence, warnings = _evidence(context, connection, request)
    command = AcceptOffer(sdp=_sdp_of(request), evidence=evidence, dialog=_dialog(request.dialog))
    wanted = b"a=key-mgmt:" in command.sdp and context.config.policy.kms_e2e is not Setting.OFF
    desk = await _desk(context, request.called, "called") if wanted else None
    entry, outcome = await _execute(context, connection, request, command, certificates, desk)
    return _session_sdp(entry, request, outcome, warnings)


def accept_answer(context: Context, connection: Connection, request: api.AcceptAnswerRequest) -> api.SessionSdp:
    entry = context.sessions.find(connection.peer.uid, request.session)
    command = AcceptAnswer(
        sdp=_sdp_of(request),
        final=request.final,
        dialog=_dialog(request.dialog),
        asserted_identity=request.asserted_identity,
    )
    return _session_sdp(entry, request, context.runner.execute(entry, command))


def create_answer(context: Context, connection: Connection, request: api.CreateAnswerRequest) -> api.SessionSdp:
    entry = context.sessions.find(connection.peer.uid, request.session)
    return _session_sdp(entry, request, context.runner.execute(entry, CreateAnswer(sdp=_sdp_of(request))))


def offer_failed(context: Context, connection: Connection, request: api.OfferFailedRequest) -> api.OfferFailedReply:
    entry = context.sessions.find(connection.peer.uid, request.session)
    if not 300 <= request.status <= 699:
        raise UsageError("not_a_failure", "status is the final one of a refusal, 300 to 699", field="status")
    outcome = context.runner.execute(entry, OfferFailed(request.status))
    lines = _lines(outcome.lines)
    if isinstance(outcome, ReplySdp):
        return api.OfferFailedReply(retry=True, lines=lines, **_sdp_form(outcome.sdp, False))
    return api.OfferFailedReply(retry=False, lines=lines)


def decline_offer(context: Context, connection: Connection, request: api.DeclineOfferRequest) -> api.Empty:
    entry = context.sessions.find(connection.peer.uid, request.session)
    context.runner.execute(entry, DeclineOffer())
    return api.Empty()


def session_status(
    context: Context, connection: Connection, request: api.SessionStatusRequest
) -> api.SessionStatusReply:
    entry = context.sessions.find(connection.peer.uid, request.session)
    return api.SessionStatusReply(state=_state(context, entry))


def attach_stream(context: Context, connection: Connection, request: api.AttachStreamRequest) -> api.Empty:
    descriptor = connection.take_descriptor()
    if descriptor is None:
        raise UsageError("no_descriptor", "a descriptor is passed with this call (SCM_RIGHTS)", field="descriptor")
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        raise UsageError("bad_descriptor", "the descriptor is no socket", field="descriptor") from None
    try:
        entry = context.sessions.find(connection.peer.uid, request.session)
        line = entry.streams.get(request.line)
        if line is None:
            raise UsageError("no_such_line", "this line is not one of MSRP or BFCP over TLS", field="line")
    except AgentError:
        sock.close()
        raise
    line.attach(sock)
    return api.Empty()


def release(context: Context, connection: Connection, request: api.ReleaseRequest) -> api.Empty:
    entry = context.sessions.find(connection.peer.uid, request.session)
    context.runner.release(entry, "released")
    return api.Empty()


def _dialog(given: api.DialogIdentity | None) -> Dialog | None:
    return None if given is None else Dialog(given.call_id, given.local_tag, given.remote_tag)


@dataclass(frozen=True, slots=True)
class _Certificates:
    """What a session may show: one for T.38, whose peers may need RSA (T38-8), and one for all else."""

    usual: Identity | None = None
    fax: Identity | None = None


async def _certificates(
    context: Context, connection: Connection, request: api.CreateOfferRequest | api.AcceptOfferRequest
) -> _Certificates:
    """Those that this call may need: nothing is loaded for calls with keys in SDP."""
    evidence = _evidence(context, connection, request)[0]
    try:
        sdp = parse_sdp(_sdp_of(request))
    except MalformedMessage:
        return _Certificates()  # the session says what is wrong with it
    streams = kinds_to_secure(sdp, evidence.streams)
    policy = context.config.policy
    dtls_srtp = policy.dtls_e2ae is not Setting.OFF and (
        policy.webrtc or Mechanism.DTLS_SRTP in evidence.announced or asks_for_certificate(sdp)
    )
    uid = connection.peer.uid
    known = request.binding is not None and context.bindings.find(uid, request.binding) is not None
    binding = request.binding if known else None
    usual = fax = None
    if dtls_srtp or streams - {MediaKind.UDPTL}:
        usual = await context.identities.of(uid, binding)
    if MediaKind.UDPTL in streams:
        fax = await context.identities.of(uid, binding, fax=True)
    return _Certificates(usual, fax)


async def _desk(context: Context, name: str | None, field: str) -> MikeyDesk | None:
    """What a call through a KMS needs, as one of our identities; None where no KMS can be had."""
    if context.tickets is None:
        return None
    return await desk_for(context.tickets, name, field, context.runner.now(), context.log)


def _evidence(
    context: Context, connection: Connection, request: api.CreateOfferRequest | api.AcceptOfferRequest
) -> tuple[Evidence, tuple[str, ...]]:
    """What the request and the registration say. A binding that is not registered announces nothing (REG-8)."""
    registration = None
    if request.binding is not None:
        registration = context.bindings.find(connection.peer.uid, request.binding)
    evidence = Evidence(
        signalling=Signalling(request.signalling),
        announced=registration.announced if registration else frozenset(),
        streams=registration.streams if registration else frozenset(),
        asserted_identity=request.asserted_identity,
        emergency=request.emergency,
        conference=request.conference,
    )
    unknown = request.binding is not None and registration is None
    return evidence, ("binding_not_registered",) if unknown else ()


async def _execute(
    context: Context,
    connection: Connection,
    request: api.CreateOfferRequest | api.AcceptOfferRequest,
    command: Command,
    certificates: _Certificates,
    desk: MikeyDesk | None,
) -> tuple[Entry, Outcome]:
    """In the session that the request names, or in a new one, which a failure leaves no trace of."""
    uid = connection.peer.uid
    if request.session is not None:
        entry = context.sessions.find(uid, request.session)
        entry.session.show(certificates.usual, certificates.fax)
        if desk is not None:
            entry.session.use_kms(desk)
        return entry, await context.runner.execute_waiting(entry, command)
    context.sessions.check_room(uid)
    session = Session(context.config.policy, os.urandom, context.capability)
    session.show(certificates.usual, certificates.fax)
    if desk is not None:
        session.use_kms(desk)
    owner = None if request.detached else connection
    entry = context.sessions.add(uid, session, request.binding, owner, context.runner.now())
    try:
        outcome = await context.runner.execute_waiting(entry, command)
    except (AgentError, asyncio.CancelledError):
        context.sessions.remove(entry)  # first: nobody is told that it has gone
        context.runner.release(entry, "failed")
        raise
    context.log.info("session_created", session=entry.id, uid=uid, binding=request.binding)
    return entry, outcome


HANDLERS: Final[Mapping[str, Handle]] = MappingProxyType(
    {
        "org.ueagent.Agent.Describe": describe,
        "org.ueagent.Agent.Status": status,
        "org.ueagent.Agent.Subscribe": subscribe,
        "org.ueagent.Registration.Offer": registration_offer,
        "org.ueagent.Registration.Update": registration_update,
        "org.ueagent.Registration.Release": registration_release,
        "org.ueagent.Session.CreateOffer": create_offer,
        "org.ueagent.Session.AcceptAnswer": accept_answer,
        "org.ueagent.Session.OfferFailed": offer_failed,
        "org.ueagent.Session.AcceptOffer": accept_offer,
        "org.ueagent.Session.CreateAnswer": create_answer,
        "org.ueagent.Session.DeclineOffer": decline_offer,
        "org.ueagent.Session.Status": session_status,
        "org.ueagent.Session.AttachStream": attach_stream,
        "org.ueagent.Session.Release": release,
        "org.ueagent.Message.Describe": message_handlers.describe,
        "org.ueagent.Message.Protect": message_handlers.protect,
        "org.ueagent.Message.Open": message_handlers.open_,
    }
)
