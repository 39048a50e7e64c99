"""What `salmon setup` asks of an org: custom fields, who may see them, and which objects have change events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from simple_salesforce import api

from salmon.simulator.events.eventbus import TopicNotFound
from salmon.simulator.server import Simulator
from support.orgs.boxes import RECORDED, Box, same_shape, trusting_session
from support.orgs.pubsub import Client, Wire

ID_FIELD = {
    "type": "Text",
    "label": "Salmon Id",
    "length": 255,
    "externalId": True,
    "unique": True,
    "caseSensitive": True,
}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """An org without any of our fields."""
    folder = tmp_path_factory.mktemp("box")
    with Simulator.start(folder, marker_fields=False, records={"Account": 3}) as running:
        yield running


def tooling(box: Box, soql: str) -> Any:
    answer = box.call("GET", f"tooling/query?q={quote(soql)}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def query(box: Box, soql: str) -> Any:
    answer = box.call("GET", f"query?q={quote(soql)}")
    assert answer.status_code == 200, answer.text
    return answer.json()["records"]


def made(box: Box, name: str, full_name: str, metadata: dict[str, Any]) -> str:
    answer = box.call("POST", f"tooling/sobjects/{name}", {"FullName": full_name, "Metadata": metadata})
    assert answer.status_code == 201, answer.text
    assert set(answer.json()) == {"id", "success", "errors", "warnings", "infos"}
    return str(answer.json()["id"])


def refused(box: Box, name: str, body: Any) -> tuple[str, str]:
    answer = box.call("POST", f"tooling/sobjects/{name}", body)
    assert answer.status_code == 400, answer.text
    [error] = answer.json()
    return error["errorCode"], error["message"]


def permission_set(box: Box, name: str) -> str:
    """A permission set that the integration user has."""
    set_id = box.create("PermissionSet", Name=name, Label=name)
    box.create("PermissionSetAssignment", PermissionSetId=set_id, AssigneeId=box.org.integration_user.user_id)
    return set_id


def fields_of(box: Box, name: str = "Account") -> dict[str, Any]:
    return {f["name"]: f for f in box.call("GET", f"sobjects/{name}/describe").json()["fields"]}


def test_a_new_field_is_seen_when_somebody_may_see_it(box: Box) -> None:
    """Not before: not in the describe, nor in SOQL, nor in writes. With the permission it is everywhere, as it was made."""
    before = box.call("GET", "sobjects/Account/describe")
    field_id = made(box, "CustomField", "Account.Salmon_Id__c", ID_FIELD)
    assert field_id.startswith("00N")
    assert "Salmon_Id__c" not in fields_of(box)
    hidden = box.call("GET", "query?q=SELECT+Salmon_Id__c+FROM+Account").json()[0]
    assert hidden["errorCode"] == "INVALID_FIELD"
    assert box.call("POST", "sobjects/Account", {"Name": "A", "Salmon_Id__c": "x"}).status_code == 400

    set_id = permission_set(box, "Salmon_Sync")
    right = box.create(
        "FieldPermissions",
        ParentId=set_id,
        SobjectType="Account",
        Field="Account.Salmon_Id__c",
        PermissionsRead=True,
    )
    shown = fields_of(box)["Salmon_Id__c"]
    assert (shown["createable"], shown["updateable"]) == (False, False)
    assert (
        box.call("PATCH", f"sobjects/FieldPermissions/{right}", {"PermissionsEdit": True}).status_code == 204
    )
    shown = fields_of(box)["Salmon_Id__c"]
    assert set(shown) == set(fields_of(box)["Name"])
    for key in (
        "externalId",
        "unique",
        "caseSensitive",
        "idLookup",
        "custom",
        "createable",
        "updateable",
        "nillable",
    ):
        assert shown[key] is True, key
    assert (shown["length"], shown["byteLength"], shown["type"], shown["label"]) == (
        255,
        765,
        "string",
        "Salmon Id",
    )

    account = box.create("Account", Name="A", Salmon_Id__c="key-1")
    assert query(box, "SELECT Id FROM Account WHERE Salmon_Id__c = 'key-1'")[0]["Id"] == account
    twin = box.call("POST", "sobjects/Account", {"Name": "B", "Salmon_Id__c": "key-1"}).json()[0]
    assert twin["errorCode"] == "DUPLICATE_VALUE"
    assert box.call("PATCH", "sobjects/Account/Salmon_Id__c/key-2", {"Name": "C"}).status_code == 201
    since = {"If-Modified-Since": before.headers["Last-Modified"]}
    assert box.call("GET", "sobjects/Account/describe", headers=since).status_code == 200
    now = {"If-Modified-Since": box.call("GET", "sobjects/Account/describe").headers["Last-Modified"]}
    assert box.call("GET", "sobjects/Account/describe", headers=now).status_code == 304

    assert box.call("DELETE", f"tooling/sobjects/CustomField/{field_id}").status_code == 204
    assert "Salmon_Id__c" not in fields_of(box)
    assert "Salmon_Id__c" not in box.call("GET", f"sobjects/Account/{account}").json()


def test_a_permission_set_that_is_taken_away_hides_the_field_again(box: Box) -> None:
    """The values stay, and are there when it is assigned again."""
    made(
        box,
        "CustomField",
        "Account.Fleeting__c",
        {"type": "Number", "label": "Fleeting", "precision": 18, "scale": 0},
    )
    set_id = permission_set(box, "Fleeting")
    box.create(
        "FieldPermissions", ParentId=set_id, SobjectType="Account", Field="Account.Fleeting__c",
        PermissionsRead=True, PermissionsEdit=True,
    )  # fmt: skip
    [assignment] = query(
        box, f"SELECT Id, Assignee.Username FROM PermissionSetAssignment WHERE PermissionSetId = '{set_id}'"
    )
    assert assignment["Assignee"]["Username"] == box.org.integration_user.username
    assert "Fleeting__c" in fields_of(box)
    assert box.call("DELETE", f"sobjects/PermissionSetAssignment/{assignment['Id']}").status_code == 204
    assert "Fleeting__c" not in fields_of(box)


@pytest.mark.parametrize(
    ("metadata", "type_", "shown"),
    [
        ({"type": "Number", "precision": 16, "scale": 2}, "Number(14, 2)", {"type": "double", "precision": 16, "scale": 2}),
        ({"type": "Currency", "precision": 18, "scale": 2}, "Currency(16, 2)", {"type": "currency"}),
        ({"type": "Percent", "precision": 5, "scale": 2}, "Percent(3, 2)", {"type": "percent"}),
        ({"type": "Checkbox", "defaultValue": "true"}, "Checkbox", {"type": "boolean", "defaultValue": True}),
        ({"type": "Date"}, "Date", {"type": "date", "soapType": "xsd:date"}),
        ({"type": "DateTime"}, "Date/Time", {"type": "datetime"}),
        ({"type": "LongTextArea", "length": 32768, "visibleLines": 3}, "Long Text Area(32768)", {"filterable": False}),
        ({"type": "Email", "unique": True}, "Email (Unique Case Insensitive)", {"type": "email", "unique": True}),
        ({"type": "Phone"}, "Phone", {"length": 40}),
        ({"type": "Lookup", "referenceTo": "Contact", "relationshipName": "Best"}, "Lookup(Contact)", {"relationshipName": "Best__r"}),
        (
            {"type": "Picklist", "valueSet": {"restricted": True, "valueSetDefinition": {"value": [{"fullName": "A"}, {"fullName": "B", "default": True}]}}},
            "Picklist", {"restrictedPicklist": True},
        ),
    ],
)  # fmt: skip
def test_fields_of_every_type(box: Box, metadata: dict[str, Any], type_: str, shown: dict[str, Any]) -> None:
    """As the describe shows them, and FieldDefinition in Setup's words."""
    name = f"T{''.join(char for char in type_ if char.isalnum())}__c"
    made(box, "CustomField", f"Account.{name}", {**metadata, "label": "T"})
    set_id = permission_set(box, name.removesuffix("__c"))
    right = {"ParentId": set_id, "SobjectType": "Account", "Field": f"Account.{name}"}
    box.create("FieldPermissions", **right, PermissionsRead=True, PermissionsEdit=True)
    described = fields_of(box)[name]
    assert {key: described[key] for key in shown} == shown
    soql = f"SELECT DataType, EntityDefinition.QualifiedApiName FROM FieldDefinition WHERE EntityDefinition.QualifiedApiName = 'Account' AND QualifiedApiName = '{name}'"
    for records in (tooling(box, soql)["records"], query(box, soql)):
        [definition] = records
        assert definition["DataType"] == type_
        assert definition["EntityDefinition"]["QualifiedApiName"] == "Account"
    if metadata["type"] == "Checkbox":
        assert query(box, f"SELECT count() FROM Account WHERE {name} = false") == []


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"Metadata": ID_FIELD}, "REQUIRED_FIELD_MISSING", "[FullName]"),
        ({"FullName": "Account.A__c"}, "REQUIRED_FIELD_MISSING", "[Metadata]"),
        ({"FullName": "Account.No Name", "Metadata": ID_FIELD}, "FIELD_INTEGRITY_EXCEPTION", "The Field Name field can only contain"),
        ({"FullName": "Nothing.A__c", "Metadata": ID_FIELD}, "INVALID_CROSS_REFERENCE_KEY", "no CustomObject named Nothing found"),
        ({"FullName": "Account.A__c", "Metadata": {**ID_FIELD, "label": ""}}, "FIELD_INTEGRITY_EXCEPTION", "non-empty label"),
        ({"FullName": "Account.A__c", "Metadata": {"type": "Text", "label": "A"}}, "FIELD_INTEGRITY_EXCEPTION", "Must specify 'length' for a CustomField of type Text"),
        ({"FullName": "Account.A__c", "Metadata": {"type": "Number", "label": "A", "precision": 18}}, "FIELD_INTEGRITY_EXCEPTION", "Must specify 'scale'"),
        ({"FullName": "Account.A__c", "Metadata": {"type": "Date", "label": "A", "externalId": True}}, "FIELD_INTEGRITY_EXCEPTION", "Can not specify 'externalId' for a CustomField of type Date"),
        ({"FullName": "Account.A__c", "Metadata": {"type": "Summary", "label": "A"}}, "FIELD_INTEGRITY_EXCEPTION", "does not make fields of type Summary"),
        ({"FullName": "Account.A__c", "Metadata": {**ID_FIELD, "length": 300}}, "FIELD_INTEGRITY_EXCEPTION", "length must be 1 to 255"),
    ],
)  # fmt: skip
def test_fields_that_cannot_be(box: Box, body: Any, code: str, words: str) -> None:
    """In the words that deployments get."""
    got, message = refused(box, "CustomField", body)
    assert (got, words in message) == (code, True), message


