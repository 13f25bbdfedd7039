"""The device's protocol core, octets in and octets out: sessions, keys, jobs. The oracle is the RFC model."""

from __future__ import annotations

import pytest
from support.accelerator import DEVICE_KEY, DirectPort, linked, rtp, slot_key
from support.srtp import key_of, rtcp
from support.srtp_model import Model
from ueagent_firmware.frame import Frame, FrameReader
from ueagent_firmware.link import Link, LinkError
from ueagent_firmware.messages import ALL_SLOTS, MAX_PACKET, Direction, Kind, Op, SelfTest, Status, Suite, length, pack
from ueagent_native.device import DeviceConfig

P, U = Direction.PROTECT, Direction.UNPROTECT
CM = Suite.AES_CM_128_HMAC_SHA1_80


def ready(suite: Suite = CM, direction: Direction = P, **key: int) -> tuple[DirectPort, Link, Model]:
    """A device with a key in slot 3, and the model with the same key."""
    port, link = linked()
    link.hello()
    assert link.load(3, slot_key(suite, direction, *key_of(suite.name), **key)).status is Status.OK  # type: ignore[arg-type]
    return port, link, Model(suite.name, *key_of(suite.name))


# -------------------------------------------------------------------------------------------------------- jobs --


@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("octets", [0, 1, 15, 16, 17, 160, 1400])
def test_protected_rtp_is_what_the_rfc_says(suite: Suite, octets: int) -> None:
    """SRTP-2: every suite a slot can hold; ROC from the index."""
    _, link, model = ready(suite)
    packet = rtp(5, payload=bytes(i & 255 for i in range(octets)))
    reply = link.job(Op.PROTECT, 3, (7 << 16) | 5, packet)
    assert packet[:12] + reply.body == model.protect_rtp(packet, 7)


@pytest.mark.parametrize("suite", Suite)
def test_unprotected_rtp_is_the_plaintext(suite: Suite) -> None:
    _, link, model = ready(suite, U)
    packet = rtp(9)
    reply = link.job(Op.UNPROTECT, 3, 9, model.protect_rtp(packet, 0))
    assert (reply.status, reply.body) == (Status.OK, packet[12:])


@pytest.mark.parametrize("suite", Suite)
def test_rtcp_goes_both_ways(suite: Suite) -> None:
    packet, model = rtcp(), Model(suite.name, *key_of(suite.name))
    secured = model.protect_rtcp(packet, 17)
    gcm = suite.name.startswith("AEAD")
    without_word = secured[:-4] if gcm else secured[: len(packet)] + secured[len(packet) + 4 :]
    _, link, _ = ready(suite, P, kind=Kind.RTCP)
    assert packet[:8] + link.job(Op.PROTECT, 3, 17, packet).body == without_word
    _, link, _ = ready(suite, U, kind=Kind.RTCP)
    assert link.job(Op.UNPROTECT, 3, 17, without_word).body == packet[8:]


def test_header_extension_and_csrcs_stay_clear() -> None:
    _, link, model = ready()
    packet = b"\x92\x60\x00\x01" + bytes(4) + b"\0\0\x124" + b"csrc1234" + b"\xbe\xde\x00\x01abcd" + b"payload"
    assert packet[:28] + link.job(Op.PROTECT, 3, 1, packet).body == model.protect_rtp(packet, 0)


@pytest.mark.parametrize("suite", Suite)
def test_a_forged_packet_has_no_plaintext(suite: Suite) -> None:
    _, link, model = ready(suite, U)
    forged = bytearray(model.protect_rtp(rtp(9), 0))
    forged[20] ^= 1
    reply = link.job(Op.UNPROTECT, 3, 9, bytes(forged))
    assert (reply.status, reply.body) == (Status.AUTH_FAIL, b"")


def test_an_index_is_never_protected_twice() -> None:
    """No retry can make a keystream serve twice, whatever the packet."""
    _, link, _ = ready()
    assert link.job(Op.PROTECT, 3, 100, rtp(100)).status is Status.OK
    again = link.job(Op.PROTECT, 3, 100, rtp(100, payload=b"another text"))
    assert (again.status, again.body) == (Status.INDEX_REUSE, b"")


