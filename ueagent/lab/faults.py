"""What the lab edge can do wrong on purpose, and how it registers phones (EDGE-1, EDGE-3, EDGE-10, EDGE-17)."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """How the edge answers registrations (EDGE-1)."""

    MEDIASEC = "3gpp"  # its list in 401 and 200
    LIST_IN_200 = "list-in-200-only"
    STRICT = "strict-mediasec"  # wants Require: mediasec, and Security-Verify in every request (REG-14, REG-16)
    NONE = "none"  # knows nothing of media security
    LYING = "lying"  # announces it and does not do it


class Indication(StrEnum):
    """What `3ge2ae` says in answers to the UE (EDGE-3)."""

    ABSENT = "absent"
    APPLIED = "applied"
    REQUESTED = "requested"  # the UE's own, echoed


class Fault(StrEnum):
    """One deviation at a time; NO_FAULT is the edge as it should be."""

    NO_FAULT = "none"
    WRONG_KEY = "wrong-key"  # the gateway uses other keys than those signalled
    WRONG_TAG = "wrong-tag"  # the answer names a tag that was not offered
    WRONG_SUITE = "wrong-suite"  # the answer names the right tag with another suite
    TWO_LINES = "two-crypto-lines"
    MISSING_CRYPTO = "missing-crypto"  # RTP/SAVP without a=crypto
    PLAIN_ANSWER = "plain-answer"  # RTP/AVP without a=crypto
    ECHOED_KEY = "echoed-key"  # the answer carries the key of the offer
    LEAKED_APPLIED = "leaked-applied"  # 3ge2ae of the far end is not deleted
    LATE_ANSWER = "late-answer"  # media comes before the answer
    ROC_RESET = "roc-reset"  # the gateway forgets its roll-over counter, the key stays
    UNPADDED_KEYS = "unpadded-keys"  # base64 without its padding
    WRONG_FINGERPRINT = "wrong-fingerprint"  # one bit of the signalled digest is not the certificate's
    MISSING_FINGERPRINT = "missing-fingerprint"  # UDP/TLS/RTP/SAVP without a=fingerprint
    EARLY_HELLO = "early-client-hello"  # the handshake begins before the answer comes
    SILENT_PEER = "silent-peer"  # the gateway says nothing in DTLS


class KmsFault(StrEnum):
    """One deviation at a time; NO_FAULT is the KMS as it should be."""

    NO_FAULT = "none"
    EXPIRED = "expired"  # tickets that have ended
    WRONG_MAC = "wrong-mac"
    UNKNOWN_BTID = "unknown-b-tid"  # it has forgotten every bootstrapping
    POLICY_CHANGE = "policy-change"  # flag N is not granted
    SLOW = "slow"
    DOWN = "down"
