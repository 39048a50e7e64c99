"""The fault change_schema: an admin gives an object a field, takes one away, or gives one another type, while others work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from salmon.simulator.org.faults import BadFault, Params
from salmon.simulator.org.objects.describes import Describe

_KINDS: Final = ("add", "remove", "retype")


def schema_change(describe: Describe, params: Params) -> tuple[list[str], list[dict[str, Any]]]:
    """
    Which fields of an object go, and which come or take the place of one of their name.

    Raises:
        BadFault: *params* name a field that the object does not have, or do not say what one is.
    """
    known = {field["name"]: field for field in describe["fields"]}
    if not any(kind in params for kind in _KINDS):
        raise BadFault(f"change_schema: needs one of {', '.join(_KINDS)}")
    gone = _listed(params.get("remove"))
    retyped, added = _listed(params.get("retype")), _listed(params.get("add"))
    for name in (*gone, *(each.get("name") for each in retyped if isinstance(each, Mapping))):
        if name not in known or name == "Id":
            raise BadFault(f"change_schema: {describe['name']} has no field {name!r} that could be changed")
    for each in (*retyped, *added):
        if not isinstance(each, Mapping) or not all(
            isinstance(each.get(key), str) for key in ("name", "type")
        ):
            raise BadFault(
                f"change_schema: {each!r} is not a field as a describe has it. Give its name and its type at least"
            )
    for each in added:
        if each["name"] in known:
            raise BadFault(
                f"change_schema: {describe['name']} has the field {each['name']} already; use retype"
            )
    kept = ({**known[each["name"]], **each} for each in retyped)
    return gone, [*kept, *({"custom": each["name"].endswith("__c"), **each} for each in added)]


def _listed(given: Any) -> list[Any]:
    """One or several."""
    if given is None:
        return []
    return given if isinstance(given, list) else [given]
