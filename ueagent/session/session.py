"""One dialog: commands and inputs in, effects out. RFC 3264; DYN-5..10, -17, -20, SDES-14..16, POL-4, -6, -7.

    new --CreateOffer--> (opening) --> offering --AcceptAnswer--> established --Release--> ended
    new --AcceptOffer--> (opening) --> offered --CreateAnswer--> established

`opening` waits for relays: OpenRelay is an effect, its result an input. A command that fails answers with ReplyError
and changes nothing; what an exchange would change stands in proposals of the legs until it settles.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from ueagent.errors import AgentError, NegotiationFailed, ResourceError, UnexpectedMessage
from ueagent.model.keys import Secret
from ueagent.model.security import CustodyLoss, LineSecurity, Mechanism, SecurityPolicy
from ueagent.negotiation.capability import Capability
from ueagent.session.commands import (
    AcceptAnswer,
    AcceptOffer,
    Command,
    CreateAnswer,
    CreateOffer,
    DatagramReceived,
    DeclineOffer,
    Dialog,
    Evidence,
    Input,
    KmsAnswered,
    Media,
    MediaEvent,
    OfferFailed,
    RelayFailed,
    RelayOpened,
    Release,
    StreamEnded,
    StreamSecured,
    TimerFired,
)
from ueagent.session.effects import (
    AskKms,
    CloseRelay,
    Effect,
    Gone,
    Notify,
    OpenRelay,
    OpenStream,
    ReplyDone,
    ReplyError,
    ReplySdp,
)
from ueagent.session.exchange import Exchange, check_count, dialer_count, loopback_side
from ueagent.session.leg import Leg
from ueagent.session.own_offer import OwnOffer
from ueagent.session.stream_leg import StreamLeg
from ueagent.session.their_offer import TheirOffer
from ueagent.wire.sdp import Sdp, parse_sdp

if TYPE_CHECKING:
    from ueagent.channel.credentials import Identity
    from ueagent.keymgmt.mikey_bundle import MikeyBundle, MikeyDesk
    from ueagent.keymgmt.mikey_exchange import SendKmsRequest

DIGEST_KEY_LENGTH: Final = 32

Rng = Callable[[int], bytes]


@dataclass(slots=True, eq=False)
class _Opening:
    """Relays and answers of a KMS that an exchange waits for, and what comes then."""

    exchange: Exchange
    before: str  # the state to go back to
    then: Callable[[float], list[Effect]]
    awaited: set[int] = field(default_factory=set)
    error: AgentError | None = None

    @property
    def waits(self) -> bool:
        """Once something has failed, no KMS is waited for."""
        asked = self.exchange.bundles.requests if self.exchange.bundles is not None else {}
        return bool(self.awaited) or (self.error is None and bool(asked))


@dataclass(frozen=True, slots=True)
class _LastAnswer:
    """The answer that holds, for its repetitions in later responses (DYN-6)."""

    sdp: bytes
    warnings: tuple[str, ...]
    dialog: Dialog | None
    keying: bytes  # digest
    early: bool  # of a first offer and not in a 2xx: the call may yet fail


class Session:
    def __init__(
        self, policy: SecurityPolicy, rng: Rng, capability: Capability, identity: Identity | None = None
    ) -> None:
        """`policy` and `capability` hold for the life of the session. `rng(n)` gives n unpredictable octets.

        `identity` is what we show where a mechanism needs a certificate; its owner is the caller.
        """
        self._whole_policy = replace(
            policy,
            suites=capability.usable(policy.suites),
            accept_suites=capability.usable(policy.accept_suites),
            dtls_profiles=capability.usable(policy.dtls_profiles),
            kms_suites=capability.usable(policy.kms_suites),
        )
        self._shown = identity
        self._fax: Identity | None = None
        self._rng = rng
        self._state = "new"
        self._role: Literal["offerer", "answerer"] = "offerer"
        self._dialog: Dialog | None = None
        self._emergency = False
        self._identity: str | None = None
        self._legs: dict[int, Leg] = {}
        self._others: dict[int, LineSecurity] = {}
        self._media_count = 0
        self._opening: _Opening | None = None
        self._own: OwnOffer | None = None
        self._theirs: TheirOffer | None = None
        self._last_answer: _LastAnswer | None = None
        self._forking: OwnOffer | None = None  # our first offer, while other forks may answer it
        self._digest_key = Secret(rng(DIGEST_KEY_LENGTH))
        self._desk: MikeyDesk | None = None
        self._bundles: dict[int | None, MikeyBundle] = {}
        self._called: str | None = None

    def show(self, identity: Identity | None, fax: Identity | None = None) -> None:
        """What mechanisms with certificates show from the next command on, where the session has nothing yet.

        `fax` is for lines of T.38, whose peers may need another kind of certificate (T38-8).
        """
        self._shown = self._shown or identity
        self._fax = self._fax or fax

    def use_kms(self, desk: MikeyDesk) -> None:
        """What MIKEY-TICKET uses from the next command on. The session owns the account's key, and wipes it."""
        if self._state in ("opening", "ended"):
            desk.account.psk.wipe()
            return
        self._forget_account()
        self._desk = desk

    @property
    def _policy(self) -> SecurityPolicy:
        """Without an identity nothing of DTLS can be used; what is demanded is still demanded."""
        return self._whole_policy if self._shown is not None else replace(self._whole_policy, dtls_profiles=())

    @property
    def state(self) -> str:
        """new, opening, offering, offered, established or ended."""
        return self._state

    @property
    def role(self) -> Literal["offerer", "answerer"]:
        """Of the first offer."""
        return self._role

    @property
    def dialog(self) -> Dialog | None:
        return self._dialog

    @property
    def emergency(self) -> bool:
        return self._emergency

    @property
    def lines(self) -> tuple[LineSecurity, ...]:
        """Every m-line in order: what it has, or before the first answer what is proposed for it."""
        exchange = self._own or self._theirs
        reports = {} if exchange is None else exchange.reports
        reports |= self._others | {line: leg.security for line, leg in self._legs.items()}
        return tuple(reports[line] for line in sorted(reports))

    def refused_checks(self, line: int) -> int:
        """Datagrams of STUN and DTLS that showed no ICE credentials, where they must."""
        leg = self._legs.get(line)
        return 0 if leg is None else leg.path.refused

    def execute(self, command: Command, now: float) -> list[Effect]:
        steps = TRANSITIONS[self._state]
        step = steps.get(type(command).__name__)
        if step is None:
            detail = f"{type(command).__name__} does not belong into state {self._state}"
            return [ReplyError(UnexpectedMessage("unexpected_command", detail, expected=tuple(steps)))]
        try:
            return step(self, command, now)
        except AgentError as error:
            return [ReplyError(error)]

    def receive(self, happened: Input, now: float) -> list[Effect]:
        match happened:
            case RelayOpened() | RelayFailed():
                return self._relay_answered(happened, now)
            case KmsAnswered():
                return self._kms_answered(happened, now)
            case MediaEvent(line, Media.KEYS_LOST):
                return self._keys_lost(line, now)
            case MediaEvent():
                leg = self._legs.get(happened.leg)
                return [] if leg is None else leg.media_event(happened)
            case DatagramReceived() | TimerFired():
                leg = self._leg_in_use(happened.leg)
                return [] if leg is None else leg.drive(happened, now)
            case StreamSecured() | StreamEnded():
                leg = self._legs.get(happened.leg)
                return leg.stream_event(happened, now) if isinstance(leg, StreamLeg) else []

    def _keys_lost(self, line: int, now: float) -> list[Effect]:
        """The accelerator that alone had them is lost: policy says what becomes of the call."""
        leg = self._legs.get(line)
        effects = [] if leg is None else leg.keys_lost(now)
        if not effects or leg is None or self._whole_policy.custody_loss is CustodyLoss.HOLD:
            return effects
        if self._whole_policy.custody_loss is CustodyLoss.END and not self._emergency:
            return [*effects, *self._end(now), Gone("accelerator_lost")]
        return [*effects, Notify("rekey_wanted", line, leg.security, reason="accelerator_lost")]

    # ---------------------------------------------------------------------------------------------- commands --

    def _create_offer(self, command: CreateOffer, now: float) -> list[Effect]:
        offer = parse_sdp(command.sdp)
        check_count(offer, self._media_count, dialer_count)
        evidence = self._in_this_call(command.evidence)
        own = OwnOffer(offer, evidence, self._policy, self._rng, self._legs, self._shown, self._fax)
        own.at_kms(self._desk, self._bundles)

        def write(now: float) -> list[Effect]:
            sdp, effects = own.write(rekey=command.rekey, now=now)
            self._began("offerer", command.evidence)
            self._own, self._state, self._forking = own, "offering", None
            return [*effects, ReplySdp(sdp, self.lines)]

        with _undone(own, now):
            own.plan()
            own.ask_kms(rekey=command.rekey, now=now)
        return self._open_relays(own, write, now)

    def _accept_answer(self, command: AcceptAnswer, now: float) -> list[Effect]:
        own = self._own
        assert own is not None
        answer = parse_sdp(command.sdp)
        accepted = own.read_answer(answer, now)
        own.early = not self._media_count and not command.final
        self._forking = own if own.early else None
        return self._answered(own, answer, accepted, command, now)

    def _answered(
        self, own: OwnOffer, answer: Sdp, accepted: set[int], command: AcceptAnswer, now: float
    ) -> list[Effect]:
        for_dialer = own.answer_for_dialer(answer, accepted)
        sdp = own.text(for_dialer, loopback_side)
        self._identity = command.asserted_identity or self._identity
        called = own.evidence.called
        effects, warnings = self._settle(own, accepted, now)
        warnings += self._about_identity(called)
        warnings = [*(error.code for error in own.refusals.values()), *warnings]
        self._dialog = command.dialog or self._dialog
        keying = self._keying_digest(answer)
        self._last_answer = _LastAnswer(sdp, tuple(warnings), self._dialog, keying, own.early)
        return [*effects, ReplySdp(sdp, self.lines, tuple(warnings))]

    def _repeat_answer(self, command: AcceptAnswer, now: float) -> list[Effect]:
        """DYN-6: the first answer of a dialog is the answer; later ones are ignored, other keys in them reported."""
        last = self._last_answer
        if last is None:
            raise UnexpectedMessage("unexpected_command", "no offer of ours is open", expected=("CreateOffer",))
        if not _same_dialog(last.dialog, command.dialog):
            return self._other_fork(command, now)
        differs = self._keying_digest(parse_sdp(command.sdp)) != last.keying
        self._dialog = command.dialog or self._dialog
        if command.asserted_identity is not None:
            self._identity = command.asserted_identity
            for leg in self._legs.values():
                leg.identify(self._identity)
        self._last_answer = replace(last, dialog=self._dialog, early=last.early and not command.final)
        warnings = (*last.warnings, "answer_keys_differ") if differs else last.warnings
        effects: list[Effect] = []
        if self._forking is not None and command.final:
            self._forking = None
            effects = [effect for leg in self._legs.values() for effect in leg.all_answered(now)]
        return [*effects, ReplySdp(last.sdp, self.lines, warnings)]

    def _other_fork(self, command: AcceptAnswer, now: float) -> list[Effect]:
        """DYN-3: another fork has accepted the call, and its answer takes the place of the early one."""
        own, legs = self._forking, self._legs
        able = own is not None and own.legs.keys() == legs.keys() and all(leg.takes_other_fork for leg in legs.values())
        if own is None or not able or not command.final or self._state != "established":
            raise UnexpectedMessage("other_dialog", "the offer was answered in another dialog before")
        answer = parse_sdp(command.sdp)
        for leg in legs.values():
            leg.reopen()
        try:
            accepted = own.read_answer(answer, now)
        except AgentError:
            for leg in legs.values():
                leg.roll_back(now)
            raise
        own.early, self._forking, self._identity = False, None, None
        own.refusals.clear()
        return self._answered(own, answer, accepted, command, now)

    def _offer_failed(self, command: OfferFailed, now: float) -> list[Effect]:
        own = self._own
        assert own is not None
        if self._media_count:
            return [*self._undo(own, now), ReplyDone(self.lines)]
        if not own.weaken(command.status, now):
            return [*self._end(now), ReplyDone(), Gone("offer_failed")]
        sdp, effects = own.write(rekey=False, now=now)
        return [*effects, ReplySdp(sdp, self.lines)]

    def _early_failed(self, command: OfferFailed, now: float) -> list[Effect]:
        """The call was refused although a provisional response had an answer."""
        if self._last_answer is None or not self._last_answer.early:
            raise UnexpectedMessage("unexpected_command", "no offer of ours is open", expected=("CreateOffer",))
        return [*self._end(now), ReplyDone(), Gone("offer_failed")]

    def _accept_offer(self, command: AcceptOffer, now: float) -> list[Effect]:
        offer = parse_sdp(command.sdp)
        check_count(offer, self._media_count, NegotiationFailed)
        evidence = self._in_this_call(command.evidence)
        theirs = TheirOffer(offer, evidence, self._policy, self._rng, self._legs, self._shown, self._fax)

        theirs.at_kms(self._desk, self._bundles)

        def write(now: float) -> list[Effect]:
            sdp = theirs.offer_for_dialer()
            self._began("answerer", command.evidence)
            self._dialog = command.dialog or self._dialog
            self._theirs, self._state, self._forking = theirs, "offered", None
            return [ReplySdp(sdp, self.lines, (*theirs.warnings, *self._about_identity(None)))]

        with _undone(theirs, now):
            theirs.plan(now)
        return self._open_relays(theirs, write, now)

    def _create_answer(self, command: CreateAnswer, now: float) -> list[Effect]:
        theirs = self._theirs
        assert theirs is not None
        sdp, accepted = theirs.write_answer(parse_sdp(command.sdp), now)
        self._last_answer = None
        effects, warnings = self._settle(theirs, accepted, now)
        return [*effects, ReplySdp(sdp, self.lines, tuple(warnings))]

    def _decline_offer(self, command: DeclineOffer, now: float) -> list[Effect]:
        theirs = self._theirs
        assert theirs is not None
        if self._media_count:
            return [*self._undo(theirs, now), ReplyDone(self.lines)]
        return [*self._end(now), ReplyDone(), Gone("declined")]

    def _decline_waiting(self, command: DeclineOffer, now: float) -> list[Effect]:
        """The caller has given up while a KMS is asked who it was. The command that waits gets no reply of its own."""
        opening = self._opening
        assert opening is not None
        if not isinstance(opening.exchange, TheirOffer):
            detail = "DeclineOffer does not belong to an offer of ours"
            raise UnexpectedMessage("unexpected_command", detail, expected=("Release",))
        if not self._media_count:
            return [*self._end(now), ReplyDone(), Gone("declined")]
        self._opening = None
        return [*self._undo(opening.exchange, now), ReplyDone(self.lines)]

    def _release(self, command: Release, now: float) -> list[Effect]:
        return [*self._end(now), ReplyDone(), Gone(command.reason)]

    # ------------------------------------------------------------------------------------------------ relays --

    def _open_relays(self, exchange: Exchange, then: Callable[[float], list[Effect]], now: float) -> list[Effect]:
        opening = _Opening(exchange, self._state, then)
        wanted = exchange.relays_to_open()
        opening.awaited = {effect.leg for effect in wanted if isinstance(effect, OpenRelay | OpenStream)}
        if opening.waits:
            self._opening, self._state = opening, "opening"
            requests = exchange.bundles.requests if exchange.bundles is not None else {}
            return [*wanted, *(self._ask(bundle, request) for bundle, request in requests.items())]
        with _undone(exchange, now):
            return then(now)

    def _relay_answered(self, happened: RelayOpened | RelayFailed, now: float) -> list[Effect]:
        opening = self._opening
        if opening is None or happened.leg not in opening.awaited:
            return [CloseRelay(happened.leg)] if isinstance(happened, RelayOpened) else []
        opening.awaited.discard(happened.leg)
        if isinstance(happened, RelayOpened):
            opening.exchange.legs[happened.leg].ports = happened
        else:
            opening.error = ResourceError("no_relay", f"a media line got no relay: {happened.reason}")
        return self._opened(opening, now)

    def _kms_answered(self, happened: KmsAnswered, now: float) -> list[Effect]:
        """Late ones, to requests of an exchange that was given up, concern nobody."""
        opening = self._opening
        bundles = None if opening is None else opening.exchange.bundles
        if opening is None or bundles is None or happened.bundle not in bundles.requests:
            return []
        try:
            request = bundles.kms_replied(happened.bundle, happened.event, now)
            if request is not None:
                return [self._ask(happened.bundle, request)]
        except AgentError as error:
            try:
                opening.exchange.without_kms(happened.bundle, error, now)
            except AgentError as failure:
                opening.error = failure
        return self._opened(opening, now)

    def _opened(self, opening: _Opening, now: float) -> list[Effect]:
        """Something that was awaited is there: go on when it was the last."""
        if opening.waits:
            return []
        self._opening, self._state = None, opening.before
        error = opening.error
        if error is None:
            try:
                return opening.then(now)
            except AgentError as failure:
                error = failure
        return [*opening.exchange.undo(now), ReplyError(error)]

    def _ask(self, bundle: int | None, request: SendKmsRequest) -> AskKms:
        assert self._desk is not None
        return AskKms(bundle, self._desk.account, request)

    # ----------------------------------------------------------------------------------------------- helpers --

    def _leg_in_use(self, line: int) -> Leg | None:
        """The leg that has this line's relay; before the first answer only an exchange knows it."""
        exchange = self._own or self._theirs
        proposed = {} if exchange is None else exchange.legs
        return proposed.get(line) or self._legs.get(line)

    def _in_this_call(self, evidence: Evidence) -> Evidence:
        """POL-7: a call that began as an emergency call stays one, whatever a later offer says.

        WEB-6: WebRTC needs no registration that announces DTLS-SRTP. Whom a later offer is for is known better than by
        what the dialer says: the KMS has vouched.
        """
        announced = evidence.announced | ({Mechanism.DTLS_SRTP} if self._whole_policy.webrtc else set())
        return replace(
            evidence,
            emergency=evidence.emergency or self._emergency,
            announced=announced,
            called=self._called or evidence.called,
            kms=self._desk is not None,
        )

    def _began(self, role: Literal["offerer", "answerer"], evidence: Evidence) -> None:
        if not self._media_count:
            self._role, self._emergency = role, evidence.emergency
        self._identity = evidence.asserted_identity or self._identity

    def _settle(self, exchange: Exchange, accepted: set[int], now: float) -> tuple[list[Effect], list[str]]:
        self._legs, effects, warnings = exchange.settle(accepted, self._identity, now)
        self._bundles = exchange.settle_bundles(accepted)
        self._called = next(iter(self._verified()), self._called)
        self._others = exchange.others
        self._media_count = len(exchange.offer.media)
        self._own = self._theirs = None
        self._state = "established"
        return effects, warnings

    def _undo(self, exchange: Exchange, now: float) -> list[Effect]:
        self._own = self._theirs = None
        self._state = "established"
        return exchange.undo(now)

    def _end(self, now: float) -> list[Effect]:
        """DYN-20: every context removed, every key wiped."""
        effects: list[Effect] = []
        exchange = self._own or self._theirs or (self._opening.exchange if self._opening else None)
        self._opening = None
        for legs in (self._legs, {} if exchange is None else exchange.legs):
            for leg in legs.values():
                effects += leg.close(now)  # idempotent: most legs are in both
        if exchange is not None:
            exchange.drop_bundles()
        for bundle in self._bundles.values():
            bundle.close()
        self._bundles = {}
        self._forget_account()
        self._legs, self._others, self._own, self._theirs, self._last_answer = {}, {}, None, None, None
        self._forking = None
        self._digest_key.wipe()
        self._state = "ended"
        return effects

    def _verified(self) -> list[str]:
        """Who has the other end, as the KMS vouches; of lines that are under one bundle it is the same."""
        return [line.identity for line in self.lines if line.identity and line.identity_basis == "verified"]

    def _about_identity(self, called: str | None) -> list[str]:
        """KMS-47: another than was called, or than SIP asserts, is told; a call may well be retargeted."""
        verified = self._verified()
        if not verified:
            return []
        from ueagent.session.bundles import same_identity

        expected = (("retargeted", called), ("asserted_identity_differs", self._identity))
        return [
            word
            for word, name in expected
            if name is not None and not all(same_identity(name, found) for found in verified)
        ]

    def _forget_account(self) -> None:
        if self._desk is not None:
            self._desk.account.psk.wipe()
        self._desk = None

    def _keying_digest(self, sdp: Sdp) -> bytes:
        mac = hmac.new(self._digest_key.reveal(), digestmod="sha256")
        for section in (sdp.session, *sdp.media):
            for name in ("crypto", "fingerprint", "tls-id", "setup", "path", "key-mgmt"):
                for attribute in section.attributes_named(name):
                    mac.update(name.encode() + b":" + (attribute.value or b""))
            mac.update(b"\n")
        return mac.digest()


