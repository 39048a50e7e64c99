"""`salmon setup`: make in the org what the sync needs. The work is in salmon.setup."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from salmon.cli.terminal import CONFIG_DEFAULT, ConfigOption, JsonOption, configured, out, print_json, say
from salmon.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from salmon.setup.steps import Step

EXIT_NEEDS_A_PERSON: Final = 1
_STYLES: Final = {"there": "dim", "made": "green", "would make": "yellow", "by hand": "red", "failed": "red"}
_TOKEN_BYTES_MAX: Final = 10_000


def setup(
    config: ConfigOption = CONFIG_DEFAULT,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be made. Nothing is changed.")
    ] = False,
    admin_token_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with an access token of an administrator of the org, who then makes things (e.g. from `sf org display` of "
            "the Salesforce CLI). Without it, the integration user makes them, and needs the rights to."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Make in the Salesforce org what the sync needs and the org lacks.

    For each synced object: the fields Salmon_Seq__c and Salmon_Id__c (or as `objects.<sObject>.markers` names them), the permission for the integration user to edit them (a
    permission set Salmon_Sync that is assigned to this user), and the selection for Change Data Capture. With a section `reports`: the
    indexes in MongoDB that their filters need; those that no report needs any more are dropped. What is there stays as it
    is, and nothing is ever changed that this command did not make. It may be run again at any time.

    Exit code 0: everything is there, or was made.
    1: something is left for a person; the lines say what. With --dry-run also if something would be made: as with `salmon doctor`, 0
    says that the org has all that the sync needs.
    2: the configuration cannot be used, or the org cannot be asked.
    """
    from salmon.errors import SalmonError
    from salmon.setup.setting_up import as_dict, is_complete, set_up
    from salmon.setup.steps import Became

    token = None if admin_token_file is None else _token(admin_token_file)
    settings = configured(config)
    steps = []
    try:
        for step in set_up(settings, dry=dry_run, admin_token=token):
            steps.append(step)
            if not as_json:
                show(step, out())
    except SalmonError:
        if as_json and steps:
            print_json({**as_dict(settings, steps, dry=dry_run), "complete": False})
        raise
    if as_json:
        print_json(as_dict(settings, steps, dry=dry_run))
    else:
        say("", _closing(steps, dry=dry_run))
    has_all = is_complete(steps) and not any(step.became is Became.WOULD_MAKE for step in steps)
    raise typer.Exit(0 if has_all else EXIT_NEEDS_A_PERSON)


def show(step: Step, console: Console) -> None:
    """Print one step, and below it what a person has to do."""
    from rich.markup import escape

    from salmon.harmless import harmless

    became = step.became.value
    console.print(f"[{_STYLES[became]}]{became:10}[/]  {escape(harmless(step.says))}", soft_wrap=True)
    if step.mend:
        console.print(escape(harmless(f"            Do: {step.mend}")), soft_wrap=True)


def _closing(steps: Sequence[Step], *, dry: bool) -> str:
    from salmon.setup.setting_up import is_complete
    from salmon.setup.steps import Became

    became = {step.became for step in steps}
    if not is_complete(steps):
        return "Something is left for a person: see the lines with Do. Then run `salmon setup` again."
    if dry and Became.WOULD_MAKE in became:
        return "Nothing was changed: this was a dry run."
    if Became.MADE not in became:
        return "Nothing was to be done."
    return "Done. It can take Salesforce some minutes until change events follow; `salmon doctor` shows when all is ready."


def _token(file: Path) -> str:
    try:
        token = file.read_bytes()[:_TOKEN_BYTES_MAX].decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--admin-token-file: {file} cannot be read as text ({type(error).__name__}). Name a file that holds nothing but"
            " the access token."
        ) from None
    return token
