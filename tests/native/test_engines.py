"""Every vector on every engine present, through the job interface of ums.h. SRTP-2, SRTP-7, SRTP-13."""

from __future__ import annotations

import hashlib
import hmac
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vectors import Vector, load, wycheproof
from ueagent_native import engines
from ueagent_native._core import ffi, lib
from ueagent_native.arena import Arena
from ueagent_native.values import NativeError, Status
from ueagent_native.verification import (
    RawJob,
    Transform,
    corrupt_self_test,
    engine_named,
    run_job,
    run_jobs,
    self_test_names,
)

ENGINES = [info.name for info in engines.list_engines(self_test=False) if info.present]
GCM_TAG = 16

every_engine = pytest.mark.parametrize("engine", ENGINES)


def gcm_job(key: bytes, iv: bytes, aad: bytes, tail: bytes, text: bytes, tag: bytes | None) -> RawJob:
    """Protects `text`, or opens it when a tag is given."""
    return RawJob(
        transform=Transform.AES_GCM,
        data=aad + text + (bytes(GCM_TAG) if tag is None else tag),
        encrypt=tag is None,
        cipher_key=key,
        iv=iv,
        cipher_off=len(aad),
        cipher_len=len(text),
        auth_len=len(aad),
        tag_off=len(aad) + len(text),
        tag_len=GCM_TAG,
        tail=tail,
    )


def hmac_job(key: bytes, data: bytes, tag: bytes, *, encrypt: bool, tail: bytes = b"") -> RawJob:
    return RawJob(
        transform=Transform.NULL_CIPHER,
        data=data + (bytes(len(tag)) if encrypt else tag),
        encrypt=encrypt,
        auth_key=key,
        auth_len=len(data),
        tag_off=len(data),
        tag_len=len(tag),
        tail=tail,
    )


def cm_job(key: bytes, auth_key: bytes, iv: bytes, head: bytes, text: bytes, tail: bytes, tag: bytes | None) -> RawJob:
    """AES-CM with HMAC-SHA1 and a 10-octet tag: protects `text`, or opens it when a tag is given."""
    return RawJob(
        transform=Transform.AES_CM,
        data=head + text + (bytes(10) if tag is None else tag),
        encrypt=tag is None,
        cipher_key=key,
        auth_key=auth_key,
        iv=iv,
        cipher_off=len(head),
        cipher_len=len(text),
        auth_len=len(head) + len(text),
        tag_off=len(head) + len(text),
        tag_len=10,
        tail=tail,
    )


def keystream(engine: str, key: bytes, counter: bytes, text: bytes) -> bytes:
    status, data = run_job(
        engine,
        RawJob(Transform.AES_CM, text, True, cipher_key=key, iv=counter, cipher_len=len(text), tag_off=len(text)),
    )
    assert status == Status.OK
    return data


# ---------------------------------------------------------------------------------------------- known answers --


@every_engine
@pytest.mark.parametrize("vector", load("nist/aes_block"), ids=str)
def test_one_block_is_encrypted_as_fips_197_says(engine: str, vector: Vector) -> None:
    """SRTP-2. The block enters as counter, the keystream comes out of zeros."""
    assert keystream(engine, vector.inputs["key"], vector.inputs["plain"], bytes(16)) == vector.expect["cipher"]


@every_engine
@pytest.mark.parametrize("vector", load("nist/aes_ctr"), ids=str)
def test_counter_mode_follows_sp_800_38a(engine: str, vector: Vector) -> None:
    """SRTP-2."""
    i = vector.inputs
    assert keystream(engine, i["key"], i["counter"], i["plain"]) == vector.expect["cipher"]


@every_engine
@pytest.mark.parametrize("vector", load("rfc3711/keystream") + load("rfc6188/keystream"), ids=str)
def test_a_whole_keystream_segment_has_the_published_ends(engine: str, vector: Vector) -> None:
    """SRTP-2: 65282 blocks under one IV."""
    i = vector.inputs
    stream = keystream(engine, i["key"], i["counter"], bytes(i["length"]))
    assert stream[:48] == vector.expect["first"]
    assert stream[-48:] == vector.expect["last"]


