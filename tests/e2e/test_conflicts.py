"""Conflicts as data, decided by a person, and the stories that records tell: the commands, on real processes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from salmon.cli import main as command_line
from salmon.salesforce.ids import id18
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("e2e")]

RECORDS = {"Account": 12, "Contact": 6, "Opportunity": 2}
ASK_A_PERSON: dict[str, dict[str, Any]] = {
    "Account": {"conflicts": {"fields": {"Site": "hold", "NumberOfEmployees": "hold"}}},
    "Contact": {"conflicts": {"default": "hold"}},
    "Opportunity": {"direction": "to_mongodb"},
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Salmon:
    """The command line, on one sync; typed in this process, which saves a start of Python each time."""

    ring: Ring

    def __call__(self, *arguments: object) -> Ended:
        out, err = io.StringIO(), io.StringIO()
        typed = ["salmon", *map(str, arguments), "-c", str(self.ring.config_path)]
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", typed)
            with pytest.raises(SystemExit) as ended:
                command_line.main()
        return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def json(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        """What a command prints with --json; it ends with *code*."""
        ended = self(*arguments, "--json")
        assert (ended.code, ended.err) == (code, ""), ended
        told: dict[str, Any] = json.loads(ended.out)
        return told


@dataclass
class Play:
    """A sync in which both sides edited at once. Each record is for one test."""

    ring: Ring
    salmon: Salmon
    site: str  # an account whose Site is on hold
    number: str  # one whose NumberOfEmployees is
    decided: str  # one whose Phone was edited on both sides: the policy has decided
    dead: tuple[str, str]  # contacts that were deleted in the org, and edited in MongoDB
    together: tuple[str, str]  # accounts whose Site is on hold too

    def held(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What `salmon conflicts list --held` shows, by key and field."""
        told = self.salmon.json("conflicts", "list", "--held")["conflicts"]
        return {(each["key"], each["field"]): each for each in told}


@pytest.fixture(scope="module")
def play(embedded_stack: Stack) -> Iterator[Play]:
    """merge is down while both sides edit, so that neither can know of the other."""
    with running_ring(embedded_stack, "conflicts", records=RECORDS, objects=ASK_A_PERSON) as ring:
        ring.start()
        ring.wait_equal()
        accounts, contacts = ring.ids("Account"), ring.ids("Contact")
        site, number, decided = accounts[:3]
        dead, together = (contacts[0], contacts[1]), (accounts[5], accounts[6])
        play = Play(ring, Salmon(ring), site, number, decided, dead, together)
        ring.stop("merge")
        for key in (play.site, *play.together):
            ring.sf.Account.update(key, {"Site": "of a person"})
            ring.db.accounts.update_one({"_id": key}, {"$set": {"Site": "of an application"}})
        ring.sf.Account.update(play.number, {"NumberOfEmployees": 11})
        ring.db.accounts.update_one({"_id": play.number}, {"$set": {"NumberOfEmployees": 22}})
        ring.sf.Account.update(play.decided, {"Phone": "555 0101"})
        ring.db.accounts.update_one({"_id": play.decided}, {"$set": {"Phone": "555 0202"}})
        for key in play.dead:
            ring.sf.Contact.delete(key)
            ring.db.contacts.update_one({"_id": key}, {"$set": {"Department": "Still here"}})
        ring.start("merge")
        ring.wait_equal()  # but for what is parked
        yield play


