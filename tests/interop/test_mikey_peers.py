"""MIKEY messages of RFC 3830 read by tshark and by GStreamer's parser, and GStreamer's read by us.

Both know the base messages only: tshark 4.0 stops at RANDR, GStreamer 1.22 may loop on it. So pre-shared-key mode is
what can be compared. Neither is asked about a payload that it does not know, and both run under an alarm.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.peers import PATIENCE, require

from ueagent.lab.capture import Datagram, Side, Way, write_pcap
from ueagent.model.keys import Secret
from ueagent.model.ticket import KeyType
from ueagent.wire.mikey import DataType, Header, MapType, Message, SrtpSession, build_message, parse_message
from ueagent.wire.mikey_keys import KeyData, build_key_data, parse_key_data
from ueagent.wire.mikey_payloads import Identity, Interval, Kemac, Payload, Rand, Sp, Spi, Timestamp, V, Validity

PROGRAM = Path(__file__).parents[1] / "support" / "gst_mikey.py"
PORT = 2269  # registered for MIKEY
T = Timestamp(0, 0xED00378080000000)
RAND = Rand(bytes(range(16)))
POLICY = Sp(0, 0, ((0, b"\x01"), (1, b"\x10"), (2, b"\x01"), (3, b"\x14"), (4, b"\x0e"), (11, b"\x0a")))
SESSIONS = (SrtpSession(0, 0xCAFEBABE, 7), SrtpSession(0, 0x0B0B0B0B, 0))


def kemac(validity: Validity, kind: KeyType = KeyType.TGK, mac: bytes = b"") -> Kemac:
    """NULL encryption, so that a parser without keys can look inside."""
    salt = Secret(bytes(14)) if kind.salted else None
    keys = build_key_data([KeyData(kind, Secret(bytes(range(16))), salt, validity)])
    return Kemac(0, bytes(keys.reveal()), 1 if mac else 0, mac)


def message(*payloads: Payload, data_type: DataType = DataType.PSK, wanted: bool = True) -> bytes:
    return build_message(Message(Header(data_type, 0x01020304, 0, wanted, MapType.SRTP_ID, SESSIONS), payloads))


MESSAGES = {
    "I_MESSAGE with an SPI": message(T, RAND, POLICY, kemac(Spi(b"\x01\x02\x03\x04"))),
    "I_MESSAGE with MAC and identities": message(
        T,
        RAND,
        Identity(1, b"sip:alice@example.com"),
        Identity(0, b"bob@example.com"),
        kemac(None, mac=bytes(range(20))),
    ),
    "salted key": message(T, RAND, kemac(None, KeyType.TGK_SALT)),
    "key with an interval": message(T, RAND, kemac(Interval(b"\x00\x01", b"\x00\xff"))),
    "R_MESSAGE": message(
        T,
        Identity(1, b"sip:bob@example.com"),
        V(1, bytes(range(20))),
        data_type=DataType.PSK_VERIFICATION,
        wanted=False,
    ),
}


def gstreamer(*arguments: str) -> dict[str, object]:
    done = subprocess.run(
        ["/usr/bin/python3", str(PROGRAM), *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.interop("MIKEY", "writer", "GStreamer")
@pytest.mark.parametrize("case", [case for case in MESSAGES if "identities" not in case and case != "R_MESSAGE"])
def test_gstreamer_reads_our_message_and_builds_the_same_octets(case: str) -> None:
    """RFC 3830, 6."""
    require("gstreamer")
    octets = MESSAGES[case]
    ours = parse_message(octets)
    found = gstreamer("parse", octets.hex())
    assert found["again"] == octets.hex()
    assert (found["version"], found["type"], found["prf"], found["csb_id"]) == (1, 0, 0, ours.header.csb_id)
    names = {Timestamp: 5, Rand: 11, Sp: 10, Kemac: 1}
    assert found["payloads"] == [names[type(payload)] for payload in ours.payloads]


@pytest.mark.interop("MIKEY", "reader", "GStreamer")
def test_we_read_what_gstreamer_builds() -> None:
    require("gstreamer")
    octets = bytes.fromhex(str(gstreamer("build")["message"]))
    found = parse_message(octets)
    assert found.header.sessions == (SrtpSession(1, 0xCAFEBABE, 7),)
    assert [type(payload) for payload in found.payloads] == [Timestamp, Rand]
    assert build_message(found) == octets


FIELDS = (
    "mikey.type",
    "mikey.v.set",
    "mikey.prf_func",
    "mikey.csb_id",
    "mikey.cs_count",
    "mikey.srtp_id.ssrc",
    "mikey.srtp_id.roc",
    "mikey.rand.data",
    "mikey.id.data",
    "mikey.sp.param.type",
    "mikey.kemac.mac",
    "mikey.key.data",
    "mikey.key.salt",
    "mikey.key.kv.spi",
    "mikey.v.ver_data",
    "_ws.malformed",
)


def tshark(octets: bytes, folder: Path) -> dict[str, list[str]]:
    address = ("127.0.0.1", PORT)
    path = folder / "mikey.pcap"
    write_pcap(path, [Datagram(0.0, Side.ACCESS, Way.IN, address, address, rtcp=False, data=octets)])
    wanted = [word for name in FIELDS for word in ("-e", name)]
    done = subprocess.run(
        ["tshark", "-r", str(path), "-d", f"udp.port=={PORT},mikey", "-T", "fields", "-E", "separator=|", *wanted],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {
        name: [part for part in text.split(",") if part not in ("", "<MISSING>")]
        for name, text in zip(FIELDS, done.stdout.rstrip("\n").split("|"), strict=True)
    }


@pytest.mark.interop("MIKEY", "writer", "tshark")
@pytest.mark.parametrize("case", MESSAGES)
def test_tshark_reads_our_message_alike(case: str, tmp_path: Path) -> None:
    """RFC 3830, 6."""
    require("tshark")
    found = tshark(MESSAGES[case], tmp_path)
    ours = parse_message(MESSAGES[case])
    assert found["_ws.malformed"] == []
    assert int(found["mikey.type"][0], 0) == ours.header.data_type
    assert found["mikey.v.set"][0] in (str(int(ours.header.answer_wanted)), str(ours.header.answer_wanted))
    assert [int(text, 0) for text in found["mikey.csb_id"]] == [ours.header.csb_id]
    assert [int(text, 0) for text in found["mikey.cs_count"]] == [len(SESSIONS)]
    assert [int(text, 0) for text in found["mikey.srtp_id.ssrc"]] == [session.ssrc for session in SESSIONS]
    assert [int(text, 0) for text in found["mikey.srtp_id.roc"]] == [session.roc for session in SESSIONS]
    assert found["mikey.rand.data"] == [rand.value.hex() for rand in ours.all(Rand)]
    assert found["mikey.id.data"] == [identity.data.decode() for identity in ours.all(Identity)]
    assert found["mikey.v.ver_data"] == [v.mac.hex() for v in ours.all(V)]
    assert [int(text, 0) for text in found["mikey.sp.param.type"]] == [
        kind for sp in ours.all(Sp) for kind, _value in sp.parameters
    ]
    keys = [key for k in ours.all(Kemac) for key in parse_key_data(k.data)]
    assert found["mikey.key.data"] == [key.key.reveal().hex() for key in keys]
    assert found["mikey.key.salt"] == [key.salt.reveal().hex() for key in keys if key.salt]
    assert found["mikey.key.kv.spi"] == [key.spi.hex() for key in keys if key.spi]
    assert found["mikey.kemac.mac"] == [k.mac.hex() for k in ours.all(Kemac) if k.mac]
