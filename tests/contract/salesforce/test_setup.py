"""`salmon setup` on the simulator: it makes what is missing, leaves alone what is there, and may be stopped at any point."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from salmon.config.models import SyncConfig, load
from salmon.config.sections.capture import CaptureConfig
from salmon.config.sections.saving import MarkersConfig
from salmon.devstack import sync_file
from salmon.errors import ConfigError, RequestRejected, SetupError, SignInRefused, Unavailable
from salmon.salesforce.catalog import synced_object
from salmon.salesforce.wire.administration import Administration, event_of
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub
from salmon.salesforce.wire.rest import Rest
from salmon.setup.org import PERMISSION_SET, OrgSetup
from salmon.setup.setting_up import is_complete, set_up
from salmon.setup.steps import Became, Step
from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.describes import describe

OBJECTS = ("Account", "Contact", "Invoice__c")
MARKERS = ("Salmon_Seq__c", "Salmon_Id__c")
OTHERS = ("Sync_Seq__c", "Sync_Key__c")  # as an admin may call them
MADE_THINGS = (
    "CustomField",
    "PlatformEventChannelMember",
    "PermissionSet",
    "FieldPermissions",
    "PermissionSetAssignment",
)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """An org without any of our fields, with a custom object."""
    describes = tmp_path_factory.mktemp("describes")
    for name in ("Account", "Contact"):
        (describes / f"{name}.json").write_text(json.dumps(describe(name)))
    invoice = {**describe("Whizbang"), "name": "Invoice__c", "label": "Invoice"}
    (describes / "Invoice__c.json").write_text(json.dumps(invoice))
    with Simulator.start(
        tmp_path_factory.mktemp("box"), describe_folder=describes, marker_fields=False
    ) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator) -> Iterator[Box]:
    """The org as it was at first: bare, and no object selected for change events."""
    box = Box(simulator)
    before = {
        (name, row["Id"]) for name in ("PermissionSet", "PermissionSetAssignment") for row in rows(box, name)
    }
    for name in OBJECTS:
        box.control("POST", "/faults", {"fault": "cdc", "object": name, "on": False}).raise_for_status()
    yield box
    simulator.org.settings.reset()
    for name in ("FieldPermissions", "PermissionSetAssignment", "PermissionSet", "CustomField"):
        api = "tooling/sobjects" if name == "CustomField" else "sobjects"
        for row in rows(box, name):
            ours = name != "CustomField" or full_name(row).partition(".")[2] in (*MARKERS, *OTHERS)
            if ours and (name, row["Id"]) not in before:
                assert box.call("DELETE", f"{api}/{name}/{row['Id']}").status_code == 204


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path) -> SyncConfig:
    return configured(simulator, tmp_path)


def configured(simulator: Simulator, folder: Path) -> SyncConfig:
    """A whole configuration, of which setup needs the org alone."""
    file = folder / "sync.yaml"
    sync_file.write(
        file,
        name="crm",
        bootstrap_servers="127.0.0.1:1",
        registry_url="http://127.0.0.1:1",
        mongodb={"uri": "mongodb://127.0.0.1:1", "database": "crm"},
        salesforce=simulator.endpoints.as_dict(),
        objects=OBJECTS,
    )
    return load(file)


def rows(box: Box, name: str) -> list[Mapping[str, Any]]:
    """What is in a table of the setup, whoever may see it."""
    if name in box.org.tables:
        return list(box.org.tables[name].live.values())
    columns = {
        "CustomField": "Id, DeveloperName, EntityDefinitionId, Length, Precision, CreatedById",
        "PlatformEventChannel": "Id, DeveloperName, ChannelType, MasterLabel",
        "PlatformEventChannelMember": "Id, EventChannel, SelectedEntity",
    }
    answer = box.call("GET", f"tooling/query?q=SELECT {columns[name]} FROM {name}").json()
    return [{key: value for key, value in row.items() if key != "attributes"} for row in answer["records"]]


def full_name(field: Mapping[str, Any]) -> str:
    return f"{field['EntityDefinitionId']}.{field['DeveloperName']}__c"


def state(box: Box) -> dict[str, list[Any]]:
    """All that a setup could make or change."""
    return {
        name: sorted(str(sorted(row.items(), key=str)) for row in rows(box, name)) for name in MADE_THINGS
    }


def taken(config: SyncConfig, *, dry: bool = False, admin_token: str | None = None) -> dict[str, Step]:
    return {step.name: step for step in set_up(config, dry=dry, admin_token=admin_token)}


def fields(box: Box, name: str) -> dict[str, Any]:
    return {each["name"]: each for each in box.call("GET", f"sobjects/{name}/describe").json()["fields"]}


def test_the_fields_get_the_names_that_the_configuration_gives(box: Box, config: SyncConfig) -> None:
    """Each object its own; what only a package can make is left to a person."""
    named = {
        "Account": MarkersConfig(seq=OTHERS[0], key=OTHERS[1]),
        "Invoice__c": MarkersConfig(seq=OTHERS[0], key="Acme__Sync_Key__c"),
    }
    objects = {
        name: each.model_copy(update={"markers": named.get(name, each.markers)})
        for name, each in config.objects.items()
    }
    made = taken(config.model_copy(update={"objects": objects}))
    by_hand = made.pop("objects.Invoice__c.Acme__Sync_Key__c")
    assert (by_hand.became, "package" in by_hand.says) == (Became.BY_HAND, True)
    assert {step.became for step in made.values()} == {Became.MADE}
    assert fields(box, "Account").keys() & {*MARKERS, *OTHERS} == set(OTHERS)
    assert fields(box, "Contact").keys() & {*MARKERS, *OTHERS} == set(MARKERS)
    assert fields(box, "Account")[OTHERS[1]]["unique"]


def test_a_bare_org_gets_all_that_a_sync_needs_and_then_nothing_more(box: Box, config: SyncConfig) -> None:
    """Fields as they must be, the right to edit them for this user alone, change events; also of a custom object."""
    made = taken(config)
    assert {step.became for step in made.values()} == {Became.MADE}
    for name in OBJECTS:
        seq, key = (fields(box, name)[marker] for marker in MARKERS)
        assert (seq["type"], seq["precision"], seq["scale"], seq["updateable"]) == ("double", 18, 0, True)
        assert (key["type"], key["length"], key["createable"]) == ("string", 255, True)
        assert (key["externalId"], key["unique"], key["caseSensitive"]) == (True, True, True)
    assert {row["SelectedEntity"] for row in rows(box, "PlatformEventChannelMember")} == {
        "AccountChangeEvent", "ContactChangeEvent", "Invoice__ChangeEvent",
    }  # fmt: skip
    (ours,) = [row["Id"] for row in rows(box, "PermissionSet") if row["Name"] == PERMISSION_SET]
    assigned = [
        row["AssigneeId"] for row in rows(box, "PermissionSetAssignment") if row["PermissionSetId"] == ours
    ]
    assert assigned == [box.org.integration_user.user_id]
    before = state(box)
    again = taken(config)
    assert {step.became for step in again.values()} == {Became.THERE}
    assert state(box) == before


def test_the_source_takes_what_setup_has_made(box: Box, config: SyncConfig) -> None:
    """salesforce-source begins with each object: its markers, and the fields of its change events."""
    taken(config)
    rest = Rest(config.salesforce)
    events = PubSub(config.salesforce, rest.sign_in)
    try:
        for name in OBJECTS:
            assert synced_object(name, config.objects, rest, events).schema.fields
    finally:
        events.close()
        rest.close()


def test_a_dry_run_says_the_same_and_changes_nothing(box: Box, config: SyncConfig) -> None:
    """Not even a thing that the org would not have noticed: it sends nothing but questions."""
    before, sent = state(box), []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("make", "change", "make_of_metadata"):
            patch.setattr(Administration, name, lambda *said: sent.append(said))
        dry = taken(config, dry=True)
    assert sent == []
    assert state(box) == before
    assert {step.became for step in dry.values()} == {Became.WOULD_MAKE}
    assert set(dry) == set(taken(config))


def test_a_setup_that_is_stopped_after_any_step_is_completed_by_the_next(
    box: Box, config: SyncConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run makes one thing and dies; in the end there is what one run would have made, each thing once."""
    made: list[str] = []
    told: list[str] = []
    real_make, real_of_metadata = Administration.make, Administration.make_of_metadata

    def dying(real: Any) -> Any:
        def make(self: Administration, name: str, *said: Any) -> str:
            if len(made) == runs:
                raise Unavailable("the machine went off.")
            made.append(name)
            return str(real(self, name, *said))

        return make

    config = config.model_copy(update={"objects": {"Invoice__c": config.objects["Invoice__c"]}})
    monkeypatch.setattr(Administration, "make", dying(real_make))
    monkeypatch.setattr(Administration, "make_of_metadata", dying(real_of_metadata))
    runs = 0
    while True:
        runs += 1
        try:
            steps = taken(config)
        except SetupError as stopped:
            told.append(str(stopped))
            continue
        break
    assert is_complete(list(steps.values()))
    assert len(told) == len(made) - 1, "the last run has one thing left to make"
    assert all("run `salmon setup` again" in each for each in told)
    assert sorted(made) == sorted(
        ["CustomField"] * 2 + ["PermissionSet"] + ["FieldPermissions"] * 2
        + ["PermissionSetAssignment", "PlatformEventChannelMember"]
    )  # fmt: skip
    assert {step.became for step in taken(config).values()} == {Became.THERE}


