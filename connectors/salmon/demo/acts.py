"""
The acts of the demo: the hard cases of a two-way sync. Each act uses its own records.

An act reports what it saw. It passes if the expected result appeared on both sides in time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import requests
from bson.objectid import ObjectId
from simple_salesforce.exceptions import SalesforceResourceNotFound

from salmon.demo.conflicts import Conflicts
from salmon.demo.events import OPENED, SHIPMENTS, SHIPPED, Subscriber
from salmon.demo.people import Application
from salmon.model.policies import Conflict

T = TypeVar("T")

WITHIN_S: Final = 20.0
_LOOK_S: Final = 0.05
_TRIES: Final = 5
_CONFLICT_WITHIN_S: Final = 2.0  # the edit of the other side arrives on its own


@dataclass(frozen=True, slots=True)
class Act:
    """The result of an act."""

    name: str
    title: str
    passed: bool
    detail: str  # what was seen, in a sentence
    took_s: float


class NotSo(Exception):
    """The expected result did not appear in time."""


@dataclass(slots=True)
class Scene:
    """What the acts use. *records*: object -> Ids that nobody else edits."""

    org: Any  # a simple-salesforce client
    application: Application
    conflicts: Conflicts
    control_url: str
    opened: Subscriber  # to Account_Opened__e
    records: Mapping[str, list[str]]
    api_address: str = ""
    within_s: float = WITHIN_S

    def another(self, name: str) -> str:
        """Return a record that no act has used."""
        return self.records[name].pop()

    def in_org(self, name: str, key: str) -> Mapping[str, Any]:
        """Return the record as the org has it; {} if it does not exist."""
        try:
            row: Mapping[str, Any] = getattr(self.org, name).get(key)
        except SalesforceResourceNotFound:
            return {}
        return row

    def document(self, name: str, key: Any) -> Mapping[str, Any]:
        """Return the document; {} if it does not exist."""
        return self.application.collection(name).find_one({"_id": key}) or {}

    def edit_document(self, name: str, key: Any, **fields: Any) -> None:
        """Edit a document as an application does."""
        self.application.collection(name).update_one({"_id": key}, {"$set": fields})

    def edit_in_org(self, name: str, key: str, **fields: Any) -> None:
        """Edit a record as a person does."""
        getattr(self.org, name).update(key, fields)

    def both(self, name: str, key: str, **fields: Any) -> bool:
        """Whether both sides show these values."""
        shown = (self.document(name, key), self.in_org(name, key))
        return all(side.get(field) == value for side in shown for field, value in fields.items())

    def until(self, what: str, look: Callable[[], T]) -> T:
        """Wait until *look* returns something true, and return that. Raises NotSo if it does not do so in time."""
        deadline = time.monotonic() + self.within_s
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise NotSo(f"this did not happen within {self.within_s:.0f} s: {what}")
            time.sleep(_LOOK_S)
        return seen


def played(scene: Scene, name: str, title: str, play: Callable[[Scene], str]) -> Act:
    """Play one act."""
    began = time.monotonic()
    try:
        detail, passed = play(scene), True
    except NotSo as unfulfilled:
        detail, passed = str(unfulfilled), False
    return Act(name, title, passed, detail, time.monotonic() - began)


def at_once(*edits: Callable[[], object]) -> None:
    """Make edits as nearly at the same time as threads can."""
    ready = threading.Barrier(len(edits))
    errors: list[Exception] = []

    def edit(one: Callable[[], object]) -> None:
        ready.wait()
        try:
            one()
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=edit, args=(one,), daemon=True) for one in edits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# The acts, in the order in which they are played.


def different_fields(scene: Scene) -> str:
    """Two people edit one record at once, but not the same field of it."""
    key = scene.another("Account")
    at_once(
        lambda: scene.edit_in_org("Account", key, Website="https://salmon.example/ladder"),
        lambda: scene.edit_document("Account", key, Fax="(555) 010-0199"),
    )
    scene.until(
        "both edits on both sides",
        lambda: scene.both("Account", key, Website="https://salmon.example/ladder", Fax="(555) 010-0199"),
    )
    return "Website from Salesforce and Fax from MongoDB: both edits are on both sides"


def same_field(scene: Scene) -> str:
    """Two people edit the same field at once. That is a conflict, which the policy decides."""
    for number in range(_TRIES):
        key = scene.another("Contact")
        reported = _clash(scene, key, f"Head of Rivers {number}", f"Head of Oceans {number}")
        if len(reported) > 1:
            raise NotSo(f"exactly one conflict was expected, but {len(reported)} were reported")
        if reported:
            return _of_conflict(scene, key, reported[0])
        # The first edit reached the other side before the second was made, so there was no conflict. Try again.
    raise NotSo(f"a conflict, in {_TRIES} tries")


def _clash(scene: Scene, key: str, in_org: str, in_mongodb: str) -> list[Conflict]:
    """Set the Title of a contact on both sides, and return the conflicts that are reported for it."""
    at_once(
        lambda: scene.edit_in_org("Contact", key, Title=in_org),
        lambda: scene.edit_document("Contact", key, Title=in_mongodb),
    )
    scene.until(
        "the same Title on both sides",
        lambda: any(scene.both("Contact", key, Title=title) for title in (in_org, in_mongodb)),
    )
    return scene.conflicts.of(key, wait_s=_CONFLICT_WITHIN_S)


def _of_conflict(scene: Scene, key: str, conflict: Conflict) -> str:
    winner = conflict.winner
    if winner is None:
        raise NotSo("a winner: both edits are held")
    # Only after the conflict is reported: before that, both sides may briefly have the value that came first.
    scene.until("the winner's Title on both sides", lambda: scene.both("Contact", key, Title=winner.value))
    edits = (conflict.contest.standing, conflict.contest.challenger)
    said = " and ".join(f"{edit.side} set {edit.value!r}" for edit in edits)
    return f"Title: {said}; {conflict.policy} chose the value from {winner.side}, and both sides have it"


def trigger(scene: Scene) -> str:
    """A trigger in the org reformats what came from MongoDB. That is an edit by the org, and not an echo of our write."""
    tidy = {
        "object": "Contact",
        "when": {"field": "MobilePhone"},
        "set": {"MobilePhone": "{MobilePhone|e164}"},
    }
    requests.post(f"{scene.control_url}/triggers", json=tidy, timeout=10).raise_for_status()
    key = scene.another("Contact")
    scene.edit_document("Contact", key, MobilePhone="(555) 010-1234")
    scene.until(
        "the reformatted number on both sides", lambda: scene.both("Contact", key, MobilePhone="+15550101234")
    )
    requests.delete(f"{scene.control_url}/triggers", timeout=10).raise_for_status()
    return "MobilePhone (555) 010-1234 from MongoDB: a trigger in the org changed it to +15550101234, and MongoDB has that now"


def born_in_mongodb(scene: Scene) -> str:
    """A document becomes a Salesforce record, and gets the record's Id."""
    key = ObjectId()
    scene.application.collection("Account").insert_one({"_id": key, "Name": "Upstream Fisheries"})
    native_id = scene.until("its Salesforce Id in the document", lambda: _id_of(scene, "Account", key))
    scene.until(
        "the account in the org",
        lambda: scene.in_org("Account", native_id).get("Name") == "Upstream Fisheries",
    )
    return f"account {key} is {native_id} in Salesforce, and its document has that Id"


