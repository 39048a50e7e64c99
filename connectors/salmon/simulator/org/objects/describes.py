"""
Describe files: the objects and fields of the simulated org.

Any folder with unchanged answers of `/sobjects/X/describe` makes an org, also from old API versions with fewer keys.
The two marker fields, which an administrator would add for Salmon, are added on request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from salmon.errors import ConfigError, SetupError
from salmon.foreign_json import json_in

Describe = dict[str, Any]  # one describe answer, as JSON

PACKAGED = Path(__file__).parents[2] / "describes"
SEQ_FIELD = "Salmon_Seq__c"
ID_FIELD = "Salmon_Id__c"
MARKER_NAMES = (SEQ_FIELD, ID_FIELD)

# Every key that a field has in current API versions, with the value of a plain nillable text field.
FIELD_DEFAULTS: dict[str, Any] = {
    "aggregatable": True, "aiPredictionField": False, "autoNumber": False, "byteLength": 0, "calculated": False,
    "calculatedFormula": None, "cascadeDelete": False, "caseSensitive": False, "compoundFieldName": None,
    "controllerName": None, "createable": True, "custom": True, "defaultValue": None, "defaultValueFormula": None,
    "defaultedOnCreate": False, "dependentPicklist": False, "deprecatedAndHidden": False, "digits": 0,
    "displayLocationInDecimal": False, "encrypted": False, "externalId": False, "extraTypeInfo": None,
    "filterable": True, "filteredLookupInfo": None, "formulaTreatNullNumberAsZero": False, "groupable": True,
    "highScaleNumber": False, "htmlFormatted": False, "idLookup": False, "inlineHelpText": None, "label": "",
    "length": 0, "mask": None, "maskType": None, "name": "", "nameField": False, "namePointing": False,
    "nillable": True, "permissionable": True, "picklistValues": [], "polymorphicForeignKey": False, "precision": 0,
    "queryByDistance": False, "referenceTargetField": None, "referenceTo": [], "relationshipName": None,
    "relationshipOrder": None, "restrictedDelete": False, "restrictedPicklist": False, "scale": 0,
    "searchPrefilterable": False, "soapType": "xsd:string", "sortable": True, "type": "string", "unique": False,
    "updateable": True, "writeRequiresMasterRead": False,
}  # fmt: skip

MARKER_FIELDS: tuple[Mapping[str, Any], ...] = (
    {
        **FIELD_DEFAULTS, "name": SEQ_FIELD, "label": "Salmon Seq", "type": "double", "soapType": "xsd:double",
        "precision": 18, "scale": 0, "groupable": False,
        "inlineHelpText": "The number of Salmon's last write. Only the integration user edits it.",
    },
    {
        **FIELD_DEFAULTS, "name": ID_FIELD, "label": "Salmon Id", "length": 255, "byteLength": 765,
        "externalId": True, "unique": True, "caseSensitive": True, "idLookup": True,
        "inlineHelpText": "The record's key where it is not its Id. Only the integration user edits it.",
    },
)  # fmt: skip


def load_describes(
    folder: Path = PACKAGED,
    *,
    objects: Iterable[str] | None = None,
    marker_fields: bool = False,
    marker_names: tuple[str, str] = MARKER_NAMES,
) -> dict[str, Describe]:
    """
    Read the describes of a folder, by object name.

    Args:
        folder: Holds `*.json` files; those that are no sObject describe (a global describe, say) are passed over.
        objects: Only these, in this order; None for all, by name.
        marker_fields: Add Salmon's marker fields where they are missing.
        marker_names: What they are called: the one with the number, and the one with the key.

    Raises:
        SetupError: The folder has no describe at all, or none of an object that was asked for; or one that is no
            whole describe, or two of one object.
    """
    found: dict[str, Describe] = {}
    read_from: dict[str, str] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json_in(path.read_text("utf-8"))
        except OSError as error:
            raise SetupError(
                f"{path.name} in the describe folder cannot be read ({error.strerror}); correct or delete it"
            ) from None
        except ValueError as error:
            raise SetupError(
                f"{path.name} in the describe folder is not JSON ({error}); correct or delete it"
            ) from None
        if isinstance(content, dict) and isinstance(content.get("fields"), list) and content.get("name"):
            name = content["name"]
            if name in found:
                raise SetupError(
                    f"{read_from[name]} and {path.name} in the describe folder both describe {name}; remove one of them"
                )
            _check_fields(path.name, content)
            found[name], read_from[name] = content, path.name
    if not found:
        raise SetupError(
            f"{folder} holds no sObject describe; put answers of /sobjects/X/describe there, as X.json"
        )
    wanted = sorted(found) if objects is None else list(dict.fromkeys(objects))
    if missing := [name for name in wanted if name not in found]:
        raise SetupError(
            f"no describe of {', '.join(missing)} in {folder}; it has {', '.join(sorted(found))}"
        )
    return {
        name: with_marker_fields(found[name], marker_names) if marker_fields else found[name]
        for name in wanted
    }


def chosen_objects(
    folder: Path, objects: Iterable[str] | None, records: Iterable[str]
) -> dict[str, Describe]:
    """
    Return the describes that the options --describe, --objects and --records of a command ask for.

    Raises:
        ConfigError: One of the options cannot be fulfilled; the message names it.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"--describe: {folder} is not a folder. Give a folder with describe files (<sObject>.json)."
        )
    there = load_describes(folder)
    wanted = list(there) if objects is None else list(dict.fromkeys(objects))
    if missing := [name for name in wanted if name not in there]:
        raise ConfigError(
            f"--objects: {', '.join(missing)} has no describe file in {folder}, which has {', '.join(there)}. Correct one of them."
        )
    if strangers := sorted(set(records) - set(wanted)):
        raise ConfigError(
            f"--records names {', '.join(strangers)}, but the objects are {', '.join(wanted)}. Correct one of them."
        )
    return {name: there[name] for name in wanted}


def _check_fields(file: str, describe: Describe) -> None:
    """Raises SetupError where what is no describe's field stands among the fields, or the Id among them is missing."""
    fields = describe["fields"]
    if not all(
        isinstance(field, dict) and isinstance(field.get("name"), str) and field.get("type")
        for field in fields
    ):
        raise SetupError(
            f"{file} in the describe folder has a field without a name or a type; download it again"
        )
    names = [field["name"] for field in fields]
    if "Id" not in names and "ReplayId" not in names:  # Platform events have no Id.
        raise SetupError(
            f"{file} in the describe folder: the describe of {describe['name']} has no field Id, which every object"
            " has; download it again, with all its fields"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SetupError(
            f"{file} in the describe folder describes {', '.join(twice)} twice; remove one of each"
        )


def with_marker_fields(describe: Describe, names: tuple[str, str] = MARKER_NAMES) -> Describe:
    """
    A copy of *describe* that has Salmon's two marker fields; custom fields come last, as in a real org. Platform events
    are no records and get none.
    """
    present = {field["name"] for field in describe["fields"]}
    wanted = () if "ReplayId" in present else MARKER_FIELDS
    called = [{**field, "name": name} for field, name in zip(wanted, names, strict=False)]
    added = [field for field in called if field["name"] not in present]
    return {**describe, "fields": [*describe["fields"], *added]}
