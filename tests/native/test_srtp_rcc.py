"""ROC carrying (RFC 4771) against the slow model: three modes, every engine, late joins, forgeries."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pylibsrtp
import pytest
from support.srtp import (
    CM80,
    ENGINES,
    GCM128,
    SUITE_NAMES,
    key_of,
    master,
    model,
    receiver,
    refusal,
    rtcp,
    rtp,
    sender,
)
from support.srtp_model import MODEL_SUITES, Model, ModelRcc
from support.vectors import Vector, load
from ueagent_native.srtp import SrtpContext
from ueagent_native.values import MasterKeyConfig, NativeError, RccConfig, Status
from ueagent_native.verification import RawJob, Transform, run_jobs, self_test_names

MODES = {
    "mode 1": RccConfig(1, 14, 16),
    "mode 1, every packet": RccConfig(1, 14, 1),
    "mode 2": RccConfig(2, 14, 64),
    "mode 2, every packet": RccConfig(2, 14, 1),
    "mode 2, rare": RccConfig(2, 14, 65535),
    "mode 2, short": RccConfig(2, 8, 7),
    "mode 2, long": RccConfig(2, 20, 3),
    "mode 3": RccConfig(3, 4, 16),
    "mode 3, every packet": RccConfig(3, 4, 1),
}
WITH_HMAC = [name for name in SUITE_NAMES if MODEL_SUITES[name].cipher != "GCM"]
MODE_2 = MODES["mode 2"]
MKI = b"\x07\x08"
GOLDEN = load("rfc4771/packets")

every_mode = pytest.mark.parametrize("rcc", MODES.values(), ids=MODES)
every_engine = pytest.mark.parametrize("engine", ENGINES)
# Of these every packet has a MAC.
secure = pytest.mark.parametrize(
    "rcc", [rcc for rcc in MODES.values() if rcc.mode == 2 or (rcc.mode, rcc.rate) == (1, 1)]
)


def carrying_sender(rcc: RccConfig, suite: str = CM80, **options: object) -> SrtpContext:
    return sender(suite, rcc=rcc, lab_no_mac=True, **options)


def carrying_receiver(rcc: RccConfig, suite: str = CM80, **options: object) -> SrtpContext:
    return receiver(suite, rcc=rcc, lab_no_mac=True, **options)


def sent(index: int, rcc: RccConfig = MODE_2, ssrc: int = 0x1234) -> bytes:
    """The SRTP packet of a 48-bit index, made by the model."""
    return model(CM80, rcc=rcc).protect_rtp(rtp(index & 0xFFFF, ssrc), index >> 16)


def forged(packet: bytes, at: int) -> bytes:
    octets = bytearray(packet)
    octets[at] ^= 0x40
    return bytes(octets)


def forged_bit(packet: bytes, bit: int) -> bytes:
    octets = bytearray(packet)
    octets[bit // 8] ^= 1 << bit % 8
    return bytes(octets)


def roc_of(context: SrtpContext) -> int:
    return context.streams()[0].roc


# ----------------------------------------------------------------------------------------------------- packets --


@every_engine
@every_mode
@pytest.mark.parametrize("mki", [b"", MKI], ids=["no MKI", "MKI"])
def test_packets_of_all_modes_are_those_of_the_model(rcc: RccConfig, engine: str, mki: bytes) -> None:
    """RCC-1: alone and in bursts, across a wrap, in and out of the fast path; every engine, all suites with an HMAC."""
    for suite in WITH_HMAC:
        oracle, keys = model(suite, mki=mki, rcc=rcc), (master(suite, mki=mki),)
        indices = [*range(65480, 65600), 65700, 65699, 65728, 66000]
        plain = [rtp(index & 0xFFFF, payload=b"p" * (index % 150)) for index in indices]
        expected = [oracle.protect_rtp(packet, i >> 16) for i, packet in zip(indices, plain, strict=True)]
        options = {"suite": suite, "engine": engine, "keys": keys}
        with carrying_sender(rcc, **options) as burst, carrying_sender(rcc, **options) as alone:
            assert burst.protect_many(plain) == [(Status.OK, octets) for octets in expected]
            assert [alone.protect(packet) for packet in plain] == expected
        with carrying_receiver(rcc, **options) as burst, carrying_receiver(rcc, **options) as alone:
            assert burst.unprotect_many(expected) == [(Status.OK, packet) for packet in plain]
            assert [alone.unprotect(octets) for octets in expected] == plain
            assert burst.streams() == alone.streams()
            assert burst.stats() == alone.stats()
            assert (burst.stats().packets, burst.stats().octets) == (len(plain), sum(map(len, plain)))


@pytest.mark.parametrize(("mode", "tags"), [(1, (14, 0)), (2, (14, 14)), (3, (4, 0))])
def test_tag_has_the_length_and_place_of_its_mode(mode: int, tags: tuple[int, int]) -> None:
    """RCC-1; RFC 4771, 5: of mode 2 both kinds of packet have a tag of n octets, and one of them is all MAC."""
    rcc = RccConfig(mode, tags[0], 4)
    with carrying_sender(rcc, keys=(master(CM80, mki=MKI),)) as tx, sender(keys=(master(CM80, mki=MKI),)) as plain_tx:
        for seq in range(9):
            with_roc, usual = tx.protect(rtp(seq)), plain_tx.protect(rtp(seq))
            tag = with_roc[len(usual) - 10 :]
            assert with_roc[: len(usual) - 10] == usual[:-10]  # as ever up to the MKI
            assert len(tag) == tags[seq % 4 > 0]
            mac = tag[4:] if seq % 4 == 0 else tag
            assert tag[: len(tag) - len(mac)] == bytes(4)[: len(tag) - len(mac)]
            assert mac[:10] == usual[-10:][: len(mac)]


@every_mode
def test_rtcp_is_as_without_roc_carrying(rcc: RccConfig) -> None:
    """RCC-3."""
    oracle = model(CM80)
    with carrying_sender(rcc) as tx, carrying_receiver(rcc) as rx:
        for index in range(1, 70):
            protected = tx.protect(rtcp(), rtcp=True)
            assert protected == oracle.protect_rtcp(rtcp(), index)
            assert rx.unprotect(protected, rtcp=True) == rtcp()
        assert rx.stats().rtcp_packets == 69


# --------------------------------------------------------------------------------------------- golden packets --


@every_engine
@pytest.mark.parametrize("vector", GOLDEN, ids=str)
def test_golden_packets_are_opened_and_made_again(vector: Vector, engine: str) -> None:
    """RCC-1, RCC-2: ROC 5 and the highest, which a receiver comes to by what the packet carries."""
    given, protected = vector.inputs, vector.expect["protected"]
    rcc = RccConfig(given["mode"], given["tag_length"], given["rate"])
    carries, vouched = int.from_bytes(given["plain"][2:4], "big") % rcc.rate == 0, "no MAC" not in vector.id
    oracle = Model(
        given["suite"], given["key"], given["salt"], given["mki"], rcc=ModelRcc(rcc.mode, rcc.tag_len, rcc.rate)
    )
    assert oracle.protect_rtp(given["plain"], given["roc"]) == protected
    keys = (MasterKeyConfig(given["key"], given["salt"], given["mki"]),)
    with carrying_receiver(rcc, given["suite"], engine=engine, keys=keys) as rx:
        before = bytearray(given["plain"])
        before[2:4] = (int.from_bytes(before[2:4], "big") // rcc.rate * rcc.rate).to_bytes(2, "big")
        if not carries:
            rx.unprotect(oracle.protect_rtp(bytes(before), given["roc"]))
        assert rx.unprotect(protected) == given["plain"]
        assert roc_of(rx) == given["roc"]
        assert refusal(rx, protected) == (Status.REPLAY if vouched and rcc.mode != 3 else Status.OK)


@every_engine
@pytest.mark.parametrize("vector", GOLDEN, ids=str)
def test_engines_make_the_golden_packets_from_session_keys(vector: Vector, engine: str) -> None:
    """RCC-1: what stands between packet and tag is none of the engine's business, and stays."""
    given, protected = vector.inputs, vector.expect["protected"]
    plain, rcc = given["plain"], given
    carries = int.from_bytes(plain[2:4], "big") % rcc["rate"] == 0
    gap = given["mki"] + (given["roc"].to_bytes(4, "big") if carries else b"")
    tag = protected[len(plain) + len(gap) :]
    job = RawJob(
        transform=Transform.AES_CM,
        data=plain + gap + bytes(len(tag)),
        encrypt=True,
        cipher_key=given["session_key"],
        auth_key=given["auth_key"],
        iv=given["iv"],
        cipher_off=12,
        cipher_len=len(plain) - 12,
        auth_len=len(plain),
        tag_off=len(plain) + len(gap),
        tag_len=len(tag),
        tail=given["roc"].to_bytes(4, "big"),
    )
    for burst in (1, 3, 8, 17):
        assert run_jobs(engine, [job] * burst) == [(Status.OK, protected)] * burst
        opening = replace(job, data=protected, encrypt=not tag)
        assert run_jobs(engine, [opening] * burst) == [(Status.OK, plain + gap + tag)] * burst