def test_both_sides_keep_their_value_and_the_list_shows_who_waits(play: Play) -> None:
    """Nobody's value is thrown away; each conflict on hold is told with both values; the decided one is not among them."""
    held = play.held()
    assert held.keys() == {
        *((key, "Site") for key in (play.site, *play.together)),
        (play.number, "NumberOfEmployees"),
        *((key, "$exists") for key in play.dead),
    }
    site = held[play.site, "Site"]
    values = {edit["side"]: edit["value"] for edit in (site["standing"], site["challenger"])}
    assert values == {"salesforce": "of a person", "mongodb": "of an application"}
    assert (site["policy"], site["winner"], site["object"]) == ("hold", None, "Account")
    assert play.ring.row("Account", play.site)["Site"] == "of a person"
    document = play.ring.db.accounts.find_one({"_id": play.site})
    assert document is not None
    assert document["Site"] == "of an application"
    assert play.ring.db.contacts.find_one({"_id": play.dead[0]}) is not None
    play.ring.wait_query(f"SELECT Id FROM Contact WHERE Id = '{play.dead[0]}'", 0)


def test_the_list_is_filtered_and_limited_and_begins_with_the_newest(play: Play) -> None:
    """By object, key, field and time; a script learns how many there were beside those it asked for."""
    salmon = play.salmon
    everything = salmon.json("conflicts", "list")
    times = [each["at"] for each in everything["conflicts"]]
    assert (len(times), everything["more"]) == (7, 0)
    assert times == sorted(times, reverse=True)
    (decided,) = salmon.json("conflicts", "list", "--key", play.decided)["conflicts"]
    assert (decided["field"], decided["waits"]) == ("Phone", False)
    assert decided["winner"] in {"salesforce", "mongodb"}
    assert len(salmon.json("conflicts", "list", "--object", "Contact")["conflicts"]) == 2
    assert len(salmon.json("conflicts", "list", "--field", "Site")["conflicts"]) == 3
    assert salmon.json("conflicts", "list", "--until", "1h")["conflicts"] == []
    assert len(salmon.json("conflicts", "list", "--since", "1h")["conflicts"]) == 7
    limited = salmon.json("conflicts", "list", "--limit", "2")
    assert (limited["conflicts"], limited["more"]) == (everything["conflicts"][:2], 5)
    shown = salmon("conflicts", "list", "--object", "Account")
    assert "mongodb: of an application" in shown.out
    assert "waits" in shown.out


