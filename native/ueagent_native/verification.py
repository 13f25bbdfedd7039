"""Faces for tests and audits: raw transform jobs, key derivation and the self-test hook. No product code needs them.

They show an engine as `ums.h` describes it, below SRTP: a caller chooses IVs and ranges, and may repeat them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from ueagent_native._core import ffi, lib
from ueagent_native.arena import Arena
from ueagent_native.values import NativeError, Status

if TYPE_CHECKING:
    from ueagent_native._core import Pointer

_KEY_ALIGN = 64


class Transform(IntEnum):
    AES_CM = 0
    AES_GCM = 1
    NULL_CIPHER = 2


@dataclass(frozen=True, slots=True, repr=False)
class RawJob:
    """`ums_job` and its key. Ranges count octets of `data`, which has room for the tag."""

    transform: Transform
    data: bytes
    encrypt: bool
    cipher_key: bytes = b""
    auth_key: bytes = b""
    iv: bytes = b""
    cipher_off: int = 0
    cipher_len: int = 0
    auth_len: int = 0
    tag_off: int = 0
    tag_len: int = 0
    tail: bytes = b""

    def check(self) -> None:
        """ValueError when a range leaves `data` or a field of `ums_job`: the engines trust their callers."""
        ends = (self.cipher_off + self.cipher_len, self.auth_len, self.tag_off + self.tag_len)
        numbers = (self.cipher_off, self.cipher_len, self.auth_len, self.tag_off, self.tag_len)
        if min(numbers) < 0 or max(ends) > len(self.data):
            raise ValueError("a range of the job leaves its data")
        if len(self.tail) > 4 or len(self.iv) > 16 or self.tag_len > 255:
            raise ValueError("tail, iv or tag is too long for a job")
        if len(self.cipher_key) > 32 or len(self.auth_key) > 255:
            raise ValueError("a key is too long for a job")


def engine_named(name: str) -> Pointer:
    """`const ums_engine *`; LookupError when it was not built."""
    engine = lib.ums_engine_find(name.encode("ascii"))
    if not engine:
        raise LookupError(f"no engine named {name}")
    return engine


def run_job(engine: str, job: RawJob) -> tuple[Status, bytes]:
    """One job on one engine: its status and its data afterwards."""
    return run_jobs(engine, [job])[0]


def run_jobs(engine: str, jobs: Sequence[RawJob]) -> list[tuple[Status, bytes]]:
    """A burst handed over in one `submit`. NativeError when the engine refuses a key."""
    for job in jobs:
        job.check()
    native = engine_named(engine)
    sizes = [ffi.sizeof("ums_key") + _aligned(ffi.sizeof("ums_job")) + _aligned(len(job.data) + 1) for job in jobs]
    with Arena(max(1, sum(sizes))) as arena:
        room = _Pieces(ffi.cast("uint8_t *", arena.base))
        native_jobs = ffi.new("ums_job *[]", [_build(native, job, room) for job in jobs])
        if native.submit(native, native_jobs, len(jobs)) != len(jobs):
            raise NativeError(Status.ENGINE, "submit")
        return [
            (Status(n.status), bytes(ffi.buffer(n.data, len(job.data))))
            for n, job in zip(native_jobs, jobs, strict=True)
        ]


def _aligned(size: int) -> int:
    return (size + _KEY_ALIGN - 1) // _KEY_ALIGN * _KEY_ALIGN


class _Pieces:
    """Hands out consecutive aligned pieces of an arena."""

    def __init__(self, base: Pointer) -> None:
        self._next = base

    def take(self, size: int) -> Pointer:
        piece = self._next
        self._next = piece + _aligned(size)
        return piece


def _build(engine: Pointer, job: RawJob, room: _Pieces) -> Pointer:
    key = ffi.cast("ums_key *", room.take(ffi.sizeof("ums_key")))
    native = ffi.cast("ums_job *", room.take(ffi.sizeof("ums_job")))
    cipher_key = ffi.from_buffer("uint8_t[]", job.cipher_key)
    auth_key = ffi.from_buffer("uint8_t[]", job.auth_key)
    session_key = ffi.new("ums_session_key *")
    session_key.transform = int(job.transform)
    session_key.cipher_key_len, session_key.cipher_key = len(job.cipher_key), cipher_key
    session_key.auth_key_len, session_key.auth_key = len(job.auth_key), auth_key
    status = engine.load_key(engine, key, session_key)
    if status != Status.OK:
        raise NativeError(status, "load_key")
    native.data = room.take(len(job.data) + 1) + 1  # odd on purpose: engines rely on no alignment of packets
    ffi.memmove(native.data, job.data, len(job.data))
    native.key = key
    native.cipher_off, native.cipher_len = job.cipher_off, job.cipher_len
    native.auth_len, native.tag_off, native.tag_len = job.auth_len, job.tag_off, job.tag_len
    ffi.memmove(native.tail, job.tail, len(job.tail))
    native.tail_len = len(job.tail)
    ffi.memmove(native.iv, job.iv, len(job.iv))
    native.flags = lib.UMS_JOB_ENCRYPT if job.encrypt else 0
    native.status = Status.PENDING
    return native


def derive(key: bytes, salt: bytes, label: int, length: int) -> bytes:
    """`ums_kdf`, RFC 3711, 4.3.1: `length` octets for a label. NativeError for unknown lengths."""
    out = ffi.new("uint8_t[]", max(length, 1))
    status = lib.ums_kdf(key, len(key), salt, len(salt), label, out, length)
    if status != Status.OK:
        raise NativeError(status, "ums_kdf")
    return bytes(ffi.buffer(out, length))


def self_test_names() -> Iterator[str]:
    """Names of the known answers, in the order in which they run."""
    i = 0
    while (name := lib.ums_engine_test_name(i)) != ffi.NULL:
        yield ffi.string(name).decode("ascii")
        i += 1


def corrupt_self_test(name: str | None) -> None:
    """Makes the named known answer wrong, which shows that it bites; None restores it. LookupError: no such name."""
    if name is not None and name not in self_test_names():
        raise LookupError(f"no self-test named {name}")
    lib.ums_engine_corrupt_test(ffi.NULL if name is None else name.encode("ascii"))
