"""
Describe -> the Avro schema of an object's change events, made the way Salesforce makes it.

The product reads such schemas and has code of its own for that; this module shares none of it, so that a
mistake in one of the two shows. What a transaction looks like in such events is for salmon.simulator.events.cdc.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

import fastavro
from fastavro.schema import to_parsing_canonical_form

from salmon.simulator.org.transaction import Row

Json = Mapping[str, Any]

NAMESPACE: Final = "com.sforce.eventbus"

# Orders in which Salesforce lists the fields of these objects' events (recorded schemas of orgs of 2023 to 2026,
# and the *ChangeEvent pages of the Object Reference). It is not the order of their describes.
_KNOWN_ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    entity: tuple(names.split())
    for entity, names in {
        "Account": """
            Name Type RecordTypeId ParentId BillingAddress ShippingAddress Phone Fax AccountNumber Website Sic
            Industry AnnualRevenue NumberOfEmployees Ownership TickerSymbol Description Rating Site OwnerId
            CreatedDate CreatedById LastModifiedDate LastModifiedById PersonContactId PersonMailingAddress
            PersonOtherAddress PersonMobilePhone PersonHomePhone PersonOtherPhone PersonAssistantPhone PersonEmail
            PersonTitle PersonDepartment PersonAssistantName PersonLeadSource PersonBirthdate
            PersonHasOptedOutOfEmail PersonHasOptedOutOfFax PersonDoNotCall PersonLastCURequestDate
            PersonLastCUUpdateDate PersonEmailBouncedReason PersonEmailBouncedDate PersonIndividualId
            PersonPronouns PersonGenderIdentity Jigsaw JigsawCompanyId CleanStatus AccountSource DunsNumber
            Tradestyle NaicsCode NaicsDesc YearStarted SicDesc DandbCompanyId OperatingHoursId""",
        "Contact": """
            AccountId IsPersonAccount Name OtherAddress MailingAddress Phone Fax MobilePhone HomePhone OtherPhone
            AssistantPhone ReportsToId Email Title Department AssistantName LeadSource Birthdate Description OwnerId
            HasOptedOutOfEmail HasOptedOutOfFax DoNotCall CreatedDate CreatedById LastModifiedDate LastModifiedById
            LastCURequestDate LastCUUpdateDate EmailBouncedReason EmailBouncedDate Jigsaw JigsawContactId
            CleanStatus IndividualId Pronouns GenderIdentity ContactSource BuyerAttributes""",
        "Lead": """
            Name Title Company Address Phone Email Website Description LeadSource Status Industry Rating
            AnnualRevenue NumberOfEmployees OwnerId IsConverted ConvertedDate ConvertedAccountId ConvertedContactId
            ConvertedOpportunityId IsUnreadByOwner CreatedDate CreatedById LastModifiedDate LastModifiedById Jigsaw
            JigsawContactId EmailBouncedReason EmailBouncedDate IndividualId""",
        "Opportunity": """
            AccountId IsPrivate Name Description StageName Amount Probability ExpectedRevenue
            TotalOpportunityQuantity CloseDate Type NextStep LeadSource IsClosed IsWon ForecastCategory
            ForecastCategoryName CampaignId HasOpportunityLineItem Pricebook2Id OwnerId CreatedDate CreatedById
            LastModifiedDate LastModifiedById LastStageChangeDate ContactId ContractId LastAmountChangedHistoryId
            LastCloseDateChangedHistoryId""",
        "Case": """
            CaseNumber ContactId AccountId AssetId ProductId EntitlementId SourceId BusinessHoursId ParentId
            SuppliedName SuppliedEmail SuppliedPhone SuppliedCompany Type Status Reason Origin IsVisibleInSelfService
            Subject Priority Description IsClosed ClosedDate IsEscalated HasCommentsUnreadByOwner
            HasSelfServiceComments OwnerId IsClosedOnCreate IsSelfServiceClosed SlaStartDate SlaExitDate IsStopped
            StopStartDate CreatedDate CreatedById LastModifiedDate LastModifiedById""",
    }.items()
}

# The standard objects that can be selected (Change Data Capture Developer Guide, "Standard Objects That Support
# Change Events"); besides them, every custom object. A star stands for any ending.
_SELECTABLE: Final = """
    Account AccountContactRole ActionCadence* Asset AssetWarranty AssignedResource AuthorizationFormConsent Campaign
    CampaignMember CampaignMemberStatus Case CaseRelatedIssue ChangeRequest* CommSubscriptionConsent Contact
    ContactPointAddress ContactPointConsent ContactPointEmail ContactPointPhone ContactPointTypeConsent
    ContentDocument ContentDocumentLink ContentVersion Contract ContractLineItem EmailMessage EmailTemplate
    Engagement* Entitlement Event EventRelation Incident* Individual Lead ListEmail LiveChatTranscript Location Macro
    MacroInstruction MaintenanceAsset MaintenancePlan Opportunity OpportunityContactRole OpportunityLineItem
    OpportunitySplit Order OrderItem PartyConsent Pricebook2 PricebookEntry Problem* ProcessInstance
    ProcessInstanceStep Product2 ProductConsumed ProductItem ProductRequest* QuickText Quote QuoteLineItem
    Recommendation ServiceContract SocialPost Task TaskRelation User VideoCall VoiceCall WorkOrder WorkOrderLineItem
    WorkPlan* WorkStep* WorkType WarrantyTerm
