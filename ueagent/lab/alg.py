"""IMS application level gateway: SDP between a UE and the core (EDGE-2 to EDGE-5, EDGE-9 to EDGE-12, EDGE-17, EDGE-18).

    UE offers:    offer_from_ue -> core ... core -> answer_to_ue
    core offers:  offer_to_ue   -> UE   ... UE   -> answer_from_ue      then commit() says what the gateway shall do

One `AlgDialog` is one UE's side of one call; two back to back join two UEs, each with its own access protection.
Pure: endpoints of the gateway come in by number of the m-line, descriptions go out. A failed call raises and leaves the
dialog as it was; so does `roll_back` after an offer that was refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from ueagent.errors import NegotiationFailed
from ueagent.lab import alg_dtls, alg_streams
from ueagent.lab.alg_lines import Rng, answer_line, draft_answer, fresh_line, key_of, selectable
from ueagent.lab.dtls_agw import DtlsOrder
from ueagent.lab.faults import Fault, Indication
from ueagent.lab.srtp_set import PROFILES, ParameterSet
from ueagent.lab.stream_agw import BridgeOrder
from ueagent.model.media import Endpoint, MediaKind, Transport, transport_named
from ueagent.negotiation.offer_answer import ICE
from ueagent.wire.sdp import MediaSection, Sdp
from ueagent.wire.sdp_attributes import SdesCrypto, build_3ge2ae, build_crypto, read_3ge2ae, read_crypto

_SECURE: Final = {"RTP/AVP": "RTP/SAVP", "RTP/AVPF": "RTP/SAVPF"}
_INDICATIONS: Final = {Indication.APPLIED: build_3ge2ae("applied"), Indication.REQUESTED: build_3ge2ae("requested")}


class Handling(StrEnum):
    """What the edge does with one media line."""

    E2AE = "e2ae"  # SRTP ends in the gateway
    E2E = "e2e"  # secured, none of the edge's business
    PLAIN = "plain"
    UNTOUCHED = "untouched"  # no RTP, or not in use


@dataclass(frozen=True, slots=True)
class AlgConfig:
    """`agreed`, `agreed_dtls`: both sides announced SDES, DTLS-SRTP. `aware`: the edge knows 3ge2ae. `lying`: it
    announced and does not do. `gateway` is there where the edge does DTLS-SRTP.
    """

    agreed: bool = False
    agreed_dtls: bool = False
    agreed_streams: frozenset[MediaKind] = frozenset()
    bfcp_active_is_client: bool = False  # BFCP-4
    dtls_first: bool = False  # what the UE is offered where both are agreed on
    gateway: alg_dtls.Gateway | None = None
    aware: bool = True
    lying: bool = False
    refuse_plain: bool = False  # EDGE-10, second mode
    indication: Indication = Indication.ABSENT  # EDGE-3
    fault: Fault = Fault.NO_FAULT
    suites: tuple[str, ...] = tuple(PROFILES)


@dataclass(frozen=True, slots=True)
class StreamOrder:
    """What the gateway shall do with one stream; a parameter set that is None stays as it is (EDGE-6).

    With `dtls` the gateway gets its parameter sets from a handshake.
    """

    handling: Handling
    rx: ParameterSet | None = None
    tx: ParameterSet | None = None
    dtls: DtlsOrder | None = None
    stream: BridgeOrder | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    handling: Handling
    ue_proto: str
    core_proto: str
    offered: tuple[SdesCrypto, ...] = ()  # by whoever offered on the access side
    ue: SdesCrypto | None = None
    own: SdesCrypto | None = None
    dtls: alg_dtls.DtlsLine | None = None
    kind: MediaKind | None = None  # of a line that is no RTP
    ue_offers: bool = True
    ue_opens: bool = False


_UNUSED: Final = _Line(Handling.UNTOUCHED, "", "")


class AlgDialog:
    """One UE's side of a call. `rng` draws master keys."""

    def __init__(self, config: AlgConfig, rng: Rng) -> None:
        self.config = config
        self._rng = rng
        self._lines: tuple[_Line, ...] = ()  # as committed
        self._draft: tuple[_Line, ...] = ()  # since the last offer

    # --------------------------------------------------------------------------------------- the UE has offered --

    def offer_from_ue(self, sdp: Sdp, core: Mapping[int, Endpoint]) -> Sdp:
        """EDGE-2, EDGE-9: the offer as the core gets it."""
        managed = sdp.session.attribute("key-mgmt") is not None
        lines = tuple(self._line_of_ue_offer(at, section, managed) for at, section in enumerate(sdp.media))
        self._draft = lines
        return _each(
            sdp,
            core,
            [
                self._to_core(s, line) if line.handling is Handling.E2AE else s
                for s, line in zip(sdp.media, lines, strict=True)
            ],
            lines,
        )

    def answer_to_ue(self, sdp: Sdp, access: Mapping[int, Endpoint]) -> Sdp:
        """EDGE-3: the core's answer as the UE gets it."""
        _same_shape(sdp, self._draft)
        done = [self._answered_to_ue(at, section) for at, section in enumerate(sdp.media)]
        self._draft = tuple(line for line, _ in done)
        muxed = [at for at, line in enumerate(self._draft) if line.dtls is not None and line.dtls.mux and at in access]
        ours = dict(access) | {at: replace(access[at], rtcp_port=access[at].rtp_port) for at in muxed}
        return _each(sdp, ours, [section for _, section in done], self._draft)

    def early_orders(self) -> tuple[DtlsOrder | None, ...]:
        """EDGE-17: what a gateway could begin with that does not wait for the answer."""
        return tuple(None if line.dtls is None else line.dtls.order() for line in self._draft)

    def _to_core(self, section: MediaSection, line: _Line) -> MediaSection:
        if line.kind is None:
            return _bare(section, line.core_proto)
        return alg_streams.to_core(section, line.core_proto)

    def _line_of_ue_offer(self, at: int, section: MediaSection, managed: bool) -> _Line:
        """`managed`: a=key-mgmt stands at session level."""
        transport = transport_named(section.proto)
        kind = alg_streams.stream_kind(section)
        if section.port and transport is not None and transport.fingerprint and kind is not None:
            return self._stream_of_ue_offer(at, section, kind, transport.plain)
        if section.port == 0 or transport is None or not transport.rtp:
            return _UNUSED
        crypto = tuple(read_crypto(section)[0]) if transport.sdes else ()
        requested = read_3ge2ae(section) == "requested" and self.config.aware
        if transport.fingerprint:
            return self._dtls_line_of_ue_offer(at, section, transport.plain, requested)
        if transport.sdes and not crypto and (managed or section.attribute("key-mgmt") is not None):
            return _Line(Handling.E2E, section.proto, section.proto)  # KMS-67
        if transport.sdes and not crypto:
            raise NegotiationFailed("missing_crypto", f"{section.proto} without a usable a=crypto", field="a=crypto")
        if not crypto:
            if self.config.agreed and self.config.refuse_plain:
                raise NegotiationFailed("plain_refused", "the UE has announced SDES and must use it", field="m=")
            return _Line(Handling.PLAIN, section.proto, section.proto)
        if not requested:
            return _Line(Handling.E2E, section.proto, section.proto, crypto)
        if not self.config.agreed:
            raise NegotiationFailed(
                "not_agreed", "3ge2ae:requested without sdes-srtp in the registration", field="a=3ge2ae"
            )
        return _Line(Handling.E2AE, section.proto, transport.plain, crypto, ue=selectable(crypto, self.config.suites))

    def _dtls_line_of_ue_offer(self, at: int, section: MediaSection, plain: str, requested: bool) -> _Line:
        if not requested:
            return _Line(Handling.E2E, section.proto, section.proto)
        gateway = self.config.gateway
        if gateway is None or not self.config.agreed_dtls:
            detail = "3ge2ae:requested with DTLS-SRTP, which was not agreed on"
            raise NegotiationFailed("not_agreed", detail, field="a=3ge2ae")
        before = self._before(at)
        line = alg_dtls.offered_by_ue(section, before.dtls if before else None, gateway, self._rng)
        return _Line(Handling.E2AE, section.proto, plain, dtls=line)

    def _stream_of_ue_offer(self, at: int, section: MediaSection, kind: MediaKind, plain: str) -> _Line:
        """EDGE-13, EDGE-14. Without `requested` it is none of the edge's business (EDGE-15)."""
        gateway = self.config.gateway
        if read_3ge2ae(section) != "requested" or not self.config.aware or gateway is None:
            return _UNUSED
        if kind not in self.config.agreed_streams:
            detail = f"3ge2ae:requested without {alg_streams.TOKENS[kind]} in the registration"
            raise NegotiationFailed("not_agreed", detail, field="a=3ge2ae")
        before = self._before(at)
        line = alg_dtls.offered_by_ue(section, before.dtls if before else None, gateway, self._rng)
        return _Line(Handling.E2AE, section.proto, plain, dtls=line, kind=kind)

    def _answered_to_ue(self, at: int, section: MediaSection) -> tuple[_Line, MediaSection]:
        line = self._draft[at]
        if section.port == 0 or line.handling is not Handling.E2AE:
            answered = line if section.port else _UNUSED
            return answered, section.with_proto(line.ue_proto) if line.handling is Handling.E2AE else section
        if line.dtls is not None:
            return self._dtls_answered_to_ue(line, section)
        assert line.ue is not None  # E2AE lines of UE offers have one
        before = self._before(at)
        keep = before is not None and before.own is not None and _same_key(before.ue, line.ue)
        own = before.own if keep and before is not None else None
        own = replace(own, tag=line.ue.tag, tag_text=line.ue.tag_text) if own else answer_line(line.ue, self._rng)
        fault = Fault.PLAIN_ANSWER if self.config.lying else self.config.fault
        draft = draft_answer(fault, line.ue_proto, own, line.ue, line.offered, self._rng)
        if not draft.secured:
            return replace(line, handling=Handling.PLAIN), _bare(section, draft.proto)
        indication = _INDICATIONS.get(self.config.indication)
        written = self._written(draft.lines, indication)
        return replace(line, own=draft.lines[0] if draft.lines else own), _bare(section, draft.proto).with_attributes(
            written
        )

    def _dtls_answered_to_ue(self, line: _Line, section: MediaSection) -> tuple[_Line, MediaSection]:
        assert line.dtls is not None
        if self.config.lying or self.config.fault is Fault.PLAIN_ANSWER:
            return replace(line, handling=Handling.PLAIN, dtls=None), _bare(section, line.core_proto)
        indication = _INDICATIONS.get(self.config.indication)
        attributes = [*([indication] if indication else []), *alg_dtls.written(line.dtls, self.config.fault)]
        if line.kind is not None:
            line = replace(line, ue_opens=not alg_streams.opens(section, answer=True))
            return line, alg_streams.to_ue(section, line.ue_proto, attributes)
        return line, _bare(section, line.ue_proto).with_attributes(attributes)

    # --------------------------------------------------------------------------------------- the core has offered --

    def offer_to_ue(self, sdp: Sdp, access: Mapping[int, Endpoint], *, rekey: bool = False) -> Sdp:
        """EDGE-4, EDGE-9: the core's offer as the UE gets it. `rekey` draws new keys for lines already secured."""
        lines = tuple(self._line_of_core_offer(at, section, rekey) for at, section in enumerate(sdp.media))
        self._draft = lines
        sections = [self._offered_to_ue(s, line) for s, line in zip(sdp.media, lines, strict=True)]
        return _each(sdp, access, sections, lines)

    def answer_from_ue(self, sdp: Sdp, core: Mapping[int, Endpoint]) -> Sdp:
        """EDGE-5: the UE's answer as the core gets it. NegotiationFailed when it does not fit our offer."""
        _same_shape(sdp, self._draft)
        done = [self._answered_by_ue(line, section) for line, section in zip(self._draft, sdp.media, strict=True)]
        self._draft = tuple(line for line, _ in done)
        return _each(sdp, core, [section for _, section in done], self._draft)

    def _line_of_core_offer(self, at: int, section: MediaSection, rekey: bool) -> _Line:
        transport = transport_named(section.proto)
        kind = alg_streams.stream_kind(section)
        if section.port and transport is not None and kind is not None:
            return self._stream_of_core_offer(at, kind, transport, rekey)
        if section.port == 0 or transport is None or not transport.rtp:
            return _UNUSED
        if transport.sdes or transport.fingerprint:
            return _Line(Handling.E2E, section.proto, section.proto)
        before = self._before(at)
        gateway = self.config.gateway if self.config.agreed_dtls else None
        if self.config.lying or (not self.config.agreed and gateway is None):
            return _Line(Handling.PLAIN, section.proto, section.proto)
        if gateway is not None and (self.config.dtls_first or not self.config.agreed):
            line = alg_dtls.offer_to_ue(before.dtls if before else None, gateway, self._rng, rekey=rekey)
            return _Line(Handling.E2AE, alg_dtls.SECURE[transport.plain], section.proto, dtls=line)
        if before is not None and before.own is not None:
            again = fresh_line(before.own.tag, before.own.suite, self._rng) if rekey else before.own
            offered: tuple[SdesCrypto, ...] = (again,)
        else:
            offered = tuple(fresh_line(tag, suite, self._rng) for tag, suite in enumerate(self.config.suites, start=1))
        return _Line(Handling.E2AE, _SECURE[transport.plain], section.proto, offered)

    def _stream_of_core_offer(self, at: int, kind: MediaKind, transport: Transport, rekey: bool) -> _Line:
        gateway, agreed = self.config.gateway, kind in self.config.agreed_streams
        if transport.fingerprint or gateway is None or not agreed or self.config.lying:
            return _UNUSED
        before = self._before(at)
        line = alg_dtls.offer_to_ue(before.dtls if before else None, gateway, self._rng, rekey=rekey)
        if kind is MediaKind.MSRP:  # MSRP-6
            line = replace(line, own=replace(line.own, tls_id=None))
        secure = alg_streams.SECURE[transport.plain]
        return _Line(Handling.E2AE, secure, transport.plain, dtls=line, kind=kind, ue_offers=False)

    def _offered_to_ue(self, section: MediaSection, line: _Line) -> MediaSection:
        leaked = self.config.fault is Fault.LEAKED_APPLIED or not self.config.aware
        if line.handling is not Handling.E2AE:
            return section if leaked or line.handling is Handling.UNTOUCHED else section.without_attributes("3ge2ae")
        if line.dtls is not None:
            attributes = [build_3ge2ae("applied"), *alg_dtls.written(line.dtls, self.config.fault)]
            if line.kind is not None:
                return alg_streams.to_ue(section, line.ue_proto, attributes)
            return _bare(section, line.ue_proto).with_attributes(attributes)
        lines = () if self.config.fault is Fault.MISSING_CRYPTO else line.offered
        return _bare(section, line.ue_proto).with_attributes(self._written(lines, build_3ge2ae("applied")))

    def _answered_by_ue(self, line: _Line, section: MediaSection) -> tuple[_Line, MediaSection]:
        if section.port == 0:
            return _UNUSED, section.with_proto(line.core_proto) if line.handling is Handling.E2AE else section
        if line.handling is not Handling.E2AE:
            return line, section
        if line.dtls is not None:
            if section.proto != line.ue_proto:
                raise NegotiationFailed("bad_answer", f"wanted {line.ue_proto}", field="m=")
            line = replace(line, dtls=alg_dtls.answered_by_ue(section, line.dtls))
            if line.kind is not None:
                line = replace(line, ue_opens=alg_streams.opens(section, answer=True))
            return line, self._to_core(section, line)
        crypto, invalid = read_crypto(section)
        if section.proto != line.ue_proto or len(crypto) != 1 or invalid:
            raise NegotiationFailed("bad_answer", f"wanted {line.ue_proto} with exactly one a=crypto", field="a=crypto")
        ue = crypto[0]
        own = next((o for o in line.offered if (o.tag, o.suite) == (ue.tag, ue.suite)), None)
        if own is None:
            raise NegotiationFailed("bad_answer", "the answer's tag and suite were not offered", field="a=crypto")
        if any(_same_key(ue, offered) for offered in line.offered):
            raise NegotiationFailed("bad_answer", "the answer repeats a key of the offer", field="a=crypto")
        return replace(line, ue=ue, own=own), _bare(section, line.core_proto)

    # ----------------------------------------------------------------------------------------------------- outcome --

    def commit(self) -> tuple[StreamOrder, ...]:
        """Offer and answer are through: one order per media line. What did not change is None in it."""
        before, self._lines = self._lines, self._draft
        return tuple(self._order(line, before[at] if at < len(before) else None) for at, line in enumerate(self._lines))

    def roll_back(self) -> None:
        """The offer was refused: what was committed stays (SDES-16)."""
        self._draft = self._lines

    def lose(self, at: int) -> None:
        """EDGE-16: the gateway got no association for this line, so the stream is released."""
        self._lines = tuple(_UNUSED if line == at else found for line, found in enumerate(self._lines))

    def handlings(self) -> tuple[Handling, ...]:
        return tuple(line.handling for line in self._lines)

    def _order(self, line: _Line, before: _Line | None) -> StreamOrder:
        if line.dtls is not None and line.handling is Handling.E2AE and line.kind is not None:
            return StreamOrder(line.handling, stream=self._bridge(line, line.dtls))
        if line.dtls is not None and line.handling is Handling.E2AE:
            return StreamOrder(line.handling, dtls=line.dtls.order())
        if line.handling is not Handling.E2AE or line.ue is None or line.own is None:
            return StreamOrder(line.handling)
        rx = None if before is not None and _same_key(before.ue, line.ue) else key_of(line.ue)
        tx = None if before is not None and _same_key(before.own, line.own) else key_of(line.own)
        if self.config.fault is Fault.WRONG_KEY:
            rx, tx = (key_of(fresh_line(1, line.own.suite, self._rng)) if keys else None for keys in (rx, tx))
        return StreamOrder(line.handling, rx, tx)

    def _bridge(self, line: _Line, agreed: alg_dtls.DtlsLine) -> BridgeOrder | None:
        """Who is TLS client: who opens; with BFCP who has offered (BFCP-4); with T.38 who is active."""
        order = agreed.order()
        if order is None:
            return None
        client = not line.ue_opens
        if line.kind is MediaKind.UDPTL:
            client = order.client
        elif line.kind is MediaKind.BFCP and not self.config.bfcp_active_is_client:
            client = not line.ue_offers
        return BridgeOrder(line.ue_opens, client, order.fingerprints, order.ids)

    def _before(self, at: int) -> _Line | None:
        return self._lines[at] if at < len(self._lines) else None

    def _written(self, lines: Sequence[SdesCrypto], indication: bytes | None) -> list[bytes]:
        padding = self.config.fault is not Fault.UNPADDED_KEYS
        return [*([indication] if indication else []), *(build_crypto(line, padding=padding) for line in lines)]