# What a dialer may ask in which state.
TRANSITIONS: Final[dict[str, dict[str, Callable[[Session, Any, float], list[Effect]]]]] = {
    "new": {
        "CreateOffer": Session._create_offer,
        "AcceptOffer": Session._accept_offer,
        "Release": Session._release,
    },
    # The command that waits gets no reply of its own then.
    "opening": {"DeclineOffer": Session._decline_waiting, "Release": Session._release},
    "offering": {
        "AcceptAnswer": Session._accept_answer,
        "OfferFailed": Session._offer_failed,
        "Release": Session._release,
    },
    "offered": {
        "CreateAnswer": Session._create_answer,
        "DeclineOffer": Session._decline_offer,
        "Release": Session._release,
    },
    "established": {
        "CreateOffer": Session._create_offer,
        "AcceptOffer": Session._accept_offer,
        "AcceptAnswer": Session._repeat_answer,
        "OfferFailed": Session._early_failed,
        "Release": Session._release,
    },
    "ended": {},
}


@contextmanager
def _undone(exchange: Exchange, now: float) -> Iterator[None]:
    """Whatever the exchange began is undone when it fails. No relay is open yet for its new lines."""
    try:
        yield
    except AgentError:
        exchange.undo(now)
        raise


def _same_dialog(first: Dialog | None, later: Dialog | None) -> bool:
    """Two descriptions of one dialog; what is not known does not tell them apart."""
    if first is None or later is None:
        return True
    tags = (first.remote_tag, later.remote_tag)
    return first.call_id == later.call_id and (None in tags or tags[0] == tags[1])