def test_reordered_indices_within_the_guard_are_protected_once() -> None:
    _, link, _ = ready()
    order = [0, 63, 1, 62, 2, 63, 64, 0, 200, 137, 136]
    accepted = [link.job(Op.PROTECT, 3, index, rtp(index)).status is Status.OK for index in order]
    assert accepted == [True, True, True, True, True, False, True, False, True, True, False]


def test_indices_below_the_floor_are_refused() -> None:
    _, link, _ = ready(floor=50)
    assert link.job(Op.PROTECT, 3, 49, rtp(49)).status is Status.INDEX_REUSE
    assert link.job(Op.PROTECT, 3, 50, rtp(50)).status is Status.OK


def test_a_slot_serves_one_direction_and_one_ssrc() -> None:
    _, link, _ = ready()
    assert link.job(Op.UNPROTECT, 3, 1, rtp(1)).status is Status.SLOT_DIR
    assert link.job(Op.PROTECT, 3, 1, rtp(1, ssrc=7)).status is Status.OK
    assert link.job(Op.PROTECT, 3, 2, rtp(2, ssrc=8)).status is Status.SSRC_MISMATCH
    _, link, _ = ready(flags=0, ssrc=7)
    assert link.job(Op.PROTECT, 3, 1, rtp(1, ssrc=8)).status is Status.SSRC_MISMATCH


def test_a_key_expires_with_its_packets() -> None:
    _, link, _ = ready(limit=2)
    statuses = [link.job(Op.PROTECT, 3, i, rtp(i)).status for i in range(3)]
    assert statuses == [Status.OK, Status.OK, Status.KEY_EXPIRED]


def test_the_index_must_be_the_packets_own() -> None:
    _, link, _ = ready()
    assert link.job(Op.PROTECT, 3, 6, rtp(5)).status is Status.BAD_LEN


@pytest.mark.parametrize("packet", [b"", b"\x80", bytes(12), b"\x90\x60" + bytes(10), b"\x80\x60" + bytes(1600)])
def test_what_is_no_packet_is_refused(packet: bytes) -> None:
    _, link, _ = ready()
    if len(packet) <= MAX_PACKET + 20:
        assert link.job(Op.PROTECT, 3, 0, packet).status is Status.BAD_LEN


def test_an_empty_or_missing_slot_is_refused() -> None:
    _, link, _ = ready()
    assert link.job(Op.PROTECT, 4, 0, rtp(0)).status is Status.NO_SLOT
    assert link.job(Op.PROTECT, 200, 0, rtp(0)).status is Status.NO_SLOT
    assert link.request(Op.KEY_CLEAR, 200).status is Status.NO_SLOT


# ---------------------------------------------------------------------------------------------------- sessions --


def test_before_hello_everything_is_locked() -> None:
    _, link = linked()
    assert link.request(Op.STATUS).status is Status.LOCKED
    assert link.job(Op.PROTECT, 3, 0, rtp(0)).status is Status.LOCKED


def test_hello_empties_the_slots() -> None:
    _, link, _ = ready()
    link.hello()
    assert link.status()["used_slots"] == 0
    assert link.job(Op.PROTECT, 3, 0, rtp(0)).status is Status.NO_SLOT


@pytest.mark.parametrize("slot", [3, ALL_SLOTS])
def test_a_cleared_slot_is_empty(slot: int) -> None:
    _, link, _ = ready()
    assert link.request(Op.KEY_CLEAR, slot).status is Status.OK
    assert link.job(Op.PROTECT, 3, 0, rtp(0)).status is Status.NO_SLOT


def test_two_silent_seconds_empty_the_slots() -> None:
    port, link, _ = ready()
    port.now = 1.9
    assert link.job(Op.PROTECT, 3, 0, rtp(0)).status is Status.OK
    port.now = 4.0
    assert link.job(Op.PROTECT, 3, 1, rtp(1)).status is Status.LOCKED


def test_a_lost_answer_is_asked_for_again_and_the_work_done_once() -> None:
    port, link = linked()
    link.hello()
    link.open_session(link.identity())
    port.lost = 2
    assert link.load(0, slot_key(CM, P, *key_of(CM.name))).status is Status.OK


def test_noise_between_a_request_and_its_repetition_does_not_do_the_work_twice() -> None:
    port, link = linked()
    link.hello()
    link.open_session(link.identity())
    assert link.load(0, slot_key(CM, P, *key_of(CM.name))).status is Status.OK
    answers = [*FrameReader().feed(port.device.feed(b"\0noise\0" + port.written))]
    assert [(answer.op, answer.status) for answer in answers] == [(Op.NAK, Status.BAD_CRC), (Op.KEY_LOAD, Status.OK)]


