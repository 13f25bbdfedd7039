"""Crypto lines of the lab edge: choosing the UE's, drawing our own, and answering wrongly on purpose (EDGE-17)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ueagent.errors import NegotiationFailed
from ueagent.lab.faults import Fault
from ueagent.lab.srtp_set import PROFILES, ParameterSet
from ueagent.model.keys import Secret
from ueagent.model.media import transport_named
from ueagent.model.suites import SUITES
from ueagent.wire.sdp_attributes import SdesCrypto, SdesKey, SessionParam

Rng = Callable[[int], bytes]

_NAMED: Final = 8  # refused suites in an error
# Parameters that leave the packets as libsrtp makes them (RFC 4568, 6.3).
_HARMLESS: Final = (SessionParam("FEC_ORDER", "FEC_SRTP"), SessionParam("KDR", 0))


def selectable(offered: Sequence[SdesCrypto], suites: Sequence[str]) -> SdesCrypto:
    """The first line the gateway can do: a suite pylibsrtp has, one key, no MKI, no parameter that changes the packets.

    NegotiationFailed names the suites that were refused.
    """
    for line in offered:
        params = [param for param in line.session_params if param.name != "WSH" and param not in _HARMLESS]
        if line.suite in suites and len(line.keys) == 1 and line.keys[0].mki is None and not params:
            return line
    refused = ", ".join(dict.fromkeys(line.suite for line in offered[:_NAMED]))
    raise NegotiationFailed(
        "unsupported_suites",
        f"the lab edge cannot do {refused}: it has {', '.join(suites)}, without MKI",
        field="a=crypto",
    )


def key_of(line: SdesCrypto) -> ParameterSet:
    """What the gateway is told of a line, with its own copy of the key."""
    return ParameterSet(line.suite, line.keys[0].key_salt.copy())


def fresh_line(tag: int, suite: str, rng: Rng) -> SdesCrypto:
    """A line with a new master key and salt."""
    key = SdesKey(Secret(rng(SUITES[suite].key_salt_length)))
    return SdesCrypto(tag=tag, tag_text=str(tag), suite=suite, keys=(key,))


def answer_line(ue: SdesCrypto, rng: Rng) -> SdesCrypto:
    """The right answer to a line: its tag, suite and session parameters, our key (SDES-7)."""
    return replace(fresh_line(ue.tag, ue.suite, rng), tag_text=ue.tag_text, session_params=ue.session_params)


# ----------------------------------------------------------------------------------------------- answers and faults --


@dataclass(frozen=True, slots=True)
class AnswerDraft:
    """What goes into the answer; the gateway gets the first of `lines`."""

    proto: str
    lines: tuple[SdesCrypto, ...]

    @property
    def secured(self) -> bool:
        transport = transport_named(self.proto)
        return transport is not None and transport.sdes


@dataclass(frozen=True, slots=True)
class _Context:
    ue: SdesCrypto
    offered: tuple[SdesCrypto, ...]
    rng: Rng

    def unused_tag(self) -> int:
        return max(line.tag for line in self.offered) % 999_999_999 + 1

    def other_suite(self) -> str:
        return next(suite for suite in PROFILES if suite != self.ue.suite)


def _wrong_tag(draft: AnswerDraft, about: _Context) -> AnswerDraft:
    tag = about.unused_tag()
    return replace(draft, lines=(replace(draft.lines[0], tag=tag, tag_text=str(tag)),))


def _wrong_suite(draft: AnswerDraft, about: _Context) -> AnswerDraft:
    return replace(draft, lines=(fresh_line(about.ue.tag, about.other_suite(), about.rng),))


def _two_lines(draft: AnswerDraft, about: _Context) -> AnswerDraft:
    second = next((line for line in about.offered if line.tag != about.ue.tag and line.suite in PROFILES), about.ue)
    return replace(draft, lines=(*draft.lines, answer_line(second, about.rng)))


def _missing_crypto(draft: AnswerDraft, about: _Context) -> AnswerDraft:
    return replace(draft, lines=())


def _plain_answer(draft: AnswerDraft, about: _Context) -> AnswerDraft:
    transport = transport_named(draft.proto)
    assert transport is not None  # it came from our table
    return AnswerDraft(transport.plain, ())


def _echoed_key(draft: AnswerDraft, about: _Context) -> AnswerDraft:
    same = replace(about.ue.keys[0], key_salt=about.ue.keys[0].key_salt.copy())
    return replace(draft, lines=(replace(draft.lines[0], keys=(same,)),))


_FAULTY: Final[dict[Fault, Callable[[AnswerDraft, _Context], AnswerDraft]]] = {
    Fault.WRONG_TAG: _wrong_tag,
    Fault.WRONG_SUITE: _wrong_suite,
    Fault.TWO_LINES: _two_lines,
    Fault.MISSING_CRYPTO: _missing_crypto,
    Fault.PLAIN_ANSWER: _plain_answer,
    Fault.ECHOED_KEY: _echoed_key,
}


def draft_answer(
    fault: Fault, proto: str, own: SdesCrypto, ue: SdesCrypto, offered: tuple[SdesCrypto, ...], rng: Rng
) -> AnswerDraft:
    """The answer to the UE's line `ue`, with the deviation that `fault` asks for."""
    draft = AnswerDraft(proto, (own,))
    spoil = _FAULTY.get(fault)
    return draft if spoil is None else spoil(draft, _Context(ue, offered, rng))
