"""
Checks a configuration as a whole: every fault at once, each with its line, its key and what to do. No fault quotes a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from salmon.config import yaml_file
from salmon.config.faults import faults_of, faults_of_kafka
from salmon.config.interpolation import Resolved, interpolated, stood_in
from salmon.config.texts import faults_of_texts
from salmon.config.together import faults_together
from salmon.errors import ConfigError

KeyPath = tuple[str, ...]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a key. *line*: where it is in the file, or the nearest key above it; None: neither is there."""

    key: KeyPath
    sentence: str
    line: int | None = None

    def __str__(self) -> str:
        place = "" if self.line is None else f"line {self.line}: "
        return f"{place}{'.'.join(self.key) or 'the file'}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Checked(Generic[M]):
    """
    A file, and what came of it.

    Args:
        config: None if it cannot be used; then there are faults.
        raw: What the file contains, with references as they are written.
        origins: See Resolved.
        notes: What could not be checked, because it is not here.
    """

    file: Path
    config: M | None
    faults: Sequence[Fault]
    raw: Mapping[Any, Any]
    written: yaml_file.Written
    origins: Mapping[KeyPath, Sequence[str]]
    notes: Sequence[Fault] = ()

    def usable(self) -> M:
        """Return the configuration. Raises ConfigError: everything that is wrong, one fault per line."""
        if self.config is None or self.faults:
            raise ConfigError(self.sentences())
        return self.config

    def sentences(self) -> str:
        """Everything that is wrong, one fault per line."""
        faults = self.faults or self.notes
        if len(faults) == 1:
            return f"{self.file}: {faults[0]}"
        return "\n  ".join([f"{self.file} has {len(faults)} faults:", *map(str, faults)])


def checked(
    file: Path, model: type[M], *, env: Mapping[str, str], without_values: bool = False
) -> Checked[M]:
    """
    Read a file, and check it.

    Args:
        env: Where `${env:...}` looks. Relative `${file:...}` paths are relative to the file's folder.
        without_values: References to what is not here are no faults, but notes. The configuration then has other texts in their place.

    Raises:
        ConfigError: it cannot be read, is not YAML, or is not a mapping.
    """
    written = yaml_file.written_in(file)
    raw = written.content
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: must contain a mapping with the keys {', '.join(model.model_fields)}.")
    into = Resolved()
    config, found = checked_raw(
        raw, model, env=env, folder=file.parent, into=into, without_values=without_values
    )
    unset = into.unset if without_values else {}

    def in_order(said: Mapping[KeyPath, str]) -> list[Fault]:
        """In the order of the file; what is missing at the top comes first."""
        faults = [Fault(key, sentence, written.line_of(key)) for key, sentence in said.items()]
        return sorted(faults, key=lambda fault: (fault.line or 0, fault.key))

    faults = in_order({key: each for key, each in {**found, **written.doubles}.items() if key not in unset})
    notes = in_order(unset)
    return Checked(file, None if faults else config, faults, raw, written, into.origins, notes)


def checked_raw(
    read: Mapping[Any, Any],
    model: type[M],
    *,
    env: Mapping[str, str],
    folder: Path,
    into: Resolved | None = None,
    without_values: bool = False,
) -> tuple[M | None, Mapping[KeyPath, str]]:
    """
    Check a configuration as it was written, with its references.

    Args:
        folder: What relative paths of files are relative to.
        without_values: Something else stands in for what is not here.

    Returns:
        The configuration, or None if it has no form at all; and the faults: path of the key -> sentence.
    """
    into = into or Resolved()
    raw = interpolated(dict(read), env=env, folder=folder, into=into)
    if without_values:
        raw = stood_in(raw, into.unset)
    # The first fault of a key counts: an unresolved reference or a forbidden text causes pydantic's complaint.
    faults = dict(into.faults)
    config: M | None = None
    for key, sentence in (*faults_of_texts(raw), *faults_together(raw)):
        faults.setdefault(key, sentence)
    try:
        config = model.model_validate(raw)
    except ValidationError as error:
        for key, sentence in (*faults_of(error, model), *_hidden_by_unknown(error, raw, model)):
            if not _is_said_below(key, faults):
                faults.setdefault(key, sentence)
    for key, sentence in faults_of_kafka(raw.get("kafka")):
        faults.setdefault(key, sentence)
    return config, faults


def _is_said_below(key: KeyPath, faults: Mapping[KeyPath, str]) -> bool:
    """Whether faults_together() has said it already, with the very key. A group of settings is checked as a whole by its model."""
    is_group = key in {("objects",), ("events",), ("reports",)} or (key[:1] == ("objects",) and len(key) == 2)
    return is_group and any(known[: len(key)] == key and len(known) > len(key) for known in faults)


def _hidden_by_unknown(
    error: ValidationError, raw: Mapping[Any, Any], model: type[BaseModel]
) -> Iterator[tuple[KeyPath, str]]:
    """What a model does not check while it has an unknown key: whether its settings fit each other."""
    unknown = {tuple(map(str, each["loc"])) for each in error.errors() if each["type"] == "extra_forbidden"}
    if not unknown:
        return
    try:
        model.model_validate(_without(raw, unknown, ()))
    except ValidationError as rest:
        yield from faults_of(rest, model)


def _without(node: Any, unknown: set[KeyPath], path: KeyPath) -> Any:
    if isinstance(node, dict):
        return {
            key: _without(value, unknown, (*path, str(key)))
            for key, value in node.items()
            if (*path, str(key)) not in unknown
        }
    return node
