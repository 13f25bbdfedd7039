"""Asyncio client of the IPC API, for softphones and for our own commands.

    async with AgentClient.connect() as agent:
        offer = await agent.create_offer(sdp=plain, signalling="confidentiality", binding="home")
        ...
        plain_answer = await agent.accept_answer(session=offer.session, final=True, sdp=answer)

A session that was not created `detached` ends with the connection that created it. Failures of the agent arrive as the
classes of `ueagent.errors`; AgentUnreachable means that there is no agent to talk to (any more).
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import msgspec

from ueagent import errors
from ueagent.ipc import api, varlink

_CHUNK: Final = 64 * 1024
_CLASSES: Final = {name: getattr(errors, name) for name in api.ERRORS}
# What the errors of org.varlink.service say to people.
_SERVICE_ERRORS: Final = {
    "InterfaceNotFound": "the agent has no such interface",
    "MethodNotFound": "the agent has no such method",
    "InvalidParameter": "missing, unknown, or not what the interface says",
    "ExpectedMore": "this method answers many times: call it with `more`",
}

R = TypeVar("R", bound=api.Reply)


class AgentUnreachable(ConnectionError):
    """Nobody listens on the socket, or the connection ended before the answer came."""


def default_socket() -> Path:
    """$XDG_RUNTIME_DIR/ueagent/agent.sock for users; /run/ueagent/agent.sock for root or where that is not set."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime if runtime and os.geteuid() != 0 else "/run") / "ueagent" / "agent.sock"


def sdp_form(sdp: str | bytes | None) -> dict[str, str]:
    """`sdp` as the members of a request: text where it is UTF-8, else base64."""
    return {} if sdp is None else _form(sdp, api.SDP_FORMS)


def sdp_octets(reply: api.SessionSdp | api.OfferFailedReply) -> bytes:
    """The SDP of a reply, whichever form it came in; empty where there is none."""
    return _octets(reply, api.SDP_FORMS)


def body_octets(reply: api.ProtectReply) -> bytes:
    """The body that MESSAGE carries."""
    return _octets(reply, api.BODY_FORMS)


def content_octets(part: api.OpenReply | api.MessagePart) -> bytes:
    """What was protected, or a part in clear."""
    return _octets(part, api.CONTENT_FORMS)


def _form(given: str | bytes, forms: tuple[str, str]) -> dict[str, str]:
    try:
        return {forms[0]: given if isinstance(given, str) else given.decode("utf-8")}
    except UnicodeDecodeError:
        return {forms[1]: base64.b64encode(given).decode("ascii")}  # type: ignore[arg-type]  # a str is decoded


def _octets(reply: api.Reply | api.MessagePart, forms: tuple[str, str]) -> bytes:
    text, encoded = (getattr(reply, form) for form in forms)
    return base64.b64decode(encoded) if encoded is not None else (text or "").encode("utf-8")


