"""The bodies of the REST API, as Kafka Connect has them. The description at /openapi.json is made from these models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ErrorBody(BaseModel):
    """Why a request was not carried out."""

    error_code: int
    message: str


class Root(BaseModel):
    """Which process this is."""

    version: str
    commit: str
    kafka_cluster_id: str | None
    sync: str
    connector: str
    ordinal: int


class WaitingBody(BaseModel):
    """What a process waits for, since when, and what to do."""

    what: str
    since: str
    since_s: float
    sentence: str


class Ready(BaseModel):
    """Whether the process does its work."""

    ready: bool
    message: str
    waiting_for: list[WaitingBody]


class Live(BaseModel):
    """Whether the process need not be killed."""

    live: bool
    message: str


class HealthBody(Ready, Live):
    """KIP-1017, and what a person should know besides."""

    status: Literal["healthy", "starting", "unhealthy"]
    degraded: bool
    notes: list[str]  # what a person should do, although the process works


class TaskId(BaseModel):
    """A task is a replica of the connector; its number is the replica's ordinal."""

    connector: str
    task: int


class Info(BaseModel):
    """A connector and its configuration. References are not resolved, and secrets are hidden."""

    name: str
    config: dict[str, str]
    tasks: list[TaskId]
    type: str


class ConnectorState(BaseModel):
    """The state of a connector. *trace*: why it has failed."""

    state: str
    worker_id: str
    trace: str | None = None
    version: str | None = None


class TaskState(ConnectorState):
    """The state of a task."""

    id: int


class Status(BaseModel):
    """The state of a connector and of its tasks."""

    name: str
    connector: ConnectorState
    tasks: list[TaskState]
    type: str


class Expanded(BaseModel):
    """A connector in the list, as far as `expand` asks for it."""

    info: Info | None = None
    status: Status | None = None


class TaskInfo(BaseModel):
    """A task and its configuration."""

    id: TaskId
    config: dict[str, str]


class TopicNames(BaseModel):
    """The topics that a connector uses."""

    topics: list[str]


class Offset(BaseModel):
    """
    Where a connector continues. *partition* of a sink: kafka_topic and kafka_partition; of a source: a part of its position.
    *offset* null: begin again.
    """

    model_config = ConfigDict(extra="forbid")

    partition: dict[str, Any]
    offset: dict[str, Any] | None


class Offsets(BaseModel):
    """Where a connector continues, in each partition."""

    model_config = ConfigDict(extra="forbid")

    offsets: list[Offset]


class Message(BaseModel):
    """What was done."""

    message: str


class Plugin(BaseModel):
    """A kind of connector, transform or predicate."""

    model_config = ConfigDict(populate_by_name=True)

    class_name: str = Field(alias="class")
    type: str
    version: str


class ConfigKey(BaseModel):
    """A setting that a connector knows. Kafka Connect's ConfigKeyInfo."""

    name: str
    type: str
    required: bool
    default_value: str | None
    importance: str
    documentation: str
    group: str
    width: str
    display_name: str
    dependents: list[str]
    order: int


class ConfigValue(BaseModel):
    """The value of a setting, and what is wrong with it."""

    name: str
    value: str | None
    recommended_values: list[str]
    errors: list[str]
    visible: bool


class CheckedKey(BaseModel):
    """A setting and its value."""

    definition: ConfigKey
    value: ConfigValue


class Checked(BaseModel):
    """The result of a validation."""

    name: str
    error_count: int
    groups: list[str]
    configs: list[CheckedKey]


class LevelBody(BaseModel):
    """The level of a logger. *last_modified*: in ms since 1970, if it was set while the process ran."""

    level: str
    last_modified: int | None


class NewLevel(BaseModel):
    """The level to set, by Log4j's name."""

    level: Literal["ALL", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF"]
