"""A line to a server on which whatever is sent arrives some milliseconds later, in order; as many at a time as are sent."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from typing import Final

_CHUNK: Final = 65_536
_UNDER_WAY_MAX: Final = 10_000  # chunks


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--to", required=True, help="host:port of the server")
    options.add_argument("--ms", type=float, required=True, help="how long each way takes")
    chosen = options.parse_args()
    host, _, port = chosen.to.rpartition(":")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(
            passed(reader, up_writer, chosen.ms / 1000), passed(up_reader, writer, chosen.ms / 1000)
        )

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(json.dumps({"endpoint": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


async def passed(source: asyncio.StreamReader, target: asyncio.StreamWriter, late_s: float) -> None:
    """Until *source* ends."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_UNDER_WAY_MAX)

    async def arrive() -> None:
        while True:
            due_at, chunk = await under_way.get()
            await asyncio.sleep(max(0.0, due_at - loop.time()))
            if not chunk:
                target.close()
                return
            target.write(chunk)
            await target.drain()

    arriving = asyncio.create_task(arrive())
    chunk = b"x"
    with contextlib.suppress(OSError):
        while chunk:
            chunk = await source.read(_CHUNK)
            await under_way.put((loop.time() + late_s, chunk))
        await arriving
    arriving.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