def test_golden_packets_are_known_answers_of_every_engine_that_is_admitted() -> None:
    """RCC-1: the rows in C hold the octets of the file."""
    source = re.sub(r'"\s+"', "", (Path(__file__).parents[2] / "native" / "src" / "engine_self_test.c").read_text())
    names = set(self_test_names())
    admitted = [vector for vector in GOLDEN if f"RFC 4771 {vector.id}" in names]
    assert len(admitted) == sum(name.startswith("RFC 4771") for name in names) == 6
    for vector in admitted:
        plain, protected = vector.inputs["plain"].hex(), vector.expect["protected"].hex()
        row = source[source.index(f'"RFC 4771 {vector.id}"') :].split("),", 1)[0]
        words = re.findall(r'"([0-9a-f]*)"', row)
        assert protected[: len(plain)] == plain[:24] + words[5]
        assert protected[len(plain) :] == "".join(words[7:])  # the ROC, where it is carried, and the tag


def test_packets_are_those_of_libsrtp_with_another_tag() -> None:
    """RCC-1: libsrtp knows no ROC carrying, but walks to ROC 5; ours are made of its ciphertext and its MAC."""
    key, salt = key_of(CM80)
    far = pylibsrtp.Session(
        pylibsrtp.Policy(
            key=key + salt,
            ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
        )
    )
    for index in range(0, 5 << 16, 1 << 14):
        far.protect(rtp(index & 0xFFFF))
    with carrying_receiver(MODE_2) as rx:
        for index in ((5 << 16) + 64, (5 << 16) + 65):
            theirs = far.protect(rtp(index & 0xFFFF))
            ours = sent(index)
            roc = bytes((0, 0, 0, 5)) if index % 64 == 0 else b""
            assert (
                ours[: len(theirs) + len(roc)] == theirs[:-10] + roc + theirs[-10:]
            )  # without ROC four more of the MAC
            assert rx.unprotect(ours) == rtp(index & 0xFFFF)


