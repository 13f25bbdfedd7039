"""The scenario of DTLS handshakes measures whole ones: both ends have compared fingerprints and have the same keys."""

import json

import pytest
from ueagent_bench.scenarios import dtls_handshakes

from ueagent.errors import PeerError

US = ("ours_us", "channel_us", "pyopenssl_us", "aiortc_us")


def test_every_subject_ends_with_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """No timing is asserted."""
    assert dtls_handshakes.main(["--rounds", "1", "--handshakes", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["handshakes"], found["absent"]) == (2, {})
    assert all(found[name] > 0 for name in US)


def test_without_aiortc_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtls_handshakes, "find_spec", lambda name: None)
    found = dtls_handshakes.run(1, 1)
    assert (found.aiortc_us, found.ours_to_aiortc) == (None, None)
    assert found.absent == {"aiortc": dtls_handshakes.ABSENT}


@pytest.mark.parametrize("made", [dtls_handshakes._ours, dtls_handshakes._channels])
def test_a_handshake_with_a_wrong_certificate_is_not_counted(
    made: dtls_handshakes.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    handshake = made()
    monkeypatch.setattr("ueagent.keymgmt.dtls_association.fits", lambda certificate, accepted: False)
    monkeypatch.setattr(dtls_handshakes, "fits", lambda certificate, accepted: False)
    with pytest.raises((AssertionError, PeerError)):
        handshake()
