"""Shapes that implementations put on the wire, each offered to a session and answered to one, with its exact outcome.

FIELD-1..17, SDES-1, -2, -7..10, -22, SDP-2, -3, -11..13, CAP-2, -3, -10. Keys are our own. A refusal is one typed error
that shows no key and changes nothing: the same session takes a good description afterwards.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from support.pair import AT_EDGE, Agent, crypto_lines, dialer_answer, plain

from ueagent.model.security import SecurityPolicy
from ueagent.model.suites import SUITES
from ueagent.session.commands import AcceptAnswer, AcceptOffer, CreateAnswer, CreateOffer
from ueagent.session.effects import ReplySdp

CM80 = "AES_CM_128_HMAC_SHA1_80"
CM32 = "AES_CM_128_HMAC_SHA1_32"
OFFERED = (CM80, CM32)  # tags 1 and 2 of our offers here
LENGTHS = {28: "AEAD_AES_128_GCM", 30: CM80, 38: "AES_192_CM_HMAC_SHA1_80", 44: "AEAD_AES_256_GCM"}
LENGTHS[46] = "AES_256_CM_HMAC_SHA1_80"
MAX_SDP = 65536


def octets(length: int, first: int = 1) -> bytes:
    return bytes((first + 7 * i) & 255 for i in range(length))


def text(length: int, first: int = 1, *, padded: bool = True) -> str:
    encoded = base64.b64encode(octets(length, first)).decode()
    return encoded if padded else encoded.rstrip("=")


KEY, KEY_2 = text(30), text(30, 99)
GOOD = f"a=crypto:1 {CM80} inline:{KEY}"
SECOND = f"a=crypto:2 {CM32} inline:{KEY_2}"


@dataclass(frozen=True)
class Secured:
    """The line has keys: `tag` as our answer writes it, and what the relay receives with."""

    tag: str = "1"
    keys: tuple[bytes, ...] = (octets(30),)
    lifetime: int | None = None
    mkis: tuple[tuple[int, int] | None, ...] = (None,)
    suite: str = CM80
    proto: str = "RTP/SAVP"


@dataclass(frozen=True)
class Plain:
    """The line is an ordinary RTP/AVP one."""


@dataclass(frozen=True)
class Refused:
    code: str


Outcome = Secured | Plain | Refused


@dataclass(frozen=True)
class Shape:
    """Attribute lines of one audio medium; what becomes of it as an offer and as an answer."""

    name: str
    lines: tuple[str, ...]
    offer: Outcome
    answer: Outcome
    proto: str = "RTP/SAVP"
    policy: SecurityPolicy = field(default_factory=lambda: SecurityPolicy(suites=OFFERED))


def one(name: str, rest: str, both: Secured | None = None, *, offer: str = "", answer: str = "") -> Shape:
    """A good line with `rest` behind its key: taken in both roles, or refused with one code in each."""
    if both is not None:
        return Shape(name, (GOOD + rest,), both, both)
    return Shape(name, (GOOD + rest,), Refused(offer), Refused(answer))


def invalid(name: str, line: str) -> Shape:
    """A line that cannot be read: no key at all in an offer, more than RFC 4568 allows in an answer."""
    return Shape(name, (line,), Refused("mechanism_unavailable"), Refused("bad_keying"))


def not_ours(name: str, suite: str, length: int) -> Shape:
    """A suite that is never chosen, alone."""
    line = f"a=crypto:1 {suite} inline:{text(length)}"
    return Shape(name, (line,), Refused("no_common_suite"), Refused("suite_changed"))


def not_first(name: str, suite: str, length: int) -> Shape:
    """A suite that is never chosen, before one that is: passed over in an offer, one line too many in an answer."""
    first = f"a=crypto:1 {suite} inline:{text(length)}"
    return Shape(name, (first, SECOND), Secured("2", (octets(30, 99),), suite=CM32), Refused("crypto_count"))


def of_length(length: int, padded: bool) -> Shape:
    suite = LENGTHS[length]
    taken = Secured(keys=(octets(length),), suite=suite)
    line = f"a=crypto:1 {suite} inline:{text(length, padded=padded)}"
    name = f"{length} octets {'padded' if padded else 'unpadded'}"
    return Shape(name, (line,), taken, taken, policy=SecurityPolicy(suites=(suite,)))


TWO_KEYS = f"a=crypto:1 {CM80} inline:{KEY}|2^20|1:4;inline:{KEY_2}|2^20|2:4"
TWO_TAKEN = Secured(keys=(octets(30), octets(30, 99)), lifetime=1 << 20, mkis=((1, 4), (2, 4)))
ON_AVP = Secured(proto="RTP/AVP")
AVP_ANSWERS = SecurityPolicy(suites=OFFERED, accept_avp_answer=True)

SHAPES = (
    one("lifetime 2^31", "|2^31", Secured(lifetime=1 << 31)),
    one("lifetime 2^48", "|2^48|1:4", Secured(lifetime=1 << 48, mkis=((1, 4),))),
    one("UNENCRYPTED_SRTCP", "|2^48 UNENCRYPTED_SRTCP", offer="no_common_suite", answer="session_parameter"),
    one("UNENCRYPTED_SRTP", " UNENCRYPTED_SRTP", offer="no_common_suite", answer="session_parameter"),
    one("UNAUTHENTICATED_SRTP", " UNAUTHENTICATED_SRTP", offer="no_common_suite", answer="session_parameter"),
    one("KDR", " KDR=24", offer="no_common_suite", answer="session_parameter"),
    one("FEC_ORDER", "|2^20|1:4 FEC_ORDER=FEC_SRTP", Secured(lifetime=1 << 20, mkis=((1, 4),))),
    one("MKI without lifetime", "|1:1", Secured(mkis=((1, 1),))),
    one("decimal lifetime", "|1048576", Secured(lifetime=1 << 20)),
    one("parameter with a dash", " -FANCY=1", Secured()),
    invalid("parameter without a dash", GOOD + " FANCY=1"),
    invalid("leading zero of a power", GOOD + "|02^20"),
    invalid("leading zero of an exponent", GOOD + "|2^020"),
    invalid("leading zero of a decimal lifetime", GOOD + "|01048576"),
    invalid("lifetime 2^49", GOOD + "|2^49"),
    invalid("lifetime zero", GOOD + "|0"),
    invalid("MKI of no length", GOOD + "|1:0"),
    invalid("MKI of 129 octets", GOOD + "|1:129"),
    invalid("MKI that does not fit", GOOD + "|256:1"),
    Shape("two keys", (TWO_KEYS,), TWO_TAKEN, TWO_TAKEN),
    invalid("two keys without MKI", f"{GOOD};inline:{KEY_2}"),
    *(of_length(length, padded) for length in LENGTHS for padded in (True, False)),
    invalid("key of 29 octets", f"a=crypto:1 {CM80} inline:{text(29)}"),
    invalid("key of 31 octets", f"a=crypto:1 {CM80} inline:{text(31)}"),
    invalid("key of 32 octets for AES-256", f"a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:{text(32)}"),
    invalid("key outside the alphabet", f"a=crypto:1 {CM80} inline:{'-_' * 20}"),
    Shape("leading zero of the tag", (GOOD.replace(":1 ", ":01 "),), Secured("01"), Secured("01")),
    invalid("tag of ten digits", GOOD.replace(":1 ", ":1000000000 ")),
    Shape(
        "duplicate tag",
        (GOOD, SECOND.replace(":2 ", ":1 ")),
        Secured(),
        Refused("bad_keying"),
    ),
    Shape(
        "sixty-five lines",
        (*(f"a=crypto:{tag} NULL_HMAC_SHA1_80 inline:{KEY}" for tag in range(2, 66)), GOOD),
        Secured(),
        Refused("crypto_count"),
    ),
    Shape("two lines", (GOOD, SECOND), Secured(), Refused("crypto_count")),
    Shape("tag that was never offered", (GOOD.replace(":1 ", ":9 "),), Secured("9"), Refused("unknown_tag")),
    Shape(
        "suite that was never offered",
        (f"a=crypto:1 AEAD_AES_256_GCM inline:{text(44)}",),
        Secured(keys=(octets(44),), suite="AEAD_AES_256_GCM"),
        Refused("suite_changed"),
    ),
    Shape("no crypto line", (), Refused("mechanism_unavailable"), Refused("crypto_count")),
    Shape("key-mgmt beside it", (GOOD, "a=key-mgmt:mikey AQAFgM0X"), Secured(), Refused("bad_keying")),
    not_ours("AES_CM_256 for AES_256_CM", "AES_CM_256_HMAC_SHA1_80", 46),
    not_ours("GCM_8", "AEAD_AES_128_GCM_8", 28),
    not_ours("NULL alone", "NULL_HMAC_SHA1_80", 30),
    not_ours("F8 alone", "F8_128_HMAC_SHA1_80", 30),
    not_ours("F8 without a definition", "F8_128_HMAC_SHA1_32", 30),
    not_first("AES_CM_256 first", "AES_CM_256_HMAC_SHA1_80", 46),
    not_first("GCM_8 first", "AEAD_AES_256_GCM_8", 44),
    not_first("NULL first", "NULL_HMAC_SHA1_80", 30),
    not_first("F8 first", "F8_128_HMAC_SHA1_80", 30),
    not_first("unknown first", "CHACHA20_POLY1305", 44),
    Shape("fingerprint beside it", (GOOD, "a=fingerprint:SHA-256 00:11", "a=setup:actpass"), Secured(), Secured()),
    Shape("crypto on RTP/AVP", (GOOD,), Plain(), Refused("transport_mismatch"), "RTP/AVP"),
    Shape(
        "crypto and 3ge2ae on RTP/AVP",
        ("a=3ge2ae: requested", GOOD),
        ON_AVP,
        Refused("transport_mismatch"),
        "RTP/AVP",
    ),
    Shape("crypto on RTP/AVP, tolerated", (GOOD,), Plain(), ON_AVP, "RTP/AVP", AVP_ANSWERS),
    Shape("3ge2ae with a space", ("a=3ge2ae: requested", GOOD), Secured(), Secured()),
    Shape("3ge2ae with another value", ("a=3ge2ae:foo", GOOD), Secured(), Secured()),
    Shape("proto in small letters", (GOOD,), Secured(proto="rtp/savp"), Secured(proto="rtp/savp"), "rtp/savp"),
    Shape("feedback profile", (GOOD,), Secured(proto="RTP/SAVPF"), Refused("transport_mismatch"), "RTP/SAVPF"),
    Shape("unknown proto", (GOOD,), Refused("unknown_transport"), Refused("transport_mismatch"), "RTP/SAVPX"),
)


def description(*lines: str, proto: str = "RTP/SAVP") -> bytes:
    head = ["v=0", "o=- 7 7 IN IP4 198.51.100.7", "s=-", "c=IN IP4 198.51.100.7", "t=0 0"]
    return "\r\n".join([*head, f"m=audio 30000 {proto} 0", *lines, ""]).encode()


def check_relay(agent: Agent, outcome: Secured | Plain) -> None:
    relay = agent.relays[0]
    if isinstance(outcome, Plain):
        assert (relay.mode, relay.receive, relay.send) == ("plain", (), None)
        return
    assert (relay.mode, relay.suite) == ("secure", outcome.suite)
    assert relay.receive == outcome.keys
    assert (relay.receive_lifetime, relay.receive_mkis) == (outcome.lifetime, outcome.mkis)
    assert relay.send is not None
    assert relay.send not in outcome.keys
    assert len(relay.send) == SUITES[outcome.suite].key_salt_length


def check_refusal(agent: Agent, command: AcceptOffer | AcceptAnswer, outcome: Refused) -> None:
    state = agent.session.state
    error = agent.error(command)
    assert (error.code, error.sip_status_hint) == (outcome.code, 488)
    assert not [key for key in (KEY, KEY_2) if key in str(error)]
    assert agent.session.state == state
    assert not [relay for relay in agent.relays.values() if relay.mode != "closed" or relay.receive]


def give_answer(agent: Agent, sdp: bytes) -> str:
    """Our answer on the network to an offer that is taken."""
    to_dialer = agent.do(AcceptOffer(sdp, AT_EDGE))
    assert isinstance(to_dialer, ReplySdp), to_dialer
    assert b"crypto" not in to_dialer.sdp
    assert KEY.encode() not in to_dialer.sdp
    return agent.text(CreateAnswer(dialer_answer(to_dialer.sdp.decode("latin-1"))))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shape_in_an_offer_has_its_outcome(shape: Shape) -> None:
    """SDES-7, SDES-9, SDES-10, SDP-13, CAP-2, CAP-10."""
    agent = Agent("bob", shape.policy)
    sdp = description(*shape.lines, proto=shape.proto)
    if isinstance(shape.offer, Refused):
        check_refusal(agent, AcceptOffer(sdp, AT_EDGE), shape.offer)
        give_answer(agent, description(GOOD))
        assert agent.relays[0].receive == (octets(30),)
        return
    answer = give_answer(agent, sdp)
    check_relay(agent, shape.offer)
    assert f"m=audio {agent.relays[0].network.rtp_port} {shape.proto} 0\r\n" in answer
    words = [line.split()[:2] for line in crypto_lines(answer)]
    wanted = [[f"a=crypto:{shape.offer.tag}", shape.offer.suite]] if isinstance(shape.offer, Secured) else []
    assert words == wanted
    assert "3ge2ae" not in answer
    assert "fingerprint" not in answer


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shape_in_an_answer_has_its_outcome(shape: Shape) -> None:
    """SDES-8, SDES-9, SDES-10, SDES-22, SDP-7, SDP-11, CAP-3."""
    agent = Agent("alice", shape.policy)
    agent.text(CreateOffer(plain(), AT_EDGE))
    command = AcceptAnswer(description(*shape.lines, proto=shape.proto), True)
    if isinstance(shape.answer, Refused):
        check_refusal(agent, command, shape.answer)
        if shape.policy.suites == OFFERED:
            agent.text(AcceptAnswer(description(GOOD), True))
            assert agent.relays[0].receive == (octets(30),)
        return
    to_dialer = agent.text(command)
    check_relay(agent, shape.answer)
    assert f"m=audio {agent.relays[0].loopback.rtp_port} RTP/AVP 0\r\n" in to_dialer
    assert not [word for word in ("crypto", "3ge2ae", "fingerprint", KEY) if word in to_dialer]


def test_offered_key_that_comes_back_is_refused() -> None:
    """SDES-8, SDES-5: under its own tag and under another."""
    agent = Agent("alice", SecurityPolicy(suites=OFFERED))
    lines = crypto_lines(agent.text(CreateOffer(plain(), AT_EDGE)))
    first, second = lines
    swapped = first.split("inline:")[0] + "inline:" + second.split("inline:")[1]
    for echo in (first, second, swapped):
        check_refusal(agent, AcceptAnswer(description(echo), True), Refused("key_echoed"))


# ------------------------------------------------------------------------------------------- whole descriptions --


def bare_lf(sdp: bytes) -> bytes:
    return sdp.replace(b"\r\n", b"\n")


def of_64_kib(sdp: bytes) -> bytes:
    rest = MAX_SDP - len(sdp) - len(b"a=x:\r\n")
    return sdp + b"a=x:" + b"p" * rest + b"\r\n"


def with_nul(sdp: bytes) -> bytes:
    return sdp + b"a=x-nul:\x00\x00\r\n"


def non_ascii(sdp: bytes) -> bytes:
    return sdp.replace(b"s=-", "s=Gespr\u00e4ch \u260e".encode()) + b"a=x-latin:\xff\xe4\r\n"


ODD = [bare_lf, of_64_kib, with_nul, non_ascii]


def odd_parts(sdp: bytes) -> list[bytes]:
    """The lines that are nobody's business here."""
    return [line for line in sdp.splitlines(keepends=True) if line[:2] in (b"s=", b"a=") and b"crypto" not in line]


