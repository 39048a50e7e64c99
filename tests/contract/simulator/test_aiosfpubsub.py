"""aiosfpubsub 0.0.6, unchanged, on the simulated org: each of its calls."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import certifi
import pytest

from support.orgs.boxes import Box
from support.orgs.event_box import ACCOUNTS

# It ships no types, and its generated code of the public proto lives beside ours in one process.
aiosfpubsub: Any = importlib.import_module("aiosfpubsub")


@pytest.fixture
def client(box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """
    Signed in by SOAP, as it does. It trusts SSL_CERT_FILE for HTTP; for gRPC it reads certifi's file and no variable, so that
    its users add the certificate to that file. Here it is a copy, because other tests have the file, too.
    """
    told = box.simulator.endpoints
    roots = tmp_path / "cacert.pem"
    roots.write_bytes(Path(certifi.where()).read_bytes() + Path(told.ca_file).read_bytes())
    monkeypatch.setattr(certifi, "where", lambda: str(roots))
    monkeypatch.setenv("SSL_CERT_FILE", told.ca_file)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    host, _, port = told.pubsub_endpoint.partition(":")
    password = told.password + told.security_token
    one = aiosfpubsub.Client(told.login_url, told.username, password, host, int(port))
    one.auth()
    return one


def heard(
    client: Any, events: int, replay_type: str, replay_id: bytes | None = None, topic: str = ACCOUNTS
) -> list[Any]:
    """What its subscribe() hands to a callback, until there are so many events."""
    found: list[Any] = []

    async def listen() -> None:
        done = asyncio.Event()

        def callback(response: Any, _client: Any) -> None:
            found.extend(response.events)
            if len(found) >= events:
                done.set()

        task = asyncio.create_task(client.subscribe(topic, replay_type, replay_id, events, callback))
        await asyncio.wait({task, asyncio.create_task(done.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        task.cancel()

    asyncio.run(asyncio.wait_for(listen(), 30))
    return found


def test_it_signs_in_and_asks_for_topics_and_schemas(client: Any, box: Box) -> None:
    """auth, get_topic, get_schema_json."""
    assert client.tenant_id.startswith(box.org.org_id[:15])
    topic = client.get_topic(ACCOUNTS)
    assert (topic.topic_name, topic.can_subscribe) == (ACCOUNTS, True)
    assert '"name":"AccountChangeEvent"' in client.get_schema_json(topic.schema_id)


def test_it_hears_from_the_beginning_and_from_an_id_and_decodes(client: Any, box: Box) -> None:
    """subscribe with EARLIEST and CUSTOM; decode with Apache's own avro library."""
    for name in ("A", "B"):
        box.create("Account", Name=name, BillingCity="Ulm")
    first, second = heard(client, 2, "EARLIEST")
    body = client.decode(client.get_schema_json(first.event.schema_id), first.event.payload)
    assert (body["Name"], body["BillingAddress"]["City"]) == ("A", "Ulm")
    assert body["ChangeEventHeader"]["changeType"] == "CREATE"
    [again] = heard(client, 1, "CUSTOM", first.replay_id)
    assert again.event.id == second.event.id


def test_it_hears_platform_events(client: Any, box: Box) -> None:
    """Published over REST; the payload has what the publisher set, who it was, and null for the rest."""
    shipped = {"event": "Order_Shipped__e", "fields": {"Number__c": "Text", "Weight__c": "Number"}}
    box.control("POST", "/events", shipped).raise_for_status()
    assert box.call("POST", "sobjects/Order_Shipped__e", {"Number__c": "7"}).status_code == 201
    [event] = heard(client, 1, "EARLIEST", topic="/event/Order_Shipped__e")
    body = client.decode(client.get_schema_json(event.event.schema_id), event.event.payload)
    assert (body["Number__c"], body["Weight__c"]) == ("7", None)
    assert body["CreatedById"] == box.org.integration_user.user_id


def test_it_hears_what_happens_from_now_on(client: Any, box: Box) -> None:
    """subscribe with LATEST: an account is made as soon as the stream is open."""

    async def play() -> list[Any]:
        found: asyncio.Queue[Any] = asyncio.Queue()
        before = box.simulator.bus.streams

        def callback(response: Any, _client: Any) -> None:
            for each in response.events:
                found.put_nowait(each)

        task = asyncio.create_task(client.subscribe(ACCOUNTS, "LATEST", None, 1, callback))
        await asyncio.to_thread(_opened, box, before)
        await asyncio.to_thread(box.create, "Account", Name="Now")
        event = await asyncio.wait_for(found.get(), 30)
        task.cancel()
        return [event]

    [event] = asyncio.run(play())
    body = client.decode(client.get_schema_json(event.event.schema_id), event.event.payload)
    assert body["Name"] == "Now"


def _opened(box: Box, before: int) -> None:
    bus = box.simulator.bus
    with bus.changed:
        assert bus.changed.wait_for(lambda: bus.streams > before, 30)
