"""The lab edge as a Varlink service: `edge_api` on top of `Edge`, with a phone in the core for each call."""

from __future__ import annotations

import asyncio
import secrets
import time
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from ueagent import version
from ueagent.daemon.config import LogConfig
from ueagent.daemon.ipc_server import Connection, IpcServer, Service
from ueagent.daemon.logs import open_log
from ueagent.errors import ResourceError, UsageError
from ueagent.ipc import api
from ueagent.ipc.interface_text import interface_text, literal_names
from ueagent.lab import edge_api
from ueagent.lab.core_net import PhoneNetwork
from ueagent.lab.edge import Edge
from ueagent.lab.phone import Phone
from ueagent.lab.registrar import RegisterRequest
from ueagent.lab.wave import shipped_speech

MAX_CALLS: Final = 64
_FIRST_PACKET: Final = 1.0  # seconds to wait for it before the far end speaks first

_DOC: Final = "A network for tests: registrar, IMS-ALG and access gateway, with a phone behind them."


@dataclass(slots=True, eq=False)
class _FarEnd:
    network: PhoneNetwork
    kind: edge_api.FarEndKind
    binding: str
    player: asyncio.Task[None] | None = None


class EdgeService:
    """`async with EdgeService(edge, socket)`. The far ends play `samples`, by default the shipped speech."""

    def __init__(self, edge: Edge, socket: Path, samples: array[int] | None = None) -> None:
        self.edge = edge
        self.socket = socket
        self._samples = shipped_speech().samples if samples is None else samples
        self._far_ends: dict[str, _FarEnd] = {}
        handlers: dict[str, Callable[[Any], Awaitable[Struct]]] = {
            "Register": self._register,
            "Deregister": self._deregister,
            "Originate": self._originate,
            "Terminate": self._terminate,
            "Answer": self._answer,
            "Release": self._release,
            "Stats": self._stats,
        }
        text = interface_text(
            edge_api.INTERFACE,
            edge_api.METHODS,
            api.ERRORS,
            api.ErrorParameters,
            doc=_DOC,
            literals=literal_names(edge_api),
        )
        service = Service(
            product="ueagent lab edge",
            version=version(),
            methods=edge_api.METHODS,
            handlers={f"{edge_api.INTERFACE}.{name}": _handler(handle) for name, handle in handlers.items()},
            texts={edge_api.INTERFACE: text},
        )
        self._server = IpcServer(service, open_log(LogConfig(level="warning")))

    async def __aenter__(self) -> EdgeService:
        await self._server.start(self.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()
        for call in list(self._far_ends):
            await self._end(call)
        self.edge.close()

    # ------------------------------------------------------------------------------------------------- methods --

    async def _register(self, request: edge_api.RegisterRequest) -> edge_api.RegisterReply:
        response = self.edge.register(
            RegisterRequest(
                request.binding,
                tuple(request.security_client),
                tuple(request.security_verify),
                tuple(request.require),
                tuple(request.proxy_require),
            )
        )
        return edge_api.RegisterReply(
            status=response.status,
            security_server=list(response.security_server),
            unsupported=list(response.unsupported),
            require=list(response.require),
        )

    async def _deregister(self, request: edge_api.DeregisterRequest) -> edge_api.Done:
        self.edge.registrar.release(request.binding)
        return edge_api.Done()

    async def _originate(self, request: edge_api.OriginateRequest) -> edge_api.CallSdp:
        far = await self._far_end(request.call, request.far_end, request.binding)
        verify = tuple(request.security_verify)
        try:
            answer = await far.network.invite(request.binding, request.sdp.encode(), verify)
        except BaseException:
            if request.call is None:
                far.network.hang_up()
            raise
        call = self._stands(far)
        self._play(far)
        return edge_api.CallSdp(call=call, sdp=_text(answer))

    async def _terminate(self, request: edge_api.TerminateRequest) -> edge_api.CallSdp:
        far = await self._far_end(request.call, request.far_end, request.binding)
        try:
            offer = await far.network.ring(request.binding, rekey=request.rekey)
        except BaseException:
            if request.call is None:
                far.network.hang_up()
            raise
        return edge_api.CallSdp(call=self._stands(far), sdp=_text(offer))

    async def _answer(self, request: edge_api.AnswerRequest) -> edge_api.AnswerReply:
        far = self._find(request.call)
        core_sdp = far.network.answered(request.sdp.encode())
        self._play(far)
        return edge_api.AnswerReply(core_sdp=_text(core_sdp))

    async def _release(self, request: edge_api.ReleaseRequest) -> edge_api.Done:
        self._find(request.call)
        await self._end(request.call)
        return edge_api.Done()

    async def _stats(self, request: edge_api.StatsRequest) -> edge_api.StatsReply:
        calls = [request.call] if request.call is not None else list(self._far_ends)
        return edge_api.StatsReply(calls=[self._stats_of(call, self._find(call)) for call in calls])

    # -------------------------------------------------------------------------------------------------- inside --

    def _stats_of(self, call: str, far: _FarEnd) -> edge_api.CallStats:
        phone = far.network.phone
        return edge_api.CallStats(
            call=call,
            binding=far.binding,
            lines=[handling.value for handling in self.edge.handlings(call)],
            edge=dict(self.edge.counters(call)),
            far_end_sent=len(phone.sent),
            far_end_received=len(phone.received),
            far_end_reports=len(phone.rtcp_received),
        )

    async def _far_end(self, call: str | None, kind: edge_api.FarEndKind, binding: str) -> _FarEnd:
        if call is not None:
            return self._find(call)
        if len(self._far_ends) >= MAX_CALLS:
            raise ResourceError("too_many_calls", f"the lab edge has {MAX_CALLS} calls: release one first")
        phone = Phone("far-end", secrets.token_bytes, time.time, echo=kind == "echo")
        await phone.open(self.edge.config.address)
        return _FarEnd(PhoneNetwork(self.edge, phone), kind, binding)

    def _stands(self, far: _FarEnd) -> str:
        call = far.network.call
        assert call is not None, "an offer went through"
        self._far_ends[call] = far
        return call

    def _find(self, call: str) -> _FarEnd:
        found = self._far_ends.get(call)
        if found is None:
            raise UsageError("no_such_call", "the lab edge has no such call", field="call")
        return found

    def _play(self, far: _FarEnd) -> None:
        if far.kind == "play" and far.player is None:
            far.player = asyncio.create_task(self._speak(far.network.phone))

    async def _speak(self, phone: Phone) -> None:
        await phone.wait_received(1, 0, _FIRST_PACKET)
        await phone.play(self._samples)

    async def _end(self, call: str) -> None:
        far = self._far_ends.pop(call)
        if far.player is not None:
            far.player.cancel()
            await asyncio.gather(far.player, return_exceptions=True)
        far.network.hang_up()


def _handler(handle: Callable[[Any], Awaitable[Struct]]) -> Callable[[Connection, Any], Awaitable[Struct]]:
    return lambda connection, request: handle(request)


def _text(sdp: bytes) -> str:
    """SDP came in as a JSON string, so it is UTF-8."""
    return sdp.decode("utf-8")
