"""Connectivity checks as a full ICE agent sends them, made and read by aioice."""

from __future__ import annotations

from aioice import stun


def credentials(sdp: str) -> tuple[str, str]:
    """a=ice-ufrag and a=ice-pwd of the first medium."""
    found = dict(line[2:].split(":", 1) for line in sdp.splitlines() if line.startswith("a=ice-") and ":" in line)
    return found["ice-ufrag"], found["ice-pwd"]


def check(theirs: tuple[str, str], ufrag: str = "them", *, nominate: bool = False) -> bytes:
    """A check for the agent whose credentials are `theirs`, by one whose ufrag is `ufrag`."""
    given: dict[str, object] = {"USERNAME": f"{theirs[0]}:{ufrag}", "PRIORITY": 1, "ICE-CONTROLLING": 7}
    if nominate:
        given["USE-CANDIDATE"] = None
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, None, given)
    message.add_message_integrity(theirs[1].encode())
    message.add_fingerprint()
    return bytes(message)


def succeeded(reply: bytes, theirs: tuple[str, str]) -> bool:
    message = stun.parse_message(reply)
    return message.message_class is stun.Class.RESPONSE and message.check_message_integrity(theirs[1].encode())
