"""Which fields of an object are synced, and where its documents have them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from salmon.config.matching import FieldName
from salmon.mongodb.paths import clashes_in, moved_names, usable_path


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
            if name in self.exclude or (self.include is not None and name not in self.include)
        ]
        if unsynced:
            faults.append(
                f"rename: {', '.join(unsynced)} is not synced, by include or exclude: remove it here or there"
            )
        others = {name: name for name in self.include or () if name not in self.exclude}
        faults += [f"rename: {each}" for each in clashes_in({**others, **self.rename})]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def paths(self) -> dict[str, str]:
        """Field -> path, without the fields that keep their own names."""
        return moved_names(self.rename)
