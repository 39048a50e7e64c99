"""What the REST server knows of its connector, and what it can ask of the process and of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from salmon.ops.connect.access import Access
from salmon.ops.connect.bodies import Checked, ConfigKey, Offset, Plugin
from salmon.ops.connect.status_topic import Process, Target
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics


class Asks(Protocol):
    """
    Stores requests for all processes of a connector of the sync; without a name, of this one's. Each method raises Unavailable or
    SetupError, as Kafka answers.
    """

    @property
    def target(self) -> Target:
        """What is wanted of the connector now."""

    def ask_for(self, target: Target, connector: str = "") -> None: ...

    def ask_for_restart(self, task: int | None, connector: str = "") -> None: ...

    def ask_for_level(self, logger: str, level: str) -> None: ...

    def processes(self) -> Sequence[Process]: ...


class Places(Protocol):
    """Where the connector continues. Each method raises Refused, Unavailable or SetupError."""

    def read(self) -> list[Offset]: ...

    def alter(self, wanted: Sequence[Offset]) -> str:
        """Continue at other places; the connector is stopped. Returns a sentence that says what was done."""

    def reset(self) -> str:
        """Begin again everywhere; the connector is stopped. Returns a sentence that says what was done."""


class Plugins(Protocol):
    """The kinds of connectors, transforms and predicates, and their settings."""

    def all(self, *, connectors_only: bool = True) -> list[Plugin]: ...

    def keys(self, plugin: str) -> list[ConfigKey]:
        """The settings of a plugin. Raises Refused: there is none of this name."""

    def check(self, plugin: str, config: Mapping[str, str | None]) -> Checked:
        """Validate a configuration. Raises Refused: there is no connector of this name."""


@dataclass(frozen=True, slots=True)
class Described:
    """The connector, and this process."""

    name: str
    type: str  # "source" or "sink"; for merge "unknown", Connect's third type
    config: Mapping[str, str]  # references are not resolved, and secrets are hidden
    worker_id: str  # host:port
    sync: str
    ordinal: int
    topics: Sequence[str] = ()
    connectors: Sequence[str] = ()  # of the sync


@dataclass(frozen=True, slots=True)
class Served:
    """All that the application uses. *cluster_id*: returns the id of the Kafka cluster, if it is known yet."""

    described: Described
    health: Health
    metrics: Metrics
    cluster_id: Callable[[], str | None] = lambda: None
    access: Access = field(default_factory=Access)
    asks: Asks | None = None
    places: Places | None = None
    plugins: Plugins | None = None
    fetch: Callable[[str, Mapping[str, str]], Any] | None = None  # the JSON at an address, with these headers
