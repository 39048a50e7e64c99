"""
All connectors of the sync, as their processes report them: what any worker answers to `?cluster=true`.

The processes are found through the status topic and asked all at once, within a bounded time. One that does not answer is shown
as UNASSIGNED, or as FAILED if that was its last word.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Final

import requests
from pydantic import ValidationError

from salmon.ops.connect.access import Refused
from salmon.ops.connect.bodies import ConnectorState, Expanded, Info, Status, TaskId, TaskState
from salmon.ops.connect.described import Served
from salmon.ops.connect.status_topic import Process
from salmon.ops.health import State
from salmon.ops.tls import Tls

ANSWER_MAX_S: Final = 2.0
# A process that has not answered for so long since its last word was removed, e.g. because there are fewer replicas now.
REMEMBERED_MS: Final = 24 * 3600 * 1000
_LIST: Final = "/connectors?expand=status&expand=info"


class Cluster:
    """
    Args:
        info, status: What this process says of itself.
        wall_clock: Seconds since 1970.
    """

    def __init__(
        self,
        served: Served,
        info: Info,
        status: Callable[[], Status],
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._served, self._info, self._status = served, info, status
        self._wall_clock = wall_clock

    def all(self) -> dict[str, Expanded]:
        """Every connector of the sync, by name."""
        asks, own = self._served.asks, self._served.described
        known = [] if asks is None else asks.processes()
        others = [each for each in known if (each.connector, each.ordinal) != (own.name, own.ordinal)]
        answers: list[tuple[Process | None, Expanded | None]] = [
            (None, Expanded(info=self._info, status=self._status())),
            *self._asked(others),
        ]
        return {
            name: _gathered(name, [pair for pair in answers if _name_of(*pair) == name], now_ms)
            for now_ms in [int(self._wall_clock() * 1000)]
            for name in dict.fromkeys([*own.connectors, own.name, *(each.connector for each in others)])
        }

    def one(self, name: str) -> Expanded:
        """One connector of the sync. Raises Refused: there is none of this name."""
        found = self.all().get(name)
        if found is None:
            raise Refused(404, f"No status or connector found for {name}. It is not in this sync.")
        return found

    def _asked(self, processes: Sequence[Process]) -> list[tuple[Process | None, Expanded | None]]:
        if not processes:
            return []
        pool = ThreadPoolExecutor(len(processes), thread_name_prefix="ask")
        asked = [pool.submit(self._ask, each) for each in processes]
        wait(asked, ANSWER_MAX_S)
        pool.shutdown(wait=False, cancel_futures=True)
        return [
            (process, answer.result() if answer.done() else None)
            for process, answer in zip(processes, asked, strict=True)
        ]

    def _ask(self, process: Process) -> Expanded | None:
        """What a process says of itself; None if it, or its successor at the same address, does not answer as we expect."""
        fetch = self._served.fetch or fetched
        try:
            root = fetch(f"{process.url}/", {})
            if root.get("sync") != self._served.described.sync:
                return None  # another program has the address now; our credentials are not for it
            if (root.get("connector"), root.get("ordinal")) != (process.connector, process.ordinal):
                return None
            found = fetch(f"{process.url}{_LIST}", self._served.access.headers())
            return Expanded.model_validate(found[process.connector])
        except (requests.RequestException, AttributeError, KeyError, TypeError, ValidationError, ValueError):
            return None


def fetched(url: str, headers: Mapping[str, str], *, tls: Tls | None = None) -> Any:
    """The JSON at an address. Raises RequestException, ValueError."""
    how = {} if tls is None else tls.of_client()
    answer = requests.get(url, headers=dict(headers), timeout=ANSWER_MAX_S, allow_redirects=False, **how)
    answer.raise_for_status()
    return answer.json()


def _name_of(process: Process | None, answer: Expanded | None) -> str:
    if process is not None:
        return process.connector
    assert answer is not None
    assert answer.info is not None
    return answer.info.name


def _gathered(name: str, answers: Sequence[tuple[Process | None, Expanded | None]], now_ms: int) -> Expanded:
    """Put together what the replicas of one connector say."""
    tasks: dict[int, TaskState] = {}
    infos = [answer.info for _, answer in answers if answer is not None and answer.info is not None]
    for process, answer in answers:
        if answer is not None and answer.status is not None:
            tasks |= {task.id: task for task in answer.status.tasks}
        elif process is not None and now_ms - process.at_ms < REMEMBERED_MS:
            tasks[process.ordinal] = _silent(process)
    ordered = [tasks[number] for number in sorted(tasks)]
    leader = next((task for task in ordered if task.state == State.RUNNING), None) or next(
        iter(ordered), None
    )
    state = ConnectorState(state=State.UNASSIGNED, worker_id="")
    if leader is not None:
        state = ConnectorState(**leader.model_dump(exclude={"id"}))
    kind = infos[0].type if infos else "unknown"
    ids = [TaskId(connector=name, task=number) for number in sorted(tasks)]
    config = infos[0].config if infos else {"name": name}
    return Expanded(
        info=Info(name=name, config=config, tasks=ids, type=kind),
        status=Status(name=name, connector=state, tasks=ordered, type=kind),
    )


def _silent(process: Process) -> TaskState:
    failed = process.state == State.FAILED
    return TaskState(
        id=process.ordinal,
        state=State.FAILED if failed else State.UNASSIGNED,
        worker_id=process.worker_id,
        trace=process.trace if failed else None,
    )
