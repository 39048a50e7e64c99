"""What an entry point of the group `salmon.sides` names: a further side, beside Salesforce and MongoDB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class SidePlugin:
    """
    A side that a package offers. Its tasks are found by the same name, in the groups `salmon.sources` and `salmon.sinks`.

    Args:
        settings: The model of the side's settings in the configuration (`sides.<name>`). The factories get an instance.
        guarded: Whether the sink compares the marker of a record in the same step in which it writes it, and so never overwrites
            with an older write, also not one that was suspended meanwhile. See salmon.plugin.guard. If you are not sure: False.
    """

    settings: type[BaseModel]
    guarded: bool = False