# ---------------------------------------------------------------------------------------------------- late join --


@every_engine
@secure
@pytest.mark.parametrize("roc", [5, 0xFFFFFFFF])
def test_who_joins_late_is_right_from_the_first_carried_roc_on(rcc: RccConfig, engine: str, roc: int) -> None:
    """RCC-2: ROC = 5 and the highest; packets before it that carry none are dropped and change nothing."""
    seqs = (40_001, 65_534, 65_535) if rcc.rate == 65535 else range(40_001, 40_130)
    with carrying_receiver(rcc, engine=engine) as rx:
        synchronised = False
        for index in ((roc << 16) + seq for seq in seqs):
            synchronised |= (index & 0xFFFF) % rcc.rate == 0
            assert refusal(rx, sent(index, rcc)) == (Status.OK if synchronised else Status.AUTH_FAIL)
            assert rx.stats().n_streams == synchronised
        assert synchronised
        assert roc_of(rx) == roc


@secure
def test_who_was_away_for_several_wraps_comes_back_with_the_next_carried_roc(rcc: RccConfig) -> None:
    """RCC-2, RCC-9: forward by any distance."""
    with carrying_receiver(rcc) as rx:
        for index in (0, 1, 2):
            rx.unprotect(sent(index, rcc))
        for jump in (1 << 16, 3 << 16, 1000 << 16, 0x7FFF_FFFF << 16):
            if rcc.rate > 1:
                assert refusal(rx, sent(jump + 40_001, rcc)) in (Status.AUTH_FAIL, Status.TOO_OLD)
            assert refusal(rx, sent(jump, rcc)) == Status.OK
            assert refusal(rx, sent(jump + 1, rcc)) == Status.OK
            assert roc_of(rx) == jump >> 16


# -------------------------------------------------------------------------------------------------- bad packets --


