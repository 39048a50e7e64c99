"""The simulator as a process of its own, a person who works in it, and Salmon's tasks on it, for contract tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import requests

from salmon.model.change import Op, Value, Write, WriteOp
from salmon.model.markers import USUAL, Markers
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Position, SinkRecord, SourceRecord
from salmon.salesforce.config import SalesforceConfig
from salmon.salesforce.reading.source import SalesforceSourceTask
from salmon.salesforce.writing.sink import SalesforceSinkTask
from support.orgs import soap
from support.waiting import until

WAIT_S = 60.0
SETTLE_S = 5.0  # a keepalive tells the first position sooner
AGAIN_S = 0.3


class BoxProcess:
    """`python -m salmon.simulator`, and what a person and its control API do to it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "salmon.simulator", "--dir", str(folder), "--json"]
        command += ["--keepalive-s", "0.1", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        assert self._process.stdout is not None
        self.told: dict[str, str] = json.loads(self._process.stdout.readline())
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.verify = self.told["ca_file"]
        self._sign_in()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        assert self._process.wait(WAIT_S) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()

    def config(self, **changes: Any) -> SalesforceConfig:
        """How Salmon is to reach the box; *changes* replace top-level keys."""
        keys: dict[str, Any] = {
            "login_url": self.told["login_url"],
            "auth": {
                "flow": "jwt_bearer",
                "client_id": self.told["client_id"],
                "username": self.told["username"],
                "private_key": Path(self.told["private_key"]).read_text("ascii"),
            },
            "pubsub": {"endpoint": self.told["pubsub_endpoint"]},
            "ca_file": self.told["ca_file"],
        }
        return SalesforceConfig.model_validate({**keys, **changes})

    # A person at work.

    def create(self, name: str, **fields: Any) -> str:
        return str(self._call("POST", f"sobjects/{name}", fields).json()["id"])

    def edit(self, name: str, native_id: str, **fields: Any) -> None:
        self._call("PATCH", f"sobjects/{name}/{native_id}", fields)

    def delete(self, name: str, native_id: str) -> None:
        self._call("DELETE", f"sobjects/{name}/{native_id}")

    def show(self, name: str, native_id: str) -> Mapping[str, Any]:
        shown: Mapping[str, Any] = self._call("GET", f"sobjects/{name}/{native_id}").json()
        return shown

    def ids(self, name: str, where: str = "Id != null") -> list[str]:
        answer = self._call("GET", f"query?q=SELECT Id FROM {name} WHERE {where} ORDER BY Id").json()
        ids = [row["Id"] for row in answer["records"]]
        while "nextRecordsUrl" in answer:
            answer = self._call("GET", f"query/{answer['nextRecordsUrl'].rpartition('/')[2]}").json()
            ids.extend(row["Id"] for row in answer["records"])
        return ids

    # The control API.

    def fault(self, name: str, **parameters: Any) -> None:
        self._control("POST", "faults", {"fault": name, **parameters})

    def heal(self) -> None:
        self._control("DELETE", "faults")
        self._control("DELETE", "triggers")
        self._control("DELETE", "rules")
        self._sign_in()

    def recycle_bin(self, do: str, name: str, *ids: str) -> None:
        """Undelete records, or empty the recycle bin of them."""
        self._control("POST", "recycle_bin", {"object": name, "ids": ids, "do": do})

    def merge(self, name: str, winner: str, *losers: str, values: str = "") -> None:
        """What a person does who finds records to be the same; only SOAP can do it. *values*: see soap.merge."""
        token = str(self._http.headers["Authorization"]).removeprefix("Bearer ")
        call = soap.envelope(
            soap.merge(winner, *losers, values=values, object_name=name), soap.session(token)
        )
        url, headers = f"{self.told['instance_url']}/services/Soap/u/64.0", {"SOAPAction": "merge"}
        answer = self._http.post(url, call, headers={**headers, "Content-Type": "text/xml"}, timeout=WAIT_S)
        assert "<success>true</success>" in answer.text, answer.text

    def trigger(self, **trigger: Any) -> None:
        self._control("POST", "triggers", trigger)

    def rule(self, **rule: Any) -> None:
        self._control("POST", "rules", rule)

    def move(self, url: str) -> None:
        """The org is at another instance from now on: all sessions end."""
        self._control("POST", "instance", {"url": url})
        self.told["instance_url"] = url
        self._sign_in()

    def advance(self, seconds: float) -> None:
        self._control("POST", "clock", {"advance_s": seconds})

    def allow(self, **most: int) -> None:
        """How much the org allows in 24 hours, by the names of the limits resource."""
        self._control("POST", "allowances", most)

    def api_calls(self) -> Mapping[str, Any]:
        calls: Mapping[str, Any] = self._control("GET", "calls").json()["api"]
        return calls

    def events_delivered(self) -> int:
        return int(self._control("GET", "calls").json()["events_delivered"])

    def _sign_in(self) -> None:
        answer = self._http.post(
            f"{self.told['login_url']}/services/oauth2/token",
            {"grant_type": "client_credentials"},
            auth=(self.told["person_client_id"], self.told["person_client_secret"]),
            timeout=WAIT_S,
        )
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _call(self, method: str, path: str, body: Any = None) -> requests.Response:
        url = f"{self.told['instance_url']}/services/data/v64.0/{path}"
        answer = self._http.request(method, url, json=body, timeout=WAIT_S)
        if answer.status_code == 401:
            self._sign_in()
            answer = self._http.request(method, url, json=body, timeout=WAIT_S)
        assert answer.status_code < 300, answer.text
        return answer

    def _control(self, method: str, path: str, body: Any = None) -> requests.Response:
        answer = self._http.request(method, f"{self.told['control_url']}/{path}", json=body, timeout=WAIT_S)
        assert answer.status_code < 300, answer.text
        return answer


def configured(
    *names: str,
    direction: str = "both",
    exclude: tuple[str, ...] = (),
    polled_s: float | None = None,
    allow_duplicates: bool = False,
    assignment_rules: bool = False,
    markers: Markers = USUAL,
) -> dict[str, Any]:
    """The config's `objects`, as far as the tasks look at it. *polled_s*: they have no events, and are polled so often."""
    fields = SimpleNamespace(include=None, exclude=exclude)
    capture = SimpleNamespace(mode="cdc" if polled_s is None else "poll", every_s=polled_s)
    never = SimpleNamespace(every_s=None, after_events_s=None)
    return {
        name: SimpleNamespace(
            collection=name.lower(),
            direction=direction,
            fields=fields,
            numbers="double",
            capture=capture,
            refresh=never,
            allow_duplicates=allow_duplicates,
            assignment_rules=assignment_rules,
            paths={},
            markers=SimpleNamespace(names=markers),
            computed=lambda _: (),
        )
        for name in names
    }


class Source:
    """A source task, and what a worker would have committed of it."""

    def __init__(
        self,
        box: BoxProcess,
        *names: str,
        of: Source | None = None,
        registered: Mapping[str, ObjectSchema] | None = None,
        hold: Collection[str] = (),
        polled_s: float | None = None,
        refreshed_s: float | None = None,
        agreed: Collection[str] = (),
        settings: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        """
        *of*: an earlier source, whose committed state this one goes on from. *registered*, *hold*: as the worker hands it. *polled_s*:
        the objects have no events, and are polled so often. *refreshed_s*: how long after an event its record is read again.
        *agreed*: the keys that `records` has. *settings*: of each object.
        """
        self.box = box
        self.positions: dict[str, Position] = dict(of.positions) if of else {}
        self.identities: dict[str, dict[str, str]] = (
            {n: dict(m) for n, m in of.identities.items()} if of else {}
        )
        self.told: list[SourceRecord] = []
        self.answered: set[int] = set()
        objects = configured(*(names or ("Account", "Contact")), polled_s=polled_s, **(settings or {}))
        for each in objects.values():
            each.refresh = SimpleNamespace(every_s=None, after_events_s=refreshed_s)
        self.task = SalesforceSourceTask(
            box.config(**changes), objects, "crm", settle_s=SETTLE_S, again_s=AGAIN_S
        )
        if registered is not None:
            self.task.use_registered(registered)
        if hold:
            self.task.connect()
            self.task.hold(hold)
        self.task.use_records(lambda _: agreed)
        self.task.start(self.positions, self.identities)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.task.stop()
        self.task.close()

    def poll(self, timeout_s: float = 0.1) -> None:
        """Poll once and commit."""
        batch = self.task.poll(timeout_s)
        for partition, position in batch.positions.items():
            if position is None:
                self.positions.pop(partition, None)
            else:
                self.positions[partition] = json.loads(json.dumps(position))
        for identity in batch.identities:
            assert identity.key is not None
            self.identities.setdefault(identity.object, {})[identity.native_id] = identity.key
        self.told.extend(batch.records)
        self.answered |= batch.answered
        assert not batch.dead_letters

    def until(self, reached: Callable[[], object]) -> None:
        """Poll until *reached*, for a bounded time."""
        until(reached, within_s=WAIT_S, seen=lambda: self.seen()[-10:], between=self.poll)

    def through_snapshots(self) -> Self:
        """Poll until every object is read, and the org's clock has passed the windows of that."""
        self.until(lambda: (runs := self.task.progress()) and all(run.done for run in runs))
        self.box.advance(10)
        return self

    def seen(self) -> list[tuple[str, Op]]:
        """What was told, as (key, op)."""
        return [(record.key, record.change.op) for record in self.told]

    def of(self, key: str) -> list[SourceRecord]:
        """What was told of one key."""
        return [record for record in self.told if record.key == key]

    def news(self) -> Iterator[SourceRecord]:
        """See news_of."""
        return news_of(self.told)

    def view(self) -> dict[str, dict[str, Value]]:
        """See view_of."""
        return view_of(self.told)


def view_of(told: Sequence[SourceRecord]) -> dict[str, dict[str, Value]]:
    """The records as somebody sees them who folds rows and events in the order told."""
    view: dict[str, dict[str, Value]] = {}
    for record in news_of(told):
        change = record.change
        match change.op:
            case Op.ROW | Op.CREATE:
                view[record.key] = dict(change.fields)
            case Op.UPDATE:
                assert change.changed is not None
                row = view.setdefault(record.key, {})
                for name in change.changed:
                    row.pop(name, None)
                row.update(change.fields)
            case Op.DELETE | Op.ABSENT:
                view.pop(record.key, None)
    return view


def news_of(told: Sequence[SourceRecord]) -> Iterator[SourceRecord]:
    """
    What was told, without what the fold's first rule knows already: events that an earlier row of their key covers,
    of a row that is older than an event before it, the fields that the events told of, and rows that are older than another row or
    than the record's end.
    """
    ended: set[str] = set()
    covered: dict[str, int] = {}
    heard: dict[str, int] = {}
    spoken: dict[str, set[str]] = {}
    for record in told:
        key, change = record.key, record.change
        if change.as_of is None:
            if change.commit_time <= covered.get(key, -1):
                continue
            heard[key] = change.commit_time
            (ended.add if change.op is Op.DELETE else ended.discard)(key)
            spoken.setdefault(key, set()).update(change.changed or change.fields)
        else:
            if change.as_of < covered.get(key, -1):
                continue
            covered[key] = change.as_of
            if change.op is Op.ROW and change.as_of < heard.get(key, -1):
                if key in ended:
                    continue
                unknown = {n: v for n, v in change.fields.items() if n not in spoken[key]}
                old = replace(change, op=Op.UPDATE, changed=frozenset(unknown), fields=unknown)
                record = replace(record, change=old)  # noqa: PLW2901
        yield record


class Known:
    """Identities as a worker keeps them; tests fill it from a source."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, str], str] = {}

    def native_id(self, object: str, key: str) -> str | None:  # noqa: A002
        return self.ids.get((object, key))

    def key(self, object: str, native_id: str) -> str | None:  # noqa: A002
        return next(
            (key for (name, key), known in self.ids.items() if (name, known) == (object, native_id)), None
        )


def started_sink(
    box: BoxProcess,
    source: Source,
    *,
    clean: bool = True,
    polled_s: float | None = None,
    settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> SalesforceSinkTask:
    """A sink task on the objects of *source*. *settings*: of each object."""
    schemas = source.task.schemas()
    objects = configured(*schemas, polled_s=polled_s, **(settings or {}))
    task = SalesforceSinkTask(box.config(**changes), objects, "crm", again_s=AGAIN_S)
    task.start(schemas, Known(), clean=clean)
    return task


def write(
    op: WriteOp,
    name: str,
    key: str,
    seq: int,
    *,
    native_id: str | None = None,
    expected: int = 0,
    **fields: Value,
) -> SinkRecord:
    """A write with its object and key."""
    return SinkRecord(name, key, Write(seq, op, expected, native_id, fields))
