"""Settings of what happens to records on their way (`transforms`), in Salmon's short form and in Kafka Connect's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from salmon.config.computing import faults_of_names
from salmon.config.faults import as_value_error
from salmon.config.plugging import keys_of, settings_read, step_of
from salmon.config.sections.fields import FieldsConfig, chosen
from salmon.errors import ConfigError
from salmon.model.change import MONGODB, SALESFORCE
from salmon.model.sides import OWN_ROSTER
from salmon.runtime import discovery
from salmon.transforms.computed import Computed
from salmon.transforms.connect import (
    TAKES,
    predicate_refused,
    renames_read,
    spec_read,
    transform_named,
)
from salmon.transforms.expressions import condition
from salmon.transforms.flow import (
    BOTH,
    Cast,
    Choose,
    Constant,
    Filter,
    Flow,
    Step,
    Timestamps,
    Transform,
    is_of_a_side,
)
from salmon.transforms.forms import TYPES
from salmon.transforms.masks import KEY_BYTES_MIN, Mask

T = TypeVar("T")

TRANSFORMS_MAX: Final = 50
_FOR_A_SIDE: Final = ("Filter", "MaskField")  # of Kafka Connect's: those that can be for any side
_PROPERTY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")


class MaskConfig(BaseModel):
    """What a side gets instead of a field's value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: tuple[str, ...] = Field(min_length=1, description="The fields.")
    by: Literal["redact", "hash", "keep_last"] = Field(
        default="redact",
        description="redact: *** for a text; any other value is left out. hash: HMAC-SHA256 of the text in hexadecimal, so equal "
        "values stay equal. keep_last: stars, and the last `keep` characters.",
    )
    keep: int = Field(default=4, ge=0, le=100, description="keep_last: how many characters stay.")
    key: SecretStr | None = Field(
        default=None,
        description=f"hash: the secret key, of {KEY_BYTES_MIN} bytes or more. With another key, all records are masked again.",
    )

    @model_validator(mode="after")
    def _key_for_a_hash(self) -> Self:
        if (self.by == "hash") != (self.key is not None):
            raise ValueError("key is for by: hash, which needs one, e.g. ${env:MASK_KEY}")
        if self.key is not None and len(self.key.get_secret_value().encode()) < KEY_BYTES_MIN:
            raise ValueError(f"key must have {KEY_BYTES_MIN} bytes or more, or it can be guessed")
        return self


