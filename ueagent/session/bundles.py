"""Which a=key-mgmt covers which lines of one exchange, on either side. RFC 4567; KMS-60 to KMS-66.

A key names a bundle: None at session level, else the index of its only line. One bundle of session level stands where
it covers every active line, otherwise each line has its own; never both (KMS-61). On receipt media level wins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from ueagent.errors import MalformedMessage, NegotiationFailed
from ueagent.keymgmt.mechanism import BundleKeys
from ueagent.keymgmt.mikey_bundle import CoveredLine, KmsEvent, MikeyBundle, MikeyDesk, refused
from ueagent.keymgmt.mikey_exchange import SendKmsRequest
from ueagent.keymgmt.mikey_sessions import srtp_policy_for
from ueagent.model.media import transport_named
from ueagent.model.security import SecurityPolicy
from ueagent.model.suites import SUITES
from ueagent.wire.key_mgmt import KeyMgmt, parse_key_mgmt, protocol_list
from ueagent.wire.mikey import Protocol
from ueagent.wire.mikey_payloads import Sp
from ueagent.wire.mikey_policy import srtp_policy_payload
from ueagent.wire.sdp import MediaSection, Sdp, Section
from ueagent.wire.sdp_attributes import carries

Rng = Callable[[int], bytes]
Key = int | None
KEY_MGMT: Final = "key-mgmt"


class Bundles:
    """`existing` are those of the dialog; until `settle` they go on as they are."""

    def __init__(self, desk: MikeyDesk, rng: Rng, existing: Mapping[Key, MikeyBundle]) -> None:
        self._desk, self._rng, self._existing = desk, rng, existing
        self._taking: dict[Key, MikeyBundle] = {}
        self._lines: dict[Key, tuple[int, ...]] = {}
        self.requests: dict[Key, SendKmsRequest] = {}  # to the KMS, not yet answered

    # ------------------------------------------------------------------------------------------------ our offers --

    def offer(
        self, offer: Sdp, wanted: Collection[int], policy: SecurityPolicy, called: str, *, fresh: bool, now: float
    ) -> None:
        """Begin an offer in which `wanted` lines are keyed by MIKEY-TICKET. AgentError: it cannot be made."""
        active = {line for line, section in enumerate(offer.media) if section.port}
        groups: list[tuple[Key, list[int]]] = [(line, [line]) for line in sorted(wanted)]
        if active == set(wanted):
            groups = [(None, sorted(wanted))]
        policies = offered_policies(policy)
        for key, lines in groups:
            covered = [_covered(line, offer.media[line]) for line in lines]
            bundle = self._begin(key, lines)
            self._asked(key, bundle.offer(covered, called.encode("utf-8"), policies, fresh=fresh, now=now))

    def take_answer(self, answer: Sdp, now: float) -> None:
        """The messages of an answer. One that is missing or not authentic fails the whole answer (KMS-48; RFC 4567)."""
        for key, bundle in self._taking.items():
            if not any(answer.media[line].port for line in self._lines[key]):
                continue
            found = _mikey(_section(answer, key))
            if found is None:
                raise NegotiationFailed("mikey_missing", "the answer has no key-mgmt message", field=KEY_MGMT)
            bundle.take_answer(found, now)

    # ---------------------------------------------------------------------------------------------- their offers --

    def take_offer(self, key: Key, offer: Sdp, lines: Collection[int], now: float) -> None:
        """Their message at one level, for `lines`. AgentError: the whole offer is refused (RFC 4567, 3.3)."""
        try:
            attributes = _key_mgmt(_section(offer, key))
        except MalformedMessage as error:
            raise refused(error, None) from error
        message = next((value.data for value in attributes if value.is_mikey), b"")
        covered = [_covered(line, offer.media[line]) for line in sorted(lines)]
        bundle = self._begin(key, sorted(lines))
        self._asked(key, bundle.take_offer(message, protocol_list(attributes), covered, now))

    def answer(self, answer: Sdp, accepted: Collection[int], now: float) -> None:
        """Make the messages of our answer; the dialer's own, which tells SSRCs, is `answer`."""
        for key, bundle in self._taking.items():
            lines = self._lines[key]
            if set(lines) & set(accepted):
                bundle.answer({line: _ssrc(answer.media[line]) for line in lines}, now)

    # ------------------------------------------------------------------------------------------------------ both --

    def kms_replied(self, key: Key, event: KmsEvent, now: float) -> SendKmsRequest | None:
        """Another request, or None: the bundle waits no longer. AgentError: it gets no keys."""
        del self.requests[key]
        request = self._taking[key].kms_replied(event, now)
        self._asked(key, request)
        return request

    def drop(self, line: int) -> None:
        """The line will not be keyed by its bundle after all."""
        key = self.key_of(line)
        if key in self._taking and line in self._lines[key]:
            self._lines[key] = tuple(one for one in self._lines[key] if one != line)
            if not self._lines[key]:
                self._give_up(key)

    def key_of(self, line: int) -> Key:
        return line if line in self._taking else None

    def lines_of(self, key: Key) -> tuple[int, ...]:
        return self._lines.get(key, ())

    def covers(self, line: int) -> bool:
        return line in self._lines.get(self.key_of(line), ())

    def identity(self, line: int) -> str | None:
        """Who has the other end of a line, as the KMS vouches."""
        bundle = self._taking.get(self.key_of(line))
        name = None if bundle is None or not self.covers(line) else bundle.identity
        return None if name is None else name.decode("utf-8", "replace")

    def keys(self, line: int) -> tuple[BundleKeys, ...]:
        """For the line's mechanism, after `take_answer` or `answer`."""
        bundle = self._taking[self.key_of(line)]
        return (BundleKeys(bundle.keys_of(line)),)

    def attributes(self, key: Key) -> list[bytes]:
        """What our SDP holds at that level."""
        bundle = self._taking.get(key)
        attribute = None if bundle is None else bundle.attribute()
        return [] if attribute is None else [attribute]

    def settle(self, accepted: Collection[int]) -> dict[Key, MikeyBundle]:
        """The bundles that live on; all others are over."""
        living: dict[Key, MikeyBundle] = {}
        for key, bundle in self._taking.items():
            stand = set(self._lines[key]) & set(accepted)
            if stand:
                bundle.settle(whole=stand == set(self._lines[key]))
                living[key] = bundle
        for bundle in (*self._taking.values(), *self._existing.values()):
            if bundle not in living.values():
                bundle.close()
        return living

    def undo(self) -> None:
        for key in list(self._taking):
            self._give_up(key)

    def _begin(self, key: Key, lines: Iterable[int]) -> MikeyBundle:
        bundle = self._existing.get(key)
        if bundle is None:
            bundle = MikeyBundle(self._desk, self._rng)
        bundle.desk = self._desk
        self._taking[key], self._lines[key] = bundle, tuple(lines)
        return bundle

    def _asked(self, key: Key, request: SendKmsRequest | None) -> None:
        if request is not None:
            self.requests[key] = request

    def _give_up(self, key: Key) -> None:
        bundle = self._taking.pop(key)
        del self._lines[key]
        self.requests.pop(key, None)
        if bundle in self._existing.values():
            bundle.roll_back()
        else:
            bundle.close()


