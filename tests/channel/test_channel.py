"""TLS and DTLS by certificate, both roles (`ueagent/channel/channel.py`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from support.channels import ALICE, BOB, CM80, GCM128, GCM256, carry, end, new_identity, pump

from ueagent.channel.channel import Kind, Role, SecureChannel, State
from ueagent.channel.credentials import Identity
from ueagent.channel.records import split_records
from ueagent.crypto.certificate import SelfSigned
from ueagent.errors import AuthenticationFailed, PeerError
from ueagent.model.keys import Secret

LABEL = "EXTRACTOR-dtls_srtp"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
KINDS = pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)


def pair(kind: Kind = Kind.DATAGRAM, profiles: tuple[int, ...] = ()) -> tuple[SecureChannel, SecureChannel]:
    client, server = end(Role.CLIENT, kind, profiles=profiles), end(Role.SERVER, kind, profiles=profiles)
    pump(client, server)
    return client, server


# -------------------------------------------------------------------------------------------------------- handshake --


@KINDS
def test_both_ends_open_and_export_the_same_key(kind: Kind) -> None:
    """DTLS-14."""
    client, server = pair(kind)
    assert (client.state, server.state) == (State.OPEN, State.OPEN)
    assert client.export_key(LABEL, 60) == server.export_key(LABEL, 60)
    assert client.export_key(LABEL, 60) != client.export_key("EXTRACTOR-other", 60)


@KINDS
def test_each_end_knows_the_other_by_the_digest_of_its_certificate(kind: Kind) -> None:
    """DTLS-7, TLS-11."""
    client, server = pair(kind)
    for name in ("sha-256", "sha-384", "sha-512"):
        assert client.peer_digest(name) == BOB.own[0].fingerprint(name).digest
        assert server.peer_digest(name) == ALICE.own[0].fingerprint(name).digest


@KINDS
def test_plaintext_goes_both_ways(kind: Kind) -> None:
    client, server = pair(kind)
    client.send(b"from the client")
    server.send(b"from the server")
    assert carry(client, server) == [b"from the client"]
    assert carry(server, client) == [b"from the server"]


def test_datagrams_keep_their_bounds() -> None:
    """T38-7."""
    client, server = pair()
    for text in (b"one", b"two", b"three"):
        client.send(text)
    outputs = client.take_output()
    assert len(outputs) == 3
    assert [server.feed(datagram, 0.0) for datagram in reversed(outputs)] == [[b"three"], [b"two"], [b"one"]]


def test_a_repeated_or_changed_datagram_gives_nothing() -> None:
    client, server = pair()
    client.send(b"once")
    (datagram,) = client.take_output()
    changed = datagram[:-1] + bytes([datagram[-1] ^ 1])
    assert server.feed(changed, 0.0) == []
    assert server.feed(datagram, 0.0) == [b"once"]
    assert server.feed(datagram, 0.0) == []


def test_a_stream_may_be_cut_anywhere() -> None:
    client, server = end(Role.CLIENT, Kind.STREAM), end(Role.SERVER, Kind.STREAM)
    pump(client, server, lambda output: [output[i : i + 7] for i in range(0, len(output), 7)])
    client.send(bytes(40000))
    assert b"".join(carry(client, server)) == bytes(40000)


@KINDS
def test_nothing_is_sent_before_the_channel_is_open(kind: Kind) -> None:
    client = end(Role.CLIENT, kind)
    with pytest.raises(ValueError, match="handshake"):
        client.send(b"early")
    with pytest.raises(ValueError, match="handshake"):
        client.export_key(LABEL, 60)
    assert client.take_output() == []


@KINDS
def test_a_goodbye_is_heard(kind: Kind) -> None:
    client, server = pair(kind)
    client.close()
    assert carry(client, server) == []
    assert server.peer_closed
    assert client.state is State.CLOSED
    client.close()


# ---------------------------------------------------------------------------------------------------- SRTP profiles --


@pytest.mark.parametrize("profile", [GCM128, CM80, GCM256])
def test_a_profile_alone_is_agreed(profile: int) -> None:
    """DTLS-11, DTLS-12."""
    client, server = pair(profiles=(profile,))
    assert (client.srtp_profile, server.srtp_profile) == (profile, profile)


def test_the_server_takes_the_first_of_its_own_that_the_client_offers() -> None:
    """DTLS-10."""
    client = end(Role.CLIENT, profiles=(CM80, GCM128))
    server = end(Role.SERVER, profiles=(GCM256, GCM128, CM80))
    pump(client, server)
    assert client.srtp_profile == server.srtp_profile
    assert client.srtp_profile in (GCM128, CM80)


def test_no_common_profile_is_none() -> None:
    """DTLS-10: what this means is decided above."""
    client, server = end(Role.CLIENT, profiles=(GCM256,)), end(Role.SERVER, profiles=(CM80,))
    pump(client, server)
    assert (client.srtp_profile, server.srtp_profile) == (None, None)


# --------------------------------------------------------------------------------------------------- authentication --


@KINDS
@pytest.mark.parametrize("refusing", list(Role), ids=lambda role: role.value)
def test_a_certificate_that_is_not_the_right_one_ends_the_handshake(kind: Kind, refusing: Role) -> None:
    """DTLS-8, MSRP-7."""
    never: Callable[[bytes], bool] = lambda certificate: False  # noqa: E731
    ends = {role: end(role, kind, verify=never) if role is refusing else end(role, kind) for role in Role}
    with pytest.raises(AuthenticationFailed) as caught:
        pump(ends[Role.CLIENT], ends[Role.SERVER])
    assert caught.value.code == "fingerprint_mismatch"
    assert ends[refusing].state is State.FAILED
    with pytest.raises(ValueError, match="failed"):
        ends[refusing].export_key(LABEL, 60)


def test_the_other_end_hears_bad_certificate() -> None:
    """DTLS-8: alert 42."""
    client, server = end(Role.CLIENT, verify=lambda certificate: False), end(Role.SERVER)
    client.start(0.0)
    with pytest.raises(AuthenticationFailed):
        _to_and_fro(client, server)
    alerts = [one for datagram in client.take_output() for one in split_records(datagram) if one[0] == 21]
    assert [alert[13:] for alert in alerts] == [b"\x02\x2a"]


def _to_and_fro(client: SecureChannel, server: SecureChannel) -> None:
    for sender, receiver in ((client, server), (server, client)) * 2:
        for datagram in sender.take_output():
            receiver.feed(datagram, 0.0, b"peer")


def foreign_end(server: bool, **options: object) -> SSL.Connection:
    """pyOpenSSL by itself: a peer that does not keep to our profile."""
    context = SSL.Context(options.pop("method", SSL.DTLS_METHOD))  # type: ignore[arg-type]
    for name, value in options.items():
        getattr(context, name)(*value) if isinstance(value, tuple) else getattr(context, name)(value)
    connection = SSL.Connection(context)
    connection.set_accept_state() if server else connection.set_connect_state()
    return connection


def key_pair(key: Key) -> tuple[x509.Certificate, Key]:
    """A certificate that is out of date."""
    name = x509.Name([])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2021, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return made, key


def talk(ours: SecureChannel, theirs: SSL.Connection) -> None:
    """Until nobody has anything to say; our errors are raised."""
    for _ in range(12):
        ours.start(0.0)
        for datagram in ours.take_output():
            theirs.bio_write(datagram)
        try:
            theirs.do_handshake()
        except SSL.Error:
            pass
        try:
            ours.feed(theirs.bio_read(65536), 0.0, b"peer")
        except SSL.Error:
            return


def test_a_client_without_certificate_is_refused() -> None:
    """DTLS-7, TLS-11."""
    ours = end(Role.SERVER, cookie=False)
    with pytest.raises(AuthenticationFailed) as caught:
        talk(ours, foreign_end(False, set_verify=(SSL.VERIFY_NONE,)))
    assert caught.value.code == "no_certificate"


def test_a_certificate_out_of_date_is_accepted() -> None:
    """TLS-10: the fingerprint decides."""
    certificate, key = key_pair(ec.generate_private_key(ec.SECP384R1()))
    ours = end(Role.CLIENT)
    talk(ours, foreign_end(True, use_certificate=certificate, use_privatekey=key))
    assert ours.state is State.OPEN


@pytest.mark.parametrize("liar", [BOB, ALICE], ids=["server", "client"])
@pytest.mark.parametrize("spoiled", ["point", "version"])
def test_a_certificate_that_cannot_be_read_is_refused(liar: Identity, spoiled: str) -> None:
    """TLS-10: changed on its way, as anybody on the path can; it ends the handshake and nothing else."""
    der = liar.own[0].certificate
    point = (
        x509.load_der_x509_certificate(der)
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    )
    wrong = (
        der.replace(point, point[:1] + bytes(len(point) - 1))
        if spoiled == "point"
        else der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)
    )
    assert wrong != der
    client, server = end(Role.CLIENT), end(Role.SERVER)
    with pytest.raises(PeerError):
        pump(client, server, lambda datagram: [datagram.replace(der, wrong)])
    assert State.FAILED in (client.state, server.state)


@pytest.mark.parametrize(
    "key", [lambda: rsa.generate_private_key(65537, 1024), lambda: ec.generate_private_key(ec.SECP521R1())]
)
def test_a_key_outside_of_the_profile_is_refused(key: Callable[[], Key]) -> None:
    """TLS-6, TLS-10."""
    certificate, private = key_pair(key())
    theirs = foreign_end(True, set_cipher_list=b"ALL:@SECLEVEL=0", use_certificate=certificate, use_privatekey=private)
    ours = end(Role.CLIENT)
    with pytest.raises(PeerError):
        talk(ours, theirs)
    assert ours.state is State.FAILED


# ----------------------------------------------------------------------------------------------------------- profile --


def hello_of(kind: Kind, **options: bool) -> bytes:
    client = end(Role.CLIENT, kind, profiles=(GCM128,) if kind is Kind.DATAGRAM else (), **options)
    client.start(0.0)
    return b"".join(client.take_output())


def suites_of(hello: bytes, at: int) -> list[str]:
    """The cipher suites behind version, random, session and (DTLS) cookie."""
    at += 2 + 32
    at += 1 + hello[at]
    if hello[0:3] == b"\x16\xfe\xff" or hello[1] == 0xFE:
        at += 1 + hello[at]
    length = int.from_bytes(hello[at : at + 2], "big")
    return [hello[at + 2 + i : at + 4 + i].hex() for i in range(0, length, 2)]


def test_a_dtls_hello_offers_exactly_the_suites_of_the_profile() -> None:
    """TLS-4, TLS-5, TLS-6, DTLS-22: numbers by IANA."""
    assert suites_of(hello_of(Kind.DATAGRAM), 25) == ["c02b", "c02f", "c02c", "c030"]
    assert suites_of(hello_of(Kind.DATAGRAM, dhe_rsa=True), 25) == ["c02b", "c02f", "c02c", "c030", "009e"]


def extensions_of(hello: bytes) -> dict[str, bytes]:
    """Of a hello that has the null compression method alone."""
    end_of_suites = hello.index(bytes.fromhex("c0300100")) + 4
    found, rest = {}, hello[end_of_suites + 2 :]
    while rest:
        length = int.from_bytes(rest[2:4], "big")
        found[rest[:2].hex()] = rest[4 : 4 + length]
        rest = rest[4 + length :]
    return found


@KINDS
def test_a_hello_asks_for_no_ticket(kind: Kind) -> None:
    """TLS-9: no session_ticket, no pre_shared_key, no early_data."""
    assert {"0023", "0029", "002a"}.isdisjoint(extensions_of(hello_of(kind)))


@KINDS
def test_a_hello_has_the_groups_of_the_profile(kind: Kind) -> None:
    """TLS-13: x25519, secp256r1, secp384r1."""
    assert extensions_of(hello_of(kind))["000a"] == bytes.fromhex("0006001d00170018")


def test_our_profiles_are_offered_in_order_and_without_mki() -> None:
    """DTLS-10, DTLS-13: use_srtp of RFC 5764, 4.1.1."""
    client = end(Role.CLIENT, profiles=(GCM128, GCM256, CM80))
    client.start(0.0)
    (hello,) = client.take_output()
    assert extensions_of(hello)["000e"] == bytes.fromhex("0006 0007 0008 0001 00")


def test_an_mki_is_answered_with_none() -> None:
    """DTLS-13: it is optional to use, and empty means that we do not."""
    client, server = end(Role.CLIENT, profiles=(GCM128,)), end(Role.SERVER, profiles=(GCM128,), cookie=False)
    client.start(0.0)
    (hello,) = client.take_output()
    with_mki = bytearray(hello.replace(bytes.fromhex("000e0005000200 0700"), bytes.fromhex("000e000600020007 01aa")))
    assert len(with_mki) == len(hello) + 1
    end_of_suites = with_mki.index(bytes.fromhex("c0300100")) + 4
    for at, width in ((11, 2), (14, 3), (22, 3), (end_of_suites, 2)):  # record, message, fragment, extensions
        longer = int.from_bytes(with_mki[at : at + width], "big") + 1
        with_mki[at : at + width] = longer.to_bytes(width, "big")
    server.feed(bytes(with_mki), 0.0)
    assert server.state is State.HANDSHAKE
    assert bytes.fromhex("000e00050002000700") in b"".join(server.take_output())


@KINDS
def test_a_hello_has_safe_renegotiation_and_no_compression(kind: Kind) -> None:
    """TLS-7, TLS-8: an empty renegotiation_info (RFC 5746), the null method alone behind the suites."""
    hello = hello_of(kind)
    assert bytes.fromhex("ff01000100") in hello
    assert bytes.fromhex("c030") + b"\x01\x00" in hello


def test_a_tls_hello_offers_exactly_the_suites_of_the_profile() -> None:
    """TLS-3..6, MSRP-9."""
    assert suites_of(hello_of(Kind.STREAM), 9) == ["1301", "1302", "c02b", "c02f", "c02c", "c030"]


@pytest.mark.parametrize(
    ("kind", "version"),
    [(Kind.STREAM, SSL.TLS1_VERSION), (Kind.STREAM, SSL.TLS1_1_VERSION), (Kind.DATAGRAM, 0xFEFF)],
)
@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_old_versions_are_refused(kind: Kind, version: int, role: Role) -> None:
    """TLS-1."""
    certificate, key = key_pair(ec.generate_private_key(ec.SECP256R1()))
    theirs = foreign_end(
        role is Role.CLIENT,
        method=SSL.TLS_METHOD if kind is Kind.STREAM else SSL.DTLS_METHOD,
        set_cipher_list=b"ALL:@SECLEVEL=0",
        set_min_proto_version=version,
        set_max_proto_version=version,
        use_certificate=certificate,
        use_privatekey=key,
    )
    ours = end(role, kind, cookie=False)
    try:
        talk(ours, theirs)
    except PeerError:
        pass
    assert ours.state is not State.OPEN


@pytest.mark.parametrize(
    "suite", [b"AES128-SHA", b"ECDHE-ECDSA-AES128-SHA", b"ECDHE-ECDSA-NULL-SHA", b"AES128-GCM-SHA256"]
)
def test_suites_outside_of_the_profile_are_refused(suite: bytes) -> None:
    """TLS-6, MSRP-9: CBC, NULL, static RSA."""
    certificate, key = key_pair(ec.generate_private_key(ec.SECP256R1()))
    theirs = foreign_end(
        False, set_cipher_list=suite + b":@SECLEVEL=0", use_certificate=certificate, use_privatekey=key
    )
    ours = end(Role.SERVER, cookie=False)
    with pytest.raises(PeerError):
        talk(ours, theirs)


@KINDS
def test_the_profile_is_what_two_of_us_agree_on(kind: Kind) -> None:
    """TLS-1, TLS-2, TLS-4: RFC 7627 is in use."""
    client, server = pair(kind)
    wanted = ("TLSv1.3", "TLS_AES_128_GCM_SHA256")
    if kind is Kind.DATAGRAM:
        wanted = ("DTLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")
        assert client.extended_master_secret
    assert (client.version, client.cipher) == wanted
    assert (server.version, server.cipher) == wanted


def test_the_rsa_certificate_serves_a_peer_that_needs_it() -> None:
    """T38-8: one identity, two certificates."""
    both = new_identity("ecdsa-p256", "rsa-3072")
    certificate, key = key_pair(ec.generate_private_key(ec.SECP256R1()))
    for suite, own in ((b"ECDHE-RSA-AES128-GCM-SHA256", 1), (b"ECDHE-ECDSA-AES128-GCM-SHA256", 0)):
        theirs = foreign_end(False, set_cipher_list=suite, use_certificate=certificate, use_privatekey=key)
        ours = end(Role.SERVER, identity=both, cookie=False, dhe_rsa=True)
        talk(ours, theirs)
        assert ours.state is State.OPEN
        shown = theirs.get_peer_certificate(as_cryptography=True)
        assert shown is not None
        assert shown.public_bytes(serialization.Encoding.DER) == both.own[own].certificate


# ---------------------------------------------------------------------------------------------- the path and attacks --


@given(st.integers(300, 1400))
@settings(max_examples=20, deadline=None)
def test_no_datagram_is_larger_than_the_path(mtu: int) -> None:
    """DTLS-29."""
    client, server = end(Role.CLIENT, mtu=mtu), end(Role.SERVER, mtu=mtu)
    sizes: list[int] = []

    def measured(datagram: bytes) -> list[bytes]:
        sizes.append(len(datagram))
        return [datagram]

    pump(client, server, measured)
    assert (client.state, server.state) == (State.OPEN, State.OPEN)
    assert max(sizes) <= mtu


def test_a_server_remembers_nobody_without_a_cookie() -> None:
    """TLS-12: a thousand hellos from as many places leave it as it was."""
    client, server = end(Role.CLIENT), end(Role.SERVER)
    client.start(0.0)
    (hello,) = client.take_output()
    for number in range(1000):
        server.feed(hello, 0.0, f"{number}".encode())
        (answer,) = server.take_output()
        assert len(answer) <= len(hello)  # nobody is flooded through us
    assert server.state is State.LISTENING
    assert server.next_timeout() is None


def test_a_cookie_serves_only_where_it_was_sent() -> None:
    """TLS-12."""
    client, server = end(Role.CLIENT), end(Role.SERVER)
    client.start(0.0)
    server.feed(client.take_output()[0], 0.0, b"here")
    client.feed(server.take_output()[0], 0.0)
    (with_cookie,) = client.take_output()
    server.feed(with_cookie, 0.0, b"elsewhere")
    assert server.state is State.LISTENING
    server.take_output()
    server.feed(with_cookie, 0.0, b"here")
    assert server.state is State.HANDSHAKE


@given(
    st.lists(
        st.binary(min_size=1, max_size=300) | st.binary(max_size=60).map(lambda b: b"\x16\xfe\xfd" + b), max_size=8
    )
)
@settings(deadline=None)
def test_garbage_does_not_stop_a_listening_server(garbage: list[bytes]) -> None:
    """DTLS-16."""
    client, server = end(Role.CLIENT), end(Role.SERVER)
    for datagram in garbage:
        server.feed(datagram, 0.0, b"attacker")
        server.take_output()
    pump(client, server)
    assert server.state is State.OPEN


@given(st.lists(st.binary(min_size=1, max_size=100), max_size=8))
@settings(deadline=None)
def test_garbage_does_not_disturb_an_open_channel(garbage: list[bytes]) -> None:
    client, server = pair()
    for datagram in garbage:
        assert server.feed(b"\x17\xfe\xfd" + datagram, 0.0) == []
        assert server.feed(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28" + datagram, 0.0) == []
    client.send(b"still here")
    assert carry(client, server) == [b"still here"]


def fragmented(datagram: bytes, room: int = 60) -> list[bytes]:
    """A handshake message of one record as several, each in a datagram of its own (RFC 6347, 4.2.3)."""
    (record,) = split_records(datagram)
    kind, length, number, body = record[13:14], record[14:17], record[17:19], record[25:]
    pieces = []
    for at in range(0, len(body), room):
        part = body[at : at + room]
        message = kind + length + number + at.to_bytes(3, "big") + len(part).to_bytes(3, "big") + part
        sequence = (int.from_bytes(record[5:11], "big") * 10 + at // room).to_bytes(6, "big")
        pieces.append(record[:5] + sequence + len(message).to_bytes(2, "big") + message)
    return pieces


@pytest.mark.parametrize("room", [90, 120])
def test_a_fragmented_hello_is_taken(room: int) -> None:
    """A post-quantum ClientHello is larger than a datagram; the cookie comes with its first part."""
    client, server = end(Role.CLIENT), end(Role.SERVER)
    client.start(0.0)
    (hello,) = client.take_output()
    for piece in fragmented(hello, room):
        server.feed(piece, 0.0, b"client")
    client.feed(server.take_output()[0], 0.0)
    (with_cookie,) = client.take_output()
    pieces = fragmented(with_cookie, room)
    assert len(pieces) > 1
    for piece in pieces:
        server.feed(piece, 0.0, b"client")
    pump(client, server)
    assert (client.state, server.state) == (State.OPEN, State.OPEN)


def test_renegotiation_is_refused() -> None:
    """TLS-7, DTLS-24: a HelloRequest inside the channel starts nothing."""
    certificate, key = key_pair(ec.generate_private_key(ec.SECP256R1()))
    theirs = foreign_end(
        True,
        use_certificate=certificate,
        use_privatekey=key,
        method=SSL.TLS_METHOD,
        set_max_proto_version=SSL.TLS1_2_VERSION,
    )
    ours = end(Role.CLIENT, Kind.STREAM)
    talk(ours, theirs)
    assert ours.state is State.OPEN
    before = ours.export_key(LABEL, 60)
    theirs.renegotiate()
    try:
        theirs.do_handshake()
    except SSL.WantReadError:
        pass
    try:
        ours.feed(theirs.bio_read(65536), 0.0)
    except PeerError:
        assert ours.state is State.FAILED
        return
    (answer,) = ours.take_output()
    assert answer[0] == 21  # an alert, no ClientHello
    assert ours.export_key(LABEL, 60) == before


def test_a_lost_flight_is_sent_again() -> None:
    """DTLS-23: the library says when; the test waits for that event, once."""
    client, server = end(Role.CLIENT), end(Role.SERVER)
    client.start(0.0)
    lost = client.take_output()
    wait = client.next_timeout()
    assert wait is not None
    assert 0.5 < wait <= 1.0
    client.handle_timeout()
    assert client.take_output() == []  # not yet
    _until_due(client)
    client.handle_timeout()
    again = client.take_output()
    assert [len(datagram) for datagram in again] == [len(datagram) for datagram in lost]
    for datagram in again:
        server.feed(datagram, 0.0, b"client")
    pump(client, server)
    assert server.state is State.OPEN


def _until_due(channel: SecureChannel) -> None:
    from threading import Event

    while wait := channel.next_timeout():
        Event().wait(min(wait, 2.0))


# ----------------------------------------------------------------------------------------------------------- secrets --


def test_nothing_shows_a_key() -> None:
    """POL-8."""
    client, _ = pair()
    key = bytes(client.export_key(LABEL, 60).reveal()).hex()
    for shown in (repr(client), repr(ALICE), repr(ALICE.own[0])):
        assert key not in shown
        assert "Secret(" not in shown


def test_a_wiped_identity_keeps_no_key() -> None:
    """POL-8."""
    identity = new_identity()
    channel = end(Role.CLIENT, identity=identity)
    channel.start(0.0)
    identity.wipe()
    assert all(len(own.private_key) == 0 for own in identity.own)
    assert identity._contexts == {}


def test_an_identity_from_its_parts_works() -> None:
    own = ALICE.own[0]
    copy = Identity(SelfSigned(own.certificate, Secret(own.private_key.reveal())))
    client, server = end(Role.CLIENT, identity=copy), end(Role.SERVER)
    pump(client, server)
    assert server.peer_digest("sha-256") == own.fingerprint().digest
