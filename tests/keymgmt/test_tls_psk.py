"""TLS-PSK keyed by a MIKEY-TICKET call."""

from __future__ import annotations

import pytest
from support.channels import carry, pump
from support.mikey_world import MIXED, RCC, TLS, World

from ueagent.channel.channel import Kind, Role, SecureChannel
from ueagent.channel.credentials import PskCredentials
from ueagent.errors import AuthenticationFailed, PeerError
from ueagent.keymgmt.mikey_ticket import Transfer
from ueagent.keymgmt.tls_psk import accepted_identities, credentials_of, psk_identity
from ueagent.model.keys import Secret


@pytest.fixture(scope="module")
def ends() -> tuple[Transfer, Transfer]:
    return World().call(MIXED, (RCC, TLS))


def channel(role: Role, credentials: PskCredentials) -> SecureChannel:
    return SecureChannel(Kind.STREAM, role, credentials, cookie_key=Secret(b"c" * 32))


def test_both_ends_of_a_call_talk_tls_with_its_key(ends: tuple[Transfer, Transfer]) -> None:
    """KMS-80, KMS-81, KMS-85."""
    client, server = (
        channel(role, credentials_of(transfer, 3))
        for role, transfer in zip((Role.CLIENT, Role.SERVER), ends, strict=True)
    )
    pump(client, server)
    client.send(b"MSRP")
    assert carry(client, server) == [b"MSRP"]


def test_key_of_another_call_opens_nothing(ends: tuple[Transfer, Transfer]) -> None:
    """KMS-86: closed, no fallback."""
    world = World()
    world.rng(1)
    other = world.call(MIXED, (RCC, TLS))[1]
    name = credentials_of(ends[0], 3).identity
    wrong = PskCredentials(name, next(s for s in other.sessions if s.cs_id == 3).key.copy())
    with pytest.raises(PeerError):
        pump(channel(Role.CLIENT, credentials_of(ends[0], 3)), channel(Role.SERVER, wrong))


def test_identity_names_bundle_session_and_spi() -> None:
    """CHOICE-13 of the sheet."""
    assert psk_identity(0x01020304, 3, b"\xaa\xbb") == b"01020304.03.aabb"


def test_identity_may_also_be_the_spi(ends: tuple[Transfer, Transfer]) -> None:
    """KMS-83: in hexadecimal or as it is."""
    transfer = ends[1]
    session = transfer.sessions[2]
    for name in accepted_identities(transfer.header.csb_id, session):
        assert credentials_of(transfer, 3, name).identity == name
    assert session.spi.hex().encode() in accepted_identities(1, session)
    with pytest.raises(AuthenticationFailed, match="psk_identity"):
        credentials_of(transfer, 3, b"somebody")


def test_rtp_session_gives_no_tls_key(ends: tuple[Transfer, Transfer]) -> None:
    """KMS-63."""
    with pytest.raises(ValueError, match="no TLS"):
        credentials_of(ends[0], 1)


def test_credentials_own_a_copy_of_the_key(ends: tuple[Transfer, Transfer]) -> None:
    credentials_of(ends[0], 3).key.wipe()
    assert len(ends[0].sessions[2].key) == 32
