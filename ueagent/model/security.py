"""What security a media line may have, shall have and has."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ueagent.model.media import MediaKind, Place
from ueagent.model.suites import DEFAULT_DTLS_PROFILES, DEFAULT_OFFER


class Mechanism(Enum):
    SDES = "SDES"
    DTLS_SRTP = "DTLS-SRTP"
    MIKEY_TICKET = "MIKEY-TICKET"
    TLS = "TLS"
    DTLS = "DTLS"
    TLS_PSK = "TLS-PSK"
    NONE = "none"


# Keyed by an a=key-mgmt, which a KMS makes possible.
THROUGH_KMS: Final = frozenset({Mechanism.MIKEY_TICKET, Mechanism.TLS_PSK})


class Scope(Enum):
    E2AE = "e2ae"
    E2E = "e2e"
    NONE = "none"


class Setting(Enum):
    """POL-1. Order matters: each later value wants more."""

    OFF = "off"
    ALLOWED = "allowed"
    PREFERRED = "preferred"
    REQUIRED = "required"


class CustodyLoss(Enum):
    """What a call does when the device that alone had its keys is lost. Nothing of it passes in any case."""

    HOLD = "hold"  # until somebody negotiates anew
    REKEY = "rekey"  # ask the dialer for a re-offer
    END = "end"  # an emergency call asks for a re-offer all the same


class Signalling(Enum):
    """POL-3: what the dialer knows about the protection of its SIP hop."""

    NONE = "none"
    INTEGRITY = "integrity"
    CONFIDENTIALITY = "confidentiality"
    ACCESS = "access"

    @property
    def confidential(self) -> bool:
        return self in (Signalling.CONFIDENTIALITY, Signalling.ACCESS)


class SetupRole(Enum):
    """`a=setup` (RFC 4145, 4): who opens the connection, which for DTLS is who sends the ClientHello (RFC 8842)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"
    HOLDCONN = "holdconn"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The digest of a certificate. `hash` is a registered name in lower case: `sha-256` (RFC 8122, 5)."""

    hash: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class ChannelTerms:
    """What offer and answer say of the secure connection of a line that is no RTP (MSRP-7, BFCP-4, T38-3)."""

    opens: bool  # we open the connection; for datagrams, which have none, the same as `client`
    client: bool  # the ClientHello is ours
    accepted: frozenset[Fingerprint]
    peer: Place | None = None  # None: on hold before it began
    may_swap: bool = False  # BFCP-4: no ClientHello came, so the peer follows the other rule


@dataclass(frozen=True, slots=True)
class SecurityPolicy:
    """User and operator policy, fixed for one session when it begins. POL-1..10, SDES-3, -11, -12, CAP-2, -3."""

    sdes_e2ae: Setting = Setting.PREFERRED
    sdes_e2e: Setting = Setting.ALLOWED
    suites: tuple[str, ...] = DEFAULT_OFFER
    accept_suites: tuple[str, ...] = (
        *DEFAULT_OFFER,
        "AES_192_CM_HMAC_SHA1_80",
        "AES_192_CM_HMAC_SHA1_32",
        "AES_256_CM_HMAC_SHA1_32",
    )
    sdes_padding: bool = True  # SDES-3
    sdes_lifetime_exponent: int | None = None  # SDES-11: `|2^n`, or no lifetime
    sdes_mki: bool = False  # SDES-11: `|1:4`
    sdes_symmetric_mki: bool = False  # SDES-12
    accept_crypto_on_avp: bool = True  # CAP-2, only together with 3ge2ae
    accept_avp_answer: bool = False  # CAP-3
    dtls_e2ae: Setting = Setting.PREFERRED
    e2ae_order: tuple[Mechanism, ...] = (Mechanism.DTLS_SRTP, Mechanism.SDES)  # POL-5
    dtls_profiles: tuple[str, ...] = DEFAULT_DTLS_PROFILES  # DTLS-12
    dtls_passive_answer: bool = False  # DTLS-4: active is recommended
    dtls_confidential: bool = False  # OPEN-29: integrity of signalling suffices unless set
    dtls_mtu: int = 1200  # DTLS-29
    webrtc: bool = False  # WEB-6: SAVPF, BUNDLE, rtcp-mux and ICE-lite, without a registration's tokens
    streams_active: bool = False  # MSRP-5: behind a NAT that lets nobody in
    bfcp_active_is_client: bool = False  # BFCP-4: else the answerer is TLS server, whoever opens the connection
    msrp_e2ae: Setting = Setting.PREFERRED
    bfcp_e2ae: Setting = Setting.PREFERRED
    udptl_e2ae: Setting = Setting.PREFERRED
    msrp_cema: bool = False  # MSRP-10
    kms_e2e: Setting = Setting.ALLOWED  # MIKEY-TICKET
    kms_suites: tuple[str, ...] = ("AES_CM_128_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80")  # RCC-6, RCC-7
    message_e2e: Setting = Setting.ALLOWED  # PSK S/MIME (M10); the dialer acts on it: `Message.Describe` tells it
    kms_rcc: bool = True  # KMS-35: what we offer carries the ROC, where the suite has an HMAC
    kms_rcc_rate: int = 64  # RCC-5
    kms_tls_plain: bool = False  # KMS-84: TLS-PSK also without forward secrecy
    audio_window: int = 128  # SRTP-5
    video_window: int = 1024
    custody_loss: CustodyLoss = CustodyLoss.REKEY


@dataclass(frozen=True, slots=True)
class MediaPlan:
    """What is attempted on one media line: the decision of the planner."""

    line: int  # index of the m-line, from 0
    kind: MediaKind
    mechanism: Mechanism
    scope: Scope
    suites: tuple[str, ...] = ()
    assured: bool = False
    required: bool = False  # never plain, also not after a re-offer
    rtcp_mux: bool = False  # RTP and RTCP share a port on the network side (DYN-14)
    ice: bool = False  # connectivity checks are answered, and say where media go


@dataclass(frozen=True, slots=True)
class LineSecurity:
    """What a media line has now: the report of POL-9."""

    line: int
    kind: MediaKind
    mechanism: Mechanism = Mechanism.NONE
    scope: Scope = Scope.NONE
    suite: str | None = None
    assured: bool = False
    peer: str = "unknown"  # who holds the other end: access-edge, peer, server, unknown (CONF-3)
    identity: str | None = None
    identity_basis: str = "none"  # none, asserted, verified (a KMS vouches for it)
    keys_in_place: bool = False
    reason: str | None = field(default=None)  # why the line is not secured, one word
