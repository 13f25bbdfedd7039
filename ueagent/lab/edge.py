"""The lab edge: registrar, ALG and gateway put together, one per access network (EDGE-1 to EDGE-12, EDGE-16 to -18).

    UE -> offer_from_ue -> core      core -> offer_to_ue -> UE        core: another edge's call, or a plain RTP phone
    UE <- answer_to_ue  <- core      core <- answer_from_ue <- UE

Descriptions are octets of SDP; the SIP around them is the caller's.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from ueagent.errors import NegotiationFailed, UsageError
from ueagent.lab import alg_dtls
from ueagent.lab.agw import Gateway, Stream
from ueagent.lab.alg import AlgConfig, AlgDialog, Handling, StreamOrder, rtp_lines
from ueagent.lab.alg_streams import TOKENS, remote_of, stream_kind, stream_lines
from ueagent.lab.capture import Datagram, Side, Tap
from ueagent.lab.faults import Fault, Indication, Mode
from ueagent.lab.registrar import DTLS, OWN_LIST, RegisterRequest, RegisterResponse, Registrar
from ueagent.lab.sockets import LOOPBACK, address_of
from ueagent.lab.srtp_set import PROFILES
from ueagent.lab.stream_agw import Bridge, open_bridge
from ueagent.model.media import Endpoint
from ueagent.wire.sdp import Sdp, build_sdp, parse_sdp


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """Everything the lab can switch. `now` gives seconds since 1970, `rng` draws keys.

    The order of `own_list` is the order in which UEs get offers. `dtls_unannounced`: DTLS-SRTP is done without a word
    at registration, as an eP-CSCF does (REG-11, WEB-2). `dtls_passive`: the gateway leaves the ClientHello to the UE.
    """

    mode: Mode = Mode.MEDIASEC
    fault: Fault = Fault.NO_FAULT
    indication: Indication = Indication.ABSENT
    refuse_plain: bool = False
    suites: tuple[str, ...] = tuple(PROFILES)
    own_list: tuple[str, ...] = OWN_LIST
    dtls_unannounced: bool = False
    dtls_passive: bool = False
    bfcp_active_is_client: bool = False  # BFCP-4: else the answerer is TLS server
    address: str = LOOPBACK
    rng: Callable[[int], bytes] = secrets.token_bytes
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        unknown = [suite for suite in self.suites if suite not in PROFILES]
        if unknown or not self.suites:
            allowed = ", ".join(PROFILES)
            raise UsageError("unknown_suite", f"pylibsrtp has no {', '.join(unknown) or 'empty list'}: {allowed}")


@dataclass(slots=True)
class Call:
    """One UE's side of a call. `streams` by number of the m-line."""

    id: str
    binding: str
    dialog: AlgDialog
    streams: dict[int, Stream] = field(default_factory=dict)
    bridges: dict[int, Bridge] = field(default_factory=dict)  # of MSRP, BFCP and T.38
    remotes: dict[tuple[int, Side], Endpoint | None] = field(default_factory=dict)  # signalled, not yet in force
    failures: dict[int, str] = field(default_factory=dict)  # EDGE-16, by number of the m-line


