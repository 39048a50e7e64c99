"""
Settings that may change while a process works: how the models mark them, and what follows them. The author of a side may do the same.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, runtime_checkable

from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

_RELOAD: Final = "x-salmon-reload"
# For Field(json_schema_extra=...): a change of the setting counts on SIGHUP, without a restart.
LIVE: Final[JsonDict] = {_RELOAD: True}


def is_live(field: FieldInfo) -> bool:
    """Whether a change of this setting counts on SIGHUP."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get(_RELOAD))


@runtime_checkable
class TakesSettings(Protocol):
    """
    A task, or a budget of one, that goes by settings that may change while it works (those marked LIVE). What it was given
    for its objects, it need not take: those entries are replaced when they change.
    """

    def take_settings(self, settings: Any) -> None:
        """Go by these from now on: the side's own section of the configuration. From any thread; must not block."""
