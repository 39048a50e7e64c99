"""
The faults of the control API that concern the event bus.

Each is in the org's fault registry (salmon.simulator.org.faults). `lose_events`, `gap`, `wildcard` and `overflow` affect the
next events; the others act on the bus at once. Clearing the faults ends all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Condition
from typing import Any, Protocol

from salmon.simulator.events.cdc import ChangeEvent
from salmon.simulator.events.cdc_schema import can_be_selected
from salmon.simulator.org.faults import BadFault

Params = Mapping[str, Any]


class Faults(Protocol):
    """What this module needs of the fault registry."""

    def on(self, name: str, handler: Callable[[Params], None]) -> None: ...
    def on_clear(self, handler: Callable[[], None]) -> None: ...
    def active(self, name: str, **match: Any) -> Params | None: ...
    def take(self, name: str, **match: Any) -> Params | None: ...


class Bus(Protocol):
    """What can be done to the event bus (salmon.simulator.events.eventbus)."""

    @property
    def changed(self) -> Condition: ...
    def cut_streams(self) -> None: ...
    def silence(self, seconds: float) -> None: ...
    def repeat(self, events: int) -> None: ...
    def expire(self) -> None: ...
    def renumber(self) -> None: ...
    def select(self, entity: str, *, on: bool) -> None: ...


@dataclass(slots=True)
class _Ambush:
    effect: Callable[[ChangeEvent], ChangeEvent | None]
    entity: str | None  # None: whatever object comes
    left: int


class EventFaults:
    """The faults of one bus. *objects* names the objects of the org, which `object` must be one of."""

    def __init__(self, bus: Bus, faults: Faults, objects: Callable[[], tuple[str, ...]]) -> None:
        self._bus = bus
        self._objects = objects
        self._ambushes: list[_Ambush] = []
        faults.on("cut_streams", lambda _params: bus.cut_streams())
        faults.on("silence", lambda params: bus.silence(_seconds("silence", params)))
        faults.on("repeat_events", lambda params: bus.repeat(_count("repeat_events", params)))
        faults.on("expire_replay", lambda _params: bus.expire())
        faults.on("corrupt_replay", lambda _params: bus.renumber())
        faults.on("cdc", self._select)
        faults.on("lose_events", self._ambush("lose_events", lambda _event: None))
        faults.on("gap", self._ambush("gap", ChangeEvent.as_gap))
        faults.on("wildcard", self._ambush("wildcard", ChangeEvent.as_wildcard))
        faults.on("overflow", self._ambush("overflow", ChangeEvent.as_overflow))
        faults.on_clear(self._clear)

    def strike(self, event: ChangeEvent) -> ChangeEvent | None:
        """Return the event to publish in place of this one; None if it is lost. Called with the bus's lock held."""
        for ambush in self._ambushes:
            if ambush.entity in {None, event.schema.entity}:
                ambush.left -= 1
                if ambush.left == 0:
                    self._ambushes.remove(ambush)
                return ambush.effect(event)
        return event

    def _ambush(
        self, fault: str, effect: Callable[[ChangeEvent], ChangeEvent | None]
    ) -> Callable[[Params], None]:
        def lie_in_wait(params: Params) -> None:
            ambush = _Ambush(effect, self._entity(fault, params), _count(fault, params))
            with self._bus.changed:
                self._ambushes.append(ambush)

        return lie_in_wait

    def _select(self, params: Params) -> None:
        entity, on = self._entity("cdc", params), params.get("on")
        if entity is None or not isinstance(on, bool):
            raise BadFault("cdc: needs object, and on as true or false")
        if on and not can_be_selected(entity):
            raise BadFault(f"cdc: Change Data Capture cannot be switched on for {entity}")
        self._bus.select(entity, on=on)

    def _clear(self) -> None:
        with self._bus.changed:
            self._ambushes.clear()
        self._bus.silence(0)
        self._bus.repeat(0)
        for entity in self._objects():
            self._bus.select(entity, on=True)

    def _entity(self, fault: str, params: Params) -> str | None:
        entity = params.get("object")
        if entity is not None and entity not in self._objects():
            raise BadFault(f"{fault}: the org has no object {entity!r}")
        return entity


def _count(fault: str, params: Params) -> int:
    count = params.get("count", 1)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise BadFault(f"{fault}: count must be a whole number of at least 1")
    return count


def _seconds(fault: str, params: Params) -> float:
    seconds = params.get("s")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
        raise BadFault(f"{fault}: s must be a number of seconds, 0 or more")
    return float(seconds)
