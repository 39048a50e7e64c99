"""What the commands print for people: verdicts, an overview, and the play."""

from __future__ import annotations

import io
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from salmon.cli import audience, status, terminal, verify
from salmon.demo.acts import Act
from salmon.demo.board import Board, ObjectNumbers
from salmon.errors import ConfigError
from salmon.model.change import MONGODB, SALESFORCE
from salmon.status.counting import NONE, Count
from salmon.status.overview import Lag, ObjectStatus, Overview
from salmon.status.scraping import ProcessReport, Samples
from salmon.status.waiting import WHY, InStates
from salmon.verify.comparing import ObjectVerdict, ParkedFields, Why
from salmon.verify.verifying import VerifyResult


def console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=200, highlight=False), text


def test_a_verdict_names_records_and_fields_and_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    """Never a value."""
    contact = ObjectVerdict(
        "Contact",
        counts={"salesforce": 3, "mongodb": 2, "records": 3},
        equal=1,
        different={"003A": {MONGODB: ("Phone", "Title")}},
        parked=[ParkedFields("003C", SALESFORCE, "REFUSED", ("Email",), "INVALID_EMAIL_ADDRESS")],
        on_their_way=1,
    )
    contact.missing_in[MONGODB].append("003B")
    verify.show(VerifyResult({"Contact": contact}, took_s=1.0))
    shown = capsys.readouterr().out
    assert "Contact 003A differs in mongodb: Phone, Title" in shown
    assert "Contact 003B is missing in mongodb" in shown
    assert "Contact 003C waits in salesforce: Email, refused (INVALID_EMAIL_ADDRESS)" in shown
    assert "1 of them have a write that is not confirmed yet" in shown
    assert "Different; compared in 1.0 s." in shown