def test_a_job_is_not_sent_again() -> None:
    port, link, _ = ready()
    port.lost = 1
    with pytest.raises(LinkError, match="PROTECT"):
        link.job(Op.PROTECT, 3, 0, rtp(0))
    assert link.status()["jobs"] == 1


def test_another_version_is_told() -> None:
    port, _ = linked()
    answer = port.device.feed(Frame(Op.HELLO, 1, body=pack("hello", version=9, nonce=bytes(16))).encode())
    assert next(FrameReader().feed(answer)).status == Status.BAD_VERSION


@pytest.mark.parametrize("test", SelfTest)
def test_a_device_that_fails_a_self_test_gives_no_credit(test: SelfTest) -> None:
    _, link = linked(DeviceConfig(key=DEVICE_KEY, spoil_test=test))
    found = link.hello()
    assert (found.credits, found.failed_tests) == (0, (test.name.lower(),))
    assert link.request(Op.STATUS).status is Status.SELFTEST_FAIL


# ------------------------------------------------------------------------------------------------- key loading --


def test_a_wrapped_key_is_the_key() -> None:
    _, link = linked(DeviceConfig(key=DEVICE_KEY))
    link.hello()
    link.open_session(link.identity())
    assert link.load(1, slot_key(CM, P, *key_of(CM.name))).status is Status.OK
    packet = rtp(1)
    assert packet[:12] + link.job(Op.PROTECT, 1, 1, packet).body == Model(CM.name, *key_of(CM.name)).protect_rtp(
        packet, 0
    )


def test_plain_keys_are_refused_where_wiring_is_not_trusted() -> None:
    _, link = linked(DeviceConfig(key=DEVICE_KEY))
    link.hello()
    assert link.load(1, slot_key(CM, P, *key_of(CM.name))).status is Status.REFUSED


def test_a_wrapped_key_is_loaded_once() -> None:
    """An old load, sent again by somebody on the wire, would reset the index guard."""
    port, link = linked()
    link.hello()
    link.open_session(link.identity())
    link.load(1, slot_key(CM, P, *key_of(CM.name)))
    sent = port.written
    link.job(Op.PROTECT, 1, 1, rtp(1))
    link.status()
    port.write(sent)
    port.read(0)
    assert link.job(Op.PROTECT, 1, 1, rtp(1)).status is Status.INDEX_REUSE


def test_a_changed_or_misdirected_wrapped_key_is_refused() -> None:
    _, link = linked()
    link.hello()
    link.open_session(link.identity())
    head = pack("key_load", wrapped=1, counter=1)
    assert link.request(Op.KEY_LOAD, 1, head + bytes(108)).status is Status.BAD_LEN
    assert link.request(Op.KEY_LOAD, 1, head + bytes(length("key") + 16)).status is Status.UNWRAP_FAIL


def test_another_device_than_the_paired_one_is_noticed() -> None:
    _, stranger = linked(DeviceConfig(key=bytes(31) + b"\x40"))
    _, link = linked()
    link.hello()
    pinned = link.identity()
    stranger.hello()
    with pytest.raises(LinkError, match="paired"):
        stranger.open_session(pinned)


def test_pairing_makes_a_new_key_where_there_is_randomness() -> None:
    _, link = linked()
    link.hello()
    before = link.identity()
    after = link.pair()
    assert after != before
    assert link.identity() == after


def test_a_board_without_randomness_keeps_its_provisioned_key() -> None:
    _, link = linked(DeviceConfig(key=DEVICE_KEY, random=False))
    link.hello()
    assert link.request(Op.PAIR).status is Status.NO_RANDOM
    assert link.pair() == link.identity()


def test_a_device_without_identity_opens_no_session() -> None:
    _, link = linked(DeviceConfig(random=False))
    link.hello()
    assert link.request(Op.IDENTITY).status is Status.NO_KEY
    assert link.request(Op.SESSION, body=bytes(32)).status is Status.NO_KEY


def test_a_point_of_small_order_is_refused() -> None:
    """RFC 7748, 6.1."""
    _, link = linked()
    link.hello()
    assert link.request(Op.SESSION, body=bytes(32)).status is Status.REFUSED
