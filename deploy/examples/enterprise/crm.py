"""
What the people and the programs of an enterprise do: `python crm.py group`, `owner`, `move`, `conflict`, `delete`, `refuse`, `close`.

People work in Salesforce, programs in MongoDB. Each act says what it did, waits for the sync, and says what it sees on the other side.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pymongo
import requests
from simple_salesforce.api import Salesforce

T = TypeVar("T")
DB = pymongo.MongoClient[dict[str, Any]](os.environ["MONGODB_CONNECTION_URI"])["enterprise"]


def as_person() -> Any:
    """Salesforce, as somebody who works in it."""
    session = requests.Session()
    session.verify, session.trust_env = os.environ["SALESFORCE_CA_FILE"], False
    said = {
        "grant_type": "client_credentials",
        "client_id": os.environ["SALESFORCE_PERSON_CLIENT_ID"],
        "client_secret": os.environ["SALESFORCE_PERSON_CLIENT_SECRET"],
    }
    token = session.post(f"{os.environ['SALESFORCE_LOGIN_URL']}/services/oauth2/token", said).json()
    return Salesforce(
        session_id=token["access_token"],
        instance_url=os.environ["SALESFORCE_INSTANCE_URL"],
        session=session,
    )


def until(found: Callable[[], T | None], what: str) -> T:
    """Ask again until there is an answer, for a minute at most."""
    deadline = time.monotonic() + 60
    while not (answer := found()):
        if time.monotonic() > deadline:
            sys.exit(f"After a minute, this is not so: {what}. `salmon status` says why.")
        time.sleep(0.2)
    return answer


def id_of(collection: str, key: str) -> str:
    """The Salesforce Id of a document, as soon as it has one."""
    document = until(
        lambda: DB[collection].find_one({"_id": key, "_salmon.salesforce_id": {"$exists": True}}),
        f"Salesforce has {key}",
    )
    return str(document["_salmon"]["salesforce_id"])


def group() -> None:
    """A program writes a whole group, the children before their parents."""
    DB.opportunities.insert_one(
        {
            "_id": "globex-deal",
            "Name": "Turbines",
            "StageName": "Prospecting",
            "CloseDate": datetime(2027, 3, 31, tzinfo=UTC),
        }
        | {"AccountId": "globex-de", "Amount": 250_000}
    )
    DB.contacts.insert_one(
        {"_id": "globex-ann", "FirstName": "Ann", "LastName": "Lee", "AccountId": "globex-de"}
        | {"address": {"city": "Bonn", "country": "Germany"}}
    )
    DB.accounts_emea.insert_one(
        {"_id": "globex-de", "Name": "Globex Germany", "BillingCountry": "Germany", "ParentId": "globex"}
        | {"erp": {"number": "DE-0042"}}
    )
    DB.accounts_americas.insert_one({"_id": "globex", "Name": "Globex Group", "BillingCountry": "USA"})
    print("MongoDB was given an opportunity, a contact, a subsidiary and its parent, in this order.")
    places = {"opportunities": "globex-deal", "contacts": "globex-ann", "accounts_emea": "globex-de"}
    for collection, key in places.items():
        id_of(collection, key)
    found = as_person().query(
        "SELECT Name, Parent.Name, Owner.Name, (SELECT Name, MailingCity FROM Contacts), (SELECT Name FROM Opportunities)"
        f" FROM Account WHERE Id = '{id_of('accounts_emea', 'globex-de')}'"
    )
    for account in found["records"]:
        print(
            f"Salesforce has {account['Name']}, of {account['Parent']['Name']}; it belongs to {account['Owner']['Name']}."
        )
        for contact in account["Contacts"]["records"]:
            print(f"  contact: {contact['Name']}, {contact['MailingCity']}")
        for opportunity in account["Opportunities"]["records"]:
            print(f"  opportunity: {opportunity['Name']}")


def owner() -> None:
    """A sales manager gives the subsidiary to somebody else, and a program asks who has it now."""
    org = as_person()
    (person,) = org.query("SELECT Id FROM User WHERE Name = 'Someone Else'")["records"]
    org.Account.update(id_of("accounts_emea", "globex-de"), {"OwnerId": person["Id"]})
    print("In Salesforce, the subsidiary has a new owner.")
    until(
        lambda: DB.accounts_emea.find_one({"_id": "globex-de", "OwnerId": person["Id"]}),
        "the document has the new owner",
    )
    people = {"from": "users", "localField": "OwnerId", "foreignField": "_id", "as": "owner"}
    parents = {"from": "accounts_americas", "localField": "ParentId", "foreignField": "_id", "as": "parent"}
    stages = [{"$match": {"_id": "globex-de"}}, {"$lookup": people}, {"$lookup": parents}]
    for account in DB.accounts_emea.aggregate(stages):
        (has,), (parent,) = account["owner"], account["parent"]
        print(
            f"MongoDB joins {account['Name']}: owner {has['Name']} ({has['Email']}), parent {parent['Name']}."
        )


def move() -> None:
    """The subsidiary moves to Canada: its document goes to another collection, with what the program keeps in it."""
    as_person().Account.update(id_of("accounts_emea", "globex-de"), {"BillingCountry": "Canada"})
    print("In Salesforce, the subsidiary is in Canada.")
    moved = until(lambda: DB.accounts_americas.find_one({"_id": "globex-de"}), "the document has moved")
    left = DB.accounts_emea.count_documents({"_id": "globex-de"})
    print(f"accounts_americas has it, with the program's own {moved['erp']}; accounts_emea has {left} of it.")


def conflict() -> None:
    """Two people change the amount of one deal, and neither knows of the other: merge is paused, so neither edit reaches the other side first."""
    org, deal = as_person(), id_of("opportunities", "globex-deal")
    merge = json.loads(Path("play/ports.json").read_text())["merge"]["url"] + "/connectors/merge"
    requests.put(f"{merge}/pause", timeout=10).raise_for_status()
    until(
        lambda: requests.get(f"{merge}/status", timeout=10).json()["connector"]["state"] == "PAUSED",
        "merge is paused",
    )
    org.Opportunity.update(deal, {"Amount": 300_000})
    DB.opportunities.update_one({"_id": "globex-deal"}, {"$set": {"Amount": 275_000}})
    requests.put(f"{merge}/resume", timeout=10).raise_for_status()
    print("The amount is 300000 in Salesforce and 275000 in MongoDB. Nobody wins by himself.")


def delete() -> None:
    """A program deletes the deal: MongoDB is rid of it, the org is not."""
    deal = id_of("opportunities", "globex-deal")
    DB.opportunities.delete_one({"_id": "globex-deal"})
    org = as_person()
    time.sleep(5)  # longer than deletes.grace_s
    (kept,) = org.query(f"SELECT Name FROM Opportunity WHERE Id = '{deal}'")["records"]
    print(f"MongoDB has no deal any more. Salesforce still has {kept['Name']}.")


def refuse() -> None:
    """A program writes what a rule of the org does not allow."""
    case = DB.open_cases.find_one(sort=[("_id", 1)]) or {}
    DB.open_cases.update_one({"_id": case["_id"]}, {"$set": {"Priority": "Low"}})
    print(f"MongoDB has a case of priority Low, which was {case['Priority']}.")
    until(
        lambda: DB.open_cases.find_one({"_id": case["_id"], "Priority": case["Priority"]}),
        "the priority is set back",
    )
    print(f"The org refused it. MongoDB has {case['Priority']} again.")


def close() -> None:
    """A person closes a case: it leaves the collection of open ones, and nothing else."""
    case = DB.open_cases.find_one(sort=[("_id", 1)]) or {}
    org = as_person()
    org.Case.update(case["_id"], {"Status": "Closed"})
    until(lambda: not DB.open_cases.count_documents({"_id": case["_id"]}), "the case has left MongoDB")
    print(f"In Salesforce the case is {org.Case.get(case['_id'])['Status']}. In MongoDB it is gone.")


ACTS = {act.__name__: act for act in (group, owner, move, conflict, delete, refuse, close)}

if __name__ == "__main__":
    act = ACTS.get(sys.argv[-1])
    if act is None:
        sys.exit(f"Say what is to happen: {', '.join(ACTS)}.")
    act()