class AgentClient:
    """One connection. Calls are answered in order; `subscribe` opens a connection of its own."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._framer = varlink.Framer(varlink.MAX_REPLY)
        self._replies: list[bytes] = []
        self._turn = asyncio.Lock()
        self._owed = 0  # replies that will come, also to calls that were given up

    @classmethod
    def connect(cls, path: str | os.PathLike[str] | None = None) -> AgentClient:
        """For `async with`. Without `path`, the default socket. AgentUnreachable when nobody listens there."""
        return cls(default_socket() if path is None else path)

    async def __aenter__(self) -> AgentClient:
        try:
            self._reader, self._writer = await asyncio.open_unix_connection(self._path)
        except OSError as error:
            raise AgentUnreachable(f"no agent on {self._path}: {error.strerror or error}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; sessions that are not detached end. Idempotent."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass

    # --------------------------------------------------------------------------------------------- any method --

    async def call(self, method: str, parameters: Any = None, *, descriptor: int | None = None) -> dict[str, Any]:
        """One call, one reply's parameters (members that are null are left out). May be cancelled.

        `descriptor` goes with it, as a copy of the agent's own.
        """
        async with self._turn:
            self._owed += 1
            await self._write(varlink.build_call(method, {} if parameters is None else parameters), descriptor)
            while True:
                reply = await self._read()
                self._owed -= 1
                if self._owed == 0:
                    return _result(reply)

    async def call_more(self, method: str, parameters: Any = None) -> AsyncGenerator[dict[str, Any], None]:
        """One call with `more`: the parameters of every reply. Nothing else fits on this connection meanwhile.

        Leaving before the last reply closes the connection. `aclose()` the iterator where that shall be at once.
        """
        async with self._turn:
            continues = True
            try:
                await self._write(varlink.build_call(method, {} if parameters is None else parameters, more=True))
                while continues:
                    reply = await self._read()
                    continues = reply.continues
                    yield _result(reply)
            finally:
                if continues:
                    await self.close()

    async def _typed(self, request: api.Request, kind: type[R], *, descriptor: int | None = None) -> R:
        method = next(name for name, row in api.METHODS.items() if row.request is type(request))
        return msgspec.convert(await self.call(method, request, descriptor=descriptor), kind)

    async def _write(self, message: bytes, descriptor: int | None = None) -> None:
        if self._writer is None:
            raise AgentUnreachable("not connected")
        try:
            if descriptor is not None:  # nothing else waits to be written: what came before was drained
                with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as wire:
                    message = message[socket.send_fds(wire, [message], [descriptor]) :]
            self._writer.write(message)
            await self._writer.drain()
        except OSError:
            raise AgentUnreachable("the agent closed the connection") from None

    async def _read(self) -> varlink.ReplyMessage:
        while not self._replies:
            try:
                data = await self._reader.read(_CHUNK) if self._reader else b""
            except OSError:
                data = b""
            if not data:
                raise AgentUnreachable("the agent closed the connection")
            self._replies += self._framer.feed(data)
        return varlink.parse_reply(self._replies.pop(0))

    # ------------------------------------------------------------------------------------------- typed methods --

    async def describe(self) -> api.DescribeReply:
        return await self._typed(api.DescribeRequest(), api.DescribeReply)

    async def status(self) -> list[api.SessionState]:
        return (await self._typed(api.StatusRequest(), api.StatusReply)).sessions

    @asynccontextmanager
    async def listening(self, session: str | None = None) -> AsyncIterator[AsyncIterator[api.Event]]:
        """`async with agent.listening() as events`: whatever happens from its first line on is among `events`.

        Of one session or of all of this user's, on a connection of its own. Ends when that session does.
        """
        async with AgentClient(self._path) as other:
            replies = other.call_more("org.ueagent.Agent.Subscribe", api.SubscribeRequest(session=session))
            await anext(replies)  # the subscription stands
            yield _events(replies)
            await replies.aclose()

    async def subscribe(self, session: str | None = None) -> AsyncGenerator[api.Event, None]:
        """`async for event in agent.subscribe()`: as `listening`, from some time after the loop began."""
        async with self.listening(session) as events:
            async for event in events:
                yield event

    async def registration_offer(self, *, binding: str) -> list[api.HeaderValue]:
        request = api.RegistrationOfferRequest(binding=binding)
        return (await self._typed(request, api.RegistrationHeaders)).headers

    async def registration_update(
        self,
        *,
        binding: str,
        status: int,
        security_server: list[str] | None = None,
        unsupported: list[str] | None = None,
        ipsec_expected: bool = False,
    ) -> api.RegistrationUpdateReply:
        request = api.RegistrationUpdateRequest(
            binding=binding,
            status=status,
            security_server=security_server or [],
            unsupported=unsupported or [],
            ipsec_expected=ipsec_expected,
        )
        return await self._typed(request, api.RegistrationUpdateReply)

    async def registration_release(self, *, binding: str) -> None:
        await self._typed(api.RegistrationReleaseRequest(binding=binding), api.Empty)

    async def create_offer(
        self,
        *,
        sdp: str | bytes,
        signalling: api.SignallingName,
        session: str | None = None,
        binding: str | None = None,
        asserted_identity: str | None = None,
        emergency: bool = False,
        conference: bool = False,
        detached: bool = False,
        rekey: bool = False,
        called: str | None = None,
        caller: str | None = None,
    ) -> api.SessionSdp:
        request = api.CreateOfferRequest(
            signalling=signalling,
            session=session,
            binding=binding,
            asserted_identity=asserted_identity,
            emergency=emergency,
            conference=conference,
            detached=detached,
            rekey=rekey,
            called=called,
            caller=caller,
            **sdp_form(sdp),
        )
        return await self._typed(request, api.SessionSdp)

    async def accept_answer(
        self,
        *,
        session: str,
        sdp: str | bytes,
        final: bool,
        dialog: api.DialogIdentity | None = None,
        asserted_identity: str | None = None,
    ) -> api.SessionSdp:
        request = api.AcceptAnswerRequest(
            session=session, final=final, dialog=dialog, asserted_identity=asserted_identity, **sdp_form(sdp)
        )
        return await self._typed(request, api.SessionSdp)

    async def offer_failed(self, *, session: str, status: int) -> api.OfferFailedReply:
        return await self._typed(api.OfferFailedRequest(session=session, status=status), api.OfferFailedReply)

    async def accept_offer(
        self,
        *,
        sdp: str | bytes,
        signalling: api.SignallingName,
        session: str | None = None,
        binding: str | None = None,
        asserted_identity: str | None = None,
        emergency: bool = False,
        conference: bool = False,
        detached: bool = False,
        dialog: api.DialogIdentity | None = None,
        called: str | None = None,
    ) -> api.SessionSdp:
        request = api.AcceptOfferRequest(
            signalling=signalling,
            session=session,
            binding=binding,
            asserted_identity=asserted_identity,
            emergency=emergency,
            conference=conference,
            detached=detached,
            dialog=dialog,
            called=called,
            **sdp_form(sdp),
        )
        return await self._typed(request, api.SessionSdp)

    async def create_answer(self, *, session: str, sdp: str | bytes) -> api.SessionSdp:
        return await self._typed(api.CreateAnswerRequest(session=session, **sdp_form(sdp)), api.SessionSdp)

    async def decline_offer(self, *, session: str) -> None:
        await self._typed(api.DeclineOfferRequest(session=session), api.Empty)

    async def session_status(self, *, session: str) -> api.SessionState:
        return (await self._typed(api.SessionStatusRequest(session=session), api.SessionStatusReply)).state

    async def attach_stream(self, *, session: str, line: int, sock: socket.socket) -> None:
        """`sock`, one end of a UNIX socket pair, becomes the dialer's side; it is the agent's own afterwards.

        Close it here in any case.
        """
        request = api.AttachStreamRequest(session=session, line=line)
        await self._typed(request, api.Empty, descriptor=sock.fileno())

    async def release(self, *, session: str) -> None:
        await self._typed(api.ReleaseRequest(session=session), api.Empty)

    async def message_describe(self) -> api.MessageDescribeReply:
        return await self._typed(api.MessageDescribeRequest(), api.MessageDescribeReply)

    async def protect_message(
        self,
        *,
        recipient: str,
        content_type: str,
        content: str | bytes,
        sender: str | None = None,
        resolvers: list[str] | None = None,
        clear: list[api.MessagePart] | None = None,
        reuse: bool = False,
    ) -> api.ProtectReply:
        """`body_octets` of the reply is what MESSAGE carries. The agent may have to ask its KMS first."""
        request = api.ProtectRequest(
            recipient=recipient,
            content_type=content_type,
            sender=sender,
            resolvers=resolvers or [],
            clear=clear or [],
            reuse=reuse,
            **_form(content, api.CONTENT_FORMS),
        )
        return await self._typed(request, api.ProtectReply)

    async def open_message(
        self,
        *,
        content_type: str,
        body: str | bytes,
        recipient: str | None = None,
        asserted_identity: str | None = None,
    ) -> api.OpenReply:
        """`content_octets` of the reply is what was protected. The agent may have to ask its KMS first."""
        request = api.OpenRequest(
            content_type=content_type,
            recipient=recipient,
            asserted_identity=asserted_identity,
            **_form(body, api.BODY_FORMS),
        )
        return await self._typed(request, api.OpenReply)


async def _events(replies: AsyncIterator[dict[str, Any]]) -> AsyncIterator[api.Event]:
    async for parameters in replies:
        event = msgspec.convert(parameters, api.SubscribeReply).event
        if event is not None:
            yield event


def _result(reply: varlink.ReplyMessage) -> dict[str, Any]:
    if reply.error is not None:
        raise _failure(reply.error, reply.parameters)
    return reply.parameters


def _failure(name: str, parameters: dict[str, Any]) -> errors.AgentError:
    """The class of `ueagent.errors` that an error reply stands for; org.varlink.service errors are UsageErrors."""
    interface, _, short = name.rpartition(".")
    kind = _CLASSES.get(short)
    if interface == "org.varlink.service" or kind is None:
        code = "".join("_" + c.lower() if c.isupper() else c for c in short).lstrip("_")
        about = ", ".join(f"{key} {value}" for key, value in sorted(parameters.items()))
        detail = _SERVICE_ERRORS.get(short, f"the agent refused the call: {name}")
        return errors.UsageError(code, f"{detail}: {about}" if about else detail)
    given = msgspec.convert(parameters, api.ErrorParameters)
    error: errors.AgentError = kind.__new__(kind)
    errors.AgentError.__init__(
        error, given.code, given.detail, field=given.field, sip_status_hint=given.sip_status_hint
    )
    if isinstance(error, errors.MalformedMessage):
        error.offset = given.offset
    if isinstance(error, errors.UnexpectedMessage):
        error.expected = tuple(given.expected or ())
    error.sip_warning, error.key_mgmt = given.sip_warning, given.key_mgmt
    return error
