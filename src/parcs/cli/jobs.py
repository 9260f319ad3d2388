"""``parcs jobs``, ``ps``, ``logs``, ``stop``, ``rm``, ``gc``, ``warm``: what runs on a Swarm."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

import typer

from parcs.cli import cluster_run, output, place, target, tasks
from parcs.contract.jobs import Flow
from parcs.engine.console import Console
from parcs.model.demand import describe_bytes

Job = Annotated[str, typer.Argument(help="A job's name, or an unmistakable beginning of it.")]


def jobs(on: target.On = None, as_json: output.AsJson = False) -> None:
    """List the jobs of a Swarm, the newest first."""
    with target.remote(on) as remote:
        found = sorted(remote.jobs(), key=lambda job: -job["created_at"])
    if as_json:
        output.print_json(found)
        return
    if not found:
        print("no jobs yet; run one with: parcs run factor --on swarm")
        return
    rows = [
        (job["job"], job["state"], job["points"], _age(job["created_at"]), _took(job), _say(job))
        for job in found
    ]
    output.print_table(["job", "state", "points", "begun", "took", "result"], rows)


def ps(
    job: Job,
    show_timeline: Annotated[
        bool, typer.Option("--timeline", help="Where the time of each point's start went.")
    ] = False,
    show_channels: Annotated[
        bool, typer.Option("--channels", help="What its channels have carried, and who waits there.")
    ] = False,
    on: target.On = None,
    as_json: output.AsJson = False,
) -> None:
    """Show a job's programs: where they run, how they were started, what they use."""
    with target.remote(on) as remote:
        if show_channels:
            _print_channels(remote.channels(job), as_json=as_json)
            return
        found = remote.ps(job)
    if as_json:
        output.print_json(found)
    elif show_timeline:
        _print_timeline(found["rows"])
    else:
        rows = [
            (
                row["name"],
                row["state"],
                row["node"] or "-",
                row["launcher"],
                row["language"] or "?",
                "-" if row["cpu_s"] is None else f"{row['cpu_s']:.1f} s",
                "-" if row["memory"] is None else f"{row['memory'] / (1 << 20):,.0f} MiB",
                _why(row),
            )
            for row in found["rows"]
        ]
        print(f"{found['job']}: {found['state']}")
        columns = ["point", "state", "node", "launcher", "language", "CPU", "memory", "why"]
        output.print_table(columns, rows)


def _print_channels(flows: list[Flow], *, as_json: bool) -> None:
    if as_json:
        output.print_json([vars(flow) for flow in flows])
        return
    rows = [
        (
            f"{flow.one} - {flow.other}",
            f"{flow.sent:,} + {flow.received:,}",
            describe_bytes(flow.bytes_sent + flow.bytes_received),
            ", ".join(f"{name} to {what}" for name, what in sorted(flow.waits.items())),
        )
        for flow in flows
    ]
    output.print_table(["channel", "messages", "bytes", "waits"], rows)


def logs(
    job: Job,
    is_following: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job is over.")
    ] = False,
    on: target.On = None,
    url: place.At = None,
    as_json: output.AsJson = False,
) -> None:
    """Show what a job's programs printed, or (by its number) what a hub's task wrote."""
    if job.isdecimal():
        tasks.follow(int(job), url, is_following=is_following)
        return
    console = Console()
    with target.remote(on) as remote:
        for line in remote.lines(job, is_following=is_following):
            if as_json:
                output.print_json_line(line._asdict())
            else:
                cluster_run.show(console, line)


def stop(job: Job, on: target.On = None) -> None:
    """Stop a job and all its points."""
    with target.remote(on) as remote:
        print(f"stopped {remote.stop(job)}")


def remove(job: Job, on: target.On = None) -> None:
    """Remove a job that has ended from the list, with its output."""
    with target.remote(on) as remote:
        print(f"removed {remote.forget(job)}")


def collect(on: target.On = None) -> None:
    """Remove services left over from jobs that are gone (the engine does so by itself, every few seconds)."""
    with target.remote(on) as remote:
        removed = remote.sweep()
    print("\n".join(f"removed {name}" for name in removed) or "nothing is left over")


def warm(
    module: Annotated[str, typer.Argument(help="A module's name, as runners start it.")],
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="How many; 0 ends them.")] = 1,
    on: target.On = None,
) -> None:
    """Keep started points of a module waiting, so that taking one costs milliseconds."""
    with target.remote(on) as remote:
        found = remote.warm(module, count)
    print(
        f"{found['waiting']} of {count} points of {module} are waiting" if count else f"none of {module} wait"
    )


def _print_timeline(rows: list[dict[str, Any]]) -> None:
    """Seconds since the request, for each stage of each start."""
    from parcs.swarm.job import STAGES

    table = []
    for row in rows:
        stages = row["stages"]
        begin = stages.get("accepted")
        known = [stages.get(stage) for stage in STAGES]
        table.append(
            (
                row["name"],
                row["launcher"],
                row["node"] or "-",
                *("-" if at is None or begin is None else f"{max(at - begin, 0):.3f}" for at in known[1:]),
            )
        )
    output.print_table(["point", "launcher", "node", *(f"{stage} [s]" for stage in STAGES[1:])], table)


def _age(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%m-%d %H:%M:%S")


def _took(job: dict[str, Any]) -> str:
    return f"{(job['ended_at'] or time.time()) - job['created_at']:.1f} s"


def _say(job: dict[str, Any]) -> str:
    if job["why"]:
        return str(job["why"]).splitlines()[0]
    return output.shorten(job["result"], 60) if job["result"] is not None else ""


def _why(row: dict[str, Any]) -> str:
    ending = row["ending"] or {}
    if row["state"] != "failed":
        return ""
    if ending.get("reason"):
        return str(ending["reason"])
    return f"signal {ending['signal']}" if ending.get("signal") else f"status {ending.get('exit_code')}"
