"""The demonstration: agents, an access edge, a KMS, protected calls with real speech, a message, and who listens.

    originating   softphone -- agent =SRTP= edge -- phone in the core     e2ae
    terminating   softphone -- agent =SRTP= edge -- phone in the core     e2ae
    end-to-end    softphone -- agent =SRTP= edge =SRTP= agent -- softphone    e2e
    dtls-originating, dtls-terminating: as the first two, keyed by DTLS-SRTP in place of SDES
    msrp, t38: a chat with a file and a fax by TLS and DTLS (`lab.demo_streams`)
    kms-end-to-end, kms-msrp: speech and a chat end to end with keys of a KMS, which also says who the other is

A protected MESSAGE goes from Alice to Bob beside them (`lab.demo_messages`). Agents, edge and KMS live in this process
and talk over loopback; SRTP ends in our core on one side and in libsrtp on the other. All calls run at once and in real
time. `run_demo` judges; printing is the command's.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from array import array
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ueagent_hw.emulated import EmulatedAccelerator

from ueagent.client import AgentClient
from ueagent.daemon.agent import Agent
from ueagent.daemon.config import AcceleratorConfig, Config, LogConfig, RegistrationConfig, RelayConfig
from ueagent.daemon.logs import open_log
from ueagent.errors import AgentError, PeerError, ResourceError
from ueagent.ipc import api
from ueagent.lab.capture import Datagram, write_pcap
from ueagent.lab.core_net import PeerNetwork, PhoneNetwork
from ueagent.lab.demo_messages import MessageReport, exchange_message, identity_of, kms_of, subscribe
from ueagent.lab.demo_streams import StreamFacts, exchange_chat, exchange_stream
from ueagent.lab.dialer import Dialer, Registered
from ueagent.lab.eavesdropper import Overheard, overhear, plaintext_datagrams
from ueagent.lab.edge import Edge, EdgeConfig
from ueagent.lab.faults import Mode
from ueagent.lab.g711 import CODECS
from ueagent.lab.phone import Phone, in_order
from ueagent.lab.registrar import DTLS, MEDIASEC, SDES
from ueagent.lab.wave import read_wav, shipped_speech, write_wav
from ueagent.model.media import MediaKind
from ueagent.model.security import SecurityPolicy, Setting

SERIAL: Final = "serial"
SERIAL_BAUD: Final = 12_000_000
_SERIAL_DEADLINE_MS: Final = 100  # this process also plays the network and the phones: its threads wait for each other
_SLOT_SECONDS: Final = 0.05
MAX_SECONDS: Final = 5.0  # of a caller's own recording: the demonstration ends within ten
_STRAGGLERS: Final = 1.0  # seconds for the last packets
_ALICE: Final = "alice"
_BOB: Final = "bob"
_CAROL: Final = "carol"  # as Alice, and announces DTLS-SRTP, too
_HANDSHAKE: Final = 5.0  # seconds
_NAMES: Final = (
    "originating",
    "terminating",
    "end-to-end",
    "dtls-originating",
    "dtls-terminating",
    "kms-end-to-end",
    "msrp",
    "t38",
    "kms-msrp",
)
# What the edge announces: who announces both gets the first.
_ANNOUNCED: Final = tuple(f"{name};{MEDIASEC}" for name in (DTLS, SDES, "msrp-tls", "udptl-dtls"))
# Bob knows nothing of the access network and insists on security between the phones.
_END_TO_END: Final = SecurityPolicy(sdes_e2ae=Setting.OFF, sdes_e2e=Setting.REQUIRED)
# Carol asks the KMS where she names who is called.
_BY_KMS: Final = SecurityPolicy(kms_e2e=Setting.PREFERRED)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`edge` carries the lab's switches; files are written when named."""

    wav: Path | None = None
    pcap: Path | None = None
    out: Path | None = None
    codec: str = "PCMU"
    engine: str | None = None  # "serial": an emulated accelerator for each agent
    edge: EdgeConfig = field(default_factory=EdgeConfig)


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call as the first softphone has it. `problems` are the checks that failed, as sentences."""

    name: str
    medium: str = "audio"
    mechanism: str = "none"
    keyed_by: str = "none"
    scope: str = "none"
    suite: str | None = None
    assured: bool = False
    engine: str | None = None
    packets_sent: int = 0
    packets_received: int = 0
    bit_exact: bool = False
    plaintext_on_wire: int = 0
    verified: bool = False  # the KMS vouches for `identity`, who has the other end
    identity: str | None = None
    problems: tuple[str, ...] = ()
    overheard: Overheard | None = None


@dataclass(frozen=True, slots=True)
class DemoReport:
    calls: tuple[CallReport, ...]
    statuses: tuple[int, ...]  # of the registration
    notes: tuple[str, ...]
    seconds: float
    messages: tuple[MessageReport, ...] = ()

    @property
    def ok(self) -> bool:
        return not any(call.problems for call in self.calls) and not any(one.problems for one in self.messages)


@dataclass(slots=True)
class _Call:
    """A call in the making. `ends` are this phone's agent's name and the phone at each end; `edges` its calls there."""

    name: str
    scope: str
    near: Dialer
    far_phone: Phone
    connect: Callable[[], Awaitable[object]]
    edge_calls: Callable[[], tuple[str | None, ...]]
    far: Dialer | None = None
    identities: tuple[str, str] | None = None  # of the far end and of the near one, where a KMS vouches for them


async def run_demo(options: DemoOptions, tell: Callable[[str], None] = lambda line: None) -> DemoReport:
    """Everything from registration to the verdict. AgentError for what keeps the demonstration from being run.

    `tell` gets a line when the calls begin.
    """
    began = time.monotonic()
    _check_targets(options)
    recording = shipped_speech() if options.wav is None else read_wav(options.wav, MAX_SECONDS)
    async with AsyncExitStack() as stack:
        stage = _Stage(options, stack)
        await stage.open()
        try:
            statuses = await stage.register()
        except AgentError as error:
            reports = [CallReport(name, problems=(str(error),)) for name in _NAMES]
            return DemoReport(tuple(reports), (), (), time.monotonic() - began)
        calls = await stage.calls()
        tell(f"{len(calls)} calls at once, {recording.seconds:.1f} s of speech each way ...")
        talking = asyncio.gather(*(stage.perform(call, recording.samples) for call in calls))
        message, reports, *streams = await asyncio.gather(
            stage.message(),
            talking,
            stage.stream("msrp", MediaKind.MSRP, calls=True),
            stage.stream("t38", MediaKind.UDPTL, calls=False),
            stage.chat("kms-msrp"),
        )
        _write_files(options, calls, stage.edge.tap.wire())
    notes = [recording.note] if recording.note else []
    return DemoReport((*reports, *streams), statuses, tuple(notes), time.monotonic() - began, (message,))


class _Stage:
    """The actors of one demonstration; everything opened goes when the stack closes."""

    def __init__(self, options: DemoOptions, stack: AsyncExitStack) -> None:
        self._options = options
        self._stack = stack
        self.edge = Edge(replace(options.edge, own_list=_ANNOUNCED))
        self._clients: dict[str, AgentClient] = {}
        self._registered: dict[str, Registered] = {}
        stack.callback(self.edge.close)

    async def open(self) -> None:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ueagent-demo-")))
        log = open_log(LogConfig(level="error"))
        strict = self._options.edge.mode is Mode.STRICT
        kms, subscribers = subscribe(folder, (_ALICE, _BOB, _CAROL))
        await self._stack.enter_async_context(kms)
        # A device knows no stream that carries its ROC (KMS-35): with it, such a stream is not offered.
        by_kms = replace(_BY_KMS, kms_rcc=self._options.engine != SERIAL)
        for name, policy in ((_ALICE, SecurityPolicy()), (_BOB, _END_TO_END), (_CAROL, by_kms)):
            path = folder / f"{name}.sock"
            more = name == _CAROL
            registration = RegistrationConfig(strict=strict, dtls_srtp=more, msrp=more, udptl=more)
            config = Config(
                policy=policy,
                registration=registration,
                relay=RelayConfig(max_legs=8),
                accelerator=self._accelerator(),
                kms=kms_of(kms),
                credentials=subscribers[name].credentials(kms),
            )
            await self._stack.enter_async_context(Agent(config, log, path))
            self._clients[name] = await self._stack.enter_async_context(AgentClient.connect(path))

    def _accelerator(self) -> AcceleratorConfig:
        if self._options.engine != SERIAL:
            return AcceleratorConfig()
        device = EmulatedAccelerator(SERIAL_BAUD)
        self._stack.callback(device.close)
        return AcceleratorConfig(
            port=device.port, baud=SERIAL_BAUD, device_key=device.public_key.hex(), deadline_ms=_SERIAL_DEADLINE_MS
        )

    async def register(self) -> tuple[int, ...]:
        """Alice's binding and Carol's. The statuses the network gave Alice."""
        for name in (_ALICE, _CAROL):
            dialer = await self._dialer(name, "register")
            self._registered[name] = await dialer.register(PhoneNetwork(self.edge, dialer.phone))
        return self._registered[_ALICE].statuses

    async def message(self) -> MessageReport:
        return await exchange_message(self._clients, _ALICE, _BOB, _CAROL)

    async def stream(self, name: str, kind: MediaKind, *, calls: bool) -> CallReport:
        """A chat or a fax of Carol's."""
        verify = self._registered[_CAROL].security_verify
        try:
            facts = await exchange_stream(self.edge, self._clients[_CAROL], _CAROL, verify, kind, calls=calls)
        except AgentError as error:
            return CallReport(name, medium=kind.value, problems=(str(error),))
        return _stream_report(name, facts, "e2ae")

    async def chat(self, name: str) -> CallReport:
        """A chat of Carol's with Alice, with keys of the KMS."""
        try:
            facts = await exchange_chat(self._clients[_CAROL], self._clients[_ALICE], identity_of(_ALICE))
        except AgentError as error:
            return CallReport(name, medium=MediaKind.MSRP.value, problems=(str(error),))
        report = _stream_report(name, facts, "e2e")
        if report.verified and report.identity == identity_of(_ALICE):
            return report
        return replace(report, problems=(*report.problems, f"the agent is told {report.identity or 'nobody'}"))

    async def calls(self) -> tuple[_Call, ...]:
        return (
            await self._originating(),
            await self._terminating(),
            await self._end_to_end(),
            await self._dtls_originating(),
            await self._dtls_terminating(),
            await self._kms_end_to_end(),
        )

    async def perform(self, call: _Call, samples: array[int]) -> CallReport:
        """Set up, talk both ways, look at what arrived, hang up."""
        try:
            await call.connect()
            await self._accelerated(call)
            await self._talk(call, samples)
            report = await self._judged(call)
            await call.near.hang_up()
            if call.far is not None:
                await call.far.hang_up()
        except AgentError as error:
            return CallReport(call.name, problems=(str(error),))
        return report

    # ---------------------------------------------------------------------------------------------- the calls --

    async def _originating(self) -> _Call:
        dialer, far = await self._dialer(_ALICE, "caller"), await self._phone("core-1")
        network = PhoneNetwork(self.edge, far)
        return _Call("originating", "e2ae", dialer, far, lambda: dialer.call(network), lambda: (network.call,))

    async def _terminating(self) -> _Call:
        dialer, far = await self._dialer(_ALICE, "callee"), await self._phone("core-2")
        network = PhoneNetwork(self.edge, far)

        async def connect() -> None:
            network.answered(await dialer.take(await network.ring(_ALICE)))

        return _Call("terminating", "e2ae", dialer, far, connect, lambda: (network.call,))

    async def _end_to_end(self) -> _Call:
        caller, callee = await self._dialer(_BOB, "bob"), await self._dialer(_ALICE, "alice")
        network = PeerNetwork(self.edge, self.edge, callee)
        return _Call(
            "end-to-end",
            "e2e",
            caller,
            callee.phone,
            lambda: caller.call(network),
            lambda: network.calls or (),
            callee,
        )

    async def _dtls_originating(self) -> _Call:
        """The gateway sends the ClientHello."""
        dialer, far = await self._dialer(_CAROL, "dtls-caller"), await self._phone("core-3")
        network = PhoneNetwork(self.edge, far)

        async def connect() -> None:
            await dialer.call(network)
            await self._shaken(dialer, network)

        return _Call("dtls-originating", "e2ae", dialer, far, connect, lambda: (network.call,))

    async def _dtls_terminating(self) -> _Call:
        """The agent sends the ClientHello."""
        dialer, far = await self._dialer(_CAROL, "dtls-callee"), await self._phone("core-4")
        network = PhoneNetwork(self.edge, far)

        async def connect() -> None:
            network.answered(await dialer.take(await network.ring(_CAROL)))
            await self._shaken(dialer, network)

        return _Call("dtls-terminating", "e2ae", dialer, far, connect, lambda: (network.call,))

    async def _kms_end_to_end(self) -> _Call:
        caller, callee = await self._dialer(_CAROL, "kms-caller"), await self._dialer(_ALICE, "kms-callee")
        network = PeerNetwork(self.edge, self.edge, callee)
        called = identity_of(_ALICE)
        return _Call(
            "kms-end-to-end",
            "e2e",
            caller,
            callee.phone,
            lambda: caller.call(network, called),
            lambda: network.calls or (),
            callee,
            (called, identity_of(_CAROL)),
        )

    async def _shaken(self, dialer: Dialer, network: PhoneNetwork) -> None:
        """Both ends have the keys of their handshakes, so that no packet is too early."""
        await dialer.keyed(_HANDSHAKE)
        if network.call is None or not await self.edge.wait_ready(network.call, _HANDSHAKE):
            raise PeerError("no_keys", f"the edge has no keys within {_HANDSHAKE:.0f} s")

    async def _dialer(self, name: str, phone: str) -> Dialer:
        dialer = Dialer(self._clients[name], await self._phone(phone), name)
        dialer.registered = self._registered.get(name)
        return dialer

    async def _phone(self, name: str) -> Phone:
        phone = Phone(name, secrets.token_bytes, time.time, codec=CODECS[self._options.codec])
        await phone.open()
        self._stack.callback(phone.close)
        return phone

    # -------------------------------------------------------------------------------------------- the verdict --

    async def _accelerated(self, call: _Call) -> None:
        """Until the device has the keys of both directions; before that, a CPU does the packets."""
        if self._options.engine != SERIAL:
            return
        end = time.monotonic() + _STRAGGLERS
        while (await call.near.status()).counters[0].engine != SERIAL and time.monotonic() < end:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(_SLOT_SECONDS)
        await asyncio.sleep(_SLOT_SECONDS)  # keys to receive are loaded right behind those to send

    async def _talk(self, call: _Call, samples: array[int]) -> None:
        near, far = call.near.phone, call.far_phone
        await asyncio.gather(near.play(samples), far.play(samples))
        await asyncio.gather(
            near.wait_received(len(far.sent), len(far.rtcp_sent), _STRAGGLERS),
            far.wait_received(len(near.sent), len(near.rtcp_sent), _STRAGGLERS),
        )

    async def _judged(self, call: _Call) -> CallReport:
        near, far = call.near.phone, call.far_phone
        state = await call.near.status()
        line, counters = state.lines[0], state.counters[0]
        wire = self._wire(call)
        report = CallReport(
            name=call.name,
            medium=line.medium,
            mechanism=line.mechanism,
            keyed_by=line.keyed_by,
            scope=line.scope,
            suite=line.suite,
            assured=line.assured,
            engine=counters.engine,
            packets_sent=len(near.sent),
            packets_received=len(near.received),
            bit_exact=in_order(far.received) == near.sent and in_order(near.received) == far.sent,
            plaintext_on_wire=plaintext_datagrams(wire, near.sent + far.sent),
            verified=line.identity_basis == "verified",
            identity=line.identity,
            overheard=overhear(wire, near.sent, near.codec),
        )
        problems = [*_problems(call, report, line, counters, self._options.engine)]
        if call.far is not None:
            theirs = await call.far.status()
            problems += _failures("the far agent", theirs.counters[0])
            problems += _strangers(call, line, theirs.lines[0])
        if self.edge.tap.lost:
            problems.append(f"the capture lost {self.edge.tap.lost} datagrams")
        return replace(report, problems=tuple(problems))

    def _wire(self, call: _Call) -> list[Datagram]:
        return [datagram for name in call.edge_calls() if name is not None for datagram in self.edge.wire(name)]


