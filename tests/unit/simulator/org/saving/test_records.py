"""Writing records: what Salesforce refuses, stamps, computes, cascades and tells."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.simulator.org.refusals import Refusal
from support.orgs.orgs import DESCRIBES, OrgAtHand


@pytest.fixture
def at_hand() -> OrgAtHand:
    return OrgAtHand()


def test_a_new_record_has_its_id_stamps_owner_and_defaults(at_hand: OrgAtHand) -> None:
    """All that nobody said is there: booleans are false, the stamps are whole seconds, the owner is the user."""
    row = at_hand.row("Account", at_hand.account(Name="  Acme  ", Site=""))
    person = at_hand.org.person.user_id
    assert row["Name"] == "Acme"
    assert row.get("Site") is None
    assert row["OwnerId"] == row["CreatedById"] == row["LastModifiedById"] == person
    assert (row["IsDeleted"], row["IsPartner"]) == (False, False)
    assert row["CreatedDate"] == row["LastModifiedDate"] == row["SystemModstamp"]
    assert str(row["CreatedDate"]).endswith(".000+0000")


@pytest.mark.parametrize(
    ("object_name", "fields", "code", "message", "at_fault"),
    [
        ("Account", {}, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", ["Name"]),
        (
            "Account",
            {"Name": "  "},
            "REQUIRED_FIELD_MISSING",
            "Required fields are missing: [Name]",
            ["Name"],
        ),
        (
            "Contact",
            {"LastName": "x" * 81},
            "STRING_TOO_LONG",
            f"Last Name: data value too large: {'x' * 81} (max length=80)",
            ["LastName"],
        ),
        (
            "Account",
            {"Name": "A", "foo": 1},
            "INVALID_FIELD",
            "No such column 'foo' on sobject of type Account",
            [],
        ),
        (
            "Contact",
            {"LastName": "A", "Name": "B"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            "Unable to create/update fields: Name. Please check the security settings of this field and verify that "
            "it is read/write for your profile or permission set.",
            ["Name"],
        ),
        (
            "Account",
            {"Name": "A", "CleanStatus": "Spotless"},
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            "Clean Status: bad value for restricted picklist field: Spotless",
            ["CleanStatus"],
        ),
        (
            "Contact",
            {"LastName": "A", "Email": "nobody"},
            "INVALID_EMAIL_ADDRESS",
            "Email: invalid email address: nobody",
            ["Email"],
        ),
        (
            "Account",
            {"Name": "A", "NumberOfEmployees": 10**8},
            "NUMBER_OUTSIDE_VALID_RANGE",
            "Employees: value outside of valid range on numeric field: 100000000",
            ["NumberOfEmployees"],
        ),
        (
            "Account",
            {"Name": "A", "BillingLatitude": 95},
            "NUMBER_OUTSIDE_VALID_RANGE",
            "Billing Latitude: value outside of valid range on numeric field: 95",
            ["BillingLatitude"],
        ),
        (
            "Contact",
            {"LastName": "A", "MailingLongitude": -180.5},
            "NUMBER_OUTSIDE_VALID_RANGE",
            "Mailing Longitude: value outside of valid range on numeric field: -180.5",
            ["MailingLongitude"],
        ),
        (
            "Contact",
            {"LastName": "A", "AccountId": "001Sm0000000099"},
            "INVALID_CROSS_REFERENCE_KEY",
            "invalid cross reference id",
            [],
        ),
        (
            "Contact",
            {"LastName": "A", "AccountId": "acme"},
            "MALFORMED_ID",
            "Account ID: id value of incorrect type: acme",
            ["AccountId"],
        ),
        (
            "Contact",
            {"LastName": "A", "AccountId": "003Sm0000000001IAA"},
            "FIELD_INTEGRITY_EXCEPTION",
            "Account ID: id value of incorrect type: 003Sm0000000001IAA",
            ["AccountId"],
        ),
        (
            "Account",
            {"Name": "A", "OwnerId": "005Sm0000000009IAA"},
            "INVALID_CROSS_REFERENCE_KEY",
            "invalid cross reference id",
            [],
        ),
    ],
)
def test_a_record_that_salesforce_would_refuse_is_refused_in_its_words(
    at_hand: OrgAtHand, object_name: str, fields: dict[str, Any], code: str, message: str, at_fault: list[str]
) -> None:
    """Code, text and fields are the real ones, and nothing is stored or told."""
    with pytest.raises(Refusal) as refused:
        at_hand.insert(object_name, **fields)
    assert (refused.value.code, refused.value.message, refused.value.fields) == (code, message, at_fault)
    assert not at_hand.org.table(object_name).live
    assert not at_hand.told


def test_unrestricted_picklists_and_lookups_to_objects_that_are_not_there_take_what_fits(
    at_hand: OrgAtHand,
) -> None:
    """An unknown industry is text like any other; a campaign's id is believed, because no campaigns are held."""
    row = at_hand.row("Account", at_hand.account(Industry="Salmon farming"))
    assert row["Industry"] == "Salmon farming"
    deal = at_hand.opportunity(CampaignId="701Dp00000JJkkH")
    assert at_hand.row("Opportunity", deal)["CampaignId"] == "701Dp00000JJkkHIAT"


