"""SDES: `a=crypto` offers and answers of one media line. RFC 4568, 5 and 7.1; SDES-1..22, POL-10.

A key in SDP is the key its sender transmits with (SDES-5), so ours is `send` and theirs is `receive` in both roles. Of
what was agreed this mechanism keeps its own key, which the next offer must repeat, and a keyed digest of the peer's.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from ueagent.errors import AgentError, NegotiationFailed, ResourceError
from ueagent.keymgmt.mechanism import (
    AnswerRequested,
    Closed,
    Failed,
    Input,
    KeyAttribute,
    KeysLost,
    KeysReady,
    OfferRequested,
    Output,
    PeerFault,
    PutAttributes,
    RemoteAnswer,
    RemoteOffer,
    RolledBack,
    Settled,
    step_of,
)
from ueagent.model.keys import KeySet, Mki, Secret
from ueagent.model.media import MediaKind
from ueagent.model.security import MediaPlan, SecurityPolicy
from ueagent.model.suites import SUITES, CryptoSuite
from ueagent.wire.sdp_attributes import SdesCrypto, SdesKey, SessionParam

KEY_DRAWS: Final = 4  # a random source that repeats itself this often is broken
DIGEST_KEY_LENGTH: Final = 32
MKI_LENGTH: Final = 4  # SDES-11
MAX_WINDOW: Final = 1024  # packets; 5.3

Rng = Callable[[int], bytes]

# 5.3: which session parameters of the peer we can live with. A name that is missing makes the line unacceptable.
PARAMETER_RULES: Final = MappingProxyType[str, Callable[[object], bool]](
    {
        "KDR": lambda _: False,  # Annex C: no key derivation rate
        "UNENCRYPTED_SRTP": lambda _: False,  # POL-10
        "UNENCRYPTED_SRTCP": lambda _: False,
        "UNAUTHENTICATED_SRTP": lambda _: False,
        "FEC_ORDER": lambda value: value == "FEC_SRTP",
        "FEC_KEY": lambda _: False,  # a FEC stream of its own, which the relay does not carry
        "WSH": lambda _: True,
    }
)


@dataclass(slots=True, eq=False)
class _Agreed:
    """What offer and answer settled on. `send` is owned here; of the peer's keys only a digest stays."""

    tag: str  # as first written
    suite: CryptoSuite
    send: SdesKey
    peer: bytes

    def wipe(self) -> None:
        self.send.key_salt.wipe()


