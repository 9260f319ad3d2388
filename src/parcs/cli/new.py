"""``parcs new``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parcs.cli import output
from parcs.module import create


def new(
    name: Annotated[str, typer.Argument(help="The new module's name; a folder of that name is made.")],
    folder: Annotated[Path, typer.Option("--in", help="Where to make it.")] = Path(),
    language: Annotated[
        str, typer.Option("--lang", help=f"The language: {' or '.join(create.languages())}.")
    ] = "python",
    as_json: output.AsJson = False,
) -> None:
    """Make a new module: a runner, a service, their parcs.toml and a test, ready to run."""
    made = create.create(name, folder, language)
    files = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    if as_json:
        output.print_json({"name": name, "folder": str(made), "files": files})
        return
    print(f"made {made}: {', '.join(files)}")
    print(f"  run it:   parcs run {made}")
    print(f"  test it:  python -m pytest {made}")
