"""The pages of the console: what they show, that a value is never a program, and that what acts asks once, does it and notes it."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from salmon.config.events import EventConfig
from salmon.errors import ConfigError, SetupError, Unavailable
from support.at_hand.api_room import api_of
from support.at_hand.console_room import TAG, FakeOperations, console_of, overview

PICK = json.dumps(["Account", "001A", "Site"])
PAGES = (
    "/console/",
    "/console/records",
    "/console/records/Account/001A",
    "/console/conflicts",
    "/console/conflicts?show=all&object=Account&field=Site",
    "/console/refused",
    "/console/letters/salesforce-sink/3",
    "/console/guard",
    "/console/flows",
    "/console/doctor",
    "/console/verify",
    "/console/reports",
)


@pytest.fixture
def console() -> tuple[TestClient, FakeOperations]:
    """A console on this machine, without credentials."""
    return console_of(api_of("Account"))


def token_of(page: str) -> str:
    """The token in the form of a page."""
    found = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_shown_and_bounded(console: tuple[TestClient, FakeOperations], page: str) -> None:
    """Each has its title and the menu, and may run no script but ours and keep nothing in the browser."""
    answer = console[0].get(page)
    assert answer.status_code == 200, answer.text
    assert "<h1>" in answer.text
    assert 'aria-label="Pages"' in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=", answer.text), "nothing is inline"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.startswith(("/console/rec", "/console/conf", "/console/let"))]
)
def test_a_value_is_text_and_never_a_program(console: tuple[TestClient, FakeOperations], page: str) -> None:
    """A record whose value is a script is shown with that script as text."""
    assert TAG not in console[0].get(page).text


def test_the_console_is_found_without_its_slash(console: tuple[TestClient, FakeOperations]) -> None:
    """As people type it."""
    answer = console[0].get("/console")
    assert answer.status_code == 307
    assert answer.headers["location"] == "/console/"


def test_the_overview_says_how_each_process_is(console: tuple[TestClient, FakeOperations]) -> None:
    """In words, in the drawing, and with what waits, and how far the first load is."""
    page = console[0].get("/console/").text
    assert "All processes are healthy." in page
    assert (
        "Changes flow between Salesforce and MongoDB: salesforce-source is healthy; merge is healthy." in page
    )
    assert "2 refused" in page, "three were, and one is synced again"
    assert "Account: 5 of about 9" in page
    assert '<polyline points="0.0,18.0 160.0,2.0"/>' in page, "the pace of the last two looks"


def test_the_overview_says_what_is_wrong() -> None:
    """The sentence of the process that is not healthy."""
    page = console_of(api_of("Account"), seen=overview(healthy=False))[0].get("/console/").text
    assert "1 of 2 processes are not healthy." in page
    assert "Kafka does not answer." in page


def test_of_a_process_that_hangs_no_number_is_made_up() -> None:
    """What it would have counted is not known: neither 0 deferred records, nor no conflict, nor that nothing waits."""
    page = console_of(api_of("Account"), seen=overview(reports=False))[0].get("/console/").text
    assert '<td class="number">–</td><td class="number">–</td></tr>' in page, "deferred, and API calls"
    assert '<td class="number">–</td>\n      <td>–</td>' in page, "conflicts, and what waits"
    assert "nothing</td>" not in page


def test_a_record_shows_both_sides_and_what_waits(console: tuple[TestClient, FakeOperations]) -> None:
    """The agreed value, what differs, why, what happened, and what a person can do."""
    page = console[0].get("/console/records/Account/001A").text
    assert "Account 001A waits." in page
    assert "Rome" in page
    assert page.count("differs:") == 1
    assert "TOO_LONG" in page
    assert "Salesforce edited it" in page
    for action in ("/console/retry?", "/console/conflicts/resolve?", "/console/read-again?"):
        assert action in page


def test_what_is_masked_for_a_side_is_not_shown() -> None:
    """The names of the masked fields go to whoever reads the record, so that no value of theirs is on the page."""
    masks = [{"mask": {"fields": ["Phone"]}, "to": "mongodb"}]
    client, operations = console_of(api_of("Account", objects={"Account": {"transforms": masks}}))
    assert client.get("/console/records/Account/001A").status_code == 200
    assert operations.hidden == ["Phone"]


@pytest.mark.parametrize("path", ["refused", "letters/salesforce-sink/3"])
def test_the_words_of_a_refusal_are_not_shown_of_an_object_with_masks(path: str) -> None:
    """They may quote a value that is masked."""
    masks = [{"mask": {"fields": ["Phone"]}, "to": "mongodb"}]
    for transforms, is_shown in (([], True), (masks, False)):
        client, _ = console_of(api_of("Account", objects={"Account": {"transforms": transforms}}))
        page = client.get(f"/console/{path}").text
        assert ("no such phone" in page, "Its own words: (masked)" in page) == (is_shown, not is_shown)


@pytest.mark.parametrize(
    ("ask", "act", "more", "done"),
    [
        (
            "read-again?object=Account&key=001A",
            "read-again",
            {},
            ("read_again", "Account", "001A", "local", "why"),
        ),
        (
            "retry?object=Account&code=TOO_LONG&field=Site",
            "retry",
            {},
            ("retry", "Account", None, "TOO_LONG", "Site", "local", "why"),
        ),
        (
            f"conflicts/resolve?pick={PICK}",
            "conflicts/resolve",
            {"take": "mongodb"},
            ("resolve", ("Account", "001A", "Site"), "side", "mongodb", "local", "why"),
        ),
        (
            f"conflicts/resolve?pick={PICK}",
            "conflicts/resolve",
            {"take": "$own", "value": "mongodb"},
            ("resolve", ("Account", "001A", "Site"), "text", "mongodb", "local", "why"),
        ),
        (
            "deal?action=replay&letter=salesforce-sink/3",
            "deal",
            {},
            ("replay", ("salesforce-sink/3",), None, None, "local", "why"),
        ),
        (
            "deal?action=discard&object=Account&code=Bad",
            "deal",
            {},
            ("discard", (), "Account", "Bad", "local", "why"),
        ),
        (
            "edit?letter=salesforce-sink/3",
            "edit",
            {"text": "Site: Oslo"},
            ("edit", "salesforce-sink/3", "Site: Oslo", "local", "why"),
        ),
        (
            "guard/decide?action=approve&object=Account&side=salesforce",
            "guard/decide",
            {},
            ("approve", "Account", "salesforce", "local (why)"),
        ),
        (
            "guard/decide?action=discard&object=Account&side=salesforce",
            "guard/decide",
            {},
            ("discard", "Account", "salesforce", "local (why)"),
        ),
        ("verify/start?object=Account&repair=yes", "verify/start", {}, ("compare", "Account", True, "local")),
    ],
    ids=[
        "read again",
        "retry",
        "resolve",
        "resolve by a value",
        "replay",
        "discard",
        "edit",
        "approve",
        "keep",
        "verify",
    ],
)
def test_what_acts_asks_once_and_notes_who_and_why(
    console: tuple[TestClient, FakeOperations],
    ask: str,
    act: str,
    more: dict[str, str],
    done: tuple[Any, ...],
) -> None:
    """To look at the question changes nothing; its form does, once, and the log says who and why, without values."""
    client, operations = console
    question = client.get(f"/console/{ask}")
    assert question.status_code == 200, question.text
    assert operations.done == []
    form: dict[str, Any] = {"reason": "why", **more}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', question.text):
        form[name] = value.replace("&#34;", '"')
    with capture_logs() as lines:
        answer = client.post(f"/console/{act}", data=form)
    assert answer.status_code == 200, answer.text
    assert operations.done == [done]
    noted = [line for line in lines if line["event"] == "console_action"]
    assert [(line["by"], line["reason"]) for line in noted] == [("local", "why")]
    assert "Oslo" not in str(noted)


def test_a_wrong_correction_is_explained_and_not_lost(console: tuple[TestClient, FakeOperations]) -> None:
    """The page says what is wrong, with what was typed still in it, escaped; and nothing is sent."""
    client, operations = console
    page = client.get("/console/edit?letter=salesforce-sink/3").text
    assert TAG not in page
    form = {"letter": "salesforce-sink/3", "text": f"Fux: {TAG}", "reason": "why", "token": token_of(page)}
    answer = client.post("/console/edit", data=form)
    assert answer.status_code == 400
    assert "not a synced field" in answer.text
    assert "Fux: &lt;script&gt;" in answer.text
    assert 'value="why"' in answer.text
    assert operations.done == []


def test_a_masked_field_is_not_in_the_form_of_a_correction() -> None:
    """It stays as it is."""
    masks = [{"mask": {"fields": ["Phone"]}, "to": "mongodb"}]
    client, _ = console_of(api_of("Account", objects={"Account": {"transforms": masks}}))
    page = client.get("/console/edit?letter=salesforce-sink/3").text
    assert ("Site: " in page, "Phone: " in page) == (True, False)


@pytest.mark.parametrize(
    "about",
    [
        {"topic": "crm.changes.Account", "salmon.subject": "Left__e"},
        {"topic": "crm.changes.Account", "salmon.subject": "Gone__e"},  # no longer in the configuration
        {"topic": "", "salmon.subject": "Left__e"},
    ],
)
def test_a_letter_of_an_event_hides_what_its_object_hides(about: dict[str, str]) -> None:
    """It has the name of the event, and the values of the record."""
    masks = [{"mask": {"fields": ["Site", "Phone"]}, "to": "mongodb"}]
    api = api_of("Account", objects={"Account": {"transforms": masks}})
    event = EventConfig.model_validate(
        {"direction": "to_salesforce", "object": "Account", "fields": {"Site__c": "Site"}}
    )
    config = api.live().model_copy(update={"events": {"Left__e": event}})
    client, operations = console_of(dataclasses.replace(api, live=lambda: config))
    operations.about = about
    letter = client.get("/console/letters/salesforce-sink/3").text
    assert letter.count("alert(1)") == 1, "in what Salmon says, not as the value"
    assert "Its own words: (masked)" in client.get("/console/refused").text
    form = client.get("/console/edit?letter=salesforce-sink/3").text
    assert ("Site: " in form, "Phone: " in form) == (False, False)


def test_a_form_of_another_page_changes_nothing(console: tuple[TestClient, FakeOperations]) -> None:
    """Without the token of the session, or from another origin, nothing is done."""
    client, operations = console
    form = {"object": "Account", "key": "001A"}
    assert client.post("/console/read-again", data=form).status_code == 403
    assert client.post("/console/read-again", data={**form, "token": "a" * 64}).status_code == 403
    token = token_of(client.get("/console/read-again", params=form).text)
    elsewhere = {"origin": "http://evil.example"}
    assert (
        client.post("/console/read-again", data={**form, "token": token}, headers=elsewhere).status_code
        == 403
    )
    assert operations.done == []
    assert client.post("/console/read-again", data={**form, "token": token}).status_code == 200


@pytest.mark.parametrize(
    "address",
    ["conflicts/resolve", "conflicts/resolve?pick=[1]", "conflicts/resolve?pick=x", "deal?action=replay", "deal?action=eat&letter=a/1",
     "guard/decide?action=eat&object=Account&side=salesforce", "verify/start?repair=perhaps", "retry"],
)  # fmt: skip
def test_bad_input_is_explained_on_a_page(console: tuple[TestClient, FakeOperations], address: str) -> None:
    """A sentence and a status, and nothing is done."""
    answer = console[0].get(f"/console/{address}")
    assert answer.status_code == 400
    assert "This is not possible" in answer.text
    assert console[1].done == []


def test_an_unknown_page_is_explained(console: tuple[TestClient, FakeOperations]) -> None:
    """A page with the menu's way back, and not a JSON object."""
    answer = console[0].get("/console/nothing")
    assert answer.status_code == 404
    assert "There is no such page" in answer.text


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (
            Unavailable("no Kafka broker has answered. Check that the brokers run."),
            503,
            "A server does not answer",
        ),
        (SetupError("crm.state does not exist. Start the connectors."), 503, "This is not possible now"),
        (ConfigError("--field: there is no field <Fux>."), 400, "This is not possible"),
    ],
    ids=["a server is away", "the sync is not set up", "a wrong field"],
)
def test_an_error_says_what_to_do(
    console: tuple[TestClient, FakeOperations],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    title: str,
) -> None:
    """Its sentence on a page, as text."""

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(console[1], "refused", fails)
    answer = console[0].get("/console/refused")
    assert answer.status_code == status
    assert f"<h1>{title}</h1>" in answer.text
    assert str(error).replace("<", "&lt;").replace(">", "&gt;") in answer.text


def test_the_text_of_a_fault_is_shown_to_nobody(
    console: tuple[TestClient, FakeOperations], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may quote a value."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("Ada Lovelace")

    monkeypatch.setattr(console[1], "refused", broken)
    answer = console[0].get("/console/refused")
    assert answer.status_code == 500
    assert "Ada" not in answer.text
    assert "This is a fault in Salmon" in answer.text
