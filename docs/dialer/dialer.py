"""A complete small softphone behind ueagent, with nothing but the standard library.

    python3 dialer.py AGENT_SOCKET EDGE_SOCKET call|answer PLAY RECORD

PLAY and RECORD are raw G.711 mu-law (8000 octets a second). `call` calls a far end that echoes; `answer` is called by
one that speaks. At the end it prints what the agent knows of the call as one JSON object.

Where a softphone has its SIP stack, this one has the lab edge: what it hands to `network` is what SIP would carry.
"""

from __future__ import annotations

import json
import secrets
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any

BINDING = "home"  # our name for one contact registered at one edge
SIGNALLING = "access"  # the truth about our SIP hop (POL-3); the lab edge's is a local socket
PACKET_OCTETS = 160  # 20 ms of G.711
PACKET_SECONDS = 0.02
QUIET_SECONDS = 1.0  # hang up when all is said and so long nothing was heard
REGISTER_ROUNDS = 6


class Refused(Exception):
    """An error reply. `code` is for programs, `detail` for people."""

    def __init__(self, error: str, parameters: dict[str, Any]) -> None:
        self.error = error.rpartition(".")[2]
        self.code = parameters.get("code")
        self.sip_status = parameters.get("sip_status_hint")
        super().__init__(f"{error}: {parameters.get('detail') or parameters}")


class Varlink:
    """One connection. Each message is a JSON object and a NUL octet; calls are answered in order."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self._read = b""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.send({"method": method, "parameters": parameters})
        return self.receive()

    def send(self, message: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\0")

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the agent has gone, and with it this call")
            self._read += data
        message, _, self._read = self._read.partition(b"\0")
        reply = json.loads(message)
        parameters: dict[str, Any] = reply.get("parameters", {})
        if "error" in reply:
            raise Refused(reply["error"], parameters)
        return parameters

    def waiting(self) -> bool:
        """Whether `receive` has something without blocking for long."""
        return b"\0" in self._read or bool(select.select([self.socket], [], [], 0)[0])

    def close(self) -> None:
        self.socket.close()


class Phone:
    """The media half: plain RTP and RTCP between this process and the agent, on loopback."""

    def __init__(self) -> None:
        self.rtp, self.rtcp = _port_pair()
        self.ssrc = secrets.randbits(32)
        self.sequence = secrets.randbits(15)  # SDES-13: the first one is below 2^15
        self.timestamp = secrets.randbits(32)
        self.version = 0
        self.sent = 0
        self.heard: list[tuple[int, bytes]] = []

    def description(self) -> str:
        """Our SDP, plain. Every new offer or answer has a higher version (RFC 3264, 8)."""
        self.version += 1
        port, rtcp_port = self.rtp.getsockname()[1], self.rtcp.getsockname()[1]
        return (
            f"v=0\r\no=- {self.ssrc} {self.version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=rtcp:{rtcp_port}\r\na=ptime:20\r\na=sendrecv\r\n"
        )

    def answer(self, offer: str) -> str:
        """Our SDP with a refusal for each media line of `offer` that is not the first audio line."""
        head, audio = self.description().split("m=", 1)
        ours, text = "m=" + audio, head
        for line in offer.splitlines():
            if line.startswith("m="):
                kind, _port, transport, formats = line[2:].split(" ", 3)
                taken, ours = (ours, "") if kind == "audio" else ("", ours)
                text += taken or f"m={kind} 0 {transport} {formats}\r\n"
        return text

    def connect(self, description: str) -> None:
        """Send to the agent's side of the call, and hear nobody else."""
        address, port, rtcp_port = "127.0.0.1", 0, 0
        for line in description.splitlines():
            if line.startswith("c="):
                address = line.split()[2].partition("/")[0]
            elif line.startswith("m=audio ") and not port:
                port = int(line.split()[1])
                rtcp_port = port + 1
            elif line.startswith("a=rtcp:"):
                rtcp_port = int(line[7:].split()[0])
        if not port:
            raise ValueError("the far side took no audio")
        self.rtp.connect((address, port))
        self.rtcp.connect((address, rtcp_port))

    def send(self, payload: bytes) -> None:
        marker = 0x80 if self.sent == 0 else 0
        head = bytes([0x80, marker]) + self.sequence.to_bytes(2, "big") + self.timestamp.to_bytes(4, "big")
        _to_agent(self.rtp, head + self.ssrc.to_bytes(4, "big") + payload)
        self.sequence = (self.sequence + 1) & 0xFFFF  # never back: the same number twice is dropped
        self.timestamp = (self.timestamp + len(payload)) & 0xFFFFFFFF
        self.sent += 1

    def report(self) -> None:
        """An empty receiver report and our name (RFC 3550, 6.1)."""
        ssrc, name = self.ssrc.to_bytes(4, "big"), b"dialer@invalid"
        item = b"\x01" + bytes([len(name)]) + name + b"\0"
        item += bytes(-len(item) % 4)
        words = (4 + len(item)) // 4
        _to_agent(self.rtcp, b"\x80\xc9\0\x01" + ssrc + b"\x81\xca" + words.to_bytes(2, "big") + ssrc + item)

    def listen(self) -> None:
        packet = _from_agent(self.rtp)
        if len(packet) > 12 and packet[0] == 0x80:
            self.heard.append((int.from_bytes(packet[2:4], "big"), packet[12:]))

    def recording(self) -> bytes:
        """What was heard, in the order of sequence numbers, across their wrap."""
        first = self.heard[0][0] if self.heard else 0
        return b"".join(payload for _, payload in sorted(self.heard, key=lambda p: (p[0] - first + 0x8000) & 0xFFFF))

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