class TransformConfig(BaseModel):
    """One step: `filter`, `mask` or `constant`, or a transform of Kafka Connect's by `type`, with its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    filter: str | None = Field(
        default=None,
        description='Only records of which this holds, e.g. Email != null && Type in ["Customer", "Partner"].',
    )
    mask: MaskConfig | None = Field(default=None, description="Fields that a side gets masked.")
    constant: dict[str, str | int | float | bool] | None = Field(
        default=None,
        min_length=1,
        description="Properties with the same value in each document that Salmon writes: name -> value.",
    )
    to: str | None = Field(
        default=None,
        description="For which side a filter or a mask is: mongodb, salesforce, a further side, or both (MongoDB and Salesforce). Default: "
        "mongodb; for an object with direction: to_salesforce, salesforce.",
    )
    type: str | None = Field(
        default=None,
        description=f"A transform of Kafka Connect's, with its own keys: {', '.join(TAKES)}. Or a transform or predicate of an installed "
        "plugin (entry point groups salmon.transforms, salmon.predicates).",
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, validate_default=True, description="Of a plugin: its own settings."
    )
    predicate: str | None = Field(
        default=None,
        description="Filter: an expression. As in Kafka Connect, records of which it holds are dropped.",
    )
    negate: bool = Field(
        default=False,
        description="Filter: keep the records of which `predicate` holds, and drop the others. A plugin's predicate: drop the records of "
        "which it holds, and keep the others.",
    )
    fields: tuple[str, ...] = Field(default=(), description="MaskField, a plugin's transform: the fields.")
    replacement: str | int | float | bool | None = Field(
        default=None,
        description="MaskField: what each gets instead of its value. Default: 0, false, or nothing.",
    )
    spec: str | None = Field(
        default=None, description="Cast: field:type, separated by commas; the types in MongoDB documents."
    )
    field: str | None = Field(default=None, description="TimestampConverter: the field.")
    target_type: Literal["string", "unix", "Date", "Time", "Timestamp"] | None = Field(
        default=None, alias="target.type", description="TimestampConverter: its type in MongoDB documents."
    )
    format: str | None = Field(
        default=None, description="TimestampConverter to string: e.g. yyyy-MM-dd'T'HH:mm:ss.SSSXXX."
    )
    unix_precision: Literal["seconds", "milliseconds", "microseconds", "nanoseconds"] = Field(
        default="milliseconds", alias="unix.precision", description="TimestampConverter to unix."
    )
    static_field: str | None = Field(
        default=None, alias="static.field", description="InsertField: the name of a constant."
    )
    static_value: str | int | float | bool | None = Field(
        default=None, alias="static.value", description="InsertField: its value."
    )
    include: tuple[str, ...] | None = Field(
        default=None, description="ReplaceField: like `fields.include` of the object."
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="ReplaceField: like `fields.exclude` of the object."
    )
    renames: tuple[str, ...] = Field(
        default=(), description="ReplaceField: old:new, like `fields.rename` of the object."
    )

    @field_validator("filter", "predicate", mode="before")
    @classmethod
    def _not_connects(cls, value: Any) -> Any:
        named = value.get("type") if isinstance(value, Mapping) else value
        if isinstance(named, str) and (refusal := predicate_refused(named)):
            raise ValueError(refusal)
        return value

    @field_validator("filter", "predicate")
    @classmethod
    def _is_condition(cls, value: str | None) -> str | None:
        if value is not None:
            as_value_error(condition, value)
        return value

    @field_validator("to")
    @classmethod
    def _a_side(cls, value: str | None) -> str | None:
        own = (*OWN_ROSTER.names, BOTH)
        if value is None or value in own or value in (further := discovery.further_sides()):
            return value
        raise ValueError(f"is text (str), but must be one of {', '.join([*own, *further])}")

    @field_validator("constant")
    @classmethod
    def _names_of_constants(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for name in value or ():
            as_value_error(_require_property, name)
        return value

    @field_validator("type")
    @classmethod
    def _here(cls, value: str | None) -> str | None:
        return None if value is None else as_value_error(transform_named, value, discovery.transforms)

    @field_validator("settings")
    @classmethod
    def _of_the_plugin(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        named = info.data.get("type")
        return value if named is None or named in TAKES else as_value_error(settings_read, named, value)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        given = {self._written(name) for name in self.model_fields_set}
        own = given & {"filter", "mask", "constant"}
        if self.type is None:
            extra = given - own - {"to"}
            if len(own) != 1 or extra:
                raise ValueError(
                    "must be one of filter, mask and constant, or a transform of Kafka Connect's with `type` and its own keys"
                    + (f" (found: {', '.join(sorted(extra))})" if extra else "")
                )
        else:
            allowed = TAKES[self.type] if self.type in TAKES else as_value_error(keys_of, self.type)
            if wrong := sorted(given - allowed - {"type", "to"}):
                raise ValueError(
                    f"{self.type} has no key {', '.join(wrong)}. Its keys: {', '.join(sorted(allowed))}"
                )
        steps = as_value_error(self._steps)
        if "to" in given and not any(map(is_of_a_side, steps)):
            raise ValueError(
                f"`to` is for filters and masks; {self._kind} is for documents in MongoDB: remove it"
            )
        return self

    def transforms(self, at: str, direction: str) -> Iterator[Transform]:
        """What it says, for one object. *at*: the path of its key. *direction*: of the object."""
        side = self.to or (SALESFORCE if direction == "to_salesforce" else MONGODB)
        for step in self._steps():
            # Everything else is about documents alone.
            yield Transform(at, step, side if is_of_a_side(step) else MONGODB)

    @property
    def _kind(self) -> str:
        return self.type or next(
            name for name in ("filter", "mask", "constant") if getattr(self, name) is not None
        )

    @classmethod
    def _written(cls, name: str) -> str:
        return cls.model_fields[name].alias or name

    def _steps(self) -> list[Step]:
        """Raises ConfigError: a key is missing, or its value is not what it must be."""
        match self._kind:
            case "filter":
                return [Filter(self.filter or "")]
            case "mask":
                assert self.mask is not None
                key = self.mask.key.get_secret_value().encode() if self.mask.key else b""
                return [Mask(self.mask.fields, self.mask.by, self.mask.keep, key)]
            case "constant":
                return [Constant(name, value) for name, value in (self.constant or {}).items()]
            case "Filter":
                return [Filter(self._required(self.predicate, "predicate"), drops=not self.negate)]
            case "MaskField":
                text = None if self.replacement is None else _text(self.replacement)
                return [Mask(self._required(self.fields, "fields"), "replace", replacement=text)]
            case "Cast":
                return [Cast(spec_read(self._required(self.spec, "spec"), TYPES))]
            case "TimestampConverter":
                field, target = (
                    self._required(self.field, "field"),
                    self._required(self.target_type, "target.type"),
                )
                return [Timestamps(field, target, self.format or "", self.unix_precision)]
            case "InsertField":
                name = self._required(self.static_field, "static.field")
                _require_property(name)
                if self.static_value is None:
                    raise ConfigError(f"{self.type} needs static.value")
                return [Constant(name, self.static_value)]
            case "ReplaceField":
                return [Choose(self.include, self.exclude, renames_read(self.renames))]
        return [step_of(self._kind, self.settings, self.fields, negate=self.negate)]

    def _required(self, value: T | None, key: str) -> T:
        if value is None or value == ():
            raise ConfigError(f"{self.type} needs {key}")
        return value


def keys_of_transform(name: str) -> Iterator[tuple[str, FieldInfo]]:
    """
    The keys that may stand beside the `type` of a transform or predicate, each with what it is; of a plugin also those below `settings`.

    Raises:
        ConfigError: there is none of that name, or the plugin cannot be used.
    """
    allowed = TAKES[name] if name in TAKES else keys_of(name)
    if name in _FOR_A_SIDE:
        allowed |= {"to"}
    for key, field in TransformConfig.model_fields.items():
        written = field.alias or key
        if written in allowed and written != "settings":
            yield written, field
    if "settings" in allowed:
        own = discovery.transform_plugin(name).settings.model_fields
        yield from ((f"settings.{field.alias or key}", field) for key, field in own.items())


def flow_of(
    at: Sequence[tuple[str, TransformConfig]], direction: str, made: Sequence[Transform] = ()
) -> Flow:
    """
    Put the transforms of one object together.

    Args:
        at: Each with the path of its key.
        direction: Of the object.
        made: Its computed fields.
    """
    return Flow((*made, *(each for path, config in at for each in config.transforms(path, direction))))


def computed_of(at: str, fields: FieldsConfig, numbers: str) -> tuple[Transform, ...]:
    """An object's computed fields. *at*: the path of the object's key."""
    return tuple(
        Transform(f"{at}.fields.computed.{name}", Computed(name, text, numbers == "decimal"))
        for name, text in fields.computed.items()
    )


def faults_of_flows(raw: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """
    What is wrong with the transforms of each object together: the path of a key, and a sentence.

    Args:
        raw: The configuration as written. What is wrong by itself is skipped, since its model reports it.
    """
    objects, top = mapping(raw.get("objects")), mapping(raw.get("transforms"))
    for name in top:
        if name not in objects:
            yield (
                ("transforms", str(name)),
                "is not an object of this sync. Add it to `objects`, or correct the name.",
            )
    for name, each in objects.items():
        own, direction = mapping(each).get("transforms"), mapping(each).get("direction")
        steps = [
            *_usable(("objects", str(name), "transforms"), own),
            *_usable(("transforms", str(name)), top.get(name)),
        ]
        made = _computed_in(f"objects.{name}", mapping(each).get("fields"))
        flow = flow_of([(".".join(path), config) for path, config in steps], str(direction), made)
        if steps:
            key = ("objects", str(name), "transforms") if own else ("transforms", str(name))
        else:
            key = ("objects", str(name), "fields")
        sides = sides_of(mapping(each), raw)
        faults = (
            *flow.faults(sides),
            *_faults_of_direction(flow, str(direction)),
            *_faults_of_sides(flow, sides),
            *_faults_of_fields(mapping(each).get("fields"), flow),
        )
        yield from ((key, f"{fault}.") for fault in faults)
        for below, said in faults_of_names(mapping(each), _chosen(mapping(each).get("fields"), flow), flow):
            yield (key if below == ("transforms",) else ("objects", str(name), *below)), said


def _chosen(raw: Any, flow: Flow) -> FieldsConfig:
    """The object's fields; all, if what is said of them is wrong by itself."""
    try:
        return chosen(FieldsConfig.model_validate(raw or {}), flow)
    except ValidationError:
        return FieldsConfig()