def test_a_field_of_our_name_and_another_type_is_an_error_and_stays(box: Box, config: SyncConfig) -> None:
    """Hidden from everybody or not; all else is made, and once the field is deleted, the next run makes it."""
    wrong = {"type": "Number", "label": "Mine", "precision": 10, "scale": 0}
    body = {"FullName": "Account.Salmon_Seq__c", "Metadata": wrong}
    field_id = box.call("POST", "tooling/sobjects/CustomField", body).json()["id"]
    before = next(row for row in rows(box, "CustomField") if row["Id"] == field_id)
    steps = taken(config)
    step = steps["objects.Account.Salmon_Seq__c"]
    assert step.became is Became.FAILED
    assert "18 digits" in step.says
    assert "Number(18, 0)" in step.mend
    assert next(row for row in rows(box, "CustomField") if row["Id"] == field_id) == before
    assert "permissions.Account.Salmon_Seq__c" not in steps
    assert {each.became for name, each in steps.items() if name != step.name} == {Became.MADE}
    assert box.call("DELETE", f"tooling/sobjects/CustomField/{field_id}").status_code == 204
    assert [name for name, each in taken(config).items() if each.became is Became.MADE] == [
        "objects.Account.Salmon_Seq__c", "permissions.Account.Salmon_Seq__c",
    ]  # fmt: skip


