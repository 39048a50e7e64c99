"""
What the rest of an object's configuration may not say of its computed fields, and which fields its transforms cannot name.

Without the org's fields this is all that can be said; the doctor and `salmon flow test` know the fields and say the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from salmon.config.sections.fields import FieldsConfig
from salmon.errors import ConfigError
from salmon.model.change import SALESFORCE
from salmon.transforms.computed import Computed
from salmon.transforms.expressions import condition
from salmon.transforms.flow import Filter, Flow, Transform, formed_by, masked_by

KeyPath = tuple[str, ...]
# Where a setting of an object names fields, and why a computed one cannot be among them.
_NOT_OF_THE_ORG: Final = "is computed, so the org does not have it. Name a field of the org."
_NEVER_EDITED: Final = (
    "is computed: an edit of it is set right again, so there is never a conflict. Remove it."
)


def faults_of_names(
    raw: Mapping[Any, Any], fields: FieldsConfig, flow: Flow
) -> Iterator[tuple[KeyPath, str]]:
    """
    Each fault as the path of a key below the object, and a sentence.

    Args:
        raw: The object's configuration, as written.
        fields: Its fields, with what ReplaceField says of them.
    """
    made = {step.name for _, step in flow.of(Computed)}
    for path, said in (
        (("match", "on"), _NOT_OF_THE_ORG),
        (("conflicts", "fields"), _NEVER_EDITED),
        (("deletes", "field"), _NOT_OF_THE_ORG),
    ):
        for name in sorted(made.intersection(_names_at(raw, path))):
            yield (*path, name) if path[0] == "conflicts" else path, f"{name} {said}"
    yield from _twins(made, fields)
    for each in flow.transforms:
        if unknown := sorted(_not_synced(each, fields, made)):
            yield (
                _key_of(each),
                f"{each.at} names {', '.join(unknown)}, which `fields` leaves out. Correct the name, or sync the field.",
            )
        if SALESFORCE in each.sides and (never := sorted(made.intersection(masked_by(each.step)))):
            yield (
                _key_of(each),
                f"{each.at} masks {', '.join(never)} for Salesforce, which does not have computed fields. Remove it there.",
            )


def named_by(transform: Transform) -> frozenset[str]:
    """The fields of the org that a transform names; computed ones among them. What is wrong with it by itself names none."""
    step = transform.step
    try:
        if isinstance(step, Computed):
            return step.checked().fields
        if isinstance(step, Filter):
            return condition(step.when).fields if isinstance(step.when, str) else frozenset()
    except ConfigError:
        return frozenset()
    return frozenset((*masked_by(step), *formed_by(step)))


def _not_synced(transform: Transform, fields: FieldsConfig, made: set[str]) -> frozenset[str]:
    named = named_by(transform) - made
    left_out = named.intersection(fields.exclude)
    return left_out if fields.include is None else left_out | (named - set(fields.include))


def _twins(made: set[str], fields: FieldsConfig) -> Iterator[tuple[KeyPath, str]]:
    """Salesforce takes no notice of capital letters in names, so two fields whose names differ in these alone are one to many tools."""
    seen = {name.casefold(): name for name in (*(fields.include or ()), *fields.rename) if name not in made}
    for name in sorted(made):
        if (twin := seen.get(name.casefold())) is not None:
            yield (
                ("fields", "computed", name),
                f"differs from {twin} in capital letters only. Choose another name.",
            )
        seen[name.casefold()] = name


def _key_of(transform: Transform) -> KeyPath:
    return ("fields", "computed") if isinstance(transform.step, Computed) else ("transforms",)


def _names_at(raw: Mapping[Any, Any], path: KeyPath) -> list[str]:
    node: Any = raw
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    found = [node] if isinstance(node, str) else list(node) if isinstance(node, (list, Mapping)) else []
    return [each for each in found if isinstance(each, str)]
