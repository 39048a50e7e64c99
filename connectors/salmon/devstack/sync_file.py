"""
The sync.yaml of a stack: a whole configuration that `salmon run all -c` takes as it is. Pure but for the writing.

What its keys mean is in salmon.config.models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from salmon.devstack import private
from salmon.simulator.for_sync import salesforce_block

# More than one, so that what partitions are for is at work; few, because one machine shares its cores.
_PARTITIONS: Final = 2
_HEAD: Final = """\
# The sync of a development stack: written by `salmon dev up`, and written again by the next one.
# salmon run all -c {file}
"""


def write(
    file: Path,
    *,
    name: str,
    bootstrap_servers: str,
    registry_url: str,
    mongodb: Mapping[str, str],
    salesforce: Mapping[str, str],
    objects: Iterable[str],
) -> None:
    """
    Write the configuration of a sync called *name*.

    Args:
        file: Where to.
        mongodb: Its `uri` and `database`.
        salesforce: The simulator's endpoints.
        objects: sObjects; each gets a collection (collection_of).
    """
    config: dict[str, Any] = {
        "name": name,
        "kafka": {"bootstrap.servers": bootstrap_servers},
        "schema_registry": {"url": registry_url},
        "topics": {"partitions": _PARTITIONS, "replication_factor": 1},
        "salesforce": salesforce_block(salesforce),
        "mongodb": dict(mongodb),
        "merge": {"state_dir": str(file.parent / "state")},
        "objects": {
            object_name: {"collection": collection}
            for object_name, collection in collections_of(objects).items()
        },
    }
    text = yaml.safe_dump(config, sort_keys=False, width=110)
    private.written(file, _HEAD.format(file=file) + text)


def collections_of(objects: Iterable[str]) -> dict[str, str]:
    """sObject -> collection: its plural in lower case, Opportunity -> opportunities, Order_Line__c -> order_lines."""
    names: dict[str, str] = {}
    for name in objects:
        plural = _plural(name.removesuffix("__c").lower())
        # Two objects never share a collection: Order and Order__c are orders and order__c.
        names[name] = plural if plural not in names.values() else name.lower()
    return names


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"
