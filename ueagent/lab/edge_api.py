"""The Varlink interface of the lab edge: a network on one socket, for newcomers and test dialers."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

from ueagent.ipc.api import Method, Reply, Request

INTERFACE: Final = "org.ueagent.lab.Edge"
FarEndKind = Literal["play", "echo", "silent"]


class RegisterRequest(Request, frozen=True):
    """A REGISTER of one binding: raw header values in order. The first one gets 401, the next one 200."""

    binding: str
    security_client: list[str] = []
    security_verify: list[str] = []
    require: list[str] = []
    proxy_require: list[str] = []


class RegisterReply(Reply, frozen=True):
    status: int
    security_server: list[str]
    unsupported: list[str]
    require: list[str]


class DeregisterRequest(Request, frozen=True):
    """The binding is gone."""

    binding: str


class OriginateRequest(Request, frozen=True):
    """The UE's offer. The far end answers at once: it plays the speech, echoes, or keeps silent.

    With `call` it is a re-offer.
    """

    binding: str
    sdp: str
    call: str | None = None
    far_end: FarEndKind = "play"
    security_verify: list[str] = []


class CallSdp(Reply, frozen=True):
    """`sdp` is for the UE."""

    call: str
    sdp: str


class TerminateRequest(Request, frozen=True):
    """The far end calls the UE: the reply is the offer. With `call` it is a re-offer, with `rekey` under a new key."""

    binding: str
    call: str | None = None
    far_end: FarEndKind = "play"
    rekey: bool = False


class AnswerRequest(Request, frozen=True):
    """The UE's answer to an offer of Terminate. The reply is the answer as the core sees it."""

    call: str
    sdp: str


class AnswerReply(Reply, frozen=True):
    core_sdp: str


class ReleaseRequest(Request, frozen=True):
    call: str


class StatsRequest(Request, frozen=True):
    """All calls, or one."""

    call: str | None = None


class CallStats(Struct, frozen=True, kw_only=True):
    """`lines` says what the edge does with each media line; `edge` counts packets by what became of them."""

    call: str
    binding: str
    lines: list[str]
    edge: dict[str, int]
    far_end_sent: int
    far_end_received: int
    far_end_reports: int


class StatsReply(Reply, frozen=True):
    calls: list[CallStats]


class Done(Reply, frozen=True):
    pass


METHODS: Final = MappingProxyType(
    {
        f"{INTERFACE}.Register": Method(RegisterRequest, RegisterReply),
        f"{INTERFACE}.Deregister": Method(DeregisterRequest, Done),
        f"{INTERFACE}.Originate": Method(OriginateRequest, CallSdp),
        f"{INTERFACE}.Terminate": Method(TerminateRequest, CallSdp),
        f"{INTERFACE}.Answer": Method(AnswerRequest, AnswerReply),
        f"{INTERFACE}.Release": Method(ReleaseRequest, Done),
        f"{INTERFACE}.Stats": Method(StatsRequest, StatsReply),
    }
)
