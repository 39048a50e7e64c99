"""
Objects that every org has though no describe file names them: Organization, RecordType, User, Profile and Group.

They can be queried and described, and are read only here. A describe file of such an object takes the place of the one
made here. Their fields are those that clients ask for (Object Reference; Organization: all that were recorded).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from salmon.simulator.org.ids import STANDARD_PREFIXES, id18, make_id
from salmon.simulator.org.objects.describes import FIELD_DEFAULTS, Describe
from salmon.simulator.org.sessions import User
from salmon.simulator.org.transaction import Stored

ADMINISTRATOR_PROFILE = make_id(STANDARD_PREFIXES["Profile"], 1)

_AUDIT = "CreatedDate:datetime CreatedById:reference:User:CreatedBy LastModifiedDate:datetime LastModifiedById:reference:User:LastModifiedBy SystemModstamp:datetime"
# NAME:TYPE or NAME:TYPE:TARGETS:RELATIONSHIP, in the order of a real describe; no type is a text.
_FIELDS = {
    "Organization": (
        "Id:id Name Division Street City State PostalCode Country Latitude:double Longitude:double GeocodeAccuracy"
        " Address:address Phone:phone Fax:phone PrimaryContact DefaultLocaleSidKey TimeZoneSidKey LanguageLocaleKey"
        " ReceivesInfoEmails:boolean ReceivesAdminInfoEmails:boolean PreferencesRequireOpportunityProducts:boolean"
        " PreferencesTransactionSecurityPolicy:boolean PreferencesTerminateOldestSession:boolean"
        " PreferencesConsentManagementEnabled:boolean PreferencesAutoSelectIndividualOnMerge:boolean"
        " PreferencesLightningLoginEnabled:boolean PreferencesOnlyLLPermUserAllowed:boolean FiscalYearStartMonth:int"
        " UsesStartDateAsFiscalYearName:boolean DefaultAccountAccess DefaultContactAccess DefaultOpportunityAccess"
        " DefaultLeadAccess DefaultCaseAccess DefaultCalendarAccess DefaultPricebookAccess DefaultCampaignAccess"
        " DelegatedAuthenticationServiceUrl:url SystemModstamp:datetime ComplianceBccEmail:email UiSkin"
        " SignupCountryIsoCode TrialExpirationDate:datetime NumKnowledgeService:int OrganizationType NamespacePrefix"
        " InstanceName IsSandbox:boolean WebToCaseDefaultOrigin MonthlyPageViewsUsed:int"
        " MonthlyPageViewsEntitlement:int IsReadOnly:boolean CreatedDate:datetime"
        " CreatedById:reference:User:CreatedBy LastModifiedDate:datetime LastModifiedById:reference:User:LastModifiedBy"
    ),
    "RecordType": (
        "Id:id Name DeveloperName NamespacePrefix Description BusinessProcessId:reference:BusinessProcess:BusinessProcess"
        f" SobjectType IsActive:boolean {_AUDIT}"
    ),
    "User": (
        "Id:id Username LastName FirstName Name CompanyName Title Email:email Phone:phone Alias IsActive:boolean"
        " TimeZoneSidKey UserRoleId:reference:UserRole:UserRole LocaleSidKey EmailEncodingKey"
        f" ProfileId:reference:Profile:Profile UserType LanguageLocaleKey ManagerId:reference:User:Manager {_AUDIT}"
    ),
    "Profile": f"Id:id Name UserType Description {_AUDIT}",
    "Group": f"Id:id Name DeveloperName RelatedId:reference:User,UserRole:Related Type Email:email OwnerId:reference:User:Owner {_AUDIT}",
}
_SOAP_TYPES = {
    "boolean": "xsd:boolean",
    "datetime": "xsd:dateTime",
    "double": "xsd:double",
    "int": "xsd:int",
    "address": "urn:address",
}
_ADDRESS_OF_ORGANIZATION = (
    "Street",
    "City",
    "State",
    "PostalCode",
    "Country",
    "Latitude",
    "Longitude",
    "GeocodeAccuracy",
)
_FALSE = (
    "activateable", "compactLayoutable", "createable", "custom", "customSetting", "deepCloneable", "deletable",
    "deprecatedAndHidden", "feedEnabled", "hasSubtypes", "isInterface", "isSubtype", "listviewable", "mergeable",
    "mruEnabled", "replicateable", "searchLayoutable", "triggerable", "undeletable", "updateable",
)  # fmt: skip


def setup_describes(present: Mapping[str, Any]) -> dict[str, Describe]:
    """The describes of these objects, but for those of *present*."""
    return {name: _describe(name, fields) for name, fields in _FIELDS.items() if name not in present}


def setup_rows(
    org_id: str, users: Mapping[str, User], describes: Mapping[str, Describe], stamp: str
) -> Iterator[tuple[str, dict[str, Stored]]]:
    """(object, row) of what is in these objects: the organization, its users, and the record types of the describes."""
    administrator = next(iter(users))
    stamps: dict[str, Stored] = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), stamp)
    stamps |= dict.fromkeys(("CreatedById", "LastModifiedById"), administrator)
    yield "Organization", {
        "Id": org_id, "Name": "Salmon in a box", "Country": "US", "PrimaryContact": users[administrator].name,
        "DefaultLocaleSidKey": "en_US", "TimeZoneSidKey": "GMT", "LanguageLocaleKey": "en_US",
        "FiscalYearStartMonth": 1, "OrganizationType": "Developer Edition", "InstanceName": "SIM1",
        "SignupCountryIsoCode": "US", "UiSkin": "Theme3", "DefaultAccountAccess": "Edit",
        "DefaultContactAccess": "ControlledByParent", "DefaultOpportunityAccess": "Edit",
        "DefaultLeadAccess": "ReadEditTransfer", "DefaultCaseAccess": "ReadEditTransfer",
        "DefaultCalendarAccess": "HideDetailsInsert", "DefaultPricebookAccess": "ReadSelect",
        "DefaultCampaignAccess": "All", "WebToCaseDefaultOrigin": "Web", "NumKnowledgeService": 2,
        "MonthlyPageViewsUsed": 0, "MonthlyPageViewsEntitlement": 0, **stamps,
    }  # fmt: skip
    profile = {"Id": ADMINISTRATOR_PROFILE, "Name": "System Administrator", "UserType": "Standard"}
    yield "Profile", {**profile, **stamps}
    for user in users.values():
        yield "User", {
            "Id": user.user_id, "Username": user.username, "Name": user.name, "Email": user.email, "IsActive": True,
            "FirstName": user.first_name, "LastName": user.last_name, "Alias": user.first_name[:8].lower(),
            "ProfileId": ADMINISTRATOR_PROFILE, "UserType": "Standard", "TimeZoneSidKey": "GMT",
            "LocaleSidKey": "en_US", "LanguageLocaleKey": "en_US", "EmailEncodingKey": "UTF-8", **stamps,
        }  # fmt: skip
    for name, describe in describes.items():
        for info in describe.get("recordTypeInfos") or ():
            record_type_id = id18(info.get("recordTypeId"))
            if record_type_id is None or info.get("master"):  # The master is no record.
                continue
            row = {"Id": record_type_id, "Name": info.get("name"), "DeveloperName": info.get("developerName")}
            yield "RecordType", {**row, "SobjectType": name, "IsActive": info.get("active", True), **stamps}


def _describe(name: str, fields: str) -> Describe:
    base = f"/services/data/v64.0/sobjects/{name}"
    return {
        **dict.fromkeys(_FALSE, False), "layoutable": False, "queryable": True, "retrieveable": True,
        "searchable": name in {"User", "Group"}, "name": name, "label": name, "labelPlural": f"{name}s",
        "keyPrefix": STANDARD_PREFIXES[name], "actionOverrides": [], "childRelationships": [], "namedLayoutInfos": [],
        "recordTypeInfos": [], "supportedScopes": [], "associateEntityType": None, "associateParentEntity": None,
        "urls": {"sobject": base, "describe": f"{base}/describe", "rowTemplate": f"{base}/{{ID}}"},
        "fields": [_field(name, *spec.split(":")) for spec in fields.split()],
    }  # fmt: skip


def _field(
    owner: str, name: str, kind: str = "string", targets: str = "", relationship: str | None = None
) -> dict[str, Any]:
    is_id = kind in {"id", "reference"}
    length = (
        18
        if is_id
        else 255
        if kind in {"string", "url"}
        else 80
        if kind == "email"
        else 40
        if kind == "phone"
        else 0
    )
    in_address = owner == "Organization" and name in _ADDRESS_OF_ORGANIZATION
    return {
        **FIELD_DEFAULTS, "name": name, "label": name, "type": kind, "custom": False, "createable": False,
        "updateable": False, "permissionable": False, "nillable": kind not in {"id", "boolean"}, "length": length,
        "byteLength": length if is_id else 3 * length, "referenceTo": targets.split(",") if targets else [],
        "relationshipName": relationship, "nameField": name == "Name", "defaultedOnCreate": name in {"Id", "IsActive"},
        "idLookup": kind == "id" or (owner, name) in {("User", "Username"), ("User", "Email")},
        "polymorphicForeignKey": "," in targets, "compoundFieldName": "Address" if in_address else None,
        "soapType": "tns:ID" if is_id else _SOAP_TYPES.get(kind, "xsd:string"),
        "filterable": kind != "address", "groupable": kind not in {"datetime", "double", "address"},
    }  # fmt: skip
