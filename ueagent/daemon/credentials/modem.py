"""A USIM in a modem, over AT+CSIM on a serial port. 3GPP TS 27.007, 8.17; TS 31.102, 7.1; TS 102 221, 11. KMS-7.

    AT+CSIM=<characters>,"<APDU in hex>"   ->   +CSIM: <characters>,"<data SW1 SW2 in hex>"   OK

The USIM application is selected on a logical channel of its own, so that the modem's own dialogue with the card is not
disturbed; a card that has none to spare is spoken to on the basic channel.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import serial

from ueagent.errors import AuthenticationFailed, ResourceError
from ueagent.keymgmt.aka import AUTS_LENGTH, AkaKeys, SyncFailure
from ueagent.model.keys import Secret

BAUD_RATE: Final = 115200  # what modems on USB ignore
TIMEOUT: Final = 5.0  # seconds for one command
MAX_LINE: Final = 1024
USIM_AID: Final = bytes.fromhex("a0000000871002")  # RID of 3GPP and application code: TS 101 220, Annex E

_CSIM: Final = re.compile(rb'\+CSIM:\s*(\d+)\s*,\s*"?([0-9A-Fa-f]*)"?')
_FINAL_ERROR: Final = re.compile(rb"ERROR|\+CM[ES] ERROR:.*|NO CARRIER")

_SELECT, _AUTHENTICATE, _GET_RESPONSE, _MANAGE_CHANNEL = 0xA4, 0x88, 0xC0, 0x70
_3G_CONTEXT: Final = 0x81  # P2 of AUTHENTICATE: TS 31.102, 7.1.2
_OK: Final = 0x9000
_WRONG_MAC: Final = 0x9862
_SUCCESS_TAG, _SYNC_TAG = 0xDB, 0xDC


class ModemUsim:
    """Opens `port` for each authentication and closes it again. Blocks: run it in a thread."""

    def __init__(self, port: str, *, aid: bytes = USIM_AID, timeout: float = TIMEOUT) -> None:
        self._port = port
        self._aid = aid
        self._timeout = timeout

    def authenticate(self, rand: bytes, autn: bytes) -> AkaKeys | SyncFailure:
        """AuthenticationFailed `aka_mac`; ResourceError `usim_failed` for everything that modem or card refuse."""
        try:
            with serial.Serial(self._port, BAUD_RATE, timeout=self._timeout, write_timeout=self._timeout) as port:
                card = _Card(port, self._timeout)
                with card.channel() as channel:
                    data, status = card.send(channel, _SELECT, 0x04, 0x04, self._aid)
                    _expect(status, _OK, "no USIM application")
                    challenge = bytes((len(rand),)) + rand + bytes((len(autn),)) + autn
                    data, status = card.send(channel, _AUTHENTICATE, 0x00, _3G_CONTEXT, challenge)
        except (serial.SerialException, OSError):
            raise ResourceError("usim_failed", "the modem's serial port does not work") from None
        if status == _WRONG_MAC:
            raise AuthenticationFailed("aka_mac", "the network has not proven that it knows the key of this USIM")
        _expect(status, _OK, "the USIM does not authenticate")
        return _parse_answer(data)

    def wipe(self) -> None:
        """The key never leaves the card."""


class _Card:
    def __init__(self, port: serial.Serial, timeout: float) -> None:
        self._port = port
        self._timeout = timeout
        self._port.reset_input_buffer()
        self._command(b"ATE0")

    @contextmanager
    def channel(self) -> Iterator[int]:
        data, status = self.send(0, _MANAGE_CHANNEL, 0x00, 0x00, b"", expected=1)
        number = data[0] if status == _OK and len(data) == 1 and 1 <= data[0] <= 3 else 0
        try:
            yield number
        finally:
            if number:
                self.send(0, _MANAGE_CHANNEL, 0x80, number, b"")

    def send(
        self, channel: int, instruction: int, p1: int, p2: int, data: bytes, expected: int | None = None
    ) -> tuple[bytearray, int]:
        """Data and status word, after fetching what the card has ready. TS 102 221, 7.3.1.1."""
        head = bytes((channel, instruction, p1, p2))
        body = bytes((len(data),)) + data if data else bytes((expected or 0,))
        answer, status = self._apdu(head + body)
        if status >> 8 == 0x6C:  # wrong Le, and this is the right one
            answer, status = self._apdu(head + bytes((status & 0xFF,)))
        while status >> 8 == 0x61:
            more, status = self._apdu(bytes((channel, _GET_RESPONSE, 0, 0, status & 0xFF)))
            if not more:
                break
            answer += more
        return answer, status

    def _apdu(self, apdu: bytes) -> tuple[bytearray, int]:
        text = apdu.hex().upper().encode("ascii")
        for line in self._command(b'AT+CSIM=%d,"%b"' % (len(text), text)):
            match = _CSIM.fullmatch(line)
            if match is not None and int(match[1]) == len(match[2]) >= 4 and len(match[2]) % 2 == 0:
                octets = bytearray.fromhex(match[2].decode("ascii"))
                return octets[:-2], int.from_bytes(octets[-2:], "big")
        raise ResourceError("usim_failed", "the modem gave no +CSIM that fits")

    def _command(self, command: bytes) -> list[bytes]:
        """The lines before OK. What the modem says unasked is among them."""
        self._port.write(command + b"\r")
        deadline = time.monotonic() + self._timeout
        lines: list[bytes] = []
        while time.monotonic() < deadline:
            line = bytes(self._port.read_until(b"\n", MAX_LINE)).strip()
            if line == b"OK":
                return lines
            if _FINAL_ERROR.fullmatch(line):
                raise ResourceError("usim_failed", "the modem refuses access to the card")
            lines.append(line)
        raise ResourceError("usim_failed", "the modem does not answer")


def _expect(status: int, wanted: int, why: str) -> None:
    if status != wanted:
        raise ResourceError("usim_failed", f"{why}: status {status:04X}")


def _parse_answer(data: bytearray) -> AkaKeys | SyncFailure:
    """DB len RES len CK len IK [len Kc], or DC len AUTS. TS 31.102, 7.1.2.1."""
    tag, fields, place = data[0] if data else 0, [], 1
    while place < len(data):
        length = data[place]
        fields.append(data[place + 1 : place + 1 + length])
        if len(fields[-1]) != length:
            break
        place += 1 + length
    lengths = [len(field) for field in fields]
    complete = place == len(data)
    if tag == _SYNC_TAG and complete and lengths == [AUTS_LENGTH]:
        return SyncFailure(bytes(fields[0]))
    if tag == _SUCCESS_TAG and complete and 4 <= (lengths or [0])[0] <= 16 and lengths[1:3] == [16, 16]:
        keys = AkaKeys(Secret(fields[0]), Secret(fields[1]), Secret(fields[2]))
        for octets in (data, *fields):
            octets[:] = bytes(len(octets))
        return keys
    raise ResourceError("usim_failed", "the USIM's answer is not the one of an authentication")