def test_a_field_is_made_once_and_may_be_changed(box: Box) -> None:
    """A second one of the name is refused; PATCH changes it, and its row shows all of it."""
    metadata = {"type": "Text", "label": "Once", "length": 20, "inlineHelpText": "Help"}
    field_id = made(box, "CustomField", "Contact.Once__c", metadata)
    again = refused(box, "CustomField", {"FullName": "Contact.once__c", "Metadata": metadata})
    assert again == ("DUPLICATE_DEVELOPER_NAME", "There is already a field named Once on Contact.")
    standard = refused(
        box, "CustomField", {"FullName": "Contact.Level__c", "Metadata": {**metadata, "length": "x"}}
    )
    assert standard[0] == "FIELD_INTEGRITY_EXCEPTION"
    path = f"tooling/sobjects/CustomField/{field_id}"
    assert box.call("PATCH", path, {"Metadata": {**metadata, "length": 40}}).status_code == 204
    row = box.call("GET", path).json()
    assert (row["FullName"], row["Metadata"]["length"], row["Length"]) == ("Contact.Once__c", 40, 40)
    assert row["attributes"]["url"].endswith(f"/tooling/sobjects/CustomField/{field_id}")
    renamed = box.call("PATCH", path, {"FullName": "Contact.Other__c", "Metadata": metadata}).json()[0]
    assert renamed["errorCode"] == "INVALID_FIELD_FOR_INSERT_UPDATE"
    assert box.call("GET", "tooling/sobjects/CustomField/00N000000000000AAA").status_code == 404


