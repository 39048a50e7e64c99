"""
State and country picklists: the code and the name of a state or country go together, and a state needs its country.

An org has them if the describes have fields like BillingStateCode and BillingCountryCode; their picklist values are the
valid codes with the names as labels, and `validFor` says which states are of which country. The refusals' texts are
those of an org ("Standard Countries for Address Picklists" and what integrations report).
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from salmon.simulator.org.objects.object_types import ObjectType
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.transaction import Stored

_WRONG_COUNTRY = (
    "There's a problem with this country, even though it may appear correct. Please select a country/territory from "
    "the list of valid countries.: {label}"
)
_WRONG_STATE = (
    "There's a problem with this state, even though it may appear correct. Please select a state from the list of "
    "valid states.: {label}"
)
_NO_COUNTRY = "A country/territory must be specified before specifying a state value for field: {label}"


@dataclass(frozen=True, slots=True)
class _Place:
    """A field with a name, its field with the code, and which of both there are."""

    name_field: str
    code_field: str
    label: str
    names: Mapping[str, str]  # code -> name
    countries: Mapping[str, frozenset[int]]  # of a state's code: the places of its countries among all

    def settle(self, row: dict[str, Stored], said: Collection[str], wrong: str) -> str | None:
        """Let name and code agree, by the one that was said, and return the code."""
        by_code = self.code_field in said
        given = row.get(self.code_field if by_code else self.name_field)
        if given is None:
            row.pop(self.name_field, None)
            row.pop(self.code_field, None)
            return None
        code = self._code_of(str(given), by_code=by_code)
        if code is None:
            field = self.code_field if by_code else self.name_field
            raise Refusal("FIELD_INTEGRITY_EXCEPTION", wrong.format(label=self.label), field)
        row[self.code_field], row[self.name_field] = code, self.names[code]
        return code

    def _code_of(self, given: str, *, by_code: bool) -> str | None:
        for code, name in self.names.items():
            if given.lower() == (code if by_code else name).lower():
                return code
        return None


def settle_addresses(object_type: ObjectType, row: dict[str, Stored], said: Collection[str]) -> None:
    """
    Let the states and countries of *row* agree, after a call that set the fields *said*.

    Raises:
        Refusal: FIELD_INTEGRITY_EXCEPTION: there is no such country or state, or no country for the state.
    """
    for state, country in _addresses(object_type):
        touched = {state.name_field, state.code_field, country.name_field, country.code_field}
        if not touched & set(said):
            continue
        country_code = country.settle(row, said, _WRONG_COUNTRY)
        state_given = row.get(state.code_field) or row.get(state.name_field)
        if state_given is not None and country_code is None:
            raise Refusal(
                "FIELD_INTEGRITY_EXCEPTION", _NO_COUNTRY.format(label=state.label), state.name_field
            )
        state_code = state.settle(row, said, _WRONG_STATE)
        place = list(country.names).index(country_code) if country_code else -1
        if state_code is not None and place not in state.countries.get(state_code, frozenset()):
            message = _WRONG_STATE.format(label=state.label)
            raise Refusal("FIELD_INTEGRITY_EXCEPTION", message, state.name_field)


@lru_cache(maxsize=64)  # not of every org that ever was
def _addresses(object_type: ObjectType) -> tuple[tuple[_Place, _Place], ...]:
    """(state, country) of each address that has codes for both."""
    entries: dict[str, Mapping[str, Any]] = {entry["name"]: entry for entry in object_type.describe["fields"]}
    found = []
    for name in entries:
        stem = name.removesuffix("StateCode")
        if name != stem and f"{stem}CountryCode" in entries:
            found.append((_place(entries, f"{stem}State"), _place(entries, f"{stem}Country")))
    return tuple(found)


def _place(entries: Mapping[str, Mapping[str, Any]], name: str) -> _Place:
    values = [each for each in entries[f"{name}Code"].get("picklistValues") or () if each.get("active", True)]
    names = {str(each["value"]): str(each.get("label") or each["value"]) for each in values}
    countries = {str(each["value"]): _bits(each["validFor"]) for each in values if each.get("validFor")}
    label = str(entries[name].get("label") or name) if name in entries else name
    return _Place(name, f"{name}Code", label, names, countries)


def _bits(valid_for: str) -> frozenset[int]:
    """The places of the controlling values; the first is the most significant bit of the first byte."""
    data = base64.b64decode(valid_for)
    return frozenset(n for n in range(8 * len(data)) if data[n // 8] & (0x80 >> n % 8))