class Dialer:
    def __init__(self, agent: Varlink, network: Varlink) -> None:
        self.agent = agent
        self.network = network
        self.phone = Phone()
        self.session: str | None = None
        self.call: str | None = None
        self.request_headers: dict[str, list[str]] = {}

    def register(self) -> None:
        """REGISTER with the agent's headers until the network is content."""
        headers = self.agent.call("org.ueagent.Registration.Offer", binding=BINDING)["headers"]
        for _ in range(REGISTER_ROUNDS):
            response = self.network.call("org.ueagent.lab.Edge.Register", binding=BINDING, **_by_name(headers))
            update = self.agent.call(
                "org.ueagent.Registration.Update",
                binding=BINDING,
                status=response["status"],
                security_server=response["security_server"],
                unsupported=response["unsupported"],
            )
            if update["next"] == "done":
                self.request_headers = _by_name(update["request_headers"])
                return
            if update["next"] == "give_up":
                break
            headers = update["headers"]
        raise ConnectionError(f"the network answered {response['status']} to REGISTER")

    def place_call(self) -> None:
        """Originating: plain offer in, INVITE out, answer in, plain answer out."""
        self._offer(far_end="echo")

    def rekey(self) -> None:
        """New keys for a call that stands: a re-offer, which says so."""
        self._offer(rekey=True)

    def _offer(self, *, rekey: bool = False, **invite: Any) -> None:
        known = {} if self.session is None else {"session": self.session, "rekey": rekey}
        offer = self.agent.call(
            "org.ueagent.Session.CreateOffer",
            sdp=self.phone.description(),
            binding=BINDING,
            signalling=SIGNALLING,
            **known,
        )
        self.session = offer["session"]
        answer = self._invite(offer["sdp"], invite if self.call is None else {"call": self.call})
        self.call = answer["call"]
        plain = self.agent.call("org.ueagent.Session.AcceptAnswer", session=self.session, sdp=answer["sdp"], final=True)
        self.phone.connect(plain["sdp"])

    def _invite(self, sdp: str, more: dict[str, Any]) -> dict[str, Any]:
        """INVITE. The agent hears of a refusal and may have a weaker offer that its policy allows."""
        more["security_verify"] = self.request_headers.get("security_verify", [])
        while True:
            try:
                return self.network.call("org.ueagent.lab.Edge.Originate", binding=BINDING, sdp=sdp, **more)
            except Refused as refusal:
                again = self.agent.call(
                    "org.ueagent.Session.OfferFailed", session=self.session, status=refusal.sip_status or 500
                )
                if not again["retry"]:
                    raise
                sdp = again["sdp"]

    def take_call(self) -> None:
        """Terminating: INVITE's offer in, plain offer out, plain answer in, answer out."""
        invite = self.network.call("org.ueagent.lab.Edge.Terminate", binding=BINDING, far_end="play")
        self.call = invite["call"]
        plain = self.agent.call(
            "org.ueagent.Session.AcceptOffer", sdp=invite["sdp"], binding=BINDING, signalling=SIGNALLING
        )
        self.session = plain["session"]
        answer = self.agent.call(
            "org.ueagent.Session.CreateAnswer", session=self.session, sdp=self.phone.answer(plain["sdp"])
        )
        self.phone.connect(plain["sdp"])
        self.network.call("org.ueagent.lab.Edge.Answer", call=self.call, sdp=answer["sdp"])

    def talk(self, audio: bytes, events: Varlink) -> None:
        """Play `audio` and record, until all is said and the far end has been quiet for a while."""
        phone, start, said = self.phone, time.monotonic(), 0
        packets = [audio[at : at + PACKET_OCTETS] for at in range(0, len(audio), PACKET_OCTETS)]
        phone.report()
        last = start
        while True:
            now = time.monotonic()
            while said < len(packets) and now >= start + said * PACKET_SECONDS:
                phone.send(packets[said])
                said += 1
                last = now
            due = start + said * PACKET_SECONDS if said < len(packets) else last + QUIET_SECONDS
            if said == len(packets) and now >= due:
                return
            ready, _, _ = select.select([phone.rtp, phone.rtcp, events.socket], [], [], max(0.0, due - now))
            if phone.rtp in ready:
                phone.listen()
                last = time.monotonic()
            if phone.rtcp in ready:
                _from_agent(phone.rtcp)
            if events.socket in ready:
                self._read_events(events)

    def listen_to_events(self, path: str) -> Varlink:
        """Events of this session, on a connection of their own. The first reply says that it stands."""
        events = Varlink(path)
        events.send({"method": "org.ueagent.Agent.Subscribe", "parameters": {"session": self.session}, "more": True})
        events.receive()
        return events

    def _read_events(self, events: Varlink) -> None:
        while events.waiting():
            event = events.receive()["event"]
            if event is None or event["kind"] == "session_gone":
                raise ConnectionError("the agent has ended this call")
            sys.stderr.write(f"{event['kind']}: {event['reason'] or ''}\n")
            if event["kind"] == "rekey_wanted":
                self.rekey()

    def status(self) -> dict[str, Any]:
        state: dict[str, Any] = self.agent.call("org.ueagent.Session.Status", session=self.session)["state"]
        return state

    def hang_up(self) -> None:
        """BYE; the agent wipes the keys and closes the ports."""
        if self.session is not None:
            self.agent.call("org.ueagent.Session.Release", session=self.session)
        if self.call is not None:
            self.network.call("org.ueagent.lab.Edge.Release", call=self.call)
        self.session = self.call = None
        self.phone.close()


