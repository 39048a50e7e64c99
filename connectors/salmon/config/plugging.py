"""Settings of the transforms and predicates that installed packages offer: each brings the model of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

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


def settings_read(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Check the settings of a plugin by its model.

    Returns:
        Those that are given, each as the model has it: a secret as a secret.

    Raises:
        ConfigError: one sentence for each fault, without values.
    """
    model = discovery.transform_plugin(name).settings
    read = _read(model, given)
    written = {field.alias or key: key for key, field in model.model_fields.items()}
    return {key: getattr(read, written[key]) for key in given if key in written}


def step_of(name: str, given: Mapping[str, Any], fields: tuple[str, ...], *, negate: bool) -> Step:
    """Make the step of a plugin. *given*: see settings_read. Raises ConfigError: see there."""
    plugin = discovery.transform_plugin(name)
    settings = _read(plugin.settings, given)
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
    """Differs if the plugin may give other values; no setting can be read from it."""
    said = [discovery.version_of_transform(name), dict(settings)]
    return hashlib.sha256(json.dumps(said, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return dict(value) if isinstance(value, BaseModel) else str(value)