def test_fields_are_found_by_query(box: Box) -> None:
    """With their metadata, one at a time; by names or by the object's definition."""
    made(box, "CustomField", "Contact.Found__c", {"type": "Date", "label": "Found"})
    found = tooling(
        box,
        "SELECT Id, FullName, Metadata FROM CustomField WHERE DeveloperName = 'Found' AND TableEnumOrId = 'Contact'",
    )
    assert (found["size"], found["totalSize"], found["done"], found["queryLocator"], found["entityTypeName"]) == (
        1, 1, True, None, "CustomField",
    )  # fmt: skip
    assert found["records"][0]["Metadata"]["type"] == "Date"
    made(box, "CustomField", "Contact.Found_2__c", {"type": "Date", "label": "Found"})
    several = box.call("GET", "tooling/query?q=SELECT+FullName+FROM+CustomField")
    assert (several.status_code, several.json()[0]["errorCode"]) == (400, "MALFORMED_QUERY")
    assert "must specify no more than one row for retrieval" in several.json()[0]["message"]
    reified = box.call("GET", "tooling/query?q=SELECT+Id+FROM+FieldDefinition").json()[0]
    assert (
        reified["message"]
        == "FieldDefinition: a filter on a reified column is required [EntityDefinitionId,DurableId]"
    )
    entity = tooling(
        box,
        "SELECT DurableId, KeyPrefix, IsCustomizable FROM EntityDefinition WHERE QualifiedApiName = 'Contact'",
    )
    assert entity["records"][0]["KeyPrefix"] == "003"
    for path in ("tooling/query?q=SELECT+Id+FROM+Account", "query?q=SELECT+Id+FROM+CustomField"):
        assert box.call("GET", path).json()[0]["errorCode"] == "INVALID_TYPE"
    for path in ("tooling/sobjects/Account/describe", "sobjects/CustomField/describe", "tooling/nothing"):
        assert box.call("GET", path).status_code == 404
    names = {each["name"] for each in box.call("GET", "tooling/sobjects").json()["sobjects"]}
    assert {"CustomField", "PlatformEventChannelMember", "EntityDefinition"} <= names
    assert box.call("GET", "tooling/sobjects/CustomField/describe").json()["keyPrefix"] == "00N"


