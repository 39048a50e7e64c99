"""Which fields of an object are synced, and where its documents have them."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from salmon.config.sections.matching import FieldName
from salmon.errors import ConfigError
from salmon.mongodb.paths import clashes_in, moved_names, usable_path
from salmon.transforms.computed import Computed
from salmon.transforms.flow import Choose, Flow

COMPUTED_MAX: Final = 50


class FieldsConfig(BaseModel):
    """Which fields of an object are synced."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: tuple[str, ...] | None = Field(
        default=None, description="Sync only these fields. Without it: all fields that can be synced."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Do not sync these fields.")
    rename: dict[FieldName, str] = Field(
        default_factory=dict,
        description="Where documents have a field, if not under its own name: field -> path, e.g. BillingCity: address.city. If "
        "it is changed later, mongodb-source moves the values in all documents.",
    )

    computed: dict[FieldName, str] = Field(
        default_factory=dict,
        max_length=COMPUTED_MAX,
        description="Fields that documents have and Salesforce has not: name -> expression, e.g. FullName: FirstName + ' ' + "
        "LastName. An edit of such a field in MongoDB is set right again. With another expression, all records get the new value. One "
        "that is taken out here stays in the documents as it was, as the application's own.",
    )

    @field_validator("computed")
    @classmethod
    def _expressions(cls, value: dict[str, str]) -> dict[str, str]:
        faults = []
        for name, text in value.items():
            try:
                Computed(name, text).checked()
            except ConfigError as error:
                faults.append(f"{name} {error}")
        if faults:
            raise ValueError("; ".join(faults))
        return value

    @model_validator(mode="after")
    def _paths_apart(self) -> FieldsConfig:
        faults = []
        for name, path in self.rename.items():
            try:
                usable_path(path)
            except ValueError as error:
                faults.append(f"rename.{name}: the path {error}")
        unsynced = [
            name
            for name in self.rename
            if name not in self.computed
            and (name in self.exclude or (self.include is not None and name not in self.include))
        ]
        if unsynced:
            faults.append(
                f"rename: {', '.join(unsynced)} is not synced, by include or exclude: remove it here or there"
            )
        if taken := sorted(self.computed.keys() & {*(self.include or ()), *self.exclude}):
            faults.append(
                f"computed: {', '.join(taken)} is named in include or exclude, too: remove it there"
            )
        others = {name: name for name in self.include or () if name not in self.exclude}
        others |= {name: name for name in self.computed}
        faults += [f"rename: {each}" for each in clashes_in({**others, **self.rename})]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def paths(self) -> dict[str, str]:
        """Field -> path, without the fields that keep their own names."""
        return moved_names(self.rename)


def chosen(fields: FieldsConfig, flow: Flow) -> FieldsConfig:
    """The object's `fields`, and what ReplaceField says of them after it, in order. Each renames what the one before it has named."""
    for _, step in flow.of(Choose):
        include, rename = fields.include, dict(fields.rename)
        if step.include is not None:
            include = tuple(name for name in step.include if include is None or name in include)
        named = {path: name for name, path in rename.items()}
        rename |= {named.get(old, old): new for old, new in step.renames.items()}
        exclude = (*fields.exclude, *step.exclude)
        fields = fields.model_copy(update={"include": include, "exclude": exclude, "rename": rename})
    return fields
