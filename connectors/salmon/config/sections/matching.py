"""How the records that both sides had before the sync are found to be the same. What is done with it is for salmon.match."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from salmon.errors import ConfigError
from salmon.model.schema import FieldSchema, ObjectSchema

FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,79}$")]


class MatchConfig(BaseModel):
    """
    By which fields records of both sides are the same before the first load. The object is not loaded before
    `salmon match --apply` has given them common keys, or `salmon match --waive` says that they need none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: tuple[FieldName, ...] = Field(
        min_length=1,
        max_length=8,
        description="The fields; all of them must agree. A record of the org and a document are a pair if no other on either side "
        "has the same values.",
    )
    nearly: Literal["doubt", "pair"] = Field(
        default="doubt",
        description="What values are that differ only in capital letters, blanks, or the punctuation of a phone number. doubt: a "
        "person decides. pair: they count as the same.",
    )

    @field_validator("on")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("names a field twice: name each once")
        return value

    def fields_of(self, schema: ObjectSchema) -> tuple[FieldSchema, ...]:
        """
        Return the fields to match by.

        Args:
            schema: Of the object, as it is synced.

        Raises:
            ConfigError: one of them is not synced, or cannot be compared.
        """
        at = f"objects.{schema.name}.match.on"
        for name in self.on:
            if name not in schema.by_name:
                raise ConfigError(
                    f"{at}: {schema.name} has no field {name} that is synced. Name a field that both sides have, and that "
                    f"`fields` does not leave out."
                )
            if schema.by_name[name].reference_to:
                raise ConfigError(
                    f"{at}: {name} refers to other records, which have different keys on the two sides. Match by fields with "
                    f"values of the record's own."
                )
        return tuple(schema.by_name[name] for name in self.on)