def rtp_lines(sdp: Sdp) -> list[int]:
    """The media lines that need a stream: RTP of any kind with a port."""
    return [
        at
        for at, section in enumerate(sdp.media)
        if section.port and (transport := transport_named(section.proto)) is not None and transport.rtp
    ]


def _each(sdp: Sdp, endpoints: Mapping[int, Endpoint], sections: Sequence[MediaSection], lines: Sequence[_Line]) -> Sdp:
    """`sdp` with these media sections, those in use and not left alone moved to the gateway's endpoints."""
    for at, section in enumerate(sections):
        ours = section.port and at in endpoints and lines[at].handling is not Handling.UNTOUCHED
        sdp = sdp.with_media(at, _moved(section, endpoints[at]) if ours else section)
    session = sdp.session.without_attributes(*ICE)
    return sdp.with_session(session.without(lambda a: a.name == "group" and (a.value or b"").startswith(b"BUNDLE")))


def _moved(section: MediaSection, endpoint: Endpoint) -> MediaSection:
    """At the gateway's endpoint: neither ICE nor rtcp-mux of the other side go through it."""
    if alg_streams.stream_kind(section) is not None:
        return alg_streams.moved(section, endpoint)
    moved = section.without_attributes("rtcp", "rtcp-mux", "rtcp-mux-only", *ICE)
    moved = moved.with_port(endpoint.rtp_port).with_address(endpoint.address)
    if endpoint.rtcp_port == endpoint.rtp_port:
        return moved.with_attributes([b"a=rtcp-mux"])
    return moved if endpoint.rtcp_port == endpoint.rtp_port + 1 else moved.with_rtcp(endpoint.rtcp_port)


def _bare(section: MediaSection, proto: str) -> MediaSection:
    return section.without_attributes("crypto", "3ge2ae", *alg_dtls.ATTRIBUTES).with_proto(proto)


def _same_shape(sdp: Sdp, lines: Sequence[object]) -> None:
    if len(sdp.media) != len(lines):
        raise NegotiationFailed(
            "line_count", f"the answer has {len(sdp.media)} media lines for {len(lines)}", field="m="
        )


def _same_key(one: SdesCrypto | None, other: SdesCrypto | None) -> bool:
    return (
        one is not None
        and other is not None
        and one.suite == other.suite
        and one.keys[0].key_salt == other.keys[0].key_salt
    )