@every_engine
@pytest.mark.parametrize("vector", load("rfc2202/hmac_sha1"), ids=str)
def test_hmac_sha1_follows_rfc_2202(engine: str, vector: Vector) -> None:
    """SRTP-2."""
    i, mac = vector.inputs, vector.expect["mac"]
    assert run_job(engine, hmac_job(i["key"], i["data"], mac, encrypt=True)) == (Status.OK, i["data"] + mac)
    assert run_job(engine, hmac_job(i["key"], i["data"], mac, encrypt=False)) == (Status.OK, i["data"] + mac)


@every_engine
@pytest.mark.parametrize("vector", load("nist/aes_gcm") + load("rfc7714/transform"), ids=str)
def test_gcm_protects_and_opens_the_published_cases(engine: str, vector: Vector) -> None:
    """SRTP-10."""
    i, e = vector.inputs, vector.expect
    context = (i["key"], i["iv"], i["aad"], i["tail"])
    protected = i["aad"] + e["cipher"] + e["tag"]
    assert run_job(engine, gcm_job(*context, i["plain"], None)) == (Status.OK, protected)
    assert run_job(engine, gcm_job(*context, e["cipher"], e["tag"])) == (Status.OK, i["aad"] + i["plain"] + e["tag"])


@every_engine
def test_gcm_passes_wycheproof(engine: str) -> None:
    """SRTP-10, SRTP-7. Source: Wycheproof aes_gcm_test.json."""
    used = 0
    for group, test in wycheproof("aes_gcm_test.json"):
        if group["ivSize"] != 96 or group["tagSize"] != 128 or group["keySize"] not in (128, 256):
            continue
        key, iv, aad, plain, cipher, tag = (bytes.fromhex(test[n]) for n in ("key", "iv", "aad", "msg", "ct", "tag"))
        status, data = run_job(engine, gcm_job(key, iv, aad, b"", cipher, tag))
        if test["result"] == "valid":
            assert (status, data) == (Status.OK, aad + plain + tag), test["tcId"]
            assert run_job(engine, gcm_job(key, iv, aad, b"", plain, None)) == (Status.OK, aad + cipher + tag)
        else:
            assert (status, data) == (Status.AUTH_FAIL, aad + cipher + tag), test["tcId"]
        used += 1
    assert used > 100


@every_engine
def test_hmac_sha1_passes_wycheproof(engine: str) -> None:
    """SRTP-2, SRTP-7. Source: Wycheproof hmac_sha1_test.json."""
    used = 0
    for _, test in wycheproof("hmac_sha1_test.json"):
        key, message, tag = (bytes.fromhex(test[n]) for n in ("key", "msg", "tag"))
        status, data = run_job(engine, hmac_job(key, message, tag, encrypt=False))
        assert status == (Status.OK if test["result"] == "valid" else Status.AUTH_FAIL), test["tcId"]
        assert data == message + tag
        used += 1
    assert used > 100


# --------------------------------------------------------------------------------- against another implementation --


@every_engine
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), aad_len=st.integers(0, 90), text_len=st.integers(0, 1500), tailed=st.booleans())
def test_gcm_agrees_with_openssl(engine: str, seed: int, aad_len: int, text_len: int, tailed: bool) -> None:
    """SRTP-10."""
    draw = random.Random(seed)
    key, iv = draw.randbytes(draw.choice((16, 32))), draw.randbytes(12)
    aad, text, tail = draw.randbytes(aad_len), draw.randbytes(text_len), draw.randbytes(4 * tailed)
    expected = AESGCM(key).encrypt(iv, text, aad + tail)
    assert run_job(engine, gcm_job(key, iv, aad, tail, text, None)) == (Status.OK, aad + expected)
    opened = run_job(engine, gcm_job(key, iv, aad, tail, expected[:-16], expected[-16:]))
    assert opened == (Status.OK, aad + text + expected[-16:])


