"""Master keys of a context: MKI (RFC 3711, 3.1), lifetimes (9.2), engines, wiping."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from support.srtp import CM80, ENGINES, GCM128, SUITE_NAMES, key_of, master, model, receiver, refusal, rtcp, rtp, sender
from support.srtp_model import MODEL_SUITES, sessions
from ueagent_native._core import ffi
from ueagent_native.srtp import SrtpContext
from ueagent_native.values import Direction, MasterKeyConfig, NativeError, SrtpConfig, Status

BOTH = pytest.mark.parametrize("suite", [CM80, GCM128])


def _three(suite: str, lifetime: int = 0) -> tuple[MasterKeyConfig, ...]:
    return tuple(master(suite, n, bytes((0, n)), lifetime) for n in (1, 2, 3))


def _from(suite: str, number: int, seq: int, ssrc: int = 0x1234) -> bytes:
    """A packet under key `number` of _three."""
    return model(suite, number, bytes((0, number))).protect_rtp(rtp(seq, ssrc), 0)


@BOTH
def test_mki_names_the_key_of_a_packet(suite: str) -> None:
    """SRTP-9."""
    with receiver(suite, keys=_three(suite)) as rx:
        for seq, number in enumerate((1, 3, 2, 1)):
            assert rx.unprotect(_from(suite, number, seq)) == rtp(seq)
            control = model(suite, number, bytes((0, number))).protect_rtcp(rtcp(), seq + 1)
            assert rx.unprotect(control, rtcp=True) == rtcp()


def test_core_is_given_master_keys_and_salts_and_nothing_that_is_derived() -> None:
    """GEN-6: session keys are made inside, and nothing of a context can be read back (SRTP-13)."""
    assert [field.name for field in fields(MasterKeyConfig)] == ["key", "salt", "mki", "lifetime"]
    agent = Path(__file__).parents[2] / "ueagent"
    assert not [path for path in agent.rglob("*.py") if "lab_session_keys" in path.read_text(encoding="utf-8")]
    with sender() as tx:
        assert not [name for name in dir(tx) if "key" in name.lower() and not name.startswith("_")]


@BOTH
def test_unknown_mki_is_refused_and_counted(suite: str) -> None:
    with receiver(suite, keys=_three(suite)) as rx, receiver(suite, keys=_three(suite)[:1]) as one:
        assert refusal(rx, _from(suite, 4, 0)) == Status.WRONG_MKI
        assert refusal(one, _from(suite, 2, 0)) == Status.WRONG_MKI
        assert (rx.stats().wrong_mki, rx.stats().n_streams, one.stats().wrong_mki) == (1, 0, 1)


@BOTH
def test_mki_of_another_key_does_not_authenticate(suite: str) -> None:
    with receiver(suite, keys=_three(suite)) as rx:
        forged = model(suite, 1, bytes((0, 2))).protect_rtp(rtp(0), 0)
        assert refusal(rx, forged) == Status.AUTH_FAIL


def test_sending_uses_the_first_key() -> None:
    with sender(keys=_three(CM80)) as tx:
        assert tx.protect(rtp(1)) == _from(CM80, 1, 1)


@BOTH
def test_rollover_counter_and_replay_list_outlive_a_change_of_key(suite: str) -> None:
    """RFC 3711, 3.3.1: within one context the counter keeps its sequence of values."""
    with receiver(suite, keys=_three(suite)) as rx:
        assert refusal(rx, _from(suite, 1, 65535)) == Status.OK
        assert refusal(rx, _from(suite, 2, 65535)) == Status.REPLAY
        assert rx.unprotect(model(suite, 2, b"\0\2").protect_rtp(rtp(0), 1)) == rtp(0)
        assert rx.streams()[0].roc == 1


@BOTH
@pytest.mark.parametrize("is_rtcp", [False, True])
def test_no_packet_is_sent_after_the_lifetime(suite: str, is_rtcp: bool) -> None:
    """SRTP-8, lowered limit; all SSRCs of the key together (SDES-19)."""
    with sender(suite, keys=(master(suite, lifetime=5),)) as tx:
        for i in range(5):
            assert not tx.stats().hard
            tx.protect(rtcp(i % 2) if is_rtcp else rtp(i, ssrc=i % 2), rtcp=is_rtcp)
        assert tx.stats().hard
        for ssrc in (0, 1, 2):
            packet = rtcp(ssrc) if is_rtcp else rtp(9, ssrc)
            assert refusal(tx, packet, is_rtcp=is_rtcp, sending=True) == Status.KEY_EXPIRED
        assert (tx.stats().expired, tx.stats().n_streams) == (3, 2)


@BOTH
def test_rtp_and_rtcp_lifetimes_are_counted_apart(suite: str) -> None:
    """RFC 3711, 9.2."""
    with sender(suite, keys=(master(suite, lifetime=2),)) as tx:
        for seq in range(2):
            tx.protect(rtp(seq))
        assert refusal(tx, rtp(2), sending=True) == Status.KEY_EXPIRED
        assert refusal(tx, rtcp(), is_rtcp=True, sending=True) == Status.OK


@BOTH
def test_no_packet_is_accepted_after_the_lifetime(suite: str) -> None:
    """SRTP-8: under that key; another key of the context goes on."""
    with receiver(suite, keys=_three(suite, lifetime=3)) as rx:
        for seq in range(3):
            assert refusal(rx, _from(suite, 1, seq)) == Status.OK
        assert refusal(rx, _from(suite, 1, 3)) == Status.KEY_EXPIRED
        assert refusal(rx, _from(suite, 2, 3)) == Status.OK
        assert (rx.stats().key_packets, rx.stats().hard) == (3, True)


def test_refused_packets_use_no_lifetime() -> None:
    with receiver(keys=(master(CM80, lifetime=2),)) as rx, sender() as tx:
        first, second = tx.protect(rtp(0)), tx.protect(rtp(1))
        for packet in (second[:-1] + bytes((second[-1] ^ 1,)), b"", first[:20]):
            assert refusal(rx, packet) != Status.OK
        assert refusal(rx, first) == Status.OK
        assert refusal(rx, first) == Status.REPLAY
        assert refusal(rx, second) == Status.OK


def test_lifetime_holds_inside_one_burst() -> None:
    with sender() as tx, receiver(keys=(master(CM80, lifetime=70),)) as rx:
        results = rx.unprotect_many([tx.protect(rtp(seq)) for seq in range(100)])
        assert [status for status, _ in results] == [Status.OK] * 70 + [Status.KEY_EXPIRED] * 30


def test_soft_limit_counts_all_ssrcs_of_a_key() -> None:
    """SDES-19, lowered limit."""
    with sender(soft_limit=6) as tx, receiver(soft_limit=6) as rx:
        for i in range(5):
            rx.unprotect(tx.protect(rtp(i, ssrc=i % 3)))
        assert (tx.stats().soft, rx.stats().soft) == (False, False)
        rx.unprotect(tx.protect(rtp(9, ssrc=1)))
        assert (tx.stats().soft, rx.stats().soft) == (True, True)
        assert (tx.stats().key_packets, tx.stats().hard) == (6, False)


def test_soft_limit_behind_the_lifetime_still_asks_in_time() -> None:
    with sender(keys=(master(CM80, lifetime=32),), soft_limit=1000) as tx:
        for seq in range(30):
            tx.protect(rtp(seq))
        assert (tx.stats().soft, tx.stats().hard) == (True, False)


@pytest.mark.parametrize("suite", SUITE_NAMES)
def test_keys_move_between_engines_without_losing_state(suite: str) -> None:
    oracle = model(suite)
    with sender(suite) as tx, receiver(suite) as rx:
        for i, engine in enumerate(ENGINES * 3):
            for context in (tx, rx):
                context.set_engine(engine)
                assert context.engine == engine
            index = 65534 + i
            packet = rtp(index & 0xFFFF)
            protected = tx.protect(packet)
            assert protected == oracle.protect_rtp(packet, index >> 16)
            assert rx.unprotect(protected) == packet
            assert refusal(rx, protected) == Status.REPLAY
            assert tx.protect(rtcp(), rtcp=True) == oracle.protect_rtcp(rtcp(), i + 1)


def test_unknown_engine_is_refused_and_changes_nothing() -> None:
    with sender() as tx:
        before = tx.engine
        with pytest.raises(NativeError) as error:
            tx.set_engine("abacus")
        assert error.value.status == Status.UNSUPPORTED
        assert tx.engine == before
        assert tx.protect(rtp(1))


@pytest.mark.parametrize("suite", SUITE_NAMES)
def test_wiped_context_holds_no_key_and_answers_bad_argument(suite: str) -> None:
    """SRTP-13: zeroisation."""
    row, context = MODEL_SUITES[suite], sender(suite)
    with context as tx:
        tx.protect(rtp(1))
        with tx._memory.use() as ctx:
            memory = ffi.buffer(ffi.cast("uint8_t *", ctx), tx._memory.size)
            secrets = [s for kind in (False, True) for s in _octets(sessions(row, *key_of(suite), kind), suite)]
            before = bytes(memory)
            assert all(secret in before for secret in secrets)
            assert not any(secret in before for secret in key_of(suite))  # master keys are not kept at all
            tx.wipe()
            assert not any(secret in bytes(memory) for secret in secrets)
        assert refusal(tx, rtp(2), sending=True) == Status.BAD_ARGUMENT
        assert tx.stats().packets == 0
        assert tx.streams() == []
        assert tx.engine is None
        with pytest.raises(NativeError):
            tx.set_engine(None)
        tx.wipe()


def _octets(keys: object, suite: str) -> list[bytes]:
    found = [keys.cipher, keys.salt]  # type: ignore[attr-defined]
    return found if MODEL_SUITES[suite].cipher == "GCM" else [*found, keys.auth]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "change",
    [
        {"suite": 99},
        {"keys": ()},
        {"keys": (MasterKeyConfig(bytes(15), bytes(14)),)},
        {"keys": (MasterKeyConfig(bytes(16), bytes(12)),)},
        {"keys": (MasterKeyConfig(bytes(16), bytes(14), bytes(129)),)},
        {"keys": (MasterKeyConfig(bytes(16), bytes(14)),) * 2},
        {"keys": (MasterKeyConfig(bytes(16), bytes(14), b"a"),) * 2},
        {"keys": (MasterKeyConfig(bytes(16), bytes(14), b"a"), MasterKeyConfig(bytes(16), bytes(14), b"bc"))},
        {"keys": tuple(MasterKeyConfig(bytes(16), bytes(14), bytes((i,))) for i in range(5))},
        {"keys": (MasterKeyConfig(bytes(16), bytes(14), lifetime=-1),)},
        {"max_ssrc": 0},
        {"max_ssrc": 1025},
        {"max_ssrc": 70000},
        {"rtp_window": 63},
        {"rtp_window": 32769},
        {"rtcp_window": 0},
        {"rtcp_window": 40000},
    ],
    ids=str,
)
def test_configuration_without_sense_is_refused(change: dict) -> None:
    options = {"suite": 1, "direction": Direction.SEND, "keys": (MasterKeyConfig(bytes(16), bytes(14)),)} | change
    with pytest.raises(NativeError) as error:
        SrtpContext(SrtpConfig(**options))
    assert error.value.status == Status.BAD_ARGUMENT
