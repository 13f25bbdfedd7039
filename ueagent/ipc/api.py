"""The published IPC contract: one msgspec struct pair per method. The `.varlink` text is generated from this file.

SDP travels as a string in `sdp`, or base64 in `sdp_base64` where it is not UTF-8; exactly one of the two is set, and a
reply uses the form of its request. Keys cross only inside SDP. Docstrings become the comments of the interface text.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

SignallingName = Literal["none", "integrity", "confidentiality", "access"]
MediumName = Literal["audio", "video", "msrp", "bfcp", "udptl", "other"]
MechanismName = Literal["SDES", "DTLS-SRTP", "MIKEY-TICKET", "TLS", "DTLS", "TLS-PSK", "S/MIME", "none"]
SettingName = Literal["off", "allowed", "preferred", "required"]
ScopeName = Literal["e2ae", "e2e", "none"]
CustodyName = Literal["shared", "device"]
LinkStateName = Literal["stopped", "up", "missed", "locked", "gone", "wrong", "refused"]
EventKind = Literal[
    "security_state",
    "keys_in_place",
    "auth_failures",
    "lifetime",
    "rekey_wanted",
    "late_start",
    "peer_moved",
    "media_idle",
    "engine_failed",
    "accelerator",
    "events_lost",
    "session_gone",
]

SDP_FORMS: Final = ("sdp", "sdp_base64")
CONTENT_FORMS: Final = ("content", "content_base64")
BODY_FORMS: Final = ("body", "body_base64")
_HIDDEN: Final = frozenset((*SDP_FORMS, *CONTENT_FORMS, *BODY_FORMS))


class _Message(Struct, frozen=True, kw_only=True):
    def __repr__(self) -> str:
        """SDP may hold keys, contents are private, and a repr ends in somebody's log."""
        shown = ((name, getattr(self, name)) for name in self.__struct_fields__)
        parts = (f"{name}={'...' if name in _HIDDEN and value else repr(value)}" for name, value in shown)
        return f"{type(self).__name__}({', '.join(parts)})"