@every_engine
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), head_len=st.integers(0, 90), text_len=st.integers(0, 1500), tailed=st.booleans())
def test_cm_with_hmac_agrees_with_openssl(engine: str, seed: int, head_len: int, text_len: int, tailed: bool) -> None:
    """SRTP-2: encrypt, then MAC over head, ciphertext and tail."""
    draw = random.Random(seed)
    key, auth_key = draw.randbytes(draw.choice((16, 24, 32))), draw.randbytes(20)
    iv, tail = draw.randbytes(14) + bytes(2), draw.randbytes(4 * tailed)
    head, text = draw.randbytes(head_len), draw.randbytes(text_len)
    cipher = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(text)
    tag = hmac.new(auth_key, head + cipher + tail, hashlib.sha1).digest()[:10]
    assert run_job(engine, cm_job(key, auth_key, iv, head, text, tail, None)) == (Status.OK, head + cipher + tag)
    assert run_job(engine, cm_job(key, auth_key, iv, head, cipher, tail, tag)) == (Status.OK, head + text + tag)


@every_engine
def test_a_mixed_burst_equals_its_single_jobs(engine: str) -> None:
    """SRTP-13: neighbours of a forged job are undisturbed."""
    draw = random.Random(7)
    jobs: list[RawJob] = []
    for i in range(40):
        text, key, auth_key, iv = draw.randbytes(31 * i), draw.randbytes(32), draw.randbytes(20), draw.randbytes(12)
        forged = draw.randbytes(10) if i % 5 == 0 else None
        kinds = (
            gcm_job(key, iv, bytes(12), b"", text, None),
            cm_job(key, auth_key, iv + bytes(4), bytes(12), text, b"\0\0\0\1", forged),
            hmac_job(auth_key, text, bytes(10), encrypt=True),
        )
        jobs.append(kinds[i % 3])
    singly = [run_job(engine, job) for job in jobs]
    assert run_jobs(engine, jobs) == singly
    assert {status for status, _ in singly} == {Status.OK, Status.AUTH_FAIL}


# ----------------------------------------------------------------------------------------------------- refusals --


