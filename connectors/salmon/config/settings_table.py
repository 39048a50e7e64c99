"""Prints the configuration's models as the README's table of settings, so that nobody has to type it a second time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from salmon.plugin.marks import is_live

_NAMES: Final = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true, false",
    SecretStr: "text, secret",
}
_BOUNDS: Final = ((Ge, "ge", "at least"), (Gt, "gt", "above"), (Le, "le", "at most"), (Lt, "lt", "below"))


def table(model: type[BaseModel], keys: Mapping[str, str]) -> str:
    """
    Render *model* as a Markdown table.

    Args:
        keys: What stands for a mapping's keys: path of the mapping -> word, e.g. {"objects": "<sObject>"}.
    """
    lines = ["| Key | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{path}` | {_escaped(accepted(field))} | {_escaped(_default(field, group))} | {_escaped(_meaning(field))} |"
        for path, field, group in leaves(model, "", keys)
    ]
    return "\n".join(lines) + "\n"


def leaves(
    model: type[BaseModel], prefix: str, keys: Mapping[str, str], group: str = ""
) -> Iterator[tuple[str, FieldInfo, str]]:
    """The path of each key, what it is, and the path of the optional settings that it is one of."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        kind = without_none(field.annotation)
        within = group
        if path in keys:
            path, kind = f"{path}.{keys[path]}", get_args(kind)[-1]
            within = path if group else ""
            if get_origin(kind) is tuple:
                path, kind = f"{path}[]", get_args(kind)[0]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            is_optional = not field.is_required() and field.default is None and path not in keys
            yield from leaves(kind, f"{path}.", keys, path if is_optional else within)
        else:
            yield path, field, group


def _meaning(field: FieldInfo) -> str:
    return f"{field.description or ''}{' *Reload.*' if is_live(field) else ''}"


def accepted(field: FieldInfo) -> str:
    """What the value of a setting may be, in words."""
    bounds = [
        f"{word} {_number(getattr(bound, attribute))}"
        for bound in field.metadata
        for kind, attribute, word in _BOUNDS
        if isinstance(bound, kind)
    ]
    return ", ".join([_type(without_none(field.annotation)), *bounds])


def _number(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _type(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin in {tuple, list, frozenset}:
        return f"list of {_type(inner[0])}"
    if origin in {dict, Mapping}:
        return f"mapping to {_type(inner[1])}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "mappings"
    return _NAMES.get(kind, "text or number")


def _default(field: FieldInfo, group: str) -> str:
    if field.is_required():
        return f"required, if there is `{group}`" if group else "required"
    default = field.get_default(call_default_factory=True) if field.default_factory is None else None
    if default is None or default is PydanticUndefined or default == ():
        return ""
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def without_none(kind: Any) -> Any:
    if get_origin(kind) in {Union, UnionType}:
        branches = [branch for branch in get_args(kind) if branch is not type(None)]
        return branches[0] if len(branches) == 1 else None
    return kind


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
