"""
A dead letter's fields as YAML that a person corrects, and what is sent of it.

What a side refused is corrected by an operator's edit of the record: only the fields that were changed, and only while the refusal
still stands, so that nothing newer is overwritten. An event, or an operator's own change, goes on with the corrected fields.
Everything is checked against the schema before anything is written. What a source could not read is corrected on its side.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import yaml

from salmon.dlq.letters import Handled, LetterFilter, StoredLetter, one
from salmon.dlq.replaying import EDITED, Mend, Plan, Planner, deal
from salmon.errors import ConfigError, DataError, SchemaMismatch
from salmon.harmless import harmless
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.outbox import Documents
from salmon.kafka.codecs.registry import object_schema
from salmon.kafka.codecs.serdes import Writes
from salmon.kafka.output import Output
from salmon.model.change import OPERATOR, OWNED_BY_MERGE, SALESFORCE, Op, Value
from salmon.model.convert import choices
from salmon.model.event_schema import EVENT_UUID
from salmon.model.schema import FieldSchema, Kind
from salmon.model.state import Park, State
from salmon.story.formatting import shown
from salmon.story.lookup import Lookup
from salmon.story.resolving import Decision
from salmon.story.typed import require_holdable
from salmon.transforms.exact import from_text_exactly

_BYTES_MAX: Final = 16 * 1024 * 1024  # of the text: twice the largest record
_NULL: Final = "tag:yaml.org,2002:null"

Fields = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Draft:
    """
    What can be edited of a letter.

    Args:
        fields: The fields as the letter has them.
        schema: The fields that may be there.
        plan: What is done with the corrected fields. *fields*: all; *changed*: those that differ. Raises our errors.
    """

    letter: StoredLetter
    fields: Fields
    schema: Mapping[str, FieldSchema]
    plan: Callable[[Fields, Fields], Plan]

    def text(self) -> str:
        """The YAML, for a person."""
        said = "\n".join(f"# {line}" for line in _explained(self.letter))
        return f"{said}\n{yaml_of(self.fields, self.schema)}"

    def text_without(self, hidden: Collection[str]) -> str:
        """The YAML alone, for a person who is not shown these fields. They stay as they are."""
        return yaml_of({name: each for name, each in self.fields.items() if name not in hidden}, self.schema)

    def corrected(self, text: str) -> Plan:
        """
        What is sent of the edited text.

        Raises:
            ConfigError: the text is not valid YAML, names an unknown field, or changes nothing.
            SchemaMismatch: a value does not fit its field, or Salesforce cannot hold it.
            DataError: the record may not be edited so.
        """
        read = fields_of(text, self.schema)
        changed = {name: value for name, value in read.items() if value != self.fields.get(name)}
        if not changed:
            raise ConfigError(
                f"Nothing was changed, so nothing was sent. `salmon dlq replay {self.letter.id}` sends it as it is."
            )
        for name, value in changed.items():
            require_holdable(self.schema[name], value)
        return self.plan({**self.fields, **changed}, changed)


def draft_of(lookup: Lookup, letter: StoredLetter, *, by: str, reason: str, now_ms: int) -> Draft:
    """
    Prepare a letter to be edited.

    Raises:
        ConfigError, DataError: it cannot be edited; the message says why, and what to do instead.
        SetupError, Unavailable: Kafka or the registry cannot be used.
    """
    planner = Planner(lookup, by=by, reason=reason, now_ms=now_ms)
    planned = planner.plan(letter)
    if planned.mend is Mend.SEND:
        return _of_refused(lookup, planner, letter, by=by, reason=reason, now_ms=now_ms)
    if planned.mend is Mend.CARRY and letter.topic == lookup.topics.events(letter.subject):
        return _of_event(lookup, letter)
    if letter.topic == lookup.topics.outbox(letter.subject):
        raise ConfigError(
            f"{letter.id}: the fields of an outbox's document have no types to check them by. Insert the document again, corrected, "
            f"under a new _id, and discard this letter; or correct the event in the org, and replay it."
        )
    if letter.value is not None and (
        planned.mend is Mend.CARRY or (planned.mend is Mend.RETURN and letter.queue == "merge")
    ):
        return _of_change(lookup, planner, letter, planned)
    if planned.mend is Mend.READ:
        raise ConfigError(
            f"{letter.id}: the value is still in the record itself. Correct it there; then `salmon dlq replay {letter.id}` reads it."
        )
    raise ConfigError(f"{letter.id} cannot be edited. {planned.says}")


def edit(
    lookup: Lookup, text: str, correct: Callable[[Draft], Plan], *, by: str, reason: str, now_ms: int
) -> tuple[StoredLetter, Plan]:
    """
    Have a letter corrected, send it, and mark it.

    Args:
        text: Its id.
        correct: What is sent of it; Draft.corrected() of what a person has written.

    Raises:
        ConfigError, DataError: nothing was sent; the message says why. And as draft_of() does.
    """
    letter, done = one(lookup, text)
    if done is not None:
        raise ConfigError(f"{letter.id} was {done.action} by {done.by} already.")
    plan = correct(draft_of(lookup, letter, by=by, reason=reason, now_ms=now_ms))
    marked = Handled(EDITED, by, now_ms, reason)
    dealt = deal(lookup, LetterFilter(ids=(letter.id,)), lambda _: plan, marked)
    if dealt.before:
        raise ConfigError(f"{letter.id} was dealt with by somebody else meanwhile. Nothing was sent.")
    return letter, plan


def shown_fields(lookup: Lookup, letter: StoredLetter) -> dict[str, Any] | None:
    """The fields of a letter as Salesforce's API shows them; None if it has none that can be read."""
    planner = Planner(lookup)
    name = letter.subject
    try:
        if letter.value is None:
            return None
        if letter.topic == lookup.topics.events(name):
            schema = _event_schema(lookup, name)
            decoded: Fields = schema[1].decode(letter.value)
            known: Mapping[str, FieldSchema] = schema[0]
        elif letter.topic == lookup.topics.outbox(name):
            known = {}
            decoded, _ = Documents(lookup.registry, letter.topic).decode(letter.value)
        elif name not in lookup.config.objects and name not in lookup.config.events:
            return None
        elif letter.topic.startswith(f"{lookup.topics.name}.writes."):
            known = lookup.schema(name).by_name
            decoded = Writes(lookup.schema(name), lookup.registry, letter.topic).decode(letter.value).fields
        else:
            owner = _object_of(lookup, letter)
            if owner is None:
                return None
            known, decoded = lookup.schema(owner).by_name, planner.changes(owner).decode(letter.value).fields
    except DataError:
        return None
    return {each: shown(value, known.get(each)) for each, value in decoded.items()}


