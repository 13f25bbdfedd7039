"""The class of every first octet, and RTP against RTCP. RFC 7983, 7 and RFC 5761, 4 written down once more."""

import ctypes

import pytest
from support import core_parts

UNKNOWN, STUN, ZRTP, DTLS, TURN, RTP, RTCP = range(7)
CARRIES_RTP, CARRIES_RTCP, CARRIES_BOTH = 1, 2, 3


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    built = core_parts.build(tmp_path_factory.mktemp("demux"), "demux.c")
    built.ums_demux.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    return built


def expected(first: int) -> int:
    if first <= 3:
        return STUN
    if 16 <= first <= 19:
        return ZRTP
    if 20 <= first <= 63:
        return DTLS
    if 64 <= first <= 79:
        return TURN
    return RTP if 128 <= first <= 191 else UNKNOWN


@pytest.mark.parametrize("carries", [CARRIES_RTP, CARRIES_BOTH])
def test_first_octet_decides_the_class(library: ctypes.CDLL, carries: int) -> None:
    """RFC 7983, figure 3."""
    for first in range(256):
        assert library.ums_demux(bytes([first, 0]) + bytes(20), 22, carries) == expected(first)


def test_second_octet_tells_rtcp_on_a_muxed_socket(library: ctypes.CDLL) -> None:
    """RFC 5761, 4: packet types 192 to 223."""
    for second in range(256):
        found = library.ums_demux(bytes([0x80, second]) + bytes(20), 22, CARRIES_BOTH)
        assert found == (RTCP if 192 <= second <= 223 else RTP)


def test_socket_for_rtp_carries_no_rtcp(library: ctypes.CDLL) -> None:
    assert all(library.ums_demux(bytes([0x80, s]) + bytes(20), 22, CARRIES_RTP) == RTP for s in range(256))


def test_socket_for_rtcp_carries_no_rtp(library: ctypes.CDLL) -> None:
    for second in range(256):
        found = library.ums_demux(bytes([0x80, second]) + bytes(20), 22, CARRIES_RTCP)
        assert found == (RTCP if 192 <= second <= 223 else UNKNOWN)


@pytest.mark.parametrize(("second", "carries", "least"), [(0, CARRIES_BOTH, 12), (200, CARRIES_BOTH, 8)])
def test_media_shorter_than_its_fixed_header_has_no_class(
    library: ctypes.CDLL, second: int, carries: int, least: int
) -> None:
    for length in range(20):
        packet = (bytes([0x80, second]) + bytes(18))[:length]
        assert (library.ums_demux(packet, length, carries) != UNKNOWN) == (length >= least)
