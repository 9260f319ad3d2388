"""``parcs conformance``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from parcs.cli import output


def conformance(
    command: Annotated[str, typer.Argument(help="What starts the SDK's test program, in quotes.")],
    folder: Annotated[Path, typer.Option("--in", help="Where to start it.")] = Path(),
    only: Annotated[str, typer.Option("--only", help="Checks with this in their name.")] = "",
    as_json: output.AsJson = False,
) -> None:
    """Check whether an SDK does what the protocol says: docs/sdk.md has what its test program must do."""
    from parcs.testing.conformance.suite import run

    found, begin = [], time.monotonic()
    for outcome in run(command, folder.resolve(), only.replace(" ", "_")):
        found.append(outcome)
        if not as_json:
            mark = "FAILED" if outcome.problem else "ok"
            print(f"{mark:<7}{outcome.role:<26}{outcome.check}", flush=True)
            if outcome.problem:
                print(f"       {outcome.problem}", flush=True)
    failed = sum(bool(outcome.problem) for outcome in found)
    if as_json:
        output.print_json([outcome._asdict() for outcome in found])
    else:
        print(f"{len(found) - failed} of {len(found)} checks hold ({time.monotonic() - begin:.0f} s)")
    if failed:
        raise typer.Exit(1)