def test_permissions_are_checked(box: Box) -> None:
    """A field that is none, a pair that is there, edit without read, a user that is none."""
    made(box, "CustomField", "Account.Checked__c", {"type": "Date", "label": "Checked"})
    set_id = permission_set(box, "Checked")
    right = {
        "ParentId": set_id,
        "SobjectType": "Account",
        "Field": "Account.Checked__c",
        "PermissionsRead": True,
    }

    def code(name: str, **body: Any) -> str:
        return str(box.call("POST", f"sobjects/{name}", body).json()[0]["errorCode"])

    picklist = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert code("FieldPermissions", **{**right, "Field": "Account.Nope__c"}) == picklist
    assert code("FieldPermissions", **{**right, "SobjectType": "Contact"}) == picklist
    assert (
        code("FieldPermissions", **{**right, "PermissionsRead": False, "PermissionsEdit": True})
        == "FIELD_INTEGRITY_EXCEPTION"
    )
    box.create("FieldPermissions", **right)
    assert code("FieldPermissions", **right) == "DUPLICATE_VALUE"
    user = box.org.integration_user.user_id
    assert code("PermissionSetAssignment", PermissionSetId=set_id, AssigneeId=user) == "DUPLICATE_VALUE"
    assert code("PermissionSet", Name="Checked", Label="Checked") == "DUPLICATE_VALUE"
    assert code("PermissionSet", Label="No name") == "REQUIRED_FIELD_MISSING"
    mine = query(
        box,
        f"SELECT PermissionSet.PermissionsViewAllData FROM PermissionSetAssignment WHERE AssigneeId = '{user}' AND PermissionSet.IsOwnedByProfile = true",
    )
    assert mine[0]["PermissionSet"]["PermissionsViewAllData"] is True


