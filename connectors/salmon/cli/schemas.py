"""`salmon schemas`: the Avro schemas of a sync, as files, and in the registry. The work is in salmon.schemas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from salmon.cli.terminal import (
    CONFIG_DEFAULT,
    ConfigOption,
    JsonOption,
    configured,
    or_could_not,
    print_json,
    say,
)

if TYPE_CHECKING:
    from salmon.config.models import SyncConfig
    from salmon.schemas.comparing import Compared
    from salmon.schemas.subjects import Described

EXIT_INCOMPATIBLE: Final = 1
app = typer.Typer(help="Avro schemas: as files, and in the registry.", no_args_is_help=True)
DescribeOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the saved describe of each object, X.json, which is read in place of the org. Without events.",
        show_default=False,
    ),
]


@app.command("generate")
def generate(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the .avsc files; created if needed.")],
    describe: Annotated[
        Path | None,
        typer.Option(
            help="Folder with one *.json file per object: the answer of GET /sobjects/X/describe.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="The sync's YAML file. With it: every subject of the sync, <subject>.avsc. Without --describe, the org is asked.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the flat Avro record of each described object: the schema of its `records` topic. Or all schemas of a sync."""
    if config is not None:
        settings = configured(config)
        with or_could_not():
            paths = written_all(settings, _described(settings, describe), out)
    elif describe is not None:
        paths = written(describe, out)
    else:
        raise typer.BadParameter("give a folder with describes, or --config", param_hint="--describe")
    for path in paths:
        say(str(path))


@app.command("register")
def register(config: ConfigOption = CONFIG_DEFAULT, *, as_json: JsonOption = False) -> None:
    """
    Register every schema of the sync, each with its compatibility.

    The org is asked what its objects have. It may be run again at any time: what the registry has already stays as it is. The processes
    do the same when they start, unless all is registered: then an account that may only read is enough for them.

    Exit code 0: all are registered. 1: a server did not answer; try again. 2: correct what the message names.
    """
    from salmon.config.registries import registry_of
    from salmon.schemas.describing import of_org
    from salmon.schemas.registering import register_all

    settings = configured(config)
    found = []
    with or_could_not():
        described = of_org(settings)
        registry = registry_of(settings)
        try:
            for each in register_all(settings, described, registry):
                found.append(each)
                if not as_json:
                    say(f"{each.became:12} {each.subject} (id {each.id}, {each.level})")
        finally:
            registry.close()
    if as_json:
        print_json({"subjects": [each.as_dict() for each in found]})


@app.command("check")
def check(
    config: ConfigOption = CONFIG_DEFAULT, *, describe: DescribeOption = None, as_json: JsonOption = False
) -> None:
    """
    Check whether the registry would take every schema of the sync, and name each field for which it would not. For CI.

    Nothing is registered.

    Exit code 0: it would take them all. 1: it would not take one, or a server did not answer.
    2: correct what the message names.
    """
    found = _compared(config, describe)
    faulty = [each for each in found if each.faults]
    if as_json:
        print_json({"compatible": not faulty, "subjects": [each.as_dict() for each in found]})
    else:
        for each in faulty:
            say(f"{each.subject} ({each.level}):", *(f"  {fault}" for fault in each.faults))
        say(
            f"{len(faulty)} of {len(found)} subjects would be refused. Take the change back, exclude the field from the sync, or choose"
            " another sync name."
            if faulty
            else f"All {len(found)} subjects are compatible; {sum(each.is_new for each in found)} are new."
        )
    raise typer.Exit(EXIT_INCOMPATIBLE if faulty else 0)


@app.command("diff")
def diff(
    config: ConfigOption = CONFIG_DEFAULT, *, describe: DescribeOption = None, as_json: JsonOption = False
) -> None:
    """
    Show what the org has otherwise than the registry, field by field. Nothing is registered.

    Exit code 0: asked. 1: a server did not answer; try again. 2: correct what the message names.
    """
    found = _compared(config, describe)
    if as_json:
        print_json({"subjects": [each.as_dict() for each in found]})
        return
    for each in found:
        if each.is_new:
            say(f"{each.subject}: new")
        elif each.changes:
            say(f"{each.subject}:", *(f"  {change}" for change in each.changes))
    if not any(each.is_new or each.changes for each in found):
        say(f"All {len(found)} subjects have the same fields as in the registry.")


def _compared(config: Path, describe: Path | None) -> list[Compared]:
    from salmon.config.registries import registry_of
    from salmon.schemas.comparing import compared

    settings = configured(config)
    with or_could_not():
        described = _described(settings, describe)
        registry = registry_of(settings)
        try:
            return list(compared(settings, described, registry))
        finally:
            registry.close()


def _described(settings: SyncConfig, folder: Path | None) -> Described:
    from salmon.schemas.describing import of_folder, of_org

    return of_org(settings) if folder is None else of_folder(settings, folder)


def written_all(settings: SyncConfig, described: Described, out: Path) -> list[Path]:
    """
    Write the schema of every subject of a sync, as a registry without any would get them. Returns the files.

    Raises:
        SetupError: *out* cannot be written. ConfigError: the rules of an object do not fit what it has.
    """
    from salmon.schemas.subjects import NoRegistry, subjects

    return _saved(out, subjects(settings, described, NoRegistry()))


def written(describes: Path, out: Path) -> list[Path]:
    """
    Generate the schemas for a folder of describes. Returns the files that were written.

    Raises:
        SetupError: the folder does not exist or is empty, or *out* cannot be written.
        ConfigError: a file is not a describe.
    """
    from salmon.errors import SetupError

    files = sorted(describes.glob("*.json"))
    if not files:
        raise SetupError(
            f"--describe {describes}: this folder has no *.json files. Give a folder with describe answers."
        )
    schemas = [generated(file) for file in files]
    return _saved(out, {schema["name"]: schema for schema in schemas})


def _saved(out: Path, schemas: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    import json

    from salmon.errors import SetupError

    paths = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, schema in schemas.items():
            path = out / f"{name}.avsc"
            path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            paths.append(path)
    except OSError as error:
        raise SetupError(f"--out {out}: cannot be written ({error.strerror}). Name another folder.") from None
    return paths


def generated(file: Path) -> dict[str, Any]:
    """
    Return the flat Avro record of one described object.

    Raises:
        ConfigError: the file is not a describe.
    """
    from salmon.errors import ConfigError
    from salmon.foreign_json import json_in
    from salmon.model.schema import schema_of_describe

    try:
        return schema_of_describe(json_in(file.read_text(encoding="utf-8"))).to_avro()
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{file}: is not an object's describe ({type(error).__name__}: {error}). Save the answer of "
            f"GET /services/data/v64.0/sobjects/NAME/describe as it is."
        ) from None
