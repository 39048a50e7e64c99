"""`${env:NAME:default}` and `${file:/path}` in a configuration, resolved before anything is validated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_PLACE: Final = re.compile(r"\$\{(env|file):([^}]*)\}")


def interpolated(node: Any, environment: Mapping[str, str], where: str = "") -> tuple[Any, list[str]]:
    """
    Resolve every place in a tree of YAML.

    Returns:
        The resolved tree, and what could not be resolved: one sentence each, which names the key.
    """
    faults: list[str] = []

    def resolve(value: Any, key: str) -> Any:
        match value:
            case dict():
                return {
                    name: resolve(child, f"{key}.{name}" if key else str(name))
                    for name, child in value.items()
                }
            case list():
                return [resolve(child, f"{key}[{index}]") for index, child in enumerate(value)]
            case str():
                return _PLACE.sub(lambda place: told(place, key), value)
            case _:
                return value

    def told(place: re.Match[str], key: str) -> str:
        kind, argument = place.groups()
        text, fault = _from_environment(argument, environment) if kind == "env" else _from_file(argument)
        if fault:
            faults.append(f"{key}: {fault}")
        return text

    return resolve(node, where), faults


def _from_environment(argument: str, environment: Mapping[str, str]) -> tuple[str, str]:
    name, colon, default = argument.partition(":")
    if name in environment:
        return environment[name], ""
    if colon:
        return default, ""
    return (
        "",
        f"the environment variable {name} is not set. Set it, or give a default: ${{env:{name}:default}}.",
    )


def _from_file(argument: str) -> tuple[str, str]:
    try:
        return Path(argument).read_text(encoding="utf-8").strip(), ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        return (
            "",
            f"the file {argument} cannot be read ({reason}). Correct the path, or let this process read it.",
        )
