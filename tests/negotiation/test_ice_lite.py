"""Connectivity checks are answered (`ueagent/negotiation/ice_lite.py`); aioice makes them and reads the answers."""

from __future__ import annotations

import pytest
from aioice import stun

from ueagent.model.media import Place
from ueagent.negotiation.ice_lite import MAX_PLACES, Checked, IceLite
from ueagent.wire.ice_attributes import IceCredentials

HERE, ELSEWHERE = Place("192.0.2.7", 5000), Place("192.0.2.8", 5000)


def agent() -> IceLite:
    ice = IceLite(lambda n: bytes(range(n)))
    ice.theirs = IceCredentials("them", "theirpassword0123456789")
    return ice


def check(
    ice: IceLite,
    *,
    name: str | None = None,
    password: str | None = None,
    message_class: stun.Class = stun.Class.REQUEST,
    **attributes: object,
) -> bytes:
    """A check as a full agent makes it."""
    given = {"USERNAME": name or f"{ice.ours.ufrag}:them", "PRIORITY": 1, "ICE-CONTROLLING": 7}
    message = stun.Message(stun.Method.BINDING, message_class, None, given | attributes)
    message.add_message_integrity((password or ice.ours.password).encode())
    message.add_fingerprint()
    return bytes(message)


def read(ice: IceLite, reply: bytes | None) -> stun.Message:
    assert reply is not None
    message = stun.parse_message(reply)
    assert message.check_message_integrity(ice.ours.password.encode())
    return message


def test_check_is_answered_with_the_place_it_came_from() -> None:
    """WEB-4: RFC 8445, 7.3."""
    ice = agent()
    checked = ice.check(check(ice), HERE)
    reply = read(ice, checked.reply)
    assert reply.message_class is stun.Class.RESPONSE
    assert reply.attributes["XOR-MAPPED-ADDRESS"] == (HERE.address, HERE.port)
    assert not checked.nominated
    assert (ice.path, ice.latest, ice.knows(HERE)) == (None, HERE, True)


def test_use_candidate_chooses_the_path() -> None:
    ice = agent()
    assert ice.check(check(ice, **{"USE-CANDIDATE": None}), HERE).nominated
    assert not ice.check(check(ice, **{"USE-CANDIDATE": None}), HERE).nominated
    assert not ice.check(check(ice), ELSEWHERE).nominated
    assert ice.path == ice.latest == HERE
    assert ice.check(check(ice, **{"USE-CANDIDATE": None}), ELSEWHERE).nominated
    assert ice.path == ELSEWHERE


def test_check_that_is_quicker_than_the_answer_is_answered() -> None:
    ice = agent()
    ice.theirs = None
    assert ice.check(check(ice), HERE).reply is not None


@pytest.mark.parametrize(
    "change",
    [
        {"password": "another0123456789password"},
        {"name": "them:them"},
        {"name": "AAECAwQF"},
        {"name": "AAECAwQF:others"},
        {"message_class": stun.Class.RESPONSE},
    ],
)
def test_who_cannot_show_the_credentials_is_refused_and_changes_nothing(change: dict[str, object]) -> None:
    ice = agent()
    assert ice.ours.ufrag == "AAECAwQF"
    checked = ice.check(check(ice, **change, **{"USE-CANDIDATE": None}), HERE)  # type: ignore[arg-type]
    assert (checked.reply, checked.nominated, checked.refused) == (None, False, True)
    assert (ice.path, ice.latest, ice.knows(HERE)) == (None, None, False)


@pytest.mark.parametrize("data", [b"\x00", bytes(20), b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)])
def test_what_is_no_check_is_refused(data: bytes) -> None:
    ice = agent()
    assert ice.check(data, HERE) == Checked(refused=True)


def test_check_without_fingerprint_is_refused() -> None:
    """RFC 8445, 7.1.2: every check has one."""
    ice = agent()
    data = bytearray(check(ice)[:-8])
    data[2:4] = (len(data) - 20).to_bytes(2, "big")
    assert ice.check(bytes(data), HERE).refused


def test_indication_is_no_check() -> None:
    ice = agent()
    checked = ice.check(check(ice, message_class=stun.Class.INDICATION, **{"USE-CANDIDATE": None}), HERE)
    assert (checked, ice.path, ice.latest) == (Checked(), None, None)


def test_peer_that_thinks_itself_controlled_is_told() -> None:
    """RFC 8445, 7.3.1.1."""
    ice = agent()
    message = stun.Message(
        stun.Method.BINDING, stun.Class.REQUEST, None, {"USERNAME": f"{ice.ours.ufrag}:them", "ICE-CONTROLLED": 9}
    )
    message.add_message_integrity(ice.ours.password.encode())
    message.add_fingerprint()
    assert read(ice, ice.check(bytes(message), HERE).reply).attributes["ERROR-CODE"][0] == 487
    assert not ice.knows(HERE)


def test_attribute_that_must_be_understood_and_is_not_is_named() -> None:
    """RFC 8489, 6.3.1."""
    ice = agent()
    message = stun.Message(
        stun.Method.BINDING,
        stun.Class.REQUEST,
        None,
        {"USERNAME": f"{ice.ours.ufrag}:them", "CHANNEL-NUMBER": 0x4000, "USE-CANDIDATE": None},
    )
    message.add_message_integrity(ice.ours.password.encode())
    message.add_fingerprint()
    checked = ice.check(bytes(message), HERE)
    assert read(ice, checked.reply).attributes["ERROR-CODE"][0] == 420
    assert b"\x00\x0a\x00\x02\x00\x0c" in (checked.reply or b"")
    assert (checked.nominated, ice.path) == (False, None)


def test_memory_of_places_is_bounded_and_keeps_the_path() -> None:
    ice = agent()
    ice.check(check(ice, **{"USE-CANDIDATE": None}), HERE)
    for port in range(1, MAX_PLACES + 20):
        ice.check(check(ice), Place("198.51.100.1", port))
    assert sum(ice.knows(Place("198.51.100.1", port)) for port in range(1, MAX_PLACES + 20)) == MAX_PLACES - 1
    assert ice.knows(HERE)