def offered_policies(policy: SecurityPolicy) -> tuple[Sp, ...]:
    """One SP payload for each suite; it says ROC carrying where policy wants it and RFC 4771 knows it (RCC-7)."""
    said = []
    for name in policy.kms_suites:
        suite = SUITES[name]
        rcc = policy.kms_rcc and not suite.aead
        said.append(srtp_policy_for(suite, rcc=rcc, rate=policy.kms_rcc_rate))
    return tuple(srtp_policy_payload(number, one) for number, one in enumerate(said, 1))


def levels_of(offer: Sdp) -> dict[Key, list[int]]:
    """The lines under each a=key-mgmt of an offer. Those that a certificate or nothing secures are under none."""
    levels: dict[Key, list[int]] = {}
    session = offer.session.attribute(KEY_MGMT) is not None
    for line, section in enumerate(offer.media):
        if not section.port or not _keyed_by_mikey(section):
            continue
        if section.attribute(KEY_MGMT) is not None:
            levels[line] = [line]
        elif session:
            levels.setdefault(None, []).append(line)
    return levels


def same_identity(one: str, other: str) -> bool:
    """Two URIs of one user; parameters and the case of scheme and host do not tell users apart."""
    return _bare(one) == _bare(other)


def _bare(uri: str) -> tuple[str, str]:
    scheme, _, rest = uri.strip().strip("<>").partition(":")
    user, at, host = rest.partition(";")[0].rpartition("@")
    return scheme.lower().replace("sips", "sip"), user + at + host.lower()


def _keyed_by_mikey(section: MediaSection) -> bool:
    transport = transport_named(section.proto)
    if transport is None:
        return "/TLS/" in section.proto.upper() and not carries(section, "fingerprint")
    return transport.sdes or (not transport.rtp and transport.fingerprint and not carries(section, "fingerprint"))


def _covered(line: int, section: MediaSection) -> CoveredLine:
    transport = transport_named(section.proto)
    rtp = transport is not None and transport.rtp
    return CoveredLine(line, Protocol.SRTP if rtp else Protocol.TLS, _ssrc(section))


def _ssrc(section: MediaSection) -> int:
    """Ours, where the dialer tells it (RFC 5576); the core binds streams by authentic packets anyway."""
    attribute = section.attribute("ssrc")
    word = (attribute.value or b"").split(b" ")[0] if attribute is not None else b""
    return int(word) if word.isdigit() and len(word) <= 10 and int(word) < 1 << 32 else 0


def _section(sdp: Sdp, key: Key) -> Section:
    return sdp.session if key is None else sdp.media[key]


def _key_mgmt(section: Section) -> list[KeyMgmt]:
    return [parse_key_mgmt(attribute.value or b"") for attribute in section.attributes_named(KEY_MGMT)]


def _mikey(section: Section) -> bytes | None:
    with contextlib.suppress(MalformedMessage):
        return next((value.data for value in _key_mgmt(section) if value.is_mikey), None)
    return None
