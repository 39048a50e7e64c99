"""`salmon schemas`: the Avro schemas of an org's objects, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from salmon.cli.terminal import say

app = typer.Typer(help="Avro schemas of an org's objects.", no_args_is_help=True)


@app.callback()
def _schemas() -> None:
    """Keeps `generate` a command of its own while it is the only one."""


@app.command("generate")
def generate(
    *,
    describe: Annotated[
        Path,
        typer.Option(help="Folder with one *.json file per object: the answer of GET /sobjects/X/describe."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the X.avsc files; created if needed.")],
) -> None:
    """Write the flat Avro record of each described object: the schema of its `records` topic."""
    for path in written(describe, out):
        say(str(path))


def written(describes: Path, out: Path) -> list[Path]:
    """
    Generate the schemas for a folder of describes. Returns the files that were written.

    Raises:
        SetupError: the folder does not exist or is empty, or *out* cannot be written.
        ConfigError: a file is not a describe.
    """
    import json

    from salmon.errors import SetupError

    files = sorted(describes.glob("*.json"))
    if not files:
        raise SetupError(
            f"--describe {describes}: this folder has no *.json files. Give a folder with describe answers."
        )
    paths = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file in files:
            schema = generated(file)
            path = out / f"{schema['name']}.avsc"
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
    import json

    from salmon.errors import ConfigError
    from salmon.model.schema import schema_of_describe

    try:
        return schema_of_describe(json.loads(file.read_text(encoding="utf-8"))).to_avro()
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{file}: is not an object's describe ({type(error).__name__}: {error}). Save the answer of "
            f"GET /services/data/v64.0/sobjects/NAME/describe as it is."
        ) from None
