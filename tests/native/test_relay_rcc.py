"""ROC carrying (RFC 4771) through the relay: the far end is the slow model, for RTCP libsrtp."""

from __future__ import annotations

import pytest
from support import relay_rig as rig
from support.accelerated import Accelerated
from support.relay_rig import Call, Rig, eventually, rtcp, rtp
from support.srtp_model import Model, ModelRcc
from ueagent_native.link import Custody
from ueagent_native.relay import EventKind, LegMode
from ueagent_native.values import NativeError, RccConfig, Status

MODE_2 = RccConfig(2, 14, 64)


def far_end(seed: int) -> Model:
    octets = rig.material(seed)
    return Model("AES_CM_128_HMAC_SHA1_80", octets[:16], octets[16:], rcc=ModelRcc(2, 14, 64))


def carrying(call: Call) -> Call:
    call.relay.install(call.leg, send=rig.to_send(1, rcc=MODE_2), receive=rig.to_receive(2, rcc=MODE_2))
    call.relay.set_mode(call.leg, LegMode.SECURE)
    return call


def test_speech_of_a_line_with_roc_carrying_crosses_both_ways() -> None:
    """RCC-1, RCC-2: the peer joined in its sixth round of sequence numbers."""
    with Rig() as r:
        call = carrying(r.call())
        for seq in range(60, 140):
            call.from_dialer(rtp(seq))
            assert call.peer.recv(2048) == far_end(1).protect_rtp(rtp(seq), 0)
        call.from_peer(far_end(2).protect_rtp(rtp(63, ssrc=7), 5))
        eventually(lambda: call.stats().receive.auth_fail == 1)
        for seq in range(64, 140):
            call.from_peer(far_end(2).protect_rtp(rtp(seq, ssrc=7), 5))
            assert call.dialer.recv(2048) == rtp(seq, ssrc=7)


def test_rtcp_of_a_line_with_roc_carrying_is_plain_srtcp() -> None:
    """RCC-3."""
    with Rig() as r:
        call = carrying(r.call())
        call.dialer_rtcp.sendto(rtcp(), call.loop_rtcp)
        assert rig.inbound(1).unprotect_rtcp(call.peer_rtcp.recv(2048)) == rtcp()
        call.peer_rtcp.sendto(rig.outbound(2).protect_rtcp(rtcp(ssrc=9)), call.net_rtcp)
        assert call.dialer_rtcp.recv(2048) == rtcp(ssrc=9)


@pytest.mark.parametrize("rcc", [RccConfig(1, 14, 64), RccConfig(3, 4, 64)])
def test_leg_takes_no_keys_for_packets_without_mac(rcc: RccConfig) -> None:
    """RCC-5: a leg's destination follows authentic packets, so all of them have a MAC."""
    with Rig() as r:
        call = r.call()
        with pytest.raises(NativeError) as caught:
            call.relay.install(call.leg, receive=rig.to_receive(2, rcc=rcc, lab_no_mac=True))
        assert caught.value.status == Status.UNSUPPORTED
        carrying(call).from_dialer(rtp(1))
        assert call.peer.recv(2048) == far_end(1).protect_rtp(rtp(1), 0)


def test_line_with_roc_carrying_stays_on_the_cpu() -> None:
    """RCC-1: the device's packets have one shape; another call beside it has both slots."""
    with Accelerated(verify_every=0) as r:
        call, other = carrying(r.call()), r.call().secure()
        r.wait_loads(2)
        for seq in (63, 64, 65):
            call.from_dialer(rtp(seq))
            assert call.peer.recv(2048) == far_end(1).protect_rtp(rtp(seq), 0)
            call.from_peer(far_end(2).protect_rtp(rtp(seq, ssrc=7), 0))
            assert call.dialer.recv(2048) == rtp(seq, ssrc=7)
        other.from_dialer(rtp(1))
        assert rig.inbound(1).unprotect(other.peer.recv(2048)) == rtp(1)
        assert (call.stats().accelerated, other.stats().accelerated) == (0, 1)


def test_line_with_roc_carrying_passes_nothing_where_keys_are_the_devices_alone() -> None:
    """RCC-1: the device does not know it and no CPU may: the agent hears that the engine refuses."""
    with Accelerated(custody=Custody.DEVICE) as r:
        call = carrying(r.call())
        r.wait_event(EventKind.ENGINE)
        call.from_dialer(rtp(64))
        eventually(lambda: r.stats().fallback == 1)
        assert call.stats().send.packets == 0
