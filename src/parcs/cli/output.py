"""What commands print: tables for people, JSON for programs, complaints for both."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from parcs import errors
from parcs.engine.console import use_colour

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, default=str))


def print_json_line(value: Any) -> None:
    """One JSON document on one line."""
    print(json.dumps(value, default=str), flush=True)


def shorten(value: Any, most: int = 2000) -> str:
    """A value as JSON, cut off where it is long."""
    text = json.dumps(value, default=str)
    if len(text) <= most:
        return text
    return f"{text[:most]}... (whole with --json)" if most > 100 else f"{text[:most]}..."


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """A table as wide as it needs."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    Console().print(table)


def complain(error: errors.ParcsError) -> None:
    """An error the user can do something about: in words, without a traceback."""
    label = "\x1b[1;31merror:\x1b[0m" if use_colour(sys.stderr) else "error:"
    print(f"{label} {error}", file=sys.stderr)