def test_a_verdict_gives_the_reason_why_the_target_of_a_one_way_object_stays_different(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not only after a repair, which can do nothing about it."""
    account = ObjectVerdict(
        "Account",
        counts={"salesforce": 1, "mongodb": 1, "records": 1},
        different={"001A": {MONGODB: ("Phone",)}},
        never_read=1,
    )
    verify.show(VerifyResult({"Account": account}, took_s=1.0))
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 of them differ only in the target: the object is synced in one direction" in shown
    assert "edit the record at its source, or correct it at the target" in shown


def test_the_exit_code_says_equal_different_or_could_not_tell() -> None:
    """A record that is edited all the while is neither; one that differs settles it."""
    equal = ObjectVerdict("Account")
    moving = ObjectVerdict("Contact", moving=["003A"])
    different = ObjectVerdict("Contact", different={"003B": {MONGODB: ("Phone",)}}, moving=["003A"])
    codes = [
        verify.exit_code(VerifyResult({"a": equal, "b": each}, 1.0)) for each in (equal, moving, different)
    ]
    assert codes == [0, 2, 1]


def test_a_repair_tells_people_what_remains_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """And which source to look after; a key that nobody has is named."""
    account = ObjectVerdict(
        "Account",
        counts={"salesforce": 2, "mongodb": 2, "records": 2},
        different={"001A": {MONGODB: ("Phone",)}},
        asked=5,
        repaired=4,
        remains={"001A": Why.NOT_ANSWERED},
        unanswered=frozenset({MONGODB}),
    )
    verify.show(VerifyResult({"Account": account}, took_s=1.0, nowhere=["001Z"]))
    shown = capsys.readouterr().out
    assert "Account 001A still differs: a source has not read it" in shown
    assert "mongodb-source has not answered" in shown
    assert "repair: 4 of 5 are in sync now" in shown
    assert "Found on neither side and not in `records`: 001Z" in shown


def test_people_are_told_when_it_could_not_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 is not called different."""
    moving = ObjectVerdict("Contact", counts={"salesforce": 1, "mongodb": 1, "records": 1}, moving=["003A"])
    verify.show(VerifyResult({"Contact": moving}, took_s=1.0))
    assert "Could not find out" in capsys.readouterr().out


def test_every_reason_has_words_for_people() -> None:
    """Else the report of a repair would fail on the one that has none."""
    assert verify._WHY.keys() == set(Why)


def test_keys_come_from_the_command_line_and_from_a_file(tmp_path: Path) -> None:
    """Each once, without blanks; none at all is refused, since all would be taken for it."""
    file = tmp_path / "keys.txt"
    file.write_text("003B\n\n 003C \n003A\n", encoding="utf-8")
    assert verify.keys_named(" 003A,003B,", file) == ["003A", "003B", "003C"]
    assert verify.keys_named(None, None) is None
    with pytest.raises(ConfigError, match="no key was given"):
        verify.keys_named(" , ", None)
    with pytest.raises(ConfigError, match=r"--keys-file .*: cannot be read"):
        verify.keys_named(None, tmp_path / "not-there")


def test_a_long_list_of_differences_is_cut_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts get all of them by --json."""
    account = ObjectVerdict("Account", counts={"salesforce": 0, "mongodb": 0, "records": 0})
    account.missing_in[MONGODB].extend(f"001{number}" for number in range(30))
    verify.show(VerifyResult({"Account": account}, took_s=1.0))
    shown = capsys.readouterr().out
    assert shown.count("is missing in mongodb") == 20
    assert "Account: and 10 more" in shown


def test_what_is_left_of_an_allowance_is_shown() -> None:
    """To people in words, to scripts as numbers; and when it will be used up, if that is in sight."""
    facts = {"allowed": 100_000, "used": 50_000, "ours": 20_000, "left": 30_000, "level": 1}
    lines = [
        (f"salmon_budget_{fact}", {"budget": "api_calls"}, float(value)) for fact, value in facts.items()
    ]
    soon = [*lines, ("salmon_budget_exhausted_in_seconds", {"budget": "api_calls"}, 5400.0)]
    for samples, hours, seconds in ((lines, "", None), (soon, "used up in 1.5 h", 5400)):
        process = ProcessReport("salesforce-sink", "", "healthy", "runs", Samples(tuple(samples)))
        output, text = console()
        status.show_processes([process], output)
        said = " ".join(text.getvalue().split())
        assert "salesforce-sink: 30,000 API calls are left to Salmon" in said
        assert hours in said
        seen = Overview((process,), (), Count(0), {}, {}).as_dict()["processes"]["salesforce-sink"]["budgets"]
        assert seen == {"api_calls": {**facts, "exhausted_in_seconds": seconds}}


def test_of_a_process_that_does_not_answer_no_number_is_made_up() -> None:
    """0 would say that there are none: people see a dash, scripts null; and of a process that has counted nothing, 0."""
    known = Samples((("process_start_time_seconds", {}, 1.0),))
    processes = (
        ProcessReport("merge", "", "down", "No answer within 2 s."),
        ProcessReport("mongodb-sink", "", "healthy", "runs", known),
    )
    lags = {"to_mongodb": Lag(None, None), "to_salesforce": Lag(None, None)}
    account = ObjectStatus(
        "Account", NONE, NONE, {"mongodb": NONE, "salesforce": NONE}, lags, None, None, None, None
    )
    seen = Overview(processes, (account,), NONE, {}, {})
    output, text = console()
    status.show_processes(seen.processes, output)
    status.show(seen, output)
    lines = [line.split() for line in text.getvalue().splitlines()]
    assert ["merge", "down", "-", "-"] in [line[:4] for line in lines]
    assert ["mongodb-sink", "healthy", "0", "0"] in [line[:4] for line in lines]
    assert ["Account", "0", "0", "0", "0", "-", "-", "-", "-", "-", "-"] in lines, "conflicts, and what waits"
    told = seen.as_dict()
    merge, sink, one = (
        told["processes"]["merge"],
        told["processes"]["mongodb-sink"],
        told["objects"]["Account"],
    )
    assert (merge["deferred"], merge["api_calls"]) == (None, None)
    assert (sink["deferred"], sink["api_calls"]) == (0, {})
    unknown = [one["conflicts"], one["held"], one["oscillating"]]
    unknown += [one[kind][why] for kind in ("waiting", "parked", "freed") for why in WHY]
    assert set(unknown) == {None}


def test_an_overview_shows_who_is_down_and_what_waits() -> None:
    """A process that is down says why; its work piles up."""
    lags = {"to_mongodb": Lag(0.04, 1.5), "to_salesforce": Lag(None, None)}
    owed = {"mongodb": Count(12), "salesforce": Count(20_000, exact=False)}
    parked, freed = {"refused": 7, "held": 2, "misfit": 5}, {"held": 1, "misfit": 2}
    account = ObjectStatus(
        "Account",
        Count(2_000),
        Count(3),
        owed,
        lags,
        4,
        1,
        2_000,
        2_000,
        parked,
        freed,
        oscillating=1,
        guarded={"salesforce": 580},
        snapshot_left_s=121,
    )
    processes = (
        ProcessReport("merge", "http://127.0.0.1:1", "healthy", "runs"),
        ProcessReport("mongodb-sink", "http://127.0.0.1:2", "down", "No answer (ConnectionError)."),
    )
    seen = Overview(processes, (account,), Count(4), {"mongodb-sink": Count(1)}, {})
    output, text = console()
    status.show_processes(seen.processes, output)
    status.show(seen, output)
    assert not seen.healthy
    assert "Dead letters that nobody has dealt with: mongodb-sink 1." in text.getvalue()
    shown = seen.as_dict()["objects"]["Account"]
    assert [shown["parked"][why] for why in ("refused", "deferred", "held")] == [7, 0, 2]
    assert shown["freed"]["held"] == 1
    assert shown["parked"]["misfit"] == 5
    assert "Account: ~3 fields have values that cannot be synced" in text.getvalue()
    there = {"customers": Count(1_500), "partners": Count(500, exact=False)}
    now = replace(account, in_states=InStates({"refused": 1, "misfit": 2}, there))
    output, exact = console()
    status.show(replace(seen, objects=(now,)), output)
    assert "Account: 2 fields have values that cannot be synced" in exact.getvalue()
    assert (str(now.waits("refused")), str(now.waits("held"))) == ("1", "0")
    assert "Account: documents in its collections: 1,500 in customers, ~500 in partners." in exact.getvalue()
    assert "its collections" not in text.getvalue()
    told = replace(seen, objects=(now,)).as_dict()["objects"]["Account"]["collections"]
    assert (told, shown["collections"]) == ({"customers": 1_500, "partners": 500}, {})
    for part in (
        "down",
        "No answer (ConnectionError).",
        "40 ms / 1.5 s",
        "~20,000",
        "2,000 of 2,000, about 3 min left",
    ):
        assert part in text.getvalue()
    assert "Account: 580 deletes on salesforce wait" in text.getvalue()
    assert "salmon guard approve" in text.getvalue(), "with the mend"
    assert "Account: two automations keep undoing each other" in text.getvalue()


def test_a_sync_without_topics_says_who_makes_them() -> None:
    """It was never started."""
    seen = Overview((), (), Count(), {}, {}, missing_topics=("crm.offsets",))
    output, text = console()
    status.show(seen, output)
    assert not seen.healthy
    assert "Topic crm.offsets does not exist. Start the connectors" in text.getvalue()


def test_the_live_table_has_a_row_for_each_object() -> None:
    """With what is in step, on its way, edited on each side, and how long it takes."""
    row = ObjectNumbers("Contact", 4_998, 2, 31, 29, 48.4, 160.0, 1)
    output, text = console()
    output.print(audience.table_of(Board((row,), api_calls=77, left_s=12.0)))
    shown = text.getvalue()
    for part in ("Contact", "4,998", "31", "29", "48 ms", "160 ms", "77 API calls", "12 s to go"):
        assert part in shown


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            ObjectNumbers("Contact", 5_000, 2, 1, 1, None, None, 0),
            "Contact 1+1 edits, 2 in flight; 77 API calls",
        ),
        (
            ObjectNumbers("Contact", 4_998, 2, 31, 29, 48.4, 160.0, 1),
            "Contact 31+29 edits, 2 in flight, p50 48 ms p99 160 ms; 77 API calls",
        ),
    ],
)
def test_a_line_leaves_out_what_is_not_measured_yet(row: ObjectNumbers, says: str) -> None:
    """The first line comes before any edit is on the other side."""
    output, text = console()
    audience.Lines(output).board(Board((row,), api_calls=77, left_s=12.0))
    assert text.getvalue().strip() == says


def test_without_a_terminal_each_thing_is_a_line() -> None:
    """Acts with what was seen; the first load once an object is complete."""
    output, text = console()
    lines = audience.Lines(output)
    lines.scene("First load of 10 records")
    lines.loaded({"Account": 4}, {"Account": 10})
    lines.loaded({"Account": 10}, {"Account": 10})
    lines.loaded({"Account": 10}, {"Account": 10})
    lines.act(Act("trigger", "A trigger", passed=False, detail="not within 20 s: [it]", took_s=20.0))
    assert text.getvalue().splitlines() == [
        "First load of 10 records ...",
        "  Account: all 10 records are in MongoDB",
        "  FAILED  A trigger: not within 20 s: [it] (20.0 s)",
    ]


def test_a_command_that_is_shown_can_be_typed_however_salmon_was_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its name if that is found; else by its path, or as a module: a file of the package cannot be run."""
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/salmon")
    assert terminal.typed() == "salmon"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["/opt/a b/salmon", "demo"])
    assert terminal.typed() == "'/opt/a b/salmon'"
    monkeypatch.setattr(sys, "argv", ["/opt/lib/salmon/__main__.py", "demo"])
    assert terminal.typed() == f"{sys.executable} -m salmon"
