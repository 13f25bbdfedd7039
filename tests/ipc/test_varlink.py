"""Varlink framing: what crosses the socket, octet by octet."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ueagent.errors import MalformedMessage
from ueagent.ipc import api, varlink
from ueagent.ipc.varlink import Framer, ServiceError, parse_call, parse_parameters, parse_reply


def call(**members: object) -> bytes:
    return json.dumps({"method": "org.example.Ping", **members}).encode()


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\0", b"")), max_size=6), st.integers(1, 9))
def test_messages_come_out_whole_however_the_stream_is_cut(messages: list[bytes], step: int) -> None:
    stream = b"".join(message + b"\0" for message in messages)
    framer = Framer(64)
    found = [m for at in range(0, len(stream), step) for m in framer.feed(stream[at : at + step])]
    assert found == messages


def test_message_of_the_largest_size_passes_and_one_octet_more_is_refused() -> None:
    assert Framer(8).feed(b"12345678\0") == [b"12345678"]
    with pytest.raises(MalformedMessage) as caught:
        Framer(8).feed(b"123456789")
    assert caught.value.code == "message_too_long"


def test_unfinished_message_is_bounded_over_many_pieces() -> None:
    framer = Framer(1000)
    assert not any(framer.feed(b"x") for _ in range(1000))
    with pytest.raises(MalformedMessage):
        framer.feed(b"x")


def test_call_members_are_read() -> None:
    found = parse_call(call(parameters={"a": 1}, more=True))
    assert (found.method, found.interface, found.parameters) == ("org.example.Ping", "org.example", {"a": 1})
    assert found.more
    assert not found.oneway


def test_null_member_is_an_absent_member() -> None:
    found = parse_call(call(parameters={"a": None, "b": {"c": None}, "d": [{"e": None}]}, more=None))
    assert found.parameters == {"b": {}, "d": [{}]}
    assert not found.more


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"method":"org.a.B","parameters":{"sdp":"\xff"}}', "not_json"),
        (b'{"method":"\\ud800.x"}', "not_json"),
        (b'{"method":"org.a.B"} trailing', "not_json"),
        (b'{"a":' + b"9" * 5000 + b"}", "not_json"),
        (b'{"a":1e999}', "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":' + b"[" * 100_000, "not_json"),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "nested_too_deeply"),
        (b"[]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"{}", "no_method"),
        (b'{"method":"Ping"}', "no_method"),
        (b'{"method":7}', "wrong_type"),
        (b'{"method":"org.a.B","parameters":[]}', "wrong_type"),
        (b'{"method":"org.a.B","more":1}', "wrong_type"),
    ],
)
def test_whatever_does_not_parse_is_one_typed_error(message: bytes, code: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse_call(message)
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_any_octets_parse_or_raise_malformed_message(data: bytes) -> None:
    for parse in (parse_call, parse_reply):
        try:
            parse(data)
        except (MalformedMessage, ServiceError):
            pass


def test_upgrade_is_refused() -> None:
    with pytest.raises(ServiceError) as caught:
        parse_call(call(upgrade=True))
    assert (caught.value.name, caught.value.parameters) == (
        "org.varlink.service.InvalidParameter",
        {"parameter": "upgrade"},
    )


def test_more_and_oneway_exclude_each_other() -> None:
    with pytest.raises(ServiceError):
        parse_call(call(more=True, oneway=True))


@pytest.mark.parametrize(
    ("parameters", "culprit"),
    [
        ({}, "signalling"),
        ({"signalling": "perhaps"}, "signalling"),
        ({"signalling": "none", "sdp": 7}, "sdp"),
        ({"signalling": "none", "colour": "blue"}, "colour"),
        ({"signalling": "none", "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9": 1}, "parameters"),
    ],
)
def test_wrong_parameter_is_named_and_never_quoted(parameters: dict[str, object], culprit: str) -> None:
    with pytest.raises(ServiceError) as caught:
        parse_parameters(parameters, api.CreateOfferRequest)
    assert caught.value.parameters == {"parameter": culprit}


def test_wrong_member_of_a_nested_struct_is_named_with_its_path() -> None:
    parameters = {"session": "s", "final": True, "dialog": {"call_id": 5}}
    with pytest.raises(ServiceError) as caught:
        parse_parameters(parameters, api.AcceptAnswerRequest)
    assert caught.value.parameters == {"parameter": "dialog.call_id"}


def test_messages_that_are_built_parse_again() -> None:
    request = api.SubscribeRequest(session="s1")
    sent = parse_call(varlink.build_call("org.ueagent.Agent.Subscribe", request, more=True)[:-1])
    assert (sent.method, sent.parameters, sent.more) == ("org.ueagent.Agent.Subscribe", {"session": "s1"}, True)
    reply = parse_reply(varlink.build_reply(api.SubscribeReply(), continues=True)[:-1])
    assert (reply.parameters, reply.continues, reply.error) == ({}, True, None)
    failed = parse_reply(varlink.build_error("org.example.Bad", {"code": "c"})[:-1])
    assert (failed.error, failed.parameters) == ("org.example.Bad", {"code": "c"})


def test_nothing_of_a_call_shows_in_its_repr() -> None:
    assert "secret" not in repr(parse_call(call(parameters={"sdp": "secret"})))
