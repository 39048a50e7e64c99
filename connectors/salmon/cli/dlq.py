"""`salmon dlq`: list, show, edit, replay and discard dead letters. The work is in salmon.dlq."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from salmon.cli.conflicts import watched
from salmon.cli.terminal import (
    CONFIG_DEFAULT,
    EXIT_COULD_NOT,
    WHEN,
    ConfigOption,
    JsonOption,
    complain,
    configured,
    not_empty,
    or_could_not,
    out,
    past,
    print_json,
    say,
    table,
)
from salmon.errors import ConfigError, DataError
from salmon.foreign_json import json_in
from salmon.scratch import scratch

if TYPE_CHECKING:
    from salmon.dlq.editing import Draft
    from salmon.dlq.letters import Handled, LetterFilter, StoredLetter
    from salmon.dlq.replaying import DealtWith, Plan
    from salmon.story.lookup import Lookup

_REASON_SHOWN_MAX: Final = 120
_NAMED_MAX: Final = 20

app = typer.Typer(
    help="Dead letters: records that could not be processed. They wait in the topics `<name>.dlq.<connector>`, by default for 30 days.",
    no_args_is_help=True,
)

_Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Ids from `salmon dlq list`, or use options.")
]
_Id = Annotated[str, typer.Argument(metavar="ID", help="An id from `salmon dlq list`.")]
_Connector = Annotated[str | None, typer.Option("--connector", help="Only the queue of this connector.")]
_Object = Annotated[str | None, typer.Option("--object", help="Only this object or platform event.")]
_Key = Annotated[
    str | None, typer.Option("--key", help="Only the record, or event, with this key, Salesforce Id or _id.")
]
_Code = Annotated[str | None, typer.Option("--code", help="Only this error code, as the list shows it.")]
_Since = Annotated[str | None, typer.Option("--since", help=f"Only letters since this time: {WHEN}.")]
_All = Annotated[bool, typer.Option("--all", help="All letters that were not dealt with.")]
_By = Annotated[
    str | None,
    typer.Option("--by", help="Who does it; kept with the letter. Default: the user of this machine."),
]
_Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the letter.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


@app.command("list")
def _list(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    connector: _Connector = None,
    object_name: _Object = None,
    key: _Key = None,
    code: _Code = None,
    since: _Since = None,
    handled: Annotated[
        bool, typer.Option("--handled", help="Also those that were replayed, edited or discarded.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="The newest ones.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """
    List dead letters, the newest first, and what a replay would do.

    Exit code 0: listed, also if there are none.
    1: Kafka or the registry did not answer; try again.
    2: correct what the message names.
    """
    from salmon.dlq.letters import LetterFilter, found
    from salmon.dlq.replaying import Planner

    not_empty(code=code)
    asked = LetterFilter((), connector, object_name, key, code, past(since), handled)
    with _opened(config, asked) as lookup:
        with watched("reading dead letters", shown=not as_json) as progress:
            seen = found(lookup, asked, limit=limit, progress=progress)
        planner = Planner(lookup)
        rows = [_as_dict(letter, done, planner.plan(letter)) for letter, done in seen.letters]
    if as_json:
        print_json({"dead_letters": rows, "more": seen.more})
        return
    shown = table()
    for heading in ("id", "at", "object", "key", "error", "replay", "reason"):
        shown.add_column(heading, overflow="fold")
    for row in rows:
        state = row["handled"]["action"] if row["handled"] else row["replay"]
        shown.add_row(
            row["id"],
            row["at"],
            row["object"],
            row["key"],
            row["code"],
            state,
            _shortened(row["reason"], row["code"]),
        )
    if rows:
        out().print(shown)
    else:
        say("No dead letters.")
    if seen.more:
        say(f"... and {seen.more:,} older ones: --limit shows more.")


def _shortened(reason: str, code: str) -> str:
    """What the other columns do not say: what comes after the code; if that is too long, the side's own words first."""
    from salmon.story.formatting import WORDS

    _, found, after = reason.partition(f"{code}: ")
    rest = after if code and found else reason
    if len(rest) > _REASON_SHOWN_MAX:
        rest = rest.partition(WORDS)[2] or rest
    return rest if len(rest) <= _REASON_SHOWN_MAX else f"{rest[:_REASON_SHOWN_MAX]} …"


