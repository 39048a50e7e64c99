"""A sync as the operator's commands see it, whose signals go where a test says, without Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from salmon.errors import ConfigError
from salmon.kafka.codecs.serdes import Signals
from salmon.kafka.topics import Topics
from salmon.model.sides import OWN_ROSTER
from salmon.plugin.contract import Signal
from support.at_hand.registries import MemoryRegistry


class MemorySync:
    """
    Args:
        one_way: Each object, and the side that it is only written to, if any.
        take: Is given each signal, with the topic that it was written to.
    """

    def __init__(self, one_way: Mapping[str, str | None], take: Callable[[str, Signal], object]) -> None:
        objects = dict.fromkeys(one_way)
        self.config = SimpleNamespace(objects=objects, objects_of=lambda _: objects, roster=OWN_ROSTER)
        self.topics, self.registry = Topics("crm"), MemoryRegistry()
        self._one_way, self._take = one_way, take
        self.asked = 0  # signals

    def check_object(self, name: str, *, given_as: str = "") -> None:
        if name not in self._one_way:
            raise ConfigError(f"{given_as} {name}")

    def rules(self, name: str) -> Any:
        return SimpleNamespace(one_way_to=self._one_way[name])

    @contextmanager
    def producer(self, _purpose: str) -> Iterator[Any]:
        yield SimpleNamespace(transaction=self._transaction)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        yield SimpleNamespace(produce=self._produce)

    def _produce(self, topic: str, key: str, value: bytes, *, partition: int) -> None:
        assert partition == 0
        self.asked += 1
        signal = Signals(self.registry, topic).decode(value, offset=self.asked)
        assert key == signal.object
        self._take(topic, signal)
