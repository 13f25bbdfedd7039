"""A ClientHello that does not fit one datagram, as every browser sends since it has a post-quantum key share in it.

DTLS 1.2 of OpenSSL has no such share, so its hello is made as long by the protocols that it offers; it is the library
that cuts it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from support.channels import new_identity
from support.dtls_pair import End

from ueagent.channel.records import HANDSHAKE, begins_association, split_records
from ueagent.keymgmt.mechanism import DatagramReceived, OfferRequested, RemoteAnswer, Settled
from ueagent.model.media import Component, Endpoint, Place
from ueagent.model.security import SetupRole
from ueagent.wire.dtls_attributes import DtlsParameters

BROWSER = Endpoint("192.0.2.20", 51000, 51000)
PLACE = Place(BROWSER.address, BROWSER.rtp_port)
LONG = [bytes([letter]) * 200 for letter in b"abcdefg"]
MTU = 1200


class Client:
    """A bare pyOpenSSL client."""

    def __init__(self) -> None:
        self.identity = new_identity()
        context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        (own,) = self.identity.own
        context.use_certificate(x509.load_der_x509_certificate(own.certificate))
        context.use_privatekey(serialization.load_der_private_key(own.private_key.reveal(), None))  # type: ignore[arg-type]
        context.set_options(SSL.OP_NO_QUERY_MTU)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        context.set_tlsext_use_srtp(b"SRTP_AEAD_AES_128_GCM")
        context.set_alpn_protos(LONG)
        self.tls = SSL.Connection(context, None)
        self.tls.set_ciphertext_mtu(MTU)
        self.tls.set_connect_state()
        self.open = False

    def step(self, datagram: bytes | None = None) -> list[bytes]:
        """Each record that it writes, as a datagram."""
        if datagram is not None:
            self.tls.bio_write(datagram)
        if not self.open:
            try:
                self.tls.do_handshake()
                self.open = True
            except SSL.WantReadError:
                pass
        return self.written()

    def written(self) -> list[bytes]:
        try:
            return list(split_records(self.tls.bio_read(65536)))
        except SSL.WantReadError:
            return []


def straight(datagrams: list[bytes]) -> list[bytes]:
    return datagrams


def hello_backwards(datagrams: list[bytes]) -> list[bytes]:
    return datagrams[::-1] if begins_association(datagrams[0]) else datagrams


@pytest.mark.parametrize("carry", [straight, hello_backwards])
def test_hello_in_two_datagrams_is_taken(carry: Callable[[list[bytes]], list[bytes]]) -> None:
    """DTLS-9, DTLS-29: with a cookie asked for in between. Out of order it takes what the client repeats."""
    client, agent = Client(), End("alice", "192.0.2.10")
    agent.do(OfferRequested(False))
    parameters = DtlsParameters(client.identity.fingerprints(), SetupRole.ACTIVE, "a" * 32)
    agent.do(RemoteAnswer((parameters,), False, BROWSER))
    agent.do(Settled())
    to_agent = client.step()
    hellos = [datagram for datagram in to_agent if datagram[0] == HANDSHAKE]
    assert len(hellos) == 2
    assert max(map(len, hellos)) <= MTU
    for _ in range(20):
        for datagram in carry(to_agent) if to_agent else []:
            agent.do(DatagramReceived(datagram, PLACE))
        to_agent = []
        for sent in agent.sent:
            to_agent += client.step(sent.data)
        agent.sent = []
        if client.open and agent.keys[Component.BOTH]:
            break
        if not to_agent:  # its own timer, in real time
            threading.Event().wait((client.tls.DTLSv1_get_timeout() or 0) + 0.01)
            client.tls.DTLSv1_handle_timeout()
            to_agent = client.written()
            carry = straight
    assert agent.keys[Component.BOTH]
    assert client.tls.get_selected_srtp_profile() == b"SRTP_AEAD_AES_128_GCM"