"""

# Not in the body of a change event (Change Data Capture Developer Guide, Change Event Body Fields): the Id is in
# the header, and the others are derived, differ by user, or are no data of the record.
_LEFT_OUT_NAMES: Final = frozenset(
    {
        "Id", "IsDeleted", "SystemModstamp", "MasterRecordId", "LastActivityDate", "LastViewedDate",
        "LastReferencedDate", "PhotoUrl", "Fiscal", "FiscalQuarter", "FiscalYear", "Comments",
    }
)  # fmt: skip

# Members of the nested records, in their order. Those after the star are there if the org has them.
_ADDRESS: Final = (
    "Street", "City", "State", "PostalCode", "Country", "*StateCode", "*CountryCode", "Latitude", "Longitude",
    "GeocodeAccuracy",
)  # fmt: skip
_PERSON_NAME: Final = ("Salutation", "FirstName", "LastName", "*MiddleName", "*InformalName", "*Suffix")
_LOCATION: Final = ("Latitude", "Longitude")

# describe type -> Avro type and the Type of the doc string (Pub/Sub API, Event Deserialization Considerations).
# A field of a type that is neither here nor a compound (base64, anyType, ...) has no place in an event.
_PLAIN_TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "id": ("string", "EntityId"),
    "reference": ("string", "EntityId"),
    "string": ("string", "Text"),
    "textarea": ("string", "Text"),
    "phone": ("string", "Phone"),
    "url": ("string", "Url"),
    "email": ("string", "Email"),
    "picklist": ("string", "DynamicEnum"),
    "combobox": ("string", "DynamicEnum"),
    "multipicklist": ("string", "MultiEnum"),
    "encryptedstring": ("string", "EncryptedText"),
    "boolean": ("boolean", "Boolean"),
    "int": ("int", "Integer"),
    "long": ("long", "Long"),
    "double": ("double", "Double"),
    "currency": ("double", "Currency"),
    "percent": ("double", "Percent"),
    "date": ("long", "DateOnly"),
    "datetime": ("long", "DateTime"),
    "time": ("long", "TimeOnly"),
}
_SHORT_TEXT_MAX: Final = 255  # characters; a text area that holds more is stored as a "clob"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


def _date_ms(text: Any) -> int:
    return (date.fromisoformat(text).toordinal() - _EPOCH_DAY) * 86_400_000


def _datetime_ms(text: Any) -> int:
    since = datetime.fromisoformat(text) - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def _time_ms(text: Any) -> int:
    moment = time.fromisoformat(text)
    return (moment.hour * 3600 + moment.minute * 60 + moment.second) * 1000 + moment.microsecond // 1000


# How a value as REST shows it becomes one of the event. No logical types: dates and times are longs in ms.
_CONVERSIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "boolean": bool,
    "int": int,
    "long": int,
    "double": float,
    "currency": float,
    "percent": float,
    "date": _date_ms,
    "datetime": _datetime_ms,
    "time": _time_ms,
}


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Where a field of a row stands in the event, and so in its bitmaps. One object for each field of a schema."""

    row_field: str  # as REST names it, e.g. "BillingCity"
    top: int  # the event record's field; 0 is the header
    event_field: str  # e.g. "BillingAddress"
    nested: int | None = None  # the field of the nested record; None for a field that is no member of one
    member: str | None = None  # e.g. "City"
    convert: Callable[[Any], Any] = str  # a value that is not null, as REST shows it -> as the event holds it
    person: bool | None = None  # of person accounts alone, of business accounts alone, or of both

    def is_of(self, row: Row) -> bool:
        """Whether records like this one have the field here."""
        return self.person is None or self.person is (row.get("IsPersonAccount") is True)


