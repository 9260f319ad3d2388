"""``parcs backup`` and ``parcs restore``: this machine's hub, as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parcs.cli.hub import DATABASE, Data, lock


def backup(
    file: Annotated[Path, typer.Argument(help="Where to put it.")],
    data: Data = None,
) -> None:
    """Save the hub of this machine to a file: all tasks with what they wrote, users and tokens. It may run.

    A hub on PostgreSQL is saved with PostgreSQL's own tools: see docs/ha.md.
    """
    from parcs.client import place
    from parcs.hub.store import backup as store

    count = store.save((data or place.data_folder()) / DATABASE, file)
    print(f"{file}: {count} tasks, {file.stat().st_size >> 10} KiB")


def restore(
    file: Annotated[Path, typer.Argument(help="What parcs backup made.")],
    data: Data = None,
) -> None:
    """Make the hub of this machine what a file has. There must be none yet."""
    from parcs.client import place
    from parcs.hub.store import backup as store

    folder = data or place.data_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock(folder):
        count = store.restore(file, folder / DATABASE)
    print(f"{count} tasks are back; start the hub: parcs up")