def _by_name(headers: list[dict[str, str]]) -> dict[str, list[str]]:
    """Header values by name, as the lab edge takes them. A SIP stack adds them to the message in order."""
    found: dict[str, list[str]] = {}
    for header in headers:
        found.setdefault(header["name"].lower().replace("-", "_"), []).append(header["value"])
    return found


def _port_pair() -> tuple[socket.socket, socket.socket]:
    """RTP on an even port and RTCP on the next one (RFC 3550, 11)."""
    while True:
        rtp, rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        rtp.bind(("127.0.0.1", 0))
        port = rtp.getsockname()[1]
        try:
            if port % 2 == 0:
                rtcp.bind(("127.0.0.1", port + 1))
                return rtp, rtcp
        except OSError:
            pass  # taken: try another pair
        rtp.close()
        rtcp.close()


def _to_agent(sock: socket.socket, packet: bytes) -> None:
    try:
        sock.send(packet)
    except ConnectionRefusedError:
        pass  # the agent has closed this line; its event says so


def _from_agent(sock: socket.socket) -> bytes:
    try:
        return sock.recv(2048)
    except ConnectionRefusedError:
        return b""


def main(agent_path: str, edge_path: str, mode: str, play: str, record: str) -> None:
    dialer = Dialer(Varlink(agent_path), Varlink(edge_path))
    dialer.register()
    if mode == "call":
        dialer.place_call()
    else:
        dialer.take_call()
    events = dialer.listen_to_events(agent_path)
    dialer.talk(Path(play).read_bytes(), events)
    sys.stdout.write(json.dumps(dialer.status()) + "\n")
    dialer.hang_up()
    Path(record).write_bytes(dialer.phone.recording())
    events.close()


if __name__ == "__main__":
    if len(sys.argv) != 6 or sys.argv[3] not in ("call", "answer"):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (OSError, Refused, ValueError) as failure:
        sys.exit(f"dialer: {failure}")