@every_engine
def test_every_wrong_bit_fails_and_leaves_the_data_as_it_was(engine: str) -> None:
    """SRTP-7: no plaintext of a packet that did not verify."""
    key, auth_key, iv, head, text = bytes(range(32)), bytes(20), bytes(12), bytes(12), b"speech" * 5
    _, gcm = run_job(engine, gcm_job(key, iv, head, b"", text, None))
    _, cm = run_job(engine, cm_job(key, auth_key, iv + bytes(4), head, text, b"", None))
    for bit in range(8 * len(gcm)):
        bad = bytearray(gcm)
        bad[bit // 8] ^= 1 << bit % 8
        job = gcm_job(key, iv, bytes(bad[:12]), b"", bytes(bad[12:-16]), bytes(bad[-16:]))
        assert run_job(engine, job) == (Status.AUTH_FAIL, bad)
    for bit in range(8 * len(cm)):
        bad = bytearray(cm)
        bad[bit // 8] ^= 1 << bit % 8
        job = cm_job(key, auth_key, iv + bytes(4), bytes(bad[:12]), bytes(bad[12:-10]), b"", bytes(bad[-10:]))
        assert run_job(engine, job) == (Status.AUTH_FAIL, bad)


@every_engine
def test_an_empty_tag_never_verifies(engine: str) -> None:
    """SRTP-4: there is no unauthenticated receiving."""
    assert run_job(engine, hmac_job(bytes(20), b"data", b"", encrypt=False))[0] == Status.ENGINE


@every_engine
def test_lengths_beyond_a_job_are_refused(engine: str) -> None:
    """SRTP-13."""
    assert run_job(engine, hmac_job(bytes(20), b"data", bytes(21), encrypt=True))[0] == Status.ENGINE
    short = RawJob(Transform.AES_GCM, bytes(32), True, cipher_key=bytes(16), iv=bytes(12), tag_off=0, tag_len=12)
    assert run_job(engine, short)[0] == Status.ENGINE


@every_engine
@pytest.mark.parametrize("length", [0, 15, 17, 20, 24, 31])
def test_gcm_keys_of_other_lengths_are_refused(engine: str, length: int) -> None:
    """SRTP-10."""
    job = RawJob(Transform.AES_GCM, bytes(16), True, cipher_key=bytes(length), iv=bytes(12), tag_len=16)
    with pytest.raises(NativeError) as caught:
        run_job(engine, job)
    assert caught.value.status == Status.UNSUPPORTED


@every_engine
@pytest.mark.parametrize("transform", list(Transform))
def test_a_dropped_key_is_zeros_and_runs_no_job(engine: str, transform: Transform) -> None:
    """SRTP-13: zeroisation, and a wiped key cannot be used by mistake."""
    native = engine_named(engine)
    with Arena(8192) as arena:
        key, job = ffi.cast("ums_key *", arena.base), ffi.cast("ums_job *", ffi.cast("uint8_t *", arena.base) + 4096)
        octets = ffi.from_buffer("uint8_t[]", bytes(range(1, 33)))
        session_key = ffi.new("ums_session_key *")
        session_key.transform = int(transform)
        session_key.cipher_key, session_key.cipher_key_len = octets, 32
        session_key.auth_key, session_key.auth_key_len = octets, 20
        assert native.load_key(native, key, session_key) == Status.OK
        assert any(bytes(ffi.buffer(key)))
        native.drop_key(native, key)
        assert not any(bytes(ffi.buffer(key)))
        packet = ffi.new("uint8_t[]", 64)
        job.data, job.key, job.auth_len, job.tag_off, job.tag_len = packet, key, 16, 16, 16
        job.flags = lib.UMS_JOB_ENCRYPT
        assert native.submit(native, ffi.new("ums_job *[]", [job]), 1) == 1
        assert job.status == Status.ENGINE
        assert not any(bytes(ffi.buffer(packet)))


def test_a_range_outside_the_data_is_refused_before_c_sees_it() -> None:
    """SRTP-14."""
    with pytest.raises(ValueError, match="leaves its data"):
        run_job("portable", RawJob(Transform.NULL_CIPHER, bytes(8), True, auth_len=9))


# ------------------------------------------------------------------------------------- self-tests and the choice --


@pytest.fixture
def restored_self_tests():  # type: ignore[no-untyped-def]
    yield
    corrupt_self_test(None)


@every_engine
def test_engines_pass_their_self_test(engine: str) -> None:
    """SRTP-2."""
    assert next(e.self_test for e in engines.list_engines() if e.name == engine) == "passed"


@pytest.mark.parametrize("name", list(self_test_names()))
def test_each_self_test_bites_under_its_own_name(name: str, restored_self_tests: None) -> None:
    """SRTP-2: a self-test that cannot fail proves nothing."""
    corrupt_self_test(name)
    assert {e.self_test for e in engines.list_engines() if e.present} == {f"failed: {name}"}
    assert engines.engine_for("AEAD_AES_128_GCM") is None


def test_the_choice_is_made_anew_after_the_self_test_hook(restored_self_tests: None) -> None:
    """SRTP-2."""
    before = engines.engine_for("AES_CM_128_HMAC_SHA1_80")
    corrupt_self_test(next(self_test_names()))
    assert engines.engine_for("AES_CM_128_HMAC_SHA1_80") is None
    corrupt_self_test(None)
    assert engines.engine_for("AES_CM_128_HMAC_SHA1_80") == before


def test_threads_that_choose_at_once_agree(restored_self_tests: None) -> None:
    """SRTP-13: the remembered verdict is shared by all threads."""
    corrupt_self_test(None)  # nothing is remembered any more
    with ThreadPoolExecutor(8) as pool:
        chosen = set(pool.map(engines.engine_for, ["AEAD_AES_128_GCM"] * 64))
    assert chosen == {ENGINES[0]}


def test_the_first_engine_present_runs_every_suite() -> None:
    """SRTP-2."""
    present = [e for e in engines.list_engines() if e.present]
    assert present[-1].name == "portable"
    for suite in present[0].suites:
        assert engines.engine_for(suite) == present[0].name


def test_an_unknown_suite_has_no_engine() -> None:
    """SDES-5: F8 is known by name only."""
    assert engines.engine_for("F8_128_HMAC_SHA1_80") is None


def test_engines_report_the_names_of_the_suites_they_run() -> None:
    """SRTP-2."""
    portable = next(e for e in engines.list_engines(self_test=False) if e.name == "portable")
    assert portable.self_test == "not run"
    assert portable.suites == tuple(ffi.string(lib.ums_suite_at(i).name).decode() for i in range(lib.ums_suite_count()))
