"""Independent programs as counterparts: starting, talking to, and ending them, and what to do where one is missing.

Nothing here knows the agent. Every wait is bounded and ends early when the program ends; the kernel chooses the ports.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import pytest

PATIENCE = 20.0  # seconds that a peer may take for one step; a loaded machine is slow, a hung peer is not for ever
LOOPBACK = "127.0.0.1"
SYSTEM_PYTHON = "/usr/bin/python3"  # python3-gi exists only for the interpreter it was packaged for
GST_PEER = Path(__file__).with_name("gst_peer.py")

APT = {
    "gstreamer": "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
    "python3-gi gir1.2-gstreamer-1.0",
    "ffmpeg": "ffmpeg",
    "baresip": "baresip-core",
    "openssl": "openssl",
    "socat": "socat",
    "rtpengine": "rtpengine-daemon",
    "tshark": "tshark",
    "chromium": "chromium",
    "gnutls": "gnutls-bin",
    "aarch64": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "qemu": "qemu-user",
    "clang": "clang",
}
# How to find out that a peer is there: a command that succeeds.
PROBES: dict[str, Sequence[str]] = {
    "gstreamer": (
        SYSTEM_PYTHON,
        "-c",
        "import gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst; Gst.init(None); "
        "assert Gst.ElementFactory.find('srtpdec') and Gst.ElementFactory.find('udpsrc')",
    ),
    "ffmpeg": ("ffmpeg", "-version"),
    "baresip": ("baresip", "-h"),
    "openssl": ("openssl", "version"),
    "socat": ("socat", "-V"),
    "rtpengine": ("rtpengine", "--version"),
    "tshark": ("tshark", "--version"),
    "chromium": ("chromium", "--version"),
    "gnutls": ("gnutls-serv", "--version"),
    "aarch64": ("aarch64-linux-gnu-gcc", "--version"),
    "qemu": ("qemu-aarch64", "--version"),
    "clang": ("clang", "--version"),
}


def missing(what: str, remedy: str) -> None:
    """Ends the calling test: a skip with the line to type, or a failure where CI=true says that nothing may skip."""
    text = f"{what} is not installed; to run this test: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


def require(peer: str) -> None:
    command = PROBES[peer]
    present = False
    if shutil.which(command[0]):
        # baresip answers -h with a failure status; that it starts at all is what is asked.
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
        present = done.returncode == 0 or peer == "baresip"
    if not present:
        missing(peer, f"apt-get install --no-install-recommends {APT[peer]}")


class PeerError(AssertionError):
    """A peer did not do what it should in time; carries the end of its output."""


class Program:
    """A child process with line-wise stdout. Use as a context manager: it is ended, by pid, on the way out."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.argv = list(argv)
        self._process = subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            pass_fds=pass_fds,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdout.fileno(), False)
        self._pending = b""
        self.output = b""
        self._closed = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes]:
        """To wait on with select; read it through the methods."""
        return self._stdout

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def say(self, data: bytes) -> None:
        self._stdin.write(data)
        self._stdin.flush()

    def end_input(self) -> None:
        with suppress(BrokenPipeError):
            self._stdin.close()

    def read(self, timeout: float = PATIENCE) -> bytes:
        """What it has printed since; waits for at least one octet. Empty when it has closed its output."""
        if self._pending:
            data, self._pending = self._pending, b""
            return data
        if not select.select([self._stdout], [], [], timeout)[0]:
            raise PeerError(f"nothing from {self.argv[0]} for {timeout} s; its last words:\n{self.tail()}")
        data = self._stdout.read() or b""
        self.output += data
        return data

    def line(self, timeout: float = PATIENCE) -> bytes:
        deadline = time.monotonic() + timeout
        data = b""
        while b"\n" not in data:
            more = self.read(max(0.0, deadline - time.monotonic()))
            if not more:
                raise PeerError(f"{self.argv[0]} ended with {self._process.poll()}; its last words:\n{self.tail()}")
            data += more
        line, self._pending = data.split(b"\n", 1)
        return line

    def wait_for(self, text: str, timeout: float = PATIENCE) -> bytes:
        """The first line that contains `text`."""
        deadline = time.monotonic() + timeout
        while True:
            line = self.line(max(0.0, deadline - time.monotonic()))
            if text.encode() in line:
                return line

    def rest(self, timeout: float = PATIENCE) -> bytes:
        """Everything until it closes its output."""
        deadline, data = time.monotonic() + timeout, b""
        while more := self.read(max(0.0, deadline - time.monotonic())):
            data += more
        return data

    def tail(self) -> str:
        return self.output[-3000:].decode(errors="replace")

    def wait(self, timeout: float = PATIENCE) -> int:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise PeerError(f"{self.argv[0]} does not end; its last words:\n{self.tail()}") from None

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self, timeout: float = 5.0) -> int:
        """End of input, then SIGTERM, then SIGKILL."""
        if self._closed:
            return self._process.wait()
        self._closed = True
        self.end_input()
        if self.alive():
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with suppress(OSError):
            self.output += self._stdout.read() or b""
        self._stdout.close()
        return self._process.returncode