@dataclass(frozen=True, slots=True, eq=False)
class EventSchema:
    """The schema of one object's change events at one time; another describe makes another."""

    entity: str  # "Account", "My__c"
    name: str  # "AccountChangeEvent", "My__ChangeEvent"
    schema_id: str
    schema_json: str
    slots: tuple[Slot, ...]  # in the order of the event's fields
    parsed: Any = field(repr=False)  # fastavro's form


def event_schema(describe: Json) -> EventSchema:
    """
    Make the schema of the change events of an object.

    Args:
        describe: The answer of `/sobjects/X/describe`, of any API version.

    Returns:
        The header first, then the standard fields (in Salesforce's order where that is known, else in the
        describe's), then the custom ones, then those of person accounts (`__pc`). Components stand inside their
        compounds. Formula fields and what Salesforce leaves out are left out; roll-up summaries are there.
    """
    entity = str(describe["name"])
    by_name = {str(f["name"]): f for f in describe["fields"]}
    members = _components(by_name)
    inside = {component["name"] for components in members.values() for component in components.values()}
    names = _ordered(entity, [f for name, f in by_name.items() if name not in inside and _is_carried(f)])

    fields: list[dict[str, Any]] = [_HEADER]
    slots: list[Slot] = []
    defined: set[str] = set()
    for top, name in enumerate(names, start=1):
        avro_type, doc, own_slots = _event_field(entity, top, by_name[name], members, defined)
        fields.append({"name": name, "type": avro_type, "doc": doc, "default": None})
        slots.extend(own_slots)
    event_name = event_name_of(entity)
    schema = {"type": "record", "name": event_name, "namespace": NAMESPACE, "fields": fields}
    return EventSchema(
        entity=entity,
        name=event_name,
        schema_id=schema_id_of(schema),
        schema_json=json.dumps(schema, separators=(",", ":")),
        slots=tuple(slots),
        parsed=fastavro.parse_schema(schema),
    )


def event_name_of(entity: str) -> str:
    """Account -> AccountChangeEvent, My__c -> My__ChangeEvent (Change Data Capture Developer Guide)."""
    return f"{entity.removesuffix('__c')}__ChangeEvent" if entity.endswith("__c") else f"{entity}ChangeEvent"


def plain_field(entity: str, f: Json) -> dict[str, Any] | None:
    """A field that is no compound, as an Avro schema has it; None for one of a type that no event carries."""
    if f["type"] not in _PLAIN_TYPES:
        return None
    avro_type, doc = _plain_type(f)
    return {
        "name": f["name"],
        "type": ["null", avro_type],
        "doc": doc + _custom_id(entity, f),
        "default": None,
    }


def conversion_of(f: Json) -> Callable[[Any], Any]:
    """How a value of the field that is not null, as REST shows it, becomes one of an event."""
    return _CONVERSIONS.get(f["type"], str)