class Sdes:
    """One media line. `offer` and `accept` are names of suites, ours in order of preference."""

    def __init__(
        self,
        rng: Rng,
        *,
        offer: tuple[str, ...],
        accept: frozenset[str],
        lifetime: int | None = None,
        mki: bool = False,
        symmetric_mki: bool = False,
        window: int = 128,
    ) -> None:
        self._rng = rng
        self._offer_suites = tuple(SUITES[name] for name in offer)
        self._accept = accept
        self._lifetime = lifetime
        self._mki = mki
        self._mki_value = 0
        self._symmetric_mki = symmetric_mki
        self._window = window
        self._digest_key = Secret(rng(DIGEST_KEY_LENGTH))
        self._state = "idle"
        self._current: _Agreed | None = None
        self._proposed: _Agreed | None = None
        self._ours: tuple[SdesCrypto, ...] = ()  # in the exchange in progress
        self._theirs: SdesCrypto | None = None
        self._moved = False
        self._offered_keys: frozenset[bytes] = frozenset()  # digests; no key in the answer may be among them

    @property
    def state(self) -> str:
        return self._state

    def handle(self, event: Input, now: float) -> list[Output]:
        try:
            return step_of(TRANSITIONS, self._state, event)(self, event)
        except AgentError as error:
            _wipe(getattr(event, "attributes", ()))
            return [Failed(error)]

    # -------------------------------------------------------------------------------------------- as offerer --

    def _offer(self, event: OfferRequested) -> list[Output]:
        """New keys, one line per suite (SDES-4, -6), or the current line again (SDES-15)."""
        current = self._current
        if current is not None and not event.fresh:
            lines: tuple[SdesCrypto, ...] = (_line(current.tag, current.suite, _copy(current.send)),)
        else:
            taken: set[bytes] = set()
            mki = self._next_mki()
            lines = tuple(
                _line(str(tag), suite, self._draw(suite, mki, taken)) for tag, suite in enumerate(self._offer_suites, 1)
            )
        self._ours = lines
        self._offered_keys = frozenset(self._master_digests(lines))
        self._state = "offering"
        return [PutAttributes(lines)]

    def _read_answer(self, event: RemoteAnswer) -> list[Output]:
        """SDES-8: one line, with a tag that we offered, its suite, and a key that is not ours."""
        lines = _crypto_of(event.attributes)
        if len(lines) != 1:
            raise _failure("crypto_count", f"{len(lines)} valid crypto lines where one is due")
        theirs = lines[0]
        ours = next((line for line in self._ours if line.tag == theirs.tag), None)
        if ours is None:
            raise _failure("unknown_tag", "the answer names a tag that was not offered")
        if theirs.suite != ours.suite:
            raise _failure("suite_changed", "the answer names another suite than its tag")
        if not _parameters_acceptable(theirs.session_params):
            raise _failure("session_parameter", "the answer asks for session parameters that were not offered")
        if not self._offered_keys.isdisjoint(self._master_digests((theirs,))):
            raise _failure("key_echoed", "the answer repeats a key of the offer")
        return self._agree(theirs, _copy(ours.keys[0]), event.moved, "answered")

    # ------------------------------------------------------------------------------------------- as answerer --

    def _read_offer(self, event: RemoteOffer) -> list[Output]:
        """SDES-7: the first acceptable line; all others are wiped at once."""
        lines = _crypto_of(event.attributes)
        chosen = next((line for line in lines if self._acceptable(line)), None)
        if chosen is None:
            raise _failure("no_common_suite", "no crypto line of the offer is acceptable")
        # Ours counts as offered too: nobody else may hold it.
        own = () if self._current is None else self._master_digests((self._line_of(self._current),))
        if not set(own).isdisjoint(self._master_digests((chosen,))):
            raise _failure("key_echoed", "the offer holds a key of ours")
        self._offered_keys = frozenset(self._master_digests(lines))
        _wipe(line for line in lines if line is not chosen)
        self._theirs = chosen
        self._moved = event.moved
        self._state = "offered"
        return []

    def _answer(self, event: AnswerRequested) -> list[Output]:
        """One line, tag and suite of theirs. Our key stays while theirs stays, and changes with it (DYN-10)."""
        assert self._theirs is not None
        theirs, current = self._theirs, self._current
        suite = SUITES[theirs.suite]
        if (
            current is not None
            and not event.fresh
            and current.suite is suite
            and current.peer == self._peer_digest(theirs)
            and self._offered_keys.isdisjoint(self._master_digests((self._line_of(current),)))
        ):
            key = _copy(current.send)
        else:
            mirrored = theirs.keys[0].mki if self._symmetric_mki else None  # SDES-12
            key = self._draw(suite, mirrored or self._next_mki(), set(self._offered_keys))
        _wipe(self._ours)
        self._ours = (_line(theirs.tag_text, suite, key),)
        return [PutAttributes(self._ours), *self._agree(theirs, _copy(key), self._moved, "answering")]

    def _acceptable(self, line: SdesCrypto) -> bool:
        return line.suite in self._accept and _parameters_acceptable(line.session_params)

    # ------------------------------------------------------------------------------------------ either role --

    def _agree(self, theirs: SdesCrypto, send: SdesKey, moved: bool, state: str) -> list[Output]:
        suite = SUITES[theirs.suite]
        agreed = _Agreed(theirs.tag_text, suite, send, self._peer_digest(theirs))
        current = self._current
        same_peer = current is not None and current.suite is suite and current.peer == agreed.peer
        same_send = current is not None and current.suite is suite and current.send.key_salt == send.key_salt
        if self._proposed is not None:
            self._proposed.wipe()
        if self._theirs is not None and self._theirs is not theirs:
            _wipe((self._theirs,))
        self._proposed, self._theirs, self._state = agreed, theirs, state
        # SDES-14: a new address wants a new key; without one the receiver still starts anew.
        faults: list[Output] = [PeerFault("moved_without_new_key")] if moved and same_peer else []
        if same_peer and same_send and not moved:
            return []
        keys = KeySet(
            suite,
            send=send.master_key(suite),
            receive=tuple(key.master_key(suite) for key in theirs.keys),
            receive_window=self._receive_window(theirs),
        )
        return [*faults, KeysReady(keys, send=not same_send, receive=moved or not same_peer)]

    def _settle(self, event: Settled) -> list[Output]:
        if self._current is not None:
            self._current.wipe()
        self._current, self._proposed = self._proposed, None
        self._end_exchange()
        return []

    def _roll_back(self, event: RolledBack) -> list[Output]:
        if self._proposed is not None:
            self._proposed.wipe()
            self._proposed = None
        self._end_exchange()
        return []

    def _forget_peer(self, event: KeysLost) -> list[Output]:
        """Their key is installed anew, also where it stays the same; a new one of ours is the caller's wish."""
        for agreed in (self._current, self._proposed):
            if agreed is not None:
                agreed.peer = b""
        return []

    def _close(self, event: Closed) -> list[Output]:
        for agreed in (self._current, self._proposed):
            if agreed is not None:
                agreed.wipe()
        self._current = self._proposed = None
        self._end_exchange()
        self._digest_key.wipe()
        self._state = "closed"
        return []

    def _end_exchange(self) -> None:
        _wipe(self._ours)
        if self._theirs is not None:
            _wipe((self._theirs,))
        self._ours, self._theirs, self._moved, self._offered_keys = (), None, False, frozenset()
        self._state = "idle"

    # ------------------------------------------------------------------------------------------------ helpers --

    def _draw(self, suite: CryptoSuite, mki: Mki | None, taken: set[bytes]) -> SdesKey:
        """A fresh key whose master key is not `taken`; its digest is added."""
        for _ in range(KEY_DRAWS):
            secret = Secret(self._rng(suite.key_salt_length))
            key = SdesKey(secret, self._lifetime, mki)
            digest = self._master_digest(suite, key)
            if digest not in taken:
                taken.add(digest)
                return key
            secret.wipe()
        raise ResourceError("random_source", "the random source repeats itself")

    def _next_mki(self) -> Mki | None:
        if not self._mki:
            return None
        self._mki_value += 1
        return Mki(self._mki_value, MKI_LENGTH)

    def _receive_window(self, theirs: SdesCrypto) -> int:
        """5.3: their hint counts where it is wider than ours, up to a limit."""
        hints = [p.value for p in theirs.session_params if p.name == "WSH" and isinstance(p.value, int)]
        return max([self._window, *(min(hint, MAX_WINDOW) for hint in hints)])

    @staticmethod
    def _line_of(agreed: _Agreed) -> SdesCrypto:
        return _line(agreed.tag, agreed.suite, agreed.send)

    def _master_digests(self, lines: Iterable[SdesCrypto]) -> list[bytes]:
        """Digests of the master keys without their salts: one key under two salts still counts as one key."""
        return [
            self._master_digest(suite, key)
            for line in lines
            if (suite := SUITES.get(line.suite)) is not None and suite.selectable
            for key in line.keys
        ]

    def _master_digest(self, suite: CryptoSuite, key: SdesKey) -> bytes:
        with memoryview(key.key_salt.reveal()) as octets, octets[: suite.key_length] as master:
            return hmac.new(self._digest_key.reveal(), master, "sha256").digest()

    def _peer_digest(self, theirs: SdesCrypto) -> bytes:
        """Of everything that makes a receive context what it is; a lifetime alone makes no new key."""
        mac = hmac.new(self._digest_key.reveal(), theirs.suite.encode(), "sha256")
        for key in theirs.keys:
            mki = b"" if key.mki is None else key.mki.octets()
            mac.update(b"|%d:" % len(mki) + mki + b"%d:" % len(key.key_salt))
            mac.update(key.key_salt.reveal())
        return mac.digest()


