"""
Replaces `${env:NAME}`, `${env:NAME:default}` and `${file:/path}` in the texts of a configuration.

This happens after the YAML is parsed, so a password may contain any character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# `$${` is a plain `${`.
_REFERENCE: Final = re.compile(r"\$(\$\{)|\$\{([^:}]*)(?::([^}]*))?\}")
_FILE_MAX: Final = 1024 * 1024  # a key, a password


class Unresolved(Exception):
    """A reference that cannot be resolved; the message says what to do."""


def interpolated(
    node: Any, *, env: Mapping[str, str], folder: Path, faults: dict[tuple[str, ...], str]
) -> Any:
    """
    Replace every reference in *node* and what is in it.

    Args:
        env: The environment.
        folder: What relative paths of files are relative to.
        faults: Filled here: path of keys -> why that reference cannot be resolved. Such references stay unchanged.
    """
    return _interpolated(node, (), env, folder, faults)


def _interpolated(
    node: Any, path: tuple[str, ...], env: Mapping[str, str], folder: Path, faults: dict[tuple[str, ...], str]
) -> Any:
    if isinstance(node, dict):
        return {
            key: _interpolated(value, (*path, str(key)), env, folder, faults) for key, value in node.items()
        }
    if isinstance(node, list):
        return [
            _interpolated(value, (*path, str(index)), env, folder, faults) for index, value in enumerate(node)
        ]
    if not isinstance(node, str):
        return node
    try:
        return _REFERENCE.sub(lambda found: _resolved(found, env, folder), node)
    except Unresolved as fault:
        faults[path] = str(fault)
        return node


def _resolved(found: re.Match[str], env: Mapping[str, str], folder: Path) -> str:
    if found[1]:
        return "${"
    provider, reference = found[2], found[3] or ""
    if provider == "env" and reference:
        name, colon, default = reference.partition(":")
        if (value := env.get(name)) is not None:
            return value
        if colon:
            return default
        raise Unresolved(
            f"the environment variable {name} is not set. Set it, or give a default: ${{env:{name}:...}}."
        )
    if provider == "file" and reference:
        try:
            # A file's last line end is the editor's, not the secret's.
            with (folder / reference).open("rb") as file:
                data = file.read(_FILE_MAX + 1)
            if len(data) > _FILE_MAX:
                raise Unresolved(f"the file {reference} is larger than {_FILE_MAX // 1024} KiB.")
            return data.decode().removesuffix("\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise Unresolved(f"the file {reference} cannot be read ({reason}).") from None
    raise Unresolved(
        f"${{{provider}:...}} is not known. Use ${{env:NAME}}, ${{env:NAME:default}} or ${{file:/path}}; to get a plain "
        f"${{, write $${{."
    )