@pytest.mark.parametrize("change", ODD)
def test_odd_description_as_an_offer_is_taken_and_passed_on(change: Callable[[bytes], bytes]) -> None:
    """Lossless: line ends, size, NUL and any other octets arrive at the dialer as they came."""
    agent = Agent("bob")
    sdp = change(description(GOOD, "a=x-keep:1"))
    to_dialer = agent.do(AcceptOffer(sdp, AT_EDGE))
    assert isinstance(to_dialer, ReplySdp)
    assert odd_parts(to_dialer.sdp) == odd_parts(sdp)
    assert (b"\r" in to_dialer.sdp) == (b"\r" in sdp)
    agent.text(CreateAnswer(dialer_answer(plain(6000).decode())))
    check_relay(agent, Secured())


@pytest.mark.parametrize("change", ODD)
def test_odd_description_as_an_answer_is_taken_and_passed_on(change: Callable[[bytes], bytes]) -> None:
    agent = Agent("alice", SecurityPolicy(suites=OFFERED))
    agent.text(CreateOffer(plain(), AT_EDGE))
    sdp = change(description(GOOD, "a=x-keep:1"))
    to_dialer = agent.do(AcceptAnswer(sdp, True))
    assert isinstance(to_dialer, ReplySdp)
    assert odd_parts(to_dialer.sdp) == odd_parts(sdp)
    check_relay(agent, Secured())


@pytest.mark.parametrize("change", ODD)
def test_odd_description_of_the_dialer_is_secured_and_passed_on(change: Callable[[bytes], bytes]) -> None:
    agent = Agent("alice")
    sdp = change(plain())
    offer = agent.do(CreateOffer(sdp, AT_EDGE))
    assert isinstance(offer, ReplySdp)
    assert set(odd_parts(sdp)) <= set(odd_parts(offer.sdp))
    assert offer.sdp.count(b"a=crypto:") == 5
    assert offer.sdp.count(b"\r\n") in (0, offer.sdp.count(b"\n"))


def test_description_of_more_than_64_kib_is_one_typed_error() -> None:
    agent = Agent("alice")
    sdp = of_64_kib(plain()) + b"a=y\r\n"
    assert type(agent.error(CreateOffer(sdp, AT_EDGE))).__name__ == "MalformedMessage"
    assert agent.session.state == "new"
