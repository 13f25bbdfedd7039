"""What a dialer asks of a session (commands) and what comes back from the world (inputs)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from ueagent.model.media import Endpoint, MediaKind, Place
from ueagent.model.security import Mechanism, Signalling

if TYPE_CHECKING:  # calls without a KMS do not load it
    from ueagent.keymgmt.mikey_exchange import KmsReply, KmsUnreachable


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the call's surroundings when an offer is made or comes in."""

    signalling: Signalling
    announced: frozenset[Mechanism] = frozenset()  # e2ae mechanisms of RTP agreed at registration (REG-10, REG-11)
    asserted_identity: str | None = None
    emergency: bool = False
    conference: bool = False
    streams: frozenset[MediaKind] = frozenset()  # other media for which TLS or DTLS was agreed (REG-20)
    called: str | None = None  # whom an offer is for: a URI (KMS-54)
    kms: bool = False  # a KMS is at hand; the session itself says so


@dataclass(frozen=True, slots=True)
class Dialog:
    call_id: str
    local_tag: str | None = None
    remote_tag: str | None = None


# ------------------------------------------------------------------------------------------------------ commands --


@dataclass(frozen=True, slots=True)
class CreateOffer:
    sdp: bytes = field(repr=False)  # plain, from the dialer
    evidence: Evidence
    rekey: bool = False


@dataclass(frozen=True, slots=True)
class AcceptAnswer:
    sdp: bytes = field(repr=False)  # from the network, with keys
    final: bool
    dialog: Dialog | None = None
    asserted_identity: str | None = None


@dataclass(frozen=True, slots=True)
class OfferFailed:
    status: int


@dataclass(frozen=True, slots=True)
class AcceptOffer:
    sdp: bytes = field(repr=False)  # from the network, with keys
    evidence: Evidence
    dialog: Dialog | None = None


@dataclass(frozen=True, slots=True)
class CreateAnswer:
    sdp: bytes = field(repr=False)  # plain, from the dialer


@dataclass(frozen=True, slots=True)
class DeclineOffer:
    pass


@dataclass(frozen=True, slots=True)
class Release:
    reason: str = "released"


Command = CreateOffer | AcceptAnswer | OfferFailed | AcceptOffer | CreateAnswer | DeclineOffer | Release

# -------------------------------------------------------------------------------------------------------- inputs --


@dataclass(frozen=True, slots=True)
class RelayOpened:
    """Answer to OpenRelay and OpenStream: where this leg listens.

    `network` goes to the far side, `loopback` to the dialer. A stream has one port; PLACEHOLDER_PORT is none.
    """

    leg: int
    network: Endpoint
    loopback: Endpoint


@dataclass(frozen=True, slots=True)
class RelayFailed:
    """Answer to OpenRelay and OpenStream: no sockets, ports or capacity."""

    leg: int
    reason: str


class Media(Enum):
    """What the relay tells about a leg; the words are those of the IPC events where they exist."""

    NEW_KEY_SEEN = "new_key_seen"
    OLD_KEY_GONE = "old_key_gone"
    FIRST_PACKET = "first_packet"
    SOFT_LIMIT = "soft_limit"
    KEY_EXPIRED = "key_expired"
    RESTART = "restart"
    LATE_START = "late_start"
    AUTH_BURST = "auth_burst"
    PEER_MOVED = "peer_moved"
    IDLE = "idle"
    SSRC_FULL = "ssrc_full"
    ENGINE_FAILED = "engine_failed"
    SOCKET_FAILED = "socket_failed"
    KEYS_LOST = "keys_lost"  # with the accelerator that alone had them


@dataclass(frozen=True, slots=True)
class MediaEvent:
    leg: int
    kind: Media
    direction: str | None = None  # "sent" or "received"
    ssrc: int | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """A DTLS or STUN datagram that came to a leg's network socket, `rtcp` to the one of RTCP."""

    leg: int
    data: bytes = field(repr=False)
    source: Place
    rtcp: bool = False


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of the leg's last StartTimer has come."""

    leg: int


@dataclass(frozen=True, slots=True)
class StreamSecured:
    """The connection of the leg's last ConnectStream stands: the peer has shown who it is."""

    leg: int
    suite: str | None = None


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """That connection is gone, or did not come about; `reason` is one word, "ended" for an orderly end."""

    leg: int
    reason: str


@dataclass(frozen=True, slots=True)
class KmsAnswered:
    """Answer to AskKms: what the KMS said, or that it says nothing."""

    bundle: int | None
    event: KmsReply | KmsUnreachable = field(repr=False)


Input = (
    RelayOpened | RelayFailed | MediaEvent | DatagramReceived | TimerFired | StreamSecured | StreamEnded | KmsAnswered
)