def test_fields_that_an_admin_made_in_another_way_are_enough(box: Box, config: SyncConfig) -> None:
    """With a permission set of the admin's own there is nothing to make but the selection."""
    taken(config)
    (ours,) = [row["Id"] for row in rows(box, "PermissionSet") if row["Name"] == PERMISSION_SET]
    assert (
        box.call(
            "PATCH", f"sobjects/PermissionSet/{ours}", {"Name": "By_Hand", "Label": "By hand"}
        ).status_code
        == 204
    )
    assert {step.became for step in taken(config).values()} == {Became.THERE}
    assert PERMISSION_SET not in {row["Name"] for row in rows(box, "PermissionSet")}


def test_our_permission_set_is_mended_where_it_lost_a_right(box: Box, config: SyncConfig) -> None:
    """It is ours: it gives Edit again."""
    taken(config)
    right = next(row for row in rows(box, "FieldPermissions") if row["Field"] == "Account.Salmon_Id__c")
    assert (
        box.call("PATCH", f"sobjects/FieldPermissions/{right['Id']}", {"PermissionsEdit": False}).status_code
        == 204
    )
    made = {name for name, step in taken(config).items() if step.became is Became.MADE}
    assert made == {"permissions.Account.Salmon_Id__c"}
    assert fields(box, "Account")["Salmon_Id__c"]["updateable"]


def test_an_org_that_may_select_no_more_objects_is_for_a_person(box: Box, config: SyncConfig) -> None:
    """The rest is made. The mend says how many an org may select, and what can be done."""
    box.simulator.org.settings.change({"cdc_entities_max": 2})
    steps = taken(config)
    by_hand = [step for step in steps.values() if step.became is Became.BY_HAND]
    assert [step.name for step in by_hand] == ["selection.Invoice__c"]
    assert "add-on" in by_hand[0].mend
    assert not is_complete(list(steps.values()))