def test_members_of_the_standard_channel_select_objects_for_events(box: Box) -> None:
    """They look as recorded; who is deleted has no events, and who is made has them again. The control API counts, too."""
    soql = "SELECT Id, DeveloperName, EventChannel, SelectedEntity FROM PlatformEventChannelMember WHERE SelectedEntity = 'AccountChangeEvent'"
    found = tooling(box, soql)
    recorded = json.loads((RECORDED.parent / "cdc" / "PlatformEventChannelMember_query.json").read_text())
    assert same_shape(found, recorded)
    [member] = found["records"]
    assert (member["EventChannel"], member["DeveloperName"]) == (
        "ChangeEvents",
        "ChangeEvents_AccountChangeEvent",
    )
    bus = box.simulator.bus
    topic = "/data/AccountChangeEvent"
    assert bus.schema_id_of(topic)
    assert (
        box.call("DELETE", f"tooling/sobjects/PlatformEventChannelMember/{member['Id']}").status_code == 204
    )
    with pytest.raises(TopicNotFound):
        bus.schema_id_of(topic)
    body = {"eventChannel": "ChangeEvents", "selectedEntity": "AccountChangeEvent"}
    made(box, "PlatformEventChannelMember", "ChangeEvents_AccountChangeEvent", body)
    assert bus.schema_id_of(topic)
    assert (
        refused(box, "PlatformEventChannelMember", {"FullName": "Other", "Metadata": body})[0]
        == "DUPLICATE_VALUE"
    )
    nothing = {"FullName": "N", "Metadata": {**body, "selectedEntity": "NothingChangeEvent"}}
    assert refused(box, "PlatformEventChannelMember", nothing)[0] == "INVALID_CROSS_REFERENCE_KEY"
    box.control("POST", "/faults", {"fault": "cdc", "object": "Account", "on": False})
    assert tooling(box, soql)["totalSize"] == 0
    box.control("POST", "/faults", {"fault": "cdc", "object": "Account", "on": True})
    assert tooling(box, soql)["totalSize"] == 1


def test_only_so_many_objects_can_be_selected(box: Box) -> None:
    """A member for an object that is selected already is no new one."""
    soql = "SELECT Id FROM PlatformEventChannelMember WHERE SelectedEntity = 'OpportunityChangeEvent'"
    [member] = tooling(box, soql)["records"]
    box.call("DELETE", f"tooling/sobjects/PlatformEventChannelMember/{member['Id']}")
    box.control("POST", "/settings", {"cdc_entities_max": 2})
    body = {"eventChannel": "ChangeEvents", "selectedEntity": "OpportunityChangeEvent"}
    try:
        code, message = refused(box, "PlatformEventChannelMember", {"FullName": "O", "Metadata": body})
        assert (code, message) == (
            "LIMIT_EXCEEDED",
            "2 entities are selected for Change Data Capture, and the limit is 2",
        )
    finally:
        box.control("DELETE", "/settings")
    made(box, "PlatformEventChannelMember", "", body)


def test_custom_channels_and_enriched_fields_are_records(box: Box) -> None:
    """A channel, a member with enriched fields, and what may be changed of it."""
    channel = made(box, "PlatformEventChannel", "Salmon__chn", {"channelType": "data", "label": "Salmon"})
    body = {
        "eventChannel": "Salmon__chn", "selectedEntity": "ContactChangeEvent",
        "enrichedFields": [{"name": "Email"}, {"name": "AccountId"}],
    }  # fmt: skip
    member = made(box, "PlatformEventChannelMember", "Salmon_chn_ContactChangeEvent", body)
    row = box.call("GET", f"tooling/sobjects/PlatformEventChannelMember/{member}").json()
    assert (row["EventChannel"], row["SelectedEntity"]) == (channel, "ContactChangeEvent")
    enriched = "SELECT ChannelMemberId, Field FROM EnrichedField ORDER BY Field"
    assert [each["Field"] for each in tooling(box, enriched)["records"]] == ["AccountId", "Email"]
    path = f"tooling/sobjects/PlatformEventChannelMember/{member}"
    changed = {"Metadata": {**body, "enrichedFields": [{"name": "Phone"}]}}
    assert box.call("PATCH", path, changed).status_code == 204
    assert [each["Field"] for each in tooling(box, enriched)["records"]] == ["Phone"]
    moved = box.call("PATCH", path, {"Metadata": {**body, "eventChannel": "ChangeEvents"}}).json()[0]
    assert moved["errorCode"] == "INVALID_FIELD_FOR_INSERT_UPDATE"
    many = {**body, "selectedEntity": "AccountChangeEvent", "enrichedFields": [{"name": "Phone"}] * 11}
    assert (
        refused(box, "PlatformEventChannelMember", {"FullName": "M", "Metadata": many})[0] == "LIMIT_EXCEEDED"
    )
    assert (
        tooling(box, "SELECT Id FROM PlatformEventChannelMember WHERE DeveloperName = 'M'")["totalSize"] == 0
    )
    assert (
        refused(
            box,
            "PlatformEventChannel",
            {"FullName": "Salmon__chn", "Metadata": {"channelType": "data", "label": "S"}},
        )[0]
        == "DUPLICATE_DEVELOPER_NAME"
    )
    assert box.call("DELETE", f"tooling/sobjects/PlatformEventChannel/{channel}").status_code == 204
    assert tooling(box, "SELECT Id FROM EnrichedField")["totalSize"] == 0


