"""The rights that deploy/security.md lists, as Kafka and MongoDB take them, and what Kafka's authorizer said about their use."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

PAGE: Final = Path(__file__).parents[2] / "deploy" / "security.md"
_NAME_THERE: Final = "crm"
_DECISION: Final = re.compile(
    r"Principal = User:(?P<user>\S+) is (?P<what>Allowed|Denied) operation = (?P<operation>\w+) from host = \S+ "
    r"on resource = (?P<kind>\w+):LITERAL:(?P<resource>\S+) for request = (?P<request>\w+)"
)
# An operation that is allowed also allows these: Kafka, AclOperation.
_IMPLIED: Final = {"READ": {"DESCRIBE"}, "WRITE": {"DESCRIBE"}}
_KINDS: Final = {
    "topic": ("Topic", ResourceType.TOPIC),
    "group": ("Group", ResourceType.GROUP),
    "transactional_id": ("TransactionalId", ResourceType.TRANSACTIONAL_ID),
}


@dataclass(frozen=True, slots=True)
class Right:
    """One ACL. *kind*: as the authorizer calls it."""

    user: str
    operation: str
    kind: str
    resource: str
    is_prefix: bool

    def covers(self, use: Use) -> bool:
        """Whether this right is enough for that."""
        fits = use.resource.startswith(self.resource) if self.is_prefix else use.resource == self.resource
        may = use.operation == self.operation or use.operation in _IMPLIED.get(self.operation, ())
        return fits and may and (use.user, use.kind) == (self.user, self.kind)

    def is_for(self, use: Use) -> bool:
        """Whether it was this very operation that was asked."""
        return self.covers(use) and use.operation == self.operation


@dataclass(frozen=True, slots=True)
class Use:
    """What somebody asked the authorizer for."""

    user: str
    operation: str
    kind: str
    resource: str
    allowed: bool


def blocks(kind: str) -> dict[str, str]:
    """The code blocks of the page that a comment `<!-- KIND: NAME -->` stands above, by name."""
    found = re.findall(rf"<!-- {kind}: (.+?) -->\n+```\w*\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert found, kind
    return dict(found)


def acls(block: str, sync: str, everybody: Iterable[str]) -> list[Right]:
    """The rights that a block of kafka-acls commands gives, for a sync of this name; *everybody*: whom $EACH stands for."""
    each = " ".join(f"--allow-principal User:{name}" for name in everybody)
    return [right for line in block.splitlines() for right in _of_command(line.replace("$EACH", each), sync)]


def _of_command(line: str, sync: str) -> Iterator[Right]:
    parser = argparse.ArgumentParser("kafka-acls", allow_abbrev=False)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--allow-principal", action="append", required=True)
    parser.add_argument("--operation", action="append", required=True)
    parser.add_argument("--resource-pattern-type", choices=["literal", "prefixed"], default="literal")
    for kind in _KINDS:
        parser.add_argument(f"--{kind.replace('_', '-')}")
    program, *words = shlex.split(line.replace("$KAFKA", ""))
    assert program == "kafka-acls"
    said = parser.parse_args(words)
    ((kind, resource),) = [(kind, name) for kind in _KINDS if (name := getattr(said, kind)) is not None]
    assert resource.startswith((_NAME_THERE, "salmon-")), resource
    for principal in said.allow_principal:
        for operation in said.operation:
            yield Right(
                principal.removeprefix("User:"),
                re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper(),
                _KINDS[kind][0],
                re.sub(rf"^{_NAME_THERE}\b", sync, resource),
                said.resource_pattern_type == "prefixed",
            )


def give(admin: AdminClient, rights: Sequence[Right]) -> None:
    """Let Kafka allow these."""
    for done in admin.create_acls(_bindings(rights)).values():
        done.result()


def take(admin: AdminClient, rights: Sequence[Right]) -> None:
    """Let Kafka allow these no more."""
    found = [
        AclBindingFilter(
            each.restype,
            each.name,
            each.resource_pattern_type,
            each.principal,
            each.host,
            each.operation,
            each.permission_type,
        )
        for each in _bindings(rights)
    ]
    for done in admin.delete_acls(found).values():
        assert done.result()


def _bindings(rights: Iterable[Right]) -> list[AclBinding]:
    kinds = dict(_KINDS.values())
    return [
        AclBinding(
            kinds[each.kind],
            each.resource,
            ResourcePatternType.PREFIXED if each.is_prefix else ResourcePatternType.LITERAL,
            f"User:{each.user}",
            "*",
            AclOperation[each.operation],
            AclPermissionType.ALLOW,
        )
        for each in rights
    ]


def uses(decisions: Path) -> set[Use]:
    """What the authorizer was asked by users who signed in."""
    found = set()
    for line in decisions.read_text().splitlines():
        if (said := _DECISION.match(line)) and said["user"] != "ANONYMOUS":
            found.add(
                Use(
                    said["user"],
                    said["operation"],
                    said["kind"],
                    said["resource"],
                    said["what"] == "Allowed",
                )
            )
    return found


def roles(database: str) -> list[dict[str, Any]]:
    """The createRole commands of the page, for a database of this name."""
    text = blocks("role")
    return [json.loads(block.replace(f'"{_NAME_THERE}"', json.dumps(database))) for block in text.values()]