@lru_cache(maxsize=4096)  # asked for each event
def can_be_selected(entity: str) -> bool:
    """
    Whether Change Data Capture can be switched on for the object. Not for documents, attachments and notes, for
    histories, feeds and shares, or for what is no object with records of its own (`__e`, `__mdt`, `__b`, `__x`).
    """
    return entity.endswith("__c") or any(fnmatchcase(entity, pattern) for pattern in _SELECTABLE.split())


def schema_id_of(schema: Json) -> str:
    """Base64url, without padding, of the MD5 of the schema's Avro parsing canonical form: 22 characters."""
    canonical = to_parsing_canonical_form(fastavro.parse_schema(dict(schema)))
    digest = hashlib.md5(canonical.encode(), usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _is_carried(f: Json) -> bool:
    formula = f.get("calculated") and f.get("calculatedFormula") is not None
    picture = f.get("extraTypeInfo") == "imageurl" and not _is_custom(f)
    left_out = f["name"] in _LEFT_OUT_NAMES and not _is_custom(f)
    return not (formula or picture or left_out) and (f["type"] in _PLAIN_TYPES or _record_of(f) is not None)


def _is_custom(f: Json) -> bool:
    return bool(f.get("custom")) or f["name"].endswith(("__c", "__pc"))


def _ordered(entity: str, carried: Sequence[Json]) -> list[str]:
    standard = [f for f in carried if not _is_custom(f)]
    known = _KNOWN_ORDERS.get(entity)
    if known is None:
        names = [f["name"] for f in standard]
    else:
        # A standard field that the known order lacks belongs to a feature of the org. One that nobody can set
        # on a new record is derived, and stays out; any other stands after the field it follows in the describe.
        standard = [f for f in standard if f["name"] in known or f.get("createable")]
        present = {f["name"] for f in standard}
        names = [name for name in known if name in present]
        before = None
        for f in standard:
            if f["name"] not in known:
                names.insert(0 if before is None else names.index(before) + 1, f["name"])
            before = f["name"]
    custom = [f["name"] for f in carried if _is_custom(f)]
    names += [name for name in custom if not name.endswith("__pc")]
    return names + [name for name in custom if name.endswith("__pc")]


def _components(by_name: Mapping[str, Json]) -> dict[str, dict[str, Json]]:
    """Compound field -> member -> the component's describe, for every compound that has a nested record."""
    found: dict[str, dict[str, Json]] = {name: {} for name, f in by_name.items() if _record_of(f) is not None}
    for name, f in by_name.items():
        compound = f.get("compoundFieldName")
        if compound in found and compound != name:
            record = _record_of(by_name[compound])
            assert record is not None
            for member in (m.lstrip("*") for m in record[1]):
                if name in _component_names(compound, member):
                    found[compound][member] = f
    return found


def _component_names(compound: str, member: str) -> tuple[str, ...]:
    """BillingAddress, City -> BillingCity; Name, LastName -> LastName; Place__c, Latitude -> Place__Latitude__s."""
    custom = f"{compound.removesuffix('__c')}__{member}__s"
    return (compound.removesuffix("Address") + member, member, custom)


def _record_of(f: Json) -> tuple[str, tuple[str, ...]] | None:
    """The nested record's name and members, for a compound field."""
    match f["type"], f.get("extraTypeInfo"):
        case "address", _:
            return "Address", _ADDRESS
        case "location", _:
            return "Location", _LOCATION
        case _, "personname" if f["name"] == "Name":
            return "PersonName", _PERSON_NAME
        case _, "switchablepersonname" if f["name"] == "Name":
            return "Switchable_PersonName", _PERSON_NAME
    return None


def _event_field(
    entity: str, top: int, f: Json, members: Mapping[str, Mapping[str, Json]], defined: set[str]
) -> tuple[list[Any], str, list[Slot]]:
    """Avro type, doc string and slots of one field; *defined* are the nested records that the schema has by now."""
    name = f["name"]
    record = _record_of(f)
    if record is None:
        plain = plain_field(entity, f)
        assert plain is not None, name
        return plain["type"], plain["doc"], [_slot(f, top, name)]
    record_name, possible = record
    # One record type serves all fields of its kind: it has a member if any of them has it in this org.
    in_use = {member for found in members.values() for member in found}
    shown = [m.lstrip("*") for m in possible if not m.startswith("*") or m[1:] in in_use]
    branch: Any = record_name
    if record_name not in defined:
        defined.add(record_name)
        branch = {"type": "record", "name": record_name, "fields": [_member(record_name, m) for m in shown]}
    doc = f"Data:{record_name}" + _custom_id(entity, f)
    components = members[name]
    slots = [_slot(components[m], top, name, i, m) for i, m in enumerate(shown) if m in components]
    if record_name == "Switchable_PersonName":
        # A business account's name is the string branch; the record is for person accounts.
        of_persons = [replace(slot, person=True) for slot in slots]
        return ["null", "string", branch], doc, [replace(_slot(f, top, name), person=False), *of_persons]
    return ["null", branch], doc, slots


def _slot(f: Json, top: int, event_field: str, nested: int | None = None, member: str | None = None) -> Slot:
    return Slot(f["name"], top, event_field, nested, member, conversion_of(f))


def _member(record_name: str, member: str) -> dict[str, Any]:
    number = record_name in {"Address", "Location"} and member in {"Latitude", "Longitude"}
    return {"name": member, "type": ["null", "double" if number else "string"], "default": None}


def _plain_type(f: Json) -> tuple[str, str]:
    """The Avro type and the doc string's role and Type."""
    name, describe_type = f["name"], f["type"]
    avro_type, doc_type = _PLAIN_TYPES[describe_type]
    role = "Data"
    if describe_type == "reference":
        role = "ForeignKey"
    elif name == "CreatedDate":
        role = "CreatedDate"
    elif name in {"JigsawCompanyId", "JigsawContactId"}:
        role, doc_type = "ExternalForeignKey", "ExternalId"
    elif describe_type == "picklist" and f.get("restrictedPicklist") and not _is_custom(f):
        doc_type = "StaticEnum"
    elif describe_type == "textarea" and f.get("htmlFormatted"):
        doc_type = "HtmlStringPlusClob"
    elif describe_type == "textarea" and f.get("length", 0) > _SHORT_TEXT_MAX:
        doc_type = "StringPlusClob"
    return avro_type, f"{role}:{doc_type}"


def _custom_id(entity: str, f: Json) -> str:
    """The custom field's own id at the end of the doc string; a describe has none, so one is made of the names."""
    if not _is_custom(f):
        return ""
    digest = hashlib.md5(f"{entity}.{f['name']}".encode(), usedforsecurity=False).digest()
    return ":00N" + base64.b64encode(digest, b"Az").decode()[:12]


_STRINGS: Final = {"type": "array", "items": "string"}
_CHANGE_TYPES: Final = (
    "CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE",
    "GAP_OVERFLOW", "SNAPSHOT",
)  # fmt: skip
_HEADER: Final[dict[str, Any]] = {
    "name": "ChangeEventHeader",
    "type": {
        "type": "record",
        "name": "ChangeEventHeader",
        "fields": [
            {"name": "entityName", "type": "string"},
            {"name": "recordIds", "type": _STRINGS},
            {"name": "changeType", "type": {"type": "enum", "name": "ChangeType", "symbols": _CHANGE_TYPES}},
            {"name": "changeOrigin", "type": "string"},
            {"name": "transactionKey", "type": "string"},
            {"name": "sequenceNumber", "type": "int"},
            {"name": "commitTimestamp", "type": "long"},
            {"name": "commitNumber", "type": "long"},
            {"name": "commitUser", "type": "string"},
            {"name": "nulledFields", "type": _STRINGS},
            {"name": "diffFields", "type": _STRINGS},
            {"name": "changedFields", "type": _STRINGS},
        ],
    },
    "doc": "Data:ComplexValueType",
}