# What may happen in which state. A repeated answer before Settled replaces the last one.
_ANYTIME: Final[dict[str, Callable[[Sdes, Any], list[Output]]]] = {"KeysLost": Sdes._forget_peer, "Closed": Sdes._close}
TRANSITIONS: Final[dict[str, dict[str, Callable[[Sdes, Any], list[Output]]]]] = {
    "idle": {"OfferRequested": Sdes._offer, "RemoteOffer": Sdes._read_offer, **_ANYTIME},
    "offering": {"RemoteAnswer": Sdes._read_answer, "RolledBack": Sdes._roll_back, **_ANYTIME},
    "answered": {
        "RemoteAnswer": Sdes._read_answer,
        "Settled": Sdes._settle,
        "RolledBack": Sdes._roll_back,
        **_ANYTIME,
    },
    "offered": {"AnswerRequested": Sdes._answer, "RolledBack": Sdes._roll_back, **_ANYTIME},
    "answering": {
        "AnswerRequested": Sdes._answer,
        "Settled": Sdes._settle,
        "RolledBack": Sdes._roll_back,
        **_ANYTIME,
    },
    "closed": {"Closed": Sdes._close},
}


def create(plan: MediaPlan, policy: SecurityPolicy, rng: Rng) -> Sdes:
    """The row's factory. What we offer we also accept."""
    exponent = policy.sdes_lifetime_exponent
    return Sdes(
        rng,
        offer=plan.suites,
        accept=frozenset(plan.suites) | frozenset(policy.accept_suites),
        lifetime=None if exponent is None else 1 << exponent,
        mki=policy.sdes_mki,
        symmetric_mki=policy.sdes_symmetric_mki,
        window=policy.video_window if plan.kind is MediaKind.VIDEO else policy.audio_window,
    )


def _crypto_of(attributes: Iterable[KeyAttribute]) -> tuple[SdesCrypto, ...]:
    return tuple(one for one in attributes if isinstance(one, SdesCrypto))


def _line(tag: str, suite: CryptoSuite, key: SdesKey) -> SdesCrypto:
    return SdesCrypto(int(tag), tag, suite.name, (key,))


def _copy(key: SdesKey) -> SdesKey:
    return SdesKey(key.key_salt.copy(), key.lifetime, key.mki)


def _parameters_acceptable(params: Iterable[SessionParam]) -> bool:
    return all(rule is not None and rule(p.value) for p in params for rule in (PARAMETER_RULES.get(p.name),))


def _wipe(lines: Iterable[KeyAttribute]) -> None:
    for line in lines:
        line.wipe()


def _failure(code: str, detail: str) -> NegotiationFailed:
    return NegotiationFailed(code, detail, field="crypto")