def test_an_update_tells_before_and_after_and_moves_the_stamps(at_hand: OrgAtHand) -> None:
    """What an event says comes from here: both rows whole, and who did it when."""
    account = at_hand.account(Phone="1", Fax="2")
    at_hand.org.clock.advance(60)
    with at_hand.org.transaction(
        at_hand.org.integration_user, "com/salesforce/api/rest/64.0;client=x"
    ) as unit:
        unit.update("Account", account, {"phone": "3", "Fax": None})
    told, change = at_hand.told[-1], at_hand.changes[-1]
    assert (change.change_type, change.entity, change.record_id) == ("UPDATE", "Account", account)
    assert change.before is not None
    assert change.after is not None
    assert (change.before["Phone"], change.after["Phone"]) == ("1", "3")
    assert (change.before["Fax"], change.after.get("Fax")) == ("2", None)
    assert change.after["LastModifiedById"] == told.user_id == at_hand.org.integration_user.user_id
    assert str(change.after["LastModifiedDate"]) > str(change.before["LastModifiedDate"])
    assert change.after["CreatedDate"] == change.before["CreatedDate"]
    assert told.change_origin == "com/salesforce/api/rest/64.0;client=x"
    assert told.commit_timestamp_ms % 1000 == 0
    assert told.commit_number > at_hand.told[0].commit_number


def test_several_writes_of_one_record_in_one_transaction_are_one_change(at_hand: OrgAtHand) -> None:
    """First kind, final data; a record that is created and deleted again was never there."""
    with at_hand.org.transaction(at_hand.org.person) as unit:
        first = unit.insert("Account", {"Name": "One"})
        unit.update("Account", first, {"Name": "Two"})
        second = unit.insert("Account", {"Name": "Gone"})
        unit.delete("Account", second)
    [change] = at_hand.changes
    assert change.change_type == "CREATE"
    assert change.after is not None
    assert change.after["Name"] == "Two"


def test_a_transaction_that_fails_leaves_nothing_behind(at_hand: OrgAtHand) -> None:
    """Rows, indexes and the Recycle Bin are as before, and nobody is told."""
    account = at_hand.account(Salmon_Id__c="k1")
    contact = at_hand.contact(AccountId=account)
    before = (dict(at_hand.row("Account", account)), dict(at_hand.row("Contact", contact)))
    at_hand.told.clear()

    def move_and_stumble() -> None:
        with at_hand.org.transaction(at_hand.org.person) as unit:
            unit.update("Account", account, {"Salmon_Id__c": "k2"})
            unit.delete("Account", account)
            unit.insert("Account", {"Name": "New", "Salmon_Id__c": "k1"})
            unit.insert("Account", {})

    with pytest.raises(Refusal, match="REQUIRED_FIELD_MISSING"):
        move_and_stumble()
    assert (at_hand.row("Account", account), at_hand.row("Contact", contact)) == before
    assert not at_hand.told
    at_hand.account(Salmon_Id__c="k2")
    with pytest.raises(Refusal, match="DUPLICATE_VALUE"):
        at_hand.account(Salmon_Id__c="k1")


def test_a_unique_field_is_unique_and_case_counts_where_it_should(at_hand: OrgAtHand) -> None:
    """The marker is case-sensitive: ids that differ in case only are different keys."""
    first = at_hand.account(Salmon_Id__c="aB1")
    at_hand.account(Salmon_Id__c="ab1")
    with pytest.raises(Refusal) as refused:
        at_hand.account(Salmon_Id__c="aB1")
    assert refused.value.message == (
        f"duplicate value found: Salmon_Id__c duplicates value on record with id: {first[:15]}"
    )
    at_hand.update("Account", first, Salmon_Id__c="aB1", Name="Same key, new name")


def test_a_contacts_name_is_made_of_its_parts(at_hand: OrgAtHand) -> None:
    """It follows every change of a part, in the same transaction."""
    contact = at_hand.contact(FirstName="Ada", LastName="Baker")
    assert at_hand.row("Contact", contact)["Name"] == "Ada Baker"
    at_hand.update("Contact", contact, FirstName=None)
    assert at_hand.row("Contact", contact)["Name"] == "Baker"


def test_an_opportunitys_stage_decides_what_the_stage_means(at_hand: OrgAtHand) -> None:
    """Probability, forecast, closed and won come with the stage; a probability set on purpose stays."""
    deal = at_hand.opportunity(Amount="1000", StageName="Qualification")
    row = at_hand.row("Opportunity", deal)
    assert (row["Probability"], row["ExpectedRevenue"], row["ForecastCategory"]) == (10.0, 100.0, "Pipeline")
    at_hand.update("Opportunity", deal, Probability=55)
    at_hand.update("Opportunity", deal, StageName="Qualification", NextStep="Call")
    assert at_hand.row("Opportunity", deal)["Probability"] == 55.0
    at_hand.update("Opportunity", deal, StageName="Closed Won")
    row = at_hand.row("Opportunity", deal)
    assert (row["IsClosed"], row["IsWon"], row["Probability"], row["ExpectedRevenue"]) == (
        True,
        True,
        100.0,
        1000.0,
    )
    assert (row["FiscalYear"], row["FiscalQuarter"], row["Fiscal"]) == (2026, 4, "2026 4")


