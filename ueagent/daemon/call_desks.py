"""What a call needs of the agent's `TicketService`: whose account, and the clock. KMS-40, KMS-54."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ueagent.daemon.logs import Log
from ueagent.errors import AgentError, UsageError

if TYPE_CHECKING:  # agents without a KMS do not load them
    from ueagent.daemon.ticket_service import TicketService
    from ueagent.keymgmt.mikey_bundle import MikeyDesk

MAX_IDENTITY: Final = 256  # characters of a URI


def checked_uri(name: str | None, field: str) -> str | None:
    """A URI that a ticket can name, or none. UsageError `bad_identity`."""
    if name is not None and not (0 < len(name) <= MAX_IDENTITY and name.isascii() and name.isprintable()):
        raise UsageError("bad_identity", f"URIs have 1 to {MAX_IDENTITY} printable characters", field=field)
    return name


async def desk_for(
    tickets: TicketService, name: str | None, field: str, session_now: float, log: Log
) -> MikeyDesk | None:
    """For a call as one of our identities; None where the key shared with the KMS cannot be had.

    `session_now` is the present time of sessions. UsageError: not one of our identities.
    """
    from ueagent.keymgmt.mikey_bundle import MikeyDesk

    us = tickets.identity(name, field)
    try:
        account = await tickets.account(us)
    except AgentError as error:
        log.warning("no_kms_account", reason=error)
        return None
    ahead = tickets.clock() - session_now
    return MikeyDesk(account, tickets.profile, tickets.tickets, tickets.replay, tickets.limit, lambda now: now + ahead)