def _computed_in(at: str, raw: Any) -> tuple[Transform, ...]:
    try:
        return computed_of(at, FieldsConfig.model_validate(raw or {}), "double")
    except ValidationError:
        return ()  # its own faults are reported by its model


def _usable(key: tuple[str, ...], raw: Any) -> Iterator[tuple[tuple[str, ...], TransformConfig]]:
    for number, each in enumerate(raw if isinstance(raw, list) else ()):
        try:
            yield (*key, str(number)), TransformConfig.model_validate(each)
        except ValidationError:
            continue


def mapping(node: Any) -> Mapping[Any, Any]:
    """A node of the file if it is a mapping; else an empty one, because its own model reports it."""
    return node if isinstance(node, Mapping) else {}


def _faults_of_direction(flow: Flow, direction: str) -> Iterator[str]:
    """What is meant for a side that gets nothing."""
    if direction not in {"to_mongodb", "to_salesforce"}:
        return
    for each in flow.transforms:
        is_told = is_of_a_side(each.step) or isinstance(each.step, Constant | Computed)
        if is_told and f"to_{each.to}" != direction:
            yield (
                f"{each.at} is for {each.to}, but the direction of the object is {direction}. Remove it, or correct `to` or `direction`"
            )


def sides_of(config: Mapping[Any, Any], raw: Mapping[Any, Any]) -> tuple[str, ...]:
    """The sides that have an object, as it is written."""
    if config.get("direction", "both") != "both":
        return OWN_ROSTER.names
    chosen = config.get("sides")
    further = (
        str(name) for name in mapping(raw.get("sides")) if not isinstance(chosen, list) or name in chosen
    )
    return (*OWN_ROSTER.names, *further)


