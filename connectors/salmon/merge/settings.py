"""Makes the rules of the fold, and the codecs of an object's topics, from the configuration of the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from salmon.config.models import ObjectConfig, SyncConfig
from salmon.config.sections.deletions import DeletesConfig
from salmon.errors import ConfigError
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Changes, Records, Writes
from salmon.merge.batch import ObjectCodecs
from salmon.merge.states import States
from salmon.model.change import SALESFORCE
from salmon.model.rules import Rules
from salmon.model.schema import Kind, ObjectSchema
from salmon.model.sides import OWN, Side
from salmon.runtime.policies import policy_named
from salmon.transforms.flow import Filter

_ONE_WAY: Final = {side.direction: side.name for side in OWN}


def rules_of(schema: ObjectSchema, config: ObjectConfig, sides: Sequence[Side] = OWN) -> Rules:
    """
    Make the rules of one object, which these *sides* have.

    Raises:
        ConfigError: a policy does not exist, or is set for a field that is not synced; a transform does not fit the schema; or the
            mark of archived records is none.
    """
    where = f"objects.{schema.name}.conflicts"
    if unknown := sorted(config.conflicts.fields.keys() - schema.by_name.keys()):
        raise ConfigError(f"{where}.fields: {', '.join(unknown)} of {schema.name} is not synced.")
    return Rules(
        schema,
        initial=config.initial,
        policy=policy_named(config.conflicts.default, f"{where}.default"),
        field_policies={
            name: policy_named(policy, f"{where}.fields.{name}")
            for name, policy in config.conflicts.fields.items()
        },
        ties=config.conflicts.ties,
        on_reject=config.on_reject,
        stamps_always=config.stamps == "always",
        breaker_rounds=config.breaker.rounds,
        breaker_window_ms=round(config.breaker.window_s * 1000),
        one_way_to=_ONE_WAY.get(config.direction),
        sides=tuple(side.name for side in sides),
        guarded=frozenset(side.name for side in sides if side.guarded),
        views=config.flow(schema.name).bound(schema).views,
        eventless=frozenset({SALESFORCE}) if config.capture.mode == "poll" else frozenset(),
        keeps=_keeps(schema, config.deletes),
    )


def _keeps(schema: ObjectSchema, config: DeletesConfig) -> Mapping[str, str]:
    if config.mode == "propagate":
        return {}
    if config.mode == "archive":
        mark = schema.by_name.get(config.field or "")
        if mark is None or mark.kind is not Kind.BOOLEAN or not mark.update:
            raise ConfigError(
                f"objects.{schema.name}.deletes.field: {config.field} must be a checkbox of {schema.name} that is synced and that "
                f"Salesforce lets us set. Name another field, or use mode ignore."
            )
    kept = [side.name for side in OWN if config.side in (side.name, "both")]
    return dict.fromkeys(kept, config.field or "")


def _parents_that_leave(schema: ObjectSchema, config: SyncConfig) -> frozenset[str]:
    """The lookups of an object to others of which a filter may take records out of Salesforce."""
    leaving = {
        name
        for name, each in config.objects.items()
        if any(SALESFORCE in transform.sides for transform, _ in each.flow(name).of(Filter))
    }
    return frozenset(field.name for field in schema.references if leaving.intersection(field.reference_to))


def codecs_of(config: SyncConfig, name: str, schema: ObjectSchema, registry: Registry) -> ObjectCodecs:
    """Make the codecs with which merge reads and writes the records of object *name*. Raises ConfigError."""
    rules, topics = rules_of(schema, config.objects[name], config.roster.of(name)), config.topic_names
    rules = replace(rules, parents_leave=_parents_that_leave(schema, config))
    return ObjectCodecs(
        rules=rules,
        changes=Changes(schema, registry, topics.changes(name)),
        writes={side: Writes(schema, registry, topics.writes(side, name)) for side in rules.sides},
        records=Records(schema, registry, topics.records(name)),
        states=States(rules, registry, topics.state(name)),
    )