def test_one_conflict_is_shown_by_its_id_or_by_its_record(play: Play) -> None:
    """Both values, their times, the policy, and what is agreed now, with the command that would decide it."""
    by_record = play.salmon.json("conflicts", "show", "Account", play.number, "NumberOfEmployees")
    assert by_record == play.salmon.json("conflicts", "show", by_record["id"])
    assert {by_record["standing"]["value"], by_record["challenger"]["value"]} == {11, 22}
    assert by_record["now"]["agreed"] == by_record["standing"]["value"]
    said = play.salmon("conflicts", "show", by_record["id"]).out
    assert f"salmon conflicts resolve Account '{play.number}' 'NumberOfEmployees' --take" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("Account", "{number}", "NumberOfEmployees", "--take", "many"),
            "NumberOfEmployees: the value is not a valid int",
        ),
        (("Account", "{number}", "NumberOfEmployes", "--take", "7"), "Did you mean NumberOfEmployees"),
        (
            ("Account", "{number}", "LastModifiedDate", "--take", "mongodb"),
            "only Salesforce itself sets",
        ),
        (("Account", "{number}", "$exists", "--take", "mongodb"), "no decision about its deletion is open"),
        (("Account", "0015g00000Unknown0", "Site", "--take", "x"), "Salmon does not know this record"),
        (("Lead", "{number}", "Site", "--take", "x"), "It has Account, Contact, Opportunity"),
        (("Account", "{number}", "Fax", "--take", "mongodb"), "Give the value itself: --value VALUE"),
        (("Account", "{number}", "Site"), "Give either --take"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_entered(
    play: Play, arguments: tuple[str, ...], said: str
) -> None:
    """In one sentence that names the field, its type and the mend; exit code 2."""
    ended = play.salmon("conflicts", "resolve", *(each.format(number=play.number) for each in arguments))
    assert ended.code == 2
    assert said in ended.err
    assert "many" not in ended.err, "no value is told"


def test_taking_a_side_ends_the_conflict_and_is_told_in_the_record_s_history(play: Play) -> None:
    """MongoDB's value becomes the agreed one on both sides; who decided, why, and what it settled is kept."""
    conflict = play.held()[play.site, "Site"]["id"]
    words = ("--by", "ada", "--reason", "the application knows")
    told = play.salmon.json("conflicts", "resolve", "Account", play.site, "Site", "--take", "mongodb", *words)
    assert told["done"] is True
    (resolved,) = told["resolved"]
    assert (resolved["fields"], resolved["settles"]) == ({"Site": "of an application"}, [conflict])
    play.ring.wait_row("Account", play.site, lambda row: row["Site"] == "of an application")
    play.ring.wait_equal()
    assert (play.site, "Site") not in play.held()
    story = play.salmon.json("why", "Account", play.site)
    (decided,) = [entry for entry in story["story"] if entry["kind"] == "operator"]
    assert decided["says"] == (
        f"ada decided: Site = 'of an application', settling conflict {conflict}, because: the application knows"
    )
    assert (story["now"]["settled"], story["whole"]) == (True, True)


def test_a_value_may_be_given_that_is_neither(play: Play) -> None:
    """Typed by the object's schema; a text that is the name of a side is given by --value."""
    told = play.salmon.json(
        "conflicts", "resolve", "Account", play.number, "NumberOfEmployees", "--take", "33"
    )
    assert told["resolved"][0]["fields"] == {"NumberOfEmployees": 33}
    play.ring.wait_row("Account", play.number, lambda row: row["NumberOfEmployees"] == 33)
    play.ring.wait_document("accounts", play.number, lambda seen: seen["NumberOfEmployees"] == 33)
    told = play.salmon.json("conflicts", "resolve", "Account", play.number, "Site", "--value", "salesforce")
    assert told["done"] is True
    play.ring.wait_row("Account", play.number, lambda row: row["Site"] == "salesforce")


def test_a_contested_life_is_kept_or_ended(play: Play) -> None:
    """The side that still has the record is right about one, the one that deleted it about the other."""
    kept, ended = play.dead
    waits = play.salmon.json("why", "Contact", kept, code=1)["now"]
    assert "deleted in Salesforce and edited in MongoDB at the same time" in waits["says"]
    play.salmon.json("conflicts", "resolve", "Contact", kept, "$exists", "--take", "mongodb")
    play.salmon.json("conflicts", "resolve", "Contact", ended, "$exists", "--take", "salesforce")
    play.ring.wait_gone("contacts", ended)
    play.ring.wait_query(f"SELECT Id FROM Contact WHERE Salmon_Id__c = '{kept}'", 1)


def test_all_that_waits_is_decided_at_once(play: Play) -> None:
    """`--held` takes the same side everywhere; afterwards nobody waits, and both sides are equal."""
    told = play.salmon.json(
        "conflicts", "resolve", "--held", "--object", "Account", "--field", "Site", "--take", "salesforce"
    )
    assert {each["key"] for each in told["resolved"]} >= set(play.together)
    for key in play.together:
        play.ring.wait_document("accounts", key, lambda seen: seen["Site"] == "of a person")
    assert {key for key, _ in play.held()}.isdisjoint(play.together)
    play.ring.wait_equal()


# Stories.


def test_the_story_of_an_edit_is_whole_and_ends_in_step(play: Play) -> None:
    """From a row and an edit to the write, its echo and the lag; found by the short form of the Id, too."""
    key = play.ring.ids("Account")[8]
    play.ring.db.accounts.update_one({"_id": key}, {"$set": {"Site": "Oslo"}})
    play.ring.wait_row("Account", key, lambda row: row["Site"] == "Oslo")
    play.ring.wait_equal()
    story = play.salmon.json("why", "Account", key[:15])
    assert story["key"] == key == id18(key[:15])
    kinds = [(entry["kind"], entry["who"]) for entry in story["story"]]
    edit = kinds.index(("edit", "mongodb"))
    write, echo = kinds.index(("write", "merge"), edit), kinds.index(("echo", "salesforce"), edit)
    assert edit < write < echo
    assert story["story"][edit]["fields"] == {"Site": "Oslo"}
    assert story["story"][write]["seq"] == story["story"][echo]["seq"]
    assert 0 <= story["story"][echo]["lag_ms"] < 60_000
    now = story["now"]
    assert now["says"] == f"Account {key} is in sync: both sides have the agreed values."
    assert now["record"]["Site"] == "Oslo"
    assert now["sides"]["salesforce"]["native_id"] == key
    last = play.salmon("why", "Account", key).out.splitlines()[-1]
    assert last == now["says"]


def test_the_story_of_a_refusal_names_the_code_and_what_to_do(play: Play) -> None:
    """A rule of the org refuses a value: the outcome, the dead letter, and one sentence for the admin."""
    key = play.ring.ids("Account")[9]
    with play.ring.trigger(object="Account", when={"field": "Fax"}, refuse=True):
        play.ring.db.accounts.update_one({"_id": key}, {"$set": {"Fax": "666"}})
        play.ring.wait_document("accounts", key, lambda seen: seen["_salmon"].get("error"))
    story = play.salmon.json("why", "Account", key, code=1)
    kinds = {entry["kind"] for entry in story["story"]}
    assert kinds >= {"edit", "write", "outcome", "dead letter"}
    (parked,) = story["now"]["sides"]["salesforce"]["parked"]
    assert (parked["field"], parked["why"]) == ("Fax", "REFUSED")
    assert f"Account {key} was refused by Salesforce in Fax: {parked['code']}" in story["now"]["says"]
    assert "correct it in MongoDB and Salmon tries again" in story["now"]["says"]
    play.ring.db.accounts.update_one({"_id": key}, {"$set": {"Fax": "+1 555 0199"}})
    play.ring.wait_equal()
    assert play.salmon.json("why", "Account", key)["now"]["settled"] is True


def test_what_was_refused_is_sent_again_once_its_reason_is_gone(play: Play) -> None:
    """A rule of the org refuses a value, and then no longer: `retry` sends it, and asking twice changes nothing (case L10)."""
    key = play.ring.ids("Account")[7]
    fax = f"+1 555 {key[-4:]}"
    with play.ring.trigger(object="Account", when={"field": "Fax"}, refuse=True):
        play.ring.db.accounts.update_one({"_id": key}, {"$set": {"Fax": fax}})
        play.ring.wait_document("accounts", key, lambda seen: seen["_salmon"].get("error"))
    story = play.salmon.json("why", "Account", key, code=1)
    assert f"salmon retry --object Account --key '{key}'" in story["now"]["says"]
    (parked,) = story["now"]["sides"]["salesforce"]["parked"]
    narrowed = (
        "--object",
        "Account",
        "--key",
        key,
        "--field",
        "Fax",
        "--code",
        parked["code"],
        "--since",
        "1h",
    )

    assert play.salmon.json("retry", *narrowed, "--dry-run")["sent"] == 0
    for other in (("--field", "Phone"), ("--code", "ANOTHER")):
        told = play.salmon.json("retry", "--object", "Account", "--key", key, *other)
        assert told["refused"] == [], other
    assert play.ring.row("Account", key)["Fax"] != fax
    (refused,) = play.salmon.json("retry", *narrowed)["refused"]
    assert (refused["key"], refused["fields"], refused["side"]) == (key, ["Fax"], "salesforce")
    play.ring.wait_row("Account", key, lambda row: row["Fax"] == fax)
    play.ring.wait_equal()
    ended = play.salmon("retry", *narrowed)
    assert (ended.code, ended.out) == (0, "Nothing to send again: no refused write matches.\n")
    story = play.salmon.json("why", "Account", key)
    assert any(entry["kind"] == "operator" and "sent again" in entry["says"] for entry in story["story"])


def test_a_refused_write_of_a_one_way_object_is_sent_again_as_why_says(play: Play) -> None:
    """Its target refuses a value, and then no longer: the command that `why` names sends it, with and without options (case L10)."""
    keys = play.ring.ids("Opportunity")[:2]
    rule: dict[str, Any] = {"validator": {"NextStep": {"$ne": "Refused"}}, "validationAction": "error"}
    play.ring.db.command("collMod", "opportunities", validationLevel="strict", **rule)
    for key in keys:
        play.ring.sf.Opportunity.update(key, {"NextStep": "Refused"})

    for key in keys:
        named = f"salmon retry --object Opportunity --key '{key}'"
        until(partial(_says, play, "Opportunity", key, named), f"{key} is refused")
    play.ring.db.command("collMod", "opportunities", validator={})
    for key, options in zip(keys, (("--object", "Opportunity", "--key", keys[0]), ()), strict=True):
        sent = play.salmon.json("retry", *options)["refused"]
        assert [(each["key"], each["side"]) for each in sent if each["object"] == "Opportunity"] == [
            (key, "mongodb")
        ]
        play.ring.wait_document("opportunities", key, lambda seen: seen.get("NextStep") == "Refused")
        assert play.salmon.json("why", "Opportunity", key)["now"]["settled"] is True
    play.ring.wait_equal()


def _says(play: Play, name: str, key: str, text: str) -> bool:
    """Whether `why` says that of the record."""
    return text in play.salmon("why", name, key).out


def test_a_value_that_could_not_be_taken_is_told_wherever_people_look(play: Play) -> None:
    """The document, `why`, `verify` and the metrics tell; it is over once somebody corrects it (case V6)."""
    key = play.ring.ids("Account")[11]
    before = play.ring.row("Account", key)["AnnualRevenue"]
    play.ring.db.accounts.update_one({"_id": key}, {"$set": {"AnnualRevenue": float("nan"), "Site": "Vik"}})
    play.ring.wait_row("Account", key, lambda row: row["Site"] == "Vik")
    play.ring.wait_document(
        "accounts",
        key,
        lambda seen: "AnnualRevenue: must be a number, not NaN" in seen["_salmon"].get("error", ""),
    )
    story = play.salmon.json("why", "Account", key, code=1)
    assert "has a value in MongoDB that cannot be synced in AnnualRevenue" in story["now"]["says"]
    assert (
        "must be a number, not NaN" in next(e for e in story["story"] if e["kind"] == "dead letter")["says"]
    )
    waits = play.salmon.json("verify", "--object", "Account")["objects"]["Account"]["parked"]
    assert ("mongodb", "MISFIT", ["AnnualRevenue"]) in [(w["side"], w["why"], w["fields"]) for w in waits]
    (again,) = play.salmon.json("retry", "--object", "Account", "--key", key, "--since", "1h")["refused"]
    assert (again["misfit"], again["fields"], again["side"]) == (True, ["AnnualRevenue"], "mongodb"), (
        "it is read again"
    )
    metrics = play.ring.http.get(f"http://127.0.0.1:{play.ring.ports['merge']}/metrics").text
    waiting = next(
        line
        for line in metrics.splitlines()
        if line.startswith("salmon_parked_fields_total{") and '"misfit"' in line
    )
    assert float(waiting.rpartition(" ")[2]) >= 1
    assert play.ring.row("Account", key)["AnnualRevenue"] == before

    play.ring.db.accounts.update_one({"_id": key}, {"$set": {"AnnualRevenue": 1234}})
    play.ring.wait_row("Account", key, lambda row: row["AnnualRevenue"] == 1234)
    play.ring.wait_equal()
    assert play.salmon.json("why", "Account", key)["now"]["settled"] is True


def test_of_a_new_document_with_what_cannot_be_taken_the_rest_is_created(play: Play) -> None:
    """Also where 15 MB that are none of the sync's lie beside it (cases V7 and L9)."""
    document = {"Name": "Half right", "NumberOfEmployees": "twelve", "scan": "x" * 15_000_000}
    born = play.ring.db.accounts.insert_one(document).inserted_id
    seen = play.ring.wait_document(
        "accounts", born, lambda seen: seen.get("_salmon", {}).get("salesforce_id"), within_s=60
    )
    row = play.ring.row("Account", seen["_salmon"]["salesforce_id"])
    assert (row["Name"], row["NumberOfEmployees"]) == ("Half right", None)
    story = play.salmon.json("why", "Account", str(born), code=1)
    letter = next(each for each in story["story"] if each["kind"] == "dead letter")
    assert "NumberOfEmployees: must be a whole number, not String" in letter["says"]
    play.ring.db.accounts.update_one({"_id": born}, {"$set": {"NumberOfEmployees": 12}})
    play.ring.wait_row(
        "Account", seen["_salmon"]["salesforce_id"], lambda row: row["NumberOfEmployees"] == 12
    )
    play.ring.wait_equal()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--object", "Lead"], "Lead"),
        (["--object", "Account", "--field", "Fox"], "Did you mean Fax"),
        (["--field", "Nothing__c"], "Nothing__c"),
        (["--since", "yesterday"], "is not a valid time"),
        (["--since", "2999-01-01"], "is not in the past"),
        (["--key", "0015g00000Unknown0"], "--object"),
        (["--object", "Account", "--key", "0015g00000Unknown0"], "does not know"),
    ],
)
def test_a_retry_of_what_is_not_there_is_refused(play: Play, options: list[str], says: str) -> None:
    """One sentence, exit code 2, and nothing is sent."""
    ended = play.salmon("retry", *options)
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.startswith("salmon: ")
    assert says in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_document_is_found_by_its_id_without_its_type_and_by_its_salesforce_id(play: Play) -> None:
    """A record born in MongoDB under an ObjectId: its key is tagged, and its Id is another one."""
    born = play.ring.db.accounts.insert_one({"Name": "Born in MongoDB"}).inserted_id
    document = play.ring.wait_document(
        "accounts", born, lambda seen: seen.get("_salmon", {}).get("salesforce_id")
    )
    play.ring.wait_equal()
    for text in (str(born), f"$oid:{born}", document["_salmon"]["salesforce_id"]):
        assert play.salmon.json("why", "Account", text)["key"] == f"$oid:{born}"


def test_what_waits_for_a_sink_says_so(play: Play) -> None:
    """The Salesforce sink is down: the write is in flight, and the sentence names the process to look at."""
    key = play.ring.ids("Account")[10]
    play.ring.stop("salesforce-sink")
    try:
        play.ring.db.accounts.update_one({"_id": key}, {"$set": {"Site": "Waiting"}})
        told: dict[str, Any] = {}

        def waits() -> bool:
            ended = play.salmon("why", "Account", key, "--json")
            told.update(json.loads(ended.out))
            return bool(ended.code == 1 and told["now"]["sides"]["salesforce"]["in_flight"])

        until(waits, "the write is in flight", every_s=0.2, seen=lambda: told)
        assert "waits for Salesforce to carry out write" in told["now"]["says"]
        assert "salesforce-sink" in told["now"]["says"]
    finally:
        play.ring.start("salesforce-sink")
    play.ring.wait_equal()


def test_a_record_that_nobody_knows(play: Play) -> None:
    """Exit code 1, and what to check; as a person types it, in a process of its own."""
    command = [sys.executable, "-m", "salmon", "why", "Account", "0015g00000Unknown0"]
    command += ["-c", str(play.ring.config_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "Salmon does not know" in ended.stdout