def family(scene: Scene) -> str:
    """A contact and its account are created in MongoDB, the contact first."""
    account, contact = ObjectId(), ObjectId()
    scene.application.collection("Contact").insert_one(
        {"_id": contact, "FirstName": "Coho", "LastName": "Kisutch", "AccountId": account}
    )
    scene.application.collection("Account").insert_one({"_id": account, "Name": "Kisutch & Daughters"})
    parent = scene.until("the account's Salesforce Id", lambda: _id_of(scene, "Account", account))
    child = scene.until("the contact's Salesforce Id", lambda: _id_of(scene, "Contact", contact))
    scene.until(
        "the contact under its account in the org",
        lambda: scene.in_org("Contact", child).get("AccountId") == parent,
    )
    scene.until(
        "the reference to the account's _id in the document",
        lambda: scene.document("Contact", contact).get("AccountId") == account,
    )
    return f"the contact was created before its account: {child} belongs to {parent}, and AccountId in MongoDB is still the ObjectId"


def deletes(scene: Scene) -> str:
    """A record is deleted on each side."""
    in_org, document = scene.another("Opportunity"), scene.another("Opportunity")
    at_once(
        lambda: scene.org.Opportunity.delete(in_org),
        lambda: scene.application.collection("Opportunity").delete_one({"_id": document}),
    )
    scene.until("the document deleted", lambda: not scene.document("Opportunity", in_org))
    scene.until("the record deleted in the org", lambda: not scene.in_org("Opportunity", document))
    return "one opportunity deleted in Salesforce, one in MongoDB: both are gone on both sides"


def event_to_document(scene: Scene) -> str:
    """A platform event that is published in the org becomes a document."""
    shipped = {"Order_Number__c": "SO-1042", "Carrier__c": "River Express"}
    getattr(scene.org, SHIPPED).create(shipped)
    collection = scene.application.database[SHIPMENTS]
    scene.until("the event in its collection", lambda: collection.find_one(shipped))
    if (count := collection.count_documents(shipped)) != 1:
        raise NotSo(f"one document was expected, but there are {count}")
    return f"{SHIPPED} SO-1042, published in Salesforce, is one document in {SHIPMENTS}"


def document_to_event(scene: Scene) -> str:
    """A document that is created becomes a platform event, besides a record; subscribers in the org hear it."""
    key = ObjectId()
    scene.application.collection("Account").insert_one({"_id": key, "Name": "Sockeye Logistics"})
    scene.until(
        "the event in the org",
        lambda: [each for each in scene.opened.heard() if each["Account_Name__c"] == "Sockeye Logistics"],
    )
    scene.until("the account in the org, too", lambda: _id_of(scene, "Account", key))
    return f"account {key} was created in MongoDB: a subscriber in the org heard {OPENED} of it"


ACTS: Final[tuple[tuple[str, str, Callable[[Scene], str]], ...]] = (
    ("different_fields", "Both sides edit one record, in different fields", different_fields),
    ("same_field", "Both sides edit the same field at once", same_field),
    ("trigger", "A trigger in the org reformats what MongoDB wrote", trigger),
    ("born_in_mongodb", "A record is created in MongoDB", born_in_mongodb),
    ("family", "A contact is created in MongoDB together with its account", family),
    ("deletes", "A record is deleted on each side", deletes),
    ("event_to_document", "A platform event is published in the org", event_to_document),
    ("document_to_event", "A document that is created becomes a platform event", document_to_event),
)


def _id_of(scene: Scene, name: str, key: ObjectId) -> str:
    native_id: str = scene.document(name, key).get("_salmon", {}).get("salesforce_id") or ""
    return native_id