def yaml_of(fields: Fields, schema: Mapping[str, FieldSchema]) -> str:
    """Fields as YAML, in the order of their names."""
    plain = {name: _plain(fields[name], schema.get(name)) for name in sorted(fields)}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=False)


def fields_of(text: str, schema: Mapping[str, FieldSchema]) -> dict[str, Value]:
    """
    The inverse of yaml_of(). An empty value clears the field.

    Raises:
        ConfigError: it is not valid YAML, or a field is unknown or is there twice. No message quotes a value.
        SchemaMismatch: a value does not fit its field.
    """
    if len(text) > _BYTES_MAX:
        raise ConfigError(f"The edited text is larger than {_BYTES_MAX // 1024 // 1024} MiB.")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}" if mark is not None else "somewhere"
        raise ConfigError(
            f"The edited text is not valid YAML ({place}). Put the value there in quotes."
        ) from None
    except (yaml.YAMLError, RecursionError):
        raise ConfigError("The edited text is not valid YAML.") from None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError("The edited text has no fields: write one line for each, e.g. `Name: Acme`.")
    found: dict[str, Value] = {}
    for name_node, value_node in node.value:
        name = name_node.value if isinstance(name_node, yaml.ScalarNode) else ""
        line = f"line {name_node.start_mark.line + 1}"
        if name not in schema:
            raise ConfigError(
                f"{line}: not a synced field. Write the field's API name, e.g. {next(iter(schema))}."
            )
        if name in found:
            raise ConfigError(f"{line}: {name} is there twice. Remove one of them.")
        found[name] = _value_of(schema[name], value_node)
    return found


def _value_of(field: FieldSchema, node: yaml.Node) -> Value:
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == _NULL else from_text_exactly(field, node.value)
    parts = node.value if isinstance(node, yaml.SequenceNode) else ()
    if field.kind is Kind.STRINGS and all(isinstance(part, yaml.ScalarNode) for part in parts):
        return choices(part.value for part in parts)
    raise SchemaMismatch(f"{field.name}: the value is not a valid {field.type} ({field.kind.value}).")


def _plain(value: Value, field: FieldSchema | None) -> Any:
    if field is not None and field.is_polymorphic:
        return value  # with the object that it refers to, which Salesforce's API would not show
    plain = shown(value, field)
    return str(plain) if isinstance(plain, Decimal) else plain