@every_engine
@secure
def test_forged_roc_is_refused_and_changes_nothing(rcc: RccConfig, engine: str) -> None:
    """RCC-2: each octet of the ROC and of the MAC; the stream goes on where it was, and a newcomer stays unbound."""
    good = sent((5 << 16) + 0, rcc)
    tag = good[-rcc.tag_len :]
    assert tag[:4] == bytes((0, 0, 0, 5))
    bad = [forged(good, len(good) - rcc.tag_len + i) for i in range(rcc.tag_len)]
    with carrying_receiver(rcc, engine=engine) as rx, carrying_receiver(rcc, engine=engine) as newcomer:
        rx.unprotect(sent(0, rcc))
        (before,) = rx.streams()
        for packets in (bad, [bad[0]]):
            assert [status for status, _ in rx.unprotect_many(packets)] == [Status.AUTH_FAIL] * len(packets)
            assert [octets for _, octets in newcomer.unprotect_many(packets)] == packets
        assert rx.streams() == [replace(before, auth_fail=len(bad) + 1)]
        assert newcomer.streams() == []
        assert refusal(rx, sent(1, rcc)) == Status.OK
        assert roc_of(rx) == 0


@secure
@pytest.mark.parametrize("seq", [0, 1])
def test_flip_of_any_bit_is_refused_and_changes_nothing(rcc: RccConfig, seq: int) -> None:
    """RCC-2: also where the flip makes of a packet with ROC one without, and the other way; it comes back as it was."""
    good = sent(seq, rcc)
    bad = [forged_bit(good, bit) for bit in range(8 * len(good))]
    with carrying_receiver(rcc) as rx:
        for packet, (status, octets) in zip(bad, rx.unprotect_many(bad), strict=True):
            assert status in (Status.AUTH_FAIL, Status.BAD_PACKET)
            assert octets == packet
        assert (rx.stats().n_streams, rx.stats().packets) == (0, 0)
        assert rx.unprotect(good) == rtp(seq)


@secure
def test_roc_never_runs_backwards(rcc: RccConfig) -> None:
    """RCC-9: a true packet of an earlier round is too old, or repeated; a late one moves nothing back."""
    with carrying_receiver(rcc, rtp_window=64) as rx:
        first, late = sent(5 << 16, rcc), (5 << 16) - 1
        assert refusal(rx, first) == Status.OK
        for index in (4 << 16, 3 << 16, 0):
            assert refusal(rx, sent(index, rcc)) == Status.TOO_OLD
            assert roc_of(rx) == 5
        assert refusal(rx, first) == Status.REPLAY
        assert refusal(rx, sent(late, rcc)) == Status.OK  # the last packet before the wrap
        assert refusal(rx, sent(late, rcc)) == Status.REPLAY
        assert (roc_of(rx), rx.streams()[0].highest_seq) == (5, 0)


@secure
def test_replay_is_found_across_a_carried_roc(rcc: RccConfig) -> None:
    """RCC-9: what was accepted before the jump and what carried it are not accepted again."""
    with carrying_receiver(rcc) as rx:
        early = [sent(index, rcc) for index in (0, 1, 2)]
        jump = [sent((7 << 16) + i, rcc) for i in (0, 1, 2)]
        assert [status for status, _ in rx.unprotect_many([*early, *jump])] == [Status.OK] * 6
        assert {status for status, _ in rx.unprotect_many([*early, *jump])} <= {
            Status.REPLAY,
            Status.TOO_OLD,
            Status.AUTH_FAIL,  # without a ROC of its own it is taken for one of the new round
        }
        assert rx.stats().packets == 6
        assert [status for status, _ in rx.unprotect_many(jump)] == [Status.REPLAY] * 3


def test_burst_with_a_carried_roc_is_estimated_one_after_the_other() -> None:
    """RCC-2: true ones behind the jump, a forged jump between true ones, duplicates: as if they came alone."""
    bad = forged(sent(9 << 16), -1)
    rows = [
        (sent(0), Status.OK),
        (sent(1), Status.OK),
        (bad, Status.AUTH_FAIL),
        (sent(2), Status.OK),
        (sent(5 << 16), Status.OK),
        (sent((5 << 16) + 1), Status.OK),
        (sent(5 << 16), Status.REPLAY),
        (sent(64), Status.TOO_OLD),
        (sent((5 << 16) + 64), Status.OK),
    ]
    with carrying_receiver(MODE_2) as rx:
        assert [status for status, _ in rx.unprotect_many([packet for packet, _ in rows])] == [s for _, s in rows]


@pytest.mark.parametrize("cut", range(1, 30))
def test_packet_cut_anywhere_in_its_trailer_is_refused(cut: int) -> None:
    packet = sent(5 << 16)
    with carrying_receiver(MODE_2) as rx:
        assert refusal(rx, packet[:-cut]) in (Status.AUTH_FAIL, Status.BAD_PACKET)
        assert rx.stats().n_streams == 0


