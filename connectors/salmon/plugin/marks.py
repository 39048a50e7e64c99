"""
What is marked on a setting in the models of a configuration, beside its value and its meaning. The author of a side marks its settings,
too.
"""

from __future__ import annotations

from typing import Final

from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

_RELOAD: Final = "x-salmon-reload"
# For Field(json_schema_extra=...): a change of the setting counts on SIGHUP, without a restart.
LIVE: Final[JsonDict] = {_RELOAD: True}


def is_live(field: FieldInfo) -> bool:
    """Whether a change of this setting counts on SIGHUP."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get(_RELOAD))