def _explained(letter: StoredLetter) -> Iterator[str]:
    # A line break of any kind would end the comment, and what follows it would be taken for a field.
    yield harmless(f"{letter.subject} {letter.key_text}, dead letter {letter.id}")
    yield harmless(f"{letter.code}: {letter.reason}")
    yield "Correct the fields, save and close. A line that you remove stays as it is; an empty value clears the field."


# What is done with the corrected fields.


def _of_refused(
    lookup: Lookup, planner: Planner, letter: StoredLetter, *, by: str, reason: str, now_ms: int
) -> Draft:
    name, key = letter.subject, letter.key_text
    rules = lookup.rules(name)
    if (side := rules.one_way_to) is not None:
        raise ConfigError(
            f"{name} is synced in one direction only, to {side}: edit the record at its source, and the whole record is sent again."
        )
    assert letter.value is not None
    write = Writes(rules.schema, lookup.registry, letter.topic).decode(letter.value)
    state = lookup.states(name, [key]).get(key)
    if state is None or not state.lives or not _waits(state, write.seq):
        raise DataError(
            f"{name} {key}: nothing waits because of this refusal any more. `salmon dlq discard {letter.id}` takes it off the list."
        )
    known = state.sides[SALESFORCE].exists is True if SALESFORCE in state.sides else False

    def plan(_: Fields, changed: Fields) -> Plan:
        for field in changed:
            if not rules.may_win(OPERATOR, field, known_to_salesforce=known):
                raise ConfigError(f"{field}: only Salesforce itself sets this field of {name}.")
        edit = Decision(name, key, changed, None, ()).change(
            by=by, reason=reason or f"salmon dlq edit {letter.id}", correlation="", now_ms=now_ms
        )
        codec = planner.changes(name)
        says = "The corrected fields are agreed, and go to every side."
        return Plan(Mend.SEND, says, (Output(codec.topic, letter.key, codec.encode(edit)),))

    fields = {each: value for each, value in write.fields.items() if each not in OWNED_BY_MERGE}
    return Draft(letter, fields, rules.schema.by_name, plan)


def _waits(state: State, seq: int) -> bool:
    return any(
        parked.why is Park.REFUSED and parked.group == seq
        for side in state.sides.values()
        for parked in side.parked.values()
    )


def _of_event(lookup: Lookup, letter: StoredLetter) -> Draft:
    known, codec = _event_schema(lookup, letter.subject)
    assert letter.value is not None

    def plan(fields: Fields, changed: Fields) -> Plan:
        if EVENT_UUID in changed:
            raise ConfigError(f"{EVENT_UUID}: this is the event's identity, and stays as it is.")
        return _carried(lookup, letter, codec.encode(fields))

    return Draft(letter, codec.decode(letter.value), known, plan)


def _of_change(lookup: Lookup, planner: Planner, letter: StoredLetter, planned: Plan) -> Draft:
    """A change that is published as an event, or an operator's."""
    owner = _object_of(lookup, letter)
    assert owner is not None
    assert letter.value is not None
    codec = planner.changes(owner)
    change = codec.decode(letter.value)
    if planned.mend is Mend.RETURN and change.op is not Op.EDIT:
        raise ConfigError(f"{letter.id} has no fields to edit. {planned.says}")

    def plan(fields: Fields, changed: Fields) -> Plan:
        named = None if change.changed is None else change.changed | changed.keys()
        kept = {name: value for name, value in fields.items() if value is not None}
        value = codec.encode(replace(change, fields=kept, changed=named))
        if planned.mend is Mend.CARRY:
            return _carried(lookup, letter, value)
        return Plan(Mend.RETURN, planned.says, (Output(letter.topic, letter.key, value),))

    return Draft(letter, change.fields, lookup.schema(owner).by_name, plan)


def _carried(lookup: Lookup, letter: StoredLetter, value: bytes) -> Plan:
    output = Output(lookup.topics.replays(letter.subject), letter.key, value, letter.raw_headers)
    return Plan(Mend.CARRY, f"{letter.queue} gets it with the corrected fields.", (output,))


def _object_of(lookup: Lookup, letter: StoredLetter) -> str | None:
    """The object of whose changes the letter is; None if it is not of any."""
    return next((name for name in lookup.config.objects if letter.topic == lookup.topics.changes(name)), None)


def _event_schema(lookup: Lookup, event: str) -> tuple[Mapping[str, FieldSchema], Events]:
    topic = lookup.topics.events(event)
    schema = object_schema(lookup.registry, topic)
    if schema is None:
        raise DataError(
            f"{event}: its schema is not registered. Start salesforce-source, which registers it."
        )
    return schema.by_name, Events(schema, lookup.registry, topic)
