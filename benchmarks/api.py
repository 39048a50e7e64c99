"""
How many reads per second does the API answer, how fast, and in how much memory, beside a bare handler on the same server and driver?

The bare handler is pymongo and Starlette alone: find_one by `_id`, or a page by find, and JSON. It checks nothing, converts nothing and knows no
one. Both are processes of their own on one mongod, asked by the same clients in the same run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import OBJECT, Watched, key_of, machine, row_of, save, sync_on, versions, watched_in
from pymongo import MongoClient

from salmon.devstack.mongod import mongo
from salmon.mongodb.documents import DocumentShape
from salmon.ports import free_ports

FIELDS: Final = 40
PAGE: Final = 50
API: Final = "/api/v1/Account"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, default=20_000)
    options.add_argument("--seconds", type=float, default=10.0, help="for each measurement")
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--bare", nargs=2, metavar=("URI", "PORT"), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.bare:
        serve_bare(chosen.bare[0], int(chosen.bare[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = mongo(folder / "mongodb", folder / "mongodb.log")
        server.start()
        try:
            measure(server.uri, folder, chosen)
        finally:
            server.stop()


def measure(uri: str, folder: Path, chosen: argparse.Namespace) -> None:
    port, bare_port = free_ports(2)
    free = {"port": port, "rate_per_s": 100_000, "rate_burst": 1_000_000}
    settings = {"mongodb": {"uri": uri, "database": "bench"}, "api": free}
    found: dict[str, dict[str, Any]] = {}
    with sync_on("embedded", folder, fields=FIELDS, more=settings) as sync:
        fill(uri, DocumentShape(sync.schema, frozenset({OBJECT})), chosen.records)
        ours = [sys.executable, "-m", "salmon", "run", "api", "-c", str(sync.path)]
        bare = [sys.executable, "-m", "benchmarks.api", "--bare", uri, str(bare_port)]
        with served(ours, port, folder) as api, served(bare, bare_port, folder) as other:
            for what, path in (("one", "{key}"), ("page", "")):
                for who, process, number, root in (
                    ("salmon", api, port, API),
                    ("bare", other, bare_port, "/accounts"),
                ):
                    address = f"{root}/{path}" if path else f"{root}?limit={PAGE}"
                    found.setdefault(what, {})[who] = asked(process, number, address, chosen)
    ratios = {
        f"ratio_of_{measure}": {
            what: round(each["salmon"][measure] / each["bare"][measure], 2) for what, each in found.items()
        }
        for measure in ("reads_a_second", "reads_a_cpu_second")
    }
    save(
        "api",
        {
            "question": (__doc__ or "").strip().splitlines()[0],
            "machine": machine(),
            "versions": versions("fastapi", "starlette", "uvicorn", "pymongo"),
            "records": chosen.records,
            "fields": FIELDS,
            "clients": chosen.clients,
            "page": PAGE,
            "reads": found,
            **ratios,
        },
    )


def fill(uri: str, shape: DocumentShape, count: int) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    documents = [shape.document(key_of(n), row_of(shape.schema, n), n + 1) for n in range(count)]
    client["bench"]["accounts"].insert_many(documents)
    client.close()


@contextmanager
def served(command: list[str], port: int, folder: Path) -> Iterator[Watched]:
    with watched_in(command, folder / f"{port}.log") as process:
        process.until(lambda: answers(port), within_s=60)
        yield process


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def asked(process: Watched, port: int, address: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Ask from several threads, each on one connection, for so many seconds."""
    took: list[float] = []
    ends_at = time.monotonic() + chosen.seconds

    def ask(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        number = first
        while (began := time.monotonic()) < ends_at:
            connection.request("GET", address.format(key=key_of(number * 7919 % chosen.records)))
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            took.append(time.monotonic() - began)
            number += chosen.clients
        connection.close()

    before = process.usage()
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(chosen.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = process.usage()
    quantiles = statistics.quantiles(took, n=100)
    return {
        "reads_a_second": round(len(took) / (after.at_s - before.at_s)),
        "reads_a_cpu_second": round(len(took) / (after.cpu_s - before.cpu_s)),
        "p50_ms": round(quantiles[49] * 1000, 2),
        "p99_ms": round(quantiles[98] * 1000, 2),
        "rss_mib": round(after.rss_mib),
    }


def serve_bare(uri: str, port: int) -> None:
    """The baseline."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    accounts = MongoClient[dict[str, Any]](uri)["bench"]["accounts"]

    def written(content: Any) -> Response:
        return Response(json.dumps(content, default=str), media_type="application/json")

    def one(request: Request) -> Response:
        return written(accounts.find_one({"_id": request.path_params["key"]}))

    def page(request: Request) -> Response:
        return written(list(accounts.find().sort("_id", 1).limit(int(request.query_params["limit"]))))

    def ready(_: Request) -> Response:
        return PlainTextResponse("ready")

    routes = [Route("/accounts/{key}", one), Route("/accounts", page), Route("/health/ready", ready)]
    uvicorn.run(
        Starlette(routes=routes),
        host="127.0.0.1",
        port=port,
        http="h11",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
