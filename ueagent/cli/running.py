"""Running a command that lasts: SIGINT and SIGTERM ask it to stop, a second one forces it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from ueagent.cli import exits


def run_async(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run `main(stop)` to its end. `stop` is set by the first signal; the second one ends the process at once."""

    async def guarded() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def asked_to_stop() -> None:
            if stop.is_set():
                os._exit(exits.INTERRUPTED)
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked_to_stop)
        try:
            return await main(stop)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    return asyncio.run(guarded())


async def until_stopped(stop: asyncio.Event, work: Awaitable[int]) -> int:
    """`work`, cancelled when `stop` is set: then the command has done what it could and its status is OK."""
    task = asyncio.ensure_future(work)
    waiter = asyncio.ensure_future(stop.wait())
    await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if not task.done():
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return exits.OK
    return task.result()
