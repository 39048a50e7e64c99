"""
Shows a configuration to others: as flat keys, as Kafka Connect has them, with references unresolved and secrets hidden.

The texts are those of the file, because what `${env:...}` and `${file:...}` stand for is nobody's business.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from salmon.config import yaml_file
from salmon.config.interpolation import names_alone
from salmon.config.models import SyncConfig

HIDDEN: Final = "[hidden]"  # as Kafka Connect shows a password


def shown(path: str | os.PathLike[str], config: SyncConfig) -> dict[str, str]:
    """
    Return the settings that are in a file: path of the key, joined by dots -> text.

    Args:
        path: The file that *config* was read from.

    Raises:
        ConfigError: it cannot be read any more.
    """
    return dict(_leaves(yaml_file.read(Path(path)), config, ()))


def _leaves(raw: Any, parsed: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(raw, Mapping):
        for key, value in raw.items():
            yield from _leaves(value, _part(parsed, str(key)), (*path, str(key)))
    elif isinstance(raw, list) and any(isinstance(each, Mapping) for each in raw):
        # A list of groups: one of their settings may be a secret.
        for number, each in enumerate(raw):
            yield from _leaves(each, _part(parsed, str(number)), (*path, str(number)))
    elif raw is not None:
        yield ".".join(path), _text(raw, is_secret=isinstance(parsed, Secret | SecretStr | SecretBytes))


def _part(parsed: Any, key: str) -> Any:
    if isinstance(parsed, BaseModel):
        return getattr(parsed, key, None)
    if isinstance(parsed, tuple):
        if not key.isdecimal():  # a list of one may be written as the one
            return _part(parsed[0], key) if parsed else None
        return parsed[int(key)] if int(key) < len(parsed) else None
    return parsed.get(key) if isinstance(parsed, Mapping) else None


def _text(raw: Any, *, is_secret: bool) -> str:
    text = raw if isinstance(raw, str) else json.dumps(raw, default=str)
    if not is_secret:
        return text
    # A reference names a secret and is none. Its default may be one.
    return names_alone(text) or HIDDEN