@pytest.mark.parametrize(
    "name", ["Salmon", "Acme__Salmon__chn", "Salmon___chn", "1Salmon__chn", "My Salmon__chn"]
)
def test_a_channel_has_a_name_as_an_org_takes_it(box: Box, name: str) -> None:
    """A letter first, no two underscores together, none at the end: a namespace is given by a package alone."""
    body = {"FullName": name, "Metadata": {"channelType": "data", "label": "Salmon"}}
    assert refused(box, "PlatformEventChannel", body)[0] == "FIELD_INTEGRITY_EXCEPTION"


def test_events_have_a_new_field_as_soon_as_it_is_shown(box: Box, wire: Wire) -> None:
    """Under another schema id, which GetSchema knows, as it knows the old one."""
    told = box.simulator.endpoints
    client = Client(wire, told.pubsub_endpoint, Path(told.ca_file), token=box.token, tenant=box.org.org_id)
    try:
        stream = client.subscribe("/data/OpportunityChangeEvent", preset="EARLIEST")
        opportunity = {"StageName": "Prospecting", "CloseDate": "2026-12-31"}
        box.create("Opportunity", Name="Before", **opportunity)
        [before] = stream.events(1)
        made(box, "CustomField", "Opportunity.Late__c", {"type": "Text", "label": "Late", "length": 10})
        set_id = permission_set(box, "Late")
        right = {"ParentId": set_id, "SobjectType": "Opportunity", "Field": "Opportunity.Late__c"}
        box.create("FieldPermissions", **right, PermissionsRead=True, PermissionsEdit=True)
        box.create("Opportunity", Name="After", Late__c="x", **opportunity)
        stream.ask(1)
        [after] = stream.events(1)
        assert before.event.schema_id != after.event.schema_id
        assert b"Late__c" not in before.event.payload
        assert client.decode(after)["Late__c"] == "x"
        assert client.decode(before)["Name"] == "Before"
        stream.close()
    finally:
        client.close()


def test_the_control_api_gives_an_object_other_fields_while_events_are_read(box: Box, wire: Wire) -> None:
    """Another schema from then on; a lost field is gone everywhere, and later changes of setup do not bring it back."""
    told = box.simulator.endpoints
    client = Client(wire, told.pubsub_endpoint, Path(told.ca_file), token=box.token, tenant=box.org.org_id)
    try:
        stream = client.subscribe("/data/ContactChangeEvent", preset="EARLIEST")
        contact = box.create("Contact", LastName="Before", Department="A")
        fields = [{"name": "New__c", "type": "double", "precision": 5, "scale": 1, "custom": True}]
        change = {"object": "Contact", "without": ["Department"], "fields": fields}
        assert box.control("POST", "/fields", change).status_code == 200
        after_id = box.create("Contact", LastName="After", New__c=1.5)
        before, after = stream.events(2)
        assert (client.decode(before)["Department"], client.decode(after)["New__c"]) == ("A", 1.5)
        assert before.event.schema_id != after.event.schema_id
    finally:
        client.close()
    made(box, "CustomField", "Contact.Other__c", {"type": "Text", "label": "Other", "length": 10})
    shown = {f["name"] for f in box.call("GET", "sobjects/Contact/describe").json()["fields"]}
    assert ("Department" in shown, "New__c" in shown) == (False, True)
    assert "Department" not in box.call("GET", f"sobjects/Contact/{contact}").json()
    assert tooling(box, "SELECT Id FROM CustomField WHERE DeveloperName = 'New'")["totalSize"] == 1
    assert box.call("PATCH", f"sobjects/Contact/{after_id}", {"Department": "B"}).status_code == 400
    for wrong in ({"object": "X"}, {**change, "without": ["Id"]}, {**change, "fields": [{"name": "A"}]}):
        assert box.control("POST", "/fields", wrong).status_code == 400


