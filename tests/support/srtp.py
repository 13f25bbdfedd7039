"""What the SRTP tests share: contexts, packets, and every engine that this machine can run."""

from __future__ import annotations

from typing import Any

from support.srtp_model import MODEL_SUITES, Model, ModelRcc
from ueagent_native._core import ffi, lib
from ueagent_native.srtp import PacketRefused, SrtpContext
from ueagent_native.values import Direction, MasterKeyConfig, RccConfig, SrtpConfig, Status

SUITE_NAMES = tuple(MODEL_SUITES)
CM80 = "AES_CM_128_HMAC_SHA1_80"
GCM128 = "AEAD_AES_128_GCM"


def present_engines() -> list[str]:
    rows = [lib.ums_engine_at(i) for i in range(lib.ums_engine_count())]
    return [ffi.string(row.name).decode() for row in rows if row.probe()]


ENGINES = present_engines()


def key_of(suite: str, number: int = 0) -> tuple[bytes, bytes]:
    """Master key and salt number `number` of a suite: plain test octets."""
    row = MODEL_SUITES[suite]
    return bytes((number * 64 + i) & 255 for i in range(row.key)), bytes(
        (number * 64 + 160 + i) & 255 for i in range(row.salt)
    )


def master(suite: str, number: int = 0, mki: bytes = b"", lifetime: int = 0) -> MasterKeyConfig:
    return MasterKeyConfig(*key_of(suite, number), mki, lifetime)


def model(suite: str, number: int = 0, mki: bytes = b"", rcc: RccConfig | None = None) -> Model:
    carrying = ModelRcc(rcc.mode, rcc.tag_len, rcc.rate) if rcc else None
    return Model(suite, *key_of(suite, number), mki, rcc=carrying)


def sender(suite: str = CM80, *, engine: str | None = None, keys: Any = None, **options: Any) -> SrtpContext:
    return _context(Direction.SEND, suite, engine, keys, options)


def receiver(suite: str = CM80, *, engine: str | None = None, keys: Any = None, **options: Any) -> SrtpContext:
    return _context(Direction.RECEIVE, suite, engine, keys, options)


def _context(direction: Direction, suite: str, engine: str | None, keys: Any, options: dict[str, Any]) -> SrtpContext:
    keys = keys or (master(suite),)
    return SrtpContext(SrtpConfig(MODEL_SUITES[suite].number, direction, tuple(keys), **options), engine)


def rtp(seq: int, ssrc: int = 0x1234, payload: bytes = b"twenty octets of it.") -> bytes:
    return b"\x80\x60" + seq.to_bytes(2, "big") + bytes(4) + ssrc.to_bytes(4, "big") + payload


def rtcp(ssrc: int = 0x1234, body: bytes = bytes(20)) -> bytes:
    return b"\x80\xc8" + (1 + len(body) // 4).to_bytes(2, "big") + ssrc.to_bytes(4, "big") + body


def refusal(context: SrtpContext, packet: bytes, *, is_rtcp: bool = False, sending: bool = False) -> Status:
    """The status of one packet: OK when it passed."""
    try:
        (context.protect if sending else context.unprotect)(packet, rtcp=is_rtcp)
    except PacketRefused as refused:
        return refused.status
    return Status.OK


SUITES_AND_ENGINES = [(suite, engine) for engine in ENGINES for suite in SUITE_NAMES]
