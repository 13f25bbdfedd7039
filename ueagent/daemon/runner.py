"""Performs what sessions want done, one `match` arm per effect. Knows nothing about protocols.

Nearly everything here is done at once, in the event loop's thread: sockets are bound and keys derived without waiting,
so a command's reply is there when `execute` returns. Only a KMS is waited for, in a task of its own:
`execute_waiting`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, assert_never

import msgspec
from ueagent_native.relay import RelayEvent

from ueagent.daemon.logs import Log
from ueagent.daemon.relay_host import RelayHost, media_event
from ueagent.daemon.sessions import Entry, Sessions, Subscribers
from ueagent.daemon.stream_lines import StreamLines
from ueagent.errors import AgentError, ResourceError, UnexpectedMessage
from ueagent.ipc import api
from ueagent.model.media import Place
from ueagent.model.security import LineSecurity, Mechanism
from ueagent.session.commands import (
    Command,
    DatagramReceived,
    Input,
    KmsAnswered,
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
    CloseStream,
    ConnectStream,
    Effect,
    Gone,
    InstallKeys,
    Notify,
    OpenRelay,
    OpenStream,
    ReplyDone,
    ReplyError,
    ReplySdp,
    SendDatagram,
    SetDialer,
    SetIce,
    SetMode,
    SetPeer,
    SetStreamDialer,
    StartTimer,
)

if TYPE_CHECKING:  # agents without a KMS do not load it
    from ueagent.daemon.ticket_service import TicketService

Outcome = ReplySdp | ReplyDone


class Runner:
    def __init__(
        self,
        relay: RelayHost,
        streams: StreamLines,
        sessions: Sessions,
        subscribers: Subscribers,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        tickets: TicketService | None = None,
    ) -> None:
        self._relay = relay
        self._streams = streams
        self._sessions = sessions
        self._subscribers = subscribers
        self._log = log
        self._clock = clock
        self._tickets = tickets
        self._owners: dict[int, tuple[Entry, int]] = {}  # leg of the relay -> session and m-line
        self._timers: dict[int, asyncio.TimerHandle] = {}  # by leg of the relay

    def now(self) -> float:
        return self._clock()

    def execute(self, entry: Entry, command: Command) -> Outcome:
        """The reply of a command, with all its effects done; its error is raised.

        When an effect itself fails, what the session believes and what the relay does have parted: the session ends.
        """
        reply = self._perform(entry, entry.session.execute(command, self.now()))
        self._stop_waiting(entry)
        return _outcome(reply)

    async def execute_waiting(self, entry: Entry, command: Command) -> Outcome:
        """As `execute`, where the session may have to ask a KMS first. Other sessions go on meanwhile.

        UnexpectedMessage `given_up` when the session was released, or the offer declined, before the KMS answered.
        """
        reply = self._perform(entry, entry.session.execute(command, self.now()))
        if reply is None and entry.asking:
            waiter = entry.waiter = asyncio.get_running_loop().create_future()
            try:
                reply = await waiter
            finally:
                entry.waiter = None
        return _outcome(reply)

    def release(self, entry: Entry, reason: str) -> None:
        """End a session, whatever state it is in. Never raises an AgentError."""
        self._perform(entry, entry.session.execute(Release(reason), self.now()))
        self.forget(entry, reason)
        self._stop_waiting(entry)

    def forget(self, entry: Entry, reason: str) -> None:
        """Close what is still open of a session and drop it. Idempotent."""
        for line in list(entry.legs):
            self._close_leg(entry, line)
        for line in list(entry.streams):
            entry.streams.pop(line).close()
        if any(found is entry for found in self._sessions):
            self._sessions.remove(entry)
            self._log.info("session_gone", session=entry.id, reason=reason)
            self._subscribers.publish(entry.uid, api.Event(kind="session_gone", session=entry.id, reason=reason))

    def happened(self, leg: int, event: RelayEvent) -> None:
        """An event of the relay: input for the session whose leg it is. Late ones of closed legs concern nobody."""
        owner = self._owners.get(leg)
        if owner is None:
            return
        entry, line = owner
        happened = media_event(line, event)
        if happened is None:
            return
        self._log.debug("media_event", session=entry.id, line=line, kind=happened.kind.value)
        self._receive(entry, happened)

    def datagram(self, leg: int, data: bytes, source: Place, rtcp: bool) -> None:
        """A DTLS or STUN datagram that came in on a leg of the relay."""
        owner = self._owners.get(leg)
        if owner is not None:
            entry, line = owner
            self._receive(entry, DatagramReceived(line, data, source, rtcp))

    def _timer_fired(self, leg: int) -> None:
        self._timers.pop(leg, None)
        owner = self._owners.get(leg)
        if owner is not None:
            entry, line = owner
            self._receive(entry, TimerFired(line))

    def _receive(self, entry: Entry, happened: Input) -> None:
        reply = self._perform(entry, entry.session.receive(happened, self.now()))
        if reply is not None and entry.waiter is not None and not entry.waiter.done():
            entry.waiter.set_result(reply)

    # ----------------------------------------------------------------------------------------------------- KMS --

    def _ask_kms(self, entry: Entry, asked: AskKms) -> None:
        entry.asking[asked.bundle] = asyncio.create_task(self._kms(entry, asked))

    async def _kms(self, entry: Entry, asked: AskKms) -> None:
        from ueagent.keymgmt.mikey_exchange import KmsReply, KmsUnreachable

        event: KmsReply | KmsUnreachable = KmsUnreachable(refused=True)
        try:
            if self._tickets is not None:
                event = await self._tickets.perform(asked.account, asked.request)
        except Exception as error:
            self._log.failure("internal_error", error, session=entry.id)
        if entry.asking.get(asked.bundle) is asyncio.current_task():
            del entry.asking[asked.bundle]
        answered = "answered" if isinstance(event, KmsReply) else "no_answer"
        self._log.info("kms", session=entry.id, purpose=asked.request.purpose.value, result=answered)
        self._receive(entry, KmsAnswered(asked.bundle, event))

    @staticmethod
    def _stop_waiting(entry: Entry) -> None:
        """After a command: when it made the session give up waiting for a KMS, so does everybody else."""
        if entry.session.state == "opening":
            return
        for task in entry.asking.values():
            task.cancel()
        entry.asking.clear()
        if entry.waiter is not None and not entry.waiter.done():
            given_up = UnexpectedMessage("given_up", "the session no longer waits for the KMS")
            entry.waiter.set_result(ReplyError(given_up))

    # ------------------------------------------------------------------------------------------------- effects --

    def _perform(self, entry: Entry, effects: list[Effect]) -> Outcome | ReplyError | None:
        reply: Outcome | ReplyError | None = None
        waiting = deque(effects)
        try:
            while waiting:
                match waiting.popleft():
                    case ReplySdp() | ReplyDone() | ReplyError() as found:
                        reply = found
                    case OpenRelay() as wanted:
                        opened = self._open_leg(entry, wanted)
                        waiting.extend(entry.session.receive(opened, self.now()))
                    case AskKms() as asked:
                        self._ask_kms(entry, asked)
                    case InstallKeys() as install:
                        self._install(entry, install)
                    case SendDatagram(line, data, to, rtcp):
                        if not self._relay.send(entry.legs[line], data, to, rtcp):
                            self._log.debug("datagram_not_sent", session=entry.id, line=line)
                    case StartTimer(line, seconds):
                        self._start_timer(entry.legs[line], seconds)
                    case CloseRelay(line):
                        self._close_leg(entry, line)
                    case OpenStream() as stream:
                        waiting.extend(entry.session.receive(self._open_stream(entry, stream), self.now()))
                    case ConnectStream() as connect:
                        entry.streams[connect.leg].connect(connect)
                    case CloseStream(line):
                        entry.streams.pop(line).close()
                    case SetStreamDialer(line, place):
                        entry.streams[line].set_dialer(place)
                    case SetDialer(line, endpoint):
                        self._relay.set_dialer(entry.legs[line], endpoint)
                    case SetPeer(line, endpoint):
                        self._relay.set_peer(entry.legs[line], endpoint)
                    case SetIce(line, on):
                        self._relay.set_ice(entry.legs[line], on)
                    case SetMode(line, mode):
                        self._relay.set_mode(entry.legs[line], mode)
                    case Notify() as notice:
                        self._notify(entry, notice)
                    case Gone(reason):
                        self.forget(entry, reason)
                    case never:
                        assert_never(never)
        except BaseException as error:
            _wipe(waiting)
            self._give_up(entry, error)
            if not isinstance(error, AgentError):
                raise
            return ReplyError(error)
        return reply

    def _give_up(self, entry: Entry, error: BaseException) -> None:
        reason = error.code if isinstance(error, AgentError) else "internal_error"
        self._log.error("effect_failed", session=entry.id, reason=reason)
        for effect in entry.session.execute(Release(reason), self.now()):
            if isinstance(effect, Notify):
                self._notify(entry, effect)
        self.forget(entry, reason)
        self._stop_waiting(entry)

    def _open_leg(self, entry: Entry, wanted: OpenRelay) -> RelayOpened | RelayFailed:
        try:
            leg, network, loopback = self._relay.open_leg(wanted)
        except AgentError as error:
            self._log.warning("no_relay", session=entry.id, line=wanted.leg, reason=error)
            return RelayFailed(wanted.leg, error.detail)
        entry.legs[wanted.leg] = leg
        self._owners[leg] = (entry, wanted.leg)
        return RelayOpened(wanted.leg, network, loopback)

    def _open_stream(self, entry: Entry, wanted: OpenStream) -> RelayOpened | RelayFailed:
        def tell(happened: StreamSecured | StreamEnded) -> None:
            if entry.streams.get(happened.leg) is line:
                self._log.debug("stream_event", session=entry.id, line=happened.leg, kind=type(happened).__name__)
                self._receive(entry, happened)

        try:
            line = self._streams.open(wanted, tell)
        except AgentError as error:
            self._log.warning("no_relay", session=entry.id, line=wanted.leg, reason=error)
            return RelayFailed(wanted.leg, error.detail)
        entry.streams[wanted.leg] = line
        return RelayOpened(wanted.leg, line.network, line.loopback)

    def _close_leg(self, entry: Entry, line: int) -> None:
        leg = entry.legs.pop(line)
        del self._owners[leg]
        timer = self._timers.pop(leg, None)
        if timer is not None:
            timer.cancel()
        self._relay.close_leg(leg)

    def _start_timer(self, leg: int, seconds: float) -> None:
        former = self._timers.pop(leg, None)
        if former is not None:
            former.cancel()
        self._timers[leg] = asyncio.get_running_loop().call_later(seconds, self._timer_fired, leg)

    def _install(self, entry: Entry, install: InstallKeys) -> None:
        try:
            self._relay.install(entry.legs[install.leg], install)
        finally:
            install.keys.wipe()
        self._log.info("keys_installed", session=entry.id, line=install.leg, suite=install.keys.suite.name)

    def _notify(self, entry: Entry, notice: Notify) -> None:
        members = {
            "kind": notice.kind,
            "session": entry.id,
            "line": notice.line,
            "state": None if notice.state is None else line_state(notice.state),
            "direction": notice.direction,
            "ssrc": notice.ssrc,
            "count": notice.count,
            "reason": notice.reason,
        }
        event = msgspec.convert(members, api.Event)  # its words are checked here: they are part of the contract
        self._log.info("event", session=entry.id, kind=notice.kind, line=notice.line, reason=notice.reason)
        self._subscribers.publish(entry.uid, event)


def _outcome(reply: Outcome | ReplyError | None) -> Outcome:
    if isinstance(reply, ReplyError):
        raise reply.error
    if reply is None:
        raise ResourceError("internal_error", "the session gave no answer")
    return reply


def _wipe(effects: deque[Effect]) -> None:
    """Keys that were on their way to C and will not get there."""
    for effect in effects:
        if isinstance(effect, InstallKeys):
            effect.keys.wipe()


# Mechanisms whose keys another one makes.
_KEYED_BY: Final = MappingProxyType({Mechanism.TLS_PSK: Mechanism.MIKEY_TICKET})


def line_state(security: LineSecurity) -> api.LineState:
    """The report of POL-9."""
    return api.LineState(
        line=security.line,
        medium=security.kind.value,
        mechanism=security.mechanism.value,
        keyed_by=_KEYED_BY.get(security.mechanism, security.mechanism).value,
        scope=security.scope.value,
        suite=security.suite,
        assured=security.assured,
        peer=security.peer,
        identity=security.identity,
        identity_basis=security.identity_basis,
        keys_in_place=security.keys_in_place,
        reason=security.reason,
    )
