"""``parcs executor`` and ``parcs executors``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parcs import errors
from parcs.cli import output, place

if TYPE_CHECKING:
    from parcs.executor.agent import Agent

app = typer.Typer(help="The executors of a hub.", no_args_is_help=False)

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label", metavar="NAME=VALUE", help="Tasks can ask for it (parcs submit --where); may be repeated."
    ),
]


def executor(
    url: Annotated[
        str,
        typer.Option(
            "--hub", metavar="URL", envvar="PARCS_HUB", help="Its addresses, with commas between them."
        ),
    ],
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", metavar="FILE", help="Has the executor's token; or PARCS_EXECUTOR_TOKEN."
        ),
    ] = None,
    slots: Annotated[
        int | None, typer.Option("--slots", "-n", min=1, help="Tasks at once.", show_default="its processors")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="As people see it.", show_default="this machine's")
    ] = "",
    labels: Labels = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="Where jobs start their points, as parcs run --on has it: swarm, say."),
    ] = None,
    folder: Annotated[Path | None, typer.Option("--folder", help="Where tasks have their folders.")] = None,
    drain: Annotated[
        bool, typer.Option("--drain", help="Finish what runs however often it is asked to end.")
    ] = False,
    end_with_parent: Annotated[bool, typer.Option("--end-with-parent", hidden=True)] = False,
) -> None:
    """Run a hub's tasks on this machine. Ctrl-C ends it when what runs is done; twice, at once."""
    for module in ("websockets", "httpx2", "psutil", "uvloop"):
        place.need(module, "hub")
    import uvloop

    from parcs.client.place import split
    from parcs.executor.agent import Agent

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    if end_with_parent:
        from parcs.sandbox import tree

        tree.end_with_parent()
    os.environ.pop("PARCS_ENGINE", None)  # what a shell happens to say is not for everybody's jobs
    if engine is not None:
        os.environ["PARCS_ENGINE"] = engine
    agent = Agent(
        split(url),
        _token(token_file),
        slots or os.cpu_count() or 1,
        name=name,
        labels=pairs(labels),
        root=folder,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(agent, is_patient=not end_with_parent, is_draining=drain))


async def _run(agent: Agent, *, is_patient: bool, is_draining: bool) -> None:
    running = asyncio.current_task()

    def stop() -> None:
        if is_draining:
            agent.drain()
        elif is_patient and not agent.machine.is_draining and agent.machine.busy:
            print("waiting for what runs; once more to end it", flush=True)
            agent.drain()
        elif running is not None:
            running.cancel()

    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await agent.run()


def _token(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text().strip()
        except OSError as error:
            raise errors.SettingsError(f"--token-file: {error}") from error
    if token := os.environ.get("PARCS_EXECUTOR_TOKEN", ""):
        return token
    raise errors.SettingsError(
        "an executor needs a token; an admin makes one with: parcs token add --kind executor NAME. "
        "Then: --token-file FILE, or PARCS_EXECUTOR_TOKEN"
    )


def pairs(given: list[str] | None) -> dict[str, str]:
    """NAME=VALUE words.

    Raises:
        SettingsError: one has no =.
    """
    found = {}
    for word in given or []:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise errors.SettingsError(f"{word!r} should look like NAME=VALUE")
        found[name] = value
    return found


@app.callback(invoke_without_command=True)
def executors(context: typer.Context, url: place.At = None, as_json: output.AsJson = False) -> None:
    """List the executors of a hub, and how they are."""
    context.obj = url
    if context.invoked_subcommand is not None:
        return
    from parcs.cli.tasks import ago
    from parcs.model.demand import describe_bytes

    with place.hub(url) as hub:
        found = hub.executors()
    if as_json:
        output.print_json([vars(e) for e in found])
        return
    rows = [
        (
            e.id[:8], e.name, e.host, e.state, f"{e.busy}/{e.slots}", f"{e.cpu_percent:.0f} %",
            f"{describe_bytes(e.memory_used)} of {describe_bytes(e.memory)}", ", ".join(e.levels), e.version,
            ago(e.last_seen),
        )
        for e in found
    ]  # fmt: skip
    output.print_table(
        ["id", "name", "host", "state", "busy", "CPU", "memory", "isolation", "version", "seen"], rows
    )


def _change(context: typer.Context, name: str, verb: str) -> None:
    from parcs.client import calls

    with place.hub(context.obj) as hub:
        fitting = [
            e for e in hub.executors() if e.state != "gone" and (e.id.startswith(name) or e.name == name)
        ]
        if len(fitting) != 1:
            problem = "there is no executor" if not fitting else "there are several executors"
            raise errors.NotFoundError(f"{problem} {name!r}; see: parcs executors")
        hub.do(calls.change_executor(fitting[0].id, verb))
    print(f"{fitting[0].name}: {verb}")


Name = Annotated[str, typer.Argument(help="Its name, or the beginning of its id.")]


@app.command()
def drain(context: typer.Context, name: Name) -> None:
    """Have it take nothing new."""
    _change(context, name, "drain")


@app.command()
def disable(context: typer.Context, name: Name) -> None:
    """Have it take nothing, until it is enabled."""
    _change(context, name, "disable")


@app.command()
def enable(context: typer.Context, name: Name) -> None:
    """Have it take tasks again."""
    _change(context, name, "enable")
