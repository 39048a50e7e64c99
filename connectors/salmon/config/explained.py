"""
Explains a configuration: every setting with the value that counts, and where that comes from.

Secrets are shown as they are written if that is a reference, and hidden otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from salmon.config.checking import Checked
from salmon.config.interpolation import names_alone
from salmon.config.models import SyncConfig
from salmon.config.settings_table import accepted
from salmon.config.shown import HIDDEN
from salmon.plugin.marks import is_live

DEFAULT: Final = "default"
KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """
    One setting.

    Args:
        value: As text; lists and mappings as JSON. Empty: it is not set.
        source: Where the value comes from, in words.
        line: The line of the file that says it; None for a default.
        accepts: What the value may be; empty for what Salmon only passes on.
        reload: Whether a change counts on SIGHUP, without a restart.
    """

    key: str
    value: str
    source: str
    line: int | None
    accepts: str
    meaning: str
    reload: bool


def explained(
    checked: Checked[SyncConfig], *, hides: Callable[[str], bool] = lambda _text: False
) -> list[Setting]:
    """
    Explain all settings, in the order of the models.

    Args:
        hides: Whether a text that is no secret by its key must not be shown either.

    Raises:
        ConfigError: the configuration has faults.
    """
    return list(_Explaining(checked, hides).of(checked.usable(), checked.raw, ()))


@dataclass(frozen=True, slots=True)
class _Explaining:
    checked: Checked[SyncConfig]
    hides: Callable[[str], bool]

    def of(self, model: BaseModel, raw: Any, path: KeyPath) -> Iterator[Setting]:
        for name, field in type(model).model_fields.items():
            key = field.alias or name
            below = raw.get(key) if isinstance(raw, Mapping) else None
            is_set = name in model.model_fields_set
            yield from self._of_value(getattr(model, name), below, (*path, key), field, is_set)

    def _of_value(
        self, value: Any, raw: Any, path: KeyPath, field: FieldInfo, is_set: bool
    ) -> Iterator[Setting]:
        if isinstance(value, BaseModel):
            yield from self.of(value, raw, path)
        elif isinstance(value, Mapping) and value:
            for key, each in value.items():
                below = raw.get(key) if isinstance(raw, Mapping) else None
                yield from self._of_value(each, below, (*path, str(key)), field, is_set)
        else:
            line, source = self._source(path, is_set)
            is_open = field.annotation == dict[str, Any]
            yield Setting(
                ".".join(path),
                self._text(value, raw),
                source,
                line,
                "" if is_open else accepted(field),
                field.description or "",
                is_live(field),
            )

    def _source(self, path: KeyPath, is_set: bool) -> tuple[int | None, str]:
        lines = self.checked.written.lines
        if (line := lines.get(path)) is not None:
            origins = [
                each
                for place, found in self.checked.origins.items()
                if place[: len(path)] == path
                for each in found
            ]
            return line, ", from ".join([f"line {line}", *([", ".join(origins)] if origins else [])])
        if not is_set:
            return None, DEFAULT
        if (line := lines.get(path[:-1])) is not None and not isinstance(self._raw(path[:-1]), Mapping):
            return line, f"line {line}"  # `deletes: propagate` sets deletes.mode
        line = lines.get(path[-1:])
        return line, f"{path[-1]}, line {line}"  # a setting of all objects

    def _raw(self, path: KeyPath) -> Any:
        node: Any = self.checked.raw
        for key in path:
            node = node.get(key) if isinstance(node, Mapping) else None
        return node

    def _text(self, value: Any, raw: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, SecretStr):
            return (names_alone(raw) if isinstance(raw, str) else None) or HIDDEN
        text = value if isinstance(value, str) else json.dumps(_plain(value), default=str)
        return HIDDEN if self.hides(text) else text


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