class Edge:
    """Opens sockets as calls need them; `close` ends everything."""

    def __init__(self, config: EdgeConfig | None = None) -> None:
        self.config = config or EdgeConfig()
        self.tap = Tap()
        self.registrar = Registrar(self.config.mode, self.config.own_list)
        self._gateway = Gateway(
            self.tap, self.config.now, self.config.address, rng=self.config.rng, lost=self._stream_lost
        )
        self._calls: dict[str, Call] = {}

    def register(self, request: RegisterRequest) -> RegisterResponse:
        return self.registrar.register(request)

    # ------------------------------------------------------------------------------------------------- calls --

    async def offer_from_ue(
        self, binding: str, offer: bytes, *, call: str | None = None, security_verify: Sequence[str] = ()
    ) -> tuple[str, bytes]:
        """(call, offer for the core). With `call` it is a re-offer. NegotiationFailed carries the SIP status."""
        status = self.registrar.check_request(binding, security_verify)
        if status is not None:
            raise NegotiationFailed("security_verify", f"the request got {status}", sip_status_hint=status)
        return await self._offered(binding, call, offer, Side.ACCESS)

    async def offer_to_ue(
        self, binding: str, offer: bytes, *, call: str | None = None, rekey: bool = False
    ) -> tuple[str, bytes]:
        """(call, offer for the UE). With `call` it is a re-offer, with `rekey` one with new keys."""
        return await self._offered(binding, call, offer, Side.CORE, rekey=rekey)

    def answer_to_ue(self, call: str, answer: bytes) -> bytes:
        """The core's answer for the UE; media may flow from here on."""
        here = self._call(call)
        sdp = parse_sdp(answer)
        written = here.dialog.answer_to_ue(sdp, _endpoints(here, Side.ACCESS))
        here.remotes |= _remotes(sdp, Side.CORE)
        self._perform(here)
        return build_sdp(written)

    def answer_from_ue(self, call: str, answer: bytes) -> bytes:
        """The UE's answer for the core; media may flow from here on."""
        here = self._call(call)
        sdp = parse_sdp(answer)
        written = here.dialog.answer_from_ue(sdp, _endpoints(here, Side.CORE))
        here.remotes |= _remotes(sdp, Side.ACCESS)
        self._perform(here)
        return build_sdp(written)

    def offer_refused(self, call: str) -> None:
        """The offer in progress came to nothing: a new call ends, an old one goes on as it was (SDES-16)."""
        here = self._call(call)
        here.dialog.roll_back()
        here.remotes.clear()
        if not here.dialog.handlings():
            self.release(call)

    def release(self, call: str) -> None:
        """The call has ended. Idempotent."""
        here = self._calls.pop(call, None)
        for stream in here.streams.values() if here else ():
            self._gateway.close_stream(stream.id)
        for bridge in here.bridges.values() if here else ():
            bridge.close()

    def handlings(self, call: str) -> tuple[Handling, ...]:
        """What the edge does with each media line."""
        return self._call(call).dialog.handlings()

    def counters(self, call: str) -> Counter[str]:
        """Packets of all streams of a call, by what became of them."""
        total: Counter[str] = Counter()
        for stream in self.streams(call):
            total += stream.counters
            for contexts in (stream.srtp, stream.rtcp_srtp):
                total += contexts.counters if contexts else Counter()
        return total

    def failures(self, call: str) -> dict[int, str]:
        """Lines that got no DTLS association, with the gateway's reason (EDGE-16)."""
        return dict(self._call(call).failures)

    async def wait_ready(self, call: str, seconds: float) -> bool:
        """Whether every stream of the call passes packets within that time: handshakes take a while."""
        try:
            async with asyncio.timeout(seconds):
                ready = [stream.ready for stream in self.streams(call)] + [line.ready for line in self.bridges(call)]
                await asyncio.gather(*(event.wait() for event in ready))
        except TimeoutError:
            return False
        return True

    def streams(self, call: str) -> tuple[Stream, ...]:
        """The gateway's streams of a call, by media line."""
        return tuple(stream for _, stream in sorted(self._call(call).streams.items()))

    def bridges(self, call: str) -> tuple[Bridge, ...]:
        """The gateway's connections for MSRP, BFCP and T.38 of a call, by media line."""
        return tuple(bridge for _, bridge in sorted(self._call(call).bridges.items()))

    def wire(self, call: str) -> list[Datagram]:
        """What has crossed the access side of a call."""
        ours = {address_of(stream.access, rtcp) for stream in self.streams(call) for rtcp in (False, True)}
        return [datagram for datagram in self.tap.wire() if {datagram.source, datagram.destination} & ours]

    def calls(self) -> tuple[str, ...]:
        return tuple(self._calls)

    def close(self) -> None:
        for call in list(self._calls):
            self.release(call)
        self._gateway.close()

    # --------------------------------------------------------------------------------------------------- inside --

    async def _offered(
        self, binding: str, call: str | None, offer: bytes, side: Side, *, rekey: bool = False
    ) -> tuple[str, bytes]:
        sdp = parse_sdp(offer)
        here = self._new_call(binding) if call is None else self._call(call)
        try:
            await self._open_streams(here, sdp)
            if side is Side.ACCESS:
                written = here.dialog.offer_from_ue(sdp, _endpoints(here, Side.CORE))
            else:
                written = here.dialog.offer_to_ue(sdp, _endpoints(here, Side.ACCESS), rekey=rekey)
        except BaseException:
            if call is None:
                self.release(here.id)
            raise
        here.remotes |= _remotes(sdp, side)
        if side is Side.ACCESS and self.config.fault is Fault.EARLY_HELLO:
            self._begin_early(here)
        return here.id, build_sdp(written)

    def _begin_early(self, here: Call) -> None:
        for line, order in enumerate(here.dialog.early_orders()):
            if order is not None and line in here.streams:
                stream = here.streams[line]
                stream.set_remote(Side.ACCESS, here.remotes.get((line, Side.ACCESS)))
                self._gateway.expect_dtls(stream.id, order, self.config.suites)

    def _stream_lost(self, stream_id: int, reason: str) -> None:
        for here in self._calls.values():
            for line, stream in here.streams.items():
                if stream.id == stream_id:
                    self._line_lost(here, line, reason)

    @staticmethod
    def _line_lost(here: Call, line: int, reason: str) -> None:
        here.failures[line] = reason
        here.dialog.lose(line)

    def _new_call(self, binding: str) -> Call:
        config = self.config
        registered = self.registrar.registered(binding)
        dialog = AlgDialog(
            AlgConfig(
                agreed=self.registrar.agreed(binding),
                agreed_streams=frozenset(kind for kind, name in TOKENS.items() if self.registrar.agreed(binding, name)),
                bfcp_active_is_client=config.bfcp_active_is_client,
                agreed_dtls=self.registrar.agreed(binding, DTLS) or (config.dtls_unannounced and registered),
                dtls_first=self.registrar.prefers_dtls(),
                gateway=alg_dtls.Gateway(self._gateway.certificate.fingerprint(), config.dtls_passive),
                aware=config.mode is not Mode.NONE,
                lying=config.mode is Mode.LYING,
                refuse_plain=config.refuse_plain,
                indication=config.indication,
                fault=config.fault,
                suites=config.suites,
            ),
            config.rng,
        )
        here = Call(secrets.token_hex(4), binding, dialog)
        self._calls[here.id] = here
        return here

    def _call(self, call: str) -> Call:
        found = self._calls.get(call)
        if found is None:
            raise UsageError("no_such_call", "the edge has no such call", field="call")
        return found

    async def _open_streams(self, here: Call, sdp: Sdp) -> None:
        for line in rtp_lines(sdp):
            if line not in here.streams:
                here.streams[line] = await self._gateway.open_stream()
        for line in stream_lines(sdp):
            kind = stream_kind(sdp.media[line])
            if line not in here.bridges and kind is not None:
                lost = partial(self._line_lost, here, line)
                here.bridges[line] = open_bridge(kind, self._gateway.certificate, lost, self.config.address)

    def _perform(self, here: Call) -> None:
        for (line, side), remote in here.remotes.items():
            if line in here.streams:
                here.streams[line].set_remote(side, remote)
            if line in here.bridges:
                here.bridges[line].set_remote(side, remote)
        here.remotes.clear()
        for line, order in enumerate(here.dialog.commit()):
            if line in here.streams:
                self._order(here, line, order)
            if line in here.bridges:
                self._bridge(here, line, order)

    def _bridge(self, here: Call, line: int, order: StreamOrder) -> None:
        if order.handling is not Handling.E2AE:
            here.bridges.pop(line).close()
        elif order.stream is not None and self.config.fault is not Fault.SILENT_PEER:
            here.bridges[line].perform(order.stream)

    def _order(self, here: Call, line: int, order: StreamOrder) -> None:
        stream = here.streams[line]
        if order.handling is Handling.UNTOUCHED:
            self._gateway.close_stream(here.streams.pop(line).id)
        elif order.handling is not Handling.E2AE:
            self._gateway.pass_through(stream.id)
        elif order.dtls is not None and self.config.fault is Fault.SILENT_PEER:
            self._gateway.hold_dtls(stream.id)
        elif order.dtls is not None:
            self._gateway.expect_dtls(stream.id, order.dtls, self.config.suites)
        elif order.rx is not None or order.tx is not None:
            reset = self.config.fault is Fault.ROC_RESET
            self._gateway.set_keys(stream.id, order.rx, order.tx, reset_roc=reset)


def _remotes(sdp: Sdp, side: Side) -> dict[tuple[int, Side], Endpoint | None]:
    """Where packets go on that side; None while a line is on hold in the old way (c=0.0.0.0)."""
    rtp = {(at, side): None if sdp.media[at].legacy_hold else sdp.media[at].endpoint for at in rtp_lines(sdp)}
    return rtp | {(at, side): remote_of(sdp.media[at]) for at in stream_lines(sdp)}


def _endpoints(here: Call, side: Side) -> dict[int, Endpoint]:
    lines: dict[int, Stream | Bridge] = {**here.streams, **here.bridges}
    return {at: line.access if side is Side.ACCESS else line.core for at, line in lines.items()}
