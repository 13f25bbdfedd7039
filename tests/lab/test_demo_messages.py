"""The checks of the demonstration's message can fail: agents that do something wrong are noticed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from ueagent.client import AgentClient
from ueagent.errors import AgentError, KmsError, NegotiationFailed
from ueagent.ipc import api
from ueagent.lab.demo_messages import MessageReport, exchange_message

BODY = "not readable"


@dataclass
class Softphone:
    """Answers from a list, the last of them for ever."""

    answers: list[Any] = field(default_factory=list)
    body: str = BODY

    async def protect_message(self, *, content: str, content_type: str, **_more: Any) -> api.ProtectReply:
        SAID.update(content=content, content_type=content_type)
        return api.ProtectReply(content_type="multipart/mixed", body=self.body, stream=True)

    async def open_message(self, **_given: Any) -> api.OpenReply:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, AgentError):
            raise answer
        return api.OpenReply(**{"sender": "sip:alice@example.com", "origin_proven": False, **SAID, **answer})


SAID: dict[str, Any] = {}
NOT_FOR_YOU, REPLAYED = KmsError("kms_refused", ""), NegotiationFailed("mikey_invalid_time", "")


def report(
    opened: dict[str, Any] | None = None, *, again: Any = REPLAYED, outsider: Any = NOT_FOR_YOU, body: str = BODY
) -> MessageReport:
    clients = {
        "alice": Softphone(body=body),
        "bob": Softphone([opened or {}, again]),
        "carol": Softphone([outsider]),
    }
    return asyncio.run(exchange_message(cast("dict[str, AgentClient]", clients), "alice", "bob", "carol"))


def test_message_that_is_as_it_should_be_has_no_problems() -> None:
    found = report()
    assert (found.problems, found.verified, found.bit_exact) == ((), True, True)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"opened": {"sender": "sip:carol@example.com"}}, "the message came from sip:carol@example.com"),
        ({"opened": {"warnings": ["asserted_identity_differs"]}}, "the message came from sip:alice@example.com"),
        ({"opened": {"content": "something else"}}, "what was opened is not what was protected"),
        ({"opened": {"content_type": "text/html"}}, "what was opened is not what was protected"),
        ({"body": "Nobody between us"}, "2 words of the message were readable"),
        ({"outsider": {}}, "somebody who is not its recipient could open the message"),
        ({"again": {}}, "the message could be opened twice"),
    ],
)
def test_what_is_wrong_with_a_message_is_said(given: dict[str, Any], problem: str) -> None:
    assert report(**given).problems == (problem,)


def test_message_that_cannot_be_opened_is_a_problem() -> None:
    clients = {name: Softphone([NOT_FOR_YOU]) for name in ("alice", "bob", "carol")}
    failed = asyncio.run(exchange_message(cast("dict[str, AgentClient]", clients), "alice", "bob", "carol"))
    assert failed.problems == ("kms_refused: ",)
    assert not failed.verified
