"""`ueagent status`: the calls of a running agent as a table that follows them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from ueagent.cli import exits
from ueagent.cli.connection import add_socket_option, talk

if TYPE_CHECKING:
    import argparse

    from ueagent.ipc import api

# fmt: off
HEAD: Final = (
    "session", "who", "line", "medium", "mechanism", "scope", "suite", "assured", "state",
    "sent", "received", "failures", "engine",
)
# fmt: on
_CLEAR = "\x1b[H\x1b[J"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="print the table once (also when stdout is no terminal)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, once")
    parser.add_argument("--interval", type=_seconds, default=1.0, metavar="S", help="seconds between two looks (1)")
    add_socket_option(parser)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise ValueError
    return value


def run(args: argparse.Namespace) -> int:
    once = args.once or args.json or not sys.stdout.isatty()
    return talk(lambda: _show(args.socket, once, args.json, args.interval))


async def _show(socket: str | None, once: bool, as_json: bool, interval: float) -> int:
    import asyncio

    from ueagent.client import AgentClient

    async with AgentClient.connect(socket) as agent:
        while True:
            sessions = await agent.status()
            if as_json:
                sys.stdout.write(_json(sessions))
            else:
                sys.stdout.write(("" if once else _CLEAR) + table(sessions) + "\n")
            sys.stdout.flush()
            if once:
                return exits.OK
            await asyncio.sleep(interval)


def _json(sessions: list[api.SessionState]) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode({"sessions": sessions})).decode() + "\n"


def table(sessions: list[api.SessionState]) -> str:
    """One row per media line; a session without lines has one row."""
    from ueagent.cli.table import printable, render

    rows = [tuple(printable(cell) for cell in row) for session in sessions for row in _rows(session)]
    return render(HEAD, rows) if rows else "no calls"


def _rows(session: api.SessionState) -> list[tuple[str, ...]]:
    counters = {found.line: found for found in session.counters}
    rows: list[tuple[str, ...]] = []
    for line in session.lines:
        who = line.identity or session.binding or session.call_id or "-"
        state = "secured" if line.keys_in_place else line.reason or session.state
        found = counters.get(line.line)
        numbers = ("-", "-", "-", "-")
        if found is not None:
            sent, received = found.packets_sent + found.plain_sent, found.packets_received + found.plain_received
            failures = found.auth_failures + found.replays + found.too_old + found.wrong_mki
            numbers = (str(sent), str(received), str(failures), found.engine or "-")
        about = (line.mechanism, line.scope, line.suite or "-", "yes" if line.assured else "no", state)
        rows.append((session.session, who, str(line.line), line.medium, *about, *numbers))
    if not rows:
        who = session.binding or session.call_id or "-"
        return [(session.session, who, *("-",) * 6, session.state, *("-",) * 4)]
    return rows
