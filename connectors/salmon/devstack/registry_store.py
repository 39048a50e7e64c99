"""
The data of a schema registry: subjects, their versions, ids by content, and levels, stored in a file of JSON lines.

Every change is one line, written before it is answered; at start the lines are applied again, so ids survive a restart.
HTTP is for registry.py, Avro for avro_types.py and compatibility.py. For one thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from salmon.devstack.avro_types import AvroType, BadSchema, content, parse
from salmon.devstack.compatibility import Breach, Level, breaches
from salmon.errors import DataError, SetupError
from salmon.foreign_json import json_in

_DEFAULT_LEVEL: Final = Level.BACKWARD
_FILE: Final = "registry.jsonl"


class Deleted(Enum):
    """Whether a version exists."""

    NO = "no"
    SOFT = "soft"  # not listed, but records that carry its id can be read
    PERMANENT = "permanent"


class Refusal(DataError):
    """A request that is answered with an error: Confluent's code and message, and the HTTP status to it."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(slots=True)
class Version:
    """One version of a subject."""

    subject: str
    number: int
    id: int
    deleted: Deleted = Deleted.NO


class RegistryStore:
    """Everything in a registry except HTTP. *folder* has its file."""

    def __init__(self, folder: Path) -> None:
        self._texts: dict[int, str] = {}
        self._trees: dict[int, AvroType] = {}
        self._ids: dict[str, int] = {}  # by content
        self._versions: dict[str, dict[int, Version]] = {}
        self._levels: dict[str, Level] = {}  # "" for all subjects without one of their own
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / _FILE
        self._load()
        self._journal = self._file.open("a", encoding="utf-8")

    def close(self) -> None:
        self._journal.close()

    # Schemas

    def register(self, subject: str, text: str) -> int:
        """
        Make *text* the next version of *subject*, if it is new there, and return its id.

        Raises:
            Refusal: 42201 (not an Avro schema), 409 (incompatible with earlier versions).
        """
        tree, said = _read(text)
        schema_id = self._ids.get(said)
        if schema_id is not None and (known := self._live_of(subject, schema_id)) is not None:
            return known.id
        if broken := breaches(tree, self._earlier(subject), self.level(subject)):
            raise Refusal(
                409,
                409,
                f'Schema being registered is incompatible with an earlier schema for subject "{subject}", '
                f"details: [{', '.join(map(str, broken))}], compatibility: '{self.level(subject)}'",
            )
        if schema_id is None:
            schema_id = max(self._texts, default=0) + 1
            self._do({"schema": schema_id, "text": json.dumps(json.loads(text), separators=(",", ":"))})
        number = max(self._versions.get(subject, ()), default=0) + 1
        self._do({"subject": subject, "version": number, "id": schema_id})
        return schema_id

    def breaches(self, subject: str, text: str, version: str | None) -> tuple[Breach, ...]:
        """Why *text* could not follow *version* (None: the versions that the level speaks of)."""
        tree, _ = _read(text)
        if version is None:
            return breaches(tree, self._earlier(subject), self.level(subject))
        if version in {"latest", "-1"} and not self._earlier(subject):
            return ()
        one = self.version(subject, version, subject_known=False)
        return breaches(tree, [(one.number, self._trees[one.id])], self.level(subject))

    def schema(self, schema_id: int) -> str:
        """Return the text of an id, even if its versions were deleted. Refusal: 40403."""
        if schema_id not in self._texts:
            raise Refusal(404, 40403, f"Schema {schema_id} not found")
        return self._texts[schema_id]

    def uses(self, schema_id: int, *, deleted: bool = False) -> list[Version]:
        """The versions that have this id. Refusal: 40403."""
        self.schema(schema_id)
        every = (version for versions in self._versions.values() for version in versions.values())
        return [one for one in every if one.id == schema_id and (deleted or one.deleted is Deleted.NO)]

    # Subjects and versions

    def subjects(self, *, deleted: bool = False) -> list[str]:
        """All subjects that have a version; with *deleted*, also a softly deleted one."""
        return sorted(subject for subject in self._versions if self._listed(subject, deleted=deleted))

    def versions(self, subject: str, *, deleted: bool = False) -> list[int]:
        """The numbers of a subject's versions. Refusal: 40401."""
        if not (found := self._listed(subject, deleted=deleted)):
            raise _no_subject(subject)
        return [one.number for one in found]

    def version(
        self, subject: str, number: str, *, deleted: bool = False, subject_known: bool = True
    ) -> Version:
        """One version, by number or "latest". Refusal: 40401, 40402, 42202."""
        found = {one.number: one for one in self._listed(subject, deleted=deleted)}
        wanted = _version_number(number, max(found, default=0))
        if not found and subject_known:
            raise _no_subject(subject)
        if wanted not in found:
            raise Refusal(404, 40402, f"Version {number} not found.")
        return found[wanted]

    def lookup(self, subject: str, text: str, *, deleted: bool = False) -> Version:
        """The version of *subject* that says what *text* says. Refusal: 40401, 40403, 42201."""
        _, said = _read(text)
        if not (found := self._listed(subject, deleted=deleted)):
            raise _no_subject(subject)
        for one in found:
            if one.id == self._ids.get(said):
                return one
        raise Refusal(404, 40403, "Schema not found")

    def delete_version(self, subject: str, number: str, *, permanent: bool) -> int:
        """Delete one version, softly first. Refusal: 40401, 40402, 40406, 40407, 42202."""
        one = self.version(subject, number, deleted=True)
        if permanent and one.deleted is Deleted.NO:
            raise Refusal(
                404,
                40407,
                f"Subject '{subject}' Version {one.number} was not deleted first before being permanently deleted",
            )
        if not permanent and one.deleted is Deleted.SOFT:
            raise Refusal(
                404,
                40406,
                f"Subject '{subject}' Version {one.number} was soft deleted. Set permanent=true to delete permanently",
            )
        self._delete([one], permanent=permanent)
        return one.number

    def delete_subject(self, subject: str, *, permanent: bool) -> list[int]:
        """Delete all versions, softly first. Refusal: 40401, 40404, 40405."""
        if not self._listed(subject, deleted=True):
            raise _no_subject(subject)
        live = self._listed(subject)
        if permanent and live:
            raise Refusal(
                404, 40405, f"Subject '{subject}' was not deleted first before being permanently deleted"
            )
        if not permanent and not live:
            raise Refusal(
                404,
                40404,
                f"Subject '{subject}' was soft deleted. Set permanent=true to delete permanently",
            )
        gone = self._listed(subject, deleted=True) if permanent else live
        self._delete(gone, permanent=permanent)
        return [one.number for one in gone]

    # Levels

    def level(self, subject: str) -> Level:
        """The level that holds for *subject*."""
        return self.own_level(subject) or self._levels.get("", _DEFAULT_LEVEL)

    def own_level(self, subject: str) -> Level | None:
        """The level that was set for *subject* itself."""
        return self._levels.get(subject)

    def set_level(self, subject: str, level: Level | None) -> None:
        """Set a level; None takes it back. "" speaks of all subjects without one of their own."""
        self._do({"config": subject, "level": None if level is None else level.value})

    # Helpers

    def _listed(self, subject: str, *, deleted: bool = False) -> list[Version]:
        every = self._versions.get(subject, {}).values()
        return [one for one in every if deleted or one.deleted is Deleted.NO]

    def _live_of(self, subject: str, schema_id: int) -> Version | None:
        return next((one for one in self._listed(subject) if one.id == schema_id), None)

    def _earlier(self, subject: str) -> list[tuple[int, AvroType]]:
        return [(one.number, self._trees[one.id]) for one in self._listed(subject)]

    def _delete(self, versions: list[Version], *, permanent: bool) -> None:
        how = Deleted.PERMANENT if permanent else Deleted.SOFT
        for one in versions:
            self._do({"subject": one.subject, "version": one.number, "deleted": how.value})

    def _do(self, change: Mapping[str, Any]) -> None:
        self._journal.write(json.dumps(change, separators=(",", ":")) + "\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._apply(change)

    def _apply(self, change: Mapping[str, Any]) -> None:
        match change:
            case {"schema": schema_id, "text": text}:
                tree = parse(text)
                self._texts[schema_id], self._trees[schema_id] = text, tree
                self._ids[content(tree)] = schema_id
            case {"subject": subject, "version": number, "id": schema_id}:
                self._versions.setdefault(subject, {})[number] = Version(subject, number, schema_id)
            case {"subject": subject, "version": number, "deleted": how}:
                if Deleted(how) is Deleted.PERMANENT:
                    del self._versions[subject][number]
                else:
                    self._versions[subject][number].deleted = Deleted(how)
            case {"config": subject, "level": None}:
                self._levels.pop(subject, None)
            case {"config": subject, "level": level}:
                self._levels[subject] = Level(level)
            case _:
                raise KeyError(change)

    def _load(self) -> None:
        if not self._file.exists():
            return
        lines = self._file.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            # A line that was being written when the machine stopped: it was not answered yet.
            torn = lines.pop()
            with self._file.open("r+b") as file:
                file.truncate(self._file.stat().st_size - len(torn))
        for number, line in enumerate(lines, 1):
            try:
                self._apply(json_in(line))
            except (ValueError, KeyError, DataError, RecursionError):
                raise SetupError(
                    f"{self._file}, line {number}: not a line of this registry. Restore the file, or remove it and "
                    f"register all schemas again."
                ) from None


def _read(text: str) -> tuple[AvroType, str]:
    try:
        tree = parse(text)
    except BadSchema as error:
        raise Refusal(422, 42201, f"Invalid schema: {error}") from None
    return tree, content(tree)


def _version_number(number: str, latest: int) -> int:
    if number in {"latest", "-1"}:
        return latest
    if not number.isascii() or not number.isdigit() or not 0 < int(number) < 2**31:
        raise Refusal(
            422,
            42202,
            f"The specified version '{number}' is not a valid version id. Allowed values are between [1, 2^31-1] and "
            f'the string "latest"',
        )
    return int(number)


def _no_subject(subject: str) -> Refusal:
    return Refusal(404, 40401, f"Subject '{subject}' not found.")
