"""Pre-shared keys (`ueagent/channel/psk.py`), against ourselves and the library's own command line program."""

from __future__ import annotations

import pytest
from support.channels import carry, pump

from ueagent.channel import library, psk
from ueagent.channel.channel import Kind, Role, SecureChannel, State
from ueagent.channel.credentials import PskCredentials
from ueagent.errors import PeerError, ResourceError
from ueagent.model.keys import Secret

KEY = bytes(range(32))


def end(role: Role, kind: Kind, key: bytes = KEY, identity: bytes = b"ticket") -> SecureChannel:
    return SecureChannel(kind, role, PskCredentials(identity, Secret(key)), cookie_key=Secret(b"c" * 32))


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)
def test_two_holders_of_one_key_talk(kind: Kind) -> None:
    client, server = end(Role.CLIENT, kind), end(Role.SERVER, kind)
    pump(client, server)
    client.send(b"hello")
    assert carry(client, server) == [b"hello"]
    assert client.version in ("TLSv1.2", "DTLSv1.2")
    assert "GCM" in str(client.cipher)


@pytest.mark.parametrize("plain", [False, True])
def test_suite_with_forward_secrecy_is_what_two_of_us_agree(plain: bool) -> None:
    """KMS-84: DHE-PSK comes first, also where plain PSK is allowed."""
    ends = [SecureChannel(Kind.STREAM, role, PskCredentials(b"ticket", Secret(KEY), plain=plain)) for role in Role]
    pump(*ends)
    assert [one.cipher for one in ends] == ["DHE-PSK-AES128-GCM-SHA256"] * 2


@pytest.mark.parametrize("suite", ["DHE-PSK-AES128-GCM-SHA256", "DHE-PSK-AES256-GCM-SHA384", "PSK-AES128-GCM-SHA256"])
@pytest.mark.parametrize("plain", [False, True])
def test_peer_with_one_suite_gets_it_unless_it_lacks_forward_secrecy(
    monkeypatch: pytest.MonkeyPatch, suite: str, plain: bool
) -> None:
    """KMS-84: plain PSK by switch only."""
    server = SecureChannel(Kind.STREAM, Role.SERVER, PskCredentials(b"ticket", Secret(KEY), plain=plain))
    monkeypatch.setattr(psk, "CIPHERS", suite.encode())
    client = SecureChannel(Kind.STREAM, Role.CLIENT, PskCredentials(b"ticket", Secret(KEY)))
    if suite.startswith("PSK") and not plain:
        with pytest.raises(PeerError):
            pump(client, server)
        return
    pump(client, server)
    assert client.cipher == suite


@pytest.mark.parametrize(("key", "identity"), [(b"x" * 32, b"ticket"), (KEY, b"another")])
def test_another_key_or_name_ends_the_handshake(key: bytes, identity: bytes) -> None:
    client, server = end(Role.CLIENT, Kind.STREAM, key, identity), end(Role.SERVER, Kind.STREAM)
    with pytest.raises(PeerError):
        pump(client, server)
    assert server.state is not State.OPEN


@pytest.mark.parametrize("identity", [b"", b"a\0b", b"a" * 129])
def test_an_identity_that_the_library_cannot_carry_is_refused(identity: bytes) -> None:
    with pytest.raises(ValueError, match="identity"):
        end(Role.CLIENT, Kind.STREAM, identity=identity)


def test_a_library_without_the_callbacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_NEEDED", (*library._NEEDED, "SSL_of_another_world"))
    with pytest.raises(ResourceError) as caught:
        library.check_library()
    assert "SSL_of_another_world" in caught.value.detail
    assert library.SUPPORTED in caught.value.detail


def test_no_repr_shows_the_key() -> None:
    assert KEY.hex() not in repr(PskCredentials(b"ticket", Secret(KEY)))
