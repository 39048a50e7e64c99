"""
How many row writes and events per second does the simulated org carry on one core, and how many records fit in 1.5 GB?

The real process (`salmon simulator`) gets Collections of 200 over TLS from one client, then a subscriber reads all the events
that came of them; both rates are for each second of the process's CPU time, which a busy machine does not change. The same
client gives the same requests to a bare server in the same run (uvicorn and gRPC that do no work and answer as many bytes),
so the ratio says what the org itself costs. Last, a process is started with so many records, and its memory is looked at.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import requests
import uvicorn
from benchmarks import measuring
from benchmarks.measuring import Watched
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2
from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2_grpc
from salmon.simulator.tls import make_certificates

stubs: Any = pubsub_api_pb2_grpc  # generated, without types
A_CALL: Final = 200
OWED: Final = 100
CHANGES: Final = "/data/ChangeEvents"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--writes", type=int, default=40_000, help="rows written, and events read")
    options.add_argument("--records", type=int, default=1_000_000, help="of three objects together")
    options.add_argument("--bare", type=Path, help=argparse.SUPPRESS)  # be the baseline, in this folder
    chosen = options.parse_args()
    if chosen.bare is not None:
        bare(chosen.bare)
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        counts = ["--records", f"Contact={A_CALL * 25}"]
        with org(folder / "org", counts) as (process, told):
            real = carried(process, told, chosen.writes)
        with started(folder / "bare", ["-m", "benchmarks.simulator", "--bare", str(folder / "bare")]) as (
            process,
            told,
        ):
            baseline = carried(process, told, chosen.writes)
        memory = filled(folder / "large", chosen.records)
    measuring.save(
        "simulator",
        {
            "question": " ".join((__doc__ or "").strip().splitlines()[0].split()),
            "machine": measuring.machine(),
            "versions": measuring.versions("grpcio", "uvicorn", "fastavro"),
            "rows_and_events": chosen.writes,
            "simulator": real,
            "bare_servers": baseline,
            "ratio": {
                name: round(real[name]["a_cpu_second"] / baseline[name]["a_cpu_second"], 2) for name in real
            },
            "memory": memory,
        },
    )


@contextmanager
def started(folder: Path, arguments: list[str]) -> Iterator[tuple[Watched, dict[str, Any]]]:
    """A process that prints where it is as one line of JSON, in a file."""
    folder.mkdir()
    log = folder / "log"
    process = Watched([sys.executable, *arguments], log)
    try:
        process.until(lambda: any(line.startswith("{") for line in lines(log)))
        yield process, json.loads(next(line for line in lines(log) if line.startswith("{")))
    finally:
        process.stop()


def org(folder: Path, counts: list[str]) -> Any:
    """The simulated org with so many records."""
    return started(folder, ["-m", "salmon.simulator", "--dir", str(folder), "--json", *counts])


def lines(log: Path) -> list[str]:
    text = log.read_text() if log.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def carried(process: Watched, told: dict[str, Any], count: int) -> dict[str, Any]:
    """Both rates of one server."""
    http, token = signed_in(told)
    base = f"{told['instance_url']}/services/data/v64.0"
    found = http.get(f"{base}/query?q=SELECT+Id+FROM+Contact").json()["records"]
    ids = [record["Id"] for record in found]
    writes = timed(process, count, lambda: written(http, f"{base}/composite/sobjects", ids, count))
    events = timed(process, count, lambda: heard(told, token, count))
    return {"row_writes": writes, "events": events}


def signed_in(told: dict[str, Any], app: str = "") -> tuple[requests.Session, str]:
    """A session, and its token. *app*: "person_" for an ordinary user's."""
    http = requests.Session()
    http.verify, http.trust_env = told["ca_file"], False
    token = http.post(
        f"{told['login_url']}/services/oauth2/token",
        {"grant_type": "client_credentials"},
        auth=(told[f"{app}client_id"], told[f"{app}client_secret"]),
    ).json()["access_token"]
    http.headers["Authorization"] = f"Bearer {token}"
    return http, token


def timed(process: Watched, count: int, work: Callable[[], None]) -> dict[str, Any]:
    before = process.usage()
    work()
    after = process.usage()
    return {
        "a_cpu_second": round(count / (after.cpu_s - before.cpu_s)),
        "a_second": round(count / (after.at_s - before.at_s)),
    }


