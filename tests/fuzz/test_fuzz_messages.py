"""Whatever somebody on the way makes of a protected MESSAGE, it opens as it was sent or is one of our errors."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from support.mikey_world import ALICE, BOB, World, account_of

from ueagent.errors import AgentError
from ueagent.keymgmt.mikey_replay import ReplayCache
from ueagent.keymgmt.protected_message import (
    ProtectedMessage,
    message_profile,
    open_message,
    protect_message,
    receive_message,
    wish_for_message,
)
from ueagent.keymgmt.smime import KekLedger
from ueagent.wire.mime import ProtectedBody, build_entity, build_protected, parse_entity, parse_protected

ENTITY = build_entity("text/plain", b"between us")


@dataclass(frozen=True)
class Change:
    """Some octets at a place (counted round the end) replaced by others."""

    place: int
    length: int
    octets: bytes

    def of(self, data: bytes) -> bytes:
        at = self.place % (len(data) + 1)
        return data[:at] + self.octets + data[at + self.length :]


CHANGES = st.lists(
    st.builds(Change, st.integers(0, 4096), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=3
)


class Reader:
    """Bob, who has resolved the ticket: each try begins with empty memories."""

    def __init__(self) -> None:
        self.world = world = World()
        self.profile = world.profile = message_profile(world.profile)
        wish = wish_for_message(account_of(ALICE), (BOB,), world.now, world.rng, self.profile)
        ticket = world.ticket(wish)
        self.message = protect_message(ticket, ALICE, BOB, ENTITY, world.now, world.rng, self.profile)
        received = receive_message(self.message.content_type, self.message.body, ReplayCache(), world.now, self.profile)
        self.resolved = world.resolved(received.transfer)

    def read(self, message: ProtectedMessage, *, tolerant: bool = False) -> bytes | None:
        now, replay, ledger = self.world.now, ReplayCache(), KekLedger(self.world.rng)
        try:
            received = receive_message(message.content_type, message.body, replay, now, self.profile, tolerant=tolerant)
            opened = open_message(received, self.resolved, BOB, replay, ledger, now, self.profile)
            assert opened.sender == ALICE
            parse_entity(opened.entity)
            return opened.entity
        except AgentError:
            return None


READER = Reader()
PARTS = parse_protected(READER.message.content_type, READER.message.body)


def changed(data: bytes, changes: list[Change]) -> bytes:
    for change in changes:
        data = change.of(data)
    return data


def test_message_that_nobody_changed_opens() -> None:
    assert READER.read(READER.message) == ENTITY


@settings(max_examples=200, deadline=None)
@given(CHANGES, st.booleans())
def test_changed_body_opens_as_it_was_or_is_refused(changes: list[Change], tolerant: bool) -> None:
    body = changed(READER.message.body, changes)
    found = READER.read(ProtectedMessage(READER.message.content_type, body), tolerant=tolerant)
    assert found in (None, ENTITY)


@settings(max_examples=200, deadline=None)
@given(CHANGES)
def test_changed_content_type_opens_as_it_was_or_is_refused(changes: list[Change]) -> None:
    text = changed(READER.message.content_type.encode(), changes).decode("latin-1")
    assert READER.read(ProtectedMessage(text, READER.message.body)) in (None, ENTITY)


@settings(max_examples=300, deadline=None)
@given(CHANGES, CHANGES | st.just([]))
def test_changed_mikey_or_cms_opens_as_it_was_or_is_refused(mikey: list[Change], cms: list[Change]) -> None:
    """Behind base64, where changes of the body rarely reach."""
    parts = ProtectedBody(changed(PARTS.mikey, mikey), changed(PARTS.cms, cms))
    message = ProtectedMessage(*build_protected(parts, "b1"))
    assert READER.read(message) in (None, ENTITY)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_octets_as_a_part_are_refused(octets: bytes) -> None:
    for parts in (ProtectedBody(octets, PARTS.cms), ProtectedBody(PARTS.mikey, octets)):
        assert READER.read(ProtectedMessage(*build_protected(parts, base64.b16encode(b"x" * 8).decode()))) is None
