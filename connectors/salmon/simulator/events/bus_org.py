"""What the event bus needs of the org."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from salmon.simulator.events.event_faults import Faults
from salmon.simulator.org.channels import Channels
from salmon.simulator.org.objects.platform_events import PlatformEvents
from salmon.simulator.org.transaction import Row, Transaction


class Clock(Protocol):
    """What the bus needs of the org's clock."""

    def now_ms(self) -> int: ...


class Usage(Protocol):
    """Where the bus counts what it hands out: deliveries are metered (Platform Event Allocations)."""

    def count_events(self, delivered: int) -> None: ...
    def deliveries_left(self) -> int: ...


class BusSettings(Protocol):
    """What is asked of the org's settings."""

    @property
    def text_diffs(self) -> bool: ...
    @property
    def cdc_changes_max(self) -> int: ...


class BusOrg(Protocol):
    """What the bus needs of the org."""

    @property
    def clock(self) -> Clock: ...
    @property
    def faults(self) -> Faults: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def objects(self) -> tuple[str, ...]: ...
    @property
    def channels(self) -> Channels: ...
    @property
    def settings(self) -> BusSettings: ...
    @property
    def platform_events(self) -> PlatformEvents: ...
    def describe(self, name: str) -> Mapping[str, Any]: ...
    def get(self, object_name: str, record_id: str, *, with_deleted: bool = False) -> Row | None: ...
    def add_listener(self, listener: Callable[[Transaction], None]) -> None: ...