def _problems(
    call: _Call, report: CallReport, line: api.LineState, counters: api.LineCounters, engine: str | None
) -> list[str]:
    near, far = call.near.phone, call.far_phone
    checks = (
        (line.keys_in_place, "the agent has no keys in place"),
        (report.scope == call.scope, f"the scope is {report.scope}, not {call.scope}"),
        (bool(report.packets_sent), "nothing was sent"),
        (len(far.received) == len(near.sent), f"{len(far.received)} of {len(near.sent)} packets reached the far end"),
        (len(near.received) == len(far.sent), f"{len(near.received)} of {len(far.sent)} packets reached the softphone"),
        (report.bit_exact, "what arrived is not bit for bit what was sent"),
        (far.rtcp_received == near.rtcp_sent, "the far end did not get all reports"),
        (near.rtcp_received == far.rtcp_sent, "the softphone did not get all reports"),
        (report.plaintext_on_wire == 0, f"{report.plaintext_on_wire} datagrams on the wire were readable"),
        (report.overheard is not None, "nothing was captured on the wire"),
        (counters.packets_sent == len(near.sent), f"the agent counted {counters.packets_sent} packets sent"),
        (counters.engine is not None, "the agent names no engine"),
    )
    problems = [sentence for good, sentence in checks if not good] + _failures("the agent", counters)
    media = len(near.sent) + len(near.received)
    if engine == SERIAL and counters.accelerated != media:
        problems.append(f"the accelerator did {counters.accelerated} of {media} packets")
    return problems


