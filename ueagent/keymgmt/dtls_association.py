"""The DTLS association of one 5-tuple, from its first ClientHello to SRTP keys. RFC 5764; DTLS-7..10, -13..16, -30.

Before it is established, several peers may try: each place that shows a valid cookie is a candidate. Whoever has the
signalled fingerprint becomes the peer; all others are dropped without harm to it. There is room for few candidates,
and the place that signalling named always finds some.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from ueagent.channel.channel import Kind, Role, SecureChannel, State
from ueagent.channel.credentials import CertificateCredentials, Identity
from ueagent.channel.records import begins_association, client_random
from ueagent.errors import AuthenticationFailed, PeerError
from ueagent.keymgmt.fingerprints import fits
from ueagent.keymgmt.mechanism import SendDatagram
from ueagent.model.keys import KeySet, MasterKey, Secret
from ueagent.model.media import Place
from ueagent.model.security import Fingerprint
from ueagent.model.suites import suite_of_profile

LABEL: Final = "EXTRACTOR-dtls_srtp"  # RFC 5764, 4.2
MAX_CANDIDATES: Final = 4
CANDIDATE_SECONDS: Final = 10.0  # a candidate that has not finished by then is dropped
MAX_RESTARTS: Final = 8  # of a peer at one place, before it is established
COOKIE_KEY_LENGTH: Final = 32

Rng = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """What every association of a line works with. `profiles` in order of preference (DTLS-12).

    Without profiles there are no SRTP keys, and what it carries are data of its own (RFC 7345).
    """

    identity: Identity
    profiles: tuple[int, ...]
    mtu: int
    window: int  # packets of the receiving replay list
    rng: Rng
    dhe_rsa: bool = False  # T38-8


@dataclass(slots=True, eq=False)
class _Candidate:
    channel: SecureChannel
    began: float
    randoms: frozenset[bytes] = frozenset()  # of the hellos that began it and its forerunners: their copies are old


class Association:
    """`rtcp` says whose port it is. Output for the network collects in `datagrams`."""

    def __init__(self, means: Means, *, rtcp: bool) -> None:
        self.rtcp = rtcp
        self.datagrams: list[SendDatagram] = []
        self.received: list[bytes] = []  # data of the peer, where there are no profiles
        self.failure: PeerError | None = None
        self.first_hello: float | None = None  # when somebody first showed a cookie
        self._means = means
        self._accepted: frozenset[Fingerprint] | None = None  # None: signalling has not told yet
        self._open = False  # other answers may come yet: who fits this one's fingerprints not may fit theirs (DYN-3)
        self._source: Place | None = None  # of the datagram at hand
        self._peer: Place | None = None
        self._role: Role | None = None
        self._candidates: dict[Place, _Candidate] = {}
        self._listener: SecureChannel | None = None
        self._chosen: Place | None = None
        self._keys_taken = False
        self._refusal: PeerError | None = None
        self._told: set[str] = set()
        self._notices: list[str] = []
        self._cookie_key = Secret(means.rng(COOKIE_KEY_LENGTH))

    # ------------------------------------------------------------------------------------------------ signalling --

    @property
    def started(self) -> bool:
        return self._role is not None

    @property
    def established(self) -> bool:
        """A peer with the right fingerprint has finished its handshake."""
        return self._chosen is not None

    @property
    def refusal(self) -> PeerError | None:
        """Why the last candidate that failed did so."""
        return self._refusal

    def take_notices(self) -> list[str]:
        """Which rules failed, each once, for somebody who came from elsewhere than signalling says: the peer behind a
        NAT, or nobody of ours. It ends nothing."""
        notices, self._notices = self._notices, []
        return notices

    def listen(self) -> None:
        """As DTLS server: a ClientHello is answered from now on, also before the far side's fingerprints are known."""
        self._role = Role.SERVER

    def expect(
        self, accepted: frozenset[Fingerprint], peer: Place | None, *, more: bool = False, instead: bool = False
    ) -> None:
        """Signalling has told who the peer is: candidates that finished before are looked at now (DTLS-9).

        `more`: the offer may have gone to several, and another answer may take the place of this one. `instead`: it
        does. Who was the peer is dropped then, and it begins anew with those who have waited.
        """
        if instead and self._chosen is not None:
            del self._candidates[self._chosen]
            self._chosen, self._keys_taken = None, False
        self.failure = None if instead else self.failure
        self._accepted, self._peer, self._open = accepted, normal(peer), more
        if self._chosen is None:
            self._look_again()

    def all_answered(self) -> None:
        """No other answer comes: whoever waited for one is refused."""
        self._open = False
        if self._chosen is None:
            self._look_again()
        else:
            self._only(self._chosen)

    def _look_again(self) -> None:
        """At candidates that have finished, the one at the peer's own place first."""
        for place in sorted(self._candidates, key=lambda place: place != self._peer):
            candidate = self._candidates.get(place)
            if candidate is not None and candidate.channel.state is State.OPEN:
                self._finished(place, candidate.channel)

    def connect(self, to: Place, now: float) -> None:
        """As DTLS client: the first ClientHello leaves."""
        to = Place(_usual(to.address), to.port)
        self._role = Role.CLIENT
        channel = self._channel(Role.CLIENT)
        self._candidates[to] = _Candidate(channel, now)
        channel.start(now)
        self._flush(channel, to)

    # --------------------------------------------------------------------------------------------------- traffic --

    def wants(self, data: bytes, source: Place) -> bool:
        """Whether a datagram is for this association and no other of the same port."""
        if source in self._candidates:
            return True
        awaited = not self.established or self._open
        return self._role is Role.SERVER and awaited and begins_association(data)

    def take(self, data: bytes, source: Place, now: float) -> None:
        """A datagram of the network. What nobody asked for is dropped."""
        self._source = source
        known = self._candidates.get(source)
        # A peer that begins anew from its old place, before anybody is established, has lost what it had.
        if known is not None and self._restarts(known, data):
            known = None
        if known is not None:
            self._step(source, known.channel, lambda: known.channel.feed(data, now, _name(source)))
        elif self.wants(data, source):
            self._hello(data, source, now)

    def expire(self, now: float) -> None:
        """Time has passed: retransmit, and drop candidates that were too slow."""
        for place, candidate in list(self._candidates.items()):
            channel = candidate.channel
            if self._hurries(place, candidate) and now - candidate.began >= CANDIDATE_SECONDS:
                del self._candidates[place]
            elif channel.next_timeout() is not None:
                self._step(place, channel, channel.handle_timeout)

    def next_timeout(self, now: float) -> float | None:
        """Seconds until `expire` has something to do."""
        waits: list[float] = []
        for place, candidate in self._candidates.items():
            if (wait := candidate.channel.next_timeout()) is not None:
                waits.append(wait)
            if self._hurries(place, candidate):
                waits.append(max(0.0, candidate.began + CANDIDATE_SECONDS - now))
        return min(waits, default=None)

    def _hurries(self, place: Place, candidate: _Candidate) -> bool:
        """Whether its time is limited: not the peer, nor one who has finished and waits for its answer."""
        waits = self._open and candidate.channel.state is State.OPEN
        return self._role is Role.SERVER and place != self._chosen and not waits

    def send(self, data: bytes) -> None:
        """Data of our own for the peer, in one datagram. ValueError before it is established."""
        if self._chosen is None:
            raise ValueError("the association is not established")
        channel = self._candidates[self._chosen].channel
        channel.send(data)
        self._flush(channel, self._chosen)

    @property
    def cipher(self) -> str | None:
        """The cipher suite, once it is established."""
        return None if self._chosen is None else self._candidates[self._chosen].channel.cipher

    @property
    def peer_closed(self) -> bool:
        return self._chosen is not None and self._candidates[self._chosen].channel.peer_closed

    def take_keys(self) -> KeySet | None:
        """The SRTP keys, once: when it is established and was not asked before."""
        if self._chosen is None or self._keys_taken:
            return None
        self._keys_taken = True
        return _cut_keys(self._candidates[self._chosen].channel, self._means.window)

    def close(self) -> None:
        """Nothing of it lives on; the peer is not told, since media and signalling end by themselves."""
        self._candidates.clear()
        self._listener = None
        self._cookie_key.wipe()
        self._role = None

    # --------------------------------------------------------------------------------------------------- helpers --

    def _channel(self, role: Role) -> SecureChannel:
        return SecureChannel(
            Kind.DATAGRAM,
            role,
            CertificateCredentials(self._means.identity, self._may_be_peer),
            srtp_profiles=self._means.profiles,
            mtu=self._means.mtu,
            cookie_key=self._cookie_key if role is Role.SERVER else None,
            dhe_rsa=self._means.dhe_rsa,
        )

    def _may_be_peer(self, certificate: bytes) -> bool:
        return self._accepted is None or self._elsewhere(self._source) or fits(certificate, self._accepted)

    def _elsewhere(self, place: Place | None) -> bool:
        """Who has another place than this answer names may be meant by the next one."""
        return self._open and self._role is Role.SERVER and place != self._peer

    def _restarts(self, known: _Candidate, data: bytes) -> bool:
        random = client_random(data)
        return (
            self._role is Role.SERVER
            and not self.established
            and known.channel.state is State.OPEN
            and random is not None
            and random not in known.randoms
            and len(known.randoms) <= MAX_RESTARTS
        )

    def _hello(self, data: bytes, source: Place, now: float) -> None:
        if self._listener is None:
            self._listener = self._channel(Role.SERVER)
        listener = self._listener
        try:
            listener.feed(data, now, _name(source))
        except PeerError as error:  # a cookie that is right, and a hello that we have nothing in common with
            self._refusal = error
        if listener.state is State.LISTENING:
            self._flush(listener, source)
            return
        self._listener = None
        self.first_hello = now if self.first_hello is None else self.first_hello
        if listener.state is State.FAILED:
            self._flush(listener, source)
        elif self._make_room(source, now):
            self._flush(listener, source)
            former = self._candidates.get(source)
            random = client_random(data)
            randoms = frozenset() if former is None else former.randoms
            self._candidates[source] = _Candidate(listener, now, randoms | ({random} if random else frozenset()))

    def _make_room(self, source: Place, now: float) -> bool:
        """For one more candidate. The oldest unfinished one goes for the peer's own place, the rest has to wait."""
        if len(self._candidates) < MAX_CANDIDATES or source in self._candidates:
            return True
        others = [place for place in self._candidates if place not in (self._peer, self._chosen)]
        slow = [place for place in others if now - self._candidates[place].began >= CANDIDATE_SECONDS / 4]
        victims = others if source == self._peer else slow
        if not victims:
            return False
        del self._candidates[min(victims, key=lambda place: self._candidates[place].began)]
        return True

    def _step(self, place: Place, channel: SecureChannel, step: Callable[[], list[bytes] | None]) -> None:
        """One step of a channel, and what follows for the association."""
        was_open = channel.state is State.OPEN
        try:
            data = step()
        except PeerError as error:
            self._flush(channel, place)
            self._gone(place, error)
            return
        self._flush(channel, place)
        if channel.state is State.OPEN and not was_open and self._accepted is not None:
            self._finished(place, channel)
        if data and place == self._chosen and not self._means.profiles:
            self.received += data

    def _finished(self, place: Place, channel: SecureChannel) -> None:
        certificate = channel.peer_certificate
        assert self._accepted is not None
        error: PeerError | None = None
        if certificate is None or not fits(certificate, self._accepted):
            error = AuthenticationFailed(
                "fingerprint_mismatch", "the peer's certificate does not have a fingerprint that was signalled"
            )
        elif self._means.profiles and channel.srtp_profile is None:
            error = PeerError("no_srtp_profile", "the two sides have no SRTP protection profile in common")
        if error is not None and self._elsewhere(place):
            return
        if error is not None:
            channel.close()
            self._flush(channel, place)
            self._gone(place, error)
        elif self._chosen is None:
            self._chosen = place
            self._candidates.setdefault(place, _Candidate(channel, 0.0))
            if not self._open:
                self._only(place)

    def _only(self, place: Place) -> None:
        self._listener = None
        self._candidates = {place: self._candidates[place]}

    def _gone(self, place: Place, error: PeerError) -> None:
        """A candidate has failed. It ends the association only where it can be nobody but the peer (DTLS-8)."""
        if place == self._chosen:
            return  # it has served: SRTP has its keys, and signalling ends the call
        self._candidates.pop(place, None)
        self._refusal = error
        signalled = place == self._peer and isinstance(error, AuthenticationFailed)
        if self._role is Role.CLIENT or signalled or (place == self._peer and error.code == "no_srtp_profile"):
            self.failure = error
        elif isinstance(error, AuthenticationFailed) and not self._open and error.code not in self._told:
            self._told.add(error.code)
            self._notices.append(error.code)

    def _flush(self, channel: SecureChannel, to: Place) -> None:
        self.datagrams += [SendDatagram(datagram, to, self.rtcp) for datagram in channel.take_output()]


def normal(place: Place | None) -> Place | None:
    """With the address in its usual form, as the relay reports it."""
    return None if place is None else Place(_usual(place.address), place.port)


@lru_cache(maxsize=256)
def _usual(address: str) -> str:
    return str(ip_address(address))


def _name(place: Place) -> bytes:
    return f"{place.address} {place.port}".encode()


def _cut_keys(channel: SecureChannel, window: int) -> KeySet:
    """RFC 5764, 4.2: client key, server key, client salt, server salt. The client's keys protect what it sends."""
    profile = channel.srtp_profile
    suite = None if profile is None else suite_of_profile(profile)
    if suite is None:
        raise RuntimeError("an association without a profile has no keys")
    key, salt = suite.key_length, suite.salt_length
    exported = channel.export_key(LABEL, 2 * suite.key_salt_length)
    with memoryview(exported.reveal()) as octets:
        client = MasterKey(Secret(octets[:key]), Secret(octets[2 * key : 2 * key + salt]))
        server = MasterKey(Secret(octets[key : 2 * key]), Secret(octets[2 * key + salt :]))
    exported.wipe()
    send, receive = (client, server) if channel.role is Role.CLIENT else (server, client)
    return KeySet(suite, send, (receive,), window)
