"""A filter, a mask, a constant, a path of its own and a computed field, on real processes; and others while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from support.ring import Document, Ring, running_ring
from support.stacks import Stack

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

BY_WEB = {
    "fields": {"rename": {"MailingCity": "address.city"}},
    "transforms": [
        {"filter": 'Email != null && LeadSource == "Web"'},
        {"mask": {"fields": ["Phone"], "by": "keep_last"}},
        {"constant": {"source": "crm"}},
    ],
}
ANN = {
    "LastName": "Lee",
    "Email": "ann@acme.example",
    "LeadSource": "Web",
    "Phone": "+1 555 0101",
    "MailingCity": "Bonn",
}


def arrived(document: Document) -> bool:
    return bool(document["LastName"] == ANN["LastName"])


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """Contacts that came by the web."""
    records = {"Account": 0, "Contact": 0, "Opportunity": 0}
    with running_ring(embedded_stack, "flows", records=records, objects={"Contact": BY_WEB}) as ring:
        ring.start()
        ring.wait_equal()
        yield ring


def test_a_record_enters_the_collection_in_its_form_and_leaves_it_alone(ring: Ring) -> None:
    """It stays in the org as it is, and comes back whole."""
    key = ring.sf.Contact.create(ANN)["id"]
    document = ring.wait_document("contacts", key, arrived)
    shown = {name: document.get(name) for name in ("address", "source", "MailingCity")}
    assert shown == {"address": {"city": "Bonn"}, "source": "crm", "MailingCity": None}
    assert document["Phone"] != ANN["Phone"]
    assert document["Phone"].endswith("0101")
    ring.sf.Contact.update(key, {"Email": None})
    ring.wait_gone("contacts", key)
    assert ring.row("Contact", key)["IsDeleted"] is False
    ring.sf.Contact.update(key, {"Email": "lee@acme.example"})
    ring.wait_document(
        "contacts",
        key,
        lambda seen: seen["Email"] == "lee@acme.example" and seen["address"] == {"city": "Bonn"},
    )
    assert ring.conflicts == 0


def test_an_edit_of_the_document_comes_to_the_org_and_one_of_what_is_masked_does_not(ring: Ring) -> None:
    """The city by its path; the phone is put right."""
    key = ring.sf.Contact.create(ANN)["id"]
    document = ring.wait_document("contacts", key, arrived)
    edit = {"address.city": "Rome", "address.note": "ours", "Phone": "555"}
    ring.db.contacts.update_one({"_id": key}, {"$set": edit})
    ring.wait_row("Contact", key, lambda row: row["MailingCity"] == "Rome")
    right = ring.wait_document("contacts", key, lambda seen: seen["Phone"] == document["Phone"])
    assert right["address"] == {"city": "Rome", "note": "ours"}
    assert ring.row("Contact", key)["Phone"] == ANN["Phone"]


def test_another_filter_has_every_record_judged_again(ring: Ring) -> None:
    """What is wanted now comes, what is wanted no more goes; the sides are in step by it."""
    web = ring.sf.Contact.create(ANN)["id"]
    other = ring.sf.Contact.create({**ANN, "LeadSource": "Phone Inquiry"})["id"]
    ring.wait_document("contacts", web, arrived)
    told: dict[str, Any] = yaml.safe_load(ring.config_path.read_text())
    told["objects"]["Contact"]["transforms"][0] = {"filter": 'LeadSource == "Phone Inquiry"'}
    ring.config_path.write_text(yaml.safe_dump(told))
    ring.reload()
    ring.stop()
    ring.start()
    ring.wait_document("contacts", other, lambda seen: arrived(seen) and seen["source"] == "crm")
    ring.wait_gone("contacts", web)
    ring.wait_equal()
    assert ring.row("Contact", web)["IsDeleted"] is False


def test_a_computed_field_follows_the_record_and_another_expression(ring: Ring) -> None:
    """It is added while the sync runs, in documents that exist; an edit of it is set right again, and comes nowhere."""
    key = ring.sf.Contact.create({**ANN, "FirstName": "Ann", "LeadSource": "Phone Inquiry"})["id"]
    ring.wait_document("contacts", key, arrived)

    def is_shown(name: str) -> Callable[[Document], bool]:
        return lambda document: bool(document.get("names") == {"full": name})

    for expression, name in (
        ("FirstName + ' ' + LastName", "Ann Lee"),
        ("LastName + ', ' + FirstName", "Lee, Ann"),
    ):
        told: dict[str, Any] = yaml.safe_load(ring.config_path.read_text())
        fields = told["objects"]["Contact"]["fields"]
        fields["computed"], fields["rename"]["FullName"] = {"FullName": expression}, "names.full"
        ring.config_path.write_text(yaml.safe_dump(told))
        ring.reload()
        ring.stop()
        ring.start()
        ring.wait_document("contacts", key, is_shown(name))
        ring.wait_equal()
    ring.db.contacts.update_one({"_id": key}, {"$set": {"names.full": "mine", "FirstName": "Anna"}})
    ring.wait_row("Contact", key, lambda row: row["FirstName"] == "Anna")
    ring.wait_document("contacts", key, is_shown("Lee, Anna"))
    ring.wait_equal()
    assert ring.conflicts == 0
