"""The same interface through a Varlink library (PyPI asyncvarlink): what is this agent?

python3 foreign.py AGENT_SOCKET
"""

import asyncio
import sys

import asyncvarlink


async def main(path: str) -> None:
    transport, agent = await asyncvarlink.connect_unix_varlink(asyncvarlink.VarlinkClientProtocol, path)
    try:
        reply, _ = await agent.call(asyncvarlink.VarlinkMethodCall("org.ueagent.Agent.Describe", {}))
        sys.stdout.write(" ".join(reply.parameters["suites"]) + "\n")
    finally:
        transport.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
