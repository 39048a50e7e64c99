"""
A front before the embedded broker that mends one of its answers. Nothing of it is needed before Apache Kafka.

`noida-db` 0.2.3 answers every read_committed fetch with all transactions that were ever aborted in the partition,
where Apache Kafka names those that overlap the records it sends (KIP-98). librdkafka then takes every later record of
the same producer for aborted, and passes over it in silence: after one crash, its readers would be blind to a process
for ever. The broker leaves aborted records out by itself, so the list is needed for nothing. The front moves each of
its entries behind the end of time, in place.

The broker listens on 127.0.0.2 and the front on 127.0.0.1, on the same port, so that the address which the broker
tells its clients can be corrected in place, too.

Leaves to others: starting both (salmon.devstack.broker).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import struct
from typing import Final

BROKER_HOST: Final = "127.0.0.2"
FRONT_HOST: Final = "127.0.0.1"

# API keys of Kafka's protocol (Kafka Protocol Guide).
_FETCH: Final = 1
_API_VERSIONS: Final = 18
_TELL_ADDRESSES: Final = frozenset({3, 10, 60})  # Metadata, FindCoordinator, DescribeCluster
_MENDED: Final = _TELL_ADDRESSES | {_FETCH, _API_VERSIONS}
# The last version of Fetch without topic ids and flexible lengths, and the first that tells aborted transactions.
_FETCH_VERSION_MAX: Final = 11
_FETCH_VERSION_MIN: Final = 4

_SIZE: Final = struct.Struct(">i")
_REQUEST: Final = struct.Struct(">hhi")  # API key, API version, correlation id
_SHORT: Final = struct.Struct(">h")
_LONG: Final = struct.Struct(">q")
_NEVER: Final = 2**63 - 1


def mended(api_key: int, api_version: int, answer: bytearray) -> None:
    """
    Correct an answer in place.

    Args:
        answer: The frame without its size: correlation id, then the body.
    """
    if api_key in _TELL_ADDRESSES:
        answer[:] = answer.replace(BROKER_HOST.encode(), FRONT_HOST.encode())
    elif api_key == _API_VERSIONS:
        _fetch_limited(answer, api_version)
    elif api_key == _FETCH and api_version >= _FETCH_VERSION_MIN:
        _nothing_aborted(answer, api_version)


def _fetch_limited(answer: bytearray, api_version: int) -> None:
    """ApiVersions: entries of API key, least and greatest version; flexible from version 3 on."""
    at = 6  # correlation id, error code
    if api_version >= 3 and answer[4:6] == b"\0\0":
        count, at, tags = answer[at] - 1, at + 1, 1  # an unsigned varint; one byte serves below 128 entries
    else:  # also where the broker does not know the version that was asked for
        count, at, tags = _SIZE.unpack_from(answer, at)[0], at + 4, 0
    for _ in range(count):
        if _SHORT.unpack_from(answer, at)[0] == _FETCH:
            _SHORT.pack_into(answer, at + 4, min(_FETCH_VERSION_MAX, _SHORT.unpack_from(answer, at + 4)[0]))
        at += 6 + tags


def _nothing_aborted(answer: bytearray, api_version: int) -> None:
    """Fetch, versions 4 to 11: move each aborted transaction's first offset behind all records."""
    at = 8  # correlation id, throttle time
    at += 6 if api_version >= 7 else 0  # error code, session id
    topics, at = _SIZE.unpack_from(answer, at)[0], at + 4
    for _ in range(topics):
        at += 2 + _SHORT.unpack_from(answer, at)[0]
        partitions, at = _SIZE.unpack_from(answer, at)[0], at + 4
        for _ in range(partitions):
            at += 4 + 2 + 8 + 8  # partition, error code, high watermark, last stable offset
            at += 8 if api_version >= 5 else 0  # log start offset
            aborted, at = max(0, _SIZE.unpack_from(answer, at)[0]), at + 4
            for _ in range(aborted):
                _LONG.pack_into(answer, at + 8, _NEVER)
                at += 16
            at += 4 if api_version >= 11 else 0  # preferred replica
            at += 4 + max(0, _SIZE.unpack_from(answer, at)[0])


class Front:
    """Every connection of a client, and one to the broker for each."""

    def __init__(self, port: int, *, broker_port: int) -> None:
        self._port = port
        self._broker_port = broker_port

    async def serve(self, until: asyncio.Event) -> None:
        """Serve until *until*."""
        server = await asyncio.start_server(self._connected, FRONT_HOST, self._port)
        await until.wait()
        server.close()

    async def _connected(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        try:
            broker_in, broker_out = await asyncio.open_connection(BROKER_HOST, self._broker_port)
        except OSError:
            client_out.close()  # As the broker itself would: nobody is there.
            return
        asked: dict[int, tuple[int, int]] = {}
        ways = [
            asyncio.create_task(_requests(client_in, broker_out, asked)),
            asyncio.create_task(_answers(broker_in, client_out, asked)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for out in (client_out, broker_out):
            out.close()


async def _requests(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
) -> None:
    """Pass requests on unchanged; remember those whose answer is to be mended."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            size = await source.readexactly(4)
            frame = await source.readexactly(_SIZE.unpack(size)[0])
            api_key, api_version, correlation = _REQUEST.unpack_from(frame)
            if api_key in _MENDED:
                asked[correlation] = (api_key, api_version)
            target.write(size + frame)
            await target.drain()


async def _answers(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            size = await source.readexactly(4)
            frame: bytes | bytearray = await source.readexactly(_SIZE.unpack(size)[0])
            if (request := asked.pop(_SIZE.unpack_from(frame)[0], None)) is not None:
                frame = bytearray(frame)
                mended(*request, frame)
            target.write(size + frame)
            await target.drain()


async def _main(port: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await Front(port, broker_port=port).serve(ended)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Front before the embedded Kafka broker.")
    arguments.add_argument(
        "--port", type=int, required=True, help="on 127.0.0.1, and the broker's on 127.0.0.2"
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(arguments.parse_args().port))
