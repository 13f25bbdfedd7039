"""Foreign libraries to compare with: what they need, how they are built when they are at hand, which are missing.

The sources in `bench/peers` are compiled by this machine's C compiler when wanted, into a folder that goes away
afterwards. They are in the project's tree, not in the wheel. Nothing here is needed to measure our own engines.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ueagent_native._core import ffi
from ueagent_native.values import NativeError

from ueagent_bench import origin
from ueagent_bench.fixture import Fixture
from ueagent_bench.model import COMPOUND, STREAMS, Case

if TYPE_CHECKING:
    from ueagent_native._core import Pointer


@dataclass(frozen=True, slots=True)
class Library:
    name: str
    source: str
    package: str  # of Debian, with the headers
    link: tuple[str, ...]
    defines: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)  # while it is loaded


LIBRARIES: Final = (
    Library("libsrtp", "libsrtp.c", "libsrtp2-dev", ("-lsrtp2",)),
    Library("evp", "evp.c", "libssl-dev", ("-lcrypto",)),
    Library("libre", "libre.c", "libre-dev", ("-lre",)),
    Library("ipsecmb", "ipsecmb.c", "libipsec-mb-dev", ("-lIPSec_MB",)),
    # A second OpenSSL, linked in, that was told that there is no AES-NI and no PCLMULQDQ (bits 57 and 33).
    Library(
        "evp-masked",
        "evp.c",
        "libssl-dev",
        ("-Wl,--exclude-libs,ALL", "-l:libcrypto.a", "-ldl", "-pthread"),
        ('-DEVP_NAME="evp-masked"',),
        {"OPENSSL_ia32cap": "~0x200000200000000"},
    ),
)
_CFLAGS: Final = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden")


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to use a library. `subject`: its `ums_bench_subject`."""

    name: str
    library: str
    batched: bool
    subject: Pointer

    def can(self, case: Case) -> bool:
        return _can(self, case.operation, case.suite, case.ssrcs)


@cache
def _can(peer: Peer, operation: str, suite: str, ssrcs: int) -> bool:
    """Tries it, with as few contexts as the operation allows."""
    payload = COMPOUND if operation.startswith("srtcp") else 20
    contexts = STREAMS if operation == "srtp_setup" else 1
    try:
        Fixture(Case(operation, suite, payload, contexts, ssrcs), subject=peer.subject).close()
    except NativeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Peers:
    present: Mapping[str, str] = field(default_factory=dict)  # library -> version
    absent: Mapping[str, str] = field(default_factory=dict)  # library -> why
    peers: tuple[Peer, ...] = ()
    folder: Path | None = None

    def find(self, name: str) -> Peer:
        return next(peer for peer in self.peers if peer.name == name)


class _Loaded:
    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            self._library = ctypes.CDLL(str(path))
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def _function(self, cdecl: str, name: str) -> Pointer:
        return ffi.cast(cdecl, ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value)

    @cached_property
    def version(self) -> str:
        return str(ffi.string(self._function("const char *(*)(void)", "ueagent_bench_peer_version")()).decode())

    def subjects(self) -> Iterator[Pointer]:
        at = self._function("const ums_bench_subject *(*)(size_t)", "ueagent_bench_peer")
        i = 0
        while (subject := at(i)) != ffi.NULL:
            yield subject
            i += 1


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc") or shutil.which("clang")


def _reason(library: Library, complaint: str) -> str:
    if "No such file or directory" in complaint or "cannot find" in complaint or "file not found" in complaint:
        return f"not installed (Debian: {library.package})"
    first = next((line for line in complaint.splitlines() if "error" in line), complaint.strip() or "no reason given")
    return f"does not compile: {first}"


def _compile(folder: Path) -> dict[str, str]:
    """Builds FOLDER/NAME.so for each library, all at once. Returns why it failed, by name."""
    tree, compiler = origin.tree(), _compiler()
    if tree is None or compiler is None:
        why = "no C compiler" if tree else "the project's tree, which has their sources, is not at hand"
        return dict.fromkeys((library.name for library in LIBRARIES), why)
    include = tree / "native" / "include"
    running = []
    for library in LIBRARIES:
        command = [compiler, *_CFLAGS, f"-I{include}", *library.defines, str(tree / "bench" / "peers" / library.source)]
        command += ["-o", str(folder / f"{library.name}.so"), *library.link]
        running.append((library, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)))
    complaints = [(library, process.communicate()[1], process.returncode) for library, process in running]
    return {library.name: _reason(library, text) for library, text, status in complaints if status != 0}


def _load(folder: Path, libraries: Sequence[Library], absent: dict[str, str]) -> Peers:
    present: dict[str, str] = {}
    rows: list[Peer] = []
    for library in libraries:
        try:
            loaded = _Loaded(folder / f"{library.name}.so", library.environment)
        except OSError as error:
            absent[library.name] = f"does not load: {error}"
            continue
        present[library.name] = loaded.version
        for subject in loaded.subjects():
            rows.append(Peer(ffi.string(subject.name).decode(), library.name, bool(subject.batched), subject))
    return Peers(present, absent, tuple(rows), folder)


def _python_peers() -> tuple[dict[str, str], dict[str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        import pylibsrtp  # noqa: F401  # only whether it can be had

        return {"pylibsrtp": version("pylibsrtp")}, {}
    except (ImportError, PackageNotFoundError):
        return {}, {"pylibsrtp": "not installed (pip install pylibsrtp)"}


@contextmanager
def at_hand(wanted: bool = True) -> Iterator[Peers]:
    """The peers of this machine; none of them when they are not wanted."""
    if not wanted:
        names = [*(library.name for library in LIBRARIES), "pylibsrtp"]
        yield Peers(absent=dict.fromkeys(names, "not wanted"))
        return
    with tempfile.TemporaryDirectory(prefix="ueagent-bench-") as name:
        folder = Path(name)
        absent = _compile(folder)
        found = _load(folder, [library for library in LIBRARIES if library.name not in absent], absent)
        present, missing = _python_peers()
        yield Peers({**found.present, **present}, {**absent, **missing}, found.peers, folder)