@pytest.mark.parametrize("method", ["make", "make_of_metadata", "tooling_rows"])
def test_what_the_org_does_not_let_this_user_make_is_told_as_a_thing_to_do_by_hand(
    box: Box, config: SyncConfig, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """With the org's code, what to make where, and the way by an administrator's session."""

    def refused(*_: Any) -> Any:
        raise RequestRejected(
            "refused.", code="INSUFFICIENT_ACCESS", words="insufficient access rights on object id"
        )

    monkeypatch.setattr(Administration, method, refused)
    by_hand = [step for step in taken(config).values() if step.became is Became.BY_HAND]
    assert by_hand
    assert all("INSUFFICIENT_ACCESS" in step.says for step in by_hand)
    assert all(step.mend for step in by_hand)


def test_fields_of_activities_are_for_a_person() -> None:
    """Those of Task and Event are made on Activity: nothing is guessed about it, and no permission is given for nothing."""
    described = Described({**describe("Event"), "name": "Event"})
    steps = [*OrgSetup(["Event"], described, described, dry=False).steps()]  # type: ignore[arg-type]
    assert steps.pop().name == "selection.Event"
    assert [step.became for step in steps] == [Became.BY_HAND, Became.BY_HAND]
    assert [step.name for step in steps] == ["objects.Event.Salmon_Seq__c", "objects.Event.Salmon_Id__c"]
    assert all("Object Manager, Activity" in step.mend for step in steps)


def test_a_polled_object_is_not_selected_for_change_events(box: Box, config: SyncConfig) -> None:
    """Its place among the five that an org may select is left to another."""
    config = config.model_copy(
        update={
            "objects": {
                name: each.model_copy(update={"capture": CaptureConfig(mode="poll")})
                for name, each in config.objects.items()
            }
        }
    )
    steps = taken(config)
    assert steps
    assert not any(name.startswith("selection") for name in steps)


def on_channel(config: SyncConfig, channel: str) -> SyncConfig:
    pubsub = config.salesforce.pubsub.model_copy(update={"channel": f"/data/{channel}"})
    return config.model_copy(update={"salesforce": config.salesforce.model_copy(update={"pubsub": pubsub})})


@pytest.fixture
def custom(box: Box, config: SyncConfig) -> Iterator[SyncConfig]:
    """A sync on a custom channel that the org does not have."""
    before = {row["Id"] for row in rows(box, "PlatformEventChannel")}
    yield on_channel(config, "Sync__chn")
    for row in rows(box, "PlatformEventChannel"):
        if row["Id"] not in before:
            path = f"tooling/sobjects/PlatformEventChannel/{row['Id']}"
            assert box.call("DELETE", path).status_code == 204


def test_a_custom_channel_is_made_with_all_synced_objects_on_it(box: Box, custom: SyncConfig) -> None:
    """It is a channel of change events, which can be subscribed to; then there is nothing more to make."""
    made = taken(custom)
    assert made["selection.channel"].became is Became.MADE
    assert {step.became for step in made.values()} == {Became.MADE}
    (channel,) = rows(box, "PlatformEventChannel")
    assert (channel["DeveloperName"], channel["ChannelType"]) == ("Sync", "data")
    members = rows(box, "PlatformEventChannelMember")
    assert {(row["EventChannel"], row["SelectedEntity"]) for row in members} == {
        (channel["Id"], event_of(name)) for name in OBJECTS
    }
    rest = Rest(custom.salesforce)
    events = PubSub(custom.salesforce, rest.sign_in)
    try:
        assert events.topic(custom.salesforce.pubsub.channel).can_subscribe
        assert set(Administration(rest).selections("Sync__chn")) == {event_of(name) for name in OBJECTS}
    finally:
        events.close()
        rest.close()
    assert {step.became for step in taken(custom).values()} == {Became.THERE}
    assert [channel] == rows(box, "PlatformEventChannel")


def test_a_dry_run_says_that_it_would_make_the_channel_and_makes_none(box: Box, custom: SyncConfig) -> None:
    """And its members, each by name."""
    dry = taken(custom, dry=True)
    ours = {name: step.became for name, step in dry.items() if name.startswith("selection")}
    assert ours == dict.fromkeys(
        ["selection.channel", *(f"selection.{name}" for name in OBJECTS)], Became.WOULD_MAKE
    )
    assert "Sync__chn" in dry["selection.channel"].says
    assert (rows(box, "PlatformEventChannel"), rows(box, "PlatformEventChannelMember")) == ([], [])


def test_a_channel_that_somebody_made_gets_what_it_lacks_and_stays_otherwise(
    box: Box, custom: SyncConfig
) -> None:
    """Its label is the other's, and so is what it carries already; another channel's members are none of ours."""
    for name in ("Sync__chn", "Other__chn"):
        body = {"FullName": name, "Metadata": {"channelType": "data", "label": "By hand"}}
        assert box.call("POST", "tooling/sobjects/PlatformEventChannel", body).status_code == 201
    carried = {
        "Sync__chn": ["AccountChangeEvent"],
        "Other__chn": ["AccountChangeEvent", "ContactChangeEvent"],
    }
    for name, events in carried.items():
        for number, event in enumerate(events):
            member = {"eventChannel": name, "selectedEntity": event}
            body = {"FullName": f"{name[:4]}_{number}", "Metadata": member}
            assert box.call("POST", "tooling/sobjects/PlatformEventChannelMember", body).status_code == 201
    before = rows(box, "PlatformEventChannel"), rows(box, "PlatformEventChannelMember")
    became = {name: step.became for name, step in taken(custom).items() if name.startswith("selection")}
    assert became == {
        "selection.channel": Became.THERE, "selection.Account": Became.THERE,
        "selection.Contact": Became.MADE, "selection.Invoice__c": Became.MADE,
    }  # fmt: skip
    assert rows(box, "PlatformEventChannel") == before[0]
    assert [row for row in rows(box, "PlatformEventChannelMember") if row in before[1]] == before[1]


def test_a_channel_that_the_org_does_not_let_us_make_is_told_once(box: Box, custom: SyncConfig) -> None:
    """Its members are not tried: each would be refused because there is no channel."""
    taken(on_channel(custom, "ChangeEvents"))
    elsewhere = on_channel(custom, "Acme__Sync__chn")  # as of a package, which makes its own
    steps = taken(elsewhere)
    assert [name for name in steps if name.startswith("selection")] == ["selection.channel"]
    step = steps["selection.channel"]
    assert step.became is Became.BY_HAND
    assert "Acme__Sync__chn" in step.mend
    assert not is_complete(list(steps.values()))


class Described:
    """An org that shows one describe, and has all objects selected; nobody may make anything."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        self._described = described
        self.rest = self

    def describe(self, name: str) -> Mapping[str, Any]:
        return self._described

    def channel_key(self, channel: str) -> str:
        return channel

    def members(self, _: str) -> Mapping[str, Mapping[str, Any]]:
        return {event_of(self._described["name"]): {}}


def test_a_dry_run_foresees_that_the_user_lacks_the_rights(box: Box, config: SyncConfig) -> None:
    """They are named, so that an admin can give them before."""
    (administrators,) = [
        row["Id"] for row in rows(box, "PermissionSet") if row["Name"] == "X00eAdministrator"
    ]
    path = f"sobjects/PermissionSet/{administrators}"
    assert box.call("PATCH", path, {"PermissionsCustomizeApplication": False}).status_code == 204
    try:
        step = taken(config, dry=True)["rights"]
    finally:
        assert box.call("PATCH", path, {"PermissionsCustomizeApplication": True}).status_code == 204
    assert step.became is Became.BY_HAND
    assert step.says.endswith("lacks Customize Application.")


def test_an_object_that_is_not_there_fails_and_the_others_are_made(box: Box, config: SyncConfig) -> None:
    """Hidden from the integration user, say."""
    box.control("POST", "/faults", {"fault": "hide", "object": "Contact"}).raise_for_status()
    try:
        steps = taken(config)
    finally:
        box.control("DELETE", "/faults")
    assert steps["objects.Contact"].became is Became.FAILED
    assert steps["objects.Account.Salmon_Id__c"].became is Became.MADE
    assert steps["permissions.assignment"].became is Became.MADE


def test_an_administrator_makes_things_for_the_integration_user(box: Box, config: SyncConfig) -> None:
    """By a session that the administrator hands over: whatever is made is the administrator's, and for the other user."""
    box.as_user("person")
    assert is_complete(list(set_up(config, dry=False, admin_token=box.token)))
    person, user = box.org.person.user_id, box.org.integration_user.user_id
    made = [row for row in rows(box, "CustomField") if full_name(row).partition(".")[2] in MARKERS]
    assert {row["CreatedById"] for row in made} == {person}
    (ours,) = [row["Id"] for row in rows(box, "PermissionSet") if row["Name"] == PERMISSION_SET]
    assigned = [
        row["AssigneeId"] for row in rows(box, "PermissionSetAssignment") if row["PermissionSetId"] == ours
    ]
    assert assigned == [user]


@pytest.mark.parametrize(
    ("token", "error", "words"),
    [
        ("hush", ConfigError, "no access token|not an access token"),
        ("00DOTHER00000000!hush", ConfigError, "one of the org 00DOTHER00000000"),
        ("{org}!hush", SignInRefused, "not valid, or has ended"),
    ],
)
def test_a_session_that_is_none_or_of_another_org_is_refused(
    box: Box, config: SyncConfig, token: str, error: type[Exception], words: str
) -> None:
    """In a sentence that does not show it, and before anything is made."""
    before = state(box)
    with pytest.raises(error, match=words) as told:
        taken(config, admin_token=token.format(org=box.org.org_id[:15]))
    assert "hush" not in str(told.value)
    assert state(box) == before
