"""MIKEY-TICKET on one RTP line: its part of what the bundle agreed on. TS 33.328, 7.2.3; KMS-48, KMS-61.

The messages are the bundle's (`keymgmt.mikey_bundle`), which covers several lines and asks the KMS. What is left for a
line is to take its keys over when offer or answer brought them, and never to stand without any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ueagent.errors import NegotiationFailed
from ueagent.keymgmt.mechanism import (
    AnswerRequested,
    BundleKeys,
    Closed,
    Failed,
    Input,
    KeyAttribute,
    KeysReady,
    OfferRequested,
    Output,
    PutAttributes,
    RemoteAnswer,
    RemoteOffer,
    RolledBack,
    Settled,
)
from ueagent.model.keys import KeySet
from ueagent.model.media import MediaKind
from ueagent.model.security import MediaPlan, SecurityPolicy

Rng = Callable[[int], bytes]


class MikeyLine:
    def __init__(self, window: int) -> None:
        self._window = window
        self._keyed = False  # what holds has keys
        self._keys: KeySet | None = None  # of their offer, until our answer goes out
        self._proposed = False  # the exchange in progress brought keys

    def handle(self, event: Input, now: float) -> list[Output]:
        match event:
            case OfferRequested():
                return [PutAttributes(())]
            case RemoteOffer(attributes):
                self._forget()
                self._keys = self._windowed(_keys_in(attributes))
                return []
            case AnswerRequested():
                keys, self._keys = self._keys, None
                return self._ready(keys, [PutAttributes(())])
            case RemoteAnswer(attributes):
                return self._ready(self._windowed(_keys_in(attributes)), [])
            case Settled():
                self._keyed = self._keyed or self._proposed
                self._forget()
            case RolledBack():
                self._forget()
            case Closed():
                self._forget()
                self._keyed = False
            case _:
                pass  # no datagrams, no timers
        return []

    def _ready(self, keys: KeySet | None, outputs: list[Output]) -> list[Output]:
        if keys is not None:
            self._proposed = True
            return [*outputs, KeysReady(keys)]
        if self._keyed:
            return outputs
        return [Failed(NegotiationFailed("mikey_missing", "no authentic key-mgmt message gives this line keys"))]

    def _windowed(self, keys: KeySet | None) -> KeySet | None:
        return None if keys is None else replace(keys, receive_window=self._window)

    def _forget(self) -> None:
        if self._keys is not None:
            self._keys.wipe()
        self._keys, self._proposed = None, False


def _keys_in(attributes: tuple[KeyAttribute, ...]) -> KeySet | None:
    found = (attribute.keys for attribute in attributes if isinstance(attribute, BundleKeys))
    return next((keys for keys in found if isinstance(keys, KeySet)), None)


def create(plan: MediaPlan, policy: SecurityPolicy, rng: Rng) -> MikeyLine:
    return MikeyLine(policy.video_window if plan.kind is MediaKind.VIDEO else policy.audio_window)
