"""The back end of an app for people who visit customers. It speaks to Salmon's API, and knows nothing of Salesforce."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import requests
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

API: Final = f"http://127.0.0.1:{os.environ.get('API_PORT', '8090')}/api/v1"
PORT: Final = int(os.environ.get("BACKEND_PORT", "8095"))
KEY: Final = {"X-API-Key": os.environ["APP_KEY"]}
SYNCED: Final = {"Prefer": "wait=synced; timeout=10"}
INPUTS: Final = {"first": "FirstName", "last": "LastName", "email": "Email", "phone": "Phone"}
NAMES: Final = {field: name for name, field in INPUTS.items()}
Said = dict[str, Any]
phones: set[asyncio.Queue[str]] = set()


def ask(method: str, path: str, headers: dict[str, str], said: Said | None = None) -> requests.Response:
    """Ask the API; while it is away or busy, ask again. With an Idempotency-Key, a repetition creates nothing."""
    body = said and {field: said[name] for name, field in INPUTS.items() if name in said}
    for is_last in (False, False, False, True):
        try:
            answer = requests.request(method, API + path, headers=KEY | headers, json=body, timeout=30)
            if is_last or "Retry-After" not in answer.headers:
                break
            time.sleep(float(answer.headers["Retry-After"]))
        except requests.ConnectionError:
            if is_last:
                raise
            time.sleep(1)
    return answer


def at(key: str) -> str:
    """The path of a contact. A key may have any character."""
    return f"/Contact/{quote(key, safe='')}"


def shown(answer: requests.Response) -> Said:
    record = answer.json()
    known = {"key": record["_key"], "state": record["_sync"]["state"], "version": answer.headers["ETag"]}
    return known | {name: record.get(field) for name, field in INPUTS.items()}


def answered(answer: requests.Response) -> JSONResponse:
    """What the phone gets: the contact, or which of its inputs is wrong, and why."""
    if answer.ok:
        return JSONResponse(shown(answer), answer.status_code)
    problem = answer.json()
    faults = [fault | {"field": NAMES.get(fault["field"])} for fault in problem.get("errors", [])]
    said = {"key": problem.get("key"), "says": problem["detail"], "wrong": faults}
    return JSONResponse(said, answer.status_code)


def create(_key: str, said: Said) -> JSONResponse:
    return answered(ask("POST", "/Contact", SYNCED | {"Idempotency-Key": said["request_id"]}, said))


def change(key: str, said: Said) -> JSONResponse:
    answer = ask("PATCH", at(key), SYNCED | {"If-Match": said.get("version", "*")}, said)
    if answer.status_code != 412:
        return answered(answer)
    says = "Somebody else has changed this contact. Look at it, and decide again."
    return JSONResponse({"says": says, "now": shown(ask("GET", at(key), {}))}, 412)


def follow(loop: asyncio.AbstractEventLoop) -> None:
    """Say each change of a contact to the phones that listen. A stream that ends is taken up where it was."""
    url, last = f"{API}/changes?objects=Contact", dict[str, str]()
    while True:
        try:
            with requests.get(url, headers=KEY | last, stream=True, timeout=60) as stream:
                for line in stream.iter_lines(decode_unicode=True):
                    name, _, text = line.partition(": ")
                    if name == "id":
                        last = {"Last-Event-ID": text}
                    for phone in tuple(phones) if name == "data" else ():
                        loop.call_soon_threadsafe(phone.put_nowait, json.loads(text)["key"])
        except requests.RequestException as error:
            print(f"The stream ended ({type(error).__name__}); it is opened again.")
        time.sleep(1)


async def pushed() -> AsyncIterator[str]:
    """To one phone: the keys of the contacts that it should load again."""
    mine = asyncio.Queue[str]()
    phones.add(mine)
    try:
        while True:
            yield f"data: {await mine.get()}\n\n"
    finally:
        phones.discard(mine)


async def contacts(request: Request) -> JSONResponse:
    key = request.path_params.get("key", "")
    if request.method == "GET":
        return answered(await run_in_threadpool(ask, "GET", at(key), {}))
    act = create if request.method == "POST" else change
    return await run_in_threadpool(act, key, await request.json())


async def serve() -> None:
    threading.Thread(target=follow, args=[asyncio.get_running_loop()], daemon=True).start()
    app = Starlette()
    app.add_route("/contacts", contacts, ["POST"])
    app.add_route("/contacts/{key}", contacts, ["GET", "PATCH"])
    app.add_route("/push", lambda _: StreamingResponse(pushed(), media_type="text/event-stream"))
    await uvicorn.Server(uvicorn.Config(app, port=PORT, timeout_graceful_shutdown=2)).serve()


if __name__ == "__main__":
    asyncio.run(serve())
