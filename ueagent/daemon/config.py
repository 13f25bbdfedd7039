"""The daemon's configuration: TOML -> frozen `Config`. Every key is a row; nothing else is accepted.

A value that does not fit, and a key that nobody knows, end with one UsageError `bad_config` whose `field` is
`section.key` and whose detail says what is allowed. No key reaches a lab switch (POL-10).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from ueagent.errors import UsageError
from ueagent.model.security import CustodyLoss, Mechanism, SecurityPolicy, Setting
from ueagent.model.suites import SUITES

MAX_FILE: Final = 256 * 1024  # octets


@dataclass(frozen=True, slots=True)
class IpcConfig:
    socket: str | None = None  # None: `ueagent run` knows the usual place
    group: str | None = None
    max_clients: int = 128
    max_clients_per_user: int = 64
    max_sessions: int = 256
    max_sessions_per_user: int = 128
    max_bindings_per_user: int = 16
    max_message: int = 256 * 1024
    event_queue: int = 256


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    address: str = "127.0.0.1"
    address6: str | None = None
    ports: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RegistrationConfig:
    sdes: bool = True
    dtls_srtp: bool = False
    dtls_srtp_name: str = "dtls-srtp"
    dtls_srtp_unannounced: bool = False
    msrp: bool = False
    bfcp: bool = False
    udptl: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True)
class EngineConfig:
    order: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AcceleratorConfig:
    port: str | None = None
    baud: int = 3_000_000
    custody: Literal["shared", "device"] = "shared"
    device_key: str | None = None
    trusted_wiring: bool = False
    deadline_ms: int = 0
    verify_every: int = 16
    max_streams: int = 0


@dataclass(frozen=True, slots=True)
class KmsConfig:
    identity: str | None = None
    url: str | None = None
    name: str | None = None
    ticket_target: str = "/keymanagement?requesttype=ticketrequest"
    resolve_target: str = "/keymanagement?requesttype=ticketresolve"
    base64: bool = False
    timeout_ms: int = 5000
    retries: int = 2
    foreign: tuple[str, ...] = ()
    ca_file: str | None = None
    application: str = "IMS-MEDIA"
    any_application: bool = False
    mikey_1: bool = False


@dataclass(frozen=True, slots=True)
class CredentialsConfig:
    provider: Literal["none", "psk", "gba", "modem"] = "none"
    identities: tuple[str, ...] = ()
    psk_identity: str | None = None
    psk_file: str | None = None
    impi: str | None = None
    bsf: str | None = None
    bsf_url: str | None = None
    usim_file: str | None = None
    usim_state: str | None = None
    modem_port: str | None = None


@dataclass(frozen=True, slots=True)
class MessagesConfig:
    cipher: Literal["GCM", "CCM"] = "GCM"
    smime_types: tuple[str, ...] = ()
    max_delay_minutes: int = 5
    proof_of_origin: bool = False
    tolerant: bool = False


@dataclass(frozen=True, slots=True)
class RelayConfig:
    max_legs: int = 256
    split_legs: int = 64
    early_packets: int = 100
    max_ssrc: int = 8
    idle_seconds: int = 30
    learn_peer: bool = True
    auth_burst: int = 20


@dataclass(frozen=True, slots=True)
class StreamConfig:
    max_lines: int = 64
    bfcp_tcp: bool = False


@dataclass(frozen=True, slots=True)
class LogConfig:
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    ipc: IpcConfig = field(default_factory=IpcConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    policy: SecurityPolicy = field(default_factory=SecurityPolicy)
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    accelerator: AcceleratorConfig = field(default_factory=AcceleratorConfig)
    kms: KmsConfig = field(default_factory=KmsConfig)
    credentials: CredentialsConfig = field(default_factory=CredentialsConfig)
    messages: MessagesConfig = field(default_factory=MessagesConfig)
    relay: RelayConfig = field(default_factory=RelayConfig)
    streams: StreamConfig = field(default_factory=StreamConfig)
    log: LogConfig = field(default_factory=LogConfig)


# ---------------------------------------------------------------------------------------------------------- checks --


@dataclass(frozen=True, slots=True)
class Check:
    """`read` turns a TOML value into ours or raises ValueError; `allowed` completes "allowed: ..."."""

    allowed: str
    read: Callable[[Any], Any]


def _fits(condition: bool) -> None:
    if not condition:
        raise ValueError


def _boolean() -> Check:
    def read(value: Any) -> bool:
        _fits(isinstance(value, bool))
        return bool(value)

    return Check("true or false", read)


def _integer(low: int, high: int) -> Check:
    def read(value: Any) -> int:
        _fits(type(value) is int and low <= value <= high)
        return int(value)

    return Check(f"a whole number from {low} to {high}", read)


def _text() -> Check:
    def read(value: Any) -> str:
        _fits(isinstance(value, str) and 0 < len(value) <= 4096 and value.isprintable())
        return str(value)

    return Check("a text that is not empty", read)


def _hexadecimal(octets: int) -> Check:
    def read(value: Any) -> str:
        _fits(isinstance(value, str) and len(value) == 2 * octets)
        return bytes.fromhex(value).hex()

    return Check(f"{octets} octets in hexadecimal", read)


def _path() -> Check:
    def read(value: Any) -> str:
        _fits(isinstance(value, str) and value.isprintable() and Path(value).is_absolute())
        return str(value)

    return Check("an absolute path", read)


def _one_of(*words: str, kind: Callable[[str], Any] = str) -> Check:
    def read(value: Any) -> Any:
        _fits(value in words)
        return kind(value)

    return Check("one of " + ", ".join(f'"{word}"' for word in words), read)


def _names(words: tuple[str, ...] = (), *, empty: bool = True) -> Check:
    def read(value: Any) -> tuple[str, ...]:
        _fits(isinstance(value, list) and all(isinstance(item, str) and item for item in value))
        _fits(len(set(value)) == len(value) and (empty or bool(value)))
        _fits(not words or set(value) <= set(words))
        return tuple(value)

    among = f" among {', '.join(words)}" if words else ""
    return Check(f"a list of different names{among}{'' if empty else ', not empty'}", read)


def _mechanisms() -> Check:
    """Mechanisms of RTP that are used with an access edge, in order."""
    words = (Mechanism.DTLS_SRTP.value, Mechanism.SDES.value)
    names = _names(words, empty=False)
    return Check(names.allowed, lambda value: tuple(Mechanism(name) for name in names.read(value)))


def _token() -> Check:
    def read(value: Any) -> str:
        _fits(isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9\-.!%*_+`'~]{1,64}", value) is not None)
        return str(value)

    return Check("a SIP token of up to 64 characters", read)


def _address(version: int) -> Check:
    def read(value: Any) -> str:
        _fits(isinstance(value, str))
        address = ip_address(value)
        _fits(address.version == version and not address.is_multicast and not address.is_unspecified)
        return str(address)

    return Check(f"an IPv{version} address of this machine", read)


def _ports() -> Check:
    def read(value: Any) -> tuple[int, int]:
        _fits(isinstance(value, list) and len(value) == 2 and all(type(port) is int for port in value))
        low, high = value
        _fits(1023 < low < high < 65536)
        return low, high

    return Check("[low, high] with 1024 <= low < high <= 65535", read)


def _uri() -> Check:
    return Check("a sip:, sips: or tel: URI", lambda value: _matching(_URI, value))


def _uris() -> Check:
    names = _names()
    return Check("a list of different sip:, sips: or tel: URIs", lambda value: _each(_URI, names.read(value)))


def _url() -> Check:
    return Check("an http: or https: URL", lambda value: _matching(_URL, value))


def _foreign() -> Check:
    names = _names()
    pair = re.compile(f"{_URI.pattern} {_URL.pattern}")
    return Check('a list of "URI URL", one for each KMS', lambda value: _each(pair, names.read(value)))


def _media_types() -> Check:
    names = _names()
    return Check("a list of different media types in lower case", lambda value: _each(_MEDIA_TYPE, names.read(value)))


def _application() -> Check:
    return Check("1 to 64 printable characters", lambda value: _matching(_APPLICATION, value))


def _target() -> Check:
    return Check("a path with its query, as in a request line", lambda value: _matching(_TARGET, value))


def _host() -> Check:
    return Check("a host name", lambda value: _matching(_HOST, value))


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    _fits(isinstance(value, str) and len(value) <= 1024 and pattern.fullmatch(value) is not None)
    return str(value)


def _each(pattern: re.Pattern[str], values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_matching(pattern, value) for value in values)


_URI: Final = re.compile(r"(?:sips?|tel):[!-~]+")
_URL: Final = re.compile(r"https?://[!-~]+")
_TARGET: Final = re.compile(r"/[!-~]*")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_APPLICATION: Final = re.compile(r"[!-~]{1,64}")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")

# ------------------------------------------------------------------------------------------------------------ rows --


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    check: Check
    doc: str


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    kind: type[Any]
    doc: str
    keys: tuple[Key, ...]


_SETTING: Final = _one_of(*(setting.value for setting in Setting), kind=Setting)
_LOSS: Final = _one_of(*(loss.value for loss in CustodyLoss), kind=CustodyLoss)
_DTLS_SUITES: Final = tuple(suite.name for suite in SUITES.values() if suite.selectable and suite.dtls_profile)
_SELECTABLE: Final = tuple(suite.name for suite in SUITES.values() if suite.selectable)

# fmt: off
SECTIONS: Final = (
    Section("ipc", IpcConfig, "Who may talk to the agent, and how much.", (
        Key("socket", _path(), "default: $XDG_RUNTIME_DIR/ueagent/agent.sock, or /run/ueagent/agent.sock for root"),
        Key("group", _text(), "let this group in too: the socket's mode is 0660 then, else 0600"),
        Key("max_clients", _integer(1, 4096), "connections at a time"),
        Key("max_clients_per_user", _integer(1, 4096), "connections at a time of one user"),
        Key("max_sessions", _integer(1, 65536), "calls at a time"),
        Key("max_sessions_per_user", _integer(1, 65536), "calls at a time of one user"),
        Key("max_bindings_per_user", _integer(1, 1024), "registrations at a time of one user"),
        Key("max_message", _integer(4096, 16 * 1024 * 1024), "octets of one request"),
        Key("event_queue", _integer(1, 65536), "events kept for a subscriber that does not read; more are counted"),
    )),
    Section("network", NetworkConfig, "Where media meets the network.", (
        Key("address", _address(4), "written into SDP; the default serves tests and demos on one machine only"),
        Key("address6", _address(6), "for calls whose SDP is IPv6; without it they fail"),
        Key("ports", _ports(), "RTP takes even ports, RTCP the next; default: what the system gives"),
    )),
    Section("policy", SecurityPolicy, "What protection is wanted (POL-1..POL-10).", (
        Key("sdes_e2ae", _SETTING, "SDES between phone and access edge (POL-1)"),
        Key("sdes_e2e", _SETTING, "SDES between the phones (POL-1)"),
        Key("suites", _names(_SELECTABLE, empty=False), "offered, best first (SDES-2)"),
        Key("accept_suites", _names(_SELECTABLE, empty=False), "accepted in an offer"),
        Key("sdes_padding", _boolean(), "write base64 keys with padding (SDES-3)"),
        Key("sdes_lifetime_exponent", _integer(10, 48), "write a key lifetime |2^n; default: none (SDES-11)"),
        Key("sdes_mki", _boolean(), "write an MKI |1:4 (SDES-11)"),
        Key("sdes_symmetric_mki", _boolean(), "answer an MKI with an MKI (SDES-12)"),
        Key("accept_crypto_on_avp", _boolean(), "take keys on RTP/AVP when 3ge2ae stands beside them (CAP-2)"),
        Key("accept_avp_answer", _boolean(), "take an answer that says RTP/AVP and has keys (CAP-3)"),
        Key("dtls_e2ae", _SETTING, "DTLS-SRTP between phone and access edge (POL-1)"),
        Key("e2ae_order", _mechanisms(), "which of them is offered first where the edge announced both (POL-5)"),
        Key("dtls_profiles", _names(_DTLS_SUITES, empty=False), "offered and accepted in DTLS, best first (DTLS-12)"),
        Key("dtls_passive_answer", _boolean(), "let a far side that leaves the choice begin (DTLS-4)"),
        Key("dtls_confidential", _boolean(), "fingerprints, too, want confidential signalling (OPEN-29)"),
        Key("dtls_mtu", _integer(256, 1400), "octets of a handshake datagram (DTLS-29)"),
        Key("webrtc", _boolean(), "the far side is a browser or its gateway: DTLS-SRTP as WebRTC does it (WEB-6)"),
        Key("streams_active", _boolean(), "open MSRP and BFCP connections ourselves: behind a NAT (MSRP-5)"),
        Key("bfcp_active_is_client", _boolean(), "in BFCP who opens the connection is TLS client (BFCP-4)"),
        Key("msrp_e2ae", _SETTING, "TLS of MSRP between phone and access edge (POL-1)"),
        Key("bfcp_e2ae", _SETTING, "TLS of BFCP, likewise"),
        Key("udptl_e2ae", _SETTING, "DTLS of T.38 fax, likewise"),
        Key("msrp_cema", _boolean(), "write a=msrp-cema: middleboxes change addresses without MSRP (MSRP-10)"),
        Key("kms_e2e", _SETTING, "MIKEY-TICKET between the phones, through a KMS (POL-1)"),
        Key("kms_suites", _names(_SELECTABLE, empty=False), "of RTP with keys of a KMS, best first (RCC-6)"),
        Key("message_e2e", _SETTING, "SIP MESSAGEs protected between the phones: what dialers are told to do (POL-1)"),
        Key("kms_rcc", _boolean(), "RTP with keys of a KMS is offered with the ROC in its packets (KMS-35)"),
        Key("kms_rcc_rate", _integer(1, 65535), "which packets carry it: every so many sequence numbers (RCC-5)"),
        Key("kms_tls_plain", _boolean(), "MSRP and BFCP with keys of a KMS also without forward secrecy (KMS-84)"),
        Key("audio_window", _integer(64, 1024), "replay list for audio, packets (SRTP-5)"),
        Key("video_window", _integer(64, 1024), "replay list for video, packets (SRTP-5)"),
        Key("custody_loss", _LOSS, "an accelerator with custody of the keys is lost: hold, re-key or end the call"),
    )),
    Section("registration", RegistrationConfig, "What a REGISTER announces (REG-1..REG-20).", (
        Key("sdes", _boolean(), "announce sdes-srtp;mediasec (REG-1)"),
        Key("dtls_srtp", _boolean(), "announce DTLS-SRTP, too (REG-2)"),
        Key("dtls_srtp_name", _token(), "as which mechanism (OPEN-1)"),
        Key("dtls_srtp_unannounced", _boolean(), "the edge does DTLS-SRTP although it does not say so (REG-11)"),
        Key("msrp", _boolean(), "announce msrp-tls (REG-2)"),
        Key("bfcp", _boolean(), "announce bfcp-tls (REG-20)"),
        Key("udptl", _boolean(), "announce udptl-dtls (REG-20)"),
        Key("strict", _boolean(), "operator wants Require: mediasec and Security-Verify everywhere (REG-14, REG-16)"),
    )),
    Section("engine", EngineConfig, "Which crypto engine does the work; see `ueagent engines`.", (
        Key("order", _names(), "tried first, in this order; the others follow, fastest first"),
        Key("disabled", _names(), "never used"),
    )),
    Section("accelerator", AcceleratorConfig, "A crypto device on a serial port; see `ueagent accel`.", (
        Key("port", _text(), "a device file, or usb:VVVV:PPPP for a USB vendor and product; default: none"),
        Key("baud", _integer(9600, 100_000_000), "of the line"),
        Key("custody", _one_of("shared", "device"), "who has the session keys: both, or the device alone"),
        Key("device_key", _hexadecimal(32), "the device's public key, as `ueagent accel pair` tells it"),
        Key("trusted_wiring", _boolean(), "nobody can touch the line: without device_key, keys are loaded in plain"),
        Key("deadline_ms", _integer(0, 1000), "of a job; then a CPU does it, or nobody (device); 0: from the model"),
        Key("verify_every", _integer(0, 65536), "shared: compare one job of so many with the CPU's result; 0: none"),
        Key("max_streams", _integer(0, 1024), "at a time on the device; 0: as many as the line carries on average"),
    )),
    Section("kms", KmsConfig, "The key management service, for calls and messages end to end (KMS-10..14).", (
        Key("identity", _uri(), "who our KMS is (IDRkms); default: no KMS"),
        Key("url", _url(), "where it is; https: verifies its certificate, too"),
        Key("name", _host(), "its FQDN, from which the shared key is derived; default: the host in url (KMS-3)"),
        Key("ticket_target", _target(), "requests for tickets go there (KMS-10)"),
        Key("resolve_target", _target(), "requests to resolve tickets go there (KMS-10)"),
        Key("base64", _boolean(), "bodies are base64; the default is the message itself (KMS-11)"),
        Key("timeout_ms", _integer(100, 60_000), "for one request (KMS-13)"),
        Key("retries", _integer(0, 10), "of a request, each a new message (KMS-13)"),
        Key("foreign", _foreign(), "further KMSs: their own tickets are resolved there, all others by ours (KMS-43)"),
        Key("ca_file", _path(), "PEM, who vouches for https: of KMS and BSF; default: what the system trusts"),
        Key("application", _application(), "what tickets for calls are for (IDRapp, KMS-34)"),
        Key("any_application", _boolean(), "take calls whose tickets are for something else (KMS-34)"),
        Key("mikey_1", _boolean(), "understand MIKEY-1 and HMAC-SHA-1 of others (KMS-21, KMS-23)"),
    )),
    Section("credentials", CredentialsConfig, "The key shared with a KMS (KMS-1..8); it stands in a file.", (
        Key("provider", _one_of("none", "psk", "gba", "modem"),
            "a provisioned key, or bootstrapping with a USIM in software or in a modem; none: no KMS is used"),
        Key("identities", _uris(), "who we are (IDRi, IDRr), the usual one first"),
        Key("psk_identity", _text(), "psk: the name of the key (IDRpsk)"),
        Key("psk_file", _path(), "psk: a file that only its owner can read, with 16 to 64 octets in hexadecimal"),
        Key("impi", _text(), "gba, modem: the private identity"),
        Key("bsf", _host(), "gba, modem: the BSF's name; default: what an impi made from an IMSI says (KMS-8)"),
        Key("bsf_url", _url(), "gba, modem: where it is; default: http://, then its name"),
        Key("usim_file", _path(), "gba: a file that only its owner can read, with K and OPc in hexadecimal"),
        Key("usim_state", _path(), "gba: the file in which the sequence numbers that were seen are kept"),
        Key("modem_port", _path(), "modem: the device file of its serial port"),
    )),
    Section("messages", MessagesConfig, "Protected SIP MESSAGEs (PSK S/MIME).", (
        Key("cipher", _one_of("GCM", "CCM"), "mode of AES, with 256 bits (MIME-7, MIME-23)"),
        Key("smime_types", _media_types(), "read as application/pkcs7-mime, too (OPEN-13)"),
        Key("max_delay_minutes", _integer(5, 7 * 24 * 60), "how long one may be under way, stored in between (KMS-72)"),
        Key("proof_of_origin", _boolean(), "send and understand proofs of origin with a group key (OPEN-15)"),
        Key("tolerant", _boolean(), "read bodies that close too early or have bare LF (MIME-19)"),
    )),
    Section("relay", RelayConfig, "The media relay.", (
        Key("max_legs", _integer(1, 16384), "media lines at a time"),
        Key("split_legs", _integer(0, 16384), "of them with own RTCP keys: DTLS-SRTP without rtcp-mux (DTLS-15)"),
        Key("early_packets", _integer(0, 4096), "media that wait for DTLS keys, 50 a line; 0: dropped (DTLS-9)"),
        Key("max_ssrc", _integer(1, 1024), "streams of one key at a time"),
        Key("idle_seconds", _integer(0, 86400), "report a line that hears nothing for so long; 0: never"),
        Key("learn_peer", _boolean(), "send where authentic packets come from"),
        Key("auth_burst", _integer(1, 1_000_000), "report so many failed authentications within a second"),
    )),
    Section("streams", StreamConfig, "Lines of MSRP, BFCP and T.38.", (
        Key("max_lines", _integer(0, 4096), "at a time"),
        Key("bfcp_tcp", _boolean(), "BFCP also on TCP of loopback, where any user of this machine can connect"),
    )),
    Section("log", LogConfig, "What is told about it all. Keys never are.", (
        Key("level", _one_of("debug", "info", "warning", "error"), "the least important that is told"),
        Key("format", _one_of("console", "json"), "json: one object a line"),
        Key("file", _path(), "default: stderr"),
    )),
)
# fmt: on

_BY_NAME: Final = MappingProxyType({section.name: section for section in SECTIONS})


# --------------------------------------------------------------------------------------------------------- reading --


def read_config(path: str | Path) -> Config:
    """The configuration in the file `path`, or UsageError `bad_config`."""
    try:
        with Path(path).open("rb") as file:
            octets = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError("bad_config", f"cannot read {path}: {error.strerror}", field="--config") from None
    if len(octets) > MAX_FILE:
        raise UsageError("bad_config", f"{path} is longer than {MAX_FILE} octets", field="--config")
    try:
        values = tomllib.loads(octets.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError("bad_config", f"{path} is not TOML: {_one_line(error)}", field="--config") from None
    return parse_config(values)


def parse_config(values: Mapping[str, Any]) -> Config:
    """The configuration of parsed TOML `values`, or UsageError `bad_config`."""
    _refuse_unknown(values, tuple(_BY_NAME), "section", "")
    sections = {}
    for name, given in values.items():
        section = _BY_NAME[name]
        if not isinstance(given, Mapping):
            raise UsageError("bad_config", f"{name} is a section: write [{name}] and keys below it", field=name)
        _refuse_unknown(given, tuple(key.name for key in section.keys), "key", f"{name}.")
        read = {key.name: _read(section, key, given[key.name]) for key in section.keys if key.name in given}
        sections[name] = section.kind(**read)
    return Config(**sections)


def _read(section: Section, key: Key, value: Any) -> Any:
    try:
        return key.check.read(value)
    except (ValueError, TypeError):
        name = f"{section.name}.{key.name}"
        shown = _one_line(repr(value))
        raise UsageError(
            "bad_config", f"{name} = {shown} does not fit; allowed: {key.check.allowed}", field=name
        ) from None


def _refuse_unknown(values: Mapping[str, Any], known: tuple[str, ...], what: str, prefix: str) -> None:
    from difflib import get_close_matches  # only errors need it, but the check is the same either way

    for name in values:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"there are: {', '.join(known)}"
            raise UsageError(
                "bad_config", f"no {what} is called {_one_line(prefix + name)}; {hint}", field=_one_line(prefix + name)
            )


def _one_line(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


# --------------------------------------------------------------------------------------------------------- writing --


def build_toml(config: Config) -> str:
    """`config` as a commented TOML file that reads back as the same configuration."""
    lines = []
    for section in SECTIONS:
        values = getattr(config, section.name)
        lines += [f"# {section.doc}", f"[{section.name}]"]
        for key in section.keys:
            value = getattr(values, key.name)
            lines += ["", f"# {key.doc}", f"# allowed: {key.check.allowed}"]
            lines.append(f"# {key.name} =" if value is None else f"{key.name} = {_toml(value)}")
        lines += ["", ""]
    return "\n".join(lines[:-1])


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, Enum):
        return json.dumps(value.value)
    return json.dumps(value)  # numbers, booleans and basic strings are written as in JSON
