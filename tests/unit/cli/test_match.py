"""What `salmon match` says to a person, and its exit codes. What it does is for salmon.match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salmon.cli import match as command
from salmon.cli.main import exit_code_of, main
from salmon.config.models import load
from salmon.errors import ConfigError, Unavailable
from salmon.match import matching
from salmon.match.applying import Applied
from salmon.match.files import Pair
from salmon.match.matching import Became, Found

CONFIG = """
name: crm
kafka: {bootstrap.servers: "localhost:9092"}
schema_registry: {url: "http://localhost:8081"}
salesforce: {auth: {flow: client_credentials, client_id: a, client_secret: b}, login_url: "https://acme.my.salesforce.com"}
mongodb: {uri: "mongodb://localhost", database: crm}
objects:
  Account: {collection: accounts}
  Contact: {collection: contacts, match: MATCH}
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Type the command; returns its exit code, and what it said."""
    (tmp_path / "sync.yaml").write_text(CONFIG.replace("MATCH", "{on: [Email]}"))

    def typed(*arguments: str) -> tuple[int, str, str]:
        said = [
            "salmon",
            "match",
            "-c",
            str(tmp_path / "sync.yaml"),
            "--folder",
            str(tmp_path / "m"),
            *arguments,
        ]
        monkeypatch.setattr("sys.argv", said)
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return typed


def found(doubts: int) -> dict[str, Found]:
    return {"Contact": Found(1, 2000, doubts, doubts, 4, 5, {})}


@pytest.mark.parametrize(("doubts", "code"), [(0, 0), (3, 1)])
def test_finding_shows_the_numbers_and_the_next_step(
    run: Any, monkeypatch: pytest.MonkeyPatch, doubts: int, code: int
) -> None:
    """Doubts are for a person, so they are no success."""
    monkeypatch.setattr(matching, "find", lambda *_: found(doubts))
    ended, said, complaint = run()
    assert (ended, complaint) == (code, "")
    assert "2,000" in said
    assert "Nothing was changed" in said
    assert "salmon match --apply --folder" in said
    assert ("move each line of the doubts" in said) == bool(doubts)


def test_applying_says_what_is_refused_and_what_still_waits(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the file to look into, and what to do."""
    refused = Applied(written=7, refused=[(Pair("003", "k"), "it is taken")])
    monkeypatch.setattr(matching, "apply", lambda *_: {"Contact": Became(refused, 2)})
    code, said, _ = run("--apply")
    assert code == 1
    assert "7 keys written" in said
    assert "1 refused: it is taken." in said
    assert "Contact.refused.csv" in said
    assert "2 lines are left" in said
    assert "Contact still waits." in said
    monkeypatch.setattr(matching, "apply", lambda *_: {"Contact": Became(Applied(there=9), 0)})
    assert run("--apply")[0] == 0
    monkeypatch.setattr(matching, "apply", lambda *_: {"Contact": Became(Applied(), 0, loaded=True)})
    assert "nothing was written" in run("--apply")[1]


def test_a_server_that_does_not_answer_is_no_verdict(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 and its sentence: run it again."""

    def away(*_: object) -> None:
        raise Unavailable("the org does not answer")

    monkeypatch.setattr(matching, "find", away)
    assert run() == (1, "", "salmon: the org does not answer\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--apply", "--waive"), "exclude each other"),
        (("--waive",), "--waive needs --object"),
        (("--object", "Account"), "Account has no `match`"),
        (("--apply",), "does not exist. Run `salmon match` first"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    run: Any, arguments: tuple[str, ...], says: str
) -> None:
    """One sentence, and exit code 2."""
    code, said, complaint = run(*arguments)
    assert (code, said) == (2, "")
    assert says in complaint


@pytest.mark.parametrize(
    ("match", "says"),
    [
        ("{on: []}", "objects.Contact.match.on"),
        ("{on: [Email, Email]}", "names a field twice"),
        ("{on: [Email], nearly: perhaps}", "objects.Contact.match.nearly"),
        ("{on: [Email]}, direction: to_mongodb", "only for objects that are synced both ways"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, match: str, says: str) -> None:
    """As every fault of the configuration."""
    file = tmp_path / "sync.yaml"
    file.write_text(CONFIG.replace("MATCH", match))
    with pytest.raises(ConfigError, match=says) as error:
        load(file)
    assert exit_code_of(error.value) == 2


def test_progress_is_for_terminals_only() -> None:
    """A script gets one JSON object and nothing else."""
    with command._progress(quiet=True) as watch:
        watch("Contact", "salesforce", 2000)