def test_simple_salesforce_sets_up_an_org(box: Box) -> None:
    """restful and toolingexecute, unchanged: field, permission set, permission and assignment."""
    salesforce: Any = api.Salesforce(
        session_id=box.token,
        instance_url=box.simulator.endpoints.instance_url,
        session=trusting_session(box.simulator),
    )
    body = {"FullName": "Account.By_Client__c", "Metadata": ID_FIELD}
    field = salesforce.toolingexecute("sobjects/CustomField", method="POST", data=body)
    assert field["success"] is True
    found = salesforce.toolingexecute(
        "query", params={"q": "SELECT Id FROM CustomField WHERE DeveloperName = 'By_Client'"}
    )
    assert found["records"][0]["Id"] == field["id"]
    set_id = salesforce.PermissionSet.create({"Name": "By_Client", "Label": "By client"})["id"]
    right = {
        "ParentId": set_id,
        "SobjectType": "Account",
        "Field": "Account.By_Client__c",
        "PermissionsRead": True,
    }
    salesforce.FieldPermissions.create(right)
    salesforce.PermissionSetAssignment.create(
        {"PermissionSetId": set_id, "AssigneeId": box.org.person.user_id}
    )
    assert "By_Client__c" in {f["name"] for f in salesforce.Account.describe()["fields"]}


def test_a_user_sees_his_own_rights(box: Box) -> None:
    """One row of UserPermissionAccess, for each user his own, whatever permission sets give it (Object Reference)."""
    soql = "SELECT PermissionsApiEnabled, PermissionsUseAnyApiAuth FROM UserPermissionAccess"
    (administrators,) = query(box, "SELECT Id FROM PermissionSet WHERE Name = 'X00eAdministrator'")
    path = f"sobjects/PermissionSet/{administrators['Id']}"
    assert box.call("PATCH", path, {"PermissionsUseAnyApiAuth": False}).status_code == 204
    own = permission_set(box, "Any_Auth")
    assert (
        box.call("PATCH", f"sobjects/PermissionSet/{own}", {"PermissionsUseAnyApiAuth": True}).status_code
        == 204
    )
    (mine,) = query(box, soql)
    box.as_user("person")
    (theirs,) = query(box, soql)
    assert (mine["PermissionsApiEnabled"], mine["PermissionsUseAnyApiAuth"]) == (True, True)
    assert (theirs["PermissionsApiEnabled"], theirs["PermissionsUseAnyApiAuth"]) == (True, False)
    assert box.call("POST", "sobjects/UserPermissionAccess", {}).status_code >= 400


def test_custom_fields_are_found_by_the_object_they_belong_to(box: Box) -> None:
    """By EntityDefinition, as in a real org, where a custom object has an Id for a name in TableEnumOrId."""
    made(box, "CustomField", "Contact.Whose__c", {**ID_FIELD, "label": "Whose"})
    soql = "SELECT DeveloperName, EntityDefinition.QualifiedApiName FROM CustomField WHERE DeveloperName = 'Whose'"
    (row,) = tooling(box, soql)["records"]
    assert row["EntityDefinition"]["QualifiedApiName"] == "Contact"
    by_object = f"{soql} AND EntityDefinition.QualifiedApiName = 'Account'"
    assert tooling(box, by_object)["records"] == []