def _stream_report(name: str, facts: StreamFacts, scope: str) -> CallReport:
    line = facts.line
    checks = (
        (line.keys_in_place, "the agent has no keys in place"),
        (line.scope == scope and line.assured, f"the scope is {line.scope}, and not assured"),
        (facts.bit_exact, "what arrived is not bit for bit what was sent"),
        (facts.readable == 0, f"{facts.readable} of what was sent could be read on the wire"),
    )
    return CallReport(
        name=name,
        medium=line.medium,
        mechanism=line.mechanism,
        keyed_by=line.keyed_by,
        scope=line.scope,
        suite=line.suite,
        assured=line.assured,
        packets_sent=facts.sent,
        packets_received=facts.received,
        bit_exact=facts.bit_exact,
        plaintext_on_wire=facts.readable,
        verified=line.identity_basis == "verified",
        identity=line.identity,
        problems=tuple(sentence for good, sentence in checks if not good),
    )


def _strangers(call: _Call, near: api.LineState, far: api.LineState) -> list[str]:
    """Both ends are told who the other is, where a KMS can say so."""
    if call.identities is None:
        return []
    told = ((near.identity, near.identity_basis), (far.identity, far.identity_basis))
    return [
        f"an end is told {identity or 'nobody'} ({basis}) instead of {expected} (verified)"
        for (identity, basis), expected in zip(told, call.identities, strict=True)
        if (identity, basis) != (expected, "verified")
    ]


def _failures(who: str, counters: api.LineCounters) -> list[str]:
    count = counters.auth_failures
    return [f"{who} counted {count} packets that failed authentication"] if count else []


def _check_targets(options: DemoOptions) -> None:
    """What cannot be written fails before the calls, not after them."""
    try:
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
        if options.pcap is not None:
            options.pcap.open("ab").close()
    except OSError as error:
        raise ResourceError("cannot_write", f"{error.filename}: {error.strerror}") from None


def _write_files(options: DemoOptions, calls: tuple[_Call, ...], wire: list[Datagram]) -> None:
    if options.pcap is not None:
        write_pcap(options.pcap, wire)
    if options.out is not None:
        for call in calls:
            write_wav(options.out / f"{call.name}-softphone.wav", call.near.phone.heard())
            write_wav(options.out / f"{call.name}-far-end.wav", call.far_phone.heard())
