"""Pairs of UDP sockets that a cancelled set-up leaves nothing of."""

import asyncio
import socket

from ueagent.lab.sockets import UdpPair


def test_descriptors_of_a_cancelled_pair_are_free_for_others() -> None:
    """The event loop would refuse the next connection that gets the number of a socket it still watches."""

    async def run(steps: int) -> None:
        opening = asyncio.ensure_future(UdpPair.open(lambda rtcp, data, source: None))
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        [pair] = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(pair, UdpPair):
            pair.close()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for _ in range(3):
                _, writer = await asyncio.open_connection(*listener.getsockname())
                writer.close()
                await writer.wait_closed()

    for steps in range(1, 8):
        asyncio.run(run(steps))