@app.command("show")
def _show(
    letter_id: _Id,
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    to_file: Annotated[
        Path | None, typer.Option("--bytes", help="Write the original bytes of the record to this new file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Show one dead letter: what failed, why, its fields, and what a replay does.

    Exit code 0: shown.
    1: Kafka or the registry did not answer; try again.
    2: there is no such letter, or correct what the message names.
    """
    from salmon.dlq.editing import shown_fields
    from salmon.dlq.letters import LetterFilter, one
    from salmon.dlq.replaying import Planner

    with _opened(config, LetterFilter((letter_id,))) as lookup:
        letter, done = one(lookup, letter_id)
        plan = Planner(lookup).plan(letter)
        fields = shown_fields(lookup, letter)
    seen = {
        **_as_dict(letter, done, plan),
        "says": plan.says,
        "headers": {name: text for name, text in letter.headers.items() if name != "exception.stacktrace"},
        "bytes": None if letter.value is None else len(letter.value),
        "fields": fields if fields is not None else _readable(letter.value),
    }
    if to_file is not None:
        _write_new(to_file, letter.value or b"")
    if as_json:
        print_json(seen)
        return
    say(f"{seen['id']}: {seen['object'] or 'unknown'} {seen['key']} at {seen['at']}")
    # The reason of a refusal names its code itself.
    say(f"  {seen['reason']}" if seen["code"] in seen["reason"] else f"  {seen['code']}: {seen['reason']}")
    say(*(f"  {name}: {text}" for name, text in seen["headers"].items() if not name.startswith("exception.")))
    if isinstance(seen["fields"], dict):
        say("  fields:", *(f"    {name}: {value!r}" for name, value in seen["fields"].items()))
    if done is not None:
        say(f"  {done.action} by {done.by}" + (f": {done.reason}" if done.reason else ""))
    else:
        say(f"  replay: {plan.says}")


@app.command("replay")
def _replay(
    letter_ids: _Ids = None,
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    connector: _Connector = None,
    object_name: _Object = None,
    key: _Key = None,
    code: _Code = None,
    since: _Since = None,
    everything: _All = False,
    by: _By = None,
    reason: _Reason = "",
    dry_run: _DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """
    Have records processed again, after you have removed the reason. It is safe to run this twice: each is replayed once.

    What a side refused is sent again as it is now; a record that could not be read is read again on its side; an event goes to
    its sink again. What fails again becomes a new dead letter.

    Exit code 0: done, or nothing to do.
    1: something cannot be replayed, or there is more (run it again), or Kafka did not answer.
    2: correct what the message names.
    """
    from salmon.dlq.replaying import replay

    asked = _asked(letter_ids, connector, object_name, key, code, since, everything)
    how = partial(replay, by=by or getpass.getuser(), reason=reason)
    _deal("replayed", how, config, asked, dry_run=dry_run, as_json=as_json)


@app.command("discard")
def _discard(
    letter_ids: _Ids = None,
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    connector: _Connector = None,
    object_name: _Object = None,
    key: _Key = None,
    code: _Code = None,
    since: _Since = None,
    everything: _All = False,
    by: _By = None,
    reason: _Reason = "",
    dry_run: _DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """
    Take letters off the list, and do nothing else: a value that a side refused stays where it was entered.

    Exit code 0: done, or nothing to do.
    1: there is more (run it again), or Kafka did not answer.
    2: correct what the message names.
    """
    from salmon.dlq.replaying import discard

    asked = _asked(letter_ids, connector, object_name, key, code, since, everything)
    how = partial(discard, by=by or getpass.getuser(), reason=reason)
    _deal("discarded", how, config, asked, dry_run=dry_run, as_json=as_json)


@app.command("edit")
def _edit(
    letter_id: _Id,
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    fields_file: Annotated[
        Path | None,
        typer.Option("--fields", help="Take the corrected fields from this YAML file, and open no editor."),
    ] = None,
    by: _By = None,
    reason: _Reason = "",
    as_json: JsonOption = False,
) -> None:
    """
    Open a letter's fields as YAML in $EDITOR, check them by the schema, and send them.

    Values that a side refused become the agreed values of the record, on every side. Only what you change is sent.

    Exit code 0: sent.
    1: Kafka or the registry did not answer; try again.
    2: nothing was sent: correct what the message names.
    """
    from salmon.dlq.editing import edit
    from salmon.dlq.letters import LetterFilter

    who, now_ms = by or getpass.getuser(), int(time.time() * 1000)
    # Both are looked up before Kafka is asked.
    fields = None if fields_file is None else _text_of(fields_file)
    editor = _editor() if fields is None else ""

    def correct(draft: Draft) -> Plan:
        return _from_editor(draft, editor) if fields is None else draft.corrected(fields)

    with _opened(config, LetterFilter((letter_id,))) as lookup:
        letter, plan = edit(lookup, letter_id, correct, by=who, reason=reason, now_ms=now_ms)
    if as_json:
        print_json({"id": letter.id, "mend": plan.mend, "says": plan.says})
    else:
        say(f"{letter.id}: {plan.says}")


# What the commands share.


@contextmanager
def _opened(config: Path, asked: LetterFilter) -> Iterator[Lookup]:
    """Open the sync. Before Kafka is asked, it is checked that ids and connectors of *asked* may exist."""
    from salmon.story.lookup import Lookup

    settings = configured(config)
    asked.queues(settings.roster.connectors)
    with or_could_not(), Lookup(settings) as lookup:
        yield lookup


def _asked(
    letter_ids: list[str] | None,
    connector: str | None,
    object_name: str | None,
    key: str | None,
    code: str | None,
    since: str | None,
    everything: bool,
) -> LetterFilter:
    from salmon.dlq.letters import LetterFilter

    not_empty(code=code)
    narrowed = any((letter_ids, connector, object_name, key, code, since))
    if everything == narrowed:
        raise ConfigError("Name ids, or narrow it with options, or give --all.")
    return LetterFilter(tuple(letter_ids or ()), connector, object_name, key, code, past(since))


def _deal(
    what: str,
    how: Callable[..., DealtWith],
    config: Path,
    asked: LetterFilter,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Deal with the letters and print what was done. Exits with EXIT_COULD_NOT if something is left."""
    from salmon.dlq.replaying import Mend

    with _opened(config, asked) as lookup, watched("reading dead letters", shown=not as_json) as progress:
        dealt = how(lookup, asked, dry_run=dry_run, progress=progress)
    left = [each for each in dealt.letters if each.plan.mend is Mend.NONE]
    done = len(dealt.letters) - len(left)
    if as_json:
        print_json(
            {
                "letters": [each.as_dict() for each in dealt.letters],
                what: 0 if dry_run else done,
                "left": len(left),
                "before": dealt.before,
                "more": dealt.more,
                "dry_run": dry_run,
            }
        )
    else:
        _say_dealt(what, dealt, done, dry_run=dry_run)
        say(*(f"  {each.id}: {each.plan.says}" for each in left[:_NAMED_MAX]))
    raise typer.Exit(EXIT_COULD_NOT if left or dealt.more else 0)


def _say_dealt(what: str, dealt: DealtWith, done: int, *, dry_run: bool) -> None:
    counts: dict[str, int] = {}
    for each in dealt.letters:
        counts[each.plan.says] = counts.get(each.plan.says, 0) + 1
    letters = "dead letter" if done == 1 else "dead letters"
    say(f"{done:,} {letters} {'would be ' if dry_run else ''}{what}.")
    if what == "replayed":
        say(*(f"  {count:,}: {sentence}" for sentence, count in counts.items()))
    if dealt.before:
        say(f"{dealt.before:,} had been dealt with before.")
    if dealt.more:
        say("There are more: run the same command again.")


def _as_dict(letter: StoredLetter, done: Handled | None, plan: Plan) -> dict[str, Any]:
    from salmon.story.formatting import when

    return {
        "id": letter.id,
        "at": when(letter.at_ms),
        "object": letter.subject,
        "key": letter.key_text,
        "topic": letter.topic or None,
        "stage": letter.stage,
        "code": letter.code,
        "reason": letter.reason,
        "replay": str(plan.mend),
        "handled": None if done is None else {**done.position(), "at": when(done.at_ms)},
    }


def _readable(value: bytes | None) -> Any:
    """The value, if it is JSON: what a source sets aside is."""
    try:
        return json_in(value or b"")
    except ValueError:
        return None


def _write_new(file: Path, value: bytes) -> None:
    try:
        with open(file, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
            opened.write(value)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error.strerror}). Name a new file.") from None


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{file}: cannot be read ({reason}).") from None


def _editor() -> str:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise ConfigError(
            "No editor is known: set EDITOR, e.g. EDITOR=nano, or give the fields by --fields FILE."
        )
    return editor


def _from_editor(draft: Draft, editor: str, *, ask: Callable[[str], bool] = typer.confirm) -> Plan:
    """Let a person correct the fields; what is wrong is said, and on a terminal they may go on where they were."""
    # Only its owner may read it: it holds a record's values.
    with scratch("dlq-edit") as folder:
        file = folder / "fields.yaml"
        _write_new(file, draft.text().encode())
        while True:
            try:
                code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
            except (OSError, ValueError):
                raise ConfigError(f"The editor {editor!a} cannot be started: correct EDITOR.") from None
            if code:
                raise ConfigError("The editor ended with an error, so nothing was sent.")
            try:
                return draft.corrected(_text_of(file))
            except (ConfigError, DataError) as error:
                if not sys.stdin.isatty():
                    raise
                complain(f"salmon: {error}")
                if not ask("Edit again?"):
                    raise
