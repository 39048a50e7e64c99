"""The connector of this process, as the routes need it."""

from __future__ import annotations

from collections.abc import Sequence

from salmon import __version__
from salmon.ops.connect.access import Refused
from salmon.ops.connect.bodies import ConnectorState, Expanded, Info, Status, TaskId, TaskState
from salmon.ops.connect.cluster import Cluster
from salmon.ops.connect.described import Asks, Places, Served
from salmon.ops.connect.status_topic import Process, Target


class Own:
    """What is known of the connector of this process. Its methods raise Refused for what is not there."""

    def __init__(self, served: Served) -> None:
        described = self.described = served.described
        self._served = served
        self.task = TaskId(connector=described.name, task=described.ordinal)
        self.info = Info(
            name=described.name, config=dict(described.config), tasks=[self.task], type=described.type
        )
        self._cluster = Cluster(served, self.info, self.status)

    def status(self) -> Status:
        """How it is now."""
        report, described = self._served.health.report(), self.described
        state = ConnectorState(
            state=report.state, worker_id=described.worker_id, trace=report.trace, version=__version__
        )
        task = TaskState(id=described.ordinal, **state.model_dump())
        return Status(name=described.name, connector=state, tasks=[task], type=described.type)

    def all(self, *, everywhere: bool) -> dict[str, Expanded]:
        """The connector; or all of the sync, with all their replicas."""
        if everywhere:
            return self._cluster.all()
        return {self.described.name: Expanded(info=self.info, status=self.status())}

    def one(self, name: str, *, everywhere: bool) -> Expanded:
        """The connector of that name: this one, or a fellow of the sync with all its replicas."""
        if not everywhere:
            self.in_sync(name)
        if everywhere or name != self.described.name:
            return self._cluster.one(name)
        return Expanded(info=self.info, status=self.status())

    def in_sync(self, name: str) -> None:
        """Check that a request is for a connector of the sync: any of its processes can be asked to show, pause or restart it."""
        if name not in {self.described.name, *self.described.connectors}:
            raise Refused(
                404, f"No status or connector found for {ascii(name)[1:-1]}. It is not in this sync."
            )

    def named(self, name: str) -> None:
        """Check that a request is for this connector."""
        self.in_sync(name)
        if name != self.described.name:
            its = [each.url for each in self._processes() if each.connector == name]
            where = f" Ask it itself: {', '.join(its)}." if its else ""
            raise Refused(404, f"{name}: this worker runs {self.described.name}.{where}")

    def task_state(self, name: str, number: int) -> TaskState:
        """The state of a task of the sync."""
        is_own = (name, number) == (self.described.name, self.described.ordinal)
        status = self.one(name, everywhere=not is_own).status
        for task in [] if status is None else status.tasks:
            if task.id == number:
                return task
        raise Refused(404, f"{name} has no task {number}.")

    def has_task(self, name: str, number: int) -> bool:
        """Whether a process of this number was ever there; nobody is asked."""
        known = {(each.connector, each.ordinal) for each in self._processes()}
        return (name, number) in known | {(self.described.name, self.described.ordinal)}

    def _processes(self) -> Sequence[Process]:
        return [] if self._served.asks is None else self._served.asks.processes()

    def asks(self) -> Asks:
        if self._served.asks is None:
            raise Refused(503, "This process cannot be asked for anything.")
        return self._served.asks

    def places(self) -> Places:
        if self._served.places is None:
            raise Refused(503, "This process cannot be asked for its offsets.")
        return self._served.places

    def places_to_change(self) -> Places:
        """Where it continues, if it is stopped."""
        if self.asks().target is not Target.STOPPED:
            raise Refused(
                400,
                f"Connectors must be in the STOPPED state before their offsets can be changed. Stop it first: PUT "
                f"/connectors/{self.described.name}/stop.",
            )
        return self.places()
