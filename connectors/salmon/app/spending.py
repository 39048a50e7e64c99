"""
The budget of API calls for a command that reads much of the org: it waits its turn as what can wait does, and what it uses counts.

It knows from `offsets` what the processes of the sync have used, and stores there what it has used itself, so that they know, too.
If it is killed, that is not stored; what everybody has used together, the org says with each answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from salmon.app.sync import Sync
from salmon.errors import SalmonError
from salmon.kafka import clients
from salmon.kafka.offsets import OffsetStore
from salmon.plugin.contract import USED
from salmon.salesforce.wire.budget import Budget, Urgency, during, of_api_calls

log = structlog.get_logger(__name__)

COMMANDS: Final = "commands"  # stands where a connector's name does


@contextmanager
def spending(sync: Sync, command: str, urgency: Urgency) -> Iterator[Budget]:
    """
    The budget that a command asks before each call. Where little is left, its calls are spread; where still less is, they are
    refused with OverBudget.

    Raises:
        Unavailable, SetupError: Kafka or the registry cannot be asked.
    """
    budget = of_api_calls(sync.config.salesforce.api_budget, patient=True)
    store = OffsetStore(clients.Clients(sync.kafka), sync.topics, sync.registry)
    own = f"{USED}{budget.name}/{command}"
    for key, position in store.entries().items():
        connector, _, part = key.partition("/")
        if part.startswith(f"{USED}{budget.name}"):
            budget.take("" if (connector, part) == (COMMANDS, own) else key, position)
    try:
        with during(urgency):
            yield budget
    finally:
        if (used := budget.to_store()) is not None:
            key, value = store.record(COMMANDS, own, used)
            try:
                with sync.producer(f"{command}-spent") as producer, producer.transaction() as transaction:
                    transaction.produce(store.topic, key, value)
            except SalmonError as error:
                log.info("calls_not_stored", command=command, reason=str(error))
