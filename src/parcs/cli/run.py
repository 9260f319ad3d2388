"""``parcs run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from parcs import errors, job, trace
from parcs.cli import cluster_run, hub_run, output, target
from parcs.module import parameters
from parcs.module.manifest import Module

EPILOG = (
    "Example: parcs run factor -e N=12345678 -e P=4. See a module's parameters with: parcs run factor --help"
)


def run(
    context: typer.Context,
    module: Annotated[
        str | None,
        typer.Argument(help="A module's name or folder. See them with: parcs modules", show_default=False),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="A parameter of the module; may be repeated."),
    ] = None,
    trace_file: Annotated[
        Path | None,
        typer.Option(
            "--trace", metavar="FILE", help="Write a timeline of points and messages (open it in Perfetto)."
        ),
    ] = None,
    on: target.On = None,
    hub: Annotated[
        str | None,
        typer.Option(
            "--hub", metavar="URL", help="As a job of this hub; 'own' is the one of parcs login or parcs up."
        ),
    ] = None,
    is_detached: Annotated[
        bool, typer.Option("--detach", "-d", help="On a Swarm or a hub: print the job's name and return.")
    ] = False,
    is_quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only warnings from the programs' logs.")
    ] = False,
    as_json: output.AsJson = False,
    show_help: Annotated[
        bool, typer.Option("--help", "-h", help="Show this, or the module's parameters.")
    ] = False,
) -> None:
    """Run a program: on this machine, with --on as a job of a Docker Swarm, with --hub as a durable job."""
    if module is None:
        print(context.get_help())
        raise typer.Exit(0 if show_help else 2)
    if hub is not None and not show_help:
        if trace_file is not None or on is not None:
            raise errors.SettingsError(
                "--hub goes with neither --trace nor --on: its executors say where jobs run"
            )
        values = dict(map(parameters.split, given or []))
        own = None if hub == "own" else hub
        raise typer.Exit(
            hub_run.run(own, module, values, is_detached=is_detached, as_json=as_json, is_quiet=is_quiet)
        )
    url = target.url_of(on)
    if target.is_cluster(url) and not show_help:
        if trace_file is not None:
            raise errors.SettingsError("--trace works on this machine only; see: parcs ps --timeline JOB")
        values = dict(map(parameters.split, given or []))
        request = cluster_run.Request(module, values, is_detached, as_json, is_quiet)
        raise typer.Exit(cluster_run.run(url, request))
    if is_detached:
        raise errors.SettingsError("--detach is for a Swarm or a hub: add --on swarm, or --hub URL")
    found = job.find_module(module)
    if show_help:
        describe(found)
        return
    values = parameters.resolve(found.parameters, dict(map(parameters.split, given or [])), found.name)
    if trace_file is not None:
        trace.check_writable(trace_file)
    outcome = job.run_job(
        found, values, keep_stdout=as_json, is_quiet=is_quiet or as_json, is_tracing=trace_file is not None
    )
    if trace_file is not None:
        trace.write(outcome.space, trace_file)
    if as_json:
        summary = outcome.summary._asdict()
        output.print_json({"exit_code": outcome.exit_code, "result": outcome.result, "summary": summary})
    else:
        _print_ending(outcome, trace_file)
    raise typer.Exit(outcome.exit_code)


def _print_ending(outcome: job.Outcome, trace_file: Path | None) -> None:
    if outcome.result is not None:
        print(f"result: {output.shorten(outcome.result)}", flush=True)
    if outcome.exit_code == 137:
        print("the runner was killed (SIGKILL); its points were ended with it", file=sys.stderr)
    print(outcome.summary.describe(), file=sys.stderr)
    if trace_file is not None:
        print(f"timeline: {trace_file} (open it at https://ui.perfetto.dev)", file=sys.stderr)


def describe(module: Module) -> None:
    """What a module is and which parameters it takes."""
    print(f"{module.name}: {module.description or 'no description'}")
    print(f"  folder   {module.folder}")
    if module.runner and module.command:
        print(f"  points   other programs can start it too: engine.run({module.name!r})")
    if not module.parameters:
        print("  It declares no parameters; any -e NAME=VALUE is passed on.")
        return
    rows = [
        (p.name, p.type, "(required)" if p.default is None else p.default, _limits(p), p.help)
        for p in module.parameters.values()
    ]
    output.print_table(["parameter", "type", "default", "allowed", "meaning"], rows)
    example = " ".join(f"-e {p.name}={p.default or '...'}" for p in module.parameters.values())
    print(f"Run it: parcs run {module.name} {example}")


def _limits(parameter: parameters.Parameter) -> str:
    if parameter.choices:
        return ", ".join(parameter.choices)
    return "" if parameter.least is None else f">= {parameter.least:g}"
