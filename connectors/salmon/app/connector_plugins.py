"""
The kinds of connectors, transforms and predicates, and their settings, for Kafka Connect's REST API: made from the models of the
configuration.

A setting's name is the path of its key in the file, joined by dots. Values are texts, as in Kafka Connect; a list is JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from salmon import __version__
from salmon.config import models as configuration
from salmon.config import plugging
from salmon.config.settings_table import without_none
from salmon.config.shown import HIDDEN
from salmon.config.transforming import keys_of_transform
from salmon.errors import ConfigError
from salmon.foreign_json import json_in
from salmon.kafka.topics import CONNECTORS
from salmon.model import sides
from salmon.ops.connect.access import Refused
from salmon.ops.connect.bodies import Checked, CheckedKey, ConfigKey, ConfigValue, Plugin
from salmon.runtime import discovery
from salmon.transforms.connect import TAKES

FURTHER: Final = "sides"  # the settings of the further sides
SYNC: Final = "sync"  # the sync's `name`: that of a connector is the connector's own
_CONNECTS_OWN: Final[Mapping[str, str]] = {
    "name": "Name of the connector.",
    "connector.class": "Kind of the connector.",
    "tasks.max": "A process has one task. Start more processes to share the work.",
}
_TYPES: Final[Mapping[Any, str]] = {int: "INT", float: "DOUBLE", bool: "BOOLEAN", SecretStr: "PASSWORD"}


def type_of(connector: str) -> str:
    """Kafka Connect's word for a kind of connector; merge is neither a source nor a sink."""
    kind = connector.rsplit("-", 1)[-1]
    return kind if kind in {"source", "sink"} else "unknown"


def is_for(connector: str, key: str) -> bool:
    """Whether a connector uses a setting: it does not know the other side."""
    top, _, below = key.partition(".")
    if top == FURTHER and below:
        of = below.partition(".")[0]
    elif top in sides.OWN_ROSTER.names:
        of = top
    else:
        return True
    its_side = sides.side_of(connector)
    return its_side is not None and its_side.name == of


class ConnectorPlugins:
    """
    Args:
        folder: What relative paths of files in a configuration are relative to.
        connectors: The names of all connectors of the sync.
        env: Where `${env:...}` looks.
    """

    def __init__(
        self,
        folder: Path,
        connectors: Sequence[str] = CONNECTORS,
        *,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        self._folder, self._connectors, self._env = folder, connectors, env

    def all(self, *, connectors_only: bool = True) -> list[Plugin]:
        found = [(name, type_of(name), __version__) for name in self._connectors]
        if not connectors_only:
            found += [(name, "transformation", __version__) for name in TAKES]
            found += [
                (name, plugging.type_of(name), discovery.version_of_transform(name))
                for name in discovery.transforms()
                if name not in TAKES
            ]
        return [
            Plugin.model_validate({"class": name, "type": kind, "version": version})
            for name, kind, version in found
        ]

    def keys(self, plugin: str) -> list[ConfigKey]:
        found = self._keys(plugin)
        return [key.model_copy(update={"order": number}) for number, key in enumerate(found, start=1)]

    def _keys(self, plugin: str) -> list[ConfigKey]:
        if plugin in self._connectors:
            own = [_own_key(name, text) for name, text in _CONNECTS_OWN.items()]
            return own + [
                _key(SYNC if path == "name" else path, field)
                for path, field in configuration.settings()
                if is_for(plugin, path)
            ]
        if plugin in TAKES or plugin in discovery.transforms():
            try:
                return [_key(name, field) for name, field in keys_of_transform(plugin)]
            except ConfigError as error:
                raise Refused(400, str(error)) from error
        known = ", ".join((*self._connectors, *TAKES, *discovery.transforms()))
        raise Refused(404, f"Unknown plugin {ascii(plugin)[1:-1]}. There are {known}.")

    def check(self, plugin: str, config: Mapping[str, str | None]) -> Checked:
        keys = self.keys(plugin)
        if plugin not in self._connectors:
            raise Refused(
                400,
                f"{plugin} is not a connector, so it has no configuration of its own. Validate one of {', '.join(self._connectors)}, with "
                f"{plugin} in its `transforms`.",
            )
        if (said := config.get("connector.class")) is not None and said != plugin:
            raise Refused(
                400, f"connector.class: must be {plugin}, the plugin of this request, or be left out."
            )
        given = {name: text for name, text in config.items() if text is not None}
        raw, faults = _nested(given)
        _, more = configuration.checked_raw(raw, env=self._env, folder=self._folder)
        for path, sentence in more.items():
            key = SYNC if path == ("name",) else ".".join(path)
            if is_for(plugin, key):
                faults.setdefault(key, sentence)
        known = {key.name for key in keys}
        others = [_own_key(name, "") for name in sorted((given.keys() | faults.keys()) - known)]
        configs = [_checked(key, given.get(key.name), faults.get(key.name)) for key in [*keys, *others]]
        groups = list(dict.fromkeys(key.group for key in keys))
        return Checked(name=plugin, error_count=len(faults), groups=groups, configs=configs)


def _nested(given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Put flat keys into each other, as in the file. Returns also what is wrong: key -> sentence."""
    raw: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, text in sorted(given.items()):
        if name in _CONNECTS_OWN and not (name == "name" and SYNC not in given):
            continue
        path = ["name"] if name == SYNC else name.split(".")
        if path[0] == "kafka":
            path = ["kafka", ".".join(path[1:])] if path[1:] else path  # librdkafka's names have dots
        place = raw
        for part in path[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                break
        if isinstance(place, dict) and path[-1] not in place:
            place[path[-1]] = _value(text)
        else:
            faults[name] = "is both a value and a group of settings. Remove one of them."
    return raw, faults


def _value(text: str) -> Any:
    """A number, true, false or a list, if the text is one as JSON; otherwise the text."""
    try:
        value = json_in(text)
    except ValueError:
        return text
    return text if value is None or isinstance(value, str | dict) else value


def _checked(key: ConfigKey, text: str | None, fault: str | None) -> CheckedKey:
    is_secret = key.type == "PASSWORD"
    value = ConfigValue(
        name=key.name,
        value=HIDDEN if is_secret and text is not None else text,
        recommended_values=[],
        errors=[] if fault is None else [f"{key.name}: {fault}"],
        visible=True,
    )
    return CheckedKey(definition=key, value=value)


def _own_key(name: str, text: str) -> ConfigKey:
    return ConfigKey(
        name=name,
        type="INT" if name == "tasks.max" else "STRING",
        required=name == "name",
        default_value="1" if name == "tasks.max" else None,
        importance="HIGH",
        documentation=text,
        group="connector",
        width="MEDIUM",
        display_name=name,
        dependents=[],
        order=0,
    )


def _key(path: str, field: FieldInfo) -> ConfigKey:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return ConfigKey(
        name=path,
        type=_type(without_none(field.annotation)),
        required=field.is_required() and ("." not in path or path.startswith("settings.")),
        default_value=_default(default),
        importance="HIGH" if field.is_required() else "MEDIUM",
        documentation=field.description or "",
        group=path.partition(".")[0],
        width="MEDIUM",
        display_name=path,
        dependents=[],
        order=0,
    )


def _default(default: Any) -> str | None:
    if default is None or isinstance(default, str):
        return default
    return json.dumps(default, default=str)


def _type(kind: Any) -> str:
    if get_origin(kind) in {tuple, list, frozenset}:
        return "LIST"
    if get_origin(kind) in {Union, UnionType}:
        return _type(get_args(kind)[0])
    return _TYPES.get(kind, "STRING")