def test_deleting_an_account_takes_along_what_its_describe_says(at_hand: OrgAtHand) -> None:
    """Contacts and opportunities go with it, child accounts lose their parent; all in one transaction."""
    account = at_hand.account()
    contact, deal, child = (
        at_hand.contact(AccountId=account),
        at_hand.opportunity(AccountId=account),
        at_hand.account(ParentId=account),
    )
    at_hand.told.clear()
    at_hand.delete("Account", account)
    [told] = at_hand.told
    assert {(change.record_id, change.change_type) for change in told.changes} == {
        (account, "DELETE"),
        (contact, "DELETE"),
        (deal, "DELETE"),
        (child, "UPDATE"),
    }
    assert at_hand.row("Account", child).get("ParentId") is None
    deleted = at_hand.org.get("Contact", contact, with_deleted=True)
    assert deleted is not None
    assert deleted["IsDeleted"] is True


def test_what_was_deleted_together_comes_back_together(at_hand: OrgAtHand) -> None:
    """UNDELETE carries the whole record, with its old id."""
    account = at_hand.account(Phone="1")
    contact = at_hand.contact(AccountId=account)
    at_hand.delete("Account", account)
    at_hand.told.clear()
    at_hand.undelete("Account", account)
    assert [(change.record_id, change.change_type) for change in at_hand.changes] == [
        (account, "UNDELETE"),
        (contact, "UNDELETE"),
    ]
    assert at_hand.row("Contact", contact)["AccountId"] == account
    assert at_hand.row("Account", account)["IsDeleted"] is False


def test_a_deleted_record_is_told_from_one_that_never_was(at_hand: OrgAtHand) -> None:
    """A sink treats them differently: gone, or a wrong id."""
    account = at_hand.account()
    at_hand.delete("Account", account)
    with pytest.raises(Refusal, match="ENTITY_IS_DELETED"):
        at_hand.update("Account", account, Phone="1")
    with pytest.raises(Refusal, match="INVALID_CROSS_REFERENCE_KEY"):
        at_hand.update("Account", "001Sm0000000077", Phone="1")


def test_a_parent_may_be_named_by_its_external_id(at_hand: OrgAtHand) -> None:
    """That is how a contact born elsewhere finds the account it was born with."""
    account = at_hand.account(Salmon_Id__c="k1")
    contact = at_hand.contact(Account={"Salmon_Id__c": "k1"})
    assert at_hand.row("Contact", contact)["AccountId"] == account
    with pytest.raises(Refusal) as refused:
        at_hand.contact(Account={"Salmon_Id__c": "k2"})
    assert refused.value.code == "INVALID_FIELD"
    assert (
        refused.value.message
        == "Foreign key external ID: k2 not found for field Salmon_Id__c in entity Account"
    )


def test_a_locked_row_is_refused_and_so_is_a_child_that_would_hang_on_it(at_hand: OrgAtHand) -> None:
    """Writing a contact locks its account: that is where lock errors of real orgs come from."""
    account, other = at_hand.account(), at_hand.account()
    at_hand.org.faults.set("lock_rows", {"object": "Account", "ids": [account], "s": 600})
    for write in (
        lambda: at_hand.update("Account", account, Phone="1"),
        lambda: at_hand.delete("Account", account),
        lambda: at_hand.contact(AccountId=account),
    ):
        with pytest.raises(Refusal, match="UNABLE_TO_LOCK_ROW"):
            write()
    at_hand.update("Account", other, Phone="1")
    at_hand.org.faults.clear()
    at_hand.update("Account", account, Phone="1")


def test_an_object_nobody_thought_of_works_by_its_describe_alone() -> None:
    """A custom object of an old API version: defaults of every kind, auto numbers, create-only and update-only fields."""
    at_hand = OrgAtHand(DESCRIBES)
    whizbang = at_hand.insert("Whizbang", Picklist_Multiselect_Field="six;four", Percent_Field="12.6")
    row = at_hand.row("Whizbang", whizbang)
    assert row["Checkbox_Field"] is True
    assert (row["Text_Field"], row["Number_Field"], row["Auto_Number"]) == ("Yes!", 23.0, "00000001")
    assert row["Picklist_Multiselect_Field"] == "four;six", "in the order of the value set"
    assert row["Percent_Field"] == 13.0
    at_hand.update("Whizbang", whizbang, UpdateableButNotCreateableField="2026-01-02T03:04:05+01:00")
    assert (
        at_hand.row("Whizbang", whizbang)["UpdateableButNotCreateableField"] == "2026-01-02T02:04:05.000+0000"
    )
    with pytest.raises(Refusal, match="INVALID_FIELD_FOR_INSERT_UPDATE"):
        at_hand.update("Whizbang", whizbang, CreateableButNotUpdateableField="2026-01-02T03:04:05Z")