# ------------------------------------------------------------------------------------------- packets without MAC --


@pytest.mark.parametrize("mode", [1, 3])
def test_packet_without_mac_moves_neither_list_nor_counter(mode: int) -> None:
    """RCC-1: made up by anybody, it is decrypted and counted, and binds no SSRC."""
    rcc = MODES[f"mode {mode}"]
    with carrying_receiver(rcc) as rx:
        invented = rtp(3, ssrc=77)
        assert refusal(rx, invented) == Status.OK
        assert (rx.stats().n_streams, rx.stats().packets, rx.stats().key_packets) == (0, 1, 0)
        rx.unprotect(sent(16, rcc))
        (before,) = rx.streams()
        for seq in (17, 30_001, 17):
            assert refusal(rx, rtp(seq)) == Status.OK
        (after,) = rx.streams()
        assert after == replace(before, packets=4, octets=before.octets + 3 * len(rtp(0)))
        assert refusal(rx, sent(32, rcc)) == Status.OK


def test_mode_1_takes_the_roc_only_from_a_packet_with_a_mac() -> None:
    """RCC-2: before it the initial ROC is all there is, so what is decrypted is noise; behind it all is right."""
    rcc = MODES["mode 1"]
    base = 5 << 16
    with carrying_receiver(rcc) as rx:
        assert rx.unprotect(sent(base + 15, rcc)) != rtp(15)
        assert refusal(rx, forged(sent(base + 16, rcc), -1)) == Status.AUTH_FAIL
        assert rx.unprotect(sent(base + 17, rcc)) != rtp(17)
        assert rx.unprotect(sent(base + 16, rcc)) == rtp(16)
        assert rx.unprotect(sent(base + 17, rcc)) == rtp(17)
        assert refusal(rx, sent(16, rcc)) == Status.TOO_OLD


def test_mode_3_believes_every_roc_until_the_next() -> None:
    """RFC 4771, 3 and 5: an attacker's ROC prevails until the next correct one."""
    rcc = MODES["mode 3"]
    with carrying_receiver(rcc) as rx:
        assert [octets for _, octets in rx.unprotect_many([sent(16, rcc), sent(17, rcc)])] == [rtp(16), rtp(17)]
        assert rx.unprotect(forged(sent(32, rcc), -1)) != rtp(32)
        assert roc_of(rx) == 0x40
        assert rx.unprotect(sent(33, rcc)) != rtp(33)
        assert [octets for _, octets in rx.unprotect_many([sent(48, rcc), sent(49, rcc)])] == [rtp(48), rtp(49)]
        assert roc_of(rx) == 0


# ---------------------------------------------------------------------------------------------- what is refused --


@pytest.mark.parametrize("make", [sender, receiver])
@pytest.mark.parametrize(
    ("suite", "rcc", "lab"),
    [
        (GCM128, MODE_2, True),
        ("AEAD_AES_256_GCM", RccConfig(3, 4, 1), True),
        (CM80, MODES["mode 3"], False),
        (CM80, MODES["mode 1"], False),
        (CM80, RccConfig(4, 14, 64), True),
        (CM80, RccConfig(2, 14, 0), True),
        (CM80, RccConfig(2, 7, 64), True),
        (CM80, RccConfig(2, 21, 64), True),
        (CM80, RccConfig(3, 14, 64), True),
        (CM80, RccConfig(1, 14, 16385), True),
        (CM80, RccConfig(0, 14, 64), True),
        (CM80, RccConfig(2, 14, 65536), True),
    ],
)
def test_what_rfc_4771_does_not_allow_is_refused_with_the_keys(make, suite: str, rcc: RccConfig, lab: bool) -> None:
    """RCC-5, RCC-7: no AEAD; what has packets without MAC only in the lab."""
    with pytest.raises(NativeError) as caught:
        make(suite, rcc=rcc, lab_no_mac=lab)
    assert caught.value.status == Status.BAD_ARGUMENT


def test_mode_1_with_a_mac_in_every_packet_is_no_lab_business() -> None:
    """RCC-5."""
    rcc = MODES["mode 1, every packet"]
    with sender(rcc=rcc) as tx, receiver(rcc=rcc) as rx:
        assert rx.unprotect(tx.protect(rtp(1))) == rtp(1)
