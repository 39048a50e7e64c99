"""Merge on a broker in memory, for its unit tests."""

from __future__ import annotations

from collections.abc import Mapping

from salmon.config.models import SyncConfig
from salmon.merge.process import MergeProcess
from salmon.model.schema import ObjectSchema
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from support.at_hand.memory_sync import Impatient, MemorySync


def merging(
    sync: MemorySync,
    config: SyncConfig,
    schemas: Mapping[str, ObjectSchema],
    health: Health | None = None,
) -> MergeProcess:
    """The process, not started."""
    return MergeProcess(
        config,
        schemas,
        sync.registry,
        health=health or Health(),
        metrics=Metrics("merge"),
        rng=Impatient(),
        opens=sync.clients,
    )
