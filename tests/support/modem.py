"""A scripted modem on a pseudo-terminal, with a USIM behind it that runs Milenage. TS 27.007, 8.17; TS 102 221."""

from __future__ import annotations

import os
import pty
import re
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from support.ub import usim

from ueagent.errors import AuthenticationFailed
from ueagent.keymgmt.aka import AkaKeys
from ueagent.keymgmt.usim import SoftwareUsim

USIM_AID = bytes.fromhex("a0000000871002")


class Modem:
    """Echoes until ATE0, and says things unasked. `status` replaces the card's answer to an instruction."""

    def __init__(self, card: SoftwareUsim | None = None, *, channels: int = 1) -> None:
        self.card = card or usim()
        self.status: dict[int, int] = {}
        self.apdus: list[bytes] = []
        self.silent = False
        self.barred = False
        self._channels = channels
        self._open: set[int] = set()
        self._selected: set[int] = set()
        self._ready = b""
        self._echo = True

    @property
    def channels_open(self) -> set[int]:
        return set(self._open)

    def answer(self, line: bytes) -> bytes:
        if self.silent:
            return b""
        text = (line + b"\r" if self._echo else b"") + b"\r\n+CREG: 1\r\n"
        match = re.fullmatch(rb'AT\+CSIM=(\d+),"([0-9A-F]+)"', line)
        if line == b"ATE0":
            self._echo = False
        elif match is not None and not self.barred:
            assert int(match[1]) == len(match[2])
            data, status = self._apdu(bytes.fromhex(match[2].decode()))
            octets = (data + status.to_bytes(2, "big")).hex().upper()
            text += f'\r\n+CSIM: {len(octets)},"{octets}"\r\n'.encode()
        else:
            return text + b"\r\n+CME ERROR: 3\r\n"
        return text + b"\r\nOK\r\n"

    def _apdu(self, apdu: bytes) -> tuple[bytes, int]:
        self.apdus.append(apdu)
        channel, instruction, p1, p2 = apdu[:4]
        if instruction in self.status:
            return b"", self.status[instruction]
        if instruction == 0x70 and p1 == 0x80:
            self._open.discard(p2)
            return b"", 0x9000
        if instruction == 0x70:
            if len(self._open) >= self._channels:
                return b"", 0x6881
            if apdu[4] != 1:
                return b"", 0x6C01
            self._open.add(len(self._open) + 1)
            return bytes([max(self._open)]), 0x9000
        if instruction == 0xC0:
            data, self._ready = self._ready, b""
            return data, 0x9000
        data = apdu[5 : 5 + apdu[4]]
        if instruction == 0xA4 and p1 == 4 and data == USIM_AID:
            self._selected.add(channel)
            return self._later(b"\x62\x00")
        if instruction == 0x88 and p2 == 0x81 and channel in self._selected:
            return self._authenticate(data)
        return b"", 0x6D00

    def _authenticate(self, data: bytes) -> tuple[bytes, int]:
        assert data[0] == data[17] == 16
        try:
            outcome = self.card.authenticate(data[1:17], data[18:34])
        except AuthenticationFailed:
            return b"", 0x9862
        if not isinstance(outcome, AkaKeys):
            return self._later(b"\xdc" + bytes([len(outcome.auts)]) + outcome.auts)
        fields = [bytes(key.reveal()) for key in (outcome.res, outcome.ck, outcome.ik)]
        return self._later(b"\xdb" + b"".join(bytes([len(field)]) + field for field in fields))

    def _later(self, data: bytes) -> tuple[bytes, int]:
        self._ready = data
        return b"", 0x6100 | len(data)


@contextmanager
def plugged_in(modem: Modem) -> Iterator[str]:
    """The name of the serial port."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    name = os.ttyname(theirs)
    stop_read, stop_write = os.pipe()

    def serve() -> None:
        import select

        pending = b""
        while True:
            ready, _, _ = select.select([ours, stop_read], [], [])
            if stop_read in ready:
                return
            pending += os.read(ours, 4096)
            while b"\r" in pending:
                line, pending = pending.split(b"\r", 1)
                os.write(ours, modem.answer(line.strip()))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield name
    finally:
        os.write(stop_write, b"x")
        thread.join()
        for descriptor in (ours, theirs, stop_read, stop_write):
            os.close(descriptor)
