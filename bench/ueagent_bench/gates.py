"""How fast it has to be: each row a case, what it is held against, the gate that must hold, and the moonshot.

A gate is judged by what was measured in the same run. It applies to processors that have what the row needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, Literal

from ueagent_bench.model import PAYLOADS, Result, Setting, short_name

Kind = Literal["ratio", "floor", "added", "elsewhere"]
State = Literal["moonshot", "met", "missed", "not measured", "not applicable"]

_WAYS: Final = ("protect", "unprotect")
_FAST_X86: Final = ("vaes", "avx512f", "sha_ni")
_CM: Final = "AES_CM_128_HMAC_SHA1_80"
_GCM: Final = "AEAD_AES_128_GCM"


@dataclass(frozen=True, slots=True)
class Gate:
    """`ours` and `against` are scenario names with {way}, {engine} and {payload}; `against` may be patterns, of which
    the fastest counts. Limits stand by payload. ratio: peer / ours at least; floor: ours / `floor` at most; added: ours
    minus the other, cycles, at most; elsewhere: measured by other means, listed to have the table whole.
    """

    case: str
    suite: str
    kind: Kind
    ours: str
    against: tuple[str, ...]
    gate: Mapping[int, float]
    moonshot: Mapping[int, float] = field(default_factory=dict)
    floor: Mapping[int, float] = field(default_factory=dict)
    engine: str = ""  # one by name; else the one the core chooses
    needs: tuple[str, ...] = ()
    ways: tuple[str, ...] = _WAYS


def _by_payload(*limits: float) -> dict[int, float]:
    return dict(zip(PAYLOADS, limits, strict=True))


GATES: Final = (
    Gate(
        "CM128-80, one packet, against EVP by hand",
        _CM, "ratio",
        "srtp_{way}_cm128_80_{engine}_b1_{payload}B", ("srtp_{way}_cm128_80_evp_b1_{payload}B",),
        _by_payload(1.7, 1.35, 1.12), _by_payload(2.1, 1.55, 1.22), needs=_FAST_X86,
    ),
    Gate(
        "CM128-80, bursts of 4, against libipsec-mb, the faster of its default and SSE + SHA-NI modes",
        _CM, "ratio",
        "srtp_{way}_cm128_80_{engine}_b4_{payload}B", ("srtp_{way}_cm128_80_ipsecmb-*_b4_{payload}B",),
        _by_payload(1.4, 1.4, 1.25), _by_payload(1.9, 1.7, 1.5), needs=_FAST_X86,
    ),
    Gate(
        "CM128-80, bursts of 64, against libipsec-mb, its fastest interface",
        _CM, "ratio",
        "srtp_{way}_cm128_80_{engine}_b64_{payload}B", ("srtp_{way}_cm128_80_ipsecmb-*_b64_{payload}B",),
        _by_payload(1.7, 1.4, 1.05), _by_payload(2.3, 1.75, 1.12), needs=_FAST_X86,
    ),
    Gate(
        "GCM128, one packet, against OpenSSL GCM with its context re-used",
        _GCM, "ratio",
        "srtp_{way}_gcm128_{engine}_b1_{payload}B", ("srtp_{way}_gcm128_evp_b1_{payload}B",),
        _by_payload(5, 4.5, 3), _by_payload(7, 6, 3.8), needs=_FAST_X86,
    ),
    Gate(
        "GCM128, bursts of 64, against libipsec-mb burst",
        _GCM, "ratio",
        "srtp_{way}_gcm128_{engine}_b64_{payload}B", ("srtp_{way}_gcm128_ipsecmb-burst_b64_{payload}B",),
        _by_payload(1.5, 1.4, 1.1), _by_payload(2.4, 1.9, 1.25), needs=_FAST_X86,
    ),
    Gate(
        "CM128-80, bursts of 64, distance to the floor",
        _CM, "floor",
        "srtp_{way}_cm128_80_{engine}_b64_{payload}B", (),
        _by_payload(1.5, 1.35, 1.12), _by_payload(1.2, 1.1, 1.04), _by_payload(86, 168, 862), needs=_FAST_X86,
    ),
    Gate(
        "SSRC look-up among 1024, against one SSRC",
        _GCM, "added",
        "ssrc_{way}_gcm128_{engine}_b1_{payload}B_1024ssrc", ("ssrc_{way}_gcm128_{engine}_b1_{payload}B_1ssrc",),
        {160: 15}, ways=("protect",),
    ),
    Gate(
        "Python, one packet per call, against pylibsrtp",
        _CM, "ratio",
        "python_{way}_cm128_80_{engine}_b1_{payload}B", ("python_{way}_cm128_80_pylibsrtp_b1_{payload}B",),
        _by_payload(3.5, 3.5, 2), _by_payload(5, 4.3, 2.4),
    ),
    Gate(
        "Python, 64 packets per call, against pylibsrtp",
        _CM, "ratio",
        "python_{way}_cm128_80_{engine}_b64_{payload}B", ("python_{way}_cm128_80_pylibsrtp_b1_{payload}B",),
        _by_payload(20, 15, 7), _by_payload(40, 25, 9),
    ),
    Gate(
        "portable engine, CM128-80, bursts of 64, against OpenSSL with AES-NI and PCLMUL masked off",
        _CM, "ratio",
        "srtp_{way}_cm128_80_{engine}_b64_{payload}B", ("srtp_{way}_cm128_80_evp-masked_b1_{payload}B",),
        {160: 1.0}, {160: 1.3}, engine="portable",
    ),
    Gate("aarch64 CE, instructions of a 172-octet packet, CM", _CM, "elsewhere", "", (), {160: 2400}, {160: 2000}),
    Gate("aarch64 CE, instructions of a 172-octet packet, GCM", _GCM, "elsewhere", "", (), {160: 1400}, {160: 1000}),
    Gate("aarch64 portable, instructions of a 172-octet packet, CM", _CM, "elsewhere", "", (), {160: 15_000}),
    Gate("armv7 portable, instructions of a 172-octet packet, CM", _CM, "elsewhere", "", (), {160: 26_000}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    gate: Gate
    way: str
    payload: int
    state: State
    why: str = ""  # of "not ..."
    value: float | None = None
    ours: str = ""
    against: str = ""
    cycles: float | None = None

    @property
    def limit(self) -> float:
        return self.gate.gate[self.payload]


def _names(gate: Gate, way: str, payload: int, setting: Setting) -> tuple[str, tuple[str, ...]]:
    engine = gate.engine or setting.chosen.get(gate.suite, "")
    fill = {"way": way, "payload": payload, "engine": engine}
    return gate.ours.format(**fill), tuple(name.format(**fill) for name in gate.against)


def patterns(setting: Setting) -> list[str]:
    """Every scenario that the gates name, as patterns; some of a missing peer may match nothing."""
    found = []
    for gate, way, payload in _rows():
        if gate.kind != "elsewhere":
            ours, against = _names(gate, way, payload, setting)
            found += [ours, *against]
    return list(dict.fromkeys(found))


def _rows() -> Iterator[tuple[Gate, str, int]]:
    for gate in GATES:
        for way in gate.ways if gate.kind != "elsewhere" else ("protect",):
            for payload in gate.gate:
                yield gate, way, payload


def judge(results: Mapping[str, Result], setting: Setting, features: Collection[str]) -> list[Verdict]:
    return [_judge_one(gate, way, payload, results, setting, features) for gate, way, payload in _rows()]


def _judge_one(
    gate: Gate, way: str, payload: int, results: Mapping[str, Result], setting: Setting, features: Collection[str]
) -> Verdict:
    if gate.kind == "elsewhere":
        return Verdict(gate, way, payload, "not measured", "instructions are counted under emulation")
    if missing := [name for name in gate.needs if name not in features]:
        return Verdict(gate, way, payload, "not applicable", f"this processor has no {', '.join(missing)}")
    name, against = _names(gate, way, payload, setting)
    ours = results.get(name)
    if ours is None:
        return Verdict(gate, way, payload, "not measured", f"no {name}")
    rival = _fastest(results, against)
    if rival is None and gate.kind != "floor":
        return Verdict(gate, way, payload, "not measured", _absence(against, setting), None, name, "", ours.cycles)
    value = _value(gate, payload, ours, rival)
    other = rival.name if rival else f"{gate.floor[payload]:g} cycles"
    return Verdict(gate, way, payload, _state(gate, payload, value), "", value, name, other, ours.cycles)


def _fastest(results: Mapping[str, Result], names: Sequence[str]) -> Result | None:
    found = [result for name, result in results.items() if any(fnmatchcase(name, pattern) for pattern in names)]
    return min(found, key=lambda result: result.cycles, default=None)


def _absence(against: Sequence[str], setting: Setting) -> str:
    absent = [library for library in setting.peers.absent if any(f"_{library}" in name for name in against)]
    return f"{absent[0]}: {setting.peers.absent[absent[0]]}" if absent else f"no {against[0]}"


def _value(gate: Gate, payload: int, ours: Result, rival: Result | None) -> float:
    if rival is None:
        return ours.cycles / gate.floor[payload]
    return ours.cycles - rival.cycles if gate.kind == "added" else rival.cycles / ours.cycles


def _state(gate: Gate, payload: int, value: float) -> State:
    def holds(limits: Mapping[int, float]) -> bool:
        if payload not in limits:
            return False
        return value >= limits[payload] if gate.kind == "ratio" else value <= limits[payload]

    if holds(gate.moonshot):
        return "moonshot"
    return "met" if holds(gate.gate) else "missed"


def heading(gate: Gate) -> str:
    return f"{gate.case} ({short_name(gate.suite)})"
