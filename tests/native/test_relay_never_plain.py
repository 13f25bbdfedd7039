"""A leg that is to be secure emits nothing readable, whatever the dialer sends and whenever."""

import pytest
from pylibsrtp import Error
from support import relay_rig as rig
from support.relay_rig import Call, Rig, rtcp, rtp
from ueagent_native.relay import LegMode
from ueagent_native.values import NativeError

# Reports of every type and length, cut ones too; what is no report; RTP of every shape on either socket.
RTCP_SHAPES = [
    *(rtcp(packet_type=kind) for kind in range(192, 224)),
    *(rtcp()[:cut] for cut in range(1, 8)),
    *(rtcp() + bytes(size) for size in (1, 3, 20, 1400)),
    b"\xff" * 64,
    bytes(64),
    b"report in words",
]
RTP_SHAPES = [
    *(rtp(seq, payload_type=kind) for seq, kind in enumerate((0, 13, 63, 64, 95, 96, 101, 127, 255))),
    *(rtp(20)[:cut] for cut in range(1, 12)),
    rtp(21, payload=b""),
    b"\x9f" + rtp(22)[1:],  # fifteen CSRCs, a header extension: longer than the packet says
]


def everything_from_the_dialer(call: Call) -> None:
    for packet in RTCP_SHAPES:
        call.dialer_rtcp.sendto(packet, call.loop_rtcp)
        call.dialer.sendto(packet, call.loop)
    for packet in RTP_SHAPES:
        call.dialer.sendto(packet, call.loop)
        call.dialer_rtcp.sendto(packet, call.loop_rtcp)


SENT = 2 * (len(RTCP_SHAPES) + len(RTP_SHAPES))


@pytest.mark.parametrize("suite", [rig.AES_CM_80, rig.AES_CM_32, rig.GCM_128, rig.GCM_256])
def test_secure_leg_emits_only_what_libsrtp_authenticates(suite: int) -> None:
    """GEN-4, SRTP-4: RTP and RTCP; SRTCP always has its tag."""
    with Rig() as r:
        call = r.call().secure(suite)
        everything_from_the_dialer(call)
        call.dialer.sendto(rtp(30), call.loop)
        call.dialer_rtcp.sendto(rtcp(ssrc=0x77), call.loop_rtcp)
        opened: dict[str, list[bytes]] = {"rtp": [], "rtcp": []}
        far = rig.inbound(1, suite)
        while rtp(30) not in opened["rtp"]:
            opened["rtp"].append(far.unprotect(call.peer.recv(2048)))
        while rtcp(ssrc=0x77) not in opened["rtcp"]:
            opened["rtcp"].append(far.unprotect_rtcp(call.peer_rtcp.recv(2048)))
        # On the RTP socket a report is RTP with a payload type above 63: nothing is muxed here (RFC 5761, 4).
        assert set(opened["rtp"]) <= {*RTP_SHAPES, *RTCP_SHAPES, rtp(30)}
        assert set(opened["rtcp"]) <= {*RTCP_SHAPES, rtcp(ssrc=0x77)}
        assert len(opened["rtp"]) > 5
        assert len(opened["rtcp"]) > 10
        assert call.stats().plain_sent == 0


def test_leg_without_keys_emits_nothing_at_all() -> None:
    """GEN-4, DYN-5: closed, secure without keys, and never plain."""
    with Rig() as r:
        for mode in (None, LegMode.SECURE):
            call = r.call(never_plain=True)
            if mode is not None:
                r.relay.set_mode(call.leg, mode)
            with pytest.raises(NativeError):
                r.relay.set_mode(call.leg, LegMode.PLAIN)
            everything_from_the_dialer(call)
            rig.eventually(lambda call=call: call.stats().from_dialer >= SENT)  # type: ignore[misc]
            for sock in (call.peer, call.peer_rtcp):
                sock.setblocking(False)
                with pytest.raises(BlockingIOError):
                    sock.recv(2048)


def test_oracle_of_these_tests_refuses_plain_and_wrong_packets() -> None:
    far = rig.inbound(1)
    for packet in (rtcp(), rtcp() + bytes(14), rig.outbound(9).protect_rtcp(rtcp())):
        with pytest.raises(Error):
            far.unprotect_rtcp(packet)
