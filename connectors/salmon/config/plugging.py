"""Settings of the transforms and predicates that installed packages offer: each brings the model of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from typing import Any

from pydantic import BaseModel, Secret, SecretBytes, SecretStr, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from salmon.config.faults import faults_of
from salmon.errors import ConfigError
from salmon.plugin.transforms import TransformPlugin
from salmon.runtime import discovery
from salmon.transforms.flow import Filter, Step
from salmon.transforms.plugged import Plugged, PluggedPredicate


def keys_of(name: str) -> frozenset[str]:
    """The keys that may stand beside the `type` of a plugin."""
    plugin = discovery.transform_plugin(name)
    if not isinstance(plugin, TransformPlugin):
        return frozenset({"settings", "negate", "to"})
    return frozenset({"settings", "fields", *(["to"] if plugin.reads is None else [])})


def type_of(name: str) -> str:
    """Kafka Connect's word for the kind of a plugin; "unknown" if it cannot be used."""
    try:
        plugin = discovery.transform_plugin(name)
    except ConfigError:
        return "unknown"
    return "transformation" if isinstance(plugin, TransformPlugin) else "predicate"


class SettingsRead(dict[str, Any]):
    """The settings that are given, each as the model has it (a secret as a secret); *model*: all of them, checked once."""

    def __init__(self, model: BaseModel, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.model = model


def settings_read(name: str, given: Mapping[str, Any]) -> SettingsRead:
    """Check the settings of a plugin by its model. Raises ConfigError: one sentence for each fault, without values."""
    model = discovery.transform_plugin(name).settings
    read = _read(model, given)
    # A model may let a field be given by its name beside its alias. If it does not, it has refused that.
    fields = {key: key for key in model.model_fields}
    fields |= {field.alias: key for key, field in model.model_fields.items() if field.alias}
    return SettingsRead(read, {key: getattr(read, fields[key]) for key in given})


def step_of(name: str, given: Mapping[str, Any], fields: tuple[str, ...], *, negate: bool) -> Step:
    """Make the step of a plugin. *given*: of settings_read. Raises ConfigError: a setting cannot be compared; fields are missing."""
    assert isinstance(given, SettingsRead)
    plugin, settings = discovery.transform_plugin(name), given.model
    if not isinstance(plugin, TransformPlugin):
        predicate = PluggedPredicate(name, plugin, settings, _fingerprint(name, settings))
        return Filter(predicate, drops=negate)
    if not fields:
        raise ConfigError(f"{name} needs fields")
    return Plugged(name, plugin, settings, _fingerprint(name, settings), fields)


def _read(model: type[BaseModel], given: Mapping[str, Any]) -> BaseModel:
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        faults = [f"{'.'.join(path)}: {sentence.rstrip('.')}" for path, sentence in faults_of(error, model)]
        raise ConfigError("; ".join(faults)) from None


def _fingerprint(name: str, settings: BaseModel) -> str:
    """
    Differs if the plugin may give other values; the same in each process, and no setting can be read from it.

    Raises:
        ConfigError: a setting is of a type that cannot be compared.
    """
    said: list[Any] = [discovery.version_of_transform(name)]
    for key, value in settings:
        try:
            said.append([key, _plain(value)])
        except PydanticSerializationError:
            written = type(settings).model_fields[key].alias or key
            raise ConfigError(
                f"settings.{written}: has a value ({type(value).__name__}) that cannot be compared with that of another process. Correct"
                f" the plugin: its model must have texts, numbers, times, and lists, sets and mappings of them"
            ) from None
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A value for JSON that is the same in each process. Raises PydanticSerializationError: its type has no settled text."""
    match value:
        case Secret() | SecretStr() | SecretBytes():
            return _plain(value.get_secret_value())
        case Enum():
            return _plain(value.value)
        case bytes():
            return value.hex()
        case BaseModel():
            return [[key, _plain(each)] for key, each in value]
        case Mapping():
            return sorted(([_plain(key), _plain(each)] for key, each in value.items()), key=json.dumps)
        case Set():
            return sorted(map(_plain, value), key=json.dumps)
        case Sequence() if not isinstance(value, str):
            return list(map(_plain, value))
    made = to_jsonable_python(value)
    if made is None or isinstance(made, str | int | float):
        return made
    # E.g. a dataclass, in which a set could be.
    raise PydanticSerializationError(type(value).__name__)