class Request(_Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Reply(_Message, frozen=True, kw_only=True):
    pass


# ------------------------------------------------------------------------------------------------- shared values --


class HeaderValue(Struct, frozen=True, kw_only=True):
    """A SIP header field to add to the message, in this order."""

    name: str
    value: str


class LineState(Struct, frozen=True, kw_only=True):
    """Security of one media line (one `m=`, counted from 0)."""

    line: int
    medium: MediumName
    mechanism: MechanismName
    keyed_by: MechanismName
    scope: ScopeName
    suite: str | None = None
    assured: bool
    peer: str
    identity: str | None = None
    identity_basis: str
    keys_in_place: bool
    reason: str | None = None


class LineCounters(Struct, frozen=True, kw_only=True):
    """Packets of one media line so far. `sent` is towards the network."""

    line: int
    engine: str | None = None
    packets_sent: int = 0
    packets_received: int = 0
    octets_sent: int = 0
    octets_received: int = 0
    rtcp_sent: int = 0
    rtcp_received: int = 0
    plain_sent: int = 0
    plain_received: int = 0
    auth_failures: int = 0
    replays: int = 0
    too_old: int = 0
    wrong_mki: int = 0
    unknown_ssrc: int = 0
    repeated_index: int = 0
    held: int = 0
    refused_checks: int = 0
    accelerated: int = 0
    dropped: int = 0
    key_age_ms: int = 0
    streams: list[StreamCounters] = []


class StreamCounters(Struct, frozen=True, kw_only=True):
    """One SSRC in one direction, from its first authentic packet on. Of what was sent, replays are repeated indices."""

    ssrc: int
    direction: Literal["sent", "received"]
    packets: int
    octets: int
    roc: int
    auth_failures: int = 0
    replays: int = 0
    too_old: int = 0


class SessionState(Struct, frozen=True, kw_only=True):
    """One dialog as the agent sees it."""

    session: str
    binding: str | None = None
    role: Literal["offerer", "answerer"]
    state: str
    emergency: bool
    detached: bool
    age_ms: int
    call_id: str | None = None
    lines: list[LineState] = []
    counters: list[LineCounters] = []


class EngineState(Struct, frozen=True, kw_only=True):
    """A crypto engine: is it here, does it work, what would it be used for."""

    name: str
    present: bool
    self_test: str
    suites: list[str] = []


class AcceleratorDevice(Struct, frozen=True, kw_only=True):
    """What a serial accelerator says of itself when a session with it begins."""

    unit: str
    firmware: str
    engine: str
    boot: str
    slots: int
    credits: int
    max_packet: int
    capabilities: list[str]
    failed_tests: list[str]


class AcceleratorCounters(Struct, frozen=True, kw_only=True):
    """Jobs and answers since the agent began. `fallback`: packets that a CPU did instead; in device custody, nobody."""

    jobs: int = 0
    done: int = 0
    missed: int = 0
    refused: int = 0
    auth_failures: int = 0
    damaged: int = 0
    late: int = 0
    wrong: int = 0
    verified: int = 0
    fallback: int = 0
    loads: int = 0
    no_slot: int = 0
    used_slots: int = 0
    round_trip_us: int = 0


class AcceleratorState(Struct, frozen=True, kw_only=True):
    """The serial accelerator. `round_trip_us` is the mean; `reason` says why there is no session with the device.

    State: up; stopped (no session yet); missed (deadlines); locked (it rebooted or lost the heartbeat); gone
    (unplugged); wrong (a result differed from a CPU's); refused (it has no credits left).
    """

    port: str
    custody: CustodyName
    state: LinkStateName
    device: AcceleratorDevice | None = None
    counters: AcceleratorCounters | None = None
    warnings: list[str] = []
    reason: str | None = None


class DialogIdentity(Struct, frozen=True, kw_only=True):
    """Call-ID and tags of the SIP dialog an answer belongs to."""

    call_id: str
    local_tag: str | None = None
    remote_tag: str | None = None


# -------------------------------------------------------------------------------------------- org.ueagent.Agent --


class DescribeRequest(Request, frozen=True, kw_only=True):
    """What this agent is and can do."""


class DescribeReply(Reply, frozen=True, kw_only=True):
    version: str
    mechanisms: list[str]
    suites: list[str]
    engines: list[EngineState]
    arena: list[str]
    max_sessions: int
    max_message: int
    accelerator: AcceleratorState | None = None


class StatusRequest(Request, frozen=True, kw_only=True):
    """All sessions of the calling user."""


class StatusReply(Reply, frozen=True, kw_only=True):
    sessions: list[SessionState]


class SubscribeRequest(Request, frozen=True, kw_only=True):
    """Events of the calling user's sessions; call with `more`. `session` narrows to one."""

    session: str | None = None


class Event(Struct, frozen=True, kw_only=True):
    """Something happened to a session. `line` is absent where the whole session is meant.

    `events_lost`: the subscriber read too slowly and `count` events are missing in this place; `session` is empty
    unless the subscription is to one session.
    `accelerator`: it is in another state, which `reason` names; `session` is empty, and everybody is told.
    """

    kind: EventKind
    session: str
    line: int | None = None
    state: LineState | None = None
    direction: Literal["sent", "received"] | None = None
    ssrc: int | None = None
    count: int | None = None
    reason: str | None = None


class SubscribeReply(Reply, frozen=True, kw_only=True):
    """The first reply has no event: it says that the subscription stands."""

    event: Event | None = None


# ------------------------------------------------------------------------------------- org.ueagent.Registration --


class RegistrationOfferRequest(Request, frozen=True, kw_only=True):
    """Header values to add to a REGISTER of this binding (one contact at one edge)."""

    binding: str


class RegistrationHeaders(Reply, frozen=True, kw_only=True):
    headers: list[HeaderValue]


class RegistrationUpdateRequest(Request, frozen=True, kw_only=True):
    """What the network answered to a REGISTER: its status and raw Security-Server values, in order.

    `unsupported` holds the Unsupported header's option tags of a 420. `ipsec_expected` says that the dialer needs
    ipsec-3gpp from this answer (REG-19).
    """

    binding: str
    status: int
    security_server: list[str] = []
    unsupported: list[str] = []
    ipsec_expected: bool = False


class RegistrationUpdateReply(Reply, frozen=True, kw_only=True):
    """`headers` go into the next REGISTER; `request_headers` into every other request (REG-16).

    `next`: done, retry (send REGISTER again with `headers`), or give_up. `mechanisms` are now usable in e2ae mode for
    audio and video, TLS or DTLS for each medium of `streams`.
    """

    next: Literal["done", "retry", "give_up"]
    headers: list[HeaderValue]
    request_headers: list[HeaderValue]
    mechanisms: list[MechanismName]
    streams: list[MediumName] = []
    signalling_agreement: bool
    warnings: list[str] = []


class RegistrationReleaseRequest(Request, frozen=True, kw_only=True):
    """The binding is gone (deregistered, expired, or lost)."""

    binding: str


class Empty(Reply, frozen=True, kw_only=True):
    pass


# ------------------------------------------------------------------------------------------ org.ueagent.Session --


class CreateOfferRequest(Request, frozen=True, kw_only=True):
    """Plain SDP of the dialer in, SDP for the SIP message out. With `session` it is a re-offer of that dialog.

    `rekey` draws new keys. `detached`: the session outlives this connection. `conference`: the far end is a
    conference server (CONF-3). `called`: the URI of who is called, for keys of a KMS (KMS-54); `caller`: which of our
    identities calls.
    """

    signalling: SignallingName
    session: str | None = None
    sdp: str | None = None
    sdp_base64: str | None = None
    binding: str | None = None
    asserted_identity: str | None = None
    emergency: bool = False
    conference: bool = False
    detached: bool = False
    rekey: bool = False
    called: str | None = None
    caller: str | None = None


class SessionSdp(Reply, frozen=True, kw_only=True):
    session: str
    sdp: str | None = None
    sdp_base64: str | None = None
    lines: list[LineState]
    warnings: list[str] = []


class AcceptAnswerRequest(Request, frozen=True, kw_only=True):
    """The answer to our offer, from a 18x or 2xx. Reply: plain SDP for the dialer."""

    session: str
    final: bool
    sdp: str | None = None
    sdp_base64: str | None = None
    dialog: DialogIdentity | None = None
    asserted_identity: str | None = None


class OfferFailedRequest(Request, frozen=True, kw_only=True):
    """The far side refused our offer with this final SIP status. A refused re-offer leaves the old state in force."""

    session: str
    status: int


class OfferFailedReply(Reply, frozen=True, kw_only=True):
    """`retry`: send the offer again with this SDP (POL-6, POL-7). Otherwise the call cannot go on as asked."""

    retry: bool
    sdp: str | None = None
    sdp_base64: str | None = None
    lines: list[LineState]


class AcceptOfferRequest(Request, frozen=True, kw_only=True):
    """An offer from the network. Reply: plain SDP for the dialer. With `session` it is a re-offer of that dialog.

    `called`: which of our identities it is for. Where keys come from a KMS, the reply comes when it has said whose the
    offer is.
    """

    signalling: SignallingName
    session: str | None = None
    sdp: str | None = None
    sdp_base64: str | None = None
    binding: str | None = None
    asserted_identity: str | None = None
    emergency: bool = False
    conference: bool = False
    detached: bool = False
    dialog: DialogIdentity | None = None
    called: str | None = None


class CreateAnswerRequest(Request, frozen=True, kw_only=True):
    """The dialer's plain answer in, the answer for the SIP message out."""

    session: str
    sdp: str | None = None
    sdp_base64: str | None = None


class DeclineOfferRequest(Request, frozen=True, kw_only=True):
    """The dialer will not answer the far side's offer. A declined re-offer leaves the old state in force."""

    session: str


class SessionStatusRequest(Request, frozen=True, kw_only=True):
    session: str


class SessionStatusReply(Reply, frozen=True, kw_only=True):
    state: SessionState


class AttachStreamRequest(Request, frozen=True, kw_only=True):
    """The dialer's side of an MSRP or BFCP line: a connected UNIX stream socket, passed with this call (SCM_RIGHTS).

    It serves one connection, the one that waits for the dialer or the next one. `line` counts m-lines from 0.
    """

    session: str
    line: int


class ReleaseRequest(Request, frozen=True, kw_only=True):
    """The dialog has ended: keys are wiped and ports closed."""

    session: str


# ------------------------------------------------------------------------------------------ org.ueagent.Message --


class MessageDescribeRequest(Request, frozen=True, kw_only=True):
    """Which protections for SIP message bodies are usable now."""


class MessageDescribeReply(Reply, frozen=True, kw_only=True):
    """Empty lists: none, for want of a KMS or by policy. `identities` are who this agent is, the usual one first.

    `setting` is what the dialer shall do (POL-1): open what comes in; preferred: also protect what can be protected;
    required: send and show nothing else.
    """

    mechanisms: list[MechanismName]
    identities: list[str] = []
    setting: SettingName


class MessagePart(_Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a body: its Content-Type, its content as text or as base64, its Content-Disposition."""

    content_type: str
    content: str | None = None
    content_base64: str | None = None
    disposition: str | None = None


class ProtectRequest(Request, frozen=True, kw_only=True):
    """A SIP MESSAGE's content in, its protected body out. The content comes as text or as base64.

    `recipient`: the URI that MESSAGE is sent to. `resolvers`: who may open it, if not the recipient: the members of a
    list, whose URIs go to its server in `clear` (MIME-16). `sender`: which of our identities. `reuse`: one ticket may
    serve several messages to the same resolvers (MIME-17).
    """

    recipient: str
    content_type: str
    content: str | None = None
    content_base64: str | None = None
    sender: str | None = None
    resolvers: list[str] = []
    clear: list[MessagePart] = []
    reuse: bool = False


class ProtectReply(Reply, frozen=True, kw_only=True):
    """Content-Type and body of MESSAGE; base64 where a part in clear is not text. `stream`: too long for UDP."""

    content_type: str
    body: str | None = None
    body_base64: str | None = None
    stream: bool


class OpenRequest(Request, frozen=True, kw_only=True):
    """The Content-Type and body of a SIP MESSAGE that came in. `recipient`: which of our identities it is for.

    A failure's `sip_status_hint` is what MESSAGE is answered with, if it has not been answered (MIME-21).
    """

    content_type: str
    body: str | None = None
    body_base64: str | None = None
    recipient: str | None = None
    asserted_identity: str | None = None


class OpenReply(Reply, frozen=True, kw_only=True):
    """`sender` is who the KMS says it is; `origin_proven`: and nobody else could have made it (MIME-18).

    The content is text where it is UTF-8, else base64. `clear` parts came unprotected. A warning
    `asserted_identity_differs`: the network says somebody else sent it.
    """

    content_type: str
    content: str | None = None
    content_base64: str | None = None
    sender: str
    origin_proven: bool
    clear: list[MessagePart] = []
    warnings: list[str] = []


# ---------------------------------------------------------------------------------------------------------- tables --


@dataclass(frozen=True, slots=True)
class Method:
    request: type[Request]
    reply: type[Reply]
    streams: bool = False  # answers with `continues` when called with `more`


METHODS: Final = MappingProxyType(
    {
        "org.ueagent.Agent.Describe": Method(DescribeRequest, DescribeReply),
        "org.ueagent.Agent.Status": Method(StatusRequest, StatusReply),
        "org.ueagent.Agent.Subscribe": Method(SubscribeRequest, SubscribeReply, streams=True),
        "org.ueagent.Registration.Offer": Method(RegistrationOfferRequest, RegistrationHeaders),
        "org.ueagent.Registration.Update": Method(RegistrationUpdateRequest, RegistrationUpdateReply),
        "org.ueagent.Registration.Release": Method(RegistrationReleaseRequest, Empty),
        "org.ueagent.Session.CreateOffer": Method(CreateOfferRequest, SessionSdp),
        "org.ueagent.Session.AcceptAnswer": Method(AcceptAnswerRequest, SessionSdp),
        "org.ueagent.Session.OfferFailed": Method(OfferFailedRequest, OfferFailedReply),
        "org.ueagent.Session.AcceptOffer": Method(AcceptOfferRequest, SessionSdp),
        "org.ueagent.Session.CreateAnswer": Method(CreateAnswerRequest, SessionSdp),
        "org.ueagent.Session.DeclineOffer": Method(DeclineOfferRequest, Empty),
        "org.ueagent.Session.Status": Method(SessionStatusRequest, SessionStatusReply),
        "org.ueagent.Session.AttachStream": Method(AttachStreamRequest, Empty),
        "org.ueagent.Session.Release": Method(ReleaseRequest, Empty),
        "org.ueagent.Message.Describe": Method(MessageDescribeRequest, MessageDescribeReply),
        "org.ueagent.Message.Protect": Method(ProtectRequest, ProtectReply),
        "org.ueagent.Message.Open": Method(OpenRequest, OpenReply),
    }
)


class ErrorParameters(Struct, frozen=True, kw_only=True):
    """`code` is a stable word for programs, `detail` a sentence for people; neither ever holds a key.

    For the answer to a refused offer: `sip_status_hint`, `sip_warning`, which is the code of a Warning header, and
    `key_mgmt`, the value of an a=key-mgmt that tells the other end why (KMS-53).
    """

    code: str
    detail: str
    field: str | None = None
    offset: int | None = None
    expected: list[str] | None = None
    sip_status_hint: int | None = None
    sip_warning: int | None = None
    key_mgmt: str | None = None


# Error names are `INTERFACE.NAME`, with the interface of the method that failed.
ERRORS: Final = (
    "UsageError",
    "MalformedMessage",
    "UnexpectedMessage",
    "NegotiationFailed",
    "AuthenticationFailed",
    "KmsError",
    "EngineError",
    "ResourceError",
)

INTERFACES: Final = ("org.ueagent.Agent", "org.ueagent.Registration", "org.ueagent.Session", "org.ueagent.Message")