def _faults_of_sides(flow: Flow, sides: Sequence[str]) -> Iterator[str]:
    """What is meant for a side that does not have the object."""
    for each in flow.transforms:
        if strange := sorted(set(each.sides) - set(sides)):
            yield (
                f"{each.at} is for {', '.join(strange)}, which does not have this object. Name one of {', '.join(sides)}, or correct"
                f" `sides`"
            )


def _faults_of_fields(raw: Any, flow: Flow) -> Iterator[str]:
    """What is wrong with an object's `fields` after ReplaceField, if it was right before."""
    try:
        fields = chosen(FieldsConfig.model_validate(raw or {}), flow)
    except ValidationError:
        return  # its own faults are reported by its model
    try:
        FieldsConfig.model_validate(fields.model_dump())
    except ValidationError as error:
        yield from (f"ReplaceField: {each['msg'].removeprefix('Value error, ')}" for each in error.errors())


def _require_property(name: str) -> None:
    """Refuse a name that cannot be a constant's: it would be another one's property, or a path to one."""
    if not _PROPERTY.fullmatch(name) or name.startswith(("_id", "_salmon", "_sync")):
        raise ConfigError(
            f"{ascii(name)[1:-1]} cannot be a constant: choose a name of letters, digits and underscores that begins with a letter"
        )


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
