"""
Converting a lead, as a person does it who qualifies it: the lead becomes an account, a contact and, if wanted, an opportunity.

Whoever is named in their place is taken, and keeps its values. The lead stays, as converted, and says whom it has become. Change
events are a CREATE of each that is new, and an UPDATE of the lead. Which status counts as converted, an org says in LeadStatus, which
the box does not have: here it is any that the lead may have. That a converted lead is refused with this code is our reading.
Sources: SOAP API Developer Guide, "convertLead()"; Object Reference, "Lead".
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.saving.records import Tables, Unit
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Row, Stored

LEAD: Final = "Lead"
# Field of the contact -> of the lead; of the account, the same.
_CONTACT: Final = {
    **{name: name for name in ("Salutation", "FirstName", "LastName", "Title", "Email", "Phone", "MobilePhone", "Fax")},
    **{f"Mailing{part}": part for part in ("Street", "City", "State", "PostalCode", "Country")},
    "LeadSource": "LeadSource",
}  # fmt: skip
_ACCOUNT: Final = {
    "Name": "Company",
    **{name: name for name in ("Phone", "Fax", "Website", "Industry", "AnnualRevenue", "NumberOfEmployees")},
    **{f"Billing{part}": part for part in ("Street", "City", "State", "PostalCode", "Country")},
}
_MONTHS_A_QUARTER: Final = 3


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the caller says of one lead; "" where nothing is said."""

    status: str
    account_id: str = ""
    contact_id: str = ""
    opportunity_name: str = ""
    owner_id: str = ""
    without_opportunity: bool = False


@dataclass(frozen=True, slots=True)
class Converted:
    """What a lead has become."""

    account_id: str
    contact_id: str
    opportunity_id: str | None


def convert(
    org: Tables, unit: Unit, table: Table, lead_id: str, said: Conversion, *, now_ms: int
) -> Converted:
    """
    Convert a lead within a unit of its own.

    Raises:
        Refusal: it cannot be converted so. The caller rolls the unit back.
    """
    if table.type.name != LEAD:
        raise Refusal("INVALID_ID_FIELD", "leadId is not the id of a lead", "leadId")
    lead = table.alive(lead_id)
    if lead.get("IsConverted"):
        raise Refusal("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
    status = table.type.field("Status")
    if not said.status or (status is not None and said.status not in status.picklist_values):
        raise Refusal("INVALID_STATUS", f"invalid convertedStatus: {said.status}", "Status")
    owner = {"OwnerId": said.owner_id} if said.owner_id else {}
    account_id = said.account_id
    if account_id:
        org.table("Account").alive(account_id)
    else:
        account_id = unit.insert("Account", _taken(org, "Account", lead, _ACCOUNT) | owner)
    contact_id = said.contact_id
    if contact_id:
        if org.table("Contact").alive(contact_id).get("AccountId") != account_id:
            raise Refusal("INVALID_CROSS_REFERENCE_KEY", "the contact is not of this account", "contactId")
    else:
        contact_id = unit.insert(
            "Contact", _taken(org, "Contact", lead, _CONTACT) | {"AccountId": account_id} | owner
        )
    opportunity_id = None
    if not said.without_opportunity:
        stages = org.table("Opportunity").type.field("StageName")
        deal: dict[str, Any] = {
            "Name": said.opportunity_name or lead.get("Company"),
            "AccountId": account_id,
            "CloseDate": _end_of_quarter(now_ms),
            "StageName": stages.picklist_values[0] if stages is not None else "Prospecting",
        }
        opportunity_id = unit.insert("Opportunity", deal | owner)
    changes: dict[str, Stored] = {
        "Status": said.status,
        "IsConverted": True,
        "ConvertedDate": datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat(),
        "ConvertedAccountId": account_id,
        "ConvertedContactId": contact_id,
        "ConvertedOpportunityId": opportunity_id,
    }
    for name, value in changes.items():
        if table.type.field(name) is not None:
            unit.point(table, lead_id, name, value)
    return Converted(account_id, contact_id, opportunity_id)


def _taken(org: Tables, object_name: str, lead: Row, fields: dict[str, str]) -> dict[str, Any]:
    """What a new record takes over from the lead, as far as the org has these fields."""
    object_type = org.table(object_name).type
    return {
        name: lead[source]
        for name, source in fields.items()
        if lead.get(source) is not None and object_type.field(name) is not None
    }


def _end_of_quarter(now_ms: int) -> str:
    day = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    month = (day.month - 1) // _MONTHS_A_QUARTER * _MONTHS_A_QUARTER + _MONTHS_A_QUARTER
    return day.replace(month=month, day=monthrange(day.year, month)[1]).isoformat()
