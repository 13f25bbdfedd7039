"""Two ends of a secure channel and what lies between them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

from ueagent.channel.channel import Kind, Role, SecureChannel
from ueagent.channel.credentials import CertificateCredentials, Identity
from ueagent.crypto.certificate import create_self_signed
from ueagent.errors import AgentError
from ueagent.model.keys import Secret

BORN = datetime(2026, 11, 24, tzinfo=UTC)
GCM128, GCM256, CM80, CM32 = 0x0007, 0x0008, 0x0001, 0x0002


def new_identity(*kinds: str) -> Identity:
    return Identity(*(create_self_signed(BORN, os.urandom, kind) for kind in kinds or ("ecdsa-p256",)))


ALICE, BOB = new_identity(), new_identity()


def anyone(certificate: bytes) -> bool:
    return True


def end(
    role: Role,
    kind: Kind = Kind.DATAGRAM,
    identity: Identity | None = None,
    verify: Callable[[bytes], bool] = anyone,
    profiles: tuple[int, ...] = (),
    *,
    mtu: int = 1200,
    cookie: bool = True,
    dhe_rsa: bool = False,
) -> SecureChannel:
    own = identity or (ALICE if role is Role.CLIENT else BOB)
    return SecureChannel(
        kind,
        role,
        CertificateCredentials(own, verify),
        srtp_profiles=profiles,
        mtu=mtu,
        cookie_key=Secret(b"c" * 32) if cookie else None,
        dhe_rsa=dhe_rsa,
    )


def pump(client: SecureChannel, server: SecureChannel, pieces: Callable[[bytes], list[bytes]] | None = None) -> None:
    """Carry what each end has for the other until both are silent. Errors of an end are raised when all is carried."""
    client.start(0.0)
    errors: list[AgentError] = []
    moved = True
    while moved:
        moved = False
        for sender, receiver, source in ((client, server, b"client"), (server, client, b"server")):
            for output in sender.take_output():
                moved = True
                for piece in pieces(output) if pieces else [output]:
                    try:
                        receiver.feed(piece, 0.0, source)
                    except AgentError as error:
                        errors.append(error)
    if errors:
        raise errors[0]


def carry(sender: SecureChannel, receiver: SecureChannel) -> list[bytes]:
    """What the receiver gets of the sender's output."""
    return [plain for output in sender.take_output() for plain in receiver.feed(output, 0.0, b"peer")]
