"""Peers: built when they are at hand, named when they are not; their packets and ours are the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ueagent_bench import origin, peers
from ueagent_bench.fixture import Fixture
from ueagent_bench.model import COMPOUND, Case
from ueagent_bench.peers import LIBRARIES, Library, Peers

LITTLE = 1e-5  # seconds
SUITES = (
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_80",
    "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM",
)


@pytest.fixture(scope="module")
def at_hand() -> Iterator[Peers]:
    with peers.at_hand() as found:
        yield found


def test_tree_with_the_sources_is_found() -> None:
    tree = origin.tree()
    assert tree is not None
    assert all((tree / "bench" / "peers" / library.source).is_file() for library in LIBRARIES)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
@pytest.mark.parametrize("suite", SUITES)
def test_packets_of_a_peer_are_ours(library: Library, suite: str, at_hand: Peers) -> None:
    """Both ways, RTP and RTCP as far as it has them: the loop in C compares every packet of a batch."""
    if library.name in at_hand.absent:
        pytest.skip(f"{library.name}: {at_hand.absent[library.name]}; apt-get install {library.package}")
    tried = 0
    for peer in (peer for peer in at_hand.peers if peer.library == library.name):
        cases = [Case(f"srtp_{way}", suite, n) for way in ("protect", "unprotect") for n in (20, 160)]
        cases += [Case(f"srtcp_{way}", suite, COMPOUND) for way in ("protect", "unprotect")]
        cases += [Case("srtp_setup", suite, 0), Case("srtp_unprotect", suite, 20, contexts=3)]
        for case in (case for case in cases if peer.can(case)):
            fixture = Fixture(case, subject=peer.subject)
            try:
                for burst in (1, 4, 64) if peer.batched else (1,):
                    assert len(fixture.measure(burst, LITTLE)) >= 1
            finally:
                fixture.close()
            tried += 1
    assert tried >= 4


def test_peers_that_are_not_wanted_are_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_compile", lambda folder: pytest.fail("compiled"))
    with peers.at_hand(wanted=False) as found:
        assert found.peers == ()
        assert set(found.absent) == {*(library.name for library in LIBRARIES), "pylibsrtp"}


def test_without_a_compiler_every_peer_is_absent_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_compiler", lambda: None)
    with peers.at_hand() as found:
        assert found.peers == ()
        assert {found.absent[library.name] for library in LIBRARIES} == {"no C compiler"}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("#include <no/such/header.h>\n", "not installed (Debian: libnone-dev)"),
        ("int f(void) { return missing; }\n", "does not compile"),
    ],
)
def test_peer_that_cannot_be_built_says_why(
    source: str, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bench" / "peers").mkdir(parents=True)
    (tmp_path / "bench" / "peers" / "none.c").write_text(source)
    monkeypatch.setattr(peers, "LIBRARIES", (Library("none", "none.c", "libnone-dev", ()),))
    monkeypatch.setattr(peers.origin, "tree", lambda: tmp_path)
    with peers.at_hand() as found:
        assert found.absent["none"].startswith(why)


def test_environment_of_a_library_lasts_only_while_it_is_loaded(tmp_path: Path) -> None:
    import os

    with pytest.raises(OSError, match="nonesuch"):
        peers._Loaded(tmp_path / "nonesuch.so", {"UEAGENT_BENCH_TEST": "1"})
    assert "UEAGENT_BENCH_TEST" not in os.environ