# ----------------------------------------------------------------------------------------------------------- waiting --


def wait_until(holds: Callable[[], bool], program: Program, what: str, timeout: float = PATIENCE) -> None:
    """Looks every 10 ms, and at once when the program ends: for states that send no event."""
    deadline = time.monotonic() + timeout
    ended = os.pidfd_open(program.pid)
    try:
        while not holds():
            gone = select.select([ended], [], [], 0.01)[0]
            if gone or time.monotonic() > deadline:
                raise PeerError(f"{program.argv[0]}: {what}; its last words:\n{program.tail()}")
    finally:
        os.close(ended)


def _socket_inodes(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = str(entry.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def udp_sockets(pid: int) -> set[tuple[str, int]]:
    """Local (IPv4 address, port) of every UDP socket of a process (proc(5), /proc/net/udp)."""
    inodes = _socket_inodes(pid)
    found = set()
    for row in Path("/proc/net/udp").read_text().splitlines()[1:]:
        columns = row.split()
        if columns[9] in inodes:
            address, port = columns[1].split(":")
            found.add((socket.inet_ntoa(int(address, 16).to_bytes(4, "little")), int(port, 16)))
    return found


def udp_port_pair() -> tuple[int, int]:
    """An even port and the next one, both free a moment ago: for peers that cannot bind port 0 and tell."""
    for _attempt in range(200):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as low,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as high,
        ):
            low.bind((LOOPBACK, 0))
            port = int(low.getsockname()[1])
            if port % 2 == 0:
                with suppress(OSError):
                    high.bind((LOOPBACK, port + 1))
                    return port, port + 1
    raise PeerError("no pair of UDP ports is free")


# --------------------------------------------------------------------------------------------------------- GStreamer --

# crypto suite -> srtp-cipher, srtp-auth, srtcp-cipher, srtcp-auth of srtpenc and srtpdec. The SRTCP tag of a _32 suite
# has 80 bits (RFC 4568, 6.2.2).
GST_SUITES = {
    "AES_CM_128_HMAC_SHA1_80": ("aes-128-icm", "hmac-sha1-80", "aes-128-icm", "hmac-sha1-80"),
    "AES_CM_128_HMAC_SHA1_32": ("aes-128-icm", "hmac-sha1-32", "aes-128-icm", "hmac-sha1-80"),
    "AES_256_CM_HMAC_SHA1_80": ("aes-256-icm", "hmac-sha1-80", "aes-256-icm", "hmac-sha1-80"),
    "AES_256_CM_HMAC_SHA1_32": ("aes-256-icm", "hmac-sha1-32", "aes-256-icm", "hmac-sha1-80"),
    "AEAD_AES_128_GCM": ("aes-128-gcm", "null", "aes-128-gcm", "null"),
    "AEAD_AES_256_GCM": ("aes-256-gcm", "null", "aes-256-gcm", "null"),
}


def _gst_keys(suite: str, key_salt: bytes, mki: bytes | None) -> dict[str, object]:
    cipher, auth, rtcp_cipher, rtcp_auth = GST_SUITES[suite]
    return {
        "cipher": cipher,
        "auth": auth,
        "rtcp_cipher": rtcp_cipher,
        "rtcp_auth": rtcp_auth,
        "key": key_salt.hex(),
        "mki": mki.hex() if mki is not None else None,
    }


class GstPeer:
    """One direction of a GStreamer SRTP endpoint (gst_peer.py)."""

    def __init__(self, order: dict[str, object]) -> None:
        self.program = Program([SYSTEM_PYTHON, str(GST_PEER)])
        self._tell(order)
        self._started = self._hear()

    def _tell(self, message: dict[str, object]) -> None:
        self.program.say(json.dumps(message).encode() + b"\n")

    def _hear(self, timeout: float = PATIENCE) -> dict[str, object]:
        """GStreamer prints warnings of its own between our lines."""
        while True:
            line = self.program.line(timeout)
            if line.startswith(b"{"):
                message = json.loads(line)
                assert isinstance(message, dict)
                assert "error" not in message, message
                return message

    def __enter__(self) -> GstPeer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.program.stop()


class GstReceiver(GstPeer):
    """`srtpdec` behind two UDP sockets: what it decrypts comes back octet by octet."""

    def __init__(self) -> None:
        super().__init__({"role": "receive"})
        self.rtp_port, self.rtcp_port = int(str(self._started["rtp_port"])), int(str(self._started["rtcp_port"]))

    def expect(self, suite: str, key_salt: bytes, mki: bytes | None = None) -> None:
        self._tell(_gst_keys(suite, key_salt, mki))
        assert self._hear() == {"keyed": True}

    def packet(self, timeout: float = PATIENCE) -> tuple[str, bytes]:
        """("rtp" or "rtcp", the decrypted packet)."""
        message = self._hear(timeout)
        return str(message["kind"]), bytes.fromhex(str(message["packet"]))


class GstSender(GstPeer):
    """`srtpenc` before two UDP sockets."""

    def __init__(
        self, suite: str, key_salt: bytes, rtp_to: tuple[str, int], rtcp_to: tuple[str, int], mki: bytes | None = None
    ) -> None:
        keys = _gst_keys(suite, key_salt, mki)
        super().__init__({"role": "send", **keys, "rtp_to": rtp_to, "rtcp_to": rtcp_to})

    def send(self, kind: str, packet: bytes) -> None:
        self._tell({"kind": kind, "packet": packet.hex()})


class GstDtls(GstPeer):
    """`dtlssrtpdec` and `dtlssrtpenc` on one UDP socket, either DTLS role."""

    def __init__(self, *, client: bool) -> None:
        super().__init__({"role": "dtls", "client": client})
        self.port = int(str(self._started["port"]))
        self.certificate = ssl.PEM_cert_to_DER_cert(str(self._started["pem"]).partition("-----BEGIN PRIVATE")[0])

    def talk_to(self, place: tuple[str, int]) -> None:
        """Begins the handshake, as a client, or waits for it."""
        self._tell({"to": place})

    def send(self, kind: str, packet: bytes) -> None:
        self._tell({"kind": kind, "packet": packet.hex()})

    def packet(self, timeout: float = PATIENCE) -> tuple[str, bytes]:
        message = self._hear(timeout)
        return str(message["kind"]), bytes.fromhex(str(message["packet"]))


# ------------------------------------------------------------------------------------------------------------ ffmpeg --

# ffmpeg gives the SDES name AES_CM_128_HMAC_SHA1_32 a 4-octet SRTCP tag (seen with 5.1), against RFC 4568, 6.2.2; under
# its DTLS-SRTP name the same suite has 10 octets. RTP is the same under both.
FFMPEG_SUITES = {
    "AES_CM_128_HMAC_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32": "SRTP_AES128_CM_HMAC_SHA1_32",
}
MULAW_IN = ["-f", "mulaw", "-ar", "8000", "-ac", "1", "-i", "pipe:0"]


def ffmpeg_sender(suite: str, inline: str, rtp_to: tuple[str, int], rtcp_port: int) -> Program:
    """Sends what it reads on stdin (mu-law, 8 kHz, in real time) as SRTP with payload type 0. `inline` is base64."""
    host, port = rtp_to
    return Program(
        [
            *("ffmpeg", "-hide_banner", "-loglevel", "error", "-re", *MULAW_IN, "-c:a", "copy", "-f", "rtp"),
            *("-payload_type", "0", "-srtp_out_suite", FFMPEG_SUITES[suite], "-srtp_out_params", inline),
            f"srtp://{host}:{port}?rtcpport={rtcp_port}&pkt_size=186",
        ]
    )


def ffmpeg_receiver(suite: str, inline: str) -> tuple[Program, int]:
    """Writes the mu-law octets it receives to stdout. Returns it, listening, and its RTP port (RTCP: one above)."""
    port, _rtcp = udp_port_pair()
    sdp = (
        f"v=0\r\no=- 1 1 IN IP4 {LOOPBACK}\r\ns=-\r\nc=IN IP4 {LOOPBACK}\r\nt=0 0\r\nm=audio {port} RTP/SAVP 0\r\n"
        f"a=crypto:1 {FFMPEG_SUITES[suite]} inline:{inline}\r\n"
    )
    program = Program(
        [
            *("ffmpeg", "-hide_banner", "-loglevel", "fatal", "-protocol_whitelist", "pipe,udp,rtp,srtp,crypto"),
            *("-f", "sdp", "-i", "pipe:0", "-c:a", "copy", "-f", "mulaw", "-flush_packets", "1", "pipe:1"),
        ]
    )
    program.say(sdp.encode())
    program.end_input()
    wait_until(
        lambda: {port, port + 1} <= {bound for _address, bound in udp_sockets(program.pid)}, program, "does not listen"
    )
    return program, port


# ----------------------------------------------------------------------------------------------------------- baresip --

BARESIP_CONFIG = """\
poll_method epoll
sip_listen {loopback}:0
net_interface {loopback}
rtp_ports 20000-32000
audio_source ausine,{tone}
audio_player aubridge,ear
audio_alert aubridge,alert
ausrc_srate 48000
ausrc_channels 2
auplay_srate 8000
auplay_channels 1
module_path /usr/lib/baresip/modules
module g711.so
module srtp.so
module dtls_srtp.so
module ausine.so
module aubridge.so
module sndfile.so
snd_path {folder}
module_tmp account.so
module_app menu.so
"""
BARESIP_ACCOUNT = "<sip:peer@{loopback}>;regint=0;mediaenc={mediaenc};audio_codecs={codec};answermode=auto\n"


class Baresip:
    """baresip without a terminal: plays a sine tone, records what it hears, answers by itself.

    mediaenc `srtp` offers RTP/AVP with a=crypto and answers RTP/SAVP; `srtp-mand` offers RTP/SAVP. `dtls_srtp` offers
    UDP/TLS/RTP/SAVPF.
    """

    def __init__(
        self, folder: Path, *, tone: int, mediaenc: str = "srtp-mand", codec: str = "PCMU", dial: str | None = None
    ) -> None:
        self.folder = folder
        values = {"loopback": LOOPBACK, "tone": tone, "folder": folder, "mediaenc": mediaenc, "codec": codec}
        (folder / "config").write_text(BARESIP_CONFIG.format(**values))
        (folder / "accounts").write_text(BARESIP_ACCOUNT.format(**values))
        (folder / "contacts").write_text("")
        self.program = Program(["baresip", "-f", str(folder), *(["-e", f"/dial {dial}"] if dial else [])], cwd=folder)
        try:
            self.program.wait_for("baresip is ready")
            self.sip_port = next(port for address, port in udp_sockets(self.program.pid) if address == LOOPBACK)
        except BaseException:
            self.program.stop()
            raise

    def __enter__(self) -> Baresip:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.program.stop()

    def heard(self) -> Path:
        """The WAV file of what it decoded; complete after the call has ended."""
        (found,) = self.folder.glob("dump-*-dec.wav")
        return found
