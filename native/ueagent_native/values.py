"""Values that cross between Python and the C core: see `include/ums.h`. `tests/test_tables_agree.py` compares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """`ums_status`: of calls and of packets."""

    OK = 0
    PENDING = 1
    BUSY = 2
    FORKED = 3
    BAD_ARGUMENT = 4
    UNSUPPORTED = 5
    NO_ROOM = 6
    BAD_PACKET = 7
    AUTH_FAIL = 8
    REPLAY = 9
    TOO_OLD = 10
    WRONG_MKI = 11
    SSRC_FULL = 12
    KEY_EXPIRED = 13
    HELD = 14
    ENGINE = 15
    SELF_TEST = 16
    SYSTEM = 17


class NativeError(Exception):
    """A call into the core did not answer OK. Packets never raise: they carry their status."""

    def __init__(self, status: int, call: str) -> None:
        self.status = Status(status)
        super().__init__(f"{call}: {self.status.name}")


class Direction(IntEnum):
    SEND = 0
    RECEIVE = 1


Octets = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, repr=False)
class MasterKeyConfig:
    """One master key as signalled. The octets are copied into C and not kept; wiping them stays the caller's duty."""

    key: Octets
    salt: Octets
    mki: bytes = b""
    lifetime: int = 0  # packets; 0 = the transform's own limit


@dataclass(frozen=True, slots=True)
class RccConfig:
    """`ums_rcc`: ROC carrying (RFC 4771) in RTP. `tag_len`: octets, the ROC's four included."""

    mode: int
    tag_len: int
    rate: int


@dataclass(frozen=True, slots=True)
class SrtpConfig:
    """`ums_srtp_config`. `suite` is `enum ums_suite`, the `native` column of `ueagent.model.suites`."""

    suite: int
    direction: Direction
    keys: tuple[MasterKeyConfig, ...]
    max_ssrc: int = 8
    rtp_window: int = 128
    rtcp_window: int = 128
    soft_limit: int = 0
    restart_after: int = 0
    rcc: RccConfig | None = None
    lab_unencrypted_srtcp: bool = False
    lab_session_keys: bool = False  # RFC vectors: key and salt are session keys already
    lab_no_mac: bool = False  # packets without a MAC: RCC in mode 3, and in mode 1 with a rate above 1
