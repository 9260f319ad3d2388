"""``parcs study``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from parcs import errors, job
from parcs import study as studies
from parcs.cli import output
from parcs.engine.space import Summary
from parcs.module import parameters


def study(
    module: Annotated[str, typer.Argument(help="A module's name or folder.")],
    given: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="A parameter of the module; may be repeated."),
    ] = None,
    points: Annotated[str, typer.Option(help="The numbers of points to try.", metavar="P1,P2,...")] = "1,2,4",
    repeats: Annotated[
        int, typer.Option(min=1, help="Runs at each number of points; the median counts.")
    ] = 3,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where to draw it; [default: MODULE-study.png]")
    ] = None,
    as_json: output.AsJson = False,
) -> None:
    """Run a module at several numbers of points: speed-up, efficiency, serial fraction, communication.

    Draws a PNG, and writes the same figures as JSON beside it.
    """
    found = job.find_module(module)
    counts = _numbers(points)
    assignments = dict(map(parameters.split, given or []))
    name = found.points_parameter
    parameters.resolve(found.parameters, {**assignments, name: str(counts[0])}, found.name)

    def run_at(count: int) -> Summary:
        values = parameters.resolve(found.parameters, {**assignments, name: str(count)}, found.name)
        print(f"{found.name} with {name}={count} ...", end=" ", file=sys.stderr, flush=True)
        outcome = job.run_job(found, values, keep_stdout=True, is_quiet=True)
        if outcome.exit_code:
            print(file=sys.stderr)
            raise errors.PointError(
                "runner", f"the run with {name}={count} failed (status {outcome.exit_code})"
            )
        print(f"{outcome.summary.wall_s:.3f} s", file=sys.stderr)
        return outcome.summary

    rows = studies.sweep(run_at, counts, repeats)
    path = plot or Path(f"{found.name}-study.png")
    settings = " ".join(f"{key}={value}" for key, value in assignments.items())
    studies.plot(rows, f"{found.name} {settings}".strip(), path)
    document = {
        "module": found.name,
        "parameters": assignments,
        "repeats": repeats,
        "rows": [row._asdict() for row in rows],
    }
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if as_json:
        output.print_json({**document, "plot": str(path)})
        return
    _print(rows)
    print(f"plot: {path}   figures: {beside}")


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise errors.ParameterError(f"--points {text}: it should be numbers of points such as 1,2,4,8")
    return numbers


def _print(rows: list[studies.Row]) -> None:
    table = [
        (
            row.points,
            f"{row.seconds:.3f}",
            f"{row.speedup:.2f}",
            f"{row.efficiency:.0%}",
            "" if row.serial_fraction is None else f"{row.serial_fraction:.3f}",
            f"{row.communication:.0%}",
        )
        for row in rows
    ]
    output.print_table(
        ["points", "seconds", "speed-up", "efficiency", "serial fraction", "communication"], table
    )
