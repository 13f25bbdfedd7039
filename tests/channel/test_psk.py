"""Pre-shared keys (`ueagent/channel/psk.py`), against ourselves and the library's own command line program."""

from __future__ import annotations

import pytest
from support.channels import carry, pump

from ueagent.channel import library
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