def written(http: requests.Session, url: str, ids: list[str], count: int) -> None:
    """Updates of three fields of each, in calls of 200."""
    for start in range(0, count, A_CALL):
        records = [
            {
                "attributes": {"type": "Contact"},
                "Id": ids[number % len(ids)],
                "Title": f"Engineer {number}",
                "Phone": f"555 {number}",
                "Salmon_Seq__c": number,
            }
            for number in range(start, start + A_CALL)
        ]
        answer = http.patch(url, json={"allOrNone": False, "records": records})
        assert all(each["success"] for each in answer.json()), answer.text[:500]


def heard(told: dict[str, Any], token: str, count: int) -> None:
    """Read so many events from the beginning; it asks before it has nothing left to come."""
    credentials = grpc.ssl_channel_credentials(Path(told["ca_file"]).read_bytes())
    asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    metadata = (("accesstoken", token), ("instanceurl", told["instance_url"]), ("tenantid", told["org_id"]))
    with grpc.secure_channel(told["pubsub_endpoint"], credentials) as channel:
        call = stubs.PubSubStub(channel).Subscribe(iter(asked.get, None), metadata=metadata)
        earliest = pb2.ReplayPreset.EARLIEST
        asked.put(pb2.FetchRequest(topic_name=CHANGES, replay_preset=earliest, num_requested=OWED))
        left = count
        for response in call:
            left -= len(response.events)
            if left <= 0:
                break
            if response.events:
                asked.put(pb2.FetchRequest(num_requested=len(response.events)))
        call.cancel()
        asked.put(None)


def filled(folder: Path, records: int) -> dict[str, Any]:
    """Start with so many records, and look at the process."""
    shares = {"Account": 4, "Contact": 2, "Opportunity": 4}
    counts = [part for name, each in shares.items() for part in ("--records", f"{name}={records // each}")]
    began = time.monotonic()
    with org(folder, counts) as (process, _told):
        usage = process.usage()
    return {
        "records": records,
        "rss_mib": round(usage.rss_mib),
        "rss_max_mib": round(usage.rss_max_mib),
        "bytes_a_record": round(usage.rss_mib * 1024 * 1024 / records),
        "start_s": round(time.monotonic() - began, 1),
        "start_cpu_s": round(usage.cpu_s, 1),
    }


# The baseline: servers that do nothing but answer.


def bare(folder: Path) -> None:
    """Serve until SIGTERM: collections are parsed and answered, events are always the same."""
    certificates = make_certificates(folder)
    ids = [f"003Sm0000{number:09}" for number in range(A_CALL * 25)]
    result = {"id": ids[0], "success": True, "errors": []}

    async def answer(request: Request) -> Response:
        if request.url.path.endswith("token"):
            content: Any = {"access_token": "x"}
        elif request.url.path.endswith("query"):
            content = {"records": [{"Id": each} for each in ids]}
        else:
            content = [result for _ in json.loads(await request.body())["records"]]
        return Response(json.dumps(content), media_type="application/json")

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PATCH"])])
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        ssl_certfile=str(certificates.chain_file),
        ssl_keyfile=str(certificates.key_file),
    )
    server = uvicorn.Server(config)
    pair = (certificates.key_file.read_bytes(), certificates.chain_file.read_bytes())
    events = grpc.server(ThreadPoolExecutor(4))
    stubs.add_PubSubServicer_to_server(Same(), events)
    port = events.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    events.start()

    def tell() -> None:
        while not server.started:
            time.sleep(0.01)
        url = f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        told = {
            "login_url": url, "instance_url": url, "client_id": "x", "client_secret": "x", "org_id": "x",
            "ca_file": str(certificates.ca_file), "pubsub_endpoint": f"127.0.0.1:{port}",
        }  # fmt: skip
        print(json.dumps(told), flush=True)

    threading.Thread(target=tell, daemon=True).start()
    server.run()
    events.stop(None)


class Same(stubs.PubSubServicer):  # type: ignore[misc]
    """Gives each request as many events as it asks for, all of them one and the same."""

    def Subscribe(self, request_iterator: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        for request in request_iterator:
            response = pb2.FetchResponse(latest_replay_id=b"0" * 10, rpc_id="x" * 36)
            for _ in range(request.num_requested):
                consumed = response.events.add(replay_id=b"0" * 10)
                consumed.event.id, consumed.event.schema_id = "x" * 36, "x" * 22
                consumed.event.payload = b"x" * 300
            yield response


if __name__ == "__main__":
    main()
