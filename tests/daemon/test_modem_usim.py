"""A USIM in a modem, over AT+CSIM: KMS-7. The modem is a script on a pseudo-terminal that runs Milenage."""

from __future__ import annotations

import pytest
from support.modem import Modem, plugged_in
from support.ub import network, usim

from ueagent.daemon.credentials.modem import ModemUsim
from ueagent.errors import AuthenticationFailed, ResourceError
from ueagent.keymgmt.aka import AkaKeys, SyncFailure

RAND = bytes(range(16))
AUTN = network().autn(RAND, bytes.fromhex("000000000021"), b"\x80\x00")


def authenticate(modem: Modem, *, autn: bytes = AUTN, timeout: float = 5.0) -> AkaKeys | SyncFailure:
    with plugged_in(modem) as port:
        return ModemUsim(port, timeout=timeout).authenticate(RAND, autn)


def test_modem_gives_the_same_keys_as_the_software_usim() -> None:
    """KMS-7."""
    ours, expected = authenticate(Modem()), usim().authenticate(RAND, AUTN)
    assert isinstance(ours, AkaKeys)
    assert isinstance(expected, AkaKeys)
    assert (ours.res, ours.ck, ours.ik) == (expected.res, expected.ck, expected.ik)


def test_usim_is_selected_on_a_channel_of_its_own_which_is_closed_again() -> None:
    """TS 102 221, 11.1.17."""
    modem = Modem()
    authenticate(modem)
    assert [apdu[0] for apdu in modem.apdus if apdu[1] == 0x88] == [1]
    assert modem.channels_open == set()


def test_card_without_a_free_channel_is_used_on_the_basic_one() -> None:
    modem = Modem(channels=0)
    assert isinstance(authenticate(modem), AkaKeys)
    assert {apdu[0] for apdu in modem.apdus} == {0}


def test_repeated_challenge_comes_back_as_synchronisation_failure() -> None:
    modem = Modem()
    authenticate(modem)
    again = authenticate(modem)
    assert isinstance(again, SyncFailure)
    assert network().open_auts(RAND, again.auts) == bytes.fromhex("000000000021")


def test_false_network_is_reported_and_the_channel_closed() -> None:
    modem = Modem()
    with pytest.raises(AuthenticationFailed, match="aka_mac"):
        authenticate(modem, autn=bytes(16))
    assert modem.channels_open == set()


@pytest.mark.parametrize("instruction", [0xA4, 0x88])
def test_card_that_refuses_is_an_error_with_its_status(instruction: int) -> None:
    modem = Modem()
    modem.status[instruction] = 0x6A82
    with pytest.raises(ResourceError, match="6A82"):
        authenticate(modem)
    assert modem.channels_open == set()


def test_modem_that_bars_the_card_is_an_error() -> None:
    modem = Modem()
    modem.barred = True
    with pytest.raises(ResourceError, match="refuses access"):
        authenticate(modem)


def test_modem_that_is_silent_ends_after_the_timeout() -> None:
    modem = Modem()
    modem.silent = True
    with pytest.raises(ResourceError, match="does not answer"):
        authenticate(modem, timeout=0.1)


def test_port_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ResourceError, match="serial port"):
        ModemUsim("/dev/no-such-port").authenticate(RAND, AUTN)
