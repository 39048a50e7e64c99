"""
Replaces references in the texts of a configuration, with Kafka Connect's providers and their notation:

`${env:NAME}`, `${env:NAME:default}`: a variable of the environment. `${file:/path}`: what a file contains. `${file:/path:key}`: a key of a
file of properties (Java's format). `${dir:/folder:file}` or `${directory:/folder:file}`: a file of a folder, as Kubernetes mounts secrets.

This happens after the YAML is parsed, so a password may contain any character. `$${` is a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_REFERENCE: Final = re.compile(r"\$(\$\{)|\$\{([^:}]*)(?::([^}]*))?(\})?")
_FILE_MAX: Final = 1024 * 1024  # a key, a password
_DIRECTORY: Final = frozenset({"dir", "directory"})

_UNSET: Final = "unset" * 10  # long enough for the key of a mask
# Part of a key -> what its value looks like.
_FORMS: Final = {
    "uri": "mongodb://unset.invalid",
    "url": "https://unset.invalid",
    "bootstrap.servers": "unset.invalid:9092",
}
KeyPath = tuple[str, ...]


class Unresolved(Exception):
    """A reference that cannot be resolved; the message says what to do."""


class Unset(Unresolved):
    """What it refers to is not here: it may be where the processes run."""


@dataclass(slots=True)
class Resolved:
    """
    What came of the references of a configuration.

    Args:
        faults: Path of keys -> why a reference there cannot be resolved. Such references stay unchanged.
        unset: Those of them that refer to what is not here.
        origins: Path of keys -> where the values of the references there came from, in words.
    """

    faults: dict[KeyPath, str] = field(default_factory=dict)
    unset: dict[KeyPath, str] = field(default_factory=dict)
    origins: dict[KeyPath, list[str]] = field(default_factory=dict)


def interpolated(node: Any, *, env: Mapping[str, str], folder: Path, into: Resolved) -> Any:
    """
    Replace every reference in *node* and what is in it.

    Args:
        env: The environment.
        folder: What relative paths of files are relative to.
        into: Filled here.
    """
    return _Interpolation(env, folder, into).of(node, ())


def names_alone(text: str) -> str | None:
    """The references that *text* consists of, without the defaults, which may be secrets; None if it is anything else, too."""
    found = list(_REFERENCE.finditer(text))
    if not found or _REFERENCE.sub("", text) or any(each[1] or not each[4] for each in found):
        return None
    return "".join(
        f"${{{each[2]}:{_name_of(each[3] or '') if each[2] == 'env' else each[3] or ''}}}" for each in found
    )


def stood_in(node: Any, paths: Collection[KeyPath], path: KeyPath = ()) -> Any:
    """*node* with a text of a fitting form at each of *paths*, so that all else can be checked without what they refer to."""
    if isinstance(node, dict):
        return {key: stood_in(value, paths, (*path, str(key))) for key, value in node.items()}
    if isinstance(node, list):
        return [stood_in(value, paths, (*path, str(index))) for index, value in enumerate(node)]
    if path not in paths:
        return node
    if not _REFERENCE.fullmatch(node):
        return _REFERENCE.sub("unset", node)
    name = path[-1]
    return next((form for part, form in _FORMS.items() if part in name), _UNSET)


def _name_of(reference: str) -> str:
    return reference.partition(":")[0]


@dataclass(frozen=True, slots=True)
class _Interpolation:
    env: Mapping[str, str]
    folder: Path
    into: Resolved

    def of(self, node: Any, path: KeyPath) -> Any:
        if isinstance(node, dict):
            return {key: self.of(value, (*path, str(key))) for key, value in node.items()}
        if isinstance(node, list):
            return [self.of(value, (*path, str(index))) for index, value in enumerate(node)]
        if not isinstance(node, str):
            return node
        origins: list[str] = []
        try:
            text = _REFERENCE.sub(lambda found: self._value(found, origins), node)
        except Unresolved as fault:
            self.into.faults[path] = str(fault)
            if isinstance(fault, Unset):
                self.into.unset[path] = str(fault)
            return node
        if origins:
            self.into.origins[path] = origins
        return text

    def _value(self, found: re.Match[str], origins: list[str]) -> str:
        if found[1]:
            return "${"
        if not found[4]:
            raise Unresolved(
                "a reference begins with ${ and has no closing brace. Write e.g. ${env:NAME}; to get a plain ${, write $${."
            )
        provider, reference = found[2], found[3] or ""
        if reference and provider == "env":
            text, origin = self._of_environment(reference)
        elif reference and provider == "file":
            text, origin = self._of_file(reference)
        elif reference and provider in _DIRECTORY:
            text, origin = self._of_folder(reference)
        else:
            raise Unresolved(
                f"${{{provider}:...}} is not known. Use ${{env:NAME}}, ${{env:NAME:default}}, ${{file:/path}}, "
                f"${{file:/path:key}} or ${{dir:/folder:file}}; to get a plain ${{, write $${{."
            )
        origins.append(origin)
        return text

    def _of_environment(self, reference: str) -> tuple[str, str]:
        name, colon, default = reference.partition(":")
        if (value := self.env.get(name)) is not None:
            return value, f"the environment variable {name}"
        if colon:
            return default, f"the default, as the environment variable {name} is not set"
        raise Unset(
            f"the environment variable {name} is not set. Set it, or give a default: ${{env:{name}:...}}."
        )

    def _of_file(self, reference: str) -> tuple[str, str]:
        path, colon, key = reference.partition(":")
        if not colon or _is_file(self.folder / reference):  # a file may have a colon in its name
            # A file's last line end is the editor's, not the secret's.
            return _text_of(self.folder, reference).removesuffix("\n"), f"the file {reference}"
        if (value := _properties(_text_of(self.folder, path), path).get(key)) is None:
            raise Unresolved(f"the file {path} has no key {key}. Add a line {key}=... to it.")
        return value, f"the key {key} of the file {path}"

    def _of_folder(self, reference: str) -> tuple[str, str]:
        folder, colon, name = reference.partition(":")
        if not colon or not name or Path(name).name != name:
            raise Unresolved(
                "a folder and the name of a file that is directly in it are needed: ${dir:/folder:file}."
            )
        inside = str(Path(folder) / name)
        return _text_of(self.folder, inside).removesuffix("\n"), f"the file {inside}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _text_of(folder: Path, name: str) -> str:
    """What a file contains. Raises Unresolved."""
    try:
        with (folder / name).open("rb") as file:
            data = file.read(_FILE_MAX + 1)
        if len(data) > _FILE_MAX:
            raise Unresolved(f"the file {name} is larger than {_FILE_MAX // 1024} KiB.")
        return data.decode()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        kind = Unset if isinstance(error, FileNotFoundError) else Unresolved
        raise kind(f"the file {name} cannot be read ({reason}).") from None


def _properties(text: str, name: str) -> Mapping[str, str]:
    """What a file of properties contains. Raises Unresolved, which quotes nothing."""
    import javaproperties

    try:
        return javaproperties.loads(text)
    except javaproperties.InvalidUEscapeError:
        raise Unresolved(
            rf"the file {name} is not valid as a file of properties: \u must be followed by four hexadecimal digits."
        ) from None
